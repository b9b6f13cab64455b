"""The reckoning: what sellers, Telegram and the provider saw against what the books say.

Whatever does not fit is a complaint in one sentence. Repeats are allowed only where the books say that an answer was
lost or a sender died, and tasks unknown to the books only where an attempt's answer was lost.
"""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from neurocards.audit import audit
from neurocards.db.books import Figures
from neurocards.db.connection import Database
from neurocards.storm import records
from neurocards.storm.crew import NO_DATABASE
from neurocards.storm.plan import LEASE_SECONDS, PROVIDERS, STOPPED_SECONDS, Json
from neurocards.storm.records import AttemptRecord, Records
from neurocards.storm.sellers import Confirmed, Memory, Phone, is_acknowledgement
from neurocards.storm.stage import WELCOME_CREDITS
from neurocards.storm.weather import Storm

CHATS_AT_ONCE = 20

LATE_TASK_SECONDS = LEASE_SECONDS + max(STOPPED_SECONDS) + 5.0
"""How long after its intent an attempt's request may still reach the provider."""

ALLOWED_OUTCRIES: Mapping[str, str] = {
    "given_up": "whoever worked on the video was killed three times in a row: it counts as poison and is refunded",
}
"""Events of level error or above that a storm may cause, and why."""

Video = tuple[str, int]
"""An order and which of its videos."""


@dataclass(frozen=True)
class Seen:
    """What the outside knows: chats by person, the tasks with their provider, and late answers to taps."""

    chats: Mapping[int, Sequence[Json]]
    tasks: Sequence[Json]
    answers: Mapping[str, Json]


@dataclass(frozen=True)
class Reckoning:
    """What the storm came to."""

    figures: Figures
    books: Records
    seen: Seen
    acknowledged: int
    repeated_messages: int
    orphans: int
    slowest_recovery_seconds: float | None
    complaints: list[str]


async def reckon(storm: Storm) -> Reckoning:
    """Look at everything; changes nothing."""
    stage = storm.stage
    # Connections of its own: among the stage's some may have been cut and not noticed it yet.
    async with Database(stage.server.dsn) as database:
        report = await audit(database, stage.store)
        async with database.transaction() as tx:
            books = await records.read(tx)
            recoveries = [await records.next_event_seconds(tx, at) for at, _ in storm.outages]
    seen = await _look(storm)
    videos, failures = _told(seen)
    orphans = unknown_tasks(books, seen.tasks)
    figures = report.figures
    left = {
        "videos are open": figures.open,
        "messages wait": figures.notices_waiting,
        "messages are undeliverable": figures.notices_undeliverable,
        "updates are dead": figures.updates_dead,
    }
    complaints = [
        *storm.complaints,
        *([] if books.orders else ["nobody could order: a storm without orders shows nothing"]),
        *(f"audit: {one.check}: {one.subject}: {one.detail}" for one in report.violations),
        *(f"{number} {what}" for what, number in left.items() if number),
        *_orders(storm.memory, books, seen),
        *_videos(books, videos),
        *_failures(books, failures),
        *_credits(books),
        *_tasks(books, seen.tasks, orphans),
        *_exits(storm),
        *await asyncio.to_thread(lambda: list(_outcries(stage.logs))),
    ]
    return Reckoning(
        figures=figures,
        books=books,
        seen=seen,
        acknowledged=sum(_acknowledged(one, seen) for one in storm.memory.confirmed.values()),
        repeated_messages=sum(len(ids) - 1 for ids in videos.values())
        + max(0, sum(failures.values()) - sum(one.kind == "failure" for one in books.tellings)),
        orphans=len(orphans),
        slowest_recovery_seconds=max((one for one in recoveries if one is not None), default=None),
        complaints=complaints,
    )


async def _look(storm: Storm) -> Seen:
    stage, slots = storm.stage, asyncio.Semaphore(CHATS_AT_ONCE)

    async def chat(person_id: int) -> list[Json]:
        async with slots:
            phone = Phone(stage.client, stage.telegram, person_id)
            await phone.look()
            return phone.messages

    async def answer(person_id: int, tap: str) -> Json:
        async with slots:
            return await Phone(stage.client, stage.telegram, person_id).tap_answer(tap)

    people = storm.memory.people
    chats = await asyncio.gather(*map(chat, people))
    taps = {tap: one.person_id for one in storm.memory.confirmed.values() if not one.acknowledged for tap in one.taps}
    answers = await asyncio.gather(*(answer(person_id, tap) for tap, person_id in taps.items()))
    tasks: list[Json] = []
    for provider in PROVIDERS:
        made = await stage.client.get(f"{stage.services[provider]}/sim/tasks")
        made.raise_for_status()
        tasks += [{**task, "provider": provider.value} for task in made.json()]
    return Seen(dict(zip(people, chats, strict=True)), tasks, dict(zip(taps, answers, strict=True)))


def _told(seen: Seen) -> tuple[dict[Video, list[int]], Counter[str]]:
    """The videos in the chats (message ids), and how many failures were told of each order.

    The buttons below them name the order, so nothing here comes from the books.
    """
    videos: defaultdict[Video, list[int]] = defaultdict(list)
    failures: Counter[str] = Counter()
    for messages in seen.chats.values():
        for message in messages:
            below = [_button(button) for row in message["buttons"] for button in row]
            media = message["media"]
            if media is not None and media["kind"] == "video":
                for does, order_id, value in below:
                    if does == "f":
                        videos[order_id, int(value)].append(message["message_id"])
            elif media is None and message["from_bot"]:
                about = {order_id for does, order_id, _ in below if does == "r"}
                failures.update(about)
    return dict(videos), failures


def _button(button: Json) -> tuple[str, str, str]:
    """What it does, about which order, and its value."""
    parts = str(button["callback_data"] or "").split(":")
    return (parts[1], parts[2], parts[3]) if len(parts) == 4 and parts[0] == "t" else ("", "", "")


def _orders(memory: Memory, books: Records, seen: Seen) -> Iterator[str]:
    """Every confirmed card is one order, and there are no others."""
    known = {one.id: one for one in books.orders}
    for confirmed in memory.confirmed.values():
        order = known.pop(_uuid(confirmed.order_id), None)
        if order is None and _acknowledged(confirmed, seen):
            yield f"lost: order {confirmed.order_id} of {confirmed.person_id} was acknowledged and is not in the books"
        elif order is None and not all(seen.answers[tap]["answered"] for tap in confirmed.taps):
            yield f"lost: a tap on Confirm of {confirmed.order_id} by {confirmed.person_id} was never answered"
        elif order is not None and order.person_id != confirmed.person_id:
            yield f"order {order.id} was confirmed by {confirmed.person_id} and belongs to {order.person_id}"
    yield from (f"order {one.id} of {one.person_id} was never confirmed" for one in known.values())


def _acknowledged(confirmed: Confirmed, seen: Seen) -> bool:
    """Whether the bot said that the order is placed: while the seller waited, or later."""
    late = [seen.answers[tap] for tap in confirmed.taps if tap in seen.answers]
    return confirmed.acknowledged or any(map(is_acknowledgement, late))


def _videos(books: Records, seen: Mapping[Video, Sequence[int]]) -> Iterator[str]:
    """Each finished video is in its chat, and more than once only where its sending was in doubt."""
    tellings = {(one.order_id, one.ordinal): one for one in books.tellings if one.kind == "video"}
    finished = {(one.order_id, one.ordinal) for one in books.videos if one.state == "completed"}
    found = {(_uuid(order_id), ordinal): ids for (order_id, ordinal), ids in seen.items()}
    for video in sorted(finished):
        ids, telling = found.get(video, ()), tellings.get(video)
        name = f"video {video[1]} of order {video[0]}"
        if not ids:
            yield f"missing: {name} was settled and is not in the chat"
        elif telling is None:
            yield f"{name} is in the chat and no message of the outbox says so"
        elif telling.message_id not in ids:
            yield f"missing: {name} was sent as message {telling.message_id}, which is not that video"
        elif len(ids) - 1 > telling.doubts:
            yield f"doubled: {name} is in the chat {len(ids)} times; its sending was in doubt {telling.doubts} times"
    for video in sorted(found.keys() - finished):
        yield f"video {video[1]} of order {video[0]} is in the chat and was not settled"


def _failures(books: Records, seen: Counter[str]) -> Iterator[str]:
    """Each refund was told, and more than once only where its sending was in doubt."""
    told = Counter({_uuid(order_id): number for order_id, number in seen.items()})
    failed = Counter(one.order_id for one in books.videos if one.state == "failed")
    # What was taken back together is told in one message.
    failed.update({one.order_id for one in books.videos if one.state == "cancelled"})
    doubts: Counter[str] = Counter()
    for telling in books.tellings:
        if telling.kind == "failure":
            doubts[telling.order_id] += telling.doubts
    for order_id in sorted(told.keys() | failed.keys()):
        if told[order_id] < failed[order_id]:
            yield f"missing: order {order_id} has {failed[order_id]} refunds, of which {told[order_id]} were told"
        elif told[order_id] > failed[order_id] + doubts[order_id]:
            yield (
                f"doubled: order {order_id} has {failed[order_id]} refunds, told {told[order_id]} times;"
                f" {doubts[order_id]} were in doubt"
            )


def _credits(books: Records) -> Iterator[str]:
    """Everybody has what was given less what was delivered, and was welcomed at most once."""
    for one in books.credits:
        if one.granted not in (0, WELCOME_CREDITS):
            yield f"credits: {one.person_id} was given {one.granted}"
        if one.available != one.granted - one.settled:
            yield f"credits: {one.person_id} has {one.available}, was given {one.granted}, got videos for {one.settled}"


def unknown_tasks(books: Records, tasks: Sequence[Json]) -> list[Json]:
    """The tasks that no attempt knows, first to last."""
    known = {(one.provider, one.task_id) for one in books.attempts}
    return sorted(
        (task for task in tasks if (task["provider"], task["id"]) not in known), key=lambda task: task["created"]
    )


def _tasks(books: Records, tasks: Sequence[Json], unknown: Sequence[Json]) -> Iterator[str]:
    """Each task belongs to an attempt: one that knows it, or one of its own whose answer was lost."""
    made = {(task["provider"], task["id"]) for task in tasks}
    for attempt in books.attempts:
        if attempt.task_id is not None and (attempt.provider, attempt.task_id) not in made:
            yield f"attempt {attempt.id} names task {attempt.task_id}, which {attempt.provider} never made"
    lost = sorted(
        (one for one in books.attempts if one.task_id is None and one.state in ("unknown", "abandoned")),
        key=lambda one: one.created,
    )
    for task in unknown:
        explanation = next((one for one in lost if _may_have_made(one, task)), None)
        if explanation is None:
            made_at = f"task {task['id']} was made at {task['provider']}"
            yield f"doubled: {made_at}, and no attempt whose answer was lost explains it"
        else:
            lost.remove(explanation)


def _may_have_made(attempt: AttemptRecord, task: Json) -> bool:
    """By the callback's address where there is one, else by the time."""
    if attempt.provider != task["provider"]:
        return False
    if task["callback_url"]:
        return attempt.id in str(task["callback_url"])
    return 0 <= float(task["created"]) - attempt.created <= LATE_TASK_SECONDS


def _exits(storm: Storm) -> Iterator[str]:
    """Nobody ends who was not told to, but for those who find no database at their start."""
    for one in storm.stage.crew.exits:
        found_no_database = one.status == 1 and any(
            one.hired_at <= ends_at and began_at <= one.ended_at for began_at, ends_at in storm.outages
        )
        if not one.asked and not found_no_database:
            yield f"{one.post} (process {one.pid}) ended by itself with status {one.status}"


def _outcries(logs: Path) -> Iterator[str]:
    """What the logs hold that should never be there: errors, tracebacks, and whatever is no event at all."""
    for log in sorted(logs.glob("*.log")):
        crew = log.name not in ("simulators.log", "nursery.log")
        for line in log.read_text("utf-8", "replace").splitlines():
            if crew and line.startswith(NO_DATABASE):
                continue
            try:
                event = json.loads(line)
            except ValueError:
                event = {"event": "", "level": "error"}
            loud = "exception" in event or event.get("level") in ("error", "critical")
            if loud and not (crew and event["event"] in ALLOWED_OUTCRIES):
                yield f"log: {log.name}: {line[:1000]}"


def _uuid(text: str) -> str:
    """Buttons write ids without dashes."""
    return str(UUID(text))
