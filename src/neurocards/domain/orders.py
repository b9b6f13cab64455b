"""A draft, the questions it still needs answered, and the order it becomes."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

COUNTS = (1, 3, 5)
"""How many videos a customer can ask for at once."""

MAX_DESCRIPTION_CHARACTERS = 1000
MAX_WISHES_CHARACTERS = 500


class Question(StrEnum):
    """What the conversation asks for, in its order."""

    PHOTO = "photo"
    TEMPLATE = "template"
    DESCRIPTION = "description"
    WISHES = "wishes"
    COUNT = "count"
    CONFIRMATION = "confirmation"


@dataclass(frozen=True)
class Draft:
    """What a customer has chosen so far. It already carries the id of the order it will become."""

    order_id: UUID
    customer_id: int
    photo_key: str | None
    template: str | None
    description: str | None
    wishes: str | None
    count: int | None
    quoted_price_credits: int | None
    card_message_id: int | None


@dataclass(frozen=True)
class Order:
    """One row of the orders table: a confirmed draft. `price_credits` is the price of one video."""

    id: UUID
    number: int
    customer_id: int
    photo_key: str
    template: str
    template_version: int
    description: str
    wishes: str
    count: int
    price_credits: int
    model: str
    seconds: int
    card_message_id: int | None
    placed_at: datetime

    @property
    def total_credits(self) -> int:
        return self.count * self.price_credits


def next_question(draft: Draft | None) -> Question:
    """Say what to ask next: the first choice that is still open. Empty wishes are an answer; no wishes are not."""
    if draft is None or draft.photo_key is None:
        return Question.PHOTO
    if draft.template is None:
        return Question.TEMPLATE
    if draft.description is None:
        return Question.DESCRIPTION
    if draft.wishes is None:
        return Question.WISHES
    if draft.count is None:
        return Question.COUNT
    return Question.CONFIRMATION
