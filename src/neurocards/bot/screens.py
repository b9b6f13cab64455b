"""What a customer sees: text and buttons, built without Telegram."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from html import escape
from uuid import UUID

from neurocards.db.customers import Balance
from neurocards.domain.catalogue import Catalogue, Template
from neurocards.domain.orders import (
    COUNTS,
    MAX_DESCRIPTION_CHARACTERS,
    MAX_WISHES_CHARACTERS,
    Draft,
    Question,
)
from neurocards.media.photos import PhotoFault
from neurocards.texts import LANGUAGES, translate


class Verb(StrEnum):
    """What a button does. One letter each: a button's data has 64 bytes."""

    AGREE = "a"
    SPEAK = "l"
    CHOOSE_TEMPLATE = "t"
    SKIP_WISHES = "s"
    CHOOSE_COUNT = "n"
    CONFIRM = "y"
    CANCEL = "x"


@dataclass(frozen=True)
class Action:
    """What a tap says. Where it is about a draft it names it: a button of an earlier one must do nothing."""

    verb: Verb
    order_id: UUID | None = None
    value: str = ""


class Style(StrEnum):
    """Colours of buttons; older apps show none."""

    PRIMARY = "primary"
    SUCCESS = "success"
    DANGER = "danger"


@dataclass(frozen=True)
class Button:
    """A label and what it does."""

    label: str
    action: Action
    style: Style | None = None


@dataclass(frozen=True)
class Screen:
    """One message: text with Telegram's HTML, and rows of buttons below it."""

    text: str
    buttons: tuple[tuple[Button, ...], ...] = ()

    def after(self, line: str) -> "Screen":
        """The same screen below a line about what just happened."""
        return replace(self, text=f"{line}\n\n{self.text}") if line else self


class NotPhoto(StrEnum):
    """What people send instead of a photo."""

    TEXT = "text"
    STICKER = "sticker"
    VIDEO = "video"
    ANIMATION = "animation"
    VOICE = "voice"
    OTHER = "other"


def consent(language: str) -> Screen:
    """What happens to a photo, and one button to agree."""
    agree = Button(translate(language, "consent-agree"), Action(Verb.AGREE), Style.SUCCESS)
    return Screen(translate(language, "consent"), ((agree,),))


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


def balance(language: str, credits: Balance) -> Screen:
    """What can be spent, what is held for orders in work, and what was spent."""
    return Screen(
        translate(
            language,
            "balance",
            available=credits_text(language, credits.available_free + credits.available_paid),
            held=credits_text(language, credits.held),
            spent=credits_text(language, credits.spent),
        )
    )


def ask_photo(language: str) -> Screen:
    """The request for a photo."""
    return Screen(translate(language, "ask-photo"))


def photo_refused(language: str, fault: PhotoFault) -> Screen:
    """One sentence: what is wrong with the photo, and what to do."""
    return Screen(translate(language, f"photo-fault-{fault.replace('_', '-')}"))


def not_a_photo(language: str, what: NotPhoto) -> Screen:
    """One sentence for whatever came instead of a photo."""
    return Screen(translate(language, f"not-photo-{what}"))


def ask(language: str, question: Question, draft: Draft, catalogue: Catalogue, available_credits: int) -> Screen:
    """The question that comes next for this draft, whose template, if chosen, is on sale."""
    match question:
        case Question.PHOTO:
            return ask_photo(language)
        case Question.TEMPLATE:
            return choose_template(language, draft.order_id, catalogue.templates)
        case Question.DESCRIPTION:
            return ask_description(language, draft.order_id, _template(draft, catalogue))
        case Question.WISHES:
            return ask_wishes(language, draft.order_id)
        case Question.COUNT:
            return ask_count(language, draft.order_id, _template(draft, catalogue).price_credits)
        case Question.CONFIRMATION:
            return card(
                language,
                draft,
                price_credits=_template(draft, catalogue).price_credits,
                seconds=catalogue.model.seconds,
                available_credits=available_credits,
            )


def choose_template(language: str, order_id: UUID, templates: Mapping[str, Template]) -> Screen:
    """Every template on sale: its name and a line about it."""
    lines = [
        translate(
            language,
            "template-line",
            name=template_name(language, template),
            about=translate(language, f"template-{template}-about"),
        )
        for template in templates
    ]
    return Screen(
        translate(language, "choose-template", templates="\n".join(lines)),
        (
            *(
                (
                    Button(
                        template_name(language, template),
                        Action(Verb.CHOOSE_TEMPLATE, order_id, template),
                        Style.PRIMARY,
                    ),
                )
                for template in templates
            ),
            (_cancel(language, order_id),),
        ),
    )


def ask_description(language: str, order_id: UUID, template: Template) -> Screen:
    """What the product is, or for the customer's own script, what should happen."""
    return Screen(
        translate(
            language,
            "ask-scenario" if template.own_words else "ask-description",
            template=template_name(language, template.id),
            limit=MAX_DESCRIPTION_CHARACTERS,
        ),
        ((_cancel(language, order_id),),),
    )


def ask_wishes(language: str, order_id: UUID) -> Screen:
    """Wishes, or none."""
    skip = Button(translate(language, "skip"), Action(Verb.SKIP_WISHES, order_id), Style.PRIMARY)
    return Screen(
        translate(language, "ask-wishes", limit=MAX_WISHES_CHARACTERS), ((skip,), (_cancel(language, order_id),))
    )


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
            (_cancel(language, order_id),),
        ),
    )


def card(language: str, draft: Draft, *, price_credits: int, seconds: int, available_credits: int) -> Screen:
    """The complete draft: what its Confirm button orders, and what that costs."""
    count = draft.count or 0
    total = count * price_credits
    available = credits_text(language, available_credits)
    if available_credits >= total:
        left = credits_text(language, available_credits - total)
        money = translate(language, "card-balance", available=available, left=left)
    else:
        missing = credits_text(language, total - available_credits)
        money = translate(language, "card-missing", available=available, missing=missing)
    confirm = Button(translate(language, "confirm"), Action(Verb.CONFIRM, draft.order_id), Style.SUCCESS)
    return Screen(
        translate(
            language,
            "card",
            template=template_name(language, draft.template or ""),
            description=escape(draft.description or "", quote=False),
            wishes=escape(draft.wishes, quote=False) if draft.wishes else translate(language, "card-no-wishes"),
            size=size_text(language, count, seconds),
            price=credits_text(language, total),
            money=money,
        ),
        ((confirm,), (_cancel(language, draft.order_id),)),
    )


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


def credits_text(language: str, credits: int) -> str:
    """An amount in words: 1 credit, 5 credits."""
    return translate(language, "credits", credits=credits)


def size_text(language: str, count: int, seconds: int) -> str:
    """How much video: 3 videos, 10 seconds each."""
    length = translate(language, "seconds", seconds=seconds)
    return translate(language, "videos-of-seconds", videos=count, length=length)


def template_name(language: str, template_id: str) -> str:
    """What a template is called."""
    return translate(language, f"template-{template_id}-name")


def _cancel(language: str, order_id: UUID) -> Button:
    return Button(translate(language, "cancel"), Action(Verb.CANCEL, order_id), Style.DANGER)


def _template(draft: Draft, catalogue: Catalogue) -> Template:
    return catalogue.templates[draft.template or ""]
