"""Troubles ordered from outside: the next calls of a method, or the next updates of a kind, go wrong."""

from enum import StrEnum

from pydantic import BaseModel, Field


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
    """`method` is a Bot API method, or for the two deliver kinds an update kind; "*" is any."""

    method: str = "*"
    times: int = Field(default=1, ge=1)
    kind: FaultKind
    retry_after: int = Field(default=1, ge=1)
    delay_seconds: float = Field(default=1.0, ge=0)

    def _fits(self, name: str, *, for_update: bool) -> bool:
        if (self.kind in UPDATE_FAULTS) is not for_update:
            return False
        return self.method == "*" or self.method.lower() == name.lower()


class Faults:
    """The troubles still to come, oldest first."""

    def __init__(self) -> None:
        self._ordered: list[Fault] = []

    @property
    def left(self) -> list[Fault]:
        return list(self._ordered)

    def order(self, fault: Fault) -> None:
        self._ordered.append(fault.model_copy())

    def clear(self) -> None:
        self._ordered.clear()

    def take_for_call(self, method: str) -> Fault | None:
        """The trouble this call is to meet, used up by asking."""
        return self._take(method, for_update=False)

    def take_for_update(self, kind: str) -> Fault | None:
        """The trouble this update's delivery is to meet, used up by asking."""
        return self._take(kind, for_update=True)

    def _take(self, name: str, *, for_update: bool) -> Fault | None:
        for fault in self._ordered:
            if fault._fits(name, for_update=for_update):
                fault.times -= 1
                if not fault.times:
                    self._ordered.remove(fault)
                return fault
        return None
