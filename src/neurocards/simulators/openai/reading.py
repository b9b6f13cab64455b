"""What a request says, read as a model would read it: what the product is, how long the clip, whether somebody speaks.

Sellers write in any language; the answer is in English, so their words are put into Latin letters.
"""

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import JsonValue

PRODUCT_CHARACTERS = 200
MAX_OBJECTS = 50

_PRODUCT_NAMES = ("product", "item", "description", "title", "товар", "описание", "название")
_WISHES_NAMES = ("wishes", "wish", "пожелания")
_PRODUCT_LINE = re.compile(
    rf"^\W*(?:the )?(?:{'|'.join(_PRODUCT_NAMES)})\b[^:\n]{{0,40}}:\s*(\S.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_SECONDS = re.compile(r"(\d{1,3})[\s-]*(?:s|sec|seconds?|секунд\w*|segundos?|秒)(?![^\W\d_])", re.IGNORECASE)
_LINE_WORDS = re.compile(r"(?:speech|speaks?|says?|spoken|line)\b[^.\n]{0,60}?\b(\d{1,3}) words", re.IGNORECASE)
_LANGUAGE = re.compile(r"languages?\s*:\s*([a-z]{2})\b", re.IGNORECASE)

_CYRILLIC = "абвгдеёжзийклмнопрстуфхцчшщъыьэюяіїєґ"
_SPELLED = "a b v g d e yo zh z i y k l m n o p r s t u f kh ts ch sh shch _ y _ e yu ya i yi ye g"
_LETTERS = dict(zip(_CYRILLIC, _SPELLED.split(" "), strict=True))


@dataclass(frozen=True)
class Wanted:
    """What the clip is to be about. `product` and `wishes` are as they were typed, `seconds` is None if unsaid.

    `line_words` is the longest line that may be spoken, 0 where nobody is to speak; `language` is the line's.
    """

    product: str
    wishes: str
    seconds: int | None
    line_words: int
    language: str

    @property
    def in_english(self) -> str:
        """The product in Latin letters, without what belongs in no picture: links, names, long numbers."""
        return latin(self.product)[:PRODUCT_CHARACTERS].strip(" ,.-") or "the product"


def read_wanted(text: str) -> Wanted:
    """What a person's messages ask for."""
    seconds, words, language = _SECONDS.search(text), _LINE_WORDS.search(text), _LANGUAGE.search(text)
    named = [found for found in json_objects(text) if _said(found, _PRODUCT_NAMES)]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = _PRODUCT_LINE.search(text)
    return Wanted(
        product=_said(named[-1], _PRODUCT_NAMES) if named else line[1].strip() if line else "".join(lines[:1]),
        wishes=_said(named[-1], _WISHES_NAMES) if named else "",
        seconds=int(seconds[1]) if seconds else None,
        line_words=int(words[1]) if words else 0,
        language=language[1].lower() if language else "en",
    )


def demanded_seconds(text: str) -> int | None:
    """The length that the last one who speaks of one asks for."""
    found = _SECONDS.findall(text)
    return int(found[-1]) if found else None


def json_objects(text: str) -> Iterator[dict[str, JsonValue]]:
    """The JSON objects that stand in a text."""
    decoder = json.JSONDecoder()
    place = text.find("{")
    for _ in range(MAX_OBJECTS):
        if place < 0:
            return
        try:
            found, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            end = place + 1
        else:
            yield found
        place = text.find("{", end)


def latin(text: str) -> str:
    """Cyrillic letter by letter, other Latin letters without their accents, and nothing else but plain marks."""
    text = re.sub(r"\S*(?:://|@|\w\.\w\w)\S*|(?:\d[ ()-]{0,2}){7,}", " ", text)
    spelled = "".join(_spelled(letter) for letter in unicodedata.normalize("NFC", text))
    bare = "".join(one for one in unicodedata.normalize("NFKD", spelled) if not unicodedata.combining(one))
    return re.sub(r"\s+([,.])", r"\1", " ".join(re.sub(r"[^A-Za-z0-9 ,.'()%-]", " ", bare).split()))


def _spelled(letter: str) -> str:
    spelled = _LETTERS.get(letter.lower(), letter).replace("_", "")
    return spelled.capitalize() if letter.isupper() and spelled != letter else spelled


def _said(found: dict[str, JsonValue], names: tuple[str, ...]) -> str:
    said = next((value for name, value in found.items() if name.lower() in names), "")
    return said.strip() if isinstance(said, str) else ""
