"""Threats that the source itself answers: what it never does, and patterns that no text can make slow."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from time import process_time
from types import ModuleType

import pytest
from typer.testing import CliRunner

import neurocards
from neurocards.cli import commands

SOURCE = Path(neurocards.__file__).parent
OURS = [
    path for path in SOURCE.rglob("*.py") if path.relative_to(SOURCE).parts[0] not in ("simulators", "demo", "storm")
]

NEVER_IMPORTED = {"pickle", "marshal", "shelve", "dill", "yaml", "xml", "lxml", "telnetlib", "ftplib"}
"""What turns a stranger's bytes into objects or into a program, or fetches addresses by ways that nobody checked."""
NEVER_CALLED = {"eval", "exec", "compile", "__import__"}
PROGRAMS_ARE_STARTED_IN = {"processes.py", "media/children.py", "db/dumps.py", "db/embedded.py"}


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in OURS:
        yield str(path.relative_to(SOURCE)), ast.parse(path.read_text("utf-8"))


def test_t22_strangers_bytes_become_json_and_nothing_else() -> None:
    for name, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                found = [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
                assert not {one.split(".")[0] for one in found} & NEVER_IMPORTED, name
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in NEVER_CALLED, name


def test_t08_no_shell_ever_sees_a_value() -> None:
    """Programs are started in a few places, by lists of arguments. (Values in SQL are bound: ruff's S608 looks.)"""
    starting = set()
    for name, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                owner = getattr(node.value, "id", "")
                assert (owner, node.attr) not in {("os", "system"), ("os", "popen")}, name
                if owner == "subprocess" and node.attr in ("run", "Popen", "call", "check_output", "check_call"):
                    starting.add(name)
                if node.attr == "create_subprocess_exec":
                    starting.add(name)
                assert not node.attr.startswith(("create_subprocess_shell", "spawn")), name
            elif isinstance(node, ast.keyword) and node.arg == "shell":
                raise AssertionError(f"{name} starts a shell")
    assert starting <= PROGRAMS_ARE_STARTED_IN


def patterns() -> Iterator[tuple[str, re.Pattern[str] | re.Pattern[bytes]]]:
    """Every pattern that a module of ours keeps, alone or in a collection."""
    for path in OURS:
        if path.name in ("__main__.py", "child.py"):
            continue
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
        for name, value in vars(module).items():
            for one in _patterns(value):
                yield f"{module.__name__}.{name}", one


def _patterns(value: object) -> Iterator[re.Pattern[str] | re.Pattern[bytes]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _patterns(one)
    elif isinstance(value, list | tuple | set | frozenset) and not isinstance(value, ModuleType):
        for one in value:
            yield from _patterns(one)


PIECES = (
    "a",
    " ",
    "0",
    "-",
    ".",
    "<",
    "<!--",
    "{",
    "\n",
    "a ",
    "a-",
    "1,",
    "/",
    ":",
    "@",
    "я",
    "\u0301",
    "<svg",
    "%0",
    "=",
)


def test_t22_no_pattern_of_ours_can_be_made_slow() -> None:
    """A text of 20,000 letters is five times as long as any that Telegram lets through."""
    found = dict(patterns())
    assert len(found) > 10
    for name, pattern in found.items():
        for piece in PIECES:
            text = piece * (20_000 // len(piece)) + "\u2603"
            before = process_time()
            if isinstance(pattern.pattern, bytes):
                pattern.search(text.encode())
            else:
                pattern.search(text)
            assert process_time() - before < 0.5, f"{name} over {piece!r}"


@pytest.mark.parametrize("slow", [r"(a+)+$", r"(?:a|aa)+b$"])
def test_t22_a_pattern_that_can_be_made_slow_would_be_seen(slow: str) -> None:
    before = process_time()
    re.compile(slow).search("a" * 18 + "\u2603")
    assert process_time() - before > 0.0005


@pytest.mark.parametrize("amount", ["0", "-1", "1000001", "9223372036854775808", "9" * 400, "1e309", "10 000", "NaN"])
def test_t22_a_gift_out_of_bounds_is_refused_before_anything_is_asked(amount: str) -> None:
    ran = CliRunner().invoke(commands, ["grant", "--reason", "a gift", "--", "4711", amount])
    assert ran.exit_code == 2
    assert "Traceback" not in ran.output
