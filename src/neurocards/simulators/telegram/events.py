"""One stream of Server-Sent Events for a whole page: what is new in the chats it shows, and in the engine room.

A stream remembers what its page has seen and sends only what is newer. Nothing is queued for it: it looks at
the world whenever that has changed, so a slow page skips versions and a page that vanished leaves nothing behind.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from fastapi import APIRouter, HTTPException
from fastapi.responses import StreamingResponse

from neurocards.simulators.telegram.bots import Bot
from neurocards.simulators.telegram.conversation import Chat, Message, Person
from neurocards.simulators.telegram.dependencies import AnyWorld, FilesUrl
from neurocards.simulators.telegram.errors import Json
from neurocards.simulators.telegram.views import bubble_view, person_view
from neurocards.simulators.telegram.world import World

_PHONE = re.compile(r"(\d{1,19})(?:~([0-9a-f]*)\.(\d+))?", re.ASCII)
_MESSAGES_AT_FIRST = 150
_CALLS_AT_FIRST = 200
# Bursts of changes become one look, so a storm of calls is not slowed by the pages that watch it.
_PAUSE_SECONDS = 0.03
_TICK_SECONDS = 5.0

router = APIRouter(prefix="/sim")


@router.get("/events")
async def events(
    world: AnyWorld,
    files_url: FilesUrl,
    *,
    people: str = "",
    calls_since: int | None = None,
    seen: str | None = None,
    bot: str | None = None,
) -> StreamingResponse:
    """News of these people's chats; with `calls_since` also of calls and updates.

    `people` lists ids, each perhaps with the cursor up to which its chat is known (`ID~CURSOR`); `seen` is the
    key of the world that `calls_since` refers to.
    """
    world.chosen_bot(bot)  # refuses a bot that is not there, which a stream could not
    phones = [_phone(part) for part in people.split(",") if part]
    if calls_since is not None and seen != world.key:
        calls_since = 0
    watch = Watch(world, files_url, phones, calls_since, bot)
    return StreamingResponse(watch.stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@dataclass
class Phone:
    """What the page knows of one person's chat."""

    person_id: int
    chat_key: str = ""
    version: int = -1
    face: Json | None = None

    def news(self, bot: Bot, person: Person, chat: Chat | None, *, files_url: str) -> Json | None:
        """What has changed since the last look; everything when it is another chat."""
        key, version = (chat.key, chat.changes.version) if chat else ("", 0)
        face = _face(bot, person, chat)
        is_fresh = self.version < 0 or key != self.chat_key
        if not is_fresh and (version, face) == (self.version, self.face):
            return None
        since = -1 if is_fresh else self.version
        self.chat_key, self.version, self.face = key, version, face
        messages, has_earlier = _messages(chat, since)
        return {
            "id": person.id,
            "cursor": f"{key}.{version}",
            "is_fresh": is_fresh,
            "face": face,
            "messages": [bubble_view(message, files_url=files_url) for message in messages],
            "has_earlier": has_earlier,
            "taps": _taps(chat, since),
        }


@dataclass
class Watch:
    """One page's view of the world."""

    world: World
    files_url: str
    phones: list[Phone]
    calls_since: int | None
    bot_choice: str | None
    faults_version: int = -1
    update_number: int = 0

    async def stream(self) -> AsyncIterator[str]:
        """News as events until the world ends; a tick now and then tells that there are none."""
        yield _event("hello", {"world": self.world.key})
        while not self.world.is_closed:
            version = self.world.changes.version
            news = "".join(_event(name, body) for name, body in self._news())
            yield news or _event("tick", {})
            await asyncio.sleep(_PAUSE_SECONDS)
            await self.world.changes.wait_beyond(version, _TICK_SECONDS)

    def _news(self) -> Iterator[tuple[str, object]]:
        bot = self.world.chosen_bot(self.bot_choice)
        for phone in self.phones:
            # Somebody who does not exist yet may be added while the page waits.
            if person := self.world.people.get(phone.person_id):
                chat = self.world.find_chat(bot, person)
                if news := phone.news(bot, person, chat, files_url=self.files_url):
                    yield "phone", news
        if self.faults_version != self.world.faults.changes.version:
            self.faults_version = self.world.faults.changes.version
            yield "faults", [fault.model_dump(mode="json") for fault in self.world.faults.left]
        if self.calls_since is not None:
            yield from self._engine_room(bot, self.calls_since)

    def _engine_room(self, bot: Bot, calls_since: int) -> Iterator[tuple[str, object]]:
        log = self.world.calls
        since = max(calls_since, log.last_id - _CALLS_AT_FIRST)
        calls, self.calls_since = log.after(since, method=None, limit=_CALLS_AT_FIRST)
        if calls:
            yield "calls", [call.in_brief() for call in calls]
        updates = [self.world.latest_update(bot, phone.person_id) for phone in self.phones]
        latest = max((update for update in updates if update), key=lambda update: update.number, default=None)
        if latest and latest.number > self.update_number:
            self.update_number = latest.number
            yield "update", {"person_id": latest.person_id, "update": latest.body}


def _phone(part: str) -> Phone:
    found = _PHONE.fullmatch(part)
    if found is None:
        raise HTTPException(422, f"not a person's id, or one with a cursor: {part}")
    person_id, key, version = found.groups()
    return Phone(int(person_id)) if key is None else Phone(int(person_id), key, int(version))


def _face(bot: Bot, person: Person, chat: Chat | None) -> Json:
    """All that a phone shows besides messages."""
    language = person.language_code
    return {
        "person": person_view(person),
        "bot": {
            "name": bot.profile_for("name", language) or bot.as_user()["first_name"],
            "username": bot.username,
            "description": bot.profile_for("description", language),
            "commands": bot.commands_for(person.id, language),
        },
        "action": chat.action if chat else None,
        "is_blocked": chat.blocked if chat else False,
        "keyboard": chat.keyboard if chat else None,
    }


def _messages(chat: Chat | None, since: int) -> tuple[list[Message], bool]:
    """What changed since a version; for a page that knows nothing, the end of the chat."""
    if chat is None:
        return [], False
    if since < 0:
        return chat.page_before(len(chat.messages) + 1, _MESSAGES_AT_FIRST)
    return [message for message in chat.messages.values() if message.version > since], False


def _taps(chat: Chat | None, since: int) -> list[Json]:
    """Taps begun or answered since a version; a page that knows nothing hears only of those still open."""
    if chat is None:
        return []
    if since < 0:
        return [tap.as_json() for tap in chat.taps if tap.can_be_answered]
    return [tap.as_json() for tap in chat.taps if tap.version > since]


def _event(name: str, body: object) -> str:
    return f"event: {name}\ndata: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n"
