"""Writes what a model might have answered: believable English about the product, in the shape a schema asks for.

Equal requests get equal answers.
"""

import hashlib
import json
import re
from collections.abc import Sequence

from pydantic import JsonValue

Schema = dict[str, JsonValue]

PRODUCT_CHARACTERS = 200
MAX_DEPTH = 12
_PRODUCT_LINE = re.compile(
    r"^\W*(?:the )?(?:product|item|description|title|товар|описание|название)\b[^:\n]{0,40}:\s*(\S.*)$",
    re.IGNORECASE | re.MULTILINE,
)

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


def product_words(text: str) -> str:
    """What the request says the product is: a line that names it, else the first line."""
    named = _PRODUCT_LINE.search(text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    words = named[1] if named else (lines[0] if lines else "the product")
    return words.strip()[:PRODUCT_CHARACTERS].strip()


class Writer:
    """Writes about one product; which of several phrasings it takes is decided by the request's text."""

    def __init__(self, text: str) -> None:
        self._product = product_words(text)
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
        schema = _resolved(schema, root)
        if "const" in schema:
            return schema["const"]
        if isinstance(choices := schema.get("enum"), list) and choices:
            return choices[0]
        match _kind(schema):
            case "object":
                return self._object(schema, root, depth)
            case "array":
                least = _number(schema, "minItems", 1)
                most = max(least, min(3, _number(schema, "maxItems", 3)))
                count = most if depth else least
                return [self._value(name, schema.get("items", {}), root, depth - 1) for _ in range(count)]
            case "string":
                return self._text(name, schema)
            case "integer" | "number":
                return self._amount(schema)
            case "boolean":
                return True
            case _:
                return None

    def _object(self, schema: Schema, root: Schema, depth: int) -> JsonValue:
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            return {}
        required = schema.get("required")
        # A schema may contain itself; below a certain depth only what must be there is written.
        wanted = properties if depth > 0 or not isinstance(required, list) else required
        return {name: self._value(name, properties[name], root, depth - 1) for name in map(str, wanted)}

    def _text(self, name: str, schema: Schema) -> str:
        text = self._about(name.lower())
        shortest = _number(schema, "minLength", 0)
        while len(text) < shortest:
            text = f"{text} {self._about('')}"
        longest = _number(schema, "maxLength", len(text))
        return text if len(text) <= longest else text[:longest].rsplit(" ", 1)[0].ljust(shortest)[:longest]

    def _about(self, name: str) -> str:
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
        return (
            f"{self._product}, {self._pick(_SCENES)}. The camera makes {self._pick(_MOVES)}. Natural light, "
            "shallow depth of field, true colours. The product keeps its exact shape, materials and printed "
            f"text for the whole clip. Sound: {self._pick(_SOUNDS)}."
        )

    def _amount(self, schema: Schema) -> int | float:
        least, most = schema.get("minimum"), schema.get("maximum")
        if isinstance(least, int | float):
            return least
        return min(1, most) if isinstance(most, int | float) else 1

    def _pick(self, phrases: Sequence[str]) -> str:
        return phrases[self._digest[len(phrases)] % len(phrases)]


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
