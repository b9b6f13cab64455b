"""Serves the page on which a person plays the seller: files of this package, under rules that let nothing else in."""

import os
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_FOLDER = Path(__file__).parent / "page"
_RULES = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self'; "
        "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # A changed file is seen with the next reload; its tag spares sending what is the same.
    "Cache-Control": "no-cache",
}


def routes() -> list[BaseRoute]:
    """The page at the root of the simulator, its parts below `/page`."""
    return [Route("/", _index), Mount("/page", _PageFiles(directory=_FOLDER))]


async def _index(_request: Request) -> Response:
    return FileResponse(_FOLDER / "index.html", headers=_RULES)


class _PageFiles(StaticFiles):
    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(_RULES)
        return response
