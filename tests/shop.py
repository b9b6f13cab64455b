"""A small shop for tests: customers, drafts and orders put into the database the way the bot does it."""

from collections.abc import Sequence
from itertools import count
from uuid import UUID, uuid4

from neurocards.db import books, customers, drafts, generations, jobs, orders
from neurocards.db.books import Violation
from neurocards.db.connection import Database, Transaction
from neurocards.db.customers import Customer
from neurocards.db.generations import Video
from neurocards.db.jobs import Job
from neurocards.db.orders import Placement
from neurocards.domain.generations import AttemptState

PRICE = 1
SECONDS = 3
"""The shortest clip of the default model: rendering and checking cost time."""
DEADLINE_SECONDS = 3600
VIDEO = Video("videos/1.mp4", "videos/1-cover.jpg", "videos/1-thumbnail.jpg", 720, 1280, 10.0, 1000)

_people = count(1000)


async def new_customer(database: Database, *, free: int = 0, paid: int = 0) -> Customer:
    async with database.transaction() as tx:
        customer = await customers.register(tx, telegram_id=next(_people), first_name="Test", language="en")
        for funding, amount in (("free", free), ("paid", paid)):
            if amount:
                await customers.top_up(
                    tx, customer.id, amount=amount, funding=funding, cause=f"{funding}:{uuid4()}", reason="test"
                )
        return await customers.get(tx, customer.id)


async def new_draft(
    database: Database,
    customer: Customer,
    *,
    videos: int = 1,
    price: int = PRICE,
    description: str = "A mug",
    wishes: str = "",
) -> UUID:
    """A complete draft whose card has been shown."""
    async with database.transaction() as tx:
        choices = drafts.Choices(
            photo_key="photos/1",
            second_photo_key=None,
            template="hero_broll",
            description=description,
            wishes=wishes,
            count=videos,
        )
        draft = await drafts.begin(tx, customer.id, order_id=uuid4(), choices=choices)
        await drafts.quote(tx, draft.order_id, price_credits=price, card_message_id=7)
    return draft.order_id


async def place(database: Database, draft_id: UUID, *, price: int = PRICE) -> Placement:
    return await database.run(
        lambda tx: orders.place(
            tx,
            draft_id,
            template_version=1,
            model="kling/v3-turbo-image-to-video",
            seconds=SECONDS,
            price_credits=price,
            deadline_seconds=DEADLINE_SECONDS,
        )
    )


async def new_order(database: Database, *, videos: int = 1, free: int = 10, paid: int = 0) -> UUID:
    customer = await new_customer(database, free=free, paid=paid)
    draft_id = await new_draft(database, customer, videos=videos)
    placement = await place(database, draft_id)
    assert placement.outcome is orders.Outcome.PLACED
    return draft_id


async def claim(database: Database, *, limit: int = 100, worker: str = "test", lease_seconds: float = 30) -> list[Job]:
    return await database.run(
        lambda tx: jobs.claim(
            tx, worker=worker, kinds=["generation"], limit=limit, lease_seconds=lease_seconds, held=[]
        )
    )


async def intents(tx: Transaction, taken: Sequence[Job], *, cost_usd: float) -> list[UUID]:
    """The attempts, one for each job, whose submits are about to leave."""
    ids = [uuid4() for _ in taken]
    for attempt_id, job in zip(ids, taken, strict=True):
        await generations.begin(tx, job.subject_id, deadline_seconds=3600)
        await generations.intend(
            tx,
            job.subject_id,
            attempt_id=attempt_id,
            provider="kie",
            model="m",
            lease_number=job.lease_number,
            cost_usd=cost_usd,
        )
    return ids


async def attempted(database: Database, *ends: AttemptState | None, cost_usd: float) -> None:
    """Videos whose submits have left, and what became of those."""
    await new_order(database, videos=len(ends))
    taken = await claim(database)
    async with database.transaction() as tx:
        for job, attempt_id, end in zip(taken, await intents(tx, taken, cost_usd=cost_usd), ends, strict=True):
            if end is not None:
                await generations.end_attempt(tx, attempt_id, end, "no answer")
            if end is AttemptState.ABANDONED:
                await generations.refund(tx, job.subject_id, lease_number=job.lease_number, reason="provider")
                await generations.record_task(tx, attempt_id, uuid4().hex)


async def make_video(database: Database, job: Job) -> None:
    """Everything a generation needs before it can be settled."""
    async with database.transaction() as tx:
        attempt_id = uuid4()
        await generations.begin(tx, job.subject_id, deadline_seconds=DEADLINE_SECONDS)
        await generations.intend(
            tx, job.subject_id, attempt_id=attempt_id, provider="kie", model="m", lease_number=job.lease_number
        )
        await generations.record_task(tx, attempt_id, uuid4().hex)
        await generations.record_result(tx, attempt_id, "https://files.example/clip.mp4")
        await generations.record_video(tx, job.subject_id, VIDEO)


async def prepare(database: Database, frame_url: str) -> None:
    """Prompts are written and frames lie with KIE: all that is left for the videos nobody has begun is to submit."""
    async with database.transaction() as tx:
        await tx.execute(
            "update generations set prompt = 'A mug', prompt_source = 'template', frame_url = %s,"
            " frame_provider = 'kie' where state = 'queued'",
            [frame_url],
        )


async def advance(database: Database, seconds: float) -> None:
    """Move the clock that every process shares."""
    async with database.transaction() as tx:
        await tx.execute(
            "insert into clock (shift) values (make_interval(secs => %(seconds)s))"
            " on conflict (only_row) do update set shift = clock.shift + excluded.shift",
            {"seconds": seconds},
        )


async def violations(database: Database) -> Sequence[Violation]:
    async with database.transaction() as tx:
        return await books.violations(tx)


async def counts(database: Database) -> dict[str, int]:
    """Rows by table: what a refused action must not change."""
    tables = ("orders", "generations", "jobs", "transfers", "entries", "notices", "drafts")
    async with database.transaction() as tx:
        found = {}
        for table in tables:
            cursor = await tx.execute(f"select count(*) from {table}".encode())
            row = await cursor.fetchone()
            assert row is not None
            found[table] = int(row[0])
        return found
