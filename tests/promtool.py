"""Prometheus' own tool: it decides whether rules are right, and whether an alert fires at what was scraped."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

MONITORING = Path(__file__).parent.parent / "deploy" / "monitoring"
RULES = MONITORING / "alerts.yml"

BEFORE_MINUTES = 20
AFTER_MINUTES = 13
"""Longer than any rule waits."""


def find() -> str:
    """The program; without it the test is skipped, unless it is required."""
    found = shutil.which("promtool")
    if found is not None:
        return found
    if os.environ.get("NEUROCARDS_PROMTOOL") == "required":
        pytest.fail("no promtool here: it is in Debian's package prometheus")
    pytest.skip("no promtool here")


def run(*arguments: str | Path) -> str:
    """What it says; fails with that when it is not content."""
    done = subprocess.run([find(), *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def alerts() -> dict[str, dict[str, str]]:
    """The rules by name: expression, severity, summary and runbook as the file has them."""
    text = RULES.read_text("utf-8")
    found = {}
    for rule in re.split(r"^      - alert: ", text, flags=re.MULTILINE)[1:]:
        name, _, body = rule.partition("\n")
        expression = re.search(r"expr: (?:>-\n)?(.*?)\n        (?:for|labels):", body, re.DOTALL)
        severity = re.search(r"severity: (\w+)", body)
        assert expression, name
        assert severity, name
        annotations = dict(re.findall(r"^          (\w+): \"?(.*?)\"?$", body, re.MULTILINE))
        found[name] = {"expr": expression[1], "severity": severity[1], **annotations}
    return found


def fires(alert: str, folder: Path, *, before: str, after: str) -> bool:
    """Whether the real rule is silent while what was scraped before holds, and fires while what came after does.

    Timestamps are given as ages: Prometheus' tests begin in the year 1970.
    """
    series = [
        f"      - {{series: '{name}', values: '{values}'}}"
        for name, values in _series(_samples(before), _samples(after)).items()
    ]
    fired = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'
    test = folder / "fired.yml"
    test.write_text(
        "\n".join(
            [
                f"rule_files: ['{RULES}']",
                "evaluation_interval: 1m",
                "tests:",
                "  - interval: 1m",
                "    input_series:",
                *series,
                "    promql_expr_test:",
                f"      - {{expr: '{fired}', eval_time: {BEFORE_MINUTES - 1}m, exp_samples: []}}",
                f"      - {{expr: '{fired} > bool 0', eval_time: {BEFORE_MINUTES + AFTER_MINUTES - 1}m,",
                "         exp_samples: [{labels: '{}', value: 1}]}",
            ]
        ),
        "utf-8",
    )
    done = subprocess.run([find(), "test", "rules", test], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        print(done.stdout, done.stderr)  # noqa: T201 (pytest shows it when the test fails)
    return done.returncode == 0


def _samples(scraped: str) -> dict[str, float]:
    """Each series of ours as promtool writes it, and its value."""
    return {
        _named(sample.name, sample.labels): sample.value
        for family in text_string_to_metric_families(scraped)
        for sample in family.samples
        if sample.name.startswith("neurocards_") or sample.name == "up"
    }


def _named(name: str, labels: Mapping[str, str]) -> str:
    return name + "{" + ", ".join(f'{label}="{value}"' for label, value in labels.items()) + "}"


def _series(before: dict[str, float], after: dict[str, float]) -> dict[str, str]:
    found = {}
    for name in before.keys() | after.keys():
        parts: Sequence[tuple[float | None, int]] = (
            (before.get(name), BEFORE_MINUTES),
            (after.get(name), AFTER_MINUTES),
        )
        step = 60 if "_timestamp_seconds" in name else 0
        values, start = [], 0
        for value, minutes in parts:
            begun = None if value is None else value + step * start
            values.append(f"_x{minutes}" if begun is None else f"{begun:.6f}+{step}x{minutes - 1}")
            start += minutes
        found[name] = " ".join(values)
    return found
