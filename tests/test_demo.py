"""The whole, as a stranger starts it: real processes, the production commands, simulators outside."""

import io
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psutil  # type: ignore[import-untyped]  # it ships no types
import pytest
from PIL import Image

from neurocards.db import counters, generations, notices
from neurocards.db.connection import Database
from neurocards.media.videos import check_clip, cover
from shop import claim, make_video, new_order

ROOT = Path(__file__).parent.parent
LIMIT_SECONDS = 150

pytestmark = pytest.mark.timeout(LIMIT_SECONDS + 30)


@contextmanager
def demo(
    home: Path, *options: str | Path, output: int = subprocess.PIPE, **environment: str
) -> Iterator[subprocess.Popen[str]]:
    """The command running, its words read by the test; ended with the block if it has not ended itself."""
    process = subprocess.Popen(
        [sys.executable, "-m", "neurocards", "demo", *options],
        env={
            **os.environ,
            "NEUROCARDS_HOME": str(home),
            "PYTHONPATH": str(ROOT / "src"),
            "COLUMNS": "160",
            **environment,
        },
        stdout=output,
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
            if re.search("the card says: ▰▰{1,3}▱", line):  # past the queue, before the check of the video
                os.kill(workers[0], signal.SIGKILL)
                break
        else:
            pytest.fail(f"the card never said that the video is being made: {''.join(heard)}")
        heard += process.stdout.readlines()
        process.wait(LIMIT_SECONDS)
    words = "".join(heard)
    assert process.returncode == 0, words
    assert words.count("notice sent") >= 2
    assert len(re.findall(r"credits settle", words)) == 1, words
    assert len(re.findall(r"notice sent +│ video", words)) == 1, words


def test_p11_a_bad_photo_gets_one_sentence_and_the_demo_says_so(tmp_path: Path) -> None:
    photo = tmp_path / "not a photo.jpg"
    photo.write_bytes(b"nothing that anybody could look at")
    status, words = run(tmp_path / "home", "--exit", "--photo", photo)
    assert status == 1, words
    assert "The bot said:" in words
    assert "не похоже на картинку" in words
    assert "Traceback" not in words
    assert "0 orders" in words


def test_p9_several_sellers_at_once_each_get_their_video(tmp_path: Path) -> None:
    status, words = run(tmp_path / "home", "--exit", "--orders", "4", "--workers", "2")
    assert status == 0, words
    assert re.search(r"videos delivered +│ 4", words), words
    assert re.search(r"provider tasks +│ 4", words), words
    assert re.search(r"credits settled +│ 4", words), words
    assert "40 issued = 36 available + 0 held + 4 spent" in words


@dataclass
class Running:
    """A demo that stays up, and what it has said so far, without colours and cursor moves."""

    process: subprocess.Popen[str]
    output: int
    browser_log: Path
    words: str = ""

    def hear(self, pattern: str, *, within_seconds: float = LIMIT_SECONDS) -> re.Match[str]:
        """Listen until the pattern has been said."""
        deadline = time.monotonic() + within_seconds
        while not (found := re.search(pattern, self.words)):
            assert time.monotonic() < deadline, f"{pattern!r} was not said in {self.words}"
            assert self._listen(deadline), f"the demo ended without {pattern!r}: {self.words}"
        return found

    def end(self) -> int:
        """Press Ctrl-C; returns the exit status when everything is said."""
        self.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + 30
        while self._listen(deadline):
            assert time.monotonic() < deadline, self.words
        return self.process.wait(30)

    def _listen(self, deadline: float) -> bool:
        """Take in what is said next; false when nothing more will come."""
        if not select.select([self.output], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return True
        try:
            said = os.read(self.output, 65536)
        except OSError:  # how Linux says that nobody is left on the terminal
            return False
        self.words += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", said.decode(errors="replace"))
        return bool(said)


@contextmanager
def staying(folder: Path, *options: str, terminal: bool) -> Iterator[Running]:
    """The demo without --exit, on a desktop whose browser only writes down what it is to show."""
    browser, browser_log = folder / "browser", folder / "browsed"
    browser.write_text(f'#!/bin/sh\necho "$@" >> {browser_log}\n')
    browser.chmod(0o755)
    ours, theirs = os.openpty() if terminal else os.pipe()
    with demo(
        folder / "home", *options, output=theirs, DISPLAY=":99", BROWSER=f"{browser} %s", TERM="xterm"
    ) as process:
        os.close(theirs)
        try:
            yield Running(process, ours, browser_log)
        finally:
            os.close(ours)


PAGE = r"The chat: (http://127\.0\.0\.1:(\d+)/telegram)/\?people=(\d+),(\d+)\n"


def test_a_person_at_a_terminal_is_shown_the_chat_and_can_kill_what_they_like(tmp_path: Path) -> None:
    port = free_port()
    with staying(tmp_path, "--port", str(port), terminal=True) as running:
        page = running.hear(PAGE)
        assert page[2] == str(port)
        telegram, seller, person = page[1], page[3], page[4]
        turn = running.hear(r"kill -9 a worker \((\d+)\) or the bot \((\d+)\)")
        assert running.browser_log.read_text().splitlines() == [f"{telegram}/?people={seller},{person}"]
        assert "video" in media(telegram, seller), "the seller's finished conversation"
        assert chat(telegram, person)["messages"] == [], "an empty one to play in"
        running.hear("live; Ctrl-C stops everything")
        running.hear(r"orders +1 placed: 0 in work, 1 delivered, 0 refunded")
        running.hear(r"credits +9 available, 0 held, 1 spent")

        for command, pid in (("worker", turn[1]), ("bot", turn[2])):
            os.kill(int(pid), signal.SIGKILL)
            replaced = running.hear(f"{command} {pid} is gone; {command} (\\d+) takes its place", within_seconds=10)
            assert psutil.pid_exists(int(replaced[1]))
        httpx2.post(f"{telegram}/sim/people/{person}/start").raise_for_status()
        answered = chat(telegram, person, since=1, wait=60)
        assert [message["from_bot"] for message in answered["messages"]] == [False, True]
        running.hear(r"workers +1 of 1 alive")

        children = psutil.Process(running.process.pid).children(recursive=True)
        assert running.end() == 130
        assert "nothing is left running" in running.words
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []


def test_without_a_terminal_there_is_no_browser_and_a_line_for_each_change(tmp_path: Path) -> None:
    with staying(tmp_path, terminal=False) as running:
        page = running.hear(PAGE)
        first = "customers 1; orders 1 placed: 0 in work, 1 delivered, 0 refunded; credits 9 available, 0 held, 1 spent"
        running.hear(first)
        heard_at = time.monotonic()
        httpx2.post(f"{page[1]}/sim/people/{page[4]}/start").raise_for_status()
        running.hear("customers 2; orders 1 placed", within_seconds=15)
        assert time.monotonic() - heard_at > 3
        assert running.words.count("customers 1;") == 1, "what has not changed is not told again"
        assert running.end() == 130
        assert "Ctrl-C stops everything" not in running.words
        assert not running.browser_log.exists()


def test_a_person_who_wants_no_browser_gets_none(tmp_path: Path) -> None:
    with staying(tmp_path, "--no-browser", terminal=True) as running:
        running.hear(PAGE)
        assert running.end() == 130
        assert not running.browser_log.exists()


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        status, words = run(tmp_path / "home", "--port", str(other.getsockname()[1]))
    assert status == 1
    assert "in use" in words
    assert "Traceback" not in words


async def test_every_order_is_counted_once_as_in_work_delivered_or_refunded(database: Database) -> None:
    async with database.transaction() as tx:
        assert await counters.latest(tx) is None
        assert await counters.count(tx) == counters.Counters(*[0] * 13)

    for videos in (1, 1, 2, 1):
        await new_order(database, videos=videos, free=5)
    _still_made, on_its_way, arrived, lost, refunded = await claim(database)
    for job in (on_its_way, arrived):
        await make_video(database, job)
        async with database.transaction() as tx:
            assert await generations.settle(tx, job.subject_id, lease_number=job.lease_number)
    async with database.transaction() as tx:
        await notices.keep_file_id(tx, arrived.subject_id, "a file id")
        for job in (lost, refunded):
            assert await generations.refund(tx, job.subject_id, lease_number=job.lease_number, reason="provider")
    async with database.transaction() as tx:
        counted, event = await counters.count(tx), await counters.latest(tx)
    assert (counted.orders_placed, counted.orders_in_work) == (4, 2), "one is being made; one not yet handed over"
    assert (counted.orders_delivered, counted.orders_refunded) == (1, 1), "one of two videos came; the only one failed"
    assert (counted.credits_available, counted.credits_held, counted.credits_spent) == (17, 1, 2)
    assert (counted.customers, counted.jobs_waiting, counted.jobs_running) == (4, 0, 1)
    assert event is not None
    assert event.what == "credits refund"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def chat(telegram: str, person: str, *, since: int = 0, wait: int = 0) -> dict[str, Any]:  # Any: JSON
    response = httpx2.get(
        f"{telegram}/sim/people/{person}/chat", params={"since": since, "wait": wait}, timeout=wait + 10
    )
    response.raise_for_status()
    shown: dict[str, Any] = response.json()
    return shown


def media(telegram: str, person: str) -> list[str]:
    return [message["media"]["kind"] for message in chat(telegram, person)["messages"] if message["media"]]


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
