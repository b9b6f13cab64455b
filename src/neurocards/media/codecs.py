"""Which of the codecs that we need the installed PyAV has: its wheel brings them, a build of one's own may not."""

import av
import av.codec

NEEDED = ("libx264", "aac")


def version() -> str:
    """PyAV's version."""
    return av.__version__


def missing() -> list[str]:
    """The encoders we cannot do without and that are not there."""
    return [name for name in NEEDED if name not in av.codec.codecs_available]
