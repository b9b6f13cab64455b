"""The whole state behind the simulator: bots, people, chats, files, open questions, faults and calls.

It knows nothing of HTTP. Bots act on it through `methods`, people through `person`, and every change, of a
chat or of anything, can be awaited, so that a page can show the same state live.
"""

import itertools
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from neurocards.simulators.telegram.bots import Bot
from neurocards.simulators.telegram.calls import CallLog
from neurocards.simulators.telegram.changes import Changes
from neurocards.simulators.telegram.conversation import Callback, Chat, Media, Message, Person
from neurocards.simulators.telegram.errors import CannotDo, Json, bad_request, blocked_by_person
from neurocards.simulators.telegram.faults import Faults
from neurocards.simulators.telegram.files import FileStore
from neurocards.simulators.telegram.media import Studio
from neurocards.simulators.telegram.payments import Checkout, Invoice

_CALLBACKS_KEPT = 100_000
_FIRST_PERSON_ID = 700_000_001


@dataclass(frozen=True)
class SentUpdate:
    """An update as its bot gets it; the number orders the updates of all bots."""

    number: int
    person_id: int
    body: Json


class World:
    """Everything that exists; lives in one event loop."""

    def __init__(self, *, calls_kept: int = 200_000) -> None:
        self.key = secrets.token_hex(6)
        self.changes = Changes()
        self.is_closed = False
        self.files = FileStore()
        self.studio = Studio(self.files)
        self.calls = CallLog(calls_kept, self.changes)
        self.faults = Faults(Changes(part_of=self.changes))
        self.people: dict[int, Person] = {}
        self.bots: dict[str, Bot] = {}
        self.revoked: set[str] = set()
        self.callbacks: OrderedDict[str, Callback] = OrderedDict()
        self.checkouts: dict[str, Checkout] = {}
        self.invoices: dict[Message, Invoice] = {}
        self.invoice_links: dict[str, tuple[Bot, Invoice]] = {}
        self._media: dict[str, Media] = {}
        self._unclaimed: Bot | None = None
        self._chats: dict[tuple[Bot, int], Chat] = {}
        self._person_ids = itertools.count(_FIRST_PERSON_ID)
        self._update_numbers = itertools.count(1)
        self._latest_updates: dict[tuple[Bot, int], SentUpdate] = {}

    async def close(self) -> None:
        """End open long polls, streams and deliveries, and remove the files."""
        self.is_closed = True
        self.changes.announce()
        for chat in self._chats.values():
            chat.changes.announce()
        for bot in self.bots.values():
            await bot.updates.close()
        self.files.close()

    def bot_of(self, token: str) -> Bot:
        """The bot with this token; the first one to appear receives what was sent before it."""
        bot = self.bots.get(token)
        if bot is None:
            bot = self._unclaimed or Bot()
            self._unclaimed = None
            bot.token = token
            self.bots[token] = bot
        return bot

    def revoke(self, bot: Bot) -> None:
        """What @BotFather's /revoke does: the token opens nothing from now on."""
        if bot.token is not None:
            self.revoked.add(bot.token)

    def chosen_bot(self, choice: str | None) -> Bot:
        """The bot a person means, by id or username; without a choice the one that appeared last."""
        if choice is not None:
            for bot in reversed(self.bots.values()):
                if choice in (str(bot.id), bot.username, bot.token):
                    return bot
            raise CannotDo(404, f"no bot {choice}")
        if self.bots:
            return next(reversed(self.bots.values()))
        self._unclaimed = self._unclaimed or Bot()
        return self._unclaimed

    def add_person(
        self,
        *,
        id: int | None = None,
        first_name: str,
        username: str | None = None,
        language_code: str | None = None,
    ) -> Person:
        """Create a person, or give the one with this id new names."""
        if id is None:
            id = next(number for number in self._person_ids if number not in self.people)
        person = self.people.setdefault(id, Person(id, first_name))
        person.first_name, person.username, person.language_code = first_name, username, language_code
        self.changes.announce()
        return person

    def change_language(self, person: Person, language_code: str | None) -> None:
        """Set the person's app to another language; bots hear of it with the next update."""
        person.language_code = language_code
        self.changes.announce()

    def person(self, person_id: int) -> Person:
        person = self.people.get(person_id)
        if person is None:
            raise CannotDo(404, f"no person {person_id}")
        return person

    def find_chat(self, bot: Bot, person: Person) -> Chat | None:
        """The chat of the two, if it has begun."""
        return self._chats.get((bot, person.id))

    def open_chat(self, bot: Bot, person: Person) -> Chat:
        """The chat of the two, begun now if it did not exist."""
        chat = self.find_chat(bot, person)
        if chat is None:
            chat = self._chats[bot, person.id] = Chat(bot, person, Changes(part_of=self.changes))
        return chat

    def chat_for_bot(self, bot: Bot, chat_id: object, *, must_be_open: bool = True) -> Chat:
        """The chat a bot names; refused when the person never started it or has blocked the bot."""
        if chat_id is None or chat_id == "":
            raise bad_request("chat_id is empty")
        number = str(chat_id)
        chat = self._chats.get((bot, int(number))) if number.lstrip("-").isdecimal() else None
        if chat is None:
            raise bad_request("chat not found")
        if chat.blocked and must_be_open:
            raise blocked_by_person()
        return chat

    def remember_media(self, media: Media) -> Media:
        """Let every file id of this media stand for all of it when it is sent again."""
        for file in media.sizes or (media.file,):
            self._media[file.file_id] = media
        return media

    def media_again(self, bot: Bot, file_id: str) -> Media | None:
        """The media a bot names by one of its file ids; None for a file that is only part of another."""
        return self._media.get(self.files.owned(bot, file_id).file_id)

    def notify(self, chat: Chat, kind: str, body: Json) -> None:
        """Send an update to the chat's bot, with whatever trouble its delivery is to meet."""
        trouble = self.faults.take_for_update(kind)
        update = chat.bot.updates.push(
            kind,
            body,
            person_id=chat.person.id,
            repeats=trouble.repeats,
            late_seconds=trouble.late_seconds,
        )
        if update:
            sent = SentUpdate(next(self._update_numbers), chat.person.id, update.as_json())
            self._latest_updates[chat.bot, chat.person.id] = sent
            self.changes.announce()

    def latest_update(self, bot: Bot, person_id: int) -> SentUpdate | None:
        """The last update by which the bot was told of this person."""
        return self._latest_updates.get((bot, person_id))

    def ask_callback(self, chat: Chat, message: Message, data: str) -> Callback:
        """Tell the bot of a tap and remember that it has to be answered."""
        callback = chat.ask(message, data)
        self.callbacks[callback.id] = callback
        if len(self.callbacks) > _CALLBACKS_KEPT:
            self.callbacks.popitem(last=False)
        inaccessible = {"chat": chat.person.as_chat(), "message_id": message.message_id, "date": 0}
        body = {
            "id": callback.id,
            "from": chat.person.as_user(),
            "message": inaccessible if message.deleted else message.as_json(),
            "chat_instance": f"{chat.person.id}{chat.bot.id}",
            "data": data,
        }
        self.notify(chat, "callback_query", body)
        return callback
