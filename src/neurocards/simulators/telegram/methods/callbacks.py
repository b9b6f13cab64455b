"""Answering taps: once, in time, in few words."""

from neurocards.simulators.telegram.bots import Bot
from neurocards.simulators.telegram.errors import bad_request
from neurocards.simulators.telegram.parameters import Parameters
from neurocards.simulators.telegram.world import World


async def answer_callback_query(world: World, bot: Bot, parameters: Parameters) -> bool:
    callback = world.callbacks.get(parameters.text("callback_query_id"))
    if callback is None or callback.chat.bot is not bot or not callback.can_be_answered:
        raise bad_request("query is too old and response timeout expired or query ID is invalid")
    text = parameters.text("text")
    if len(text) > 200:
        raise bad_request("MESSAGE_TOO_LONG")
    callback.answer(text, show_alert=parameters.flag("show_alert"), url=parameters.text("url") or None)
    return True


METHODS = {"answerCallbackQuery": answer_callback_query}
