"""The Telegram stand-in, spoken to as in life: aiogram on the bot's side, HTTP on the person's."""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import av
import httpx2
import numpy as np
import pytest
import uvicorn
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import (
    TelegramBadRequest,
    TelegramConflictError,
    TelegramEntityTooLarge,
    TelegramForbiddenError,
    TelegramNetworkError,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramServerError,
)
from aiogram.methods import TelegramMethod
from aiogram.types import (
    BotCommand,
    BufferedInputFile,
    CallbackQuery,
    FSInputFile,
    InaccessibleMessage,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaPhoto,
    InputMediaVideo,
    LabeledPrice,
    Message,
    ReactionTypeEmoji,
    ReplyParameters,
    Update,
)
from fastapi import FastAPI, Request, Response
from PIL import Image

from neurocards.simulators.telegram import World, create_app
from neurocards.simulators.telegram.entities import FormattedText, parse_html
from neurocards.simulators.telegram.errors import ApiError

Json = dict[str, Any]  # answers of the simulator, asserted field by field
_token_numbers = count(1001)


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    # uvicorn opens the port itself: on a ready-made socket asyncio leaves Nagle's delay on, 40 ms a call.
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for knows no events
            await asyncio.sleep(0.005)


@dataclass
class Telegram:
    """The simulator at its address, and the hands of the people in it."""

    url: str
    world: World
    http: httpx2.AsyncClient

    async def post(self, path: str, body: Json | None = None, *, status: int = 200, **more: Any) -> Any:
        answer = await self.http.post(f"{self.url}/sim{path}", json=body, **more)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def get(self, path: str, **params: Any) -> Any:
        answer = await self.http.get(f"{self.url}/sim{path}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def calls(self, method: str) -> list[Json]:
        calls: list[Json] = (await self.get("/calls", method=method))["calls"]
        return calls

    async def last_message(self, person: int) -> Json:
        message: Json = (await self.get(f"/people/{person}/chat"))["messages"][-1]
        return message

    async def fault(self, method: str, kind: str, **more: Any) -> None:
        await self.post("/faults", {"method": method, "kind": kind, **more})


@pytest.fixture
async def telegram() -> AsyncIterator[Telegram]:
    simulator = create_app()
    house = FastAPI()
    house.mount("/telegram", simulator)  # under a prefix, as the runner serves it
    world = simulator.state.world
    async with served(house) as address, httpx2.AsyncClient(timeout=30, trust_env=False) as http:
        yield Telegram(f"{address}/telegram", world, http)
    await world.close()


MakeBot = Callable[[], Bot]


@pytest.fixture
async def make_bot(telegram: Telegram) -> AsyncIterator[MakeBot]:
    bots: list[Bot] = []

    def make() -> Bot:
        session = AiohttpSession(api=TelegramAPIServer.from_base(telegram.url))
        bots.append(Bot(f"{next(_token_numbers)}:secret", session=session))
        return bots[-1]

    yield make
    await asyncio.gather(*(bot.session.close() for bot in bots))


@pytest.fixture
async def bot(make_bot: MakeBot) -> Bot:
    bot = make_bot()
    await bot.get_me()
    return bot


@pytest.fixture
async def person(telegram: Telegram, bot: Bot) -> int:
    """Someone who has started the bot; the start has been confirmed."""
    person: Json = await telegram.post("/people", {"first_name": "Vera", "language_code": "ru"})
    await telegram.post(f"/people/{person['id']}/start")
    await drain(bot)
    return int(person["id"])


async def drain(bot: Bot) -> list[Update]:
    """Everything that waits for the bot, confirmed."""
    updates = await bot.get_updates(timeout=0)
    if updates:
        await bot.get_updates(offset=updates[-1].update_id + 1, timeout=0, limit=1)
    return updates


async def next_message(bot: Bot) -> Message:
    [update] = await drain(bot)
    assert update.message
    return update.message


async def next_tap(bot: Bot) -> CallbackQuery:
    [update] = await drain(bot)
    assert update.callback_query
    return update.callback_query


def buttons(*labels_and_data: tuple[str, str]) -> InlineKeyboardMarkup:
    row = [InlineKeyboardButton(text=text, callback_data=data) for text, data in labels_and_data]
    return InlineKeyboardMarkup(inline_keyboard=[row])


def picture(width: int, height: int, *, format: str = "PNG") -> bytes:
    made = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(made, format)
    return made.getvalue()


def clip(path: Path, *, with_sound: bool) -> Path:
    """Two seconds of 96x128 video."""
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        video = container.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 96, 128, "yuv420p"
        sound = container.add_stream("aac", rate=48_000) if with_sound else None
        for number in range(20):
            pixels = np.full((128, 96, 3), number * 12, dtype=np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode())
        if sound:
            for number in range(93):
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = 48_000, number * 1024, Fraction(1, 48_000)
                container.mux(sound.encode(frame))
            container.mux(sound.encode())
    return path


async def refusal(call: Awaitable[object] | TelegramMethod[Any]) -> str:
    """Telegram's words for a 400."""
    with pytest.raises(TelegramBadRequest) as refused:
        await call
    return refused.value.message


# Talking


async def test_text_buttons_tap_answer_edit(telegram: Telegram, bot: Bot, person: int) -> None:
    sent = await bot.send_message(
        person, "<b>Price</b>: 5 €", parse_mode="HTML", reply_markup=buttons(("Confirm", "yes"), ("Cancel", "no"))
    )
    assert sent.text == "Price: 5 €"
    assert sent.entities and (sent.entities[0].type, sent.entities[0].length) == ("bold", 5)

    shown = await telegram.last_message(person)
    assert shown["html"] == "<b>Price</b>: 5 €"
    assert [button["text"] for button in shown["buttons"][0]] == ["Confirm", "Cancel"]

    tapped = await telegram.post(f"/people/{person}/tap", {"message_id": sent.message_id, "button": "Confirm"})
    tap = await next_tap(bot)
    assert (tap.id, tap.data, tap.from_user.id) == (tapped["callback_query_id"], "yes", person)
    assert tap.message and tap.message.message_id == sent.message_id

    waiting = asyncio.create_task(telegram.get(f"/callbacks/{tap.id}", wait=5))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await bot.answer_callback_query(tap.id, text="Done", show_alert=True)
    answer = await waiting
    assert (answer["answered"], answer["text"], answer["show_alert"]) == (True, "Done", True)
    assert "query is too old" in await refusal(bot.answer_callback_query(tap.id))

    await bot.edit_message_text("Accepted", chat_id=person, message_id=sent.message_id)
    again = bot.edit_message_text("Accepted", chat_id=person, message_id=sent.message_id)
    assert "message is not modified" in await refusal(again)
    shown = await telegram.last_message(person)
    assert (shown["text"], shown["buttons"]) == ("Accepted", [])
    assert [edit["text"] for edit in shown["edits"]] == ["Price: 5 €"]

    # The buttons are gone, but an outdated screen can still send what one of them meant.
    await telegram.post(f"/people/{person}/tap", {"message_id": sent.message_id, "button": "Cancel"}, status=404)
    await telegram.post(f"/people/{person}/tap", {"message_id": sent.message_id, "forged_data": "no"})
    assert (await next_tap(bot)).data == "no"


async def test_messages_of_the_person(telegram: Telegram, bot: Bot, person: int) -> None:
    await telegram.post(f"/people/{person}/start", {"payload": "r_42"})
    message = await next_message(bot)
    assert message.text == "/start r_42"
    assert message.from_user and message.from_user.language_code == "ru"
    assert message.entities and message.entities[0].type == "bot_command" and message.entities[0].length == 6

    written = await telegram.post(f"/people/{person}/text", {"text": "a red mug"})
    await telegram.post(f"/people/{person}/edit", {"message_id": written["message_id"], "text": "a blue mug"})
    first, second = await drain(bot)
    assert first.message and first.message.text == "a red mug"
    assert second.edited_message and second.edited_message.text == "a blue mug"
    assert second.edited_message.edit_date and second.edited_message.message_id == written["message_id"]

    await telegram.post(f"/people/{person}/language", {"language_code": "en"})
    await telegram.post(f"/people/{person}/text", {"text": "hello"})
    message = await next_message(bot)
    assert message.from_user and message.from_user.language_code == "en"
    for too_much in ("", "x" * 4097):
        await telegram.post(f"/people/{person}/text", {"text": too_much}, status=422)


async def test_chat_long_poll(telegram: Telegram, bot: Bot, person: int) -> None:
    version = (await telegram.get(f"/people/{person}/chat"))["version"]
    waiting = asyncio.create_task(telegram.get(f"/people/{person}/chat", since=version, wait=10))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await bot.send_chat_action(person, "upload_video")
    chat = await waiting
    assert chat["version"] > version and chat["action"] == "upload_video"

    sent = await bot.send_message(person, "ready")
    assert (await telegram.get(f"/people/{person}/chat"))["action"] is None
    await bot.set_message_reaction(person, sent.message_id, [ReactionTypeEmoji(emoji="🔥")])
    await bot.delete_message(person, sent.message_id)
    shown = await telegram.last_message(person)
    assert shown["deleted"] and shown["reactions"][0]["emoji"] == "🔥"


async def test_news_are_what_changed_since(telegram: Telegram, bot: Bot, person: int) -> None:
    first, second = [await bot.send_message(person, text) for text in ("one", "two")]
    known = await telegram.get(f"/people/{person}/news")
    assert [one["text"] for one in known["messages"]] == ["/start", "one", "two"]
    assert (await telegram.get(f"/people/{person}/news", since=known["version"]))["messages"] == []

    await bot.edit_message_text("1", chat_id=person, message_id=first.message_id)
    await bot.delete_message(person, second.message_id)
    news = await telegram.get(f"/people/{person}/news", since=known["version"], wait=5)
    assert [(one["text"], one["deleted"], one["edit_count"]) for one in news["messages"]] == [
        ("1", False, 1),
        ("two", True, 0),
    ]


async def test_what_was_said_before_the_first_bot_reaches_it(telegram: Telegram, make_bot: MakeBot) -> None:
    await telegram.post("/people", {"id": 5, "first_name": "Early"})
    await telegram.post("/people/5/start")
    first, second = make_bot(), make_bot()
    assert (await next_message(first)).text == "/start"
    await second.get_me()
    assert await drain(second) == []
    await first.send_message(5, "hello")
    await telegram.post("/people/5/text", {"text": "to the first"}, params={"bot": str(first.id)})
    assert (await next_message(first)).text == "to the first"
    assert await refusal(second.send_message(5, "hello")) == "Bad Request: chat not found"


# Strictness


async def test_texts_that_are_refused(bot: Bot, person: int) -> None:
    assert await refusal(bot.send_message(person, " ")) == "Bad Request: message text is empty"
    assert await refusal(bot.send_message(person, "x" * 4097)) == "Bad Request: message is too long"
    assert (await bot.send_message(person, f"<b>{'x' * 4096}</b>", parse_mode="HTML")).text == "x" * 4096
    too_long = bot.send_photo(person, BufferedInputFile(picture(20, 20), "a.png"), caption="x" * 1025)
    assert await refusal(too_long) == "Bad Request: message caption is too long"
    answer_to_nothing = bot.send_message(person, "x", reply_parameters=ReplyParameters(message_id=999))
    assert await refusal(answer_to_nothing) == "Bad Request: message to be replied not found"
    assert await refusal(bot.send_message(999, "x")) == "Bad Request: chat not found"
    broken = await refusal(bot.send_message(person, "<b>open", parse_mode="HTML"))
    assert broken == "Bad Request: can't parse entities: Can't find end tag corresponding to start tag \"b\""


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("<b>open", 'Can\'t find end tag corresponding to start tag "b"'),
        ("я <i>x</b>", 'Unmatched end tag at byte offset 7, expected "</i>", found "</b>"'),
        ("x</b>", "Unexpected end tag at byte offset 1"),
        ("<div>x</div>", 'Unsupported start tag "div" at byte offset 0'),
        ("2 < 3", 'Unsupported start tag "" at byte offset 2'),
        ("<b", "Unclosed start tag at byte offset 0"),
        ("<a href=x?y>z</a>", "Unexpected end of name token at byte offset 8"),
        ("<a href=x", 'Unclosed start tag "a" at byte offset 0'),
        ('<a href="x', 'Unclosed start tag "a" at byte offset 0'),
        ("<b>x</b", "Unclosed end tag at byte offset 4"),
        ("<span>x</span>", 'Tag "span" must have class "tg-spoiler" at byte offset 0'),
    ],
)
def test_html_that_is_refused(source: str, words: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse_html(source)
    assert refused.value.description == f"Bad Request: can't parse entities: {words}"


@pytest.mark.parametrize(
    ("source", "text", "entities"),
    [
        ("&lt;b&gt; &amp; &quot; &nbsp; &#8381;", '<b> & " &nbsp; ₽', []),
        ("😀<B>x<i>y</i></B>", "😀xy", [("bold", 2, 2, {}), ("italic", 3, 1, {})]),
        ('<a href="https://a.b/?x=1&amp;y=2">l</a>', "l", [("text_link", 0, 1, {"url": "https://a.b/?x=1&y=2"})]),
        ('<pre><code class="language-py">x</code></pre>', "x", [("pre", 0, 1, {"language": "py"})]),
        ('<code class="language-py">x</code>', "x", [("code", 0, 1, {})]),
        ("<blockquote expandable>q</blockquote>", "q", [("expandable_blockquote", 0, 1, {})]),
        ('<a href="javascript:x">l</a><a>m.n</a>', "lm.n", [("text_link", 1, 3, {"url": "http://m.n"})]),
        ("<tg-spoiler>s</tg-spoiler><u></u>", "s", [("spoiler", 0, 1, {})]),
    ],
)
def test_html_that_is_read(source: str, text: str, entities: list[tuple[str, int, int, Json]]) -> None:
    read = parse_html(source)
    assert read.text == text
    assert list(read.entities) == [
        {"type": type, "offset": offset, "length": length, **more} for type, offset, length, more in entities
    ]


@pytest.mark.parametrize(
    "source",
    [
        "a &lt; b &amp; c",
        "😀<b>x<i>😀y</i>z</b> <u>u</u>",
        '<a href="https://a.b/?x=1&amp;y=2">l</a>',
        '<pre><code class="language-py">x</code></pre>',
        "<blockquote expandable><tg-spoiler>s</tg-spoiler></blockquote>",
    ],
)
def test_html_shown_is_html_sent(source: str) -> None:
    assert parse_html(source).as_html() == source


def test_html_shown_is_safe_whatever_was_sent() -> None:
    sly = {"type": "text_link", "offset": 0, "length": 9, "url": "javascript:x"}
    crossing = [{"type": "bold", "offset": 0, "length": 4}, {"type": "italic", "offset": 2, "length": 5}]
    assert FormattedText("<x>", (sly,)).as_html() == "&lt;x&gt;"
    assert FormattedText("abcdefg", tuple(crossing)).as_html() == "<b>ab<i>cd</i></b>efg"


@pytest.mark.parametrize("source", ["<", "</", "<a ", "<a b", "<a b=", "<a b='", "</b", "&", "&#x110000;<b>", "<b/>"])
def test_html_cut_anywhere_is_refused_not_a_crash(source: str) -> None:
    for broken in (source, f"<b>{source}"):
        try:
            parse_html(broken)
        except ApiError as error:
            assert error.status == 400


async def test_buttons_that_are_refused(bot: Bot, person: int) -> None:
    async def refused(**button: Any) -> str:
        keyboard = InlineKeyboardMarkup(inline_keyboard=[[InlineKeyboardButton(**button)]])
        return await refusal(bot.send_message(person, "x", reply_markup=keyboard))

    assert await refused(text="x", callback_data="я" * 32 + "x") == "Bad Request: BUTTON_DATA_INVALID"
    assert "Text buttons are unallowed" in await refused(text="x")
    assert "exactly one action" in await refused(text="x", callback_data="x", url="https://example.org")
    await bot.send_message(person, "x", reply_markup=buttons(("x", "я" * 32)))


async def test_edits_and_deletions_that_are_refused(telegram: Telegram, bot: Bot, person: int) -> None:
    photo = await bot.send_photo(person, BufferedInputFile(picture(20, 20), "a.png"))
    at_photo: Json = {"chat_id": person, "message_id": photo.message_id}
    theirs = await telegram.post(f"/people/{person}/text", {"text": "x"})
    assert "there is no text in the message" in await refusal(bot.edit_message_text("x", **at_photo))
    assert "message to edit not found" in await refusal(bot.edit_message_text("x", chat_id=person, message_id=99))
    not_ours = bot.edit_message_text("x", chat_id=person, message_id=theirs["message_id"])
    assert "message can't be edited" in await refusal(not_ours)
    await bot.edit_message_caption(caption="now", **at_photo)
    assert "not modified" in await refusal(bot.edit_message_caption(caption="now", **at_photo))
    await bot.edit_message_reply_markup(reply_markup=buttons(("x", "x")), **at_photo)
    assert "not modified" in await refusal(bot.edit_message_reply_markup(reply_markup=buttons(("x", "x")), **at_photo))

    await telegram.post(f"/people/{person}/delete", {"message_id": photo.message_id})
    assert "message to edit not found" in await refusal(bot.edit_message_caption(caption="x", **at_photo))
    assert "message to delete not found" in await refusal(bot.delete_message(person, photo.message_id))
    assert await bot.delete_messages(person, [photo.message_id, theirs["message_id"], 99])
    assert (await telegram.last_message(person))["deleted"]
    await drain(bot)
    await telegram.post(f"/people/{person}/tap", {"message_id": photo.message_id, "forged_data": "x"})
    assert isinstance((await next_tap(bot)).message, InaccessibleMessage)


async def test_unknown_method_and_odd_spelling(telegram: Telegram, bot: Bot) -> None:
    unknown = await telegram.http.post(f"{telegram.url}/bot{bot.token}/sendTelepathy")
    assert (unknown.status_code, unknown.json()["ok"]) == (404, False)
    malformed = await telegram.http.post(f"{telegram.url}/botnobody/getMe")
    assert malformed.status_code == 404
    odd = await telegram.http.get(f"{telegram.url}/bot{bot.token}/GETME")
    assert odd.json()["result"]["id"] == bot.id


async def test_json_bodies_are_read(telegram: Telegram, bot: Bot, person: int) -> None:
    body = {"chat_id": person, "text": "hi", "reply_markup": {"inline_keyboard": [[{"text": "a", "url": "tg://x"}]]}}
    answer = await telegram.http.post(f"{telegram.url}/bot{bot.token}/sendMessage", json=body)
    assert answer.json()["result"]["reply_markup"] == body["reply_markup"]
    half = b'{"chat_id": %d, "text": "\\ud83d"}' % person
    headers = {"content-type": "application/json"}
    answer = await telegram.http.post(f"{telegram.url}/bot{bot.token}/sendMessage", content=half, headers=headers)
    assert answer.json()["description"] == "Bad Request: strings must be encoded in UTF-8"


async def test_profile_and_commands(bot: Bot, person: int) -> None:
    await bot.set_my_commands([BotCommand(command="start", description="Begin")], language_code="ru")
    assert [c.command for c in await bot.get_my_commands(language_code="ru")] == ["start"]
    assert await bot.get_my_commands() == []
    assert "BOT_COMMAND_INVALID" in await refusal(bot.set_my_commands([BotCommand(command="А", description="x")]))
    await bot.set_my_name("Cards")
    await bot.set_my_description("Long", language_code="ru")
    await bot.set_my_short_description("Short")
    assert (await bot.get_my_name()).name == (await bot.get_me()).first_name == "Cards"
    assert (await bot.get_my_description(language_code="ru")).description == "Long"
    assert await bot.log_out() and await bot.close()


# Files


async def test_photo_and_document_round_trip(telegram: Telegram, bot: Bot, person: int) -> None:
    original = picture(3000, 1500)
    await telegram.post(f"/people/{person}/photo", files={"file": ("a.png", original)}, data={"caption": "my mug"})
    message = await next_message(bot)
    assert message.caption == "my mug" and message.photo
    largest = message.photo[-1]
    assert (largest.width, largest.height) == (2560, 1280)
    assert [size.width for size in message.photo] == [90, 320, 800, 1280, 2560]
    downloaded = await bot.download(largest.file_id)
    assert downloaded
    with Image.open(downloaded) as opened:
        assert (opened.format, opened.size) == ("JPEG", (2560, 1280))

    await telegram.post(f"/people/{person}/document", files={"file": ("a.png", original)})
    message = await next_message(bot)
    assert message.document and (message.document.mime_type, message.document.file_name) == ("image/png", "a.png")
    downloaded = await bot.download(message.document.file_id)
    assert downloaded and downloaded.read() == original

    for not_an_image in (b"", b"%PDF-1.4 nothing to see"):
        answer = await telegram.post(f"/people/{person}/photo", files={"file": ("a.jpg", not_an_image)}, status=422)
        assert answer["detail"] == "a.jpg is not an image that can be sent as a photo"
    assert await drain(bot) == []


async def test_phone_photos_arrive_upright(telegram: Telegram, bot: Bot, person: int) -> None:
    lying = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new("RGB", (400, 200), "red").save(lying, "JPEG", exif=exif)
    await telegram.post(f"/people/{person}/photo", files={"file": ("a.jpg", lying.getvalue())})
    message = await next_message(bot)
    assert message.photo and (message.photo[-1].width, message.photo[-1].height) == (200, 400)


async def test_album_of_the_person(telegram: Telegram, bot: Bot, person: int) -> None:
    files = [("file", (f"{number}.png", picture(100 + number, 100))) for number in range(3)]
    await telegram.post(f"/people/{person}/album", files=files, data={"caption": "three"})
    messages = [update.message for update in await drain(bot)]
    assert [message.photo[-1].width for message in messages if message and message.photo] == [100, 101, 102]
    assert [message.caption for message in messages if message] == ["three", None, None]
    [group] = {message.media_group_id for message in messages if message}
    assert group
    broken = [*files, ("file", ("x.png", b"x"))]
    await telegram.post(f"/people/{person}/album", files=broken, status=422)
    assert await drain(bot) == []


async def test_video_upload_and_file_id(
    telegram: Telegram, bot: Bot, make_bot: MakeBot, person: int, tmp_path: Path
) -> None:
    path = clip(tmp_path / "clip.mp4", with_sound=True)
    sent = await bot.send_video(
        person,
        FSInputFile(path),
        cover=BufferedInputFile(picture(96, 128), "cover.png"),
        thumbnail=BufferedInputFile(picture(96, 128, format="JPEG"), "thumbnail.jpg"),
        caption="ready",
        supports_streaming=True,
    )
    assert sent.video and sent.video.cover and sent.video.thumbnail and sent.animation is None
    assert (sent.video.width, sent.video.height, sent.video.duration) == (96, 128, 2)
    assert (sent.video.file_size, sent.video.mime_type) == (path.stat().st_size, "video/mp4")

    again = await bot.send_video(person, sent.video.file_id)
    assert again.video and again.video.file_unique_id == sent.video.file_unique_id
    [first, second] = await telegram.calls("sendVideo")
    assert first["parameters"]["video"] == {"name": "clip.mp4", "size": path.stat().st_size}
    assert second["parameters"]["video"] == sent.video.file_id
    assert first["token"] == f"{bot.id}:***" and first["answer"]["result"]["video"]["width"] == 96

    shown = (await telegram.last_message(person))["media"]
    assert (shown["kind"], shown["width"], shown["duration"]) == ("video", 96, 2)
    address = httpx2.URL(telegram.url).join(shown["url"])
    part = await telegram.http.get(address, headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    assert part.headers["content-type"] == "video/mp4"

    other = make_bot()
    await other.get_me()
    await telegram.post(f"/people/{person}/start")
    assert "wrong file_id" in await refusal(other.send_video(person, sent.video.file_id))
    assert "wrong file_id" in await refusal(other.get_file(sent.video.file_id))
    assert "can't use file of type Video as Photo" in await refusal(bot.send_photo(person, sent.video.file_id))
    assert "wrong file identifier" in await refusal(bot.send_video(person, "nonsense"))
    as_document = await bot.send_document(person, FSInputFile(path), disable_content_type_detection=True)
    assert as_document.document and as_document.video is None


async def test_video_that_is_none(bot: Bot, person: int, tmp_path: Path) -> None:
    silent = await bot.send_video(person, FSInputFile(clip(tmp_path / "silent.mp4", with_sound=False)))
    assert silent.animation and silent.video is None and silent.animation.width == 96
    garbage = await bot.send_video(person, BufferedInputFile(b"no video at all", "clip.mp4"))
    assert garbage.document and garbage.video is None
    assert "file must be non-empty" in await refusal(bot.send_video(person, BufferedInputFile(b"", "clip.mp4")))


async def test_editing_media_and_albums_of_the_bot(telegram: Telegram, bot: Bot, person: int, tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.mp4", with_sound=True)
    status = await bot.send_message(person, "working")
    media = InputMediaVideo(media=FSInputFile(path), caption="<i>done</i>", parse_mode="HTML")
    edited = await bot.edit_message_media(media, chat_id=person, message_id=status.message_id)
    assert isinstance(edited, Message) and edited.video and edited.caption == "done"
    shown = await telegram.last_message(person)
    assert (shown["caption_html"], shown["edits"][0]["text"]) == ("<i>done</i>", "working")

    album = await bot.send_media_group(
        person,
        [
            InputMediaPhoto(media=BufferedInputFile(picture(64, 64), "a.png"), caption="both"),
            InputMediaVideo(media=edited.video.file_id),
        ],
    )
    assert album[0].photo and album[1].video and album[0].media_group_id == album[1].media_group_id
    assert [call["parameters"]["media"][0]["media"]["name"] for call in await telegram.calls("sendMediaGroup")] == [
        "a.png"
    ]
    only_one = bot.send_media_group(person, [InputMediaVideo(media=edited.video.file_id)])
    assert "2-10" in await refusal(only_one)


async def test_sizes_that_are_refused(telegram: Telegram, bot: Bot, person: int, tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(20 * 1024 * 1024 + 1))
    with large.open("rb") as content:
        await telegram.post(f"/people/{person}/document", files={"file": ("large.bin", content)})
    message = await next_message(bot)
    assert message.document and message.document.file_size == large.stat().st_size
    assert await refusal(bot.get_file(message.document.file_id)) == "Bad Request: file is too big"
    assert "too big for a photo" in await refusal(bot.send_photo(person, FSInputFile(large)))
    large.write_bytes(bytes(50 * 1024 * 1024 + 1))
    with pytest.raises(TelegramEntityTooLarge):
        await bot.send_document(person, FSInputFile(large))
    long_picture = BufferedInputFile(picture(2100, 100), "long.png")
    assert "PHOTO_INVALID_DIMENSIONS" in await refusal(bot.send_photo(person, long_picture))
    no_picture = BufferedInputFile(b"x", "x.png")
    assert "IMAGE_PROCESS_FAILED" in await refusal(bot.send_photo(person, no_picture))
    path = clip(tmp_path / "clip.mp4", with_sound=True)
    for thumbnail in (picture(96, 128), picture(321, 100, format="JPEG")):
        attached = BufferedInputFile(thumbnail, "thumbnail.jpg")
        assert "wrong thumbnail" in await refusal(bot.send_video(person, FSInputFile(path), thumbnail=attached))


# Faults


async def test_ordered_refusals(telegram: Telegram, bot: Bot, person: int) -> None:
    await telegram.fault("sendMessage", "429", times=2, retry_after=7)
    for _ in range(2):
        with pytest.raises(TelegramRetryAfter) as slow_down:
            await bot.send_message(person, "x")
        assert slow_down.value.retry_after == 7
    await telegram.fault("*", "5xx")
    with pytest.raises(TelegramServerError):
        await bot.send_message(person, "x")
    await telegram.fault("SENDMESSAGE", "403")
    with pytest.raises(TelegramForbiddenError):
        await bot.send_message(person, "x")
    assert await telegram.get("/faults") == []
    assert (await bot.send_message(person, "through")).message_id == 2
    assert [call["status"] for call in await telegram.calls("sendMessage")] == [429, 429, 502, 403, 200]


async def test_blocked_bot(telegram: Telegram, bot: Bot, person: int) -> None:
    await telegram.post(f"/people/{person}/block")
    [update] = await drain(bot)
    assert update.my_chat_member and update.my_chat_member.new_chat_member.status == "kicked"
    with pytest.raises(TelegramForbiddenError, match="bot was blocked by the user"):
        await bot.send_message(person, "x")
    await telegram.post(f"/people/{person}/text", {"text": "x"}, status=409)
    await telegram.post(f"/people/{person}/start")
    unblocked, start = await drain(bot)
    assert unblocked.my_chat_member and unblocked.my_chat_member.new_chat_member.status == "member"
    assert start.message and start.message.text == "/start"
    await bot.send_message(person, "welcome back")


@pytest.mark.parametrize(("kind", "effects"), [("drop_answer", 1), ("reset", 0)])
async def test_lost_connections(telegram: Telegram, bot: Bot, person: int, kind: str, effects: int) -> None:
    await telegram.fault("sendMessage", kind)
    with pytest.raises(TelegramNetworkError):
        await bot.send_message(person, "unknown outcome")
    await asyncio.sleep(0.05)
    texts = [message["text"] for message in (await telegram.get(f"/people/{person}/chat"))["messages"]]
    assert texts.count("unknown outcome") == effects
    [call] = await telegram.calls("sendMessage")
    assert (call["status"], call["fault"]) == (0, kind)
    assert (call["answer"] is not None) is bool(effects)


async def test_delayed_call_takes_effect(telegram: Telegram, bot: Bot, person: int) -> None:
    await telegram.fault("sendMessage", "delay", delay_seconds=0.3)
    began = time.monotonic()
    await bot.send_message(person, "slow")
    assert time.monotonic() - began >= 0.3


async def test_redelivery(telegram: Telegram, bot: Bot, person: int) -> None:
    await telegram.post(f"/people/{person}/text", {"text": "once"})
    [update] = await drain(bot)
    passed = update.update_id + 1
    assert await bot.get_updates(offset=passed) == []
    assert await telegram.post("/redeliver") == {"update_id": update.update_id}
    [again] = await bot.get_updates(offset=passed)
    assert again.update_id == update.update_id and again.message and again.message.text == "once"
    assert await bot.get_updates(offset=passed) == []
    await telegram.post("/redeliver", {"update_id": update.update_id})
    assert len(await bot.get_updates(offset=passed)) == 1
    await telegram.post("/redeliver", {"update_id": 1}, status=404)


async def test_updates_delivered_twice_and_late(telegram: Telegram, bot: Bot, person: int) -> None:
    await telegram.fault("message", "deliver_twice")
    await telegram.post(f"/people/{person}/text", {"text": "twice"})
    [first] = await bot.get_updates()
    [second] = await bot.get_updates(offset=first.update_id + 1)
    assert first.update_id == second.update_id
    assert await bot.get_updates(offset=first.update_id + 1) == []

    await telegram.fault("*", "deliver_late", delay_seconds=0.2)
    await telegram.post(f"/people/{person}/text", {"text": "early"})
    await telegram.post(f"/people/{person}/text", {"text": "late"})
    [late] = await bot.get_updates(offset=first.update_id + 1)
    [early] = await bot.get_updates(offset=late.update_id + 1, timeout=5)
    assert late.message and late.message.text == "late" and early.update_id < late.update_id


# Receiving


async def test_offset_confirms_and_limit_counts(telegram: Telegram, bot: Bot, person: int) -> None:
    for number in range(5):
        await telegram.post(f"/people/{person}/text", {"text": str(number)})
    batch = await bot.get_updates(limit=2)
    assert [update.message.text for update in batch if update.message] == ["0", "1"]
    same = await bot.get_updates(limit=2)
    assert [update.update_id for update in same] == [update.update_id for update in batch]
    rest = await bot.get_updates(offset=batch[-1].update_id + 1)
    assert [update.message.text for update in rest if update.message] == ["2", "3", "4"]
    [last] = await bot.get_updates(offset=-1)
    assert last.update_id == rest[-1].update_id

    await bot.get_updates(offset=last.update_id + 1, allowed_updates=["callback_query"])
    await telegram.post(f"/people/{person}/text", {"text": "not wanted"})
    assert await bot.get_updates(allowed_updates=["message"]) == []
    await telegram.post(f"/people/{person}/text", {"text": "wanted"})
    assert (await next_message(bot)).text == "wanted"


async def test_long_poll_and_conflict(telegram: Telegram, bot: Bot, person: int) -> None:
    older = asyncio.create_task(bot.get_updates(timeout=20))
    await asyncio.sleep(0.1)
    newer = asyncio.create_task(bot.get_updates(timeout=20))
    with pytest.raises(TelegramConflictError, match="terminated by other getUpdates request"):
        await older
    assert not newer.done()
    await telegram.post(f"/people/{person}/text", {"text": "to the newer"})
    [update] = await asyncio.wait_for(newer, 2)
    assert update.message and update.message.text == "to the newer"


async def test_closing_ends_open_polls(telegram: Telegram, bot: Bot, person: int) -> None:
    version = (await telegram.get(f"/people/{person}/chat"))["version"]
    watching = asyncio.create_task(telegram.get(f"/people/{person}/chat", since=version, wait=20))
    polling = asyncio.create_task(bot.get_updates(timeout=20))
    await asyncio.sleep(0.1)
    await telegram.world.close()
    assert await asyncio.wait_for(polling, 2) == []
    assert (await asyncio.wait_for(watching, 2))["messages"]


async def test_webhook(telegram: Telegram, bot: Bot, person: int) -> None:
    received: list[tuple[str | None, Json]] = []
    receiver = FastAPI()

    @receiver.post("/hook")
    async def hook(request: Request) -> Response:
        received.append((request.headers.get("X-Telegram-Bot-Api-Secret-Token"), await request.json()))
        return Response(status_code=500 if len(received) < 4 else 200)

    await telegram.post(f"/people/{person}/text", {"text": "waiting"})
    async with served(receiver) as address:
        await bot.set_webhook(f"{address}/hook", secret_token="s3cret")
        with pytest.raises(TelegramConflictError, match="webhook is active"):
            await bot.get_updates()
        await telegram.post(f"/people/{person}/text", {"text": "next"})
        await until(lambda: len(received) == 5)
        info = await bot.get_webhook_info()
        assert info.pending_update_count == 0 and info.last_error_message
        assert "500 Internal Server Error" in info.last_error_message
        # A refused update holds back the later ones of its chat.
        assert [body["message"]["text"] for _, body in received] == ["waiting"] * 4 + ["next"]
        assert {secret for secret, _ in received} == {"s3cret"}
        await telegram.post("/redeliver", {"update_id": received[0][1]["update_id"]})
        await until(lambda: len(received) == 6)
        assert received[5][1] == received[0][1]
        await bot.delete_webhook()
    await telegram.post(f"/people/{person}/text", {"text": "by polling again"})
    assert (await next_message(bot)).text == "by polling again"


# Stars


async def test_payment_refund_and_account(telegram: Telegram, bot: Bot, person: int) -> None:
    price = [LabeledPrice(label="10 credits", amount=100)]
    sent = await bot.send_invoice(person, "Credits", "Ten of them", "purchase-1", "XTR", price)
    assert sent.invoice and sent.invoice.total_amount == 100
    assert sent.reply_markup and sent.reply_markup.inline_keyboard[0][0].pay

    checkout = await telegram.post(f"/people/{person}/pay")
    [update] = await drain(bot)
    query = update.pre_checkout_query
    assert query and (query.id, query.invoice_payload) == (checkout["checkout_id"], "purchase-1")
    await bot.answer_pre_checkout_query(query.id, ok=True)
    assert "query is too old" in await refusal(bot.answer_pre_checkout_query(query.id, ok=True))
    paid = (await next_message(bot)).successful_payment
    outcome = await telegram.get(f"/checkouts/{query.id}", wait=2)
    assert paid and outcome["state"] == "paid"
    charge_id = paid.telegram_payment_charge_id
    assert charge_id == outcome["telegram_payment_charge_id"]
    assert (await bot.get_my_star_balance()).amount == 100

    assert await bot.refund_star_payment(person, charge_id)
    refunded = (await next_message(bot)).refunded_payment
    assert refunded and refunded.telegram_payment_charge_id == charge_id
    assert "CHARGE_ALREADY_REFUNDED" in await refusal(bot.refund_star_payment(person, charge_id))
    assert "CHARGE_NOT_FOUND" in await refusal(bot.refund_star_payment(person, "unknown"))
    payment, refund = (await bot.get_star_transactions()).transactions
    assert payment.id == refund.id == charge_id
    assert payment.source and payment.source.type == "user" and refund.receiver
    assert (await bot.get_my_star_balance()).amount == 0


async def test_payments_that_do_not_happen(telegram: Telegram, bot: Bot, person: int) -> None:
    price = [LabeledPrice(label="x", amount=5)]
    link = await bot.create_invoice_link("Credits", "Five", "purchase-2", "XTR", price)
    refused = await telegram.post(f"/people/{person}/pay", {"link": link})
    await bot.answer_pre_checkout_query(refused["checkout_id"], ok=False, error_message="Sold out")
    outcome = await telegram.get(f"/checkouts/{refused['checkout_id']}", wait=2)
    assert (outcome["state"], outcome["error_message"]) == ("refused", "Sold out")
    declined = await telegram.post(f"/people/{person}/decline", {"link": link})
    await bot.answer_pre_checkout_query(declined["checkout_id"], ok=True)
    assert (await telegram.get(f"/checkouts/{declined['checkout_id']}"))["state"] == "declined"
    assert all(update.pre_checkout_query for update in await drain(bot))
    assert (await bot.get_star_transactions()).transactions == []

    async def wrong(**changes: Any) -> str:
        invoice: Json = {"title": "x", "description": "x", "payload": "x", "currency": "XTR", "prices": price}
        return await refusal(bot.send_invoice(person, **(invoice | changes)))

    assert "invoice title" in await wrong(title="x" * 33)
    assert "invoice payload" in await wrong(payload="я" * 65)
    assert "STARS_INVOICE_INVALID" in await wrong(prices=price * 2)
    assert "PAYMENT_PROVIDER_INVALID" in await wrong(currency="XTX")


async def test_no_such_thing(telegram: Telegram, bot: Bot) -> None:
    await telegram.post("/people/1/text", {"text": "x"}, status=404)
    with pytest.raises(TelegramNotFound):
        await bot.get_chat_menu_button()
