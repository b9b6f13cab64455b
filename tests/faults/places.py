"""A shop and a workshop over a database of the test's choice: behind a line that can be cut, with few connections."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

from obstore.store import MemoryStore

from bot.chat import Shop
from faults.points import GatedProvider, GatedWriter, Gates, Workshop
from flow.rig import DOUBT_SECONDS, LEASE_SECONDS, make_rig, make_router
from neurocards.addresses import callback_url
from neurocards.catalogue import load_catalogue
from neurocards.db.connection import Database
from neurocards.production import Production
from neurocards.storage import Store, open_store
from services import Simulators

NOBODY = "http://127.0.0.1:9"
"""Where callbacks go and nobody listens: tests bring them by hand."""

_tokens = count(5_900_001)


@asynccontextmanager
async def opened_workshop(database: Database, simulators: Simulators, home: Path) -> AsyncIterator[Workshop]:
    store = open_store(None, home)
    rig, writer = make_rig(
        database,
        store,
        kie_url=simulators.kie,
        openai_url=simulators.openai.removesuffix("/v1"),
        client=simulators.client,
        workspace=home,
    )
    gates, catalogue = Gates(), load_catalogue()
    provider = GatedProvider(rig.kie, gates)
    production = Production(
        database,
        store,
        catalogue,
        providers={"kie": provider},
        router=make_router(catalogue, {"kie": provider}),
        writer=GatedWriter(writer, gates),
        workspace=home,
        lease_seconds=LEASE_SECONDS,
        doubt_seconds=DOUBT_SECONDS,
        deadline_seconds=3600,
        callback_url=lambda provider, attempt_id: callback_url(NOBODY, b"key", provider, attempt_id),
    )
    yield Workshop(replace(rig, production=production), gates, provider)
    await rig.kie.close()
    await writer.close()


@asynccontextmanager
async def opened_shop(database: Database, simulators: Simulators) -> AsyncIterator[Shop]:
    shop = Shop(simulators.telegram, database, Store(MemoryStore()), f"{next(_tokens)}:{'f' * 35}", simulators.client)
    await shop.bot.get_me()
    yield shop
    await shop.bot.session.close()
