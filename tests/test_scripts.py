"""The scripts a newcomer starts with: they set up once, say one sentence when they cannot, and pass everything on.

The tools they call (uv, python3) are stand-ins here, so that nothing is installed; dash runs the scripts themselves.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = ("neurocards", "demo", "test", "scripts/bootstrap.sh", "scripts/pictures", "scripts/frames")
TOOLS = ("sh", "cat", "cksum", "dirname", "find", "ln", "mkdir", "mv", "readlink", "rm", "rmdir", "sleep")
PROGRESS = "Setting up (once, about half a minute)...\n"

# What a command of ours would be: it tells what it was given.
COMMAND = """
import json, os, sys
import textwrap  # a module of the standard library that the caller's folder may also have
facts = [sys.argv[1:], sys.path[0], os.getpid(), os.getcwd(), textwrap.__file__, sys.dont_write_bytecode]
print(json.dumps(facts), flush=True)
if sys.argv[1:] == ["wait"]:
    import time
    time.sleep(600)
"""

# Stands in for uv: writes down its calls, makes an environment whose python is the real one, fails when told to.
UV = f"""#!/bin/sh
[ "$1" = --version ] && exit 0
echo "$*" >>"$CALLS"
if [ "$1" = venv ]; then
    for place; do :; done
    mkdir -p "$place/bin"
    echo "home = /" >"$place/pyvenv.cfg"
    printf '#!/bin/sh\\nexec "{sys.executable}" "$@"\\n' >"$place/bin/python"
    chmod +x "$place/bin/python"
else
    sleep "${{UV_SECONDS:-0}}"
    [ -z "${{UV_FAILS:-}}" ] || {{ echo "no route to the index" >&2; exit 2; }}
fi
"""

# Stands in for an interpreter without uv beside it: makes environments and "installs" uv from the fake above.
PYTHON = f"""#!/bin/sh
case "$*" in
    *"-m venv "*)
        for place; do :; done
        mkdir -p "$place/bin"
        echo "home = /" >"$place/pyvenv.cfg"
        ln -s "$0" "$place/bin/python" ;;
    *"-m pip install "*)
        echo "$*" >>"$CALLS"
        ln -s "$UV" "${{0%/*}}/uv" ;;
    *) exec "{sys.executable}" "$@" ;;
esac
"""


class Checkout:
    """A copy of the scripts beside a stand-in of the program, and a PATH with nothing but plain tools."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a check out"
        self.venv = self.root / ".venv"
        self.calls_file = folder / "calls"
        self.tools = folder / "tools"
        self.uv = folder / "uv"
        self.environment = {
            "PATH": str(self.tools),
            "HOME": str(folder),
            "CALLS": str(self.calls_file),
            "UV": str(self.uv),
        }
        self.started: list[subprocess.Popen[str]] = []
        self.tools.mkdir()
        for tool in (*TOOLS, "chmod"):
            found = shutil.which(tool)
            assert found is not None, f"this machine has no {tool}"
            (self.tools / tool).symlink_to(found)
        for name in SCRIPTS:
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.root / name)
        package = self.root / "src" / "neurocards"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(COMMAND)
        (self.root / "requirements.lock").write_text("some==1.0\n")
        _write_program(self.uv, UV)

    def give_uv(self) -> None:
        (self.tools / "uv").symlink_to(self.uv)

    def start(self, *command: str | Path, cwd: Path | None = None, **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=cwd,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, *command: str | Path, cwd: Path | None = None, **environment: str) -> tuple[int, str, str]:
        """The exit code, the output and the messages."""
        with self.start(*command, cwd=cwd, **environment) as process:
            output, messages = process.communicate(timeout=30)
        return process.returncode, output, messages

    def close(self) -> None:
        """A test that failed half-way leaves nothing running."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Checkout]:
    """Without uv."""
    made = Checkout(tmp_path)
    yield made
    made.close()


@pytest.fixture
def checkout(bare: Checkout) -> Checkout:
    bare.give_uv()
    return bare


def _write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_posix(name: str) -> None:
    shells = [shell for shell in ("dash", "sh", "busybox") if shutil.which(shell)]
    for shell in shells:
        command = [shell, "sh", "-n"] if shell == "busybox" else [shell, "-n"]
        subprocess.run([*command, ROOT / name], check=True)


def test_first_start_sets_up_and_passes_everything_on(checkout: Checkout, tmp_path: Path) -> None:
    code, output, messages = checkout.run(checkout.root / "neurocards", "order", "a b", "", "*", cwd=tmp_path)
    arguments, first_path, _, cwd, *_ = json.loads(output)
    assert (code, messages) == (0, PROGRESS)
    assert arguments == ["order", "a b", "", "*"]
    assert first_path == str(checkout.root / "src")
    assert cwd == str(tmp_path)
    assert [call.split()[0:2] for call in checkout.calls] == [["venv", "--quiet"], ["pip", "install"]]
    assert "--require-hashes" in checkout.calls[1]


def test_demo_is_the_command_of_that_name(checkout: Checkout) -> None:
    _, output, _ = checkout.run(checkout.root / "demo", "--photo", "a b.jpg")
    assert json.loads(output)[0] == ["demo", "--photo", "a b.jpg"]


def test_a_finished_set_up_is_only_compared(checkout: Checkout) -> None:
    checkout.run(checkout.root / "neurocards")
    checkout.calls_file.unlink()
    (checkout.tools / "uv").unlink()
    shell = 'root=$1; . "$1/scripts/bootstrap.sh"'
    assert checkout.run("sh", "-euc", shell, "sh", checkout.root) == (0, "", "")
    assert checkout.calls == []


def test_it_works_through_links_and_without_the_executable_bit(checkout: Checkout, tmp_path: Path) -> None:
    link = tmp_path / "link to it"
    link.symlink_to(checkout.root / "demo")
    relative = tmp_path / "second"
    relative.symlink_to("link to it")
    (checkout.root / "neurocards").chmod(0o644)
    _, output, _ = checkout.run(relative, "x")
    assert json.loads(output)[0] == ["demo", "x"]
    _, output, _ = checkout.run("sh", "demo", "y", cwd=checkout.root)
    assert json.loads(output)[0] == ["demo", "y"]


def test_the_callers_folder_hides_no_module_and_its_pythonpath_stays(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "textwrap.py").write_text("raise SystemExit('the wrong one')")
    code, output, _ = checkout.run(checkout.root / "neurocards", cwd=tmp_path, PYTHONPATH="/elsewhere")
    assert code == 0
    assert json.loads(output)[4] != str(tmp_path / "textwrap.py")


def test_compiled_modules_are_kept(checkout: Checkout) -> None:
    _, output, _ = checkout.run(checkout.root / "neurocards", PYTHONDONTWRITEBYTECODE="1")
    assert json.loads(output)[5] is False


def test_signals_reach_the_program_itself(checkout: Checkout) -> None:
    with checkout.start(checkout.root / "neurocards", "wait") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())[2] == process.pid
        process.terminate()
        assert process.wait(10) == -signal.SIGTERM


def test_a_changed_lock_is_installed(checkout: Checkout) -> None:
    checkout.run(checkout.root / "neurocards")
    (checkout.root / "requirements.lock").write_text("some==2.0\n")
    assert checkout.run(checkout.root / "neurocards")[2] == PROGRESS
    assert [call.split()[0] for call in checkout.calls] == ["venv", "pip", "pip"]
    assert checkout.run(checkout.root / "neurocards")[2] == ""


def test_a_set_up_that_was_killed_is_made_anew(checkout: Checkout) -> None:
    process = checkout.start(checkout.root / "neurocards", UV_SECONDS="600")
    _until(lambda: len(checkout.calls) == 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (checkout.venv / "left behind").touch()
    assert checkout.run(checkout.root / "neurocards")[::2] == (0, PROGRESS)
    assert not (checkout.venv / "left behind").exists()
    assert _leftovers(checkout) == []


def test_an_interrupted_set_up_leaves_no_lock(checkout: Checkout) -> None:
    process = checkout.start(checkout.root / "neurocards", UV_SECONDS="600")
    _until(lambda: len(checkout.calls) == 2)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    assert _leftovers(checkout) == []


def test_an_environment_whose_python_is_gone_is_made_anew(checkout: Checkout) -> None:
    checkout.run(checkout.root / "neurocards")
    (checkout.venv / "bin" / "python").unlink()
    assert checkout.run(checkout.root / "neurocards")[::2] == (0, PROGRESS)


def test_an_environment_that_leads_to_another_python_is_completed(checkout: Checkout) -> None:
    checkout.run(checkout.root / "neurocards")
    python = checkout.venv / "bin" / "python"
    python.rename(python.with_name("python3.99"))
    python.symlink_to("python3.99")
    assert checkout.run(checkout.root / "neurocards")[::2] == (0, PROGRESS)
    assert checkout.run(checkout.root / "neurocards")[::2] == (0, "")


def test_an_environment_made_by_hand_is_completed_not_replaced(checkout: Checkout) -> None:
    checkout.run(checkout.root / "neurocards")
    (checkout.venv / ".neurocards").unlink()
    (checkout.venv / "mine").touch()
    checkout.run(checkout.root / "neurocards")
    assert [call.split()[0] for call in checkout.calls] == ["venv", "pip", "pip"]
    assert (checkout.venv / "mine").exists()


def test_a_folder_that_is_no_environment_is_never_touched(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "letter").touch()
    code, _, messages = checkout.run(checkout.root / "neurocards", NEUROCARDS_VENV=str(tmp_path / "documents"))
    assert (code, messages.count("\n")) == (1, 1)
    assert "is not a virtual environment" in messages
    assert [entry.name for entry in (tmp_path / "documents").iterdir()] == ["letter"]


def test_the_environment_may_lie_elsewhere(checkout: Checkout, tmp_path: Path) -> None:
    elsewhere = str(tmp_path / "some where" / "else")
    assert checkout.run(checkout.root / "neurocards", NEUROCARDS_VENV=elsewhere)[0] == 0
    assert not checkout.venv.exists()
    assert checkout.run(checkout.root / "neurocards", NEUROCARDS_VENV=elsewhere)[2] == ""


@pytest.mark.parametrize("stale", [None, "dead", "old", "garbled"])
def test_starts_at_once_set_up_once(checkout: Checkout, stale: str | None) -> None:
    """Also when the lock of a killed set-up lies there: only one of them may break it."""
    lock = checkout.root / ".venv.lock"
    match stale:
        case "dead":
            dead = subprocess.Popen(["true"])
            dead.wait()
            lock.symlink_to(str(dead.pid))
        case "old":  # its process id lives, as somebody else
            lock.symlink_to(str(os.getpid()))
            os.utime(lock, (time.time() - 1000,) * 2, follow_symlinks=False)
        case "garbled":
            lock.symlink_to("?")
    processes = [checkout.start(checkout.root / "neurocards", UV_SECONDS="0.3") for _ in range(4)]
    messages = [process.communicate(timeout=30)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert sorted(messages) == ["", "", "", PROGRESS]
    assert [call.split()[0] for call in checkout.calls] == ["venv", "pip"]
    assert _leftovers(checkout) == []


def test_the_lock_of_a_dead_container_may_name_our_own_process(checkout: Checkout) -> None:
    command = 'ln -s "$$" "$1/.venv.lock"; exec "$1/neurocards"'
    assert checkout.run("sh", "-c", command, "sh", checkout.root)[0] == 0


def test_a_failed_installation_shows_why_and_may_be_repeated(checkout: Checkout) -> None:
    code, output, messages = checkout.run(checkout.root / "neurocards", UV_FAILS="yes")
    assert (code, output) == (1, "")
    assert messages.startswith(f"{PROGRESS}no route to the index\nneurocards could not be set up")
    assert _leftovers(checkout) == []
    assert checkout.run(checkout.root / "neurocards")[0] == 0


def test_without_python_one_sentence_says_what_to_install(bare: Checkout) -> None:
    assert bare.run(bare.root / "demo") == (
        1,
        "",
        "neurocards needs Python 3.11 or newer with venv: sudo apt-get install python3 python3-venv, or install uv.\n",
    )
    assert _leftovers(bare) == []


def test_an_old_python_and_a_shim_that_fails_are_passed_over(bare: Checkout) -> None:
    _write_program(bare.tools / "python3", "#!/bin/sh\nexit 1\n")
    _write_program(bare.tools / "python3.14", "#!/bin/sh\necho 'version not installed' >&2; exit 127\n")
    assert bare.run(bare.root / "neurocards")[2].startswith("neurocards needs Python 3.11 or newer")
    _write_program(bare.tools / "python3.12", PYTHON)
    code, output, messages = bare.run(bare.root / "neurocards", "x")
    assert (code, json.loads(output)[0], messages) == (0, ["x"], PROGRESS)
    assert bare.calls[0].endswith("uv==0.13.9")
    assert "--require-hashes" in bare.calls[1]


def test_a_checkout_that_may_not_be_written_is_one_sentence(checkout: Checkout) -> None:
    if os.geteuid() == 0:
        # Root may write everywhere but below a file.
        place = str(checkout.uv / "venv")
    else:
        checkout.root.chmod(0o555)
        place = str(checkout.venv)
    code, _, messages = checkout.run(checkout.root / "neurocards", NEUROCARDS_VENV=place)
    checkout.root.chmod(0o755)
    assert (code, messages.count("\n")) == (1, 1)
    assert messages.startswith(f"neurocards may not write to {place}: set NEUROCARDS_VENV")


def test_a_place_that_takes_no_lock_is_one_sentence(checkout: Checkout) -> None:
    _write_program(checkout.tools / "refuse", "#!/bin/sh\nexit 1\n")
    (checkout.tools / "ln").unlink()
    (checkout.tools / "ln").symlink_to("refuse")
    (checkout.tools / "sleep").unlink()
    (checkout.tools / "sleep").symlink_to(shutil.which("true") or "/bin/true")
    code, _, messages = checkout.run(checkout.root / "neurocards")
    assert (code, messages.count("\n")) == (1, 1)


def test_the_test_command_fails_when_a_check_fails_and_still_runs_the_tests(checkout: Checkout) -> None:
    (checkout.root / "pyproject.toml").write_text('[tool.mypy]\nfiles = ["tests"]\n')
    (checkout.root / "tests").mkdir()
    case = checkout.root / "tests" / "test_it.py"
    case.write_text("def test_it() -> None:\n    assert   True\n")
    (checkout.root / "src" / "neurocards" / "__main__.py").write_text("")

    code, output, messages = checkout.run(checkout.root / "test")
    assert code == 1
    assert "1 passed in" in output.splitlines()[-1]
    assert messages.splitlines()[-1] == "Failed: 'ruff format --check'"

    case.write_text("def test_it() -> None:\n    assert True\n")
    code, output, _ = checkout.run(checkout.root / "test")
    assert (code, "1 passed in" in output.splitlines()[-1]) == (0, True)

    code, output, _ = checkout.run(checkout.root / "test", "-k", "another")
    assert code == 5
    assert "mypy" not in output


def _leftovers(checkout: Checkout) -> list[str]:
    return [path.name for path in checkout.root.glob(".venv.*")]


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
