"""The storm itself: sellers order, everything fails all the time; then it is calm, and whatever was begun must end."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from neurocards.db.connection import Away
from neurocards.storm import records
from neurocards.storm.crew import Post
from neurocards.storm.plan import ORDERS_OF_ONE, STOPPED_SECONDS, Blow, Plan, blows
from neurocards.storm.sellers import Memory, Phone, Seller
from neurocards.storm.stage import BOT_TOKEN, Stage, StageError, open_stage
from neurocards.storm.trouble import Trouble

RIPE_SECONDS = {"bot": 5.0, "worker": 1.5}
"""Who is struck sooner would never get to work at all: a bot that begins takes up what the one before it left."""

MISS_SECONDS = 3.0
AIM_SECONDS = 0.1

ARRIVAL_SECONDS = 10.0
OPENING_SECONDS = 60.0
"""How long the first order is waited for."""

LAST_WORDS_SECONDS = 30.0
STANDSTILL_SECONDS = 60.0
"""Longer than any pause that trouble leaves behind: when nothing has moved for so long, nothing will."""

SETTLING_SECONDS = 300.0
SETTLING_SHARE = 10.0
"""What settling may take in all: so many seconds, and so many more for each second of storm."""

PATIENCE_SECONDS = 120.0
"""How long the storm itself waits for the database that it crashes: on a busy machine one crash meets the next."""

LATE_SECONDS = 1.0
PROGRESS_SECONDS = 0.5


@dataclass(frozen=True)
class Progress:
    """How far the storm is. `left` is what still waits after it; None while it rages."""

    seconds_left: float
    orders: int
    kills: int
    left: dict[str, int] | None = None


@dataclass
class Storm:
    """What was done to the shop, and what its customers know.

    `outages` of the database are from when to when, in Unix time.
    """

    plan: Plan
    stage: Stage
    trouble: Trouble
    memory: Memory = field(default_factory=Memory)
    struck: Counter[Blow] = field(default_factory=Counter)
    outages: list[tuple[float, float]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    settling_seconds: float = 0.0


@asynccontextmanager
async def storm_over(plan: Plan, home: Path, on_progress: Callable[[Progress], None]) -> AsyncIterator[Storm]:
    """Have the storm below `home`, which is empty; the block sees the shop as it is when everything has ended.

    Raises StageError, CrewError or EmbeddedPostgresError when it could not take place.
    """
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(open_stage(home, plan))
        storm = Storm(plan, stage, Trouble(stage, plan))
        await _rage(storm, on_progress)
        await _calm(storm)
        await _settle(storm, on_progress)
        yield storm


async def _rage(storm: Storm, on_progress: Callable[[Progress], None]) -> None:
    """Everything at once, for as long as planned; what has begun may end."""
    plan, loop = storm.plan, asyncio.get_running_loop()
    ends_at = float("inf")

    def is_over() -> bool:
        return loop.time() >= ends_at

    selling = [asyncio.create_task(_sell(storm, number, is_over)) for number in range(plan.sellers)]
    # A shop where nobody has ordered yet has nothing to lose.
    opened_at = loop.time()
    while not storm.memory.acknowledged and loop.time() < opened_at + OPENING_SECONDS:
        await asyncio.wait(selling, timeout=PROGRESS_SECONDS)
    ends_at = loop.time() + plan.seconds
    mischief = [
        asyncio.create_task(work)
        for work in (
            storm.trouble.rage(),
            storm.trouble.go_away(),
            storm.trouble.redeliver(),
            storm.trouble.call_back(),
        )
    ]
    striking = asyncio.create_task(_strike(storm))
    try:
        while not is_over():
            on_progress(Progress(ends_at - loop.time(), storm.memory.acknowledged, storm.struck[Blow.KILL]))
            await asyncio.wait([striking, *mischief, *selling], timeout=PROGRESS_SECONDS)
            for task in (striking, *mischief, *selling):
                if task.done():
                    task.result()
        async with asyncio.timeout(LAST_WORDS_SECONDS):
            await asyncio.gather(striking, *selling)
    except TimeoutError:
        storm.complaints.append(f"not everybody was done {LAST_WORDS_SECONDS:.0f} s after the storm")
    finally:
        left = [striking, *mischief, *selling]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _sell(storm: Storm, number: int, is_over: Callable[[], bool]) -> None:
    """One seller after the other, for as long as the storm lasts."""
    draw = storm.plan.draw(f"seller {number}")
    await asyncio.sleep(draw.uniform(0, min(ARRIVAL_SECONDS, storm.plan.seconds / 3)))
    while not is_over():
        phone = await Phone.buy(storm.stage.client, storm.stage.telegram, f"Seller {number}")
        storm.memory.people.append(phone.person_id)
        seller = Seller(phone, draw, storm.memory, storm.stage.photo)
        await seller.trade(ORDERS_OF_ONE, is_over)


async def _strike(storm: Storm) -> None:
    """Let the blows fall at their times; those that take longer go on beside the next ones."""
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    draw = storm.plan.draw("targets")
    database = asyncio.Lock()
    try:
        async with asyncio.TaskGroup() as group:
            for timed in blows(storm.plan):
                await asyncio.sleep(max(0.0, began_at + timed.at - loop.time()))
                # Drawn whether or not they are needed: the next blow is the same one in every run of a seed.
                which, stopped_seconds = draw.random(), draw.uniform(*STOPPED_SECONDS)
                if timed.blow is Blow.DATABASE:
                    group.create_task(_crash_database(storm, database))
                else:
                    group.create_task(_hit(storm, timed.blow, which, stopped_seconds))
    except ExceptionGroup as several:
        # One of them says enough.
        raise several.exceptions[0] from several


async def _target(storm: Storm, blow: Blow, which: float) -> Post | None:
    """Somebody who has been at work long enough; if nobody has, whoever of the workers has been there longest.

    None when everybody is to be spared.
    """
    spared = records.Spared(bot=False, workers=frozenset())
    with suppress(*Away):
        async with storm.stage.database.transaction() as tx:
            spared = await records.spared(tx)
    standing = [
        post
        for post in storm.stage.crew.standing()
        if not (spared.bot if post.role == "bot" else post.pid in spared.workers)
    ]
    now = time.monotonic()
    ripe = [post for post in standing if now - post.hired_at >= RIPE_SECONDS[post.role]]
    if blow is Blow.TERM:
        # Who is asked to end before it has begun to listen does not end well, in a shop as here.
        ripe = [post for post in ripe if storm.stage.crew.listens(post)]
    if ripe:
        return ripe[int(which * len(ripe))]
    if blow is Blow.TERM:
        return None
    workers = [post for post in standing if post.role == "worker"]
    return min(workers, key=lambda post: post.hired_at, default=None)


async def _hit(storm: Storm, blow: Blow, which: float, stopped_seconds: float) -> None:
    """Strike as soon as there is somebody to strike; a blow that finds nobody for too long is missed."""
    crew, loop = storm.stage.crew, asyncio.get_running_loop()
    misses_at = loop.time() + MISS_SECONDS
    while (post := await _target(storm, blow, which)) is None:
        if loop.time() > misses_at:
            return
        await asyncio.sleep(AIM_SECONDS)
    storm.struck[blow] += 1
    match blow:
        case Blow.KILL:
            await crew.kill(post)
            if post.role == "bot":
                # The only one who handles updates is dead: nobody has to wait until that is sure.
                died_at = time.time()
                await storm.stage.database.run(
                    lambda tx: records.free_updates(tx, before=died_at), patience_seconds=PATIENCE_SECONDS
                )
        case Blow.STOP:
            await crew.stop(post, stopped_seconds)
        case Blow.TERM:
            try:
                status, seconds = await crew.term(post)
            except TimeoutError:
                storm.complaints.append(f"{post.name}, asked to end, did not")
            else:
                if status != 0:
                    storm.complaints.append(
                        f"{post.name}, asked to end, ended with status {status} after {seconds:.1f} s"
                    )


async def _crash_database(storm: Storm, alone: asyncio.Lock) -> None:
    async with alone:
        storm.struck[Blow.DATABASE] += 1
        began_at = time.time()
        try:
            await storm.stage.crash_database()
        except TimeoutError as error:
            raise StageError("PostgreSQL did not recover") from error
        storm.outages.append((began_at, time.time()))


async def _calm(storm: Storm) -> None:
    """No more trouble, and everybody at work."""
    await storm.trouble.calm()
    await storm.stage.crew.complete()
    await asyncio.sleep(LATE_SECONDS)  # the last late update is on its way


async def _settle(storm: Storm, on_progress: Callable[[Progress], None]) -> None:
    """Wait until nothing waits any more, at Telegram or here."""
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    moved_at, before = began_at, dict[str, int]()
    ends_at = began_at + SETTLING_SECONDS + SETTLING_SHARE * storm.plan.seconds
    while left := await _unfinished(storm):
        now = loop.time()
        if left != before:
            moved_at, before = now, left
        gives_up_at = min(ends_at, moved_at + STANDSTILL_SECONDS)
        on_progress(Progress(gives_up_at - now, storm.memory.acknowledged, storm.struck[Blow.KILL], left))
        if now > gives_up_at:
            details = await storm.stage.database.run(records.unfinished_in_detail, patience_seconds=PATIENCE_SECONDS)
            storm.complaints += [f"never finished: {what}" for what in details] or [f"never finished: {left}"]
            break
        await asyncio.sleep(PROGRESS_SECONDS)
    storm.settling_seconds = loop.time() - began_at


async def _unfinished(storm: Storm) -> dict[str, int]:
    answer = await storm.stage.client.get(f"{storm.stage.telegram}/bot{BOT_TOKEN}/getWebhookInfo")
    pending = answer.json()["result"]["pending_update_count"]
    left = await storm.stage.database.run(records.unfinished, patience_seconds=PATIENCE_SECONDS)
    return {**left, **({"updates at Telegram": pending} if pending else {})}
