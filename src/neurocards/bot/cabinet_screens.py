"""The cabinet as a customer sees it: balance, statement, past videos, help. Built without Telegram.

Every screen but help replaces the one before it in the same message, and has a way back.
"""

from collections import Counter
from datetime import date
from html import escape
from itertools import groupby
from typing import assert_never

from neurocards.bot.screens import (
    Button,
    CabinetAction,
    CabinetVerb,
    Screen,
    Style,
    credits_text,
    template_name,
)
from neurocards.db.customers import Balance
from neurocards.db.statements import Line, LineKind, Page, Video, VideoNumber
from neurocards.domain.catalogue import Catalogue
from neurocards.domain.failures import Reason
from neurocards.texts import LANGUAGES, BadTexts, translate

REASON_CHARACTERS = 100
"""Why an operator gave or took credits is shown up to here: a page must fit into a message."""


def home(language: str, balance: Balance, videos_made: int) -> Screen:
    """What there is, what is set aside for orders in work, what was spent, and the ways on."""
    text = translate(
        language,
        "cabinet",
        available=_available(language, balance),
        held=credits_text(language, balance.held),
        spent=credits_text(language, balance.spent),
        videos=videos_made,
    )
    return Screen(
        text,
        (
            (_open(language, "cabinet-new-video", CabinetVerb.NEW_VIDEO, Style.PRIMARY),),
            (
                _open(language, "cabinet-videos", CabinetVerb.VIDEOS),
                _open(language, "cabinet-statement", CabinetVerb.STATEMENT),
            ),
            (_open(language, "cabinet-language", CabinetVerb.LANGUAGES),),
        ),
    )


def statement(language: str, balance: Balance, page: Page[Line], today: date) -> Screen:
    """Every move of credits in words, below its day; the signed amounts sum up to what is available."""
    head = translate(language, "statement", available=_available(language, balance))
    days = [
        "\n".join([_heading(language, day, today), *(_line(language, line) for line in lines)])
        for day, lines in groupby(page.items, lambda line: line.day)
    ]
    return Screen(
        _paragraphs(head, *(days or [translate(language, "statement-empty")]), _foot(language, page)),
        (*_turning(language, CabinetVerb.STATEMENT, page), (_back(language),)),
    )


def videos(language: str, page: Page[Video], today: date) -> Screen:
    """The finished videos, each with a button that sends it again."""
    if not page.items:
        text = _paragraphs(translate(language, "my-videos"), translate(language, "my-videos-empty"))
        return Screen(text, ((_back(language),),))
    lines = [_video(language, video, today) for video in page.items]
    return Screen(
        _paragraphs(
            translate(language, "my-videos"),
            "\n".join(lines),
            translate(language, "my-videos-hint"),
            _foot(language, page),
        ),
        (
            *(
                (
                    Button(
                        translate(language, "video-button", video=_video_number(language, video.number)),
                        CabinetAction(CabinetVerb.SEND_VIDEO, generation_id=video.generation_id),
                        Style.PRIMARY,
                    ),
                )
                for video in page.items
                if video.is_kept
            ),
            *_turning(language, CabinetVerb.VIDEOS, page),
            (_back(language),),
        ),
    )


def languages(language: str) -> Screen:
    """The languages, each in its own words."""
    choices = tuple(
        Button(translate(one, f"language-{one}"), CabinetAction(CabinetVerb.SPEAK, language=one), Style.PRIMARY)
        for one in LANGUAGES
    )
    return Screen(translate(language, "language"), (choices, (_back(language),)))


def new_video(language: str) -> Screen:
    """The request for a photo: with it everything begins."""
    return Screen(translate(language, "ask-photo"), ((_back(language),),))


def help_page(language: str, catalogue: Catalogue, support: str | None) -> Screen:
    """How it works, what it costs, and what to do when something goes wrong."""
    text = translate(
        language,
        "help",
        length=translate(language, "seconds", seconds=max(one.seconds for one in catalogue.templates.values())),
        price=_prices(language, catalogue),
    )
    if support is None:
        return Screen(text)
    contact = translate(language, "help-support", support=escape(support, quote=False))
    return Screen(f"{text}\n{contact}")


def _available(language: str, balance: Balance) -> str:
    return credits_text(language, balance.available_free + balance.available_paid)


def _open(language: str, key: str, verb: CabinetVerb, style: Style | None = None) -> Button:
    return Button(translate(language, key), CabinetAction(verb), style)


def _back(language: str) -> Button:
    return _open(language, "cabinet-back", CabinetVerb.HOME)


def _turning(language: str, verb: CabinetVerb, page: Page[Line] | Page[Video]) -> tuple[tuple[Button, ...], ...]:
    """The buttons to the neighbouring pages: a row, or none when there is but one page."""
    row: list[Button] = []
    if page.newer:
        newer = CabinetAction(verb, newer_than=page.items[0].id)
        row.append(Button(translate(language, "page-newer"), newer))
    if page.older:
        older = CabinetAction(verb, older_than=page.items[-1].id)
        row.append(Button(translate(language, "page-older"), older))
    return (tuple(row),) if row else ()


def _foot(language: str, page: Page[Line] | Page[Video]) -> str:
    if page.pages == 1:
        return ""
    return translate(language, "page-of", page=page.number, pages=page.pages)


def _heading(language: str, day: date, today: date) -> str:
    return translate(language, "statement-day", day=_date(language, day, today))


def _date(language: str, day: date, today: date) -> str:
    """Day and month in words; the year only where it is another one."""
    if day.year == today.year:
        return translate(language, "date", day=day.day, month=day.month)
    return translate(language, "date-of-year", day=day.day, month=day.month, year=str(day.year))


def _line(language: str, line: Line) -> str:
    return translate(
        language, "statement-line", change=_change(language, line.available_change), words=_words(language, line)
    )


def _change(language: str, change: int) -> str:
    """An amount with its sign."""
    if change == 0:
        return translate(language, "change-none")
    return translate(language, "change-more" if change > 0 else "change-less", credits=abs(change))


def _words(language: str, line: Line) -> str:
    """What moved the credits."""
    match line.kind:
        case LineKind.WELCOME:
            return translate(language, "line-welcome")
        case LineKind.GIFT:
            return _because(language, translate(language, "line-gift"), line.reason)
        case LineKind.TOP_UP:
            return _because(language, translate(language, "line-top-up"), line.reason)
        case LineKind.WITHDRAWAL:
            return _because(language, translate(language, "line-withdrawal"), line.reason)
        case LineKind.HOLD:
            return translate(language, "line-hold", order=_order(language, line.video))
        case LineKind.SETTLE:
            credits = credits_text(language, line.amount_credits)
            return translate(language, "line-settle", order=_order(language, line.video), credits=credits)
        case LineKind.REFUND:
            order, reason = _order(language, line.video), _failure(language, line.failure)
            return translate(language, "line-refund", order=order, reason=reason)
        case LineKind.REVERSAL:
            order, reason = _order(language, line.video), _failure(language, line.failure)
            return translate(language, "line-reversal", order=order, reason=reason)
        case _:
            assert_never(line.kind)


def _because(language: str, words: str, reason: str | None) -> str:
    """With the reason an operator gave, if there is one."""
    given = " ".join((reason or "").split())
    if not given:
        return words
    shown = given if len(given) <= REASON_CHARACTERS else f"{given[: REASON_CHARACTERS - 1].rstrip()}…"
    return translate(language, "line-because", words=words, reason=escape(shown, quote=False))


def _order(language: str, video: VideoNumber | None) -> str:
    if video is None:
        raise LookupError("a line about an order names no order")
    if video.count == 1:
        return translate(language, "line-order", number=str(video.order_number))
    return translate(
        language, "line-order-of-many", number=str(video.order_number), ordinal=video.ordinal, total=video.count
    )


def _failure(language: str, failure: str | None) -> str:
    """Why there is no video, in short words; an operator's own are for the record and not for the customer."""
    known = failure if failure in list(Reason) else Reason.INTERNAL
    return translate(language, f"failure-briefly-{known}")


def _video(language: str, video: Video, today: date) -> str:
    return translate(
        language,
        "video-line" if video.is_kept else "video-line-forgotten",
        video=_video_number(language, video.number),
        template=_template(language, video.template),
        date=_date(language, video.day, today),
        length=translate(language, "video-length", seconds=round(video.seconds)),
    )


def _video_number(language: str, video: VideoNumber) -> str:
    if video.count == 1:
        return translate(language, "video-number", number=str(video.order_number))
    return translate(
        language, "video-number-of-many", number=str(video.order_number), ordinal=video.ordinal, total=video.count
    )


def _template(language: str, template_id: str) -> str:
    """What the template is called, or was: one that is sold no more may have lost its words."""
    try:
        return template_name(language, template_id)
    except BadTexts:
        return translate(language, "template-gone")


def _prices(language: str, catalogue: Catalogue) -> str:
    """What one video costs: what most templates cost, and each other price with the templates that have it."""
    prices = Counter(template.price_credits for template in catalogue.templates.values())
    usual = max(prices, key=lambda price: (prices[price], -price))
    return ", ".join(
        credits_text(language, price)
        if price == usual
        else translate(
            language,
            "help-price",
            price=credits_text(language, price),
            template=", ".join(
                template_name(language, template.id)
                for template in catalogue.templates.values()
                if template.price_credits == price
            ),
        )
        for price in sorted(prices)
    )


def _paragraphs(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
