"""The demo: sellers order videos in the simulated chat while you watch; then the story, the audit, and it is your turn.

With `leave` it ends where your turn would begin, and its exit status says how all went.
"""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from rich.markup import escape
from rich.table import Table

from neurocards.audit import audit
from neurocards.console import console, show_report, show_story
from neurocards.db import books, customers, notices, orders
from neurocards.db.connection import Database
from neurocards.db.embedded import EmbeddedPostgresError
from neurocards.demo.board import show_board
from neurocards.demo.page import open_page, page_address
from neurocards.demo.playing import Played, play
from neurocards.demo.samples import VARIANTS, draw_product
from neurocards.demo.seller import Disappointed, Seller
from neurocards.demo.stage import DEMO_WELCOME_CREDITS, Stage, StageError, open_stage
from neurocards.settings import read_settings
from neurocards.storage import open_store

SETTLING_SECONDS = 15.0
"""How long the last notices may take after the last video."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Wishes:
    """What whoever starts the demo wants of it; port 0 is a free one."""

    photo: Path | None
    out: Path | None
    leave: bool
    workers: int
    order_count: int
    port: int
    browser: bool


def run_demo(wishes: Wishes) -> int:
    """Run the demo; 0 when every video was delivered and the audit is clean, 130 after Ctrl-C."""
    try:
        if wishes.out is not None:
            wishes.out.parent.mkdir(parents=True, exist_ok=True)
        return asyncio.run(_demo(wishes))
    except (StageError, EmbeddedPostgresError, OSError) as error:
        _print(f"[red]The demo could not go on:[/red] {escape(str(error))}")
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        _print("Stopped; nothing is left running.")
        return 130


async def _demo(wishes: Wishes) -> int:
    home = read_settings().neurocards_home.absolute() / "demo"
    _let_sigterm_interrupt()
    with tempfile.TemporaryDirectory() as folder:
        _print("Starting a database, simulators of Telegram, KIE and OpenAI, the bot and the workers.")
        async with (
            open_stage(home, workers=wishes.workers, port=wishes.port) as stage,
            _tools(stage) as (client, database),
        ):
            _introduce(stage)
            photos = await asyncio.to_thread(_photos, wishes, Path(folder))
            sellers = await asyncio.gather(*(_arrive(client, stage, "Продавец") for _ in photos))
            page = None if wishes.leave else await _page(client, stage, sellers[0])

            def show_page() -> None:
                if page is not None:
                    _print(f"[bold]The chat:[/bold] {page}")
                    if wishes.browser:
                        open_page(page)

            playing = play(sellers, photos, as_files=wishes.photo is not None, when_answered=show_page)
            played = await _attended(stage, playing, replace=not wishes.leave)
            await _settle(database, played)

            videos = await _save(client, home, wishes.out, played)
            await _tell_story(database, played)
            report = await audit(database, open_store(None, home))
            if wishes.order_count > 1:
                await _summarise(client, stage, database, played)
            show_report(report)
            if report.figures.orders > wishes.order_count:
                _print(f"The books include earlier demos; remove {home} to start afresh.")
            _conclude(home, played, videos)
            if page is not None:
                _hand_over(stage, page)
                await _attended(stage, show_board(database, stage), replace=True)
            return 0 if len(videos) == wishes.order_count and not report.violations else 1


def _let_sigterm_interrupt() -> None:
    """A TERM ends the demo like Ctrl-C: everything that was started is stopped."""
    loop = asyncio.get_running_loop()
    demo = asyncio.current_task()
    if demo is not None:
        loop.add_signal_handler(signal.SIGTERM, demo.cancel)


@asynccontextmanager
async def _tools(stage: Stage) -> AsyncIterator[tuple[httpx2.AsyncClient, Database]]:
    limits = httpx2.Limits(max_connections=1000)
    async with httpx2.AsyncClient(timeout=60.0, limits=limits) as client, Database(stage.dsn) as database:
        yield client, database


def _introduce(stage: Stage) -> None:
    _print(f"Telegram is played at {stage.telegram}, KIE at {stage.kie}.")
    _print(f"bot: process {stage.bot.child_pid}; workers: {_pids(stage)} (kill -9 one and watch).")


def _photos(wishes: Wishes, folder: Path) -> list[Path]:
    """For each seller the given photo, or one of our own samples; neighbours get different ones."""
    if wishes.photo is not None:
        return [wishes.photo] * wishes.order_count
    drawn = []
    for variant in range(min(wishes.order_count, VARIANTS)):
        path = folder / f"sample-{variant + 1}.jpg"
        path.write_bytes(draw_product(variant))
        drawn.append(path)
    return [drawn[number % len(drawn)] for number in range(wishes.order_count)]


async def _arrive(client: httpx2.AsyncClient, stage: Stage, name: str) -> Seller:
    return await Seller.arrive(client, stage.telegram, name=name, language="ru")


async def _page(client: httpx2.AsyncClient, stage: Stage, seller: Seller) -> str:
    """The page that shows this seller's chat beside an empty one to play in."""
    you = await _arrive(client, stage, "Вы")
    return page_address(stage.telegram, [seller.person_id, you.person_id])


async def _attended(stage: Stage, work: Coroutine[Any, Any, Result], *, replace: bool) -> Result:  # Any: as below
    """Do the work with an eye on the processes: which are lost is told, and they are replaced if that is wanted.

    Any stands for what a coroutine yields to its loop.
    """
    task = asyncio.create_task(work)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=1.0)
            for news in stage.replace_lost() if replace else stage.check():
                _print(f"  {news}")
        return task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _settle(database: Database, played: Sequence[Played]) -> None:
    """Wait until these sellers have been told everything: the last card says how the order ended."""
    sellers = [one.seller.person_id for one in played]
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLING_SECONDS):
            while True:
                async with database.transaction() as tx:
                    if await notices.waiting(tx, sellers) == 0:
                        return
                await asyncio.sleep(0.2)


async def _save(client: httpx2.AsyncClient, home: Path, out: Path | None, played: Sequence[Played]) -> list[Path]:
    """Download what the sellers got, the way a person saves a video from a chat."""
    folder = home / "videos"
    folder.mkdir(parents=True, exist_ok=True)
    saved: list[Path] = []
    for one in played:
        if one.delivered is None:
            continue
        path = out if out is not None and not saved else folder / f"{one.seller.person_id}.mp4"
        async with client.stream("GET", one.delivered.file_url) as response:
            response.raise_for_status()
            with path.open("wb") as file:
                async for chunk in response.aiter_bytes():
                    file.write(chunk)
        saved.append(path)
    return saved


async def _tell_story(database: Database, played: Sequence[Played]) -> None:
    """One order's whole story; the others have theirs, but one is enough to read."""
    async with database.transaction() as tx:
        customer = await customers.find(tx, played[0].seller.person_id)
        order = await orders.latest(tx, customer.id) if customer else None
        if order is not None:
            show_story(f"Order {order.number} ({order.id})", await books.story(tx, order.id))


async def _summarise(client: httpx2.AsyncClient, stage: Stage, database: Database, played: Sequence[Played]) -> None:
    """The same orders as the sellers, the books and the provider saw them."""
    tasks = (await client.get(f"{stage.kie}/sim/tasks")).json()
    async with database.transaction() as tx:
        fared = await books.fared(tx, [one.seller.person_id for one in played])
    table = Table("What", "How many", title=f"{len(played)} sellers at once", title_justify="left")
    table.add_row("sellers who have their video", str(sum(one.delivered is not None for one in played)))
    table.add_row("videos delivered", str(fared.delivered))
    table.add_row("videos refunded", str(fared.refunded))
    table.add_row("provider tasks", str(len(tasks)))
    table.add_row("credits settled", str(fared.settled_credits))
    table.add_row("credits refunded", str(fared.refunded_credits))
    console.print(table)


def _conclude(home: Path, played: Sequence[Played], videos: Sequence[Path]) -> None:
    for one in played:
        if isinstance(one.ending, Disappointed):
            _print(f"[yellow]The bot said:[/yellow] {escape(one.ending.words)}")
        elif one.trouble is not None:
            _print(f"[red]A seller got stuck:[/red] {escape(one.trouble)}")
    if videos:
        _print(f"[green]The video:[/green] {videos[0]}")
        if len(videos) > 1:
            _print(f"and {len(videos) - 1} more in {videos[-1].parent}")
    _print(f"Look closer: NEUROCARDS_HOME={home} ./neurocards order NUMBER (or audit); logs in {home / 'logs'}")


def _hand_over(stage: Stage, page: str) -> None:
    """From here on the shop is the person's."""
    bot, workers = stage.bot.child_pid, _pids(stage)
    _print(f"\n[bold]Your turn:[/bold] {page}")
    for idea in (
        f"press START in the empty chat and send your own photo; {DEMO_WELCOME_CREDITS} credits are yours",
        "ask for 3 videos; press Confirm twice; order until the credits run out",
        "block the bot while an order is in work, and unblock it later",
        "open the engine room and switch on faults: slow, 429, 5xx, lost answers",
        f"kill -9 a worker ({workers}) or the bot ({bot}): no order is lost",
    ):
        _print(f"  • {idea}")


def _pids(stage: Stage) -> str:
    return ", ".join(str(worker.child_pid) for worker in stage.workers)


def _print(line: str) -> None:
    """A line that stays one: addresses and paths are there to be copied."""
    console.print(line, soft_wrap=True, highlight=False)
