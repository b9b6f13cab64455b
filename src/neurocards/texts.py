"""Words for customers, in their language, from `content/texts`. Whatever is missing raises: a test finds it first."""

import re
from functools import cache
from pathlib import Path

from fluent.runtime import FluentBundle, FluentResource
from fluent.syntax import ast

TEXTS = Path(__file__).parent / "content" / "texts"

LANGUAGES = ("ru", "en")

# Where Russian is widely read; everybody else starts in English and can switch.
_RUSSIAN_READERS = frozenset({"ru", "be", "kk", "uk", "ky", "uz", "tg", "tk", "az", "hy"})


# Fluent refuses long values, and a customer's description can be one: strings are put into the formatted text.
_PLACE = re.compile("\ue000([0-9]+)\ue001")


class BadTexts(Exception):
    """A text, or a value it needs, is missing or malformed; the message names the language and the key."""


def translate(language: str, key: str, **arguments: str | int) -> str:
    """The text with this key; raises BadTexts. What a person typed must be escaped by the caller."""
    bundle = _bundle(language)
    if not bundle.has_message(key):
        raise BadTexts(f"{language}: no text {key!r}")
    pattern = bundle.get_message(key).value
    if pattern is None:
        raise BadTexts(f"{language}: text {key!r} is empty")
    values = list(arguments.values())
    places = {
        name: f"\ue000{number}\ue001" if isinstance(value, str) else value
        for number, (name, value) in enumerate(arguments.items())
    }
    text, errors = bundle.format_pattern(pattern, places)
    if errors:
        raise BadTexts(f"{language}: text {key!r}: {errors[0]}")
    return _PLACE.sub(lambda place: str(values[int(place[1])]), str(text))


def guess_language(code: str | None) -> str:
    """The language for somebody whose app speaks `code` ("ru", "pt-br", or nothing)."""
    return "ru" if (code or "").lower().split("-")[0] in _RUSSIAN_READERS else "en"


@cache
def _bundle(language: str) -> FluentBundle:
    if language not in LANGUAGES:
        raise BadTexts(f"{language}: not a language we speak")
    bundle = FluentBundle([language], use_isolating=False)
    seen = set[str]()
    for path in sorted((TEXTS / language).glob("*.ftl")):
        resource = FluentResource(path.read_text("utf-8"))
        for entry in resource.body:
            # Fluent itself skips what it cannot read and what comes twice, without a word.
            if isinstance(entry, ast.Junk):
                raise BadTexts(f"{language}/{path.name}: cannot read {entry.content!r}")
            if isinstance(entry, ast.Message):
                if entry.id.name in seen:
                    raise BadTexts(f"{language}/{path.name}: {entry.id.name} comes twice")
                seen.add(entry.id.name)
        bundle.add_resource(resource)
    return bundle
