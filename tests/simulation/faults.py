"""How unlucky one world is: each kind of trouble has its own rate, and every seed its own mixture, often none of it."""

from dataclasses import dataclass
from random import Random

NEVER = 0.0
PER_STEP = (0.0, 0.0, 0.01, 0.06)
PER_CALL = (0.0, 0.0, 0.05, 0.3)
PER_TASK = (0.0, 0.0, 0.3, 1.0)
SELDOM = (0.0, 0.0, 0.05)


@dataclass(frozen=True)
class Faults:
    """Rates from 0 to 1: of a process's steps, transactions, requests or tasks. What is left out never happens."""

    crash: float = NEVER
    """A process loses everything it had in mind, and starts again."""
    pause: float = NEVER
    """A process stands still for longer than a lease, and wakes with what it had in mind."""
    database_away: float = NEVER
    """A transaction finds no database."""
    lost_commit: float = NEVER
    """A transaction is committed, and nobody is told."""
    lost_request: float = NEVER
    """A submit never reaches the provider."""
    late_request: float = NEVER
    """A submit reaches the provider after everybody has stopped waiting for its answer."""
    lost_answer: float = NEVER
    """A submit reaches the provider, and its answer reaches nobody."""
    refusal: float = NEVER
    """A submit is refused."""
    shared_task: float = NEVER
    """The provider answers with a task that it made for another submit."""
    task_failure: float = NEVER
    """A task ends without a result."""
    spoilt_result: float = NEVER
    """A result is not a usable video."""
    endless_task: float = NEVER
    """A task never ends."""
    vanished_task: float = NEVER
    """The provider does not know its own task."""
    call_failure: float = NEVER
    """Any other question to the outside fails."""
    silence: float = NEVER
    """No callback is sent for a task."""
    late_callback: float = NEVER
    """The callback comes when nobody expects it any more."""
    false_callback: float = NEVER
    """Before it, a callback names a task that was made for another submit."""
    cancellation: float = NEVER
    """A seller takes the order back, at whatever moment."""

    @classmethod
    def draw(cls, random: Random) -> "Faults":
        """A mixture: calm worlds show that all is well without trouble, others combine what seldom meets."""
        if random.random() < 0.05:
            return cls()
        choose = random.choice
        return cls(
            crash=choose(PER_STEP),
            pause=choose(PER_STEP),
            database_away=choose(PER_STEP),
            lost_commit=choose(PER_STEP),
            lost_request=choose(PER_CALL),
            late_request=choose(PER_CALL),
            lost_answer=choose(PER_CALL),
            refusal=choose(PER_CALL),
            shared_task=choose(PER_CALL),
            task_failure=choose(PER_CALL),
            spoilt_result=choose(PER_CALL),
            endless_task=choose(SELDOM),
            vanished_task=choose(SELDOM),
            call_failure=choose(SELDOM),
            silence=choose(PER_TASK),
            late_callback=choose(PER_TASK),
            false_callback=choose(PER_CALL),
            cancellation=choose(PER_TASK),
        )
