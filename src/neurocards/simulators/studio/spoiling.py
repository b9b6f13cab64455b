"""The ways in which a finished clip can be bad: some are rendered so, some are done to the file."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Literal

from neurocards.simulators.studio.render import ClipSpec

Spoiling = Literal["truncated", "not_a_video", "zero_bytes", "wrong_length", "black", "frozen", "small"]

NOT_A_VIDEO = b"<html><body>AccessDenied: the link has expired</body></html>"


def flawed(spec: ClipSpec, spoiling: Spoiling | None) -> ClipSpec:
    """The clip to render so that it has just this flaw; flaws of the file change nothing yet."""
    match spoiling:
        case "small":
            return replace(spec, width=spec.width // 4 * 2, height=spec.height // 4 * 2)
        case "wrong_length":
            return replace(spec, seconds=spec.seconds / 2)
        case "black" | "frozen":
            return replace(spec, look=spoiling)
        case _:
            return spec


async def spoiled(clip: Path, spoiling: Spoiling, folder: Path) -> Path:
    """The damaged copy of a clip, in `folder`; the clip itself when its flaw was rendered."""
    return await asyncio.to_thread(_spoil, clip, spoiling, folder)


def _spoil(clip: Path, spoiling: Spoiling, folder: Path) -> Path:
    whole = clip.read_bytes()
    match spoiling:
        case "truncated":
            damaged = whole[: len(whole) * 3 // 5]
        case "not_a_video":
            damaged = NOT_A_VIDEO
        case "zero_bytes":
            damaged = b""
        case _:
            return clip
    path = folder / f"{spoiling}-{clip.name}"
    path.write_bytes(damaged)
    return path
