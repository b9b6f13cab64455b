"""A provider's word that a task changed: it names a task we may not know yet, and brings the next look forward."""

from uuid import UUID

from neurocards.db.connection import Transaction


async def hint(tx: Transaction, attempt_id: UUID, task_id: str | None, *, provider: str) -> bool:
    """Note which task an attempt without one may have, and make its generation's waiting job due now.

    Safe to repeat; an attempt that is unknown, of another provider, or has ended changes nothing. Takes a second at
    most, then raises one of Away. Returns whether anything was news.
    """
    await tx.execute("set local statement_timeout = '1s'")
    cursor = await tx.execute(
        """
        with noted as (
            update attempts set hinted_task_id = %(task_id)s
             where id = %(attempt_id)s and provider = %(provider)s and %(task_id)s::text is not null
               and task_id is null and hinted_task_id is null
               and state in ('intent', 'unknown', 'abandoned')
            returning id
        ), asked as (
            -- Also while a worker is asking: it must not overlook that there is news.
            update attempts set ask_at = least(ask_at, clock_now()), called_at = clock_now()
             where id = %(attempt_id)s and provider = %(provider)s and state = 'accepted'
               and (ask_at is null or ask_at > clock_now())
            returning id
        ), moved as (
            update jobs set run_at = clock_now()
              from attempts
             where attempts.id = %(attempt_id)s and attempts.provider = %(provider)s
               and attempts.state in ('intent', 'unknown', 'accepted', 'abandoned')
               and jobs.kind = 'generation' and jobs.subject_id = attempts.generation_id
               and jobs.state = 'available' and jobs.run_at > clock_now()
            returning pg_notify('jobs', '')
        )
        select exists (select from noted) or exists (select from asked), (select count(*) from moved)
        """,
        {"attempt_id": attempt_id, "task_id": task_id, "provider": provider},
    )
    row = await cursor.fetchone()
    return row is not None and bool(row[0] or row[1])
