"""P9: whoever asks, and however many ask at once, no key is used faster or for more at once than it allows."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from random import Random
from uuid import UUID, uuid4

import pytest

from neurocards.db import circuits, generations, provider_keys
from neurocards.db.connection import Database, Transaction
from neurocards.db.provider_keys import FORGOTTEN_MINUTES, GoAhead, Pace, TakeTurn
from neurocards.domain.circuits import PROBE
from neurocards.domain.failures import Failure, FailureKind, Reason, Scope
from neurocards.domain.generations import AttemptState
from shop import DEADLINE_SECONDS, advance, new_order

CONNECTIONS = 20
LOCK_SECONDS = 2.0
PACE = Pace(submits=5, window_seconds=10.0, slack_seconds=1.0, in_flight=10_000)
NARROW = Pace(submits=10_000, window_seconds=10.0, slack_seconds=1.0, in_flight=5)
ONE, TWO = ["kie-1"], ["kie-1", "kie-2"]


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    """With room for everybody to ask at the same moment."""
    async with Database(dsn, connections=CONNECTIONS) as opened:
        await opened.run(lambda tx: provider_keys.register(tx, "kie", TWO))
        yield opened


async def videos(database: Database, count: int) -> list[UUID]:
    """So many videos in work that nobody has asked for yet."""
    order_ids = [await new_order(database, videos=10) for _ in range(-(-count // 10))]
    async with database.transaction() as tx:
        found = [one.id for order_id in order_ids for one in await generations.of_order(tx, order_id)]
        for generation_id in found:
            await generations.begin(tx, generation_id, deadline_seconds=DEADLINE_SECONDS)
    return found[:count]


async def ask(
    database: Database, generation_id: UUID, *, labels: Sequence[str] = ONE, pace: Pace = PACE
) -> GoAhead | TakeTurn:
    """As a worker does before a submit: who may go ahead writes the intent in the same transaction."""

    async def work(tx: Transaction) -> GoAhead | TakeTurn:
        admitted = await provider_keys.admit(tx, labels, pace)
        if isinstance(admitted, GoAhead):
            await generations.intend(
                tx,
                generation_id,
                attempt_id=uuid4(),
                provider="kie",
                model="m",
                lease_number=1,
                key=admitted.label,
            )
        return admitted

    return await database.run(work)


async def ask_at_once(
    database: Database, waiting: Sequence[UUID], *, labels: Sequence[str] = ONE, pace: Pace = PACE
) -> tuple[list[UUID], Counter[str], list[float]]:
    """All ask at once: who has to wait, how often each key was given, and the turns of those who wait."""
    told = await asyncio.gather(*(ask(database, one, labels=labels, pace=pace) for one in waiting))
    given = Counter(one.label for one in told if isinstance(one, GoAhead))
    turns = [one.seconds for one in told if isinstance(one, TakeTurn)]
    left = [one for one, answer in zip(waiting, told, strict=True) if isinstance(answer, TakeTurn)]
    return left, given, turns


async def end(database: Database, state: AttemptState, *, limit: int = 10_000, failure: str = "test") -> None:
    """Whatever is only intended, up to a limit, comes to this."""
    async with database.transaction() as tx:
        cursor = await tx.execute("select id from attempts where state = 'intent' order by id limit %s", [limit])
        for (attempt_id,) in await cursor.fetchall():
            if state in (AttemptState.ACCEPTED, AttemptState.SUCCEEDED):
                await generations.record_task(tx, attempt_id, uuid4().hex)
            if state is AttemptState.SUCCEEDED:
                await generations.record_result(tx, attempt_id, "https://files.example/clip.mp4")
            if state in (AttemptState.UNKNOWN, AttemptState.REFUSED, AttemptState.ABANDONED):
                await generations.end_attempt(tx, attempt_id, state, failure)


async def most_within(database: Database, seconds: float) -> dict[str, int]:
    """The most submits that any window of so many seconds has seen, by key."""
    times = defaultdict(list)
    async with database.transaction() as tx:
        cursor = await tx.execute("select key, created_at from attempts where state <> 'refused' order by created_at")
        for key, at in await cursor.fetchall():
            times[key].append(at)
    window = timedelta(seconds=seconds)
    return {key: max(sum(at <= one < at + window for one in found) for at in found) for key, found in times.items()}


@pytest.mark.parametrize("labels", [ONE, TWO])
async def test_p9_within_any_window_no_key_gets_more_than_its_submits(database: Database, labels: list[str]) -> None:
    """Thirty ask again and again, all at once, while time goes on in odd steps."""
    draw = Random(1)
    waiting = await videos(database, 60)
    while waiting:
        left, _, _ = await ask_at_once(database, waiting[:30], labels=labels)
        waiting = left + waiting[30:]
        await advance(database, draw.uniform(0.1, 6.0))
    most = await most_within(database, PACE.window_seconds + PACE.slack_seconds)
    assert most == dict.fromkeys(labels, PACE.submits), "no more, and all that it allows"


async def test_p9_two_keys_allow_twice_as_much_at_once_and_are_used_alike(database: Database) -> None:
    waiting = await videos(database, 40)
    waiting, given, _ = await ask_at_once(database, waiting)
    assert given == {"kie-1": 5}
    await advance(database, 12)
    waiting, given, _ = await ask_at_once(database, waiting, labels=TWO)
    assert given == {"kie-1": 5, "kie-2": 5}


async def test_p9_no_key_makes_more_at_once_than_it_may_whatever_is_known_of_its_tasks(database: Database) -> None:
    """Only intended, accepted, or with a lost answer: all of them may be in work."""
    waiting = await videos(database, 40)
    waiting, given, _ = await ask_at_once(database, waiting, pace=NARROW)
    assert given == {"kie-1": 5}
    await end(database, AttemptState.ACCEPTED, limit=2)
    await end(database, AttemptState.UNKNOWN, limit=2)
    await advance(database, 3600)
    waiting, given, _ = await ask_at_once(database, waiting, pace=NARROW)
    assert given == {}, "no time that passes makes room"
    await end(database, AttemptState.SUCCEEDED)
    waiting, given, _ = await ask_at_once(database, waiting, pace=NARROW)
    assert given == {"kie-1": 1}
    waiting, given, _ = await ask_at_once(database, waiting, labels=TWO, pace=NARROW)
    assert given == {"kie-2": 5}


async def test_p9_what_nobody_waits_for_any_more_still_counts_for_a_while(database: Database) -> None:
    """An abandoned task may exist, and an orphan does: the provider is making it until it is done."""
    waiting = await videos(database, 20)
    waiting, _, _ = await ask_at_once(database, waiting, pace=NARROW)
    await end(database, AttemptState.ABANDONED, limit=3)
    async with database.transaction() as tx:
        await tx.execute("update attempts set state = 'orphaned', task_id = id::text where state = 'intent'")
    await advance(database, FORGOTTEN_MINUTES * 60 - 30)
    waiting, given, _ = await ask_at_once(database, waiting, pace=NARROW)
    assert given == {}
    await advance(database, 60)
    _, given, _ = await ask_at_once(database, waiting, pace=NARROW)
    assert given == {"kie-1": 5}


@pytest.mark.parametrize(
    ("failure", "given_back"),
    [
        ("outage/provider: ConnectError", 3),
        ("rate_limited/internal: held up before the submit", 3),
        ("rate_limited/provider: HTTP 429", 0),
        ("permanent/content: code 400", 0),
    ],
)
async def test_p9_what_never_reached_the_provider_gives_its_place_back(
    database: Database, failure: str, given_back: int
) -> None:
    waiting = await videos(database, 20)
    waiting, _, _ = await ask_at_once(database, waiting)
    await end(database, AttemptState.REFUSED, limit=3, failure=failure)
    _, given, _ = await ask_at_once(database, waiting)
    assert sum(given.values()) == given_back


async def test_f44_a_key_that_was_too_fast_rests_for_everybody(database: Database) -> None:
    waiting = await videos(database, 3)
    async with database.transaction() as tx:
        await provider_keys.rest(tx, "kie-1", seconds=30)
    _, given, turns = await ask_at_once(database, waiting)
    assert not given
    assert min(turns) > 30
    await advance(database, 31)
    _, given, _ = await ask_at_once(database, waiting)
    assert given == {"kie-1": 3}


@pytest.mark.parametrize("labels", [ONE, TWO])
async def test_p9_turns_of_those_who_wait_are_spread_and_never_past(database: Database, labels: list[str]) -> None:
    waiting = await videos(database, 40)
    waiting, _, turns = await ask_at_once(database, waiting, labels=labels)
    step = (PACE.window_seconds + PACE.slack_seconds) / PACE.submits
    assert len(turns) == 40 - PACE.submits * len(labels)
    assert min(turns) > 0
    last = provider_keys.MOST_WINDOWS * PACE.window_seconds
    for start in range(int(last - step)):
        assert sum(start <= one < start + step for one in turns) <= 2 * len(labels), "nobody comes in a crowd"
    # Counted from the begin of a transaction that may first have waited for those of all others.
    most = last + PACE.window_seconds + LOCK_SECONDS
    assert max(turns) <= most, "nobody is sent away for long: those before may give up"

    async with database.transaction() as tx:
        longest = await provider_keys.longest_wait(tx, labels)
        assert 0 < longest <= provider_keys.MOST_WINDOWS * PACE.window_seconds
    await advance(database, 3600)
    async with database.transaction() as tx:
        assert await provider_keys.longest_wait(tx, labels) == 0
    _, _, turns = await ask_at_once(database, waiting, labels=labels)
    assert 0 < min(turns) <= 2 * step, "turns that nobody took are forgotten"


async def test_p9_of_keys_that_are_not_here_nobody_is_let_through(database: Database) -> None:
    """A worker all of whose keys are left alone asks for none: it waits, and does not ask in a circle."""
    [video] = await videos(database, 1)
    assert await ask(database, video, labels=[]) == TakeTurn(PACE.window_seconds)


# Circuits -------------------------------------------------------------------------------------------------------


async def open_circuit(database: Database, subject: str = "provider kie") -> None:
    away = Failure(FailureKind.OUTAGE, Reason.PROVIDER, "away", scope=Scope.PROVIDER)
    for _ in range(3):
        await database.run(lambda tx: circuits.failed(tx, subject, away))


async def probe_at_once(database: Database, subjects: Sequence[str], *, people: int = 20) -> int:
    """How many of so many who ask at the same moment may try."""
    told = await asyncio.gather(*(database.run(lambda tx: circuits.claim_probe(tx, subjects)) for _ in range(people)))
    return sum(told)


async def test_f65_of_twenty_who_would_try_first_one_may(database: Database) -> None:
    await open_circuit(database)
    assert await probe_at_once(database, ["provider kie"]) == 0, "it is left alone"
    await advance(database, 10.1)
    assert await probe_at_once(database, ["provider kie"]) == 1
    assert await probe_at_once(database, ["provider kie"]) == 0, "its outcome is waited for"
    await advance(database, PROBE.total_seconds() + 0.1)
    assert await probe_at_once(database, ["provider kie"]) == 1, "but not for ever: who tried may have died"
    await database.run(lambda tx: circuits.succeeded(tx, ["provider kie"]))
    assert await probe_at_once(database, ["provider kie"]) == 20


async def test_f65_who_tries_tries_all_suspects_or_none(database: Database) -> None:
    """A key may be tried again and its provider not yet: then nobody tries the key either."""
    await open_circuit(database, "key kie-1")
    await advance(database, 11)
    await open_circuit(database, "provider kie")
    assert await probe_at_once(database, ["key kie-1", "provider kie"]) == 0
    assert await probe_at_once(database, ["key kie-1"]) == 1, "the refusal has claimed nothing"


async def test_f65_many_who_fail_at_the_same_moment_are_one_trouble(database: Database) -> None:
    """Fifty were on their way when the provider went: it is left alone as after three, and said once."""
    away = Failure(FailureKind.OUTAGE, Reason.PROVIDER, "away", scope=Scope.PROVIDER)

    async def seconds_open() -> float:
        async with database.transaction() as tx:
            cursor = await tx.execute("select extract(epoch from open_until - clock_now()) from circuits")
            row = await cursor.fetchone()
        assert row is not None
        return float(row[0])

    told = await asyncio.gather(
        *(database.run(lambda tx: circuits.failed(tx, "provider kie", away)) for _ in range(50))
    )
    assert sum(changed for _, changed in told) == 3
    assert await seconds_open() == pytest.approx(10, abs=1)
    await advance(database, 10.1)
    assert await probe_at_once(database, ["provider kie"]) == 1
    await database.run(lambda tx: circuits.failed(tx, "provider kie", away))
    assert await seconds_open() == pytest.approx(20, abs=1), "who tried first found it still away"


async def test_f44_a_rate_limit_leaves_no_mark(database: Database) -> None:
    limited = Failure(FailureKind.RATE_LIMITED, Reason.PROVIDER, "too fast", scope=Scope.KEY)
    assert (await database.run(lambda tx: circuits.failed(tx, "key kie-1", limited)))[1] is False
    async with database.transaction() as tx:
        assert await circuits.read(tx) == {}
