"""The chat page in a real browser: a person's hands on the page, and on the other side a bot played over HTTP."""

import asyncio
import base64
import gc
import io
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import av
import httpx2
import numpy as np
import pytest
from PIL import Image
from playwright.async_api import Browser, BrowserContext, FilePayload, Locator, Page, ViewportSize, expect

from neurocards.simulators import running_simulators
from neurocards.simulators.telegram.events import Watch

Json = dict[str, Any]  # the simulator's JSON, asserted field by field
_token_numbers = count(5001)


class PlayedBot:
    """A bot without a mind of its own: the test says what it calls."""

    def __init__(self, telegram: str, http: httpx2.AsyncClient) -> None:
        self.telegram = telegram
        self.http = http
        self.url = f"{telegram}/bot{next(_token_numbers)}:secret"
        self._offset = 0

    async def call(self, method: str, files: Json | None = None, **fields: Any) -> Any:
        answer = await self.try_call(method, files, **fields)
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    async def try_call(self, method: str, files: Json | None = None, **fields: Any) -> httpx2.Response:
        data = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
        return await self.http.post(f"{self.url}/{method}", data=data, files=files)

    async def say(self, person: int, text: str, *rows: list[Json], **fields: Any) -> int:
        markup: Json = {"reply_markup": {"inline_keyboard": list(rows)}} if rows else {}
        sent = await self.call("sendMessage", chat_id=person, text=text, **markup, **fields)
        return int(sent["message_id"])

    async def next(self, kind: str) -> Json:
        """The next update of this kind; others before it are dropped."""
        async with asyncio.timeout(5):
            while True:
                [update, *_] = await self.call("getUpdates", offset=self._offset, timeout=5, limit=1) or [{}]
                self._offset = update.get("update_id", self._offset - 1) + 1
                if kind in update:
                    body: Json = update[kind]
                    return body

    async def answer(self, tap: Json, **fields: Any) -> None:
        await self.call("answerCallbackQuery", callback_query_id=tap["id"], **fields)


class Phone:
    """One phone on the page."""

    def __init__(self, page: Page, person: int) -> None:
        self.page = page
        self.person = person
        self.here = page.locator(f'.phone[data-person="{person}"]')
        self.composer = self.here.locator("textarea.compose")
        self.state = self.here.locator(".state")
        self.toast = self.here.locator(".toast")

    def message(self, message_id: int) -> Locator:
        return self.here.locator(f'.message[data-message-id="{message_id}"]')

    def text(self, message_id: int) -> Locator:
        return self.message(message_id).locator(".text")

    def button(self, label: str) -> Locator:
        return self.here.get_by_role("button", name=label, exact=True)

    async def choose(self, action: str) -> None:
        await self.here.locator("button.menu").click()
        await self.here.locator(f'.menu-item[data-action="{action}"]').click()


@pytest.fixture(scope="module")
async def telegram() -> AsyncIterator[str]:
    async with running_simulators() as addresses:
        yield addresses.telegram


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
async def bot(telegram: str, http: httpx2.AsyncClient) -> AsyncIterator[PlayedBot]:
    bot = PlayedBot(telegram, http)
    await bot.call("setMyName", name="Video shop")
    yield bot
    await http.delete(f"{telegram}/sim/faults")


OpenPage = Callable[..., Awaitable[Page]]
PHONE = ViewportSize(width=390, height=844)


@pytest.fixture(scope="module")
async def desk(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A desktop browser that has been used before."""
    context = await browser.new_context(viewport=ViewportSize(width=1280, height=900))
    yield context
    await context.close()


@pytest.fixture
async def open_page(browser: Browser, desk: BrowserContext, telegram: str) -> AsyncIterator[OpenPage]:
    """Opens pages, with options in a browser of their own; what goes wrong in their scripts fails the test."""
    errors: list[str] = []
    pages: list[Page] = []

    async def open_one(query: str = "", **options: Any) -> Page:
        page = await (browser.new_page(**options) if options else desk.new_page())
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.set_default_timeout(5000)
        pages.append(page)
        await page.goto(f"{telegram}/{query}")
        return page

    yield open_one
    for page in pages:
        await page.close()
    assert errors == []


async def newcomer(bot: PlayedBot, *, name: str = "Vera", language: str | None = "ru", started: bool = True) -> int:
    """Somebody new; one who has started the bot, unless said otherwise."""
    body = {"first_name": name, "language_code": language}
    person = int((await bot.http.post(f"{bot.telegram}/sim/people", json=body)).json()["id"])
    if started:
        await bot.http.post(f"{bot.telegram}/sim/people/{person}/start")
        await bot.next("message")
    return person


@pytest.fixture
async def phone(bot: PlayedBot, open_page: OpenPage) -> Phone:
    """Vera's phone; she has started the bot."""
    person = await newcomer(bot)
    phone = Phone(await open_page(f"?people={person}"), person)
    await expect(phone.text(1)).to_have_text("/start")
    return phone


def picture(width: int = 640, height: int = 480) -> bytes:
    made = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(made, "PNG")
    return made.getvalue()


def chosen(name: str, content: bytes, mime_type: str = "image/png") -> FilePayload:
    return {"name": name, "mimeType": mime_type, "buffer": content}


def clip(path: Path) -> bytes:
    """Four seconds of H.264 video with silence, ready to be streamed."""
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        video = container.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 96, 160, "yuv420p"
        sound = container.add_stream("aac", rate=48_000, layout="mono")
        for number in range(40):
            frame = av.VideoFrame.from_ndarray(np.full((160, 96, 3), number * 6, dtype=np.uint8), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode())
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 192_000), dtype=np.float32), format="fltp", layout="mono")
        silence.sample_rate, silence.pts = 48_000, 0
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
    return path.read_bytes()


async def hand_over(target: Locator, event: str, *files: FilePayload) -> None:
    """Drop files on an element, or paste them into it."""
    await target.evaluate(
        """(element, [event, files]) => {
            const transfer = new DataTransfer();
            for (const { name, type, content } of files) {
                const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
                transfer.items.add(new File([bytes], name, { type }));
            }
            const options = { bubbles: true, cancelable: true, dataTransfer: transfer };
            element.dispatchEvent(
                event === "paste"
                    ? new ClipboardEvent("paste", { ...options, clipboardData: transfer })
                    : new DragEvent(event, options),
            );
        }""",
        [
            event,
            [
                {"name": one["name"], "type": one["mimeType"], "content": base64.b64encode(one["buffer"]).decode()}
                for one in files
            ],
        ],
    )


# Arriving and reading


async def test_a_new_seller_presses_start_under_the_bots_own_words(bot: PlayedBot, open_page: OpenPage) -> None:
    await bot.call("setMyDescription", description="We make videos")
    await bot.call("setMyDescription", description="Снимаем видео", language_code="ru")
    person = await newcomer(bot, started=False)
    phone = Phone(await open_page(f"?people={person}"), person)
    await expect(phone.here.locator(".description")).to_have_text("Снимаем видео")
    await expect(phone.composer).to_be_hidden()
    await phone.here.locator("button.start").click()
    assert (await bot.next("message"))["text"] == "/start"
    await expect(phone.text(1)).to_have_text("/start")
    await expect(phone.composer).to_be_visible()
    await expect(phone.here.locator("button.start")).to_be_hidden()


async def test_looking_at_a_phone_does_not_start_the_bot(bot: PlayedBot, open_page: OpenPage) -> None:
    person = await newcomer(bot, started=False)
    phone = Phone(await open_page(f"?people={person}"), person)
    await expect(phone.here.locator("button.start")).to_be_visible()
    refused = await bot.try_call("sendMessage", chat_id=person, text="Hello")
    assert (refused.status_code, refused.json()["description"]) == (400, "Bad Request: chat not found")


async def test_the_page_without_people_shows_who_is_there_and_keeps_it_in_the_url(browser: Browser) -> None:
    async with running_simulators() as addresses:
        page = await browser.new_page()
        await page.goto(addresses.telegram)  # without the slash
        await expect(page.locator(".phone button.start")).to_be_visible()
        await expect(page.locator(".phone")).to_have_count(1)
        assert await page.locator(".person-language").inner_text() == "ru"
        [person] = parse_qs(urlsplit(page.url).query)["people"]
        assert await page.locator(".phone").get_attribute("data-person") == person
        await page.close()


async def test_formatting_is_shown_as_telegram_shows_it(bot: PlayedBot, phone: Phone) -> None:
    said = await bot.say(
        phone.person,
        '<b>bold <i>both</i></b> <code>code</code> <a href="https://example.com/">a</a> https://example.org/a. /help',
        parse_mode="HTML",
    )
    text = phone.text(said)
    await expect(text.locator("b i")).to_have_text("both")
    await expect(text.locator("code")).to_have_text("code")
    await expect(text.locator("a").nth(0)).to_have_attribute("href", "https://example.com/")
    await expect(text.locator("a").nth(1)).to_have_attribute("href", "https://example.org/a")
    await expect(phone.message(said)).to_have_attribute("data-from", "bot")
    await text.get_by_text("/help").click()
    assert (await bot.next("message"))["text"] == "/help"


@pytest.mark.parametrize(
    "hostile",
    [
        '<img src=x onerror="window.broken = 1"><script>window.broken = 1</script>',
        "&lt;b&gt; &amp;amp; {{x}} ${y} \N{RIGHT-TO-LEFT OVERRIDE}abc\N{POP DIRECTIONAL FORMATTING} שלום \N{FAMILY}",
        "w" * 4096,
    ],
    ids=["markup", "signs", "long"],
)
async def test_hostile_words_are_words_on_both_sides(bot: PlayedBot, phone: Phone, hostile: str) -> None:
    said = await bot.say(phone.person, hostile, [{"text": hostile[:60], "callback_data": "x"}])
    await phone.composer.fill(hostile)
    await phone.composer.press("Enter")
    assert (await bot.next("message"))["text"] == hostile
    for message_id in (said, said + 1):
        assert await phone.text(message_id).evaluate("element => element.textContent") == hostile
    assert await phone.page.evaluate("window.broken") is None
    assert await phone.here.evaluate("e => e.scrollWidth <= e.clientWidth")


async def test_the_page_runs_only_its_own_scripts(telegram: str, http: httpx2.AsyncClient, phone: Phone) -> None:
    rules = (await http.get(f"{telegram}/")).headers["Content-Security-Policy"]
    assert "default-src 'none'" in rules
    assert "unsafe" not in rules
    assert not await phone.page.evaluate("[...document.querySelectorAll('*')].some(e => e.hasAttribute('onclick'))")
    # The rules bite: a script that somebody managed to write into the page does not run.
    await phone.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'broken=1'}))"
    )
    assert await phone.page.evaluate("window.broken") is None


async def test_what_a_document_says_is_never_run(bot: PlayedBot, phone: Phone, http: httpx2.AsyncClient) -> None:
    page = chosen("page.html", b"<script>fetch('/telegram/sim/faults')</script>", "text/html")
    await phone.here.locator("input.pick-file").set_input_files(page)
    document = (await bot.next("message"))["document"]
    served = await http.get(f"{bot.telegram}/sim/files/{document['file_id']}")
    assert "sandbox" in served.headers["Content-Security-Policy"]


# Buttons


async def test_a_tapped_button_spins_until_the_bot_has_answered(bot: PlayedBot, phone: Phone) -> None:
    said = await bot.say(
        phone.person, "Sure?", [{"text": "Yes", "callback_data": "y"}, {"text": "No", "callback_data": "n"}]
    )
    await phone.button("Yes").click()
    await expect(phone.button("Yes")).to_have_class(re.compile(r"\bbusy\b"))
    tap = await bot.next("callback_query")
    assert (tap["data"], tap["message"]["message_id"]) == ("y", said)
    await asyncio.sleep(0.1)  # the stream has told of the tap by now
    await expect(phone.here.locator(".inline.busy")).to_have_count(1)
    await bot.answer(tap, text="Noted")
    await expect(phone.toast).to_have_text("Noted")
    await expect(phone.here.locator(".inline.busy")).to_have_count(0)


async def test_an_alert_waits_for_ok(bot: PlayedBot, phone: Phone) -> None:
    await bot.say(phone.person, "Sure?", [{"text": "Yes", "callback_data": "y"}])
    await phone.button("Yes").click()
    await bot.answer(await bot.next("callback_query"), text="Not enough credits", show_alert=True)
    await expect(phone.here.locator(".alert")).to_contain_text("Not enough credits")
    await phone.here.locator(".alert-ok").click()
    await expect(phone.here.locator(".alert")).to_have_count(0)


async def test_buttons_have_colours_and_change_with_their_message(bot: PlayedBot, phone: Phone) -> None:
    kinds = ("primary", "success", "danger")
    said = await bot.say(phone.person, "One", [{"text": kind, "callback_data": kind, "style": kind} for kind in kinds])
    for kind in kinds:
        await expect(phone.button(kind)).to_have_class(re.compile(rf"\b{kind}\b"))
    changed = {"inline_keyboard": [[{"text": "Other", "callback_data": "o"}]]}
    await bot.call("editMessageText", chat_id=phone.person, message_id=said, text="Two", reply_markup=changed)
    await expect(phone.text(said)).to_have_text("Two")
    await expect(phone.message(said).locator(".inline")).to_have_text(["Other"])
    await expect(phone.message(said).locator(".meta")).to_contain_text("edited")
    await bot.call("editMessageReplyMarkup", chat_id=phone.person, message_id=said)
    await expect(phone.message(said).locator(".inline")).to_have_count(0)


async def test_buttons_copy_open_links_and_start_the_bot(bot: PlayedBot, phone: Phone) -> None:
    me = await bot.call("getMe")
    await bot.say(
        phone.person,
        "Links",
        [{"text": "Copy", "copy_text": {"text": "PROMO"}}],
        [{"text": "Site", "url": "http://127.0.0.1:9/site"}],
        [{"text": "Friend", "url": f"https://t.me/{me['username']}?start=r_42"}],
    )
    await phone.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await phone.button("Copy").click()
    await expect(phone.toast).to_have_text("Copied")
    assert await phone.page.evaluate("navigator.clipboard.readText()") == "PROMO"
    async with phone.page.context.expect_page() as opened:
        await phone.button("Site").click()
    await (await opened.value).close()
    await phone.button("Friend").click()
    assert (await bot.next("message"))["text"] == "/start r_42"


async def test_an_invoice_is_paid_or_declined(bot: PlayedBot, phone: Phone) -> None:
    price: Json = {"currency": "XTR", "prices": [{"label": "pack", "amount": 50}]}
    await bot.call("sendInvoice", chat_id=phone.person, title="Ten", description="Credits", payload="p", **price)
    for choice in ("Decline", "Pay"):
        await phone.here.locator(".inline").click()
        await phone.here.locator(".choices").get_by_role("button", name=choice).click()
        asked = await bot.next("pre_checkout_query")
        await bot.call("answerPreCheckoutQuery", pre_checkout_query_id=asked["id"], ok=True)
    assert (await bot.next("message"))["successful_payment"]["total_amount"] == 50
    await expect(phone.here.locator(".payment")).to_have_text("You paid 50")


# Sending


async def test_pictures_become_photos_albums_or_files_with_the_words_as_caption(bot: PlayedBot, phone: Phone) -> None:
    await phone.composer.fill("My mug")
    await phone.here.locator("input.pick-photo").set_input_files(chosen("mug.png", picture()))
    sent = await bot.next("message")
    assert (sent["caption"], sent["photo"][-1]["width"]) == ("My mug", 640)
    await expect(phone.message(2).locator("img.photo")).to_be_visible()
    await expect(phone.composer).to_have_value("")

    await phone.composer.fill("Three sides")
    await phone.here.locator("input.pick-photo").set_input_files(
        [chosen(f"{n}.png", picture(300 + n)) for n in range(3)]
    )
    album = [await bot.next("message") for _ in range(3)]
    assert len({message["media_group_id"] for message in album}) == 1
    assert [message.get("caption") for message in album] == ["Three sides", None, None]
    await expect(phone.here.locator(".album .message img.photo")).to_have_count(3)
    await expect(phone.here.locator(".album .text")).to_have_text("Three sides")

    await phone.here.locator("input.pick-file").set_input_files(chosen("мой товар.png", picture()))
    assert (await bot.next("message"))["document"]["file_name"] == "мой товар.png"
    async with phone.page.expect_download() as download:
        await phone.here.locator("a.download").click()
    saved = await download.value
    assert saved.suggested_filename == "мой товар.png"
    assert (await asyncio.to_thread((await saved.path()).read_bytes)) == picture()


@pytest.mark.parametrize("way", ["drop", "paste"])
async def test_pictures_can_be_dropped_and_pasted(bot: PlayedBot, phone: Phone, way: str) -> None:
    await hand_over(phone.composer, way, chosen("a.png", picture()), chosen("b.pdf", b"%PDF-1.4", "application/pdf"))
    assert "photo" in await bot.next("message")
    assert (await bot.next("message"))["document"]["file_name"] == "b.pdf"
    await expect(phone.here.locator("img.photo")).to_be_visible()


async def test_what_cannot_be_sent_is_said_and_the_words_are_kept(bot: PlayedBot, phone: Phone) -> None:
    await phone.composer.fill("Words")
    await phone.here.locator("input.pick-photo").set_input_files(chosen("broken.png", b"no picture"))
    await expect(phone.toast).to_contain_text("broken.png is not an image")
    await expect(phone.composer).to_have_value("Words")


async def test_own_words_can_be_edited_and_deleted(bot: PlayedBot, phone: Phone) -> None:
    await phone.composer.fill("A mug")
    await phone.here.locator("button.send").click()
    await bot.next("message")
    await phone.composer.fill("half a")
    await phone.message(2).hover()
    await phone.message(2).locator(".edit").click()
    await expect(phone.composer).to_have_value("A mug")
    await phone.composer.fill("A blue mug")
    await phone.here.locator("button.send").click()
    edited = await bot.next("edited_message")
    assert (edited["message_id"], edited["text"]) == (2, "A blue mug")
    await expect(phone.text(2)).to_have_text("A blue mug")
    await expect(phone.composer).to_have_value("half a")
    await phone.message(2).hover()
    await phone.message(2).locator(".delete").click()
    await expect(phone.message(2)).to_have_count(0)


async def test_the_menu_sends_whatever_else_people_send(bot: PlayedBot, phone: Phone) -> None:
    await phone.choose("sticker")
    sticker = (await bot.next("message"))["sticker"]
    assert (sticker["type"], sticker["is_animated"]) == ("regular", False)
    await phone.choose("voice")
    assert (await bot.next("message"))["voice"]["mime_type"] == "audio/ogg"
    await phone.choose("location")
    assert set((await bot.next("message"))["location"]) == {"latitude", "longitude"}
    await phone.choose("forward")
    await phone.here.locator(".ask textarea").fill("Read this")
    await phone.here.locator(".ask input[type=file]").set_input_files(chosen("post.png", picture()))
    await phone.here.locator(".ask .choice-yes").click()
    post = await bot.next("message")
    assert (post["forward_origin"]["type"], post["caption"]) == ("channel", "Read this")
    await expect(phone.here.locator(".forwarded")).to_have_text("Forwarded from Marketplace news")
    await phone.choose("deep-link")
    await phone.here.locator(".ask input").fill("r_7")
    await phone.here.locator(".ask .choice-yes").click()
    assert (await bot.next("message"))["text"] == "/start r_7"
    sounds = await phone.here.locator("audio").evaluate("async a => { await a.play(); return a.duration }")
    assert sounds == pytest.approx(2, abs=0.2)


async def test_commands_are_offered_in_the_language_of_the_app(bot: PlayedBot, phone: Phone) -> None:
    await bot.call("setMyCommands", commands=[{"command": "balance", "description": "What is left"}])
    russian = [{"command": "balance", "description": "Сколько осталось"}]
    await bot.call("setMyCommands", commands=russian, language_code="ru")
    await phone.here.locator("button.commands").click()
    await expect(phone.here.locator(".command")).to_contain_text("Сколько осталось")
    await phone.here.locator("button.menu").click()
    await phone.here.locator("select.language").select_option("en")
    await phone.here.locator("button.commands").click()
    await expect(phone.here.locator(".command")).to_contain_text("What is left")
    await phone.here.locator(".command", has_text="/balance").click()
    message = await bot.next("message")
    assert (message["text"], message["from"]["language_code"]) == ("/balance", "en")


async def test_a_blocked_bot_can_be_restarted(bot: PlayedBot, phone: Phone) -> None:
    await phone.choose("block")
    assert (await bot.next("my_chat_member"))["new_chat_member"]["status"] == "kicked"
    await expect(phone.composer).to_be_hidden()
    await expect(phone.page.locator(".person-blocked")).to_be_visible()
    await phone.here.locator("button.restart").click()
    assert (await bot.next("my_chat_member"))["new_chat_member"]["status"] == "member"
    assert (await bot.next("message"))["text"] == "/start"
    await phone.choose("block")
    await phone.choose("unblock")
    await expect(phone.composer).to_be_visible()


# Video and life


async def test_a_video_plays_on_while_its_caption_changes(bot: PlayedBot, phone: Phone, tmp_path: Path) -> None:
    film = await asyncio.to_thread(clip, tmp_path / "film.mp4")
    sent = await bot.call(
        "sendVideo",
        files={"v": ("shop.mp4", film), "c": ("cover.png", picture(270, 480))},
        chat_id=phone.person,
        video="attach://v",
        cover="attach://c",
        caption="Ready",
    )
    video = phone.message(sent["message_id"]).locator("video.video")
    assert "/sim/files/" in str(await video.get_attribute("poster"))
    await video.evaluate("video => { video.muted = true; return video.play() }")
    await bot.call("editMessageCaption", chat_id=phone.person, message_id=sent["message_id"], caption="Ready!")
    await expect(phone.text(sent["message_id"])).to_have_text("Ready!")
    played = await video.evaluate(
        """async (video) => {
            const before = video.currentTime;
            while (video.currentTime < before + 0.2) await new Promise((resolve) => setTimeout(resolve, 20));
            return [video.videoWidth, video.paused];
        }"""
    )
    assert played == [96, False]
    part = await bot.http.get(
        str(httpx2.URL(bot.telegram).join(str(await video.get_attribute("src")))), headers={"Range": "bytes=100-199"}
    )
    assert (part.status_code, len(part.content)) == (206, 100)
    async with phone.page.expect_download() as download:
        await phone.message(sent["message_id"]).locator("a.download").click()
    assert (await download.value).suggested_filename == "shop.mp4"


async def test_what_the_bot_is_doing_is_shown_until_it_has_done_it(bot: PlayedBot, phone: Phone) -> None:
    await expect(phone.state).to_have_text("")
    await bot.call("sendChatAction", chat_id=phone.person, action="typing")
    await expect(phone.state).to_have_text("typing…")
    await bot.call("sendChatAction", chat_id=phone.person, action="upload_video")
    await expect(phone.state).to_have_text("sending video…")
    await bot.say(phone.person, "Done")
    await expect(phone.state).to_have_text("")


async def test_everything_is_live_and_survives_a_reload(bot: PlayedBot, phone: Phone) -> None:
    first = await bot.say(
        phone.person, "One", [{"text": "Go", "callback_data": "g"}], reply_parameters={"message_id": 1}
    )
    second = await bot.say(phone.person, "Two")
    await expect(phone.message(first).locator(".reply")).to_contain_text("/start")
    await phone.button("Go").click()
    tap = await bot.next("callback_query")
    await bot.call("deleteMessage", chat_id=phone.person, message_id=second)
    await expect(phone.message(second)).to_have_count(0)
    await phone.page.reload()
    await expect(phone.here.locator(".text")).to_have_text(["/start", "One"])
    await expect(phone.here.locator(".inline.busy")).to_have_count(1)
    await bot.answer(tap)
    await expect(phone.here.locator(".inline.busy")).to_have_count(0)


async def test_a_reader_of_old_messages_is_left_alone(bot: PlayedBot, phone: Phone) -> None:
    for number in range(200):
        await bot.say(phone.person, f"Message {number}")
    await phone.page.reload()
    scroll = phone.here.locator(".scroll")
    await expect(phone.text(201)).to_be_in_viewport()
    assert await phone.here.locator(".message").count() == 150
    await scroll.evaluate("e => { e.scrollTop = 0 }")
    await expect(phone.text(1)).to_have_text("/start")  # the page before the first has been fetched
    await scroll.evaluate("e => { e.scrollTop = 2000 }")
    before = await phone.text(60).bounding_box()
    await bot.say(phone.person, "News")
    await bot.call("editMessageText", chat_id=phone.person, message_id=2, text="Much\nlonger\nthan\nbefore")
    await expect(phone.here.locator(".new-pill")).to_have_text("1 new message")
    await expect(phone.here.locator(".edited-pill")).to_have_text("1 new edit")
    after = await phone.text(60).bounding_box()
    assert before is not None
    assert after is not None
    assert after["y"] == pytest.approx(before["y"], abs=2)
    await phone.here.locator(".new-pill").click()
    await expect(phone.text(202)).to_be_in_viewport()


async def test_two_sellers_live_side_by_side(bot: PlayedBot, phone: Phone) -> None:
    page = phone.page
    await page.locator(".add-seller").click()
    await page.locator(".ask input[name=first_name]").fill("Oleg")
    await page.locator(".ask select[name=language_code]").select_option("en")
    await page.locator(".ask .choice-yes").click()
    await expect(page.locator(".phone")).to_have_count(2)
    other = Phone(page, int(parse_qs(urlsplit(page.url).query)["people"][0].split(",")[1]))
    await other.here.locator("button.start").click()
    start = await bot.next("message")
    assert (start["from"]["first_name"], start["from"]["language_code"]) == ("Oleg", "en")
    await bot.say(phone.person, "For Vera")
    await bot.say(other.person, "For Oleg")
    await expect(phone.text(2)).to_have_text("For Vera")
    await expect(other.text(2)).to_have_text("For Oleg")
    await page.reload()
    await expect(page.locator(".phone")).to_have_count(2)
    await page.locator(".remove-seller").first.click()
    await expect(page.locator(".phone")).to_have_count(1)
    await expect(other.here).to_be_visible()


async def test_a_narrow_screen_shows_one_phone_at_a_time(bot: PlayedBot, open_page: OpenPage) -> None:
    vera, oleg = await newcomer(bot), await newcomer(bot, name="Oleg")
    page = await open_page(f"?people={vera},{oleg}", viewport=PHONE, has_touch=True, is_mobile=True)
    first, second = Phone(page, vera), Phone(page, oleg)
    await expect(first.text(1)).to_be_visible()
    await expect(second.here).to_be_hidden()
    await bot.say(oleg, "Hello")
    await expect(page.locator(".tab").nth(1)).to_have_text("Oleg1")
    await page.locator(".tab").nth(1).tap()
    await expect(second.text(2)).to_be_in_viewport()
    await expect(first.here).to_be_hidden()
    assert await page.evaluate("document.documentElement.scrollWidth") == 390


async def test_a_plain_page_is_nothing_but_the_phone(bot: PlayedBot, open_page: OpenPage) -> None:
    person = await newcomer(bot)
    page = await open_page(f"?people={person}&plain=1&drawer=1", viewport=PHONE)
    await expect(Phone(page, person).text(1)).to_be_visible()
    for around in (".top", ".tabs", ".drawer", ".seat-head"):
        await expect(page.locator(around)).to_be_hidden()
    assert await page.locator(".phone").bounding_box() == {"x": 0, "y": 0, "width": 390, "height": 844}


# The engine room


async def test_the_drawer_shows_updates_and_calls_as_they_happen(bot: PlayedBot, phone: Phone) -> None:
    page = phone.page
    await page.locator(".open-drawer").click()
    await phone.composer.fill("Hello")
    await phone.composer.press("Enter")
    await bot.next("message")
    await expect(page.locator(".drawer .update")).to_contain_text('"text": "Hello"')
    await bot.say(phone.person, "Hi")
    refused = await bot.try_call("sendMessage", chat_id=phone.person, text="")
    assert refused.status_code == 400
    calls = page.locator(".call")
    await expect(calls.first).to_have_attribute("data-status", "400")
    assert await page.locator('.call[data-method="getUpdates"]').count() == 0
    line = calls.nth(1)
    await expect(line.locator(".call-chat")).to_have_text("Vera")
    await line.locator(".call-line").click()
    await expect(line.locator(".parameters")).to_contain_text('"text": "Hi"')
    await expect(line.locator(".answer")).to_contain_text('"ok": true')
    await page.locator(".show-polls input").check()
    await expect(page.locator('.call[data-method="getUpdates"]').first).to_be_visible()
    await page.locator(".method-filter").select_option("sendMessage")
    await page.locator(".pause").click()
    shown = await calls.count()
    await bot.say(phone.person, "While paused")
    await expect(phone.here.locator(".text").last).to_have_text("While paused")
    assert await calls.count() == shown
    await page.locator(".pause").click()
    await expect(calls).to_have_count(shown + 1)


async def test_fault_switches_do_what_they_say_and_count(bot: PlayedBot, phone: Phone) -> None:
    page = phone.page
    await page.locator(".open-drawer").click()

    async def switch(kind: str) -> Locator:
        row = page.locator(f'.fault[data-kind="{kind}"]')
        is_on = await row.locator(".switch").is_checked()
        await row.locator(".switch").click()
        await expect(row).not_to_have_class("fault on" if is_on else "fault")
        return row

    row = await switch("429")
    await row.locator(".amount").fill("7")
    await row.locator(".amount").press("Enter")
    async with asyncio.timeout(5):
        while (await faults(bot))[0]["retry_after"] != 7:  # noqa: ASYNC110 - what is waited for knows no events
            await asyncio.sleep(0.01)
    for _ in range(2):
        refused = await bot.try_call("sendMessage", chat_id=phone.person, text="Hi")
        assert (refused.status_code, refused.json()["parameters"]) == (429, {"retry_after": 7})
    await expect(row.locator(".fault-met")).to_have_text("met 2×")
    await expect(page.locator(".faults-on")).to_have_text("1")
    assert (await bot.try_call("getUpdates", timeout=0)).status_code == 200
    await switch("429")
    assert await faults(bot) == []

    await switch("5xx")
    assert (await bot.try_call("getMe")).status_code == 502
    await switch("5xx")
    await switch("drop_answer")
    with pytest.raises(httpx2.HTTPError):
        await bot.say(phone.person, "It did take effect")
    await expect(phone.here.locator(".text").last).to_have_text("It did take effect")
    await switch("drop_answer")
    await page.locator('.fault[data-kind="delay"] .amount').fill("1")
    await switch("delay")
    started = time.monotonic()
    await bot.call("getMe")
    assert time.monotonic() - started >= 1
    await switch("delay")
    await switch("deliver_twice")
    await phone.composer.fill("Twice")
    await phone.composer.press("Enter")
    assert [(await bot.next("message"))["text"] for _ in range(2)] == ["Twice", "Twice"]
    await page.reload()
    await expect(page.locator('.fault[data-kind="deliver_twice"] .switch')).to_be_checked()
    await switch("deliver_twice")
    await expect(page.locator(".faults-on")).to_be_hidden()


async def test_faults_that_last_strike_together_and_beside_those_that_are_counted(bot: PlayedBot) -> None:
    for fault in ({"kind": "delay", "delay_seconds": 0.2}, {"kind": "5xx"}):
        await bot.http.post(f"{bot.telegram}/sim/faults", json={"times": None, **fault})
    started = time.monotonic()
    assert (await bot.try_call("getMe")).status_code == 502
    assert time.monotonic() - started >= 0.2
    await bot.http.delete(f"{bot.telegram}/sim/faults", params={"kind": "5xx"})
    assert (await bot.try_call("getMe")).status_code == 200
    assert [(fault["kind"], fault["met"]) for fault in await faults(bot)] == [("delay", 2)]
    await bot.http.post(f"{bot.telegram}/sim/faults", json={"times": None, "kind": "5xx", "method": "getUpdates"})
    assert (await bot.try_call("getUpdates")).status_code == 502


async def faults(bot: PlayedBot) -> list[Json]:
    left: list[Json] = (await bot.http.get(f"{bot.telegram}/sim/faults")).json()
    return left


# The stream


async def test_the_page_comes_back_after_the_simulator_has_been_away(
    browser: Browser, http: httpx2.AsyncClient
) -> None:
    async with running_simulators() as addresses:
        port = urlsplit(addresses.telegram).port
        assert port is not None
        bot = PlayedBot(addresses.telegram, http)
        await bot.call("getMe")
        person = await newcomer(bot)
        page = await browser.new_page()
        await page.goto(f"{addresses.telegram}/?people={person}")
        phone = Phone(page, person)
        await expect(phone.text(1)).to_be_visible()
        started = time.monotonic()
    assert time.monotonic() - started < 2, "an open stream must not hold the end"
    await expect(phone.state).to_have_text("connecting…")
    await expect(page.locator(".connection")).to_have_text("Connection lost, trying again…")
    async with running_simulators(port=port) as addresses:
        await expect(phone.here.locator("button.start")).to_be_visible()
        await expect(phone.state).to_have_text("")
        await bot.call("getMe")
        await phone.here.locator("button.start").click()
        start = await bot.next("message")
        assert (start["from"]["id"], start["from"]["first_name"]) == (person, "Vera")
        await page.close()


async def test_a_page_without_network_says_so_and_misses_nothing(bot: PlayedBot, open_page: OpenPage) -> None:
    person = await newcomer(bot)
    phone = Phone(await open_page(f"?people={person}", color_scheme="dark"), person)
    await expect(phone.text(1)).to_be_visible()
    await phone.page.context.set_offline(True)
    await expect(phone.state).to_have_text("connecting…")
    said = await bot.say(phone.person, "While you were away")
    await phone.page.context.set_offline(False)
    await expect(phone.text(said)).to_have_text("While you were away")
    await expect(phone.state).to_have_text("")


async def test_a_stream_sends_what_is_new_and_nothing_twice(bot: PlayedBot) -> None:
    person = await newcomer(bot)
    for number in range(20):
        await bot.say(person, f"Message {number}")
    async with bot.http.stream("GET", f"{bot.telegram}/sim/events", params={"people": person}) as answer:
        news = phone_news(answer)
        first = await anext(news)
        assert (first["is_fresh"], len(first["messages"])) == (True, 21)
        await bot.call("editMessageText", chat_id=person, message_id=3, text="Changed")
        second = await anext(news)
        assert [message["text"] for message in second["messages"]] == ["Changed"]
    parameters = {"people": f"{person}~{first['cursor']}"}
    async with bot.http.stream("GET", f"{bot.telegram}/sim/events", params=parameters) as answer:
        again = await anext(phone_news(answer))
        assert (again["is_fresh"], [message["text"] for message in again["messages"]]) == (False, ["Changed"])


async def test_pages_that_never_read_do_not_hold_up_the_bot(bot: PlayedBot, telegram: str) -> None:
    person = await newcomer(bot)
    address = urlsplit(telegram)
    silent = [await asyncio.open_connection(address.hostname, address.port) for _ in range(5)]
    for reader, writer in silent:
        writer.write(f"GET /telegram/sim/events?people={person} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readuntil(b"event: phone")
    # More than all the buffers between a stream and its page hold.
    for number in range(400):
        await bot.say(person, f"{number} {'word ' * 800}")
    async with bot.http.stream("GET", f"{bot.telegram}/sim/events", params={"people": person}) as answer:
        news = await anext(phone_news(answer))
    assert news["messages"][-1]["text"].startswith("399 ")
    for _, writer in silent:
        writer.transport.abort()


async def test_a_page_that_vanished_leaves_nothing_behind(bot: PlayedBot, telegram: str) -> None:
    person = await newcomer(bot)
    address = urlsplit(telegram)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(f"GET /telegram/sim/events?people={person} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await reader.readuntil(b"event: phone")
    assert person in watched_people()
    writer.transport.abort()
    async with asyncio.timeout(60):  # a look at every object of a long test run takes seconds
        while person in watched_people():  # noqa: ASYNC110 - what is waited for knows no events
            await asyncio.sleep(0.02)


def watched_people() -> set[int]:
    """Whom the streams of the simulator, which lives in this process, still watch."""
    gc.collect()
    watches = [one for one in gc.get_objects() if isinstance(one, Watch)]
    return {phone.person_id for watch in watches for phone in watch.phones}


async def phone_news(answer: httpx2.Response) -> AsyncIterator[Json]:
    lines = answer.aiter_lines()
    async for line in lines:
        if line == "event: phone":
            yield json.loads((await anext(lines)).removeprefix("data: "))
