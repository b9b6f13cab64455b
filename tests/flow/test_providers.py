"""Several providers with several keys: what one cannot do another does, nothing is paid twice, and it is said why."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from flow.rig import DOUBT_SECONDS, Rig, opened_rig
from neurocards.bot import screens, stories
from neurocards.db import books, circuits, customers, generations, orders, outlook
from neurocards.db.connection import Database
from neurocards.db.orders import Outcome, Placement
from neurocards.db.provider_keys import SEEN_MINUTES
from neurocards.domain.generations import Attempt, AttemptState, GenerationState
from neurocards.domain.routing import Choice
from neurocards.maintenance import turn
from neurocards.notices import Story
from neurocards.ordering import place_order
from neurocards.providers.keys import labelled
from neurocards.routing import Router, offer
from neurocards.texts import translate
from services import Simulators
from shop import advance, new_customer, new_draft

TURBO = "kling/v3-turbo-image-to-video"
FAL_PRICE = 2
"""From this price on a model of fal makes videos too."""

NOBODY = "http://127.0.0.1:9"
"""Where nobody listens."""

FIRST, SECOND = "first-key", "second-key"
FIRST_LABEL, SECOND_LABEL = labelled("kie", [FIRST, SECOND])


@pytest.fixture
async def both(database: Database, simulators: Simulators, tmp_path: Path) -> AsyncIterator[Rig]:
    """KIE and fal, a key each."""
    async with opened_rig(database, simulators, tmp_path) as rig:
        yield rig


@pytest.fixture
async def kie_alone(database: Database, simulators: Simulators, tmp_path: Path) -> AsyncIterator[Rig]:
    """KIE with one key, and nobody else."""
    async with opened_rig(database, simulators, tmp_path, fal=False) as rig:
        yield rig


@pytest.fixture
async def two_keys(database: Database, simulators: Simulators, tmp_path: Path) -> AsyncIterator[Rig]:
    """KIE with two keys, and nobody else."""
    async with opened_rig(database, simulators, tmp_path, fal=False, kie_keys=(FIRST, SECOND)) as rig:
        yield rig


async def spent_and_available(rig: Rig) -> tuple[int, int]:
    async with rig.database.transaction() as tx:
        figures = await books.figures(tx)
    assert figures.held_credits == 0
    return figures.spent_credits, figures.available_credits


async def job_attempts(rig: Rig) -> set[int]:
    """How many tries the jobs have spent."""
    async with rig.database.transaction() as tx:
        cursor = await tx.execute("select distinct attempt from jobs")
        return {attempt for (attempt,) in await cursor.fetchall()}


async def buy(rig: Rig, draft_id: UUID) -> Placement:
    """Confirm a draft of the template of `new_draft`, as its customer does."""
    return await place_order(rig.database, rig.catalogue, draft_id, "hero_broll", deadline_seconds=3600, open_limit=200)


async def draft_of_somebody(rig: Rig) -> UUID:
    return await new_draft(rig.database, await new_customer(rig.database, free=5))


async def credits_of(rig: Rig, draft_id: UUID) -> tuple[int, int] | None:
    """What is held and available of whoever has this draft; None when there is no such draft any more."""
    async with rig.database.transaction() as tx:
        cursor = await tx.execute("select customer_id from drafts where order_id = %s", [draft_id])
        row = await cursor.fetchone()
        balance = await customers.balance(tx, row[0]) if row else None
    return (balance.held, balance.available_free) if balance else None


async def for_a_while(rig: Rig, seconds: float, *, step_seconds: float) -> None:
    """Work while so much time passes."""
    worker = rig.worker()
    for _ in range(int(seconds / step_seconds)):
        await rig.work(worker=worker)
        await advance(rig.database, step_seconds)
        await turn(rig.database)


async def until_it_failed(rig: Rig, times: int) -> None:
    """Work until KIE has failed so often in a row, and no longer: what it rests for has just begun."""
    worker = rig.worker()
    for _ in range(300):
        await rig.work(worker=worker)
        async with rig.database.transaction() as tx:
            circuit = (await circuits.read(tx)).get("provider kie")
        if circuit is not None and circuit.failures >= times:
            return
        await advance(rig.database, 2)
    raise AssertionError(f"it has not failed {times} times: {circuit}")


async def every_attempt(rig: Rig) -> list[Attempt]:
    async with rig.database.transaction() as tx:
        cursor = await tx.execute("select id from generations order by created_at, id")
        return [
            attempt
            for (generation_id,) in await cursor.fetchall()
            for attempt in await generations.attempts(tx, generation_id)
        ]


async def nothing_was_paid_twice(rig: Rig, *, videos: int) -> None:
    """The tasks of all providers are those of our attempts, each once, and one for each video."""
    made = [task["id"] for task in [*await rig.tasks(), *(await rig.fal_tasks() if rig.fal else [])]]
    known = [attempt.task_id for attempt in await every_attempt(rig) if attempt.task_id is not None]
    assert sorted(made) == sorted(known)
    assert len(made) == videos
    assert await rig.violations() == []


# An account, a key ------------------------------------------------------------------------------------------------


async def test_f65_an_empty_account_closes_sales_and_costs_no_attempt(kie_alone: Rig, photo: bytes) -> None:
    rig = kie_alone
    draft_id = await draft_of_somebody(rig)
    await rig.kie_is(credits=0)
    order_id = await rig.order(videos=3, photo=photo)
    with capture_logs() as logs:
        for _ in range(5):
            await rig.work()
            await advance(rig.database, 20)
    told = [line for line in logs if line["event"] == "left_alone"]
    assert [(line["log_level"], line["failures"]) for line in told] == [("error", 1)], "said once, for a person to mend"
    assert "Credits insufficient" in told[0]["why"]
    assert await job_attempts(rig) == {1}
    assert await rig.tasks() == []
    assert len(await rig.requests("createTask")) <= 3, "nobody goes on asking with an empty account"

    placement = await buy(rig, draft_id)
    assert placement.outcome is Outcome.CLOSED
    assert placement.closed_seconds == pytest.approx(200, abs=15)
    assert "about 4 minutes. Nothing was charged" in screens.closed("en", placement.closed_seconds)
    assert await credits_of(rig, draft_id) == (0, 5), "nothing was charged, the draft is kept"

    # Somebody tops up: the next one to try finds out for all.
    await rig.kie_is(credits=1_000_000)
    await advance(rig.database, 210)
    found = await rig.finish(order_id)
    assert [one.state for one in found] == [GenerationState.COMPLETED] * 3
    assert await job_attempts(rig) == {1}
    assert (await buy(rig, draft_id)).outcome is Outcome.PLACED
    await nothing_was_paid_twice(rig, videos=3)


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        ({"key_credits": {FIRST: 0}}, "Credits insufficient"),
        ({"revoked_keys": [FIRST]}, "access permissions"),
        ({"limited_keys": [FIRST]}, "Sub-key usage exceeds limit"),
    ],
)
async def test_f65_another_key_goes_on(two_keys: Rig, photo: bytes, trouble: dict[str, Any], why: str) -> None:
    rig = two_keys
    draft_id = await draft_of_somebody(rig)
    await rig.kie_is(**trouble)
    order_ids = [await rig.order(videos=3, photo=photo) for _ in range(2)]
    for order_id in order_ids:
        for generation in await rig.finish(order_id):
            assert generation.state is GenerationState.COMPLETED
    assert await job_attempts(rig) == {1}
    attempts = await every_attempt(rig)
    assert {one.key for one in attempts if one.state is AttemptState.SUCCEEDED} == {SECOND_LABEL}
    refused = [one for one in attempts if one.state is AttemptState.REFUSED]
    assert all(one.key == FIRST_LABEL and why in (one.failure or "") for one in refused)
    async with rig.database.transaction() as tx:
        assert set(await circuits.read(tx)) == {f"key {FIRST_LABEL}"}
    assert (await buy(rig, draft_id)).outcome is Outcome.PLACED
    await nothing_was_paid_twice(rig, videos=6)


async def test_f65_another_provider_goes_on(both: Rig, photo: bytes) -> None:
    rig = both
    await rig.kie_is(revoked_keys=["test-key"])
    order_id = await rig.order(photo=photo, price=FAL_PRICE)
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    (attempt,) = await rig.attempts(order_id)
    assert (attempt.provider, attempt.model) == ("fal", "fal-ai/kling-video/v3/standard/image-to-video")
    assert attempt.reason.startswith(f"instead of {TURBO} (left alone: ")
    assert "access permissions" in attempt.reason
    assert attempt.cost_usd == pytest.approx(0.378)
    assert await job_attempts(rig) == {1}
    assert "delayed" not in await rig.stages(order_id)
    await nothing_was_paid_twice(rig, videos=1)


async def test_f65_a_key_that_was_replaced_speaks_for_nobody_any_more(
    both: Rig, database: Database, simulators: Simulators, tmp_path: Path, photo: bytes
) -> None:
    """The old key was revoked and is gone from the settings; then the new one is refused as well."""
    old = Router(both.catalogue, {"kie": [FIRST_LABEL]}, {})
    await database.run(old.register)
    async with database.transaction() as tx:
        await tx.execute(
            "insert into circuits (subject, failures, open_until, why) values (%s, 1, clock_now(), 'revoked')",
            [f"key {FIRST_LABEL}"],
        )
    await advance(database, 60)
    await both.kie_is(revoked_keys=["test-key"])
    order_id = await both.order(photo=photo, price=FAL_PRICE)
    (generation,) = await both.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    assert {one.provider for one in await both.attempts(order_id)} == {"fal"}
    await nothing_was_paid_twice(both, videos=1)


async def test_f65_sales_do_not_hope_for_a_key_that_was_replaced(kie_alone: Rig, photo: bytes) -> None:
    rig = kie_alone
    draft_id = await draft_of_somebody(rig)
    await rig.database.run(Router(rig.catalogue, {"kie": [FIRST_LABEL]}, {}).register)
    async with rig.database.transaction() as tx:
        await tx.execute(
            "insert into circuits (subject, failures, open_until, why) values (%s, 1, clock_now(), 'revoked')",
            [f"key {FIRST_LABEL}"],
        )
    await advance(rig.database, SEEN_MINUTES * 60 + 1)
    await rig.database.run(rig.router.register)
    await rig.kie_is(revoked_keys=["test-key"])
    await rig.order(photo=photo)
    await for_a_while(rig, 10, step_seconds=2)
    assert (await buy(rig, draft_id)).outcome is Outcome.CLOSED


# Away -------------------------------------------------------------------------------------------------------------


async def test_f09_sales_close_while_the_provider_is_away_for_long_and_open_again(kie_alone: Rig, photo: bytes) -> None:
    rig = kie_alone
    draft_id = await draft_of_somebody(rig)
    await rig.kie_is(down="503")
    order_id = await rig.order(photo=photo)
    await until_it_failed(rig, 5)
    async with rig.database.transaction() as tx:
        found = await offer(tx, rig.catalogue, rig.catalogue.templates["hero_broll"])
    assert isinstance(found, Choice), "40 seconds are over before anybody would come to the order"
    await until_it_failed(rig, 7)

    placement = await buy(rig, draft_id)
    assert placement.outcome is Outcome.CLOSED
    assert placement.closed_seconds is not None
    assert 45 <= placement.closed_seconds <= 120
    assert await credits_of(rig, draft_id) == (0, 5)
    assert await job_attempts(rig) == {1}

    await rig.kie_is(down=None)
    (generation,) = await rig.finish(order_id, pace_seconds=5)
    assert generation.state is GenerationState.COMPLETED
    assert (await rig.stages(order_id)).count("delayed") == 1
    assert (await buy(rig, draft_id)).outcome is Outcome.PLACED
    await nothing_was_paid_twice(rig, videos=1)


async def test_f45_where_nobody_listens_another_provider_makes_it_and_no_doubt_is_left(
    database: Database, simulators: Simulators, tmp_path: Path, photo: bytes
) -> None:
    async with opened_rig(database, simulators, tmp_path, kie_url=NOBODY) as away:
        rig = replace(away, kie_url=simulators.kie)
        order_ids = [await rig.order(photo=photo, price=FAL_PRICE) for _ in range(4)]
        for order_id in order_ids:
            (generation,) = await rig.finish(order_id)
            assert generation.state is GenerationState.COMPLETED
            (attempt,) = await rig.attempts(order_id)
            assert (attempt.provider, attempt.state) == ("fal", AttemptState.SUCCEEDED)
            assert "left alone: ConnectError" in attempt.reason
        assert await job_attempts(rig) == {1}
        await nothing_was_paid_twice(rig, videos=4)


async def card(rig: Rig, order_id: UUID) -> str:
    """What the order's card says at this moment."""
    async with rig.database.transaction() as tx:
        order = await orders.find(tx, order_id)
        assert order is not None
        of_order = await generations.of_order(tx, order_id)
        story = Story(
            customer=await customers.get(tx, order.customer_id),
            order=order,
            generations=of_order,
            generation=None,
            stage=None,
            attempts={one.generation_id: one for one in await generations.latest_attempts(tx, order_id)},
            outlook=await outlook.read(tx, order),
            now=await generations.clock(tx),
        )
    return stories.status(story, rig.catalogue.models).text


CALM_LINES = (
    translate("en", "status-delayed"),
    translate("en", "status-replaced", model="Kling 3.0 Turbo", other="Kling 3.0 Standard"),
)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("down", "tens"), [("503", 5), ("refuse", 1)])
async def test_f09_f44_f45_while_kie_is_away_for_a_minute_fal_makes_what_was_not_submitted(
    both: Rig, photo: bytes, down: str, tens: int
) -> None:
    """Of every ten orders four are submitted when KIE goes; the others were sold at different prices."""
    made_by_kie, sold_dear, sold_cheap = 4 * tens, 8 * tens, 2 * tens
    ordered = sold_dear + sold_cheap
    rig = both
    for url in (rig.kie_url, rig.fal_url):
        (await rig.client.post(f"{url}/sim/settings", json={"frame_rate": 5})).raise_for_status()
    dear = [await rig.order(photo=photo, price=FAL_PRICE) for _ in range(sold_dear)]
    begun = rig.worker("first", slots=made_by_kie)
    assert await rig.work(worker=begun) == made_by_kie
    submitted = {attempt.generation_id for attempt in await every_attempt(rig)}
    cheap = [await rig.order(photo=photo) for _ in range(sold_cheap)]
    order_ids = [*dear, *cheap]
    await rig.kie_is(down=down)

    said: dict[UUID, set[str]] = {order_id: set() for order_id in order_ids}
    worker = rig.worker()
    for second in range(30):
        await rig.work(worker=worker)
        for order_id in order_ids if second % 10 == 5 else (one for one in order_ids[made_by_kie:] if not said[one]):
            said[order_id].update(line for line in (await card(rig, order_id)).splitlines() if line in CALM_LINES)
        await advance(rig.database, 2)
        await turn(rig.database)
    await rig.kie_is(down=None)
    ended = [one for order_id in order_ids for one in await rig.finish(order_id, pace_seconds=2)]

    assert [one.state for one in ended] == [GenerationState.COMPLETED] * ordered
    by_video = {one.generation_id: one for one in await every_attempt(rig) if one.task_id is not None}
    assert Counter(one.provider for one in by_video.values()) == {"kie": made_by_kie, "fal": ordered - made_by_kie}
    for one in ended:
        attempt = by_video[one.id]
        if one.id in submitted:
            assert (attempt.provider, attempt.reason) == ("kie", "as ordered")
        else:
            assert attempt.provider == "fal"
            assert attempt.reason.startswith(f"instead of {TURBO} (left alone: ")
    for one in ended:
        told = [line for line in CALM_LINES if line in said[one.order_id]]
        assert told == ([] if one.id in submitted else [CALM_LINES[1]])
        assert not {"delayed", "failure"} & set(await rig.stages(one.order_id))
    spent = sold_dear * FAL_PRICE + sold_cheap
    assert await spent_and_available(rig) == (spent, ordered * 10 - spent)
    await nothing_was_paid_twice(rig, videos=ordered)


async def test_p5_a_provider_that_cuts_every_line_for_ten_minutes_costs_no_order(kie_alone: Rig, photo: bytes) -> None:
    """A cut line may be one order's bad luck; what befalls everybody is an outage."""
    rig = kie_alone
    await rig.kie_is(down="refuse")
    order_ids = [await rig.order(photo=photo) for _ in range(3)]
    await for_a_while(rig, 600, step_seconds=5)
    assert max(await job_attempts(rig)) <= 2
    await rig.kie_is(down=None)
    for order_id in order_ids:
        (generation,) = await rig.finish(order_id, pace_seconds=5)
        assert generation.state is GenerationState.COMPLETED
    await nothing_was_paid_twice(rig, videos=3)


async def test_f44_ten_minutes_of_429_without_a_word_on_when_to_come_back_cost_no_attempt(
    kie_alone: Rig, photo: bytes
) -> None:
    rig = kie_alone
    draft_id = await draft_of_somebody(rig)
    await rig.fault(route="createTask", kind="429", times=100_000)
    order_ids = [await rig.order(photo=photo) for _ in range(4)]
    await for_a_while(rig, 600, step_seconds=5)
    attempts = await every_attempt(rig)
    assert {one.state for one in attempts} == {AttemptState.REFUSED}
    assert 4 * 600 / 30 < len(attempts) <= 4 * 600 / 5, "they ask again, each every five seconds at most"
    assert await job_attempts(rig) == {1}
    async with rig.database.transaction() as tx:
        assert await circuits.read(tx) == {}, "too fast is not away"
    assert (await buy(rig, draft_id)).outcome is Outcome.PLACED

    (await rig.client.delete(f"{rig.kie_url}/sim/faults")).raise_for_status()
    for order_id in order_ids:
        (generation,) = await rig.finish(order_id)
        assert generation.state is GenerationState.COMPLETED
    assert await rig.violations() == []


async def test_f44_a_rate_limit_that_never_ends_is_paid_back_at_the_deadline(kie_alone: Rig, photo: bytes) -> None:
    rig = kie_alone
    await rig.fault(route="createTask", kind="429", times=100_000)
    order_id = await rig.order(photo=photo)
    (generation,) = await rig.finish(order_id, pace_seconds=60)
    assert (generation.state, generation.failure) == (GenerationState.FAILED, "deadline")
    assert await spent_and_available(rig) == (0, 10)
    assert await rig.violations() == []


# A provider that is confused --------------------------------------------------------------------------------------


async def test_f52_a_task_of_another_attempt_is_never_taken(kie_alone: Rig, photo: bytes) -> None:
    """KIE answers B's submit with A's task: A keeps it, B is made anew, and each has paid for one video."""
    rig = kie_alone
    a = await rig.order(photo=photo)
    await rig.work()
    (task_of_a,) = await rig.tasks()
    b = await rig.order(photo=photo)
    await rig.fault(route="createTask", kind="same_task", times=1)
    with capture_logs() as logs:
        await rig.work()
    (said,) = [line for line in logs if line["event"] == "task_of_another_attempt"]
    assert (said["log_level"], said["task_id"]) == ("error", task_of_a["id"])
    (confused,) = await rig.attempts(b)
    assert (confused.state, confused.task_id) == (AttemptState.UNKNOWN, None)

    (video_of_a,) = await rig.finish(a)
    assert [one.task_id for one in await rig.attempts(a)] == [task_of_a["id"]]
    assert video_of_a.state is GenerationState.COMPLETED
    (waiting,) = await rig.generations(b)
    assert not waiting.state.ended, "what nobody can trust is doubted first"

    (video_of_b,) = await rig.finish(b, pace_seconds=DOUBT_SECONDS / 10)
    assert video_of_b.state is GenerationState.COMPLETED
    abandoned, used = await rig.attempts(b)
    assert (abandoned.state, abandoned.task_id) == (AttemptState.ABANDONED, None)
    assert used.task_id not in (None, task_of_a["id"])
    assert await spent_and_available(rig) == (2, 18)
    await nothing_was_paid_twice(rig, videos=2)


@pytest.mark.parametrize("odd", [1e300, 10.0**10, 12.34567])
async def test_f49_whatever_a_provider_says_that_it_charged_is_no_reason_not_to_take_a_video(
    kie_alone: Rig, photo: bytes, odd: float
) -> None:
    rig = kie_alone
    order_id = await rig.order(photo=photo)
    await rig.work()
    (attempt,) = await rig.attempts(order_id)
    await rig.database.run(
        lambda tx: generations.record_result(tx, attempt.id, "https://files.example/x", cost_units=odd)
    )
    (attempt,) = await rig.attempts(order_id)
    assert attempt.state is AttemptState.SUCCEEDED


async def test_f49_a_zero_byte_in_what_a_provider_says_is_a_blank(both: Rig, photo: bytes) -> None:
    """No column takes one: the refusal must be written down all the same, and nothing of it doubted."""
    await both.kie_is(revoked_keys=["test-key"])
    fault = {"route": "submit", "kind": "error", "status": 422, "type": "face_detection_error", "msg": "a\0face"}
    (await both.client.post(f"{both.fal_url}/sim/faults", json=fault)).raise_for_status()
    order_id = await both.order(photo=photo, price=FAL_PRICE)
    (generation,) = await both.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    refused, made = await both.attempts(order_id)
    assert (refused.state, made.state) == (AttemptState.REFUSED, AttemptState.SUCCEEDED)
    assert "face_detection_error: a face" in (refused.failure or "")
    assert (refused.model, made.model) == (
        "fal-ai/kling-video/v3/standard/image-to-video",
        "fal-ai/kling-video/v3/pro/image-to-video",
    )
    await nothing_was_paid_twice(both, videos=1)


# Models that come and go ------------------------------------------------------------------------------------------


async def test_an_order_for_a_model_that_has_retired_meanwhile_goes_to_the_next_and_says_so(
    database: Database, simulators: Simulators, tmp_path: Path, photo: bytes, both: Rig
) -> None:
    models = {**both.catalogue.models, TURBO: replace(both.catalogue.models[TURBO], retires=date(2026, 1, 1))}
    order_id = await both.order(photo=photo)
    catalogue = replace(both.catalogue, models=models)
    async with opened_rig(database, simulators, tmp_path / "new", catalogue=catalogue) as rig:
        await rig.store.put("photos/1", photo)
        await rig.work()
        (attempt,) = await rig.attempts(order_id)
        assert attempt.model not in (TURBO, None)
        assert attempt.reason.startswith(f"instead of {TURBO} (retired, or it cannot make this), at $")
        assert "instead of Kling 3.0 Turbo. The price stays the same." in await card(rig, order_id)
        (generation,) = await rig.finish(order_id)
        assert generation.state is GenerationState.COMPLETED

        draft_id = await draft_of_somebody(rig)
        assert (await buy(rig, draft_id)).outcome is Outcome.PLACED
        async with database.transaction() as tx:
            sold = await orders.find(tx, draft_id)
        assert sold is not None
        assert sold.model not in (TURBO, ""), "what is sold is what will make it"
        assert "instead of" not in await card(rig, draft_id), "nobody has promised anything else"
        await nothing_was_paid_twice(rig, videos=1)
