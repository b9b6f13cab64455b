-- What the first three left to the program's good behaviour: the books cannot be made wrong from psql either, jobs are
-- shared out fairly, an order can be cancelled while that is free, and messages keep the pace of all chats together.

-- The queue ------------------------------------------------------------------------------------------------------

alter table jobs
    add column priority  smallint not null default 0,
    add column turn      bigint not null default 0,
    add constraint jobs_run_some_day check (isfinite(run_at));
comment on column jobs.priority is 'Higher goes first, whoever it belongs to: for an operator who makes good.';
comment on column jobs.turn is
    'When a job that nobody has worked on comes to its turn: customers alternate, however many videos one orders.';

drop index jobs_due;
create index jobs_due on jobs (run_at, id) where state = 'available' and lease_number > 0;
create index jobs_unbegun on jobs (priority desc, turn, id) where state = 'available' and lease_number = 0;
-- The first videos of everybody who waits already come before the second ones of anybody.
update jobs set turn = place.turn
  from (select id, row_number() over (partition by customer_id order by id) as turn
          from jobs where state = 'available' and lease_number = 0) place
 where jobs.id = place.id;

create index jobs_hurried on jobs (run_at, id) where state = 'available' and lease_number > 0 and priority > 0;
create index jobs_turns on jobs (turn) where state = 'available' and lease_number = 0;
create index jobs_unbegun_of_customer on jobs (customer_id, turn) where state = 'available' and lease_number = 0;

-- Every customer's next video stands beside every other's next one; the front of the queue is where everybody begins.
create function take_turn() returns trigger
language plpgsql as $$
begin
    select greatest(coalesce((select max(turn) from jobs
                               where customer_id = new.customer_id and state = 'available' and lease_number = 0), 0),
                    coalesce((select min(turn) from jobs where state = 'available' and lease_number = 0) - 1, 0)) + 1
      into new.turn;
    return new;
end $$;

create trigger jobs_take_their_turn before insert on jobs for each row execute function take_turn();

-- Leases and attempts only go forward: whoever was overtaken stays overtaken, and what has ended stays ended.
create function refuse_setback() returns trigger
language plpgsql as $$
begin
    raise exception 'job % cannot go from %, attempt %, lease % to %, attempt %, lease %',
        old.id, old.state, old.attempt, old.lease_number, new.state, new.attempt, new.lease_number
        using errcode = 'NC004', constraint = tg_name;
end $$;

create trigger jobs_go_forward before update on jobs
    for each row when (
        new.lease_number < old.lease_number or new.attempt < old.attempt
        or (old.state in ('completed', 'discarded') and new.state <> old.state)
        or (new.state = 'running' and old.state <> 'running' and new.lease_number <> old.lease_number + 1)
        or (new.kind, new.subject_id, new.customer_id) is distinct from (old.kind, old.subject_id, old.customer_id))
    execute function refuse_setback();


-- What ends, ends once; what happened, happened --------------------------------------------------------------------

alter table attempts add column hinted_task_id text;
comment on column attempts.hinted_task_id is
    'What a callback claims to be our task: a hint to ask the provider about, never believed by itself.';

create function refuse_other_fact() returns trigger
language plpgsql as $$
begin
    raise exception 'attempt % is % with task %, and cannot become % with task %',
        old.id, old.state, old.task_id, new.state, new.task_id using errcode = 'NC005', constraint = tg_name;
end $$;

create trigger attempts_keep_facts before update on attempts
    for each row when (
        (old.task_id is not null and new.task_id is distinct from old.task_id)
        or (new.state <> old.state and (old.state, new.state) not in (
            ('intent', 'unknown'), ('intent', 'accepted'), ('intent', 'refused'), ('intent', 'abandoned'),
            ('intent', 'orphaned'), ('unknown', 'accepted'), ('unknown', 'refused'), ('unknown', 'abandoned'),
            ('unknown', 'orphaned'), ('abandoned', 'accepted'), ('abandoned', 'orphaned'), ('refused', 'accepted'),
            ('refused', 'orphaned'), ('accepted', 'succeeded'), ('accepted', 'failed'), ('accepted', 'orphaned'),
            ('succeeded', 'failed'), ('succeeded', 'orphaned')))
        or (new.id, new.generation_id, new.number, new.provider)
           is distinct from (old.id, old.generation_id, old.number, old.provider))
    execute function refuse_other_fact();

create function refuse_removal() returns trigger
language plpgsql as $$
begin
    raise exception '% keeps its rows', tg_table_name using errcode = 'NC006', constraint = tg_name;
end $$;

create trigger customers_stay before delete or truncate on customers execute function refuse_removal();
create trigger accounts_stay before delete or truncate on accounts execute function refuse_removal();
create trigger orders_stay before delete or truncate on orders execute function refuse_removal();
create trigger generations_stay before delete or truncate on generations execute function refuse_removal();
create trigger attempts_stay before delete or truncate on attempts execute function refuse_removal();
create trigger jobs_stay before delete or truncate on jobs execute function refuse_removal();
create trigger notices_stay before delete or truncate on notices execute function refuse_removal();
create trigger chats_stay before delete or truncate on chats execute function refuse_removal();

-- What was agreed is not renegotiated: neither what was ordered and at which price, nor for whom.
create function refuse_renegotiation() returns trigger
language plpgsql as $$
begin
    raise exception '% % was agreed on', tg_table_name, old.id using errcode = 'NC007', constraint = tg_name;
end $$;

create trigger orders_are_agreed before update on orders
    for each row when (
        (new.id, new.number, new.customer_id, new.count, new.price_credits, new.placed_at, new.template,
         new.template_version, new.model, new.seconds)
        is distinct from (old.id, old.number, old.customer_id, old.count, old.price_credits, old.placed_at, old.template,
                          old.template_version, old.model, old.seconds))
    execute function refuse_renegotiation();
create trigger generations_are_agreed before update on generations
    for each row when (
        (new.id, new.order_id, new.customer_id, new.ordinal, new.price_credits)
        is distinct from (old.id, old.order_id, old.customer_id, old.ordinal, old.price_credits))
    execute function refuse_renegotiation();
create trigger notices_are_agreed before update on notices
    for each row when (
        (new.id, new.customer_id, new.order_id, new.generation_id, new.kind, new.cause)
        is distinct from (old.id, old.customer_id, old.order_id, old.generation_id, old.kind, old.cause))
    execute function refuse_renegotiation();

-- A deadline is a day in somebody's life.
alter table generations add constraint generations_have_a_deadline check (isfinite(deadline_at));

create or replace function refuse_change() returns trigger
language plpgsql as $$
begin
    raise exception '% is append-only', tg_table_name using errcode = 'NC001', constraint = tg_name;
end $$;

create or replace function refuse_revival() returns trigger
language plpgsql as $$
begin
    raise exception 'generation % has ended as %', old.id, old.state using errcode = 'NC002', constraint = tg_name;
end $$;

-- At commit an order has all its videos, at its price.
create function check_order() returns trigger
language plpgsql as $$
declare
    v_order_id   uuid := case tg_table_name when 'orders' then to_jsonb(new) ->> 'id'
                                            else to_jsonb(new) ->> 'order_id' end;
    v_ordered    smallint;
    v_customer   bigint;
    v_price      integer;
    v_found      bigint;
    v_theirs     bigint;
begin
    select count, customer_id, price_credits into v_ordered, v_customer, v_price from orders where id = v_order_id;
    select count(*), count(*) filter (
               where customer_id = v_customer and price_credits = v_price and ordinal between 1 and v_ordered)
      into v_found, v_theirs
      from generations where order_id = v_order_id;
    if (v_found, v_theirs) is distinct from (v_ordered::bigint, v_ordered::bigint) then
        raise exception 'order % is for % videos and has %, of which % are in order',
            v_order_id, v_ordered, v_found, v_theirs using errcode = 'NC008', constraint = tg_name;
    end if;
    return null;
end $$;

create constraint trigger orders_are_complete after insert on orders
    deferrable initially deferred for each row execute function check_order();
create constraint trigger generations_are_ordered after insert on generations
    deferrable initially deferred for each row execute function check_order();

-- The same story as before, and now also: its customer's own credits and job, no end told but the one there was, a
-- finished video was made by somebody, and nobody still works for one that has ended.
create or replace function check_story() returns trigger
language plpgsql as $$
declare
    v_id          uuid;
    v_generation  generations;
    v_held        bigint;
    v_settled     bigint;
    v_refunded    bigint;
    v_reversed    bigint;
    v_own         boolean;
    v_job_state   text;
    v_told        text;
    v_made        boolean;
    v_live        boolean;
    v_consistent  boolean;
begin
    v_id := case tg_table_name
        when 'generations' then to_jsonb(new) ->> 'id'
        when 'jobs' then to_jsonb(new) ->> 'subject_id'
        else to_jsonb(new) ->> 'generation_id'
    end;
    select * into v_generation from generations where id = v_id;
    select coalesce(sum(amount_credits) filter (where kind = 'hold'), 0),
           coalesce(sum(amount_credits) filter (where kind = 'settle'), 0),
           coalesce(sum(amount_credits) filter (where kind = 'refund'), 0),
           coalesce(sum(amount_credits) filter (where kind = 'reversal'), 0),
           bool_and(customer_id = v_generation.customer_id)
      into v_held, v_settled, v_refunded, v_reversed, v_own
      from transfers where generation_id = v_id;
    select state into v_job_state
      from jobs where kind = 'generation' and subject_id = v_id and customer_id = v_generation.customer_id;
    select coalesce(bool_or(state = 'succeeded'), false),
           coalesce(bool_or(state in ('intent', 'unknown', 'accepted')), false)
      into v_made, v_live
      from attempts where generation_id = v_id;
    select coalesce(string_agg(kind, ', ' order by kind), 'none') into v_told
      from notices where cause in ('video:' || v_id, 'failure:' || v_id);

    v_consistent := v_held = v_generation.price_credits and v_own and case
        when v_generation.state in ('queued', 'processing') then
            (v_settled, v_refunded, v_reversed, v_told) = (0, 0, 0, 'none') and v_job_state in ('available', 'running')
        when v_generation.state = 'completed' then
            (v_settled, v_refunded, v_reversed, v_job_state, v_told) = (v_held, 0, 0, 'completed', 'video')
            and v_made and not v_live
        else
            not v_live and (v_settled, v_refunded, v_reversed, v_job_state, v_told) in (
                (0, v_held, 0, 'discarded', 'failure'), (v_held, 0, v_held, 'completed', 'failure, video'))
    end;
    if v_consistent is not true then
        raise exception 'generation % is % but held %, settled %, refunded %, reversed %, all its customer''s %, job %, told %, made %, in work %',
            v_id, v_generation.state, v_held, v_settled, v_refunded, v_reversed, v_own, v_job_state, v_told, v_made, v_live
            using errcode = 'NC003', constraint = tg_name;
    end if;
    return null;
end $$;

create constraint trigger attempts_tell_one_story
    after insert or update of state on attempts
    deferrable initially deferred
    for each row execute function check_story();
create constraint trigger jobs_begin_their_story
    after insert on jobs
    deferrable initially deferred
    for each row when (new.kind = 'generation') execute function check_story();
create constraint trigger notices_tell_one_story
    after insert on notices
    deferrable initially deferred
    for each row when (new.kind in ('video', 'failure')) execute function check_story();

-- A hold that comes later is part of the story too: with it the video could never end.
drop trigger transfers_tell_one_story on transfers;
create constraint trigger transfers_tell_one_story
    after insert on transfers
    deferrable initially deferred
    for each row when (new.generation_id is not null) execute function check_story();

-- The one notice that hands a video over, or says that there is none, is found by its cause.
alter table notices add constraint notices_end_names_its_generation check (
    case when kind in ('video', 'failure') then cause = kind || ':' || generation_id
         else split_part(cause, ':', 1) not in ('video', 'failure') end);

-- Nobody is ever told about, or sent, what another customer ordered.
create function check_addressee() returns trigger
language plpgsql as $$
begin
    if not exists (
        select from orders o
         where (o.id, o.customer_id) = (new.order_id, new.customer_id)
           and (new.generation_id is null
                or exists (select from generations g where (g.id, g.order_id) = (new.generation_id, o.id)))
    ) then
        raise exception 'notice % is not about an order of customer %', new.cause, new.customer_id
            using errcode = 'NC012', constraint = tg_name;
    end if;
    return null;
end $$;

create constraint trigger notices_reach_their_customer after insert on notices
    deferrable initially deferred for each row execute function check_addressee();


-- The books ------------------------------------------------------------------------------------------------------

-- Balances move one version at a time, and only where an entry says why.
create function refuse_sleight() returns trigger
language plpgsql as $$
begin
    raise exception 'account % can only move from version % to %', old.id, old.version, old.version + 1
        using errcode = 'NC009', constraint = tg_name;
end $$;

create trigger accounts_move_by_entries before update on accounts
    for each row when (
        new.version <> old.version + 1
        or (new.id, new.customer_id, new.kind, new.funding)
           is distinct from (old.id, old.customer_id, old.kind, old.funding))
    execute function refuse_sleight();

create function check_account() returns trigger
language plpgsql as $$
begin
    if not (new.version = 0 and new.balance = 0) and not exists (
        select from entries
         where account_id = new.id and version = new.version and balance_after = new.balance
    ) then
        raise exception 'account % has % in version % and no entry that says so', new.id, new.balance, new.version
            using errcode = 'NC009', constraint = tg_name;
    end if;
    return null;
end $$;

create constraint trigger accounts_match_their_entries after insert or update on accounts
    deferrable initially deferred for each row execute function check_account();

-- A transfer has two sides, in the accounts it names, each the next link of its account's chain.
create function check_transfer() returns trigger
language plpgsql as $$
declare
    v_id      bigint := case tg_table_name when 'transfers' then to_jsonb(new) ->> 'id'
                                           else to_jsonb(new) ->> 'transfer_id' end;
    v_sides   bigint;
    v_right   bigint;
begin
    select count(*),
           count(*) filter (
               where (a.customer_id, a.funding) = (t.customer_id, t.funding)
                 and (a.kind, e.delta) in ((t.from_kind, -t.amount_credits), (t.to_kind, t.amount_credits))
                 and e.version <= a.version
                 and e.balance_after - e.delta = coalesce(
                     (select balance_after from entries before
                       where before.account_id = e.account_id and before.version = e.version - 1),
                     case e.version when 1 then 0 end))
      into v_sides, v_right
      from transfers t
      join entries e on e.transfer_id = t.id
      join accounts a on a.id = e.account_id
     where t.id = v_id;
    if (v_sides, v_right) <> (2, 2) then
        raise exception 'transfer % has % entries, of which % are right', v_id, v_sides, v_right
            using errcode = 'NC010', constraint = tg_name;
    end if;
    return null;
end $$;

create constraint trigger transfers_have_two_sides after insert on transfers
    deferrable initially deferred for each row execute function check_transfer();
create constraint trigger entries_are_sides after insert on entries
    deferrable initially deferred for each row execute function check_transfer();

-- What ends a hold (or reverses a settlement) gives back the same credits to where they came from.
create function check_end() returns trigger
language plpgsql as $$
begin
    if not exists (
        select from transfers ended
         where ended.id = new.ends_id
           and (ended.kind, ended.customer_id, ended.funding, ended.amount_credits, ended.generation_id)
               = (case new.kind when 'reversal' then 'settle' else 'hold' end,
                  new.customer_id, new.funding, new.amount_credits, new.generation_id)
    ) then
        raise exception '% % does not end transfer % as it was', new.kind, new.cause, new.ends_id
            using errcode = 'NC011', constraint = tg_name;
    end if;
    return new;
end $$;

create trigger transfers_end_what_was_begun before insert on transfers
    for each row when (new.ends_id is not null) execute function check_end();


-- Messages -------------------------------------------------------------------------------------------------------

alter table updates add column deaths smallint not null default 0;
comment on column updates.deaths is 'How often whoever handled it fell silent: by this very update, or by something else.';

alter table notices add column repeats smallint not null default 0;
comment on column notices.repeats is
    'How often it was sent again because it is not known whether Telegram took it: an answer was lost, a sender died.';

-- What was told stays told, and only by telling it: an end that reached nobody would be an end that nobody hears of.
alter table notices
    add constraint notices_sent_as_a_message check (state <> 'sent' or message_id is not null),
    add constraint notices_videos_are_not_passed_by check (state <> 'superseded' or kind in ('status', 'failure'));

create function refuse_untelling() returns trigger
language plpgsql as $$
begin
    raise exception 'notice % is %, lease %, and cannot become %, lease %',
        old.id, old.state, old.lease_number, new.state, new.lease_number using errcode = 'NC013', constraint = tg_name;
end $$;

create trigger notices_go_forward before update on notices
    for each row when (
        new.lease_number < old.lease_number
        or (old.state in ('sent', 'superseded', 'undeliverable') and new.state <> old.state)
        or (new.state = 'sending' and new.lease_number = old.lease_number and old.state <> 'sending'))
    execute function refuse_untelling();

-- A video that can never be handed over is paid back in the same commit.
create function check_delivery() returns trigger
language plpgsql as $$
begin
    if not exists (select from generations where id = new.generation_id and state = 'failed') then
        raise exception 'video % cannot be handed over and is not paid back', new.generation_id
            using errcode = 'NC014', constraint = tg_name;
    end if;
    return null;
end $$;

create constraint trigger notices_undelivered_is_paid_back
    after insert or update of state on notices
    deferrable initially deferred
    for each row when (new.kind = 'video' and new.state = 'undeliverable') execute function check_delivery();

-- All notices of the shop together keep a pace; the row says when the next one may go.
create table pace (
    only_row  boolean primary key default true constraint pace_has_one_row check (only_row),
    free_at   timestamptz not null default '-infinity'
);
insert into pace default values;
create trigger pace_stays before delete or truncate on pace execute function refuse_removal();

-- How many notices may go now, so that within no second there are more than p_per_second: a fifth of them can be saved up,
-- the others come evenly. Until the transaction ends nobody else is told, so that nothing is promised twice.
create function free_places(p_per_second double precision) returns integer
language plpgsql as $$
begin
    perform pg_advisory_xact_lock('pace'::regclass::oid::bigint);
    return (select floor(extract(epoch from clock_now() - greatest(free_at, clock_now() - interval '250 ms'))
                         * p_per_second * 0.8 + 0.001)
              from pace);
end $$;

-- So many of them go.
create function use_places(p_used integer, p_per_second double precision) returns void
language sql
begin atomic
    update pace
       set free_at = greatest(free_at, clock_now() - interval '250 ms')
                     + make_interval(secs => p_used / (p_per_second * 0.8));
end;

-- Ends first: the order in which chats are written to.
create index notices_turn on notices ((kind = 'status'), id) where state in ('pending', 'sending');
create index notices_in_doubt on notices (id) where repeats > 0;
create index notices_undeliverable on notices (id) where state = 'undeliverable';
create index updates_dead on updates (id) where state = 'dead';


-- Ordering, with a limit on what one customer can have in work -----------------------------------------------------

drop function place_order(uuid, integer, text, integer, integer, interval);

-- Outcomes: placed; already_placed (the same draft again: the same order); outdated (no such draft);
-- price_changed (the card showed another price); not_enough_credits; too_many_open (more than p_open_limit videos
-- would be in work for one customer). Only "placed" writes anything.
create function place_order(
    p_order_id uuid, p_template_version integer, p_model text, p_seconds integer, p_price_credits integer,
    p_deadline interval, p_open_limit integer default null
) returns table (outcome text, order_number bigint, total_credits bigint, available_credits bigint)
language plpgsql as $$
declare
    v_draft          drafts;
    v_free           bigint;
    v_paid           bigint;
    v_from_free      bigint;
    v_generation_id  uuid;
begin
    -- The second of two taps waits here, and then finds the draft gone and the order there.
    select * into v_draft from drafts where order_id = p_order_id for update;
    if not found then
        select o.number, o.count * o.price_credits into order_number, total_credits
          from orders o where o.id = p_order_id;
        outcome := case when found then 'already_placed' else 'outdated' end;
        return next;
        return;
    end if;

    if not ((v_draft.photo_key, v_draft.template, v_draft.description, v_draft.wishes, v_draft.count,
             v_draft.quoted_price_credits) is not null) then
        outcome := 'outdated';
        return next;
        return;
    end if;

    perform lock_books(v_draft.customer_id);
    select coalesce(sum(balance) filter (where funding = 'free'), 0),
           coalesce(sum(balance) filter (where funding = 'paid'), 0)
      into v_free, v_paid
      from accounts where customer_id = v_draft.customer_id and kind = 'available';
    available_credits := v_free + v_paid;
    total_credits := v_draft.count * p_price_credits;

    if v_draft.quoted_price_credits <> p_price_credits then
        outcome := 'price_changed';
        return next;
        return;
    end if;
    if available_credits < total_credits then
        outcome := 'not_enough_credits';
        return next;
        return;
    end if;
    if p_open_limit < v_draft.count + (
        select count(*) from jobs
         where customer_id = v_draft.customer_id and state in ('available', 'running')
    ) then
        outcome := 'too_many_open';
        return next;
        return;
    end if;

    insert into orders (id, customer_id, photo_key, template, template_version, description, wishes, count,
                        price_credits, model, seconds, card_message_id)
    values (p_order_id, v_draft.customer_id, v_draft.photo_key, v_draft.template, p_template_version,
            v_draft.description, v_draft.wishes, v_draft.count, p_price_credits, p_model, p_seconds,
            v_draft.card_message_id)
    returning number into order_number;

    for v_ordinal in 1 .. v_draft.count loop
        insert into generations (order_id, customer_id, ordinal, price_credits, deadline_at)
        values (p_order_id, v_draft.customer_id, v_ordinal, p_price_credits, clock_now() + p_deadline)
        returning id into v_generation_id;

        -- Free credits first; a refund returns each part to where it came from.
        v_from_free := least(v_free, p_price_credits);
        v_free := v_free - v_from_free;
        if v_from_free > 0 then
            perform move_credits('hold', v_draft.customer_id, 'available', 'held', 'free', v_from_free,
                                 'hold:free:' || v_generation_id, v_generation_id);
        end if;
        if v_from_free < p_price_credits then
            perform move_credits('hold', v_draft.customer_id, 'available', 'held', 'paid',
                                 p_price_credits - v_from_free, 'hold:paid:' || v_generation_id, v_generation_id);
        end if;

        insert into jobs (kind, subject_id, customer_id) values ('generation', v_generation_id, v_draft.customer_id);
    end loop;

    insert into notices (customer_id, order_id, kind, cause, stage)
    values (v_draft.customer_id, p_order_id, 'status', 'status:' || p_order_id || ':accepted', 'accepted');
    delete from drafts where order_id = p_order_id;

    outcome := 'placed';
    return next;
end $$;

create index jobs_open_of_customer on jobs (customer_id) where state in ('available', 'running');


-- The customer takes an order back. Free of charge as long as no provider was asked: until the first intent that was
-- not refused. A worker that is about to submit has locked the job, or finds its lease gone.
-- Outcomes: cancelled (also when all of it was before: the answer may have been lost); too_late (`kept` videos are in work,
-- `cancelled` others were not); ended (nothing was open); unknown.
create function cancel_order(p_order_id uuid, p_customer_id bigint)
returns table (outcome text, cancelled integer, kept integer)
language plpgsql as $$
declare
    v_id uuid;
begin
    cancelled := 0;
    kept := 0;
    if not exists (select from orders where id = p_order_id and customer_id = p_customer_id) then
        outcome := 'unknown';
        return next;
        return;
    end if;

    -- All jobs first and in one order: two cancellations, or a cancellation and a worker, never wait for each other.
    perform from jobs
      where kind = 'generation' and state in ('available', 'running')
        and subject_id in (select id from generations where order_id = p_order_id)
      order by id for update;
    for v_id in
        select g.id from generations g
         where g.order_id = p_order_id and g.state in ('queued', 'processing') order by g.ordinal
    loop
        if exists (select from attempts where generation_id = v_id and state <> 'refused') then
            kept := kept + 1;
        else
            perform refund_generation(v_id, null, 'customer', 'cancelled');
            cancelled := cancelled + 1;
        end if;
    end loop;
    outcome := case
        when kept > 0 then 'too_late'
        when cancelled > 0 then 'cancelled'
        when exists (select from generations where order_id = p_order_id and state = 'cancelled')
             and not exists (select from generations where order_id = p_order_id and state <> 'cancelled') then 'cancelled'
        else 'ended' end;
    return next;
end $$;


-- Who may do what ------------------------------------------------------------------------------------------------

-- Bot and workers act as this role: they read everything, move credits by the functions above and by nothing else, and
-- write only the columns that are theirs. Whoever applies migrations owns the tables and may act as it.
-- Roles belong to the whole server: another shop may have made it, or be making it just now.
do $$
begin
    create role neurocards_app nologin;
exception
    when duplicate_object or unique_violation then null;
    when insufficient_privilege then
        if to_regrole('neurocards_app') is null then
            raise exception 'the role neurocards_app is missing, and % may not create it: have it created by'
                ' "create role neurocards_app nologin; grant neurocards_app to %", then migrate again',
                current_user, quote_ident(current_user) using errcode = 'insufficient_privilege';
        end if;
end $$;
do $$
begin
    if not pg_has_role(current_user, 'neurocards_app', 'member') then
        execute format('grant neurocards_app to %I', current_user);
    end if;
exception
    when insufficient_privilege then
        raise exception '% is no member of neurocards_app: have it granted by "grant neurocards_app to %", then migrate again',
            current_user, quote_ident(current_user) using errcode = 'insufficient_privilege';
end $$;

grant usage on schema public to neurocards_app;
grant select on all tables in schema public to neurocards_app;
grant insert, update, delete on drafts, photos, updates to neurocards_app;
grant insert, update on notices, attempts to neurocards_app;
grant update (first_name, language, consent_version, consented_at) on customers to neurocards_app;
grant update (write_after, unreachable_since) on chats to neurocards_app;
grant update (card_message_id, card_text, card_shown_at) on orders to neurocards_app;
grant update (state, deadline_at, prompt, prompt_source, frame_url, video_key, cover_key, thumbnail_key, width, height,
              seconds, size_bytes, file_id) on generations to neurocards_app;
grant update (state, run_at, attempt, rescues, priority, lease_number, lease_owner, lease_expires_at, failure)
    on jobs to neurocards_app;
grant update (free_at) on pace to neurocards_app;

-- The functions that move credits act with their owner's rights, whoever calls them. They and the checks look only
-- where they belong: not first into tables of the same names that a caller has made for a session.
do $$
declare
    v_function regprocedure;
begin
    foreach v_function in array array[
        'register_customer(bigint, text, text)', 'top_up(bigint, bigint, text, text, text)',
        'withdraw(bigint, bigint, text, text, text)', 'settle_generation(uuid, bigint)',
        'place_order(uuid, integer, text, integer, integer, interval, integer)',
        'refund_generation(uuid, bigint, text, text)', 'reverse_settlement(uuid, text)', 'cancel_order(uuid, bigint)'
    ]::regprocedure[] loop
        execute format('alter function %s security definer', v_function);
        execute format('alter function %s set search_path = public, pg_temp', v_function);
        -- Nobody else who can connect, to read the books or to copy them, moves credits.
        execute format('revoke execute on function %s from public', v_function);
        execute format('grant execute on function %s to neurocards_app', v_function);
    end loop;
    foreach v_function in array array[
        'check_story()', 'check_order()', 'check_account()', 'check_transfer()', 'check_end()', 'check_addressee()',
        'check_delivery()',
        'take_turn()'
    ]::regprocedure[] loop
        execute format('alter function %s set search_path = public, pg_temp', v_function);
    end loop;
end $$;
revoke execute on function
    move_credits(text, bigint, text, text, text, bigint, text, uuid, bigint, text),
    change_credits(text, bigint, bigint, text, text, text), end_holds(uuid, text), lock_books(bigint) from public;
