"""Every word a customer can meet exists in both languages, with the same values to fill in, and reads right."""

import re
from collections.abc import Iterator
from html import unescape
from itertools import product
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from neurocards import texts
from neurocards.bot import screens
from neurocards.bot.keyboards import data
from neurocards.bot.profile import COMMANDS
from neurocards.bot.screens import Action, Kind, Repeat, Screen, Verb
from neurocards.bot.stories import Stage, usual_text
from neurocards.catalogue import load_catalogue
from neurocards.domain.failures import Reason
from neurocards.domain.orders import Draft, Question
from neurocards.domain.outlook import Usual
from neurocards.media.photos import PhotoFault
from neurocards.texts import LANGUAGES, BadTexts, guess_language, translate

CATALOGUE = load_catalogue()
LONGEST_TITLE = max((model.title for model in CATALOGUE.models.values()), key=len)
AFTER_SECOND_PHOTO = ("album-first-two", "album-first-good", "words-noted", "words-added")
LONGEST = UUID("ffffffff-ffff-ffff-ffff-ffffffffffff")


def entries(language: str) -> dict[str, str]:
    """Each key with its whole pattern."""
    found: dict[str, str] = {}
    key = ""
    files = sorted((texts.TEXTS / language).glob("*.ftl"))
    for line in "\n".join(path.read_text("utf-8") for path in files).splitlines():
        if started := re.match(r"([a-zA-Z][\w-]*) = ?(.*)", line):
            key = started[1]
            found[key] = started[2]
        elif line.startswith((" ", "}")):
            found[key] += f"\n{line}"
    return found


def variables(language: str, key: str) -> set[str]:
    """The values a text needs, those of texts inside it included."""
    pattern = entries(language)[key]
    inside = set(re.findall(r"\{ ([a-z][\w-]*) \}", pattern))
    return set(re.findall(r"\$(\w+)", pattern)).union(*(variables(language, one) for one in inside))


def test_both_languages_have_the_same_keys() -> None:
    assert entries("ru").keys() == entries("en").keys()


@pytest.mark.parametrize("key", sorted(entries("en")))
def test_both_languages_need_the_same_values(key: str) -> None:
    assert variables("ru", key) == variables("en", key)


@pytest.mark.parametrize("key", sorted(entries("en")))
def test_every_text_is_used(key: str) -> None:
    source = "\n".join(path.read_text("utf-8") for path in Path(screens.__file__).parent.glob("*.py"))
    made_up = (
        "template-",
        "photo-fault-",
        "kind-",
        "failure-",
        "repeat-",
        "awaiting-",
        "stage-",
        "command-",
        "language-",
        "alert-",
        "admin-refused-",
    )
    assert f'"{key}"' in source or key.startswith(made_up) or key == "videos"


def test_every_thing_that_can_happen_has_its_words() -> None:
    for language in LANGUAGES:
        for reason in Reason:
            assert translate(language, f"failure-{reason}")
            assert translate(language, f"failure-briefly-{reason}")
        for fault in PhotoFault:
            sentence = screens.photo_refused(language, fault).text
            assert re.fullmatch(r"[^.!?]+[.]", sentence), sentence
        for kind, question in product(Kind, Question):
            assert screens.unexpected(language, kind, question)
        for what in Repeat:
            assert translate(language, f"repeat-{what}")
        for template in CATALOGUE.templates.values():
            assert screens.template_name(language, template.id)
            if template.photos > 1:
                assert translate(language, f"template-{template.id}-second-photo")
        for command in COMMANDS:
            assert 1 <= len(translate(language, f"command-{command}")) <= 256
        for stage in Stage:
            assert translate(language, f"stage-{stage.name.lower()}")
        assert len(translate(language, "bot-description")) <= 512
        assert len(translate(language, "bot-about")) <= 120
        assert len(translate(language, "bot-name")) <= 64


def test_alerts_fit_into_two_hundred_plain_characters() -> None:
    for language in LANGUAGES:
        for alert in (
            translate(language, "placed", number="1234567"),
            translate(language, "already-placed", number="1234567"),
            translate(language, "outdated"),
            translate(language, "try-again"),
            translate(language, "price-changed-alert"),
            translate(language, "language-set"),
            translate(language, "sending-file"),
            translate(language, "video-forgotten"),
            translate(language, "order-forgotten"),
            translate(language, "too-many-open"),
            translate(language, "sales-paused"),
            screens.not_enough(language, total_credits=1_000_000, available_credits=1),
            screens.closed(language, None),
            screens.closed(language, 86_400.0),
        ):
            assert len(alert) <= 200
            assert "<" not in alert


@pytest.mark.parametrize(
    ("language", "credits", "words"),
    [
        ("ru", 0, "0 кредитов"),
        ("ru", 1, "1 кредит"),
        ("ru", 2, "2 кредита"),
        ("ru", 4, "4 кредита"),
        ("ru", 5, "5 кредитов"),
        ("ru", 11, "11 кредитов"),
        ("ru", 21, "21 кредит"),
        ("ru", 112, "112 кредитов"),
        ("en", 0, "0 credits"),
        ("en", 1, "1 credit"),
        ("en", 21, "21 credits"),
    ],
)
def test_credits_are_counted_as_people_do(language: str, credits: int, words: str) -> None:
    assert screens.credits_text(language, credits) == words


@pytest.mark.parametrize(
    ("language", "count", "seconds", "words"),
    [
        ("ru", 1, 10, "1 видео, 10 секунд"),
        ("ru", 3, 5, "3 видео по 5 секунд"),
        ("ru", 5, 4, "5 видео по 4 секунды"),
        ("en", 1, 10, "1 video, 10 seconds"),
        ("en", 3, 1, "3 videos, 1 second each"),
    ],
)
def test_videos_are_counted_as_people_do(language: str, count: int, seconds: int, words: str) -> None:
    assert screens.size_text(language, count, seconds) == words


def test_a_missing_key_or_value_raises() -> None:
    with pytest.raises(BadTexts, match="no text 'nonsense'"):
        translate("ru", "nonsense")
    with pytest.raises(BadTexts, match="credits"):
        translate("en", "credits")
    with pytest.raises(BadTexts, match="not a language"):
        translate("de", "skip")


@pytest.mark.parametrize(("broken", "why"), [("skip = {", "cannot read"), ("a = 1\na = 2", "comes twice")])
def test_a_broken_file_is_told_at_once(broken: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "words.ftl").write_text(broken)
    monkeypatch.setattr(texts, "TEXTS", tmp_path)
    texts._bundle.cache_clear()
    try:
        with pytest.raises(BadTexts, match=why):
            translate("en", "skip")
    finally:
        texts._bundle.cache_clear()


def test_languages_are_guessed_from_the_app() -> None:
    assert [guess_language(code) for code in ("ru", "be", "kk", "UK", "ru-RU")] == ["ru"] * 5
    assert [guess_language(code) for code in ("en", "pt-br", "zh", "", None)] == ["en"] * 5


def all_screens(language: str) -> Iterator[Screen]:
    draft = Draft(
        order_id=LONGEST,
        customer_id=1,
        photo_key="p",
        second_photo_key="q",
        template=None,
        description="<b>&</i>" * 125,
        wishes="</pre>&amp;" * 45,
        count=5,
        quoted_price_credits=None,
        card_message_id=None,
        description_message_id=None,
        question_message_id=None,
    )
    yield screens.consent(language, 1)
    yield screens.welcome(language, 1)
    yield screens.choose_language(language)
    for question, template in product(Question, CATALOGUE.templates):
        chosen = Draft(**{**vars(draft), "template": template})
        for available, paused in ((0, False), (5, False), (100, False), (100, True)):
            yield screens.ask(
                language,
                question,
                chosen,
                CATALOGUE,
                available_credits=available,
                support="&" * 100,
                made_with=LONGEST_TITLE,
                paused=paused,
            )


@pytest.mark.parametrize("language", LANGUAGES)
def test_buttons_fit_into_64_bytes(language: str) -> None:
    for screen in all_screens(language):
        for row in screen.buttons:
            for button in row:
                assert 1 <= len(data(button.action).encode()) <= 64


def test_the_longest_button_there_can_be_fits() -> None:
    # A template's id has at most 24 characters; the catalogue's file type says so.
    for verb in Verb:
        assert len(data(Action(verb, uuid4(), "x" * 24)).encode()) <= 64


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_person_typed_is_no_markup(language: str) -> None:
    for screen in all_screens(language):
        tags = re.findall(r"<(/?)([^>]*)>", screen.text)
        assert {name for _, name in tags} <= {"b", "i", "blockquote"}
        for tag in ("b", "i", "blockquote"):
            assert screen.text.count(f"<{tag}>") == screen.text.count(f"</{tag}>")


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_stands_below_a_photo_fits_into_a_caption(language: str) -> None:
    with_photo = [screen for screen in all_screens(language) if screen.photo_key]
    assert with_photo
    lines = [
        translate(language, "description-replaced"),
        translate(language, "edit-not-taken"),
        translate(language, "price-changed"),
        *(f"{translate(language, 'second-photo-taken')} {translate(language, key)}" for key in AFTER_SECOND_PHOTO),
        *(screens.unexpected(language, kind, Question.CONFIRMATION) for kind in Kind),
        *(
            f"{screens.photo_refused(language, fault).text} {translate(language, 'photo-kept', photos=2)}"
            for fault in PhotoFault
        ),
    ]
    for screen, line in product(with_photo, lines):
        assert len(unescape(re.sub(r"<[^>]*>", "", screen.after(line).text))) <= 1024


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_screen_fits_into_a_message(language: str) -> None:
    line = translate(language, "edit-not-taken")
    for screen in all_screens(language):
        assert len(unescape(re.sub(r"<[^>]*>", "", screen.after(line).text))) <= 4096


@pytest.mark.parametrize("language", LANGUAGES)
def test_sellers_read_no_name_of_a_company_whose_models_we_use(language: str) -> None:
    words = [*entries(language).values(), *(model.title for model in CATALOGUE.models.values())]
    assert [text for text in words if re.search(r"\b(fal|kie|openai)\b", text, re.IGNORECASE)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_choice_of_template_fits_on_a_phone(language: str) -> None:
    # A phone shows about twenty lines of some thirty-five letters above six rows of buttons.
    text = screens.choose_template(language, LONGEST, CATALOGUE.templates).text
    lines = [-(-len(re.sub(r"<[^>]*>", "", line)) // 35) for line in text.splitlines()]
    assert max(lines) <= 2
    assert sum(lines) <= 22
    names = [screens.template_name(language, template) for template in CATALOGUE.templates]
    assert max(map(len, names)) <= 14, "two in a row"


@pytest.mark.parametrize(
    ("language", "low", "high", "words"),
    [
        ("ru", 21.0, 38.5, "за 20–40 секунд"),
        ("ru", 3.0, 4.0, "за 10–20 секунд"),
        ("ru", 65.0, 130.0, "за 1–3 минуты"),
        ("ru", 200.0, 290.0, "за 3–5 минут"),
        ("ru", 1100.0, 1210.0, "за 18–21 минуту"),
        ("en", 65.0, 130.0, "in 1–3 minutes"),
    ],
)
def test_p8_an_estimate_is_rounded_outwards(language: str, low: float, high: float, words: str) -> None:
    assert words in usual_text(language, Usual(low, high, measured=7))
