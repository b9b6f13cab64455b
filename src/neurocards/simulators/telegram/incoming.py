"""Files on their way into a message: stored, looked into, and turned into what Telegram makes of them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from neurocards.simulators.telegram.bots import Bot
from neurocards.simulators.telegram.conversation import Media
from neurocards.simulators.telegram.errors import bad_request
from neurocards.simulators.telegram.files import Blob, Looks, StoredFile
from neurocards.simulators.telegram.media import MAX_PHOTO_BYTES, NotAPhoto, mime_type_of
from neurocards.simulators.telegram.parameters import Parameters, Upload, is_attached, is_true
from neurocards.simulators.telegram.world import World

Fields = Mapping[str, Any]  # of a call or of one InputMedia, from a form or from JSON

_CLIP_TYPES = frozenset({"video/mp4", "video/quicktime"})


async def read_media(
    world: World, bot: Bot, parameters: Parameters, *, kind: str, reference: object, fields: Fields
) -> Media:
    """The media a call wants to send: an upload, or a file that this bot knows already."""
    if not isinstance(reference, str) or not reference:
        raise bad_request(f"there is no {kind} in the request")
    if not is_attached(reference):
        return await _known(world, bot, parameters, kind=kind, reference=reference, fields=fields)
    upload = _attached(parameters, reference, kind)
    if kind == "photo":
        return world.remember_media(await _new_photo(world, bot, upload))
    return world.remember_media(await _new_file(world, bot, parameters, upload, kind=kind, fields=fields))


async def _known(world: World, bot: Bot, parameters: Parameters, *, kind: str, reference: str, fields: Fields) -> Media:
    if "://" in reference:
        # The stand-in has no way out to the internet; this is Telegram's answer when it cannot fetch either.
        raise bad_request("failed to get HTTP URL content")
    media = world.media_again(bot, reference)
    # A photo stays a photo for ever; the other kinds keep their own kind whatever method sends them.
    if media is None or (media.kind == "photo") is not (kind == "photo"):
        actual = (media.kind if media else "thumbnail").capitalize()
        raise bad_request(f"can't use file of type {actual} as {kind.capitalize()}")
    return replace(media, cover=await _cover(world, bot, parameters, fields) or media.cover)


async def _new_photo(world: World, bot: Bot, upload: Upload) -> Media:
    if upload.size > MAX_PHOTO_BYTES:
        raise bad_request(
            f"file of size {upload.size} bytes is too big for a photo; the maximum size is {MAX_PHOTO_BYTES} bytes"
        )
    blob = await world.files.keep(upload.stream)
    try:
        sizes = await world.studio.photo_sizes(bot, blob, strict=True)
    except NotAPhoto:
        raise bad_request("IMAGE_PROCESS_FAILED") from None
    return Media("photo", sizes[-1], sizes)


async def _new_file(
    world: World, bot: Bot, parameters: Parameters, upload: Upload, *, kind: str, fields: Fields
) -> Media:
    if not upload.size:
        raise bad_request("file must be non-empty")
    blob = await world.files.keep(upload.stream)
    thumbnail = await _thumbnail(world, bot, parameters, fields)
    looks = Looks(name=upload.name, mime_type=mime_type_of(upload.name))
    kind, looks = await _recognised(world, blob, kind, looks, fields)
    file = world.files.register(bot, kind, blob, looks, thumbnail=thumbnail)
    cover = await _cover(world, bot, parameters, fields) if kind == "video" else ()
    return Media(kind, file, cover=cover)


async def _recognised(world: World, blob: Blob, kind: str, looks: Looks, fields: Fields) -> tuple[str, Looks]:
    """What the file turns out to be: a clip without sound is an animation, a clip that is none a document."""
    is_kept_as_is = is_true(fields.get("disable_content_type_detection")) or looks.mime_type not in _CLIP_TYPES
    if kind == "document" and is_kept_as_is:
        return kind, looks
    clip = await world.studio.clip(blob)
    if clip is None:
        return "document", looks
    looks = replace(
        looks,
        mime_type="video/mp4",
        width=_number(fields, "width") or clip.width,
        height=_number(fields, "height") or clip.height,
        duration=_number(fields, "duration") or clip.duration,
    )
    return "video" if clip.has_sound else "animation", looks


async def _thumbnail(world: World, bot: Bot, parameters: Parameters, fields: Fields) -> StoredFile | None:
    reference = fields.get("thumbnail")
    if not reference:
        return None
    if not is_attached(reference):
        raise bad_request("thumbnail can't be reused and can be only uploaded as a new file")
    upload = _attached(parameters, reference, "thumbnail")
    return await world.studio.thumbnail(bot, await world.files.keep(upload.stream))


async def _cover(world: World, bot: Bot, parameters: Parameters, fields: Fields) -> tuple[StoredFile, ...]:
    reference = fields.get("cover")
    if not reference:
        return ()
    cover = await read_media(world, bot, parameters, kind="photo", reference=reference, fields={})
    return cover.sizes


def _attached(parameters: Parameters, reference: str, kind: str) -> Upload:
    upload = parameters.upload(reference)
    if upload is None:
        raise bad_request(f"there is no {kind} in the request")
    return upload


def _number(fields: Fields, name: str) -> int:
    value = str(fields.get(name) or 0)
    if not value.isdecimal():
        raise bad_request(f"parameter {name} must be a whole number")
    return int(value)
