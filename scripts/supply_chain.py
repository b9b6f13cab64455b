"""Judges what we are made of, for .ci/supply-chain: is it all pinned by hash, and are its known holes excepted?

Standard library only, so that it runs before anything is installed.
"""

import json
import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

PINNED = re.compile(r"[A-Za-z0-9][\w.\-]*(?:\[[\w,\-]+\])?==[^\s;*]+(?:\s*;[^\\]*)?\s*")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


class Refusal(Exception):
    """Something is not as it must be; one line each."""


@dataclass(frozen=True)
class Exemption:
    """A hole that we live with until a day, that day included."""

    id: str
    package: str
    reason: str
    until: date


@dataclass(frozen=True)
class Hole:
    """A known hole of a package that we use, and all the names that it goes by."""

    package: str
    version: str
    ids: frozenset[str]
    fixed_in: tuple[str, ...]

    def __str__(self) -> str:
        mended = f"mended in {', '.join(self.fixed_in)}" if self.fixed_in else "not mended yet"
        return f"{self.package} {self.version} has a known hole, {' = '.join(sorted(self.ids))}: {mended}"


def unlocked(lock: str) -> Iterator[str]:
    """What a lock holds that is not one exact version with the hashes of its files."""
    for entry in re.sub(r"\\\r?\n", " ", lock).splitlines():
        words = re.split(r"\s+(?=--hash)|\s+#.*", entry.strip())
        if not entry.strip() or entry.lstrip().startswith("#"):
            continue
        hashes = [word.strip() for word in words[1:] if word]
        if not PINNED.fullmatch(words[0]) or not hashes or not all(HASH.fullmatch(one) for one in hashes):
            yield entry.strip()[:100]


def exemptions(text: str, today: date) -> list[Exemption]:
    """The exceptions of the file; raises Refusal for one that says too little or has run out."""
    found, problems = [], []
    for number, entry in enumerate(tomllib.loads(text).get("exception", []), start=1):
        missing = [name for name in ("id", "package", "reason", "until") if not str(entry.get(name, "")).strip()]
        if missing:
            problems.append(f"exception {number} lacks {', '.join(missing)}")
        elif type(entry["until"]) is not date:
            problems.append(f"exception {number}: until is a day, such as 2026-12-31")
        elif entry["until"] < today:
            problems.append(f"the exception for {entry['id']} in {entry['package']} ran out on {entry['until']}")
        else:
            found.append(Exemption(entry["id"], entry["package"].lower(), entry["reason"], entry["until"]))
    if problems:
        raise Refusal("\n".join(problems))
    return found


def holes(report: Mapping[str, Any]) -> tuple[list[Hole], list[str]]:
    """The holes that pip-audit found, and the packages of which nothing is known."""
    found, unknown = [], []
    for package in report["dependencies"]:
        if "skip_reason" in package:
            unknown.append(package["name"])
        for hole in package.get("vulns", []):
            ids = frozenset([hole["id"], *hole.get("aliases", [])])
            found.append(Hole(package["name"].lower(), package["version"], ids, tuple(hole.get("fix_versions", []))))
    return found, unknown


def judged(report: str, excepted: Sequence[Exemption], *, required: bool) -> str:
    """What to say when all is well, or when nothing could be found out; raises Refusal otherwise."""
    try:
        found, unknown = holes(json.loads(report))
    except (ValueError, KeyError, TypeError):
        found, unknown = [], ["every package"]
    open_holes = [
        str(hole) for hole in found if not any(one.id in hole.ids and one.package == hole.package for one in excepted)
    ]
    if open_holes:
        raise Refusal("\n".join(open_holes))
    if unknown:
        shown = ", ".join(unknown[:5]) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
        nothing = f"NOT CHECKED: known holes could not be looked up for {shown}; the package index did not answer"
        if required:
            raise Refusal(nothing)
        return f"{nothing}. Run it where it does, with NEUROCARDS_AUDIT=required, before a release."
    return f"no known hole without an exception; {len(excepted)} excepted"


def _locked(locks: Sequence[str]) -> str:
    problems = [
        f"{lock}: not pinned by version and hash: {entry}"
        for lock in locks
        for entry in unlocked(Path(lock).read_text("utf-8"))
    ]
    if problems:
        raise Refusal("\n".join(problems))
    return f"every package of {', '.join(locks)} is pinned by version and hash"


def _said(arguments: Sequence[str]) -> str:
    today = datetime.now(UTC).date()
    match arguments:
        case ["locked", *locks] if locks:
            return _locked(locks)
        case ["exceptions", file]:
            return f"{len(exemptions(Path(file).read_text('utf-8'), today))} exceptions, none has run out"
        case ["report", report, file]:
            return judged(
                Path(report).read_text("utf-8"),
                exemptions(Path(file).read_text("utf-8"), today),
                required=os.environ.get("NEUROCARDS_AUDIT") == "required",
            )
        case _:
            raise Refusal("say what to judge: locked LOCK..., exceptions FILE or report REPORT FILE")


def main(arguments: Sequence[str]) -> int:
    """Judge, and say it in a line or a few; the exit status."""
    try:
        said = _said(arguments)
    except Refusal as refusal:
        sys.stderr.write("".join(f"supply chain: {line}\n" for line in str(refusal).splitlines()))
        return 1
    sys.stdout.write(f"supply chain: {said}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
