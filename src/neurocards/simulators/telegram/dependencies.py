"""What the routes below `/sim` are given: the world they act on, and where its files are found."""

from typing import Annotated

from fastapi import Depends, Query, Request

from neurocards.simulators.telegram.world import World


def _world(request: Request) -> World:
    world = request.app.state.world
    assert isinstance(world, World)
    return world


def _files_url(request: Request) -> str:
    # The application may be mounted under any prefix, and a page wants addresses from the root.
    return f"{request.scope.get('root_path', '')}/sim/files"


AnyWorld = Annotated[World, Depends(_world)]
FilesUrl = Annotated[str, Depends(_files_url)]
WaitSeconds = Annotated[float, Query(ge=0, le=120)]
