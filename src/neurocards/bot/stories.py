"""An order on its way, as its customer sees it: the status card, what stands below a video, the reason for none."""

import math
from collections.abc import Mapping
from enum import IntEnum
from html import escape

from neurocards.bot.screens import (
    Action,
    Button,
    Repeat,
    Screen,
    Style,
    Verb,
    credits_text,
    size_text,
    template_name,
    with_model,
)
from neurocards.domain.catalogue import Model
from neurocards.domain.decisions import free_to_cancel
from neurocards.domain.failures import Reason
from neurocards.domain.generations import AttemptState, Generation, GenerationState
from neurocards.domain.orders import Order
from neurocards.domain.outlook import Usual, rendering_cells
from neurocards.notices import Story
from neurocards.texts import translate

BAR_CELLS = 10

USUAL_SECONDS = 120.0
"""How long a video takes with a model that only newer workers know."""

WAY_OUT: dict[Reason, tuple[Repeat, ...]] = {
    Reason.CONTENT: (Repeat.ALL_BUT_PHOTO, Repeat.ALL_BUT_WORDS),
    Reason.PHOTO: (Repeat.ALL_BUT_PHOTO,),
}
"""What helps after a failure; after any other, the same once more."""


class Stage(IntEnum):
    """How far a video is; the value is the least share of its bar that is filled."""

    ACCEPTED = 1
    PROMPT = 2
    GENERATING = 3
    CHECKING = 8
    SENDING = 9
    FINISHED = 10


def status(story: Story, models: Mapping[str, Model]) -> Screen:
    """The status card below the product's photo: a line for each video, then what is to be expected.

    When all have ended it is the receipt: what came, what was charged, what came back and why.
    """
    language, order = story.customer.language, story.order
    title = translate(language, "status-title", number=str(order.number), template=_name(language, order))
    size = with_model(language, size_text(language, order.count, order.seconds), _made_with(story, models))
    lines = [_line(story, generation, models) for generation in story.generations]
    if len(lines) > 1:
        lines = [f"{generation.ordinal}. {line}" for generation, line in zip(story.generations, lines, strict=True)]
    over = all(_over(story, generation) for generation in story.generations)
    foot = _receipt(story) if over else _prospects(story, models)
    text = "\n\n".join([f"{title}\n{size}", "\n".join(lines), foot])
    return Screen(text, _way_back(story), photo_key=order.photo_key)


def after_video(story: Story, generation: Generation) -> Screen:
    """The caption of a video, and what can be done next."""
    language, order = story.customer.language, story.order
    original = Action(Verb.ORIGINAL, order.id, str(generation.ordinal))
    return Screen(
        caption(story, generation),
        (
            (_repeat(language, order, Repeat.PRODUCT),),
            (_repeat(language, order, Repeat.ALL), Button(translate(language, "original"), original)),
        ),
    )


def caption(story: Story, generation: Generation) -> str:
    """What stands below a video."""
    language, order = story.customer.language, story.order
    told = {"number": str(order.number), "template": _name(language, order)}
    if order.count == 1:
        words = translate(language, "caption", **told)
    else:
        words = translate(language, "caption-of-many", **told, ordinal=generation.ordinal, total=order.count)
    return "\n".join([words, translate(language, "maybe-repeated")]) if story.repeated else words


def failure(story: Story, generation: Generation) -> Screen:
    """Why there is no video, that the credits are back, and what to do now."""
    language, order = story.customer.language, story.order
    reason = _reason(generation)
    told = {
        "number": str(order.number),
        "reason": translate(language, f"failure-{reason}"),
        "credits": credits_text(language, generation.price_credits),
        "available": credits_text(language, story.customer.available_credits),
    }
    buttons = tuple((_repeat(language, order, what),) for what in WAY_OUT.get(reason, (Repeat.ALL,)))
    if order.count == 1:
        return Screen(translate(language, "failure", **told), buttons)
    text = translate(language, "failure-of-many", **told, ordinal=generation.ordinal, total=order.count)
    return Screen(text, buttons)


def cancellation(story: Story, generation: Generation) -> Screen:
    """That the order, or what of it was still free, is taken back."""
    language, order = story.customer.language, story.order
    cancelled = [one for one in story.generations if one.state is GenerationState.CANCELLED]
    told = {
        "number": str(order.number),
        "credits": credits_text(language, sum(one.price_credits for one in cancelled)),
        "available": credits_text(language, story.customer.available_credits),
    }
    buttons = ((_repeat(language, order, Repeat.ALL),),)
    if len(cancelled) == order.count:
        return Screen(translate(language, "order-cancelled", **told), buttons)
    text = translate(language, "order-cancelled-partly", **told, cancelled=len(cancelled), total=order.count)
    return Screen(text, buttons)


def gone(story: Story) -> Screen:
    """That a past video is not to be had any more."""
    return Screen(translate(story.customer.language, "video-gone", number=str(story.order.number)))


def usual_text(language: str, usual: Usual) -> str:
    """How long it usually takes, and how we know: rounded outwards, in seconds up to a minute and a half."""
    if usual.high_seconds <= 90:
        low = max(10, math.floor(usual.low_seconds / 10) * 10)
        high = max(low + 10, math.ceil(usual.high_seconds / 10) * 10)
        return translate(language, "usual-seconds", low=low, high=high, measured=usual.measured)
    low = max(1, math.floor(usual.low_seconds / 60))
    high = max(low + 1, math.ceil(usual.high_seconds / 60))
    return translate(language, "usual-minutes", low=low, high=high, measured=usual.measured)


def _repeat(language: str, order: Order, what: Repeat) -> Button:
    style = Style.PRIMARY if what is Repeat.PRODUCT else None
    return Button(translate(language, f"repeat-{what}"), Action(Verb.REPEAT, order.id, what), style)


def _way_back(story: Story) -> tuple[tuple[Button, ...], ...]:
    """A button as long as something of the order is free to be taken back."""
    if not any(_free(story, generation) for generation in story.generations):
        return ()
    language, order = story.customer.language, story.order
    return ((Button(translate(language, "cancel-order"), Action(Verb.CANCEL_ORDER, order.id)),),)


def _free(story: Story, generation: Generation) -> bool:
    attempt = story.attempts.get(generation.id)
    return not generation.state.ended and free_to_cancel([attempt.state] if attempt else [])


def _line(story: Story, generation: Generation, models: Mapping[str, Model]) -> str:
    language = story.customer.language
    if generation.state is GenerationState.CANCELLED:
        words = translate(language, "status-cancelled")
        return f"✕ {words}"
    if generation.state is GenerationState.FAILED:
        reason = translate(language, f"failure-briefly-{_reason(generation)}")
        words = translate(language, "status-failed", reason=reason)
        return f"✕ {words}"
    stage = _stage(story, generation)
    cells = _cells(story, generation, models) if stage is Stage.GENERATING else int(stage)
    words = translate(language, f"stage-{_stage_key(story, generation, stage)}")
    return f"{'▰' * cells}{'▱' * (BAR_CELLS - cells)} {words}"


def _stage_key(story: Story, generation: Generation, stage: Stage) -> str:
    if _undelivered(story, generation):
        return "undelivered"
    # Nobody creates it while nobody can be asked.
    return "delayed" if generation.delayed_at is not None and stage is Stage.GENERATING else stage.name.lower()


def _stage(story: Story, generation: Generation) -> Stage:
    """How far the video is, by its recovery points: what a notice was written about may be long past."""
    if generation.state is GenerationState.COMPLETED:
        # The file id is what proves that it arrived.
        arrived = generation.file_id is not None or _undelivered(story, generation)
        return Stage.FINISHED if arrived else Stage.SENDING
    if generation.video_key is not None:
        return Stage.SENDING
    attempt = story.attempts.get(generation.id)
    if attempt is not None and attempt.state is AttemptState.SUCCEEDED:
        return Stage.CHECKING
    if generation.prompt is not None:
        # Also while the frame is uploaded anew after a bad clip: the script is not written twice.
        return Stage.GENERATING
    return Stage.PROMPT if generation.state is GenerationState.PROCESSING else Stage.ACCEPTED


def _cells(story: Story, generation: Generation, models: Mapping[str, Model]) -> int:
    """How much of the bar is filled while the provider is at work."""
    attempt = story.attempts.get(generation.id)
    if attempt is None or attempt.accepted_at is None or not attempt.state.live:
        return int(Stage.GENERATING)
    model = models.get(attempt.model)
    usual_seconds = story.outlook.rendering_seconds or (model.usual_seconds if model else USUAL_SECONDS)
    return rendering_cells((story.now - attempt.accepted_at).total_seconds(), usual_seconds)


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


def _made_with(story: Story, models: Mapping[str, Model]) -> str | None:
    """The plain names of the models at work, or of the one that was ordered as long as none is."""
    asked = [story.attempts[one.id].model for one in story.generations if one.id in story.attempts]
    titles = [models[model].title for model in asked or [story.order.model] if model in models]
    return ", ".join(dict.fromkeys(titles)) or None


def _prospects(story: Story, models: Mapping[str, Model]) -> str:
    """The place in the queue, what has changed, and how long it usually takes where that is known.

    While nobody can be asked, neither the place nor the time means anything.
    """
    language, outlook = story.customer.language, story.outlook
    delayed = [one.delayed_at is not None for one in story.generations if not one.state.ended]
    lines = []
    if any(delayed):
        lines.append(translate(language, "status-delayed"))
    elif replaced := _replaced(story, models):
        lines.append(replaced)
    if not all(delayed):
        if outlook.ahead is not None:
            lines.append(translate(language, "status-ahead", ahead=outlook.ahead))
        if outlook.usual is not None:
            is_late = (story.now - story.order.placed_at).total_seconds() > outlook.usual.high_seconds
            lines.append(translate(language, "status-late") if is_late else usual_text(language, outlook.usual))
    lines.append(translate(language, "status-cheer"))
    return "\n".join(lines)


def _replaced(story: Story, models: Mapping[str, Model]) -> str | None:
    """That others than the model on the card are at work on what is still open; None where the names are the same."""
    asked = [
        story.attempts[one.id].model for one in story.generations if not one.state.ended and one.id in story.attempts
    ]
    ordered = models.get(story.order.model)
    others = dict.fromkeys(models[model].title for model in asked if model in models and model != story.order.model)
    if ordered is None or not others or ordered.title in others:
        return None
    return translate(
        story.customer.language,
        "status-replaced",
        model=escape(ordered.title, quote=False),
        other=escape(", ".join(others), quote=False),
    )


def _receipt(story: Story) -> str:
    """How many videos came, what was charged and what came back; why stands in the lines above."""
    language = story.customer.language
    completed = [one for one in story.generations if one.state is GenerationState.COMPLETED]
    delivered = sum(not _undelivered(story, one) for one in completed)
    charged = sum(one.price_credits for one in completed)
    refunded = sum(one.price_credits for one in story.generations) - charged
    lines = [
        translate(language, "status-summary", delivered=delivered, total=story.order.count),
        translate(language, "status-charged", credits=credits_text(language, charged)),
    ]
    if refunded:
        lines.append(translate(language, "status-refunded", credits=credits_text(language, refunded)))
    return "\n".join(lines)


def _reason(generation: Generation) -> Reason:
    """Why it failed; an operator's own words are for the record and not for the customer."""
    try:
        return Reason(generation.failure or "")
    except ValueError:
        return Reason.INTERNAL


def _name(language: str, order: Order) -> str:
    return template_name(language, order.template)
