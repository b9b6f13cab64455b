"""A seller's way through the questions, and what is looked at on the way."""

import re
from typing import Any

from playwright.async_api import Locator, expect

from browser.phone import Phone, picked
from neurocards.domain.orders import MAX_DESCRIPTION_CHARACTERS, MAX_WISHES_CHARACTERS

TEMPLATE = "hero_broll"
OF_TWO_PHOTOS = "turntable_arc"
OWN_WORDS = "own_prompt"
DESCRIPTION = "Синяя кружка из глины, 300 мл"
SECONDS = 10

VIDEO_MS = 60_000.0
"""How long a video may take to arrive on a busy machine."""


async def meet(phone: Phone) -> None:
    """From the empty chat to the request for the first photo."""
    await phone.start()
    await phone.tap("consent-agree")
    await phone.hears("ask-photo")
    phone.acts = 0


async def bring_photo(phone: Phone, photo: bytes, *, caption: str = "") -> None:
    """Send the photo, and be asked for the template."""
    await phone.send_photo(picked(photo), caption=caption)
    await phone.hears("choose-template", templates="")


async def choose_template(phone: Phone, template: str = TEMPLATE) -> None:
    """Tap a template, and be asked for words."""
    await phone.tap(f"template-{template}-name")
    question = "ask-scenario" if template == OWN_WORDS else "ask-description"
    name = phone.words(f"template-{template}-name")
    sample = phone.words(f"template-{template}-sample")
    await phone.hears(question, template=name, sample=sample, limit=MAX_DESCRIPTION_CHARACTERS)


async def choose_of_two_photos(phone: Phone) -> None:
    """Tap a template that takes two photos, and be asked for the second."""
    await phone.tap(f"template-{OF_TWO_PHOTOS}-name")
    await phone.reads(phone.words(f"template-{OF_TWO_PHOTOS}-second-photo"))


async def bring_second_photo(phone: Phone, photo: bytes) -> None:
    """Send it, and be asked for words."""
    await phone.send_photo(picked(photo))
    await phone.hears("second-photo-taken")


async def describe(phone: Phone, description: str = DESCRIPTION) -> None:
    """Describe the product, and be asked for wishes."""
    await phone.write(description)
    await phone.hears("ask-wishes", limit=MAX_WISHES_CHARACTERS)


async def skip_wishes(phone: Phone) -> None:
    """No wishes; be asked how many videos."""
    await phone.tap("skip")
    await phone.hears("ask-count")


async def choose_count(phone: Phone, count: int = 1, *, price_credits: int = 1) -> Locator:
    """Tap how many videos, each at this price; returns the card that then asks for Confirm."""
    await phone.tap("count-option", videos=count, price=phone.words("credits", credits=count * price_credits))
    return await phone.offers("confirm")


async def to_card(phone: Phone, photo: bytes, *, count: int = 1) -> Locator:
    """Answer every question; returns the card that asks for Confirm."""
    await bring_photo(phone, photo)
    await choose_template(phone)
    await describe(phone)
    await skip_wishes(phone)
    return await choose_count(phone, count)


async def video_in(phone: Phone, *, number: int = 1) -> Locator:
    """Wait for that many videos; returns the message of the last."""
    await expect(phone.videos).to_have_count(number, timeout=VIDEO_MS)
    newest = phone.of_bot.filter(has=phone.page.locator("video.video")).last
    return await phone.pinned(newest)


async def played(video: Locator) -> dict[str, Any]:  # Any: JSON
    """Play it for a moment; returns what the player then says of it."""
    facts: dict[str, Any] = await video.evaluate(
        """video => new Promise((resolve, reject) => {
            video.addEventListener("error", () => reject(new Error(video.error.message)))
            video.addEventListener("timeupdate", () => {
                const { currentTime, videoWidth, videoHeight, duration } = video
                if (currentTime > 0.2) resolve({ currentTime, videoWidth, videoHeight, duration })
            })
            video.muted = true
            video.play().catch(reject)
        })"""
    )
    return facts


async def watch_words(message: Locator) -> None:
    """Note on the page everything that this message says from now on."""
    await message.evaluate(
        """message => {
            const phone = message.closest(".phone")
            const text = `.message[data-message-id="${message.dataset.messageId}"] .text`
            const seen = (window.wordsSeen = [])
            const note = () => {
                const words = phone.querySelector(text)?.innerText ?? ""
                if (words !== seen.at(-1)) seen.push(words)
            }
            new MutationObserver(note).observe(phone, { subtree: true, childList: true, characterData: true })
            note()
        }"""
    )


async def words_seen(phone: Phone) -> list[str]:
    """What has been noted."""
    seen: list[str] = await phone.page.evaluate("window.wordsSeen")
    return seen


def any_number(phone: Phone, key: str, **arguments: str | int) -> re.Pattern[str]:
    """A text with whatever order number."""
    return re.compile(re.escape(phone.words(key, number="00", **arguments)).replace("00", r"\d+"))
