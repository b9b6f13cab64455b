-- What operators do, and what lets them sleep: pauses of sales, backups and whether one could be restored, and a record
-- of every hand that was laid on the shop.

-- While the row is there nothing is sold; what was ordered goes on.
create table sales_pause (
    only_row   boolean primary key default true constraint sales_pause_has_one_row check (only_row),
    reason     text not null,
    paused_by  text not null,
    paused_at  timestamptz not null default clock_now()
);

create table backups (
    id           bigint generated always as identity primary key,
    location     text not null constraint backups_have_one_place unique,
    size_bytes   bigint not null constraint backups_hold_something check (size_bytes > 0),
    sha256       text not null,
    made_at      timestamptz not null default clock_now(),
    checked_at   timestamptz,
    failure      text
);
comment on column backups.checked_at is 'When it was last restored elsewhere and audited; failure says how that failed.';
create index backups_sound on backups (checked_at desc) where failure is null;

-- By whom: "telegram 4711" from the operators' menu, "command line" from a terminal.
create table operator_actions (
    id        bigint generated always as identity primary key,
    operator  text not null,
    action    text not null,
    subject   text not null default '',
    reason    text not null default '',
    at        timestamptz not null default clock_now()
);
create index operator_actions_by_time on operator_actions (at desc);
create trigger operator_actions_append_only before update or delete or truncate on operator_actions
    execute function refuse_change();

grant select on sales_pause, backups, operator_actions to neurocards_app;
grant insert, delete on sales_pause to neurocards_app;
grant insert on operator_actions, backups to neurocards_app;
grant update (checked_at, failure) on backups to neurocards_app;
