"""What is on sale: templates and the models that make their videos. The files in `content/` hold the values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
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


JsonValue = str | int | float | bool | list[str]


@dataclass(frozen=True)
class Model:
    """A profile of a video model: data, because models live for months.

    `constants` are input fields sent as they are. `seconds_allowed` are the lengths the model can make, in seconds.
    `prompt_characters` is the longest prompt it takes.
    """

    id: str
    title: str
    provider: str
    retired: bool
    seconds: int
    seconds_allowed: tuple[int, ...]
    min_width: int
    min_height: int
    prompt_characters: int
    prompt_field: Field
    frame_field: Field
    seconds_field: Field
    constants: Mapping[str, JsonValue]

    def input(self, *, prompt: str, frame_url: str, seconds: int) -> dict[str, JsonValue]:
        """The `input` object of a submit, typed the way this model wants it."""
        return {
            **self.constants,
            self.prompt_field.name: _encode(self.prompt_field, prompt[: self.prompt_characters]),
            self.frame_field.name: _encode(self.frame_field, frame_url),
            self.seconds_field.name: _encode(self.seconds_field, seconds),
        }


def _encode(field: Field, value: str | int) -> JsonValue:
    match field.wire:
        case Wire.TEXT:
            return str(value)
        case Wire.INTEGER:
            return int(value)
        case Wire.LIST:
            return [str(value)]


@dataclass(frozen=True)
class Template:
    """A product on sale: the recipe for the prompt and its price in credits for one video.

    `brief` tells the prompt writer what to write. `text` is the prompt used when there is no writer, with the slots
    {description} and {wishes}. `own_words` marks the template whose description is the customer's own prompt.
    """

    id: str
    version: int
    price_credits: int
    own_words: bool
    brief: str
    text: str

    def prompt(self, *, description: str, wishes: str) -> str:
        """The template's own prompt for a product; used when the prompt writer is absent or fails."""
        slots = {"description": description, "wishes": f"{wishes.rstrip('.')}." if wishes else ""}
        # Replaced in one pass, not formatted: a brace that a customer typed is a letter and not a slot.
        filled = re.sub(r"\{(description|wishes)\}", lambda slot: slots[slot[1]], self.text)
        return " ".join(filled.split())


@dataclass(frozen=True)
class Catalogue:
    """Everything on sale, in the order in which it is offered, and the model that makes it."""

    templates: Mapping[str, Template]
    models: Mapping[str, Model]
    default_model: str

    @property
    def model(self) -> Model:
        return self.models[self.default_model]
