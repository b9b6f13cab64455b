"""Replays one world and prints everything that happens in it, or lives through many and names those that went wrong."""

import argparse
import sys

from simulation.run import simulate


def main() -> int:
    """0 when every law held, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the world to live through, or the first of many")
    parser.add_argument("--count", type=int, default=1, help="how many worlds; one is told in full")
    arguments = parser.parse_args()
    violated = 0
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        story = simulate(seed, say=tell if arguments.count == 1 else None)
        if story.violation:
            violated += 1
            tell(f"seed {seed}: {story.violation}")
    tell(f"{arguments.count} worlds, {violated} in which a law was violated")
    return min(violated, 1)


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
