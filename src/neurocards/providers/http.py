"""What the adapters share: one HTTP client that never repeats a request by itself, and network trouble in our words."""

import ssl
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

import httpx2
from pydantic import StringConstraints

from neurocards import __version__
from neurocards.domain.failures import Failure, FailureKind, Reason, Scope

# KIE's gateway refuses clients without a plain name.
USER_AGENT = f"neurocards/{__version__}"

CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0

MAX_ANSWER_BYTES = 1024 * 1024
"""More than any answer of an API needs; whatever is longer is not an answer."""

NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.LocalProtocolError,
    httpx2.UnsupportedProtocol,
    httpx2.InvalidURL,
)
"""The request never left us: nothing can have come of it."""

UNREACHABLE_PAUSE_SECONDS = 5.0


@cache
def certificates() -> ssl.SSLContext:
    """Whom we trust. Reading it takes longer than all else about a client, so all clients share it."""
    return httpx2.create_ssl_context()


def make_client() -> httpx2.AsyncClient:
    """A client for one service: no retries, no redirects, bounded waiting."""
    return httpx2.AsyncClient(
        headers={"User-Agent": USER_AGENT},
        timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        follow_redirects=False,
        # A submit that queues for a connection could time out unsent and look as if its answer were lost.
        transport=httpx2.AsyncHTTPTransport(
            verify=certificates(), retries=0, limits=httpx2.Limits(max_connections=None)
        ),
    )


def network_failure(error: httpx2.HTTPError | httpx2.InvalidURL) -> Failure:
    """Network trouble of a request that is safe to repeat."""
    # Only the kind: some texts quote a header, and with it the key.
    message = type(error).__name__
    if isinstance(error, NOT_SENT):
        return Failure(
            FailureKind.OUTAGE,
            Reason.PROVIDER,
            message,
            scope=Scope.PROVIDER,
            retry_after_seconds=UNREACHABLE_PAUSE_SECONDS,
        )
    return Failure(FailureKind.TEMPORARY, Reason.PROVIDER, message, scope=Scope.PROVIDER)


Printable = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,4000}$")]
"""An address or a name that log, database and a further request can take."""


@dataclass(frozen=True)
class Reply:
    """An answer read whole, within bounds."""

    status: int
    headers: httpx2.Headers
    content: bytes


async def ask(client: httpx2.AsyncClient, method: str, url: str, **request: Any) -> Reply:
    """One request, exactly once; raises httpx2.HTTPError. An endless answer is cut, and then cannot be read."""
    async with client.stream(method, url, **request) as response:
        content = b""
        async for chunk in response.aiter_bytes(64 * 1024):
            content += chunk
            if len(content) > MAX_ANSWER_BYTES:
                break
        return Reply(response.status_code, response.headers, content)


def printable(text: str) -> str:
    """Of a stranger's words what log and database can take."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def retry_after(response: Reply) -> float | None:
    """The seconds of a Retry-After header, when it has a sane number."""
    try:
        seconds = float(response.headers.get("Retry-After", ""))
    except ValueError:
        return None
    return seconds if 0 < seconds <= 3600 else None
