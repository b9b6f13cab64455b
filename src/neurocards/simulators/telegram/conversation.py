"""A private chat between a person and a bot: its messages, every version of each, and their Bot API shape."""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from neurocards.simulators.telegram.bots import Bot
from neurocards.simulators.telegram.changes import Changes
from neurocards.simulators.telegram.entities import NO_TEXT, FormattedText
from neurocards.simulators.telegram.errors import Json
from neurocards.simulators.telegram.files import StoredFile
from neurocards.simulators.telegram.markup import Buttons

CALLBACK_SECONDS = 150.0
_ACTION_SECONDS = 5.0
_TAPS_KEPT = 100


@dataclass(eq=False)
class Person:
    """Someone with a Telegram account."""

    id: int
    first_name: str
    username: str | None = None
    language_code: str | None = None

    def as_user(self) -> Json:
        return {"id": self.id, "is_bot": False, **self._names()} | (
            {"language_code": self.language_code} if self.language_code else {}
        )

    def as_chat(self) -> Json:
        return {"id": self.id, "type": "private", **self._names()}

    def _names(self) -> Json:
        names = {"first_name": self.first_name}
        return names | ({"username": self.username} if self.username else {})


@dataclass(frozen=True)
class Media:
    """What a message shows besides text; for a photo `file` is the largest of `sizes`."""

    kind: str
    file: StoredFile
    sizes: tuple[StoredFile, ...] = ()
    cover: tuple[StoredFile, ...] = ()
    details: Json = field(default_factory=dict)

    def as_json(self) -> Json:
        """The message fields that carry it."""
        if self.kind == "photo":
            return {"photo": [size.as_json() for size in self.sizes]}
        body = self.file.as_json() | self.details
        if self.cover:
            body["cover"] = [size.as_json() for size in self.cover]
        # Telegram repeats an animation as a document for readers older than animations.
        return {self.kind: body} | ({"document": body} if self.kind == "animation" else {})


@dataclass(frozen=True)
class Content:
    """All that an edit can replace; with media the text is its caption."""

    text: FormattedText = NO_TEXT
    media: Media | None = None
    buttons: Buttons | None = None


@dataclass(frozen=True)
class Edit:
    """A version of a message that has been replaced, and when it had been written."""

    content: Content
    date: int


@dataclass(eq=False)
class Message:
    """One message with its whole past."""

    chat: "Chat"
    message_id: int
    from_bot: bool
    date: int
    content: Content
    service: Json = field(default_factory=dict)
    media_group_id: str | None = None
    reply_to: "Message | None" = None
    edited_at: int | None = None
    edits: list[Edit] = field(default_factory=list)
    reactions: list[Json] = field(default_factory=list)
    deleted: bool = False
    version: int = 0

    def as_json(self) -> Json:
        """The message as the Bot API describes it."""
        person = self.chat.person
        described: Json = {
            "message_id": self.message_id,
            "from": self.chat.bot.as_user() if self.from_bot else person.as_user(),
            "chat": person.as_chat(),
            "date": self.date,
            **self.service,
            **self._body(),
        }
        if self.content.buttons:
            described["reply_markup"] = {"inline_keyboard": self.content.buttons}
        if self.media_group_id:
            described["media_group_id"] = self.media_group_id
        if self.edited_at:
            described["edit_date"] = self.edited_at
        if self.reply_to and not self.reply_to.deleted:
            described["reply_to_message"] = self.reply_to.without_reply()
        return described

    def without_reply(self) -> Json:
        return {name: value for name, value in self.as_json().items() if name != "reply_to_message"}

    def _body(self) -> Json:
        text, media = self.content.text, self.content.media
        body: Json = media.as_json() if media else {}
        name, entities_name = ("caption", "caption_entities") if media else ("text", "entities")
        if text.text:
            body[name] = text.text
        if text.entities:
            body[entities_name] = list(text.entities)
        return body


@dataclass(eq=False)
class Callback:
    """One tap on a button; the app shows a spinner until it is answered."""

    id: str
    chat: "Chat"
    message_id: int
    data: str
    asked_at: float
    text: str = ""
    show_alert: bool = False
    url: str | None = None
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    version: int = 0

    @property
    def can_be_answered(self) -> bool:
        return not self.answered.is_set() and time.monotonic() - self.asked_at <= CALLBACK_SECONDS

    def answer(self, text: str, *, show_alert: bool, url: str | None) -> None:
        self.text, self.show_alert, self.url = text, show_alert, url
        self.answered.set()
        self.version = self.chat.changes.announce()

    def as_json(self) -> Json:
        return {
            "id": self.id,
            "message_id": self.message_id,
            "data": self.data,
            "answered": self.answered.is_set(),
            "text": self.text,
            "show_alert": self.show_alert,
            "url": self.url,
        }


@dataclass(eq=False)
class Chat:
    """One person's private chat with one bot; every change raises its version.

    The key tells it from any other chat there ever was, also from its namesake before a restart.
    """

    bot: Bot
    person: Person
    changes: Changes
    key: str = field(default_factory=lambda: secrets.token_hex(6))
    messages: dict[int, Message] = field(default_factory=dict)
    taps: deque[Callback] = field(default_factory=lambda: deque(maxlen=_TAPS_KEPT))
    blocked: bool = False
    keyboard: list[list[str]] | None = None
    _action: tuple[str, float] | None = None

    def add(
        self,
        content: Content,
        *,
        from_bot: bool,
        service: Json | None = None,
        media_group_id: str | None = None,
        reply_to: Message | None = None,
    ) -> Message:
        """Append a message; one from the bot ends what the chat shows it doing."""
        message = Message(
            chat=self,
            message_id=len(self.messages) + 1,
            from_bot=from_bot,
            date=int(time.time()),
            content=content,
            service=service or {},
            media_group_id=media_group_id,
            reply_to=reply_to,
        )
        self.messages[message.message_id] = message
        if from_bot:
            self._action = None
        self.touch(message)
        return message

    def replace(self, message: Message, content: Content) -> None:
        """Edit a message; the version it had joins its past."""
        message.edits.append(Edit(message.content, message.edited_at or message.date))
        message.content = content
        message.edited_at = int(time.time())
        self.touch(message)

    def delete(self, message: Message) -> None:
        message.deleted = True
        self.touch(message)

    def touch(self, message: Message) -> None:
        message.version = self.changes.announce()

    def present(self, message_id: int) -> Message | None:
        """The message, unless it never was or has been deleted."""
        message = self.messages.get(message_id)
        return None if message is None or message.deleted else message

    def ask(self, message: Message, data: str) -> Callback:
        """Remember a tap that the bot has to answer."""
        callback = Callback(str(secrets.randbits(62)), self, message.message_id, data, time.monotonic())
        self.taps.append(callback)
        callback.version = self.changes.announce()
        return callback

    def newest_first(self) -> Iterator[Message]:
        return (message for message in reversed(self.messages.values()) if not message.deleted)

    def page_before(self, message_id: int, limit: int) -> tuple[list[Message], bool]:
        """Up to `limit` messages before this id, oldest first, and whether there are still earlier ones."""
        older = (message for message in self.newest_first() if message.message_id < message_id)
        page = list(islice(older, limit))[::-1]
        return page, next(older, None) is not None

    @property
    def action(self) -> str | None:
        """What the bot is shown doing, for five seconds after it said so."""
        return self._action[0] if self._action and time.monotonic() < self._action[1] else None

    def show_action(self, action: str) -> float:
        """Show the bot as busy; returns for how many seconds."""
        self._action = action, time.monotonic() + _ACTION_SECONDS
        self.changes.announce()
        return _ACTION_SECONDS
