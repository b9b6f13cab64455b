"""What wakes people is right: rules that promtool has proved, and for each of them a page that can be followed."""

import base64
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import promtool
from neurocards import meters
from neurocards.cli import commands
from neurocards.db import customers, updates
from neurocards.db.connection import Database
from neurocards.db.migrate import MIGRATIONS
from promtool import MONITORING
from shop import new_order
from test_doctor import Ward, ward

__all__ = ["ward"]

ROOT = Path(__file__).parent.parent
RUNBOOKS = ROOT / "docs" / "runbooks"
PAGES = sorted(path for path in RUNBOOKS.glob("*.md") if path.name != "README.md")
ALERTS = promtool.alerts()
DASHBOARD = MONITORING / "grafana" / "dashboards" / "neurocards.json"


def test_every_rule_keeps_silent_before_its_threshold_and_is_heard_after_it() -> None:
    assert "SUCCESS" in promtool.run("test", "rules", MONITORING / "alerts.test.yml")
    heard = set(re.findall(r"alertname: (\w+)\n +eval_time: \w+\n +exp_alerts:", _text(MONITORING / "alerts.test.yml")))
    assert heard == set(ALERTS)


@pytest.mark.parametrize("config", ["prometheus.yml", "prometheus-host.yml"])
def test_prometheus_takes_its_files(config: str) -> None:
    assert f"{len(ALERTS)} rules found" in promtool.run("check", "config", MONITORING / config)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_its_page(alert: str) -> None:
    rule = ALERTS[alert]
    page = _text(ROOT / rule["runbook"])
    assert f"`{alert}` · severity: {rule['severity']}" in page
    assert all(f"**{part}" in page for part in ("What it means.", "How bad.", "What shows it.", "What mends it."))
    assert page.count("```sh\n") == 2
    title = page.splitlines()[0].removeprefix("# ")
    row = f"| [{title}]({Path(rule['runbook']).name}) | `{alert}` | {rule['severity']} |"
    assert row in _text(RUNBOOKS / "README.md")


def test_every_page_belongs_to_an_alert() -> None:
    assert {f"docs/runbooks/{page.name}" for page in PAGES} == {rule["runbook"] for rule in ALERTS.values()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_is_one(page: Path) -> None:
    """Parsed by the program itself, options and all; none is run."""
    for line in _commands(page):
        words = shlex.split(line.removeprefix("time "))
        if words.pop(0) == "neurocards":
            command: Any = typer.main.get_command(commands)  # Any: typer keeps these types to itself
            while words and hasattr(command, "commands"):
                assert words[0] in command.commands, line
                command = command.commands[words.pop(0)]
            command.make_context(command.name, words).close()


@pytest.mark.timeout(300)
async def test_every_command_of_the_pages_does_something_in_a_shop(ward: Ward, database: Database) -> None:
    """Those of the program, all of them and in the order of the pages; systemctl and the like are not ours to try."""
    async with database.transaction() as tx:
        await tx.execute("alter table orders alter number restart with 17")
        await customers.register(tx, telegram_id=4711, first_name="Ann", language="en")
        await updates.store(tx, [updates.Incoming(900_000_017, 4711, False, {"update_id": 900_000_017})])
        (update,) = await updates.claim(tx, limit=1, lease_seconds=30)
        await updates.bury(tx, update, failure="x")
    await new_order(database)
    photo = ward.home / "store" / "photos" / "1"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"a photo")
    asked = dict.fromkeys(line.removeprefix("time ") for page in PAGES for line in _commands(page))
    ours = [line for line in asked if line.startswith("neurocards ")]
    assert len(ours) > 15
    for line in ours:
        done = await ward.command(*shlex.split(line)[1:], BACKUP_KEY=base64.b64encode(bytes(32)).decode())
        # A test's own database may lose what it was told, and doctor says so.
        assert done.returncode == 0 or line == "neurocards doctor", f"{line}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, line


def _commands(page: Path) -> Iterator[str]:
    for block in re.findall(r"```sh\n(.*?)```", _text(page), re.DOTALL):
        yield from (line for line in block.splitlines() if line and not line.startswith("#"))


def test_every_refusal_that_is_counted_is_explained() -> None:
    page = _text(RUNBOOKS / "database-refused.md")
    assert set(re.findall(r"NC\d{3}", page)) == set(meters.REFUSALS)
    written = "\n".join(_text(file) for file in MIGRATIONS.glob("*.sql"))
    assert set(re.findall(r"'(NC\d{3})'", written)) == set(meters.REFUSALS)


def test_what_a_page_greps_for_is_logged_or_told() -> None:
    """An event that was renamed would be looked for in vain, in the middle of the night."""
    source = "\n".join(_text(path) for path in (ROOT / "src" / "neurocards").rglob("*.py"))
    for page in PAGES:
        for line in _commands(page):
            for pattern in re.findall(r"grep (?:-E )?'?([a-z_(|)]+)'?", line):
                for event in _alternatives(pattern):
                    assert f'"{event}' in source, f"{page.name}: {event}"


def _alternatives(pattern: str) -> list[str]:
    before, opened, rest = pattern.partition("(")
    inside = rest.partition(")")[0] if opened else ""
    return [before + one for one in inside.split("|")] if opened else pattern.split("|")


def test_the_dashboard_asks_for_what_prometheus_understands(tmp_path: Path) -> None:
    panels = json.loads(_text(DASHBOARD))["panels"]
    expressions = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    assert len(expressions) > 30
    assert len({panel["id"] for panel in panels}) == len(panels)
    rules = tmp_path / "dashboard.yml"
    recorded = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(expressions)]
    rules.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": recorded}]}), "utf-8")
    assert f"{len(expressions)} rules found" in promtool.run("check", "rules", "--lint=none", rules)
    datasource = _text(MONITORING / "grafana" / "datasources" / "prometheus.yml")
    assert f"uid: {panels[1]['datasource']['uid']}" in datasource


def _text(path: Path) -> str:
    return path.read_text("utf-8")
