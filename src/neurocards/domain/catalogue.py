"""What is on sale: templates and the models that make their videos. The files in `content/` hold the values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class Wire(StrEnum):
    """How a value travels in a provider's request. Providers are strict: one wants "10", another 10."""

    TEXT = "text"
    INTEGER = "integer"
    LIST = "list"


@dataclass(frozen=True)
class Field:
    """Where one of our values goes in the provider's input, and in which form."""

    name: str
    wire: Wire


class Aspect(StrEnum):
    """What decides the shape of a result."""

    IMAGE = "image"
    """The first frame, which we compose to 9:16."""
    FIELD = "field"
    """A field of the input; the profile's constants say 9:16."""


JsonValue = str | int | float | bool | list[str]


@dataclass(frozen=True)
class Cost:
    """What a video costs us at the provider's list price, in US dollars: so much a second, or by its seconds."""

    usd_per_second: float = 0.0
    usd_by_seconds: Mapping[int, float] | None = None
    usd_per_video: float = 0.0

    def usd(self, seconds: int) -> float:
        """One video of so many seconds."""
        if self.usd_by_seconds is not None:
            return self.usd_by_seconds[seconds]
        return self.usd_per_video + self.usd_per_second * seconds


@dataclass(frozen=True)
class Wants:
    """What a template needs a model to be able to do."""

    sound: bool = False
    people: bool = False
    """To take a photo in which people can be recognised."""
    last_frame: bool = False
    """To end at a given picture."""


@dataclass(frozen=True)
class Model:
    """A profile of a video model: data, because models live for months.

    `retires` is the day from which it is not chosen any more. `seconds_allowed` are the lengths it can make.
    `prompt_characters` is the longest prompt it takes. `speech` are the languages it speaks. `usual_seconds` is how
    long it takes, until that was measured. `price_credits`: it makes only videos that were sold at this or more.
    `constants` are input fields sent as they are.
    """

    id: str
    title: str
    provider: str
    retires: date | None
    seconds_allowed: tuple[int, ...]
    min_width: int
    min_height: int
    aspect: Aspect
    prompt_characters: int
    sound: bool
    people: bool
    speech: tuple[str, ...]
    usual_seconds: float
    price_credits: int
    cost: Cost
    prompt_field: Field
    frame_field: Field
    seconds_field: Field
    last_frame_field: Field | None
    negative_field: Field | None
    constants: Mapping[str, JsonValue]

    def is_retired(self, today: date) -> bool:
        return self.retires is not None and self.retires <= today

    def can(self, wants: Wants) -> bool:
        """Whether it can do what a template needs."""
        return (
            (self.sound or not wants.sound)
            and (self.people or not wants.people)
            and (self.last_frame_field is not None or not wants.last_frame)
        )

    def input(
        self, *, prompt: str, negative: str | None, frame_url: str, last_frame_url: str | None, seconds: int
    ) -> dict[str, JsonValue]:
        """The `input` object of a submit, typed the way this model wants it.

        `negative` and `last_frame_url` go along where the model has a field for them; `prompt` fits already.
        """
        values = {
            **self.constants,
            self.prompt_field.name: _encode(self.prompt_field, prompt),
            self.frame_field.name: _encode(self.frame_field, frame_url),
            self.seconds_field.name: _encode(self.seconds_field, seconds),
        }
        if negative is not None and self.negative_field is not None:
            values[self.negative_field.name] = _encode(self.negative_field, negative)
        if last_frame_url is not None and self.last_frame_field is not None:
            values[self.last_frame_field.name] = (
                [frame_url, last_frame_url]
                if self.last_frame_field == self.frame_field
                else _encode(self.last_frame_field, last_frame_url)
            )
        return values


def _encode(field: Field, value: str | int) -> JsonValue:
    match field.wire:
        case Wire.TEXT:
            return str(value)
        case Wire.INTEGER:
            return int(value)
        case Wire.LIST:
            return [str(value)]


@dataclass(frozen=True)
class Lock:
    """What keeps the product as it is: a sentence for every prompt, and things to avoid where a model has a field."""

    positive: str
    negative: str


@dataclass(frozen=True)
class Sample:
    """What a seller might say to a template."""

    description: str
    wishes: str


@dataclass(frozen=True)
class Template:
    """A product on sale: the recipe for the prompt and its price in credits for one video of `seconds`.

    `photos` is how many the customer sends; the second one is the last frame. `brief` tells the prompt writer what to
    write. `text` is the prompt used when there is no writer, with the slots {description}, {wishes} and those of
    `slots`, filled as they say. `negative` is what must not be seen, for models that have a field for it.
    `speech_words` is the longest line that may be spoken. `own_words` marks the template whose description is the
    customer's own prompt.
    """

    id: str
    version: int
    price_credits: int
    seconds: int
    photos: int
    own_words: bool
    speech_words: int
    brief: str
    text: str
    negative: str
    wants: Wants
    slots: Mapping[str, str]
    sample: Sample

    def prompt(self, *, description: str, wishes: str) -> str:
        """The template's own prompt for a product; used when the prompt writer is absent or fails."""
        filled = {
            **self.slots,
            "description": description,
            "wishes": f"{wishes.rstrip('.')}." if wishes else "",
        }
        # Replaced in one pass, not formatted: a brace that a customer typed is a letter and not a slot.
        words = re.sub(r"\{([a-z_]+)\}", lambda slot: filled.get(slot[1], slot[0]), self.text)
        return " ".join(words.split())


@dataclass(frozen=True)
class Spoken:
    """What a model is told: what to show, and what not to where it can be told so."""

    prompt: str
    negative: str | None


def spoken_to(model: Model, template: Template, lock: Lock, prompt: str) -> Spoken:
    """The prompt as this model gets it. The lock is never cut: a long prompt makes room for it, at a word's end."""
    negative = None
    if model.negative_field is not None:
        negative = ", ".join(part for part in (lock.negative, template.negative) if part)
    return Spoken(f"{_shortened(prompt, prompt_room(model, lock))} {lock.positive}", negative)


def prompt_room(model: Model, lock: Lock) -> int:
    """The longest prompt, in characters, that this model gets whole beside the lock."""
    return model.prompt_characters - len(lock.positive) - 1


def _shortened(text: str, characters: int) -> str:
    if len(text) <= characters:
        return text
    cut = text[:characters]
    sentence = cut.rfind(". ")
    return cut[: sentence + 1] if sentence > characters // 2 else cut.rsplit(" ", 1)[0]


@dataclass(frozen=True)
class Catalogue:
    """Everything on sale, in the order in which it is offered, and the models that make it.

    `preferred_model` makes a video where it can; None leaves every choice to price and success.
    """

    templates: Mapping[str, Template]
    models: Mapping[str, Model]
    lock: Lock
    preferred_model: str | None
