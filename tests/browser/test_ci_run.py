""".ci/run: on a fresh machine it installs the browser first, without one it says so, and there no test may be skipped.

The tools it calls are stand-ins, so that nothing is installed.
"""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SYSTEMD = ("systemd-analyze", "systemd-sysusers", "systemd-run")
TOOLS = ("bash", "sh", "dirname", "env", "grep", "cat", "chmod", "mkdir", "rm", "tar")

APT_GET = """#!/bin/sh
echo "$*" >>"$CALLS"
[ -z "${NO_NETWORK:-}" ] || exit 100
case "$*" in *chromium*) cp "$0" "${0%/*}/chromium" ;; esac
case "$*" in *download*prometheus) touch prometheus_2_amd64.deb ;; esac
case "$*" in *spin*) for tool in spin gcc; do echo "#!/bin/sh" >"${0%/*}/$tool"; chmod +x "${0%/*}/$tool"; done ;; esac
case "$*" in *systemd*)
    for tool in systemd-analyze systemd-sysusers systemd-run; do cp "$0" "${0%/*}/$tool"; done ;;
esac
"""
DPKG_QUERY = """#!/bin/sh
grep -q "install.*$3" "$CALLS" && echo installed
"""
DPKG_DEB = """#!/bin/sh
mkdir -p usr/bin
echo "#!/bin/sh" >usr/bin/promtool
chmod +x usr/bin/promtool
tar -c ./usr/bin/promtool
rm -r usr
"""
TEST = """promtool
echo "tested, $NEUROCARDS_BROWSER, $NEUROCARDS_SPIN, $NEUROCARDS_PROMTOOL, $NEUROCARDS_SYSTEMD, $#"
"""
TESTED = "tested, required, required, required, required, 0\n"


@dataclass
class Machine:
    """A checkout with the script, and a PATH with nothing but plain tools."""

    root: Path
    tools: Path
    calls_file: Path

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / ".ci" / "run"],
            env={
                "PATH": str(self.tools),
                "CALLS": str(self.calls_file),
                "HOME": str(self.tools.parent / "home"),
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def add(self, tool: str, text: str = "#!/bin/sh\n") -> None:
        (self.tools / tool).write_text(text)
        (self.tools / tool).chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Debian as it comes, used by root."""
    made = Machine(tmp_path / "a check out", tmp_path / "tools", tmp_path / "calls")
    made.tools.mkdir()
    made.calls_file.touch()
    (made.root / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", made.root / ".ci" / "run")
    (made.root / ".ci" / "supply-chain").write_text("#!/bin/sh\n")
    (made.root / ".ci" / "supply-chain").chmod(0o755)
    (made.root / "test").write_text(TEST)
    for tool in (*TOOLS, "cp"):
        found = shutil.which(tool)
        assert found is not None, f"this machine has no {tool}"
        (made.tools / tool).symlink_to(found)
    made.add("id", "#!/bin/sh\necho 0\n")
    made.add("apt-get", APT_GET)
    made.add("dpkg-query", DPKG_QUERY)
    made.add("dpkg-deb", DPKG_DEB)
    return made


def test_a_fresh_machine_gets_the_browser_and_its_emoji_once(machine: Machine) -> None:
    first = machine.run()
    assert (first.returncode, first.stdout) == (0, TESTED)
    update, install, download = machine.calls
    assert update.endswith("update")
    assert install.endswith("chromium spin gcc libc6-dev systemd fonts-noto-color-emoji")
    assert download == "-qq download prometheus"
    second = machine.run()
    assert (second.stdout, second.stderr) == (first.stdout, "")
    assert len(machine.calls) == 3


def test_who_is_not_root_asks_sudo(machine: Machine) -> None:
    machine.add("id", "#!/bin/sh\necho 1000\n")
    machine.add("sudo", '#!/bin/sh\necho "sudo $1" >>"$CALLS"\nshift\nexec "$@"\n')
    assert machine.run().returncode == 0
    assert [call for call in machine.calls if call.startswith("sudo")] == ["sudo -n", "sudo -n"]


@pytest.mark.parametrize("trouble", ["no network", "no apt-get"])
def test_without_a_browser_one_sentence_says_what_to_do(machine: Machine, trouble: str) -> None:
    if trouble == "no apt-get":
        (machine.tools / "apt-get").unlink()
    ended = machine.run(NO_NETWORK="yes")
    assert (ended.returncode, ended.stdout) == (1, "")
    last_words = ended.stderr.splitlines()[-1]
    assert "sudo apt-get install chromium fonts-noto-color-emoji" in last_words
    assert "NEUROCARDS_CHROMIUM" in last_words


def test_without_spin_one_sentence_says_what_to_do(machine: Machine) -> None:
    machine.add("chromium")
    machine.add("promtool")
    ended = machine.run(NO_NETWORK="yes")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "sudo apt-get install spin gcc libc6-dev" in ended.stderr.splitlines()[-1]


def test_without_systemds_tools_one_sentence_says_what_to_do(machine: Machine) -> None:
    for tool in ("chromium", "spin", "gcc", "promtool"):
        machine.add(tool)
    ended = machine.run(NO_NETWORK="yes")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "sudo apt-get install systemd" in ended.stderr.splitlines()[-1]


def test_without_promtool_one_sentence_says_what_to_do(machine: Machine) -> None:
    for tool in ("chromium", "spin", "gcc", *SYSTEMD):
        machine.add(tool)
    ended = machine.run(NO_NETWORK="yes")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "promtool" in ended.stderr.splitlines()[-1]


def test_emoji_that_cannot_be_installed_stop_nothing(machine: Machine) -> None:
    for tool in ("chromium", "spin", "gcc", "promtool", *SYSTEMD):
        machine.add(tool)
    ended = machine.run(NO_NETWORK="yes")
    assert (ended.returncode, ended.stdout) == (0, TESTED)


def test_a_browser_from_elsewhere_is_as_good(machine: Machine) -> None:
    (machine.tools / "apt-get").unlink()
    for tool in ("spin", "gcc", "promtool", *SYSTEMD):
        machine.add(tool)
    assert machine.run(NEUROCARDS_CHROMIUM="/opt/chrome").stdout.startswith("tested")
    assert machine.calls == []
