"""An order with two photos at its provider: both composed, each uploaded once, each in the field where it belongs."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from PIL import Image

from flow.rig import make_router
from neurocards.catalogue import load_catalogue
from neurocards.db import drafts, generations, orders
from neurocards.db.connection import Database
from neurocards.domain.catalogue import Catalogue, Model
from neurocards.domain.generations import Generation, GenerationState
from neurocards.production import Production, VideoProvider
from neurocards.providers.fal import Fal
from neurocards.providers.keys import labelled
from neurocards.providers.kie import Kie
from neurocards.storage import Store, open_store
from neurocards.worker import Worker
from services import Simulators
from shop import advance, new_customer, violations

Json = dict[str, Any]  # Any: the simulators' JSON

LAST_FRAME_URL = "minimax-h3/image-to-video"
LIST_OF_TWO = "kling-3.0/video"
END_IMAGE_URL = "fal-ai/kling-video/v3/standard/image-to-video"

FRONT, BACK = (200, 40, 40), (40, 60, 200)
"""The colours of the first and of the second photo."""

LEASE_SECONDS = 30.0
SECONDS = 4
FRAME_SIZE = (1080, 1920)


def photo(colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (900, 1200), colour).save(out, "JPEG", quality=95)
    return out.getvalue()


@dataclass(frozen=True)
class Workshop:
    """One worker with a key at each provider, and both providers' sides to look at."""

    database: Database
    store: Store
    catalogue: Catalogue
    production: Production
    urls: dict[str, str]
    client: httpx2.AsyncClient

    async def order(self, model: Model, template_id: str = "turntable_arc") -> UUID:
        """An order of this model whose photos lie in the store."""
        template = self.catalogue.templates[template_id]
        customer = await new_customer(self.database, free=10)
        keys = {"photo_key": f"photos/{uuid4()}", "second_photo_key": f"photos/{uuid4()}"}
        for key, colour in zip(keys.values(), (FRONT, BACK), strict=True):
            await self.store.put(key, photo(colour))
        choices = drafts.Choices(
            photo_key=keys["photo_key"],
            second_photo_key=keys["second_photo_key"],
            template=template_id,
            description="A leather backpack",
            wishes="",
            count=1,
        )
        async with self.database.transaction() as tx:
            draft = await drafts.begin(tx, customer.id, order_id=uuid4(), choices=choices)
            await drafts.quote(tx, draft.order_id, price_credits=template.price_credits, card_message_id=7)
            placed = await orders.place(
                tx,
                draft.order_id,
                template_version=template.version,
                model=model.id,
                seconds=SECONDS,
                price_credits=template.price_credits,
                deadline_seconds=3600,
            )
        assert placed.outcome is orders.Outcome.PLACED
        return draft.order_id

    async def finish(self, order_id: UUID) -> Generation:
        """Move time and work until the only video of the order has ended."""
        worker = Worker(
            self.database, {"generation": self.production}, name="test", slots=5, lease_seconds=LEASE_SECONDS
        )
        async with asyncio.timeout(60):
            while True:
                await worker.turn()
                await worker.idle()
                async with self.database.transaction() as tx:
                    [generation] = await generations.of_order(tx, order_id)
                if generation.state.ended:
                    return generation
                await advance(self.database, 1.0)
                # The provider makes a real clip.
                await asyncio.sleep(0.05)

    async def seen(self, provider: str, what: str, **query: str) -> list[Json]:
        """What this provider's side remembers."""
        found: list[Json] = (await self.client.get(f"{self.urls[provider]}/sim/{what}", params=query)).json()
        return found

    async def frame(self, url: str) -> Image.Image:
        """The picture at an address that the provider was given."""
        response = await self.client.get(url)
        response.raise_for_status()
        return Image.open(io.BytesIO(response.content))


@asynccontextmanager
async def open_workshop(database: Database, simulators: Simulators, folder: Path) -> AsyncIterator[Workshop]:
    catalogue = load_catalogue()
    store = open_store(None, folder)
    kie = Kie(api_url=simulators.kie, upload_url=simulators.kie, keys=labelled("kie", ["test-key"]))
    fal = Fal(queue_url=simulators.fal, rest_url=simulators.fal, keys=labelled("fal", ["test-key"]))
    providers: dict[str, VideoProvider] = {"kie": kie, "fal": fal}
    router = make_router(catalogue, providers)
    await database.run(router.register)
    production = Production(
        database,
        store,
        catalogue,
        providers=providers,
        router=router,
        writer=None,
        workspace=folder,
        lease_seconds=LEASE_SECONDS,
        doubt_seconds=300.0,
        deadline_seconds=3600,
    )
    urls = {"kie": simulators.kie, "fal": simulators.fal}
    try:
        yield Workshop(database, store, catalogue, production, urls, simulators.client)
    finally:
        await kie.close()
        await fal.close()


@pytest.fixture
async def workshop(database: Database, simulators: Simulators, tmp_path: Path) -> AsyncIterator[Workshop]:
    async with open_workshop(database, simulators, tmp_path) as workshop:
        yield workshop


def frames_of(model: Model, fields: Json) -> list[str]:
    """The addresses of the first and of the last frame, each from where this model looks for it."""
    match model.id:
        case "minimax-h3/image-to-video":
            assert {"first_frame_url", "last_frame_url"} <= fields.keys()
            return [fields["first_frame_url"], fields["last_frame_url"]]
        case "kling-3.0/video":
            assert "last_frame_url" not in fields
            return list(fields["image_urls"])
        case _:
            return [fields["start_image_url"], fields["end_image_url"]]


def is_about(picture: Image.Image, colour: tuple[int, int, int]) -> bool:
    """Whether the middle of the picture has this colour."""
    found = picture.convert("RGB").getpixel((picture.width // 2, picture.height // 2))
    assert isinstance(found, tuple)
    return all(abs(one - other) < 12 for one, other in zip(found, colour, strict=True))


@pytest.mark.parametrize("model_id", [LAST_FRAME_URL, LIST_OF_TWO, END_IMAGE_URL])
async def test_both_photos_reach_the_provider_composed_and_uploaded_once(workshop: Workshop, model_id: str) -> None:
    model = workshop.catalogue.models[model_id]
    generation = await workshop.finish(await workshop.order(model))
    assert generation.state is GenerationState.COMPLETED

    [task] = await workshop.seen(model.provider, "tasks")
    assert task["model"] == model_id
    urls = frames_of(model, task["input"])
    assert len(set(urls)) == 2
    assert urls == [generation.frame_url, generation.last_frame_url]
    first, last = [await workshop.frame(url) for url in urls]
    assert first.size == last.size == FRAME_SIZE
    assert is_about(first, FRONT)
    assert is_about(last, BACK)

    assert len(await workshop.seen(model.provider, "requests", route="upload")) == 2
    other = "fal" if model.provider == "kie" else "kie"
    assert await workshop.seen(other, "requests", route="upload") == []
    assert await workshop.seen(other, "tasks") == []
    assert await violations(workshop.database) == []


async def test_when_another_provider_takes_over_it_gets_both_photos_too(workshop: Workshop) -> None:
    fault = {"kind": "code", "code": 433, "msg": "This key is limited", "route": "createTask", "times": 100}
    (await workshop.client.post(f"{workshop.urls['kie']}/sim/faults", json=fault)).raise_for_status()
    generation = await workshop.finish(await workshop.order(workshop.catalogue.models[LIST_OF_TWO]))
    assert generation.state is GenerationState.COMPLETED

    [task] = await workshop.seen("fal", "tasks")
    urls = frames_of(workshop.catalogue.models[task["model"]], task["input"])
    assert urls == [generation.frame_url, generation.last_frame_url]
    first, last = [await workshop.frame(url) for url in urls]
    assert is_about(first, FRONT)
    assert is_about(last, BACK)
    for provider in ("kie", "fal"):
        assert len(await workshop.seen(provider, "requests", route="upload")) == 2
    assert await violations(workshop.database) == []


async def test_a_second_photo_that_the_template_has_no_use_for_is_not_uploaded(workshop: Workshop) -> None:
    generation = await workshop.finish(await workshop.order(workshop.catalogue.models[LAST_FRAME_URL], "hero_broll"))
    assert generation.state is GenerationState.COMPLETED
    [task] = await workshop.seen("kie", "tasks")
    assert "last_frame_url" not in task["input"]
    assert len(await workshop.seen("kie", "requests", route="upload")) == 1
    assert generation.last_frame_url is None
