"""What the fate of a task makes the service tell of it; of what it does the task itself takes care."""

from dataclasses import replace

from pydantic import JsonValue

from neurocards.simulators.kie.faults import KieFault
from neurocards.simulators.kie.records import Task, TaskState


def taken_for(fate: KieFault, tasks: dict[str, Task]) -> Task | None:
    """The latest task, when a submit is to be answered with its id once more; then no other task is made."""
    latest = next(reversed(tasks.values()), None)
    return latest if fate.kind == "same_task" else None


def record(task: Task) -> dict[str, JsonValue] | None:
    """What recordInfo shows of a task; None when it does not know it."""
    fate, first_answers = task.fate, task.asked
    task.asked += 1
    match fate.kind if fate else "":
        case "lost":
            return None
        case "late_known" if fate and first_answers < fate.answers:
            return None
        case "unknown_state" if fate and first_answers < fate.answers:
            return unfinished(task) | {"state": fate.state}
        case "goes_back" if task.seen_ended:
            return unfinished(task)
        case _:
            task.seen_ended = task.is_over
            return task.record()


def unfinished(task: Task) -> dict[str, JsonValue]:
    """The record as if the task were still being made."""
    return replace(task, state=TaskState.GENERATING, completed=None, rejection=None).record()
