"""docs/faults.md lists every fault once, with tests that exist or a reason, and no test of a fault is missing there."""

import ast
import re
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent.parent
PAGE = (TESTS.parent / "docs" / "faults.md").read_text("utf-8")
ROWS = dict(re.findall(r"^\| F(\d\d) \|.*\| (.*) \|$", PAGE, flags=re.MULTILINE))


@cache
def known_tests() -> set[str]:
    """The names of all tests there are."""
    return {
        node.name
        for path in TESTS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def test_every_fault_has_a_row_and_every_row_a_test_or_a_reason() -> None:
    listed = re.findall(r"^\| F(\d\d) \|", PAGE, flags=re.MULTILINE)
    assert listed == [f"{number:02}" for number in range(1, 83)]
    assert [number for number, shown in ROWS.items() if not shown.strip()] == []


def test_every_test_that_is_named_exists() -> None:
    assert set(re.findall(r"`(test_\w+)`", PAGE)) - known_tests() == set()


def test_every_test_of_a_fault_is_named() -> None:
    of_faults = {name for name in known_tests() if re.match(r"test_(?:[a-z]\d\d_)*f\d\d_", name)}
    assert of_faults - set(re.findall(r"`(test_\w+)`", PAGE)) == set()
