"""What providers say of themselves is looked up, remembered and acted on, and keeps nobody from working."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from flow.rig import Rig, opened_rig
from neurocards import checks as checks_module
from neurocards.checks import Checks
from neurocards.db import models
from neurocards.db.connection import Database
from neurocards.db.models import Check
from neurocards.domain.generations import GenerationState
from neurocards.domain.routing import Choice
from neurocards.providers.keys import labelled
from neurocards.routing import offer
from services import Simulators
from shop import advance

TURBO = "kling/v3-turbo-image-to-video"
KEYS = ("first-key", "second-key")
LABELS = tuple(labelled("kie", KEYS))


@pytest.fixture
async def rig(
    database: Database, simulators: Simulators, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Rig]:
    """KIE with two keys, and fal, which has none of these addresses."""
    monkeypatch.setattr(checks_module, "QUESTION_PAUSE_SECONDS", 0.0)
    async with opened_rig(database, simulators, tmp_path, kie_keys=KEYS) as rig:
        yield rig


def checking(rig: Rig) -> Checks:
    return Checks(rig.database, rig.catalogue, {"kie": rig.kie, "fal": rig.fal})


async def look(rig: Rig) -> list[dict[str, Any]]:  # Any: log lines
    """Let some time pass, have one worker look, and return what it said."""
    await advance(rig.database, 601)
    await rig.database.run(rig.router.register)
    with capture_logs() as logs:
        await checking(rig).turn()
    return [dict(line) for line in logs]


async def known(rig: Rig) -> dict[str, Check]:
    async with rig.database.transaction() as tx:
        return await models.checks(tx)


async def offered(rig: Rig) -> str:
    """The model that an order of the default template would get now."""
    async with rig.database.transaction() as tx:
        found = await offer(tx, rig.catalogue, rig.catalogue.templates["hero_broll"])
    return found.model.id if isinstance(found, Choice) else type(found).__name__


async def test_what_is_on_offer_and_left_on_each_key_is_remembered_and_asked_once_for_all(rig: Rig) -> None:
    await rig.kie_is(key_credits={KEYS[0]: 12.5}, credits=77, success_rates={TURBO: 0.75})
    await look(rig)
    found = await known(rig)
    of_kie = {one.id for one in rig.catalogue.models.values() if one.provider == "kie" and one.retires is None}
    assert set(found) == of_kie, "nobody asks fal what it has no address for, nor after the retired"
    assert found[TURBO].listed is True
    assert found[TURBO].success_rate == pytest.approx(0.75)
    assert found[TURBO].price
    async with rig.database.transaction() as tx:
        cursor = await tx.execute("select label, units::float from balances")
        assert dict(await cursor.fetchall()) == {LABELS[0]: 12.5, LABELS[1]: 77.0}

    asked = len(await rig.requests("models")) + len(await rig.requests("credit"))
    assert await checking(rig).turn() == 0, "another worker's turn finds nothing due"
    assert len(await rig.requests("models")) + len(await rig.requests("credit")) == asked


async def test_a_model_that_is_not_listed_any_more_is_told_and_gone_around(rig: Rig, photo: bytes) -> None:
    assert await look(rig) == []
    order_id = await rig.order(photo=photo)
    await rig.kie_is(unlisted_models=[TURBO])
    said = await look(rig)
    assert [(line["log_level"], line["event"], line["model"]) for line in said] == [
        ("error", "model_not_listed_any_more", TURBO)
    ]
    assert await look(rig) == [], "once is enough"
    assert await offered(rig) not in (TURBO, "Nobody", "Wait")
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    (attempt,) = await rig.attempts(order_id)
    assert attempt.model != TURBO
    assert attempt.reason.startswith(f"instead of {TURBO} (not listed any more), at $")
    await rig.kie_is(unlisted_models=[])
    await look(rig)
    assert await offered(rig) == TURBO, "and taken again when it is back"


async def test_a_model_that_fails_half_of_its_tasks_everywhere_is_gone_around(rig: Rig, photo: bytes) -> None:
    await rig.kie_is(success_rates={TURBO: 0.3})
    await look(rig)
    assert await offered(rig) != TURBO
    order_id = await rig.order(photo=photo)
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    (attempt,) = await rig.attempts(order_id)
    assert attempt.reason.startswith(f"instead of {TURBO} (it fails too often), at $")


async def test_our_own_tries_say_more_than_the_provider_and_are_forgotten_with_time(rig: Rig, photo: bytes) -> None:
    await rig.kie_is(success_rates={TURBO: 1.0})
    await rig.fault(route="createTask", kind="task_fails", times=14)
    order_ids = [await rig.order(photo=photo) for _ in range(7)]
    for _ in range(8):
        await rig.work()
        await rig.made()
        await advance(rig.database, 12)
    await look(rig)
    assert (await known(rig))[TURBO].own_rate is not None
    assert ((await known(rig))[TURBO].own_rate or 0) < 0.5
    assert await offered(rig) != TURBO
    for order_id in order_ids:
        await rig.finish(order_id)
    await advance(rig.database, 6 * 3600)
    await look(rig)
    assert (await known(rig))[TURBO].own_rate is None
    assert await offered(rig) == TURBO, "nobody is condemned for ever by tries that nobody can make up for"


async def test_a_price_that_changes_is_told(rig: Rig) -> None:
    await look(rig)
    async with rig.database.transaction() as tx:
        await tx.execute("update model_checks set price = 'half of that' where model = %s", [TURBO])
    (said,) = await look(rig)
    assert (said["log_level"], said["event"], said["before"]) == ("warning", "model_price_changed", "half of that")


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "http_404"},
        {"kind": "http_500"},
        {"kind": "html"},
        {"kind": "not_json"},
        {"kind": "reset"},
        {"kind": "429"},
    ],
)
async def test_a_provider_without_these_addresses_stops_nobody(rig: Rig, photo: bytes, fault: dict[str, Any]) -> None:
    for route in ("models", "credit"):
        await rig.fault(route=route, times=1000, **fault)
    said = await look(rig)
    assert {line["log_level"] for line in said} == {"info"}
    assert await known(rig) == {}
    assert await offered(rig) == TURBO
    order_id = await rig.order(photo=photo)
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED


async def test_a_key_that_opens_nothing_hides_neither_the_other_nor_the_models(rig: Rig) -> None:
    await rig.kie_is(revoked_keys=[KEYS[1]])
    said = await look(rig)
    assert [(line["event"], line["key"]) for line in said] == [("key_not_weighed", LABELS[1])]
    async with rig.database.transaction() as tx:
        cursor = await tx.execute("select label from balances")
        assert await cursor.fetchall() == [(LABELS[0],)]
    assert (await known(rig))[TURBO].listed is True


async def test_a_balance_that_nobody_can_have_ends_no_worker(rig: Rig) -> None:
    await rig.kie_is(credits=1e300)
    assert await look(rig) == []
    assert (await known(rig))[TURBO].listed is True
    async with rig.database.transaction() as tx:
        cursor = await tx.execute("select count(*) from balances")
        assert await cursor.fetchone() == (0,)


async def test_f09_what_one_company_offers_no_more_the_other_makes(rig: Rig) -> None:
    """Only a model for shorter clips is still there. An empty list would be no answer: nobody offers nothing."""
    of_kie = [one.id for one in rig.catalogue.models.values() if one.provider == "kie"]
    await rig.kie_is(unlisted_models=of_kie)
    await look(rig)
    assert await offered(rig) == TURBO
    await rig.kie_is(unlisted_models=[one for one in of_kie if one != "veo-3-1"])
    await look(rig)
    assert await offered(rig) == "fal-ai/kling-video/v3/standard/image-to-video"
