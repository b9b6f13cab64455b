"""T25: the program's role can do the whole job, and nothing that would let it or its captor rewrite what happened.

The program logs in as a role that is only a member of neurocards_app, as it should where the database is shared.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import psycopg
import psycopg.conninfo
import pytest

from db.refusals import REFUSALS, Refusal, notice_row, open_shop, order_row
from neurocards.db import (
    alerts,
    books,
    callbacks,
    counters,
    customers,
    drafts,
    generations,
    jobs,
    notices,
    operators,
    orders,
    outlook,
    overview,
    photos,
    requests,
    statements,
    updates,
)
from neurocards.db.connection import APP_ROLE, Database
from neurocards.db.embedded import EmbeddedPostgres
from neurocards.db.generations import Frames
from neurocards.db.notices import NoticeKind
from neurocards.db.requests import Act, State
from neurocards.domain.generations import AttemptState
from shop import claim, make_video, new_customer, new_draft, new_order, place, violations

PROGRAM = "shop_program"
READER = "shop_reader"
PASSWORD = "not a secret"

DENIED = "42501"


@pytest.fixture(scope="module")
def logins(postgres: EmbeddedPostgres) -> Iterator[None]:
    """Two people who may log in: the program, and somebody who only reads."""
    with psycopg.connect(postgres.dsn, autocommit=True) as server:
        server.execute(f"create role {PROGRAM} login password '{PASSWORD}' in role {APP_ROLE}".encode())
        server.execute(f"create role {READER} login password '{PASSWORD}' in role pg_read_all_data".encode())
        yield
        server.execute(f"drop role {PROGRAM}, {READER}".encode())


@pytest.fixture
async def program(logins: None, dsn: str) -> AsyncIterator[Database]:
    """A fresh database as the program opens it where it is not the owner."""
    async with Database(
        psycopg.conninfo.make_conninfo(dsn, user=PROGRAM, password=PASSWORD), connections=2, role=APP_ROLE
    ) as opened:
        yield opened


# What it can --------------------------------------------------------------------------------------------------------


async def test_t25_the_program_makes_and_settles_a_video_with_the_rights_it_has(program: Database) -> None:
    await new_order(program, videos=2)
    job, other = await claim(program)
    async with program.transaction() as tx:
        await jobs.prove(tx, job)
        assert await jobs.extend(tx, [job], lease_seconds=60) == {job.id}
        await jobs.retry(tx, other, seconds=0, spends_attempt=True, failure="provider")
        await generations.record_prompt(tx, job.subject_id, prompt="A mug turns.", source="writer")
        await generations.record_frames(tx, job.subject_id, Frames("kie", "https://files.example/frame.jpg", None))
        await generations.delay(tx, job.subject_id)
        await generations.tell_status(tx, job.subject_id, "uploading")
    (other,) = await claim(program)
    await make_video(program, job)
    async with program.transaction() as tx:
        (attempt,) = await generations.attempts(tx, job.subject_id)
        await generations.tell_progress(tx, attempt.id, 3)
        await callbacks.hint(tx, attempt.id, None, provider="kie")
        await tx.execute("set local statement_timeout = default")
        assert await generations.settle(tx, job.subject_id, job.lease_number)
        assert await generations.refund(tx, other.subject_id, lease_number=other.lease_number, reason="provider")
        await notices.keep_file_id(tx, job.subject_id, "file")
        assert await notices.request(tx, job.subject_id, kind=NoticeKind.AGAIN, cause="again:1")
    async with program.transaction() as tx:
        assert await generations.reverse(tx, job.subject_id, reason="undeliverable")
    assert await violations(program) == []


async def test_t25_the_program_gives_up_and_takes_back_with_the_rights_it_has(program: Database) -> None:
    await new_order(program)
    (silent,) = await claim(program, lease_seconds=-1)
    attempt_id = uuid4()
    async with program.transaction() as tx:
        assert len(await jobs.rescue(tx)) == 1
        await generations.begin(tx, silent.subject_id, deadline_seconds=-1)
        await generations.intend(
            tx, silent.subject_id, attempt_id=attempt_id, provider="kie", model="m", lease_number=silent.lease_number
        )
        assert await generations.end_attempt(tx, attempt_id, AttemptState.UNKNOWN, "timeout")
        assert await generations.overdue(tx) == [silent.subject_id]
        assert await generations.refund(tx, silent.subject_id, lease_number=None, reason="deadline")
    order_id = await new_order(program)
    async with program.transaction() as tx:
        order = await orders.find(tx, order_id)
        assert order is not None
        await outlook.read(tx, order)
        await outlook.tell_places(tx)
        assert (await orders.cancel(tx, order_id, order.customer_id)).cancelled == 1
    assert await violations(program) == []


async def test_t25_the_program_talks_with_customers_with_the_rights_it_has(program: Database) -> None:
    customer = await new_customer(program, free=1)
    async with program.transaction() as tx:
        await customers.meet(tx, telegram_id=1, first_name="New", language="ru")
        assert await customers.consent(tx, customer.id, 1)
        await customers.set_language(tx, customer.id, "ru")
        await customers.set_reachable(tx, customer.id, reachable=False)
        await customers.set_reachable(tx, customer.id, reachable=True)
        await updates.store(tx, [updates.Incoming(n, n, False, {}) for n in (1, 2, 3)])
        done, dead, late = await updates.claim(tx, limit=3, lease_seconds=30)
        await updates.finish(tx, [done])
        await updates.bury(tx, dead, failure="x")
        await updates.put_back(tx, late, seconds=1, failure="x", spends_attempt=True)
        assert await updates.prune(tx, older_than=timedelta(seconds=-1)) == 1
        await photos.keep_file_id(tx, "photos/2", "file")
        assert await photos.forget(tx, "photos/2")
    draft_id = await new_draft(program, customer)
    async with program.transaction() as tx:
        renewed = await drafts.renew(tx, draft_id)
        assert renewed is not None
        await drafts.quote(tx, renewed.order_id, price_credits=1, card_message_id=7)
    assert (await place(program, renewed.order_id)).outcome is orders.Outcome.PLACED
    async with program.transaction() as tx:
        (notice,) = await notices.claim(tx, limit=10, lease_seconds=30, per_second=30)
        assert not await notices.card_rests(tx, notice, seconds=3)
        assert await notices.extend(tx, [notice], lease_seconds=60) == {notice.id}
        await notices.tell_again(tx, notice)
        assert await notices.finish(tx, notice, state="sent", message_id=8, pause_seconds=1)
        assert len((await statements.lines(tx, customer.id)).items) == 2
        assert (await counters.count(tx)).orders_in_work == 1
        assert (await books.figures(tx)).held_credits == 1
        assert len(await books.story(tx, renewed.order_id)) > 1


async def test_t25_the_program_serves_operators_with_the_rights_it_has(program: Database) -> None:
    request_id = uuid4()
    async with program.transaction() as tx:
        await requests.ask(tx, request_id, operator=1, act=Act.PAUSE, reason="x")
        assert await requests.find(tx, request_id, lock=True) is not None
        await requests.decide(tx, request_id, State.SECONDING, by=1)
        assert len(await requests.seconding(tx, within_seconds=60)) == 1
        await requests.expect(tx, 1, "find", message_id=None)
        assert await requests.expected(tx, 1) is not None
        await requests.expect_nothing(tx, 1)
        assert await operators.selling(tx)
        assert await operators.pause_sales(tx, operator="telegram 1", reason="x")
        assert await operators.resume_sales(tx, operator="telegram 1")
        assert len(await operators.latest(tx, limit=5)) == 2
        await overview.day(tx)
        await overview.queue(tx)
        assert await overview.person_called(tx, "nobody") is None
        board = await alerts.claim(tx, lease_seconds=30)
        assert board is not None
        await alerts.staff(tx)
        await alerts.begin(tx, "paused", {})
        await alerts.told(tx, board, message_id=1, words="x", heard=True)
        await alerts.end(tx, "paused")
        await alerts.forget(tx, ["paused"])
        assert await alerts.rest(tx, board, seconds=0)


# What it cannot -----------------------------------------------------------------------------------------------------

FORBIDDEN = {
    "write a balance": "update accounts set balance = 100, version = version + 1",
    "open an account": "insert into accounts (customer_id, kind, funding) values ($two, 'held', 'free')",
    "write a transfer": "insert into transfers (kind, customer_id, funding, from_kind, to_kind, amount_credits, cause)"
    " values ('top_up', $two, 'free', 'issued', 'available', 1, 'x')",
    "edit a transfer": "update transfers set reason = 'x'",
    "delete a transfer": "delete from transfers",
    "write an entry": "insert into entries values ($free, 9, $top_up, 0, 0)",
    "edit an entry": "update entries set delta = 0",
    "empty the ledger": "truncate entries",
    "move credits": "select move_credits('top_up', $two, 'issued', 'available', 'free', 1, 'x')",
    "change credits": "select change_credits('top_up', $two, 1, 'free', 'x', 'x')",
    "end a hold": "select end_holds($queued, 'refund')",
    "lock the books": "select lock_books($two)",
    "write a customer": "insert into customers (telegram_id, first_name, language) values (1, 'x', 'en')",
    "change who a customer is": "update customers set telegram_id = 1 where id = $one",
    "delete a customer": "delete from customers",
    "open a chat": "insert into chats (customer_id) values (1)",
    "delete a chat": "delete from chats",
    "write an order": order_row(),
    "change a price": "update orders set price_credits = 1",
    "change what was ordered": "update orders set count = 2, description = 'x'",
    "delete an order": "delete from orders",
    "write a video": "insert into generations select * from generations",
    "change the price of a video": "update generations set price_credits = 1",
    "end a video": "update generations set state = 'failed', failure = 'x', finished_at = now() where id = $queued",
    "delete a video": "delete from generations",
    "write a job": "insert into jobs (kind, subject_id, customer_id) values ('other', $new, $one)",
    "end a job": "update jobs set state = 'discarded', finished_at = now() where subject_id = $queued",
    "give a job away": "update jobs set customer_id = $two",
    "delete a job": "delete from jobs",
    "delete an attempt": "delete from attempts",
    "delete a notice": "delete from notices",
    "empty the outbox": "truncate notices",
    "stop the pace": "delete from pace",
    "forget an act of an operator": "delete from operator_actions",
    "change what an operator asked for": "update operator_requests set credits = 100, reason = 'x'",
    "forget what an operator asked for": "delete from operator_requests",
    "make a second board": "insert into alert_board (only_row) values (true)",
    "move the clock": "insert into clock (shift) values ('1 year')",
    "have an object deleted": "insert into media_to_delete (key) values ('photos/1')",
    "pretend a migration": "insert into migrations (name) values ('9999.sql')",
    "alter a table": "alter table accounts drop constraint accounts_never_overdrawn",
    "switch a trigger off": "alter table transfers disable trigger transfers_append_only",
    "switch all triggers off": "set session_replication_role = replica",
    "drop a table": "drop table photos",
    "drop a function": "drop function top_up(bigint, bigint, text, text, text)",
    "replace a function": "create or replace function clock_now() returns timestamptz language sql return now()",
    "make a function": "create function public.mine() returns integer language sql return 1",
    "make a table": "create table public.mine ()",
    "make a schema": "create schema mine",
    "add a trigger": "create trigger mine before insert on jobs for each row execute function take_turn()",
    "become the owner": "set role $owner",
    "make a role": "create role mine",
    "grant itself more": "grant neurocards_app to pg_monitor",
    "read a file of the server": "select pg_read_file('/etc/hostname')",
    "run a program on the server": "copy photos from program 'true'",
}


@dataclass(frozen=True)
class Intruder:
    """Somebody who got hold of the program's connection to a small shop, whose things have these names."""

    connection: psycopg.Connection
    names: dict[str, str]

    def tries(self, sql: str) -> str | None:
        """The sqlstate of the refusal; None when it would be committed."""
        try:
            self.connection.execute(Refusal(by="", what="", sql=sql).statements(self.names))
            self.connection.execute("set constraints all immediate")
        except psycopg.Error as error:
            return error.sqlstate
        else:
            return None
        finally:
            self.connection.rollback()


@pytest.fixture
async def intruder(logins: None, dsn: str, database: Database) -> AsyncIterator[Intruder]:
    names = await open_shop(database)
    async with database.transaction() as tx:
        cursor = await tx.execute("select quote_ident(current_user)")
        ((names["owner"],),) = await cursor.fetchall()
    with psycopg.connect(dsn, user=PROGRAM, password=PASSWORD, options=f"-c role={APP_ROLE}") as connection:
        yield Intruder(connection, names)


def test_t25_the_program_has_no_right_to(intruder: Intruder) -> None:
    assert {what: intruder.tries(sql) for what, sql in FORBIDDEN.items()} == dict.fromkeys(FORBIDDEN, DENIED)
    assert intruder.tries("update photos set file_id = 'x'") is None


def test_t25_what_an_operator_cannot_do_the_program_cannot_do_either(intruder: Intruder) -> None:
    allowed = [refusal.what for refusal in REFUSALS if intruder.tries(refusal.sql) is None]
    assert allowed == []


def test_t25_tables_of_a_session_deceive_nobody(intruder: Intruder) -> None:
    """Whoever may not write a table can make a temporary one of its name, which would be found first."""
    riches = (
        "update drafts set count = 10, quoted_price_credits = 1000;"
        "create temp table accounts as select id, customer_id, kind, funding, 100000 as balance, version"
        " from public.accounts"
    )
    intruder.connection.execute(riches.encode())
    cursor = intruder.connection.execute(
        "select outcome from place_order((select order_id from drafts), 1, 'm', 3, 1000, '1 hour')"
    )
    assert cursor.fetchone() == ("not_enough_credits",)
    intruder.connection.rollback()

    forged = (
        "create temp table orders as select $order as id, $two::bigint as customer_id;"
        "create temp table generations as select $queued as id, $order as order_id;"
    )
    assert intruder.tries(forged + notice_row(customer="$two", kind="again", cause="'x'")) == "NC012"


def test_t25_who_only_reads_moves_no_credits(intruder: Intruder, dsn: str) -> None:
    with psycopg.connect(dsn, user=READER, password=PASSWORD) as connection:
        reader = Intruder(connection, intruder.names)
        assert reader.tries("select * from transfers") is None
        moves = (
            "select top_up($two, 100, 'free', 'x', 'x')",
            "select withdraw($two, 1, 'free', 'x', 'x')",
            "select place_order($new, 1, 'm', 3, 1, '1 hour')",
            "select settle_generation($making, 1)",
            "select refund_generation($queued, null, 'x')",
            "select reverse_settlement($settled, 'x')",
            "select cancel_order($order, $one)",
            "select register_customer(1, 'x', 'en')",
            "select forget_words('0', 10)",
            "select forget_videos('0', 10)",
        )
        assert [reader.tries(move) for move in moves] == [DENIED] * len(moves)
