"""Those who must reach us and whom we must reach: Telegram, the address of our own, and everybody's clocks."""

import asyncio
import email.utils
import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx2

from neurocards.addresses import callback_key, self_test_answer, self_test_url, webhook_secret, webhook_url
from neurocards.doctor import lines
from neurocards.doctor.lines import Finding
from neurocards.doctor.looking import Clock, Patient
from neurocards.providers.http import Reply, ask, make_client, printable
from neurocards.settings import Settings

QUESTION_SECONDS = 15.0

MANY_UPDATES = 100
"""More than a bot that runs lets wait."""

Json = dict[str, Any]  # Any: Telegram's JSON


# Telegram -------------------------------------------------------------------------------------------------------------


async def telegram(patient: Patient) -> Sequence[Finding]:
    """Whether Telegram knows our token, and where it brings its updates."""
    settings = patient.settings
    if settings.bot_token is None:
        return [lines.TELEGRAM_NOT_SET.told()]
    host = urlsplit(settings.telegram_api_url).netloc
    try:
        me = await _call(settings, settings.bot_token.get_secret_value(), "getMe")
        info = await _call(settings, settings.bot_token.get_secret_value(), "getWebhookInfo")
    except _Stranger:
        return [lines.TELEGRAM_STRANGER.told()]
    except _Away as error:
        return [lines.TELEGRAM_AWAY.told(host=host, error=error)]
    known = lines.TELEGRAM_SOUND.told(username=me.get("username", "?"), id=me.get("id", "?"))
    return [known, *_updates(info, settings, settings.bot_token.get_secret_value())]


class _Stranger(Exception):
    """Telegram does not know the token."""


class _Away(Exception):
    """Telegram did not answer, or with something else; the message is for the operator."""


async def _call(settings: Settings, token: str, method: str) -> Json:
    """What a method without parameters answers. No error here may name the address: the token is part of it."""
    url = f"{settings.telegram_api_url.rstrip('/')}/bot{token}/{method}"
    try:
        async with make_client() as client, asyncio.timeout(QUESTION_SECONDS):
            reply = await ask(client, "POST", url)
    except TimeoutError:
        raise _Away(f"no answer within {QUESTION_SECONDS:.0f} s") from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _Away(f"no answer ({type(error).__name__})") from None
    try:
        answer = json.loads(reply.content)
    except ValueError:
        raise _Away(f"HTTP {reply.status}, and no JSON") from None
    if reply.status in (401, 404) and isinstance(answer, dict) and answer.get("ok") is False:
        raise _Stranger
    if reply.status != 200 or not isinstance(answer, dict) or not isinstance(answer.get("result"), dict):
        said = answer.get("description") if isinstance(answer, dict) else None
        raise _Away(f"HTTP {reply.status}: {printable(str(said or 'an odd answer'))[:200]}")
    result: Json = answer["result"]
    return result


def _updates(info: Json, settings: Settings, token: str) -> list[Finding]:
    url, waiting = str(info.get("url") or ""), info.get("pending_update_count") or 0
    # Of the address only the host is shown: its path is half of what proves that an update is Telegram's.
    host = urlsplit(url).netloc or "nobody"
    if settings.public_url is None:
        if url:
            return [lines.WEBHOOK_LEFT.told(host=host)]
        found = lines.WEBHOOK_POLLING.told(waiting=waiting)
    else:
        if url != webhook_url(settings.public_url, webhook_secret(token)):
            return [lines.WEBHOOK_ELSEWHERE.told(host=host)]
        if error := info.get("last_error_message"):
            told = printable(str(error))[:200]
            if waiting:
                return [lines.WEBHOOK_STUCK.told(error=told, waiting=waiting)]
            at = datetime.fromtimestamp(int(info.get("last_error_date") or 0), UTC)
            return [lines.WEBHOOK_TROUBLED.told(at=at, error=told)]
        found = lines.WEBHOOK_SOUND.told(waiting=waiting)
    return [lines.WEBHOOK_WAITING.told(waiting=waiting)] if waiting >= MANY_UPDATES else [found]


# Our own address ------------------------------------------------------------------------------------------------------


async def public_address(patient: Patient) -> Sequence[Finding]:
    """Whether PUBLIC_URL leads to our bot: a signed question there and back, as Telegram's and the providers' go."""
    settings = patient.settings
    if settings.public_url is None:
        return [lines.PUBLIC_NOT_SET.told()]
    if settings.bot_token is None:
        return [lines.NOT_LOOKED_AT.told(check="public address", first="settings")]
    key, question = callback_key(settings.bot_token.get_secret_value()), secrets.token_hex(16)
    host = urlsplit(settings.public_url).netloc
    try:
        async with make_client() as client, asyncio.timeout(QUESTION_SECONDS):
            reply = await ask(client, "POST", self_test_url(settings.public_url, key, question))
    except TimeoutError:
        return [lines.PUBLIC_UNREACHABLE.told(host=host, error=f"no answer within {QUESTION_SECONDS:.0f} s")]
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        words = f"no answer ({type(error).__name__}: {printable(str(error))[:200]})".replace(": )", ")")
        return [lines.PUBLIC_UNREACHABLE.told(host=host, error=words)]
    return [_answer(reply, host, self_test_answer(key, question))]


def _answer(reply: Reply, host: str, expected: str) -> Finding:
    if reply.status == 200 and secrets.compare_digest(reply.content, expected.encode()):
        return lines.PUBLIC_SOUND.told(host=host)
    if reply.status == 401 and not reply.content:
        return lines.PUBLIC_OTHER_TOKEN.told(host=host)
    answer = "HTTP 200, but not our answer" if reply.status == 200 else f"HTTP {reply.status}"
    return lines.PUBLIC_STRANGER.told(host=host, answer=answer)


# Clocks ---------------------------------------------------------------------------------------------------------------


async def clock(patient: Patient, now: Clock) -> Sequence[Finding]:
    """How this machine's clock stands to Telegram's and the providers', by the date that heads every answer."""
    settings = patient.settings
    addresses = {"Telegram": settings.telegram_api_url}
    if settings.kie_api_key is not None:
        addresses["KIE"] = settings.kie_api_url
    if settings.fal_key is not None:
        addresses["fal"] = settings.fal_rest_url
    told = await asyncio.gather(*(_ahead(address, now) for address in addresses.values()))
    known = {name: seconds for name, seconds in zip(addresses, told, strict=True) if seconds is not None}
    if not known:
        return [lines.CLOCK_UNKNOWN.told()]
    whose = max(known, key=lambda name: abs(known[name]))
    return [lines.compared(known[whose], whose)]


async def _ahead(address: str, now: Clock) -> float | None:
    """By how much we are ahead of whoever answers there; None when nobody says what time it is."""
    before = now()
    try:
        async with make_client() as client, asyncio.timeout(QUESTION_SECONDS):
            reply = await ask(client, "GET", address)
        there = email.utils.parsedate_to_datetime(reply.headers.get("Date", ""))
    except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, ValueError):
        return None
    ours = before + (now() - before) / 2
    # The header has whole seconds: on average half a second has passed since.
    return (ours - there.replace(tzinfo=there.tzinfo or UTC) - timedelta(seconds=0.5)).total_seconds()
