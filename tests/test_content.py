"""What is on sale holds together: profiles speak what their services read, templates fit them, and both read right."""

import json
import math
import re
from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import JsonValue

from neurocards.bot import screens
from neurocards.catalogue import load_catalogue
from neurocards.domain.catalogue import Aspect, Model, Template, spoken_to
from neurocards.domain.orders import MAX_DESCRIPTION_CHARACTERS, MAX_WISHES_CHARACTERS
from neurocards.simulators.kie.models import MODELS as KIE_MODELS
from neurocards.texts import LANGUAGES, translate

CATALOGUE = load_catalogue()
LOCK = CATALOGUE.lock
LIVE = [model for model in CATALOGUE.models.values() if not model.is_retired(date.today())]
KIE = [model for model in CATALOGUE.models.values() if model.provider == "kie"]
FAL = [model for model in CATALOGUE.models.values() if model.provider == "fal"]
TEMPLATES = list(CATALOGUE.templates.values())
DOCUMENT = Path(__file__).parent.parent / "docs" / "models.md"

FRAME, LAST_FRAME = "https://files.example/first.jpg", "https://files.example/last.jpg"

# docs/models.md states the rule.
USD_PER_CREDIT, MOST_OF_IT = 1.50, 0.9
USD_PER_KIE_CREDIT = 0.005

WORDS_IN_TEN_SECONDS = 32
NEGATIVE_CHARACTERS = 500

BANS = r"\b(no|not|never|without|nobody|nothing|none|avoid|don't)\b"
PRAISE = r"\b(cinematic|epic|[48]k|masterpiece|stunning|breathtaking|gorgeous|amazing|perfect|hyper-?realistic)\b"


def ids(one: Model | Template) -> str:
    return one.id


def spoken_input(model: Model, *, seconds: int, last_frame: bool = False) -> dict[str, JsonValue]:
    """The input for the first template, as it arrives at the service."""
    template = TEMPLATES[0]
    told = spoken_to(model, template, LOCK, prompt_of(template))
    values = model.input(
        prompt=told.prompt,
        negative=told.negative,
        frame_url=FRAME,
        last_frame_url=LAST_FRAME if last_frame else None,
        seconds=seconds,
    )
    arrived: dict[str, JsonValue] = json.loads(json.dumps(values))
    return arrived


def prompt_of(template: Template) -> str:
    return template.prompt(description=template.sample.description, wishes=template.sample.wishes)


def words_of(template: Template) -> Iterator[str]:
    """Whatever of a template can reach a model or the prompt writer."""
    yield from (template.brief, template.text, template.negative, *template.slots.values())
    yield from (template.sample.description, template.sample.wishes)


def able(template: Template) -> list[Model]:
    """The live models that can make it at its price."""
    return [
        model
        for model in LIVE
        if model.can(template.wants)
        and template.seconds in model.seconds_allowed
        and model.price_credits <= template.price_credits
    ]


def company(model: Model) -> str:
    """Who made it, whoever rents it out."""
    if model.provider == "kie":
        return KIE_MODELS[model.id].provider
    return "ByteDance" if model.id.startswith("bytedance/") else "Kling"


# Models --------------------------------------------------------------------------------------------------------------


def test_every_model_on_the_services_list_has_a_profile_and_no_retired_one_is_live() -> None:
    assert {model.id for model in KIE} == set(KIE_MODELS)
    assert {model.id for model in LIVE if model.provider == "kie"} == {
        model.id for model in KIE_MODELS.values() if model.is_listed
    }


@pytest.mark.parametrize("model", KIE, ids=ids)
def test_every_kie_profile_speaks_the_strict_input_of_its_model(model: Model) -> None:
    for seconds in model.seconds_allowed:
        wanted = KIE_MODELS[model.id].read(spoken_input(model, seconds=seconds)).wanted()
        assert wanted.image_url == FRAME
        assert wanted.seconds == seconds
        assert wanted.short_side >= model.min_width
        assert wanted.sound == model.sound
        assert wanted.aspect == ("9:16" if model.aspect is Aspect.FIELD else None)


@pytest.mark.parametrize("model", KIE, ids=ids)
def test_every_kie_profile_knows_what_its_model_costs(model: Model) -> None:
    for seconds in model.seconds_allowed:
        wanted = KIE_MODELS[model.id].read(spoken_input(model, seconds=seconds)).wanted()
        usd = wanted.price_credits * USD_PER_KIE_CREDIT
        if model.id == "veo-3-1":
            # Which of its three tiers answers is not known: the profile counts with the dearest.
            assert model.cost.usd(seconds) >= usd
        else:
            assert model.cost.usd(seconds) == pytest.approx(usd)


@pytest.mark.parametrize("model", [model for model in KIE if model.last_frame_field], ids=ids)
def test_a_last_frame_travels_where_the_model_looks_for_it(model: Model) -> None:
    fields = spoken_input(model, seconds=model.seconds_allowed[0], last_frame=True)
    assert KIE_MODELS[model.id].read(fields).wanted().image_url == FRAME
    assert fields.get("last_frame_url") == LAST_FRAME or fields["image_urls"] == [FRAME, LAST_FRAME]


def test_the_fal_profiles_speak_the_documented_input() -> None:
    prompt = f"{prompt_of(TEMPLATES[0])} {LOCK.positive}"
    kling = {"prompt": prompt, "start_image_url": FRAME, "end_image_url": LAST_FRAME, "duration": "10"}
    seedance = {"prompt": prompt, "image_url": FRAME, "end_image_url": LAST_FRAME, "duration": "10"}
    assert {model.id: spoken_input(model, seconds=10, last_frame=True) for model in FAL} == {
        "fal-ai/kling-video/v3/pro/image-to-video": {**kling, "generate_audio": True},
        "fal-ai/kling-video/v3/standard/image-to-video": {**kling, "generate_audio": True},
        "bytedance/seedance-2.0/image-to-video": {**seedance, "resolution": "720p", "generate_audio": True},
    }


@pytest.mark.parametrize("model", CATALOGUE.models.values(), ids=ids)
def test_a_model_is_used_from_the_price_on_that_leaves_a_third(model: Model) -> None:
    seconds = min(model.seconds_allowed, key=lambda one: abs(one - 10))
    usd = model.cost.usd(seconds)
    assert model.price_credits == math.ceil(round(usd / (USD_PER_CREDIT * MOST_OF_IT), 6))


@pytest.mark.parametrize("model", CATALOGUE.models.values(), ids=ids)
def test_the_document_lists_every_profile(model: Model) -> None:
    first, last = model.seconds_allowed[0], model.seconds_allowed[-1]
    whole = len(model.seconds_allowed) == last - first + 1
    seconds = f"{first}–{last}" if whole and last > first else ", ".join(map(str, model.seconds_allowed))
    row = [
        model.title,
        f"`{model.id}`",
        seconds,
        "yes" if model.sound else "no",
        "yes" if model.people else "no",
        "yes" if model.last_frame_field else "no",
        str(model.price_credits),
        model.retires.isoformat() if model.retires else "",
    ]
    assert f"| {' | '.join(row)} |".replace("|  |", "| |") in DOCUMENT.read_text("utf-8")


def test_the_example_of_the_document_is_a_profile(tmp_path: Path) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text("utf-8"), flags=re.DOTALL)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "ours.toml").write_text(example, "utf-8")
    models = load_catalogue(own=tmp_path).models
    [added] = models.keys() - CATALOGUE.models.keys()
    assert f"VIDEO_MODEL={added}" in DOCUMENT.read_text("utf-8")
    model = models[added]
    assert model.price_credits == math.ceil(round(model.cost.usd(10) / (USD_PER_CREDIT * MOST_OF_IT), 6))


# Templates -----------------------------------------------------------------------------------------------------------


def test_ten_templates_are_offered_and_the_own_prompt_comes_last() -> None:
    assert [template.id for template in TEMPLATES] == [
        "ugc_blogger",
        "hero_broll",
        "hero_push_in",
        "lifestyle",
        "texture_macro",
        "unboxing",
        "seasonal",
        "turntable_arc",
        "before_after",
        "own_prompt",
    ]
    assert [template.id for template in TEMPLATES if template.own_words] == ["own_prompt"]


@pytest.mark.parametrize("template", TEMPLATES, ids=ids)
def test_every_template_can_be_made_by_models_of_two_companies(template: Template) -> None:
    assert len({company(model) for model in able(template)}) >= 2


@pytest.mark.parametrize("template", TEMPLATES, ids=ids)
def test_every_template_with_its_sample_fits_every_model_that_can_make_it(template: Template) -> None:
    prompt = prompt_of(template)
    capable = [model for model in LIVE if model.can(template.wants) and template.seconds in model.seconds_allowed]
    for model in capable:
        told = spoken_to(model, template, LOCK, prompt)
        assert told.prompt == f"{prompt} {LOCK.positive}", model.id
        assert len(told.prompt) <= model.prompt_characters
        assert len(told.negative or "") <= NEGATIVE_CHARACTERS


@pytest.mark.parametrize("template", TEMPLATES, ids=ids)
def test_the_longest_words_of_a_seller_fit_the_default_model_whole(template: Template) -> None:
    prompt = template.prompt(description="d" * MAX_DESCRIPTION_CHARACTERS, wishes="w" * MAX_WISHES_CHARACTERS)
    default = CATALOGUE.models["kling/v3-turbo-image-to-video"]
    assert spoken_to(default, template, LOCK, prompt).prompt == f"{prompt} {LOCK.positive}"


@pytest.mark.parametrize("template", TEMPLATES, ids=ids)
def test_no_template_says_what_the_lock_says(template: Template) -> None:
    locked = runs(LOCK.positive) | runs(LOCK.negative)
    for words in words_of(template):
        assert not runs(words) & locked


def runs(text: str) -> set[tuple[str, ...]]:
    """Every five words in a row."""
    words = re.findall(r"[a-z']+", text.lower())
    return {tuple(words[start : start + 5]) for start in range(len(words) - 4)}


@pytest.mark.parametrize("template", TEMPLATES, ids=ids)
def test_the_words_for_a_model_forbid_nothing_and_praise_nothing(template: Template) -> None:
    for words in (template.text, *template.slots.values(), LOCK.positive):
        assert not re.findall(BANS, words, flags=re.IGNORECASE)
    for words in words_of(template):
        assert not re.findall(PRAISE, words, flags=re.IGNORECASE)
        assert not re.findall(r"[а-яё]", words, flags=re.IGNORECASE)


@pytest.mark.parametrize("negative", [LOCK.negative, *(template.negative for template in TEMPLATES)])
def test_negatives_name_things(negative: str) -> None:
    for thing in negative.split(", ") if negative else []:
        assert 1 <= len(thing.split()) <= 3
        assert not re.findall(BANS, thing)


@pytest.mark.parametrize("template", TEMPLATES, ids=ids)
def test_a_spoken_line_is_short_enough_and_only_where_somebody_speaks(template: Template) -> None:
    said = [line for words in words_of(template) for line in re.findall(r'"([^"]+)"', words)]
    assert all(len(line.split()) <= template.speech_words for line in said)
    limits = [int(number) for number in re.findall(r"at most (\d+)\s+words", template.brief)]
    assert limits == ([template.speech_words] if template.speech_words else [])
    assert template.speech_words <= WORDS_IN_TEN_SECONDS * template.seconds / 10
    assert template.wants.sound or not template.speech_words


@pytest.mark.parametrize("template", TEMPLATES, ids=ids)
def test_nothing_is_turned_further_than_the_photos_show(template: Template) -> None:
    assert not re.findall(r"360|full turn|all around|orbit", " ".join(words_of(template)), flags=re.IGNORECASE)
    assert template.wants.last_frame or "turntable" not in template.text


@pytest.mark.parametrize("template", TEMPLATES, ids=ids)
def test_counted_beats_follow_each_other_to_the_end(template: Template) -> None:
    beats = [(int(first), int(last)) for first, last in re.findall(r"Seconds\s+(\d+)-(\d+)", template.text)]
    assert all(before[1] == after[0] for before, after in pairwise(beats))
    assert not beats or (beats[0][0], beats[-1][1]) == (0, template.seconds)


# Words for customers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("template", TEMPLATES, ids=ids)
def test_every_template_has_its_three_texts(template: Template, language: str) -> None:
    name, about, sample = (
        translate(language, f"template-{template.id}-{text}") for text in ("name", "about", "sample")
    )
    assert len(name) <= 18  # Two names share a row of buttons.
    assert about.endswith(".")
    assert about[0].islower()
    assert sample.endswith(".")
    assert len(sample) <= 80
    assert name in (question := screens.ask_description(language, uuid4(), template).text)
    assert f"<i>{sample}</i>" in question


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_templates_fit_one_message(language: str) -> None:
    screen = screens.choose_template(language, uuid4(), CATALOGUE.templates)
    assert len(screen.text) <= 4096
    *rows, _ = screen.buttons
    assert [button.label for row in rows for button in row] == [
        translate(language, f"template-{template.id}-name") for template in TEMPLATES
    ]
    assert max(map(len, rows)) == 2
