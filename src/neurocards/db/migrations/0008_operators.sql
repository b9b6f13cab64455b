-- What operators do in the chat: dangerous acts that wait for a second tap, what was asked of them last, and what their
-- own chat was told of the shop's troubles.

-- One dangerous act, as it was asked for. Its id is in the button that confirms it, so a tap does just this, once.
create table operator_requests (
    id            uuid primary key,
    operator      bigint not null,
    act           text not null
                  constraint operator_requests_act_known check (act in ('grant', 'refund', 'pause', 'resume')),
    subject       text not null,
    credits       bigint not null constraint operator_requests_never_take check (credits >= 0),
    reason        text not null constraint operator_requests_say_why check (reason <> ''),
    needs_second  boolean not null,
    state         text not null default 'asked'
                  constraint operator_requests_state_known check (state in ('asked', 'seconding', 'done', 'dropped')),
    confirmed_by  bigint,
    asked_at      timestamptz not null default clock_now(),
    constraint operator_requests_done_by_somebody check (state <> 'done' or confirmed_by is not null),
    -- Above a limit for a day no operator acts alone.
    constraint operator_requests_second_is_another
        check (not (needs_second and state = 'done' and confirmed_by = operator))
);
comment on column operator_requests.operator is 'Telegram id of who asked; confirmed_by of who let it be done.';
comment on column operator_requests.subject is
    'grant: the customer''s Telegram id; refund: the order''s number; pause and resume: nothing.';
create index operator_requests_seconding on operator_requests (asked_at) where state = 'seconding';

create function refuse_other_request() returns trigger
language plpgsql as $$
begin
    raise exception 'request % is %, and asks for what it asked for', old.id, old.state
        using errcode = 'NC015', constraint = tg_name;
end $$;

-- What was confirmed is what was shown, and what is done or dropped stays so.
create trigger operator_requests_keep_their_word before update on operator_requests
    for each row when (
        (new.id, new.operator, new.act, new.subject, new.credits, new.reason, new.needs_second, new.asked_at)
        is distinct from (old.id, old.operator, old.act, old.subject, old.credits, old.reason, old.needs_second, old.asked_at)
        or (old.state in ('done', 'dropped') and new.state <> old.state))
    execute function refuse_other_request();
create trigger operator_requests_stay before delete or truncate on operator_requests
    execute function refuse_removal();

-- What an operator's next words in the chat are for; nothing is awaited without a row.
create table operator_questions (
    operator    bigint primary key,
    awaited     text not null,
    message_id  bigint,
    asked_at    timestamptz not null default clock_now()
);

-- Troubles that go on, and those that are over and have not been told as such yet.
create table alerts (
    name       text primary key,
    facts      jsonb not null,
    began_at   timestamptz not null default clock_now(),
    told_at    timestamptz,
    over_at    timestamptz
);
comment on column alerts.told_at is 'When a message that people hear of named it first; an edit makes no sound.';

-- Who tells them, one process at a time, and the message that is edited as long as it will do.
create table alert_board (
    only_row          boolean primary key default true constraint alert_board_has_one_row check (only_row),
    lease_number      bigint not null default 0,
    lease_expires_at  timestamptz not null default '-infinity',
    message_id        bigint,
    words             text not null default '',
    sent_at           timestamptz
);
comment on column alert_board.sent_at is 'When the message was sent, not when it was last edited.';
insert into alert_board default values;
create trigger alert_board_stays before delete or truncate on alert_board execute function refuse_removal();

grant select on operator_requests, operator_questions, alerts, alert_board to neurocards_app;
grant insert on operator_requests to neurocards_app;
grant update (state, confirmed_by) on operator_requests to neurocards_app;
grant insert, update, delete on operator_questions, alerts to neurocards_app;
grant update (lease_number, lease_expires_at, message_id, words, sent_at) on alert_board to neurocards_app;
