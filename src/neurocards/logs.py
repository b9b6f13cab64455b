"""Logs are events with fields. Secrets never reach them: neither ours nor a library's may carry a token.

Nor can what strangers write forge a line, move the reader's cursor or fill the disk: control characters are escaped and
lengths are bounded.
"""

import logging
import re
import sys
from io import StringIO
from typing import TextIO

import structlog
from structlog.types import EventDict, ExcInfo, Processor

# The bot's token is part of every Bot API address, so it would appear wherever a library names one.
_TOKEN = re.compile(r"(?<!\d)(\d{5,}):[A-Za-z0-9_-]{20,}")

MAX_CHARACTERS = 4000
MAX_TRACEBACK_CHARACTERS = 20_000
MAX_ITEMS = 100

# What moves a terminal's cursor, is not seen, or turns the direction of writing; all but what ends a line.
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_BREAK = re.compile("[\t\n\r]")


def set_up_logs(log_format: str, *, level: int = logging.INFO) -> None:
    """Log to standard error, as lines for people (console) or JSON objects (json)."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[Processor] = (
        [structlog.processors.format_exc_info, _tamed, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if log_format == "json"
        else [
            _tamed,
            _on_one_line,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=_write_traceback, sort_keys=False
            ),
        ]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        _MaskingFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for chatty in ("httpx2", "httpcore2", "httpx", "aiogram", "aiohttp", "openai", "psycopg.pool", "fluent"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _tamed(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Every value as far as anybody reads, with what cannot be seen written out. JSON escapes line breaks by itself."""
    return {
        name: value if name == "exc_info" else _tame(value, MAX_TRACEBACK_CHARACTERS if name == "exception" else None)
        for name, value in event.items()
    }


def _tame(value: object, limit: int | None = None) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case list() | tuple() | set() | frozenset():
            return [_tame(item) for item in list(value)[:MAX_ITEMS]]
        case dict():
            return {str(_tame(name)): _tame(item) for name, item in list(value.items())[:MAX_ITEMS]}
        case _:
            return _UNSEEN.sub(_written_out, _shortened(str(value), limit or MAX_CHARACTERS))


def _shortened(text: str, limit: int) -> str:
    """The beginning and the end of what is too long: a traceback says at its end what happened."""
    left_out = len(text) - limit
    return text if left_out <= 0 else f"{text[: limit // 2]} … {left_out} left out … {text[-(limit // 2) :]}"


def _written_out(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _on_one_line(_logger: object, _method: str, event: EventDict) -> EventDict:
    """For people: no value looks like another line."""
    return {name: _BREAK.sub(_written_out, value) if isinstance(value, str) else value for name, value in event.items()}


def _write_traceback(out: TextIO, exc_info: ExcInfo) -> None:
    """For people: set in, so that what looks like a line in the words of an exception is seen to be none."""
    drawn = StringIO()
    structlog.dev.plain_traceback(drawn, exc_info)
    text = str(_tame(drawn.getvalue().replace("\r", "\\r"), MAX_TRACEBACK_CHARACTERS))
    out.write(text.rstrip("\n").replace("\n", "\n    "))


class _MaskingFormatter(structlog.stdlib.ProcessorFormatter):
    """The last thing every line passes, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return _TOKEN.sub(r"\1:***", super().format(record))
