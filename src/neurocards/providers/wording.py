"""Which words may reach a video model: plain sentences in Latin letters that speak of the picture and of nothing else.

A prompt writer reads what strangers typed, and may do what they say. So its words are judged by what they are: whoever
sneaks a link, a price or a word about orders into them gets nothing through.
"""

import re
import unicodedata

PUNCTUATION = frozenset(" .,;:!?'\"()-/%&+°×‐‑–—‘’‚“”„«»•·®©")
"""All that may stand beside letters and digits. No brackets, braces, stars or at-signs: no markup, no names."""

_LINK = r"://|\bwww\.|\bmailto:|[a-z0-9]\.[a-z]{2,}|\bdot (?:com|ru|net|org|me|io|shop|store)\b|\d+\.\d+\.\d+\.\d+"
_PHONE = r"(?:\d[ ().\-‐‑–—/]{0,3}){7,}"
_PRICE = (
    r"\b(?:pric(?:e|es|ed|ing)|discount\w*|cashback|ro?ubles?|usd|euros?|dollars?|bucks|tenge|yuan|rmb|precios?)\b"
    r"|\d ?(?:rub|eur|cents?)\b|% ?off\b|\bpercent off\b"
)
_BUSINESS = (
    r"\bcredit(?!\w* cards?\b)\w*|(?<!\bin )\borders?\b|\brefund\w*|\bpayments?\b|\bcheckout\b|\binvoices?\b"
    r"|\b(?:telegram|whatsapp|viber)\b"
)
_MACHINERY = (
    r"\binstruc\w*|\bprompts?\b|\b(?:system|developer) messages?\b|\bapi keys?\b|\btokens?\b|\bpasswords?\b"
    r"|\b(?:chatgpt|openai|language models?)\b"
    r"|\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:previous|above|prior|earlier|rules?|everything)\b"
)
_ENTITY = r"&#?\w+;"

_FORBIDDEN = {
    "a link": re.compile(_LINK),
    "a phone number": re.compile(_PHONE),
    "a price": re.compile(_PRICE),
    "credits or orders": re.compile(_BUSINESS),
    "instructions": re.compile(_MACHINERY),
    "markup": re.compile(_ENTITY),
}

_COMMON = frozenset({"the", "of", "and", "with", "its", "from", "into", "while", "on", "at", "to", "is", "over", "in"})
"""Words that hardly an English sentence about a clip does without."""

_SPEAKS = re.compile(
    r"\b(?:say|says|saying|said|speaks?|speaking|spoke|dialogue|whisper\w*|voice-?over|voice|narrat\w*|announc\w*"
    r"|exclaim\w*|asks?|asking|tells?|telling)\b"
    r"(?:[^.\"]{0,80}\"|[^.:]{0,40}: *[\w']|[^.,]{0,40}, *')"
)
_SAID = "\N{SECTION SIGN}"
"""Stands for a line that may be said; no text that is judged has this sign."""
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def plain_words(text: str, *, least: int, most: int) -> str:
    """The text with its blanks and odd letter forms made plain; raises ValueError unless it may go to a video model.

    `least` and `most` are characters.
    """
    # Letters in disguise (full-width, mathematical, ligatures) become the letters that they look like.
    text = " ".join(unicodedata.normalize("NFKC", text).replace("\N{FRACTION SLASH}", "/").split())
    if not least <= len(text) <= most:
        raise ValueError(f"{len(text)} characters instead of {least} to {most}")
    if strange := next((letter for letter in text if not _is_plain(letter)), None):
        raise ValueError(f"the character U+{ord(strange):04X}")
    compared = _compared(text)
    for what, pattern in _FORBIDDEN.items():
        if pattern.search(compared):
            raise ValueError(what)
    return text


def is_english(text: str) -> bool:
    """Whether the text has what English sentences have; tells other languages in Latin letters from it."""
    return len(_COMMON & set(_WORD.findall(_compared(text)))) >= 2


def word_count(text: str) -> int:
    """The words that somebody would have to say."""
    return len(_WORD.findall(text))


def contains(text: str, line: str) -> bool:
    """Whether the line stands in the text word for word; quotation marks and its last full stop do not count."""
    return _bare_line(line) in _compared(text)


def speaks(text: str, *, besides: str = "") -> bool:
    """Whether somebody says something, in quotation marks or after a colon, other than the line named."""
    compared = _compared(text)
    if besides:
        line = re.escape(_bare_line(besides))
        compared = re.sub(rf"\"{line}[.,!?]*\"|'{line}[.,!?]*'|(?<=: ){line}(?=[.!?]|$)", _SAID, compared)
    return _SPEAKS.search(compared) is not None


def _is_plain(letter: str) -> bool:
    if letter.isascii():
        return letter.isalnum() or letter in PUNCTUATION
    return letter in PUNCTUATION or unicodedata.name(letter, "").startswith(
        ("LATIN SMALL LETTER ", "LATIN CAPITAL LETTER ")
    )


def _compared(text: str) -> str:
    """The text as patterns see it: small letters without accents, straight quotation marks."""
    letters = unicodedata.normalize("NFD", text.casefold())
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return re.sub("[“”„«»]", '"', re.sub("[‘’‚]", "'", bare))


def _bare_line(line: str) -> str:
    return _compared(line).strip(" .,!?\"'")
