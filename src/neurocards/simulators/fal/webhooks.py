"""Webhooks as fal sends them: signed over the whole body with ED25519, tried ten times, keys in a JWKS."""

import asyncio
import base64
import hashlib
import time
from dataclasses import dataclass

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import JsonValue

from neurocards.simulators.studio.pictures import is_loopback

TRIES = 10
ANSWER_SECONDS = 15.0
USER_ID = "github|000000"
OLD_SECONDS = 3600


@dataclass
class Callback:
    """One try to tell the client; `outcome` is the HTTP status or the kind of network trouble."""

    at: float
    outcome: str


class Signer:
    """The service's key pair; a new one can take its place at any time."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()

    def rotate(self) -> None:
        """Sign with a new key from now on; only that one is published."""
        self._key = Ed25519PrivateKey.generate()

    def jwks(self) -> JsonValue:
        """The JSON Web Key Set: what `/.well-known/jwks.json` shows."""
        public = self._key.public_key().public_bytes_raw()
        encoded = base64.urlsafe_b64encode(public).decode().rstrip("=")
        return {"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "x": encoded}]}

    def headers(self, request_id: str, body: bytes, *, age_seconds: int = 0) -> dict[str, str]:
        """What proves that `body` is ours, as if it had been signed so long ago."""
        timestamp = str(int(time.time()) - age_seconds)
        text = "\n".join((request_id, USER_ID, timestamp, hashlib.sha256(body).hexdigest()))
        return {
            "X-Fal-Webhook-Request-Id": request_id,
            "X-Fal-Webhook-User-Id": USER_ID,
            "X-Fal-Webhook-Timestamp": timestamp,
            "X-Fal-Webhook-Signature": self._key.sign(text.encode()).hex(),
        }


class Postman:
    """Delivers webhooks to addresses on this machine."""

    def __init__(self) -> None:
        self._client: httpx2.AsyncClient | None = None

    async def deliver(
        self,
        url: str,
        request_id: str,
        body: bytes,
        *,
        signer: Signer,
        callbacks: list[Callback],
        pause_seconds: float,
        age_seconds: int = 0,
        tries: int = TRIES,
    ) -> None:
        """Post until somebody says that it arrived; each try is signed anew and noted in `callbacks`."""
        if not is_loopback(url):
            return
        for attempt in range(tries):
            await asyncio.sleep(pause_seconds * bool(attempt))
            headers = {
                "Content-Type": "application/json",
                **signer.headers(request_id, body, age_seconds=age_seconds),
            }
            callback = Callback(time.time(), "pending")
            callbacks.append(callback)
            try:
                answer = await self.http().post(url, content=body, headers=headers, timeout=ANSWER_SECONDS)
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                callback.outcome = type(error).__name__
                continue
            callback.outcome = str(answer.status_code)
            if answer.is_success:
                return

    def http(self) -> httpx2.AsyncClient:
        """The client for everything the service fetches and sends."""
        if self._client is None:
            limits = httpx2.Limits(max_connections=200)
            self._client = httpx2.AsyncClient(trust_env=False, limits=limits, headers={"User-Agent": "fal"})
        return self._client

    async def close(self) -> None:
        if self._client:
            await self._client.aclose()
