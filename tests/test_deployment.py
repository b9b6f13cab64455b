"""What puts the shop on a server keeps up with the shop: image, Compose file, units, installer and guides."""

import asyncio
import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import typer
import yaml  # type: ignore[import-untyped]

from neurocards import notices, worker
from neurocards.bot import handling
from neurocards.cli import commands
from neurocards.db import connection
from neurocards.loops import Loop
from neurocards.settings import Settings

ROOT = Path(__file__).parent.parent
UNITS = sorted((ROOT / "systemd").glob("*.service"))
GUIDES = [ROOT / "DEPLOYMENT_GUIDE.md", ROOT / "DEPLOYMENT_GUIDE.ru.md"]
PAGES = [*GUIDES, ROOT / "README.ru.md"]
COMMANDS = set(typer.main.get_command(commands).commands)  # type: ignore[attr-defined]
SETTINGS = {name.upper() for name in Settings.model_fields}

NOT_OURS = {
    *("POSTGRES_PASSWORD", "GRAFANA_PASSWORD", "BASE_IMAGE", "NEUROCARDS_IMAGE", "NEUROCARDS_VENV"),
    "TELEGRAM_ID",
}
"""What Compose and the installer read, and the shop does not; and what stands for a number of a command."""

LONGEST_TO_STOP_SECONDS = max(
    worker.DRAIN_SECONDS, notices.DRAIN_SECONDS, handling.DRAIN_SECONDS, connection.TRY_SECONDS
)

TOOLS = ("systemd-analyze", "systemd-sysusers", "systemd-run", "flock", "sha256sum")
needs_systemd = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)) and os.environ.get("NEUROCARDS_SYSTEMD") != "required",
    reason="the installer and the check of units need systemd: apt-get install systemd",
)


def unit(path: Path) -> configparser.SectionProxy:
    """The section [Service]; of a name that stands there twice the last."""
    read = configparser.ConfigParser(strict=False, interpolation=None)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read(path, "utf-8")
    return read["Service"]


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
    return loaded


def ours(services: dict[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in services.items() if one["image"].startswith("${NEUROCARDS_IMAGE")}


# The image and Compose -----------------------------------------------------------------------------------------------


def test_the_image_takes_nothing_but_code_and_runs_as_nobody_special() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert [rule for rule in rules if rule.startswith("!")] == ["!requirements-run.lock", "!src"]
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    assert re.findall(r"^FROM (\S+)", dockerfile, flags=re.MULTILINE) == ["${BASE}", "${BASE}"]
    assert "--require-hashes" in dockerfile
    assert re.findall(r"^USER (\S+)", dockerfile, flags=re.MULTILINE) == ["10001:10001"]
    variables = set(re.findall(r"\b([A-Z_]+)=", dockerfile.partition("\nENV ")[2].partition("\nWORKDIR")[0]))
    assert {name for name in variables if name != "PATH" and not name.startswith("PYTHON")} <= SETTINGS


def test_a_server_gets_a_part_of_the_lock_and_all_that_the_shop_imports() -> None:
    """After a change of the lock: uv pip compile, as CONTRIBUTING.md says."""

    def pins(name: str) -> dict[str, set[str]]:
        blocks = re.split(r"\n(?=\S)", (ROOT / name).read_text("utf-8").strip())
        return {block.split(" \\")[0]: set(re.findall(r"sha256:[0-9a-f]{64}", block)) for block in blocks}

    whole, part = pins("requirements.lock"), pins("requirements-run.lock")
    assert part.items() <= whole.items()
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    wanted = project.partition("dependencies = [")[2].partition("\n]")[0]
    names = {re.sub(r"[-_.]+", "-", name) for name in re.findall(r'^    "([\w.-]+)', wanted, flags=re.MULTILINE)}
    assert names <= {re.sub(r"[-_.]+", "-", pin.split("==")[0]) for pin in part}


def test_the_compose_file_is_one_by_the_specification() -> None:
    """compose-spec.json is schema/compose-spec.json of github.com/compose-spec/compose-spec, under Apache-2.0."""
    schema = jsonschema_rs.validator_for(json.loads((ROOT / "tests" / "compose-spec.json").read_text("utf-8")))
    shop = compose()
    assert [f"{error.instance_path}: {error.message}" for error in schema.iter_errors(shop)] == []
    shop["services"]["bot"]["port"] = ["8080:8080"]
    assert not schema.is_valid(shop), "it sees a word that there is not"


def test_every_service_runs_a_command_with_settings_that_there_are() -> None:
    services = ours(compose()["services"])
    assert set(services) == {"migrate", "bot", "worker", "backup", "neurocards"}
    for name, service in services.items():
        words = " ".join(service["command"])
        called = re.findall(r"-m neurocards ([\w-]+)", words) or service["command"]
        assert set(called) <= COMMANDS | {"--help"}, name
        assert set(service["environment"]) <= SETTINGS
        assert service["read_only"] is True


@pytest.mark.parametrize(
    ("now", "seconds"), [("00:00:00", 12601), ("03:29:59", 2), ("03:30:02", 86399), ("23:59:59", 12602)]
)
def test_the_backup_of_compose_is_made_at_half_past_three(now: str, seconds: int) -> None:
    (script,) = compose()["services"]["backup"]["command"]
    wait = re.findall(r"sleep (\S.*\))$", script.replace("$$", "$"), flags=re.MULTILINE)[0]
    hours, minutes, rest = map(int, now.split(":"))
    shell = f"date() {{ echo {20_000 * 86_400 + hours * 3600 + minutes * 60 + rest}; }}; echo {wait}"
    assert int(subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True).stdout) == seconds


def test_t24_nothing_is_open_to_the_world_and_nobody_has_more_rights_than_needed() -> None:
    for name, service in compose()["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name
    assert compose()["services"]["postgres"]["networks"] == ["inside"]
    assert compose()["networks"]["inside"]["internal"] is True


# Stopping ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bot", "worker@"])
def test_whoever_is_told_to_end_is_given_the_time_it_takes(name: str) -> None:
    service = unit(ROOT / "systemd" / f"neurocards-{name}.service")
    assert int(service["TimeoutStopSec"]) >= LONGEST_TO_STOP_SECONDS + 10
    # Children of ours end with us; they are not told by anybody else.
    assert service["KillMode"] == "mixed"
    grace = compose()["services"][name.rstrip("@")]["stop_grace_period"]
    assert int(grace.removesuffix("s")) >= LONGEST_TO_STOP_SECONDS + 10


async def test_a_provider_that_does_not_answer_keeps_nobody_from_ending() -> None:
    asked, broken_off = asyncio.Event(), asyncio.Event()

    async def ask() -> int:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            broken_off.set()
        return 0

    stop = asyncio.Event()
    running = asyncio.create_task(Loop("checks", ask, pause_seconds=60).run_loosely(stop))
    await asked.wait()
    stop.set()
    async with asyncio.timeout(10):
        await running
    assert broken_off.is_set()


async def test_a_turn_that_fails_ends_a_loose_loop_too() -> None:
    async def fail() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Loop("checks", fail, pause_seconds=60).run_loosely(asyncio.Event())


# The installer -------------------------------------------------------------------------------------------------------


class Host:
    """A scratch root, a checkout to install from, and a virtual environment that is there already."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "scratch root"
        self.root.mkdir()
        self.checkout = folder / "check out"
        self.home = self.root / "opt" / "neurocards"
        self.settings = self.root / "etc" / "neurocards" / "neurocards.env"
        self.venv = folder / "venv"
        self._tools = folder / "tools"
        self._tools.mkdir()
        self._fill_checkout()
        self._make_venv()

    def install(self, *arguments: str) -> tuple[int, str, str]:
        """Status, output and complaints of install.sh below the root."""
        return self.run(str(self.checkout / "install.sh"), "--root", str(self.root), *arguments)

    def run(self, *command: str) -> tuple[int, str, str]:
        finished = subprocess.run(
            ["sh", *command],
            env={
                "PATH": f"{self._tools}:{os.environ['PATH']}",
                "HOME": str(self.root),
                "NEUROCARDS_VENV": str(self.venv),
            },
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return finished.returncode, finished.stdout, finished.stderr

    def release(self, name: str = "current") -> Path:
        return (self.home / name).resolve()

    @contextmanager
    def tool(self, name: str, text: str) -> Iterator[None]:
        """Let a program be another one meanwhile."""
        stand_in = self._tools / name
        stand_in.write_text(f"#!/bin/sh\n{text}\n")
        stand_in.chmod(0o755)
        yield
        stand_in.unlink()

    def change(self) -> None:
        """Another version."""
        module = self.checkout / "src" / "neurocards" / "__init__.py"
        module.write_text(module.read_text("utf-8").replace('__version__ = "', '__version__ = "9.'), "utf-8")

    def _fill_checkout(self) -> None:
        script = (ROOT / "install.sh").read_text("utf-8")
        for name in script.partition('shipped="')[2].partition('"')[0].split():
            source, target = ROOT / name, self.checkout / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)

    def _make_venv(self) -> None:
        """The environment of the tests, as bootstrap.sh would have left it; compiling takes too long here."""
        python = self.venv / "bin" / "python"
        python.parent.mkdir(parents=True)
        skip = 'case "$*" in *compileall*) exit 0 ;; esac'
        python.write_text(f'#!/bin/sh\n{skip}\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        lock = (self.checkout / "requirements-run.lock").read_bytes()
        sum_and_size = subprocess.run(["cksum"], input=lock, capture_output=True, check=True).stdout.decode().strip()
        (self.venv / ".neurocards").write_text(f"{sum_and_size} {python.resolve()}\n")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def listing(folder: Path) -> Iterator[tuple[str, int, int, str]]:
    for path in sorted(folder.rglob("*")):
        facts = path.lstat()
        if path.name != ".lock" and not path.is_dir():
            yield str(path), facts.st_mode, facts.st_mtime_ns, str(path.readlink()) if path.is_symlink() else ""


def outside() -> list[bool]:
    places = ("/opt/neurocards", "/etc/neurocards", "/var/lib/neurocards", "/usr/local/bin/neurocards")
    return [Path(place).exists() for place in places]


@needs_systemd
def test_it_installs_below_a_root_and_a_second_time_changes_nothing(host: Host) -> None:
    before = outside()
    status, output, complaint = host.install()
    assert (status, "Next:" in output) == (0, True), complaint
    assert host.settings.stat().st_mode & 0o777 == 0o600
    assert host.settings.read_bytes() == (ROOT / ".env.example").read_bytes()
    assert re.search(r"^neurocards:", (host.root / "etc" / "passwd").read_text(), flags=re.MULTILINE)
    host.settings.write_text("BOT_TOKEN=1:mine\n")
    first = list(listing(host.home / "releases"))
    status, output, complaint = host.install()
    assert (status, "Next:" in output) == (0, False), complaint
    assert list(listing(host.home / "releases")) == first
    assert host.settings.read_text() == "BOT_TOKEN=1:mine\n"
    assert not (host.home / "previous").exists()
    assert outside() == before


@needs_systemd
def test_an_upgrade_keeps_the_version_before_and_rolls_back_to_it(host: Host) -> None:
    host.install()
    first = host.release()
    for _ in range(2):
        host.change()
        status, _, complaint = host.install()
        assert status == 0, complaint
    # Of three versions the last two are left.
    second, third = host.release("previous"), host.release()
    assert sorted((host.home / "releases").iterdir()) == sorted([second, third])
    assert first not in (second, third)
    status, output, complaint = host.install("--roll-back")
    assert (status, second.name in output) == (0, True), complaint
    assert (host.release(), host.release("previous")) == (second, third)
    host.install("--roll-back")
    assert (host.release(), host.release("previous")) == (third, second)


@needs_systemd
def test_an_installation_that_was_cut_off_is_made_anew(host: Host) -> None:
    host.install()
    (host.release() / ".complete").unlink()
    (host.release() / "src" / "neurocards" / "cli.py").unlink()
    assert host.install()[0] == 0
    assert (host.release() / "src" / "neurocards" / "cli.py").exists()


@needs_systemd
@pytest.mark.parametrize("link", ["previous", "current"])
def test_an_upgrade_that_is_cut_off_between_its_links_goes_on_and_keeps_the_version_that_runs(
    host: Host, link: str
) -> None:
    host.install()
    first = host.release()
    host.change()
    with host.tool("mv", f'case "$*" in */{link}) exit 1 ;; esac; exec /bin/mv "$@"'):
        assert host.install()[0] == 1
    assert (host.release(), (host.home / ".restart").exists()) == (first, True)
    assert host.install()[0] == 0
    assert host.release() != first == host.release("previous")
    assert (first / ".complete").exists()
    assert not (host.home / ".restart").exists()


@needs_systemd
def test_a_version_half_removed_is_not_taken_for_a_whole_one(host: Host) -> None:
    host.install()
    first = host.release()
    shutil.copytree(host.checkout, host.checkout.with_name("first"))
    host.change()
    host.install()
    host.change()
    cut = f'case "$*" in -rf*{first.name}) exec /bin/rm -rf "$3/src" ;; esac; exec /bin/rm "$@"'
    with host.tool("rm", cut):
        host.install()
    assert first.exists() and not (first / "src").exists()
    host.checkout = host.checkout.with_name("first")
    assert host.install()[0] == 0
    assert (host.release(), (first / "src" / "neurocards").exists()) == (first, True)


@needs_systemd
def test_after_an_upgrade_of_the_system_the_installer_mends_the_packages_of_a_version(host: Host) -> None:
    host.install()
    stamp = host.venv / ".neurocards"
    whole = stamp.read_text()
    stamp.write_text(whole.replace("python", "python-of-before"))
    with host.tool("uv", "exit 0"):
        assert host.install()[0] == 0
    assert stamp.read_text() == whole


@needs_systemd
def test_only_root_can_change_what_was_installed_and_the_shop_can_read_it(host: Host) -> None:
    for path in host.checkout.rglob("*"):
        path.chmod(0o700 if path.is_dir() or path.suffix == ".sh" or path.name == "neurocards" else 0o600)
    assert host.install()[0] == 0
    for path in host.release().rglob("*"):
        if not path.is_symlink():
            assert path.stat().st_mode & 0o022 == 0, path
            assert path.stat().st_mode & 0o044 == 0o044, path


@needs_systemd
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--rot"], "there is no option '--rot'"),
        (["--root"], "--root needs a folder"),
        (["--root="], "--root needs a folder"),
        (["--root", "nowhere"], "nowhere is not a folder"),
        (["--roll-back"], "nothing is installed in"),
    ],
)
def test_it_refuses_what_it_cannot_do(host: Host, arguments: list[str], told: str) -> None:
    status, output, complaint = host.install(*arguments)
    assert (status, output, complaint.count("\n")) == (1, "", 1)
    assert told in complaint
    assert list(host.root.iterdir()) == []


@needs_systemd
def test_it_refuses_a_root_with_a_way_out_a_strangers_folder_and_half_a_checkout(host: Host, tmp_path: Path) -> None:
    away = tmp_path / "elsewhere"
    away.mkdir()
    (host.root / "opt").symlink_to(away)
    assert "leads out of" in host.install()[2]
    assert list(away.iterdir()) == []
    (host.root / "opt").unlink()
    (host.home / "current").mkdir(parents=True)
    assert "something else lives there" in host.install()[2]
    (host.home / "current").rmdir()
    (host.checkout / "requirements-run.lock").unlink()
    assert "requirements-run.lock is missing" in host.install()[2]


@needs_systemd
def test_there_is_nothing_to_roll_back_to_after_the_first_installation(host: Host) -> None:
    host.install()
    status, _, complaint = host.install("--roll-back")
    assert (status, "no version to go back to" in complaint) == (1, True)


def test_the_command_of_a_server_hands_arguments_over_as_they_are(host: Host) -> None:
    """systemd makes one dollar sign of two, and a variable of one."""
    with host.tool("id", "echo 0"), host.tool("systemd-run", """printf '%s\\n' "$@" """):
        status, output, complaint = host.run(
            str(ROOT / "deploy" / "neurocards"), "refund", "17", "--reason", "$5 too  much: ${BOT_TOKEN}", ""
        )
    assert (status, complaint) == (0, "")
    command = output.partition("/opt/neurocards/current/neurocards\n")[2]
    assert command == "refund\n17\n--reason\n$$5 too  much: $${BOT_TOKEN}\n\n"


@pytest.mark.parametrize("name", ["install.sh", "deploy/neurocards"])
def test_the_scripts_of_a_server_are_posix(name: str) -> None:
    for shell in filter(shutil.which, ("dash", "sh")):
        subprocess.run([shell, "-n", ROOT / name], check=True)


# Units ---------------------------------------------------------------------------------------------------------------


@needs_systemd
def test_systemd_has_nothing_to_say_about_the_units(host: Host) -> None:
    host.install()
    shutil.copytree("/usr/lib/systemd/system", host.root / "usr/lib/systemd/system", symlinks=True)
    (host.root / "bin").mkdir()
    shutil.copy("/bin/sh", host.root / "bin" / "sh")
    installed = host.root / "etc/systemd/system"
    assert len(list(installed.iterdir())) == len(list((ROOT / "systemd").iterdir()))
    for path in sorted(installed.iterdir()):
        checked = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", f"--root={host.root}", path],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_are_hardened(path: Path) -> None:
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr


@needs_systemd
def test_the_units_command_lines_run_what_was_installed(host: Host) -> None:
    host.install()
    for path in UNITS:
        line = unit(path)["ExecStart"].replace("$$", "$").replace("%i", "1")
        command = line.replace("/opt/neurocards", f"'{host.home}'") if "sh -c" not in line else ""
        assert re.findall(r"current/neurocards ([\w-]+)", line)[0] in COMMANDS
        if path.name == "neurocards-bot.service":
            status, _, complaint = host.run("-c", command)
            assert (status, complaint) == (1, complaint)
            assert "BOT_TOKEN is not set" in complaint


def test_workers_on_one_host_answer_on_ports_of_their_own() -> None:
    line = unit(ROOT / "systemd" / "neurocards-worker@.service")["ExecStart"]
    shell = line.partition("'")[2].rpartition("'")[0].replace("$$", "$").replace(" exec ", "; echo $OPS_PORT ")
    ports = [
        subprocess.run(["sh", "-c", shell.replace("%i", number)], capture_output=True, text=True, check=True).stdout
        for number in ("1", "2", "12")
    ]
    assert [port.split()[0] for port in ports] == ["9465", "9466", "9476"]


# The guides ----------------------------------------------------------------------------------------------------------


def blocks(page: Path) -> list[str]:
    """Its commands, without their comments."""
    text = "\n".join(re.findall(r"^```\w*\n(.*?)^```", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL))
    return [line for line in (re.sub(r"(^|\s+)#( .*)?$", "", one) for one in text.splitlines()) if line]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_command_of_the_guides_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    named = set(re.findall(r"(?:\./|sudo |--rm )neurocards ([a-z][a-z-]*)", text))
    assert named
    assert named <= COMMANDS


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_setting_of_the_guides_is_there(page: Path) -> None:
    named = set(re.findall(r"\b[A-Z]{3,}(?:_[A-Z]+)+\b(?!\.\w)", page.read_text("utf-8")))
    assert {name for name in named if not name.startswith("AWS_")} <= SETTINGS | NOT_OURS


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_file_and_unit_of_the_guides_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    for name in re.findall(r"(?<![/\w])(?:deploy|systemd|docs)/[\w./@-]*\w", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"\bneurocards-[a-z-]+@?\d*(?:\.timer|\.service)?", text):
        stem = re.sub(r"@\d+", "@", name)
        assert any(one.name.startswith(stem) for one in (ROOT / "systemd").iterdir()), name


def test_both_guides_have_the_same_commands_in_the_same_order() -> None:
    english, russian = (blocks(guide) for guide in GUIDES)
    assert english == russian
    headings = [re.findall(r"^#+", guide.read_text("utf-8"), flags=re.MULTILINE) for guide in GUIDES]
    assert headings[0] == headings[1]
