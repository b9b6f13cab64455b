"""Which callbacks a task sends, and what they say: one in its own words, unless its fate has others for it."""

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass

from pydantic import JsonValue

from neurocards.simulators.kie.fates import unfinished
from neurocards.simulators.kie.faults import KieFault
from neurocards.simulators.kie.records import Task, TaskState

CALLBACK_TRIES = 3
A_STRANGERS_KEY = "a-strangers-key"


@dataclass(frozen=True)
class Letter:
    """One callback: where it goes, what it says, whose key signs it if any, and how often it is tried."""

    url: str
    task_id: str
    body: bytes
    key: str | None
    tries: int = CALLBACK_TRIES

    def headers(self) -> dict[str, str]:
        """KIE signs the task's id and the time, not the body."""
        headers = {"Content-Type": "application/json"}
        if self.key is not None:
            timestamp = str(int(time.time()))
            digest = hmac.digest(self.key.encode(), f"{self.task_id}.{timestamp}".encode(), hashlib.sha256)
            headers["X-Webhook-Timestamp"] = timestamp
            headers["X-Webhook-Signature"] = base64.b64encode(digest).decode()
        return headers


def letters_at_the_start(task: Task, key: str | None) -> list[Letter]:
    """What is sent before anything was made: honest tasks wait until they have ended."""
    if task.fate and task.fate.kind == "callback_lies":
        return _letters(task, key, [_lie(task, task.fate)])
    return []


def letters_at_the_end(task: Task, key: str | None) -> list[Letter]:
    """What is sent when the task has ended, in this order."""
    true = _body(task.record())
    match task.fate.kind if task.fate else "":
        case "callback_never" | "lost":
            return []
        case "callback_thrice":
            return _letters(task, key, [true] * 3)
        case "callback_disordered":
            return _letters(task, key, [true, _body(unfinished(task)), true])
        case "callback_lies" if task.fate:
            return _letters(task, key, [_lie(task, task.fate)])
        case "callback_forged" if task.fate:
            return [_forged(letter, task.fate) for letter in _letters(task, key, [_lie(task, task.fate)])]
        case _:
            return _letters(task, key, [true])


def _letters(task: Task, key: str | None, bodies: list[bytes]) -> list[Letter]:
    return [Letter(task.callback_url, task.id, body, key) for body in bodies] if task.callback_url else []


def _forged(letter: Letter, fate: KieFault) -> Letter:
    """Somebody else's letter about the task: he knows its id, and not what proves the sender."""
    if fate.forgery == "signature":
        return Letter(letter.url, letter.task_id, letter.body, A_STRANGERS_KEY, tries=1)
    path, slash, proof = letter.url.rpartition("/")
    return Letter(f"{path}{slash}{'0' * len(proof)}", letter.task_id, letter.body, letter.key, tries=1)


def _lie(task: Task, fate: KieFault) -> bytes:
    """Success, and a result that is not this task's."""
    claim: dict[str, JsonValue] = {
        "state": TaskState.SUCCESS.value,
        "resultJson": json.dumps({"resultUrls": [fate.url]}),
        "failCode": None,
        "failMsg": None,
    }
    return _body(task.record() | claim)


def _body(record: dict[str, JsonValue]) -> bytes:
    data = {name: value for name, value in record.items() if name != "progress"}
    code, msg = {
        TaskState.SUCCESS.value: (200, "Playground task completed successfully."),
        TaskState.FAIL.value: (501, "Playground task failed."),
    }.get(str(record["state"]), (200, "success"))
    return json.dumps({"code": code, "msg": msg, "data": data}, ensure_ascii=False).encode()
