"""The HTTP side for whoever watches and disturbs: files, calls, faults and repeated updates."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, ConfigDict

from neurocards.simulators.telegram.dependencies import AnyWorld
from neurocards.simulators.telegram.errors import CannotDo, Json
from neurocards.simulators.telegram.faults import Fault, FaultKind

router = APIRouter(prefix="/sim")

# A file is shown or played, never run: a page among the documents must not act on the simulator.
_HARMLESS = {"Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff"}


class Redelivery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    update_id: int | None = None


@router.get("/bots")
async def list_bots(world: AnyWorld) -> list[Json]:
    return [bot.as_user() for bot in world.bots.values()]


@router.post("/bots/{bot}/revoke", status_code=204)
async def revoke(world: AnyWorld, bot: str) -> None:
    world.revoke(world.chosen_bot(bot))


@router.get("/files/{file_id}")
async def file_bytes(world: AnyWorld, file_id: str) -> FileResponse:
    file = world.files.find(file_id)
    if file is None:
        raise HTTPException(404, "no such file")
    return FileResponse(file.blob.path, media_type=file.looks.mime_type, headers=_HARMLESS)


@router.get("/calls")
async def calls(
    world: AnyWorld,
    method: str | None = None,
    since: int = 0,
    limit: Annotated[int, Query(ge=1, le=20_000)] = 20_000,
) -> Json:
    """Recorded calls after `since`; go on with `last_id` as the next `since`."""
    found, last_id = world.calls.after(since, method=method, limit=limit)
    return {"calls": [call.as_json() for call in found], "last_id": last_id}


@router.get("/calls/{call_id}")
async def call_details(world: AnyWorld, call_id: int) -> Json:
    call = world.calls.find(call_id)
    if call is None:
        raise HTTPException(404, f"no call {call_id}")
    return call.as_json()


@router.get("/faults")
async def list_faults(world: AnyWorld) -> list[Fault]:
    return world.faults.left


@router.post("/faults")
async def order_fault(world: AnyWorld, body: Fault) -> Fault:
    world.faults.order(body)
    return body


@router.delete("/faults")
async def clear_faults(world: AnyWorld, kind: FaultKind | None = None) -> list[Fault]:
    world.faults.clear(kind)
    return world.faults.left


@router.post("/redeliver")
async def redeliver(world: AnyWorld, body: Redelivery | None = None, bot: str | None = None) -> Json:
    chosen = world.chosen_bot(bot)
    return {"update_id": chosen.updates.redeliver(body.update_id if body else None)}


def refused(_request: Request, error: Exception) -> JSONResponse:
    """What cannot be done becomes a status and a sentence."""
    assert isinstance(error, CannotDo)
    return JSONResponse({"detail": error.reason}, error.status)
