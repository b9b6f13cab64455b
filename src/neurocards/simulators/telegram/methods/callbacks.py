"""Answering taps: once, in time, in few words."""

import time

from neurocards.simulators.telegram.bots import Bot
from neurocards.simulators.telegram.errors import bad_request
from neurocards.simulators.telegram.parameters import Parameters
from neurocards.simulators.telegram.world import CALLBACK_SECONDS, World


async def answer_callback_query(world: World, bot: Bot, parameters: Parameters) -> bool:
    callback = world.callbacks.get(parameters.text("callback_query_id"))
    if (
        callback is None
        or callback.bot is not bot
        or callback.answered.is_set()
        or time.monotonic() - callback.asked_at > CALLBACK_SECONDS
    ):
        raise bad_request("query is too old and response timeout expired or query ID is invalid")
    text = parameters.text("text")
    if len(text) > 200:
        raise bad_request("MESSAGE_TOO_LONG")
    callback.text = text
    callback.show_alert = parameters.flag("show_alert")
    callback.url = parameters.text("url") or None
    callback.answered.set()
    return True


METHODS = {"answerCallbackQuery": answer_callback_query}
