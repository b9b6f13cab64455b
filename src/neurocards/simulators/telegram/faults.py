"""Troubles ordered from outside: calls of a method, or updates of a kind, go wrong, some times or until called off."""

from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, Field

from neurocards.simulators.telegram.changes import Changes


class FaultKind(StrEnum):
    TOO_MANY_REQUESTS = "429"
    FORBIDDEN = "403"
    SERVER_ERROR = "5xx"
    DELAY = "delay"
    DROP_ANSWER = "drop_answer"
    RESET = "reset"
    DELIVER_TWICE = "deliver_twice"
    DELIVER_LATE = "deliver_late"


UPDATE_FAULTS = frozenset({FaultKind.DELIVER_TWICE, FaultKind.DELIVER_LATE})


class Fault(BaseModel):
    """`method` is a Bot API method, or for the two deliver kinds an update kind; "*" is any.

    Without `times` it lasts until it is called off. `met` counts how often it struck.
    """

    method: str = "*"
    times: int | None = Field(default=1, ge=1)
    kind: FaultKind
    retry_after: int = Field(default=1, ge=1)
    delay_seconds: float = Field(default=1.0, ge=0)
    met: int = Field(default=0, ge=0)

    @property
    def is_lasting(self) -> bool:
        return self.times is None

    def _fits(self, name: str, *, for_update: bool) -> bool:
        if (self.kind in UPDATE_FAULTS) is not for_update:
            return False
        if self.method == "*":
            # A bot that hears nothing for good shows nothing of how it bears the trouble.
            return not (self.is_lasting and name.lower() == "getupdates")
        return self.method.lower() == name.lower()


@dataclass(frozen=True)
class DeliveryTrouble:
    """What an update's delivery is to meet."""

    repeats: int = 0
    late_seconds: float = 0


class Faults:
    """The troubles still to come, oldest first."""

    def __init__(self, changes: Changes) -> None:
        self.changes = changes
        self._ordered: list[Fault] = []

    @property
    def left(self) -> list[Fault]:
        return list(self._ordered)

    def order(self, fault: Fault) -> None:
        """Add a trouble; a lasting one takes the place of the lasting one of its kind."""
        if fault.is_lasting:
            self._ordered = [one for one in self._ordered if not (one.is_lasting and one.kind is fault.kind)]
        self._ordered.append(fault.model_copy(update={"met": 0}))
        self.changes.announce()

    def clear(self, kind: FaultKind | None = None) -> None:
        """Call off all troubles, or those of one kind."""
        self._ordered = [fault for fault in self._ordered if kind is not None and fault.kind is not kind]
        self.changes.announce()

    def take_for_call(self, method: str) -> list[Fault]:
        """The troubles this call is to meet, in the order it meets them; used up by asking."""
        return sorted(self._take(method, for_update=False), key=lambda fault: fault.kind is not FaultKind.DELAY)

    def take_for_update(self, kind: str) -> DeliveryTrouble:
        """The troubles this update's delivery is to meet, used up by asking."""
        faults = self._take(kind, for_update=True)
        return DeliveryTrouble(
            repeats=sum(fault.kind is FaultKind.DELIVER_TWICE for fault in faults),
            late_seconds=sum(fault.delay_seconds for fault in faults if fault.kind is FaultKind.DELIVER_LATE),
        )

    def _take(self, name: str, *, for_update: bool) -> list[Fault]:
        """All that last, and the first of those that are counted."""
        fitting = [fault for fault in self._ordered if fault._fits(name, for_update=for_update)]
        counted = next((fault for fault in fitting if not fault.is_lasting), None)
        met = [fault for fault in fitting if fault.is_lasting or fault is counted]
        for fault in met:
            self._meet(fault)
        if met:
            self.changes.announce()
        return met

    def _meet(self, fault: Fault) -> None:
        fault.met += 1
        if fault.times is not None:
            fault.times -= 1
            if not fault.times:
                self._ordered.remove(fault)
