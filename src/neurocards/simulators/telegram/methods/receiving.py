"""How the bot gets its updates: by long polling or by webhook, never both."""

import re

from neurocards.simulators.telegram.bots import Bot
from neurocards.simulators.telegram.errors import Json, bad_request
from neurocards.simulators.telegram.parameters import Parameters
from neurocards.simulators.telegram.webhook import Webhook
from neurocards.simulators.telegram.world import World

_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")


async def get_updates(world: World, bot: Bot, parameters: Parameters) -> list[Json]:
    bot.updates.allow(parameters.listed("allowed_updates"))
    limit = parameters.integer("limit", 100)
    return await bot.updates.poll(
        offset=parameters.integer("offset", 0),
        limit=limit if 1 <= limit <= 100 else 100,
        timeout_seconds=parameters.integer("timeout", 0),
    )


async def set_webhook(world: World, bot: Bot, parameters: Parameters) -> bool:
    url = parameters.text("url")
    if not url:
        return await delete_webhook(world, bot, parameters)
    if not url.startswith(("http://", "https://")):
        raise bad_request("bad webhook: An HTTPS URL must be provided for webhook")
    secret = parameters.text("secret_token")
    if secret and not _SECRET.fullmatch(secret):
        raise bad_request("secret token contains unallowed characters")
    await _stop(bot, drop_pending=parameters.flag("drop_pending_updates"))
    bot.updates.allow(parameters.listed("allowed_updates"))
    bot.updates.use_webhook(
        Webhook(
            url,
            secret=secret or None,
            max_connections=max(1, min(parameters.integer("max_connections", 40), 100)),
            on_delivered=bot.updates.delivered,
            on_expired=bot.updates.expired,
        )
    )
    return True


async def delete_webhook(world: World, bot: Bot, parameters: Parameters) -> bool:
    await _stop(bot, drop_pending=parameters.flag("drop_pending_updates"))
    return True


async def get_webhook_info(world: World, bot: Bot, parameters: Parameters) -> Json:
    webhook = bot.updates.webhook
    info: Json = {
        "url": webhook.url if webhook else "",
        "has_custom_certificate": False,
        "pending_update_count": bot.updates.pending_count,
    }
    if bot.updates.allowed:
        info["allowed_updates"] = bot.updates.allowed
    if webhook:
        info["max_connections"] = webhook.max_connections
        if webhook.last_error:
            info["last_error_date"], info["last_error_message"] = webhook.last_error
    return info


async def _stop(bot: Bot, *, drop_pending: bool) -> None:
    webhook = bot.updates.webhook
    if webhook:
        bot.updates.use_webhook(None)
        await webhook.close()
    if drop_pending:
        bot.updates.drop_pending()


METHODS = {
    "getUpdates": get_updates,
    "setWebhook": set_webhook,
    "deleteWebhook": delete_webhook,
    "getWebhookInfo": get_webhook_info,
}
