"""What a prompt writer hands over for one clip: the plan of its shots, and the prompt that the video model gets."""

from dataclasses import dataclass


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
