"""The model of an order's life holds in every order of events, and breaks when any one of its rules is taken away."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

MODEL = Path(__file__).parents[1] / "docs" / "model" / "lifecycle.pml"
SECONDS = 120.0
"""How long one program may take on a busy machine: ten times what it needs."""

SAFETY = ("-DSAFETY", "-DNOCLAIM")
LIVENESS = ("-DNFAIR=3",)
FAIRLY = ("-a", "-f")
"""Look for endless runs, except those in which somebody who can always act never does."""


@pytest.fixture(autouse=True, scope="module")
def spin() -> None:
    missing = [program for program in ("spin", "gcc") if shutil.which(program) is None]
    if missing and os.environ.get("NEUROCARDS_SPIN") == "required":
        pytest.fail(f"no {' and no '.join(missing)} here: sudo apt-get install spin gcc libc6-dev")
    elif missing:
        pytest.skip(f"no {' and no '.join(missing)} here")


def test_every_order_of_events_keeps_the_rules(tmp_path: Path) -> None:
    found = explore(tmp_path, compiling=(*SAFETY, "-O2", "-DCOLLAPSE"))
    assert_complete(found)
    # Every line of a worker is tried: nothing holds merely because it never happens.
    assert "unreached in proctype worker\n\t(0 of" in found


def test_every_order_ends(tmp_path: Path) -> None:
    assert_complete(explore(tmp_path, "RETRIES=0", compiling=(*LIVENESS, "-O2", "-DCOLLAPSE"), running=FAIRLY))


@pytest.mark.parametrize(
    ("mutant", "violated"),
    [
        ("NO_FENCE", "A_STALE_WORKER_DECIDES_NOTHING"),
        ("NO_FENCE BOOKS_ONLY", "assert(settled + refunded == 1)"),
        ("NO_ADOPTION", "assert(attempt[i] == ACCEPTED || !CAN_BE_USED(i))"),
        ("BLIND_RESEND", "assert(word[1] != IN_TIME && word[2] != IN_TIME && word[3] != IN_TIME)"),
        ("FORGOTTEN_ORPHAN", "assert(attempts < 1 + retries + RESUBMISSIONS)"),
        ("CANCEL_RACE", "assert(generation != CANCELLED)"),
        ("SHARED_TASK", "assert(video != 0 && request[video] == MADE)"),
    ],
)
def test_without_one_rule_something_goes_wrong(mutant: str, violated: str, tmp_path: Path) -> None:
    defined = mutant.split()
    found = explore(tmp_path, *defined, compiling=SAFETY)
    assert "pan:1: assertion violated" in found, found
    replay = run(tmp_path, "spin", *macros(defined), "-k", f"{MODEL.name}.trail", str(MODEL))
    line = re.search(r":(\d+), Error: assertion violated", replay)
    assert line, replay
    assert violated in MODEL.read_text("utf-8").splitlines()[int(line[1]) - 1]


def test_without_the_deadline_an_order_may_never_end(tmp_path: Path) -> None:
    assert "pan:1: acceptance cycle" in explore(tmp_path, "NO_DEADLINE", compiling=LIVENESS, running=FAIRLY)


def explore(folder: Path, *defined: str, compiling: tuple[str, ...], running: tuple[str, ...] = ()) -> str:
    """Try every state of the model with these macros defined; what the search has to say."""
    run(folder, "spin", *macros(defined), "-a", str(MODEL))
    run(folder, "gcc", *compiling, "-o", "pan", "pan.c")
    return run(folder, "./pan", *running, "-m100000", "-w22")


def macros(defined: Iterable[str]) -> list[str]:
    return [f"-D{name}" for name in defined]


def assert_complete(found: str) -> None:
    assert "errors: 0" in found, found
    assert "not completed" not in found, found
    assert "max search depth too small" not in found, found


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
