"""What a customer sees: text and buttons, built without Telegram."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from html import escape
from math import ceil
from typing import assert_never
from uuid import UUID

from neurocards.domain.catalogue import Catalogue, Template
from neurocards.domain.orders import (
    COUNTS,
    MAX_DESCRIPTION_CHARACTERS,
    MAX_WISHES_CHARACTERS,
    Draft,
    Question,
)
from neurocards.media.photos import PhotoFault
from neurocards.texts import LANGUAGES, BadTexts, translate

CARD_DESCRIPTION_CHARACTERS = 260
CARD_WISHES_CHARACTERS = 150


class Verb(StrEnum):
    """What a button does. One letter each: a button's data has 64 bytes."""

    AGREE = "a"
    SPEAK = "l"
    CHOOSE_TEMPLATE = "t"
    SKIP_WISHES = "s"
    APPROVE_SCRIPT = "o"
    EXTEND_SCRIPT = "e"
    REPLACE_SCRIPT = "p"
    CHOOSE_COUNT = "n"
    BACK = "b"
    CONFIRM = "y"
    CANCEL = "x"
    CANCEL_ORDER = "w"
    """About an order, not a draft: take it back while that is free."""
    REPEAT = "r"
    """About an order: begin a draft from it."""
    ORIGINAL = "f"
    """About an order as well: one of its videos as a file."""


class Repeat(StrEnum):
    """What of an order a new draft takes over."""

    ALL = "all"
    PRODUCT = "product"
    """Photo and description: straight to the template."""
    ALL_BUT_PHOTO = "photo"
    ALL_BUT_WORDS = "words"


@dataclass(frozen=True)
class Action:
    """What a tap says. Where it is about a draft it names it: a button of an earlier one must do nothing.

    `order_id` is the draft's, which the order inherits.
    """

    verb: Verb
    order_id: UUID | None = None
    value: str = ""


class CabinetVerb(StrEnum):
    """What a button of the cabinet does. One letter each: a button's data has 64 bytes."""

    HOME = "h"
    STATEMENT = "s"
    VIDEOS = "v"
    SEND_VIDEO = "g"
    LANGUAGES = "l"
    SPEAK = "k"
    NEW_VIDEO = "n"


@dataclass(frozen=True)
class CabinetAction:
    """What a tap says: the verb and, where it needs one, the neighbour of a page, a video or a language."""

    verb: CabinetVerb
    older_than: int | None = None
    newer_than: int | None = None
    generation_id: UUID | None = None
    language: str = ""


class AdminVerb(StrEnum):
    """What a button of the operators' menu does. One letter each: a button's data has 64 bytes."""

    HOME = "h"
    DAY = "d"
    QUEUE = "q"
    PROVIDERS = "p"
    FIND = "f"
    CUSTOMER = "c"
    ORDER = "o"
    GRANT = "g"
    REFUND = "r"
    PAUSE = "s"
    RESUME = "e"
    REQUEST = "n"
    """Look at a request that waits for a second operator."""
    CONFIRM = "y"
    DROP = "x"


@dataclass(frozen=True)
class AdminAction:
    """What a tap says: the verb, a customer's Telegram id or an order's number, or the one request that it is about."""

    verb: AdminVerb
    subject: int | None = None
    request_id: UUID | None = None


class Style(StrEnum):
    """Colours of buttons; older apps show none."""

    PRIMARY = "primary"
    SUCCESS = "success"
    DANGER = "danger"


@dataclass(frozen=True)
class Button:
    """A label and what it does."""

    label: str
    action: Action | CabinetAction | AdminAction
    style: Style | None = None


@dataclass(frozen=True)
class Screen:
    """One message: text with Telegram's HTML, rows of buttons below it, and a photo above it where there is a key."""

    text: str
    buttons: tuple[tuple[Button, ...], ...] = ()
    photo_key: str | None = None

    @property
    def gist(self) -> str:
        """All words of it, those on its buttons included: two screens with the same are the same to whoever reads."""
        return "\n".join([self.text, *(button.label for row in self.buttons for button in row)])

    def after(self, line: str) -> "Screen":
        """The same screen below a line about what just happened."""
        return replace(self, text=f"{line}\n\n{self.text}") if line else self


class Kind(StrEnum):
    """What people send that no question asks for."""

    TEXT = "text"
    COMMAND = "command"
    STICKER = "sticker"
    VIDEO = "video"
    ANIMATION = "animation"
    VOICE = "voice"
    LOCATION = "location"
    CONTACT = "contact"
    OTHER = "other"


def consent(language: str, version: int) -> Screen:
    """What happens to a photo, and one button to agree."""
    agree = Button(translate(language, "consent-agree"), Action(Verb.AGREE, value=str(version)), Style.SUCCESS)
    return Screen(translate(language, "consent", version=version), ((agree,),))


def welcome(language: str, gift_credits: int) -> Screen:
    """The gift, and the request for the first photo."""
    return Screen(translate(language, "welcome", gift=credits_text(language, gift_credits)))


def choose_language(language: str) -> Screen:
    """Two buttons, each in its own language."""
    return Screen(
        translate(language, "language"),
        (
            tuple(
                Button(translate(one, f"language-{one}"), Action(Verb.SPEAK, value=one), Style.PRIMARY)
                for one in LANGUAGES
            ),
        ),
    )


def ask_photo(language: str, draft: Draft | None = None) -> Screen:
    """The request for a photo; for a draft that has lost its photo there is still something to cancel."""
    return Screen(translate(language, "ask-photo"), ((_cancel(language, draft.order_id),),) if draft else ())


def photo_refused(language: str, fault: PhotoFault) -> Screen:
    """One sentence: what is wrong with the photo, and what to do."""
    return Screen(translate(language, f"photo-fault-{fault.replace('_', '-')}"))


def ask(
    language: str,
    question: Question,
    draft: Draft | None,
    catalogue: Catalogue,
    *,
    available_credits: int,
    support: str | None,
    made_with: str | None = None,
    paused: bool = False,
) -> Screen:
    """The question that comes next for this draft, whose template, if chosen, is on sale.

    `made_with` is the plain name of the model that would make it, None where nobody can at the moment. `paused` is
    whether nothing is sold for now.
    """
    if draft is None or question is Question.PHOTO:
        return ask_photo(language, draft)
    match question:
        case Question.TEMPLATE:
            return choose_template(language, draft.order_id, catalogue.templates)
        case Question.SECOND_PHOTO:
            return ask_second_photo(language, draft.order_id, _template(draft, catalogue))
        case Question.DESCRIPTION:
            return ask_description(language, draft.order_id, _template(draft, catalogue))
        case Question.WISHES:
            return ask_wishes(language, draft.order_id)
        case Question.SCRIPT:
            return ask_script(language, draft)
        case Question.COUNT:
            return ask_count(language, draft.order_id, _template(draft, catalogue).price_credits)
        case Question.CONFIRMATION:
            return card(
                language,
                draft,
                template=_template(draft, catalogue),
                available_credits=available_credits,
                support=support,
                made_with=made_with,
                paused=paused,
            )
        case _:
            assert_never(question)


def choose_template(language: str, order_id: UUID, templates: Mapping[str, Template]) -> Screen:
    """Every template on sale: its name and a line about it; two buttons in a row, so that the text stays in view.

    What costs more than the others says its price.
    """
    least = min((template.price_credits for template in templates.values()), default=0)
    lines = [_template_line(language, template, least_credits=least) for template in templates.values()]
    choices = [
        Button(template_name(language, template), Action(Verb.CHOOSE_TEMPLATE, order_id, template), Style.PRIMARY)
        for template in templates
    ]
    return Screen(
        translate(language, "choose-template", templates="\n".join(lines)),
        (
            *(tuple(choices[first : first + 2]) for first in range(0, len(choices), 2)),
            _ways_out(language, order_id, Question.TEMPLATE),
        ),
    )


def ask_second_photo(language: str, order_id: UUID, template: Template) -> Screen:
    """The picture at which the video ends."""
    return Screen(
        translate(
            language,
            "ask-second-photo",
            template=template_name(language, template.id),
            wanted=_second_photo_wanted(language, template.id),
        ),
        (_ways_out(language, order_id, Question.SECOND_PHOTO),),
    )


def ask_description(language: str, order_id: UUID, template: Template) -> Screen:
    """What the product is, or for the customer's own script, what should happen; with an example."""
    return Screen(
        translate(
            language,
            "ask-scenario" if template.own_words else "ask-description",
            template=template_name(language, template.id),
            sample=translate(language, f"template-{template.id}-sample"),
            limit=MAX_DESCRIPTION_CHARACTERS,
        ),
        (_ways_out(language, order_id, Question.DESCRIPTION),),
    )


def ask_wishes(language: str, order_id: UUID) -> Screen:
    """Anything else; may be skipped."""
    skip = Button(translate(language, "skip"), Action(Verb.SKIP_WISHES, order_id), Style.PRIMARY)
    return Screen(
        translate(language, "ask-wishes", limit=MAX_WISHES_CHARACTERS),
        ((skip,), _ways_out(language, order_id, Question.WISHES)),
    )


def ask_script(language: str, draft: Draft) -> Screen:
    """The customer's own script as it stands: to approve, extend or replace."""
    order_id = draft.order_id
    return Screen(
        translate(language, "ask-script", script=escape(draft.description or "", quote=False)),
        (
            (Button(translate(language, "script-approve"), Action(Verb.APPROVE_SCRIPT, order_id), Style.SUCCESS),),
            (
                Button(translate(language, "script-extend"), Action(Verb.EXTEND_SCRIPT, order_id), Style.PRIMARY),
                Button(translate(language, "script-replace"), Action(Verb.REPLACE_SCRIPT, order_id), Style.PRIMARY),
            ),
            _ways_out(language, order_id, Question.SCRIPT),
        ),
    )


def ask_extension(language: str, order_id: UUID) -> Screen:
    """What to add to the script."""
    return Screen(translate(language, "ask-extension"), ((_cancel(language, order_id),),))


def ask_count(language: str, order_id: UUID, price_credits: int) -> Screen:
    """How many videos, each choice with its price."""
    return Screen(
        translate(language, "ask-count"),
        (
            *(
                (
                    Button(
                        translate(
                            language,
                            "count-option",
                            videos=count,
                            price=credits_text(language, count * price_credits),
                        ),
                        Action(Verb.CHOOSE_COUNT, order_id, str(count)),
                        Style.PRIMARY,
                    ),
                )
                for count in COUNTS
            ),
            _ways_out(language, order_id, Question.COUNT),
        ),
    )


def card(
    language: str,
    draft: Draft,
    *,
    template: Template,
    available_credits: int,
    support: str | None,
    made_with: str | None,
    paused: bool = False,
) -> Screen:
    """The complete draft with its photo: what its Confirm button orders, and what that costs."""
    count = draft.count or 0
    total = count * template.price_credits
    size = with_model(language, size_text(language, count, template.seconds), made_with)
    if template.photos > 1:
        size = "\n".join([size, translate(language, "card-two-photos")])
    told = {
        "template": template_name(language, template.id),
        "description": _shortened(draft.description or "", CARD_DESCRIPTION_CHARACTERS),
        "size": size,
        "price": credits_text(language, total),
        # While nothing is sold, what would be missing or left is nobody's concern.
        "money": translate(language, "card-paused") if paused else _money(language, total, available_credits, support),
    }
    if template.own_words and not draft.wishes:
        text = translate(language, "card-script", **told)
    else:
        wishes = _shortened(draft.wishes or "", CARD_WISHES_CHARACTERS)
        text = translate(language, "card", **told, wishes=wishes or translate(language, "card-no-wishes"))
    confirm = Button(translate(language, "confirm"), Action(Verb.CONFIRM, draft.order_id), Style.SUCCESS)
    fewer = Button(
        translate(language, "fewer"), Action(Verb.BACK, draft.order_id, Question.CONFIRMATION), Style.PRIMARY
    )
    # Who can pay for a smaller order is led there; credits may come in the meantime, so Confirm stays.
    affordable = template.price_credits <= available_credits < total
    return Screen(
        text,
        (
            *(((fewer,),) if affordable else ()),
            (confirm,),
            _ways_out(language, draft.order_id, Question.CONFIRMATION),
        ),
        photo_key=draft.photo_key,
    )


def chosen(language: str, question: Question, draft: Draft, catalogue: Catalogue) -> Screen:
    """What is left of a question that a button has answered: one line that says the answer."""
    match question:
        case Question.TEMPLATE:
            name = template_name(language, draft.template or "")
            return Screen(translate(language, "chosen-template", template=name))
        case Question.WISHES:
            return Screen(translate(language, "chosen-wishes"))
        case Question.SCRIPT:
            return Screen(translate(language, "chosen-script"))
        case Question.COUNT:
            size = size_text(language, draft.count or 0, _template(draft, catalogue).seconds)
            return Screen(translate(language, "chosen-count", size=size))
        case Question.PHOTO | Question.SECOND_PHOTO | Question.DESCRIPTION | Question.CONFIRMATION:
            raise ValueError(f"{question} is not answered by a button")
        case _:
            assert_never(question)


def unexpected(language: str, kind: Kind, question: Question) -> str:
    """The line for something that the open question does not ask for: what it is, and what is awaited."""
    return f"{translate(language, f'kind-{kind}')} {awaiting(language, question)}"


def awaiting(language: str, question: Question) -> str:
    """The line that says which answer is awaited, for somebody who sent something else."""
    return translate(language, f"awaiting-{question}")


def too_long(language: str, *, length: int, limit: int) -> str:
    """The line for a text that is longer than we take."""
    return translate(language, "too-long", length=length, limit=limit)


def not_enough(language: str, *, total_credits: int, available_credits: int) -> str:
    """The alert that names what is missing for an order."""
    return translate(
        language,
        "not-enough",
        missing=credits_text(language, total_credits - available_credits),
        price=credits_text(language, total_credits),
        available=credits_text(language, available_credits),
    )


def closed(language: str, seconds: float | None) -> str:
    """The alert that nothing is sold at the moment, and for how long, in minutes rounded up."""
    if seconds is None:
        return translate(language, "closed")
    return translate(language, "closed-for", minutes=max(1, ceil(seconds / 60)))


def credits_text(language: str, credits: int) -> str:
    """An amount in words: 1 credit, 5 credits."""
    return translate(language, "credits", credits=credits)


def size_text(language: str, count: int, seconds: int) -> str:
    """How much video: 3 videos, 10 seconds each."""
    length = translate(language, "seconds", seconds=seconds)
    return translate(language, "videos-of-seconds", videos=count, length=length)


def with_model(language: str, size: str, model: str | None) -> str:
    """How much video, and what makes it where that is known: 1 video, 10 seconds · Kling 3.0 Turbo."""
    return (
        size if model is None else translate(language, "size-with-model", size=size, model=escape(model, quote=False))
    )


def template_name(language: str, template_id: str) -> str:
    """What a template is called."""
    return translate(language, f"template-{template_id}-name")


def _template_line(language: str, template: Template, *, least_credits: int) -> str:
    told = {
        "name": template_name(language, template.id),
        "about": translate(language, f"template-{template.id}-about"),
    }
    if template.price_credits == least_credits:
        return translate(language, "template-line", **told)
    return translate(language, "template-line-with-price", **told, price=credits_text(language, template.price_credits))


def _second_photo_wanted(language: str, template_id: str) -> str:
    """What the second photo should show. A template of an operator's own may have no words for it."""
    try:
        return translate(language, f"template-{template_id}-second-photo")
    except BadTexts:
        return translate(language, "second-photo-wanted")


def _ways_out(language: str, order_id: UUID, question: Question) -> tuple[Button, Button]:
    """Below every question: a step back, and out."""
    back = Button(translate(language, "back"), Action(Verb.BACK, order_id, question))
    return back, _cancel(language, order_id)


def _cancel(language: str, order_id: UUID) -> Button:
    return Button(translate(language, "cancel"), Action(Verb.CANCEL, order_id), Style.DANGER)


def _money(language: str, total: int, available_credits: int, support: str | None) -> str:
    """What is left afterwards, or what is missing and how to get it."""
    available = credits_text(language, available_credits)
    if available_credits >= total:
        left = credits_text(language, available_credits - total)
        return translate(language, "card-balance", available=available, left=left)
    missing = credits_text(language, total - available_credits)
    lines = [translate(language, "card-missing", available=available, missing=missing)]
    if support:
        lines.append(translate(language, "card-top-up", support=escape(support, quote=False)))
    return "\n".join(lines)


def _shortened(words: str, limit: int) -> str:
    """As much as fits beside a photo, escaped: a caption has 1024 characters."""
    shown = words if len(words) <= limit else f"{words[: limit - 1].rstrip()}…"
    return escape(shown, quote=False)


def _template(draft: Draft, catalogue: Catalogue) -> Template:
    return catalogue.templates[draft.template or ""]
