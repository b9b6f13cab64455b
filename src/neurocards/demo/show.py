"""The demo: sellers order videos in the simulated chat while you watch; then the story, the table, the audit."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from neurocards.audit import audit
from neurocards.console import console, show_report, show_story
from neurocards.db import books, customers, notices, orders
from neurocards.db.connection import Database
from neurocards.db.embedded import EmbeddedPostgresError
from neurocards.demo.samples import VARIANTS, draw_product
from neurocards.demo.seller import Delivered, Disappointed, Ending, Seller, SellerGaveUp
from neurocards.demo.stage import Stage, StageError, open_stage
from neurocards.settings import read_settings
from neurocards.storage import open_store

HERO_BROLL = 1
"""The template's button in the chat, counted from 0."""

DESCRIPTION = "Сыворотка для лица NEURO, 50 мл"

FULL, EMPTY = "▰", "▱"
"""What the bar on a status card is made of."""

SECONDS_PER_ORDER = 20.0
LONGEST_SECONDS = 90.0
"""How long one order may take before the demo calls it lost; many at once take longer."""

SETTLING_SECONDS = 15.0
"""How long the last notices may take after the last video."""


@dataclass(frozen=True)
class Played:
    """How one seller fared; exactly one of the two is set."""

    seller: Seller
    ending: Ending | None
    trouble: str | None

    @property
    def delivered(self) -> Delivered | None:
        return self.ending if isinstance(self.ending, Delivered) else None


def run_demo(*, photo: Path | None, out: Path | None, leave: bool, workers: int, order_count: int) -> int:
    """Run the demo; 0 when every video was delivered and the audit is clean, 130 after Ctrl-C."""
    try:
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
        return asyncio.run(_demo(photo=photo, out=out, leave=leave, workers=workers, order_count=order_count))
    except (StageError, EmbeddedPostgresError, OSError) as error:
        console.print(f"[red]The demo could not go on:[/red] {escape(str(error))}", highlight=False)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("Stopped; nothing is left running.")
        return 130


async def _demo(*, photo: Path | None, out: Path | None, leave: bool, workers: int, order_count: int) -> int:
    home = read_settings().neurocards_home.absolute() / "demo"
    _let_sigterm_interrupt()
    with tempfile.TemporaryDirectory() as folder:
        console.print("Starting a database, simulators of Telegram, KIE and OpenAI, the bot and the workers.")
        async with open_stage(home, workers=workers) as stage, _tools(stage) as (client, database):
            _introduce(stage)
            photos = [photo] * order_count if photo else await asyncio.to_thread(_draw, Path(folder), order_count)
            played = await _play(stage, client, photos, as_files=photo is not None)
            await _settle(database, played)

            videos = await _save(client, home, out, played)
            await _tell_story(database, played)
            report = await audit(database, open_store(None, home))
            if order_count > 1:
                await _summarise(client, stage, database, played)
            show_report(report)
            if report.figures.orders > order_count:
                console.print(f"The books include earlier demos; remove {home} to start afresh.", highlight=False)
            _conclude(home, played, videos)
            if not leave:
                await _linger(stage)
            return 0 if len(videos) == order_count and not report.violations else 1


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


def _draw(folder: Path, order_count: int) -> list[Path]:
    """One of our own sample photos for each seller; neighbours get different ones."""
    drawn = []
    for variant in range(min(order_count, VARIANTS)):
        path = folder / f"sample-{variant + 1}.jpg"
        path.write_bytes(draw_product(variant))
        drawn.append(path)
    return [drawn[number % len(drawn)] for number in range(order_count)]


async def _play(stage: Stage, client: httpx2.AsyncClient, photos: Sequence[Path], *, as_files: bool) -> list[Played]:
    """All sellers at once; one bar for one order's stages, or for how many have their video."""
    limit_seconds = LONGEST_SECONDS + SECONDS_PER_ORDER * len(photos)
    with Progress(
        SpinnerColumn(), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console
    ) as progress:
        if len(photos) == 1:
            bar = progress.add_task("the seller opens the chat", total=100)

            def follow(status: str) -> None:
                percent, headline = _progress(status)
                progress.update(bar, completed=percent, description=escape(headline))
                progress.console.print(f"  the card says: {escape(headline)}", highlight=False)

            return [await _play_one(stage, client, photos[0], limit_seconds, follow, as_file=as_files)]

        bar = progress.add_task(f"0 of {len(photos)} videos delivered", total=len(photos))
        delivered = 0

        async def count(photo: Path) -> Played:
            nonlocal delivered
            played = await _play_one(stage, client, photo, limit_seconds, lambda _status: None, as_file=as_files)
            delivered += played.delivered is not None
            progress.update(bar, advance=1, description=f"{delivered} of {len(photos)} videos delivered")
            return played

        return await asyncio.gather(*(count(photo) for photo in photos))


async def _play_one(
    stage: Stage,
    client: httpx2.AsyncClient,
    photo: Path,
    limit_seconds: float,
    follow: Callable[[str], None],
    *,
    as_file: bool,
) -> Played:
    seller = await Seller.arrive(client, stage.telegram, name="Продавец", language="ru")
    order = asyncio.create_task(
        seller.order(photo, as_file=as_file, template=HERO_BROLL, description=DESCRIPTION, on_status=follow)
    )
    try:
        async with asyncio.timeout(limit_seconds):
            while not order.done():
                await asyncio.wait([order], timeout=1.0)
                for lost in stage.check():
                    console.print(f"  {lost} is gone; the others go on with its orders")
            return Played(seller, order.result(), None)
    except TimeoutError:
        return Played(seller, None, f"no video after {limit_seconds:.0f} s")
    except (SellerGaveUp, httpx2.HTTPError) as error:
        return Played(seller, None, str(error) or type(error).__name__)
    finally:
        order.cancel()
        await asyncio.wait([order])


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
            console.print(f"[yellow]The bot said:[/yellow] {escape(one.ending.words)}", highlight=False)
        elif one.trouble is not None:
            console.print(f"[red]A seller got stuck:[/red] {escape(one.trouble)}", highlight=False)
    if videos:
        console.print(f"[green]The video:[/green] {videos[0]}", soft_wrap=True, highlight=False)
        if len(videos) > 1:
            console.print(f"and {len(videos) - 1} more in {videos[-1].parent}", soft_wrap=True, highlight=False)
    console.print(
        f"Look closer: NEUROCARDS_HOME={home} ./neurocards order NUMBER (or audit); logs in {home / 'logs'}",
        soft_wrap=True,
        highlight=False,
    )


def _introduce(stage: Stage) -> None:
    console.print(f"Telegram is played at {stage.telegram}, KIE at {stage.kie}.", highlight=False)
    pids = ", ".join(str(worker.child_pid) for worker in stage.workers)
    console.print(f"bot: process {stage.bot.child_pid}; workers: {pids} (kill -9 one and watch).", highlight=False)


async def _linger(stage: Stage) -> None:
    console.print("Everything goes on running; Ctrl-C stops it all.")
    while True:
        await asyncio.sleep(1.0)
        stage.check()


def _progress(status: str) -> tuple[int, str]:
    """How far the bar on the card is, in percent, and its line without the bar; before there is one, the headline."""
    lines = [line for line in status.splitlines() if line.strip()]
    for line in lines:
        full, empty = line.count(FULL), line.count(EMPTY)
        if full + empty:
            return round(100 * full / (full + empty)), line.strip(f"{FULL}{EMPTY} ")
    return (0, lines[0]) if lines else (0, "")
