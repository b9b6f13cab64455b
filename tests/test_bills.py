"""What providers charge is compared with what we asked for: to the cent, and no doubt is taken for a difference."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from flow.rig import Rig, make_rig
from neurocards.catalogue import load_catalogue
from neurocards.checks import Checks
from neurocards.db import provider_keys
from neurocards.db.connection import Database
from neurocards.demo.samples import draw_product
from neurocards.domain.bills import SETTLING, Bill, Charge, Reading, cost_usd, day_bill
from neurocards.domain.generations import AttemptState
from neurocards.domain.routing import Wait
from neurocards.providers.kie import Kie
from neurocards.routing import offer
from neurocards.storage import open_store
from services import Simulators
from shop import advance
from test_cli import command

LOOK_SECONDS = 600.0
UNITS = 54.0
"""What KIE charges for the clip that is ordered here: three seconds of Kling 3.0 Turbo, $0.27."""

Json = dict[str, Any]  # Any: what the commands print


@dataclass(frozen=True)
class Office:
    """A shop whose balances are looked up, at noon."""

    rig: Rig
    checks: Checks
    dsn: str
    home: Path

    @property
    def label(self) -> str:
        return self.rig.kie.keys[0]

    async def register(self) -> None:
        async with self.rig.database.transaction() as tx:
            await provider_keys.register(tx, "kie", self.rig.kie.keys)

    async def weigh(self) -> None:
        """Ten minutes later the balance is looked up, as a worker does it."""
        await advance(self.rig.database, LOOK_SECONDS + 1)
        await self.register()
        assert await self.checks.turn() == 1

    async def settings(self, **settings: object) -> None:
        response = await self.rig.client.post(f"{self.rig.kie_url}/sim/settings", json=settings)
        assert response.is_success, response.text

    async def bills(self) -> tuple[int, list[Json]]:
        status, output, _ = await asyncio.to_thread(command, self.home, "bills", "--json", DATABASE_URL=self.dsn)
        return status, json.loads(output)["bills"]

    async def shown(self, *arguments: str) -> str:
        _, output, complaint = await asyncio.to_thread(command, self.home, *arguments, DATABASE_URL=self.dsn)
        assert complaint == ""
        return output

    async def matters(self) -> list[Json]:
        found: list[Json] = json.loads(await self.shown("attention", "--json"))["matters"]
        return found


class Purse:
    """KIE as one who only says what is left: the catalogue's answers take seconds, and nobody needs them here."""

    def __init__(self, kie: Kie) -> None:
        self._kie = kie

    @property
    def keys(self) -> tuple[str, ...]:
        return self._kie.keys

    async def balance(self, key: str) -> float:
        return await self._kie.balance(key)


@pytest.fixture(scope="module")
def photo() -> bytes:
    return draw_product(0)


@pytest.fixture
async def office(database: Database, dsn: str, simulators: Simulators, tmp_path: Path) -> AsyncIterator[Office]:
    rig, writer = make_rig(
        database,
        open_store(None, tmp_path),
        kie_url=simulators.kie,
        openai_url=simulators.openai.removesuffix("/v1"),
        client=simulators.client,
        workspace=tmp_path,
    )
    # At noon, or a test that runs at midnight would be two days long.
    now = datetime.now(UTC)
    noon = (now + timedelta(days=1)).replace(hour=12, minute=0, second=0)
    await advance(database, (noon - now).total_seconds())
    office = Office(rig, Checks(database, load_catalogue(), {"kie": Purse(rig.kie)}), dsn, tmp_path)
    await office.register()
    yield office
    await rig.kie.close()
    await writer.close()


async def test_f66_what_a_provider_keeps_of_failed_tasks_is_found_to_the_cent(office: Office, photo: bytes) -> None:
    await office.settings(keep_failed_credits=True)
    await office.weigh()
    await office.rig.fault(route="createTask", kind="task_fails", times=1)
    await office.rig.finish(await office.rig.order(photo=photo))
    await office.weigh()

    status, (bill,) = await office.bills()
    assert status == 1
    assert (bill["label"], bill["fell"], bill["counted"], bill["videos"]) == (office.label, 2 * UNITS, UNITS, 1)
    assert (bill["difference"], bill["difference_usd"], bill["unexplained_usd"]) == (UNITS, 0.27, 0.27)
    assert bill["doubtful"] == []
    assert "1 unexplained" in await office.shown("bills")
    assert "$0.27 (54.00)" in await office.shown("bills", "--days", "1")
    (matter,) = await office.matters()
    assert (matter["what"], matter["subject"]) == ("bill", office.label)
    assert "$0.27 more was taken than our attempts explain" in matter["detail"]


async def test_f66_a_right_bill_agrees_whatever_failed(office: Office, photo: bytes) -> None:
    await office.weigh()
    await office.rig.fault(route="createTask", kind="task_fails", times=1)
    await office.rig.finish(await office.rig.order(photo=photo, videos=2))
    await office.weigh()
    await office.weigh()

    status, (bill,) = await office.bills()
    assert (status, bill["fell"], bill["counted"], bill["difference"]) == (0, 2 * UNITS, 2 * UNITS, 0)
    assert "every cent is accounted for" in await office.shown("bills")
    assert await office.matters() == []
    stand = json.loads(await office.shown("providers", "--json"))
    made = {one["id"]: one["videos"] for one in stand["models"] if one["videos"]}
    assert made == {"kling/v3-turbo-image-to-video": 2}
    (key,) = stand["keys"]
    assert (key["submits"], key["in_flight"], key["balance_units"]) == (0, 0, 1_000_000 - 2 * UNITS)


async def test_f66_a_video_that_was_unusable_was_charged_all_the_same(office: Office, photo: bytes) -> None:
    await office.weigh()
    await office.rig.fault(route="createTask", kind="bad_result", variant="truncated", times=1)
    order_id = await office.rig.order(photo=photo)
    await office.rig.finish(order_id)
    assert [one.state for one in await office.rig.attempts(order_id)] == [AttemptState.FAILED, AttemptState.SUCCEEDED]
    await office.weigh()

    status, (bill,) = await office.bills()
    assert (status, bill["fell"], bill["counted"], bill["difference"]) == (0, 2 * UNITS, 2 * UNITS, 0)
    assert "Margin: $0.96 = 1 credit spent (1 of them a gift), sold for $1.50, - $0.54 paid" in await office.shown(
        "order", str(order_id)
    )


async def test_f66_a_task_whose_answer_was_lost_explains_what_it_cost(office: Office, photo: bytes) -> None:
    await office.weigh()
    await office.rig.fault(route="createTask", kind="drop_answer", times=1)
    order_id = await office.rig.order(photo=photo)
    await office.rig.finish(order_id, pace_seconds=30)
    await office.weigh()

    status, (bill,) = await office.bills()
    assert (status, bill["difference"], bill["unexplained"]) == (0, UNITS, 0)
    assert [(one["state"], one["list_units"]) for one in bill["doubtful"]] == [("abandoned", UNITS)]
    assert "video 1, attempt 1: abandoned, $0.27" in await office.shown("bills")
    assert "$0.27 more may have been paid, then it is $0.96" in await office.shown("order", str(order_id))


async def test_f66_a_top_up_hides_nothing(office: Office, photo: bytes) -> None:
    await office.settings(credits=500)
    await office.weigh()
    await office.rig.finish(await office.rig.order(photo=photo))
    await office.weigh()
    await office.settings(credits=500 - UNITS + 1000)
    await office.weigh()
    await office.settings(credits=500 - UNITS + 1000 - 7)
    await office.weigh()

    status, (bill,) = await office.bills()
    assert status == 1
    assert [one["units"] for one in bill["top_ups"]] == [1000]
    assert (bill["fell"], bill["counted"], bill["difference"], bill["difference_usd"]) == (UNITS + 7, UNITS, 7, 0.035)
    assert "topped up by about $5.00 (1,000.00)" in await office.shown("bills")


async def test_p10_an_orders_story_says_what_each_attempt_cost_and_why_it_was_made(
    office: Office, photo: bytes
) -> None:
    await office.rig.fault(route="createTask", kind="code", code=505, msg="feature disabled", times=1)
    order_id = await office.rig.order(photo=photo)
    await office.rig.finish(order_id)
    output = " ".join((await office.shown("order", str(order_id))).replace("│", " ").split())
    refused, made = await office.rig.attempts(order_id)
    assert f"kie {refused.model}, as ordered, key {office.label}, list price $0.27" in output
    assert f"kie {made.model}, instead of {refused.model} (it refused), at $" in output
    assert made.cost_usd is not None
    charged = (await office.rig.tasks())[0]["credits"]
    assert f"result ready, kie charged {charged:g} units (${charged * 0.005:g}" in output
    assert f"Margin: ${1.5 - charged * 0.005:g}" in output


# An account in trouble --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "code"),
    [({"credits": 0}, 402), ({"revoked_keys": ["test-key"]}, 401), ({"limited_keys": ["test-key"]}, 433)],
)
async def test_f65_an_account_in_trouble_is_told_at_once_and_nothing_is_sold_meanwhile(
    office: Office, photo: bytes, settings: Json, code: int
) -> None:
    order_id = await office.rig.order(photo=photo)
    await office.settings(**settings)
    with capture_logs() as logs:
        await office.rig.work()
        await office.rig.work()
    (line,) = [line for line in logs if line["event"] == "left_alone"]
    assert (line["log_level"], line["subject"]) == ("error", f"key {office.label}")
    (matter,) = await office.matters()
    assert (matter["what"], matter["subject"]) == ("account", office.label)
    assert f"code {code}" in matter["detail"]
    shown = await office.shown("attention")
    assert "put in another key" in shown
    stand = json.loads(await office.shown("providers", "--json"))
    assert f"code {code}" in stand["keys"][0]["left_alone"]["why"]
    assert {one["model"] for one in stand["templates"]} == {None}
    assert "left alone for 5 min more" in await office.shown("providers")
    catalogue = load_catalogue()
    async with office.rig.database.transaction() as tx:
        assert isinstance(await offer(tx, catalogue, catalogue.templates["hero_broll"]), Wait)

    await office.settings(credits=1000, revoked_keys=[], limited_keys=[])
    (generation,) = await office.rig.finish(order_id, pace_seconds=30)
    assert generation.state == "completed"
    assert (await office.rig.job())["attempt"] == 1
    assert await office.matters() == []


# The arithmetic ---------------------------------------------------------------------------------------------------

MIDNIGHT = datetime(2026, 11, 28, tzinfo=UTC)
DAY_SECONDS = 86400


@dataclass(frozen=True)
class Made:
    """A task as it went, in seconds of the day: what the provider did, and what we have on record of it."""

    charge: Charge
    taken_at: datetime | None
    given_back_at: datetime | None

    def taken(self, moment: datetime) -> float:
        took = self.taken_at is not None and self.taken_at <= moment
        gave = self.given_back_at is not None and self.given_back_at <= moment
        return self.charge.may_cost if took and not gave else 0.0


def after(seconds: float, start: datetime = MIDNIGHT) -> datetime:
    return start + timedelta(seconds=seconds)


@st.composite
def tasks(draw: st.DrawFn, number: int) -> Made:
    """Something we asked for: made, failed, refused, given up, or never heard of again."""
    created = after(draw(st.integers(-3600, DAY_SECONDS)))
    accepted = after(draw(st.integers(0, 30)), created)
    ended = after(draw(st.integers(0, 3600)), accepted)
    price = draw(st.sampled_from([54.0, 180.0, 7.5, 0.01]))
    within = draw(st.floats(0, 1))
    taken = created + (accepted - created) * within
    returned = accepted + (ended - accepted) * draw(st.floats(0, 1))
    late = ended + SETTLING * draw(st.sampled_from([0.0, 0.5, 0.99]))
    charge = Charge(number, 1, 1, AttemptState.SUCCEEDED, created, accepted, ended, price, price)
    match draw(st.sampled_from(["succeeded", "unusable", "failed", "refused", "orphaned", "lost", "accepted"])):
        case "succeeded":
            return Made(charge, taken, None)
        case "unusable":
            return Made(replace(charge, state=AttemptState.FAILED), taken, None)
        case "failed":
            return Made(replace(charge, state=AttemptState.FAILED, units=None), taken, returned)
        case "refused":
            refused = replace(charge, state=AttemptState.REFUSED, units=None, accepted_at=None)
            return Made(refused, None, None)
        case "orphaned":
            orphan = replace(charge, state=AttemptState.ORPHANED, units=None)
            return Made(orphan, taken, draw(st.sampled_from([None, returned, late])))
        case "lost":
            lost = replace(charge, state=AttemptState.ABANDONED, units=None, accepted_at=None)
            return Made(lost, draw(st.sampled_from([None, taken])), draw(st.sampled_from([None, late])))
        case _:
            return Made(
                replace(charge, state=AttemptState.ACCEPTED, units=None, ended_at=None),
                taken,
                draw(st.sampled_from([None, returned])),
            )


@st.composite
def accounts(draw: st.DrawFn) -> tuple[list[Made], list[tuple[datetime, float]], list[tuple[datetime, datetime]]]:
    """Tasks, top-ups, and the readings: when the provider looked, and when we wrote down what it said."""
    made = [draw(tasks(number)) for number in range(draw(st.integers(0, 8)))]
    top_ups = [
        (after(draw(st.integers(0, DAY_SECONDS))), draw(st.sampled_from([10_000.0, 50_000.0])))
        for _ in range(draw(st.integers(0, 2)))
    ]
    # Close to what happens, where it is hard to say what a balance has seen.
    events = [at for one in made for at in (one.taken_at, one.given_back_at, one.charge.ended_at) if at is not None]
    near = st.builds(after, st.integers(-20, 20), st.sampled_from(events)) if events else st.nothing()
    anywhere = st.builds(after, st.integers(0, DAY_SECONDS))
    moments = sorted(draw(st.sets(anywhere | near, min_size=2, max_size=8)))
    # Read one after the other: a balance is written down before the next one is asked for.
    lag = draw(st.sampled_from([0.0, 14.0]))
    return made, top_ups, [(moment, after(lag, moment)) for moment in moments]


def billed(
    made: Sequence[Made],
    top_ups: Sequence[tuple[datetime, float]],
    looks: Sequence[tuple[datetime, datetime]],
    *,
    stolen: float = 0.0,
    stolen_at: datetime = MIDNIGHT,
) -> Bill:
    readings = [
        Reading(
            noted,
            1000.0
            + sum(units for at, units in top_ups if at <= looked)
            - sum(one.taken(looked) for one in made)
            - (stolen if stolen_at <= looked else 0.0),
        )
        for looked, noted in looks
    ]
    charges = [one.charge for one in made]
    end = MIDNIGHT + timedelta(days=1)
    return day_bill("kie-1", "kie", MIDNIGHT.date(), readings=readings, charges=charges, day_end=end)


@given(accounts())
def test_f66_whatever_was_under_way_a_right_bill_is_never_doubted(
    account: tuple[list[Made], list[tuple[datetime, float]], list[tuple[datetime, datetime]]],
) -> None:
    bill = billed(*account)
    assert bill.unexplained == 0
    assert not bill.is_alarming
    assert account[1] or bill.top_ups == (), "what failed tasks bring back is no top-up"


@given(accounts(), st.integers(1, 9_999), st.data())
def test_f66_what_was_taken_beside_our_attempts_is_never_hidden_by_what_succeeded(
    account: tuple[list[Made], list[tuple[datetime, float]], list[tuple[datetime, datetime]]],
    hundredths: int,
    data: st.DataObject,
) -> None:
    made, _, looks = account
    settled = [
        one
        for one in made
        if one.charge.units is not None
        and one.charge.created_at > looks[0][1]
        and one.charge.ended_at is not None
        and one.charge.ended_at < looks[-1][0]
    ]
    stolen_at = data.draw(st.datetimes(*(moment.replace(tzinfo=None) for moment in (looks[0][0], looks[-1][0]))))
    stolen_at = max(stolen_at.replace(tzinfo=UTC), looks[0][0] + timedelta(microseconds=1))
    bill = billed(settled, [], looks, stolen=hundredths / 100, stolen_at=stolen_at)
    assert bill.difference == hundredths / 100
    assert bill.unexplained == bill.difference
    assert bill.is_alarming == (hundredths * 0.005 / 100 > 0.01)


@pytest.mark.parametrize(
    ("state", "ended", "unexplained"),
    [
        (AttemptState.ORPHANED, 3500, 0),
        (AttemptState.ABANDONED, 3600 - 15 * 60, 0),
        (AttemptState.ORPHANED, 3600 - 16 * 60, UNITS),
        (AttemptState.ACCEPTED, None, 0),
        (AttemptState.FAILED, 7195, 0),
        (AttemptState.FAILED, 7000, UNITS),
        (AttemptState.REFUSED, 7195, UNITS),
    ],
)
def test_f66_only_what_is_not_settled_explains_a_difference(
    state: AttemptState, ended: int | None, unexplained: float
) -> None:
    readings = [Reading(after(3600), 1000.0), Reading(after(7200), 1000.0 - UNITS)]
    ended_at = None if ended is None else after(ended)
    charge = Charge(1, 1, 1, state, after(900), after(901), ended_at, None, UNITS)
    bill = day_bill(
        "kie-1", "kie", MIDNIGHT.date(), readings=readings, charges=[charge], day_end=MIDNIGHT + timedelta(days=1)
    )
    assert (bill.difference, bill.unexplained) == (UNITS, unexplained)
    assert bill.is_alarming == (unexplained > 0)
    assert bill.doubtful == ((charge,) if unexplained == 0 or ended == 7000 else ())


def test_f66_units_that_are_not_money_are_only_counted() -> None:
    made = Charge(1, 1, 1, AttemptState.SUCCEEDED, after(10), after(11), after(60), 10.0, 0.0)
    readings = [Reading(after(0), 5.0), Reading(after(100), 1.0)]
    bill = day_bill(
        "fal-1", "fal", MIDNIGHT.date(), readings=readings, charges=[made], day_end=MIDNIGHT + timedelta(days=1)
    )
    assert (bill.fell, bill.difference, bill.counted, bill.videos, bill.is_alarming) == (None, None, 10, 1, False)
    assert cost_usd("fal", units=10.0, list_usd=1.1) == 1.1
    assert cost_usd("kie", units=54.0, list_usd=0.3) == 0.27
