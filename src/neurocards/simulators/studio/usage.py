"""What is known of each key: what it has done, and how much of it at once."""

import time
from collections import deque
from dataclasses import dataclass, field

from pydantic import JsonValue

WINDOW_SECONDS = 10.0


class Window:
    """Events of the last ten seconds, exact to the moment."""

    def __init__(self) -> None:
        self._events: deque[float] = deque()

    def count(self) -> int:
        while self._events and self._events[0] <= time.monotonic() - WINDOW_SECONDS:
            self._events.popleft()
        return len(self._events)

    def enter(self) -> None:
        self._events.append(time.monotonic())


@dataclass
class Usage:
    """One key's figures. `refused` are submits turned away for the key's sake: wrong, empty, limited or too fast."""

    submits: int = 0
    refused: int = 0
    accepted: int = 0
    most_accepted_in_ten_seconds: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    _lately: Window = field(default_factory=Window)

    def accept(self) -> None:
        self._lately.enter()
        self.accepted += 1
        self.most_accepted_in_ten_seconds = max(self.most_accepted_in_ten_seconds, self._lately.count())

    def begin(self) -> None:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def end(self) -> None:
        self.in_flight -= 1

    def figures(self) -> dict[str, JsonValue]:
        return {
            "submits": self.submits,
            "refused": self.refused,
            "accepted": self.accepted,
            "most_accepted_in_ten_seconds": self.most_accepted_in_ten_seconds,
            "in_flight": self.in_flight,
            "most_in_flight": self.most_in_flight,
        }
