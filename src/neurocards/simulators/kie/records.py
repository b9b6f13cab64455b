"""One task as the service knows it: its state, its credits, its result, and the record that is shown of it."""

import asyncio
import json
import time
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pydantic import JsonValue

from neurocards.simulators.exchange import masked
from neurocards.simulators.kie.faults import KieFault
from neurocards.simulators.kie.models import Wanted
from neurocards.simulators.kie.pictures import Rejection


class TaskState(StrEnum):
    WAITING = "waiting"
    QUEUING = "queuing"
    GENERATING = "generating"
    SUCCESS = "success"
    FAIL = "fail"


@dataclass
class Callback:
    """One try to tell the client; `outcome` is the HTTP status or the kind of network trouble."""

    at: float
    outcome: str


@dataclass
class Task:
    """One createTask that was accepted, and all that has become of it."""

    id: str
    model: str
    input: dict[str, JsonValue]
    wanted: Wanted
    key: str
    base_url: str
    callback_url: str | None
    created: float
    updated: float
    seconds: float
    credits: float
    fate: KieFault | None
    state: TaskState = TaskState.WAITING
    completed: float | None = None
    rejection: Rejection | None = None
    result: Path | None = None
    result_name: str = field(default_factory=lambda: f"{uuid.uuid4().hex}.mp4")
    callbacks: list[Callback] = field(default_factory=list)
    # How often recordInfo was asked about it, whether that has told of its end, whether all callbacks are out.
    asked: int = 0
    seen_ended: bool = False
    told: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_over(self) -> bool:
        return self.state in (TaskState.SUCCESS, TaskState.FAIL)

    @property
    def result_url(self) -> str | None:
        if self.fate and self.fate.kind == "foreign_result" and self.state is TaskState.SUCCESS:
            return self.fate.url
        return f"{self.base_url}/results/{self.result_name}" if self.state is TaskState.SUCCESS else None

    def progress(self) -> int:
        if self.state is TaskState.SUCCESS:
            return 100
        end = self.completed or time.time()
        return min(99, int(100 * (end - self.created) / self.seconds)) if self.seconds else 99

    def move(self, state: TaskState) -> None:
        self.state = state
        self.updated = time.time()

    def record(self) -> dict[str, JsonValue]:
        """The `data` of recordInfo and of a callback. What is not there yet is sometimes '' and sometimes null."""
        blank = None if self.is_over else ""
        request = {"model": self.model, "callBackUrl": self.callback_url, "input": self.input}
        return {
            "taskId": self.id,
            "model": self.model,
            "state": self.state.value,
            "param": json.dumps(request, ensure_ascii=False),
            "resultJson": json.dumps({"resultUrls": [self.result_url]}) if self.result_url else blank,
            "failCode": self.rejection.fail_code if self.rejection else blank,
            "failMsg": self.rejection.fail_msg if self.rejection else blank,
            "costTime": round((self.completed - self.created) * 1000) if self.completed else None,
            "completeTime": round(self.completed * 1000) if self.completed else None,
            "createTime": round(self.created * 1000),
            "updateTime": round(self.updated * 1000),
            "progress": self.progress(),
            "creditsConsumed": self.credits,
        }

    def seen_by_tests(self) -> dict[str, JsonValue]:
        """What `/sim/tasks` shows."""
        return {
            "id": self.id,
            "model": self.model,
            "input": self.input,
            "state": self.state.value,
            "progress": self.progress(),
            "created": self.created,
            "completed": self.completed,
            "key": masked(self.key),
            "credits": self.credits,
            "fate": self.fate.kind if self.fate else None,
            "fail_code": self.rejection.fail_code if self.rejection else None,
            "result_url": self.result_url,
            "asked": self.asked,
            "told": self.told.is_set(),
            "callback_url": self.callback_url,
            "callbacks": [{"at": callback.at, "outcome": callback.outcome} for callback in self.callbacks],
        }
