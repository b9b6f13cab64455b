"""Sellers at work, all at once, with one bar: of one order's stages, or of how many have their video."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from neurocards.console import console
from neurocards.demo.seller import EMPTY, FULL, Delivered, Ending, Seller, SellerGaveUp

TEMPLATE = "hero_broll"
DESCRIPTION = "Сыворотка для лица NEURO, 50 мл"

SECONDS_PER_ORDER = 20.0
LONGEST_SECONDS = 90.0
"""How long one order may take before the demo calls it lost; many at once take longer."""


@dataclass(frozen=True)
class Played:
    """How one seller fared; exactly one of the two is set."""

    seller: Seller
    ending: Ending | None
    trouble: str | None

    @property
    def delivered(self) -> Delivered | None:
        return self.ending if isinstance(self.ending, Delivered) else None


async def play(
    sellers: Sequence[Seller], photos: Sequence[Path], *, as_files: bool, when_answered: Callable[[], None]
) -> list[Played]:
    """Let each seller order one video of its photo; the bot's first word to the first of them is announced."""
    limit_seconds = LONGEST_SECONDS + SECONDS_PER_ORDER * len(sellers)
    with Progress(
        SpinnerColumn(), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console
    ) as progress:
        bar = _StageBar(progress) if len(sellers) == 1 else _CountBar(progress, len(sellers))

        async def one(seller: Seller, photo: Path) -> Played:
            try:
                async with asyncio.timeout(limit_seconds):
                    await seller.greet()
                    if seller is sellers[0]:
                        when_answered()
                    ending = await seller.order(
                        photo, as_file=as_files, template=TEMPLATE, description=DESCRIPTION, on_status=bar.follow
                    )
                    played = Played(seller, ending, None)
            except TimeoutError:
                played = Played(seller, None, f"no video after {limit_seconds:.0f} s")
            except (SellerGaveUp, httpx2.HTTPError) as error:
                played = Played(seller, None, str(error) or type(error).__name__)
            bar.end(played)
            return played

        return await asyncio.gather(*map(one, sellers, photos))


class _StageBar:
    """The bar of the status card, as a person sees it in the chat."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("the seller opens the chat", total=100)

    def follow(self, status: str) -> None:
        percent, line = _bar_line(status)
        told = escape(line.strip(f"{FULL}{EMPTY} "))
        self._progress.update(self._task, completed=percent, description=told)
        self._progress.console.print(f"  the card says: {escape(line)}", highlight=False)

    def end(self, played: Played) -> None:
        if played.delivered:
            self._progress.update(self._task, completed=100, description="the seller has the video")


class _CountBar:
    """How many of many sellers have their video."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._delivered = 0
        self._task: TaskID = progress.add_task(self._words(), total=total)

    def follow(self, status: str) -> None:
        """The cards of many are not told one by one."""

    def end(self, played: Played) -> None:
        self._delivered += played.delivered is not None
        self._progress.update(self._task, advance=1, description=self._words())

    def _words(self) -> str:
        return f"{self._delivered} of {self._total} videos delivered"


def _bar_line(status: str) -> tuple[int, str]:
    """How far the bar on the card is, in percent, and its line; where the bar stands alone, with the next line."""
    lines = [line.strip() for line in status.splitlines() if line.strip()]
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        full, empty = line.count(FULL), line.count(EMPTY)
        if full + empty:
            alone = not line.strip(f"{FULL}{EMPTY} ")
            return round(100 * full / (full + empty)), f"{line} {following}".rstrip() if alone else line
    return 0, ""
