"""Many sellers at once, on real processes: random acts in a storm, and bursts in which nothing may be lost."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest

from flow.crew import Crew, environment
from flow.phones import Button, Phone, open_client
from flow.sellers import photos
from flow.storm import Plan, Site, weather
from neurocards.bot.screens import Verb
from neurocards.db.connection import Database
from services import Simulators

SELLERS_IN_A_BURST = 30
PATIENCE_SECONDS = 40.0

_bots = count(7_200_001)


@pytest.mark.timeout(240)
async def test_random_sellers_leave_nothing_undone_whatever_ends(
    dsn: str, simulators: Simulators, tmp_path: Path
) -> None:
    """Eight sellers do 35 random things each, while bot and worker end twice. NEUROCARDS_STORM_SEED replays."""
    seed = int(os.environ.get("NEUROCARDS_STORM_SEED") or secrets.randbits(32))
    print(f"storm: seed {seed}")  # noqa: T201 (pytest shows it when the test fails)
    site = Site(dsn, simulators.telegram, simulators.kie, simulators.openai, tmp_path)
    outcome = await weather(site, Plan(seed=seed, sellers=8, acts_each=35, restarts=2))
    assert not outcome.complaints, outcome.told()
    assert outcome.figures.orders > 0
    assert outcome.figures.completed > 0


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with open_client() as client:
        yield client


@pytest.fixture
async def bot_id(dsn: str, simulators: Simulators, tmp_path: Path) -> AsyncIterator[str]:
    """A running bot on the test's database, and no worker: nothing that was ordered moves."""
    token = f"{next(_bots)}:{'m' * 35}"
    surroundings = environment(tmp_path, DATABASE_URL=dsn, BOT_TOKEN=token, TELEGRAM_API_URL=simulators.telegram)
    (await simulators.client.get(f"{simulators.telegram}/bot{token}/getMe")).raise_for_status()
    async with Crew(surroundings, tmp_path / "logs") as crew:
        await crew.start("bot")
        yield token.partition(":")[0]
        assert crew.gone() == []
    assert crew.outcries() == []


async def test_f02_photo_and_text_sent_in_one_breath_both_arrive(
    bot_id: str, client: httpx2.AsyncClient, simulators: Simulators, database: Database
) -> None:
    """The text comes while the photo is still being looked at and no template is chosen: it is the description."""
    phones = await newcomers(client, simulators.telegram, bot_id)

    async def speak(phone: Phone) -> None:
        await phone.send_photo(photos()[0])
        await phone.write(f"Mug of {phone.person_id}")

    await asyncio.gather(*map(speak, phones))

    async def described() -> int:
        return await count_of(
            database,
            "select count(*) from drafts d join customers c on c.id = d.customer_id"
            " where c.telegram_id = any(%s) and photo_key is not null and description = 'Mug of ' || c.telegram_id",
            phones,
        )

    await eventually(described, SELLERS_IN_A_BURST)


async def test_f01_confirm_tapped_twice_at_once_by_many_orders_once_each(
    bot_id: str, client: httpx2.AsyncClient, simulators: Simulators, database: Database
) -> None:
    phones = await newcomers(client, simulators.telegram, bot_id)
    confirms = await asyncio.gather(*map(card, phones))

    async def confirm(phone: Phone, button: Button) -> tuple[str | None, str | None]:
        return await asyncio.gather(phone.tap(button), phone.tap(button))

    taps = await asyncio.gather(*map(confirm, phones, confirms))

    async def handled() -> int:
        return await count_of(
            database,
            "select count(*) from updates where person = any(%s) and state = 'handled' and body ? 'callback_query'"
            f" and body->'callback_query'->>'data' like 't:{Verb.CONFIRM}:%%'",
            phones,
        )

    await eventually(handled, 2 * SELLERS_IN_A_BURST)
    for phone, both in zip(phones, taps, strict=True):
        for tap in both:
            assert tap is not None
            assert (await phone.tap_answer(tap, wait_seconds=1))["answered"]
    of_theirs = "from {} join customers c on c.id = customer_id where c.telegram_id = any(%s)"
    for what in ("orders", "generations", "transfers"):
        query = f"select count(*) {of_theirs.format(what)}" + " and kind = 'hold'" * (what == "transfers")
        assert await count_of(database, query, phones) == SELLERS_IN_A_BURST, what


async def newcomers(client: httpx2.AsyncClient, telegram: str, bot_id: str) -> Sequence[Phone]:
    """People who have agreed and have their welcome credit."""

    async def arrive(number: int) -> Phone:
        phone = await Phone.buy(client, telegram, bot_id, name=f"Seller {number}", language="en")
        await phone.start()
        await phone.tap(await phone.offered(Verb.AGREE, seconds=PATIENCE_SECONDS))
        version = phone.version
        assert await phone.hear(version, seconds=PATIENCE_SECONDS)
        return phone

    return await asyncio.gather(*map(arrive, range(SELLERS_IN_A_BURST)))


async def card(phone: Phone) -> Button:
    """Go all the way to the card; returns its Confirm button."""
    await phone.send_photo(photos()[0])
    await phone.tap(await phone.offered(Verb.CHOOSE_TEMPLATE, "hero_broll", seconds=PATIENCE_SECONDS))
    await phone.hear(phone.version, seconds=PATIENCE_SECONDS)
    await phone.write("A mug")
    await phone.tap(await phone.offered(Verb.SKIP_WISHES, seconds=PATIENCE_SECONDS))
    await phone.tap(await phone.offered(Verb.CHOOSE_COUNT, "1", seconds=PATIENCE_SECONDS))
    return await phone.offered(Verb.CONFIRM, seconds=PATIENCE_SECONDS)


async def count_of(database: Database, query: str, phones: Sequence[Phone]) -> int:
    async with database.transaction() as tx:
        cursor = await tx.execute(query.encode(), [[phone.person_id for phone in phones]])
        row = await cursor.fetchone()
        assert row is not None
        return int(row[0])


async def eventually(look: Callable[[], Awaitable[Any]], expected: Any) -> None:  # Any: whatever is compared
    """Look again until it is as expected; in the end say what it is instead."""
    loop = asyncio.get_running_loop()
    gives_up_at = loop.time() + PATIENCE_SECONDS
    while (found := await look()) != expected and loop.time() < gives_up_at:  # noqa: ASYNC110 (rows set no event)
        await asyncio.sleep(0.1)
    assert found == expected
