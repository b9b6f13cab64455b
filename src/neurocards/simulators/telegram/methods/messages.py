"""Sending: texts, photos, documents, videos and albums, and what goes with a message."""

import asyncio

from neurocards.simulators.telegram.bots import Bot
from neurocards.simulators.telegram.conversation import Chat, Content, Message
from neurocards.simulators.telegram.entities import FormattedText, read_formatted
from neurocards.simulators.telegram.errors import Json, bad_request
from neurocards.simulators.telegram.incoming import Fields, read_media
from neurocards.simulators.telegram.markup import Buttons, read_markup
from neurocards.simulators.telegram.parameters import Parameters, is_true
from neurocards.simulators.telegram.world import World

TEXT_LIMIT = 4096
CAPTION_LIMIT = 1024
_ALBUM_KINDS = frozenset({"photo", "video", "document"})
_ACTIONS = frozenset(
    {
        "typing",
        "upload_photo",
        "record_video",
        "upload_video",
        "record_voice",
        "upload_voice",
        "upload_document",
        "choose_sticker",
        "find_location",
        "record_video_note",
        "upload_video_note",
    }
)


async def send_message(world: World, bot: Bot, parameters: Parameters) -> Json:
    chat = world.chat_for_bot(bot, parameters.values.get("chat_id"))
    text = read_formatted(parameters.values, field_name="text", entities_name="entities", limit=TEXT_LIMIT)
    if not text.text:
        raise bad_request("message text is empty")
    return post(chat, parameters, Content(text)).as_json()


async def send_photo(world: World, bot: Bot, parameters: Parameters) -> Json:
    return await _send_media(world, bot, parameters, "photo")


async def send_document(world: World, bot: Bot, parameters: Parameters) -> Json:
    return await _send_media(world, bot, parameters, "document")


async def send_video(world: World, bot: Bot, parameters: Parameters) -> Json:
    return await _send_media(world, bot, parameters, "video")


async def send_media_group(world: World, bot: Bot, parameters: Parameters) -> list[Json]:
    chat = world.chat_for_bot(bot, parameters.values.get("chat_id"))
    items = parameters.listed("media") or []
    if not 2 <= len(items) <= 10:
        raise bad_request("an album must have 2-10 items")
    kinds = {item.get("type") if isinstance(item, dict) else None for item in items}
    if not kinds <= _ALBUM_KINDS or ("document" in kinds and len(kinds) > 1):
        raise bad_request("wrong type of media in an album")
    contents = [await read_input_media(world, bot, parameters, item) for item in items]
    reply_to = _replied_message(chat, parameters)
    group = f"{bot.id}{next(bot.album_numbers)}"
    posted = [chat.add(content, from_bot=True, media_group_id=group, reply_to=reply_to) for content in contents]
    return [message.as_json() for message in posted]


async def send_chat_action(world: World, bot: Bot, parameters: Parameters) -> bool:
    chat = world.chat_for_bot(bot, parameters.values.get("chat_id"))
    action = parameters.text("action")
    if action not in _ACTIONS:
        raise bad_request("wrong parameter action in request")
    seconds = chat.show_action(action)
    # A watcher is told when it ends, too.
    asyncio.get_running_loop().call_later(seconds, chat.changes.announce)
    return True


async def set_message_reaction(world: World, bot: Bot, parameters: Parameters) -> bool:
    chat = world.chat_for_bot(bot, parameters.values.get("chat_id"))
    message = chat.present(parameters.integer("message_id"))
    if message is None:
        raise bad_request("message to react not found")
    reactions = parameters.listed("reaction") or []
    if len(reactions) > 1:
        raise bad_request("REACTIONS_TOO_MANY")
    message.reactions = reactions
    chat.touch(message)
    return True


async def read_input_media(world: World, bot: Bot, parameters: Parameters, item: Fields) -> Content:
    """The content that one InputMedia object describes."""
    media = await read_media(
        world, bot, parameters, kind=str(item.get("type")), reference=item.get("media"), fields=item
    )
    return Content(read_caption(item), media)


def read_caption(fields: Fields) -> FormattedText:
    """The caption in a call or an InputMedia object."""
    return read_formatted(fields, field_name="caption", entities_name="caption_entities", limit=CAPTION_LIMIT)


def post(
    chat: Chat,
    parameters: Parameters,
    content: Content,
    *,
    service: Json | None = None,
    own_buttons: Buttons | None = None,
) -> Message:
    """Add a bot's message with the call's buttons, or else its own, and the call's reply."""
    markup = read_markup(parameters.values)
    reply_to = _replied_message(chat, parameters)
    if markup.keyboard or markup.removes_keyboard:
        chat.keyboard = markup.keyboard
    content = Content(content.text, content.media, markup.buttons or own_buttons)
    return chat.add(content, from_bot=True, service=service, reply_to=reply_to)


async def _send_media(world: World, bot: Bot, parameters: Parameters, kind: str) -> Json:
    fields = parameters.values
    chat = world.chat_for_bot(bot, fields.get("chat_id"))
    caption = read_caption(fields)
    # What may be refused is refused before the upload is worked on, as nothing can be undone afterwards.
    read_markup(fields)
    media = await read_media(world, bot, parameters, kind=kind, reference=fields.get(kind), fields=fields)
    return post(chat, parameters, Content(caption, media)).as_json()


def _replied_message(chat: Chat, parameters: Parameters) -> Message | None:
    reply = parameters.values.get("reply_parameters")
    fields = reply if isinstance(reply, dict) else {"message_id": parameters.values.get("reply_to_message_id")}
    number = str(fields.get("message_id") or "")
    if not number:
        return None
    message = chat.present(int(number)) if number.isdecimal() else None
    if message is None and not is_true(fields.get("allow_sending_without_reply")):
        raise bad_request("message to be replied not found")
    return message


METHODS = {
    "sendMessage": send_message,
    "sendPhoto": send_photo,
    "sendDocument": send_document,
    "sendVideo": send_video,
    "sendMediaGroup": send_media_group,
    "sendChatAction": send_chat_action,
    "setMessageReaction": set_message_reaction,
}
