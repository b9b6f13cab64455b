"""Dangerous acts that operators asked for and have to confirm, and the questions that their next words answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from psycopg.rows import class_row, kwargs_row

from neurocards.db.connection import Transaction


class Act(StrEnum):
    """What an operator can ask for."""

    GRANT = "grant"
    REFUND = "refund"
    PAUSE = "pause"
    RESUME = "resume"


class State(StrEnum):
    """How far a request is: asked for, confirmed by its operator and waiting for a second one, done, or dropped."""

    ASKED = "asked"
    SECONDING = "seconding"
    DONE = "done"
    DROPPED = "dropped"


@dataclass(frozen=True)
class Request:
    """One act as it was asked for, by whom (Telegram ids), and how far it is.

    `subject` is the customer's Telegram id of a grant and the order's number of a refund; else it is empty.
    """

    id: UUID
    operator: int
    act: Act
    subject: str
    credits: int
    reason: str
    needs_second: bool
    state: State
    confirmed_by: int | None
    asked_at: datetime
    age_seconds: float


@dataclass(frozen=True)
class Question:
    """What an operator was asked for last, and the message that asks."""

    awaited: str
    message_id: int | None
    age_seconds: float


def _request(*, act: str, state: str, **columns: object) -> Request:
    return Request(act=Act(act), state=State(state), **columns)  # type: ignore[arg-type]  # typed by the columns below


_SELECT = """
    select id, operator, act, subject, credits, reason, needs_second, state, confirmed_by, asked_at,
           extract(epoch from clock_now() - asked_at)::double precision as age_seconds
      from operator_requests
"""


async def ask(
    tx: Transaction,
    request_id: UUID,
    *,
    operator: int,
    act: Act,
    subject: str = "",
    credits: int = 0,
    reason: str,
    needs_second: bool = False,
) -> None:
    """Write down what an operator wants. The same id again changes nothing."""
    await tx.execute(
        "insert into operator_requests (id, operator, act, subject, credits, reason, needs_second)"
        " values (%s, %s, %s, %s, %s, %s, %s) on conflict (id) do nothing",
        [request_id, operator, act, subject, credits, reason, needs_second],
    )


async def credits_alone(tx: Transaction, operator: int, *, but: UUID, can_be_confirmed_seconds: float) -> int:
    """What this operator moved within a day without a second one's word, or still can; `but` is asked for now."""
    cursor = await tx.execute(
        """
        select coalesce(sum(credits), 0)::bigint
          from operator_requests
         where operator = %(operator)s and not needs_second and id <> %(but)s
           and (state = 'done' and asked_at > clock_now() - interval '1 day'
                or state = 'asked' and asked_at > clock_now() - make_interval(secs => %(open)s))
        """,
        {"operator": operator, "but": but, "open": can_be_confirmed_seconds},
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def find(tx: Transaction, request_id: UUID, *, lock: bool = False) -> Request | None:
    """The request with this id; with `lock` nobody else decides about it until this transaction ends."""
    cursor = tx.cursor(row_factory=kwargs_row(_request))
    await cursor.execute(f"{_SELECT} where id = %s {'for update' if lock else ''}".encode(), [request_id])
    return await cursor.fetchone()


async def decide(tx: Transaction, request_id: UUID, state: State, *, by: int) -> None:
    """The request goes on or ends, by the word of this operator."""
    await tx.execute(
        "update operator_requests set state = %s, confirmed_by = %s where id = %s", [state, by, request_id]
    )


async def seconding(tx: Transaction, *, within_seconds: float, limit: int = 5) -> Sequence[Request]:
    """What waits for a second operator, oldest first."""
    cursor = tx.cursor(row_factory=kwargs_row(_request))
    await cursor.execute(
        f"{_SELECT} where state = 'seconding' and asked_at > clock_now() - make_interval(secs => %s)"
        " order by asked_at limit %s".encode(),
        [within_seconds, limit],
    )
    return await cursor.fetchall()


async def expect(tx: Transaction, operator: int, awaited: str, *, message_id: int | None) -> None:
    """The operator's next words are an answer to this."""
    await tx.execute(
        """
        insert into operator_questions (operator, awaited, message_id) values (%(operator)s, %(awaited)s, %(message)s)
        on conflict (operator) do update
           set awaited = excluded.awaited, message_id = excluded.message_id, asked_at = clock_now()
        """,
        {"operator": operator, "awaited": awaited, "message": message_id},
    )


async def expected(tx: Transaction, operator: int) -> Question | None:
    """What the operator's next words answer; None when they answer nothing."""
    cursor = tx.cursor(row_factory=class_row(Question))
    await cursor.execute(
        "select awaited, message_id, extract(epoch from clock_now() - asked_at)::double precision as age_seconds"
        "  from operator_questions where operator = %s",
        [operator],
    )
    return await cursor.fetchone()


async def expect_nothing(tx: Transaction, operator: int) -> None:
    """The operator's next words are a customer's."""
    await tx.execute("delete from operator_questions where operator = %s", [operator])
