"""Results are fetched from the public internet alone, whole, and only when they are videos."""

import asyncio
import errno
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import pytest

from neurocards.domain.failures import Failure, FailureKind, Gone, Reason
from neurocards.providers.fetching import Fetcher, on_this_machine
from providers.site import (
    CDN,
    MP4,
    PUBLIC,
    PUBLIC_6,
    Authority,
    Names,
    Page,
    Site,
    Wire,
    answer,
    damaging_relay,
    make_authority,
    moved,
    running_site,
)

LINK = f"https://{CDN}/video.mp4?signature=s3cret"
FRONT = (PUBLIC, 443)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return make_authority()


@dataclass(frozen=True)
class Ground:
    """A site behind a public address, a trap behind all others, and a fetcher between them."""

    fetcher: Fetcher
    site: Site
    trap: Site
    wire: Wire
    names: Names
    target: Path

    async def refused(self, url: str, *, max_bytes: int = 10_000_000) -> Failure:
        """The failure that the link ends in; nothing about it may quote the link."""
        with pytest.raises(Failure) as caught:
            await self.fetcher.fetch(url, self.target, max_bytes=max_bytes)
        shown = "".join(traceback.format_exception(caught.value))
        assert "s3cret" not in shown
        assert "video.mp4" not in shown
        return caught.value


@pytest.fixture
def ground(authority: Authority, tmp_path: Path) -> "OpenGround":
    return OpenGround(authority, tmp_path / "result")


@dataclass(frozen=True)
class OpenGround:
    """Opens a ground with these pages and these answers of the resolver."""

    authority: Authority
    target: Path

    @asynccontextmanager
    async def __call__(
        self,
        pages: Mapping[str, Page] | None = None,
        answers: Mapping[str, Sequence[Sequence[str]]] | None = None,
        *,
        allow_loopback: bool = False,
    ) -> AsyncIterator[Ground]:
        async with running_site(pages or {}, self.authority.server()) as site, running_site({}) as trap:
            wire = Wire(trap, {PUBLIC: site.port, PUBLIC_6: site.port})
            names = Names(answers or {})
            fetcher = Fetcher(allow_loopback=allow_loopback, resolve=names, network=wire, tls=self.authority.client)
            try:
                yield Ground(fetcher, site, trap, wire, names, self.target)
            finally:
                await fetcher.close()


# Where links lead -----------------------------------------------------------------------------------------------------

LINKS = [
    # addresses, in every spelling
    "https://127.0.0.1/",
    "https://127.0.0.1:443/video.mp4",
    "https://127.1/",
    "https://127.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0x7f.1/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://127.0.0.0x1/",
    "https://127.0.0.1./",
    "https://169.254.169.254/latest/meta-data/",
    "https://2852039166/",
    "https://0xa9fea9fe/",
    "https://0.0.0.0/",
    "https://0/",
    "https://10.0.0.1/",
    "https://100.64.0.1/",
    "https://192.168.1.1/",
    f"https://{PUBLIC}/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fd00::1]/",
    "https://[64:ff9b::7f00:1]/",
    f"https://[{PUBLIC_6}]/",
    "https://[v1.x]/",
    "https://[/",
    # names that only a machine or its own network knows, and names that are none
    "https://localhost/",
    "https://LOCALHOST:8443/",
    "https://localhost./",
    "https://metadata/",
    "https://cdn.example.com./",
    "https://-cdn.example.com/",
    "https://cdn..example.com/",
    f"https://{'a' * 64}.example.com/",
    "https://cdn%2eexample.com/",
    "https://１２７.0.0.1/",
    "https://①②⑦.0.0.1/",
    "https://cdn。example.com/",
    "https://сdn.example.com/",  # the first letter is Cyrillic
    "https://\u212adn.example.com/",  # the Kelvin sign, which is a k in lower case
    # something before the host
    "https://user:key@cdn.example.com/",
    "https://@cdn.example.com/",
    "https://cdn.example.com@169.254.169.254/",
    "https://cdn.example.com\\@169.254.169.254/",
    "https://cdn.example.com:443@169.254.169.254/",
    # other ways than HTTP over TLS, and other doors than its own
    "http://cdn.example.com/video.mp4",
    "http://cdn.example.com:443/video.mp4",
    "http://127.0.0.1/",
    "https://cdn.example.com:22/",
    "https://cdn.example.com:8443/video.mp4",
    "https://cdn.example.com:0/",
    "https://cdn.example.com:-1/",
    "https://cdn.example.com:99999/",
    "https://cdn.example.com:44３/",
    "ftp://cdn.example.com/video.mp4",
    "file:///etc/passwd",
    "file://cdn.example.com/etc/passwd",
    "gopher://cdn.example.com/_GET",
    "data:video/mp4;base64,AAAA",
    "javascript:alert(1)",
    "ws://cdn.example.com/",
    # no link at all
    "",
    "https://",
    "https:///video.mp4",
    "https:cdn.example.com/video.mp4",
    "https:/cdn.example.com/video.mp4",
    "https:\\\\cdn.example.com/video.mp4",
    "//cdn.example.com/video.mp4",
    "/video.mp4",
    "cdn.example.com/video.mp4",
    "https://cdn.example.com /video.mp4",
    "https://cdn.example.com/a video.mp4",
    " https://cdn.example.com/video.mp4",
    "https://cdn.example.com/video.mp4\r\nX-Evil: yes",
    "https://cdn.example.com\r\n/video.mp4",
    "https://cdn.exa\tmple.com/video.mp4",
    "https://cdn.example.com/\0",
    "https://cdn.example.com/видео.mp4",
]

NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.254",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.0.0.9",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "224.0.1.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    f"::ffff:{PUBLIC}",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::10.0.0.1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456:789a::1",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "2130706433",
    "0x7f.1",
    "cdn.example.com",
    "",
]


@pytest.mark.parametrize("url", LINKS)
async def test_t03_a_link_that_is_no_public_https_link_is_not_even_looked_up(ground: OpenGround, url: str) -> None:
    async with ground() as here:
        failure = await here.refused(url)
        assert (failure.kind, failure.reason) == (FailureKind.TEMPORARY, Reason.RESULT)
        assert (here.names.asked, here.wire.connected, here.trap.connections) == ([], [], 0)


@pytest.mark.parametrize("address", NOT_PUBLIC)
async def test_t03_a_name_that_resolves_to_no_public_address_is_not_connected_to(
    ground: OpenGround, address: str
) -> None:
    for found in ([address], [PUBLIC, address], [address, PUBLIC_6]):
        for name in (CDN, "xn--dn-nmc.example.com"):
            async with ground(answers={name: [found]}) as here:
                failure = await here.refused(f"https://{name}/video.mp4")
                assert (failure.kind, failure.reason) == (FailureKind.TEMPORARY, Reason.RESULT)
                assert (here.names.asked, here.wire.connected, here.trap.connections) == ([name], [], 0)


async def test_t03_a_name_without_addresses_is_not_connected_to(ground: OpenGround) -> None:
    async with ground(answers={CDN: [[]]}) as here:
        await here.refused(LINK)
        assert here.wire.connected == []


@pytest.mark.parametrize("url", [url for url in LINKS if not {"\r", "\0"} & set(url)])  # these make no header
async def test_t03_no_redirect_leads_anywhere_else(ground: OpenGround, url: str) -> None:
    """Some are fine when read from where they stand: then the name is asked for again, and is private by now."""
    async with ground({"/video.mp4": moved(url)}, {CDN: [[PUBLIC], ["127.0.0.1"]]}) as here:
        assert (await here.refused(LINK)).kind is FailureKind.TEMPORARY
        assert (here.wire.connected, here.trap.connections) == ([FRONT], 0)


@pytest.mark.parametrize("address", NOT_PUBLIC)
async def test_t03_a_redirects_name_is_judged_like_the_first(ground: OpenGround, address: str) -> None:
    for location in ("https://inside.example.com/x", "//inside.example.com/x"):
        pages = {"/video.mp4": moved(location)}
        async with ground(pages, {"inside.example.com": [[address]]}) as here:
            assert (await here.refused(LINK)).reason is Reason.RESULT
            assert here.names.asked == [CDN, "inside.example.com"]
            assert (here.wire.connected, here.trap.connections) == ([FRONT], 0)


async def test_t03_a_resolver_that_changes_its_mind_is_asked_once_per_connection(ground: OpenGround) -> None:
    """Public when asked first, private when asked again: there is no second question between check and connection."""
    async with ground({"/video.mp4": answer()}, {CDN: [[PUBLIC], ["127.0.0.1"]]}) as here:
        await here.fetcher.fetch(LINK, here.target)
        assert here.target.read_bytes() == MP4
        assert (here.names.asked, here.wire.connected) == ([CDN], [FRONT])
        await here.refused(LINK)
        assert (here.names.asked, here.wire.connected, here.trap.connections) == ([CDN, CDN], [FRONT], 0)


async def test_t03_between_two_hops_the_name_is_judged_again(ground: OpenGround) -> None:
    pages = {"/video.mp4": moved("/again"), "/again": answer()}
    async with ground(pages, {CDN: [[PUBLIC], ["169.254.169.254"]]}) as here:
        await here.refused(LINK)
        assert (here.wire.connected, here.site.connections, here.trap.connections) == ([FRONT], 1, 0)


async def test_t03_nothing_of_this_machine_is_reached_over_the_real_network(tmp_path: Path) -> None:
    """Neither resolver nor network are the test's: a listener counts who comes."""
    hosts = ["127.0.0.1", "localhost", "[::1]", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0", "0.0.0.0"]
    async with running_site({}) as listener:
        fetcher = Fetcher(allow_loopback=False)
        for host in [*hosts, "[::ffff:127.0.0.1]", "localhost.localdomain", "a.localhost"]:
            for scheme in ("https", "http"):
                with pytest.raises(Failure):
                    await fetcher.fetch(f"{scheme}://{host}:{listener.port}/video.mp4", tmp_path / "result")
        await fetcher.close()
        assert listener.connections == 0


# Simulators -----------------------------------------------------------------------------------------------------------


async def test_loopback_is_for_those_whose_own_api_is_there(ground: OpenGround, tmp_path: Path) -> None:
    assert on_this_machine("http://127.0.0.1:8000")
    assert on_this_machine("http://localhost:8000/kie")
    assert on_this_machine("https://[::1]:8000")
    for url in ("https://api.kie.ai", "http://127.0.0.1.example.com", "http://127.1", "http://x@127.0.0.1", ""):
        assert not on_this_machine(url)
    async with running_site({"/video.mp4": answer(), "/moved": moved("/video.mp4")}) as simulator:
        fetcher = Fetcher(allow_loopback=True)
        for path in ("video.mp4", "moved"):
            await fetcher.fetch(f"http://127.0.0.1:{simulator.port}/{path}", tmp_path / path)
            assert (tmp_path / path).read_bytes() == MP4
        await fetcher.fetch(f"http://localhost:{simulator.port}/video.mp4", tmp_path / "named")
        await fetcher.close()
        assert simulator.requests[0].splitlines()[1] == f"Host: 127.0.0.1:{simulator.port}"


async def test_t03_allowed_loopback_is_no_way_in_from_the_internet(ground: OpenGround) -> None:
    loopback = {"127.0.0.1": [["127.0.0.1"]], "localhost": [["127.0.0.1", "::1"]], "::1": [["::1"]]}
    async with ground(answers=loopback, allow_loopback=True) as here:
        for host in ("127.0.0.1", "localhost", "[::1]"):
            for scheme in ("https", "http"):
                here.site.pages["/video.mp4"] = moved(f"{scheme}://{host}:{here.trap.port}/video.mp4")
                await here.refused(LINK)
        assert set(here.wire.connected) == {FRONT}
        assert here.trap.connections == 0
    for found in (["127.0.0.1"], [PUBLIC, "::1"]):
        async with ground(answers={CDN: [found]}, allow_loopback=True) as here:
            await here.refused(LINK)
            assert here.wire.connected == []
    async with ground(answers={"localhost": [["192.168.1.1"]]}, allow_loopback=True) as here:
        await here.refused("http://localhost:8000/video.mp4")
        assert here.wire.connected == []


# Redirects and TLS ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_three_redirects_are_followed_and_not_a_fourth(ground: OpenGround, status: int) -> None:
    pages = {f"/{hop}": moved(f"/{hop + 1}", status) for hop in range(4)}
    async with ground({**pages, "/4": answer()}) as here:
        assert "redirects" in (await here.refused(f"https://{CDN}/0?signature=s3cret")).message
        assert here.site.connections == 4
        await here.fetcher.fetch(f"https://{CDN}/1", here.target)
        assert here.target.read_bytes() == MP4


async def test_t03_no_redirect_leads_away_from_tls(authority: Authority, tmp_path: Path) -> None:
    pages = {"/video.mp4": moved("http://localhost/again"), "/again": answer()}
    async with running_site(pages, authority.server()) as site, running_site(pages) as trap:
        wire = Wire(trap, {"127.0.0.1": site.port})
        fetcher = Fetcher(
            allow_loopback=True, resolve=Names({"localhost": [["127.0.0.1"]]}), network=wire, tls=authority.client
        )
        with pytest.raises(Failure, match="TLS"):
            await fetcher.fetch("https://localhost/video.mp4", tmp_path / "result")
        await fetcher.close()
        assert wire.connected == [("127.0.0.1", 443)]


async def test_t03_nothing_of_ours_goes_along(ground: OpenGround) -> None:
    pages = {"/video.mp4": moved("/b"), "/b": moved(f"https://{CDN}/c"), "/c": answer()}
    async with ground(pages) as here:
        for _ in range(2):
            await here.fetcher.fetch(LINK, here.target)
        assert len(here.site.requests) == 6
        for request in here.site.requests:
            names = [line.split(":")[0].lower() for line in request.splitlines()[1:] if line]
            assert names == ["host", "user-agent", "accept", "accept-encoding"]


async def test_t03_tls_verifies_the_name_although_the_connection_is_to_an_address(ground: OpenGround) -> None:
    async with ground({"/video.mp4": answer()}, {CDN: [[PUBLIC_6]]}) as here:
        await here.fetcher.fetch(LINK, here.target)
        assert here.wire.connected == [(PUBLIC_6, 443)]
        assert here.site.names == [CDN], "the server is asked for by its name"
        assert here.site.requests[0].splitlines()[1] == f"Host: {CDN}"

        failure = await here.refused("https://other.example.com/video.mp4")
        assert (failure.kind, failure.message) == (FailureKind.OUTAGE, "download: ConnectError")
        assert here.wire.connected[1:] == [FRONT]
        assert len(here.site.requests) == 1, "somebody else's certificate: nothing was said to him"


async def test_t03_a_certificate_that_nobody_vouches_for_is_refused(ground: OpenGround) -> None:
    async with ground({"/video.mp4": answer()}) as here:
        stranger = Fetcher(allow_loopback=False, resolve=here.names, network=here.wire)
        with pytest.raises(Failure) as refused:
            await stranger.fetch(LINK, here.target)
        await stranger.close()
        assert refused.value.kind is FailureKind.OUTAGE
        assert here.site.requests == []


async def test_the_next_address_is_tried_when_one_does_not_answer(ground: OpenGround) -> None:
    async with ground({"/video.mp4": answer()}, {CDN: [["1.1.1.1", PUBLIC_6, PUBLIC]]}) as here:
        closed = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
        here.trap.port = closed.sockets[0].getsockname()[1]
        closed.close()
        await closed.wait_closed()
        await here.fetcher.fetch(LINK, here.target)
        assert here.wire.connected == [("1.1.1.1", 443), (PUBLIC_6, 443)]


async def test_a_name_that_cannot_be_resolved_is_an_outage(tmp_path: Path, authority: Authority) -> None:
    async def unknown(_host: str, _port: int) -> Sequence[str]:
        raise OSError(errno.EHOSTUNREACH, "no such host")

    fetcher = Fetcher(allow_loopback=False, resolve=unknown, tls=authority.client)
    with pytest.raises(Failure) as failed:
        await fetcher.fetch(LINK, tmp_path / "result")
    await fetcher.close()
    assert (failed.value.kind, failed.value.reason) == (FailureKind.OUTAGE, Reason.PROVIDER)


# What is there --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("box", [b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"])
async def test_a_video_is_fetched_whole(ground: OpenGround, box: bytes) -> None:
    body = b"\0\0\0\x08" + box + os.urandom(3_000_000)
    for content_type in ("video/mp4", "video/quicktime", "application/octet-stream", "Video/MP4; charset=binary"):
        async with ground({"/video.mp4": answer(body, content_type=content_type)}) as here:
            await here.fetcher.fetch(LINK, here.target, max_bytes=len(body))
            assert here.target.read_bytes() == body


async def test_a_video_may_come_in_crumbs_and_without_its_length(ground: OpenGround) -> None:
    body = MP4 + os.urandom(2_000)
    head = answer(b"", content_length="", transfer_encoding="chunked")
    pages = {
        "/chunked": [head, *(b"1\r\n%c\r\n" % byte for byte in body), b"0\r\n\r\n"],
        "/until-the-end": [answer(b"", content_length=""), body],
    }
    async with ground(pages) as here:
        for path in pages:
            await here.fetcher.fetch(f"https://{CDN}{path}", here.target)
            assert here.target.read_bytes() == body


UNUSABLE = {
    "nothing": answer(b""),
    "nothing without a length": answer(b"", content_length=""),
    "html by its type": answer(content_type="text/html"),
    "json by its type": answer(content_type="application/json"),
    "two types": answer(content_type="video/mp4, text/html"),
    "no type": answer(content_type=""),
    "html by its bytes": answer(b"<!doctype html><html>" + bytes(100)),
    "a playlist": answer(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"),
    "a zip": answer(b"PK\x03\x04" + bytes(100)),
    "a program": answer(b"MZ\x90\0\x03\0\0\0" + bytes(100)),
    "compressed": answer(b"\x1f\x8b\x08\0\0\0\0\0" + bytes(100), content_encoding="gzip"),
    "four bytes": answer(b"ftyp"),
    "too large by its length": answer(content_length="1001"),
    "too large by its bytes": answer(MP4 + bytes(1000), content_length=""),
}


@pytest.mark.parametrize(("name", "page"), UNUSABLE.items(), ids=UNUSABLE.keys())
async def test_f63_what_is_no_video_of_a_bearable_size_is_refused(ground: OpenGround, name: str, page: bytes) -> None:
    async with ground({"/video.mp4": page}) as here:
        failure = await here.refused(LINK, max_bytes=1000)
        assert (failure.kind, failure.reason) == (FailureKind.TEMPORARY, Reason.RESULT)
        assert not isinstance(failure, Gone)
        assert ("empty" in failure.message) is name.startswith("nothing")
        assert not here.target.exists() or here.target.stat().st_size <= 1000


async def test_f63_an_endless_result_is_cut(ground: OpenGround) -> None:
    endless = _after(answer(b"", content_length=""), repeat(MP4 + bytes(100_000)))
    async with ground({"/video.mp4": endless}) as here:
        assert "too large" in (await here.refused(LINK, max_bytes=3_000_000)).message
        assert here.target.stat().st_size <= 3_000_000


def _after(head: bytes, body: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from body


@pytest.mark.parametrize(
    "page",
    [
        answer(MP4, content_length="1000"),
        answer(MP4 + bytes(3_000_000), content_length="4000000"),
        answer(b"400\r\n" + MP4, content_length="", transfer_encoding="chunked"),
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"",
        b"SSH-2.0-OpenSSH\r\n\r\n",
    ],
)
async def test_f63_a_result_that_is_cut_short_is_fetched_again(ground: OpenGround, page: bytes) -> None:
    async with ground({"/video.mp4": page}) as here:
        failure = await here.refused(LINK)
        assert (failure.kind, failure.reason) == (FailureKind.TEMPORARY, Reason.PROVIDER)


async def test_bytes_that_were_damaged_on_their_way_are_no_trouble_of_our_disk(
    ground: OpenGround, authority: Authority
) -> None:
    async with (
        running_site({"/video.mp4": answer(MP4 + bytes(200_000))}, authority.server()) as site,
        damaging_relay(site.port, after_bytes=100_000) as port,
    ):
        fetcher = Fetcher(
            allow_loopback=False, resolve=Names({}), network=Wire(site, {PUBLIC: port}), tls=authority.client
        )
        with pytest.raises(Failure) as failed:
            await fetcher.fetch(LINK, ground.target)
        await fetcher.close()
        assert (failed.value.kind, failed.value.reason) == (FailureKind.TEMPORARY, Reason.PROVIDER)


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_f62_a_result_that_is_gone_says_so(ground: OpenGround, status: int) -> None:
    async with ground(
        {"/video.mp4": answer(b"<Error>expired</Error>", status=status, content_type="text/xml")}
    ) as here:
        failure = await here.refused(LINK)
        assert isinstance(failure, Gone)
        assert (failure.kind, failure.reason) == (FailureKind.TEMPORARY, Reason.RESULT)


@pytest.mark.parametrize("status", [204, 206, 302, 304, 401, 500, 503])
async def test_other_answers_may_pass(ground: OpenGround, status: int) -> None:
    async with ground(
        {"/video.mp4": answer(b"", status=status, content_length="" if status in (204, 304) else "0")}
    ) as here:
        failure = await here.refused(LINK)
        assert (failure.kind, failure.reason) == (FailureKind.TEMPORARY, Reason.PROVIDER)
        assert str(status) in failure.message


async def test_too_many_downloads_cost_time_only(ground: OpenGround) -> None:
    async with ground({"/video.mp4": answer(b"", status=429, retry_after="7")}) as here:
        failure = await here.refused(LINK)
        assert (failure.kind, failure.retry_after_seconds) == (FailureKind.RATE_LIMITED, 7)


async def test_a_full_disk_is_our_own_trouble(ground: OpenGround) -> None:
    async with ground({"/video.mp4": answer(MP4 + bytes(3_000_000))}) as here:
        with pytest.raises(OSError) as full:
            await here.fetcher.fetch(LINK, Path("/dev/full"))
        assert full.value.errno == errno.ENOSPC
        with pytest.raises(FileNotFoundError):
            await here.fetcher.fetch(LINK, here.target / "not" / "there")


async def test_no_log_line_quotes_the_link(ground: OpenGround, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with ground({"/video.mp4": answer(), "/moved": moved("/video.mp4?signature=s3cret")}) as here:
            await here.fetcher.fetch(LINK, here.target)
            await here.fetcher.fetch(f"https://{CDN}/moved?signature=s3cret", here.target)
            await here.refused(f"https://{CDN}/gone?signature=s3cret")
    assert "s3cret" not in caplog.text


async def test_a_video_of_45_megabytes_adds_16_to_memory_at_most(tmp_path: Path) -> None:
    piece = os.urandom(64 * 1024)
    pieces = 45 * 16
    head = answer(b"", content_length=str(len(MP4) + pieces * len(piece)))
    async with running_site({"/small": answer(), "/large": [head, MP4, *repeat(piece, pieces)]}) as site:
        script = (
            "import asyncio, pathlib, re, sys\n"
            "from neurocards.providers.fetching import Fetcher\n"
            "def peak_kilobytes():\n"  # of this program alone; getrusage begins with that of its parent
            "    return int(re.search(r'VmHWM:\\s*(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])\n"
            "async def main(base, target):\n"
            "    fetcher = Fetcher(allow_loopback=True)\n"
            "    await fetcher.fetch(base + '/small', pathlib.Path(target))\n"
            "    before = peak_kilobytes()\n"
            "    await fetcher.fetch(base + '/large', pathlib.Path(target))\n"
            "    print(peak_kilobytes() - before)\n"
            "    await fetcher.close()\n"
            "asyncio.run(main(*sys.argv[1:]))\n"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            script,
            f"http://127.0.0.1:{site.port}",
            tmp_path / "result",
            stdout=subprocess.PIPE,
            env=environment,
        )
        printed, _ = await process.communicate()
    assert process.returncode == 0
    assert (tmp_path / "result").stat().st_size == len(MP4) + pieces * len(piece)
    assert int(printed) < 16 * 1024
