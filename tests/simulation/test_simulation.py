"""Tens of thousands of short worlds full of trouble, in none of which a law is violated; and proof that laws notice.

About 15 seconds on one core for all of them.
"""

from collections.abc import Callable, Iterable

import pytest

from neurocards.domain import decisions
from neurocards.domain.decisions import Abandon, Doubt, GiveUp
from neurocards.domain.generations import Attempt, AttemptState, GenerationState
from simulation.__main__ import main
from simulation.run import Story, simulate
from simulation.world import GenerationRow, World

SEEDS = 20_000
SEEDS_AT_ONCE = 2_500
SEEDS_FOR_A_MUTANT = 3_000


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_AT_ONCE))
def test_whatever_happens_every_law_holds(first: int) -> None:
    stories = [simulate(seed) for seed in range(first, first + SEEDS_AT_ONCE)]
    violations = [f"{replay(story)}   # {story.violation}" for story in stories if story.violation]
    assert not violations, "\n".join([f"{len(violations)} worlds, replay with", *violations[:10]])
    # The worlds are not calm: everything that can become of a generation and of an attempt has become of some.
    assert {state for story in stories for state in story.generations} == {
        GenerationState.COMPLETED,
        GenerationState.FAILED,
        GenerationState.CANCELLED,
    }
    ends = {AttemptState.REFUSED, AttemptState.ABANDONED, AttemptState.SUCCEEDED, AttemptState.FAILED}
    assert {state for story in stories for state in story.attempts} == {*ends, AttemptState.ORPHANED}


def test_a_seed_is_one_world() -> None:
    first: list[str] = []
    second: list[str] = []
    assert [simulate(seed, say=first.append) for seed in range(50)] == [
        simulate(seed, say=second.append) for seed in range(50)
    ]
    assert first == second


def test_a_replay_tells_everything_and_names_the_law(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refunding_without_the_hold(monkeypatch)
    monkeypatch.setattr("sys.argv", ["simulation", "--seed", "0"])
    assert main() == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("seed 0: Faults(")
    assert any("seller-0 -> generation 0 queued, hold, job available" in line for line in told)
    assert told[-2].startswith("seed 0: I10 state, job, credits and final notice tell one story")


def replay(story: Story) -> str:
    return f"PYTHONPATH=src:tests python -m simulation --seed {story.seed}"


# Mutants: one rule is broken, and a law says which. ---------------------------------------------------------------

Break = Callable[[pytest.MonkeyPatch], None]


def without_fence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(World, "holds", lambda *_: True)


def with_blind_resend(patch: pytest.MonkeyPatch) -> None:
    resolve = decisions.resolve_doubt

    def at_once(attempts: Iterable[Attempt], doubted: Attempt, *, waited_seconds: float, doubt_seconds: float) -> Doubt:
        return resolve(attempts, doubted, waited_seconds=waited_seconds + doubt_seconds, doubt_seconds=doubt_seconds)

    patch.setattr(decisions, "resolve_doubt", at_once)


def with_endless_resubmission(patch: pytest.MonkeyPatch) -> None:
    resolve = decisions.resolve_doubt

    def again(attempts: Iterable[Attempt], doubted: Attempt, *, waited_seconds: float, doubt_seconds: float) -> Doubt:
        doubt = resolve(attempts, doubted, waited_seconds=waited_seconds, doubt_seconds=doubt_seconds)
        return Abandon() if isinstance(doubt, GiveUp) else doubt

    patch.setattr(decisions, "resolve_doubt", again)


def forgetting_orphans(patch: pytest.MonkeyPatch) -> None:
    resolve = decisions.resolve_doubt

    def forgetful(
        attempts: Iterable[Attempt], doubted: Attempt, *, waited_seconds: float, doubt_seconds: float
    ) -> Doubt:
        known = [attempt for attempt in attempts if attempt.state is not AttemptState.ORPHANED]
        return resolve(known, doubted, waited_seconds=waited_seconds, doubt_seconds=doubt_seconds)

    patch.setattr(decisions, "resolve_doubt", forgetful)


def without_adoption(patch: pytest.MonkeyPatch) -> None:
    accept = decisions.after_acceptance

    def too_late(state: AttemptState, *, generation_open: bool, has_video: bool, another_is_live: bool) -> AttemptState:
        if state is AttemptState.ABANDONED:
            return AttemptState.ORPHANED
        return accept(state, generation_open=generation_open, has_video=has_video, another_is_live=another_is_live)

    patch.setattr(decisions, "after_acceptance", too_late)


def refunding_without_the_hold(patch: pytest.MonkeyPatch) -> None:
    end_hold = World.end_hold

    def only_settled(world: World, row: GenerationRow, kind: str) -> None:
        if kind == "settle":
            end_hold(world, row, kind)

    patch.setattr(World, "end_hold", only_settled)


def cancelling_what_is_bought(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decisions, "free_to_cancel", lambda _: True)


def without_deadline(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(World, "overdue", lambda _: [])


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (without_fence, "I10"),
        (with_blind_resend, "S2"),
        (with_endless_resubmission, "S1"),
        (forgetting_orphans, "S1"),
        (without_adoption, "S3"),
        (refunding_without_the_hold, "I10"),
        (cancelling_what_is_bought, "E4"),
        (without_deadline, "E1"),
    ],
)
def test_a_broken_rule_violates_a_law(broken: Break, law: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch)
    violations = (simulate(seed).violation for seed in range(SEEDS_FOR_A_MUTANT))
    assert any(violation.startswith(f"{law} ") for violation in violations if violation)
