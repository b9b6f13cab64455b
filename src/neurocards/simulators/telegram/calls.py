"""Every Bot API call that arrived, in order, so that a test can ask from Telegram's side what was done."""

import json
from collections import deque
from dataclasses import dataclass
from itertools import islice

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
        }


class CallLog:
    """The latest calls; older ones fall off."""

    def __init__(self, kept: int) -> None:
        self._calls: deque[Call] = deque(maxlen=kept)
        self._last_id = 0

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
    ) -> None:
        self._last_id += 1
        self._calls.append(
            Call(
                id=self._last_id,
                time=time,
                token=f"{token.partition(':')[0]}:***",
                method=method,
                parameters=parameters,
                status=status,
                answer=answer,
                fault=fault,
            )
        )

    def after(self, since: int, *, method: str | None, limit: int) -> tuple[list[Call], int]:
        """Up to `limit` calls with a greater id, and the id up to which the log has been read."""
        newer = min(len(self._calls), self._last_id - since)
        unread = islice(self._calls, len(self._calls) - newer, None) if newer > 0 else iter(())
        fitting = (call for call in unread if method is None or call.method.lower() == method.lower())
        calls = list(islice(fitting, limit))
        return calls, calls[-1].id if len(calls) == limit else self._last_id
