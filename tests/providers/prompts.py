"""What a prompt that may reach a video model looks like, said once more in other words than the code under test."""

import re
import unicodedata

from neurocards.domain.scripts import Commission, WrittenPrompt

NEVER = ("://", "www.", "@", "<", ">", "{", "}", "[", "]", "*", "`", "$", "€", "₽", "\n", "\t", "  ")
NEVER_WORDS = {"credit", "credits", "order", "orders", "price", "prices", "instructions", "prompt", "refund", "token"}


def commission(
    *,
    description: str = "A mug",
    wishes: str = "",
    seconds: int = 10,
    prompt_characters: int = 2000,
    speech_words: int = 0,
    speech_languages: tuple[str, ...] = ("en", "zh", "es"),
    sound: bool = True,
) -> Commission:
    return Commission(
        brief="One slow push-in.",
        description=description,
        wishes=wishes,
        seconds=seconds,
        prompt_characters=prompt_characters,
        speech_words=speech_words,
        speech_languages=speech_languages,
        sound=sound,
    )


def why_not(written: WrittenPrompt, wanted: Commission) -> str | None:
    """What is wrong with what a writer handed over; None if nothing is."""
    if wrong := why_not_sent(written.prompt, wanted):
        return wrong
    if not 1 <= len(written.shots) <= 3 or abs(sum(shot.seconds for shot in written.shots) - wanted.seconds) > 1:
        return "its shots"
    parts = [written.hook, written.sound or "x"]
    parts += [part for shot in written.shots for part in (shot.camera, shot.action)]
    if written.line is not None:
        parts.append(written.line.text)
        spoken = len(written.line.text.split())
        if not 1 <= spoken <= min(wanted.speech_words, int(wanted.seconds * 2.8)) or not wanted.sound:
            return "its line"
        if written.line.language not in wanted.speech_languages:
            return "its language"
    return next((f"{part!r}: {wrong}" for part in parts if (wrong := _why_not_plain(part))), None)


def why_not_sent(prompt: str, wanted: Commission) -> str | None:
    """What is wrong with the words for the video model."""
    if not 40 <= len(prompt) <= wanted.prompt_characters:
        return "its length"
    return _why_not_plain(prompt)


def _why_not_plain(text: str) -> str | None:
    if not text or not text.isprintable():
        return "not printable"
    for letter in text:
        if letter.isalpha() and "LATIN" not in unicodedata.name(letter):
            return f"{letter!r}"
        if unicodedata.category(letter) in ("Sc", "Cf", "Cc", "Co", "Cs", "Cn"):
            return f"U+{ord(letter):04X}"
    if found := next((never for never in NEVER if never in text), None):
        return found
    if re.search(r"\d{7}|\w\.(com|ru|net|org|example)\b", text, re.IGNORECASE):
        return "a contact"
    if found_words := NEVER_WORDS & set(
        re.findall(r"[a-z]+", text.lower().replace("in order", "").replace("credit card", ""))
    ):
        return str(found_words)
    return None
