"""fal's callbacks: signed over the whole body with ED25519, by keys that fal publishes and may change.

The keys are fetched when the first callback comes, kept for a day, and looked up again when none of them fits.
"""

import asyncio
import base64
import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BaseModel, ValidationError

from neurocards.domain.callbacks import Callback, Forged, Told, Undecided, sane_task_id
from neurocards.providers.http import ask, make_client

SIGNATURE_AGE_SECONDS = 300

KEYS_SECONDS = 24 * 3600.0
"""How long fetched keys are believed."""

LOOK_AGAIN_SECONDS = 60.0
"""Keys that do not fit are fetched anew this often at most: whoever sends nonsense makes no work for fal."""

FAILED_SECONDS = 5.0
"""How long to wait after fetching failed while there are no keys at all."""

FETCH_SECONDS = 5.0
WAIT_SECONDS = 0.4
"""A callback waits so long for keys that are being fetched. Then fal has to send it again, and they will be there."""


class FalCallbacks:
    """Reads fal's callbacks; satisfies web.hooks.CallbackReader. Close it when done."""

    def __init__(self, *, rest_url: str) -> None:
        self._ring = _KeyRing(f"{rest_url.rstrip('/')}/.well-known/jwks.json")

    async def close(self) -> None:
        """Close the connections."""
        await self._ring.close()

    async def read(self, headers: Mapping[str, str], body: bytes) -> Callback:
        """Told when fal signed this very body within the last minutes; Undecided when its keys cannot be had."""
        timestamp = headers.get("X-Fal-Webhook-Timestamp", "")
        signature = headers.get("X-Fal-Webhook-Signature", "")
        if not re.fullmatch(r"[0-9]{1,12}", timestamp) or not re.fullmatch(r"[0-9a-fA-F]{128}", signature):
            return Forged()
        # The time of the world and not of the database: fal's clock is the other side of this.
        if abs(time.time() - int(timestamp)) > SIGNATURE_AGE_SECONDS:
            return Forged()
        text = "\n".join(
            (
                headers.get("X-Fal-Webhook-Request-Id", ""),
                headers.get("X-Fal-Webhook-User-Id", ""),
                timestamp,
                hashlib.sha256(body).hexdigest(),
            )
        )
        genuine = await self._ring.fits(bytes.fromhex(signature), text.encode("latin-1"))
        if genuine is None:
            return Undecided("fal's keys cannot be had")
        return Told(_task_id(body)) if genuine else Forged()


def _task_id(body: bytes) -> str | None:
    """The id under which the request was queued. A header has one as well, but of re-runs it may name the last."""
    try:
        told: Any = json.loads(body)  # Any: whatever fal says
    except (ValueError, RecursionError):
        return None
    return sane_task_id(told.get("request_id")) if isinstance(told, dict) else None


class _KeyRing:
    """The keys at an address, fetched by one at a time however many callbacks wait for them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = make_client()
        self._keys: Sequence[Ed25519PublicKey] = ()
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
        await self._client.aclose()

    async def fits(self, signature: bytes, text: bytes) -> bool | None:
        """Whether one of the keys made the signature; None when the keys that there are now cannot be had."""
        now = time.monotonic()
        known = now - self._fetched_at < KEYS_SECONDS
        if known and _fit(self._keys, signature, text):
            return True
        rest_seconds = LOOK_AGAIN_SECONDS if known else FAILED_SECONDS
        if self._fetching is None and now - self._tried_at >= rest_seconds:
            self._tried_at = now
            self._fetching = asyncio.create_task(self._fetch())
        if self._fetching is not None:
            await asyncio.wait([self._fetching], timeout=WAIT_SECONDS)
        if self._fetched_at < self._tried_at:
            return None
        return _fit(self._keys, signature, text)

    async def _fetch(self) -> None:
        """Take what is there; whatever goes wrong leaves the keys as they were."""
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                reply = await ask(self._client, "GET", self._url)
            keys = _published(reply.content) if reply.status == 200 else ()
            if keys:
                self._keys, self._fetched_at = keys, time.monotonic()
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, ValidationError):
            return
        finally:
            self._fetching = None


class _Jwk(BaseModel):
    kty: str = ""
    crv: str = ""
    x: str = ""


class _Jwks(BaseModel):
    keys: list[_Jwk]


def _published(content: bytes) -> Sequence[Ed25519PublicKey]:
    """The ED25519 keys of a JSON Web Key Set; others are for others. Raises ValidationError."""
    found = []
    for jwk in _Jwks.model_validate_json(content).keys:
        if (jwk.kty, jwk.crv) != ("OKP", "Ed25519"):
            continue
        try:
            found.append(Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(f"{jwk.x}==")))
        except ValueError:
            continue
    return found


def _fit(keys: Sequence[Ed25519PublicKey], signature: bytes, text: bytes) -> bool:
    for key in keys:
        try:
            key.verify(signature, text)
        except InvalidSignature:
            continue
        return True
    return False
