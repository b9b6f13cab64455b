-- The tables of neurocards and what must never be true of them.
--
-- An order is placed from a draft in one transaction: its credits are held, its generations and their jobs are
-- created, and the first notice is written. Workers claim jobs and fill a generation's columns one step at a
-- time; those columns are its recovery points. A generation ends once: settled (held credits become spent) or
-- refunded (they become available again), in the commit that also ends its job and writes its final notice.
--
-- Credits move by transfers and are never edited. Per customer the eight accounts always sum to zero.
-- All times are read through clock_now(), so tests can move the one clock that leases, retries and deadlines share.

create table clock (
    only_row  boolean primary key default true constraint clock_has_one_row check (only_row),
    shift     interval not null
);
comment on table clock is 'Empty in production. A test moves the time of every process by its one row.';

create function clock_now() returns timestamptz
language sql stable
return now() + coalesce((select shift from clock), interval '0');


-- People ---------------------------------------------------------------------------------------------------------

create table customers (
    id               bigint generated always as identity primary key,
    telegram_id      bigint not null constraint customers_one_per_person unique,
    first_name       text not null,
    language         text not null constraint customers_language_known check (language in ('ru', 'en')),
    consent_version  integer,
    consented_at     timestamptz,
    created_at       timestamptz not null default clock_now(),
    constraint customers_consent_dated check ((consent_version is null) = (consented_at is null))
);

create table chats (
    customer_id        bigint primary key references customers,
    write_after        timestamptz not null default '-infinity',
    unreachable_since  timestamptz
);
comment on table chats is 'How a customer may be written to: not before write_after (pace, 429), not while unreachable (403).';

create table updates (
    id                bigint primary key,
    person            bigint not null,
    urgent            boolean not null,
    body              jsonb not null,
    state             text not null default 'pending'
                      constraint updates_state_known check (state in ('pending', 'handling', 'handled', 'dead')),
    attempt           smallint not null default 1,
    handle_at         timestamptz not null default clock_now(),
    lease_number      bigint not null default 0,
    lease_expires_at  timestamptz,
    failure           text,
    received_at       timestamptz not null default clock_now(),
    handled_at        timestamptz,
    constraint updates_handling_has_lease check ((state = 'handling') = (lease_expires_at is not null)),
    constraint updates_ended_dated check ((state in ('handled', 'dead')) = (handled_at is not null))
);
create index updates_open on updates (person, id) where state in ('pending', 'handling');
create index updates_turn on updates (urgent desc, id) where state in ('pending', 'handling');
create index updates_ended on updates (handled_at) where state in ('handled', 'dead');


-- Orders ---------------------------------------------------------------------------------------------------------

create table drafts (
    order_id              uuid primary key default gen_random_uuid(),
    customer_id           bigint not null references customers constraint drafts_one_per_customer unique,
    photo_key             text,
    template              text,
    description           text,
    wishes                text,
    count                 smallint,
    quoted_price_credits  integer,
    card_message_id       bigint,
    updated_at            timestamptz not null default clock_now()
);
comment on column drafts.quoted_price_credits is 'Credits for one video as shown on the card; null until a card was shown.';

create table orders (
    id                uuid primary key,
    number            bigint generated always as identity constraint orders_number_unique unique,
    customer_id       bigint not null references customers,
    photo_key         text not null,
    template          text not null,
    template_version  integer not null,
    description       text not null,
    wishes            text not null,
    count             smallint not null constraint orders_count_sane check (count between 1 and 10),
    price_credits     integer not null constraint orders_price_positive check (price_credits > 0),
    model             text not null,
    seconds           smallint not null constraint orders_seconds_sane check (seconds between 1 and 60),
    card_message_id   bigint,
    placed_at         timestamptz not null default clock_now()
);
create index orders_of_customer on orders (customer_id, number desc);
comment on column orders.price_credits is 'Credits for one video of the order.';

create table generations (
    id             uuid primary key default gen_random_uuid(),
    order_id       uuid not null references orders,
    customer_id    bigint not null references customers,
    ordinal        smallint not null,
    price_credits  integer not null constraint generations_price_positive check (price_credits > 0),
    state          text not null default 'queued'
                   constraint generations_state_known
                   check (state in ('queued', 'processing', 'completed', 'failed', 'cancelled')),
    prompt         text,
    prompt_source  text constraint generations_prompt_source_known check (prompt_source in ('writer', 'template')),
    frame_url      text,
    video_key      text,
    cover_key      text,
    thumbnail_key  text,
    width          integer,
    height         integer,
    seconds        double precision,
    size_bytes     bigint,
    file_id        text,
    failure        text,
    deadline_at    timestamptz not null,
    created_at     timestamptz not null default clock_now(),
    finished_at    timestamptz,
    constraint generations_one_per_ordinal unique (order_id, ordinal),
    constraint generations_ended_dated
        check ((state in ('completed', 'failed', 'cancelled')) = (finished_at is not null)),
    constraint generations_completed_has_video check (state <> 'completed' or video_key is not null),
    constraint generations_failed_says_why check ((state in ('failed', 'cancelled')) = (failure is not null)),
    constraint generations_video_measured check (
        video_key is null
        or (cover_key, thumbnail_key, width, height, seconds, size_bytes) is not null
    )
);
create index generations_open_deadline on generations (deadline_at) where state in ('queued', 'processing');

-- An attempt is one paid-for try at a provider. It is written as an intent and committed before any byte leaves,
-- because no provider accepts a key that would make a repeated submit harmless.
create table attempts (
    id             uuid primary key,
    generation_id  uuid not null references generations,
    number         smallint not null,
    provider       text not null,
    model          text not null,
    lease_number   bigint not null,
    state          text not null default 'intent'
                   constraint attempts_state_known
                   check (state in ('intent', 'accepted', 'refused', 'unknown', 'abandoned', 'succeeded', 'failed', 'orphaned')),
    task_id        text,
    result_url     text,
    failure        text,
    created_at     timestamptz not null default clock_now(),
    accepted_at    timestamptz,
    ended_at       timestamptz,
    constraint attempts_numbered_once unique (generation_id, number),
    constraint attempts_one_owner_per_task unique (provider, task_id),
    constraint attempts_accepted_has_task
        check (state not in ('accepted', 'succeeded', 'orphaned') or task_id is not null),
    constraint attempts_succeeded_has_result check (state <> 'succeeded' or result_url is not null)
);
create unique index attempts_one_live on attempts (generation_id)
    where state in ('intent', 'unknown', 'accepted', 'succeeded');

create table jobs (
    id                bigint generated always as identity primary key,
    kind              text not null,
    subject_id        uuid not null,
    customer_id       bigint not null references customers,
    state             text not null default 'available'
                      constraint jobs_state_known check (state in ('available', 'running', 'completed', 'discarded')),
    run_at            timestamptz not null default clock_now(),
    attempt           smallint not null default 1 constraint jobs_three_retries check (attempt between 1 and 4),
    rescues           smallint not null default 0,
    lease_number      bigint not null default 0,
    lease_owner       text,
    lease_expires_at  timestamptz,
    failure           text,
    created_at        timestamptz not null default clock_now(),
    finished_at       timestamptz,
    constraint jobs_one_per_subject unique (kind, subject_id),
    constraint jobs_running_has_lease
        check ((state = 'running') = (lease_owner is not null and lease_expires_at is not null)),
    constraint jobs_ended_dated check ((state in ('completed', 'discarded')) = (finished_at is not null))
);
create index jobs_due on jobs (run_at, id) where state = 'available';
create index jobs_leased on jobs (lease_expires_at) where state = 'running';

create table notices (
    id                bigint generated always as identity primary key,
    customer_id       bigint not null references customers,
    order_id          uuid not null references orders,
    generation_id     uuid references generations,
    kind              text not null constraint notices_kind_known check (kind in ('status', 'video', 'failure')),
    cause             text not null constraint notices_written_once unique,
    stage             text,
    state             text not null default 'pending'
                      constraint notices_state_known
                      check (state in ('pending', 'sending', 'sent', 'superseded', 'undeliverable')),
    attempt           smallint not null default 1,
    send_at           timestamptz not null default clock_now(),
    lease_number      bigint not null default 0,
    lease_expires_at  timestamptz,
    failure           text,
    message_id        bigint,
    created_at        timestamptz not null default clock_now(),
    sent_at           timestamptz,
    constraint notices_sending_has_lease check ((state = 'sending') = (lease_expires_at is not null)),
    constraint notices_about_something check (kind = 'status' or generation_id is not null),
    constraint notices_status_has_stage check ((kind = 'status') = (stage is not null))
);
create index notices_open on notices (customer_id, id) where state in ('pending', 'sending');
create index notices_of_order on notices (order_id, id);


-- Credits --------------------------------------------------------------------------------------------------------

create table accounts (
    id           bigint generated always as identity primary key,
    customer_id  bigint not null references customers,
    kind         text not null constraint accounts_kind_known check (kind in ('issued', 'available', 'held', 'spent')),
    funding      text not null constraint accounts_funding_known check (funding in ('free', 'paid')),
    balance      bigint not null default 0,
    version      bigint not null default 0,
    constraint accounts_one_of_a_kind unique (customer_id, kind, funding),
    constraint accounts_never_overdrawn check (case when kind = 'issued' then balance <= 0 else balance >= 0 end)
);

create table transfers (
    id              bigint generated always as identity primary key,
    kind            text not null
                    constraint transfers_kind_known check (kind in ('top_up', 'withdrawal', 'hold', 'settle', 'refund', 'reversal')),
    customer_id     bigint not null references customers,
    funding         text not null constraint transfers_funding_known check (funding in ('free', 'paid')),
    from_kind       text not null,
    to_kind         text not null,
    amount_credits  bigint not null constraint transfers_amount_positive check (amount_credits > 0),
    cause           text not null constraint transfers_one_per_cause unique,
    generation_id   uuid references generations deferrable initially deferred,
    ends_id         bigint references transfers constraint transfers_ended_once unique,
    reason          text,
    created_at      timestamptz not null default clock_now(),
    constraint transfers_path_known check ((kind, from_kind, to_kind) in (
        ('top_up', 'issued', 'available'), ('withdrawal', 'available', 'issued'), ('hold', 'available', 'held'),
        ('settle', 'held', 'spent'), ('refund', 'held', 'available'), ('reversal', 'spent', 'available'))),
    constraint transfers_end_names_what_it_ends
        check ((kind in ('settle', 'refund', 'reversal')) = (ends_id is not null)),
    constraint transfers_order_names_its_generation
        check ((kind in ('top_up', 'withdrawal')) = (generation_id is null))
);
create index transfers_of_generation on transfers (generation_id) where generation_id is not null;

-- One side of a transfer as an account sees it. Versions without a gap make a lost update visible for ever.
create table entries (
    account_id     bigint not null references accounts,
    version        bigint not null,
    transfer_id    bigint not null references transfers,
    delta          bigint not null,
    balance_after  bigint not null,
    primary key (account_id, version),
    constraint entries_one_per_side unique (transfer_id, account_id)
);

create function refuse_change() returns trigger
language plpgsql as $$
begin
    raise exception '% is append-only', tg_table_name using errcode = 'NC001';
end $$;

create trigger transfers_append_only before update or delete or truncate on transfers
    execute function refuse_change();
create trigger entries_append_only before update or delete or truncate on entries
    execute function refuse_change();


-- What ties them together ----------------------------------------------------------------------------------------

create function refuse_revival() returns trigger
language plpgsql as $$
begin
    raise exception 'generation % has ended as %', old.id, old.state using errcode = 'NC002';
end $$;

-- Only a video that was paid for and could never be handed over ends a second time; see reverse_settlement.
create trigger generations_end_once before update of state on generations
    for each row when (
        old.state in ('completed', 'failed', 'cancelled') and new.state <> old.state
        and (old.state, new.state) <> ('completed', 'failed'))
    execute function refuse_revival();

-- At commit a generation, its credits, its job and its final notice tell one story, whoever wrote them.
create function check_story() returns trigger
language plpgsql as $$
declare
    v_id          uuid;
    v_generation  generations;
    v_held        bigint;
    v_settled     bigint;
    v_refunded    bigint;
    v_reversed    bigint;
    v_job_state   text;
    v_final       boolean;
    v_consistent  boolean;
begin
    v_id := case tg_table_name
        when 'generations' then to_jsonb(new) ->> 'id'
        when 'transfers' then to_jsonb(new) ->> 'generation_id'
        else to_jsonb(new) ->> 'subject_id'
    end;
    select * into v_generation from generations where id = v_id;
    select coalesce(sum(amount_credits) filter (where kind = 'hold'), 0),
           coalesce(sum(amount_credits) filter (where kind = 'settle'), 0),
           coalesce(sum(amount_credits) filter (where kind = 'refund'), 0),
           coalesce(sum(amount_credits) filter (where kind = 'reversal'), 0)
      into v_held, v_settled, v_refunded, v_reversed
      from transfers where generation_id = v_id;
    select state into v_job_state from jobs where kind = 'generation' and subject_id = v_id;
    v_final := exists (
        select from notices
         where cause = case v_generation.state when 'completed' then 'video:' else 'failure:' end || v_id);

    v_consistent := v_held = v_generation.price_credits and case
        when v_generation.state in ('queued', 'processing') then
            (v_settled, v_refunded, v_reversed) = (0, 0, 0)
            and not v_final and v_job_state in ('available', 'running')
        when v_generation.state = 'completed' then
            (v_settled, v_refunded, v_reversed) = (v_held, 0, 0) and v_final and v_job_state = 'completed'
        else
            v_final and (v_settled, v_refunded, v_reversed, v_job_state) in (
                (0, v_held, 0, 'discarded'), (v_held, 0, v_held, 'completed'))
    end;
    if v_consistent is not true then
        raise exception 'generation % is % but held %, settled %, refunded %, reversed %, job %, final notice %',
            v_id, v_generation.state, v_held, v_settled, v_refunded, v_reversed, v_job_state, v_final
            using errcode = 'NC003';
    end if;
    return null;
end $$;

create constraint trigger generations_tell_one_story
    after insert or update of state on generations
    deferrable initially deferred
    for each row execute function check_story();

create constraint trigger transfers_tell_one_story
    after insert on transfers
    deferrable initially deferred
    for each row when (new.generation_id is not null and new.kind <> 'hold') execute function check_story();

create constraint trigger jobs_tell_one_story
    after update of state on jobs
    deferrable initially deferred
    for each row when (
        new.kind = 'generation'
        and (old.state in ('completed', 'discarded') or new.state in ('completed', 'discarded')))
    execute function check_story();

-- A notification is a hint only: whoever misses it finds the row at the next turn of its loop.
create function announce() returns trigger
language plpgsql as $$
begin
    perform pg_notify(tg_table_name, '');
    return null;
end $$;

create trigger jobs_announced after insert on jobs for each statement execute function announce();
create trigger notices_announced after insert on notices for each statement execute function announce();
create trigger updates_announced after insert on updates for each statement execute function announce();
