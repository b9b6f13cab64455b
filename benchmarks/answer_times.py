"""How long sellers wait for the bot's answers: `python benchmarks/answer_times.py --help`.

Real processes, as in the demo: database, simulators, bot and one worker. First one seller is alone with the bot, then
twenty are there at once; each goes from the photo to the card again and again, always as somebody new.

Two figures for each answer. *Seen* is what the person sees: from sending until a new or edited message, or the answer
to the tap, has come to the phone. *Server* is without the phone: until the bot's call arrives at Telegram. A photo
counts from when Telegram has it: how long an upload takes is not the bot's doing.
"""

import argparse
import asyncio
import io
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

ROOT = Path(__file__).absolute().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]
os.environ["PYTHONPATH"] = str(ROOT / "src")  # for the processes of the demo

import httpx2  # noqa: E402 (whoever runs a script has not set the path)
import psutil  # type: ignore[import-untyped]  # noqa: E402 (it ships no types)
from PIL import Image  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from flow.phones import File, Json, Phone, open_client  # noqa: E402
from neurocards.bot.screens import Verb  # noqa: E402
from neurocards.demo.samples import draw_product  # noqa: E402
from neurocards.demo.stage import Stage, open_stage  # noqa: E402

TARGET_P50_MS = 50.0
TARGET_P99_MS = 300.0
PATIENCE_SECONDS = 30.0
SCREEN_SECONDS = 5.0
"""How long the message after a tap is waited for once the tap has been answered; not every tap has one."""

PHOTO, TAP, OLD_BUTTON = "photo", "tap", "tap on an old button"

ROUNDS_ALONE = 10
PAUSE_ALONE_SECONDS = 0.2
SENT_SIZE = (1280, 1280)
TEMPLATE = "hero_broll"
NO_CALL_YET = 2**53
"""Later than any call: asked for the calls since then, the log only tells its last one."""

console = Console()


@dataclass(frozen=True)
class Answer:
    """One answer of the bot: when it was asked for, by the clock of Telegram's log, and after how long it was seen.

    `screen_ms` is when the message after a tap was seen; the tap itself may have been answered before.
    """

    what: str
    person_id: int
    callback_id: str | None
    asked_at: float
    seen_ms: float
    screen_ms: float | None


@dataclass(frozen=True)
class Phase:
    """What one group of sellers met; `overhead_ms` is the phone's own part in what is seen.

    `load` is how much of one core each of our processes used meanwhile, `system_load` what the machine was at in all.
    """

    name: str
    sellers: int
    seconds: float
    answers: Sequence[Answer]
    server_ms: Sequence[float]
    overhead_ms: float
    load: Mapping[str, float]
    system_load: float


@dataclass(frozen=True)
class Spread:
    """How long most, nearly all, and all but a few answers took, in milliseconds."""

    answers: int
    p50: float
    p95: float
    p99: float
    longest: float


def main() -> int:
    """Measure; 0 when answers with all sellers active are as quick as promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sellers", type=int, default=20, help="how many at once (default 20)")
    parser.add_argument("--rounds", type=int, default=4, help="from photo to card, for each seller (default 4)")
    parser.add_argument(
        "--pause", type=float, default=1.0, help="mean seconds a seller looks before acting (default 1)"
    )
    parser.add_argument("--confirmed", type=float, default=0.0, help="share of cards that are confirmed (default 0)")
    parser.add_argument("--json", action="store_true", help="print figures for programs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="answer-times-") as folder:
        alone, together = asyncio.run(_measure(Path(folder), options))
    report = _report(alone, together)
    if options.json:
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    else:
        _show(report)
    return 0 if report["within_target"] else 1


async def _measure(home: Path, options: argparse.Namespace) -> tuple[Phase, Phase]:
    photo = ("product.jpg", await asyncio.to_thread(_photo))
    async with (
        open_stage(home, workers=1) as stage,
        open_client() as client,
    ):
        (await client.post(f"{stage.kie}/sim/settings", json={"render": "shared"})).raise_for_status()
        # The bot must be known to Telegram before anybody can write to it.
        (await client.get(f"{stage.telegram}/bot{stage.environment['BOT_TOKEN']}/getMe")).raise_for_status()
        audience = Audience(client, stage, photo, confirmed=options.confirmed)
        await audience.play("warm-up", sellers=1, rounds=2, pause_seconds=PAUSE_ALONE_SECONDS)
        alone = await audience.play("one seller", sellers=1, rounds=ROUNDS_ALONE, pause_seconds=PAUSE_ALONE_SECONDS)
        crowd = options.sellers
        together = await audience.play(
            f"{crowd} sellers", sellers=crowd, rounds=options.rounds, pause_seconds=options.pause
        )
        return alone, together


def _photo() -> bytes:
    """A product as the app sends it: made smaller on the phone."""
    with Image.open(io.BytesIO(draw_product(0))) as drawn:
        drawn.thumbnail(SENT_SIZE)
        out = io.BytesIO()
        drawn.save(out, "JPEG", quality=85)
        return out.getvalue()


class Audience:
    """Sellers who do what sellers do, with a stop-watch."""

    def __init__(self, client: httpx2.AsyncClient, stage: Stage, photo: File, *, confirmed: float) -> None:
        self._client = client
        self._stage = stage
        self._photo = photo
        self._confirmed = confirmed
        self._draw = Random(1)  # noqa: S311 (the same pauses in every run)
        self._answers: list[Answer] = []
        self._overheads_ms: list[float] = []
        self._pause_seconds = 0.0

    async def play(self, name: str, *, sellers: int, rounds: int, pause_seconds: float) -> Phase:
        """Let so many sellers play at once, and read Telegram's log of it."""
        self._answers, self._overheads_ms, self._pause_seconds = [], [], pause_seconds
        _, before = await self._calls(NO_CALL_YET)
        used = self._cpu_seconds()
        psutil.cpu_percent()  # begins to count
        began = time.perf_counter()
        await asyncio.gather(*(self._play_one(rounds) for _ in range(sellers)))
        seconds = time.perf_counter() - began
        system_load = psutil.cpu_percent() * psutil.cpu_count() / 100
        load = {name: (now - used[name]) / seconds for name, now in self._cpu_seconds().items()}
        calls, _ = await self._calls(before)
        server_ms = _at_telegram(self._answers, calls)
        return Phase(name, sellers, seconds, self._answers, server_ms, median(self._overheads_ms), load, system_load)

    async def _play_one(self, rounds: int) -> None:
        for _ in range(rounds):
            bot_id = self._stage.environment["BOT_TOKEN"].partition(":")[0]
            phone = await Phone.buy(self._client, self._stage.telegram, bot_id, name="Seller", language="en")
            await self._play_round(phone)

    def _cpu_seconds(self) -> dict[str, float]:
        """What each of our processes has used so far."""
        processes = {
            "bot": self._stage.bot.child_pid,
            "simulators": self._stage.simulators.child_pid,
            "sellers": os.getpid(),
        }
        return {name: sum(psutil.Process(pid).cpu_times()[:2]) for name, pid in processes.items()}

    async def _play_round(self, phone: Phone) -> None:
        """From the first word to the card, with a question and a tap on an old button on the way."""
        await self._timed(phone, "command", phone.start)
        await self._tap(phone, Verb.AGREE)
        await self._timed(phone, PHOTO, lambda: phone.send_photo(self._photo))
        await self._tap(phone, Verb.CHOOSE_TEMPLATE, TEMPLATE)
        await self._timed(phone, "text", lambda: phone.write("A serum in a glass bottle, 50 ml"))
        await self._tap(phone, Verb.SKIP_WISHES)
        await self._timed(phone, "command", lambda: phone.write("/balance"))
        await self._tap(phone, Verb.CHOOSE_COUNT, "1")
        await phone.offered(Verb.CONFIRM, seconds=PATIENCE_SECONDS)
        old = phone.past_buttons()[0]
        await self._timed(phone, OLD_BUTTON, lambda: phone.forge(old.message_id, old.data))
        await self._tap(phone, Verb.CONFIRM if self._draw.random() < self._confirmed else Verb.CANCEL)

    async def _tap(self, phone: Phone, verb: Verb, value: str = "") -> None:
        button = await phone.offered(verb, value, seconds=PATIENCE_SECONDS)
        await self._timed(phone, TAP, lambda: phone.tap(button))

    async def _timed(self, phone: Phone, what: str, act: Callable[[], Awaitable[Json | str | None]]) -> None:
        """Look for a moment, act, and wait for whatever comes first: words of the bot, or the answer to the tap."""
        tapping = what in (TAP, OLD_BUTTON)
        await asyncio.sleep(self._draw.uniform(0.5, 1.5) * self._pause_seconds)
        await self._weigh_phone(phone)
        version = phone.version
        if not tapping:
            phone.version += 1  # one's own message is no news
        hearing = asyncio.create_task(phone.hear(version, seconds=PATIENCE_SECONDS))
        began, asked_at = time.perf_counter(), time.time()
        done = await act()
        if what == PHOTO:
            began, asked_at = time.perf_counter(), time.time()
        waiting: set[asyncio.Task[Any]] = {hearing}  # Any: one hears, one is told; only the time counts
        if tapping:
            waiting.add(asyncio.create_task(phone.tap_answer(str(done), wait_seconds=PATIENCE_SECONDS)))
        come, late = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        seen_ms = 1000 * (time.perf_counter() - began)
        for task in come:
            task.result()
        if seen_ms > 1000 * PATIENCE_SECONDS:
            raise TimeoutError(f"a {what} was not answered")
        screen_ms = None
        if what == TAP:
            await asyncio.wait([hearing], timeout=SCREEN_SECONDS)
            screen_ms = 1000 * (time.perf_counter() - began) if hearing.done() else None
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        callback_id = str(done) if tapping else None
        self._answers.append(Answer(what, phone.person_id, callback_id, asked_at, seen_ms, screen_ms))

    async def _weigh_phone(self, phone: Phone) -> None:
        """What the phone itself takes for an act of which the bot hears nothing, and a look at the chat."""
        began = time.perf_counter()
        await phone.speak("en")
        await phone.look()
        self._overheads_ms.append(1000 * (time.perf_counter() - began))

    async def _calls(self, since: int) -> tuple[list[Json], int]:
        """Telegram's calls after this one, and the number of the last."""
        found: list[Json] = []
        while True:
            response = await self._client.get(f"{self._stage.telegram}/sim/calls", params={"since": since})
            response.raise_for_status()
            page = response.json()
            if not page["calls"]:
                return found, page["last_id"]
            found += page["calls"]
            since = page["last_id"]


def _at_telegram(answers: Sequence[Answer], calls: Iterable[Json]) -> list[float]:
    """For each answer, how long it took until the bot's first call about it arrived, in milliseconds."""
    by_person: dict[str, list[float]] = defaultdict(list)
    by_tap: dict[str, float] = {}
    for call in calls:
        if call["method"] == "answerCallbackQuery":
            by_tap[str(call["parameters"]["callback_query_id"])] = call["time"]
        elif call["method"].startswith(("send", "edit")) and call["method"] != "sendChatAction":
            by_person[str(call["parameters"].get("chat_id"))].append(call["time"])
    found = []
    for answer in answers:
        words = [at for at in by_person[str(answer.person_id)] if at >= answer.asked_at]
        first = min([*words[:1], *([by_tap[answer.callback_id]] if answer.callback_id in by_tap else [])])
        found.append(1000 * (first - answer.asked_at))
    return found


def _spread(times_ms: Sequence[float]) -> Spread:
    ordered = sorted(times_ms)

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)

    return Spread(len(ordered), at(0.5), at(0.95), at(0.99), round(ordered[-1], 1))


def _report(alone: Phase, together: Phase) -> Json:
    phases = [_phase_report(phase) for phase in (alone, together)]
    one, many = (_spread([answer.seen_ms for answer in phase.answers]) for phase in (alone, together))
    return {
        "target": {"p50": TARGET_P50_MS, "p99": TARGET_P99_MS},
        "within_target": many.p50 <= TARGET_P50_MS and many.p99 <= TARGET_P99_MS,
        "ratio": {"p50": round(many.p50 / one.p50, 2), "p95": round(many.p95 / one.p95, 2)},
        "phases": phases,
    }


def _phase_report(phase: Phase) -> Json:
    rows = {"all, seen": [answer.seen_ms for answer in phase.answers], "all, server": list(phase.server_ms)}
    for what in sorted({answer.what for answer in phase.answers}):
        rows[f"{what}, seen"] = [answer.seen_ms for answer in phase.answers if answer.what == what]
    rows["screen after a tap, seen"] = [one.screen_ms for one in phase.answers if one.screen_ms is not None]
    return {
        "name": phase.name,
        "sellers": phase.sellers,
        "answers_per_second": round(len(phase.answers) / phase.seconds, 1),
        "overhead_ms": round(phase.overhead_ms, 1),
        "cores_used": {name: round(share, 2) for name, share in {**phase.load, "all": phase.system_load}.items()},
        "ms": {name: asdict(_spread(times)) for name, times in rows.items()},
    }


def _show(report: Json) -> None:
    for phase in report["phases"]:
        table = Table(
            "Milliseconds",
            *("answers", "p50", "p95", "p99", "longest"),
            title=f"{phase['name']}: {phase['answers_per_second']} answers a second;"
            f" the phone's own part about {phase['overhead_ms']} ms",
            title_justify="left",
        )
        for name, spread in phase["ms"].items():
            table.add_row(name, *(str(number) for number in spread.values()))
        console.print(table)
        used = ", ".join(f"{name} {share}" for name, share in phase["cores_used"].items())
        console.print(f"Cores used, of {psutil.cpu_count()}: {used}.", highlight=False)
    verdict = "[green]within[/green]" if report["within_target"] else "[red]not within[/red]"
    console.print(
        f"Ratio to one seller: p50 {report['ratio']['p50']}, p95 {report['ratio']['p95']}."
        f" Target p50 {TARGET_P50_MS:.0f} ms, p99 {TARGET_P99_MS:.0f} ms: {verdict}."
    )


if __name__ == "__main__":
    sys.exit(main())
