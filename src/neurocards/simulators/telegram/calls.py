"""Every Bot API call that arrived, in order, so that a test can ask from Telegram's side what was done."""

import json
from collections import deque
from dataclasses import dataclass
from itertools import islice

from neurocards.simulators.telegram.changes import Changes
from neurocards.simulators.telegram.errors import Json


@dataclass(frozen=True)
class Call:
    """One call; `status` is 0 when its connection was closed without an answer."""

    id: int
    time: float
    token: str
    method: str
    parameters: Json
    status: int
    answer: bytes
    fault: str | None
    seconds: float

    def as_json(self) -> Json:
        return {
            "id": self.id,
            "time": self.time,
            "token": self.token,
            "method": self.method,
            "parameters": self.parameters,
            "status": self.status,
            "answer": json.loads(self.answer) if self.answer else None,
            "fault": self.fault,
            "seconds": self.seconds,
        }

    def in_brief(self) -> Json:
        """One line of a list, without parameters and answer."""
        return {
            "id": self.id,
            "time": self.time,
            "method": self.method,
            "status": self.status,
            "fault": self.fault,
            "seconds": self.seconds,
            "chat_id": self.parameters.get("chat_id"),
        }


class CallLog:
    """The latest calls; older ones fall off."""

    def __init__(self, kept: int, changes: Changes) -> None:
        self._calls: deque[Call] = deque(maxlen=kept)
        self._changes = changes
        self.last_id = 0

    def record(
        self,
        *,
        time: float,
        token: str,
        method: str,
        parameters: Json,
        status: int,
        answer: bytes,
        fault: str | None,
        seconds: float,
    ) -> None:
        self.last_id += 1
        self._calls.append(
            Call(
                id=self.last_id,
                time=time,
                token=f"{token.partition(':')[0]}:***",
                method=method,
                parameters=parameters,
                status=status,
                answer=answer,
                fault=fault,
                seconds=seconds,
            )
        )
        self._changes.announce()

    def find(self, id: int) -> Call | None:
        """The call with this id, unless it has fallen off."""
        age = self.last_id - id
        return self._calls[-1 - age] if 0 <= age < len(self._calls) else None

    def after(self, since: int, *, method: str | None, limit: int) -> tuple[list[Call], int]:
        """Up to `limit` calls with a greater id, and the id up to which the log has been read."""
        newer = min(len(self._calls), self.last_id - since)
        unread = islice(self._calls, len(self._calls) - newer, None) if newer > 0 else iter(())
        fitting = (call for call in unread if method is None or call.method.lower() == method.lower())
        calls = list(islice(fitting, limit))
        return calls, calls[-1].id if len(calls) == limit else self.last_id
