"""Changing and removing messages, with Telegram's refusals: unknown, not the bot's, not modified."""

import time
from dataclasses import replace

from neurocards.simulators.telegram.bots import Bot
from neurocards.simulators.telegram.conversation import Chat, Content, Message
from neurocards.simulators.telegram.entities import read_formatted
from neurocards.simulators.telegram.errors import Json, bad_request
from neurocards.simulators.telegram.markup import read_markup
from neurocards.simulators.telegram.methods.messages import TEXT_LIMIT, read_caption, read_input_media
from neurocards.simulators.telegram.parameters import Parameters
from neurocards.simulators.telegram.world import World

_EDITABLE_KINDS = frozenset({"photo", "video", "animation", "document"})
_DELETABLE_SECONDS = 48 * 3600


async def edit_message_text(world: World, bot: Bot, parameters: Parameters) -> Json:
    message = _message_to_edit(world, bot, parameters)
    if message.content.media or message.service:
        raise bad_request("there is no text in the message to edit")
    text = read_formatted(parameters.values, field_name="text", entities_name="entities", limit=TEXT_LIMIT)
    if not text.text:
        raise bad_request("message text is empty")
    return _replace(message, Content(text, buttons=read_markup(parameters.values).buttons))


async def edit_message_caption(world: World, bot: Bot, parameters: Parameters) -> Json:
    message = _message_to_edit(world, bot, parameters)
    if not message.content.media:
        raise bad_request("there is no caption in the message to edit")
    buttons = read_markup(parameters.values).buttons
    return _replace(message, Content(read_caption(parameters.values), message.content.media, buttons))


async def edit_message_media(world: World, bot: Bot, parameters: Parameters) -> Json:
    _message_to_edit(world, bot, parameters)
    item = parameters.values.get("media")
    if not isinstance(item, dict) or item.get("type") not in _EDITABLE_KINDS:
        raise bad_request("can't parse InputMedia")
    buttons = read_markup(parameters.values).buttons
    content = await read_input_media(world, bot, parameters, item)
    # Asked again, because the upload took its time and the message may be gone by now.
    return _replace(_message_to_edit(world, bot, parameters), replace(content, buttons=buttons))


async def edit_message_reply_markup(world: World, bot: Bot, parameters: Parameters) -> Json:
    message = _message_to_edit(world, bot, parameters)
    return _replace(message, replace(message.content, buttons=read_markup(parameters.values).buttons))


async def delete_message(world: World, bot: Bot, parameters: Parameters) -> bool:
    chat = world.chat_for_bot(bot, parameters.values.get("chat_id"), must_be_open=False)
    message = chat.present(parameters.integer("message_id"))
    if message is None:
        raise bad_request("message to delete not found")
    if not _is_deletable(message):
        raise bad_request("message can't be deleted for everyone")
    chat.delete(message)
    return True


async def delete_messages(world: World, bot: Bot, parameters: Parameters) -> bool:
    chat = world.chat_for_bot(bot, parameters.values.get("chat_id"), must_be_open=False)
    numbers = parameters.listed("message_ids") or []
    if not 1 <= len(numbers) <= 100:
        raise bad_request("message_ids must contain 1-100 message identifiers")
    for message in _present_messages(chat, numbers):
        if _is_deletable(message):
            chat.delete(message)
    return True


def _message_to_edit(world: World, bot: Bot, parameters: Parameters) -> Message:
    chat = world.chat_for_bot(bot, parameters.values.get("chat_id"))
    message = chat.present(parameters.integer("message_id"))
    if message is None:
        raise bad_request("message to edit not found")
    if not message.from_bot:
        raise bad_request("message can't be edited")
    return message


def _replace(message: Message, content: Content) -> Json:
    if content == message.content:
        raise bad_request(
            "message is not modified: specified new message content and reply markup "
            "are exactly the same as a current content and reply markup of the message"
        )
    message.chat.replace(message, content)
    return message.as_json()


def _present_messages(chat: Chat, numbers: list[object]) -> list[Message]:
    found = (chat.present(int(str(number))) for number in numbers if str(number).isdecimal())
    return [message for message in found if message is not None]


def _is_deletable(message: Message) -> bool:
    return time.time() - message.date < _DELETABLE_SECONDS


METHODS = {
    "editMessageText": edit_message_text,
    "editMessageCaption": edit_message_caption,
    "editMessageMedia": edit_message_media,
    "editMessageReplyMarkup": edit_message_reply_markup,
    "deleteMessage": delete_message,
    "deleteMessages": delete_messages,
}
