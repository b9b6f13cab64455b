"""The commands, as an operator calls them."""

import asyncio
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from neurocards.db.connection import Database
from neurocards.db.embedded import EmbeddedPostgres
from neurocards.settings import BadSettings, read_settings
from shop import new_order

ROOT = Path(__file__).parent.parent


def command(home: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Status, output and complaints of one command; nothing of this machine's own settings leaks in."""
    finished = subprocess.run(
        [sys.executable, "-m", "neurocards", *arguments],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "src"),
            "NEUROCARDS_HOME": str(home),
            "COLUMNS": "200",
            **environment,
        },
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return finished.returncode, finished.stdout, finished.stderr


def ordered(dsn: str) -> str:
    async def order() -> str:
        async with Database(dsn) as database:
            return str(await new_order(database))

    return asyncio.run(order())


def test_audit_tells_machines_and_fails_on_a_violation(dsn: str, tmp_path: Path) -> None:
    ordered(dsn)
    status, output, _ = command(tmp_path, "audit", "--json", DATABASE_URL=dsn)
    assert status == 0
    assert json.loads(output)["violations"] == []
    assert json.loads(output)["held_credits"] == 1

    with psycopg.connect(dsn) as connection:
        connection.execute("set local session_replication_role = replica")
        connection.execute("update accounts set balance = balance + 1 where kind = 'available'")
    status, output, _ = command(tmp_path, "audit", "--json", DATABASE_URL=dsn)
    assert status == 1
    assert "balance_is_sum_of_entries" in {one["check"] for one in json.loads(output)["violations"]}


def test_order_tells_the_story_by_id_and_by_number(dsn: str, tmp_path: Path) -> None:
    order_id = ordered(dsn)
    for name in (order_id, "1"):
        status, output, _ = command(tmp_path, "order", name, DATABASE_URL=dsn)
        assert status == 0
        assert "order placed" in output
        assert "available → held" in output


@pytest.mark.parametrize("name", ["99", "00000000-0000-0000-0000-000000000000", "nonsense", "²", "9" * 30])
def test_an_order_that_is_not_there_is_one_line(dsn: str, tmp_path: Path, name: str) -> None:
    status, output, complaint = command(tmp_path, "order", name, DATABASE_URL=dsn)
    assert (status, output, complaint.count("\n")) == (1, "", 1)


def test_grant_gives_once_per_cause(dsn: str, tmp_path: Path) -> None:
    ordered(dsn)
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select telegram_id from customers").fetchone()
    assert row is not None
    for words in ("Granted; the customer has 14", "Granted before, nothing changed; the customer has 14"):
        status, output, _ = command(
            tmp_path, "grant", str(row[0]), "5", "--reason", "sorry", "--cause", "ticket 7", DATABASE_URL=dsn
        )
        assert status == 0
        assert words in output


def test_a_schema_that_is_too_old_is_told_and_mended(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute("create database bare")
    dsn = psycopg.conninfo.make_conninfo(postgres.dsn, dbname="bare")
    status, _, complaint = command(tmp_path, "audit", DATABASE_URL=dsn)
    assert status == 1
    assert "run ./neurocards migrate" in complaint
    status, output, _ = command(tmp_path, "migrate", "--check", DATABASE_URL=dsn)
    assert (status, output.splitlines()[0]) == (1, "pending: 0001_schema.sql")
    assert command(tmp_path, "migrate", DATABASE_URL=dsn)[0] == 0
    assert command(tmp_path, "migrate", "--check", DATABASE_URL=dsn)[:2] == (
        0,
        "Nothing to do: the schema is up to date.\n",
    )
    assert "up to date" in command(tmp_path, "migrate", DATABASE_URL=dsn)[1]
    assert command(tmp_path, "audit", DATABASE_URL=dsn)[0] == 0


def test_f77_a_schema_that_is_too_new_is_told_and_older_commands_go_on(dsn: str, tmp_path: Path) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("insert into migrations (name) values ('9999_next.sql')")
    status, output, _ = command(tmp_path, "migrate", "--check", DATABASE_URL=dsn)
    assert (status, output) == (1, "too new: 9999_next.sql is not known to this version of neurocards\n")
    status, _, complaint = command(tmp_path, "migrate", DATABASE_URL=dsn)
    assert (status, complaint.count("\n")) == (1, 1)
    assert command(tmp_path, "audit", DATABASE_URL=dsn)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["bot"], {}, "BOT_TOKEN is not set"),
        (["worker"], {}, "BOT_TOKEN is not set"),
        (["worker"], {}, "KIE_API_KEY is not set"),
        (["worker"], {"LEASE_SECONDS": "soon"}, "LEASE_SECONDS"),
        (["audit"], {"VIDEO_MODEL": "sora-9"}, "no model 'sora-9'"),
        (["audit"], {"DATABASE_URL": "postgres:/u:SECRET@h/db"}, "DATABASE_URL: not a PostgreSQL address"),
        (["worker"], {"BOT_TOKEN": "1:x", "KIE_API_KEY": "a b"}, "KIE_API_KEY"),
        (["audit"], {"OPERATORS": "4711, @ann"}, "OPERATORS: takes Telegram ids of people"),
        (["audit"], {"OPERATORS": "4711,,4712"}, "OPERATORS"),
        (["audit"], {"OPERATORS": "-100123"}, "OPERATORS"),
        (["audit"], {"OPERATOR_LIMIT_CREDITS": "many"}, "OPERATOR_LIMIT_CREDITS"),
        (["audit"], {"ALERT_CHAT_ID": "@ops"}, "ALERT_CHAT_ID"),
        (["audit"], {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}, "the database does not answer"),
    ],
)
def test_f78_bad_settings_are_one_line_each(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], told: str
) -> None:
    status, _, complaint = command(tmp_path, *arguments, **environment)
    assert status == 1
    assert told in complaint
    assert "Traceback" not in complaint
    assert "SECRET" not in complaint


def test_secrets_are_masked_wherever_settings_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOT_TOKEN", "12345:secret-token")
    monkeypatch.setenv("KIE_API_KEY", "secret-key\n")
    settings = read_settings()
    assert "secret-" not in repr(settings)
    # A file's last line break is no part of the key.
    assert settings.required("bot_token", "kie_api_key") == ["12345:secret-token", "secret-key"]
    with pytest.raises(BadSettings, match="OPENAI_API_KEY is not set"):
        settings.model_copy(update={"openai_api_key": None}).required("openai_api_key")


def test_an_operator_sees_what_needs_attention_and_lets_it_be_done_again(dsn: str, tmp_path: Path) -> None:
    ordered(dsn)
    status, output, _ = command(tmp_path, "attention", DATABASE_URL=dsn)
    assert (status, output.strip()) == (0, "Nothing needs attention.")
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "insert into updates (id, person, urgent, body, state, failure, handled_at)"
            " values (7, 1, false, '{\"update_id\": 7, \"message\": {}}', 'dead', 'a bug [here]', now())"
        )
        connection.execute(
            "insert into attempts (id, generation_id, number, provider, model, lease_number, state, failure, ended_at)"
            " select gen_random_uuid(), id, 1, 'kie', 'm', 1, 'abandoned', 'no answer', now() from generations"
        )

    status, output, _ = command(tmp_path, "attention", DATABASE_URL=dsn)
    assert status == 0
    assert "a bug [here]" in output
    assert "neurocards again 7" in output
    _, output, _ = command(tmp_path, "attention", "--json", DATABASE_URL=dsn)
    assert sorted(one["what"] for one in json.loads(output)["matters"]) == ["doubt", "update"]

    status, output, _ = command(tmp_path, "again", "7", DATABASE_URL=dsn)
    assert (status, "handled once more" in output) == (0, True)
    status, _, complaint = command(tmp_path, "again", "7", DATABASE_URL=dsn)
    assert (status, "there is no dead update 7" in complaint) == (1, True)
    with psycopg.connect(dsn) as connection:
        assert connection.execute("select state, attempt, deaths from updates").fetchone() == ("pending", 1, 0)


def test_p9_an_operator_lets_an_order_go_first(dsn: str, tmp_path: Path) -> None:
    ordered(dsn)
    status, output, _ = command(tmp_path, "hurry", "1", DATABASE_URL=dsn)
    assert (status, output.strip()) == (0, "Order 1: 1 open video first from now on.")
    with psycopg.connect(dsn) as connection:
        assert connection.execute("select priority from jobs").fetchone() == (1,)


def test_an_operator_sees_how_providers_stand_without_asking_anybody(dsn: str, tmp_path: Path) -> None:
    status, output, _ = command(tmp_path, "providers", DATABASE_URL=dsn)
    assert status == 0
    assert "No worker has named a key" in output
    assert "no key" not in output
    ordered(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute("insert into provider_keys (label, provider) values ('kie-1', 'kie'), ('fal-1', 'fal')")
        connection.execute(
            "insert into provider_keys (label, provider, seen_at) values ('kie-0', 'kie', now() - interval '2 days')"
        )
        connection.execute("insert into balances (label, units) values ('kie-1', 2500.5)")
        connection.execute(
            "insert into model_checks (model, listed, price, success_rate, own_rate)"
            " values ('kling/v3-turbo-image-to-video', true, '18 credits [a second]', 0.93, 0.4)"
        )
        connection.execute(
            "insert into circuits (subject, failures, open_until, why)"
            " values ('model kling-3.0/video', 1, now() + interval '5 minutes', 'switched [off]'),"
            " ('key fal-1', 2, now() - interval '1 minute', 'locked'), ('provider fal', 1, null, 'timeout')"
        )
        connection.execute(
            "insert into attempts (id, generation_id, number, provider, model, lease_number, key, state, task_id)"
            " select gen_random_uuid(), id, 1, 'kie', 'm', 1, 'kie-1', 'accepted', 't' from generations"
        )

    status, output, _ = command(tmp_path, "providers", DATABASE_URL=dsn)
    lines = [re.sub(r"\b\d+ s ago", "just now", " ".join(line.split())) for line in output.splitlines()]
    assert status == 0
    assert "fal: 1 failure since the last success" in lines
    assert "kie-1 kie just now $12.5025 (2,500.50) just now 1 1" in lines
    assert "fal-1 fal just now not told 0 0 tried by one next: locked" in lines
    assert "18 credits [a second]" in output
    assert re.search(r"Kling 3\.0 Turbo .* yes +93% +40% +\$0\.90 ", output)
    assert re.search(r"kling-3\.0/video .* left alone for 5 min more: switched \[off\]", output)
    assert re.search(r"Veo 3\.1 .* \$\d\.\d\d \(8 s\)", output)
    assert re.search(r"Sora 2 .* retired 2026-09-24", output)

    told = json.loads(command(tmp_path, "providers", "--json", DATABASE_URL=dsn)[1])
    assert [key["label"] for key in told["keys"]] == ["kie-1", "fal-1"]
    hero = next(one for one in told["templates"] if one["template"] == "hero_broll")
    # Ours say that the preferred one fails too often.
    assert hero["model"] not in (None, "kling/v3-turbo-image-to-video", "kling-3.0/video")
    assert "it fails too often" in hero["reason"]


def test_f66_an_operator_compares_bills(dsn: str, tmp_path: Path) -> None:
    status, output, _ = command(tmp_path, "bills", DATABASE_URL=dsn)
    assert (status, output.strip()) == (0, "No balance and no video in 7 days.")
    with psycopg.connect(dsn) as connection:
        connection.execute("insert into provider_keys (label, provider) values ('kie-1', 'kie')")
        connection.execute(
            "insert into balances (label, units, taken_at) values ('kie-1', 100, now() - interval '2 days'),"
            " ('kie-1', 98, now() - interval '1 day'), ('kie-1', 95.9, now())"
        )
    status, output, _ = command(tmp_path, "bills", "--json", DATABASE_URL=dsn)
    told = json.loads(output)["bills"]
    # A cent is two of KIE's credits: so much may differ, and not a tenth of a credit more.
    assert [(one["difference"], one["is_alarming"]) for one in told] == [(2.0, False), (2.1, True)]
    assert status == 1
    status, output, _ = command(tmp_path, "bills", DATABASE_URL=dsn)
    assert (status, "$0.0105 (2.10)" in output, "1 unexplained" in output) == (1, True, True)
    assert command(tmp_path, "bills", "--days", "0", DATABASE_URL=dsn)[0] == 2


def test_f65_what_is_left_alone_and_what_goes_needs_attention(dsn: str, tmp_path: Path) -> None:
    own = tmp_path / "own" / "models"
    own.mkdir(parents=True)
    profile = (ROOT / "src/neurocards/content/models/kling-v3-turbo.toml").read_text("utf-8")
    for name, days in (("soon", 29), ("later", 31), ("gone", -1)):
        day = datetime.now(UTC).date() + timedelta(days=days)
        text = profile.replace("kling/v3-turbo-image-to-video", f"house/{name}").replace("Kling 3.0 Turbo", name)
        (own / f"{name}.toml").write_text(f"retires = {day}\n{text}", "utf-8")
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "insert into provider_keys (label, provider, seen_at) values ('kie-1', 'kie', now()),"
            " ('kie-0', 'kie', now() - interval '16 minutes')"
        )
        connection.execute(
            "insert into circuits (subject, failures, open_until, why)"
            " values ('key kie-1', 2, now() + interval '4 minutes', 'submit: code 402: Credits [insufficient]'),"
            " ('key kie-0', 9, now(), 'it was replaced'), ('provider kie', 3, now() - interval '1 minute', 'HTTP 503'),"
            " ('provider fal', 2, null, 'not yet'), ('model wan/3-0-video', 1, now() + interval '9 minutes', 'off')"
        )
        connection.execute(
            "insert into model_checks (model, listed) values ('kling-3.0/video', false), ('house/gone', false)"
        )
    arguments = {"DATABASE_URL": dsn, "CONTENT_FOLDER": str(own.parent)}
    found = json.loads(command(tmp_path, "attention", "--json", **arguments)[1])["matters"]
    assert sorted((one["what"], one["subject"]) for one in found) == [
        ("account", "kie-1"),
        ("model", "wan/3-0-video"),
        ("provider", "kie"),
        ("retiring", "house/soon"),
        ("unlisted", "kling-3.0/video"),
    ]
    status, output, _ = command(tmp_path, "attention", **arguments)
    assert status == 0
    assert "2 failures since the last success" in output
    assert "Credits [insufficient]" in " ".join(output.split())


def test_sales_are_paused_and_resumed_and_every_act_is_on_record(dsn: str, tmp_path: Path) -> None:
    assert command(tmp_path, "sales", DATABASE_URL=dsn)[1].strip() == "Sales are on."
    status, _, complaint = command(tmp_path, "sales", "pause", DATABASE_URL=dsn)
    assert (status, "--reason" in complaint) == (2, True)
    status, output, _ = command(tmp_path, "sales", "pause", "--reason", "a [fire]", DATABASE_URL=dsn)
    assert (status, "by command line: a [fire]" in output) == (0, True)
    status, output, _ = command(tmp_path, "sales", "pause", "--reason", "again", DATABASE_URL=dsn)
    assert (status, "nothing changed" in output, "a [fire]" in output) == (0, True, True)
    assert "a [fire]" in command(tmp_path, "sales", DATABASE_URL=dsn)[1]
    assert command(tmp_path, "sales", "resume", DATABASE_URL=dsn)[1].strip() == "Sales are on."

    ordered(dsn)
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select telegram_id from customers").fetchone()
    assert row is not None
    gift = ["grant", str(row[0]), "5", "--reason", "sorry", "--cause", "ticket 7"]
    for _ in range(2):
        assert command(tmp_path, *gift, DATABASE_URL=dsn)[0] == 0
    status, output, _ = command(tmp_path, "actions", "--json", DATABASE_URL=dsn)
    found = [(one["action"], one["subject"], one["reason"]) for one in json.loads(output)["actions"]]
    assert found == [
        ("grant", f"customer {row[0]}, credits 5", "sorry"),
        ("resume sales", "", ""),
        ("pause sales", "", "a [fire]"),
    ]
    status, output, _ = command(tmp_path, "actions", "--limit", "1", DATABASE_URL=dsn)
    assert (status, "grant" in output, "pause" in output) == (0, True, False)
