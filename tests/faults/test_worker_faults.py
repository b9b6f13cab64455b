"""F15-F33, F67: workers die, sleep, wake up late, multiply and crash; a video is made and paid once, or paid back."""

import asyncio
import os
import signal
import time
from pathlib import Path
from uuid import UUID

import pytest
import structlog

from bot.chat import Shop, words
from faults.points import Call, When, Workshop, kill, until_blocked
from faults.staff import at_work
from flow.rig import DOUBT_SECONDS, LEASE_SECONDS, Rig
from neurocards import app
from neurocards.db import books, generations, jobs
from neurocards.db.connection import Database, Transaction
from neurocards.db.jobs import Job, LostLease
from neurocards.domain.generations import AttemptState, Generation, GenerationState
from neurocards.maintenance import turn
from neurocards.processes import LeashedProcess
from neurocards.worker import Draining, Worker
from services import Simulators
from shop import advance, claim, make_video, new_customer, new_draft, new_order, place, violations


async def paid(rig: Rig) -> tuple[int, int, int]:
    """Credits available, held and spent, of all together."""
    async with rig.database.transaction() as tx:
        figures = await books.figures(tx)
    return figures.available_credits, figures.held_credits, figures.spent_credits


async def only_order(database: Database) -> UUID:
    async with database.transaction() as tx:
        ((order_id,),) = await (await tx.execute("select id from orders")).fetchall()
    return UUID(str(order_id))


async def completed(rig: Rig, order_id: UUID, *, tasks: int = 1, pace_seconds: float = 1.0) -> Generation:
    """Finish the order: one video, settled once, for so many tasks at the provider."""
    (generation,) = await rig.finish(order_id, pace_seconds=pace_seconds)
    assert generation.state is GenerationState.COMPLETED
    assert generation.video_key is not None
    assert await rig.store.size(generation.video_key) == generation.size_bytes
    assert len(await rig.tasks()) == tasks
    assert await paid(rig) == (9, 0, 1)
    assert await rig.violations() == []
    return generation


# Killed ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "when"), [(None, None), ("upload", "after")])
async def test_f15_a_worker_killed_before_the_intent_costs_nothing(
    workshop: Workshop, photo: bytes, call: Call | None, when: When | None
) -> None:
    rig = workshop.rig
    order_id = await rig.order(photo=photo)
    if call is None or when is None:
        (job,) = await claim(rig.database)
    else:
        job = await workshop.die(call, when)
    assert await rig.attempts(order_id) == []
    assert await claim(rig.database) == [], "its lease still runs"
    await rig.expire_leases()
    (again,) = await claim(rig.database)
    assert (again.id, again.lease_number, again.attempt) == (job.id, job.lease_number + 1, 1)
    await rig.expire_leases()
    await completed(rig, order_id)


async def test_f16_a_worker_killed_before_the_first_byte_is_doubted_and_one_task_is_paid(
    workshop: Workshop, photo: bytes
) -> None:
    rig = workshop.rig
    order_id = await rig.order(photo=photo)
    await workshop.die("submit", "before")
    (attempt,) = await rig.attempts(order_id)
    assert attempt.state is AttemptState.INTENT
    await rig.expire_leases()
    await rig.work()
    (attempt,) = await rig.attempts(order_id)
    assert attempt.state is AttemptState.UNKNOWN
    await advance(rig.database, DOUBT_SECONDS - LEASE_SECONDS - 5)
    assert await rig.work() == 0
    assert await rig.tasks() == [], "nobody may know that nothing was sent"
    await completed(rig, order_id)
    assert [one.state for one in await rig.attempts(order_id)] == [AttemptState.ABANDONED, AttemptState.SUCCEEDED]


async def test_f17_a_callback_finds_the_task_whose_worker_was_killed_waiting_for_the_answer(
    workshop: Workshop, photo: bytes
) -> None:
    rig = workshop.rig
    order_id = await rig.order(photo=photo)
    await workshop.die("submit", "after")
    await rig.expire_leases()
    await rig.work()
    (attempt,) = await rig.attempts(order_id)
    assert (attempt.state, attempt.task_id) == (AttemptState.UNKNOWN, None)
    (task,) = await rig.tasks()
    await workshop.call_back(attempt, task["id"])
    await completed(rig, order_id)
    (attempt,) = await rig.attempts(order_id)
    assert (attempt.state, attempt.task_id) == (AttemptState.SUCCEEDED, task["id"])
    assert len(await rig.requests("createTask")) == 1


async def test_f18_a_worker_killed_with_the_answer_in_its_hand_pays_once(workshop: Workshop, photo: bytes) -> None:
    """The answer is here; the transaction that would record it never gets through."""
    rig = workshop.rig
    order_id = await rig.order(photo=photo)
    gate, working, _ = await workshop.hold("submit", "after")
    async with rig.database.transaction() as tx:
        await tx.execute("select from generations for update")
        gate.opened.set()
        await until_blocked(rig)
        await kill(working)
    (attempt,) = await rig.attempts(order_id)
    assert attempt.state is AttemptState.INTENT
    (task,) = await rig.tasks()
    await workshop.call_back(attempt, task["id"])
    await rig.expire_leases()
    await completed(rig, order_id)
    assert len(await rig.requests("createTask")) == 1


@pytest.mark.parametrize(("call", "when"), [("task", "after"), ("download", "after")])
async def test_f19_a_worker_killed_while_asking_or_loading_is_followed_by_another(
    workshop: Workshop, photo: bytes, tmp_path: Path, call: Call, when: When
) -> None:
    rig = workshop.rig
    await workshop.due_task(photo)
    await advance(rig.database, 2)
    await workshop.die(call, when)
    await rig.expire_leases()
    generation = await completed(rig, await only_order(rig.database))
    assert {str(path.relative_to(tmp_path / "store")) for path in (tmp_path / "store" / "videos").rglob("*.*")} == {
        generation.video_key,
        generation.cover_key,
        generation.thumbnail_key,
    }, "a part of a video is never stored"


def test_f19_what_a_killed_worker_left_behind_is_swept(tmp_path: Path) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    for name in ("old.part", "old.mp4", "new.part"):
        (folder / name).write_bytes(b"half a video")
        if name.startswith("old"):
            os.utime(folder / name, (time.time() - 7200, time.time() - 7200))
    assert app._workspace(tmp_path) == folder
    assert [path.name for path in folder.iterdir()] == ["new.part"], "another worker may still be loading it"


async def test_f20_a_worker_killed_after_storing_the_video_leaves_one_that_counts(
    workshop: Workshop, photo: bytes, tmp_path: Path
) -> None:
    rig = workshop.rig
    await workshop.due_task(photo)
    await advance(rig.database, 2)
    gate, working, _ = await workshop.hold("download", "after")
    async with rig.database.transaction() as tx:
        await tx.execute("select from jobs for update")
        gate.opened.set()
        await until_blocked(rig)
        stored = list((tmp_path / "store" / "videos").rglob("*.mp4"))
        await kill(working)
    assert len(stored) == 1
    await rig.expire_leases()
    generation = await completed(rig, await only_order(rig.database))
    assert generation.video_key is not None
    assert (tmp_path / "store" / generation.video_key).read_bytes() == stored[0].read_bytes()
    assert (await rig.stages(await only_order(rig.database))).count("video") == 1


async def test_f21_a_worker_killed_inside_the_final_transaction_has_decided_nothing(
    workshop: Workshop, photo: bytes
) -> None:
    rig = workshop.rig
    await workshop.due_task(photo)
    await advance(rig.database, 2)
    (job,) = await claim(rig.database, worker="killed", lease_seconds=LEASE_SECONDS)
    async with rig.database.transaction() as tx:
        # It settles, and waits in the middle of that for the customer's books.
        await tx.execute("select from customers for no key update")
        working = asyncio.create_task(rig.production(job, lambda: False))
        await until_blocked(rig)
        settling = await tx.execute(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
            " and query like '%settle_generation%'"
        )
        assert await settling.fetchone() == (1,)
        await kill(working)
    (generation,) = await rig.generations(await only_order(rig.database))
    assert (generation.state, generation.video_key is not None) == (GenerationState.PROCESSING, True)
    assert await paid(rig) == (9, 1, 0)
    await rig.expire_leases()
    await completed(rig, generation.order_id)


# Stopped and woken ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "when"),
    [("upload", "after"), ("task", "after"), ("download", "after")],
)
async def test_f22_a_worker_that_slept_longer_than_its_lease_decides_nothing(
    workshop: Workshop, photo: bytes, call: Call, when: When
) -> None:
    rig = workshop.rig
    order_id = await rig.order(photo=photo)
    if call in ("task", "download"):
        await rig.work()
        await rig.made()
        await advance(rig.database, 2)
    gate, working, _ = await workshop.hold(call, when)
    await rig.expire_leases()
    generation = await completed(rig, order_id)
    told = await rig.stages(order_id)
    gate.opened.set()
    with pytest.raises(LostLease):
        await working
    assert await rig.generations(order_id) == [generation]
    assert await rig.stages(order_id) == told
    assert await paid(rig) == (9, 0, 1)
    assert await rig.violations() == []


@pytest.mark.parametrize("woken", ["while it is doubted", "after the end"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_f23_what_a_sleeper_submitted_is_a_fact_and_nothing_more(
    workshop: Workshop, photo: bytes, when: When, woken: str
) -> None:
    """It slept around its submit: the task is adopted while it can be used, and else kept for its cost."""
    rig = workshop.rig
    order_id = await rig.order(photo=photo)
    gate, working, _ = await workshop.hold("submit", when)
    await rig.expire_leases()
    await rig.work()
    (attempt,) = await rig.attempts(order_id)
    assert attempt.state is AttemptState.UNKNOWN
    if woken == "after the end":
        await advance(rig.database, DOUBT_SECONDS)
        await completed(rig, order_id, tasks=2 if when == "after" else 1)
    gate.opened.set()
    with pytest.raises(LostLease):
        await working
    if woken == "while it is doubted":
        await advance(rig.database, DOUBT_SECONDS)
        await completed(rig, order_id)
        assert [one.state for one in await rig.attempts(order_id)] == [AttemptState.SUCCEEDED]
    else:
        orphan, used = await rig.attempts(order_id)
        assert (orphan.state, used.state) == (AttemptState.ORPHANED, AttemptState.SUCCEEDED)
        assert orphan.task_id is not None, "its cost is on record"
        assert len(await rig.tasks()) == 2
        assert await paid(rig) == (9, 0, 1)
        assert await rig.violations() == []


# Clocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-1, 1])
async def test_f24_a_worker_whose_clock_is_wrong_works_as_any_other(
    workshop: Workshop, photo: bytes, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    rig = workshop.rig
    order_id = await rig.order(photo=photo)
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + hours * 3600)
    (job,) = await claim(rig.database)
    async with rig.database.transaction() as tx:
        await jobs.extend(tx, [job], lease_seconds=LEASE_SECONDS)
        left = await tx.execute("select extract(epoch from lease_expires_at - clock_now()) from jobs")
        assert await left.fetchone() == (pytest.approx(LEASE_SECONDS, abs=1),)
    assert (await turn(rig.database)).rescued == 0
    await rig.expire_leases()
    await completed(rig, order_id)


async def test_f25_a_clock_of_the_database_that_jumps_moves_leases_and_nothing_else(database: Database) -> None:
    await new_order(database)
    (early,) = await claim(database)
    await make_video(database, early)
    await advance(database, 3000)
    assert (await turn(database)).rescued == 1, "forward: the lease ends early"
    (late,) = await claim(database)
    await advance(database, -3000)
    assert (await turn(database)).rescued == 0, "back: the next one lasts longer"
    assert await claim(database) == []
    async with database.transaction() as tx:
        assert not await generations.settle(tx, early.subject_id, early.lease_number)
    async with database.transaction() as tx:
        assert await generations.settle(tx, late.subject_id, late.lease_number)
    assert await violations(database) == []


# Several ----------------------------------------------------------------------------------------------------------


async def test_f26_of_two_who_claim_at_once_one_gets_the_job_and_nobody_waits(database: Database) -> None:
    async def take(tx: Transaction, worker: str) -> list[Job]:
        return await jobs.claim(tx, worker=worker, kinds=["generation"], limit=1, lease_seconds=LEASE_SECONDS, held=[])

    await new_order(database)
    async with database.transaction() as first, database.transaction() as second:
        await second.execute("set local lock_timeout = '1ms'")
        (job,) = await take(first, "one")
        assert await take(second, "two") == []
    await new_order(database)
    await new_order(database)
    async with database.transaction() as first, database.transaction() as second:
        await second.execute("set local lock_timeout = '1ms'")
        mine, yours = await take(first, "one"), await take(second, "two")
    assert len({job.id, mine[0].id, yours[0].id}) == 3


async def test_f27_a_rescue_that_has_seen_an_old_lease_takes_nothing(database: Database) -> None:
    await new_order(database)
    (job,) = await claim(database)
    await advance(database, LEASE_SECONDS + 1)
    async with database.transaction() as worker:
        assert await jobs.extend(worker, [job], lease_seconds=LEASE_SECONDS) == {job.id}
        async with database.transaction() as rescuer:
            assert await jobs.rescue(rescuer) == [], "it sees the old lease, and passes by"
    assert await database.run(jobs.rescue) == []
    await database.run(lambda tx: jobs.prove(tx, job))


async def test_f27_a_refund_decided_on_an_old_look_ends_nothing_twice(database: Database) -> None:
    """Maintenance has seen that it is overdue; before it acts the worker has settled."""
    await new_order(database)
    (job,) = await claim(database)
    await make_video(database, job)
    await advance(database, 3601)
    assert await database.run(generations.overdue) == [job.subject_id]
    async with database.transaction() as tx:
        assert await generations.settle(tx, job.subject_id, job.lease_number)
    async with database.transaction() as tx:
        assert not await generations.refund(tx, job.subject_id, lease_number=None, reason="deadline")
    assert (await turn(database)).overdue == 0
    assert await violations(database) == []


async def test_f28_a_worker_started_again_under_its_name_inherits_nothing(database: Database) -> None:
    await new_order(database)
    (old,) = await claim(database, worker="host:1")
    await make_video(database, old)
    assert await claim(database, worker="host:1") == [], "a name is no lease"
    await advance(database, LEASE_SECONDS + 1)
    await turn(database)
    (new,) = await claim(database, worker="host:1")
    assert (new.id, new.lease_number) == (old.id, old.lease_number + 1)
    async with database.transaction() as tx:
        assert not await generations.settle(tx, old.subject_id, old.lease_number)
        assert await jobs.extend(tx, [old], lease_seconds=LEASE_SECONDS) == set()
    async with database.transaction() as tx:
        assert await generations.settle(tx, new.subject_id, new.lease_number)
    assert await violations(database) == []


async def test_f29_poison_is_given_up_with_an_alarm_and_harms_nobody_else(workshop: Workshop, photo: bytes) -> None:
    rig = workshop.rig
    poisoned = await rig.order(photo=photo)
    for _ in range(2):
        await workshop.die("upload", "before")
        await rig.expire_leases()
    await workshop.die("upload", "before")
    healthy = await rig.order(photo=photo)
    with structlog.testing.capture_logs() as logs:
        await rig.expire_leases()
        (generation,) = await rig.generations(poisoned)
        (other,) = await rig.finish(healthy)
    assert (generation.state, generation.failure) == (GenerationState.FAILED, "internal")
    (alarm,) = [one for one in logs if one["event"] == "given_up"]
    assert (alarm["log_level"], alarm["generation_id"]) == ("error", str(generation.id))
    assert (await rig.stages(poisoned))[-2:] == ["failure", "finished"]
    assert await rig.store.size("photos/1"), "what it choked on is kept"
    assert other.state is GenerationState.COMPLETED
    assert await paid(rig) == (19, 0, 1)
    assert await rig.violations() == []


# Recovery ---------------------------------------------------------------------------------------------------------


class Counting:
    """A handler that counts how many jobs it has in hand, and in which order they came; then they are far away."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = 0
        self.most = 0
        self.order: list[int] = []

    async def __call__(self, job: Job, draining: Draining) -> None:
        self.order.append(job.id)
        self.now += 1
        self.most = max(self.most, self.now)
        await self.database.run(lambda tx: jobs.snooze(tx, job, seconds=9999))
        self.now -= 1


async def test_f32_what_is_due_after_an_outage_is_taken_up_within_the_slots_and_oldest_first(
    database: Database,
) -> None:
    for _ in range(50):
        draft_id = await new_draft(database, await new_customer(database, free=10), videos=10)
        await place(database, draft_id)
    async with database.transaction() as tx:
        # All were begun once, and became due one after the other while nobody worked.
        await tx.execute(
            "update jobs set lease_number = 1, run_at = clock_now() - make_interval(secs => 1000 - (id * 7) % 500)"
        )
        ages = dict(
            await (await tx.execute("select id, extract(epoch from clock_now() - run_at)::int from jobs")).fetchall()
        )
        owners = dict(await (await tx.execute("select id, customer_id from jobs")).fetchall())
    handler = Counting(database)
    worker = Worker(database, {"generation": handler}, name="w", slots=20, lease_seconds=LEASE_SECONDS)
    claims: list[list[int]] = []
    while await worker.turn():
        assert len(handler.order) <= 500
        await worker.idle()
        claims.append(handler.order[sum(map(len, claims)) :])
    assert len(set(handler.order)) == len(handler.order) == 500
    assert handler.most == 20
    of_one: dict[int, list[int]] = {}
    for at_once in claims:
        # A claim returns its jobs in any order, and in the end several of one customer.
        for job_id in sorted(at_once, key=ages.__getitem__, reverse=True):
            of_one.setdefault(owners[job_id], []).append(ages[job_id])
    assert len(of_one) == 50
    assert all(taken == sorted(taken, reverse=True) for taken in of_one.values()), "oldest first"
    oldest_of_each = {owner: max(age for id, age in ages.items() if owners[id] == owner) for owner in of_one}
    first_claim = {owners[job_id]: ages[job_id] for job_id in handler.order[:20]}
    assert sorted(first_claim.values()) == sorted(oldest_of_each.values())[-20:]


async def test_f33_a_step_that_crashes_is_tried_four_times_and_paid_back(workshop: Workshop, photo: bytes) -> None:
    rig = workshop.rig
    for _ in range(4):
        workshop.gates.close("upload", "before", crash=ZeroDivisionError("a fault of ours"))
    order_id = await rig.order(photo=photo)
    spent = []
    with structlog.testing.capture_logs() as logs:
        for wait_seconds in (0, 3, 10, 40):
            await advance(rig.database, wait_seconds)
            assert await rig.work() == 1
            spent.append((await rig.job())["attempt"])
            assert await rig.work() == 0, "it is not tried again at once"
    assert spent == [2, 3, 4, 4]
    assert [one["event"] for one in logs].count("step_crashed") == 4
    (generation,) = await rig.generations(order_id)
    assert (generation.state, generation.failure) == (GenerationState.FAILED, "internal")
    assert await paid(rig) == (10, 0, 0)
    assert (await rig.stages(order_id))[-2:] == ["failure", "finished"]
    assert await rig.violations() == []
    (other,) = await rig.finish(await rig.order(photo=photo))
    assert other.state is GenerationState.COMPLETED, "the process lives"


async def test_f33_a_handler_that_crashes_outside_any_step_becomes_poison(database: Database) -> None:
    async def crash(job: Job, draining: Draining) -> None:
        raise ZeroDivisionError("a fault of ours")

    await new_order(database)
    worker = Worker(database, {"generation": crash}, name="w", slots=5, lease_seconds=LEASE_SECONDS)
    for crashes in (1, 2, 3):
        assert await worker.turn() == 1
        await worker.idle()
        await advance(database, LEASE_SECONDS + 1)
        done = await turn(database)
        assert (done.rescued, done.poisonous) == (1, int(crashes == 3))
    async with database.transaction() as tx:
        figures = await books.figures(tx)
    assert (figures.available_credits, figures.held_credits) == (10, 0)
    assert await violations(database) == []


async def test_f67_one_lost_answer_is_one_resubmission_that_is_explained_and_charged_once(
    workshop: Workshop, photo: bytes
) -> None:
    rig = workshop.rig
    await rig.fault(route="createTask", kind="drop_answer", times=1)
    order_id = await rig.order(photo=photo)
    await completed(rig, order_id, tasks=2, pace_seconds=5)
    abandoned, used = await rig.attempts(order_id)
    assert (abandoned.state, used.state) == (AttemptState.ABANDONED, AttemptState.SUCCEEDED)
    assert abandoned.failure, "why it was given up is on record"


# Real processes ---------------------------------------------------------------------------------------------------


async def test_f22_f30_f43_a_process_is_stopped_woken_and_asked_to_end(
    rig: Rig, photo: bytes, dsn: str, simulators: Simulators, tmp_path: Path
) -> None:
    """SIGSTOP in the middle of a download, another worker's end, SIGCONT; then SIGTERM in the middle of an upload."""
    order_id = await rig.order(photo=photo)
    await rig.work()
    await rig.made()
    await advance(rig.database, 2)
    await rig.fault(route="result", kind="delay", delay_seconds=1.0, times=1)
    async with at_work("worker", tmp_path, simulators, dsn=dsn, log=Path("/dev/full")) as process:
        await asked(rig, "result", process)
        process.send_signal(signal.SIGSTOP)
        await rig.expire_leases()
        generation = await completed(rig, order_id)
        told = await rig.stages(order_id)

        next_id = await rig.order(photo=photo)
        await rig.fault(route="upload", kind="delay", delay_seconds=1.0, times=1)
        process.send_signal(signal.SIGCONT)
        await asked(rig, "upload", process)
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.1)
        last_id = await rig.order(photo=photo)
        assert await asyncio.to_thread(process.wait, 15) == 0
    assert await rig.generations(order_id) == [generation], "what it decided on its old lease changed nothing"
    assert await rig.stages(order_id) == told
    async with rig.database.transaction() as tx:
        cursor = await tx.execute("select state, attempt, rescues, lease_number from jobs order by id offset 1")
        assert await cursor.fetchall() == [("available", 1, 0, 1), ("available", 1, 0, 0)], "nothing new, nothing spent"
    assert [one.frame_url is not None for one in await rig.generations(next_id)] == [True], "the step was finished"
    for left_id in (next_id, last_id):
        (left,) = await rig.finish(left_id)
        assert left.state is GenerationState.COMPLETED
    assert len(await rig.tasks()) == 3
    assert await rig.violations() == []


async def test_f31_without_any_worker_the_bot_pays_back_at_the_deadline_and_tells_everybody(
    shop: Shop, dsn: str, simulators: Simulators, tmp_path: Path
) -> None:
    sellers = [await shop.shopper(), await shop.shopper()]
    for seller in sellers:
        await seller.tap("Confirm")
        assert (await seller.balance()).held == 1
    async with at_work("bot", tmp_path, simulators, dsn=dsn, log=tmp_path / "bot.log", token=shop.token) as process:
        await advance(shop.database, 3500)
        await asyncio.sleep(0.2)
        assert [(await seller.balance()).held for seller in sellers] == [1, 1]
        await advance(shop.database, 101)
        async with asyncio.timeout(20):
            for seller in sellers:
                while "Returned to your balance: 1 credit." not in words(await seller.messages()):
                    assert process.poll() is None
                    await asyncio.sleep(0.1)
    for seller in sellers:
        after = await seller.balance()
        assert (after.available_free, after.held, after.spent) == (1, 0, 0)
    assert await violations(shop.database) == []


async def asked(rig: Rig, route: str, process: LeashedProcess) -> None:
    """Wait until the process has asked the provider for something on this route."""
    before = len(await rig.requests(route))
    async with asyncio.timeout(30):
        while len(await rig.requests(route)) == before:
            assert process.poll() is None, "it has ended"
            await asyncio.sleep(0.05)
