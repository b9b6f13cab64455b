"""The operators' chat: troubles in words, each with the command that shows it and the page that says what to do."""

from collections.abc import Mapping, Sequence
from html import escape

from aiogram import Bot
from aiogram.exceptions import TelegramBadRequest

from neurocards.bot.trouble import translated
from neurocards.db.alerts import Alert
from neurocards.texts import translate

HELP: Mapping[str, tuple[str, str]] = {
    "answers": ("neurocards attention", "answers-lost"),
    "books": ("neurocards audit", "books-violated"),
    "audit": ("neurocards audit", "books-not-audited"),
    "queue": ("neurocards providers", "queue-waits"),
    "messages": ("neurocards attention", "outbox-waits"),
    "inbox": ("neurocards attention", "inbox-waits"),
    "updates": ("neurocards attention", "updates-dead"),
    "keys": ("neurocards providers", "key-refused"),
    "balance": ("neurocards providers", "key-refused"),
    "backup": ("neurocards restore-check", "backup-not-verified"),
    "paused": ("neurocards sales", "sales-paused"),
    "clock": ("timedatectl", "clock-off"),
    "database": ("neurocards doctor", "database-away"),
    "disk": ("df -h", "disk-full"),
    "orphans": ("neurocards attention", "orphans-cost-much"),
    "workers": ("neurocards providers", "process-down"),
}
"""For each trouble the command that shows it, and its page in docs/runbooks."""

# The message cannot be edited any more.
_GONE = ("message to edit not found", "message can't be edited", "message_id_invalid", "message identifier")


class Alarm:
    """Satisfies `alerts.Teller`."""

    def __init__(self, bot: Bot, chat_id: int) -> None:
        self._bot = bot
        self._chat_id = chat_id

    def words(self, language: str, found: Sequence[Alert]) -> str:
        """A head, then what goes on, then what is over."""
        going_on = [alert for alert in found if alert.over_at is None]
        head = translate(language, "alert-head" if going_on else "alert-head-over")
        lines = [_line(language, alert) for alert in sorted(found, key=lambda one: one.over_at is not None)]
        return "\n\n".join([head, *lines])

    async def say(self, words: str) -> int:
        """A new message, which people hear; returns its id."""
        with translated():
            message = await self._bot.send_message(self._chat_id, words)
        return message.message_id

    async def edit(self, message_id: int, words: str) -> bool:
        """The message says this from now on; False when it is gone."""
        with translated():
            try:
                await self._bot.edit_message_text(words, chat_id=self._chat_id, message_id=message_id)
            except TelegramBadRequest as error:
                refusal = error.message.lower()
                if "message is not modified" in refusal:
                    return True
                if any(known in refusal for known in _GONE):
                    return False
                raise
        return True


def _line(language: str, alert: Alert) -> str:
    facts = {
        name: escape(value, quote=False) if isinstance(value, str) else value for name, value in alert.facts.items()
    }
    what = translate(language, f"alert-{alert.name}", **facts)
    since = f"{alert.began_at:%m-%d %H:%M}"
    if alert.over_at is not None:
        return translate(language, "alert-over", what=what, since=since, until=f"{alert.over_at:%H:%M}")
    command, page = HELP[alert.name]
    return translate(language, "alert-line", what=what, since=since, command=command, page=f"docs/runbooks/{page}.md")
