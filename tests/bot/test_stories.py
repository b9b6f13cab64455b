"""The status card, captions and failures: at least as new as the notice, true to what is known."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from neurocards.bot import stories
from neurocards.bot.screens import Action
from neurocards.catalogue import load_catalogue
from neurocards.db.customers import Customer
from neurocards.domain.failures import Reason
from neurocards.domain.generations import Attempt, AttemptState, Generation, GenerationState
from neurocards.domain.orders import Order
from neurocards.domain.outlook import CELLS, FIRST_CELL, Outlook, Usual, rendering_cells
from neurocards.notices import Story
from neurocards.texts import LANGUAGES

MODELS = load_catalogue().models
NOW = datetime(2026, 11, 23, tzinfo=UTC)
QUEUED, PROCESSING = GenerationState.QUEUED, GenerationState.PROCESSING
COMPLETED, FAILED = GenerationState.COMPLETED, GenerationState.FAILED


def story(count: int = 1, *, language: str = "en") -> Story:
    order = Order(
        id=uuid4(),
        number=17,
        trace_id=uuid4(),
        customer_id=1,
        photo_key="photos/1",
        second_photo_key=None,
        template="hero_broll",
        template_version=1,
        description="A mug",
        wishes="",
        count=count,
        price_credits=1,
        model="m",
        seconds=10,
        card_message_id=7,
        card_text=None,
        placed_at=NOW,
    )
    generations = [
        Generation(
            id=uuid4(),
            order_id=order.id,
            customer_id=1,
            ordinal=ordinal,
            price_credits=1,
            state=QUEUED,
            prompt=None,
            prompt_source=None,
            frame_url=None,
            frame_provider=None,
            last_frame_url=None,
            video_key=None,
            cover_key=None,
            thumbnail_key=None,
            width=None,
            height=None,
            seconds=None,
            size_bytes=None,
            file_id=None,
            failure=None,
            delayed_at=None,
            deadline_at=NOW,
            created_at=NOW,
            finished_at=None,
        )
        for ordinal in range(1, count + 1)
    ]
    customer = Customer(1, 1, "Ann", language, 1, 3)
    return Story(
        customer=customer,
        order=order,
        generations=generations,
        generation=None,
        stage="accepted",
        attempts={},
        outlook=Outlook(),
        now=NOW,
    )


def tried(now: Story, index: int, state: AttemptState, *, model: str = "m") -> Story:
    """The story when the provider has taken the task, `now` seconds ago, and what has become of it."""
    generation = now.generations[index]
    attempt = Attempt(
        id=uuid4(),
        generation_id=generation.id,
        number=1,
        provider="kie",
        model=model,
        key="kie-1",
        reason="as ordered",
        cost_usd=None,
        lease_number=1,
        state=state,
        task_id="t",
        task_url=None,
        result_url="u",
        failure=None,
        failure_kind=None,
        ask_at=None,
        hinted_task_id=None,
        created_at=NOW,
        accepted_at=NOW,
        ended_at=None,
    )
    return replace(now, attempts={**now.attempts, generation.id: attempt})


def told(before: Story, index: int, stage: str, **facts: object) -> Story:
    """The story after a notice about one of its generations, which has these facts by now."""
    generations = list(before.generations)
    generations[index] = replace(generations[index], **facts)  # type: ignore[arg-type]  # columns of the row
    return replace(before, generations=generations, generation=generations[index], stage=stage)


def finished(**facts: object) -> dict[str, object]:
    return {"state": COMPLETED, "video_key": "v", "finished_at": NOW, **facts}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_bar_grows_from_stage_to_stage(language: str) -> None:
    now = story(language=language)
    cards = [stories.status(now, MODELS).text]
    for stage, facts in (
        ("prompt", {"state": PROCESSING}),
        ("generating", {"prompt": "p", "frame_url": "f"}),
        ("checking", {}),
        ("sending", finished()),
        ("finished", {"file_id": "x"}),
    ):
        now = told(now, 0, stage, **facts)
        if stage == "checking":
            now = tried(now, 0, AttemptState.SUCCEEDED)
        cards.append(stories.status(now, MODELS).text)
    bars = [card.count("▰") for card in cards]
    assert bars == sorted(set(bars))
    assert bars[-1] == stories.BAR_CELLS
    assert all("17" in card for card in cards)
    assert len(set(cards)) == len(cards)


def test_an_old_notice_shows_what_is_known_now() -> None:
    late = told(story(), 0, "prompt", state=PROCESSING, prompt="p", frame_url="f")
    assert "creating the video" in stories.status(late, MODELS).text


def test_a_bar_follows_the_measured_time_and_never_stands_at_its_end() -> None:
    cells = [rendering_cells(elapsed, 60.0) for elapsed in range(0, 600, 5)]
    assert cells == sorted(cells)
    assert set(cells) == set(range(FIRST_CELL, FIRST_CELL + CELLS))
    assert cells[12] < stories.Stage.CHECKING - 1
    assert rendering_cells(60.0, 600.0) < rendering_cells(60.0, 60.0) < stories.Stage.CHECKING
    assert rendering_cells(-5.0, 60.0) == FIRST_CELL


def test_the_card_of_one_video_is_not_set_back_by_a_notice_about_another() -> None:
    now = told(story(2), 0, "checking", state=PROCESSING, prompt="p", frame_url="f")
    now = tried(now, 0, AttemptState.SUCCEEDED)
    assert "checking the quality" in stories.status(told(now, 1, "prompt", state=PROCESSING), MODELS).text


def test_p8_the_card_tells_the_place_in_the_queue_and_what_was_measured() -> None:
    now = replace(story(), outlook=Outlook(ahead=0))
    assert "You are next in the queue." in stories.status(now, MODELS).text
    now = replace(now, outlook=Outlook(ahead=1))
    assert "One video is before you" in stories.status(now, MODELS).text
    usual = Usual(low_seconds=130.0, high_seconds=230.0, measured=12)
    now = replace(now, outlook=Outlook(ahead=100, usual=usual))
    assert "More than a hundred videos" in stories.status(now, MODELS).text
    assert "Usually ready in 2–4 minutes (based on the last 12 videos)." in stories.status(now, MODELS).text
    late = replace(now, now=NOW + timedelta(seconds=231))
    assert "longer than usual" in stories.status(late, MODELS).text
    assert "Usually ready" not in stories.status(late, MODELS).text


@pytest.mark.parametrize("delayed_at", [None, NOW])
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_longest_card_fits_below_a_photo(language: str, delayed_at: datetime | None) -> None:
    usual = Usual(low_seconds=6000.0, high_seconds=60000.0, measured=50)
    now = ordered_from(ORDERED, story(5, language=language))
    now = replace(now, outlook=Outlook(ahead=99, usual=usual))
    longest = sorted(MODELS.values(), key=lambda model: len(model.title))[-5:]
    for index, model in enumerate(longest):
        now = tried(now, index, AttemptState.ACCEPTED, model=model.id)
        if index < 3:
            now = told(now, index, "finished", state=FAILED, failure="content", finished_at=NOW)
    now = told(now, 3, "delayed", state=PROCESSING, prompt="p", delayed_at=delayed_at)
    text = stories.status(now, MODELS).text
    assert longest[4].title in text
    assert len(re.sub("<[^>]*>", "", text)) <= 1024


# Who makes it -----------------------------------------------------------------------------------------------------

ORDERED = "minimax-h3/image-to-video"
OTHER = "fal-ai/kling-video/v3/standard/image-to-video"
INSTEAD = {
    "en": "Made by Kling 3.0 Standard instead of MiniMax H3. The price stays the same.",
    "ru": "Вместо MiniMax H3 видео делает Kling 3.0 Standard. Цена та же.",
}
WAITS = {"en": "is not answering right now", "ru": "сейчас не отвечает"}


def ordered_from(model: str, now: Story) -> Story:
    """The same order, of this model."""
    return replace(now, order=replace(now.order, model=model))


@pytest.mark.parametrize("language", LANGUAGES)
def test_p8_the_card_names_the_model_and_no_company(language: str) -> None:
    now = ordered_from(ORDERED, story(language=language))
    for model in MODELS.values():
        text = stories.status(tried(now, 0, AttemptState.ACCEPTED, model=model.id), MODELS).text
        assert f"· {model.title}" in text.splitlines()[1]
        assert not re.search(r"\b(fal|kie)\b", text, re.IGNORECASE)
    assert "· MiniMax H3" in stories.status(now, MODELS).text


def test_a_model_that_only_newer_workers_know_is_not_named() -> None:
    assert stories.status(story(), MODELS).text.splitlines()[1] == "1 video, 10 seconds"


@pytest.mark.parametrize("language", LANGUAGES)
def test_p8_another_model_is_told_once_and_no_longer_when_the_video_is_there(language: str) -> None:
    now = ordered_from(ORDERED, story(language=language))
    assert INSTEAD[language] not in stories.status(now, MODELS).text
    now = tried(now, 0, AttemptState.ACCEPTED, model=ORDERED)
    assert INSTEAD[language] not in stories.status(now, MODELS).text
    now = tried(now, 0, AttemptState.ACCEPTED, model=OTHER)
    assert stories.status(now, MODELS).text.count(INSTEAD[language]) == 1
    now = told(tried(now, 0, AttemptState.SUCCEEDED, model=OTHER), 0, "finished", **finished(file_id="x"))
    receipt = stories.status(now, MODELS).text
    assert INSTEAD[language] not in receipt
    assert "· Kling 3.0 Standard" in receipt


def test_p8_of_three_videos_both_models_are_named_and_the_change_is_told_once() -> None:
    now = ordered_from(ORDERED, story(3))
    now = tried(now, 0, AttemptState.ACCEPTED, model=ORDERED)
    for index in (1, 2):
        now = tried(now, index, AttemptState.ACCEPTED, model=OTHER)
    text = stories.status(now, MODELS).text
    assert "3 videos, 10 seconds each · MiniMax H3, Kling 3.0 Standard" in text
    assert text.count(INSTEAD["en"]) == 1
    for index in (1, 2):
        now = told(now, index, "finished", **finished(file_id="x"))
    assert INSTEAD["en"] not in stories.status(now, MODELS).text


def test_the_same_model_from_another_company_is_no_other_to_the_seller() -> None:
    twin = replace(MODELS[OTHER], title=MODELS[ORDERED].title)
    now = tried(ordered_from(ORDERED, story()), 0, AttemptState.ACCEPTED, model=OTHER)
    text = stories.status(now, {**MODELS, OTHER: twin}).text
    assert "instead of" not in text
    assert text.count("MiniMax H3") == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_f09_while_nobody_can_be_asked_the_card_says_so_once_and_promises_no_time(language: str) -> None:
    usual = Usual(low_seconds=60.0, high_seconds=120.0, measured=9)
    now = replace(ordered_from(ORDERED, story(language=language)), outlook=Outlook(ahead=3, usual=usual))
    now = told(now, 0, "delayed", state=PROCESSING, prompt="p", delayed_at=NOW)
    text = stories.status(now, MODELS).text
    assert text.count(WAITS[language]) == 1
    assert {"en": "waiting for the studio", "ru": "ждёт студию"}[language] in text
    assert not re.search("Usually|Обычно|before you|Перед вами", text)
    # Somebody else is at it, then nobody has to be asked any more.
    now = tried(told(now, 0, "generating", delayed_at=None), 0, AttemptState.ACCEPTED, model=OTHER)
    text = stories.status(now, MODELS).text
    assert WAITS[language] not in text
    assert INSTEAD[language] in text
    assert re.search("Usually|Обычно", text)
    now = told(now, 0, "finished", state=FAILED, failure="deadline", finished_at=NOW, delayed_at=NOW)
    assert WAITS[language] not in stories.status(now, MODELS).text


def test_f09_what_goes_on_keeps_its_estimate_beside_what_waits() -> None:
    usual = Usual(low_seconds=60.0, high_seconds=120.0, measured=9)
    now = replace(ordered_from(ORDERED, story(2)), outlook=Outlook(usual=usual))
    now = tried(told(now, 0, "generating", state=PROCESSING, prompt="p"), 0, AttemptState.ACCEPTED, model=ORDERED)
    now = told(now, 1, "delayed", state=PROCESSING, prompt="p", delayed_at=NOW)
    first, second = [line for line in stories.status(now, MODELS).text.splitlines() if "▰" in line]
    assert "creating the video" in first
    assert "waiting for the studio" in second
    assert "Usually ready" in stories.status(now, MODELS).text
    # What has ended waits for nobody, whatever it waited for before.
    now = told(now, 1, "finished", state=FAILED, failure="deadline", finished_at=NOW, delayed_at=NOW)
    assert WAITS["en"] not in stories.status(now, MODELS).text


def test_a_notice_of_a_newer_version_does_no_harm() -> None:
    assert "writing the script" in stories.status(told(story(), 0, "polishing", state=PROCESSING), MODELS).text


def test_three_videos_have_a_line_each() -> None:
    now = told(story(3), 1, "generating", state=PROCESSING, prompt="p", frame_url="f")
    lines = stories.status(now, MODELS).text.splitlines()
    assert [line[:2] for line in lines if line[1:2] == "."] == ["1.", "2.", "3."]
    assert "creating the video" in next(line for line in lines if line.startswith("2."))
    assert "waiting" in next(line for line in lines if line.startswith("3."))
    assert "You can close the chat" in lines[-1]


def test_the_last_card_counts_videos_and_credits() -> None:
    now = told(story(3), 0, "finished", **finished(file_id="a"))
    now = told(now, 1, "finished", state=FAILED, failure="content", finished_at=NOW)
    assert "Charged" not in stories.status(now, MODELS).text
    now = told(now, 2, "finished", **finished(file_id="c"))
    text = stories.status(now, MODELS).text
    assert "Done: 2 of 3." in text
    assert "Charged: 2 credits." in text
    assert "Returned: 1 credit." in text
    assert "did not work out: the service refused" in text


def test_a_receipt_says_when_nothing_was_charged() -> None:
    text = stories.status(told(story(), 0, "finished", state=FAILED, failure="content", finished_at=NOW), MODELS).text
    assert "Done: 0 of 1." in text
    assert "Charged: 0 credits." in text
    assert "Returned: 1 credit." in text


def test_a_video_that_never_arrived_is_not_called_delivered() -> None:
    now = told(story(2), 0, "finished", **finished())
    now = told(now, 1, "finished", **finished(file_id="b", finished_at=NOW + timedelta(seconds=1)))
    text = stories.status(now, MODELS).text
    assert "it could not be sent" in text
    assert "Done: 1 of 2." in text


def test_a_video_still_to_be_sent_is_not_called_undelivered() -> None:
    now = told(story(2), 1, "finished", **finished(finished_at=NOW + timedelta(seconds=1)))
    now = told(now, 0, "finished", **finished(file_id="a"))
    text = stories.status(now, MODELS).text
    assert "sending it to you" in text
    assert "Done" not in text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("reason", [*Reason, "an operator's own words"])
def test_every_failure_says_why_and_what_came_back(language: str, reason: str) -> None:
    now = told(story(language=language), 0, "finished", state=FAILED, failure=reason, finished_at=NOW)
    assert now.generation is not None
    screen = stories.failure(now, now.generation)
    text = screen.text
    actions = [button.action for row in screen.buttons for button in row]
    offered = {action.value for action in actions if isinstance(action, Action)}
    assert offered == {"content": {"photo", "words"}, "photo": {"photo"}}.get(reason, {"all"})
    assert "operator" not in text
    assert "1 кредит" in text or "1 credit" in text
    assert "3 кредита" in text or "3 credits" in text


def test_words_name_the_video_where_there_are_several() -> None:
    now = told(story(3), 1, "finished", state=FAILED, failure="deadline", finished_at=NOW)
    assert now.generation is not None
    assert "video 2 of 3" in stories.failure(now, now.generation).text
    assert stories.caption(now, now.generation).endswith("video 2 of 3")
    single = story()
    assert "of" not in stories.caption(single, single.generations[0])
