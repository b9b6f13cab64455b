"""A host of results for tests: real TLS on this machine behind made-up public addresses, and a count of who came."""

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpcore2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PUBLIC = "93.184.215.14"
PUBLIC_6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
"""Addresses that no test ever reaches: what would go there goes to a server of the test."""

CDN = "cdn.example.com"
"""The name in the certificate."""

MP4 = b"\0\0\0\x20ftypisom" + bytes(20)
"""The beginning of a video, and enough of one for whoever only fetches it."""

Page = bytes | Iterable[bytes]


def answer(body: bytes = MP4, *, status: int = 200, **headers: str) -> bytes:
    """A whole HTTP answer of a video; a header is named like content_type, and left out when it is empty."""
    fields = {"content_type": "video/mp4", "content_length": str(len(body)), "connection": "close", **headers}
    lines = [f"HTTP/1.1 {status} Whatever"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items() if value]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def moved(location: str, status: int = 302) -> bytes:
    """A redirect that also asks to keep a cookie."""
    return answer(b"", status=status, location=location, set_cookie="kept=yes")


@dataclass
class Site:
    """A running server: what it serves, and what it has seen."""

    pages: dict[str, Page]
    port: int = 0
    connections: int = 0
    requests: list[str] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    """The names that callers gave in their TLS hello."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: read a request, answer it, hang up."""
        self.connections += 1
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.requests.append(head)
        page = self.pages.get(head.split(" ")[1].split("?")[0], answer(b"", status=404))
        for piece in (page,) if isinstance(page, bytes) else page:
            writer.write(piece)
            await writer.drain()


@asynccontextmanager
async def running_site(pages: Mapping[str, Page], tls: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    """Serve pages by their path on a port of this machine."""
    site = Site(dict(pages))
    if tls is not None:
        tls.sni_callback = lambda _socket, name, _context: site.names.append(name)
    async with listening(site.serve, tls) as port:
        site.port = port
        yield site


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """A port of this machine; nobody who was served there is left behind."""
    serving: set[asyncio.Task[None]] = set()

    async def serve_noted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # a caller who hung up
        finally:
            serving.discard(task)
            writer.close()

    server = await asyncio.start_server(serve_noted, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


class Wire(httpcore2.AsyncNetworkBackend):
    """The network of a test: notes whom one connects to. Known addresses lead to their sites, all others to a trap."""

    def __init__(self, trap: Site, sites: Mapping[str, int]) -> None:
        self._trap = trap
        self._sites = sites
        self._network = httpcore2.AnyIOBackend()
        self.connected: list[tuple[str, int]] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self.connected.append((host, port))
        reached = self._sites.get(host, self._trap.port)
        return await self._network.connect_tcp("127.0.0.1", reached, timeout, local_address, socket_options)


class Names:
    """A resolver that answers from a table, one answer after the other; the last one stays. Notes what it was asked."""

    def __init__(self, answers: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._answers = {name: list(given) for name, given in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        given = self._answers.get(host, [[PUBLIC]])
        return given.pop(0) if len(given) > 1 else given[0]


@dataclass(frozen=True)
class Authority:
    """A certificate for CDN and localhost that signs itself: for the server, and for those who trust it."""

    server: Callable[[], ssl.SSLContext]
    client: ssl.SSLContext


def make_authority() -> Authority:
    """A fresh key and certificate, good for an hour."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CDN)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(CDN), x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

    def server() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            Path(file.name).write_bytes(pem + secret)
            context.load_cert_chain(file.name)
        return context

    client = ssl.create_default_context(cadata=pem.decode())
    return Authority(server, client)


@asynccontextmanager
async def damaging_relay(port: int, *, after_bytes: int) -> AsyncIterator[int]:
    """Passes bytes on to a port and back, and turns one bit of what comes back; yields its own port."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, damage_at: int = -1) -> None:
        passed = 0
        while data := bytearray(await reader.read(4096)):
            if passed <= damage_at < passed + len(data):
                data[damage_at - passed] ^= 1
            passed += len(data)
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(
                carry(reader, their_writer), carry(their_reader, writer, after_bytes), return_exceptions=True
            )
        finally:
            their_writer.close()

    async with listening(serve) as relay_port:
        yield relay_port
