"""T19: no log line carries a bot's token, wherever a library puts it."""

import logging
from io import StringIO
from pathlib import Path

import pytest

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
