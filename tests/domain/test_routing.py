"""Who makes a video: what was ordered while it can, else the next best, never one that cannot; the record says why."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurocards.domain.catalogue import Aspect, Cost, Field, Model, Wants, Wire
from neurocards.domain.failures import FailureKind
from neurocards.domain.generations import Attempt, AttemptState
from neurocards.domain.routing import (
    UNLISTED_PAUSE,
    Choice,
    Condition,
    Nobody,
    Request,
    Route,
    Wait,
    expected_usd,
    route,
)

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
SOON = NOW + timedelta(seconds=30)
REQUEST = Request(Wants(), seconds=10, price_credits=2)

FIELD = Field("x", Wire.TEXT)
GOOD = Model(
    id="good",
    title="Good",
    provider="kie",
    retires=None,
    seconds_allowed=(5, 10),
    min_width=720,
    min_height=1280,
    aspect=Aspect.IMAGE,
    prompt_characters=2500,
    sound=True,
    people=True,
    speech=(),
    usual_seconds=120,
    price_credits=1,
    cost=Cost(usd_per_second=0.09),
    prompt_field=FIELD,
    frame_field=FIELD,
    seconds_field=FIELD,
    last_frame_field=FIELD,
    negative_field=None,
    constants={},
)
CHEAP = replace(GOOD, id="cheap", provider="fal", cost=Cost(usd_per_video=0.3))
DEAR = replace(GOOD, id="dear", provider="fal", cost=Cost(usd_by_seconds={5: 1.0, 10: 2.0}))
ALL = (DEAR, GOOD, CHEAP)

ZERO = UUID(int=0)


def tried(model: str, kind: FailureKind | None) -> Attempt:
    """One try at the video, and what became of it; None: its answer was lost."""
    return Attempt(
        id=ZERO,
        generation_id=ZERO,
        number=1,
        provider="kie",
        model=model,
        key="kie-1",
        reason="",
        cost_usd=None,
        lease_number=1,
        state=AttemptState.ABANDONED if kind is None else AttemptState.FAILED,
        task_id=None,
        task_url=None,
        result_url=None,
        failure="it failed",
        failure_kind=kind,
        ask_at=None,
        hinted_task_id=None,
        created_at=NOW,
        accepted_at=None,
        ended_at=NOW,
    )


def chosen(
    models: Sequence[Model] = ALL,
    request: Request = REQUEST,
    *,
    ordered: str | None = "good",
    conditions: Mapping[str, Condition] | None = None,
    attempts: Sequence[Attempt] = (),
) -> Route:
    usual = {model.id: Condition() for model in models}
    return route(
        models, request, ordered=ordered, conditions=usual | dict(conditions or {}), attempts=attempts, now=NOW
    )


def test_what_was_ordered_is_asked_while_it_can_make_the_video() -> None:
    assert chosen() == Choice(GOOD, "as ordered")


@pytest.mark.parametrize(
    ("flaw", "request_"),
    [
        ({"retires": date(2026, 11, 28)}, REQUEST),
        ({"retires": date(2020, 1, 1)}, REQUEST),
        ({"seconds_allowed": (5, 15)}, REQUEST),
        ({"price_credits": 3}, REQUEST),
        ({"sound": False}, replace(REQUEST, wants=Wants(sound=True))),
        ({"people": False}, replace(REQUEST, wants=Wants(people=True))),
        ({"last_frame_field": None}, replace(REQUEST, wants=Wants(last_frame=True))),
    ],
)
def test_a_model_that_cannot_make_it_is_never_asked(flaw: dict[str, object], request_: Request) -> None:
    unable = replace(GOOD, **flaw)  # type: ignore[arg-type]  # fields of the profile
    assert chosen([unable, CHEAP], request_) == Choice(
        CHEAP, "instead of good (retired, or it cannot make this), at $0.300"
    )
    assert chosen([unable], request_) == Nobody()


def test_a_model_is_asked_until_the_day_before_it_retires() -> None:
    assert chosen([replace(GOOD, retires=date(2026, 11, 29))]) == Choice(
        replace(GOOD, retires=date(2026, 11, 29)), "as ordered"
    )


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        (Condition(served=False), "not served here"),
        (Condition(listed=False), "not listed any more"),
        (Condition(open_until=LATER, why="code 402: empty"), "left alone: code 402: empty"),
        (Condition(success_rate=0.49), "it fails too often"),
    ],
)
def test_what_fares_badly_is_gone_around_and_the_record_says_why(condition: Condition, why: str) -> None:
    assert chosen(conditions={"good": condition}) == Choice(CHEAP, f"instead of good ({why}), at $0.300")


def test_who_is_not_listed_may_be_at_the_next_look() -> None:
    found = chosen(conditions={model.id: Condition(listed=False) for model in ALL})
    assert found == Wait(NOW + UNLISTED_PAUSE, "not listed any more")


def test_nobody_is_the_word_only_when_there_is_nobody() -> None:
    condition = Condition(served=False)
    assert chosen(conditions={model.id: condition for model in ALL}) == Nobody()
    assert isinstance(chosen(conditions={"good": condition, "dear": condition}), Choice)


def test_a_model_that_fails_half_of_its_tasks_is_better_than_nobody() -> None:
    assert chosen([GOOD], conditions={"good": Condition(success_rate=0.0)}) == Choice(GOOD, "as ordered")
    assert chosen(conditions={"good": Condition(success_rate=0.5)}) == Choice(GOOD, "as ordered")


def test_who_is_left_alone_is_waited_for_when_there_is_no_other() -> None:
    conditions = {
        "good": Condition(open_until=LATER, why="maintenance"),
        "cheap": Condition(open_until=SOON, why="unreachable"),
        "dear": Condition(open_until=LATER, why="empty"),
    }
    assert chosen(conditions=conditions) == Wait(SOON, "unreachable")
    assert chosen(conditions={"good": Condition(open_until=NOW), "cheap": Condition(open_until=LATER)}) == Choice(
        GOOD, "as ordered"
    ), "the time has come"


def test_a_refusal_excludes_whatever_else_is_left() -> None:
    refused = [tried("good", FailureKind.UNSUITED)]
    assert chosen(attempts=refused) == Choice(CHEAP, "instead of good (it refused), at $0.300")
    assert chosen([GOOD], attempts=refused) == Nobody()
    alone = {"cheap": Condition(open_until=LATER, why="away"), "dear": Condition(served=False)}
    assert chosen(attempts=refused, conditions=alone) == Wait(LATER, "away"), "it is not asked again meanwhile"


def test_two_failures_make_room_and_one_does_not() -> None:
    once = [tried("good", FailureKind.TEMPORARY)]
    assert chosen(attempts=once) == Choice(GOOD, "as ordered")
    assert chosen(attempts=once * 2) == Choice(CHEAP, "instead of good (it failed again), at $0.300")
    assert chosen([GOOD], attempts=once * 3) == Choice(GOOD, "as ordered"), "there is no other"
    worn_out = [*once * 2, *[tried("cheap", FailureKind.TEMPORARY)] * 2, *[tried("dear", FailureKind.TEMPORARY)] * 2]
    assert chosen(attempts=worn_out) == Choice(GOOD, "as ordered"), "all have failed alike"


@pytest.mark.parametrize("kind", [FailureKind.RATE_LIMITED, FailureKind.OUTAGE, None])
def test_what_cost_time_alone_counts_against_nobody(kind: FailureKind | None) -> None:
    assert chosen(attempts=[tried("good", kind)] * 5) == Choice(GOOD, "as ordered")


def test_auto_takes_what_brings_a_video_for_the_least_money() -> None:
    assert chosen(ordered=None) == Choice(CHEAP, "cheapest at $0.300")
    assert chosen(ordered=None, conditions={"cheap": Condition(success_rate=0.6)}) == Choice(
        CHEAP, "cheapest at $0.500"
    )
    by_failures = {"cheap": Condition(success_rate=0.51), "good": Condition(success_rate=0.9)}
    assert chosen(ordered=None, conditions=by_failures) == Choice(CHEAP, "cheapest at $0.588")
    dearer = replace(CHEAP, cost=Cost(usd_per_video=0.89))
    unsure = {"cheap": Condition(success_rate=0.95)}
    assert chosen([GOOD, dearer], ordered=None, conditions=unsure) == Choice(GOOD, "cheapest at $0.900")


def test_an_order_for_a_model_that_nobody_knows_any_more_is_made_by_another() -> None:
    assert chosen(ordered="gone") == Choice(CHEAP, "instead of gone (not served here), at $0.300")


def test_failing_models_are_not_taken_for_free() -> None:
    assert expected_usd(CHEAP, 10, 0.0) == pytest.approx(6.0)
    assert expected_usd(GOOD, 10, None) == pytest.approx(0.9)


MODELS = st.lists(
    st.builds(
        replace,
        st.just(GOOD),
        id=st.sampled_from(["a", "b", "c", "d"]),
        provider=st.sampled_from(["kie", "fal"]),
        retires=st.sampled_from([None, None, date(2026, 11, 28), date(2027, 1, 1)]),
        seconds_allowed=st.sampled_from([(5, 10), (10,), (5,)]),
        price_credits=st.integers(1, 3),
        sound=st.booleans(),
        people=st.booleans(),
        last_frame_field=st.sampled_from([None, FIELD]),
        cost=st.builds(Cost, usd_per_video=st.sampled_from([0.3, 0.9])),
    ),
    min_size=1,
    unique_by=lambda model: model.id,
)
CONDITIONS = st.fixed_dictionaries(
    dict.fromkeys(
        "abcd",
        st.builds(
            Condition,
            served=st.sampled_from([True, True, False]),
            listed=st.sampled_from([True, True, False]),
            open_until=st.sampled_from([None, None, NOW - timedelta(seconds=1), NOW, SOON, LATER]),
            why=st.just("away"),
            success_rate=st.none() | st.floats(0, 1),
        ),
    )
)
REQUESTS = st.builds(
    Request,
    st.builds(Wants, sound=st.booleans(), people=st.booleans(), last_frame=st.booleans()),
    seconds=st.sampled_from([5, 10]),
    price_credits=st.integers(1, 3),
)
ATTEMPTS = st.lists(
    st.builds(tried, st.sampled_from("abcd"), st.none() | st.sampled_from(FailureKind)),
    max_size=6,
)


@given(MODELS, REQUESTS, st.none() | st.sampled_from("abcde"), CONDITIONS, ATTEMPTS, st.randoms(use_true_random=False))
def test_every_route_leads_to_somebody_who_can_and_depends_on_no_order(
    models: list[Model],
    request: Request,
    ordered: str | None,
    conditions: dict[str, Condition],
    attempts: list[Attempt],
    shuffler: Random,
) -> None:
    found = chosen(models, request, ordered=ordered, conditions=conditions, attempts=attempts)
    able = [
        model
        for model in models
        if (model.retires is None or model.retires > NOW.date())
        and request.seconds in model.seconds_allowed
        and model.price_credits <= request.price_credits
        and (model.sound or not request.wants.sound)
        and (model.people or not request.wants.people)
        and (model.last_frame_field or not request.wants.last_frame)
        and conditions[model.id].served
        and not any(one.model == model.id and one.failure_kind == "unsuited" for one in attempts)
    ]
    ready = [one for one in able if (conditions[one.id].open_until or NOW) <= NOW and conditions[one.id].listed]
    match found:
        case Choice(model, reason):
            assert model in ready
            assert reason == "as ordered" if model.id == ordered else reason.startswith(("cheapest", "instead of"))
        case Wait(until):
            assert able
            assert not ready
            assert until == min(conditions[model.id].shut_until(NOW) for model in able)
        case Nobody():
            assert not able
    shuffler.shuffle(models)
    assert chosen(models, request, ordered=ordered, conditions=conditions, attempts=attempts) == found


def test_of_two_alike_it_is_always_the_same_one() -> None:
    twins = [replace(GOOD, id=name) for name in ("b", "a", "c")]
    assert chosen(twins, ordered=None) == Choice(replace(GOOD, id="a"), "cheapest at $0.900")
    assert chosen(twins[::-1], ordered=None) == Choice(replace(GOOD, id="a"), "cheapest at $0.900")
