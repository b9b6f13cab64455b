"""One bot as Telegram knows it: its name tag, its updates, its profile and its Stars."""

import itertools
import json
from dataclasses import dataclass, field

from neurocards.simulators.telegram.errors import Json, bad_request
from neurocards.simulators.telegram.updates import UpdateQueue


@dataclass(frozen=True)
class StarTransaction:
    """One movement of Stars; a refund carries the id of the payment it returns."""

    id: str
    amount: int
    date: int
    person_id: int
    partner: Json
    is_refund: bool = False

    def as_json(self) -> Json:
        side = "receiver" if self.is_refund else "source"
        return {"id": self.id, "amount": self.amount, "date": self.date, side: self.partner}


@dataclass
class StarAccount:
    """The bot's Stars: every payment and refund, in order."""

    transactions: list[StarTransaction] = field(default_factory=list)
    payments: dict[str, StarTransaction] = field(default_factory=dict)
    refunded: set[str] = field(default_factory=set)
    balance: int = 0

    def receive(self, payment: StarTransaction) -> None:
        self.transactions.append(payment)
        self.payments[payment.id] = payment
        self.balance += payment.amount

    def refund(self, charge_id: str, *, person_id: int, date: int) -> StarTransaction:
        """Give a payment back, once; returns the payment."""
        payment = self.payments.get(charge_id)
        if payment is None or payment.person_id != person_id:
            raise bad_request("CHARGE_NOT_FOUND")
        if charge_id in self.refunded:
            raise bad_request("CHARGE_ALREADY_REFUNDED")
        self.refunded.add(charge_id)
        self.balance -= payment.amount
        self.transactions.append(
            StarTransaction(charge_id, payment.amount, date, person_id, payment.partner, is_refund=True)
        )
        return payment


@dataclass(eq=False)
class Bot:
    """A bot, known by its token; unclaimed as long as no token has been seen."""

    token: str | None = None
    updates: UpdateQueue = field(default_factory=UpdateQueue)
    stars: StarAccount = field(default_factory=StarAccount)
    commands: dict[tuple[str, str], list[Json]] = field(default_factory=dict)
    profile: dict[tuple[str, str], str] = field(default_factory=dict)
    album_numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @property
    def id(self) -> int:
        return int(self.token.partition(":")[0]) if self.token else 0

    @property
    def username(self) -> str:
        return f"sim{self.id}_bot"

    def commands_for(self, person_id: int, language_code: str | None) -> list[Json]:
        """The commands this person's app offers: of the closest scope, in the app's language if there are such."""
        scopes: tuple[Json, ...] = (
            {"type": "chat", "chat_id": person_id},
            {"type": "all_private_chats"},
            {"type": "default"},
        )
        for scope in scopes:
            for language in (_two_letters(language_code), ""):
                if commands := self.commands.get(command_key(scope, language)):
                    return commands
        return []

    def profile_for(self, field_name: str, language_code: str | None) -> str:
        """The name, description or short description as an app in this language shows it."""
        in_language = self.profile.get((field_name, _two_letters(language_code)))
        return in_language or self.profile.get((field_name, ""), "")

    def as_user(self) -> Json:
        name = self.profile.get(("name", ""), f"Simulated bot {self.id}")
        return {"id": self.id, "is_bot": True, "first_name": name, "username": self.username}


def command_key(scope: Json, language_code: str) -> tuple[str, str]:
    """Where commands of a scope and a language are kept; a chat is the same whether named by number or by string."""
    return json.dumps(scope, sort_keys=True).replace('"', ""), language_code


def _two_letters(language_code: str | None) -> str:
    """Apps may say pt-br; bots set their texts for pt."""
    return (language_code or "").partition("-")[0]
