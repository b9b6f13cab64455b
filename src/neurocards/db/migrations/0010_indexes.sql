-- Indexes for forgetting, and for counting without reading what is counted. They are made beside whoever writes, outside
-- of any transaction. One that broke off is there and of no use: it goes before it is made anew.

drop index concurrently if exists orders_remembered;
create index concurrently orders_remembered on orders (placed_at) where forgotten_at is null;
drop index concurrently if exists generations_remembered;
create index concurrently generations_remembered on generations (finished_at)
    where forgotten_at is null and finished_at is not null;
drop index concurrently if exists generations_unfulfilled;
create index concurrently generations_unfulfilled on generations (order_id) include (state, id)
    where state <> 'completed';
drop index concurrently if exists transfers_reversed;
create index concurrently transfers_reversed on transfers (generation_id) where kind = 'reversal';
drop index concurrently if exists attempts_counted;
create index concurrently attempts_counted on attempts (provider, state)
    include (cost_units, cost_usd, accepted_at, ended_at);
drop index concurrently if exists attempts_by_time;
create index concurrently attempts_by_time on attempts (created_at);
