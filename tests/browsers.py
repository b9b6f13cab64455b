"""The real browser that tests drive and pictures are taken with: a Chromium of this machine, never a downloaded one."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


class NoBrowser(Exception):
    """There is no Chromium here; the message says what to do."""


def find_chromium() -> str:
    """The program that NEUROCARDS_CHROMIUM names, else the first on PATH; raises NoBrowser."""
    named = os.environ.get("NEUROCARDS_CHROMIUM")
    for name in (named,) if named else PROGRAMS:
        if found := shutil.which(name):
            return found
    missing = f"there is no program {named}, which NEUROCARDS_CHROMIUM names" if named else "no Chromium on PATH"
    raise NoBrowser(f"{missing}: sudo apt-get install chromium fonts-noto-color-emoji")


def browser_is_required() -> bool:
    """Whether a missing browser is a failure; elsewhere the browser tests are skipped."""
    return os.environ.get("NEUROCARDS_BROWSER") == "required"


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """A headless Chromium; raises NoBrowser."""
    program = find_chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program)
        try:
            yield browser
        finally:
            await browser.close()
