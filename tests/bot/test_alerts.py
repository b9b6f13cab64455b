"""The operators' chat: troubles begin, go on and are over in one calm message, across restarts."""

import asyncio
import html
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from bot.chat import Json, Person, Shop, photo
from bot.test_inbox import body, put
from neurocards import alerts as alerts_module
from neurocards import maintenance
from neurocards.alerts import KNOWN, Alerts
from neurocards.bot import Alarm
from neurocards.bot.alarm import HELP
from neurocards.db import alerts, backups, connection, operators, provider_keys
from neurocards.db import watch as watching
from neurocards.db.alerts import Alert
from neurocards.db.connection import Away, Database
from neurocards.domain.generations import AttemptState
from neurocards.texts import LANGUAGES
from shop import advance, attempted, new_order

LOOK_SECONDS = 30


class Watch:
    """A process that looks at the shop every half minute, and the chat that it tells."""

    def __init__(self, shop: Shop, chat: Person) -> None:
        self.shop = shop
        self.chat = chat
        self.disk_used = 0.8
        self.restart()

    def restart(self) -> None:
        self.alerts = self.of(self.shop.database)

    def of(self, database: Database) -> Alerts:
        alarm = Alarm(self.shop.bot, self.chat.id)
        return Alerts(database, alarm, chat_id=self.chat.id, readers=[self.chat.id], disk_used=lambda: self.disk_used)

    async def look(self, times: int = 1) -> int:
        """Look so often, half a minute after each other; returns how many messages were sent or edited."""
        told = 0
        for _ in range(times):
            told += await self.alerts.turn()
            await advance(self.shop.database, LOOK_SECONDS)
        return told

    async def messages(self) -> list[Json]:
        return [one for one in await self.chat.messages() if one["from_bot"]]


@pytest.fixture
async def watch(shop: Shop) -> Watch:
    chat = await shop.arrive()
    await chat.start()
    found = Watch(shop, chat)
    await chat.do("delete", {"message_id": await chat.said()})
    for message in await found.messages():
        await shop.bot.delete_message(chat.id, message["message_id"])
    return found


async def pause(database: Database) -> None:
    await database.run(lambda tx: operators.pause_sales(tx, operator="telegram 1", reason="a <fire>"))


async def resume(database: Database) -> None:
    await database.run(lambda tx: operators.resume_sales(tx, operator="telegram 1"))


async def bury(database: Database, updates: int) -> None:
    """So many updates that nobody could handle."""
    async with database.transaction() as tx:
        await tx.execute(
            "insert into updates (id, person, urgent, body, state, failure, handled_at)"
            " select coalesce((select max(id) from updates), 0) + n, 1, false, '{}', 'dead', 'x', clock_now()"
            "   from generate_series(1, %s) n",
            [updates],
        )


async def test_a_healthy_shop_is_told_nothing(watch: Watch) -> None:
    assert await watch.look(times=5) == 0
    assert await watch.messages() == []


async def test_a_trouble_begins_goes_on_and_is_over_across_restarts(watch: Watch) -> None:
    await pause(watch.shop.database)
    assert await watch.look(times=4) == 1
    [message] = await watch.messages()
    assert "The shop needs a look" in message["text"]
    assert "Sales are paused by telegram 1: a <fire>" in message["text"]
    assert "neurocards sales" in message["text"]
    assert "docs/runbooks/" in message["text"]

    watch.restart()
    assert await watch.look(times=10) == 0, "what was told is not repeated by a new process"
    await advance(watch.shop.database, 3600)
    watch.restart()
    assert await watch.look(times=10) == 1, "said again once an hour"
    assert len(await watch.messages()) == 2

    await resume(watch.shop.database)
    watch.restart()
    assert await watch.look(times=20) == 1
    [_, message] = await watch.messages()
    assert message["text"].startswith("All is well again")
    assert "✅ Over (" in message["text"]
    assert message["edited_at"]

    await pause(watch.shop.database)
    await watch.look(times=4)
    [*_, message] = await watch.messages()
    assert message["text"].startswith("The shop needs a look")
    assert "✅" not in message["text"]
    assert len(await watch.messages()) == 3, "a new trouble is a new message"


async def test_a_storm_of_a_thousand_failures_is_one_message(watch: Watch) -> None:
    for _ in range(8):
        await bury(watch.shop.database, 125)
        await watch.look()
    [message] = await watch.messages()
    assert "1,000 updates within a day" in message["text"]


async def test_what_begins_soon_after_is_written_into_the_message_and_heard_later(watch: Watch) -> None:
    await pause(watch.shop.database)
    await watch.look(times=3)
    await bury(watch.shop.database, 1)
    assert await watch.look(times=5) == 1
    [message] = await watch.messages()
    assert "Nobody could handle what customers sent: one update" in message["text"]
    assert await watch.look(times=8) == 1
    assert len(await watch.messages()) == 2, "both, in one message that is heard"


async def test_what_comes_and_goes_is_one_trouble(watch: Watch) -> None:
    for _ in range(20):
        await pause(watch.shop.database)
        await watch.look(times=2)
        await resume(watch.shop.database)
        await watch.look()
    assert len(await watch.messages()) == 1


async def test_what_is_gone_at_the_next_look_calls_nobody(watch: Watch) -> None:
    await pause(watch.shop.database)
    await watch.look()
    await resume(watch.shop.database)
    assert await watch.look(times=10) == 0
    async with watch.shop.database.transaction() as tx:
        assert await alerts.read(tx) == []


async def test_a_message_that_somebody_deleted_is_sent_again_while_something_goes_on(watch: Watch) -> None:
    await pause(watch.shop.database)
    await watch.look(times=3)
    [message] = await watch.messages()
    await watch.shop.bot.delete_message(watch.chat.id, message["message_id"])
    await bury(watch.shop.database, 1)
    await watch.look(times=2)
    [message] = await watch.messages()
    assert "Sales are paused" in message["text"]


async def test_one_process_at_a_time_tells(watch: Watch) -> None:
    await pause(watch.shop.database)
    await watch.look()
    await advance(watch.shop.database, 30)
    board = await watch.shop.database.run(lambda tx: alerts.claim(tx, lease_seconds=60))
    assert board is not None
    assert await watch.look() == 0
    await advance(watch.shop.database, 60)
    assert await watch.look() == 1, "whoever held it is silent"


@pytest.mark.parametrize("kind", ["429", "5xx", "reset"])
async def test_while_telegram_is_away_nothing_breaks_and_customers_are_told_first(watch: Watch, kind: str) -> None:
    await pause(watch.shop.database)
    await watch.look()
    await watch.shop.fault(kind, "sendMessage", **({"retry_after": 30} if kind == "429" else {}))
    assert await watch.look(times=8) == 1
    # Of a call whose answer was lost nobody knows whether it was heard: then it may be said twice.
    assert len(await watch.messages()) in ((1,) if kind == "429" else (1, 2))


async def test_a_chat_that_takes_nothing_holds_up_no_customer(watch: Watch) -> None:
    customer = await watch.shop.shopper()
    await watch.chat.do("block", {})
    await customer.tap("Confirm")
    async with watch.shop.database.transaction() as tx:
        await tx.execute("update jobs set run_at = clock_now() + interval '1 day'")
    await pause(watch.shop.database)
    assert await watch.look(times=3) == 0
    await watch.shop.tell()
    assert "Order No. 1" in str((await customer.messages())[-1]["caption"])
    await watch.chat.do("unblock", {})
    assert await watch.look(times=25) == 1


# Each trouble --------------------------------------------------------------------------------------------------------


async def late_video(database: Database) -> None:
    await new_order(database)
    await register(database)
    await advance(database, 100)
    await register(database)
    await advance(database, 100)
    await register(database)


async def late_message(database: Database) -> None:
    await register(database)
    order_id = await new_order(database)
    async with database.transaction() as tx:
        await tx.execute("update jobs set run_at = clock_now() + interval '1 day'")
        await tx.execute(
            "insert into notices (customer_id, order_id, generation_id, kind, cause)"
            " select customer_id, order_id, id, 'again', 'again:1' from generations where order_id = %s",
            [order_id],
        )
    await advance(database, 125)


async def dead_update(database: Database) -> None:
    await bury(database, 1)


async def locked_key(database: Database) -> None:
    await register(database)
    async with database.transaction() as tx:
        await tx.execute(
            "insert into circuits (subject, failures, open_until, why)"
            " values ('key kie-1', 1, clock_now() + interval '5 minutes', 'code 402: <empty>')"
        )


async def poor_key(database: Database) -> None:
    await register(database)
    await database.run(lambda tx: provider_keys.record_balance(tx, "kie-1", 300.0))


async def old_backup(database: Database) -> None:
    async with database.transaction() as tx:
        await backups.record(tx, location="b/1", size_bytes=1, sha256="")
        await backups.checked(tx, "b/1", failure=None)
    await advance(database, 8 * 86_400 + 60)


async def no_backup(database: Database) -> None:
    await new_order(database)
    async with database.transaction() as tx:
        await tx.execute("update jobs set run_at = clock_now() + interval '30 days'")
    await advance(database, 8 * 86_400 + 60)
    await register(database)


async def silent_workers(database: Database) -> None:
    await register(database)
    await advance(database, 181)


async def bad_books(database: Database) -> None:
    await new_order(database)
    await register(database)
    async with database.transaction() as tx:
        await tx.execute("set local session_replication_role = replica")
        await tx.execute("update accounts set balance = balance + 1 where kind = 'available'")
    await maintenance.audit_books(database)


async def old_audit(database: Database) -> None:
    await maintenance.audit_books(database)
    await advance(database, 901)


async def late_update(database: Database) -> None:
    await put(database, body(1, 1))
    await advance(database, 121)


async def register(database: Database) -> None:
    """A worker says that it is there."""
    await database.run(lambda tx: provider_keys.register(tx, "kie", ["kie-1"]))


async def two_unknown(database: Database) -> None:
    await register(database)
    await attempted(database, AttemptState.UNKNOWN, AttemptState.UNKNOWN, cost_usd=0.1)


CAUSES: dict[str, list[Callable[[Database], Awaitable[None]]]] = {
    "answers": [two_unknown],
    "books": [bad_books],
    "audit": [old_audit],
    "inbox": [late_update],
    "queue": [late_video],
    "messages": [late_message],
    "updates": [dead_update],
    "keys": [locked_key],
    "balance": [poor_key],
    "backup": [old_backup, no_backup],
    "paused": [pause],
    "workers": [silent_workers],
}


@pytest.mark.parametrize(("name", "cause"), [(name, one) for name, causes in CAUSES.items() for one in causes])
async def test_each_trouble_is_told_by_its_name_alone(
    watch: Watch, name: str, cause: Callable[[Database], Awaitable[None]]
) -> None:
    await cause(watch.shop.database)
    await watch.alerts.turn()
    async with watch.shop.database.transaction() as tx:
        [found] = await alerts.read(tx)
    assert found.name == name
    for language in LANGUAGES:
        text = Alarm(watch.shop.bot, 1).words(language, [found])
        assert HELP[name][0] in text
        assert "<empty>" not in text


@pytest.mark.parametrize("name", sorted(HELP))
def test_the_page_that_an_alert_names_is_there(name: str) -> None:
    assert (Path(__file__).parents[2] / "docs" / "runbooks" / f"{HELP[name][1]}.md").exists()


def test_every_trouble_has_its_cause_here_and_its_help() -> None:
    assert CAUSES.keys() | {"orphans", "disk", "clock"} == KNOWN
    assert KNOWN | {"database"} == HELP.keys()


async def test_orphans_that_cost_much_are_told_beside_the_lost_answers(watch: Watch) -> None:
    await attempted(watch.shop.database, AttemptState.ABANDONED, AttemptState.ABANDONED, cost_usd=2.6)
    await watch.look(times=3)
    [message] = await watch.messages()
    assert "have cost $5.20" in message["text"]


async def test_a_disk_that_fills_up_is_told(watch: Watch) -> None:
    assert await watch.look(times=3) == 0
    watch.disk_used = 0.81
    await watch.look(times=3)
    [message] = await watch.messages()
    assert "81 % full" in message["text"]
    watch.disk_used = 0.5
    await watch.look(times=2)
    [message] = await watch.messages()
    assert message["text"].startswith("All is well again")


async def test_a_clock_that_is_off_is_told(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    right = time.time
    monkeypatch.setattr(watching, "time", SimpleNamespace(time=lambda: right() + 9))
    await watch.look(times=3)
    [message] = await watch.messages()
    assert "are 9 s apart" in message["text"]


async def test_a_database_that_is_away_is_told_once_and_so_is_its_return(
    watch: Watch, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "POOL_WAIT_SECONDS", 0.3)
    monkeypatch.setattr(alerts_module, "LONGEST_AWAY", timedelta(0))
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    async with (
        Database(dsn) as database,
        await psycopg.AsyncConnection.connect(dsn, dbname="postgres", autocommit=True) as server,
    ):
        found = watch.of(database)
        assert await found.turn() == 0
        await server.execute(f"alter database {name} with allow_connections false".encode())
        await server.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
        for _ in range(3):
            with pytest.raises(Away):
                await found.turn()
        [message] = await watch.messages()
        assert "The database does not answer" in message["text"]
        assert "docs/runbooks/database-away.md" in message["text"]
        await server.execute(f"alter database {name} with allow_connections true".encode())
        async with asyncio.timeout(60):
            while True:
                with suppress(*Away):
                    await found.turn()
                    break
    [message] = await watch.messages()
    assert message["text"].startswith("All is well again")


async def test_the_longest_message_fits(watch: Watch) -> None:
    moment = await now(watch.shop.database)
    facts: dict[str, Any] = {
        "violations": 10**6, "checks": "c" * 200, "minutes": 10**6, "due": 10**6, "waiting": 10**6, "dead": 10**6,
        "keys": "&" * 150, "why": "<" * 150, "days": 10**4, "by": "t" * 60, "reason": ">" * 150,
        "lost": 10**6, "submits": 10**6, "cost": "$1000000.00", "percent": 100, "seconds": 10**6,
    }  # fmt: skip
    for over_at in (None, moment):
        found = [Alert(name, facts, moment - timedelta(1), None, over_at) for name in HELP]
        for language in LANGUAGES:
            words = Alarm(watch.shop.bot, 1).words(language, found)
            # Telegram counts what people read.
            assert len(html.unescape(re.sub(r"<[^<>]*>", "", words))) <= 4096


async def now(database: Database) -> Any:  # a datetime
    async with database.transaction() as tx:
        cursor = await tx.execute("select clock_now()")
        ((moment,),) = await cursor.fetchall()
    return moment


async def test_a_photo_in_work_is_no_trouble(watch: Watch) -> None:
    """An order that is being made as usual is no reason to call anybody."""
    person = await watch.shop.regular()
    await person.send(photo())
    await register(watch.shop.database)
    assert await watch.look(times=3) == 0
