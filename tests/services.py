"""What tests know of the running simulators."""

import asyncio
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


Closing = set[asyncio.Task[None]]
"""What is being closed while other tests go on."""
