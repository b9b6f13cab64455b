"""docs/threats.md lists every threat once, with tests that exist or a reason, and misses no test of a threat."""

import re

from faults.test_list import TESTS, known_tests

PAGE = (TESTS.parent / "docs" / "threats.md").read_text("utf-8")
ROWS = dict(re.findall(r"^\| T(\d\d) \|.*\| (.*) \|$", PAGE, flags=re.MULTILINE))


def test_every_threat_has_a_row_and_every_row_a_test_or_a_reason() -> None:
    listed = re.findall(r"^\| T(\d\d) \|", PAGE, flags=re.MULTILINE)
    assert sorted(listed) == [f"{number:02}" for number in range(1, 35)]
    assert [number for number, shown in ROWS.items() if not shown.strip()] == []


def test_every_test_of_a_threat_that_is_named_exists() -> None:
    assert set(re.findall(r"`(test_\w+)`", PAGE)) - known_tests() == set()


def test_every_test_of_a_threat_is_named_in_its_row() -> None:
    missing = {
        f"T{number}: {name}"
        for name in known_tests()
        for number in re.findall(r"t(\d\d)_", (re.match(r"test_((?:[a-z]\d\d?_)*)", name) or [""])[0])
        if f"`{name}`" not in ROWS.get(number, "")
    }
    assert missing == set()
