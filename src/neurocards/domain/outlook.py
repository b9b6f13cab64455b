"""What can honestly be said about the future of an order: from its place in the queue and what the last videos took."""

import math
from dataclasses import dataclass

MEASURED_ENOUGH = 5
"""So many videos make a history; with fewer, nothing is promised."""

_STEEPNESS = 1.6

FIRST_CELL, CELLS = 3, 5
"""Of a bar of ten cells those that fill while the provider is at work."""


@dataclass(frozen=True)
class Usual:
    """How long the last videos took from the order to the end, in seconds: the quicker quarter, and nine of ten."""

    low_seconds: float
    high_seconds: float
    measured: int


@dataclass(frozen=True)
class Outlook:
    """`ahead` is how many videos wait before the order's first waiting one, None when none of its own waits."""

    ahead: int | None = None
    usual: Usual | None = None
    rendering_seconds: float | None = None


def rendering_cells(elapsed_seconds: float, usual_seconds: float) -> int:
    """The filled cells of the bar while the provider is at work: most of them when the usual time is over, never all.

    A bar that follows the clock must slow down rather than stand at its end and wait.
    """
    share = 1.0 - math.exp(-_STEEPNESS * max(0.0, elapsed_seconds) / usual_seconds)
    # A hair more: at the very moment when a cell is due, it is filled.
    return FIRST_CELL + min(CELLS - 1, int(CELLS * share + 1e-6))


def seconds_to_next_cell(elapsed_seconds: float, usual_seconds: float) -> float:
    """How long until one more cell is filled, in seconds; infinite when all are that ever will be."""
    filled = rendering_cells(elapsed_seconds, usual_seconds) - FIRST_CELL
    if filled >= CELLS - 1:
        return math.inf
    return max(0.1, -math.log(1.0 - (filled + 1) / CELLS) * usual_seconds / _STEEPNESS - elapsed_seconds)
