-- Several providers with several keys each: who made what and why, how each of them fares, and how fast each key may be
-- used by all workers together.

-- The time of this very moment on the one clock; clock_now() is that of the transaction's begin, before it waited.
create function clock_moment() returns timestamptz
language sql volatile
return clock_timestamp() + coalesce((select shift from clock), interval '0');

-- A second photo, for templates that show the product from two sides.
alter table drafts add column second_photo_key text;
alter table orders add column second_photo_key text;
create index orders_of_second_photo on orders (second_photo_key) where second_photo_key is not null;

alter table generations
    add column frame_provider  text,
    add column last_frame_url  text,
    add column delayed_at      timestamptz;
comment on column generations.delayed_at is 'Since when no provider can be asked; null while nothing is in its way.';

alter table attempts
    add column key           text not null default '',
    add column reason        text not null default '',
    add column cost_usd      numeric(10, 4) constraint attempts_cost_something check (cost_usd >= 0),
    add column cost_units    numeric(14, 4) constraint attempts_billed_something check (cost_units >= 0),
    add column task_url      text,
    add column failure_kind  text,
    add column ask_at        timestamptz,
    add column called_at     timestamptz;
comment on column attempts.key is 'The label of the key it was submitted with: no secret, and enough to find it again.';
comment on column attempts.reason is 'Why this model was asked.';
comment on column attempts.cost_usd is 'What it costs at the provider''s list price when it succeeds.';
comment on column attempts.cost_units is 'What the provider says it has charged, in its own money.';
comment on column attempts.ask_at is 'When the provider is to be asked next; a callback brings it forward.';
comment on column attempts.called_at is 'When a callback last said that the task has changed.';

-- How many were submitted lately with a key, and how many are being made.
create index attempts_of_key on attempts (key, created_at desc);
create index attempts_ended on attempts (ended_at desc) where state in ('succeeded', 'failed');
create index attempts_in_flight on attempts (key) where state in ('intent', 'unknown', 'accepted');


-- Keys, known by a label that is made from the key and does not give it away. Whoever waits to submit is given a turn.
create table provider_keys (
    label      text primary key,
    provider   text not null,
    next_turn    timestamptz not null default '-infinity',
    rests_until  timestamptz not null default '-infinity',
    seen_at    timestamptz not null default clock_now()
);
comment on column provider_keys.next_turn is 'When the last of those who wait comes to try again.';
comment on column provider_keys.rests_until is 'Until when the provider wants nothing from it: it was asked too fast.';
comment on column provider_keys.seen_at is 'When a worker last said that it has this key.';

-- What failed again and again is left alone until a time; whoever tries first then does it for all.
create table circuits (
    subject     text primary key,
    failures    integer not null constraint circuits_count_failures check (failures >= 0),
    open_until  timestamptz,
    why         text not null,
    changed_at  timestamptz not null default clock_now()
);
comment on table circuits is 'One row for each provider, key or model that has failed since it last succeeded.';

-- What providers say of their models: looked up now and then, never waited for.
create table model_checks (
    model         text primary key,
    listed        boolean,
    price         text,
    success_rate  double precision constraint model_checks_rate_is_a_share check (success_rate between 0 and 1),
    own_rate      double precision constraint model_checks_own_rate_is_a_share check (own_rate between 0 and 1),
    checked_at    timestamptz not null default clock_now()
);
comment on column model_checks.success_rate is 'The share of all customers'' tasks that succeeded, by the provider''s word.';
comment on column model_checks.own_rate is 'The share of our own last tasks that succeeded; null where there were few.';

-- What was left on a key, as the provider said: its bills are compared with our attempts.
create table balances (
    id        bigint generated always as identity primary key,
    label     text not null references provider_keys,
    units     numeric(14, 4) not null,
    taken_at  timestamptz not null default clock_now()
);
create index balances_of_key on balances (label, taken_at);
create trigger balances_append_only before update or delete or truncate on balances
    execute function refuse_change();
create trigger provider_keys_stay before delete or truncate on provider_keys execute function refuse_removal();


-- The order takes the second photo over, and what was agreed on includes the photos.
create or replace function place_order(
    p_order_id uuid, p_template_version integer, p_model text, p_seconds integer, p_price_credits integer,
    p_deadline interval, p_open_limit integer default null
) returns table (outcome text, order_number bigint, total_credits bigint, available_credits bigint)
language plpgsql security definer set search_path = public, pg_temp as $$
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

    insert into orders (id, customer_id, photo_key, second_photo_key, template, template_version, description, wishes, count,
                        price_credits, model, seconds, card_message_id)
    values (p_order_id, v_draft.customer_id, v_draft.photo_key, v_draft.second_photo_key, v_draft.template,
            p_template_version, v_draft.description, v_draft.wishes, v_draft.count, p_price_credits, p_model, p_seconds,
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

drop trigger orders_are_agreed on orders;
create trigger orders_are_agreed before update on orders
    for each row when (
        (new.id, new.number, new.customer_id, new.count, new.price_credits, new.placed_at, new.template,
         new.template_version, new.model, new.seconds, new.photo_key, new.second_photo_key)
        is distinct from (old.id, old.number, old.customer_id, old.count, old.price_credits, old.placed_at, old.template,
                          old.template_version, old.model, old.seconds, old.photo_key, old.second_photo_key))
    execute function refuse_renegotiation();


grant select on provider_keys, circuits, model_checks, balances to neurocards_app;
grant insert on provider_keys, balances to neurocards_app;
grant insert, update, delete on circuits, model_checks to neurocards_app;
grant update (next_turn, rests_until, seen_at) on provider_keys to neurocards_app;
grant update (frame_provider, last_frame_url, delayed_at) on generations to neurocards_app;
