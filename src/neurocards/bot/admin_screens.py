"""The operators' menu as they see it, built without Telegram. Every page has a way back to the menu."""

from collections.abc import Sequence
from datetime import datetime
from html import escape

from neurocards.bot.screens import AdminAction, AdminVerb, Button, Screen, Style, credits_text, template_name
from neurocards.db.customers import Balance, Customer
from neurocards.db.operators import SalesPause
from neurocards.db.overview import Bought, Day, Queue
from neurocards.db.requests import Act, Request
from neurocards.db.standing import KeyStanding, LeftAlone, Standing
from neurocards.operating import Refunded, Refusal, named
from neurocards.texts import BadTexts, translate

SHOWN_LINES = 14
"""A page must fit into a message."""

WHY_CHARACTERS = 120
"""Of a failure's own words."""


def home(language: str, pause: SalesPause | None, seconding: Sequence[Request]) -> Screen:
    """Whether orders are taken, and the ways on."""
    if pause is None:
        sales = translate(language, "admin-sales-on")
        act = _button(language, "admin-pause", AdminAction(AdminVerb.PAUSE), Style.DANGER)
    else:
        since, reason = _time(pause.paused_at), plain(pause.reason)
        sales = translate(language, "admin-sales-off", since=since, by=plain(pause.paused_by), reason=reason)
        act = _button(language, "admin-resume", AdminAction(AdminVerb.RESUME), Style.SUCCESS)
    waiting = tuple(
        (
            Button(
                translate(language, "admin-second-button", what=what(language, one)),
                AdminAction(AdminVerb.REQUEST, request_id=one.id),
                Style.PRIMARY,
            ),
        )
        for one in seconding
    )
    return Screen(
        translate(language, "admin", sales=sales),
        (
            *waiting,
            (
                _button(language, "admin-day", AdminAction(AdminVerb.DAY)),
                _button(language, "admin-queue", AdminAction(AdminVerb.QUEUE)),
            ),
            (
                _button(language, "admin-providers", AdminAction(AdminVerb.PROVIDERS)),
                _button(language, "admin-find", AdminAction(AdminVerb.FIND), Style.PRIMARY),
            ),
            (act,),
        ),
    )


def day(language: str, found: Day, *, credit_usd: float) -> Screen:
    """The day's numbers."""
    text = translate(
        language,
        "admin-day-page",
        since=f"{found.since:%Y-%m-%d %H:%M}",
        customers=str(found.customers),
        orders=str(found.orders),
        videos=str(found.videos),
        delivered=str(found.delivered),
        refunded=str(found.refunded),
        paid=credits_text(language, found.paid_credits),
        revenue=f"{found.paid_credits * credit_usd:.2f}",
        gifts=credits_text(language, found.gift_credits),
        cost=f"{found.cost_usd:.2f}",
        waiting=str(found.videos_waiting),
        held=credits_text(language, found.held_credits),
    )
    return _page(language, text, AdminVerb.DAY)


def queue(language: str, found: Queue) -> Screen:
    """What waits, and who works."""
    seen = found.worker_seen_seconds
    text = translate(
        language,
        "admin-queue-page",
        waiting=str(found.waiting),
        oldest=span(found.oldest_seconds),
        running=str(found.running),
        workers=str(found.workers),
        seen=translate(language, "admin-never") if seen is None else translate(language, "admin-ago", span=span(seen)),
        messages=str(found.messages),
        oldestmessage=span(found.messages_oldest_seconds),
    )
    return _page(language, text, AdminVerb.QUEUE)


def providers(language: str, standing: Standing) -> Screen:
    """Every key, and whoever is left alone; `neurocards providers` says more."""
    lines = [_key(language, key) for key in standing.keys] or [translate(language, "admin-no-keys")]
    lines += [
        translate(
            language,
            "admin-troubled-provider",
            name=plain(one.provider),
            failures=str(one.failures),
            state=_state(language, one.left_alone),
        )
        for one in standing.providers
    ]
    lines += [
        translate(language, "admin-troubled-model", name=plain(one.title), state=_state(language, one.left_alone))
        for one in standing.models
        if one.left_alone is not None and not one.is_retired
    ]
    text = translate(language, "admin-providers-page", keys="\n".join(lines[:SHOWN_LINES]))
    return _page(language, text, AdminVerb.PROVIDERS)


def question(language: str, text: str) -> Screen:
    """A question that the operator's next words answer."""
    return Screen(text, ((_back(language),),))


def note(language: str, text: str) -> Screen:
    """Something to be read, and the way back."""
    return Screen(text, ((_back(language),),))


def customer(language: str, found: Customer, balance: Balance, bought: Sequence[Bought]) -> Screen:
    """Who it is, what they have, what they ordered last."""
    lines = [
        translate(
            language,
            "admin-order-line",
            number=str(one.number),
            at=_time(one.placed_at),
            template=_template(language, one.template),
            videos=_videos(language, one),
        )
        for one in bought
    ]
    text = translate(
        language,
        "admin-customer",
        name=plain(found.first_name),
        id=str(found.telegram_id),
        available=credits_text(language, balance.available_free + balance.available_paid),
        gifts=str(balance.available_free),
        held=credits_text(language, balance.held),
        spent=credits_text(language, balance.spent),
        orders="\n".join(lines) or translate(language, "admin-no-orders"),
    )
    orders = tuple(
        Button(
            translate(language, "admin-order-button", number=str(one.number)),
            AdminAction(AdminVerb.ORDER, subject=one.number),
        )
        for one in bought
    )
    grant = AdminAction(AdminVerb.GRANT, subject=found.telegram_id)
    return Screen(
        text,
        (
            *((orders,) if orders else ()),
            (_button(language, "admin-grant", grant, Style.PRIMARY),),
            (_back(language),),
        ),
    )


def order(language: str, found: Bought, telegram_id: int) -> Screen:
    """One order, and the button that refunds it as long as there is something to refund."""
    text = translate(
        language,
        "admin-order",
        number=str(found.number),
        at=_time(found.placed_at),
        template=_template(language, found.template),
        count=str(found.count),
        price=credits_text(language, found.price_credits),
        videos=_videos(language, found),
    )
    refund = _button(language, "admin-refund", AdminAction(AdminVerb.REFUND, subject=found.number), Style.DANGER)
    whose = AdminAction(AdminVerb.CUSTOMER, subject=telegram_id)
    return Screen(
        text,
        (
            *(((refund,),) if found.failed < found.count else ()),
            (_button(language, "admin-customer-button", whose), _back(language)),
        ),
    )


def confirmation(language: str, request: Request) -> Screen:
    """The act, and the two buttons that are about this very one."""
    text = translate(language, "admin-confirm", what=what(language, request), reason=plain(request.reason))
    return Screen(text, (_yes_or_no(language, request),))


def second(language: str, request: Request) -> Screen:
    """The same for another operator."""
    text = translate(
        language,
        "admin-confirm-second",
        what=what(language, request),
        reason=plain(request.reason),
        by=named(request.operator),
    )
    return Screen(text, (_yes_or_no(language, request), (_back(language),)))


def done(language: str, request: Request, *lines: str) -> Screen:
    """What was done, and what came of it."""
    text = translate(language, "admin-done", what=what(language, request), reason=plain(request.reason))
    return note(language, "\n".join([text, *lines]))


def refunded_lines(language: str, refunded: Refunded) -> list[str]:
    """What a refund did to each of the order's videos."""
    credits = credits_text(language, refunded.credits)
    lines = [translate(language, "admin-refunded", videos=refunded.videos, credits=credits)]
    if refunded.before:
        lines.append(translate(language, "admin-refunded-before", videos=str(refunded.before)))
    if refunded.on_their_way:
        lines.append(translate(language, "admin-on-their-way", videos=str(refunded.on_their_way)))
    return lines


def refusal(language: str, why: Refusal) -> str:
    """Why nothing was done."""
    return translate(language, f"admin-refused-{why}")


def what(language: str, request: Request) -> str:
    """The act in words."""
    credits = credits_text(language, request.credits)
    match request.act:
        case Act.GRANT:
            return translate(language, "admin-what-grant", credits=credits, subject=request.subject)
        case Act.REFUND:
            return translate(language, "admin-what-refund", credits=credits, subject=request.subject)
        case Act.PAUSE:
            return translate(language, "admin-what-pause")
        case Act.RESUME:
            return translate(language, "admin-what-resume")


def plain(words: str) -> str:
    """What a person typed, without markup."""
    return escape(words, quote=False)


def span(seconds: float) -> str:
    """A span of time, short and the same in both languages: 12:05, or 3:20:00."""
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def _yes_or_no(language: str, request: Request) -> tuple[Button, Button]:
    return (
        _button(language, "admin-yes", AdminAction(AdminVerb.CONFIRM, request_id=request.id), Style.DANGER),
        _button(language, "admin-no", AdminAction(AdminVerb.DROP, request_id=request.id)),
    )


def _key(language: str, key: KeyStanding) -> str:
    if key.balance_usd is not None:
        balance = translate(language, "admin-balance", usd=f"{key.balance_usd:.2f}")
    elif key.balance_units is not None:
        balance = translate(language, "admin-balance-units", units=f"{key.balance_units:g}")
    else:
        balance = translate(language, "admin-balance-unknown")
    if key.left_alone is None and key.rests_until is not None:
        state = translate(language, "admin-state-rests", until=_clock(key.rests_until))
    else:
        state = _state(language, key.left_alone)
    return translate(
        language, "admin-key", label=plain(key.label), balance=balance, inflight=str(key.in_flight), state=state
    )


def _state(language: str, left: LeftAlone | None) -> str:
    if left is None:
        return translate(language, "admin-state-good")
    return translate(language, "admin-state-alone", until=_clock(left.until), why=plain(left.why[:WHY_CHARACTERS]))


def _videos(language: str, found: Bought) -> str:
    return translate(
        language,
        "admin-videos",
        inwork=str(found.in_work),
        completed=str(found.completed),
        failed=str(found.failed),
    )


def _template(language: str, template_id: str) -> str:
    """Operators know a template that is sold no more by its id."""
    try:
        return template_name(language, template_id)
    except BadTexts:
        return plain(template_id)


def _page(language: str, text: str, verb: AdminVerb) -> Screen:
    return Screen(text, ((_button(language, "admin-again", AdminAction(verb)), _back(language)),))


def _back(language: str) -> Button:
    return _button(language, "admin-back", AdminAction(AdminVerb.HOME))


def _button(language: str, key: str, action: AdminAction, style: Style | None = None) -> Button:
    return Button(translate(language, key), action, style)


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def _clock(at: datetime) -> str:
    return f"{at:%H:%M:%S}"
