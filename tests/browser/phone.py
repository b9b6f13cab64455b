"""One person's phone on the chat page: what a thumb can do, what eyes can see. Words are named by their text's key."""

import html
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from playwright.async_api import FilePayload, Locator, Page, expect

from neurocards.texts import translate

NewPhone = Callable[..., Awaitable["Phone"]]


@dataclass
class Phone:
    """A phone on an open page. `acts` counts what its person has sent and tapped."""

    page: Page
    person_id: int
    language: str = "ru"
    acts: int = field(default=0, init=False)
    _known: str | None = field(default=None, init=False)
    """The bot's newest message when the person acted last: what is heard afterwards is another one."""

    def __post_init__(self) -> None:
        self.here = self.page.locator(f'.phone[data-person="{self.person_id}"]')
        self.messages = self.here.locator(".message")
        self.of_bot = self.here.locator('.message[data-from="bot"]')
        self.own = self.here.locator('.message[data-from="person"]')
        self.videos = self.here.locator("video.video")
        self.toast = self.here.locator(".toast")
        self.alert = self.here.locator(".alert")
        self.composer = self.here.locator("textarea.compose")

    # What the person does ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Tap START in the empty chat."""
        await self._act()
        await self.here.locator("button.start").click()

    async def write(self, text: str) -> None:
        """Type and press Enter."""
        await self._act()
        await self.composer.fill(text)
        await self.composer.press("Enter")

    async def send_photo(self, *photos: FilePayload, caption: str = "") -> None:
        """Pick photos; several are an album."""
        await self._pick("input.pick-photo", photos, caption)

    async def send_file(self, file: FilePayload, caption: str = "") -> None:
        """Pick a file, which arrives with its very bytes."""
        await self._pick("input.pick-file", [file], caption)

    async def tap(self, key: str, **arguments: str | int) -> None:
        """Tap the newest button with this label, and wait until its spinner has ended."""
        await self.press(self.button(self.words(key, **arguments)))

    async def press(self, button: Locator) -> None:
        """Tap this very button, and wait until its spinner has ended."""
        await self._act()
        await button.click()
        await expect(self.here.locator("button.inline.busy")).to_have_count(0)

    async def choose(self, action: str) -> None:
        """Something of the phone's own menu."""
        await self._act()
        await self.here.locator("button.menu").click()
        await self.here.locator(f'.menu-item[data-action="{action}"]').click()

    # What the person sees ---------------------------------------------------------------------------------------------

    def words(self, key: str, **arguments: str | int) -> str:
        """A text as the page shows it: in the person's language, without markup."""
        return plain(translate(self.language, key, **arguments))

    def button(self, label: str) -> Locator:
        """The newest inline button with this label."""
        return self.here.locator("button.inline", has_text=exactly(label)).last

    async def hears(self, key: str, **arguments: str | int) -> Locator:
        """Wait until the bot has answered with a message that says this text, among others; returns the message."""
        return await self.reads(self.words(key, **arguments))

    async def reads(self, words: str | re.Pattern[str]) -> Locator:
        """Wait until the bot has answered with a message that has these words; returns it, pinned by its id."""
        newest = await self._answer()
        await expect(newest).to_contain_text(words, use_inner_text=True)
        return await self.pinned(newest)

    async def offers(self, key: str, **arguments: str | int) -> Locator:
        """Wait until the bot has answered with a message that has a button with this label; returns the message."""
        newest = await self._answer()
        await expect(newest.locator("button.inline", has_text=exactly(self.words(key, **arguments)))).to_be_visible()
        return await self.pinned(newest)

    async def pinned(self, message: Locator) -> Locator:
        """The same message, by its id: it stays this one when others come."""
        message_id = await message.get_attribute("data-message-id")
        return self.here.locator(f'.message[data-message-id="{message_id}"]')

    async def dismiss_alert(self) -> str:
        """Read the alert and close it."""
        await expect(self.alert).to_be_visible()
        text = await self.alert.inner_text()
        await self.alert.locator(".alert-ok").click()
        await expect(self.alert).to_have_count(0)
        return text

    async def _act(self) -> None:
        self.acts += 1
        newest = self.of_bot.last
        self._known = await newest.get_attribute("data-message-id") if await newest.count() else None

    async def _answer(self) -> Locator:
        newest = self.of_bot.last
        if self._known is not None:
            await expect(newest).not_to_have_attribute("data-message-id", self._known)
        return newest

    async def _pick(self, kind: str, files: Sequence[FilePayload], caption: str) -> None:
        await self._act()
        if caption:
            await self.composer.fill(caption)
        await self.here.locator(kind).set_input_files(list(files))


def exactly(words: str) -> re.Pattern[str]:
    """These words and nothing beside them."""
    return re.compile(rf"^\s*{re.escape(words)}\s*$")


def plain(markup: str) -> str:
    """What a text with Telegram's markup looks like on a page."""
    return html.unescape(re.sub(r"<[^>]+>", "", markup)).strip()


def picked(content: bytes, name: str = "photo.jpg", mime_type: str = "image/jpeg") -> FilePayload:
    """A file as a person picks it."""
    return FilePayload(name=name, mimeType=mime_type, buffer=content)


def page_address(telegram: str, *person_ids: int, plain: bool = False) -> str:
    """Where the phones of these people lie side by side; `plain` leaves out everything around them."""
    people = ",".join(map(str, person_ids))
    return f"{telegram}/?people={people}{'&plain=1' if plain else ''}"
