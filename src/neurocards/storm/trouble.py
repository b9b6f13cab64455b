"""Makes the outside services fail, one ordered fault after the other, and counts what was met."""

import asyncio
from collections import Counter
from contextlib import suppress
from uuid import uuid4

import httpx2

from neurocards.db.connection import Away
from neurocards.storm import records
from neurocards.storm.plan import (
    ABSENT_SECONDS,
    SECONDS_PER_ABSENCE,
    SECONDS_PER_MISCHIEF,
    SECONDS_PER_TROUBLE,
    UNMET,
    Json,
    Plan,
    Service,
    pauses,
    trouble,
)
from neurocards.storm.stage import Stage


class Trouble:
    """All faults of one storm. `met` is by service, kind and where, as in "kie reset createTask"."""

    def __init__(self, stage: Stage, plan: Plan) -> None:
        self._stage = stage
        self._plan = plan
        self._ordered: Counter[str] = Counter()
        self._left: Counter[str] = Counter()
        self.absences = 0
        self.redelivered = 0
        self.callbacks_repeated = 0
        self.callbacks_forged = 0

    @property
    def met(self) -> dict[str, int]:
        return dict(sorted((self._ordered - self._left).items()))

    async def rage(self) -> None:
        """Order one fault after the other, until cancelled."""
        draw = self._plan.draw("trouble")
        for pause in pauses(draw, SECONDS_PER_TROUBLE):
            await asyncio.sleep(pause)
            service, fault = trouble(draw)
            await self._call_off(service, from_number=UNMET)
            await self._post(f"{self._stage.services[service]}/sim/faults", fault)
            self._ordered[_name(service, fault)] += fault.get("times", 1)

    async def go_away(self) -> None:
        """Have KIE cut every line, or a gateway before it answer instead, again and again, until cancelled."""
        draw = self._plan.draw("absences")
        for pause in pauses(draw, min(SECONDS_PER_ABSENCE, self._plan.seconds / 2)):
            await asyncio.sleep(pause)
            await self._kie_is(draw.choice(["refuse", "503"]))
            self.absences += 1
            await asyncio.sleep(ABSENT_SECONDS)
            await self._kie_is(None)

    async def redeliver(self) -> None:
        """Have Telegram deliver what it has delivered before once more, until cancelled."""
        for pause in pauses(self._plan.draw("redelivery"), SECONDS_PER_MISCHIEF):
            await asyncio.sleep(pause)
            # Refused as long as nothing was delivered at all.
            response = await self._stage.client.post(f"{self._stage.telegram}/sim/redeliver")
            self.redelivered += response.is_success

    async def call_back(self) -> None:
        """Repeat callbacks of the provider and forge others, until cancelled; only where the bot listens for them."""
        hooks = self._stage.hooks
        if hooks is None:
            return
        draw = self._plan.draw("callbacks")
        for pause in pauses(draw, SECONDS_PER_MISCHIEF):
            await asyncio.sleep(pause)
            task = None
            with suppress(*Away):
                async with self._stage.database.transaction() as tx:
                    task = await records.any_task(tx)
            if task is None:
                continue
            provider, task_id = Service(task[0]), task[1]
            if draw.random() < 0.5:
                address = self._stage.services[provider]
                repeated = await self._stage.client.post(f"{address}/sim/tasks/{task_id}/callback")
                self.callbacks_repeated += repeated.is_success
            else:
                await self._forge(hooks, provider, task_id)

    async def _forge(self, hooks: str, provider: Service, task_id: str) -> None:
        """A stranger claims that a task of ours has a result."""
        body = {"code": 200, "data": {"taskId": task_id, "state": "success"}, "request_id": task_id, "status": "OK"}
        # The bot may be dead at this moment.
        with suppress(httpx2.TransportError):
            await self._stage.client.post(f"{hooks}/hooks/{provider}/{uuid4()}/{'0' * 64}", json=body)
            self.callbacks_forged += 1

    async def calm(self) -> None:
        """Call off whatever has not been met yet; everybody is there again."""
        await self._kie_is(None)
        for service in self._stage.services:
            await self._call_off(service)

    async def _call_off(self, service: Service, *, from_number: int = 1) -> None:
        """Call off what has not been met at a service yet, if there are so many."""
        faults = f"{self._stage.services[service]}/sim/faults"
        left = await self._stage.client.get(faults)
        left.raise_for_status()
        unmet: list[Json] = left.json()
        if len(unmet) < from_number:
            return
        for fault in unmet:
            self._left[_name(service, fault)] += fault["times"]
        (await self._stage.client.delete(faults)).raise_for_status()

    async def _kie_is(self, down: str | None) -> None:
        await self._post(f"{self._stage.services[Service.KIE]}/sim/settings", {"down": down})

    async def _post(self, address: str, body: Json) -> None:
        (await self._stage.client.post(address, json=body)).raise_for_status()


def _name(service: Service, fault: Json) -> str:
    where = fault.get("method") or fault.get("route") or "*"
    return " ".join((service, fault["kind"], where)).removesuffix(" *")
