"""Formatted text as Telegram keeps it: plain text beside entities whose offsets count UTF-16 units.

The HTML reader is as strict as Telegram's and refuses with its words; it knows only Telegram's tags.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from neurocards.simulators.telegram.errors import Json, bad_request

_ENTITY_OF_TAG = {
    "a": "text_link",
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "u": "underline",
    "ins": "underline",
    "tg-spoiler": "spoiler",
    "span": "spoiler",
    "tg-emoji": "custom_emoji",
    "pre": "pre",
    "code": "code",
    "blockquote": "blockquote",
}
_TAG_OF_ENTITY = {
    "bold": "b",
    "italic": "i",
    "strikethrough": "s",
    "underline": "u",
    "spoiler": "tg-spoiler",
    "pre": "pre",
    "code": "code",
    "blockquote": "blockquote",
}
_END = "\0"
_SPACES = frozenset(" \t\r\n\0\v")
_CHARACTER_REFERENCE = re.compile(r"&(?:(lt|gt|amp|quot)|#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6}));?")
_NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
_LINK = re.compile(r"(https?|tg|ton|mailto|tel):", re.IGNORECASE)
_COMMAND = re.compile(r"(?<![\w/])/\w{1,64}(?:@\w{3,32})?(?![\w/])", re.ASCII)


@dataclass(frozen=True)
class FormattedText:
    """What a message says: the text without markup, and where which format applies."""

    text: str
    entities: tuple[Json, ...] = ()

    def as_html(self) -> str:
        """The text as safe HTML, ready for a page."""
        units = self.text.encode("utf-16-le")
        outer_first = sorted(self.entities, key=lambda entity: (entity["offset"], -entity["length"]))
        return _html_of(units, outer_first, 0, len(units) // 2)


NO_TEXT = FormattedText("")


def read_formatted(
    values: Mapping[str, Any],  # fields of a call, from a form or from JSON
    *,
    field_name: str,
    entities_name: str,
    limit: int,
) -> FormattedText:
    """The text in a call's field, read by its `parse_mode` or `entities`; refuses what is too long."""
    raw = values.get(field_name)
    source = "" if raw is None else str(raw)
    mode = str(values.get("parse_mode") or "").lower()
    entities = values.get(entities_name)
    if isinstance(entities, list) and entities:
        formatted = FormattedText(source, tuple(map(_checked_entity, entities)))
    elif mode == "html":
        formatted = parse_html(source)
    elif mode:
        raise bad_request("unsupported parse_mode")
    else:
        formatted = FormattedText(source)
    formatted = _stripped(formatted)
    if len(formatted.text) > limit:
        raise bad_request("message caption is too long" if field_name == "caption" else "message is too long")
    return formatted


def parse_html(source: str) -> FormattedText:
    """Read Telegram's HTML; anything unbalanced or unknown is refused."""
    return _HtmlReader(source).read()


def typed_text(text: str) -> FormattedText:
    """What a person typed: no markup, but commands are marked as Telegram marks them."""
    text = text.strip()
    entities = tuple(
        {"type": "bot_command", "offset": utf16_length(text[: m.start()]), "length": utf16_length(m.group())}
        for m in _COMMAND.finditer(text)
    )
    return FormattedText(text, entities)


def utf16_length(text: str) -> int:
    """Telegram's measure of offsets: characters outside the basic plane count twice."""
    return len(text) + sum(character > "\uffff" for character in text)


def _checked_entity(raw: object) -> Json:
    entity = raw if isinstance(raw, dict) else {}
    offset, length = entity.get("offset"), entity.get("length")
    if not isinstance(entity.get("type"), str) or not isinstance(offset, int) or not isinstance(length, int):
        raise bad_request("can't parse MessageEntity")
    return entity


def _stripped(formatted: FormattedText) -> FormattedText:
    text = formatted.text.strip()
    if len(text) == len(formatted.text):
        return formatted
    removed = utf16_length(formatted.text[: len(formatted.text) - len(formatted.text.lstrip())])
    end = utf16_length(text)
    kept = []
    for entity in formatted.entities:
        start = max(entity["offset"] - removed, 0)
        stop = min(entity["offset"] + entity["length"] - removed, end)
        if stop > start:
            kept.append({**entity, "offset": start, "length": stop - start})
    return FormattedText(text, tuple(kept))


def _html_of(units: bytes, entities: Sequence[Json], start: int, stop: int) -> str:
    """The HTML of a stretch of UTF-16 text; an entity that crosses its container's end is cut there."""
    pieces: list[str] = []
    at = start
    for number, entity in enumerate(entities):
        begin, end = entity["offset"], min(entity["offset"] + entity["length"], stop)
        if begin < at or end <= begin:
            continue
        pieces.append(_escaped(units, at, begin))
        before, after = _html_tags(entity)
        pieces += before, _html_of(units, entities[number + 1 :], begin, end), after
        at = end
    return "".join(pieces) + _escaped(units, at, stop)


def _escaped(units: bytes, start: int, stop: int) -> str:
    return escape(units[2 * start : 2 * stop].decode("utf-16-le", errors="replace"), quote=False)


def _html_tags(entity: Json) -> tuple[str, str]:
    match entity["type"]:
        case "text_link" if _LINK.match(str(entity.get("url"))):
            return f'<a href="{escape(str(entity["url"]))}">', "</a>"
        case "pre" if entity.get("language"):
            return f'<pre><code class="language-{escape(str(entity["language"]))}">', "</code></pre>"
        case "expandable_blockquote":
            return "<blockquote expandable>", "</blockquote>"
        case type:
            tag = _TAG_OF_ENTITY.get(type)
            return (f"<{tag}>", f"</{tag}>") if tag else ("", "")


@dataclass(frozen=True)
class _OpenTag:
    name: str
    offset: int
    position: int
    argument: str


@dataclass
class _HtmlReader:
    source: str
    at: int = 0
    text: list[str] = field(default_factory=list)
    length: int = 0
    open_tags: list[_OpenTag] = field(default_factory=list)
    entities: list[Json] = field(default_factory=list)

    def read(self) -> FormattedText:
        self.source = self.source.replace(_END, " ") + _END
        while self.source[self.at] != _END:
            if self.source[self.at] != "<":
                self._append(self._character())
            elif self.source[self.at + 1] == "/":
                self._end_tag()
            else:
                self._start_tag()
        if self.open_tags:
            raise _refused(f'Can\'t find end tag corresponding to start tag "{self.open_tags[-1].name}"')
        # Outer before inner, as Telegram lists them; of two with equal range the outer one closed last.
        self.entities.reverse()
        self.entities.sort(key=lambda entity: (entity["offset"], -entity["length"]))
        return FormattedText("".join(self.text), tuple(self.entities))

    def _append(self, characters: str) -> None:
        self.text.append(characters)
        self.length += utf16_length(characters)

    def _character(self) -> str:
        if self.source[self.at] == "&" and (found := _CHARACTER_REFERENCE.match(self.source, self.at)):
            name, decimal, hexadecimal = found.groups()
            code = int(decimal) if decimal else int(hexadecimal, 16) if hexadecimal else 0
            if name or (0 < code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF):
                self.at = found.end()
                return _NAMED[name] if name else chr(code)
        self.at += 1
        return self.source[self.at - 1]

    def _start_tag(self) -> None:
        begin = self.at
        self.at += 1
        name = self._take_until(_SPACES | {">"}).lower()
        if self.source[self.at] == _END:
            raise _refused(f"Unclosed start tag at byte offset {self._byte(begin)}")
        if name not in _ENTITY_OF_TAG:
            raise _refused(f'Unsupported start tag "{name}" at byte offset {self._byte(begin)}')
        attributes = self._attributes(name, begin)
        self.at += 1
        argument = ""
        match name:
            case "a":
                argument = attributes.get("href", "")
            case "code":
                argument = attributes.get("class", "").removeprefix("language-")
            case "tg-emoji":
                argument = attributes.get("emoji-id", "")
            case "blockquote":
                argument = "expandable" if "expandable" in attributes else ""
            case "span" if attributes.get("class") != "tg-spoiler":
                raise _refused(f'Tag "span" must have class "tg-spoiler" at byte offset {self._byte(begin)}')
        self.open_tags.append(_OpenTag(name, self.length, len(self.text), argument))

    def _attributes(self, tag: str, begin: int) -> dict[str, str]:
        unclosed = f'Unclosed start tag "{tag}" at byte offset {self._byte(begin)}'
        attributes: dict[str, str] = {}
        while True:
            self._skip_spaces()
            if self.source[self.at] == ">":
                return attributes
            if self.source[self.at] == _END:
                raise _refused(unclosed)
            name = self._take_until(_SPACES | set("=>/\"'")).lower()
            if not name:
                raise _refused(f'Empty attribute name in the tag "{tag}" at byte offset {self._byte(begin)}')
            self._skip_spaces()
            attributes[name] = ""
            if self.source[self.at] == "=":
                self.at += 1
                self._skip_spaces()
                attributes[name] = self._attribute_value()

    def _attribute_value(self) -> str:
        quote = self.source[self.at]
        if quote not in "\"'":
            begin = self.at
            token = re.compile(r"[A-Za-z0-9.-]*").match(self.source, self.at)
            self.at = token.end() if token else self.at
            if self.source[self.at] not in _SPACES | {">"}:
                raise _refused(f"Unexpected end of name token at byte offset {self._byte(begin)}")
            return self.source[begin : self.at].lower()
        self.at += 1
        value = []
        while self.source[self.at] not in (quote, _END):
            value.append(self._character())
        if self.source[self.at] == quote:
            self.at += 1
        return "".join(value)

    def _end_tag(self) -> None:
        begin = self.at
        if not self.open_tags:
            raise _refused(f"Unexpected end tag at byte offset {self._byte(begin)}")
        self.at += 2
        name = self._take_until(_SPACES | {">"}).lower()
        self._skip_spaces()
        if self.source[self.at] != ">":
            raise _refused(f"Unclosed end tag at byte offset {self._byte(begin)}")
        self.at += 1
        opened = self.open_tags.pop()
        if name and name != opened.name:
            raise _refused(
                f'Unmatched end tag at byte offset {self._byte(begin)}, expected "</{opened.name}>", found "</{name}>"'
            )
        if self.length > opened.offset:
            self._add_entity(opened)

    def _add_entity(self, tag: _OpenTag) -> None:
        entity: Json = {
            "type": _ENTITY_OF_TAG[tag.name],
            "offset": tag.offset,
            "length": self.length - tag.offset,
        }
        match tag.name:
            case "a":
                url = tag.argument or "".join(self.text[tag.position :])
                if ":" not in url:
                    url = f"http://{url}"
                elif not _LINK.match(url):
                    return  # Telegram shows the words and drops the link.
                entity["url"] = url
            case "tg-emoji":
                entity["custom_emoji_id"] = tag.argument
            case "blockquote" if tag.argument:
                entity["type"] = "expandable_blockquote"
            case "code" if tag.argument:
                entity["language"] = tag.argument
            case "pre" if self.entities and self._is_code_of_all(self.entities[-1], entity):
                code = self.entities.pop()
                entity |= {"language": code["language"]} if "language" in code else {}
        # A language belongs to a block: a lone <code class="language-..."> is ordinary code.
        if tag.name == "code" and not (self.open_tags and self.open_tags[-1].name == "pre"):
            entity.pop("language", None)
        self.entities.append(entity)

    @staticmethod
    def _is_code_of_all(inner: Json, outer: Json) -> bool:
        same_place = (inner["offset"], inner["length"]) == (outer["offset"], outer["length"])
        return inner["type"] == "code" and same_place

    def _take_until(self, stops: frozenset[str] | set[str]) -> str:
        begin = self.at
        while self.source[self.at] not in stops:
            self.at += 1
        return self.source[begin : self.at]

    def _skip_spaces(self) -> None:
        while self.source[self.at] in _SPACES and self.source[self.at] != _END:
            self.at += 1

    def _byte(self, position: int) -> int:
        return len(self.source[:position].encode(errors="surrogatepass"))


def _refused(reason: str) -> Exception:
    return bad_request(f"can't parse entities: {reason}")
