"""P10: the audit sees what it says it sees. Each check is shown a corruption that the schema would refuse."""

from pathlib import Path

import pytest

from neurocards.audit import audit
from neurocards.db import books, generations
from neurocards.db.connection import Database
from neurocards.storage import open_store
from shop import VIDEO, claim, make_video, new_order

# What makes each check fail. Triggers are switched off for it and where needed a constraint is dropped:
# the audit does not take the schema's word for anything.
CORRUPTIONS = {
    "balance_is_sum_of_entries": "update accounts set balance = balance + 1 where kind = 'available'",
    "entries_form_a_chain": "update entries set balance_after = balance_after + 1",
    "transfer_has_two_sides": "delete from entries where delta < 0",
    "customer_sums_to_zero": "update accounts set balance = balance + 1 where kind = 'spent'",
    "never_overdrawn": "alter table accounts drop constraint accounts_never_overdrawn;"
    " update accounts set balance = -5 where kind = 'available'",
    "held_is_price_of_open_generations": "update accounts set balance = balance + 1 where kind = 'held'",
    "order_has_its_generations": "update orders set count = 5",
    "generation_credits_match_its_state": "delete from transfers where kind in ('settle', 'refund')",
    "refund_returns_to_its_source": "update transfers set funding = 'paid' where kind in ('settle', 'refund')",
    "job_ends_with_its_generation": "update jobs set state = 'available', finished_at = null where state = 'discarded'",
    "ended_generation_has_one_final_notice": "delete from notices where kind in ('video', 'failure')",
    "completed_generation_has_a_result": "update attempts set state = 'failed' where state = 'succeeded'",
    "no_attempt_lives_after_its_generation": "update attempts set state = 'accepted' where state = 'succeeded'",
    "one_attempt_lives_at_most": "drop index attempts_one_live;"
    " insert into attempts (id, generation_id, number, provider, model, lease_number)"
    " select gen_random_uuid(), id, n, 'kie', 'm', 1 from generations, generate_series(8, 9) n where state = 'queued'",
    "task_belongs_to_one_attempt": "alter table attempts drop constraint attempts_one_owner_per_task;"
    " insert into attempts (id, generation_id, number, provider, model, lease_number, state, task_id)"
    " select gen_random_uuid(), generation_id, 9, provider, model, 1, 'failed', task_id"
    " from attempts where task_id is not null",
    "work_has_a_lease": "alter table jobs drop constraint jobs_running_has_lease;"
    " update jobs set lease_owner = null where state = 'running'",
    "job_has_three_retries": "alter table jobs drop constraint jobs_three_retries; update jobs set attempt = 5",
    "no_generation_is_overdue": "update generations set deadline_at = now() - interval '1 hour'",
}


async def two_ended_and_one_open(database: Database) -> None:
    await new_order(database, videos=3)
    settled, refunded, _ = await claim(database)
    await make_video(database, settled)
    async with database.transaction() as tx:
        assert await generations.settle(tx, settled.subject_id, settled.lease_number)
        assert await generations.refund(tx, refunded.subject_id, lease_number=None, reason="provider")


def test_every_check_has_its_corruption() -> None:
    assert set(CORRUPTIONS) == set(books.CHECKS)


@pytest.mark.parametrize("check", CORRUPTIONS)
async def test_p10_the_audit_finds(database: Database, check: str) -> None:
    await two_ended_and_one_open(database)
    async with database.transaction() as tx:
        assert await books.violations(tx) == []
    async with database.transaction() as tx:
        await tx.execute("set local session_replication_role = replica")
        for statement in CORRUPTIONS[check].split(";"):
            await tx.execute(statement.encode())
    async with database.transaction() as tx:
        assert check in {violation.check for violation in await books.violations(tx)}


async def test_p10_the_audit_misses_a_video_that_was_paid_for(database: Database, tmp_path: Path) -> None:
    await two_ended_and_one_open(database)
    store = open_store(None, tmp_path)
    report = await audit(database, store)
    assert [violation.check for violation in report.violations] == ["paid_video_is_in_the_store"]

    await store.put(VIDEO.video_key, b"x" * VIDEO.size_bytes)
    report = await audit(database, store)
    assert report.violations == []
    assert (report.figures.completed, report.figures.failed, report.figures.open) == (1, 1, 1)
    assert report.figures.issued_credits == 10 == report.figures.available_credits + 1 + 1
