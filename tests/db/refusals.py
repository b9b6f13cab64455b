"""What the database refuses, case by case: what an operator could type into psql, and the object that says no.

Every case violates one thing. Where an object stands behind another, the other is named, and taken away to see it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from string import Template
from uuid import UUID, uuid4

from neurocards.db import (
    alerts,
    backups,
    circuits,
    generations,
    jobs,
    models,
    operators,
    orders,
    photos,
    provider_keys,
    requests,
    updates,
)
from neurocards.db.connection import Database
from neurocards.db.requests import Act
from neurocards.domain.failures import Failure, FailureKind, Reason
from neurocards.domain.generations import AttemptState
from shop import claim, make_video, new_customer, new_draft, place

PRICE = 2


@dataclass(frozen=True)
class Refusal:
    """SQL that must fail, with the names of `Shop` as $names.

    `by` is the constraint, trigger or index that refuses; of a column that must not be null it is table.column.
    `behind` are objects that refuse it before that; `also` is what still refuses it when all those are gone.
    """

    by: str
    what: str
    sql: str
    behind: tuple[str, ...] = ()
    also: str | None = None

    def statements(self, names: Mapping[str, str]) -> bytes:
        """The SQL for one shop; raises KeyError on a name that the shop does not have."""
        return Template(self.sql).substitute(names).encode()


async def open_shop(database: Database) -> dict[str, str]:
    """A small shop with one of everything; returns the names of its things as SQL literals."""
    one = await new_customer(database, free=30)
    two = await new_customer(database, free=5, paid=5)

    async def ordered(videos: int = 1) -> UUID:
        draft_id = await new_draft(database, one, videos=videos, price=PRICE)
        assert (await place(database, draft_id, price=PRICE)).outcome is orders.Outcome.PLACED
        return draft_id

    async def begun(job: jobs.Job) -> UUID:
        attempt_id = uuid4()
        async with database.transaction() as tx:
            await generations.begin(tx, job.subject_id, deadline_seconds=3600)
            await generations.intend(
                tx, job.subject_id, attempt_id=attempt_id, provider="kie", model="m", lease_number=job.lease_number
            )
            await generations.record_task(tx, attempt_id, uuid4().hex)
        return attempt_id

    await ordered()
    (settled,) = await claim(database)
    await make_video(database, settled)
    async with database.transaction() as tx:
        assert await generations.settle(tx, settled.subject_id, settled.lease_number)

    await ordered()
    (reversed_,) = await claim(database)
    await make_video(database, reversed_)
    async with database.transaction() as tx:
        assert await generations.settle(tx, reversed_.subject_id, reversed_.lease_number)
        assert await generations.reverse(tx, reversed_.subject_id, reason="undeliverable")

    await ordered()
    (refunded,) = await claim(database)
    failed_attempt = await begun(refunded)
    async with database.transaction() as tx:
        assert await generations.end_attempt(tx, failed_attempt, AttemptState.FAILED, "provider")
        assert await generations.refund(tx, refunded.subject_id, lease_number=refunded.lease_number, reason="provider")

    order_id = await ordered(videos=2)
    (making,) = await claim(database, limit=1)
    attempt = await begun(making)
    await new_draft(database, one)
    async with database.transaction() as tx:
        (queued,) = [video for video in await generations.of_order(tx, order_id) if video.id != making.subject_id]
        await updates.store(tx, [updates.Incoming(1, 1, False, {})])
        await photos.keep_file_id(tx, "photos/1", "file")
        await provider_keys.register(tx, "kie", ["kie-1"])
        await provider_keys.record_balance(tx, "kie-1", 100.0)
        await circuits.failed(tx, "provider kie", Failure(FailureKind.OUTAGE, Reason.PROVIDER, "away"))
        await models.record_check(tx, models.Check("m", listed=True, price="1 credit", success_rate=0.9))
        await backups.record(tx, location="backups/1", size_bytes=1, sha256="")
        await tx.execute("insert into media_to_delete (key) values ('photos/9')")
        await operators.pause_sales(tx, operator=operators.COMMAND_LINE, reason="restored")
        await requests.ask(tx, uuid4(), operator=1, act=Act.PAUSE, reason="a fire")
        await requests.expect(tx, 1, "find", message_id=None)
        await alerts.begin(tx, "sales-paused", {})
    return {
        "one": str(one.id),
        "two": str(two.id),
        **{
            name: f"'{id}'::uuid"
            for name, id in {
                "order": order_id,
                "queued": queued.id,
                "making": making.subject_id,
                "settled": settled.subject_id,
                "reversed": reversed_.subject_id,
                "refunded": refunded.subject_id,
                "attempt": attempt,
                "failed_attempt": failed_attempt,
                "new": uuid4(),
                "newer": uuid4(),
                "new_order": uuid4(),
            }.items()
        },
        "video_notice": f"(select id from notices where cause = 'video:{settled.subject_id}')",
        "free": f"(select id from accounts where customer_id = {two.id} and (kind, funding) = ('available', 'free'))",
        "unused": f"(select id from accounts where customer_id = {two.id} and (kind, funding) = ('spent', 'free'))",
        "top_up": f"(select id from transfers where customer_id = {two.id} and funding = 'free')",
    }


# Pieces of cases ------------------------------------------------------------------------------------------------


def order_row(
    *,
    id: str = "$new_order",
    number: str = "1000",
    customer: str = "$two",
    count: int = 1,
    price: int = 1,
    seconds: int = 3,
) -> str:
    """An order written by hand, without its videos."""
    return f"""
        insert into orders (id, number, customer_id, photo_key, template, template_version, description, wishes, count,
                            price_credits, model, seconds)
        overriding system value
        values ({id}, {number}, {customer}, 'photos/1', 'hero_broll', 1, 'A mug', '', {count}, {price}, 'm', {seconds});
    """


def video_rows(
    *,
    id: str = "$new",
    order: str = "$new_order",
    ordinal: int = 1,
    customer: str = "$two",
    payer: str = "$two",
    price: int = 1,
    held: bool = True,
    job: bool = True,
) -> str:
    """A video written by hand, with its hold of the payer's credits and its job."""
    rows = f"""
        insert into generations (id, order_id, customer_id, ordinal, price_credits, deadline_at)
        values ({id}, {order}, {customer}, {ordinal}, {price}, now() + interval '1 hour');
    """
    if held and price:
        rows += move("hold", "available held", price, cause=f"'hold:' || {id}", customer=payer, more=f", {id}")
    if job:
        rows += f"insert into jobs (kind, subject_id, customer_id) values ('generation', {id}, {customer});"
    return rows


def end_rows(*, credit_rows: str = "select end_holds($queued, 'refund');") -> str:
    """The queued video ended by hand, with a refund and a word about it."""
    return f"""
        update jobs set state = 'discarded', finished_at = now() where subject_id = $queued;
        update generations set state = 'failed', failure = 'x', finished_at = now() where id = $queued;
        {credit_rows}
        {notice_row()}
    """


def notice_row(
    *,
    customer: str = "$one",
    order: str = "$order",
    video: str = "$queued",
    kind: str = "failure",
    cause: str = "'failure:' || $queued",
) -> str:
    """A notice written by hand."""
    return f"""
        insert into notices (customer_id, order_id, generation_id, kind, cause)
        values ({customer}, {order}, {video}, '{kind}', {cause});
    """


def request_row(*, act: str = "pause", credits: int = 0, reason: str = "x", second: str = "false") -> str:
    """A request of an operator written by hand."""
    return f"""
        insert into operator_requests (id, operator, act, subject, credits, reason, needs_second)
        values ($new, 1, '{act}', '', {credits}, '{reason}', {second});
    """


def sent_rows() -> str:
    """The notice with the settled video claimed and sent."""
    return """
        update notices
           set state = 'sending', lease_number = lease_number + 1, lease_expires_at = now() + interval '1 minute'
         where id = $video_notice;
        update notices set state = 'sent', message_id = 8, lease_expires_at = null, sent_at = now()
         where id = $video_notice;
    """


def attempt_row(
    *,
    id: str = "$new",
    video: str = "$queued",
    number: int = 9,
    state: str = "refused",
    task: str = "null",
) -> str:
    """An attempt written by hand."""
    return f"""
        insert into attempts (id, generation_id, number, provider, model, lease_number, state, task_id)
        values ({id}, {video}, {number}, 'kie', 'm', 1, '{state}', {task});
    """


def move(kind: str, path: str, amount: int, *, more: str = "", cause: str = "'x'", customer: str = "$one") -> str:
    """Credits moved by hand; `path` is two kinds of account."""
    from_kind, to_kind = path.split()
    return f"""
        select move_credits('{kind}', {customer}, '{from_kind}', '{to_kind}', 'free', {amount}, {cause}{more});
    """


def transfer_row(
    *,
    kind: str = "top_up",
    customer: str = "$two",
    funding: str = "free",
    path: str = "issued available",
    amount: int = 1,
    video: str = "null",
    ends: str = "null",
) -> str:
    """A transfer written by hand, without its entries."""
    from_kind, to_kind = path.split()
    return f"""
        insert into transfers (kind, customer_id, funding, from_kind, to_kind, amount_credits, cause,
                               generation_id, ends_id)
        values ('{kind}', {customer}, '{funding}', '{from_kind}', '{to_kind}', {amount}, 'x', {video}, {ends});
    """


def entry_row(*, account: str = "$unused", version: int = 1, transfer: str = "$top_up") -> str:
    """One side of a transfer written by hand."""
    return f"insert into entries values ({account}, {version}, {transfer}, 0, 0);"


NOTHING_WRONG: Mapping[str, str] = {
    "an order by hand": order_row() + video_rows(),
    "an order of two videos by hand": order_row(count=2) + video_rows() + video_rows(id="$newer", ordinal=2),
    "a refund by hand": end_rows(),
    "a gift by hand": "select top_up($two, 3, 'free', 'gift:1', 'an operator');",
    "a notice by hand": notice_row(
        kind="again",
        video="$settled",
        order=("(select order_id from generations where id = $settled)"),
        cause="'again:1'",
    ),
    "an attempt by hand": attempt_row(),
}
"""The pieces of the cases, whole: what they are accepted for as long as nothing is wrong with them."""


# The cases ------------------------------------------------------------------------------------------------------

CLOCK_AND_PACE = [
    Refusal("clock_has_one_row", "a second time", "insert into clock values (false, '1 second')"),
    Refusal("clock_pkey", "the same time twice", "insert into clock (shift) values ('1 second'), ('2 seconds')"),
    Refusal("pace_has_one_row", "a second pace", "insert into pace values (false)"),
    Refusal("pace_pkey", "the same pace twice", "insert into pace values (true)"),
    Refusal("pace_stays", "no pace at all", "delete from pace"),
    Refusal("pace_stays", "the pace emptied", "truncate pace"),
    Refusal("migrations_pkey", "a migration once more", "insert into migrations (name) values ('0001_schema.sql')"),
]

PEOPLE = [
    Refusal(
        "customers_one_per_person",
        "a person who is two customers",
        "insert into customers (telegram_id, first_name, language)"
        " select telegram_id, 'x', 'en' from customers limit 1",
    ),
    Refusal("customers_language_known", "a language without texts", "update customers set language = 'fr'"),
    Refusal("customers_consent_dated", "consent without a date", "update customers set consent_version = 1"),
    Refusal(
        "customers_stay",
        "a customer deleted",
        "insert into customers (telegram_id, first_name, language) values (1, 'x', 'en');"
        "delete from customers where telegram_id = 1",
    ),
    Refusal(
        "customers_stay",
        "all customers deleted",
        "truncate customers cascade",
        also="chats_stay",
    ),
    Refusal("chats_pkey", "two chats with one customer", "insert into chats (customer_id) values ($one)"),
    Refusal("chats_customer_id_fkey", "a chat with nobody", "insert into chats (customer_id) values (0)"),
    Refusal("chats_stay", "a chat deleted: its notices would wait for ever", "delete from chats"),
    Refusal("chats_stay", "all chats deleted", "truncate chats"),
    Refusal("updates_state_known", "an update in no state", "update updates set state = 'lost'"),
    Refusal("updates_handling_has_lease", "an update handled by nobody", "update updates set state = 'handling'"),
    Refusal("updates_ended_dated", "an update handled at no time", "update updates set state = 'handled'"),
    Refusal(
        "updates_pkey", "an update twice", "insert into updates (id, person, urgent, body) values (1, 1, true, '{}')"
    ),
    Refusal("photos_pkey", "a photo twice", "insert into photos values ('photos/1', 'another')"),
]

ORDERS = [
    Refusal(
        "drafts_one_per_customer",
        "a second draft",
        "insert into drafts (order_id, customer_id) values ($new, $one)",
    ),
    Refusal(
        "drafts_pkey",
        "a draft of two customers",
        "insert into drafts (order_id, customer_id) select order_id, $two from drafts",
    ),
    Refusal(
        "drafts_customer_id_fkey", "a draft of nobody", "insert into drafts (order_id, customer_id) values ($new, 0)"
    ),
    Refusal(
        "orders_pkey",
        "an order of the same draft twice",
        "insert into orders (id, customer_id, photo_key, template, template_version, description, wishes, count,"
        " price_credits, model, seconds) select id, customer_id, photo_key, template, template_version, description,"
        " wishes, count, price_credits, model, seconds from orders where id = $order",
    ),
    Refusal(
        "orders_number_unique",
        "a number twice",
        order_row(number="(select number from orders where id = $order)") + video_rows(),
    ),
    Refusal(
        "orders_customer_id_fkey",
        "an order of nobody",
        order_row(customer="0") + video_rows(),
        also="orders_are_complete",
    ),
    Refusal("orders_count_sane", "an order of nothing", order_row(count=0)),
    Refusal(
        "orders_count_sane",
        "an order of eleven",
        order_row(count=11) + "".join(video_rows(id="gen_random_uuid()", ordinal=n, price=0) for n in range(1, 12)),
        also="generations_price_positive",
    ),
    Refusal(
        "orders_price_positive",
        "an order for nothing",
        order_row(price=0) + video_rows(price=0),
        also="generations_price_positive",
    ),
    Refusal("orders_seconds_sane", "a video of no length", order_row(seconds=0) + video_rows()),
    Refusal("orders_stay", "an order deleted", "delete from orders", also="generations_order_id_fkey"),
    Refusal("orders_stay", "all orders deleted", "truncate orders cascade", also="generations_stay"),
    Refusal("orders_are_agreed", "a price raised afterwards", "update orders set price_credits = price_credits + 1"),
    Refusal("orders_are_agreed", "an order given away", "update orders set customer_id = $two"),
    Refusal("orders_are_agreed", "other words than were ordered", "update orders set description = 'A cup'"),
    Refusal(
        "orders_are_agreed",
        "an order remembered",
        "update orders set description = '', wishes = '', forgotten_at = now(); update orders set forgotten_at = null",
    ),
    Refusal(
        "orders_forgotten_say_nothing",
        "an order forgotten in part",
        "update orders set forgotten_at = now(), description = '', wishes = 'still here'",
    ),
    Refusal("orders_are_complete", "an order without its videos", order_row()),
    Refusal(
        "orders_are_complete",
        "an order that lacks a video",
        order_row(count=2) + video_rows(),
        also="generations_are_ordered",
    ),
    Refusal(
        "orders_are_complete",
        "videos dearer than the order",
        order_row() + video_rows(price=2),
        also="generations_are_ordered",
    ),
    Refusal(
        "orders_are_complete",
        "a video of another customer",
        order_row() + video_rows(customer="$one", payer="$one"),
        also="generations_are_ordered",
    ),
]

GENERATIONS = [
    Refusal("generations_order_id_fkey", "a video that nobody ordered", video_rows(), also="generations_are_ordered"),
    Refusal(
        "generations_customer_id_fkey",
        "a video of nobody",
        order_row() + video_rows(customer="0"),
        also="jobs_customer_id_fkey",
    ),
    Refusal(
        "generations_one_per_ordinal",
        "the first video twice",
        order_row(count=2) + video_rows() + video_rows(id="$newer"),
    ),
    Refusal(
        "generations_price_positive",
        "a video for nothing",
        order_row() + video_rows(price=0),
        also="orders_are_complete",
    ),
    Refusal(
        "generations_state_known",
        "a video in no state",
        "update generations set state = 'lost' where id = $queued",
        also="generations_tell_one_story",
    ),
    Refusal(
        "generations_prompt_source_known", "a prompt from nowhere", "update generations set prompt_source = 'dream'"
    ),
    Refusal(
        "generations_ended_dated",
        "an open video with an end",
        "update generations set finished_at = now() where id = $queued",
    ),
    Refusal(
        "generations_completed_has_video",
        "a finished video without a file",
        "update generations set video_key = null where id = $settled",
    ),
    Refusal(
        "generations_forgotten_keep_no_video",
        "a video forgotten and kept",
        "update generations set forgotten_at = now() where id = $settled",
    ),
    Refusal(
        "generations_failed_says_why",
        "a failure without a reason",
        "update generations set failure = null where id = $refunded",
    ),
    Refusal(
        "generations_video_measured",
        "a video without a width",
        "update generations set width = null where id = $settled",
    ),
    Refusal(
        "generations_end_once",
        "a failed video revived",
        "update generations set state = 'queued', failure = null, finished_at = null where id = $refunded",
        also="generations_tell_one_story",
    ),
    Refusal(
        "generations_end_once",
        "a failure called a cancellation",
        "update generations set state = 'cancelled' where id = $refunded",
    ),
    Refusal(
        "generations_have_a_deadline",
        "a video waited for for ever",
        "update generations set deadline_at = 'infinity' where id = $queued",
    ),
    Refusal(
        "generations_stay",
        "a video deleted",
        "delete from generations where id = $queued",
        also="transfers_generation_id_fkey",
    ),
    Refusal("generations_stay", "all videos deleted", "truncate generations cascade", also="attempts_stay"),
    Refusal("generations_are_agreed", "a price lowered afterwards", "update generations set price_credits = 1"),
    Refusal(
        "generations_are_agreed", "a video put out of order", "update generations set ordinal = 9 where id = $making"
    ),
    Refusal(
        "generations_are_ordered",
        "one video more than ordered",
        video_rows(order="$order", customer="$one", payer="$one", ordinal=3, price=PRICE),
    ),
    Refusal(
        "generations_tell_one_story",
        "a failure without a refund",
        "update generations set state = 'failed', failure = 'x', finished_at = now() where id = $queued",
    ),
    Refusal(
        "generations_tell_one_story",
        "a settled video called failed",
        "update generations set state = 'failed', failure = 'x' where id = $settled",
    ),
    Refusal(
        "generations_tell_one_story",
        "a video that nobody has paid for",
        order_row() + video_rows(held=False),
        also="jobs_begin_their_story",
    ),
    Refusal(
        "generations_tell_one_story",
        "a video that another customer paid for",
        order_row() + video_rows(payer="$one"),
        also="transfers_tell_one_story",
    ),
    Refusal(
        "generations_tell_one_story",
        "a video without a job",
        order_row() + video_rows(job=False),
        also="transfers_tell_one_story",
    ),
]

ATTEMPTS = [
    Refusal("attempts_cost_something", "a task that brings money", "update attempts set cost_usd = -1"),
    Refusal("attempts_billed_something", "a bill that brings money", "update attempts set cost_units = -1"),
    Refusal("attempts_pkey", "an attempt twice", attempt_row(id="$attempt")),
    Refusal(
        "attempts_generation_id_fkey",
        "an attempt at nothing",
        attempt_row(video="$new"),
        also="attempts_tell_one_story",
    ),
    Refusal("attempts_state_known", "an attempt in no state", attempt_row(state="lost")),
    Refusal("attempts_numbered_once", "two first attempts", attempt_row(video="$making", number=1)),
    Refusal(
        "attempts_one_owner_per_task",
        "a task of two attempts",
        attempt_row(state="failed", task="(select task_id from attempts where id = $attempt)"),
    ),
    Refusal("attempts_accepted_has_task", "accepted, but no task", attempt_row(state="accepted")),
    Refusal(
        "attempts_succeeded_has_result",
        "succeeded, but no result",
        "update attempts set state = 'succeeded' where id = $attempt",
    ),
    Refusal("attempts_one_live", "a second live attempt", attempt_row(video="$making", state="intent")),
    Refusal("attempts_keep_facts", "a task exchanged", "update attempts set task_id = 'x' where id = $attempt"),
    Refusal(
        "attempts_keep_facts",
        "a task forgotten",
        "update attempts set task_id = null, state = 'unknown' where id = $attempt",
    ),
    Refusal(
        "attempts_keep_facts",
        "a failed attempt called refused",
        "update attempts set state = 'refused' where id = $failed_attempt",
    ),
    Refusal(
        "attempts_keep_facts",
        "an attempt given to another video",
        "update attempts set generation_id = $queued where id = $attempt",
    ),
    Refusal("attempts_stay", "an attempt deleted", "delete from attempts where id = $attempt"),
    Refusal("attempts_stay", "all attempts deleted", "truncate attempts"),
    Refusal(
        "attempts_tell_one_story", "a try for a video that has ended", attempt_row(video="$refunded", state="intent")
    ),
    Refusal(
        "attempts_tell_one_story",
        "a finished video that nobody made",
        "update attempts set state = 'failed' where generation_id = $settled",
    ),
]

JOBS = [
    Refusal(
        "jobs_one_per_subject",
        "a second job for a video",
        "insert into jobs (kind, subject_id, customer_id) values ('generation', $queued, $one)",
    ),
    Refusal(
        "jobs_customer_id_fkey",
        "a job of nobody",
        "insert into jobs (kind, subject_id, customer_id) values ('other', $new, 0)",
    ),
    Refusal("jobs_state_known", "a job in no state", "update jobs set state = 'lost' where subject_id = $queued"),
    Refusal("jobs_three_retries", "a fifth attempt", "update jobs set attempt = 5"),
    Refusal(
        "jobs_running_has_lease",
        "a job that nobody works on",
        "update jobs set state = 'running', lease_number = lease_number + 1 where subject_id = $queued",
    ),
    Refusal(
        "jobs_ended_dated", "an open job with an end", "update jobs set finished_at = now() where subject_id = $queued"
    ),
    Refusal(
        "jobs_go_forward",
        "an overtaken lease given back",
        "update jobs set lease_number = 0 where subject_id = $making",
    ),
    Refusal(
        "jobs_go_forward",
        "an attempt given back",
        "update jobs set attempt = 2 where subject_id = $queued;update jobs set attempt = 1 where subject_id = $queued",
    ),
    Refusal(
        "jobs_go_forward",
        "a job claimed without a new lease",
        "update jobs set state = 'running', lease_owner = 'x', lease_expires_at = now() where subject_id = $queued",
    ),
    Refusal("jobs_go_forward", "a job given away", "update jobs set customer_id = $two where subject_id = $queued"),
    Refusal(
        "jobs_go_forward",
        "an ended job revived",
        "update jobs set state = 'available', finished_at = null where subject_id = $settled",
        also="jobs_tell_one_story",
    ),
    Refusal(
        "jobs_run_some_day", "a job put off for ever", "update jobs set run_at = 'infinity' where subject_id = $queued"
    ),
    Refusal("jobs_stay", "a job deleted", "delete from jobs where subject_id = $queued"),
    Refusal("jobs_stay", "all jobs deleted", "truncate jobs"),
    Refusal(
        "jobs_tell_one_story",
        "an open video given up",
        "update jobs set state = 'discarded', finished_at = now() where subject_id = $queued",
    ),
    Refusal(
        "jobs_begin_their_story",
        "a job for a video that is not",
        "insert into jobs (kind, subject_id, customer_id) values ('generation', $new, $one)",
    ),
]

NOTICES = [
    Refusal("notices_kind_known", "a notice of no kind", notice_row(kind="song", cause="'x'")),
    Refusal("notices_state_known", "a notice in no state", "update notices set state = 'lost'"),
    Refusal(
        "notices_written_once",
        "the same thing told twice",
        notice_row(kind="again", cause="(select cause from notices limit 1)"),
    ),
    Refusal(
        "notices_sending_has_lease",
        "a notice that nobody sends",
        "update notices set state = 'sending', lease_number = lease_number + 1",
    ),
    Refusal("notices_about_something", "a past video, but which?", notice_row(kind="again", video="null", cause="'x'")),
    Refusal("notices_status_has_stage", "a status that says nothing", "update notices set stage = null"),
    Refusal("notices_end_names_its_generation", "a second failure of one video", notice_row(cause="'x'")),
    Refusal(
        "notices_end_names_its_generation",
        "the place of a video taken",
        notice_row(kind="again", cause="'video:' || $queued"),
    ),
    Refusal(
        "notices_customer_id_fkey",
        "a notice for nobody",
        notice_row(customer="0", kind="again", cause="'x'"),
        also="notices_reach_their_customer",
    ),
    Refusal(
        "notices_order_id_fkey",
        "a notice about no order",
        notice_row(order="$new", kind="again", cause="'x'"),
        also="notices_reach_their_customer",
    ),
    Refusal(
        "notices_generation_id_fkey",
        "a notice about no video",
        notice_row(video="$new", kind="again", cause="'x'"),
        also="notices_reach_their_customer",
    ),
    Refusal(
        "notices_reach_their_customer",
        "a video sent to somebody else",
        notice_row(customer="$two", kind="again", cause="'x'"),
    ),
    Refusal(
        "notices_reach_their_customer",
        "a video of another order",
        notice_row(video="$settled", kind="again", cause="'x'"),
    ),
    Refusal("notices_are_agreed", "a notice turned to somebody else", "update notices set customer_id = $two"),
    Refusal(
        "notices_are_agreed", "the end of a video untold", "update notices set cause = 'x' || id where kind = 'status'"
    ),
    Refusal("notices_tell_one_story", "an open video called failed", notice_row()),
    Refusal(
        "notices_tell_one_story", "an open video handed over", notice_row(kind="video", cause="'video:' || $queued")
    ),
    Refusal("notices_sent_as_a_message", "told, but where?", "update notices set state = 'sent'"),
    Refusal(
        "notices_videos_are_not_passed_by",
        "a video passed by",
        "update notices set state = 'superseded' where kind = 'video'",
    ),
    Refusal(
        "notices_go_forward",
        "a video sent once more",
        sent_rows() + "update notices set state = 'pending' where id = $video_notice",
    ),
    Refusal(
        "notices_go_forward",
        "an overtaken sender let in again",
        sent_rows() + "update notices set lease_number = 0 where id = $video_notice",
    ),
    Refusal(
        "notices_go_forward",
        "a notice claimed without a new lease",
        "update notices set state = 'sending', lease_expires_at = now() where id = $video_notice",
    ),
    Refusal(
        "notices_undelivered_is_paid_back",
        "a video that never comes, and is paid for",
        "update notices set state = 'undeliverable' where id = $video_notice",
    ),
    Refusal("notices_stay", "a notice deleted", "delete from notices"),
    Refusal("notices_stay", "all notices deleted", "truncate notices"),
]

CREDITS = [
    Refusal(
        "accounts_kind_known",
        "a fifth kind of account",
        "insert into accounts (customer_id, kind, funding) values ($one, 'lost', 'free')",
    ),
    Refusal(
        "accounts_funding_known",
        "credits of a third kind",
        "insert into accounts (customer_id, kind, funding) values ($one, 'held', 'lent')",
    ),
    Refusal(
        "accounts_one_of_a_kind",
        "an account twice",
        "insert into accounts (customer_id, kind, funding) values ($one, 'held', 'free')",
    ),
    Refusal(
        "accounts_customer_id_fkey",
        "an account of nobody",
        "insert into accounts (customer_id, kind, funding) values (0, 'held', 'free')",
    ),
    Refusal(
        "accounts_never_overdrawn",
        "more taken than there is",
        move("withdrawal", "available issued", 6, customer="$two"),
    ),
    Refusal("accounts_stay", "an account deleted", "delete from accounts where id = $unused"),
    Refusal("accounts_stay", "all accounts deleted", "truncate accounts, entries", also="entries_append_only"),
    Refusal(
        "accounts_move_by_entries",
        "a balance changed by hand",
        "update accounts set balance = 100 where id = $free",
        also="accounts_match_their_entries",
    ),
    Refusal(
        "accounts_move_by_entries",
        "a balance set back to an earlier one",
        "update accounts set version = version - 1, balance = (select balance_after from entries"
        " where account_id = accounts.id and version = accounts.version - 1)"
        " where customer_id = $one and version > 1",
    ),
    Refusal(
        "accounts_match_their_entries",
        "a balance changed with its version",
        "update accounts set balance = 100, version = version + 1 where id = $free",
    ),
    Refusal(
        "accounts_match_their_entries",
        "an account that begins with credits",
        "insert into customers (telegram_id, first_name, language) values (1, 'x', 'en');"
        "insert into accounts (customer_id, kind, funding, balance)"
        " select id, 'available', 'free', 100 from customers where telegram_id = 1",
    ),
    Refusal(
        "transfers_kind_known",
        "a transfer of no kind",
        transfer_row(kind="theft", path="available spent", video="$queued"),
        also="transfers_path_known",
    ),
    Refusal(
        "transfers_funding_known",
        "a transfer of other credits",
        transfer_row(funding="lent"),
        also="transfers_have_two_sides",
    ),
    Refusal("transfers_amount_positive", "a transfer of nothing", move("top_up", "issued available", 0)),
    Refusal("transfers_amount_positive", "a transfer backwards", move("withdrawal", "available issued", -5)),
    Refusal("transfers_path_known", "a gift that is spent already", move("top_up", "issued spent", 1)),
    Refusal("transfers_one_per_cause", "a gift twice", 2 * move("top_up", "issued available", 1)),
    Refusal(
        "transfers_end_names_what_it_ends",
        "a refund of nothing in particular",
        end_rows(
            credit_rows="""
                select move_credits('refund', customer_id, from_kind, to_kind, funding, amount_credits, 'x', $queued)
                  from (select customer_id, to_kind as from_kind, from_kind as to_kind, funding, amount_credits
                          from transfers where generation_id = $queued) held;"""
        ),
    ),
    Refusal(
        "transfers_order_names_its_generation",
        "a gift for a video",
        move("top_up", "issued available", 1, more=", $settled"),
    ),
    Refusal(
        "transfers_customer_id_fkey",
        "a transfer of nobody",
        transfer_row(customer="0"),
        also="transfers_have_two_sides",
    ),
    Refusal(
        "transfers_generation_id_fkey",
        "a hold for no video",
        move("hold", "available held", 1, more=", $new"),
        also="transfers_tell_one_story",
    ),
    Refusal(
        "transfers_ends_id_fkey",
        "the end of no hold",
        end_rows(credit_rows=transfer_row(kind="refund", path="held available", video="$queued", ends="0")),
        behind=("transfers_end_what_was_begun",),
        also="jobs_tell_one_story",
    ),
    Refusal(
        "transfers_ended_once",
        "a hold ended twice",
        "select end_holds($settled, 'refund')",
        also="transfers_tell_one_story",
    ),
    Refusal(
        "transfers_end_what_was_begun",
        "a refund of half",
        "select move_credits('refund', customer_id, 'held', 'available', 'free', 1, 'x', $queued, id)"
        " from transfers where generation_id = $queued",
        also="transfers_tell_one_story",
    ),
    Refusal(
        "transfers_end_what_was_begun",
        "a refund of another video's hold",
        "select move_credits('refund', customer_id, 'held', 'available', 'free', amount_credits, 'x', $queued, id)"
        " from transfers where generation_id = $making",
        also="transfers_tell_one_story",
    ),
    Refusal("transfers_append_only", "a transfer edited", "update transfers set reason = 'x'"),
    Refusal("transfers_append_only", "a transfer deleted", "delete from transfers", also="entries_transfer_id_fkey"),
    Refusal(
        "transfers_append_only", "all transfers deleted", "truncate transfers, entries", also="entries_append_only"
    ),
    Refusal("transfers_have_two_sides", "a transfer without entries", transfer_row()),
    Refusal("transfers_tell_one_story", "a hold ended, and nothing else", "select end_holds($queued, 'refund')"),
    Refusal(
        "transfers_tell_one_story",
        "credits held once more for the same video",
        move("hold", "available held", 1, customer="$two", more=", $queued"),
    ),
    Refusal("entries_pkey", "a version twice", entry_row(account="$free"), also="entries_one_per_side"),
    Refusal(
        "entries_one_per_side", "the same side twice", entry_row(account="$free", version=2), also="entries_are_sides"
    ),
    Refusal("entries_account_id_fkey", "an entry in no account", entry_row(account="0")),
    Refusal("entries_transfer_id_fkey", "an entry of no transfer", entry_row(transfer="0"), also="entries_are_sides"),
    Refusal("entries_are_sides", "a third side of a transfer", entry_row()),
    Refusal("entries_append_only", "an entry edited", "update entries set delta = 100"),
    Refusal("entries_append_only", "an entry deleted", "delete from entries"),
    Refusal("entries_append_only", "the ledger emptied", "truncate entries"),
]


def _nulls() -> list[Refusal]:
    """Every column that must say something, said nothing. What may not be changed at all refuses that first."""
    columns = {
        "clock": "shift",
        "pace": "free_at",
        "migrations": "applied_at",
        "customers": "telegram_id first_name language created_at",
        "chats": "write_after",
        "updates": "person urgent body state attempt handle_at lease_number received_at deaths",
        "photos": "file_id",
        "drafts": "customer_id updated_at",
        "orders": "customer_id count price_credits placed_at"
        " photo_key template template_version description wishes model seconds",
        "generations": "order_id customer_id ordinal price_credits state deadline_at created_at",
        "attempts": "generation_id number provider model key reason lease_number state created_at",
        "jobs": "kind subject_id customer_id state run_at attempt rescues lease_number created_at priority turn",
        "notices": "customer_id order_id kind cause state attempt send_at lease_number created_at repeats",
        "accounts": "customer_id kind funding balance version",
        "transfers": "kind customer_id funding from_kind to_kind amount_credits cause created_at",
        "entries": "transfer_id delta balance_after",
        "provider_keys": "provider next_turn rests_until seen_at",
        "circuits": "failures why changed_at",
        "model_checks": "checked_at",
        "balances": "label units taken_at",
        "sales_pause": "reason paused_by paused_at",
        "watch": "probed_at audit_begun_at violations",
        "backups": "location size_bytes sha256 made_at",
        "operator_actions": "operator action subject reason at",
        "operator_requests": "operator act subject credits reason needs_second state asked_at",
        "operator_questions": "awaited asked_at",
        "alerts": "facts began_at",
        "alert_board": "lease_number lease_expires_at words",
        "media_to_delete": "queued_at",
    }
    frozen = {
        "orders_are_agreed": "orders.customer_id orders.count orders.price_credits orders.placed_at orders.template"
        " orders.photo_key orders.template_version orders.model orders.seconds orders.description orders.wishes",
        "generations_are_agreed": "generations.order_id generations.customer_id generations.ordinal"
        " generations.price_credits",
        "attempts_keep_facts": "attempts.generation_id attempts.number attempts.provider",
        "jobs_go_forward": "jobs.kind jobs.subject_id jobs.customer_id",
        "notices_are_agreed": "notices.customer_id notices.order_id notices.kind notices.cause",
        "accounts_move_by_entries": "accounts.customer_id accounts.kind accounts.funding accounts.balance",
        "transfers_append_only": " ".join(f"transfers.{column}" for column in columns["transfers"].split()),
        "entries_append_only": " ".join(f"entries.{column}" for column in columns["entries"].split()),
        "balances_append_only": " ".join(f"balances.{column}" for column in columns["balances"].split()),
        "operator_actions_append_only": " ".join(
            f"operator_actions.{column}" for column in columns["operator_actions"].split()
        ),
    }
    frozen["operator_requests_keep_their_word"] = (
        "operator_requests.operator operator_requests.act operator_requests.subject operator_requests.credits"
        " operator_requests.reason operator_requests.needs_second operator_requests.asked_at"
    )
    behind = {column: (trigger,) for trigger, names in frozen.items() for column in names.split()}
    also = {
        "attempts.state": "attempts_tell_one_story",
        "notices.kind": "notices_end_names_its_generation",
        "accounts.kind": "accounts_never_overdrawn",
        "generations.state": "generations_tell_one_story",
        "accounts.balance": "accounts_match_their_entries",
        "accounts.version": "accounts_match_their_entries",
    }
    rows = {"generations": " where id = $queued", "jobs": " where subject_id = $queued"}
    return [
        Refusal(
            name := f"{table}.{column}",
            f"{table} without {column}",
            "insert into clock (shift) values (null)"
            if table == "clock"
            else f"update {table} set {column} = null{rows.get(table, '')}",
            behind=behind.get(name, ()),
            also=also.get(name),
        )
        for table, names in columns.items()
        for column in names.split()
    ]


PROVIDERS = [
    Refusal("provider_keys_pkey", "a key twice", "insert into provider_keys (label, provider) values ('kie-1', 'kie')"),
    Refusal("provider_keys_stay", "a key removed", "delete from provider_keys where not exists (select from balances)"),
    Refusal(
        "circuits_pkey",
        "a circuit twice",
        "insert into circuits (subject, failures, why) values ('provider kie', 1, '')",
    ),
    Refusal("circuits_count_failures", "less than no failures", "update circuits set failures = -1"),
    Refusal("model_checks_pkey", "a model checked twice", "insert into model_checks (model) values ('m')"),
    Refusal("model_checks_rate_is_a_share", "more than all succeed", "update model_checks set success_rate = 1.5"),
    Refusal("model_checks_own_rate_is_a_share", "less than none succeed", "update model_checks set own_rate = -0.1"),
    Refusal("balances_label_fkey", "a balance of no key", "insert into balances (label, units) values ('none', 1)"),
    Refusal("balances_append_only", "a balance changed", "update balances set units = 0"),
    Refusal("balances_append_only", "balances forgotten", "delete from balances"),
]

OPERATIONS = [
    Refusal(
        "sales_pause_has_one_row",
        "a second pause of sales",
        "insert into sales_pause (only_row, reason, paused_by) values (false, 'x', 'x')",
    ),
    Refusal("sales_pause_pkey", "sales paused twice", "insert into sales_pause (reason, paused_by) values ('x', 'x')"),
    Refusal(
        "backups_have_one_place",
        "two backups in one place",
        "insert into backups (location, size_bytes, sha256) select location, 1, '' from backups",
    ),
    Refusal("backups_hold_something", "an empty backup", "update backups set size_bytes = 0"),
    Refusal("media_to_delete_pkey", "an object deleted twice", "insert into media_to_delete (key) values ('x'), ('x')"),
    Refusal("operator_actions_append_only", "an act embellished", "update operator_actions set operator = 'somebody'"),
    Refusal("operator_actions_append_only", "acts forgotten", "delete from operator_actions"),
    Refusal(
        "operator_requests_pkey",
        "two acts for one tap",
        "insert into operator_requests select * from operator_requests",
    ),
    Refusal("operator_requests_act_known", "an act that nobody knows", request_row(act="steal")),
    Refusal("operator_requests_never_take", "a gift of less than nothing", request_row(credits=-1)),
    Refusal("operator_requests_say_why", "an act without a reason", request_row(reason="")),
    Refusal(
        "operator_requests_state_known",
        "a request in no known state",
        "update operator_requests set state = 'forgotten'",
    ),
    Refusal(
        "operator_requests_done_by_somebody",
        "an act that nobody confirmed",
        "update operator_requests set state = 'done'",
    ),
    Refusal(
        "operator_requests_second_is_another",
        "one operator as both",
        request_row(second="true") + "update operator_requests set state = 'done', confirmed_by = operator",
    ),
    Refusal(
        "operator_requests_keep_their_word",
        "another act than the one that was shown",
        "update operator_requests set act = 'resume'",
    ),
    Refusal(
        "operator_requests_keep_their_word",
        "an act done again",
        "update operator_requests set state = 'done', confirmed_by = 2;"
        "update operator_requests set state = 'seconding'",
    ),
    Refusal("operator_requests_stay", "a request forgotten", "delete from operator_requests"),
    Refusal(
        "operator_questions_pkey",
        "two questions for one answer",
        "insert into operator_questions select * from operator_questions",
    ),
    Refusal("alerts_pkey", "a trouble twice", "insert into alerts select * from alerts"),
    Refusal("alert_board_has_one_row", "a second board", "insert into alert_board (only_row) values (false)"),
    Refusal("alert_board_pkey", "the board twice", "insert into alert_board default values"),
    Refusal("alert_board_stays", "the board taken away", "delete from alert_board"),
    Refusal("watch_has_one_row", "a second watch", "insert into watch (only_row) values (false)"),
    Refusal("watch_pkey", "the watch twice", "insert into watch default values"),
    Refusal("watch_stays", "nobody on watch", "delete from watch"),
]

REFUSALS = [
    *CLOCK_AND_PACE,
    *PEOPLE,
    *ORDERS,
    *GENERATIONS,
    *ATTEMPTS,
    *JOBS,
    *NOTICES,
    *CREDITS,
    *PROVIDERS,
    *OPERATIONS,
    *_nulls(),
]

NO_REFUSAL: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "customers_pkey",
            "generations_pkey",
            "jobs_pkey",
            "notices_pkey",
            "accounts_pkey",
            "transfers_pkey",
            "balances_pkey",
            "backups_pkey",
            "operator_actions_pkey",
        ),
        "a number or a random id that the database itself gives out",
    ),
    **dict.fromkeys(
        ("jobs_announced", "notices_announced", "updates_announced"), "a hint that may be missed; it refuses nothing"
    ),
    "jobs_take_their_turn": "fills in a turn; it refuses nothing",
}
"""Objects without a case, and why."""
