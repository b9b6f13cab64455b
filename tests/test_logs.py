"""T19, T20: no log line carries a bot's token, wherever a library puts it, and none is written by strangers."""

import json
import logging
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
import structlog

from neurocards.logs import set_up_logs

TOKEN = "1234567890:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_t19_a_token_is_masked_in_words_addresses_and_tracebacks(log_format: str) -> None:
    root = logging.getLogger()
    before = (root.handlers, root.level)
    try:
        set_up_logs(log_format)
        heard = StringIO()
        handler = root.handlers[0]
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(heard)
        logging.getLogger("a library").warning("POST https://api.telegram.org/bot%s/getMe", TOKEN)
        try:
            Path(f"/file/bot{TOKEN}/photos/1.jpg").read_bytes()
        except OSError:
            logging.getLogger("another").exception("failed with %s", TOKEN)
    finally:
        root.handlers, root.level = before
    assert heard.getvalue().count("1234567890:***") >= 3
    assert "AAHdq" not in heard.getvalue()


def heard(log_format: str, tell: Callable[[], None]) -> str:
    """What is logged meanwhile."""
    root = logging.getLogger()
    before = (root.handlers, root.level)
    try:
        set_up_logs(log_format)
        lines = StringIO()
        handler = root.handlers[0]
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(lines)
        tell()
    finally:
        root.handlers, root.level = before
    return lines.getvalue()


def fail(words: str) -> None:
    raise LookupError(words)


FORGED = "Ann\n2026-11-28T00:00:00Z [info] settled\r\x1b[2J\u202e\u2028\x9b1m"
"""A name that ends the line and goes on as another event, clears the screen, and turns the writing round."""


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_t20_what_strangers_write_forges_no_line_and_moves_no_cursor(log_format: str) -> None:
    def tell() -> None:
        log = structlog.get_logger()
        log.info("greeted", name=FORGED, names=[FORGED], of={FORGED: FORGED})
        logging.getLogger("a library").warning("hello %s", FORGED)
        try:
            fail(FORGED)
        except LookupError:
            log.exception("crashed")

    lines = heard(log_format, tell).splitlines()
    assert not any(character in "\x1b\r\u202e\u2028\x9b" for line in lines for character in line)
    events = [line for line in lines if line[:1] not in (" ", "")]
    assert len(events) == 3, lines
    if log_format == "json":
        assert json.loads(lines[0])["name"].startswith("Ann\n2026")


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_t20_no_line_is_longer_than_anybody_reads(log_format: str) -> None:
    def tell() -> None:
        structlog.get_logger().info("greeted", name="x" * 1_000_000, names=["y" * 100_000] * 3)
        try:
            fail("z" * 1_000_000)
        except LookupError:
            structlog.get_logger().exception("crashed")

    assert len(heard(log_format, tell)) < 60_000
