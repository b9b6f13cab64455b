"""Writes what a model might have answered: believable English about the product, in the shape a schema asks for.

Equal requests get equal answers.
"""

import hashlib
import json
import re
from collections.abc import Sequence

from pydantic import JsonValue

from neurocards.simulators.openai.reading import json_objects, read_wanted

Schema = dict[str, JsonValue]

MAX_DEPTH = 12

_SCENES = (
    "on a pale stone surface beside a window",
    "on a warm oak table in soft morning light",
    "against a seamless sand-coloured backdrop",
    "on a linen cloth with a blurred green plant behind",
)
_MOVES = (
    "a slow, steady push-in with a slight drift to the right",
    "a slow quarter orbit that settles on the label",
    "a gentle tilt up that ends level with the product",
)
_SOUNDS = (
    "quiet room tone and a soft warm pad, no speech",
    "a faint fabric rustle under a calm low chord, no speech",
    "distant birds and airy room tone, no speech",
)


_LANGUAGES = {"en": "English", "es": "Spanish", "pt": "Portuguese", "id": "Indonesian"}


class Writer:
    """Writes about one product; which of several phrasings it takes is decided by the request's text."""

    def __init__(self, text: str, *, seconds: int | None = None) -> None:
        """`seconds` is the clip's length where it is not the one that the text names first."""
        wanted = read_wanted(text)
        self._product = wanted.in_english
        self._seconds = seconds if seconds is not None else wanted.seconds
        self._line = _line(self._product, wanted.line_words)
        self._language = wanted.language
        self._beats: list[int] = []
        self._digest = hashlib.sha256(text.encode()).digest()

    def plain(self) -> str:
        """An answer in free text."""
        return self._prompt()

    def fill(self, schema: Schema) -> JsonValue:
        """A value that satisfies `schema`."""
        return self._value("", schema, schema, MAX_DEPTH)

    def _value(self, name: str, schema: JsonValue, root: Schema, depth: int) -> JsonValue:
        if not isinstance(schema, dict):
            return None
        if not self._line and _is_speech(name) and _may_be_null(schema):
            return None
        schema = _resolved(schema, root)
        if "const" in schema:
            return schema["const"]
        if isinstance(choices := schema.get("enum"), list) and choices:
            return choices[0]
        match _kind(schema):
            case "object":
                return self._object(name, schema, root, depth)
            case "array":
                least = _number(schema, "minItems", 1)
                most = max(least, min(3, _number(schema, "maxItems", 3)))
                count = most if depth else least
                self._beats = _beats(self._seconds, count)
                return [self._value(name, schema.get("items", {}), root, depth - 1) for _ in range(count)]
            case "string":
                return self._text(name, schema)
            case "integer" | "number":
                return self._amount(name, schema)
            case "boolean":
                return True
            case _:
                return None

    def _object(self, name: str, schema: Schema, root: Schema, depth: int) -> JsonValue:
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            return {}
        required = schema.get("required")
        # A schema may contain itself; below a certain depth only what must be there is written.
        wanted = properties if depth > 0 or not isinstance(required, list) else required
        prefix = f"{name} " if _is_speech(name) else ""
        return {
            inner: self._value(f"{prefix}{inner}", properties[inner], root, depth - 1) for inner in map(str, wanted)
        }

    def _text(self, name: str, schema: Schema) -> str:
        text = self._about(name.lower())
        shortest = _number(schema, "minLength", 0)
        while len(text) < shortest:
            text = f"{text} {self._about('')}"
        longest = _number(schema, "maxLength", len(text))
        return text if len(text) <= longest else text[:longest].rsplit(" ", 1)[0].ljust(shortest)[:longest]

    def _about(self, name: str) -> str:
        if "language" in name:
            return self._language
        if _is_speech(name) and self._line:
            return self._line
        if "prompt" in name:
            return self._prompt()
        if "negative" in name:
            return "extra products, warped text, flicker, captions"
        if "hook" in name:
            return f"{self._product} catches the light in the very first frame."
        if "camera" in name or "motion" in name or "move" in name:
            return f"{self._pick(_MOVES).capitalize()}, keeping {self._product} centred."
        if "sound" in name or "audio" in name:
            return f"Sound: {self._pick(_SOUNDS)}."
        if "scene" in name or "setting" in name or "background" in name:
            return f"{self._product}, {self._pick(_SCENES)}."
        if "light" in name:
            return "Soft window light from the left with a gentle falloff."
        if "title" in name or "name" in name or "product" in name:
            return self._product
        return f"{self._product}, shown calmly and truthfully."

    def _prompt(self) -> str:
        language = _LANGUAGES.get(self._language, self._language)
        spoken = f' A person holds it up and says calmly in {language}: "{self._line}."' if self._line else ""
        return (
            f"{self._product}, {self._pick(_SCENES)}. The camera makes {self._pick(_MOVES)}. Natural light, "
            f"shallow depth of field, true colours.{spoken} The camera slows and settles in the last second. "
            f"Sound: {self._pick(_SOUNDS)}."
        )

    def _amount(self, name: str, schema: Schema) -> int | float:
        least, most = schema.get("minimum"), schema.get("maximum")
        if "second" in name and self._beats:
            return self._beats.pop(0)
        if isinstance(least, int | float):
            return least
        return min(1, most) if isinstance(most, int | float) else 1

    def _pick(self, phrases: Sequence[str]) -> str:
        return phrases[self._digest[len(phrases)] % len(phrases)]


def _line(product: str, words: int) -> str:
    """What somebody says of a product, in no more words than that."""
    said = ["Look", "at", "this", *re.findall(r"[A-Za-z]+", product)][: min(words, 12)]
    return " ".join(said)


def _beats(seconds: int | None, count: int) -> list[int]:
    """The seconds shared out among shots."""
    if seconds is None or seconds < count:
        return []
    each, more = divmod(seconds, count)
    return [each + (beat < more) for beat in range(count)]


def _is_speech(name: str) -> bool:
    return any(word in name.lower() for word in ("line", "speech", "spoken", "dialog"))


def _may_be_null(schema: Schema) -> bool:
    options = schema.get("anyOf")
    return isinstance(options, list) and {"type": "null"} in options


def strictness_problem(schema: JsonValue, path: str = "()") -> str | None:
    """Why OpenAI would refuse a schema as strict: every object closed, every property required."""
    if isinstance(schema, list):
        problems = (strictness_problem(item, path) for item in schema)
        return next((problem for problem in problems if problem), None)
    if not isinstance(schema, dict):
        return None
    properties = schema.get("properties")
    if schema.get("type") == "object" or isinstance(properties, dict):
        if schema.get("additionalProperties") is not False:
            return f"In context={path}, 'additionalProperties' is required to be supplied and to be false."
        names = list(properties) if isinstance(properties, dict) else []
        required = schema.get("required")
        missing = [name for name in names if not isinstance(required, list) or name not in required]
        if missing:
            return (
                f"In context={path}, 'required' is required to be supplied and to be an array including every key "
                f"in properties. Missing '{missing[0]}'."
            )
    for key, part in schema.items():
        inner = list(part.values()) if key in ("properties", "$defs") and isinstance(part, dict) else part
        if key not in ("enum", "const", "default", "examples") and (
            problem := strictness_problem(inner, f"('{key}',)")
        ):
            return problem
    return None


def described_schema(text: str) -> Schema | None:
    """The schema that a text shows instead of sending it as one."""
    return next((found for found in json_objects(text) if isinstance(found.get("properties"), dict)), None)


def tokens(text: str) -> int:
    """About as many tokens as a model would count."""
    return len(text) // 4 + 1


def as_json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False)


def _resolved(schema: Schema, root: Schema) -> Schema:
    """The schema with references followed and the first useful alternative chosen."""
    for _ in range(MAX_DEPTH):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            target: JsonValue = root
            for part in reference.removeprefix("#").split("/")[1:]:
                target = target.get(part) if isinstance(target, dict) else None
            schema = target if isinstance(target, dict) else {}
            continue
        options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
        if not isinstance(options, list):
            break
        useful = [option for option in options if isinstance(option, dict) and option.get("type") != "null"]
        schema = useful[0] if useful else {"type": "null"}
    return schema


def _kind(schema: Schema) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((option for option in kind if option != "null"), "null")
    if isinstance(kind, str):
        return kind
    return "object" if "properties" in schema else "string"


def _number(schema: Schema, name: str, default: int) -> int:
    number = schema.get(name)
    return number if isinstance(number, int) else default
