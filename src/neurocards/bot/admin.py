"""The operators' menu: one message that is turned page by page, and acts that a second tap confirms.

Nothing is remembered between taps but what was asked for; who may come here the door has decided.
"""

import re
from collections.abc import Sequence
from uuid import NAMESPACE_URL, UUID, uuid5

import structlog
from aiogram import Bot, F, Router
from aiogram.types import CallbackQuery, Message

from neurocards import operating
from neurocards.bot import admin_screens
from neurocards.bot.admin_screens import plain
from neurocards.bot.door import COMMAND, from_operator
from neurocards.bot.keyboards import AdminTap, disarm_message, send, tapped, turn_page
from neurocards.bot.screens import AdminVerb, Screen, credits_text
from neurocards.bot.trouble import translated
from neurocards.db import customers, operators, orders, overview, requests, standing
from neurocards.db.connection import Database, Transaction
from neurocards.db.customers import Customer
from neurocards.db.requests import Act, Question, Request
from neurocards.domain.catalogue import Catalogue
from neurocards.domain.failures import Failure
from neurocards.notices import Unreachable
from neurocards.operating import Already, Done, Ending, NeedsSecond, Refused
from neurocards.settings import Settings
from neurocards.texts import guess_language, translate

QUESTION_SECONDS = 600.0
"""So long an operator's next words are an answer; after that they are what anybody may say."""

MOST_CREDITS = 1_000_000
MAX_REASON_CHARACTERS = 300

_AMOUNT = re.compile(r"([0-9]{1,9})(?:\s+(.*))?", re.DOTALL)

log = structlog.get_logger()


class Admin:
    """The handlers of the operators' menu."""

    def __init__(self, database: Database, catalogue: Catalogue, settings: Settings) -> None:
        self._database = database
        self._catalogue = catalogue
        self._settings = settings

    def router(self) -> Router:
        """To be included first: an operator need not be a customer who has agreed to anything."""
        router = Router(name="admin")
        router.message.register(self.open, from_operator, F.text.regexp(COMMAND, mode="fullmatch"))
        router.message.register(self.words, from_operator, F.text, ~F.text.startswith("/"), self._awaiting)
        router.callback_query.register(self.tap, from_operator, AdminTap.filter())
        return router

    async def open(self, message: Message, bot: Bot, operator: int, customer: Customer) -> None:
        """The menu as a new message; with words behind the command, whoever they name."""
        asked = COMMAND.fullmatch(message.text or "")
        rest = (asked["rest"] or "").strip() if asked else ""
        language = customer.language
        if rest:
            screen = await self._find(language, operator, rest)
            page = screen or admin_screens.note(language, translate(language, "admin-nobody", words=plain(rest)))
        else:
            page = await self._home(language)
        await self._database.run(lambda tx: requests.expect_nothing(tx, operator))
        await send(bot, operator, page)

    async def words(self, message: Message, question: Question, bot: Bot, operator: int, customer: Customer) -> None:
        """The answer to what was asked for: whom to find, or how much and why."""
        said = (message.text or "").strip()
        kind, _, subject = question.awaited.partition(":")
        if kind == "find":
            await self._found(bot, operator, customer.language, said)
        else:
            # The same message again is the same request.
            name = f"telegram:{bot.id}:{message.chat.id}:{message.message_id}:{int(message.date.timestamp())}"
            await self._ask(
                bot, operator, customer.language, said, act=Act(kind), subject=subject, id=uuid5(NAMESPACE_URL, name)
            )
        await disarm_message(bot, operator, question.message_id)

    async def tap(
        self, query: CallbackQuery, callback_data: AdminTap, bot: Bot, operator: int, customer: Customer
    ) -> None:
        """Turn to a page, ask for an act, or do the one that the button names. Safe to repeat."""
        language, subject = customer.language, callback_data.subject
        match callback_data.verb:
            case AdminVerb.CONFIRM:
                screen = await self._confirm(bot, operator, language, callback_data.request_id)
            case AdminVerb.DROP:
                screen = await self._drop(operator, language, callback_data.request_id)
            case AdminVerb.REQUEST:
                screen = await self._second(language, callback_data.request_id)
            case AdminVerb.FIND | AdminVerb.GRANT | AdminVerb.REFUND | AdminVerb.PAUSE | AdminVerb.RESUME:
                screen = await self._question(query, operator, language, callback_data)
            case AdminVerb.HOME:
                await self._database.run(lambda tx: requests.expect_nothing(tx, operator))
                screen = await self._home(language)
            case AdminVerb.DAY:
                found = await self._database.run(overview.day)
                screen = admin_screens.day(language, found, credit_usd=self._settings.credit_usd)
            case AdminVerb.QUEUE:
                screen = admin_screens.queue(language, await self._database.run(overview.queue))
            case AdminVerb.PROVIDERS:
                models = self._catalogue.models.values()
                stand = await self._database.run(lambda tx: standing.read(tx, models))
                screen = admin_screens.providers(language, stand)
            case AdminVerb.CUSTOMER:
                screen = await self._customer(language, operator, subject or 0) or _nobody(language, subject)
            case AdminVerb.ORDER:
                screen = await self._order(language, operator, subject or 0) or _nobody(language, subject)
        await turn_page(query, bot, operator, screen)

    async def _awaiting(self, _message: Message, operator: int | None = None) -> dict[str, Question] | bool:
        """A filter: whether the operator was asked something a short while ago; handed on as `question`."""
        if operator is None:
            return False
        question = await self._database.run(lambda tx: requests.expected(tx, operator))
        if question is None or question.age_seconds > QUESTION_SECONDS:
            return False
        return {"question": question}

    # Pages ------------------------------------------------------------------------------------------------------

    async def _home(self, language: str) -> Screen:
        async def read(tx: Transaction) -> Screen:
            waiting = await requests.seconding(tx, within_seconds=operating.SECOND_SECONDS)
            return admin_screens.home(language, await operators.sales_pause(tx), waiting)

        return await self._database.run(read)

    async def _find(self, language: str, operator: int, words: str) -> Screen | None:
        """Whoever or whatever the words name: an order by its number, a person by id or @name."""
        name = words.strip()
        number = name.removeprefix("#").removeprefix("№").strip()
        if name.startswith("@"):
            telegram_id = await self._database.run(lambda tx: overview.person_called(tx, name[1:]))
            return await self._customer(language, operator, telegram_id) if telegram_id is not None else None
        if not re.fullmatch(r"[0-9]{1,18}", number):
            return None
        if number == name:
            screen = await self._customer(language, operator, int(number))
            if screen is not None:
                return screen
        return await self._order(language, operator, int(number))

    async def _customer(self, language: str, operator: int, telegram_id: int) -> Screen | None:
        async def read(tx: Transaction) -> Screen | None:
            found = await customers.find(tx, telegram_id)
            if found is None:
                return None
            await _looked_up(tx, operator, f"customer {telegram_id}")
            balance = await customers.balance(tx, found.id)
            return admin_screens.customer(language, found, balance, await overview.bought(tx, found.id))

        return await self._database.run(read)

    async def _order(self, language: str, operator: int, number: int) -> Screen | None:
        async def read(tx: Transaction) -> Screen | None:
            order = await orders.find_number(tx, number)
            found = await overview.bought_as(tx, number)
            if order is None or found is None:
                return None
            await _looked_up(tx, operator, f"order {number}")
            return admin_screens.order(language, found, (await customers.get(tx, order.customer_id)).telegram_id)

        return await self._database.run(read)

    # Questions --------------------------------------------------------------------------------------------------

    async def _question(self, query: CallbackQuery, operator: int, language: str, tap: AdminTap) -> Screen:
        """Ask for the words that an act needs; they are awaited in this message."""
        awaited = {
            AdminVerb.FIND: "find",
            AdminVerb.GRANT: f"{Act.GRANT}:{tap.subject}",
            AdminVerb.REFUND: f"{Act.REFUND}:{tap.subject}",
            AdminVerb.PAUSE: str(Act.PAUSE),
            AdminVerb.RESUME: str(Act.RESUME),
        }[tap.verb]

        async def ask(tx: Transaction) -> str | None:
            text = await self._asked(tx, language, awaited)
            if text is not None:
                await requests.expect(tx, operator, awaited, message_id=tapped(query))
            return text

        text = await self._database.run(ask)
        return _nobody(language, tap.subject) if text is None else admin_screens.question(language, text)

    async def _asked(self, tx: Transaction, language: str, awaited: str) -> str | None:
        """The question in words; None when what it is about is not there."""
        kind, _, subject = awaited.partition(":")
        match kind:
            case "find":
                return translate(language, "admin-ask-customer")
            case Act.GRANT:
                found = await customers.find(tx, _number(subject))
                if found is None:
                    return None
                return translate(language, "admin-ask-grant", name=plain(found.first_name), id=subject)
            case Act.REFUND:
                order = await orders.find_number(tx, _number(subject))
                return translate(language, "admin-ask-refund", number=subject) if order is not None else None
            case Act.PAUSE:
                return translate(language, "admin-ask-pause")
            case _:
                return translate(language, "admin-ask-resume")

    async def _found(self, bot: Bot, operator: int, language: str, said: str) -> None:
        screen = await self._find(language, operator, said)
        if screen is None:
            line = translate(language, "admin-nobody", words=plain(said[:MAX_REASON_CHARACTERS]))
            await self._again(bot, operator, language, line, "find")
            return
        await send(bot, operator, screen)
        await self._database.run(lambda tx: requests.expect_nothing(tx, operator))

    async def _again(self, bot: Bot, operator: int, language: str, line: str, awaited: str) -> None:
        """What was said is no answer: say why, and ask once more."""
        text = await self._database.run(lambda tx: self._asked(tx, language, awaited))
        screen = admin_screens.question(language, text or "").after(line)
        message_id = await send(bot, operator, screen)
        await self._database.run(lambda tx: requests.expect(tx, operator, awaited, message_id=message_id))

    async def _ask(
        self, bot: Bot, operator: int, language: str, said: str, *, act: Act, subject: str, id: UUID
    ) -> None:
        """Write down what was asked for, and show it with the button that does it."""
        credits, reason = 0, said
        awaited = f"{act}:{subject}" if subject else str(act)
        if act is Act.GRANT:
            amount = _AMOUNT.fullmatch(said)
            credits = int(amount[1]) if amount else 0
            reason = (amount[2] or "").strip() if amount else ""
            if not 1 <= credits <= MOST_CREDITS:
                line = translate(language, "admin-no-amount", most=str(MOST_CREDITS))
                await self._again(bot, operator, language, line, awaited)
                return
        if not reason:
            await self._again(bot, operator, language, translate(language, "admin-no-reason"), awaited)
            return
        if len(reason) > MAX_REASON_CHARACTERS:
            line = translate(
                language, "admin-reason-too-long", length=str(len(reason)), limit=str(MAX_REASON_CHARACTERS)
            )
            await self._again(bot, operator, language, line, awaited)
            return

        limit = self._settings.operator_limit_credits

        async def ask(tx: Transaction) -> Request | str:
            worth = credits
            if act is Act.REFUND:
                order = await orders.find_number(tx, _number(subject))
                worth = await operating.refundable_credits(tx, order) if order is not None else 0
                if worth == 0:
                    return translate(language, "admin-nothing-to-refund", number=subject)
            # Many small acts are a large one.
            alone = await requests.credits_alone(
                tx, operator, but=id, can_be_confirmed_seconds=operating.CONFIRM_SECONDS
            )
            needs_second = worth > 0 and alone + worth > limit
            if needs_second and len(self._settings.operators) < 2:
                return translate(language, "admin-no-second", limit=credits_text(language, limit))
            await requests.ask(
                tx,
                id,
                operator=operator,
                act=act,
                subject=subject,
                credits=worth,
                reason=reason,
                needs_second=needs_second,
            )
            request = await requests.find(tx, id)
            if request is None:
                raise LookupError(f"request {id} was not written down")
            return request

        asked = await self._database.run(ask)
        if isinstance(asked, str):
            await send(bot, operator, admin_screens.note(language, asked))
        else:
            await send(bot, operator, admin_screens.confirmation(language, asked))
        await self._database.run(lambda tx: requests.expect_nothing(tx, operator))

    # Acts -------------------------------------------------------------------------------------------------------

    async def _confirm(self, bot: Bot, operator: int, language: str, request_id: UUID | None) -> Screen:
        if request_id is None:
            return admin_screens.note(language, admin_screens.refusal(language, operating.Refusal.UNKNOWN))
        ending = await self._database.run(lambda tx: operating.confirm(tx, request_id, operator=operator))
        if isinstance(ending, Done):
            log.info("operator_acted", act=ending.request.act.value, subject=ending.request.subject)
        if isinstance(ending, NeedsSecond):
            await self._call_others(bot, ending.request)
        return self._told(language, ending)

    def _told(self, language: str, ending: Ending) -> Screen:
        match ending:
            case Done(request, _, refunded) if refunded is not None:
                return admin_screens.done(language, request, *admin_screens.refunded_lines(language, refunded))
            case Done(request, changed):
                lines: Sequence[str] = () if changed else (translate(language, "admin-changed-nothing"),)
                return admin_screens.done(language, request, *lines)
            case Already(request):
                return admin_screens.done(language, request, translate(language, "admin-done-before"))
            case NeedsSecond():
                limit = credits_text(language, self._settings.operator_limit_credits)
                return admin_screens.note(language, translate(language, "admin-second-asked", limit=limit))
            case Refused(why):
                return admin_screens.note(language, admin_screens.refusal(language, why))

    async def _drop(self, operator: int, language: str, request_id: UUID | None) -> Screen:
        if request_id is not None:
            await self._database.run(lambda tx: operating.drop(tx, request_id, operator=operator))
        return admin_screens.note(language, translate(language, "admin-dropped"))

    async def _second(self, language: str, request_id: UUID | None) -> Screen:
        request = None
        if request_id is not None:
            request = await self._database.run(lambda tx: requests.find(tx, request_id))
        if request is None or request.state is not requests.State.SECONDING:
            return admin_screens.note(language, admin_screens.refusal(language, operating.Refusal.UNKNOWN))
        return admin_screens.second(language, request)

    async def _call_others(self, bot: Bot, request: Request) -> None:
        """Ask every other operator. Whoever cannot be reached finds it in the menu."""
        for other in self._settings.operators:
            if other == request.operator:
                continue
            known = await self._database.run(lambda tx, id=other: customers.find(tx, id))  # type: ignore[misc]  # mypy sees no default
            language = known.language if known is not None else guess_language(None)
            try:
                with translated():
                    await send(bot, other, admin_screens.second(language, request))
            except (Failure, Unreachable) as trouble:
                log.warning("operator_not_reached", operator=other, trouble=str(trouble))


async def _looked_up(tx: Transaction, operator: int, subject: str) -> None:
    """Whose data an operator reads is on record as well."""
    await operators.record(tx, operator=operating.named(operator), action="look up", subject=subject)


def _nobody(language: str, subject: int | None) -> Screen:
    return admin_screens.note(language, translate(language, "admin-nobody", words=str(subject or "")))


def _number(subject: str) -> int:
    return int(subject) if subject.isascii() and subject.isdecimal() else 0
