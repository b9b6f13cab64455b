"""An operator's own model is a file in a folder: it works end to end, and one that will not do is refused by name."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flow.crew import Crew, environment
from neurocards.catalogue import CONTENT, load_catalogue
from neurocards.db import generations, orders
from neurocards.db.connection import Database
from neurocards.db.orders import Outcome
from neurocards.ordering import place_order
from neurocards.storage import open_store
from services import Simulators
from shop import new_customer, new_draft

ROOT = Path(__file__).parent.parent.parent

HOUSE_MODEL = "minimax-h3/image-to-video"
HOUSE_PROFILE = """
id = "minimax-h3/image-to-video"
title = "House"
provider = "kie"
seconds_allowed = [4, 10]
min_width = 720
min_height = 1280
aspect = "image"
prompt_characters = 2000
sound = true
people = true
speech = ["en"]
usual_seconds = 60
price_credits = 1

[cost]
usd_per_video = 0.4321

[fields]
prompt = { name = "prompt", wire = "text" }
frame = { name = "first_frame_url", wire = "text" }
seconds = { name = "duration", wire = "integer" }

[constants]
resolution = "768P"
"""

HOUSE_TEMPLATE = """
id = "house"
version = 1
price_credits = 1
seconds = 10
photos = 1
speech_words = 0
brief = "A shot of the product."
text = "A shot of {description} in {place}. {wishes}"

[slots]
place = "a bright room"

[sample]
description = "A mug"
"""


def shelved(folder: Path, *, model: str | None = None, template: str | None = None) -> Path:
    """An operator's folder with these files."""
    for kind, text in (("models", model), ("templates", template)):
        if text is not None:
            (folder / kind).mkdir(parents=True)
            (folder / kind / "house.toml").write_text(text, "utf-8")
    return folder


async def test_a_profile_in_a_folder_of_ones_own_works_end_to_end(
    dsn: str, database: Database, simulators: Simulators, tmp_path: Path, photo: bytes
) -> None:
    """A real worker makes what was sold of it: for its price, with its fields, in its name."""
    own = shelved(tmp_path / "content", model=HOUSE_PROFILE)
    catalogue = load_catalogue(own=own, preferred_model=HOUSE_MODEL)
    draft_id = await new_draft(database, await new_customer(database, free=1))
    await open_store(None, tmp_path).put("photos/1", photo)
    placement = await place_order(database, catalogue, draft_id, "hero_broll", deadline_seconds=3600, open_limit=9)
    assert placement.outcome is Outcome.PLACED

    surroundings = environment(
        tmp_path,
        DATABASE_URL=dsn,
        BOT_TOKEN=f"7500001:{'c' * 35}",
        KIE_API_KEY="test-key",
        CONTENT_FOLDER=str(own),
        VIDEO_MODEL=HOUSE_MODEL,
        TELEGRAM_API_URL=simulators.telegram,
        KIE_API_URL=simulators.kie,
        KIE_UPLOAD_URL=simulators.kie,
    )
    async with Crew(surroundings, tmp_path / "logs") as crew, asyncio.timeout(60):
        await crew.start("worker")
        while True:
            async with database.transaction() as tx:
                (generation,) = await generations.of_order(tx, draft_id)
                (attempt,) = await generations.attempts(tx, generation.id) or (None,)
                order = await orders.find(tx, draft_id)
            if generation.state.ended:
                break
            await asyncio.sleep(0.1)

    assert generation.state.value == "completed"
    assert order is not None
    assert attempt is not None
    assert (order.model, order.seconds, attempt.model, attempt.cost_usd) == (HOUSE_MODEL, 10, HOUSE_MODEL, 0.4321)
    (task,) = (await simulators.client.get(f"{simulators.kie}/sim/tasks")).json()
    assert {name: task["input"][name] for name in ("duration", "resolution")} == {"duration": 10, "resolution": "768P"}


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("models", 'title = "House"\n', "", "title: Field required"),
        ("models", "sound = true", 'sound = "loud"', "sound: Input should be a valid boolean"),
        ("models", 'provider = "kie"', 'provider = "sora"', "provider: Input should be 'kie' or 'fal'"),
        ("models", "usual_seconds = 60", "usual_seconds = 60\ncolour = 1", "colour: Extra inputs are not permitted"),
        ("models", "[4, 10]", '[4, "ten"]', "seconds_allowed.1: Input should be a valid integer"),
        ("models", "[4, 10]", "[]", "seconds_allowed: Tuple should have at least 1 item"),
        ("models", "usd_per_video = 0.4321", "usd_by_seconds = { 4 = 0.2 }", "cost.usd_by_seconds must have a price"),
        ("models", "usd_per_video = 0.4321", "usd_per_video = 1\nusd_per_second = 1", "cost: exactly one of"),
        (
            "models",
            "usd_per_video = 0.4321",
            "usd_per_video = -1",
            "cost.usd_per_video: Input should be greater than 0",
        ),
        ("models", 'name = "duration"', 'name = "prompt"', "fields: prompt is used twice"),
        ("models", 'resolution = "768P"', "duration = 5", "fields: duration is used twice"),
        ("models", 'wire = "integer"', 'wire = "number"', "fields.seconds.wire: Input should be 'text'"),
        (
            "models",
            'frame_url", wire = "text"',
            'frame_url", wire = "integer"',
            "fields.frame.wire: words and addresses are text or list",
        ),
        ("models", "price_credits = 1", "retires = soon", "house.toml: Invalid value"),
        ("templates", "{place}", "{places}", "text: nothing fills places"),
        ("templates", "{description}", "it", "text: there is no {description} slot"),
        ("templates", " in {place}", "", "slots: the text has no place for place"),
        ("templates", "photos = 1", "photos = 2", "photos: two are needed where wants.last_frame is true"),
        ("templates", "version = 1", "version = 0", "version: Input should be greater than 0"),
    ],
)
def test_a_file_that_will_not_do_is_refused_with_its_name_its_field_and_why(
    tmp_path: Path, file: str, old: str, new: str, told: str
) -> None:
    good = {"models": HOUSE_PROFILE, "templates": HOUSE_TEMPLATE}[file]
    assert good.count(old) == 1
    own = shelved(tmp_path / "content", **{file.removesuffix("s"): good.replace(old, new)})
    finished = subprocess.run(
        [sys.executable, "-m", "neurocards", "audit"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "CONTENT_FOLDER": str(own)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert f"{own / file / 'house.toml'}: {told}".replace("house.toml: house.toml", "house.toml") in finished.stderr
    assert "Traceback" not in finished.stderr


def test_the_files_of_that_table_would_do_as_they_are(tmp_path: Path) -> None:
    own = shelved(tmp_path / "content", model=HOUSE_PROFILE, template=HOUSE_TEMPLATE)
    catalogue = load_catalogue(CONTENT, own=own, preferred_model=HOUSE_MODEL)
    assert catalogue.models[HOUSE_MODEL].title == "House"
    assert list(catalogue.templates)[-1] == "house"
