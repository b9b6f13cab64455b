"""KIE's adapter over real lines: what submits, questions and uploads come to, whatever line and service do."""

import asyncio
import io
import json
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from PIL import Image

from neurocards.domain.catalogue import JsonValue
from neurocards.domain.failures import Failure, FailureKind, Reason, Scope
from neurocards.domain.tasks import (
    Accepted,
    NotFound,
    Pending,
    Refused,
    Submission,
    Succeeded,
    Task,
    TaskFailed,
    Unanswered,
)
from neurocards.providers.http import certificates
from neurocards.providers.keys import labelled
from neurocards.providers.kie import Kie
from neurocards.simulators.exchange import masked
from services import Simulators

KLING = "kling/v3-turbo-image-to-video"
FRAME = b"\xff\xd8\xff a frame"
KEYS = labelled("kie", ["key-number-one", "key-number-two"])
ONE, TWO = KEYS
CALLBACK = "http://127.0.0.1:9/hooks/kie/1/mac"
UNREADABLE = "an answer that cannot be read"

Json = dict[str, Any]  # Any: the simulator's JSON
Call = Callable[[Kie], Awaitable[object]]


@dataclass(frozen=True)
class Desk:
    """The adapter under test, and the service's side to look at."""

    kie: Kie
    url: str
    client: httpx2.AsyncClient

    async def fault(self, **fault: object) -> None:
        (await self.client.post(f"{self.url}/sim/faults", json=fault)).raise_for_status()

    async def set(self, **settings: object) -> None:
        (await self.client.post(f"{self.url}/sim/settings", json=settings)).raise_for_status()

    async def tasks(self) -> list[Json]:
        return list((await self.client.get(f"{self.url}/sim/tasks")).json())

    async def requests(self, route: str) -> list[Json]:
        return list((await self.client.get(f"{self.url}/sim/requests", params={"route": route})).json())

    async def keys(self) -> Json:
        return dict((await self.client.get(f"{self.url}/sim/keys")).json())

    async def task_id(self) -> str:
        """Of a task that the service has accepted and ended."""
        submission = await submit(self.kie, callback_url=None)
        assert isinstance(submission, Accepted)
        async with asyncio.timeout(30):
            while not all(task["told"] for task in await self.tasks()):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return submission.task_id


@pytest.fixture
async def desk(simulators: Simulators) -> AsyncIterator[Desk]:
    kie = adapter(simulators.kie)
    yield Desk(kie, simulators.kie, simulators.client)
    await kie.close()


def adapter(url: str) -> Kie:
    return Kie(api_url=url, upload_url=url, keys=KEYS)


async def submit(
    kie: Kie,
    *,
    frame_url: str = "http://127.0.0.1:9/a.jpg",
    limit_seconds: float = 20,
    callback_url: str | None = CALLBACK,
) -> Submission:
    values: dict[str, JsonValue] = {"image_urls": [frame_url], "duration": "3", "prompt": "A cup."}
    return await kie.submit(KLING, values, key=ONE, limit_seconds=limit_seconds, callback_url=callback_url)


async def upload(kie: Kie) -> str:
    return await kie.upload_frame(FRAME, "frame.jpg", key=ONE)


async def ask(kie: Kie, task_id: str = "some-task") -> Task:
    return await kie.task(task_id, key=ONE, task_url=None, model=KLING)


REPEATABLE: dict[str, Call] = {
    "upload": upload,
    "recordInfo": ask,
    "made_for": lambda kie: kie.made_for("some-task", CALLBACK, key=ONE, model=KLING),
    "credit": lambda kie: kie.balance(ONE),
    "models": lambda kie: kie.listed(),
    "success_rate": lambda kie: kie.success_rate(KLING),
}
"""Every call that is safe to repeat; those named after a route of the simulator can meet its faults there."""


async def trouble(call: Awaitable[object]) -> Failure:
    with pytest.raises(Failure) as caught:
        await call
    return caught.value


def meant(failure: Failure) -> tuple[FailureKind, Reason, Scope]:
    return failure.kind, failure.reason, failure.scope


UNREACHED = (FailureKind.OUTAGE, Reason.PROVIDER, Scope.PROVIDER)
PASSES = (FailureKind.TEMPORARY, Reason.PROVIDER, Scope.ORDER)
BREAKS = (FailureKind.TEMPORARY, Reason.PROVIDER, Scope.PROVIDER)
KEY_SHUT = (FailureKind.OUTAGE, Reason.PROVIDER, Scope.KEY)
TOO_FAST = (FailureKind.RATE_LIMITED, Reason.PROVIDER, Scope.KEY)


# Lines that say something else than KIE ---------------------------------------------------------------------------


@dataclass
class Line:
    """Somebody who takes connections, hears one request on each and says `answer`, whatever was asked."""

    answer: bytes = b""
    reset: bool = False
    connections: int = 0
    heard: list[bytes] = field(default_factory=list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        head = await reader.readuntil(b"\r\n\r\n")
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
        self.heard.append(head + body)
        writer.write(self.answer)
        await writer.drain()
        if self.reset:
            # What was said must be there before the reset is, or nobody hears it.
            await asyncio.sleep(0.05)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        writer.close()


@asynccontextmanager
async def line(answer: bytes, *, reset: bool = False, tls: ssl.SSLContext | None = None) -> AsyncIterator[Line]:
    listening = Line(answer, reset)
    server = await asyncio.start_server(listening.serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        listening.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        yield listening


def spoken(body: object, status: str = "200 OK") -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + text


@asynccontextmanager
async def told(answer: bytes, *, reset: bool = False) -> AsyncIterator[tuple[Kie, Line]]:
    """An adapter that asks such a line."""
    async with line(answer, reset=reset) as listening:
        kie = adapter(listening.url)
        try:
            yield kie, listening
        finally:
            await kie.close()


@pytest.fixture
def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


# Nothing was sent -------------------------------------------------------------------------------------------------


async def test_f45_a_refused_connection_sent_nothing(closed_port: str) -> None:
    kie = adapter(closed_port)
    submission = await submit(kie)
    assert isinstance(submission, Refused)
    assert meant(submission.failure) == UNREACHED
    assert submission.failure.retry_after_seconds == 5.0
    for call in REPEATABLE.values():
        assert meant(await trouble(call(kie))) == UNREACHED
    await kie.close()


async def test_f45_a_name_that_nobody_knows_sent_nothing() -> None:
    kie = adapter("http://nowhere.invalid")
    submission = await submit(kie)
    assert isinstance(submission, Refused)
    assert meant(submission.failure) == UNREACHED
    assert meant(await trouble(upload(kie))) == UNREACHED
    assert meant(await trouble(ask(kie))) == UNREACHED
    await kie.close()


async def test_f45_an_address_that_is_none_sends_nothing_and_raises_nothing() -> None:
    for address in ("http://[", "http://127.0.0.1:port", "nowhere", "ftp://127.0.0.1"):
        kie = adapter(address)
        submission = await submit(kie)
        assert isinstance(submission, Refused), address
        assert meant(submission.failure) == UNREACHED
        assert meant(await trouble(ask(kie))) == UNREACHED
        await kie.close()


@dataclass(frozen=True)
class Certificate:
    """A certificate that signed itself, and the server's side of it."""

    path: Path
    context: ssl.SSLContext


@pytest.fixture
def trust(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Trust a certificate alone, as a process that starts with SSL_CERT_FILE does."""

    def only(path: Path) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        certificates.cache_clear()

    yield only
    certificates.cache_clear()


@pytest.fixture
def certified(tmp_path: Path) -> Callable[[x509.GeneralName], Certificate]:
    def make(name: x509.GeneralName) -> Certificate:
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kie")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        path, key_path = tmp_path / "certificate.pem", tmp_path / "key.pem"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        key_path.write_bytes(key.private_bytes(*pem))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path, key_path)
        return Certificate(path, context)

    return make


@pytest.mark.parametrize(
    ("name", "trusted", "heard"),
    [
        (x509.IPAddress(ip_address("127.0.0.1")), True, 1),
        (x509.IPAddress(ip_address("127.0.0.1")), False, 0),
        (x509.DNSName("elsewhere.invalid"), True, 0),
    ],
    ids=["the right one", "signed by itself", "another's"],
)
async def test_f51_with_a_wrong_certificate_nothing_is_sent(
    certified: Callable[[x509.GeneralName], Certificate],
    trust: Callable[[Path], None],
    name: x509.GeneralName,
    trusted: bool,
    heard: int,
) -> None:
    certificate = certified(name)
    if trusted:
        trust(certificate.path)
    answer = spoken({"code": 200, "msg": "success", "data": {"taskId": "t1"}})
    async with line(answer, tls=certificate.context) as listening:
        kie = adapter(listening.url)
        submission = await submit(kie)
        await kie.close()
    assert len(listening.heard) == heard
    if heard:
        assert submission == Accepted("t1")
    else:
        assert isinstance(submission, Refused)
        assert meant(submission.failure) == UNREACHED


# Sent, and no answer that can be trusted ----------------------------------------------------------------------------


async def test_f46_a_line_that_breaks_before_the_answer_leaves_a_doubt_and_one_request(desk: Desk) -> None:
    await desk.fault(route="createTask", kind="reset")
    assert await submit(desk.kie) == Unanswered("ReadError")
    assert await desk.tasks() == []
    await desk.fault(route="createTask", kind="drop_answer")
    assert await submit(desk.kie) == Unanswered("RemoteProtocolError")
    assert len(await desk.tasks()) == 1, "the task was made"
    assert len(await desk.requests("createTask")) == 2
    for route in ("upload", "recordInfo", "credit", "models"):
        for kind in ("reset", "drop_answer"):
            await desk.fault(route=route, kind=kind)
            assert meant(await trouble(REPEATABLE[route](desk.kie))) == BREAKS


@pytest.mark.parametrize("reset", [False, True])
async def test_f46_a_line_that_breaks_inside_the_answer_leaves_a_doubt_and_one_request(reset: bool) -> None:
    whole = spoken({"code": 200, "msg": "success", "data": {"taskId": "0123456789"}})
    async with told(whole[:-5], reset=reset) as (kie, listening):
        assert isinstance(await submit(kie), Unanswered)
        assert listening.connections == 1
        assert meant(await trouble(ask(kie))) == BREAKS
    async with told(whole[:20], reset=reset) as (kie, listening):
        assert isinstance(await submit(kie), Unanswered)
        assert listening.connections == 1


async def test_f47_an_answer_of_a_byte_a_second_is_cut_at_the_limit(desk: Desk) -> None:
    await desk.fault(route="createTask", kind="slow")
    started = time.monotonic()
    assert await submit(desk.kie, limit_seconds=1.5) == Unanswered("no answer in time")
    assert 1.4 < time.monotonic() - started < 10
    assert len(await desk.tasks()) == 1, "the task was made"
    assert len(await desk.requests("createTask")) == 1


async def test_f48_a_503_although_the_task_was_made_is_a_doubt(desk: Desk) -> None:
    await desk.fault(route="createTask", kind="503_accepted")
    assert await submit(desk.kie) == Unanswered("HTTP 503")
    assert len(await desk.tasks()) == 1
    for status in ("500 X", "502 X", "504 X", "524 X"):
        async with told(spoken({"code": 500, "msg": "image_urls is required"}, status)) as (kie, _):
            assert await submit(kie) == Unanswered(f"HTTP {status[:3]}")


async def test_f48_a_gateway_that_answers_for_kie_is_an_outage_of_the_provider_to_whoever_can_ask_again(
    desk: Desk,
) -> None:
    for route in ("upload", "recordInfo", "credit", "models"):
        await desk.fault(route=route, kind="http_503")
        assert meant(await trouble(REPEATABLE[route](desk.kie))) == UNREACHED
        await desk.fault(route=route, kind="http_500")
        assert meant(await trouble(REPEATABLE[route](desk.kie))) == PASSES


@pytest.mark.parametrize(
    "fault",
    [{"kind": "html"}, {"kind": "empty"}, {"kind": "not_json"}, {"kind": "huge"}, {"kind": "code", "code": 200}],
    ids=lambda fault: str(fault["kind"]),
)
async def test_f49_a_200_that_cannot_be_read_is_a_doubt_for_a_submit_and_passes_for_a_question(
    desk: Desk, fault: Json
) -> None:
    await desk.fault(route="createTask", **fault)
    assert await submit(desk.kie) == Unanswered(UNREADABLE)
    for route in ("upload", "recordInfo", "credit", "models"):
        await desk.fault(route=route, **fault)
        failure = await trouble(REPEATABLE[route](desk.kie))
        assert (meant(failure), failure.message) == (PASSES, UNREADABLE)
    assert len(await desk.requests("createTask")) == 1


@pytest.mark.parametrize("task_id", ["", " ", "a b", "\0", "t" * 201, 17, None, ["t1"], {"id": "t1"}])
async def test_f49_what_is_no_task_id_is_no_task_id(task_id: object) -> None:
    async with told(spoken({"code": 200, "msg": "success", "data": {"taskId": task_id}})) as (kie, _):
        assert await submit(kie) == Unanswered(UNREADABLE)


@pytest.mark.parametrize("body", [[], 5, "x", None, {"code": None}, {"code": "x"}, {"msg": "success"}, {"code": 200}])
async def test_f49_json_of_another_shape_is_no_answer(body: object) -> None:
    async with told(spoken(body)) as (kie, _):
        assert await submit(kie) == Unanswered(UNREADABLE)
        for call in REPEATABLE.values():
            assert meant(await trouble(call(kie))) == PASSES


async def test_f49_a_redirect_is_not_followed_and_proves_nothing() -> None:
    async with line(spoken({"code": 200, "msg": "success", "data": {"taskId": "t1"}})) as elsewhere:
        moved = f"HTTP/1.1 307 X\r\nLocation: {elsewhere.url}/x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        async with told(moved.encode()) as (kie, _):
            assert await submit(kie) == Unanswered("HTTP 307")
            assert meant(await trouble(ask(kie))) == PASSES
        assert elsewhere.connections == 0


# Refused ----------------------------------------------------------------------------------------------------------


async def test_f44_a_rate_limit_is_the_keys_and_its_word_on_when_to_come_back_is_kept(desk: Desk) -> None:
    for route in ("createTask", "upload", "recordInfo", "credit", "models"):
        await desk.fault(route=route, kind="429", retry_after=7)
        if route == "createTask":
            submission = await submit(desk.kie)
            assert isinstance(submission, Refused)
            failure = submission.failure
        else:
            failure = await trouble(REPEATABLE[route](desk.kie))
        assert (meant(failure), failure.retry_after_seconds) == (TOO_FAST, 7)
    await desk.fault(route="createTask", kind="429")
    submission = await submit(desk.kie)
    assert isinstance(submission, Refused)
    assert submission.failure.retry_after_seconds is None


@pytest.mark.parametrize(
    ("code", "msg", "meaning"),
    [
        (400, "flagged as violating content policies", (FailureKind.PERMANENT, Reason.CONTENT, Scope.ORDER)),
        (400, "The image shows a real person", (FailureKind.UNSUITED, Reason.PHOTO, Scope.ORDER)),
        (402, "Credits insufficient", KEY_SHUT),
        (422, "The model name you specified is not supported", (FailureKind.UNSUITED, Reason.MODEL, Scope.MODEL)),
        (429, "Too many requests", TOO_FAST),
        (455, "maintenance", UNREACHED),
        (500, "This interface is temporarily paused", (FailureKind.UNSUITED, Reason.MODEL, Scope.MODEL)),
        (500, "Internal server error", PASSES),
    ],
)
async def test_f50_a_code_inside_a_200_is_a_refusal(
    desk: Desk, code: int, msg: str, meaning: tuple[FailureKind, Reason, Scope]
) -> None:
    await desk.fault(route="createTask", kind="code", code=code, msg=msg)
    submission = await submit(desk.kie)
    assert isinstance(submission, Refused)
    assert meant(submission.failure) == meaning
    assert submission.failure.message == f"submit: code {code}: {msg}"


async def test_f50_what_only_the_service_knows_of_a_key(desk: Desk) -> None:
    await desk.set(limited_keys=["key-number-one"])
    submission = await submit(desk.kie)
    assert isinstance(submission, Refused)
    assert meant(submission.failure) == KEY_SHUT
    await desk.set(limited_keys=[], key_credits={"key-number-one": 53})
    submission = await submit(desk.kie)
    assert isinstance(submission, Refused)
    assert meant(submission.failure) == KEY_SHUT
    await desk.set(revoked_keys=["key-number-one"])
    submission = await submit(desk.kie)
    assert isinstance(submission, Refused)
    assert meant(submission.failure) == KEY_SHUT
    for route in ("upload", "recordInfo", "credit", "models"):
        assert meant(await trouble(REPEATABLE[route](desk.kie))) == KEY_SHUT
    assert await desk.kie.balance(TWO) == 1_000_000, "the other key is as good as before"
    figures = await desk.keys()
    assert (figures[masked("key-number-one")]["refused"], figures[masked("key-number-one")]["accepted"]) == (3, 0)


async def test_a_key_of_odd_letters_is_a_wrong_key_and_no_error_of_ours(desk: Desk) -> None:
    await desk.set(api_keys=["key-number-one"])
    kie = Kie(api_url=desk.url, upload_url=desk.url, keys=labelled("kie", ["ключ"]))
    submission = await kie.submit(KLING, {}, key=kie.keys[0], limit_seconds=20, callback_url=None)
    assert isinstance(submission, Refused)
    assert meant(submission.failure) == KEY_SHUT
    await kie.close()


async def test_a_refusal_in_words_that_no_database_takes_is_told_without_them() -> None:
    async with told(spoken({"code": 500, "msg": "a\0b\ud800c\nd"})) as (kie, _):
        submission = await submit(kie)
    # JSON with half a letter may be no JSON to the reader; then it is a doubt, which says nothing at all.
    if isinstance(submission, Refused):
        assert submission.failure.message.isprintable()
    async with told(spoken({"code": 500, "msg": "a\0b\nd"})) as (kie, _):
        submission = await submit(kie)
    assert isinstance(submission, Refused)
    assert submission.failure.message == "submit: code 500: a b d"


# Accepted ---------------------------------------------------------------------------------------------------------


async def test_each_call_goes_out_with_the_key_that_it_names(desk: Desk) -> None:
    for key in (ONE, TWO):
        frame_url = await desk.kie.upload_frame(FRAME, "frame.jpg", key=key)
        values: dict[str, JsonValue] = {"image_urls": [frame_url], "duration": "3"}
        submission = await desk.kie.submit(KLING, values, key=key, limit_seconds=20, callback_url=None)
        assert isinstance(submission, Accepted)
        await desk.kie.task(submission.task_id, key=key, task_url=None, model=KLING)
        await desk.kie.balance(key)
    for route in ("upload", "createTask", "recordInfo", "credit"):
        used = [request["headers"]["authorization"] for request in await desk.requests(route)]
        assert used == [f"Bearer {masked(key)}" for key in ("key-number-one", "key-number-two")]


async def test_f52_the_same_task_told_twice_is_accepted_twice_here(desk: Desk) -> None:
    first = await submit(desk.kie)
    await desk.fault(kind="same_task")
    second = await submit(desk.kie)
    assert isinstance(first, Accepted)
    assert first == second, "that it belongs to another is for the books to say"
    assert len(await desk.tasks()) == 1


@pytest.mark.parametrize("state", ["waiting", "queuing", "generating", "success-ish", "reticulating", ""])
async def test_f49_every_state_that_is_no_end_is_pending(desk: Desk, state: str) -> None:
    await desk.fault(kind="unknown_state", state=state, answers=1)
    task_id = await desk.task_id()
    assert await ask(desk.kie, task_id) == Pending()


async def test_the_states_that_are_an_end(desk: Desk) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (72, 128), "white").save(picture, "JPEG")
    frame_url = await desk.kie.upload_frame(picture.getvalue(), "frame.jpg", key=ONE)
    submission = await submit(desk.kie, frame_url=frame_url)
    assert isinstance(submission, Accepted)
    task: Task = Pending()
    async with asyncio.timeout(60):
        while task == Pending():
            task = await ask(desk.kie, submission.task_id)
            await asyncio.sleep(0.05)
    (made,) = await desk.tasks()
    assert task == Succeeded(made["result_url"], cost_units=54)
    assert await desk.kie.made_for(submission.task_id, CALLBACK, key=ONE, model=KLING)
    assert not await desk.kie.made_for(submission.task_id, f"{CALLBACK}x", key=ONE, model=KLING)
    assert not await desk.kie.made_for("nobody", CALLBACK, key=ONE, model=KLING)

    await desk.fault(kind="task_fails", fail_code="500", fail_msg="Input image may contain real person")
    failed = await ask(desk.kie, await desk.task_id())
    assert isinstance(failed, TaskFailed)
    assert meant(failed.failure) == (FailureKind.UNSUITED, Reason.PHOTO, Scope.ORDER)


async def test_f58_a_task_that_goes_back_is_told_as_it_is_told(desk: Desk) -> None:
    await desk.fault(kind="goes_back")
    task_id = await desk.task_id()
    # The frame is no picture, so the end is a failure; what counts is what comes after it.
    assert isinstance(await ask(desk.kie, task_id), TaskFailed)
    assert await ask(desk.kie, task_id) == Pending()


async def test_f59_a_task_that_is_known_late_or_never(desk: Desk) -> None:
    await desk.fault(kind="late_known", answers=2)
    task_id = await desk.task_id()
    assert [await ask(desk.kie, task_id) for _ in range(2)] == [NotFound(), NotFound()]
    assert isinstance(await ask(desk.kie, task_id), TaskFailed)
    await desk.fault(kind="lost")
    lost = await desk.task_id()
    assert [await ask(desk.kie, lost) for _ in range(3)] == [NotFound()] * 3
    for code in (404, 422):
        await desk.fault(route="recordInfo", kind="code", code=code, msg="recordInfo is null")
        assert await ask(desk.kie, task_id) == NotFound()


def record(**fields: object) -> bytes:
    whole = {"taskId": "t1", "state": "success", "resultJson": '{"resultUrls":["https://x.example/v.mp4"]}', **fields}
    return spoken({"code": 200, "msg": "success", "data": whole})


@pytest.mark.parametrize(
    "result",
    [None, "", "{", "[]", "{}", '{"resultUrls":[]}', '{"resultUrls":null}', '{"resultUrls":[null]}',
     '{"resultUrls":["a b"]}', '{"resultUrls":["https://x.example/\\u0000"]}'],
)  # fmt: skip
async def test_f49_success_without_a_usable_link_is_a_failed_task(result: str | None) -> None:
    async with told(record(resultJson=result)) as (kie, _):
        task = await ask(kie)
    assert isinstance(task, TaskFailed)
    assert meant(task.failure) == (FailureKind.TEMPORARY, Reason.RESULT, Scope.ORDER)


@pytest.mark.parametrize(
    ("credits", "cost"), [(90, 90.0), (22.5, 22.5), (0, 0.0), (None, None), ("many", None), (-1, None), ([], None)]
)
async def test_what_a_result_cost_is_told_where_it_is_a_sum(credits: object, cost: float | None) -> None:
    async with told(record(creditsConsumed=credits)) as (kie, _):
        assert await ask(kie) == Succeeded("https://x.example/v.mp4", cost_units=cost)


async def test_a_fail_code_may_be_a_number_and_its_message_nothing() -> None:
    async with told(record(state="fail", resultJson=None, failCode=422, failMsg=None)) as (kie, _):
        task = await ask(kie)
    assert isinstance(task, TaskFailed)
    assert meant(task.failure) == (FailureKind.UNSUITED, Reason.MODEL, Scope.ORDER)


# What else can be known -------------------------------------------------------------------------------------------


async def test_the_balance_is_that_of_the_key(desk: Desk) -> None:
    await desk.set(credits=12.5, key_credits={"key-number-two": 0})
    assert [await desk.kie.balance(key) for key in (ONE, TWO)] == [12.5, 0]
    for answer in ("much", None, [1], {"credits": 1}):
        async with told(spoken({"code": 200, "msg": "success", "data": answer})) as (kie, _):
            assert meant(await trouble(kie.balance(ONE))) == PASSES


async def test_what_is_listed_is_told_with_its_price(desk: Desk) -> None:
    listed = await desk.kie.listed()
    assert listed[KLING].startswith("18 credits per second")
    assert "sora-2-image-to-video" not in listed
    await desk.set(unlisted_models=[KLING])
    assert KLING not in await desk.kie.listed()


async def test_a_list_of_nothing_or_without_an_address_is_no_list(desk: Desk) -> None:
    await desk.fault(route="models", kind="http_404")
    assert meant(await trouble(desk.kie.listed())) == PASSES
    async with told(spoken({"code": 200, "msg": "success", "data": {"models": []}})) as (kie, _):
        assert meant(await trouble(kie.listed())) == PASSES
    odd = [{"model": None}, {"title": "x"}, {"model": "a/b", "pricingDesc": None}]
    async with told(spoken({"code": 200, "msg": "success", "data": {"models": odd}})) as (kie, _):
        assert await kie.listed() == {"a/b": ""}


async def test_the_success_rate_is_the_mean_of_the_last_hour_where_it_is_known(desk: Desk) -> None:
    await desk.set(success_rates={KLING: 0.985})
    assert await desk.kie.success_rate(KLING) == pytest.approx(0.985)
    assert await desk.kie.success_rate("wan/3-0-video") is None, "nothing has ended yet"
    assert await desk.kie.success_rate("no/such-model") is None
    await desk.fault(route="models", kind="http_404")
    assert await desk.kie.success_rate(KLING) is None
    rates = [0.0, 0.0, 100.0, 50.0, None, 99.0, None, 51.0]
    points = [{"successRate": rate, "isNormal": True} for rate in rates]
    async with told(spoken({"code": 200, "msg": "success", "data": {"points": points}})) as (kie, _):
        assert await kie.success_rate(KLING) == pytest.approx(0.75)
    async with told(spoken({"code": 200, "msg": "success", "data": {"points": [{"successRate": 700}]}})) as (kie, _):
        assert meant(await trouble(kie.success_rate(KLING))) == PASSES
