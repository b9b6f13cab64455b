"""The addresses under which outside services reach us, and the secrets that prove they are the ones we gave.

Everything is derived from the bot's token, so that bot and workers agree without another setting. A path may end in
somebody's log: what is compared in a header is never part of one.
"""

import base64
import hmac
from uuid import UUID

TELEGRAM_PATH = "/hooks/telegram"
PROVIDER_PATH = "/hooks"
"""Followed by the provider's name, the attempt's id and what proves that we made the address."""

SELF_TEST_PATH = "/hooks/self-test"
"""Followed by a question and what proves that we ask it; the answer proves that it is us who are asked."""


def webhook_secret(bot_token: str) -> str:
    """What Telegram sends with every update in a header: 64 hexadecimal digits."""
    return hmac.digest(bot_token.encode(), b"telegram webhook", "sha256").hex()


def callback_key(bot_token: str) -> bytes:
    """The key behind every callback address: 32 bytes."""
    return hmac.digest(bot_token.encode(), b"provider callbacks", "sha256")


def webhook_path_token(secret: str) -> str:
    """The part of the webhook's address that nobody guesses."""
    return hmac.digest(secret.encode(), b"webhook path", "sha256").hex()


def webhook_url(public_url: str, secret: str) -> str:
    """Where Telegram delivers updates; `public_url` ends without a slash."""
    return f"{public_url}{TELEGRAM_PATH}/{webhook_path_token(secret)}"


def callback_mac(key: bytes, attempt_id: str) -> str:
    """What only we can have put behind an attempt's id: 43 letters that are safe in an address."""
    return base64.urlsafe_b64encode(hmac.digest(key, attempt_id.encode(), "sha256")).decode().rstrip("=")


def callback_url(public_url: str, key: bytes, provider: str, attempt_id: UUID) -> str:
    """Where a provider tells that the task of this attempt has ended; `public_url` ends without a slash."""
    return f"{public_url}{PROVIDER_PATH}/{provider}/{attempt_id}/{callback_mac(key, str(attempt_id))}"


def self_test_url(public_url: str, key: bytes, question: str) -> str:
    """Where whoever has the callbacks' key can ask whether `public_url` leads to us."""
    return f"{public_url}{SELF_TEST_PATH}/{question}/{self_test_mac(key, question)}"


def self_test_mac(key: bytes, question: str) -> str:
    """What proves that the question is ours."""
    return hmac.digest(_self_test_key(key), f"question {question}".encode(), "sha256").hex()


def self_test_answer(key: bytes, question: str) -> str:
    """What only we can have answered."""
    return hmac.digest(_self_test_key(key), f"answer {question}".encode(), "sha256").hex()


def _self_test_key(key: bytes) -> bytes:
    """A key of its own: a self-test's address that ends in somebody's log opens nothing else."""
    return hmac.digest(key, b"self-test", "sha256")
