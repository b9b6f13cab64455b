"""What a prompt writer is asked for, and what it hands over for one clip: its shots, and the video model's prompt."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from neurocards.domain.catalogue import Lock, Model, Template, prompt_room

SPOKEN_WORDS_PER_SECOND = 2.8
"""What a calm voice says; more is cut off or hurried by every model."""

LATIN_LANGUAGES = frozenset({"cs", "da", "de", "en", "es", "fi", "fr", "id", "it", "nl", "pl", "pt", "ro", "sv", "tr"})
"""Languages whose lines can stand in a prompt: nothing but Latin letters leaves the writer."""


@dataclass(frozen=True)
class Commission:
    """What a prompt is wanted for. `speech_words` is the longest line that the template allows, 0 for none.

    `seconds` is the clip's length, `prompt_characters` the longest prompt. `sound` is false for a model that makes
    silent clips; `speech_languages` are the languages that it can speak.
    """

    brief: str
    description: str
    wishes: str
    seconds: int
    prompt_characters: int
    speech_words: int
    speech_languages: Sequence[str]
    sound: bool

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages in which a line can be written and spoken."""
        return tuple(language for language in self.speech_languages if language in LATIN_LANGUAGES)

    @property
    def line_words(self) -> int:
        """The longest line that may be said, in words: 0 where nobody speaks."""
        if not self.sound or not self.languages:
            return 0
        return max(0, min(self.speech_words, math.floor(self.seconds * SPOKEN_WORDS_PER_SECOND)))


def commissioned(
    template: Template, model: Model, lock: Lock, *, description: str, wishes: str, seconds: int
) -> Commission:
    """What to ask a writer for when this model is to make a clip of the template."""
    return Commission(
        brief=template.brief,
        description=description,
        wishes=wishes,
        seconds=seconds,
        prompt_characters=prompt_room(model, lock),
        speech_words=template.speech_words,
        speech_languages=model.speech,
        sound=model.sound,
    )


@dataclass(frozen=True)
class Shot:
    """One shot of a clip: one camera move, one action."""

    seconds: float
    camera: str
    action: str


@dataclass(frozen=True)
class Line:
    """What is said in a clip, word for word; `language` is a two-letter code."""

    text: str
    language: str


@dataclass(frozen=True)
class WrittenPrompt:
    """A checked answer of a prompt writer. Only `prompt` goes to the video model; it contains the line as it is.

    `hook` is what the first second shows. `sound` is None for a silent clip, `line` where nobody speaks.
    """

    hook: str
    shots: tuple[Shot, ...]
    sound: str | None
    line: Line | None
    prompt: str
