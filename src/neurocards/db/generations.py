"""Generations and their attempts: recovery points are filled here, one step at a time.

Decisions are made under a proved lease. Facts about the outside world (a task id) are recorded even by a worker that
lost its lease: somebody has paid for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.errors import UniqueViolation
from psycopg.rows import kwargs_row

from neurocards.db.connection import Transaction
from neurocards.db.provider_keys import MOST_UNITS
from neurocards.domain.decisions import after_acceptance, is_poison
from neurocards.domain.failures import FailureKind, Reason
from neurocards.domain.generations import Attempt, AttemptState, Generation, GenerationState


@dataclass(frozen=True)
class Video:
    """A finished video in the store: keys, size in pixels and bytes, length in seconds."""

    video_key: str
    cover_key: str
    thumbnail_key: str
    width: int
    height: int
    seconds: float
    size_bytes: int


class TaskTaken(Exception):
    """The provider named a task that belongs to another attempt."""


def _generation(**columns: Any) -> Generation:  # Any: a row, typed by the columns selected below
    return Generation(**{**columns, "state": GenerationState(columns["state"])})


def _attempt(**columns: Any) -> Attempt:  # Any: a row, typed by the columns selected below
    return Attempt(**{**columns, "state": AttemptState(columns["state"])})


_GENERATION = (
    "id, order_id, customer_id, ordinal, price_credits, state, prompt, prompt_source, frame_url, frame_provider,"
    " last_frame_url, video_key, cover_key, thumbnail_key, width, height, seconds, size_bytes, file_id, failure,"
    " delayed_at, deadline_at, created_at, finished_at"
)
_ATTEMPT = (
    "id, generation_id, number, provider, model, key, reason, cost_usd::double precision, lease_number, state, task_id,"
    " task_url, result_url, failure, failure_kind, ask_at, hinted_task_id, created_at, accepted_at, ended_at"
)


async def get(tx: Transaction, generation_id: UUID) -> Generation:
    """The generation; raises LookupError."""
    cursor = tx.cursor(row_factory=kwargs_row(_generation))
    await cursor.execute(f"select {_GENERATION} from generations where id = %s".encode(), [generation_id])
    generation = await cursor.fetchone()
    if generation is None:
        raise LookupError(f"no generation {generation_id}")
    return generation


async def of_order(tx: Transaction, order_id: UUID) -> Sequence[Generation]:
    """The order's generations in their order."""
    cursor = tx.cursor(row_factory=kwargs_row(_generation))
    await cursor.execute(
        f"select {_GENERATION} from generations where order_id = %s order by ordinal".encode(), [order_id]
    )
    return await cursor.fetchall()


async def attempts(tx: Transaction, generation_id: UUID) -> Sequence[Attempt]:
    """Every attempt at the generation, first to last."""
    cursor = tx.cursor(row_factory=kwargs_row(_attempt))
    await cursor.execute(
        f"select {_ATTEMPT} from attempts where generation_id = %s order by number".encode(), [generation_id]
    )
    return await cursor.fetchall()


async def find_attempt(tx: Transaction, attempt_id: UUID) -> Attempt | None:
    """The attempt with this id, if it was written."""
    cursor = tx.cursor(row_factory=kwargs_row(_attempt))
    await cursor.execute(f"select {_ATTEMPT} from attempts where id = %s".encode(), [attempt_id])
    return await cursor.fetchone()


async def latest_attempts(tx: Transaction, order_id: UUID) -> Sequence[Attempt]:
    """Of each generation of an order the attempt that counts: the live one, else the last."""
    cursor = tx.cursor(row_factory=kwargs_row(_attempt))
    columns = ", ".join(f"a.{column}" for column in _ATTEMPT.split(", "))
    await cursor.execute(
        f"""
        select distinct on (a.generation_id) {columns}
          from attempts a join generations g on g.id = a.generation_id
         where g.order_id = %s
         order by a.generation_id, a.state in ('intent', 'unknown', 'accepted', 'succeeded') desc, a.number desc
        """.encode(),
        [order_id],
    )
    return await cursor.fetchall()


async def clock(tx: Transaction) -> datetime:
    """The time that leases, retries and deadlines share."""
    return await _time(tx, "select clock_now()")


async def moment(tx: Transaction) -> datetime:
    """The same time at this very moment: a transaction may have waited since it began."""
    return await _time(tx, "select clock_moment()")


async def _time(tx: Transaction, query: str) -> datetime:
    row = await (await tx.execute(query.encode())).fetchone()
    if row is None:
        raise LookupError("the clock gave no answer")
    now: datetime = row[0]
    return now


# Recovery points: the caller has proved its lease in this transaction. -----------------------------------------


async def begin(tx: Transaction, generation_id: UUID, *, deadline_seconds: float) -> bool:
    """A worker has taken it up; from now on it has `deadline_seconds`, however long it waited for that.

    Returns whether it is the first one that did.
    """
    cursor = await tx.execute(
        "update generations set state = 'processing', deadline_at = clock_now() + make_interval(secs => %s)"
        " where id = %s and state = 'queued'",
        [deadline_seconds, generation_id],
    )
    return cursor.rowcount == 1


async def record_prompt(tx: Transaction, generation_id: UUID, *, prompt: str, source: str) -> None:
    """The prompt is written; `source` is writer or template."""
    await tx.execute(
        "update generations set prompt = %s, prompt_source = %s where id = %s",
        [prompt, source, generation_id],
    )


@dataclass(frozen=True)
class Frames:
    """Where the frames lie, and with which provider."""

    provider: str
    frame_url: str
    last_frame_url: str | None


async def record_frames(tx: Transaction, generation_id: UUID, frames: Frames | None) -> None:
    """The frames lie with a provider; None when they must be uploaded anew."""
    await tx.execute(
        "update generations set frame_url = %s, frame_provider = %s, last_frame_url = %s where id = %s",
        [
            frames.frame_url if frames else None,
            frames.provider if frames else None,
            frames.last_frame_url if frames else None,
            generation_id,
        ],
    )


async def delay(tx: Transaction, generation_id: UUID) -> None:
    """Nobody can be asked at the moment: the customer is told so, calmly and once."""
    cursor = await tx.execute(
        "update generations set delayed_at = clock_now() where id = %s and delayed_at is null", [generation_id]
    )
    if cursor.rowcount:
        await tell_status(tx, generation_id, "delayed")


async def record_video(tx: Transaction, generation_id: UUID, video: Video) -> None:
    """The video is ours and sound."""
    await tx.execute(
        """
        update generations
           set video_key = %s, cover_key = %s, thumbnail_key = %s,
               width = %s, height = %s, seconds = %s, size_bytes = %s
         where id = %s
        """,
        [
            video.video_key,
            video.cover_key,
            video.thumbnail_key,
            video.width,
            video.height,
            video.seconds,
            video.size_bytes,
            generation_id,
        ],
    )


async def tell_status(tx: Transaction, generation_id: UUID, stage: str) -> None:
    """Write the notice that the generation has reached a stage, once."""
    await tx.execute("select tell_status(%s, %s)", [generation_id, stage])


async def tell_progress(tx: Transaction, attempt_id: UUID, cells: int) -> None:
    """Write the notice that the bar of a try at the provider has come to so many cells, once."""
    await tx.execute(
        """
        insert into notices (customer_id, order_id, generation_id, kind, cause, stage)
        select g.customer_id, g.order_id, g.id, 'status',
               format('status:%%s:generating:%%s:%%s', g.id, a.number, %s::int), 'generating'
          from attempts a join generations g on g.id = a.generation_id
         where a.id = %s
        on conflict (cause) do nothing
        """,
        [cells, attempt_id],
    )


async def settle(tx: Transaction, generation_id: UUID, lease_number: int) -> bool:
    """Held credits become spent, the video goes out. False when the lease is lost."""
    cursor = await tx.execute("select settle_generation(%s, %s)", [generation_id, lease_number])
    return await cursor.fetchone() == ("settled",)


async def refund(tx: Transaction, generation_id: UUID, *, lease_number: int | None, reason: str) -> bool:
    """Credits go back and the customer is told. False when the lease is lost, or nothing was left to end."""
    cursor = await tx.execute("select refund_generation(%s, %s, %s)", [generation_id, lease_number, reason])
    return await cursor.fetchone() == ("refunded",)


async def give_up_overdue(tx: Transaction, generation_id: UUID) -> bool:
    """Refund a generation whose deadline has passed; False when it has a new one by now, or has ended."""
    cursor = await tx.execute(
        """
        select 1 from jobs j join generations g on g.id = j.subject_id
         where j.kind = 'generation' and g.id = %s
           and g.state in ('queued', 'processing') and g.deadline_at < clock_now()
           for update
        """,
        [generation_id],
    )
    if await cursor.fetchone() is None:
        return False
    return await refund(tx, generation_id, lease_number=None, reason=Reason.DEADLINE)


async def give_up_poison(tx: Transaction, generation_id: UUID) -> bool:
    """Refund a generation that has silenced worker after worker; False when somebody has got on with it by now."""
    cursor = await tx.execute(
        "select rescues from jobs where kind = 'generation' and subject_id = %s and state = 'available' for update",
        [generation_id],
    )
    row = await cursor.fetchone()
    if row is None or not is_poison(row[0]):
        return False
    return await refund(tx, generation_id, lease_number=None, reason=Reason.INTERNAL)


async def reverse(tx: Transaction, generation_id: UUID, *, reason: str) -> bool:
    """Pay back a video that was paid for and can never be handed over. False when it is not settled."""
    cursor = await tx.execute("select reverse_settlement(%s, %s)", [generation_id, reason])
    return await cursor.fetchone() == ("reversed",)


async def overdue(tx: Transaction, *, limit: int = 200) -> Sequence[UUID]:
    """Generations that have not ended before their deadline."""
    cursor = await tx.execute(
        "select id from generations where state in ('queued', 'processing') and deadline_at < clock_now()"
        " order by deadline_at limit %s",
        [limit],
    )
    return [id for (id,) in await cursor.fetchall()]


# Attempts ---------------------------------------------------------------------------------------------------------


async def intend(
    tx: Transaction,
    generation_id: UUID,
    *,
    attempt_id: UUID,
    provider: str,
    model: str,
    lease_number: int,
    key: str = "",
    reason: str = "",
    cost_usd: float | None = None,
) -> None:
    """Write down that a submit is about to leave, why to this model, and its cost. Commit before the first byte does.

    Safe to repeat with the same id. A second live attempt is refused by the index attempts_one_live.
    """
    # A late fact about an earlier attempt locks it too: whichever comes second sees the other.
    await tx.execute("select 1 from generations where id = %s for no key update", [generation_id])
    await tx.execute(
        """
        insert into attempts (id, generation_id, number, provider, model, key, reason, cost_usd, lease_number,
                              created_at)
        select %(id)s, %(generation_id)s, coalesce(max(number), 0) + 1, %(provider)s, %(model)s, %(key)s, %(reason)s,
               %(cost_usd)s, %(lease_number)s, clock_moment()
          from attempts where generation_id = %(generation_id)s
        on conflict (id) do nothing
        """,
        {
            "id": attempt_id,
            "generation_id": generation_id,
            "provider": provider,
            "model": model,
            "key": key,
            "reason": reason,
            "cost_usd": cost_usd,
            "lease_number": lease_number,
        },
    )


async def record_task(tx: Transaction, attempt_id: UUID, task_id: str, *, task_url: str | None = None) -> AttemptState:
    """Record the fact that the provider accepted: needs no lease, and a late one is adopted if it can still be used.

    Raises TaskTaken when the task belongs to another attempt: its video must never reach the wrong customer.
    """
    # The generation first, like everybody else: whether the task can be adopted must not change meanwhile.
    cursor = await tx.execute(
        "select id, state in ('queued', 'processing'), video_key is not null from generations"
        " where id = (select generation_id from attempts where id = %s) for no key update",
        [attempt_id],
    )
    row = await cursor.fetchone()
    if row is None:
        raise LookupError(f"no attempt {attempt_id}")
    generation_id, generation_open, has_video = row
    cursor = await tx.execute(
        "select 1 from attempts theirs join attempts ours using (provider)"
        " where ours.id = %s and theirs.task_id = %s and theirs.id <> ours.id",
        [attempt_id, task_id],
    )
    if await cursor.fetchone() is not None:
        raise TaskTaken(task_id)
    known = {attempt.id: attempt for attempt in await attempts(tx, generation_id)}
    state = after_acceptance(
        known[attempt_id].state,
        generation_open=generation_open,
        has_video=has_video,
        another_is_live=any(other.state.live for other in known.values() if other.id != attempt_id),
    )
    try:
        await _write_task(tx, attempt_id, task_id, task_url, state)
    except UniqueViolation as error:  # recorded by somebody else this very moment
        raise TaskTaken(task_id) from error
    await tx.execute(
        "update generations set delayed_at = null where id = %s and delayed_at is not null", [generation_id]
    )
    return state


async def _write_task(
    tx: Transaction, attempt_id: UUID, task_id: str, task_url: str | None, state: AttemptState
) -> None:
    await tx.execute(
        "update attempts set task_id = %s, task_url = coalesce(%s, task_url),"
        " accepted_at = coalesce(accepted_at, clock_now()), state = %s where id = %s",
        [task_id, task_url, state, attempt_id],
    )


_BEFORE = {
    AttemptState.UNKNOWN: [AttemptState.INTENT, AttemptState.UNKNOWN],
    AttemptState.REFUSED: [AttemptState.INTENT, AttemptState.UNKNOWN],
    AttemptState.ABANDONED: [AttemptState.INTENT, AttemptState.UNKNOWN],
    AttemptState.FAILED: [AttemptState.ACCEPTED, AttemptState.SUCCEEDED],
}
"""From where an attempt may come to its end. A task that was accepted meanwhile is a fact that nobody overrules."""


async def end_attempt(
    tx: Transaction, attempt_id: UUID, state: AttemptState, failure: str, *, kind: FailureKind | None = None
) -> bool:
    """The attempt was refused, failed, abandoned, or its answer was lost (unknown); `failure` and `kind` say why.

    False when more is known of it by now: then read again before deciding anything.
    """
    cursor = await tx.execute(
        """
        update attempts
           set state = %(state)s, failure = %(failure)s, failure_kind = coalesce(%(kind)s, failure_kind),
               ended_at = case when %(state)s = 'unknown' then null else clock_now() end
         where id = %(id)s and state = any(%(before)s)
        """,
        {"id": attempt_id, "state": state, "failure": failure[:500], "kind": kind, "before": _BEFORE[state]},
    )
    return cursor.rowcount == 1


async def forget_hint(tx: Transaction, attempt_id: UUID, task_id: str) -> None:
    """The task that a callback named is not ours: make room for a better word."""
    await tx.execute(
        "update attempts set hinted_task_id = null where id = %s and hinted_task_id = %s", [attempt_id, task_id]
    )


async def ask_again(tx: Transaction, attempt_id: UUID, *, seconds: float, asked_at: datetime) -> bool:
    """The provider is to be asked about the attempt's task so many seconds from now; a callback brings that forward.

    False when a callback has come since it was asked: then it is to be asked at once.
    """
    cursor = await tx.execute(
        "update attempts set ask_at = clock_now() + make_interval(secs => %s)"
        " where id = %s and (called_at is null or called_at <= %s)",
        [seconds, attempt_id, asked_at],
    )
    return cursor.rowcount == 1


async def record_result(tx: Transaction, attempt_id: UUID, result_url: str, *, cost_units: float | None = None) -> None:
    """The provider has a result, and says what it charged in its own money: a word that cannot be true is no word."""
    if cost_units is not None and not 0 <= cost_units < MOST_UNITS:
        cost_units = None
    await tx.execute(
        "update attempts set state = 'succeeded', result_url = %s, cost_units = coalesce(%s, cost_units),"
        " ended_at = clock_now() where id = %s and state in ('accepted', 'succeeded')",
        [result_url, cost_units if cost_units is not None and 0 <= cost_units < MOST_UNITS else None, attempt_id],
    )
