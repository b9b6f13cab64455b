"""fal's simulator over real HTTP: its contract, the videos it makes, the troubles it can be told to make."""

import asyncio
import base64
import hashlib
import io
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import av
import httpx2
import numpy as np
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from PIL import Image

from neurocards.simulators import Addresses
from neurocards.simulators.exchange import masked

PRO = "fal-ai/kling-video/v3/pro/image-to-video"
STANDARD = "fal-ai/kling-video/v3/standard/image-to-video"
SEEDANCE = "bytedance/seedance-2.0/image-to-video"
NOWHERE = "http://127.0.0.1:9/photo.jpg"
KEY = "key-of-a-seller:secret"
Json = dict[str, Any]  # Any: bodies as they come over the wire


@dataclass
class Fal:
    """A client with the calls every test makes."""

    base: str
    http: httpx2.AsyncClient

    async def control(self, action: str, **body: object) -> Any:
        answer = await self.http.post(f"{self.base}/sim/{action}", json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def seen(self, route: str) -> list[Json]:
        return list((await self.http.get(f"{self.base}/sim/{route}")).json())

    async def upload(self, data: bytes, name: str = "photo.jpg", kind: str = "image/jpeg") -> str:
        announced = await self.http.post(
            f"{self.base}/storage/upload/initiate", json={"content_type": kind, "file_name": name}
        )
        place = announced.json()
        put = await self.http.put(place["upload_url"], content=data, headers={"Content-Type": kind})
        assert put.status_code == 200
        return str(place["file_url"])

    async def submit(self, model: str, fields: Json, **parameters: str) -> httpx2.Response:
        return await self.http.post(f"{self.base}/{model}", json=fields, params=parameters)

    async def queued(self, model: str, fields: Json, **parameters: str) -> Json:
        answer = await self.submit(model, fields, **parameters)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def ended(self, request: Json) -> httpx2.Response:
        """The response, once it is there."""
        async with asyncio.timeout(60):
            while True:
                status = await self.http.get(request["status_url"])
                if status.json()["status"] == "COMPLETED":
                    return await self.http.get(request["response_url"])
                await asyncio.sleep(0.03)

    async def make(self, photo: bytes, seconds: int = 3, **parameters: str) -> httpx2.Response:
        fields = {"prompt": "A cup.", "start_image_url": await self.upload(photo), "duration": str(seconds)}
        return await self.ended(await self.queued(STANDARD, fields, **parameters))


@pytest.fixture
async def fal(all_simulators: Addresses) -> AsyncIterator[Fal]:
    headers = {"Authorization": f"Key {KEY}"}
    async with httpx2.AsyncClient(trust_env=False, headers=headers, timeout=30) as client:
        fal = Fal(all_simulators.fal, client)
        await fal.control("reset")
        await fal.control("settings", task_seconds=0.05, webhook_pause_seconds=0.02)
        yield fal


def picture(width: int = 540, height: int = 960, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    image = Image.new("RGB", (width, height), (200, 40, 40))
    image.paste((40, 60, 200), (0, height // 2, width, height))
    image.save(buffer, kind)
    return buffer.getvalue()


def look_into(data: bytes) -> tuple[tuple[int, int], float, int, bool]:
    """Size, seconds, frames and whether there is sound."""
    with av.open(io.BytesIO(data), "r", format="mp4") as file:
        video = file.streams.video[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert video.duration is not None
        assert video.time_base is not None
        has_sound = bool(file.streams.audio)
        frames = [frame.to_ndarray(format="rgb24").astype(np.int16) for frame in file.decode(video)]
    assert frames[0][100, 100, 0] > 150 > frames[0][-100, 100, 0], "the photo is not the first frame"
    assert np.abs(frames[-1] - frames[0]).mean() > 0.05, "nothing moves"
    size = (frames[0].shape[1], frames[0].shape[0])
    return size, float(video.duration * video.time_base), len(frames), has_sound


def image_field(model: str) -> str:
    return "image_url" if model == SEEDANCE else "start_image_url"


@pytest.mark.parametrize(
    ("model", "fields", "size", "sound"),
    [
        (PRO, {"duration": "3", "generate_audio": True}, (1080, 1920), True),
        (STANDARD, {"duration": "3", "generate_audio": False}, (720, 1280), False),
        (SEEDANCE, {"duration": "4", "resolution": "480p"}, (480, 854), True),
    ],
)
async def test_a_photo_becomes_its_own_moving_video(
    fal: Fal, model: str, fields: Json, size: tuple[int, int], sound: bool
) -> None:
    await fal.control("settings", frame_rate=8)
    url = await fal.upload(picture())
    request = await fal.queued(model, {"prompt": "A cup.", image_field(model): url, "end_image_url": url, **fields})
    response = await fal.ended(request)
    assert response.status_code == 200
    assert float(response.headers["x-fal-billable-units"]) == int(fields["duration"])
    video = response.json()["video"]
    assert video["content_type"] == "video/mp4"
    data = (await fal.http.get(video["url"])).content
    assert len(data) == video["file_size"]
    seconds = int(fields["duration"])
    (width, height), length, frames, has_sound = look_into(data)
    assert (width, height, length, frames, has_sound) == (*size, seconds, 8 * seconds, sound)


async def test_one_submit_is_one_request_with_addresses_below_its_application(fal: Fal) -> None:
    await fal.control("settings", render="shared")
    request = await fal.queued(PRO, {"prompt": "A cup.", "start_image_url": await fal.upload(picture())})
    own = f"{fal.base}/fal-ai/kling-video/requests/{request['request_id']}"
    assert (request["status"], request["gateway_request_id"]) == ("IN_QUEUE", request["request_id"])
    addresses = [request[name] for name in ("response_url", "status_url", "cancel_url")]
    assert addresses == [own, f"{own}/status", f"{own}/cancel"]
    await fal.ended(request)
    (seen,) = await fal.seen("tasks")
    assert (seen["id"], seen["model"], seen["key"], seen["units"]) == (request["request_id"], PRO, masked(KEY), 5)
    routes = [one["route"] for one in await fal.seen("requests")]
    assert (routes.count("submit"), routes.count("response")) == (1, 1)
    assert {"upload", "put", "status"} <= set(routes)
    remembered = json.dumps(await fal.seen("requests"), ensure_ascii=False)
    assert KEY not in remembered
    assert "secret" not in remembered
    assert f'"Key {masked(KEY)}"' in remembered
    assert (await fal.http.get(f"{fal.base}/sim/settings")).json()["credits"] == 1_000_000 - 5


@pytest.mark.parametrize(
    ("sent", "remembered"),
    [
        ("Key abcdefgh", f"Key {masked('abcdefgh')}"),
        ("Bearer abcdefgh", f"Bearer {masked('abcdefgh')}"),
        ("abcdefgh", masked("abcdefgh")),
        ("", ""),
    ],
)
async def test_no_key_is_remembered_whatever_its_scheme(fal: Fal, sent: str, remembered: str) -> None:
    await fal.http.get(f"{fal.base}/a/b/requests/1", headers={"Authorization": sent})
    assert (await fal.seen("requests"))[-1]["headers"]["authorization"] == remembered


async def test_states_advance_while_the_request_waits(fal: Fal) -> None:
    await fal.control("settings", task_seconds=1.0, render="shared")
    fields = {"prompt": "A cup.", "start_image_url": await fal.upload(picture()), "duration": "3"}
    request = await fal.queued(STANDARD, fields)
    states: list[tuple[int, str]] = []
    async with asyncio.timeout(30):
        while not states or states[-1][1] != "COMPLETED":
            status = await fal.http.get(request["status_url"])
            if (status.status_code, status.json()["status"]) not in states:
                states.append((status.status_code, status.json()["status"]))
            if status.json()["status"] == "IN_PROGRESS":
                early = await fal.http.get(request["response_url"])
                assert early.status_code in (200, 400)
            await asyncio.sleep(0.03)
    assert states == [(202, "IN_QUEUE"), (202, "IN_PROGRESS"), (200, "COMPLETED")]
    assert "inference_time" in status.json()["metrics"]


GOOD: list[tuple[str, Json]] = [
    (PRO, {}),
    (PRO, {"duration": "15", "negative_prompt": "", "aspect_ratio": "9:16", "cfg_scale": 1}),
    (STANDARD, {"duration": "3", "generate_audio": False, "end_image_url": NOWHERE}),
    (SEEDANCE, {"duration": "4", "resolution": "480p", "generate_audio": True}),
]
BAD: list[tuple[str, Json, str, str]] = [
    (PRO, {"duration": 5}, "duration", "literal_error"),
    (PRO, {"duration": "2"}, "duration", "literal_error"),
    (PRO, {"duration": "16"}, "duration", "literal_error"),
    (SEEDANCE, {"duration": "3"}, "duration", "literal_error"),
    (SEEDANCE, {"resolution": "1080p"}, "resolution", "literal_error"),
    (SEEDANCE, {"start_image_url": NOWHERE}, "start_image_url", "extra_forbidden"),
    (STANDARD, {"generate_audio": "true"}, "generate_audio", "bool_type"),
    (STANDARD, {"cfg_scale": 1.5}, "cfg_scale", "less_than_equal"),
    (STANDARD, {"prompt": None}, "prompt", "string_type"),
    (STANDARD, {"prompt": ""}, "prompt", "string_too_short"),
    (STANDARD, {"start_image_url": "photo.jpg"}, "start_image_url", "string_pattern_mismatch"),
    (STANDARD, {"image_urls": [NOWHERE]}, "image_urls", "extra_forbidden"),
]


@pytest.mark.parametrize(("model", "fields"), GOOD)
async def test_documented_input_is_taken(fal: Fal, model: str, fields: Json) -> None:
    await fal.control("settings", checks_input="at_once")
    await fal.queued(model, {"prompt": "A cup.", image_field(model): NOWHERE, **fields})


@pytest.mark.parametrize("moment", ["at_once", "when_made"])
@pytest.mark.parametrize(("model", "fields", "name", "kind"), BAD)
async def test_other_input_is_refused_by_the_model(
    fal: Fal, moment: str, model: str, fields: Json, name: str, kind: str
) -> None:
    await fal.control("settings", checks_input=moment, task_seconds=0)
    answer = await fal.submit(model, {"prompt": "A cup.", image_field(model): NOWHERE, **fields})
    if moment == "when_made":
        assert answer.status_code == 200
        answer = await fal.ended(answer.json())
    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert (problem["loc"], problem["type"]) == (["body", name], kind)
    assert len(await fal.seen("tasks")) == (moment == "when_made")


async def test_what_is_missing_is_said_all_at_once(fal: Fal) -> None:
    answer = await fal.ended(await fal.queued(STANDARD, {}))
    assert [problem["loc"][-1] for problem in answer.json()["detail"]] == ["prompt", "start_image_url"]
    assert (await fal.http.post(f"{fal.base}/{STANDARD}", content=b"{")).status_code == 422


async def test_a_failure_is_completed_and_says_so_twice(fal: Fal) -> None:
    await fal.control("faults", kind="task_fails", status=503, type="runner_disconnected", msg="The runner left.")
    request = await fal.queued(STANDARD, {"prompt": "A cup.", "start_image_url": NOWHERE})
    response = await fal.ended(request)
    assert response.status_code == 503
    assert response.json() == {"detail": "The runner left.", "error_type": "runner_disconnected"}
    assert response.headers["x-fal-error-type"] == "runner_disconnected"
    status = (await fal.http.get(request["status_url"])).json()
    assert (status["status"], status["error"]) == ("COMPLETED", "Invalid status code: 503")
    assert status["error_type"] == "runner_disconnected"
    (seen,) = await fal.seen("tasks")
    assert (seen["status"], seen["units"], seen["result_url"]) == (503, 0, None)


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (None, "x.jpg", "file_download_error"),
        (b"no picture", "x.jpg", "image_load_error"),
        (picture()[:400], "x.jpg", "image_load_error"),
        (picture(kind="PNG"), "x.jpg", "image_load_error"),
    ],
)
async def test_a_picture_that_cannot_be_had_or_read(fal: Fal, data: bytes | None, name: str, expected: str) -> None:
    url = NOWHERE if data is None else await fal.upload(data, name)
    fields = {"prompt": "A cup.", "start_image_url": url}
    response = await fal.ended(await fal.queued(STANDARD, fields))
    assert response.status_code == 422
    assert response.json()["detail"][0]["type"] == expected


async def test_storage_wants_a_key_first_and_the_announced_type_then(fal: Fal) -> None:
    route = f"{fal.base}/storage/upload/initiate"
    body = {"content_type": "image/jpeg", "file_name": "../../etc/a b.jpg"}
    assert (await fal.http.post(route, json=body, headers={"Authorization": "Bearer x"})).status_code == 401
    assert (await fal.http.post(route, json={"file_name": "a.jpg"})).status_code == 422
    place = (await fal.http.post(route, json=body)).json()
    assert place["file_url"].endswith("/a%20b.jpg")
    wrong = await fal.http.put(place["upload_url"], content=b"x", headers={"Content-Type": "image/png"})
    assert wrong.status_code == 403
    nobody = {"Authorization": "", "Content-Type": "image/jpeg"}
    assert (await fal.http.put(place["upload_url"], content=b"x", headers=nobody)).status_code == 200
    served = await fal.http.get(place["file_url"], headers={"Authorization": ""})
    assert (served.content, served.headers["content-type"]) == (b"x", "image/jpeg")
    gone = await fal.http.put(f"{fal.base}/storage/put/0", content=b"x", headers=nobody)
    assert gone.status_code == 403


async def test_keys_applications_and_an_empty_account(fal: Fal) -> None:
    fields = {"prompt": "A cup.", "start_image_url": NOWHERE}
    request = await fal.queued(STANDARD, fields)
    for authorization in ("", "Key", f"Bearer {KEY}", KEY):
        headers = {"Authorization": authorization}
        for answer in (
            await fal.http.post(f"{fal.base}/{STANDARD}", json=fields, headers=headers),
            await fal.http.get(request["status_url"], headers=headers),
        ):
            assert answer.status_code == 401, authorization
    other = {"Authorization": "Key other"}
    assert (await fal.http.get(request["status_url"], headers=other)).status_code == 404
    elsewhere = request["status_url"].replace("fal-ai/kling-video", "bytedance/seedance-2.0")
    assert (await fal.http.get(elsewhere)).status_code == 404
    assert (await fal.submit("fal-ai/nothing", fields)).status_code == 404
    inside = await fal.ended(await fal.queued("fal-ai/kling-video/v9/image-to-video", fields))
    assert (inside.status_code, inside.json()) == (404, {"detail": "Path /v9/image-to-video not found"})
    await fal.control("settings", credits=0)
    locked = await fal.submit(STANDARD, fields)
    assert (locked.status_code, locked.json()["detail"][:42]) == (403, "User is locked. Reason: Exhausted balance.")
    assert (await fal.http.get(request["status_url"])).status_code in (200, 202), "what was begun can be asked about"
    await fal.control("settings", credits=9, api_keys=["another"])
    assert (await fal.submit(STANDARD, fields)).status_code == 401


async def test_the_concurrency_limit_is_each_keys_own(fal: Fal) -> None:
    await fal.control("settings", max_in_flight=2)
    await fal.control("faults", kind="never_ends", times=9)
    fields = {"prompt": "A cup.", "start_image_url": NOWHERE}
    first = await fal.queued(STANDARD, fields)
    await fal.queued(STANDARD, fields)
    assert (await fal.submit(STANDARD, fields)).status_code == 429
    other = await fal.http.post(f"{fal.base}/{STANDARD}", json=fields, headers={"Authorization": "Key other"})
    assert other.status_code == 200
    cancelled = await fal.http.put(first["cancel_url"])
    assert (cancelled.status_code, cancelled.json()) == (202, {"status": "CANCELLATION_REQUESTED"})
    again = await fal.http.put(first["cancel_url"])
    assert (again.status_code, again.json()) == (400, {"status": "ALREADY_COMPLETED"})
    nobody = await fal.http.put(f"{fal.base}/fal-ai/kling-video/requests/0/cancel")
    assert (nobody.status_code, nobody.json()) == (404, {"status": "NOT_FOUND"})
    assert (await fal.http.get(first["response_url"])).json()["error_type"] == "client_cancelled"
    await fal.queued(STANDARD, fields)
    figures = (await fal.http.get(f"{fal.base}/sim/keys")).json()
    assert set(figures) == {masked(KEY), masked("other")}
    assert [figures[masked(KEY)][name] for name in ("submits", "accepted", "refused", "in_flight")] == [4, 3, 1, 2]
    assert figures[masked(KEY)]["most_in_flight"] == 2


# Webhooks -----------------------------------------------------------------------------------------------------------


@dataclass
class Listener:
    """A client's callback address: answers with `statuses` in turn, then 200."""

    statuses: list[int] = field(default_factory=list)
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        status = self.statuses.pop(0) if self.statuses else 200
        self.received.append((headers, body))
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def got(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.received) < count:  # noqa: ASYNC110 (another connection sets no event)
                await asyncio.sleep(0.02)


@asynccontextmanager
async def listening(*statuses: int) -> AsyncIterator[tuple[str, Listener]]:
    listener = Listener(list(statuses))
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", listener


async def published(fal: Fal) -> Ed25519PublicKey:
    (jwk,) = (await fal.http.get(f"{fal.base}/.well-known/jwks.json", headers={"Authorization": ""})).json()["keys"]
    assert (jwk["kty"], jwk["crv"]) == ("OKP", "Ed25519")
    return Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(jwk["x"] + "=="))


def is_genuine(key: Ed25519PublicKey, headers: dict[str, str], body: bytes) -> bool:
    parts = [headers[f"x-fal-webhook-{name}"] for name in ("request-id", "user-id", "timestamp")]
    text = "\n".join([*parts, hashlib.sha256(body).hexdigest()])
    try:
        key.verify(bytes.fromhex(headers["x-fal-webhook-signature"]), text.encode())
    except InvalidSignature:
        return False
    return True


async def test_the_webhook_is_signed_retried_and_repeatable(fal: Fal) -> None:
    await fal.control("settings", render="shared")
    async with listening(500, 302) as (url, listener):
        response = await fal.make(picture(), fal_webhook=url)
        await listener.got(3)
        key = await published(fal)
        assert all(is_genuine(key, headers, body) for headers, body in listener.received)
        headers, body = listener.received[-1]
        assert abs(time.time() - int(headers["x-fal-webhook-timestamp"])) < 30
        (seen,) = await fal.seen("tasks")
        told = json.loads(body)
        assert (told["request_id"], told["gateway_request_id"], told["status"]) == (seen["id"], seen["id"], "OK")
        assert told["payload"] == response.json()
        assert not is_genuine(key, headers, body + b" ")
        await fal.control(f"tasks/{seen['id']}/callback")
        await listener.got(4)
        await fal.control("keys/rotate")
        assert not is_genuine(await published(fal), headers, body)


async def test_a_failure_is_told_and_a_deaf_client_is_given_up_after_ten_tries(fal: Fal) -> None:
    await fal.control("faults", kind="content_refused")
    async with listening(*[500] * 12) as (url, listener):
        await fal.make(picture(), fal_webhook=url)
        await listener.got(10)
        await asyncio.sleep(0.3)
        assert len(listener.received) == 10
        told = json.loads(listener.received[0][1])
        assert (told["status"], told["error"]) == ("ERROR", "Invalid status code: 422")
        assert told["payload"]["detail"][0]["type"] == "content_policy_violation"


@pytest.mark.parametrize(
    ("fate", "genuine"),
    [
        ("callback_never", []),
        ("callback_late", [True]),
        ("callback_thrice", [True, True, True]),
        ("callback_forged", [False, True]),
        ("callback_old", [True, True]),
        ("callback_without_payload", [True]),
        ("callback_lies", [True, True]),
    ],
)
async def test_webhooks_can_be_odd(fal: Fal, fate: str, genuine: list[bool]) -> None:
    await fal.control("settings", render="shared")
    await fal.control("faults", kind=fate, delay_seconds=0.2)
    async with listening() as (url, listener):
        await fal.make(picture(), fal_webhook=url)
        assert len(listener.received) == 0 or fate != "callback_late"
        await listener.got(len(genuine))
        await asyncio.sleep(0.1)
        key = await published(fal)
        assert [is_genuine(key, headers, body) for headers, body in listener.received] == genuine
        ages = [time.time() - int(headers["x-fal-webhook-timestamp"]) for headers, _ in listener.received]
        assert (max(ages, default=0) > 300) == (fate == "callback_old")
        if fate == "callback_lies":
            lie, truth = (json.loads(body)["request_id"] for _, body in listener.received)
            assert [task["id"] for task in await fal.seen("tasks")] == [truth] != [lie]
        if fate == "callback_without_payload":
            told = json.loads(listener.received[0][1])
            assert (told["payload"], told["status"], bool(told["payload_error"])) == (None, "OK", True)


async def test_nobody_outside_this_machine_is_told_or_asked(fal: Fal) -> None:
    request = await fal.queued(
        STANDARD, {"prompt": "A cup.", "start_image_url": "http://192.0.2.1/a.jpg"}, fal_webhook="http://192.0.2.1/"
    )
    assert (await fal.ended(request)).json()["detail"][0]["type"] == "file_download_error"
    (seen,) = await fal.seen("tasks")
    assert seen["callbacks"] == []


# Faults -------------------------------------------------------------------------------------------------------------


async def test_faults_that_replace_the_answer_have_no_effect(fal: Fal) -> None:
    fields = {"prompt": "A cup.", "start_image_url": NOWHERE}
    orders: list[tuple[Json, int, str]] = [
        ({"kind": "http_500"}, 500, '"detail"'),
        ({"kind": "http_503"}, 503, "<html>"),
        ({"kind": "429", "retry_after": 7}, 429, '"detail"'),
        ({"kind": "error", "status": 422, "type": "image_too_small", "msg": "small"}, 422, '"image_too_small"'),
        ({"kind": "error", "status": 504, "type": "request_timeout", "msg": "late"}, 504, '"error_type"'),
        ({"kind": "error", "status": 403, "type": "", "msg": "User is locked."}, 403, '"User is locked."'),
        ({"kind": "html"}, 200, "<html>"),
        ({"kind": "empty"}, 200, ""),
    ]
    for order, status, content in orders:
        await fal.control("faults", route="submit", **order)
        answer = await fal.submit(STANDARD, fields)
        assert (answer.status_code, content in answer.text) == (status, True), order
        if status == 429:
            assert answer.headers["retry-after"] == "7"
    await fal.control("faults", route="submit", kind="reset")
    with pytest.raises(httpx2.TransportError):
        await fal.submit(STANDARD, fields)
    assert await fal.seen("tasks") == []
    assert await fal.seen("faults") == []
    await fal.control("faults", route="submit", kind="drop_answer")
    with pytest.raises(httpx2.RemoteProtocolError):
        await fal.submit(STANDARD, fields)
    assert len(await fal.seen("tasks")) == 1
    assert (await fal.seen("requests?route=submit"))[-1]["fault"] == "drop_answer"


async def test_a_service_that_is_down_answers_nobody_and_goes_on(fal: Fal) -> None:
    request = await fal.queued(STANDARD, {"prompt": "A cup.", "start_image_url": NOWHERE})
    await fal.control("settings", down="503")
    assert (await fal.http.get(request["status_url"])).status_code == 503
    await fal.control("settings", down="refuse")
    with pytest.raises(httpx2.TransportError):
        await fal.http.get(request["status_url"])
    await fal.control("settings", down=None)
    assert (await fal.ended(request)).status_code == 422


async def test_a_fault_keeps_to_its_route_and_its_count(fal: Fal) -> None:
    await fal.control("faults", route="jwks", kind="http_503", times=2)
    request = await fal.queued(STANDARD, {"prompt": "A cup.", "start_image_url": NOWHERE})
    await fal.ended(request)
    statuses = [(await fal.http.get(f"{fal.base}/.well-known/jwks.json")).status_code for _ in range(3)]
    assert statuses == [503, 503, 200]


@pytest.mark.parametrize("variant", ["truncated", "not_a_video", "zero_bytes"])
async def test_damaged_results_cannot_be_played(fal: Fal, variant: str) -> None:
    await fal.control("faults", kind="bad_result", variant=variant)
    response = await fal.make(picture())
    data = (await fal.http.get(response.json()["video"]["url"])).content
    frames = 0
    with suppress(av.FFmpegError), av.open(io.BytesIO(data), "r", format="mp4") as file:
        for _ in file.decode(video=0):
            frames += 1
    assert frames < 72


async def test_flawed_results_have_just_their_flaw(fal: Fal) -> None:
    await fal.control("settings", frame_rate=8)
    clips: dict[str, tuple[tuple[int, int], float, bool]] = {}
    for kind in ("wrong_length", "small", "silent"):
        order = {"kind": "silent"} if kind == "silent" else {"kind": "bad_result", "variant": kind}
        await fal.control("faults", **order)
        response = await fal.make(picture())
        size, seconds, _, sound = look_into((await fal.http.get(response.json()["video"]["url"])).content)
        clips[kind] = size, seconds, sound
    assert clips == {
        "wrong_length": ((720, 1280), 1.5, True),
        "small": ((360, 640), 3, True),
        "silent": ((720, 1280), 3, False),
    }


async def test_results_can_be_missing_once_for_good_or_altogether(fal: Fal) -> None:
    await fal.control("settings", render="shared")
    url = (await fal.make(picture())).json()["video"]["url"]
    await fal.control("faults", route="result", kind="result_404")
    assert [(await fal.http.get(url)).status_code for _ in range(2)] == [404, 200]
    await fal.control("faults", kind="result_404")
    url = (await fal.make(picture())).json()["video"]["url"]
    assert [(await fal.http.get(url)).status_code for _ in range(2)] == [404, 404]
    await fal.control("faults", kind="no_video")
    assert (await fal.make(picture())).json() == {"video": None}
