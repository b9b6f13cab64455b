"""P10, P6: whatever is asked of the money functions, in whatever order and however often, the books agree with a model.

The model knows no SQL: it says what each call answers and where every credit is afterwards. `LEDGER_EXAMPLES=2000`
runs that many examples anew each time instead of the few fixed ones.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from neurocards.db import books, customers, drafts, generations, jobs, orders
from neurocards.db.connection import Transaction
from neurocards.db.customers import Customer
from neurocards.db.jobs import Job
from neurocards.db.orders import Cancellation, CancelOutcome, Outcome, Placement
from shop import VIDEO

EXAMPLES = int(os.environ.get("LEDGER_EXAMPLES", "0"))
SETTINGS = settings(
    max_examples=EXAMPLES or 60,
    derandomize=not EXAMPLES,
    stateful_step_count=30,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

Answer = TypeVar("Answer")
Thing = TypeVar("Thing")


# The model ------------------------------------------------------------------------------------------------------


@dataclass
class Generation:
    """A video: who pays what of it, how far it is, and under which lease somebody works on it."""

    customer: int
    parts: Counter[str]
    state: str = "open"
    lease: int | None = None
    leases: int = 0
    expired: bool = False
    asked: bool = False
    made: bool = False


@dataclass
class Model:
    """What is true of the shop, in plain Python. Credits are counted by (customer, kind, funding)."""

    credits: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    causes: dict[str, tuple[str, int, int, str]] = field(default_factory=dict)
    generations: dict[UUID, Generation] = field(default_factory=dict)

    def move(self, customer: int, funding: str, from_kind: str, to_kind: str, amount: int) -> None:
        self.credits[customer, from_kind, funding] -= amount
        self.credits[customer, to_kind, funding] += amount

    def change(self, kind: str, customer: int, amount: int, funding: str, cause: str) -> bool | str:
        """Whether credits move, or the sqlstate of the refusal."""
        if cause in self.causes:
            return False if self.causes[cause] == (kind, customer, amount, funding) else "NC409"
        if amount <= 0 or (kind == "withdrawal" and amount > self.credits[customer, "available", funding]):
            return "23514"
        self.causes[cause] = (kind, customer, amount, funding)
        path = ("issued", "available") if kind == "top_up" else ("available", "issued")
        self.move(customer, funding, *path, amount)
        return True

    def available(self, customer: int) -> int:
        return self.credits[customer, "available", "free"] + self.credits[customer, "available", "paid"]

    def open(self, customer: int) -> int:
        return sum(
            generation.state == "open" for generation in self.generations.values() if generation.customer == customer
        )

    def are(self, state: str) -> int:
        return sum(generation.state == state for generation in self.generations.values())

    def leased(self) -> int:
        return sum(generation.lease is not None for generation in self.generations.values())

    def silent(self) -> set[UUID]:
        return {
            id for id, generation in self.generations.items() if generation.lease is not None and generation.expired
        }

    def hold(self, id: UUID, customer: int, price: int) -> None:
        free = min(price, self.credits[customer, "available", "free"])
        generation = self.generations[id] = Generation(customer, Counter(free=free, paid=price - free))
        for funding, amount in generation.parts.items():
            self.move(customer, funding, "available", "held", amount)

    def end(self, generation: Generation, state: str, from_kind: str, to_kind: str) -> None:
        generation.state, generation.lease = state, None
        for funding, amount in generation.parts.items():
            self.move(generation.customer, funding, from_kind, to_kind, amount)


PEOPLE = st.integers(1, 3)
"""Telegram's ids of those who come and go."""

BACK = st.integers(0, 4)
"""How far back to reach: mostly for what has just happened, sometimes for what is over."""


def nth(things: Sequence[Thing], back: int) -> Thing:
    return things[-1 - back % len(things)]


# The machine ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Placed:
    """An order and its videos, first to last."""

    id: UUID
    customer: int
    videos: tuple[UUID, ...]


class Ledger(RuleBasedStateMachine):
    """One example: customers, orders and workers, in one transaction that is rolled back in the end."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tx: Transaction) -> None:
        super().__init__()
        self.loop = loop
        self.tx = tx
        self.model = Model()
        self.people: dict[int, int] = {}
        self.placed: list[Placed] = []
        self.claimed: list[Job] = []
        loop.run_until_complete(_execute(tx, "begin"))

    def ask(self, work: Awaitable[Answer]) -> Answer | str:
        """What the database answers, checked as if at commit; the sqlstate of its refusal, or `lost` for a lease."""
        return self.loop.run_until_complete(_answer(self.tx, work))

    def generation_of(self, job: Job) -> Generation | None:
        """What the job is about, if this lease is still the one that counts."""
        generation = self.model.generations[job.subject_id]
        return generation if generation.lease == job.lease_number else None

    @initialize(free=st.integers(0, 9), paid=st.integers(3, 9))
    def begin(self, free: int, paid: int) -> None:
        self.change_credits(1, "top_up", free, "free", 100)
        self.change_credits(1, "top_up", paid, "paid", 101)
        self.place(0, 3, 1, shown=0, open_limit=None, again=True)
        self.claim(2, 30)

    def register(self, telegram_id: int) -> None:
        customer = self.ask(customers.register(self.tx, telegram_id=telegram_id, first_name="x", language="en"))
        assert isinstance(customer, Customer)
        assert self.people.setdefault(telegram_id, customer.id) == customer.id

    @rule(
        telegram_id=PEOPLE,
        kind=st.sampled_from(["top_up", "withdrawal"]),
        amount=st.integers(-1, 9),
        funding=st.sampled_from(["free", "paid"]),
        cause=st.integers(0, 20),
    )
    def change_credits(self, telegram_id: int, kind: str, amount: int, funding: str, cause: int) -> None:
        self.register(telegram_id)
        customer = self.people[telegram_id]
        expected = self.model.change(kind, customer, amount, funding, str(cause))
        function = "top_up" if kind == "top_up" else "withdraw"
        answer = self.ask(
            _scalar(self.tx, f"select {function}(%s, %s, %s, %s, 'x')", customer, amount, funding, str(cause))
        )
        assert answer == expected

    @rule(
        back=BACK,
        count=st.integers(1, 3),
        price=st.integers(1, 3),
        shown=st.sampled_from([0, 0, 0, 1]),
        open_limit=st.none() | st.integers(1, 6),
        again=st.booleans(),
    )
    def place(self, back: int, count: int, price: int, shown: int, open_limit: int | None, again: bool) -> None:
        customer = nth(list(self.people.values()), back)
        expected = Outcome.PLACED
        if shown:
            expected = Outcome.PRICE_CHANGED
        elif self.model.available(customer) < count * price:
            expected = Outcome.NOT_ENOUGH_CREDITS
        elif open_limit is not None and self.model.open(customer) + count > open_limit:
            expected = Outcome.TOO_MANY_OPEN
        order_id = uuid4()
        self.ask(_draft(self.tx, customer, order_id, count=count, price=price + shown))
        placement = self.ask(_place(self.tx, order_id, price=price, open_limit=open_limit))
        assert isinstance(placement, Placement)
        assert placement.outcome is expected
        if expected is not Outcome.PLACED:
            return
        videos = self.loop.run_until_complete(generations.of_order(self.tx, order_id))
        for video in videos:
            self.model.hold(video.id, customer, price)
        self.placed.append(Placed(order_id, customer, tuple(video.id for video in videos)))
        if again:
            repeated = self.ask(_place(self.tx, order_id, price=price, open_limit=open_limit))
            assert isinstance(repeated, Placement)
            assert repeated.outcome is Outcome.ALREADY_PLACED

    @precondition(lambda self: self.model.are("open") > self.model.leased())
    @rule(limit=st.integers(1, 4), lease_seconds=st.sampled_from([30, 30, -1]))
    def claim(self, limit: int, lease_seconds: int) -> None:
        waiting = self.model.are("open") - self.model.leased()
        found = self.ask(
            jobs.claim(self.tx, worker="x", kinds=["generation"], limit=limit, lease_seconds=lease_seconds, held=[])
        )
        assert not isinstance(found, str)
        assert len(found) == min(limit, waiting)
        for job in found:
            generation = self.model.generations[job.subject_id]
            assert (generation.state, generation.lease) == ("open", None)
            generation.leases += 1
            generation.lease, generation.expired = job.lease_number, lease_seconds < 0
            assert generation.lease == generation.leases
        self.claimed += found

    @precondition(lambda self: self.claimed)
    @rule(
        back=BACK,
        act=st.sampled_from(["make and settle", "make and settle", "ask", "make", "settle", "refund", "put back"]),
        late=st.sampled_from([False, False, True]),
    )
    def work(self, back: int, act: str, late: bool) -> None:
        """What comes from a worker, whether or not it still holds the lease."""
        held = [job for job in self.claimed if self.generation_of(job)]
        job = nth(self.claimed if late or not held else held, back)
        match act:
            case "ask":
                self.make(job, finished=False)
            case "make":
                self.make(job, finished=True)
            case "settle":
                self.settle(job)
            case "make and settle":
                self.make(job, finished=True)
                self.settle(job)
            case "refund":
                self.refund(job)
            case _:
                self.put_back(job)

    def make(self, job: Job, *, finished: bool) -> None:
        generation = self.generation_of(job)
        answer = self.ask(_make(self.tx, job, finished=finished))
        assert answer == ("lost" if generation is None else "made")
        if generation is not None:
            generation.asked = True
            generation.made |= finished

    def put_back(self, job: Job) -> None:
        generation = self.generation_of(job)
        answer = self.ask(jobs.snooze(self.tx, job, seconds=0))
        assert answer == ("lost" if generation is None else None)
        if generation is not None:
            generation.lease = None

    def settle(self, job: Job) -> None:
        generation = self.generation_of(job)
        answer = self.ask(generations.settle(self.tx, job.subject_id, job.lease_number))
        assert answer == (False if generation is None else True if generation.made else "23514")
        if generation is not None and generation.made:
            self.model.end(generation, "completed", "held", "spent")

    def refund(self, job: Job) -> None:
        generation = self.generation_of(job)
        answer = self.ask(generations.refund(self.tx, job.subject_id, lease_number=job.lease_number, reason="x"))
        assert answer is (generation is not None)
        if generation is not None:
            self.model.end(generation, "failed", "held", "available")

    @rule(back=BACK, act=st.sampled_from(["rescue", "reverse", "reverse", "cancel", "cancel another's", "refund"]))
    def interfere(self, back: int, act: str) -> None:
        """What comes from the customer, from maintenance or from an operator."""
        match act:
            case "rescue":
                self.rescue()
            case "reverse":
                self.reverse(back)
            case "cancel":
                self.cancel(back, theirs=True)
            case "cancel another's":
                self.cancel(back, theirs=False)
            case _:
                self.refund_without_a_lease(back)

    def rescue(self) -> None:
        silent = self.model.silent()
        rescued = self.ask(jobs.rescue(self.tx))
        assert not isinstance(rescued, str)
        assert {job.subject_id for job in rescued} == silent
        for id in silent:
            self.model.generations[id].lease = None

    def refund_without_a_lease(self, back: int) -> None:
        id, generation = nth(list(self.model.generations.items()), back)
        answer = self.ask(generations.refund(self.tx, id, lease_number=None, reason="deadline"))
        assert answer is (generation.state == "open")
        if generation.state == "open":
            self.model.end(generation, "failed", "held", "available")

    def reverse(self, back: int) -> None:
        completed = [
            (id, generation) for id, generation in self.model.generations.items() if generation.state == "completed"
        ]
        id, generation = nth(completed or list(self.model.generations.items()), back)
        answer = self.ask(generations.reverse(self.tx, id, reason="undeliverable"))
        assert answer is (generation.state == "completed")
        if generation.state == "completed":
            self.model.end(generation, "failed", "spent", "available")

    def cancel(self, back: int, *, theirs: bool) -> None:
        order = nth(self.placed, back)
        ordered = [self.model.generations[id] for id in order.videos] if theirs else []
        begun = [generation for generation in ordered if generation.state == "open" and generation.asked]
        taken_back = [generation for generation in ordered if generation.state == "open" and not generation.asked]
        for generation in taken_back:
            self.model.end(generation, "cancelled", "held", "available")
        outcome = CancelOutcome.ENDED
        if not theirs:
            outcome = CancelOutcome.UNKNOWN
        elif begun:
            outcome = CancelOutcome.TOO_LATE
        elif taken_back or all(generation.state == "cancelled" for generation in ordered):
            outcome = CancelOutcome.CANCELLED
        answer = self.ask(orders.cancel(self.tx, order.id, order.customer if theirs else order.customer + 1000))
        assert answer == Cancellation(outcome, cancelled=len(taken_back), kept=len(begun))

    @invariant()
    def every_credit_is_where_the_model_says(self) -> None:
        rows = self.loop.run_until_complete(
            _rows(self.tx, "select customer_id, kind, funding, balance from accounts where balance <> 0")
        )
        assert {row[:3]: row[3] for row in rows} == {place: sum for place, sum in self.model.credits.items() if sum}

    def teardown(self) -> None:
        try:
            rows = self.loop.run_until_complete(_rows(self.tx, "select id, state from generations"))
            states = {id: generation.state for id, generation in self.model.generations.items()}
            assert {id: "open" if state in {"queued", "processing"} else state for id, state in rows} == states
            for check, query in books.CHECKS.items():
                assert self.loop.run_until_complete(_rows(self.tx, query)) == [], check
        finally:
            self.loop.run_until_complete(_execute(self.tx, "rollback"))


async def _execute(tx: Transaction, statement: str) -> None:
    await tx.execute(statement.encode())


async def _rows(tx: Transaction, query: str) -> list[tuple[Any, ...]]:  # Any: columns of any query
    cursor = await tx.execute(query.encode())
    return await cursor.fetchall()


async def _scalar(tx: Transaction, query: str, *values: object) -> object:
    cursor = await tx.execute(query.encode(), values)
    row = await cursor.fetchone()
    return row[0] if row else None


async def _answer(tx: Transaction, work: Awaitable[Answer]) -> Answer | str:
    try:
        async with tx.transaction():
            answer = await work
            await tx.execute("set constraints all immediate; set constraints all deferred")
            return answer
    except jobs.LostLease:
        return "lost"
    except psycopg.DatabaseError as error:
        return str(error.sqlstate)


async def _draft(tx: Transaction, customer: int, order_id: UUID, *, count: int, price: int) -> None:
    choices = drafts.Choices(
        photo_key="photos/1", second_photo_key=None, template="hero_broll", description="A mug", wishes="", count=count
    )
    await drafts.begin(tx, customer, order_id=order_id, choices=choices)
    await drafts.quote(tx, order_id, price_credits=price, card_message_id=7)


async def _place(tx: Transaction, order_id: UUID, *, price: int, open_limit: int | None) -> Placement:
    return await orders.place(
        tx,
        order_id,
        template_version=1,
        model="m",
        seconds=3,
        price_credits=price,
        deadline_seconds=3600,
        open_limit=open_limit,
    )


async def _make(tx: Transaction, job: Job, *, finished: bool) -> str:
    """Ask a provider for the video, unless that was done, and have it when it is to be finished."""
    await jobs.prove(tx, job)
    known = await generations.attempts(tx, job.subject_id)
    attempt_id = known[-1].id if known else uuid4()
    if not known:
        await generations.begin(tx, job.subject_id, deadline_seconds=3600)
        await generations.intend(
            tx, job.subject_id, attempt_id=attempt_id, provider="kie", model="m", lease_number=job.lease_number
        )
        await generations.record_task(tx, attempt_id, uuid4().hex)
    if finished:
        await generations.record_result(tx, attempt_id, "https://files.example/clip.mp4")
        await generations.record_video(tx, job.subject_id, VIDEO)
    return "made"


@pytest.mark.timeout(600 + EXAMPLES)  # only a failure takes that long: hypothesis makes it short
def test_p10_the_ledger_agrees_with_a_model(dsn: str) -> None:
    with closing(asyncio.new_event_loop()) as loop:
        tx = loop.run_until_complete(psycopg.AsyncConnection.connect(dsn, autocommit=True))
        try:
            # Whatever it is annotated with, any factory will do.
            run_state_machine_as_test(partial(Ledger, loop, tx), settings=SETTINGS)  # type: ignore[arg-type]
        finally:
            loop.run_until_complete(tx.close())
