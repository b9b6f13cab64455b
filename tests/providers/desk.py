"""The prompt writer's other side: the simulator's faults and what it received."""

from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from neurocards.domain.scripts import Commission, WrittenPrompt
from neurocards.providers.openai_writer import Mode, OpenAIWriter

KEY = "sk-test-canary-0123456789"

Json = dict[str, Any]  # Any: the simulator's JSON


MODES: tuple[Mode, ...] = ("responses", "chat")

both_ways = pytest.mark.parametrize("mode", MODES)


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Desk:
    """Writers at one simulated service, and a look at that service's side."""

    url: str
    photo: bytes
    clock: Clock
    client: httpx2.AsyncClient
    writers: list[OpenAIWriter]

    def writer(
        self, mode: Mode = "responses", *, model: str = "gpt-6-luna", answer_seconds: float = 18.0, url: str = ""
    ) -> OpenAIWriter:
        writer = OpenAIWriter(
            base_url=url or self.url,
            api_key=KEY,
            model=model,
            mode=mode,
            answer_seconds=answer_seconds,
            second_try_seconds=0,
            clock=self.clock,
        )
        self.writers.append(writer)
        return writer

    async def write(self, writer: OpenAIWriter, wanted: Commission, *, photo: bytes | None = None) -> WrittenPrompt:
        return await writer.write(wanted, photo=self.photo if photo is None else photo)

    async def fault(self, **fault: Any) -> None:  # Any: the simulator's JSON
        response = await self.client.post(f"{self._sim}/faults", json=fault)
        assert response.is_success, response.text

    async def requests(self) -> list[Json]:
        found: list[Json] = (await self.client.get(f"{self._sim}/requests")).json()
        return found

    @property
    def _sim(self) -> str:
        return self.url.removesuffix("/v1") + "/sim"
