"""An order on its way, as its customer sees it: the status card, the caption of a video, the reason for none."""

from enum import IntEnum

from neurocards.bot.screens import Screen, credits_text, size_text, template_name
from neurocards.domain.failures import Reason
from neurocards.domain.generations import Generation, GenerationState
from neurocards.domain.orders import Order
from neurocards.notices import Story
from neurocards.texts import translate

BAR_CELLS = 10


class Stage(IntEnum):
    """How far a video is; the value is the share of its bar that is filled."""

    ACCEPTED = 1
    PROMPT = 2
    GENERATING = 4
    CHECKING = 8
    SENDING = 9
    FINISHED = 10


def status(story: Story) -> Screen:
    """The status card: a line for each video, and when all have ended what the order came to."""
    language, order = story.customer.language, story.order
    title = translate(language, "status-title", number=str(order.number), template=_name(language, order))
    size = size_text(language, order.count, order.seconds)
    lines = [_line(story, generation) for generation in story.generations]
    if len(lines) > 1:
        lines = [f"{generation.ordinal}. {line}" for generation, line in zip(story.generations, lines, strict=True)]
    over = all(_over(story, generation) for generation in story.generations)
    foot = _summary(story) if over else translate(language, "status-cheer")
    return Screen("\n\n".join([f"{title}\n{size}", "\n".join(lines), foot]))


def caption(story: Story, generation: Generation) -> str:
    """What stands below a video."""
    language, order = story.customer.language, story.order
    number, template = str(order.number), _name(language, order)
    if order.count == 1:
        return translate(language, "caption", number=number, template=template)
    return translate(
        language,
        "caption-of-many",
        number=number,
        template=template,
        ordinal=generation.ordinal,
        total=order.count,
    )


def failure(story: Story, generation: Generation) -> Screen:
    """Why there is no video, what to do, and that the credits are back."""
    language, order = story.customer.language, story.order
    told = {
        "number": str(order.number),
        "reason": translate(language, f"failure-{_reason(generation)}"),
        "credits": credits_text(language, generation.price_credits),
        "available": credits_text(language, story.customer.available_credits),
    }
    if order.count == 1:
        return Screen(translate(language, "failure", **told))
    return Screen(translate(language, "failure-of-many", **told, ordinal=generation.ordinal, total=order.count))


def _line(story: Story, generation: Generation) -> str:
    language = story.customer.language
    if generation.state in (GenerationState.FAILED, GenerationState.CANCELLED):
        credits = credits_text(language, generation.price_credits)
        return f"✕ {translate(language, 'stage-failed', credits=credits)}"
    stage = _stage(story, generation)
    bar = "▰" * stage + "▱" * (BAR_CELLS - stage)
    words = "undelivered" if _undelivered(story, generation) else stage.name.lower()
    return f"{bar} {translate(language, f'stage-{words}')}"


def _stage(story: Story, generation: Generation) -> Stage:
    """How far the video is. The notice may be older than its recovery points, or know of what they do not show."""
    if generation.state is GenerationState.COMPLETED:
        # The file id is what proves that it arrived.
        arrived = generation.file_id is not None or _undelivered(story, generation)
        return Stage.FINISHED if arrived else Stage.SENDING
    if generation.video_key is not None:
        reached = Stage.SENDING
    elif generation.frame_url is not None:
        reached = Stage.GENERATING
    elif generation.state is GenerationState.PROCESSING:
        reached = Stage.PROMPT
    else:
        reached = Stage.ACCEPTED
    if story.generation == generation and story.stage is not None:
        # A stage that a newer version writes is told by the recovery points alone.
        noticed = Stage.__members__.get(story.stage.upper(), Stage.ACCEPTED)
        return max(reached, min(noticed, Stage.SENDING))
    return reached


def _undelivered(story: Story, generation: Generation) -> bool:
    """Whether the video was finished and its delivery has ended without a message in the chat."""
    told = story.generation
    return (
        generation.state is GenerationState.COMPLETED
        and generation.file_id is None
        and story.stage == "finished"
        and told is not None
        # Notices go out in the order in which generations ended, each video before its "finished".
        and (generation.id == told.id or _ended_before(generation, told))
    )


def _ended_before(generation: Generation, other: Generation) -> bool:
    return (
        generation.finished_at is not None
        and other.finished_at is not None
        and generation.finished_at < other.finished_at
    )


def _over(story: Story, generation: Generation) -> bool:
    return generation.state.ended and (
        generation.state is not GenerationState.COMPLETED or _stage(story, generation) is Stage.FINISHED
    )


def _summary(story: Story) -> str:
    """How many videos there are, what was charged and what came back."""
    language = story.customer.language
    completed = [one for one in story.generations if one.state is GenerationState.COMPLETED]
    delivered = sum(not _undelivered(story, one) for one in completed)
    charged = sum(one.price_credits for one in completed)
    refunded = sum(one.price_credits for one in story.generations) - charged
    lines = [translate(language, "status-summary", delivered=delivered, total=story.order.count)]
    if charged:
        lines.append(translate(language, "status-charged", credits=credits_text(language, charged)))
    if refunded:
        lines.append(translate(language, "status-refunded", credits=credits_text(language, refunded)))
    return " ".join(lines)


def _reason(generation: Generation) -> Reason:
    """Why it failed; an operator's own words are for the record and not for the customer."""
    try:
        return Reason(generation.failure or "")
    except ValueError:
        return Reason.INTERNAL


def _name(language: str, order: Order) -> str:
    return template_name(language, order.template)
