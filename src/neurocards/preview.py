"""What one video would be asked for with: the prompt writer's question, the model's request, the price. Sends nothing.

For those who change a template or a profile, or wonder why a video looks the way it does: the words are the same that
production sends, and nobody is paid to see them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from neurocards.domain.catalogue import Catalogue, JsonValue, Model, Template, spoken_to
from neurocards.domain.failures import Failure
from neurocards.domain.orders import MAX_DESCRIPTION_CHARACTERS, MAX_WISHES_CHARACTERS
from neurocards.domain.routing import Choice, Condition, Request, route
from neurocards.domain.scripts import Commission, WrittenPrompt, commissioned
from neurocards.media import children
from neurocards.media.photos import BadPhoto, jpeg_size
from neurocards.providers.writing import INSTRUCTIONS, question

if TYPE_CHECKING:
    from neurocards.production import PromptWriter


class NoPreview(Exception):
    """There is nothing to show: the photo, the template, the model or the words do not go together."""


@dataclass(frozen=True)
class Trial:
    """The order to be tried. `second_photo` is needed by some templates; without `model` it is chosen as ever."""

    photo: bytes
    second_photo: bytes | None
    template: str
    description: str
    wishes: str
    model: str | None


@dataclass(frozen=True)
class Preview:
    """What would be sent. `photo` says in words what the writer sees; so do the frames in `input`.

    `written` is what the writer answered, if it was asked and did; `failure` why it did not.
    """

    instructions: str
    question: str
    photo: str
    written: WrittenPrompt | None
    failure: str | None
    model: Model
    reason: str
    input: dict[str, JsonValue]
    usd: float
    price_credits: int


async def prepare(catalogue: Catalogue, trial: Trial, writer: "PromptWriter | None") -> Preview:
    """Everything up to the first byte that costs money; a `writer` is really asked. Raises NoPreview."""
    template = _template(catalogue, trial)
    chosen = _chosen(catalogue, template, trial.model)
    model = chosen.model
    photo, frame, last_frame = _pictures(trial)
    commission = commissioned(
        template,
        model,
        catalogue.lock,
        description=trial.description,
        wishes=trial.wishes,
        seconds=template.seconds,
    )
    written, failure = await _written(writer, commission, photo)
    prompt = written.prompt if written else template.prompt(description=trial.description, wishes=trial.wishes)
    spoken = spoken_to(model, template, catalogue.lock, prompt)
    return Preview(
        instructions=INSTRUCTIONS,
        question=question(commission),
        photo=f"JPEG {_size(photo)}, {_weight(photo)}",
        written=written,
        failure=failure,
        model=model,
        reason=chosen.reason,
        input=model.input(
            prompt=spoken.prompt,
            negative=spoken.negative,
            frame_url=f"<frame: {_size(frame)} JPEG, {_weight(frame)}>",
            last_frame_url=f"<last frame: {_size(last_frame)} JPEG, {_weight(last_frame)}>" if last_frame else None,
            seconds=template.seconds,
        ),
        usd=model.cost.usd(template.seconds),
        price_credits=template.price_credits,
    )


def _template(catalogue: Catalogue, trial: Trial) -> Template:
    """The template, if the order could be placed with these words and photos."""
    template = catalogue.templates.get(trial.template)
    if template is None:
        raise NoPreview(f"there is no template {trial.template!r}; there are {', '.join(catalogue.templates)}")
    if template.photos == 2 and trial.second_photo is None:
        raise NoPreview(f"the template {template.id} needs two photos: name the other one with --second")
    if template.photos == 1 and trial.second_photo is not None:
        raise NoPreview(f"the template {template.id} takes one photo: leave --second out")
    if not 1 <= len(trial.description) <= MAX_DESCRIPTION_CHARACTERS:
        raise NoPreview(f"a description has 1 to {MAX_DESCRIPTION_CHARACTERS} characters")
    if len(trial.wishes) > MAX_WISHES_CHARACTERS:
        raise NoPreview(f"wishes have {MAX_WISHES_CHARACTERS} characters at most")
    return template


def _chosen(catalogue: Catalogue, template: Template, name: str | None) -> Choice:
    """The model named, or the one that would be asked while all are well."""
    today = datetime.now(UTC)
    if name is not None:
        model = catalogue.models.get(name)
        if model is None:
            raise NoPreview(f"there is no model {name!r}; there are {', '.join(sorted(catalogue.models))}")
        if model.is_retired(today.date()):
            raise NoPreview(f"the model {model.id} is retired since {model.retires}")
        if why := _why_not(model, template):
            raise NoPreview(f"the model {model.id} cannot make the template {template.id}: {why}")
        return Choice(model, "as asked")
    found = route(
        catalogue.models.values(),
        Request(template.wants, template.seconds, template.price_credits),
        ordered=catalogue.preferred_model,
        conditions={id: Condition() for id in catalogue.models},
        now=today,
    )
    if not isinstance(found, Choice):
        raise NoPreview(f"no model can make the template {template.id}")
    return Choice(found.model, "as VIDEO_MODEL says") if found.model.id == catalogue.preferred_model else found


def _why_not(model: Model, template: Template) -> str | None:
    if template.seconds not in model.seconds_allowed:
        return f"it makes {', '.join(map(str, model.seconds_allowed))} seconds, and not {template.seconds}"
    if template.price_credits < model.price_credits:
        return f"it makes what is sold at {model.price_credits} credits or more"
    if template.wants.sound and not model.sound:
        return "it has no sound"
    if template.wants.people and not model.people:
        return "it refuses photos of people"
    if not model.can(template.wants):
        return "it takes no last frame"
    return None


def _pictures(trial: Trial) -> tuple[bytes, bytes, bytes | None]:
    """What the writer sees, the first frame, and the last one if there is a photo for it."""
    try:
        children.check_photo(trial.photo)
        return (
            children.preview(trial.photo),
            children.compose_frame(trial.photo),
            children.compose_frame(trial.second_photo) if trial.second_photo is not None else None,
        )
    except BadPhoto as bad:
        raise NoPreview(f"the photo cannot be used: {bad.code.replace('_', ' ')}") from bad


async def _written(
    writer: "PromptWriter | None", commission: Commission, photo: bytes
) -> tuple[WrittenPrompt | None, str | None]:
    if writer is None:
        return None, None
    try:
        written = await writer.write(commission, photo=photo)
    except Failure as failure:
        return None, str(failure)
    return written, None


def _size(jpeg: bytes) -> str:
    width, height = jpeg_size(jpeg)
    return f"{width}×{height}"


def _weight(jpeg: bytes) -> str:
    return f"{round(len(jpeg) / 1000)} kB"
