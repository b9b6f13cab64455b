"""One world from its seed: the same seed is the same world, event for event.

The loop is a heap of (time, tie-break from the seed); it decides who crashes and who is paused, and asks the laws
after every event.
"""

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random

from neurocards.domain.generations import AttemptState, GenerationState
from simulation.actors import DEADLINE_SECONDS, LEASE_SECONDS, Actor, Stage, Worker, maintenance, seller
from simulation.faults import Faults
from simulation.laws import Laws, Violation
from simulation.world import World

MAX_EVENTS = 5_000
"""Several times the longest life of a world; one that goes on never ends."""


@dataclass(slots=True, eq=False)
class Process:
    """An actor, and how it starts again after a crash; without that it is spared."""

    name: str
    actor: Actor
    restart: Callable[[], Actor] | None = None


@dataclass(frozen=True)
class Story:
    """What became of a world."""

    seed: int
    events: int
    seconds: float
    generations: tuple[GenerationState, ...]
    attempts: tuple[AttemptState, ...]
    violation: str | None


def simulate(seed: int, *, say: Callable[[str], None] | None = None) -> Story:
    """Live through one world; `say` hears every event."""
    return Simulation(seed, say).run()


class Simulation:
    """One world and its loop."""

    def __init__(self, seed: int, say: Callable[[str], None] | None) -> None:
        self._seed = seed
        self._say = say
        self._random = Random(seed)
        self._faults = Faults.draw(self._random)
        self._world = World(lease_seconds=LEASE_SECONDS, deadline_seconds=DEADLINE_SECONDS)
        self._heap: list[tuple[float, float, int, Process]] = []
        self._events = 0
        self._pushed = 0
        self._tasks_told = 0
        self._stage = Stage(self._world, self._random, self._faults, self._spawn)
        self._laws = Laws(self._world, self._stage.provider)
        self._people()

    def run(self) -> Story:
        """Until nobody has anything left to do, or a law is violated."""
        if self._say:
            self._say(f"seed {self._seed}: {self._faults}")
        violation: str | None = None
        try:
            self._live()
        except Violation as found:
            violation = str(found)
        rows = self._world.generations
        return Story(
            seed=self._seed,
            events=self._events,
            seconds=self._world.now,
            generations=tuple(row.state for row in rows),
            attempts=tuple(attempt.state for row in rows for attempt in row.attempts),
            violation=violation,
        )

    def _live(self) -> None:
        while self._heap:
            self._events += 1
            if self._events > MAX_EVENTS:
                raise Violation("E1 every order ends: this world does not")
            self._next()
            self._laws.check()
        self._laws.check_end()

    def _next(self) -> None:
        self._world.now, _, _, process = heappop(self._heap)
        if process.restart is not None and self._hurt(process):
            return
        try:
            delay = next(process.actor)
        except StopIteration:
            pass
        else:
            self._push(process, delay)
        if self._say:
            self._tell_changes(process)

    def _hurt(self, process: Process) -> bool:
        luck = self._random.random()
        if luck < self._faults.crash and process.restart is not None:
            self._tell(process, "crashes")
            process.actor.close()
            process.actor = process.restart()
            self._push(process, 5.0 * self._random.random())
            return True
        if luck < self._faults.crash + self._faults.pause:
            self._tell(process, "is paused")
            self._push(process, LEASE_SECONDS * 4.0 * self._random.random())
            return True
        return False

    def _people(self) -> None:
        choose = self._random.choice
        for number in range(choose((1, 2, 2, 3))):
            worker = Worker(self._stage, f"worker-{number}")
            self._start(Process(f"worker-{number}", worker.run(), worker.run))
        self._start(Process("maintenance", maintenance(self._stage), lambda: maintenance(self._stage)))
        for number in range(choose((1, 1, 2))):
            customer = self._world.add_customer(choose((1, 2, 3)))
            self._stage.orders_to_come += 1
            buying = seller(self._stage, number, customer, count=choose((1, 1, 1, 2)), price_credits=choose((1, 1, 2)))
            self._spawn(f"seller-{number}", buying, 5.0 * self._random.random())

    def _spawn(self, name: str, actor: Actor, after_seconds: float) -> None:
        self._push(Process(name, actor), after_seconds)

    def _start(self, process: Process) -> None:
        self._push(process, 2.0 * self._random.random())

    def _push(self, process: Process, delay: float) -> None:
        self._pushed += 1
        heappush(self._heap, (self._world.now + delay, self._random.random(), self._pushed, process))

    def _tell_changes(self, process: Process) -> None:
        for task in list(self._stage.provider.tasks.values())[self._tasks_told :]:
            attempt = self._world.attempt(task.attempt_id)
            generation = self._world.by_attempt[task.attempt_id].id.int
            self._tell(process, f"-> {task.id} for attempt {attempt.number} of generation {generation}: {task.outcome}")
        self._tasks_told = len(self._stage.provider.tasks)
        for row in self._world.touched:
            self._tell(process, f"-> {row}")

    def _tell(self, process: Process, what: str) -> None:
        if self._say:
            self._say(f"{self._world.now:9.3f}  {process.name} {what}")
