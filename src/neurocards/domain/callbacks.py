"""What a callback turns out to be, once whoever knows the provider has looked at its proof."""

import re
from dataclasses import dataclass

MAX_TASK_ID_LETTERS = 200


@dataclass(frozen=True)
class Told:
    """The provider sent it. It names this task, as far as it names one."""

    task_id: str | None


@dataclass(frozen=True)
class Forged:
    """Nothing proves that the provider sent just this, and just now."""


@dataclass(frozen=True)
class Undecided:
    """Whether the provider sent it cannot be found out at the moment; it has to come again."""

    detail: str


Callback = Told | Forged | Undecided


def sane_task_id(told: object) -> str | None:
    """What is said to be a task's id, if it looks as a provider's would."""
    sane = isinstance(told, str) and re.fullmatch(rf"[!-~]{{1,{MAX_TASK_ID_LETTERS}}}", told)
    return str(told) if sane else None
