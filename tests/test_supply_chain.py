"""T26: what we are made of is pinned by hash, and a known hole of it fails unless somebody excepted it until a day."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HASH = f"--hash=sha256:{'0' * 64}"
CLEAN = {"dependencies": [{"name": "pillow", "version": "13.0.0", "vulns": []}], "fixes": []}
HOLE = {"id": "PYSEC-2026-1", "fix_versions": ["13.0.1"], "aliases": ["CVE-2026-1"], "description": "a bomb"}
HOLED = {"dependencies": [{"name": "Pillow", "version": "13.0.0", "vulns": [HOLE]}], "fixes": []}
UNKNOWN = {"dependencies": [{"name": "pillow", "skip_reason": "Dependency not found on PyPI"}], "fixes": []}


def judge(*arguments: str | Path, **environment: str) -> tuple[int, str]:
    """Exit status and what was said."""
    ran = subprocess.run(
        [sys.executable, "-I", ROOT / "scripts" / "supply_chain.py", *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stdout + ran.stderr


def report(tmp_path: Path, found: object, exceptions: str = "", **environment: str) -> tuple[int, str]:
    (tmp_path / "report.json").write_text(found if isinstance(found, str) else json.dumps(found))
    (tmp_path / "exceptions.toml").write_text(exceptions)
    return judge("report", tmp_path / "report.json", tmp_path / "exceptions.toml", **environment)


def excepted(id: str = "CVE-2026-1", package: str = "pillow", until: str = "2999-01-01") -> str:
    return f'[[exception]]\nid = "{id}"\npackage = "{package}"\nreason = "only our own photos"\nuntil = {until}\n'


def test_t26_every_package_we_install_is_pinned_by_version_and_hash() -> None:
    locks = sorted(ROOT.glob("requirements*.lock"))
    assert ROOT / "requirements.lock" in locks
    status, said = judge("locked", *locks, ROOT / ".ci" / "audit.lock")
    assert (status, "is pinned by version and hash" in said) == (0, True), said


@pytest.mark.parametrize(
    "loose",
    [
        "pillow",
        "pillow>=13",
        f"pillow>=13 {HASH}",
        "pillow==13.0.0",
        f"pillow==13.* {HASH}",
        "pillow==13.0.0 --hash=md5:00",
        f"pillow==13.0.0 {HASH} --hash=sha256:short",
        f"pillow @ https://files.example/pillow.whl {HASH}",
        "-e .",
        "-r other.txt",
        "--index-url https://mirror.example",
        "git+https://git.example/pillow",
    ],
)
def test_t26_an_unpinned_or_unhashed_line_fails(tmp_path: Path, loose: str) -> None:
    lock = tmp_path / "requirements.lock"
    windows = "colorama==0.4 ; sys_platform == 'win32'"
    sound = f"# ours\naiogram==3.31.0 \\\n    {HASH} \\\n    {HASH}\n{windows} \\\n    {HASH}\n"
    lock.write_text(sound)
    assert judge("locked", lock)[0] == 0
    lock.write_text(f"{sound}{loose}\n")
    status, said = judge("locked", lock)
    assert status == 1
    assert re.search(rf"requirements\.lock: not pinned by version and hash: {re.escape(loose[:20])}", said)


def test_t26_only_finished_files_with_the_right_hashes_are_installed() -> None:
    """An sdist would run its own code while it is installed."""
    for script in ("scripts/bootstrap.sh", ".ci/supply-chain"):
        installs = [
            line for line in (ROOT / script).read_text().splitlines() if "pip install" in line and " -r " in line
        ]
        assert installs, script
        assert all("--require-hashes" in line and "--only-binary :all:" in line for line in installs), script


def test_t26_a_known_hole_fails_unless_it_is_excepted_by_any_of_its_names(tmp_path: Path) -> None:
    assert report(tmp_path, CLEAN)[0] == 0
    status, said = report(tmp_path, HOLED)
    assert status == 1
    assert "pillow 13.0.0 has a known hole, CVE-2026-1 = PYSEC-2026-1: mended in 13.0.1" in said
    for id in ("CVE-2026-1", "PYSEC-2026-1"):
        assert report(tmp_path, HOLED, excepted(id))[0] == 0
    assert report(tmp_path, HOLED, excepted("CVE-2026-2"))[0] == 1
    assert report(tmp_path, HOLED, excepted(package="pillows"))[0] == 1


@pytest.mark.parametrize(
    ("exception", "told"),
    [
        (excepted(until="2026-01-31"), "the exception for CVE-2026-1 in pillow ran out on 2026-01-31"),
        ('[[exception]]\nid = "CVE-2026-1"\nuntil = 2999-01-01\n', "exception 1 lacks package, reason"),
        (excepted(until='"for ever"'), "exception 1: until is a day"),
    ],
)
def test_t26_an_exception_that_has_run_out_or_says_too_little_fails(tmp_path: Path, exception: str, told: str) -> None:
    file = tmp_path / "exceptions.toml"
    file.write_text(exception)
    assert judge("exceptions", file) == (
        1,
        f"supply chain: {told}{', such as 2026-12-31' if 'is a day' in told else ''}\n",
    )
    assert report(tmp_path, CLEAN, exception)[0] == 1


@pytest.mark.parametrize("found", [UNKNOWN, "", "Connection refused"], ids=["404", "nothing", "no report"])
def test_t26_holes_that_could_not_be_looked_up_are_never_called_none(tmp_path: Path, found: object) -> None:
    status, said = report(tmp_path, found)
    assert (status, "NOT CHECKED: known holes could not be looked up for" in said) == (0, True)
    assert "no known hole" not in said
    assert report(tmp_path, found, NEUROCARDS_AUDIT="required")[0] == 1


def test_t26_our_own_exceptions_are_in_order() -> None:
    status, said = judge("exceptions", ROOT / ".ci" / "audit-exceptions.toml")
    assert status == 0, said
