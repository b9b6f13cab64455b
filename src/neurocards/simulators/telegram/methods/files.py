"""Downloading: where a file lies, unless it is too large for the Bot API."""

from neurocards.simulators.telegram.bots import Bot
from neurocards.simulators.telegram.errors import Json, bad_request
from neurocards.simulators.telegram.parameters import Parameters
from neurocards.simulators.telegram.world import World

MAX_DOWNLOAD_BYTES = 20 * 1024 * 1024


async def get_file(world: World, bot: Bot, parameters: Parameters) -> Json:
    file = world.files.find(parameters.text("file_id"))
    if file is None or file.owner is not bot:
        raise bad_request("wrong file_id or the file is temporarily unavailable")
    if file.blob.size > MAX_DOWNLOAD_BYTES:
        raise bad_request("file is too big")
    return {
        "file_id": file.file_id,
        "file_unique_id": file.file_unique_id,
        "file_size": file.blob.size,
        "file_path": file.file_path,
    }


METHODS = {"getFile": get_file}
