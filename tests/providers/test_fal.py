"""The adapter of fal.ai against its simulator: what each trouble becomes, and that a submit is one POST."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from neurocards.catalogue import load_catalogue
from neurocards.domain.catalogue import Model
from neurocards.domain.failures import Failure, FailureKind, Reason, Scope
from neurocards.domain.tasks import Accepted, NotFound, Pending, Refused, Succeeded, Task, TaskFailed, Unanswered
from neurocards.production import VideoProvider
from neurocards.providers.fal import Fal
from neurocards.providers.http import MAX_ANSWER_BYTES
from neurocards.simulators.exchange import masked
from services import Simulators

PRO = "fal-ai/kling-video/v3/pro/image-to-video"
STANDARD = "fal-ai/kling-video/v3/standard/image-to-video"
SEEDANCE = "bytedance/seedance-2.0/image-to-video"
NOWHERE = "http://127.0.0.1:9/photo.jpg"
ONE, OTHER = "fal-11111111", "fal-22222222"
KEYS = {ONE: "first-key:secret", OTHER: "second-key:secret"}

Json = dict[str, Any]  # Any: the simulator's JSON


def photo() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (540, 960), (200, 90, 40)).save(buffer, "JPEG")
    return buffer.getvalue()


@dataclass(frozen=True)
class Service:
    """The adapter, and fal's side of the world."""

    fal: Fal
    base: str
    client: httpx2.AsyncClient

    async def fault(self, **fault: object) -> None:
        answer = await self.client.post(f"{self.base}/sim/faults", json=fault)
        assert answer.is_success, answer.text

    async def settings(self, **settings: object) -> None:
        answer = await self.client.post(f"{self.base}/sim/settings", json=settings)
        assert answer.is_success, answer.text

    async def tasks(self) -> list[Json]:
        return list((await self.client.get(f"{self.base}/sim/tasks")).json())

    async def requests(self, route: str) -> list[Json]:
        return list((await self.client.get(f"{self.base}/sim/requests", params={"route": route})).json())

    async def submit(
        self, model: str = STANDARD, *, key: str = ONE, limit_seconds: float = 10, **values: Any
    ) -> Accepted | Refused | Unanswered:
        image = "image_url" if model == SEEDANCE else "start_image_url"
        fields = {"prompt": "A cup.", image: values.pop("image", NOWHERE), "duration": "4", **values}
        return await self.fal.submit(model, fields, key=key, limit_seconds=limit_seconds, callback_url=None)

    async def accepted(self, model: str = STANDARD, **values: Any) -> Accepted:
        submission = await self.submit(model, **values)
        assert isinstance(submission, Accepted), submission
        return submission

    async def ask(self, accepted: Accepted, model: str = STANDARD, *, key: str = ONE) -> Task:
        return await self.fal.task(accepted.task_id, key=key, task_url=accepted.task_url, model=model)

    async def outcome(self, accepted: Accepted, model: str = STANDARD) -> Task:
        """What became of a request, once it is over."""
        async with asyncio.timeout(30):
            while isinstance(task := await self.ask(accepted, model), Pending):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return task

    async def made(self, model: str = STANDARD, **values: Any) -> Task:
        url = await self.fal.upload_frame(photo(), "frame.jpg", key=ONE)
        return await self.outcome(await self.accepted(model, image=url, **values), model)


def provider(fal: Fal) -> Fal:
    """The adapter is what production asks for."""
    asked_for: VideoProvider = fal
    assert asked_for.name == "fal"
    return fal


@pytest.fixture
async def service(simulators: Simulators) -> AsyncIterator[Service]:
    fal = provider(Fal(queue_url=simulators.fal, rest_url=f"{simulators.fal}/", keys=KEYS))
    yield Service(fal, simulators.fal, simulators.client)
    await fal.close()


@asynccontextmanager
async def answering(*chunks: bytes, pause_seconds: float = 0) -> AsyncIterator[str]:
    """A server that answers whatever comes with these very bytes, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            for chunk in chunks:
                writer.write(chunk)
                await writer.drain()
                await asyncio.sleep(pause_seconds)
        except ConnectionError:
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def at(url: str) -> AsyncIterator[Service]:
    """The adapter at an address of the test's own."""
    fal = Fal(queue_url=url, rest_url=url, keys=KEYS)
    async with httpx2.AsyncClient() as client:
        yield Service(fal, url, client)
    await fal.close()


def failure(outcome: object) -> Failure:
    assert isinstance(outcome, Refused | TaskFailed), outcome
    return outcome.failure


def meaning(outcome: object) -> tuple[FailureKind, Reason, Scope]:
    found = failure(outcome)
    return found.kind, found.reason, found.scope


def http(status: int, body: object = None, **headers: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


# The way of a video -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (PRO, {"generate_audio": True, "negative_prompt": "text", "aspect_ratio": "9:16", "cfg_scale": 0.5}),
        (STANDARD, {}),
        (SEEDANCE, {"resolution": "720p", "generate_audio": True}),
    ],
)
async def test_a_frame_becomes_a_video_and_its_price(
    service: Service, tmp_path: Path, model: str, values: dict[str, object]
) -> None:
    url = await service.fal.upload_frame(photo(), "frame.jpg", key=ONE)
    assert (await service.client.get(url)).content == photo()
    last = "end_image_url"
    accepted = await service.accepted(model, image=url, **{last: url}, **values)
    app = "/".join(model.split("/")[:2])
    assert accepted.task_url == f"{service.base}/{app}/requests/{accepted.task_id}"
    task = await service.outcome(accepted, model)
    assert isinstance(task, Succeeded)
    assert task.cost_units == 4
    await service.fal.download(task.result_url, tmp_path / "video.mp4")
    assert (tmp_path / "video.mp4").read_bytes()[4:8] == b"ftyp"
    assert len(await service.requests("submit")) == 1


async def test_no_key_leaves_for_another_host_and_none_is_remembered(service: Service, tmp_path: Path) -> None:
    task = await service.made()
    assert isinstance(task, Succeeded)
    await service.fal.download(task.result_url, tmp_path / "video.mp4")
    for route in ("upload", "submit", "status", "response"):
        sent = {request["headers"]["authorization"] for request in await service.requests(route)}
        assert sent == {f"Key {masked(KEYS[ONE])}"}
    for route in ("put", "result"):
        assert all("authorization" not in request["headers"] for request in await service.requests(route))


async def test_each_key_has_its_own_requests_and_a_lost_label_is_answered_by_another(service: Service) -> None:
    assert service.fal.keys == (ONE, OTHER)
    await service.fault(kind="never_ends")
    accepted = await service.accepted(key=OTHER)
    assert await service.ask(accepted, key=OTHER) == Pending()
    assert await service.ask(accepted, key=ONE) == NotFound()
    assert await service.ask(accepted, key="fal-gone") == NotFound()


async def test_the_address_that_fal_told_is_used_only_inside_its_queue(service: Service) -> None:
    """t03: whatever the books hold as an address, the key goes to fal alone."""
    accepted = await service.accepted()
    async with answering(http(200, {"status": "COMPLETED"})) as elsewhere:
        for told in (
            None,
            f"{elsewhere}/requests/1",
            service.base.replace("http://", "http://me:word@"),
            f"{service.base}evil/requests/1",
            f"{service.base}/x?y=",
        ):
            task = await service.outcome(Accepted(accepted.task_id, told))
            assert isinstance(task, TaskFailed), told
    assert await service.ask(Accepted("other", f"{service.base}/a/b/requests/1")) == NotFound()
    asked = [request["path"] for request in await service.requests("status")]
    assert asked[-1] == "/a/b/requests/1/status", "fal's own address comes before ours"


async def test_the_id_of_a_task_cannot_lead_astray(service: Service) -> None:
    for task_id in ("../../x", "a/b", "a?b", "%2e%2e", "ü"):
        assert await service.ask(Accepted(task_id)) == NotFound()
    below = "/fal-ai/kling-video/requests/"
    asked = (await service.client.get(f"{service.base}/sim/requests")).json()
    assert len(asked) == 5
    assert all(one["path"].startswith(below) and one["path"].endswith("/status") for one in asked)
    assert {one["query"] for one in asked} == {""}


async def test_made_for_asks_fal_whether_the_request_is_ours(service: Service) -> None:
    accepted = await service.accepted()
    known = {"key": ONE, "model": STANDARD}
    assert await service.fal.made_for(accepted.task_id, "http://any", **known)
    assert not await service.fal.made_for(accepted.task_id, "http://any", key=OTHER, model=STANDARD)
    assert not await service.fal.made_for("no-such-request", "http://any", **known)
    await service.fault(route="status", kind="http_503")
    with pytest.raises(Failure):
        await service.fal.made_for(accepted.task_id, "http://any", **known)


# Submits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["http_500", "http_503", "html", "empty", "not_json", "huge", "reset", "drop_answer", "503_accepted"]
)
async def test_f46_f48_f49_whatever_leaves_room_for_a_task_is_unanswered_and_sent_once(
    service: Service, kind: str
) -> None:
    await service.fault(route="submit", kind=kind)
    assert isinstance(await service.submit(), Unanswered)
    assert len(await service.requests("submit")) == 1
    assert len(await service.tasks()) == (kind in ("huge", "drop_answer", "503_accepted"))


async def test_f47_a_late_answer_is_unanswered(service: Service) -> None:
    await service.fault(route="submit", kind="delay", delay_seconds=5)
    assert await service.submit(limit_seconds=0.3) == Unanswered("no answer in time")
    assert len(await service.tasks()) == 1


async def test_f47_a_trickle_is_cut_by_the_total_limit() -> None:
    body = http(200, {"request_id": "r"})
    async with answering(*(body[i : i + 1] for i in range(len(body))), pause_seconds=0.1) as url, at(url) as slow:
        assert await slow.submit(limit_seconds=0.5) == Unanswered("no answer in time")


async def test_f45_what_never_left_is_refused() -> None:
    async with at("http://127.0.0.1:9") as nobody:
        refused = failure(await nobody.submit())
        assert (refused.kind, refused.retry_after_seconds) == (FailureKind.OUTAGE, 5.0)
        with pytest.raises(Failure, match="ConnectError"):
            await nobody.fal.upload_frame(b"x", "x.jpg", key=ONE)


ODD = [
    http(200, b"{"),
    http(200, []),
    http(200, {}),
    http(200, {"request_id": 7}),
    http(200, {"request_id": ""}),
    http(200, {"request_id": "a b"}),
    http(200, {"request_id": "x" * 201}),
    http(200, b"1" * (MAX_ANSWER_BYTES + 1)),
    http(204, b""),
    http(302, b"", Location="http://127.0.0.1:9/"),
    http(307, b"", Location="http://127.0.0.1:9/"),
    http(400, b"<html>"),
    http(408, {"detail": "Request timed out"}),
    http(418, {"detail": "teapot"}),
    http(422, b"<html>"),
    http(499, {"detail": "gone"}),
    http(520, {"detail": "unknown"}),
]


@pytest.mark.parametrize("answer", ODD, ids=range(len(ODD)))
async def test_f49_an_odd_answer_to_a_submit_is_unanswered(answer: bytes) -> None:
    async with answering(answer) as url, at(url) as odd:
        assert isinstance(await odd.submit(), Unanswered)


async def test_f44_a_rate_limit_says_when_to_come_back(service: Service) -> None:
    await service.fault(route="submit", kind="429", retry_after=7)
    refused = failure(await service.submit())
    assert (refused.kind, refused.scope, refused.retry_after_seconds) == (FailureKind.RATE_LIMITED, Scope.KEY, 7)
    await service.settings(max_in_flight=1)
    await service.fault(kind="never_ends")
    await service.accepted()
    assert failure(await service.submit()).kind is FailureKind.RATE_LIMITED
    assert isinstance(await service.submit(key=OTHER), Accepted), "the limit is the key's"


async def test_f65_a_revoked_key_and_an_empty_account_are_trouble_of_the_key(service: Service) -> None:
    of_the_key = (FailureKind.OUTAGE, Reason.PROVIDER, Scope.KEY)
    await service.settings(credits=0)
    locked = failure(await service.submit())
    assert (locked.kind, locked.reason, locked.scope) == of_the_key
    assert "Exhausted balance" in locked.message
    with pytest.raises(Failure, match="Exhausted balance") as refused:
        await service.fal.upload_frame(b"x", "x.jpg", key=ONE)
    assert refused.value.scope is Scope.KEY
    await service.settings(credits=1, api_keys=[KEYS[OTHER]])
    assert meaning(await service.submit()) == of_the_key
    assert isinstance(await service.submit(key=OTHER), Accepted)


async def test_a_model_that_is_not_served_is_refused_for_all(service: Service) -> None:
    not_served = (FailureKind.UNSUITED, Reason.MODEL, Scope.MODEL)
    assert meaning(await service.submit("fal-ai/no-such-app/image-to-video")) == not_served
    await service.settings(retired_models=[PRO])
    assert meaning(await service.submit(PRO)) == not_served
    nowhere = "fal-ai/kling-video/v9/image-to-video"
    assert meaning(await service.outcome(await service.accepted(nowhere), nowhere)) == not_served


@pytest.mark.parametrize("moment", ["at_once", "when_made"])
async def test_input_that_a_model_does_not_take(service: Service, moment: str) -> None:
    await service.settings(checks_input=moment)

    async def refused(**values: Any) -> tuple[FailureKind, Reason, Scope]:
        submission = await service.submit(**values)
        assert isinstance(submission, Refused if moment == "at_once" else Accepted)
        return meaning(await service.outcome(submission) if isinstance(submission, Accepted) else submission)

    assert await refused(no_such_field=1) == (FailureKind.UNSUITED, Reason.MODEL, Scope.MODEL)
    assert await refused(duration=5) == (FailureKind.UNSUITED, Reason.MODEL, Scope.ORDER)
    assert await refused(prompt="x" * 2501) == (FailureKind.UNSUITED, Reason.MODEL, Scope.ORDER)


FALS_MODELS = [model for model in load_catalogue().models.values() if model.provider == "fal"]


@pytest.mark.parametrize("model", FALS_MODELS, ids=lambda model: model.id)
async def test_what_our_profiles_make_of_an_order_is_taken(service: Service, model: Model) -> None:
    await service.settings(checks_input="at_once")
    for seconds in model.seconds_allowed:
        values = model.input(
            prompt="A cup.", negative="lettering", frame_url=NOWHERE, last_frame_url=NOWHERE, seconds=seconds
        )
        submission = await service.fal.submit(model.id, values, key=ONE, limit_seconds=10, callback_url=None)
        assert isinstance(submission, Accepted), (seconds, submission)


# What became of a request -------------------------------------------------------------------------------------------

PASSES = (FailureKind.TEMPORARY, Reason.PROVIDER, Scope.ORDER)
NOT_THIS_PHOTO = (FailureKind.UNSUITED, Reason.PHOTO, Scope.ORDER)
NOT_SERVED = (FailureKind.UNSUITED, Reason.MODEL, Scope.MODEL)
MEANINGS: list[tuple[int, str, tuple[FailureKind, Reason, Scope]]] = [
    (422, "content_policy_violation", (FailureKind.PERMANENT, Reason.CONTENT, Scope.ORDER)),
    (422, "face_detection_error", NOT_THIS_PHOTO),
    (422, "image_too_small", NOT_THIS_PHOTO),
    (422, "image_too_large", NOT_THIS_PHOTO),
    (422, "file_too_large", NOT_THIS_PHOTO),
    (422, "unsupported_image_format", NOT_THIS_PHOTO),
    (422, "image_load_error", (FailureKind.TEMPORARY, Reason.PHOTO, Scope.ORDER)),
    (422, "file_download_error", PASSES),
    (422, "no_media_generated", PASSES),
    (422, "feature_not_supported", NOT_SERVED),
    (422, "missing", NOT_SERVED),
    (422, "a_type_of_tomorrow", (FailureKind.UNSUITED, Reason.MODEL, Scope.ORDER)),
    (400, "downstream_service_error", PASSES),
    (500, "downstream_service_unavailable", PASSES),
    (500, "internal_server_error", PASSES),
    (500, "runner_server_error", PASSES),
    (502, "runner_incomplete_response", PASSES),
    (503, "runner_scheduling_failure", PASSES),
    (503, "runner_disconnected", PASSES),
    (503, "a_type_of_tomorrow", (FailureKind.TEMPORARY, Reason.PROVIDER, Scope.PROVIDER)),
    (504, "generation_timeout", PASSES),
    (504, "startup_timeout", PASSES),
    (504, "", (FailureKind.TEMPORARY, Reason.PROVIDER, Scope.PROVIDER)),
    (499, "client_cancelled", PASSES),
    (451, "", PASSES),
    (404, "", NOT_SERVED),
]


@pytest.mark.parametrize(("status", "kind", "expected"), MEANINGS)
async def test_f50_f64_a_completed_request_that_failed(
    service: Service, status: int, kind: str, expected: tuple[FailureKind, Reason, Scope]
) -> None:
    await service.fault(kind="task_fails", status=status, type=kind, msg="Words for the log")
    outcome = await service.outcome(await service.accepted())
    assert meaning(outcome) == expected
    assert "Words for the log" in failure(outcome).message


async def test_f64_refused_content_is_final_and_a_frame_that_cannot_be_had_is_not(service: Service) -> None:
    await service.fault(kind="content_refused")
    assert meaning(await service.made()) == (FailureKind.PERMANENT, Reason.CONTENT, Scope.ORDER)
    lost = await service.outcome(await service.accepted())
    assert "file_download_error" in failure(lost).message
    assert failure(lost).kind is FailureKind.TEMPORARY


async def test_f59_f60_a_request_that_is_unknown_or_never_ends(service: Service) -> None:
    assert await service.ask(Accepted("no-such-request")) == NotFound()
    await service.fault(kind="never_ends")
    accepted = await service.accepted()
    await asyncio.sleep(0.1)
    assert await service.ask(accepted) == Pending()
    response = await service.client.put(f"{accepted.task_url}/cancel", headers={"Authorization": f"Key {KEYS[ONE]}"})
    assert (response.status_code, response.json()) == (202, {"status": "CANCELLATION_REQUESTED"})
    assert "client_cancelled" in failure(await service.ask(accepted)).message


@pytest.mark.parametrize("route", ["status", "response"])
@pytest.mark.parametrize(
    "kind", ["http_500", "http_503", "html", "empty", "not_json", "huge", "reset", "drop_answer", "503_accepted"]
)
async def test_f49_a_question_that_fails_says_nothing_of_the_request(service: Service, route: str, kind: str) -> None:
    """The video is there all the while: taking the gateway's trouble for the request's would pay for it twice."""
    url = await service.fal.upload_frame(photo(), "frame.jpg", key=ONE)
    accepted = await service.accepted(image=url)
    assert isinstance(await service.outcome(accepted), Succeeded)
    await service.fault(route=route, kind=kind)
    with pytest.raises(Failure) as trouble:
        await service.ask(accepted)
    assert trouble.value.kind is FailureKind.TEMPORARY
    assert isinstance(await service.ask(accepted), Succeeded)


@pytest.mark.parametrize("route", ["status", "response"])
async def test_a_question_may_be_refused_for_the_key_or_the_pace(service: Service, route: str) -> None:
    accepted = await service.accepted(image=await service.fal.upload_frame(photo(), "frame.jpg", key=ONE))
    assert isinstance(await service.outcome(accepted), Succeeded)
    for status, kind in (
        (401, FailureKind.OUTAGE),
        (403, FailureKind.OUTAGE),
        (429, FailureKind.RATE_LIMITED),
        (400, FailureKind.TEMPORARY),
    ):
        await service.fault(route=route, kind="error", status=status, type="", msg="no")
        with pytest.raises(Failure) as trouble:
            await service.ask(accepted)
        assert trouble.value.kind is kind
    await service.fault(route=route, kind="error", status=404, type="", msg="Request not found")
    assert await service.ask(accepted) == NotFound()


async def test_f49_a_status_that_nobody_knows_is_no_end() -> None:
    async with answering(http(200, {"status": "PONDERING"})) as url, at(url) as odd:
        assert await odd.ask(Accepted("r")) == Pending()


async def test_f63_a_success_without_a_video_is_a_failure_of_the_result(service: Service) -> None:
    await service.fault(kind="no_video")
    assert meaning(await service.made()) == (FailureKind.TEMPORARY, Reason.RESULT, Scope.ORDER)


async def test_f62_a_result_that_is_gone_and_addresses_that_are_not_fetched(service: Service, tmp_path: Path) -> None:
    await service.fault(kind="result_404")
    task = await service.made()
    assert isinstance(task, Succeeded)
    with pytest.raises(Failure):
        await service.fal.download(task.result_url, tmp_path / "video.mp4")
    for url in ("file:///etc/passwd", "http://me@127.0.0.1/x", "ftp://127.0.0.1/x", "http://[", "/x", ""):
        with pytest.raises(Failure):
            await service.fal.download(url, tmp_path / "video.mp4")


# Uploads ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["upload", "put"])
@pytest.mark.parametrize("kind", ["http_500", "http_503", "reset", "drop_answer"])
async def test_an_upload_that_fails_may_be_repeated(service: Service, route: str, kind: str) -> None:
    await service.fault(route=route, kind=kind)
    with pytest.raises(Failure) as trouble:
        await service.fal.upload_frame(photo(), "frame.jpg", key=ONE)
    away = kind == "http_503"
    assert trouble.value.kind is (FailureKind.OUTAGE if away else FailureKind.TEMPORARY)
    await service.fal.upload_frame(photo(), "frame.jpg", key=ONE)


async def test_a_frame_is_put_at_no_odd_address() -> None:
    for place in ("file:///tmp/x", "http://me:word@127.0.0.1/x", "http://[", "x"):
        answer = http(200, {"upload_url": place, "file_url": "http://127.0.0.1/x.jpg"})
        async with answering(answer) as url, at(url) as odd:
            with pytest.raises(Failure, match="upload"):
                await odd.fal.upload_frame(b"x", "x.jpg", key=ONE)
