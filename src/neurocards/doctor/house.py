"""What is on this machine: settings, packages, codecs, media children, the disk, and the store wherever it is."""

import base64
import hashlib
import importlib.metadata
import re
import shutil
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from uuid import uuid4

from neurocards.doctor import lines
from neurocards.doctor.lines import Finding
from neurocards.doctor.looking import Patient, in_thread
from neurocards.domain.failures import Failure
from neurocards.settings import Settings
from neurocards.storage import BadStore, open_store

LOCK = Path(__file__).parents[3] / "requirements.lock"

GIGABYTE = 10**9
FULL_BYTES = GIGABYTE // 2
FILLING_SHARE, FILLING_BYTES = 0.8, 20 * GIGABYTE
"""A disk is filling when most of it is used and little of it is left: a fifth of a large one lasts for long."""


async def settings(patient: Patient) -> Sequence[Finding]:
    """What is wrong with the settings, one line each."""
    if patient.problems:
        return [lines.SETTING_WRONG.told(problem=problem) for problem in patient.problems]
    given = len(patient.settings.model_fields_set)
    return [lines.SETTINGS_SOUND.told(set=given, by_default=len(type(patient.settings).model_fields) - given)]


async def packages() -> Sequence[Finding]:
    """Whether the installed packages are those of the lock, and their files as they were installed."""
    return await in_thread(_packages)


@cache
def _packages() -> list[Finding]:
    """Once for a process: hundreds of megabytes are read, and what it has loaded stays loaded."""
    installed = list(importlib.metadata.distributions())
    changed = [path for package in installed for path in _changed(package)]
    found: list[Finding] = []
    if changed:
        found.append(lines.PACKAGES_CHANGED.told(files=len(changed), first=changed[0]))
    if others := _others(installed):
        found.append(lines.PACKAGES_OTHER.told(names=", ".join(others)))
    return found or [lines.PACKAGES_SOUND.told(packages=len(installed))]


def _changed(package: importlib.metadata.Distribution) -> Iterator[str]:
    """The files of a package whose SHA-256 is not the one that was written down when it was installed."""
    for file in package.files or []:
        if file.hash is None or file.hash.mode != "sha256" or ".dist-info" in file.parts[0]:
            continue  # what the installer itself writes there may be written again
        try:
            with Path(str(file.locate())).open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").digest()
        except OSError:
            digest = b""
        if base64.urlsafe_b64encode(digest).decode().rstrip("=") != file.hash.value:
            yield str(file)


def _others(installed: Sequence[importlib.metadata.Distribution]) -> list[str]:
    """Packages of the lock that are here in another version; without a lock beside us there is nothing to compare."""
    if not LOCK.is_file():
        return []
    versions = {_plain(package.name): package.version for package in installed}
    locked = re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", LOCK.read_text("utf-8"), flags=re.MULTILINE)
    return sorted(
        f"{name} {versions[_plain(name)]}"
        for name, version in locked
        if _plain(name) in versions and versions[_plain(name)] != version
    )


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


async def codecs() -> Sequence[Finding]:
    """Whether videos can be made ready with what is installed."""
    return await in_thread(_codecs)


def _codecs() -> list[Finding]:
    from neurocards.media import codecs  # noqa: PLC0415 (takes a second to import, beside the other looks)

    if missing := codecs.missing():
        return [lines.CODECS_MISSING.told(version=codecs.version(), missing=", ".join(missing))]
    return [lines.CODECS_SOUND.told(version=codecs.version(), encoders=" and ".join(codecs.NEEDED))]


async def children() -> Sequence[Finding]:
    """Whether what strangers send is opened where it can harm nobody."""
    return await in_thread(_children)


def _children() -> list[Finding]:
    from neurocards.media import children  # noqa: PLC0415 (as above)

    try:
        is_sealed = children.try_one()
    except (OSError, children.TooHeavy, children.Lost) as error:
        return [lines.CHILDREN_BROKEN.told(error=str(error) or type(error).__name__)]
    return [lines.CHILDREN_SEALED.told() if is_sealed else lines.CHILDREN_OPEN.told()]


async def disk(settings: Settings) -> Sequence[Finding]:
    """How much room there is for temporary files, and for the store and the embedded database where they are here."""
    return [await in_thread(lambda: _disk(settings.neurocards_home))]


def _disk(place: Path) -> Finding:
    here = next((folder for folder in (place, *place.absolute().parents) if folder.exists()), place)
    try:
        usage = shutil.disk_usage(here)
    except OSError as error:
        return lines.DISK_MISSING.told(place=place, error=error.strerror)
    used = 1 - usage.free / max(1, usage.total)
    line = lines.DISK_ROOMY
    if usage.free < FULL_BYTES:
        line = lines.DISK_FULL
    elif used > FILLING_SHARE and usage.free < FILLING_BYTES:
        line = lines.DISK_FILLING
    return line.told(place=place, free=_size(usage.free), total=_size(usage.total), used=used)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / GIGABYTE:.1f} GB" if size_bytes >= GIGABYTE else f"{size_bytes / 10**6:.1f} MB"


async def store(settings: Settings) -> Sequence[Finding]:
    """Write an object of our own, read it back and delete it."""
    place = settings.store_url or settings.neurocards_home / "store"
    key, content = f"doctor/{uuid4()}", uuid4().bytes * 4096
    act = "be opened"
    try:
        found = open_store(settings.store_url, settings.neurocards_home)
        act = "write"
        await found.put(key, content)
        act = "read"
        read = await found.get(key)
        act = "delete"
        await found.delete(key)
    except (Failure, BadStore, OSError) as error:
        told = error.message if isinstance(error, Failure) else str(error).splitlines()[0]
        return [lines.STORE_BROKEN.told(place=place, act=act, error=told)]
    if read != content:
        return [lines.STORE_BROKEN.told(place=place, act="read", error="something else came back")]
    return [lines.STORE_SOUND.told(place=place)]
