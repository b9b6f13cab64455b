-- What is personal is not kept for ever: photos, words and prompts go after a while, videos after a longer one. What was
-- agreed on, what was paid and what happened stays, and so do the books.

-- New constraints are not checked against the rows there are: these were held to more, or cannot break them yet.
alter table orders
    add column forgotten_at timestamptz,
    add constraint orders_forgotten_say_nothing
        check (forgotten_at is null or (description, wishes) = ('', '')) not valid;
comment on column orders.forgotten_at is
    'When its photos and words were forgotten: then they are empty, and what photo_key names is gone.';

-- Safe beside older code: the constraint that is replaced was stricter.
alter table generations
    add column forgotten_at timestamptz,
    add constraint generations_forgotten_keep_no_video
        check (forgotten_at is null or num_nonnulls(video_key, cover_key, thumbnail_key, file_id) = 0) not valid,
    drop constraint generations_completed_has_video,
    add constraint generations_completed_has_video
        check (state <> 'completed' or video_key is not null or forgotten_at is not null) not valid;
comment on column generations.forgotten_at is 'When what was made was removed from the store, long after it had ended.';

-- The words of an order are agreed on like the rest. They can be forgotten, once and all of them, and not changed.
-- Safe beside older code: the next statement puts it back, in the same transaction.
drop trigger orders_are_agreed on orders;
-- Safe beside older code: it allows what it allowed, and forgetting.
create trigger orders_are_agreed before update on orders
    for each row when (
        (new.id, new.number, new.customer_id, new.count, new.price_credits, new.placed_at, new.template,
         new.template_version, new.model, new.seconds, new.photo_key, new.second_photo_key)
        is distinct from (old.id, old.number, old.customer_id, old.count, old.price_credits, old.placed_at, old.template,
                          old.template_version, old.model, old.seconds, old.photo_key, old.second_photo_key)
        or ((new.description, new.wishes) is distinct from (old.description, old.wishes) and new.forgotten_at is null)
        or (old.forgotten_at is not null and new.forgotten_at is distinct from old.forgotten_at))
    execute function refuse_renegotiation();

-- Objects leave the store after the commit that forgets them. Until they have, they are here; a name that ends with a
-- slash is a folder.
create table media_to_delete (
    key        text primary key,
    queued_at  timestamptz not null default clock_now()
);

-- A photo is one object however often it was ordered from.
create function photo_is_wanted(p_key text) returns boolean
language sql stable
begin atomic
    select exists (select from orders
                    where (photo_key = p_key or second_photo_key = p_key) and forgotten_at is null)
        or exists (select from drafts where photo_key = p_key or second_photo_key = p_key);
end;

-- Forgets photos, words and prompts of orders that ended so long ago, drafts that nobody has touched for so long, and
-- updates that died so long ago. Whatever still waits to be told keeps its order. Returns how many rows were emptied or
-- removed, at most about three times p_limit.
create function forget_words(p_older_than interval, p_limit integer) returns integer
language plpgsql as $$
declare
    v_before   timestamptz := clock_now() - p_older_than;
    v_orders   uuid[];
    v_photos   text[];
    v_drafts   integer;
    v_updates  integer;
begin
    -- A backup that is being made lists what it has seen (7300002 is its lock): meanwhile nothing is forgotten.
    if not pg_try_advisory_xact_lock(7300002) then
        return 0;
    end if;

    with due as (
        select o.id, o.photo_key, o.second_photo_key from orders o
         where o.forgotten_at is null and o.placed_at < v_before
           and not exists (select from generations g
                            where g.order_id = o.id and (g.finished_at is null or g.finished_at >= v_before))
           and not exists (select from notices n where n.order_id = o.id and n.state in ('pending', 'sending'))
         order by o.placed_at limit p_limit for no key update skip locked
    ), forgotten as (
        update orders o set description = '', wishes = '', card_text = null, forgotten_at = clock_now()
          from due where o.id = due.id
    )
    select array_agg(id), array_agg(photo_key) || array_agg(second_photo_key) into v_orders, v_photos from due;
    update generations set prompt = null, frame_url = null, last_frame_url = null where order_id = any(v_orders);

    with gone as (
        delete from drafts where order_id in (
            select order_id from drafts where updated_at < v_before limit p_limit for update skip locked)
        returning photo_key, second_photo_key
    )
    select count(*), coalesce(v_photos, '{}') || array_agg(photo_key) || array_agg(second_photo_key)
      into v_drafts, v_photos from gone;

    delete from updates where id in (
        select id from updates where state = 'dead' and handled_at < v_before limit p_limit);
    get diagnostics v_updates = row_count;

    with unwanted as (
        delete from photos where key = any(v_photos) and not photo_is_wanted(key)
    )
    insert into media_to_delete (key)
    select distinct key from unnest(v_photos) key where key is not null and not photo_is_wanted(key)
    on conflict do nothing;
    return coalesce(cardinality(v_orders), 0) + v_drafts + v_updates;
end $$;

-- Forgets what was made by generations that ended so long ago, unless it still waits to be sent; returns of how many.
create function forget_videos(p_older_than interval, p_limit integer) returns integer
language plpgsql as $$
declare
    v_ids uuid[];
begin
    if not pg_try_advisory_xact_lock(7300002) then
        return 0;
    end if;
    with due as (
        select g.id, g.video_key, g.cover_key, g.thumbnail_key from generations g
         where g.forgotten_at is null and g.finished_at < clock_now() - p_older_than
           and not exists (select from notices n where n.order_id = g.order_id and n.state in ('pending', 'sending'))
         order by g.finished_at limit p_limit for no key update skip locked
    ), queued as (
        -- The folder too: a worker that lost its lease may have left another copy there.
        insert into media_to_delete (key)
        select distinct key
          from due cross join lateral (
              values ('videos/' || id || '/'), (video_key), (cover_key), (thumbnail_key)) object (key)
         where key is not null
        on conflict do nothing
    ), forgotten as (
        update generations g
           set video_key = null, cover_key = null, thumbnail_key = null, file_id = null, forgotten_at = clock_now()
          from due where g.id = due.id
    )
    select array_agg(id) into v_ids from due;
    update attempts set result_url = '' where generation_id = any(v_ids) and result_url <> '';
    return coalesce(cardinality(v_ids), 0);
end $$;

do $$
declare
    v_function regprocedure;
begin
    foreach v_function in array array[
        'forget_words(interval, integer)', 'forget_videos(interval, integer)'
    ]::regprocedure[] loop
        execute format('alter function %s security definer', v_function);
        execute format('alter function %s set search_path = public, pg_temp', v_function);
        execute format('revoke execute on function %s from public', v_function);
        execute format('grant execute on function %s to neurocards_app', v_function);
    end loop;
end $$;

grant select, delete on media_to_delete to neurocards_app;
