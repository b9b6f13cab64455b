"""`neurocards prompt`: what would be sent is shown whole, and nothing is sent."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from neurocards.demo.samples import draw_product
from neurocards.providers.writing import INSTRUCTIONS
from services import Simulators
from test_cli import command

MODEL = """
id = "house/both-ends"
title = "Both Ends"
provider = "fal"
seconds_allowed = [4, 6]
min_width = 720
min_height = 1280
aspect = "field"
prompt_characters = 1200
sound = true
people = true
speech = ["en", "zh"]
usual_seconds = 60
price_credits = 1
[cost]
usd_by_seconds = { 4 = 0.01, 6 = 0.02 }
[fields]
prompt = { name = "text", wire = "text" }
frame = { name = "first", wire = "text" }
last_frame = { name = "last", wire = "text" }
seconds = { name = "length", wire = "integer" }
negative = { name = "without", wire = "text" }
[constants]
ratio = "9:16"
"""

TEMPLATE = """
id = "house_turn"
version = 1
price_credits = 2
seconds = 6
photos = 2
speech_words = 30
brief = "It turns."
text = "It turns from one side to the other on a plain stand. The product: {description}. {wishes}"
negative = "hands"
[wants]
last_frame = true
[sample]
description = "A jug"
"""

Json = dict[str, Any]  # Any: what the command prints


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "mug.jpg"
    path.write_bytes(draw_product(0))
    return path


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A folder of an operator's own, with a template that needs two photos and a model that takes them."""
    for kind, text in (("models", MODEL), ("templates", TEMPLATE)):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "house.toml").write_text(text, "utf-8")
    return tmp_path


def surroundings(simulators: Simulators) -> dict[str, str]:
    return {
        "OPENAI_BASE_URL": simulators.openai,
        "OPENAI_API_KEY": "sk-test-canary-0123456789",
        "KIE_API_URL": simulators.kie,
        "KIE_UPLOAD_URL": simulators.kie,
        "KIE_API_KEY": "kie-test-canary-0123456789",
    }


async def asked(simulators: Simulators) -> tuple[int, int]:
    """How many requests the writer and the video provider got."""
    writer = (await simulators.client.get(f"{simulators.openai.removesuffix('/v1')}/sim/requests")).json()
    provider = (await simulators.client.get(f"{simulators.kie}/sim/requests")).json()
    return len(writer), len(provider)


def told(photo: Path, *more: str, home: Path, **environment: str) -> Json:
    arguments = ("prompt", str(photo), "--text", "Кружка «Утро» [новая]", "--wishes", "calm", "--json", *more)
    status, output, complaint = command(home, *arguments, **environment)
    assert (status, complaint) == (0, "")
    found: Json = json.loads(output)
    return found


async def test_all_is_shown_and_nothing_is_sent(simulators: Simulators, photo: Path, tmp_path: Path) -> None:
    found = await asyncio.to_thread(told, photo, "--template", "hero_broll", home=tmp_path, **surroundings(simulators))
    assert await asked(simulators) == (0, 0)
    assert found["writer"]["instructions"] == INSTRUCTIONS
    assert '{"product": "Кружка «Утро» [новая]", "wishes": "calm"}' in found["writer"]["question"]
    assert found["writer"]["photo"].startswith("JPEG 576×768, ")
    assert (found["plan"], found["prompt_source"], found["reason"]) == (None, "template", "as VIDEO_MODEL says")
    values = found["request"]["input"]
    assert found["request"]["model"] == "kling/v3-turbo-image-to-video"
    assert values["image_urls"][0].startswith("<frame: 1080×1920 JPEG, ")
    assert "Кружка «Утро» [новая]" in values["prompt"]
    assert (found["cost_usd"], found["price_credits"]) == (pytest.approx(0.09 * int(values["duration"])), 1)
    assert "canary" not in json.dumps(found)


async def test_the_writer_is_asked_where_that_is_wanted(simulators: Simulators, photo: Path, tmp_path: Path) -> None:
    found = await asyncio.to_thread(
        told, photo, "--template", "hero_broll", "--write", home=tmp_path, **surroundings(simulators)
    )
    assert await asked(simulators) == (1, 0)
    assert found["prompt_source"] == "writer"
    assert found["request"]["input"]["prompt"].startswith("Kruzhka Utro novaya")
    assert set(found["plan"]) == {"hook", "shots", "sound", "line"}


async def test_a_writer_that_fails_is_told_of(simulators: Simulators, photo: Path, tmp_path: Path) -> None:
    sim = simulators.openai.removesuffix("/v1")
    (await simulators.client.post(f"{sim}/sim/faults", json={"kind": "cyrillic"})).raise_for_status()
    found = await asyncio.to_thread(
        told, photo, "--template", "hero_broll", "--write", home=tmp_path, **surroundings(simulators)
    )
    assert (found["prompt_source"], found["plan"]) == ("template", None)
    assert "writer: prompt: the character U+" in found["writer_failure"]


def test_two_photos_and_a_model_of_ones_own(photo: Path, house: Path) -> None:
    found = told(photo, "--template", "house_turn", "--second", str(photo), home=house, CONTENT_FOLDER=str(house))
    assert found["request"]["model"] == "house/both-ends"
    values = found["request"]["input"]
    assert (values["ratio"], values["length"]) == ("9:16", 6)
    assert values["first"].startswith("<frame: 1080×1920")
    assert values["last"].startswith("<last frame: 1080×1920")
    assert values["without"].endswith("hands")
    assert "Speech: one line of at most 16 words, or none; languages: en." in found["writer"]["question"]
    assert (found["cost_usd"], found["price_credits"]) == (0.02, 2)


def test_people_read_it_too(photo: Path, tmp_path: Path) -> None:
    status, output, _ = command(
        tmp_path, "prompt", str(photo), "--template", "hero_broll", "--text", "A [bold]mug[/bold] " + "very " * 60
    )
    assert status == 0
    assert "A [bold]mug[/bold] very very" in output
    assert INSTRUCTIONS.strip() in output
    assert "sold for 1 credit." in output


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nothing.jpg", "--template", "hero_broll"], "nothing.jpg: No such file or directory"),
        ([".", "--template", "hero_broll"], ".: Is a directory"),
        (["text.jpg", "--template", "hero_broll"], "the photo cannot be used: not an image"),
        (["mug.jpg", "--template", "nope"], "there is no template 'nope'; there are ugc_blogger, hero_broll, "),
        (["mug.jpg", "--template", "hero_broll", "--model", "sora-9"], "there is no model 'sora-9'; there are "),
        (
            ["mug.jpg", "--template", "hero_broll", "--model", "sora-2-image-to-video"],
            "the model sora-2-image-to-video is retired since 2026-09-24",
        ),
        (
            ["mug.jpg", "--template", "house_turn", "--second", "mug.jpg", "--model", "kling/v3-turbo-image-to-video"],
            "the model kling/v3-turbo-image-to-video cannot make the template house_turn: it takes no last frame",
        ),
        (
            ["mug.jpg", "--template", "hero_broll", "--model", "house/both-ends"],
            "the model house/both-ends cannot make the template hero_broll: it makes 4, 6 seconds, and not ",
        ),
        (["mug.jpg", "--template", "house_turn"], "the template house_turn needs two photos: name the other one with"),
        (["mug.jpg", "--template", "hero_broll", "--second", "mug.jpg"], "takes one photo: leave --second out"),
        (["mug.jpg", "--template", "hero_broll", "--text", " "], "a description has 1 to 1000 characters"),
        (["mug.jpg", "--template", "hero_broll", "--wishes", "x" * 501], "wishes have 500 characters at most"),
        (["mug.jpg", "--template", "hero_broll", "--write"], "OPENAI_API_KEY is not set"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_f78_what_does_not_go_together_is_one_line(
    photo: Path, house: Path, arguments: list[str], complaint: str
) -> None:
    (house / "mug.jpg").write_bytes(photo.read_bytes())
    (house / "text.jpg").write_text("not a picture, however long this text may be", "utf-8")
    words = [] if "--text" in arguments else ["--text", "A mug"]
    status, output, told_why = command(house, "prompt", *arguments, *words, CONTENT_FOLDER=str(house))
    assert (status, output, told_why.count("\n")) == (1, "", 1)
    assert complaint in told_why
