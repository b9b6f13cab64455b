"""What a storm will do, all drawn from one seed: who is struck when, and what goes wrong at which service.

The same seed draws the same blows and troubles; how the processes' own steps fall between them differs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any

Json = dict[str, Any]  # Any: what a simulator takes or tells

DEFAULT_SECONDS = 60
DEFAULT_WORKERS = 2

LEASE_SECONDS = 3.0
DOUBT_SECONDS = 2.0
"""Short, so that what the dead held is taken up again within the storm; long enough for a process that only has to
wait for its share of a busy processor."""

SELLERS_AT_ONCE = 70
ORDERS_OF_ONE = 4
"""Then another person comes: a chat that grows for ever would cost more and more to read."""

SECONDS_PER_KILL = 0.7
SECONDS_PER_STOP = 4.2
SECONDS_PER_TERM = 20.0
SECONDS_PER_DATABASE_RESTART = 9.0
SECONDS_PER_TROUBLE = 0.25
SECONDS_PER_MISCHIEF = 0.5
SECONDS_PER_ABSENCE = 60.0
ABSENT_SECONDS = 4.0
"""How often KIE is away altogether, and for how long: long enough to be left alone until after it is back."""

JITTER = 0.4
"""How far a pause may differ from its mean, as a share of it."""

STOPPED_SECONDS = (LEASE_SECONDS + 0.3, LEASE_SECONDS + 1.5)


class Blow(StrEnum):
    """What is done to a process."""

    KILL = "kill"
    STOP = "stop"
    TERM = "term"
    DATABASE = "database"


class Service(StrEnum):
    """Where trouble is ordered. KIE makes the videos, and fal those for which KIE has failed too often."""

    TELEGRAM = "telegram"
    KIE = "kie"
    FAL = "fal"
    OPENAI = "openai"


@dataclass(frozen=True)
class Plan:
    """One storm. `hooks` says that updates and results come by HTTP to the bot, instead of by polling."""

    seed: int
    seconds: float
    workers: int
    hooks: bool = False
    sellers: int = SELLERS_AT_ONCE

    @property
    def replay(self) -> str:
        """How to have the same storm again."""
        return f"./neurocards storm --seed {self.seed} --seconds {self.seconds:g} --workers {self.workers}"

    def draw(self, purpose: str) -> Random:
        """A source of chance of its own for each purpose: none of them disturbs the others."""
        return Random(f"{self.seed}:{purpose}")  # noqa: S311 (a rehearsal, no secret)


@dataclass(frozen=True)
class Timed:
    """A blow and when it falls, in seconds after the storm's beginning."""

    at: float
    blow: Blow


def blows(plan: Plan) -> list[Timed]:
    """Every blow of the storm in the order of time."""
    means = {
        Blow.KILL: SECONDS_PER_KILL,
        Blow.STOP: SECONDS_PER_STOP,
        Blow.TERM: SECONDS_PER_TERM,
        Blow.DATABASE: SECONDS_PER_DATABASE_RESTART,
    }
    return sorted(
        (Timed(at, blow) for blow, mean in means.items() for at in _times(plan, blow, mean)), key=lambda one: one.at
    )


def pauses(draw: Random, mean_seconds: float) -> Iterator[float]:
    """Pauses around a mean, in seconds, without end."""
    while True:
        yield mean_seconds * draw.uniform(1 - JITTER, 1 + JITTER)


def _times(plan: Plan, blow: Blow, mean: float) -> Iterator[float]:
    # However short the storm, each kind falls at least once.
    at = min(mean, plan.seconds / 2)
    draw = plan.draw(blow)
    for pause in pauses(draw, mean):
        if at >= plan.seconds:
            return
        yield at
        at += pause


TROUBLES: dict[Service, tuple[tuple[int, Json], ...]] = {
    Service.TELEGRAM: (
        (3, {"kind": "429", "method": "sendMessage", "retry_after": 1, "times": 3}),
        (2, {"kind": "429", "method": "sendVideo", "retry_after": 1, "times": 3}),
        (2, {"kind": "429", "method": "editMessageCaption", "retry_after": 1, "times": 2}),
        (1, {"kind": "429", "method": "getUpdates", "retry_after": 1}),
        (2, {"kind": "5xx", "method": "sendMessage", "times": 2}),
        (1, {"kind": "5xx", "method": "sendVideo"}),
        (1, {"kind": "5xx", "method": "getFile"}),
        (1, {"kind": "5xx", "method": "getUpdates"}),
        (2, {"kind": "reset", "method": "sendVideo"}),
        (1, {"kind": "reset", "method": "sendPhoto"}),
        (1, {"kind": "reset", "method": "answerCallbackQuery"}),
        (3, {"kind": "drop_answer", "method": "sendVideo"}),
        (3, {"kind": "drop_answer", "method": "sendMessage"}),
        (2, {"kind": "drop_answer", "method": "editMessageCaption"}),
        (2, {"kind": "drop_answer", "method": "getUpdates"}),
        (1, {"kind": "drop_answer", "method": "answerCallbackQuery"}),
        (1, {"kind": "delay", "method": "sendMessage", "delay_seconds": 0.5}),
        (2, {"kind": "deliver_twice", "method": "message"}),
        (3, {"kind": "deliver_twice", "method": "callback_query"}),
        (2, {"kind": "deliver_late", "method": "message", "delay_seconds": 0.4}),
        (2, {"kind": "deliver_late", "method": "callback_query", "delay_seconds": 0.4}),
    ),
    Service.KIE: (
        (3, {"kind": "reset", "route": "createTask"}),
        (3, {"kind": "drop_answer", "route": "createTask"}),
        (2, {"kind": "429", "route": "createTask", "retry_after": 1}),
        (1, {"kind": "http_500", "route": "createTask"}),
        (2, {"kind": "task_fails", "fail_code": "500"}),
        (2, {"kind": "task_fails", "fail_code": "422", "fail_msg": "Your content was flagged as violating policies"}),
        (1, {"kind": "bad_result", "variant": "truncated"}),
        (1, {"kind": "bad_result", "variant": "not_a_video"}),
        (1, {"kind": "bad_result", "variant": "zero_bytes"}),
        (2, {"kind": "reset", "route": "result"}),
        (1, {"kind": "http_503", "route": "recordInfo"}),
        (1, {"kind": "429", "route": "recordInfo", "retry_after": 1}),
        (1, {"kind": "drop_answer", "route": "recordInfo"}),
        (1, {"kind": "drop_answer", "route": "upload"}),
        (1, {"kind": "http_500", "route": "upload"}),
    ),
    Service.FAL: (
        (3, {"kind": "reset", "route": "submit"}),
        (3, {"kind": "drop_answer", "route": "submit"}),
        (2, {"kind": "503_accepted", "route": "submit"}),
        (1, {"kind": "429", "route": "submit", "retry_after": 1}),
        (2, {"kind": "task_fails"}),
        (1, {"kind": "content_refused"}),
        (1, {"kind": "bad_result", "variant": "truncated"}),
        (1, {"kind": "reset", "route": "result"}),
        (1, {"kind": "http_503", "route": "status"}),
        (1, {"kind": "drop_answer", "route": "response"}),
        (1, {"kind": "drop_answer", "route": "put"}),
        (1, {"kind": "callback_forged"}),
        (1, {"kind": "callback_lies"}),
    ),
    Service.OPENAI: (
        (2, {"kind": "http_500"}),
        (1, {"kind": "429", "retry_after": 1}),
        (1, {"kind": "refusal"}),
        (1, {"kind": "bad_json"}),
        (1, {"kind": "drop_answer"}),
        (1, {"kind": "reset"}),
    ),
}
"""What can be ordered where, and how often in relation to the others of the same service."""

SHARES = {Service.TELEGRAM: 5, Service.KIE: 3, Service.FAL: 1, Service.OPENAI: 1}
"""How the services share the trouble."""

PROVIDERS = (Service.KIE, Service.FAL)
"""Who makes videos."""

UNMET = 3
"""With so many that nobody has met yet, all of a service are called off before the next is ordered: while a provider is
left alone they would pile up, and nobody who tries it again would ever succeed."""


def trouble(draw: Random) -> tuple[Service, Json]:
    """The next thing that goes wrong."""
    (service,) = draw.choices(list(SHARES), list(SHARES.values()))
    (fault,) = draw.choices([one for _, one in TROUBLES[service]], [weight for weight, _ in TROUBLES[service]])
    return service, fault
