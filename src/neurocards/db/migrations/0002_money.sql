-- The money functions. Each is one decision in one transaction, is safe to repeat, and is safe to call from psql:
-- a call that makes no sense raises or answers with an outcome, and never leaves the books half-written.

create function lock_books(p_customer_id bigint) returns void
language plpgsql as $$
begin
    -- One customer's credits move one decision at a time; different customers never wait for each other.
    perform from customers where id = p_customer_id for no key update;
    if not found then
        raise exception 'no customer %', p_customer_id using errcode = 'NC404';
    end if;
end $$;


create function register_customer(p_telegram_id bigint, p_first_name text, p_language text) returns bigint
language plpgsql as $$
declare
    v_customer_id bigint;
begin
    insert into customers (telegram_id, first_name, language)
    values (p_telegram_id, p_first_name, p_language)
    on conflict (telegram_id) do nothing
    returning id into v_customer_id;
    if v_customer_id is null then
        select id into strict v_customer_id from customers where telegram_id = p_telegram_id;
        return v_customer_id;
    end if;

    insert into chats (customer_id) values (v_customer_id);
    insert into accounts (customer_id, kind, funding)
    select v_customer_id, kind, funding
      from unnest(array['issued', 'available', 'held', 'spent']) kind, unnest(array['free', 'paid']) funding;
    return v_customer_id;
end $$;


-- The only writer of balances: one transfer, and its two entries under the accounts' next versions.
create function move_credits(
    p_kind text, p_customer_id bigint, p_from text, p_to text, p_funding text, p_amount bigint, p_cause text,
    p_generation_id uuid default null, p_ends_id bigint default null, p_reason text default null
) returns void
language plpgsql as $$
declare
    v_transfer_id  bigint;
    v_entries      integer;
begin
    insert into transfers (kind, customer_id, funding, from_kind, to_kind, amount_credits, cause,
                           generation_id, ends_id, reason)
    values (p_kind, p_customer_id, p_funding, p_from, p_to, p_amount, p_cause,
            p_generation_id, p_ends_id, p_reason)
    returning id into v_transfer_id;

    with moved as (
        update accounts a
           set balance = a.balance + side.delta, version = a.version + 1
          from (values (p_from, -p_amount), (p_to, p_amount)) side (kind, delta)
         where a.customer_id = p_customer_id and a.funding = p_funding and a.kind = side.kind
        returning a.id, a.version, side.delta, a.balance
    )
    insert into entries (account_id, version, transfer_id, delta, balance_after)
    select id, version, v_transfer_id, delta, balance from moved;
    get diagnostics v_entries = row_count;
    if v_entries <> 2 then
        raise exception 'customer % lacks an account for % to %', p_customer_id, p_from, p_to using errcode = 'NC404';
    end if;
end $$;


-- True when credits moved, false when this very cause had moved them before. The same cause with other
-- figures is an error: whoever asks would believe that something else had happened.
create function change_credits(
    p_kind text, p_customer_id bigint, p_amount bigint, p_funding text, p_cause text, p_reason text
) returns boolean
language plpgsql as $$
declare
    v_earlier transfers;
begin
    perform lock_books(p_customer_id);
    select * into v_earlier from transfers where cause = p_cause;
    if found then
        if (v_earlier.kind, v_earlier.customer_id, v_earlier.amount_credits, v_earlier.funding)
           is distinct from (p_kind, p_customer_id, p_amount, p_funding) then
            raise exception 'cause % was used for another transfer', p_cause using errcode = 'NC409';
        end if;
        return false;
    end if;
    perform move_credits(
        p_kind, p_customer_id,
        case p_kind when 'top_up' then 'issued' else 'available' end,
        case p_kind when 'top_up' then 'available' else 'issued' end,
        p_funding, p_amount, p_cause, p_reason => p_reason);
    return true;
end $$;

create function top_up(p_customer_id bigint, p_amount bigint, p_funding text, p_cause text, p_reason text)
returns boolean
language sql
return change_credits('top_up', p_customer_id, p_amount, p_funding, p_cause, p_reason);

create function withdraw(p_customer_id bigint, p_amount bigint, p_funding text, p_cause text, p_reason text)
returns boolean
language sql
return change_credits('withdrawal', p_customer_id, p_amount, p_funding, p_cause, p_reason);


-- Outcomes: placed; already_placed (the same draft again: the same order); outdated (no such draft);
-- price_changed (the card showed another price); not_enough_credits. Only "placed" writes anything.
create function place_order(
    p_order_id uuid, p_template_version integer, p_model text, p_seconds integer, p_price_credits integer,
    p_deadline interval
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


-- Ends every hold of a generation the same way: settle (to spent) or refund (to available).
create function end_holds(p_generation_id uuid, p_kind text) returns void
language plpgsql as $$
declare
    v_hold transfers;
begin
    for v_hold in
        select * from transfers where generation_id = p_generation_id and kind = 'hold' order by id
    loop
        perform move_credits(
            p_kind, v_hold.customer_id, 'held', case p_kind when 'settle' then 'spent' else 'available' end,
            v_hold.funding, v_hold.amount_credits, p_kind || ':' || v_hold.funding || ':' || p_generation_id,
            p_generation_id, v_hold.id);
    end loop;
end $$;

create function tell_status(p_generation_id uuid, p_stage text) returns void
language sql
begin atomic
    insert into notices (customer_id, order_id, generation_id, kind, cause, stage)
    select customer_id, order_id, id, 'status', 'status:' || id || ':' || p_stage, p_stage
      from generations where id = p_generation_id
    on conflict (cause) do nothing;
end;


-- The video is ours and sound: held credits become spent, the video and the finished card go out.
-- Outcomes: settled; stale (the lease is lost: somebody else decides).
create function settle_generation(p_generation_id uuid, p_lease_number bigint) returns text
language plpgsql as $$
declare
    v_customer_id  bigint;
    v_order_id     uuid;
begin
    update jobs
       set state = 'completed', finished_at = clock_now(), lease_owner = null, lease_expires_at = null
     where kind = 'generation' and subject_id = p_generation_id
       and state = 'running' and lease_number = p_lease_number;
    if not found then
        return 'stale';
    end if;

    update generations set state = 'completed', finished_at = clock_now()
     where id = p_generation_id
    returning customer_id, order_id into v_customer_id, v_order_id;
    perform lock_books(v_customer_id);
    perform end_holds(p_generation_id, 'settle');

    perform tell_status(p_generation_id, 'sending');
    insert into notices (customer_id, order_id, generation_id, kind, cause)
    values (v_customer_id, v_order_id, p_generation_id, 'video', 'video:' || p_generation_id);
    perform tell_status(p_generation_id, 'finished');
    return 'settled';
end $$;


-- The generation ends without a video: credits go back to where they came from and the customer is told why.
-- With a lease number it is the worker's verdict; without one it comes from maintenance or an operator, takes
-- the lease away from whoever works on it, and says "ended" when there was nothing left to end.
-- Outcomes: refunded; stale; ended.
create function refund_generation(
    p_generation_id uuid, p_lease_number bigint, p_failure text, p_state text default 'failed'
) returns text
language plpgsql as $$
declare
    v_customer_id  bigint;
    v_order_id     uuid;
begin
    update jobs
       set state = 'discarded', finished_at = clock_now(), failure = p_failure,
           lease_number = lease_number + case when p_lease_number is null then 1 else 0 end,
           lease_owner = null, lease_expires_at = null
     where kind = 'generation' and subject_id = p_generation_id
       and case when p_lease_number is null then state in ('available', 'running')
                else state = 'running' and lease_number = p_lease_number end;
    if not found then
        return case when p_lease_number is null then 'ended' else 'stale' end;
    end if;

    update generations set state = p_state, failure = p_failure, finished_at = clock_now()
     where id = p_generation_id
    returning customer_id, order_id into v_customer_id, v_order_id;
    perform lock_books(v_customer_id);
    perform end_holds(p_generation_id, 'refund');
    -- A task that is still being made is nobody's now; it stays on record for its cost.
    update attempts
       set state = case when task_id is null then 'abandoned' else 'orphaned' end,
           failure = p_failure, ended_at = clock_now()
     where generation_id = p_generation_id and state in ('intent', 'unknown', 'accepted', 'succeeded');

    insert into notices (customer_id, order_id, generation_id, kind, cause)
    values (v_customer_id, v_order_id, p_generation_id, 'failure', 'failure:' || p_generation_id);
    perform tell_status(p_generation_id, 'finished');
    return 'refunded';
end $$;


-- A video that was paid for and can never be handed over, for our fault, is paid back: what was spent becomes
-- available again, to where it came from, and the customer is told why. Outcomes: reversed; not_settled.
create function reverse_settlement(p_generation_id uuid, p_failure text) returns text
language plpgsql as $$
declare
    v_customer_id  bigint;
    v_order_id     uuid;
    v_settle       transfers;
begin
    update generations set state = 'failed', failure = p_failure
     where id = p_generation_id and state = 'completed'
    returning customer_id, order_id into v_customer_id, v_order_id;
    if not found then
        return 'not_settled';
    end if;

    perform lock_books(v_customer_id);
    for v_settle in
        select * from transfers where generation_id = p_generation_id and kind = 'settle' order by id
    loop
        perform move_credits(
            'reversal', v_customer_id, 'spent', 'available', v_settle.funding, v_settle.amount_credits,
            'reversal:' || v_settle.funding || ':' || p_generation_id, p_generation_id, v_settle.id);
    end loop;

    insert into notices (customer_id, order_id, generation_id, kind, cause, stage)
    values (v_customer_id, v_order_id, p_generation_id, 'failure', 'failure:' || p_generation_id, null),
           (v_customer_id, v_order_id, p_generation_id, 'status', 'status:' || p_generation_id || ':reversed', 'finished');
    return 'reversed';
end $$;
