"""Fetches a provider's result into a file. The link is a stranger's word, and whoever knows it has the video.

So no link leads to a machine that is not on the public internet, whatever its host resolves to; nothing of ours goes
along; what comes back is a video by its type and its first bytes, within a size; and no message quotes the link.

httpcore2 is used without the client above it: that one would log the address of every request, keep cookies and
unpack what is compressed. Below it every connection is made by `_CheckedNetwork`, which resolves a host once and
connects to the very addresses that it has judged, while TLS still verifies the host's name.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from urllib.parse import urljoin

import httpcore2
import httpx2

from neurocards.domain.failures import Failure, FailureKind, Gone, Reason
from neurocards.providers.http import (
    CONNECT_SECONDS,
    READ_SECONDS,
    UNREACHABLE_PAUSE_SECONDS,
    USER_AGENT,
    Reply,
    certificates,
    retry_after,
)

MAX_RESULT_BYTES = 300 * 1024 * 1024
MAX_REDIRECTS = 3

VIDEO_TYPES = frozenset({"video/mp4", "video/quicktime", "application/octet-stream", "binary/octet-stream"})
FIRST_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"})
"""What an MP4 or QuickTime file may begin with, after the four bytes of the box's size."""

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})

WRITE_BYTES = 1024 * 1024
"""Written at once, in a thread: a disk that is slow for a moment must not stop everything else."""
ADDRESSES_TRIED = 4

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""A host and a port; the host's addresses as text. Raises OSError."""

_LINK = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9._-]{1,253}|\[::1\])(?::(?P<port>[0-9]{1,5}))?(?P<target>[/?][!-\[\]-~]*)?",
    re.ASCII | re.IGNORECASE,
)
"""The only form of a link that is followed: plain ASCII with no name before the host, no blank and no backslash."""
_PUBLIC_NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])", re.ASCII)
"""A name below a domain. No number in any spelling is one, and neither is a name that only our own network knows."""

_USUAL_PORTS = {"https": 443, "http": 80}
_GONE = frozenset({403, 404, 410})
_MOVED = frozenset({301, 302, 303, 307, 308})

# ip_address(...).is_global changes with Python's version and takes some tunnels for public hosts.
_NOT_PUBLIC_4 = (
    IPv4Network("192.0.0.0/24"),  # special purposes
    IPv4Network("192.88.99.0/24"),  # relays to 6to4
)
_PUBLIC_6 = IPv6Network("2000::/3")
"""All unicast there is: no mapped, compatible or translated IPv4, nothing local."""
_NOT_PUBLIC_6 = (
    IPv6Network("2001::/23"),  # special purposes, Teredo among them
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("2002::/16"),  # 6to4: an IPv4 address inside
    IPv6Network("3fff::/20"),  # documentation
)


async def resolve_host(host: str, port: int) -> tuple[str, ...]:
    """The addresses of a host as this machine knows them. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


def on_this_machine(url: str) -> bool:
    """Whether an address of ours leads to this very machine: then it is a simulator's, and so are its results."""
    link = _LINK.fullmatch(url)
    return link is not None and link["host"].lower().strip("[]") in LOOPBACK_HOSTS


class Fetcher:
    """Fetches results, each over connections of its own. Close it when done."""

    def __init__(
        self,
        *,
        allow_loopback: bool,
        resolve: Resolve = resolve_host,
        network: httpcore2.AsyncNetworkBackend | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`allow_loopback` is for simulators: their results are served by this machine, without TLS."""
        self._allow_loopback = allow_loopback
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls or certificates(),
            max_connections=None,
            # A kept connection would be a judgement of long ago.
            max_keepalive_connections=0,
            retries=0,
            network_backend=_CheckedNetwork(resolve, network or httpcore2.AnyIOBackend()),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.aclose()

    async def fetch(self, url: str, target: Path, *, max_bytes: int = MAX_RESULT_BYTES) -> None:
        """Stream the result behind a link into `target`. The whole time it may take is the caller's.

        Raises Gone when the link has expired, Failure with Reason.RESULT when what is there is no video of at most
        `max_bytes`, Failure with another reason when it may pass, and OSError when `target` cannot be written. After
        any of these `target` may hold a part.
        """
        link = _checked(url, allow_loopback=self._allow_loopback)
        for _ in range(MAX_REDIRECTS + 1):
            try:
                location = await self._follow(link, target, max_bytes)
            except _NETWORK_TROUBLE as error:
                raise _network_failure(error) from error
            if location is None:
                return
            link = link.next(location)
        raise _unusable("too many redirects")

    async def _follow(self, link: "_Link", target: Path, max_bytes: int) -> str | None:
        """One request; where it sends us, or None when the result has been written."""
        headers = (("Host", link.host_and_port), *_HEADERS)
        async with self._pool.stream("GET", link.address, headers=headers, extensions=_TIMEOUTS) as response:
            reply = Reply(response.status, httpx2.Headers(response.headers), b"")
            if reply.status in _MOVED and "Location" in reply.headers:
                return reply.headers["Location"]
            _check_reply(reply, max_bytes)
            await _write(response, target, max_bytes)
        return None


_HEADERS = (("User-Agent", USER_AGENT), ("Accept", "*/*"), ("Accept-Encoding", "identity"))
_TIMEOUTS = {"timeout": {"connect": CONNECT_SECONDS, "read": READ_SECONDS, "write": READ_SECONDS}}


# Links ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Link:
    """A link that may be followed, in its parts: nothing below parses it anew."""

    scheme: str
    host: str
    port: int
    target: str
    is_loopback: bool

    @property
    def host_and_port(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _USUAL_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def address(self) -> httpcore2.URL:
        return httpcore2.URL(
            scheme=self.scheme.encode(), host=self.host.encode(), port=self.port, target=self.target.encode()
        )

    def next(self, location: str) -> "_Link":
        """Where a redirect leads: never away from TLS, and from the internet never to this machine. Raises Failure."""
        try:
            joined = urljoin(f"{self.scheme}://{self.host_and_port}{self.target}", location)
        except ValueError:
            raise _unusable("a redirect to no address") from None
        link = _checked(joined, allow_loopback=self.is_loopback)
        if (self.scheme, link.scheme) == ("https", "http"):
            raise _unusable("a redirect away from TLS")
        return link


def _checked(url: str, *, allow_loopback: bool) -> _Link:
    found = _LINK.fullmatch(url.split("#", 1)[0])
    if found is None:
        raise _unusable("not an address we fetch from")
    scheme, host, target = found["scheme"].lower(), found["host"].lower().strip("[]"), found["target"] or "/"
    is_loopback = allow_loopback and host in LOOPBACK_HOSTS
    port = int(found["port"] or _USUAL_PORTS[scheme])
    if is_loopback:
        permitted = 0 < port < 65536
    else:
        # Every result lies at the usual port. Any other one would make us knock at doors of somebody's choice.
        permitted = (scheme, port) == ("https", 443) and _PUBLIC_NAME.fullmatch(host) is not None
    if not permitted:
        raise _unusable("not an address we fetch from")
    return _Link(scheme, host, port, target if target.startswith("/") else f"/{target}", is_loopback)


# Connections ----------------------------------------------------------------------------------------------------------


class _CheckedNetwork(httpcore2.AsyncNetworkBackend):
    """Connects to addresses that have been judged, and to nothing by its name: no second answer can differ."""

    def __init__(self, resolve: Resolve, network: httpcore2.AsyncNetworkBackend) -> None:
        self._resolve = resolve
        self._network = network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        addresses = await self._judged(host, port, timeout)
        share = timeout and timeout / len(addresses)
        for address in addresses[:-1]:
            with suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                return await self._network.connect_tcp(address, port, share, local_address, socket_options)
        return await self._network.connect_tcp(addresses[-1], port, share, local_address, socket_options)

    async def _judged(self, host: str, port: int, seconds: float | None) -> list[str]:
        """Addresses to try, one at least. A single one that must not be reached condemns the host."""
        try:
            async with asyncio.timeout(seconds):
                addresses = [ip_address(text) for text in await self._resolve(host, port)]
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout("the name was not resolved in time") from error
        except OSError as error:
            raise httpcore2.ConnectError("the name cannot be resolved") from error
        except ValueError:
            addresses = []
        # A link to this machine comes as far as this only where it is allowed.
        permitted = _is_loopback if host in LOOPBACK_HOSTS else _is_public
        if not addresses or not all(permitted(address) for address in addresses):
            raise _unusable("not a public address")
        return [str(address) for address in addresses[:ADDRESSES_TRIED]]


def _is_loopback(address: IPv4Address | IPv6Address) -> bool:
    return address.is_loopback


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether it is one host of the public internet, and hides no other address."""
    if isinstance(address, IPv6Address):
        return address in _PUBLIC_6 and not any(address in network for network in _NOT_PUBLIC_6)
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return not any(address in network for network in _NOT_PUBLIC_4)


# Answers --------------------------------------------------------------------------------------------------------------


def _check_reply(reply: Reply, max_bytes: int) -> None:
    """What an answer says before its body: raises Failure unless a video of a bearable size is to come."""
    if reply.status in _GONE:
        raise Gone(FailureKind.TEMPORARY, Reason.RESULT, "download: gone")
    if reply.status == 429:
        raise Failure(
            FailureKind.RATE_LIMITED, Reason.PROVIDER, "download: HTTP 429", retry_after_seconds=retry_after(reply)
        )
    if reply.status != 200:
        raise Failure(FailureKind.TEMPORARY, Reason.PROVIDER, f"download: HTTP {reply.status}")
    if reply.headers.get("Content-Type", "").split(";")[0].strip().lower() not in VIDEO_TYPES:
        raise _unusable("not a video by its type")
    if int(reply.headers.get("Content-Length", "0")) > max_bytes:
        raise _unusable("too large")


async def _write(response: httpcore2.Response, target: Path, max_bytes: int) -> None:
    received, pending = 0, bytearray()
    with target.open("wb") as file:
        async for chunk in response.aiter_stream():
            pending += chunk
            received += len(chunk)
            if received > max_bytes:
                raise _unusable("too large")
            if len(pending) >= WRITE_BYTES:
                if received == len(pending):
                    _check_beginning(pending)
                await asyncio.to_thread(file.write, pending)
                pending = bytearray()
        if received == len(pending):
            _check_beginning(pending)
        await asyncio.to_thread(file.write, pending)


def _check_beginning(data: bytearray) -> None:
    if not data:
        raise _unusable("empty")
    if bytes(data[4:8]) not in FIRST_BOXES:
        raise _unusable("not a video by its first bytes")


# Failures -------------------------------------------------------------------------------------------------------------

_NOT_REACHED = (httpcore2.ConnectError, httpcore2.ConnectTimeout)
_NETWORK_TROUBLE = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    ssl.SSLError,  # TLS that is damaged on its way; as an OSError it would pass for trouble with our disk
)


def _network_failure(error: Exception) -> Failure:
    # Only the kind: some texts quote what was asked for.
    message = f"download: {type(error).__name__}"
    if isinstance(error, _NOT_REACHED):
        return Failure(FailureKind.OUTAGE, Reason.PROVIDER, message, retry_after_seconds=UNREACHABLE_PAUSE_SECONDS)
    return Failure(FailureKind.TEMPORARY, Reason.PROVIDER, message)


def _unusable(why: str) -> Failure:
    return Failure(FailureKind.TEMPORARY, Reason.RESULT, f"download: {why}")
