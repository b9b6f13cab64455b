"""What is kept and what is not: backups that prove themselves, a lost shop that comes back, and what is forgotten."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import psycopg.conninfo
import pytest
from aiogram import Bot
from aiogram.types import LabeledPrice

from neurocards.audit import audit
from neurocards.bot import make_bot, star_moves
from neurocards.db import backups, dumps, embedded, generations, migrate, notices, operators
from neurocards.db.connection import APP_ROLE, Database
from neurocards.db.customers import Customer
from neurocards.db.embedded import EmbeddedPostgres
from neurocards.db.notices import NoticeKind
from neurocards.db.statements import Kept, kept
from neurocards.keeping import backing_up, forgetting, restoring
from neurocards.keeping.backing_up import Found, Made, NoBackup, Place, Watch
from neurocards.keeping.reconciling import Reconciled, reconcile
from neurocards.keeping.restoring import RESTORED
from neurocards.sealing import PIECE_BYTES, TAG_BYTES, CannotOpen, WrongKey, opened, read_key, sealed
from neurocards.storage import Store, file_store, open_store
from services import Simulators
from shop import VIDEO, advance, claim, make_video, new_customer, new_draft, new_order, place, violations
from test_cli import command

KEY_TEXT = "a" * 43 + "="
KEY = read_key(KEY_TEXT)
DAY_SECONDS = 86_400.0
KEEP = timedelta(days=14)
STARS_PER_CREDIT = 100
CANARY = "a mug that nobody else may read of"

_numbers = count(1)
_tokens = count(7_000_001)


@dataclass(frozen=True)
class Kit:
    """A shop with all that its keeping needs."""

    dsn: str
    database: Database
    """As the program opens it."""
    owner: Database
    store: Store
    place: Place

    async def back_up(self, *, keep: timedelta = KEEP) -> Made:
        return await backing_up.back_up(
            self.dsn, self.database, self.store, self.place, key=KEY, keep=keep, watch=Watch()
        )

    async def latest(self) -> Found:
        return await backing_up.find(self.place, "latest")


@pytest.fixture
async def kit(dsn: str, database: Database, tmp_path: Path) -> AsyncIterator[Kit]:
    async with Database(dsn, connections=4, role=APP_ROLE) as program:
        place = Place(file_store(tmp_path / "backups"), "here")
        yield Kit(dsn, program, database, open_store(None, tmp_path), place)


@pytest.fixture
def empty(postgres: EmbeddedPostgres) -> Iterator[str]:
    """An empty database, where a lost one was."""
    name = f"lost_{next(_numbers)}"
    with psycopg.connect(postgres.dsn, autocommit=True) as server:
        server.execute(f"create database {name}".encode())
        yield psycopg.conninfo.make_conninfo(postgres.dsn, dbname=name)
        server.execute(f"drop database {name} with (force)".encode())


async def sold(kit: Kit, *, customer: Customer | None = None, description: str = CANARY) -> UUID:
    """A delivered video of an order, with all that lies in the store; returns the generation's id."""
    buyer = customer or await new_customer(kit.database, free=5)
    await place(kit.database, await new_draft(kit.database, buyer, description=description, wishes=description))
    (job,) = await claim(kit.database)
    await make_video(kit.database, job)
    key = f"videos/{job.subject_id}/1-1.mp4"
    async with kit.database.transaction() as tx:
        await generations.record_prompt(tx, job.subject_id, prompt=description, source="template")
        await tx.execute(
            "update generations set video_key = %s, cover_key = %s, thumbnail_key = %s, size_bytes = 1000"
            " where id = %s",
            [key, f"{key}-cover", f"{key}-thumbnail", job.subject_id],
        )
        assert await generations.settle(tx, job.subject_id, job.lease_number)
    for name, content in ((key, b"x" * 1000), (f"{key}-cover", b"c"), (f"{key}-thumbnail", b"t"), ("photos/1", b"p")):
        await kit.store.put(name, content)
    # What a worker left there that had lost its lease.
    await kit.store.put(f"videos/{job.subject_id}/1-0.mp4", b"left")
    return job.subject_id


async def told(kit: Kit) -> None:
    """Every message has arrived."""
    async with kit.database.transaction() as tx:
        await tx.execute(
            "update notices set state = 'sent', sent_at = clock_now(), message_id = 1 where state = 'pending'"
        )


async def keys(store: Store) -> list[str]:
    return sorted([one.key async for one in store.list()])


# T30: the seal ------------------------------------------------------------------------------------------------------


async def parts(*content: bytes) -> AsyncIterator[bytes]:
    for part in content:
        yield part


async def whole(stream: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in stream])


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
async def test_t30_what_is_sealed_opens_with_its_key(size: int) -> None:
    content = bytes(index % 251 for index in range(1000)) * (size // 1000 + 1)
    closed = await whole(sealed(parts(content[: size // 3], content[size // 3 : size]), KEY))
    assert await whole(opened(parts(closed[:7], closed[7:]), KEY)) == content[:size]
    assert content[:100] not in closed or size == 0


async def test_t30_another_key_is_told_from_damage() -> None:
    closed = await whole(sealed(parts(b"secret"), KEY))
    with pytest.raises(WrongKey, match="another BACKUP_KEY"):
        await whole(opened(parts(closed), bytes(32)))


async def test_t30_nothing_is_cut_off_moved_or_changed_unnoticed() -> None:
    closed = await whole(sealed(parts(b"a" * PIECE_BYTES, b"b" * PIECE_BYTES, b"c"), KEY))
    piece = PIECE_BYTES + TAG_BYTES
    head = len(closed) - 2 * piece - 1 - TAG_BYTES
    first, second, last = (
        closed[head : head + piece],
        closed[head + piece : head + 2 * piece],
        closed[head + 2 * piece :],
    )
    for spoiled in (
        closed[:-1],
        closed[: head + piece],
        closed[: head + 2 * piece],
        closed[:head],
        closed[: head - 1],
        b"",
        closed + b"x",
        closed[:head] + second + first + last,
        closed[:head] + first + last,
        closed[:head] + first + first + second + last,
        closed[: head + 9] + bytes([closed[head + 9] ^ 1]) + closed[head + 10 :],
        b"x" + closed[1:],
    ):
        with pytest.raises(CannotOpen):
            await whole(opened(parts(spoiled), KEY))


async def test_t30_a_stolen_backup_says_nothing_and_the_wrong_key_restores_nothing(kit: Kit, empty: str) -> None:
    await sold(kit)
    made = await kit.back_up()
    stored = await kit.place.store.get(made.location.removeprefix("here/"))
    assert len(stored) == made.size_bytes
    for readable in (CANARY.encode(), b"PGDMP", b"photos/1", b"transfers"):
        assert readable not in stored
    with pytest.raises(restoring.Unsound, match="another BACKUP_KEY"):
        await restoring.restore(empty, await kit.latest(), key=bytes(32))
    assert await dumps.is_empty(empty)


def test_t30_without_a_key_there_is_no_backup_but_the_line_that_makes_one(tmp_path: Path) -> None:
    status, output, complaint = command(tmp_path, "backup")
    assert (status, output) == (1, "")
    assert "BACKUP_KEY is not set" in complaint and "/dev/urandom" in complaint
    status, _, complaint = command(tmp_path, "backup", BACKUP_KEY="too short")
    assert (status, complaint.count("\n")) == (1, 1)


# Backups ------------------------------------------------------------------------------------------------------------


async def test_a_backup_lists_the_store_and_is_recorded_once_whole(kit: Kit) -> None:
    await sold(kit)
    made = await kit.back_up()
    assert made.media == 5
    async with kit.database.transaction() as tx:
        assert await backups.known(tx, made.location)
    backup = await (await kit.latest()).open(KEY)
    assert sorted([one.key async for one in backup.media]) == await keys(kit.store)
    assert backup.head.migrations[0] == "0001_schema.sql"


async def test_a_backup_that_breaks_off_leaves_nothing_behind(kit: Kit) -> None:
    async def broken(self: Store, prefix: str | None = None) -> AsyncIterator[object]:
        raise ConnectionError("the store is away")
        yield

    kit.store.list = broken.__get__(kit.store)  # type: ignore[method-assign]  # a store that goes away halfway
    with pytest.raises(ConnectionError):
        await kit.back_up()
    assert await keys(kit.place.store) == []
    async with kit.database.transaction() as tx:
        cursor = await tx.execute("select count(*) from backups")
        assert await cursor.fetchone() == (0,)


async def test_old_backups_go_and_whatever_else_lies_there_stays(kit: Kit) -> None:
    now = datetime.now(UTC)
    names = {days: f"neurocards-{now - timedelta(days=days):%Y%m%dT%H%M%SZ}.backup" for days in (40, 15, 13)}
    for name in (*names.values(), "letters.txt"):
        await kit.place.store.put(name, b"x")
    made = await kit.back_up()
    assert made.forgotten == 2
    left = await keys(kit.place.store)
    assert set(left) == {names[13], "letters.txt", made.location.removeprefix("here/")}


async def test_f79_the_last_backup_that_was_proved_stays_until_another_one_is(kit: Kit) -> None:
    now = datetime.now(UTC)
    old, proved = (f"neurocards-{now - timedelta(days=days):%Y%m%dT%H%M%SZ}.backup" for days in (40, 30))
    for name in (old, proved):
        await kit.place.store.put(name, b"x")
        async with kit.database.transaction() as tx:
            await backups.record(tx, location=kit.place.location(name), size_bytes=1, sha256="x")
            await backups.checked(tx, kit.place.location(name), failure=None)
    made = await kit.back_up()
    assert made.forgotten == 1 and proved in await keys(kit.place.store)
    await restoring.record_proof(kit.database, await kit.latest(), failure=None)
    await advance(kit.owner, 1.0)
    await kit.back_up()
    assert proved not in await keys(kit.place.store)


async def test_a_backup_sees_nothing_that_was_forgotten_while_it_waited_to_look(kit: Kit, empty: str) -> None:
    await sold(kit)
    await told(kit)
    await advance(kit.owner, 181 * DAY_SECONDS)
    async with kit.database.transaction() as tx:
        await tx.execute("select forget_videos(interval '180 days', 10)")
        making = asyncio.create_task(kit.back_up())
        while not await _waits_for_a_lock(kit):  # noqa: ASYNC110 (the server sets no event)
            await asyncio.sleep(0.01)
    await forget(kit)
    await making
    report = await restoring.prove(empty, await kit.latest(), key=KEY)
    assert (report.violations, report.figures.completed) == ([], 1)


async def _waits_for_a_lock(kit: Kit) -> bool:
    async with kit.owner.transaction() as tx:
        cursor = await tx.execute("select exists (select from pg_locks where not granted and locktype = 'advisory')")
        return await cursor.fetchone() == (True,)


async def test_what_an_address_leaves_open_is_the_same_for_the_programs(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = psycopg.conninfo.conninfo_to_dict(kit.dsn)
    for name in ("host", "port", "user", "password"):
        if parts.get(name):
            monkeypatch.setenv(f"PG{name.upper()}", str(parts[name]))
    address = psycopg.conninfo.make_conninfo(dbname=str(parts["dbname"]))
    watch = Watch()
    made = await backing_up.back_up(address, kit.database, kit.store, kit.place, key=KEY, keep=KEEP, watch=watch)
    assert made.size_bytes > 0


def test_the_programs_are_never_older_than_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in (16, 18):
        folder = tmp_path / str(version)
        folder.mkdir()
        program = folder / "pg_dump"
        program.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}.4'\n")
        program.chmod(0o700)
    monkeypatch.setattr(embedded, "folders_of_programs", lambda: [tmp_path / "18", tmp_path / "16"])
    chosen = [dumps.program_for("pg_dump", server).parent.name for server in (15, 16, 17, 18)]
    assert chosen == ["16", "16", "18", "18"]
    with pytest.raises(dumps.NoProgram, match="needs a pg_dump of version 19 or newer, and the newest here is 18"):
        dumps.program_for("pg_dump", 19)


# F79: a backup is worth what its last trial said --------------------------------------------------------------------


def proved(home: Path, dsn: str, *arguments: str) -> tuple[int, str, str | None, bool]:
    """Status and complaint of a trial restore, and what is on record: the failure, and whether one was verified."""
    status, _, complaint = command(home, "restore-check", *arguments, DATABASE_URL=dsn, BACKUP_KEY=KEY_TEXT)
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select failure, checked_at from backups order by id desc limit 1").fetchone()
        verified = connection.execute("select max(checked_at) from backups where failure is null").fetchone()
    assert row is not None and verified is not None and row[1] is not None
    return status, complaint, row[0], verified[0] is not None


def test_f79_a_trial_restore_finds_a_sound_backup_and_then_a_spoiled_one(dsn: str, tmp_path: Path) -> None:
    async def shop() -> str:
        async with Database(dsn) as database:
            place = Place(file_store(tmp_path / "backups"), "here")
            kit = Kit(dsn, database, database, open_store(None, tmp_path), place)
            await sold(kit)
            # Open, and long overdue by the time of the trial, not by that of the backup.
            await advance(database, -2 * DAY_SECONDS)
            await new_order(database)
        return dsn

    asyncio.run(shop())
    assert command(tmp_path, "backup", DATABASE_URL=dsn, BACKUP_KEY=KEY_TEXT)[0] == 0
    assert proved(tmp_path, dsn)[::3] == (0, True)

    (file,) = (tmp_path / "backups").iterdir()
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    status, complaint, failure, verified = proved(tmp_path, dsn, file.name)
    assert (status, verified) == (1, False)
    assert "damaged or cut off" in complaint and complaint.count("\n") == 1
    assert failure is not None and "damaged or cut off" in failure
    assert not list(tmp_path.glob("trial-*"))


async def test_f79_books_that_do_not_agree_are_no_backup(kit: Kit, empty: str) -> None:
    await sold(kit)
    async with kit.owner.transaction() as tx:
        await tx.execute("set local session_replication_role = replica")
        await tx.execute("update accounts set balance = balance + 1 where kind = 'available'")
    await kit.back_up()
    found = await kit.latest()
    report = await restoring.prove(empty, found, key=KEY)
    proof = restoring.Proof(found.location, report)
    assert proof.failure is not None and "balance_is_sum_of_entries" in proof.failure
    await restoring.record_proof(kit.database, found, failure=proof.failure)
    async with kit.database.transaction() as tx:
        assert await backups.last_verified(tx) is None


async def test_f79_a_video_that_was_not_in_the_store_is_missed_by_the_list(kit: Kit, empty: str) -> None:
    generation_id = await sold(kit)
    await kit.store.delete(f"videos/{generation_id}/1-1.mp4")
    await kit.back_up()
    report = await restoring.prove(empty, await kit.latest(), key=KEY)
    assert [one.check for one in report.violations] == ["paid_video_is_in_the_store"]


# A lost shop comes back ---------------------------------------------------------------------------------------------


@pytest.fixture
async def bot(simulators: Simulators) -> AsyncIterator[Bot]:
    bot = make_bot(f"{next(_tokens)}:drill", simulators.telegram)
    await bot.get_me()
    yield bot
    await bot.session.close()


async def somebody(simulators: Simulators, bot: Bot) -> int:
    """A person who has started the bot; returns the Telegram id."""
    params = {"bot": str(bot.id)}
    made = await simulators.client.post(
        f"{simulators.telegram}/sim/people", params=params, json={"first_name": "Ann", "language_code": "ru"}
    )
    person = int(made.json()["id"])
    await simulators.client.post(f"{simulators.telegram}/sim/people/{person}/start", params=params, json={})
    return person


async def pay(simulators: Simulators, bot: Bot, person: int, stars: int) -> str:
    """Pay in Stars while nobody books it; returns the charge id."""
    link = await bot.create_invoice_link("Credits", "Some", "purchase", "XTR", [LabeledPrice(label="x", amount=stars)])
    address, params = f"{simulators.telegram}/sim", {"bot": str(bot.id)}
    asked = await simulators.client.post(f"{address}/people/{person}/pay", params=params, json={"link": link})
    checkout = asked.json()["checkout_id"]
    await bot.answer_pre_checkout_query(checkout, ok=True)
    outcome = await simulators.client.get(f"{address}/checkouts/{checkout}", params={**params, "wait": 2})
    return str(outcome.json()["telegram_payment_charge_id"])


async def compare(kit: Kit, bot: Bot, *, dry_run: bool = False, stars: int | None = STARS_PER_CREDIT) -> Reconciled:
    return await reconcile(
        kit.database, kit.store, star_moves=star_moves(bot), accounts={}, stars_per_credit=stars, dry_run=dry_run
    )


async def lost(kit: Kit) -> None:
    """Sales are paused as after a restore."""
    async with kit.database.transaction() as tx:
        await operators.pause_sales(tx, operator=operators.COMMAND_LINE, reason=RESTORED)


async def paused(kit: Kit) -> bool:
    async with kit.database.transaction() as tx:
        return await operators.sales_pause(tx) is not None


async def credits_of(kit: Kit, telegram_id: int) -> int:
    async with kit.database.transaction() as tx:
        cursor = await tx.execute(
            "select coalesce(sum(balance), 0) from accounts a join customers c on c.id = a.customer_id"
            " where c.telegram_id = %s and kind = 'available' and funding = 'paid'",
            [telegram_id],
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def test_a_lost_database_comes_back_with_what_was_paid_since(
    kit: Kit, empty: str, simulators: Simulators, bot: Bot, tmp_path: Path
) -> None:
    """The drill of docs/recovery.md, with its own commands; benchmarks/recovery.py does it with ten thousand orders."""
    await sold(kit)
    await new_order(kit.database)
    person = await somebody(simulators, bot)
    environment = {
        "BACKUP_KEY": KEY_TEXT,
        "BOT_TOKEN": bot.token,
        "TELEGRAM_API_URL": simulators.telegram,
        "STARS_PER_CREDIT": str(STARS_PER_CREDIT),
    }

    def run(*arguments: str, dsn: str = empty) -> tuple[int, str, str]:
        return command(tmp_path, *arguments, DATABASE_URL=dsn, **environment)

    assert (await asyncio.to_thread(run, "backup", dsn=kit.dsn))[0] == 0
    stranger = uuid4()
    await kit.store.put(f"videos/{stranger}/1-1.mp4", b"ordered and made after the backup")
    charge_id = await pay(simulators, bot, person, 3 * STARS_PER_CREDIT)

    status, _, complaint = await asyncio.to_thread(run, "restore", "latest", dsn=kit.dsn)
    assert (status, complaint.count("\n")) == (1, 1) and "not empty" in complaint
    assert (await asyncio.to_thread(run, "restore", "latest"))[0] == 0

    async with Database(empty, role=APP_ROLE) as database:
        back = Kit(empty, database, database, kit.store, kit.place)
        assert await paused(back)
        status, output, _ = await asyncio.to_thread(run, "reconcile", "--json")
        found = json.loads(output)
        assert status == 0 and found["resumed"] and not await paused(back)
        assert [(one["what"], one["subject"]) for one in found["differences"]] == [("payment", charge_id)]
        assert str(stranger) in found["notes"][0]
        assert await credits_of(back, person) == 3
        assert (await audit(database, kit.store)).violations == []
        # And the shop goes on: the open video is made, a new one is ordered.
        (job,) = await claim(database)
        await make_video(database, job)
        assert await database.run(lambda tx: generations.settle(tx, job.subject_id, job.lease_number))
        await new_order(database)
        assert await violations(database) == []


async def test_a_restore_that_breaks_off_leaves_no_shop_that_could_sell(
    kit: Kit, empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the database is back and before sales are paused there is a moment, and a power cut finds it."""
    await sold(kit)
    await kit.back_up()

    async def cut(dsn: str) -> list[str]:
        raise ConnectionError("the power is gone")

    with monkeypatch.context() as broken:
        broken.setattr(migrate, "migrate", cut)
        with pytest.raises(ConnectionError):
            await restoring.restore(empty, await kit.latest(), key=KEY)
    assert not await dumps.is_empty(empty)
    async with Database(empty) as database:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await new_order(database)


async def test_a_restore_that_was_refused_leaves_the_database_as_it_was(kit: Kit, empty: str) -> None:
    await sold(kit)
    await kit.back_up()
    with pytest.raises(restoring.Unsound):
        await restoring.restore(empty, await kit.latest(), key=bytes(32))
    async with Database(empty) as database, database.transaction() as tx:
        await tx.execute("create table writable ()")
        await tx.execute("drop table writable")
    # One that was killed before it had put anything back is just begun again.
    with psycopg.connect(empty, autocommit=True) as server:
        server.execute("alter database " + server.info.dbname + " set default_transaction_read_only = on")
    await restoring.restore(empty, await kit.latest(), key=KEY)
    async with Database(empty, role=APP_ROLE) as database:
        assert await paused(Kit(empty, database, database, kit.store, kit.place))


async def test_a_backup_is_found_by_name_and_by_file_and_else_missed_in_a_line(kit: Kit, tmp_path: Path) -> None:
    made = await kit.back_up()
    name = made.location.removeprefix("here/")
    assert (await backing_up.find(kit.place, name)).location == made.location
    file = tmp_path / "backups" / ".." / "backups" / name
    assert (await backing_up.find(kit.place, str(file))).location == str(file)
    for missing in ("../nothing.backup", "neurocards-20260101T000000Z.backup", ""):
        with pytest.raises(NoBackup):
            await backing_up.find(kit.place, missing)


async def test_a_payment_is_put_back_once_and_only_when_it_was_not_returned(
    kit: Kit, simulators: Simulators, bot: Bot
) -> None:
    person = await somebody(simulators, bot)
    await pay(simulators, bot, person, 2 * STARS_PER_CREDIT)
    returned = await pay(simulators, bot, person, STARS_PER_CREDIT)
    assert await bot.refund_star_payment(person, returned)
    await lost(kit)

    looked = await compare(kit, bot, dry_run=True)
    assert [one.what for one in looked.left] == ["payment"]
    assert await paused(kit) and await credits_of(kit, person) == 0

    mended = await compare(kit, bot)
    assert (len(mended.differences), mended.left, mended.resumed) == (1, [], True)
    assert await credits_of(kit, person) == 2
    again = await compare(kit, bot)
    assert (again.differences, again.resumed) == ([], False)

    # Returned afterwards, while the credits stay: somebody has to look at it.
    charge_id = await pay(simulators, bot, person, STARS_PER_CREDIT)
    await compare(kit, bot)
    assert await bot.refund_star_payment(person, charge_id)
    assert [(one.what, one.subject) for one in (await compare(kit, bot)).left] == [("refund", charge_id)]


async def test_what_cannot_be_mended_keeps_sales_paused(kit: Kit, simulators: Simulators, bot: Bot) -> None:
    person = await somebody(simulators, bot)
    charge_id = await pay(simulators, bot, person, STARS_PER_CREDIT + 1)
    await lost(kit)
    for stars in (None, STARS_PER_CREDIT):
        found = await compare(kit, bot, stars=stars)
        assert [(one.what, one.subject) for one in found.left] == [("payment", charge_id)]
    assert await paused(kit)

    generation_id = await sold(kit)
    await kit.store.delete(f"videos/{generation_id}/1-1.mp4")
    await new_order(kit.database)
    await kit.store.delete("photos/1")
    found = await compare(kit, bot)
    assert {one.what for one in found.left} == {"payment", "paid_video_is_in_the_store", "photo"}
    assert await paused(kit)


async def test_a_pause_for_another_reason_is_not_resumed(kit: Kit, bot: Bot) -> None:
    async with kit.database.transaction() as tx:
        await operators.pause_sales(tx, operator="telegram 4711", reason="the provider burns")
    assert (await compare(kit, bot)).left == []
    assert await paused(kit)


async def test_what_was_open_at_the_backup_and_overdue_since_is_paid_back(kit: Kit, bot: Bot) -> None:
    await new_order(kit.database, videos=3)
    await kit.store.put("photos/1", b"p")
    await advance(kit.owner, DAY_SECONDS)
    assert [one.what for one in (await compare(kit, bot, dry_run=True)).left] == ["overdue"] * 3
    found = await compare(kit, bot)
    assert ([one.what for one in found.differences], found.left) == (["overdue"] * 3, [])
    assert await violations(kit.database) == []


# T27: nothing personal is kept for ever -----------------------------------------------------------------------------


async def forget(kit: Kit) -> None:
    while (await forgetting.turn(kit.database, kit.store, photo_days=30, video_days=180)).total:
        pass


async def mentions(kit: Kit, text: str) -> list[str]:
    """The tables that hold this text anywhere."""
    async with kit.database.transaction() as tx:
        cursor = await tx.execute(
            "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1"
        )
        found = []
        for (table,) in await cursor.fetchall():
            cursor = await tx.execute(
                f"select exists (select from {table} row where position(%s in row::text) > 0)".encode(), [text]
            )
            if await cursor.fetchone() == (True,):
                found.append(table)
    return found


async def test_t27_photos_and_words_go_after_a_month_and_videos_after_half_a_year(kit: Kit) -> None:
    generation_id = await sold(kit)
    await told(kit)
    forgetful = await new_customer(kit.database, free=1)
    await new_draft(kit.database, forgetful, description=CANARY)
    async with kit.database.transaction() as tx:
        await tx.execute("update drafts set photo_key = 'photos/2'")
        await tx.execute("insert into photos (key, file_id) values ('photos/1', 'tg-1'), ('photos/2', 'tg-2')")
        await tx.execute(
            "insert into updates (id, person, urgent, body, state, handled_at)"
            " values (1, 1, false, jsonb_build_object('text', %s::text), 'dead', clock_now())",
            [CANARY],
        )
        await notices.keep_file_id(tx, generation_id, "tg-video")
    await kit.store.put("photos/2", b"p")

    await advance(kit.owner, 29 * DAY_SECONDS)
    await forget(kit)
    assert set(await mentions(kit, CANARY)) == {"orders", "generations", "drafts", "updates"}

    await advance(kit.owner, 2 * DAY_SECONDS)
    await forget(kit)
    assert await mentions(kit, CANARY) == await mentions(kit, "tg-1") == await mentions(kit, "tg-2") == []
    assert [key for key in await keys(kit.store) if key.startswith("photos/")] == []
    assert f"videos/{generation_id}/1-1.mp4" in await keys(kit.store)
    assert (await audit(kit.database, kit.store)).violations == []

    await advance(kit.owner, 150 * DAY_SECONDS)
    await forget(kit)
    assert await keys(kit.store) == []
    assert await mentions(kit, "tg-video") == await mentions(kit, f"videos/{generation_id}") == []
    assert await mentions(kit, "https://") == []
    report = await audit(kit.database, kit.store)
    assert (report.violations, report.figures.completed, report.figures.spent_credits) == ([], 1, 1)
    async with kit.database.transaction() as tx:
        cursor = await tx.execute("select customer_id from generations where id = %s", [generation_id])
        row = await cursor.fetchone()
        assert row is not None
        assert await kept(tx, row[0], generation_id) is Kept.NO_MORE
        assert await kept(tx, row[0] + 1, generation_id) is None


async def test_t27_what_is_open_or_still_to_be_told_is_kept(kit: Kit) -> None:
    """A customer who blocked the bot half a year ago gets the video when they are back."""
    owed = await sold(kit)
    customer = await new_customer(kit.database, free=1)
    open_order = await new_draft(kit.database, customer, description="still open")
    await place(kit.database, open_order)
    before = await keys(kit.store)
    await advance(kit.owner, 400 * DAY_SECONDS)
    await forget(kit)
    assert await keys(kit.store) == before
    assert "orders" in await mentions(kit, CANARY) and "orders" in await mentions(kit, "still open")

    await told(kit)
    await forget(kit)
    assert await mentions(kit, CANARY) == await mentions(kit, f"videos/{owed}") == []
    # The open order is of the same photo.
    assert await keys(kit.store) == ["photos/1"]
    assert "orders" in await mentions(kit, "still open")


async def test_t27_a_video_asked_for_again_is_kept_until_it_is_sent(kit: Kit) -> None:
    generation_id = await sold(kit)
    await told(kit)
    await advance(kit.owner, 181 * DAY_SECONDS)
    await kit.database.run(lambda tx: notices.request(tx, generation_id, kind=NoticeKind.AGAIN, cause="again:1"))
    await forget(kit)
    assert f"videos/{generation_id}/1-1.mp4" in await keys(kit.store)


async def test_t27_a_photo_that_somebody_orders_from_again_is_not_deleted(kit: Kit) -> None:
    customer = await new_customer(kit.database, free=5)
    await sold(kit, customer=customer)
    await told(kit)
    await advance(kit.owner, 31 * DAY_SECONDS)
    await kit.database.run(lambda tx: tx.execute("select forget_words(interval '30 days', 10)"))
    # Between the commit and the deletion.
    await new_draft(kit.database, customer)
    await forget(kit)
    assert "photos/1" in await keys(kit.store)


async def test_t27_what_is_old_in_the_store_and_in_no_row_goes_too(kit: Kit) -> None:
    """A photo that was replaced before anybody ordered from it; a video of an order that a restore has lost."""
    generation_id = await sold(kit)
    await told(kit)
    before = await keys(kit.store)
    lost = f"videos/{uuid4()}/1-1.mp4"
    for key in ("photos/replaced", lost, "letters/1", "videos/of-somebody-else"):
        await kit.store.put(key, b"x")

    async def sweep() -> list[str]:
        await forgetting.sweep(kit.database, kit.store, photo_days=30, video_days=180)
        return [key for key in await keys(kit.store) if key not in before]

    await advance(kit.owner, 29 * DAY_SECONDS)
    assert len(await sweep()) == 4
    await advance(kit.owner, 2 * DAY_SECONDS)
    assert await sweep() == ["letters/1", lost, "videos/of-somebody-else"]
    await advance(kit.owner, 150 * DAY_SECONDS)
    assert await sweep() == ["letters/1", "videos/of-somebody-else"]
    assert f"videos/{generation_id}/1-1.mp4" in await keys(kit.store), "what is in the books is theirs to forget"


async def test_t27_nothing_is_forgotten_while_a_backup_looks(kit: Kit) -> None:
    await sold(kit)
    await told(kit)
    await advance(kit.owner, 400 * DAY_SECONDS)
    async with dumps.one_moment(kit.dsn):
        assert (await forgetting.turn(kit.database, kit.store, photo_days=30, video_days=180)).total == 0
    assert (await forgetting.turn(kit.database, kit.store, photo_days=30, video_days=180)).total > 0


async def test_t27_a_store_that_is_away_gets_another_turn(kit: Kit, tmp_path: Path) -> None:
    await sold(kit)
    await told(kit)
    await advance(kit.owner, 31 * DAY_SECONDS)
    (tmp_path / "store").rename(tmp_path / "away")
    (tmp_path / "store").write_text("no folder")
    await forgetting.turn(kit.database, kit.store, photo_days=30, video_days=180)
    (tmp_path / "store").unlink()
    (tmp_path / "away").rename(tmp_path / "store")
    assert "photos/1" in await keys(kit.store)
    await forget(kit)
    assert "photos/1" not in await keys(kit.store)
    assert VIDEO.video_key not in await keys(kit.store)
