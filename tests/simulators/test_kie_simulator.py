"""KIE's simulator over real HTTP: its contract, the videos it makes, the troubles it can be told to make."""

import asyncio
import base64
import hashlib
import hmac
import io
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import httpx2
import numpy as np
import psutil  # type: ignore[import-untyped]  # it ships no types
import pytest
from numpy.typing import NDArray
from PIL import Image

from neurocards.simulators import Addresses
from neurocards.simulators.exchange import masked
from neurocards.simulators.kie.keys import RateWindow
from neurocards.simulators.studio.usage import Usage

SRC = Path(__file__).parents[2] / "src"
KLING = "kling/v3-turbo-image-to-video"
WAN = "wan/3-0-video"
Frame = NDArray[np.uint8]
Json = dict[str, Any]  # Any: bodies as they come over the wire
CORNERS = [(220, 40, 40), (40, 180, 60), (50, 70, 210), (230, 200, 40)]


@pytest.fixture
async def kie(all_simulators: Addresses) -> AsyncIterator["Kie"]:
    headers = {"Authorization": "Bearer key-of-a-seller", "User-Agent": "neurocards-test/1"}
    async with httpx2.AsyncClient(trust_env=False, headers=headers, timeout=30) as client:
        kie = Kie(all_simulators.kie, client)
        await kie.control("reset")
        await kie.control("settings", task_seconds=0.05)
        yield kie


async def eventually(ready: Callable[[], bool], *, seconds: float = 20) -> None:
    """Wait for what only shows from outside: another process, another connection."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "it never came"
        await asyncio.sleep(0.02)


@dataclass
class Kie:
    """A client with the calls every test makes."""

    base: str
    http: httpx2.AsyncClient

    async def control(self, action: str, **body: object) -> Any:
        answer = await self.http.post(f"{self.base}/sim/{action}", json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def seen(self, route: str) -> list[Json]:
        return list((await self.http.get(f"{self.base}/sim/{route}")).json())

    async def upload(self, data: bytes, name: str = "photo.jpg", path: str = "photos") -> str:
        answer = await self.http.post(
            f"{self.base}/api/file-stream-upload", files={"file": (name, data)}, data={"uploadPath": path}
        )
        assert answer.json()["success"], answer.text
        return str(answer.json()["data"]["downloadUrl"])

    async def submit(self, model: str, fields: Json, *, key: str = "key-of-a-seller", **more: str) -> Json:
        answer = await self.http.post(
            f"{self.base}/api/v1/jobs/createTask",
            json={"model": model, "input": fields, **more},
            headers={"Authorization": f"Bearer {key}"},
        )
        assert answer.status_code == 200
        return dict(answer.json())

    async def asked(self, task_id: str) -> Json:
        answer = await self.http.get(f"{self.base}/api/v1/jobs/recordInfo", params={"taskId": task_id})
        return dict(answer.json())

    async def task(self, task_id: str) -> Json:
        answer = await self.asked(task_id)
        assert answer["code"] == 200, answer
        return dict(answer["data"])

    async def ended(self, task_id: str) -> Json:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            task = await self.task(task_id)
            if task["state"] in ("success", "fail"):
                return task
            await asyncio.sleep(0.05)
        raise AssertionError("the task never ended")

    async def make(self, photo: bytes, seconds: int = 3, **more: str) -> Json:
        fields = {"image_urls": [await self.upload(photo)], "duration": str(seconds), "prompt": "A cup."}
        created = await self.submit(KLING, fields, **more)
        return await self.ended(created["data"]["taskId"])

    async def video(self, task: Json) -> bytes:
        (url,) = json.loads(task["resultJson"])["resultUrls"]
        return (await self.http.get(url)).content

    async def credits(self, key: str = "key-of-a-seller") -> float:
        headers = {"Authorization": f"Bearer {key}"}
        return float((await self.http.get(f"{self.base}/api/v1/chat/credit", headers=headers)).json()["data"])

    async def keys(self) -> Json:
        return dict((await self.http.get(f"{self.base}/sim/keys")).json())

    async def over(self) -> None:
        """Wait until every task has ended and every callback is out, without asking KIE about them."""
        async with asyncio.timeout(30):
            while not all(task["told"] for task in await self.seen("tasks")):  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@dataclass
class Clip:
    """What can be seen and heard in a video file."""

    size: tuple[int, int]
    seconds: float
    frames: list[Frame]
    loudness: float | None


def look_into(data: bytes) -> Clip:
    with av.open(io.BytesIO(data), "r", format="mp4") as file:
        video = file.streams.video[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert video.duration is not None
        assert video.time_base is not None
        seconds = float(video.duration * video.time_base)
        frames = [frame.to_ndarray(format="rgb24").astype(np.uint8) for frame in file.decode(video)]
    loudness = None
    with av.open(io.BytesIO(data), "r", format="mp4") as file:
        if file.streams.audio:
            audio = file.streams.audio[0]
            assert (audio.codec_context.name, audio.rate, audio.layout.name) == ("aac", 48_000, "stereo")
            sound = np.concatenate([frame.to_ndarray() for frame in file.decode(audio)], axis=1)
            loudness = float(np.sqrt(np.mean(sound**2)))
    return Clip((frames[0].shape[1], frames[0].shape[0]), seconds, frames, loudness)


def four_colours(width: int = 540, height: int = 960, kind: str = "JPEG") -> bytes:
    """Each corner of the picture has a colour of its own, so that it is known again in a video."""
    image = Image.new("RGB", (width, height))
    for index, colour in enumerate(CORNERS):
        column, row = index % 2, index // 2
        image.paste(colour, (column * width // 2, row * height // 2, width, height))
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=95)
    return buffer.getvalue()


def difference(one: Frame, other: Frame) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean())


async def test_a_photo_becomes_its_own_moving_video(kie: Kie) -> None:
    task = await kie.make(four_colours(), seconds=4)
    assert task["state"] == "success"
    data = await kie.video(task)
    assert data.index(b"moov") < data.index(b"mdat"), "the file must play while it loads"
    clip = look_into(data)
    assert clip.size == (720, 1280)
    assert clip.seconds == 4
    assert len(clip.frames) == 96
    assert clip.loudness is not None
    assert clip.loudness > 0.001
    for frame in (clip.frames[0], clip.frames[-1]):
        for (x, y), colour in zip([(100, 100), (620, 100), (100, 1180), (620, 1180)], CORNERS, strict=True):
            assert np.abs(frame[y, x].astype(np.int16) - colour).max() < 25
    # The seam between the colours never rests: not in the first half second, not in the last.
    for start in range(0, 96 - 12, 12):
        assert difference(clip.frames[start], clip.frames[start + 12]) > 0.05, f"still at frame {start}"


async def test_one_submit_is_one_task_as_documented(kie: Kie) -> None:
    before = await kie.credits()
    task = await kie.make(four_colours(), seconds=3)
    assert [task["state"], task["progress"], task["creditsConsumed"]] == ["success", 100, 54]
    assert json.loads(task["param"])["model"] == KLING
    assert json.loads(task["param"])["input"]["duration"] == "3"
    assert await kie.credits() == before - 54
    (seen,) = await kie.seen("tasks")
    assert (seen["id"], seen["input"]["prompt"], seen["key"]) == (task["taskId"], "A cup.", masked("key-of-a-seller"))
    routes = [request["route"] for request in await kie.seen("requests")]
    assert routes.count("createTask") == 1
    assert {"upload", "recordInfo", "credit"} <= set(routes)
    assert "key-of-a-seller" not in json.dumps(await kie.seen("requests"))


async def test_states_advance_while_the_task_waits(kie: Kie) -> None:
    await kie.control("settings", task_seconds=1.5, render="shared")
    url = await kie.upload(four_colours())
    created = await kie.submit(KLING, {"image_urls": [url], "duration": "3"})
    states: list[str] = []
    progress: list[int] = []
    async with asyncio.timeout(30):
        while not states or states[-1] != "success":
            task = await kie.task(created["data"]["taskId"])
            if task["state"] not in states:
                states.append(task["state"])
            progress.append(task["progress"])
            await asyncio.sleep(0.03)
    assert states == ["waiting", "queuing", "generating", "success"]
    assert progress == sorted(progress)
    assert progress[-1] == 100


async def test_equal_requests_share_a_file_but_not_an_address(kie: Kie) -> None:
    one, other = await asyncio.gather(kie.make(four_colours()), kie.make(four_colours()))
    assert one["resultJson"] != other["resultJson"]
    assert await kie.video(one) == await kie.video(other)


GOOD: list[tuple[str, Json, float]] = [
    (KLING, {"duration": "5", "resolution": "720p"}, 90),
    (KLING, {"duration": "4", "resolution": "1080p"}, 90),
    ("kling-3.0/video", {"sound": True, "mode": "std", "duration": "5", "multi_shots": False}, 100),
    ("kling-3.0-omni/image-to-video", {"duration": "5", "audio": True}, 90),
    ("kling-2.6/image-to-video", {"prompt": "x", "sound": False, "duration": "10"}, 110),
    ("minimax-h3/image-to-video", {"duration": 5}, 40),
    (WAN, {"duration": 5, "resolution": "720P", "aspect_ratio": "9:16"}, 80),
    ("wan/3-0-video-prime", {"duration": 5, "resolution": "720P"}, 126),
    ("wan/2-7-image-to-video", {"prompt": "x", "duration": 5, "resolution": "720p"}, 80),
    ("bytedance/seedance-2", {"duration": 5}, 205),
    ("bytedance/seedance-2-5", {"duration": 30}, 1890),
    ("grok-imagine/image-to-video", {"duration": "6", "resolution": "720p"}, 27),
    ("grok-imagine-video-1-5-preview", {"duration": 5, "resolution": "720p"}, 22.5),
    ("hailuo/2-3-image-to-video-pro", {"prompt": "x", "duration": "10"}, 90),
    ("veo-3-1", {"duration": 8}, 60),
    ("sora-2-image-to-video", {"prompt": "x", "n_frames": "10", "aspect_ratio": "portrait"}, 30),
    ("sora-2-pro-image-to-video", {"prompt": "x", "n_frames": "15", "size": "high", "upload_method": "oss"}, 1500),
]
IMAGE_FIELDS = {"minimax": "first_frame_url", "wan": "first_frame_url", "bytedance": "first_frame_url"}


def with_image(model: str, fields: Json, url: str = "http://127.0.0.1:9/photo.jpg") -> Json:
    name = IMAGE_FIELDS.get(model.split("/", maxsplit=1)[0].split("-", maxsplit=1)[0], "image_urls")
    if model.startswith("hailuo"):
        name = "image_url"
    return fields | {name: [url] if name == "image_urls" else url}


@pytest.mark.parametrize(("model", "fields", "price"), GOOD)
async def test_each_model_takes_its_documented_input_at_its_price(
    kie: Kie, model: str, fields: Json, price: float
) -> None:
    await kie.control("faults", kind="never_ends")
    before = await kie.credits()
    created = await kie.submit(model, with_image(model, fields))
    assert created["code"] == 200, created
    assert await kie.credits() == pytest.approx(before - price)


@pytest.mark.parametrize(
    ("model", "fields", "code", "words"),
    [
        (KLING, {}, 500, "image_urls is required"),
        (KLING, {"image_urls": ["http://127.0.0.1/a.jpg"], "duration": 5}, 422, "duration"),
        (KLING, {"image_urls": ["http://127.0.0.1/a.jpg"], "duration": "16"}, 422, "duration"),
        (KLING, {"image_urls": ["http://127.0.0.1/a.jpg"], "aspect_ratio": "9:16"}, 422, "aspect_ratio"),
        (KLING, {"image_urls": []}, 422, "image_urls"),
        (KLING, {"image_urls": "http://127.0.0.1/a.jpg"}, 422, "image_urls"),
        (KLING, {"image_urls": ["http://127.0.0.1/a.jpg"], "prompt": "x" * 2501}, 422, "prompt"),
        (WAN, {"first_frame_url": "http://127.0.0.1/a.jpg", "duration": "5"}, 422, "duration"),
        ("kling-2.6/image-to-video", {"image_urls": ["http://127.0.0.1/a.jpg"]}, 500, "prompt is required"),
        ("kling/v9", {}, 422, "The model name you specified is not supported"),
    ],
)
async def test_other_input_is_refused_in_the_services_words(
    kie: Kie, model: str, fields: Json, code: int, words: str
) -> None:
    refused = await kie.submit(model, fields)
    assert refused["code"] == code
    assert words in refused["msg"]
    assert await kie.seen("tasks") == []


async def test_wrong_key_empty_purse_retired_model_unknown_task(kie: Kie) -> None:
    create = f"{kie.base}/api/v1/jobs/createTask"
    async with httpx2.AsyncClient(trust_env=False) as stranger:
        answer = await stranger.post(create, json={})
        assert (answer.status_code, answer.json()["code"]) == (200, 401)
    good = with_image(KLING, {"duration": "5"})
    await kie.control("settings", api_keys=["another"])
    assert (await kie.submit(KLING, good))["code"] == 401
    await kie.control("settings", api_keys=None, credits=89)
    assert (await kie.submit(KLING, good))["code"] == 402
    await kie.control("settings", credits=90, retired_models=[KLING])
    refused = await kie.submit(KLING, good)
    assert (refused["code"], refused["msg"]) == (500, "This interface is temporarily paused")
    unknown = await kie.http.get(f"{kie.base}/api/v1/jobs/recordInfo?taskId=nobody")
    assert (unknown.status_code, unknown.json()["code"], unknown.json()["msg"]) == (200, 422, "recordInfo is null")
    assert (await kie.http.post(create, content=b"{")).json()["code"] == 400


@pytest.mark.parametrize(
    ("name", "kind", "fail_code"),
    [("photo.png", "JPEG", "400"), ("photo", "JPEG", "400"), ("gone.jpg", None, "451"), ("text.jpg", "text", "400")],
)
async def test_an_image_that_is_not_what_it_says_fails_the_task_and_returns_the_credits(
    kie: Kie, name: str, kind: str | None, fail_code: str
) -> None:
    before = await kie.credits()
    data = b"not an image" if kind == "text" else four_colours()
    url = await kie.upload(data, name) if kind else f"{kie.base}/files/{name}"
    created = await kie.submit(KLING, {"image_urls": [url], "duration": "3"})
    task = await kie.ended(created["data"]["taskId"])
    assert (task["state"], task["failCode"], task["failMsg"]) == ("fail", fail_code, "image fetch failed")
    assert task["creditsConsumed"] == 0
    assert await kie.credits() == before


async def test_a_truncated_photo_fails_the_task(kie: Kie) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (400, 300, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG")
    task = await kie.make(buffer.getvalue()[:9000])
    assert (task["state"], task["failCode"]) == ("fail", "400")


@pytest.mark.parametrize(
    ("model", "fields", "image", "size"),
    [
        (KLING, {"duration": "3"}, (600, 800), (720, 960)),
        (WAN, {"duration": 2, "resolution": "480P", "aspect_ratio": "9:16"}, (600, 600), (480, 854)),
    ],
)
async def test_the_shape_comes_from_the_image_or_from_the_field(
    kie: Kie, model: str, fields: Json, image: tuple[int, int], size: tuple[int, int]
) -> None:
    url = await kie.upload(four_colours(*image))
    created = await kie.submit(model, with_image(model, fields, url))
    task = await kie.ended(created["data"]["taskId"])
    assert look_into(await kie.video(task)).size == size


async def test_uploads(kie: Kie) -> None:
    route = f"{kie.base}/api/file-stream-upload"
    odd = await kie.http.post(route, headers={"User-Agent": "python-httpx2/2.16"}, files={"file": b"x"})
    assert (odd.status_code, odd.text) == (403, "error code: 1010")
    no_path = await kie.http.post(route, files={"file": ("a.jpg", b"x")})
    assert (no_path.json()["success"], no_path.json()["msg"]) == (False, "uploadPath is required")
    astray = await kie.http.post(route, files={"file": ("a.jpg", b"x")}, data={"uploadPath": "../../etc"})
    assert astray.json()["success"] is False

    first = await kie.upload(b"one", "same name.png")
    second = await kie.upload(b"two", "same name.png")
    assert first == second
    served = await kie.http.get(first)
    assert (served.content, served.headers["content-type"]) == (b"two", "image/png")

    encoded = base64.b64encode(b"three").decode()
    by_text = await kie.http.post(
        f"{kie.base}/api/file-base64-upload",
        json={"base64Data": f"data:image/png;base64,{encoded}", "uploadPath": "p", "fileName": "b.png"},
    )
    assert set(by_text.json()["data"]) == {
        "fileName", "filePath", "downloadUrl", "fileSize", "mimeType", "uploadedAt",
    }  # fmt: skip
    by_url = await kie.http.post(
        f"{kie.base}/api/file-url-upload", json={"fileUrl": first, "uploadPath": "p", "fileName": "c.png"}
    )
    assert (await kie.http.get(by_url.json()["data"]["downloadUrl"])).content == b"two"
    outside = await kie.http.post(
        f"{kie.base}/api/file-url-upload", json={"fileUrl": "http://192.0.2.1/a.png", "uploadPath": "p"}
    )
    assert outside.json()["success"] is False


def test_masked_keys_can_be_told_apart_and_not_be_used() -> None:
    keys = ["", "k", "key", "keys", "test-key-1", "test-key-2", "test-key-12"]
    assert len({masked(key) for key in keys}) == len(keys)
    assert masked("") == ""
    assert not any(key in masked(key) for key in keys if key)


async def test_the_rate_limit_refuses_the_21st_submit_in_ten_seconds_of_each_key(kie: Kie) -> None:
    await kie.control("settings", rate_limit=True)
    create = f"{kie.base}/api/v1/jobs/createTask"
    for key in ("one", "other"):
        headers = {"Authorization": f"Bearer {key}"}
        answers = [await kie.http.post(create, json={"model": KLING, "input": {}}, headers=headers) for _ in range(21)]
        assert [answer.status_code for answer in answers] == [200] * 20 + [429]
        assert answers[-1].json()["code"] == 429
    figures = await kie.keys()
    assert [(figures[masked(key)]["submits"], figures[masked(key)]["refused"]) for key in ("one", "other")] == [
        (21, 1), (21, 1),
    ]  # fmt: skip
    assert figures[masked("one")]["accepted"] == 0, "no task was made"


def test_the_window_slides_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    window, usage = RateWindow(20), Usage()
    for _ in range(10):
        assert window.admits("key")
        usage.accept()
    now = 105.0
    assert [window.admits("key") for _ in range(11)] == [True] * 10 + [False]
    assert window.admits("another")
    for _ in range(10):
        usage.accept()
    now = 109.999
    assert not window.admits("key"), "ten of the twenty are 9.999 seconds old"
    now = 110.0
    assert [window.admits("key") for _ in range(11)] == [True] * 10 + [False]
    for _ in range(5):
        usage.accept()
    assert (usage.accepted, usage.most_accepted_in_ten_seconds) == (25, 20)


async def test_each_key_has_its_own_purse_and_a_failed_task_gives_back_to_it(kie: Kie) -> None:
    await kie.control("settings", credits=1000, key_credits={"rich": 500, "poor": 53.9}, render="shared")
    good = with_image(KLING, {"duration": "3"}, await kie.upload(four_colours()))
    assert (await kie.submit(KLING, good, key="poor"))["code"] == 402
    task = await kie.ended((await kie.submit(KLING, good, key="rich"))["data"]["taskId"])
    assert task["creditsConsumed"] == 54
    await kie.submit(KLING, good)
    assert [await kie.credits(key) for key in ("rich", "poor", "key-of-a-seller", "any")] == [446, 53.9, 946, 946]
    await kie.control("faults", kind="task_fails")
    failed = await kie.ended((await kie.submit(KLING, good, key="rich"))["data"]["taskId"])
    assert (failed["creditsConsumed"], await kie.credits("rich")) == (0, 446)
    figures = await kie.keys()
    assert (figures[masked("rich")]["credits"], figures[masked("rich")]["accepted"]) == (446, 2)
    assert (figures[masked("poor")]["refused"], figures[masked("poor")]["accepted"]) == (1, 0)


async def test_a_provider_may_keep_the_credits_of_failed_tasks(kie: Kie) -> None:
    await kie.control("settings", credits=1000, keep_failed_credits=True)
    await kie.control("faults", kind="task_fails")
    task = await kie.make(four_colours())
    assert (task["state"], task["creditsConsumed"], await kie.credits()) == ("fail", 54, 946)


async def test_a_key_has_so_many_tasks_in_flight_and_no_more(kie: Kie) -> None:
    await kie.control("settings", max_in_flight=2, render="shared")
    await kie.control("faults", kind="never_ends")
    url = await kie.upload(four_colours())
    good = with_image(KLING, {"duration": "3"}, url)
    await kie.submit(KLING, good)
    await kie.control("settings", task_seconds=30)
    await kie.submit(KLING, good)
    create = f"{kie.base}/api/v1/jobs/createTask"
    refused = await kie.http.post(create, json={"model": KLING, "input": good})
    assert (refused.status_code, refused.json()["code"]) == (429, 429)
    assert (await kie.submit(KLING, good, key="another"))["code"] == 200
    figures = (await kie.keys())[masked("key-of-a-seller")]
    assert (figures["in_flight"], figures["most_in_flight"], figures["refused"]) == (2, 2, 1)
    assert (figures["submits"], figures["accepted"], figures["most_accepted_in_ten_seconds"]) == (3, 2, 2)

    await kie.control("settings", task_seconds=0, max_in_flight=4)
    task = await kie.ended((await kie.submit(KLING, good))["data"]["taskId"])
    assert task["state"] == "success"
    figures = (await kie.keys())[masked("key-of-a-seller")]
    assert (figures["in_flight"], figures["most_in_flight"]) == (2, 3)


async def test_a_limited_key_may_ask_and_not_submit_and_a_revoked_one_may_nothing(kie: Kie) -> None:
    await kie.control("settings", limited_keys=["limited"], revoked_keys=["revoked"])
    good = with_image(KLING, {"duration": "3"})
    assert (await kie.submit(KLING, good, key="limited"))["code"] == 433
    assert await kie.credits("limited") == 1_000_000
    assert (await kie.submit(KLING, good, key="revoked"))["code"] == 401
    headers = {"Authorization": "Bearer revoked"}
    for route in ("api/v1/chat/credit", "api/v1/jobs/recordInfo?taskId=x", "api/v1/models"):
        assert (await kie.http.get(f"{kie.base}/{route}", headers=headers)).json()["code"] == 401
    upload = await kie.http.post(f"{kie.base}/api/file-stream-upload", headers=headers, files={"file": b"x"})
    assert (upload.status_code, upload.json()["code"]) == (401, 401)
    figures = await kie.keys()
    assert [(figures[masked(key)]["submits"], figures[masked(key)]["refused"]) for key in ("limited", "revoked")] == [
        (1, 1), (1, 1),
    ]  # fmt: skip
    assert await kie.seen("tasks") == []


async def test_the_catalogue_lists_what_is_alive(kie: Kie) -> None:
    models = (await kie.http.get(f"{kie.base}/api/v1/models")).json()["data"]["models"]
    listed = [model["model"] for model in models]
    assert KLING in listed
    assert "sora-2-image-to-video" not in listed
    schema = (await kie.http.get(f"{kie.base}/api/v1/models/{KLING}/schema")).json()["data"]
    assert '"duration"' in json.dumps(schema["openapi"])
    price = (await kie.http.get(f"{kie.base}/api/v1/models/{KLING}/price")).json()["data"]
    assert price["pricingDesc"].startswith("18 credits")
    rate = (await kie.http.get(f"{kie.base}/api/v1/models/{KLING}/success-rate")).json()["data"]
    assert [point["successRate"] for point in rate["points"]] == [None] * 6, "nothing has ended yet"


async def test_the_catalogue_tells_what_happened_and_what_it_is_told_to_tell(kie: Kie) -> None:
    models = f"{kie.base}/api/v1/models"
    await kie.control("settings", render="shared")
    await kie.make(four_colours())
    await kie.control("faults", kind="task_fails", times=2)
    await asyncio.gather(*(kie.make(four_colours()) for _ in range(2)))
    points = (await kie.http.get(f"{models}/{KLING}/success-rate")).json()["data"]["points"]
    rates = [point["successRate"] for point in points if point["successRate"] is not None]
    # Ten minutes may end between the first task and the last.
    assert rates in ([33.3], [100, 0], [50, 0])
    assert points[-1]["isNormal"] is False

    await kie.control("settings", unlisted_models=[WAN], success_rates={KLING: 0.985})
    listed = (await kie.http.get(models, params={"taskType": "image-to-video"})).json()["data"]
    assert (KLING in str(listed), WAN in [model["model"] for model in listed["models"]]) == (True, False)
    for route in ("schema", "price", "success-rate"):
        assert (await kie.http.get(f"{models}/{WAN}/{route}")).json()["code"] == 404
    points = (await kie.http.get(f"{models}/{KLING}/success-rate")).json()["data"]["points"]
    assert {(point["successRate"], point["errorRate"], point["isNormal"]) for point in points} == {(98.5, 1.5, True)}
    assert points[0]["end"] == points[1]["start"]
    created = await kie.submit(WAN, with_image(WAN, {"duration": 5}))
    assert created["code"] == 200, "what is not listed may still be served"


async def test_download_links_are_for_own_results_only(kie: Kie) -> None:
    task = await kie.make(four_colours())
    (url,) = json.loads(task["resultJson"])["resultUrls"]
    route = f"{kie.base}/api/v1/common/download-url"
    link = (await kie.http.post(route, json={"url": url})).json()["data"]
    part = await kie.http.get(link, headers={"Range": "bytes=0-99"})
    assert (part.status_code, len(part.content), part.headers["content-type"]) == (206, 100, "video/mp4")
    assert (await kie.http.get(f"{url}?expires=1")).status_code == 404
    assert (await kie.http.post(route, json={"url": "http://127.0.0.1:9/results/x"})).json()["code"] == 422


@dataclass
class Listener:
    """A client's callback address: answers with `statuses` in turn, then 200."""

    statuses: list[int] = field(default_factory=list)
    received: list[tuple[dict[str, str], Json]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request, *head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.paths.append(request.split(" ")[1])
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head if line)}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        status = self.statuses.pop(0) if self.statuses else 200
        self.received.append((headers, body))
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def got(self, count: int) -> None:
        await eventually(lambda: len(self.received) >= count)


@asynccontextmanager
async def listening(*statuses: int) -> AsyncIterator[tuple[str, Listener]]:
    listener = Listener(list(statuses))
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", listener


async def test_the_callback_is_signed_retried_and_repeatable(kie: Kie) -> None:
    await kie.control("settings", webhook_key="secret", render="shared")
    async with listening(500, 503) as (url, listener):
        task = await kie.make(four_colours(), callBackUrl=url)
        await listener.got(3)
        headers, body = listener.received[-1]
        text = f"{task['taskId']}.{headers['x-webhook-timestamp']}".encode()
        signature = base64.b64encode(hmac.digest(b"secret", text, hashlib.sha256)).decode()
        assert headers["x-webhook-signature"] == signature
        assert (body["code"], body["msg"]) == (200, "Playground task completed successfully.")
        assert body["data"]["taskId"] == task["taskId"]
        assert body["data"]["resultJson"] == task["resultJson"]
        await kie.control(f"tasks/{task['taskId']}/callback")
        await listener.got(4)
        (seen,) = await kie.seen("tasks")
        assert [callback["outcome"] for callback in seen["callbacks"]][:3] == ["500", "503", "200"]


async def test_a_failed_task_is_called_back_and_a_deaf_client_is_given_up_after_three_tries(kie: Kie) -> None:
    await kie.control("faults", kind="task_fails", fail_code="500", fail_msg="upstream API service timed out")
    async with listening(500, 500, 500) as (url, listener):
        task = await kie.make(four_colours(), callBackUrl=url)
        await listener.got(3)
        # Longer than the pause a fourth try would make.
        await asyncio.sleep(2)
        assert len(listener.received) == 3
        _, body = listener.received[0]
        assert body["code"] == 501
        assert (body["data"]["state"], body["data"]["failMsg"]) == ("fail", "upstream API service timed out")
        assert (body["data"]["resultJson"], body["data"]["creditsConsumed"]) == (None, 0)
        assert "x-webhook-signature" not in listener.received[0][0]
        assert task["state"] == "fail"


async def called_back(kie: Kie, hook: str, **fate: object) -> Json:
    """One task of that fate, ended and called back; what tests see of it."""
    await kie.control("settings", task_seconds=0, render="shared", webhook_key="secret")
    await kie.control("faults", **fate)
    created = await kie.submit(
        KLING, with_image(KLING, {"duration": "3"}, await kie.upload(four_colours())), callBackUrl=hook
    )
    await kie.over()
    return next(task for task in await kie.seen("tasks") if task["id"] == created["data"]["taskId"])


def is_signed(headers: dict[str, str], task_id: str) -> bool:
    text = f"{task_id}.{headers['x-webhook-timestamp']}".encode()
    return headers["x-webhook-signature"] == base64.b64encode(hmac.digest(b"secret", text, hashlib.sha256)).decode()


async def test_a_callback_may_come_before_the_answer_to_the_submit(kie: Kie) -> None:
    async with listening() as (url, listener):
        await kie.control("settings", task_seconds=0.2, render="shared")
        await kie.control("faults", kind="early_callback")
        good = with_image(KLING, {"duration": "3"}, await kie.upload(four_colours()))
        created = await kie.submit(KLING, good, callBackUrl=url)
        ((_, body),) = listener.received
        assert body["data"]["taskId"] == created["data"]["taskId"]
        assert body["data"]["state"] == "success"


async def test_callbacks_never_three_times_and_out_of_order(kie: Kie) -> None:
    async with listening() as (url, listener):
        task = await called_back(kie, url, kind="callback_never")
        assert (task["callbacks"], listener.received) == ([], [])
        await called_back(kie, url, kind="callback_thrice")
        assert [body["data"]["state"] for _, body in listener.received] == ["success"] * 3
        assert listener.received[0][1] == listener.received[2][1]
        listener.received.clear()
        task = await called_back(kie, url, kind="callback_disordered")
        assert [body["data"]["state"] for _, body in listener.received] == ["success", "generating", "success"]
        assert not listener.received[1][1]["data"]["resultJson"]
        assert all(is_signed(headers, task["id"]) for headers, _ in listener.received)


async def test_a_forged_callback_has_a_wrong_address_or_a_wrong_signature(kie: Kie) -> None:
    async with listening() as (url, listener):
        address = f"{url}/9f/its-proof"
        task = await called_back(kie, address, kind="callback_forged")
        ((headers, body),) = listener.received
        assert listener.paths == [f"/hook/9f/{'0' * len('its-proof')}"]
        assert (is_signed(headers, task["id"]), task["state"], body["code"]) == (True, "success", 200)
        task = await called_back(kie, address, kind="callback_forged", forgery="signature")
        assert listener.paths[1:] == ["/hook/9f/its-proof"]
        assert not is_signed(listener.received[1][0], task["id"])


async def test_a_lying_callback_says_success_from_the_start_and_names_a_foreign_file(kie: Kie) -> None:
    foreign = "http://127.0.0.1:9/somebody-elses.mp4"
    async with listening() as (url, listener):
        task = await called_back(kie, url, kind="callback_lies", url=foreign)
        await listener.got(2)
        for headers, body in listener.received:
            assert (body["code"], body["data"]["state"]) == (200, "success")
            assert json.loads(body["data"]["resultJson"]) == {"resultUrls": [foreign]}
            assert is_signed(headers, task["id"])
        assert len(listener.received) == 2
        assert foreign not in (await kie.task(task["id"]))["resultJson"]


async def test_a_result_may_lie_elsewhere_move_or_be_of_another_type(kie: Kie) -> None:
    await kie.control("settings", task_seconds=0, render="shared")
    await kie.control("faults", kind="foreign_result", url="http://10.1.2.3/video.mp4")
    task = await kie.make(four_colours())
    assert json.loads(task["resultJson"]) == {"resultUrls": ["http://10.1.2.3/video.mp4"]}

    task = await kie.make(four_colours())
    (url,) = json.loads(task["resultJson"])["resultUrls"]
    await kie.control("faults", route="result", kind="result_redirect", url="http://10.1.2.3/video.mp4")
    moved = await kie.http.get(url)
    assert (moved.status_code, moved.headers["location"]) == (302, "http://10.1.2.3/video.mp4")
    await kie.control("faults", route="result", kind="result_type", content_type="application/zip")
    assert (await kie.http.get(url)).headers["content-type"] == "application/zip"
    assert (await kie.http.get(url)).headers["content-type"] == "video/mp4"

    for kind, status in (("result_redirect", 302), ("result_type", 200)):
        await kie.control("faults", kind=kind)
        task = await kie.make(four_colours())
        (url,) = json.loads(task["resultJson"])["resultUrls"]
        answers = [await kie.http.get(url) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [status] * 2
    assert answers[-1].headers["content-type"].startswith("text/html")


async def test_an_outage_leaves_only_the_control_side(kie: Kie) -> None:
    url = await kie.upload(four_colours())
    good = {"model": KLING, "input": with_image(KLING, {"duration": "3"}, url)}
    await kie.control("faults", route="createTask", kind="429")
    await kie.control("settings", down="503")
    create = f"{kie.base}/api/v1/jobs/createTask"
    assert (await kie.http.post(create, json=good)).status_code == 503
    for route in ("api/v1/chat/credit", "api/v1/models", url.removeprefix(f"{kie.base}/"), "results/x"):
        assert (await kie.http.get(f"{kie.base}/{route}")).status_code == 503
    await kie.control("settings", down="refuse")
    for _ in range(2):
        with pytest.raises(httpx2.TransportError):
            await kie.http.post(create, json=good)
    assert await kie.seen("tasks") == []
    assert [(request["status"], request["fault"]) for request in await kie.seen("requests?route=createTask")] == [
        (503, "down"), (0, "down"), (0, "down"),
    ]  # fmt: skip
    await kie.control("settings", down=None)
    assert (await kie.http.post(create, json=good)).status_code == 429, "an outage uses no fault up"
    assert (await kie.http.post(create, json=good)).json()["code"] == 200


async def test_faults_that_replace_the_answer_have_no_effect(kie: Kie) -> None:
    create = f"{kie.base}/api/v1/jobs/createTask"
    body = {"model": KLING, "input": with_image(KLING, {"duration": "3"})}
    orders: list[tuple[Json, int, str]] = [
        ({"kind": "http_500"}, 500, '"code":500'),
        ({"kind": "http_503"}, 503, "<html>"),
        ({"kind": "429", "retry_after": 7}, 429, '"code":429'),
        ({"kind": "code", "code": 455, "msg": "maintenance"}, 200, '"code":455'),
        ({"kind": "html"}, 200, "<html>"),
        ({"kind": "empty"}, 200, ""),
        ({"kind": "not_json"}, 200, '{"code":200'),
        ({"kind": "http_404"}, 404, "Not Found"),
    ]
    for order, status, content in orders:
        await kie.control("faults", route="createTask", **order)
        answer = await kie.http.post(create, json=body)
        assert (answer.status_code, content in answer.text) == (status, True), order
        if status == 429:
            assert answer.headers["retry-after"] == "7"
    await kie.control("faults", route="createTask", kind="reset")
    with pytest.raises(httpx2.TransportError):
        await kie.http.post(create, json=body)
    assert await kie.seen("tasks") == []
    assert await kie.seen("faults") == []
    assert len(await kie.seen("requests?route=createTask")) == 9


async def test_a_slow_answer_comes_byte_by_byte_and_stops_when_nobody_waits_for_it(kie: Kie) -> None:
    create = f"{kie.base}/api/v1/jobs/createTask"
    body = {"model": KLING, "input": with_image(KLING, {"duration": "3"})}
    await kie.control("faults", route="createTask", kind="slow", delay_seconds=0.001)
    answer = await kie.http.post(create, json=body)
    (task,) = await kie.seen("tasks")
    assert answer.json()["data"]["taskId"] == task["id"]

    await kie.control("faults", route="createTask", kind="slow")
    received, started = b"", time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2.5), kie.http.stream("POST", create, json=body, timeout=30) as response:
            assert response.status_code == 200
            async for chunk in response.aiter_bytes():
                received += chunk
    assert received == b'{"code'[: len(received)]
    assert len(received) <= (time.monotonic() - started) + 1
    assert len(received) >= 1
    assert len(await kie.seen("tasks")) == 2


async def test_a_huge_answer_has_no_end(kie: Kie) -> None:
    create = f"{kie.base}/api/v1/jobs/createTask"
    body = {"model": KLING, "input": with_image(KLING, {"duration": "3"})}
    await kie.control("faults", route="createTask", kind="huge")
    received = 0
    async with kie.http.stream("POST", create, json=body) as response:
        async for chunk in response.aiter_bytes():
            received += len(chunk)
            if received > 50_000_000:
                break
    (task,) = await kie.seen("tasks")
    assert (task["model"], response.headers["content-type"]) == (KLING, "application/json")
    # The server is not busy with it any more.
    assert (await kie.http.get(f"{kie.base}/api/v1/chat/credit", timeout=5)).status_code == 200


async def test_a_503_may_hide_an_accepted_task(kie: Kie) -> None:
    await kie.control("faults", route="createTask", kind="503_accepted")
    answer = await kie.http.post(
        f"{kie.base}/api/v1/jobs/createTask", json={"model": KLING, "input": with_image(KLING, {"duration": "3"})}
    )
    assert (answer.status_code, "<html>" in answer.text) == (503, True)
    assert len(await kie.seen("tasks")) == 1
    (request,) = await kie.seen("requests?route=createTask")
    assert (request["status"], request["fault"]) == (503, "503_accepted")


async def test_one_task_id_may_be_told_twice(kie: Kie) -> None:
    good = with_image(KLING, {"duration": "3"})
    first = await kie.submit(KLING, good)
    await kie.control("faults", kind="same_task")
    second = await kie.submit(KLING, good)
    third = await kie.submit(KLING, good)
    assert first["data"] == second["data"] != third["data"]
    assert len(await kie.seen("tasks")) == 2


async def test_a_task_may_be_in_an_unknown_state_for_a_while(kie: Kie) -> None:
    await kie.control("settings", task_seconds=0, render="shared")
    await kie.control("faults", kind="unknown_state", answers=2, state="reticulating")
    created = await kie.submit(KLING, with_image(KLING, {"duration": "3"}, await kie.upload(four_colours())))
    await kie.over()
    told = [await kie.task(created["data"]["taskId"]) for _ in range(3)]
    assert [task["state"] for task in told] == ["reticulating", "reticulating", "success"]
    assert [bool(task["resultJson"]) for task in told] == [False, False, True]


async def test_a_task_may_go_back_once_its_success_was_told(kie: Kie) -> None:
    await kie.control("settings", task_seconds=0, render="shared")
    await kie.control("faults", kind="goes_back")
    task = await kie.make(four_colours())
    assert task["state"] == "success"
    again = [await kie.task(task["taskId"]) for _ in range(2)]
    assert [(other["state"], other["resultJson"]) for other in again] == [("generating", "")] * 2


async def test_a_task_may_become_known_late_or_never(kie: Kie) -> None:
    await kie.control("settings", task_seconds=0, render="shared")
    url = await kie.upload(four_colours())
    await kie.control("faults", kind="late_known", answers=3)
    created = await kie.submit(KLING, with_image(KLING, {"duration": "3"}, url))
    answers = [await kie.asked(created["data"]["taskId"]) for _ in range(4)]
    assert [answer["code"] for answer in answers] == [422, 422, 422, 200]
    async with listening() as (hook, listener):
        await kie.control("faults", kind="lost")
        created = await kie.submit(KLING, with_image(KLING, {"duration": "3"}, url), callBackUrl=hook)
        await kie.over()
        assert (await kie.asked(created["data"]["taskId"]))["msg"] == "recordInfo is null"
        assert listener.received == []


async def test_a_dropped_answer_leaves_one_task_behind(kie: Kie) -> None:
    await kie.control("faults", route="createTask", kind="drop_answer")
    with pytest.raises(httpx2.RemoteProtocolError):
        await kie.submit(KLING, with_image(KLING, {"duration": "3"}))
    assert len(await kie.seen("tasks")) == 1
    (request,) = await kie.seen("requests?route=createTask")
    assert (request["status"], request["fault"]) == (0, "drop_answer")


async def test_a_late_answer_takes_effect_at_once(kie: Kie) -> None:
    await kie.control("faults", route="createTask", kind="delay", delay_seconds=30)
    with pytest.raises(httpx2.ReadTimeout):
        await kie.http.post(
            f"{kie.base}/api/v1/jobs/createTask",
            json={"model": KLING, "input": with_image(KLING, {"duration": "3"})},
            timeout=0.3,
        )
    assert len(await kie.seen("tasks")) == 1


async def test_a_fault_keeps_to_its_route_and_its_count(kie: Kie) -> None:
    await kie.control("faults", route="credit", kind="http_500", times=2)
    assert (await kie.http.get(f"{kie.base}/api/v1/models")).status_code == 200
    statuses = [(await kie.http.get(f"{kie.base}/api/v1/chat/credit")).status_code for _ in range(3)]
    assert statuses == [500, 500, 200]


@pytest.mark.parametrize("variant", ["truncated", "not_a_video", "zero_bytes"])
async def test_damaged_results_cannot_be_played(kie: Kie, variant: str) -> None:
    await kie.control("faults", kind="bad_result", variant=variant)
    task = await kie.make(four_colours())
    assert task["state"] == "success"
    data = await kie.video(task)
    frames = 0
    with pytest.raises(av.FFmpegError), av.open(io.BytesIO(data), "r", format="mp4") as file:
        for _ in file.decode(video=0):
            frames += 1
    assert frames < 72


async def test_flawed_results_have_just_their_flaw(kie: Kie) -> None:
    clips = {}
    for variant in ("wrong_length", "black", "frozen", "small"):
        await kie.control("faults", kind="bad_result", variant=variant)
        clips[variant] = look_into(await kie.video(await kie.make(four_colours())))
    await kie.control("faults", kind="silent")
    clips["silent"] = look_into(await kie.video(await kie.make(four_colours())))
    assert [clips["wrong_length"].seconds, clips["black"].seconds] == [1.5, 3]
    assert clips["black"].frames[10].max() < 8
    assert difference(clips["frozen"].frames[5], clips["frozen"].frames[-1]) < 0.05
    assert clips["small"].size == (360, 640)
    assert clips["silent"].loudness is None
    assert clips["frozen"].loudness is not None


async def test_a_result_can_be_missing_once_or_for_good(kie: Kie) -> None:
    task = await kie.make(four_colours())
    await kie.control("faults", route="result", kind="result_404")
    (url,) = json.loads(task["resultJson"])["resultUrls"]
    assert [(await kie.http.get(url)).status_code for _ in range(2)] == [404, 200]
    await kie.control("faults", kind="result_404")
    task = await kie.make(four_colours())
    (url,) = json.loads(task["resultJson"])["resultUrls"]
    assert [(await kie.http.get(url)).status_code for _ in range(2)] == [404, 404]


async def test_a_task_can_hang_for_ever(kie: Kie) -> None:
    await kie.control("faults", kind="never_ends")
    created = await kie.submit(KLING, with_image(KLING, {"duration": "3"}))
    await asyncio.sleep(0.3)
    task = await kie.task(created["data"]["taskId"])
    assert (task["state"], task["progress"], task["resultJson"]) == ("generating", 99, "")


@asynccontextmanager
async def runner(*options: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, Json]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "neurocards.simulators", *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(SRC)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        yield process, json.loads(line)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_the_runner_tells_its_addresses_and_ends_at_once_with_a_poll_open(tmp_path: Path) -> None:
    async with runner("--state", str(tmp_path)) as (process, told), httpx2.AsyncClient(trust_env=False) as client:
        assert set(told) == {"telegram", "kie", "fal", "openai"}
        assert told["openai"].endswith("/openai/v1")
        poll = asyncio.create_task(
            client.get(f"{told['telegram']}/bot1:token/getUpdates", params={"timeout": 50}, timeout=60)
        )
        await asyncio.sleep(0.5)
        assert not poll.done()
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, complaints = await asyncio.wait_for(process.communicate(), 10)
        # A second on an idle machine; the poll would have held it for fifty.
        assert time.monotonic() - started < 5
        assert (process.returncode, complaints) == (0, b"")
        await asyncio.gather(poll, return_exceptions=True)


async def test_renderers_die_with_a_killed_simulator(tmp_path: Path) -> None:
    headers = {"Authorization": "Bearer k", "User-Agent": "test"}
    async with (
        runner("--state", str(tmp_path)) as (process, told),
        httpx2.AsyncClient(trust_env=False, headers=headers) as client,
    ):
        kie = Kie(told["kie"], client)
        url = await kie.upload(four_colours())
        await kie.submit(KLING, {"image_urls": [url], "duration": "15"})
        simulators = psutil.Process(process.pid)
        await eventually(lambda: bool(simulators.children(recursive=True)))
        renderers = simulators.children(recursive=True)
        process.kill()
        await eventually(lambda: not any(is_alive(renderer) for renderer in renderers))


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
