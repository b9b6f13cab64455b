"""P9: two workers share one key: the provider never sees more of it than it allows, and all that it allows."""

import asyncio
from pathlib import Path

from flow.rig import LEASE_SECONDS, opened_rig
from neurocards.db import books
from neurocards.db.connection import Database
from neurocards.db.provider_keys import Pace
from neurocards.media.photos import compose_frame
from neurocards.worker import Worker
from services import Simulators
from shop import prepare

ORDERS = 40
PACE = Pace(submits=10, window_seconds=1.0, slack_seconds=1.0, in_flight=12)


async def test_p9_two_workers_keep_the_pace_of_one_key_together(
    dsn: str, database: Database, simulators: Simulators, tmp_path: Path, photo: bytes
) -> None:
    """Measured at the provider's door, in real time. A second of slack is what a submit may lose on its way there."""
    async with (
        Database(dsn) as second_line,
        opened_rig(database, simulators, tmp_path, fal=False, pace=PACE) as first,
        opened_rig(second_line, simulators, tmp_path, fal=False, pace=PACE) as second,
    ):
        await first.kie_is(task_seconds=3, frame_rate=5, max_in_flight=PACE.in_flight)
        for _ in range(ORDERS // 5):
            await first.order(videos=5, photo=photo)
        # Whatever holds the workers back from submitting everything at once is the pace.
        frame = await first.kie.upload_frame(compose_frame(photo), "frame.jpg", key=first.kie.keys[0])
        await prepare(database, frame)
        stop = asyncio.Event()
        workers = [
            Worker(
                rig.database,
                {"generation": rig.production},
                name=name,
                slots=20,
                lease_seconds=LEASE_SECONDS,
                room=rig.router.room,
            )
            for name, rig in (("first", first), ("second", second))
        ]
        running = [asyncio.create_task(worker.run(stop)) for worker in workers]
        try:
            async with asyncio.timeout(90):
                while True:
                    async with database.transaction() as tx:
                        if not (await books.figures(tx)).open:
                            break
                    await asyncio.sleep(0.1)
        finally:
            stop.set()
            await asyncio.gather(*running)

        (used,) = (await first.client.get(f"{first.kie_url}/sim/keys")).json().values()
        assert (used["accepted"], used["refused"]) == (ORDERS, 0)
        assert used["most_in_flight"] <= PACE.in_flight
        times = [request["at"] for request in await first.requests("createTask")]
        assert len(times) == ORDERS
        assert max(sum(at <= one < at + PACE.window_seconds for one in times) for at in times) <= PACE.submits
        assert await first.violations() == []
