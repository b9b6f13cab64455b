-- What watching the shop needs: one trace for each order, and what it has found out about itself.

-- New orders get one; of older ones their id serves. Added without a default first, so that no row is rewritten.
alter table orders add column trace_id uuid;
alter table orders alter column trace_id set default gen_random_uuid();
comment on column orders.trace_id is 'One trace for all that is done for the order, in whatever process.';

create table watch (
    only_row        boolean primary key default true constraint watch_has_one_row check (only_row),
    probed_at       timestamptz not null default '-infinity',
    audit_begun_at  timestamptz not null default '-infinity',
    audited_at      timestamptz,
    violations      jsonb not null default '{}'
);
comment on table watch is 'What the shop has found out about itself, by whichever process: one row.';
comment on column watch.probed_at is 'Written to find out whether the database can be written to.';
comment on column watch.audit_begun_at is 'Whoever moves it on audits the books; the others leave it to them.';
comment on column watch.violations is 'What the last finished audit found: how many, by check.';
insert into watch default values;
create trigger watch_stays before delete or truncate on watch execute function refuse_removal();

grant select on watch to neurocards_app;
grant update (probed_at, audit_begun_at, audited_at, violations) on watch to neurocards_app;
