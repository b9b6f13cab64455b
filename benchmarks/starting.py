"""What it costs to start: `python benchmarks/starting.py --help`.

Each import is done by a fresh interpreter, by turns, so that whatever else the machine does meets all alike. Medians of
processor time.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).absolute().parent.parent

IMPORTS = {
    "a command": "import neurocards.cli",
    "the bot": "import neurocards.cli, neurocards.bot; neurocards.bot.build_usual_models()",
    "the bot, all of aiogram's models built": "import neurocards.cli, aiogram, neurocards.bot",
}
MOST_RATIO = 0.6
"""Of the bot, to the bot with all models."""

console = Console()


def seconds(code: str) -> float:
    """The processor time of a fresh interpreter that runs this."""
    before = os.times()
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "src")}, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def measure(rounds: int) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for number in range(rounds + 1):
        for name, code in IMPORTS.items():
            spent = seconds(code)
            if number:  # the first round compiles
                taken[name].append(spent)
    return {name: median(times) for name, times in taken.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args()
    found = measure(options.rounds)
    _, deferred, built = found.values()
    if options.json:
        console.print_json(json.dumps({"seconds": found, "ratio": deferred / built}))
    else:
        table = Table("imported", "processor time, s, median")
        for name, one in found.items():
            table.add_row(name, f"{one:.2f}")
        console.print(table)
        console.print(f"the bot starts in {deferred / built:.2f} of the time that all models would take")
    return 0 if deferred / built <= MOST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
