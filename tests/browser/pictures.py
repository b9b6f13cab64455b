"""Takes the pictures in docs/pictures: every screen in both languages, as a seller meets it, and writes their index."""

import asyncio
import io
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.async_api import Locator, Page, ViewportSize, expect
from rich.progress import Progress

from browser.orders import (
    OWN_WORDS,
    VIDEO_MS,
    bring_photo,
    bring_second_photo,
    choose_count,
    choose_of_two_photos,
    choose_template,
    describe,
    meet,
    played,
    skip_wishes,
    video_in,
)
from browser.phone import Phone, page_address, picked
from browser.stage import OPERATORS, QUICK, Stage, open_stage
from browsers import NoBrowser, running_browser
from neurocards.db.embedded import EmbeddedPostgres
from neurocards.db.migrate import migrate
from neurocards.demo.samples import draw_product

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
PHONE = ViewportSize(width=390, height=844)
DESK = ViewportSize(width=1440, height=900)
LARGEST_BYTES = 150_000

SCREENS = {
    "start": "An empty chat",
    "consent": "Consent",
    "welcome": "Welcome",
    "help": "Help",
    "language": "Choice of language",
    "bad-photo": "A photo that cannot be used",
    "album": "An album",
    "cancelled": "Cancelled",
    "template": "Choice of template",
    "second-photo": "A template that takes two photos",
    "description": "Description",
    "wishes": "Wishes",
    "count": "How many videos",
    "not-enough": "Not enough credits",
    "quote-card": "The quote",
    "quote-two-photos": "The quote of a video between two photos",
    "own-script": "One's own script, to be approved",
    "status-accepted": "Status: accepted",
    "status-generating": "Status: the video is being made",
    "status-checking": "Status: the video is being checked",
    "video": "The video and what can be done with it",
    "status-of-three": "Status of three videos, one of which has failed",
    "failure": "Why it failed, and what can be done",
    "receipt": "The receipt",
    "cabinet": "Cabinet",
    "statement": "Statement",
    "my-videos": "My videos",
    "admin": "The operators' menu",
    "admin-day": "For operators: the day",
    "admin-customer": "For operators: a customer",
    "admin-confirm": "For operators: an act that a second tap confirms",
}
"""Each screen: the name of its picture, and its title in the index."""


@dataclass(frozen=True)
class Seller:
    """Who is in the pictures of one language, and what they write."""

    language: str
    title: str
    name: str
    description: str
    script: str
    gift: str
    apology: str


FRAMES = (
    "## From photos to frames",
    "",
    "What a video starts from: awkward photos as `scripts/frames` composes them, the central 3:4 outlined. The marks",
    "are in the corners of the photos, and show that nothing of them is lost.",
    "",
    "![Twelve photos composed to 9:16, and two that are refused](frames.png)",
)

SELLERS = (
    Seller(
        "ru",
        "Русский",
        "Продавец",
        "Сыворотка для лица NEURO, 50 мл: матовый флакон, золотая крышка",
        "Рука ставит флакон на мокрый камень, на стекло падают капли, камера медленно подъезжает.",
        "осенняя акция",
        "3 первое видео опоздало",
    ),
    Seller(
        "en",
        "English",
        "Seller",
        "NEURO face serum, 50 ml: a matte bottle with a golden cap",
        "A hand puts the bottle on a wet stone, drops fall on the glass, the camera slowly comes closer.",
        "autumn sale",
        "3 the first video was late",
    ),
)


class Camera:
    """Plays one seller through every screen and takes its picture."""

    def __init__(self, stage: Stage, page: Page, seller: Seller, folder: Path, taken: Callable[[], None]) -> None:
        self._stage = stage
        self._page = page
        self._seller = seller
        self._folder = folder
        self._taken = taken

    async def take_all(self) -> None:
        """Every screen of SCREENS, in its order."""
        await self._meeting()
        await self._refusals()
        await self._questions()
        await self._two_photos()
        await self._own_script()
        await self._one_video()
        await self._operators(await self._three_videos())

    async def _meeting(self) -> None:
        phone = await self._somebody()
        await expect(phone.here.locator("button.start")).to_be_visible()
        await self._shoot("start")
        await phone.start()
        await phone.offers("consent-agree")
        await self._shoot("consent")
        await phone.tap("consent-agree")
        await phone.hears("ask-photo")
        await self._shoot("welcome")
        await phone.write("/help")
        await phone.reads(phone.words("help", length="", price="").splitlines()[0])
        await self._shoot("help")
        await phone.write("/language")
        await phone.offers("language-en")
        await self._shoot("language")

    async def _refusals(self) -> None:
        phone = await self._regular()
        await phone.send_file(picked(resized(draw_product(0), 150, 200)))
        await phone.hears("photo-fault-too-small")
        await self._shoot("bad-photo")
        await phone.send_photo(*(picked(draw_product(variant), f"{variant}.jpg") for variant in range(3)))
        await phone.hears("album-first-only")
        await self._shoot("album", phone.here.locator(".album"))
        await phone.tap("cancel")
        await phone.hears("cancelled")
        await self._shoot("cancelled")

    async def _questions(self) -> None:
        phone = await self._regular()
        await bring_photo(phone, draw_product(0))
        await self._shoot("template")
        await choose_template(phone)
        await self._shoot("description")
        await describe(phone, self._seller.description)
        await self._shoot("wishes")
        await skip_wishes(phone)
        await self._shoot("count")
        await choose_count(phone, 3)
        await self._shoot("not-enough")
        await phone.tap("back")
        await phone.hears("ask-count")
        await choose_count(phone)
        await self._shoot("quote-card")

    async def _two_photos(self) -> None:
        phone = await self._regular()
        await self._stage.grant(phone.person_id, 4)
        await bring_photo(phone, draw_product(0))
        await choose_of_two_photos(phone)
        await self._shoot("second-photo")
        await bring_second_photo(phone, draw_product(0))
        await describe(phone, self._seller.description)
        await skip_wishes(phone)
        await choose_count(phone, price_credits=2)
        await self._shoot("quote-two-photos")

    async def _own_script(self) -> None:
        phone = await self._regular()
        await bring_photo(phone, draw_product(0))
        await choose_template(phone, OWN_WORDS)
        await phone.write(self._seller.script)
        await phone.offers("script-approve")
        await self._shoot("own-script")

    async def _one_video(self) -> None:
        phone = await self._regular()
        card = await order(phone, self._seller)
        # A worker that is held up leaves the order where it was accepted; slow answers of KIE show the other stages.
        self._stage.worker.send_signal(signal.SIGSTOP)
        await self._stage.kie("POST", "settings", {"task_seconds": 4, "render": True})
        await self._stage.kie("POST", "faults", {"kind": "delay", "route": "result", "delay_seconds": 4})
        await phone.tap("confirm")
        await self._when(card, phone.words("stage-accepted"), "status-accepted")
        self._stage.worker.send_signal(signal.SIGCONT)
        await self._when(card, phone.words("stage-generating"), "status-generating")
        await self._when(card, phone.words("stage-checking"), "status-checking")
        await video_in(phone)
        await expect(card).to_contain_text(phone.words("status-summary", delivered=1, total=1), timeout=VIDEO_MS)
        await self._shoot("video")

    async def _three_videos(self) -> int:
        """Returns who ordered them."""
        phone = await self._regular()
        await self._stage.grant(phone.person_id, 5, reason=self._seller.gift)
        card = await order(phone, self._seller, count=3)
        await self._stage.kie("POST", "settings", {"task_seconds": 8})
        await self._stage.kie("POST", "faults", {"kind": "code", "code": 400, "route": "createTask"})
        await phone.tap("confirm")
        await self._when(card, "✕", "status-of-three")
        await self._stage.kie("POST", "settings", QUICK)
        failure = await phone.reads(phone.words("failure-content"))
        await self._shoot("failure", failure)
        await video_in(phone, number=2)
        await self._when(card, phone.words("status-summary", delivered=2, total=3), "receipt")

        await phone.write("/cabinet")
        await phone.offers("cabinet-statement")
        await self._shoot("cabinet")
        back = phone.button(phone.words("cabinet-back"))
        for page, button in (("statement", "cabinet-statement"), ("my-videos", "cabinet-videos")):
            await phone.tap(button)
            await expect(back).to_be_visible()
            await self._shoot(page)
            await phone.press(back)
        return phone.person_id

    async def _operators(self, customer_id: int) -> None:
        phone = await self._somebody(name="Olga", id=OPERATORS[self._seller.language])
        await self._stage.telegram("POST", f"people/{phone.person_id}/text", {"text": "/admin"})
        await phone.offers("admin-day")
        await self._shoot("admin")
        await phone.tap("admin-day")
        await expect(phone.button(phone.words("admin-again"))).to_be_visible()
        await self._shoot("admin-day")
        await phone.write(f"/admin {customer_id}")
        await phone.offers("admin-grant")
        await self._shoot("admin-customer")
        await phone.tap("admin-grant")
        await phone.write(self._seller.apology)
        await self._shoot("admin-confirm", await phone.offers("admin-yes"))

    # Helpers ----------------------------------------------------------------------------------------------------------

    async def _somebody(self, *, name: str | None = None, id: int | None = None) -> Phone:
        """A new person in an empty chat."""
        person_id = await self._stage.arrive(name or self._seller.name, self._seller.language, id=id)
        await self._page.goto(page_address(self._stage.addresses.telegram, person_id, plain=True))
        return Phone(self._page, person_id, self._seller.language)

    async def _regular(self) -> Phone:
        """Somebody who has agreed and has the welcome credit."""
        phone = await self._somebody()
        await meet(phone)
        return phone

    async def _when(self, card: Locator, words: str, name: str) -> None:
        """The picture of the card as soon as it says this."""
        await expect(card).to_contain_text(words, timeout=VIDEO_MS)
        await self._shoot(name, card)

    async def _shoot(self, name: str, shown: Locator | None = None) -> None:
        """The picture of the phone, with this message in view."""
        if shown is not None:
            await shown.scroll_into_view_if_needed()
        await save(self._page, self._folder / f"{self._seller.language}-{name}.png")
        self._taken()


async def make_history(stage: Stage, page: Page) -> None:
    """Five videos for somebody else: from then on the shop knows how long it usually takes, and says so."""
    seller = SELLERS[0]
    person_id = await stage.arrive(seller.name, seller.language)
    await page.goto(page_address(stage.addresses.telegram, person_id))
    phone = Phone(page, person_id, seller.language)
    await meet(phone)
    await stage.grant(person_id, 5)
    await order(phone, seller, count=5)
    await stage.kie("POST", "settings", {"task_seconds": 15})
    await phone.tap("confirm")
    await video_in(phone, number=5)
    await stage.kie("POST", "settings", QUICK)


async def take_wide(stage: Stage, page: Page, path: Path) -> None:
    """Two sellers side by side, one with the video, one about to order, and the bot's calls beside them."""
    ids = [await stage.arrive(seller.name, seller.language) for seller in SELLERS]
    await page.goto(page_address(stage.addresses.telegram, *ids))
    await page.locator("button.open-drawer").click()
    left, right = (Phone(page, person_id, seller.language) for person_id, seller in zip(ids, SELLERS, strict=True))
    await meet(right)
    waiting = await order(right, SELLERS[1], variant=2)
    await meet(left)
    await order(left, SELLERS[0])
    await stage.kie("POST", "settings", {"render": True})
    await left.tap("confirm")
    message = await video_in(left)
    await played(message.locator("video.video"))
    await message.locator("video.video").evaluate("video => video.pause()")
    await waiting.locator("button.inline").last.scroll_into_view_if_needed()
    await save(page, path)


async def order(phone: Phone, seller: Seller, *, count: int = 1, variant: int = 0) -> Locator:
    """Answer every question; returns the card."""
    await bring_photo(phone, draw_product(variant))
    await choose_template(phone)
    await describe(phone, seller.description)
    await skip_wishes(phone)
    return await choose_count(phone, count)


async def save(page: Page, path: Path) -> None:
    """Take a picture of the page at rest, small enough for a repository."""
    await page.mouse.move(0, 0)
    for passing in (".toast", ".edited-pill"):
        await expect(page.locator(passing).filter(visible=True)).to_have_count(0)
    await page.evaluate("Promise.all([...document.images].map(image => image.decode().catch(() => null)))")
    await page.wait_for_function(
        "[...document.querySelectorAll('video')].every(video => video.networkState !== video.NETWORK_LOADING)"
    )
    content = await page.screenshot(animations="disabled", caret="hide")
    await asyncio.to_thread(lambda: path.write_bytes(smaller(content)))


def smaller(content: bytes) -> bytes:
    """The same picture with as few colours as its size asks for."""
    with Image.open(io.BytesIO(content)) as picture:
        whole = picture.convert("RGB")
    for colours, dither in ((256, Image.Dither.FLOYDSTEINBERG), (256, Image.Dither.NONE), (64, Image.Dither.NONE)):
        palette = whole.quantize(colours)
        out = io.BytesIO()
        whole.quantize(palette=palette, dither=dither).save(out, "PNG", optimize=True)
        if out.tell() <= LARGEST_BYTES:
            break
    return out.getvalue()


def resized(photo: bytes, width: int, height: int) -> bytes:
    """A JPEG of this size."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(photo)) as picture:
        picture.resize((width, height)).save(out, "JPEG")
    return out.getvalue()


def index() -> str:
    """The page that shows all pictures."""
    lines = [
        "# How it looks",
        "",
        "Every screen of the bot, taken by `scripts/pictures` on the chat page with the real processes behind it.",
        "",
        f"| | {' | '.join(seller.title for seller in SELLERS)} |",
        "|---|---|---|",
    ]
    for name, title in SCREENS.items():
        pictures = (f"![{title}]({seller.language}-{name}.png)" for seller in SELLERS)
        lines.append(f"| {title} | {' | '.join(pictures)} |")
    return "\n".join(
        [*lines, "", "![Two sellers on the chat page, with the calls of the bot](chat.png)", "", *FRAMES, ""]
    )


async def main() -> int:
    """Take them all; what there was is replaced only when everything is taken."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            await take(Path(folder))
    except NoBrowser as missing:
        sys.stderr.write(f"No pictures: {missing}\n")
        return 1
    return 0


async def take(home: Path) -> None:
    """Run a whole shop in `home` and photograph it."""
    new = home / "pictures"
    new.mkdir()
    server = await asyncio.to_thread(EmbeddedPostgres.start, home / "postgres", durable=False)
    try:
        await migrate(server.dsn)
        async with running_browser() as browser, open_stage(server.dsn, home) as stage:
            with Progress(transient=True) as progress:
                bar = progress.add_task("Taking pictures", total=len(SELLERS) * len(SCREENS) + 1)
                desk = await browser.new_page(viewport=DESK)
                await make_history(stage, desk)
                for seller in SELLERS:
                    context = await browser.new_context(viewport=PHONE, locale=seller.language)
                    camera = Camera(stage, await context.new_page(), seller, new, lambda: progress.advance(bar))
                    await camera.take_all()
                    await context.close()
                await take_wide(stage, desk, new / "chat.png")
    finally:
        await asyncio.to_thread(server.stop)
    await asyncio.to_thread(publish, new)


def publish(new: Path) -> None:
    """Put the pictures and their index in the place of the earlier ones."""
    FOLDER.mkdir(exist_ok=True)
    for seller in SELLERS:
        for old in FOLDER.glob(f"{seller.language}-*.png"):
            old.unlink()
    for picture in new.iterdir():
        (FOLDER / picture.name).write_bytes(picture.read_bytes())
    (FOLDER / "README.md").write_text(index(), "utf-8")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
