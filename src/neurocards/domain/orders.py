"""A draft, the questions it still needs answered, and the order it becomes."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid5

from neurocards.domain.catalogue import Template

COUNTS = (1, 3, 5)
"""How many videos a customer can ask for at once."""

MAX_DESCRIPTION_CHARACTERS = 1000
MAX_WISHES_CHARACTERS = 500


class Question(StrEnum):
    """What the conversation asks for, in its order."""

    PHOTO = "photo"
    TEMPLATE = "template"
    SECOND_PHOTO = "second_photo"
    """The product from another side, or as it is afterwards: only templates that end at a second picture ask for it."""
    DESCRIPTION = "description"
    WISHES = "wishes"
    SCRIPT = "script"
    """Instead of wishes, where the description is the customer's own script: to be approved, extended or replaced."""
    COUNT = "count"
    CONFIRMATION = "confirmation"


@dataclass(frozen=True)
class Draft:
    """What a customer has chosen so far. It already carries the id of the order it will become."""

    order_id: UUID
    customer_id: int
    photo_key: str | None
    second_photo_key: str | None
    template: str | None
    description: str | None
    wishes: str | None
    count: int | None
    quoted_price_credits: int | None
    card_message_id: int | None
    description_message_id: int | None
    question_message_id: int | None

    @property
    def photo_keys(self) -> tuple[str, ...]:
        """Every photo that it holds."""
        return tuple(key for key in (self.photo_key, self.second_photo_key) if key is not None)


@dataclass(frozen=True)
class Order:
    """One row of the orders table: a confirmed draft. `price_credits` is the price of one video.

    `card_text` is what its status card says now, None before the first status. `trace_id` is the one trace of all
    that is done for it, in whatever process.
    """

    id: UUID
    number: int
    trace_id: UUID
    customer_id: int
    photo_key: str
    second_photo_key: str | None
    """The product from another side, where the template shows two."""
    template: str
    template_version: int
    description: str
    wishes: str
    count: int
    price_credits: int
    model: str
    seconds: int
    card_message_id: int | None
    card_text: str | None
    placed_at: datetime
    forgotten_at: datetime | None = None
    """When its photos and words were forgotten."""

    @property
    def total_credits(self) -> int:
        return self.count * self.price_credits

    @property
    def names(self) -> dict[str, int | str]:
        """What every line in the logs about it carries: the number its customer sees, and its trace (32 hex digits)."""
        return {"order": self.number, "trace_id": self.trace_id.hex}


def next_question(draft: Draft | None, template: Template | None) -> Question:
    """Say what to ask next: the first choice that is still open. Empty wishes are an answer; no wishes are not.

    `template` is the draft's, None where it has none or where it is sold no more.
    """
    if draft is None or draft.photo_key is None:
        return Question.PHOTO
    if draft.template is None:
        return Question.TEMPLATE
    if template is not None and template.photos > 1 and draft.second_photo_key is None:
        return Question.SECOND_PHOTO
    if draft.description is None:
        return Question.DESCRIPTION
    if draft.wishes is None:
        return Question.SCRIPT if template is not None and template.own_words else Question.WISHES
    if draft.count is None:
        return Question.COUNT
    return Question.CONFIRMATION


ANSWER = {
    Question.PHOTO: "photo_key",
    Question.TEMPLATE: "template",
    Question.SECOND_PHOTO: "second_photo_key",
    Question.DESCRIPTION: "description",
    Question.WISHES: "wishes",
    # A script that is approved leaves nothing to wish for.
    Question.SCRIPT: "wishes",
    Question.COUNT: "count",
}
"""The part of a draft that a question fills."""

FORGOTTEN_WITH = {Question.PHOTO: ("second_photo_key",)}
"""What makes no sense without an answer, and goes when that is taken back: another product has other sides."""

_BEFORE = {
    Question.TEMPLATE: Question.PHOTO,
    Question.SECOND_PHOTO: Question.TEMPLATE,
    Question.DESCRIPTION: Question.TEMPLATE,
    Question.WISHES: Question.DESCRIPTION,
    # A script is replaced by a button of its own.
    Question.SCRIPT: Question.TEMPLATE,
    Question.COUNT: Question.WISHES,
    Question.CONFIRMATION: Question.COUNT,
}


def question_before(question: Question, template: Template | None) -> Question | None:
    """Where Back leads from a question: its answer is forgotten, and it is asked again. None before the first one.

    A template that takes two photos has one more question behind it.
    """
    before = _BEFORE.get(question)
    takes_two = template is not None and template.photos > 1
    if takes_two and before is Question.TEMPLATE and question is not Question.SECOND_PHOTO:
        return Question.SECOND_PHOTO
    return before


def renewed(order_id: UUID) -> UUID:
    """The id of a draft whose shown card must not order it any more; the same however often it is asked for."""
    return uuid5(order_id, "renewed")
