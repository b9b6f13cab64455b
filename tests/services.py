"""What tests know of the running simulators."""

from dataclasses import dataclass

import httpx2


@dataclass(frozen=True)
class Simulators:
    """Running simulators: their addresses as the settings want them, and a client for their control sides."""

    telegram: str
    kie: str
    fal: str
    openai: str
    client: httpx2.AsyncClient
