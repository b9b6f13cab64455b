"""The whole, as a stranger starts it: real processes, the production commands, simulators outside."""

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]  # it ships no types
import pytest
from PIL import Image

from neurocards.media.videos import check_clip, cover

ROOT = Path(__file__).parent.parent
LIMIT_SECONDS = 150

pytestmark = pytest.mark.timeout(LIMIT_SECONDS + 30)


@contextmanager
def demo(home: Path, *options: str | Path) -> Iterator[subprocess.Popen[str]]:
    """The command running, its words read by the test; ended with the block if it has not ended itself."""
    process = subprocess.Popen(
        [sys.executable, "-m", "neurocards", "demo", *options],
        env={**os.environ, "NEUROCARDS_HOME": str(home), "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "160"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


def run(home: Path, *options: str | Path) -> tuple[int, str]:
    with demo(home, *options) as process:
        words, _ = process.communicate(timeout=LIMIT_SECONDS)
        return process.returncode, words


def four_colours() -> bytes:
    """A landscape JPEG that a camera stored on its side: red and green on top once it is upright."""
    upright = Image.new("RGB", (1200, 900))
    for box, colour in (
        ((0, 0, 600, 450), (200, 40, 40)),
        ((600, 0, 1200, 450), (40, 160, 60)),
        ((0, 450, 600, 900), (40, 70, 200)),
        ((600, 450, 1200, 900), (220, 200, 60)),
    ):
        upright.paste(colour, box)
    stored = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    stored.save(out, "JPEG", quality=95, exif=exif)
    return out.getvalue()


def test_the_demo_turns_a_given_photo_into_a_video_of_it(tmp_path: Path) -> None:
    photo, out = tmp_path / "my photo.jpg", tmp_path / "clip.mp4"
    photo.write_bytes(four_colours())
    status, words = run(tmp_path / "home", "--exit", "--photo", photo, "--out", out)
    assert status == 0, words
    assert "Audit clean" in words
    assert "credits settle" in words

    facts = check_clip(out, seconds=10)
    assert (facts.video_codec, facts.audio_codec) == ("h264", "aac")
    assert facts.width >= 720
    assert facts.height >= 1280
    middle = np.asarray(Image.open(io.BytesIO(cover(out))).resize((90, 160)))[60:100]
    quarters = [middle[5, 20], middle[5, 70], middle[35, 20], middle[35, 70]]
    wanted = [(200, 40, 40), (40, 160, 60), (40, 70, 200), (220, 200, 60)]
    for found, expected in zip(quarters, wanted, strict=True):
        assert np.abs(found.astype(int) - expected).max() < 60, "the photo, upright, is what the video shows"


def test_p4_an_order_survives_the_kill_of_one_of_two_workers(tmp_path: Path) -> None:
    """kill -9 in the middle of the order; it is still delivered once and paid once."""
    with demo(tmp_path / "home", "--exit", "--workers", "2") as process:
        assert process.stdout is not None
        heard = []
        workers: list[int] = []
        for line in process.stdout:
            heard.append(line)
            if found := re.search(r"workers: ([\d, ]+)", line):
                workers = [int(pid) for pid in found[1].split(",")]
            if "пишем сценарий" in line or "создаём видео" in line:
                os.kill(workers[0], signal.SIGKILL)
                break
        heard += process.stdout.readlines()
        process.wait(LIMIT_SECONDS)
    words = "".join(heard)
    assert process.returncode == 0, words
    assert words.count("notice sent") >= 2
    assert len(re.findall(r"credits settle", words)) == 1, words
    assert len(re.findall(r"notice sent +│ video", words)) == 1, words


def hundred_megapixels() -> bytes:
    out = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"nothing that anybody could look at", "не похоже на картинку"),
        (hundred_megapixels(), "больше 50 мегапикселей"),
        (b"\xff\xd8\xff" + bytes(30 * 1024 * 1024), "больше 20 МБ"),
    ],
    ids=["no picture", "too many pixels", "too many bytes"],
)
def test_p11_a_bad_photo_gets_one_sentence_and_the_demo_says_so(tmp_path: Path, content: bytes, sentence: str) -> None:
    photo = tmp_path / "not a photo.jpg"
    photo.write_bytes(content)
    status, words = run(tmp_path / "home", "--exit", "--photo", photo)
    assert status == 1, words
    assert "The bot said:" in words
    assert sentence in words
    assert "Traceback" not in words
    assert "0 orders" in words


def test_p9_several_sellers_at_once_each_get_their_video(tmp_path: Path) -> None:
    status, words = run(tmp_path / "home", "--exit", "--orders", "4", "--workers", "2")
    assert status == 0, words
    assert re.search(r"videos delivered +│ 4", words), words
    assert re.search(r"provider tasks +│ 4", words), words
    assert re.search(r"credits settled +│ 4", words), words
    assert "4 issued = 0 available + 0 held + 4 spent" in words


def test_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    with demo(tmp_path / "home") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "workers:" in line:
                break
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 4
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(30) == 130
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
