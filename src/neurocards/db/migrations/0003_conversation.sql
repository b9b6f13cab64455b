-- What the conversation needs beyond a first order: photos that Telegram has already, edited descriptions, videos sent
-- once more, and status cards that are edited seldom and only when they say something new.

create table photos (
    key         text primary key,
    file_id     text not null
);
comment on table photos is 'Telegram''s own copy of a stored photo: showing it again costs no upload. Only ever a shortcut.';

alter table drafts add column description_message_id bigint, add column question_message_id bigint;
comment on column drafts.description_message_id is
    'The one message the whole description came from: an edit of it replaces the description.';

comment on column drafts.question_message_id is 'Where the open question stands: its buttons go when another is asked.';

alter table orders add column card_text text, add column card_shown_at timestamptz;
comment on column orders.card_text is 'What the status card says now: an edit that would change nothing is not sent.';

alter table notices
    drop constraint notices_kind_known,
    add constraint notices_kind_known check (kind in ('status', 'video', 'failure', 'again', 'file'));
comment on column notices.kind is
    'status: the card is edited; video, failure: how a generation ended; again, file: a past video, on request.';

-- An estimate is what the last videos took.
create index generations_measured on generations (finished_at desc) where state = 'completed';
create index attempts_measured on attempts (model, ended_at desc) where state = 'succeeded';

create index orders_of_photo on orders (photo_key);

-- A customer reads their statement page by page.
create index transfers_of_customer on transfers (customer_id, id);
