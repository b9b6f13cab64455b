"""The status card, captions and failures: at least as new as the notice, true to what is known."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from neurocards.bot import stories
from neurocards.bot.screens import Action
from neurocards.db.customers import Customer
from neurocards.domain.failures import Reason
from neurocards.domain.generations import Attempt, AttemptState, Generation, GenerationState
from neurocards.domain.orders import Order
from neurocards.domain.outlook import CELLS, FIRST_CELL, Outlook, Usual, rendering_cells
from neurocards.notices import Story
from neurocards.texts import LANGUAGES

NOW = datetime(2026, 11, 23, tzinfo=UTC)
QUEUED, PROCESSING = GenerationState.QUEUED, GenerationState.PROCESSING
COMPLETED, FAILED = GenerationState.COMPLETED, GenerationState.FAILED


def story(count: int = 1, *, language: str = "en") -> Story:
    order = Order(
        id=uuid4(),
        number=17,
        customer_id=1,
        photo_key="photos/1",
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
            video_key=None,
            cover_key=None,
            thumbnail_key=None,
            width=None,
            height=None,
            seconds=None,
            size_bytes=None,
            file_id=None,
            failure=None,
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


def tried(now: Story, index: int, state: AttemptState) -> Story:
    """The story when the provider has taken the task, `now` seconds ago, and what has become of it."""
    generation = now.generations[index]
    attempt = Attempt(
        id=uuid4(),
        generation_id=generation.id,
        number=1,
        provider="kie",
        model="m",
        lease_number=1,
        state=state,
        task_id="t",
        result_url="u",
        failure=None,
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
    cards = [stories.status(now).text]
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
        cards.append(stories.status(now).text)
    bars = [card.count("▰") for card in cards]
    assert bars == sorted(set(bars))
    assert bars[-1] == stories.BAR_CELLS
    assert all("17" in card for card in cards)
    assert len(set(cards)) == len(cards)


def test_an_old_notice_shows_what_is_known_now() -> None:
    late = told(story(), 0, "prompt", state=PROCESSING, prompt="p", frame_url="f")
    assert "creating the video" in stories.status(late).text


def test_a_bar_follows_the_measured_time_and_never_stands_at_its_end() -> None:
    cells = [rendering_cells(elapsed, 60.0) for elapsed in range(0, 600, 5)]
    assert cells == sorted(cells)
    assert set(cells) == set(range(FIRST_CELL, FIRST_CELL + CELLS))
    assert cells[12] < stories.Stage.CHECKING - 1
    assert rendering_cells(60.0, 600.0) < rendering_cells(60.0, 60.0) < stories.Stage.CHECKING
    assert rendering_cells(-5.0, None) == FIRST_CELL


def test_the_card_of_one_video_is_not_set_back_by_a_notice_about_another() -> None:
    now = told(story(2), 0, "checking", state=PROCESSING, prompt="p", frame_url="f")
    now = tried(now, 0, AttemptState.SUCCEEDED)
    assert "checking the quality" in stories.status(told(now, 1, "prompt", state=PROCESSING)).text


def test_p8_the_card_tells_the_place_in_the_queue_and_what_was_measured() -> None:
    now = replace(story(), outlook=Outlook(ahead=0))
    assert "You are next in the queue." in stories.status(now).text
    now = replace(now, outlook=Outlook(ahead=1))
    assert "One video is before you" in stories.status(now).text
    usual = Usual(low_seconds=130.0, high_seconds=230.0, measured=12)
    now = replace(now, outlook=Outlook(ahead=100, usual=usual))
    assert "More than a hundred videos" in stories.status(now).text
    assert "Usually ready in 2–4 minutes (based on the last 12 videos)." in stories.status(now).text
    late = replace(now, now=NOW + timedelta(seconds=231))
    assert "longer than usual" in stories.status(late).text
    assert "Usually ready" not in stories.status(late).text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_longest_card_fits_below_a_photo(language: str) -> None:
    usual = Usual(low_seconds=6000.0, high_seconds=60000.0, measured=50)
    now = replace(story(5, language=language), outlook=Outlook(ahead=99, usual=usual))
    for index in range(4):
        now = told(now, index, "finished", state=FAILED, failure="content", finished_at=NOW)
    assert len(re.sub("<[^>]*>", "", stories.status(now).text)) <= 1024


def test_a_notice_of_a_newer_version_does_no_harm() -> None:
    assert "writing the script" in stories.status(told(story(), 0, "polishing", state=PROCESSING)).text


def test_three_videos_have_a_line_each() -> None:
    now = told(story(3), 1, "generating", state=PROCESSING, prompt="p", frame_url="f")
    lines = stories.status(now).text.splitlines()
    assert [line[:2] for line in lines if line[1:2] == "."] == ["1.", "2.", "3."]
    assert "creating the video" in next(line for line in lines if line.startswith("2."))
    assert "waiting" in next(line for line in lines if line.startswith("3."))
    assert "You can close the chat" in lines[-1]


def test_the_last_card_counts_videos_and_credits() -> None:
    now = told(story(3), 0, "finished", **finished(file_id="a"))
    now = told(now, 1, "finished", state=FAILED, failure="content", finished_at=NOW)
    assert "Charged" not in stories.status(now).text
    now = told(now, 2, "finished", **finished(file_id="c"))
    text = stories.status(now).text
    assert "Done: 2 of 3." in text
    assert "Charged: 2 credits." in text
    assert "Returned: 1 credit." in text
    assert "did not work out: the service refused" in text


def test_a_receipt_says_when_nothing_was_charged() -> None:
    text = stories.status(told(story(), 0, "finished", state=FAILED, failure="content", finished_at=NOW)).text
    assert "Done: 0 of 1." in text
    assert "Charged: 0 credits." in text
    assert "Returned: 1 credit." in text


def test_a_video_that_never_arrived_is_not_called_delivered() -> None:
    now = told(story(2), 0, "finished", **finished())
    now = told(now, 1, "finished", **finished(file_id="b", finished_at=NOW + timedelta(seconds=1)))
    text = stories.status(now).text
    assert "it could not be sent" in text
    assert "Done: 1 of 2." in text


def test_a_video_still_to_be_sent_is_not_called_undelivered() -> None:
    now = told(story(2), 1, "finished", **finished(finished_at=NOW + timedelta(seconds=1)))
    now = told(now, 0, "finished", **finished(file_id="a"))
    text = stories.status(now).text
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
