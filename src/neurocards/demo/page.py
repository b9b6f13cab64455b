"""The chat page: its address, and the person's own browser for it."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence


def page_address(telegram: str, people: Sequence[int]) -> str:
    """Where exactly these people's phones are shown side by side."""
    return f"{telegram}/?people={','.join(map(str, people))}"


def open_page(address: str) -> None:
    """Show the page in the default browser if somebody sits at this terminal and has a desktop; else do nothing."""
    if not (sys.stdout.isatty() and _has_desktop()):
        return
    # Some browsers hold whoever started them until they are closed, and most talk to the terminal. So it is another
    # process, without a terminal, and the thread that waits for it holds nobody.
    threading.Thread(target=_open, args=(address,), name="browser", daemon=True).start()


def _has_desktop() -> bool:
    if sys.platform == "darwin":
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _open(address: str) -> None:
    subprocess.run(
        [sys.executable, "-I", "-m", "webbrowser", address],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        check=False,
    )
