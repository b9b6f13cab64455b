"""The inbox: stored before confirmed, once, in order per person; nothing lost, nobody's chat blocked for ever."""

import asyncio
from typing import Any

import pytest
from aiogram import Bot, Dispatcher
from aiogram.types import Message

from bot.chat import Json, Shop, labels, photo, words
from neurocards.bot import Handling, Intake, keep_set_up, make_bot, set_up
from neurocards.bot import handling as handling_module
from neurocards.bot import intake as intake_module
from neurocards.bot.intake import IntakeRefused
from neurocards.db import updates
from neurocards.db.connection import Database
from neurocards.db.updates import Incoming
from shop import advance


def body(number: int, person: int, *, text: str = "hi", kind: str = "message", **more: Any) -> Json:  # Any: JSON
    user = {"id": person, "is_bot": False, "first_name": "Ann", "language_code": "en"}
    message = {
        "message_id": number,
        "date": 1_700_000_000,
        "chat": {"id": person, "type": "private", "first_name": "Ann"},
        "from": user,
        "text": text,
        **more,
    }
    if kind == "callback_query":
        return {
            "update_id": number,
            kind: {"id": str(number), "from": user, "message": message, "chat_instance": "1", "data": "x"},
        }
    return {"update_id": number, kind: message}


async def put(database: Database, *bodies: Json, urgent: bool = False) -> None:
    await database.run(
        lambda tx: updates.store(
            tx, [Incoming(one["update_id"], intake_module._person(one), urgent, one) for one in bodies]
        )
    )


class Recorder:
    """A dispatcher whose only handler writes down what it gets, or does what a test wants."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.dispatcher = Dispatcher(disable_fsm=True)
        self.dispatcher.message.register(self.handle)

    async def handle(self, message: Message) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.act(message)
        finally:
            self.at_once -= 1

    async def act(self, message: Message) -> None:
        await asyncio.sleep(0.01)
        self.texts.append(message.text or "")


async def turns(handling: Handling) -> None:
    while await handling.turn():
        await handling.idle()


async def test_f02_an_update_delivered_twice_is_handled_once(shop: Shop) -> None:
    person = await shop.regular()
    await person.send(photo())
    await shop.post("redeliver", {})
    assert await person.answers() == []
    await shop.fault("deliver_twice", "message")
    await person.tap("Blogger")
    await person.answers()
    [wishes] = await person.write("A mug")
    assert "Skip" in labels(wishes)
    assert set(await shop.states()) == {"handled"}


async def test_an_update_is_stored_before_telegram_is_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    person = await shop.arrive()

    async def away(*_: object) -> int:
        raise ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(updates, "store", away)
        await shop.post(f"people/{person.id}/start", {})
        with pytest.raises(ConnectionError):
            await shop.intake.turn()
    assert labels((await person.answers())[0]) == ["I agree, let's start"]


async def test_one_persons_updates_are_handled_in_order_and_others_meanwhile(shop: Shop) -> None:
    recorder = Recorder()
    handling = Handling(shop.bot, recorder.dispatcher, shop.database)
    await put(shop.database, *(body(number, person=number % 2, text=str(number)) for number in range(10)))
    await turns(handling)
    assert [text for text in recorder.texts if int(text) % 2] == ["1", "3", "5", "7", "9"]
    assert [text for text in recorder.texts if not int(text) % 2] == ["0", "2", "4", "6", "8"]
    assert recorder.most_at_once == 2


async def test_taps_go_before_messages(shop: Shop) -> None:
    await put(shop.database, body(1, 5), body(2, 6))
    await put(shop.database, body(3, 6, kind="callback_query"), urgent=True)
    async with shop.database.transaction() as tx:
        claimed = await updates.claim(tx, limit=1, lease_seconds=10)
    assert [update.id for update in claimed] == [3]


async def test_an_update_that_fails_three_times_is_dead_and_the_chat_goes_on(shop: Shop) -> None:
    person = await shop.regular()
    recorder = Recorder()
    attempts = 0

    async def act(message: Message) -> None:
        nonlocal attempts
        if message.text == "poison":
            attempts += 1
            raise ValueError("cannot digest this")
        recorder.texts.append(message.text or "")

    recorder.act = act  # type: ignore[method-assign]  # the test's own object
    handling = Handling(shop.bot, recorder.dispatcher, shop.database)
    await shop.post(f"people/{person.id}/text", {"text": "poison"})
    await shop.post(f"people/{person.id}/text", {"text": "bread"})
    await shop.intake.turn()
    for attempt in (1, 2, 3):
        assert recorder.texts == []
        await advance(shop.database, 60 * (attempt > 1))
        await turns(handling)
    assert attempts == 3
    assert recorder.texts == ["bread"]
    assert (await shop.states())[-2:] == ["dead", "handled"]
    assert "Sorry" in words(await person.answers())


async def test_an_update_that_kills_its_process_is_given_up(shop: Shop) -> None:
    recorder = Recorder()
    await put(shop.database, body(1, 5))
    for deaths in range(handling_module.MAX_DEATHS):
        async with shop.database.transaction() as tx:
            [update] = await updates.claim(tx, limit=10, lease_seconds=10)
        assert (update.attempt, update.deaths, update.repeated) == (1, deaths, deaths > 0)
        await advance(shop.database, 11)
    await turns(Handling(shop.bot, recorder.dispatcher, shop.database))
    assert recorder.texts == []
    assert await shop.states() == ["dead"]


async def test_what_a_dead_process_left_is_handled_by_the_next(shop: Shop) -> None:
    person = await shop.regular()
    await person.send(photo())
    await person.tap("Blogger")
    await person.answers()
    await shop.post(f"people/{person.id}/text", {"text": "A mug"})
    await shop.intake.turn()
    # Killed after the description was recorded and before the next question went out.
    await shop.fault("reset", "sendMessage")
    await shop.handling.turn()
    await shop.handling.idle()
    shop.restart()
    assert await person.answers() == []
    await advance(shop.database, 61)
    [wishes] = await person.answers()
    assert "Skip" in labels(wishes)
    async with shop.database.transaction() as tx:
        cursor = await tx.execute("select description, wishes from drafts")
        assert await cursor.fetchall() == [("A mug", None)]


async def test_a_busy_telegram_costs_no_attempt_and_loses_no_answer(shop: Shop) -> None:
    person = await shop.regular()
    await shop.fault("429", "sendMessage", retry_after=30)
    assert await person.write("/balance") == []
    await advance(shop.database, 20)
    assert await person.answers() == []
    await advance(shop.database, 11)
    assert "Your cabinet" in words(await person.answers())
    for kind in ("5xx", "reset"):
        await shop.fault(kind, "sendMessage", times=2)
        assert await person.write("/balance") == []
        for _ in range(2):
            await advance(shop.database, 40)
            last = await person.answers()
        assert "Your cabinet" in words(last)
    async with shop.database.transaction() as tx:
        cursor = await tx.execute("select max(attempt) from updates")
        assert await cursor.fetchone() == (1,)


async def test_a_chat_is_not_blocked_for_ever_by_a_call_that_never_works(shop: Shop) -> None:
    person = await shop.regular()
    await shop.fault("5xx", "getFile", times=100)
    assert await person.send(photo()) == []
    told = ""
    for _ in range(8):
        await advance(shop.database, 300)
        told += words(await person.answers())
    assert "Sorry" in told
    assert "Your cabinet" in words(await person.write("/balance"))


async def test_f71_somebody_who_left_meanwhile_is_no_trouble(shop: Shop) -> None:
    person = await shop.regular()
    await shop.post(f"people/{person.id}/text", {"text": "hello"})
    await shop.post(f"people/{person.id}/block")
    await shop.settle()
    assert set(await shop.states()) == {"handled"}


async def test_draining_finishes_what_runs_and_takes_nothing_new(shop: Shop) -> None:
    recorder = Recorder()
    begun = asyncio.Event()

    async def act(message: Message) -> None:
        begun.set()
        await asyncio.sleep(0.3)
        recorder.texts.append(message.text or "")

    recorder.act = act  # type: ignore[method-assign]  # the test's own object
    handling = Handling(shop.bot, recorder.dispatcher, shop.database)
    await put(shop.database, body(1, 5, text="first"), body(2, 5, text="second"))
    stop = asyncio.Event()
    running = asyncio.create_task(handling.run(stop))
    await begun.wait()
    stop.set()
    await running
    assert recorder.texts == ["first"]
    assert await shop.states() == ["handled", "pending"]


async def test_what_cannot_finish_in_time_is_put_back_at_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handling_module, "DRAIN_SECONDS", 0.1)
    recorder = Recorder()
    begun = asyncio.Event()

    async def act(message: Message) -> None:
        begun.set()
        await asyncio.sleep(60)

    recorder.act = act  # type: ignore[method-assign]  # the test's own object
    handling = Handling(shop.bot, recorder.dispatcher, shop.database)
    await put(shop.database, body(1, 5))
    stop = asyncio.Event()
    running = asyncio.create_task(handling.run(stop))
    await begun.wait()
    stop.set()
    await running
    async with shop.database.transaction() as tx:
        cursor = await tx.execute("select state, attempt from updates")
        assert await cursor.fetchall() == [("pending", 1)]


async def test_updates_of_no_known_kind_are_stored_and_done_with(shop: Shop) -> None:
    await put(
        shop.database,
        {"update_id": 1, "telepathy": {"thought": "?"}},
        body(2, 5, kind="business_message", edit_date=1_700_000_001),
        {"update_id": 3, "channel_post": {**body(3, 5)["message"], "chat": {"id": -100, "type": "channel"}}},
        {"update_id": 4, "message": {**body(4, 5)["message"], "chat": {"id": -7, "type": "group", "title": "g"}}},
    )
    await turns(shop.handling)
    assert await shop.states() == ["handled"] * 4
    async with shop.database.transaction() as tx:
        cursor = await tx.execute("select count(*) from customers")
        assert await cursor.fetchone() == (0,)


async def test_letters_that_postgresql_refuses_hold_up_nobody(shop: Shop) -> None:
    incoming = [
        intake_module._incoming(intake_module._storable(body(1, 5, text="a\x00b\ud800c"))),
        intake_module._incoming(intake_module._storable(body(2, 6, text="😀"))),
    ]
    await shop.database.run(lambda tx: updates.store(tx, incoming))
    async with shop.database.transaction() as tx:
        cursor = await tx.execute("select body->'message'->>'text' from updates order by id")
        assert [text for (text,) in await cursor.fetchall()] == ["a�b?c", "😀"]


async def test_intake_ends_a_long_poll_when_told_to_stop(shop: Shop) -> None:
    intake = Intake(shop.bot, shop.database, poll_seconds=20)
    stop = asyncio.Event()
    running = asyncio.create_task(intake.run(stop))
    await asyncio.sleep(0.1)
    assert not running.done()
    stop.set()
    async with asyncio.timeout(2):
        await running


async def test_intake_waits_out_an_outage_of_telegram(shop: Shop) -> None:
    person = await shop.arrive()
    await shop.fault("5xx", "getUpdates", times=1)
    await shop.fault("reset", "getUpdates", times=1)
    intake = Intake(shop.bot, shop.database, poll_seconds=1)
    stop = asyncio.Event()
    running = asyncio.create_task(intake.run(stop))
    await shop.post(f"people/{person.id}/start", {})
    async with asyncio.timeout(10):
        while not await shop.states():
            intake.wake()
            await asyncio.sleep(0.05)
    stop.set()
    await running


async def test_a_second_poller_is_told_in_one_sentence(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "LONGEST_PAUSE_SECONDS", 0.01)
    other = make_bot(shop.token, shop.telegram)
    polling = asyncio.create_task(poll_for_ever(other))
    try:
        with pytest.raises(IntakeRefused, match="another process polls with this BOT_TOKEN"):
            await Intake(shop.bot, shop.database, poll_seconds=5).run(asyncio.Event())
    finally:
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        await other.session.close()


async def poll_for_ever(bot: Bot) -> None:
    while True:
        try:
            await bot.get_updates(timeout=5)
        except Exception:
            await asyncio.sleep(0)


async def test_the_profile_is_told_in_every_language(shop: Shop) -> None:
    await set_up(shop.bot)
    english = await shop.bot.get_my_commands()
    russian = await shop.bot.get_my_commands(language_code="ru")
    assert [one.command for one in english] == [one.command for one in russian]
    assert english[0].description != russian[0].description


async def test_a_telegram_that_refuses_the_profile_does_not_stop_the_shop(shop: Shop) -> None:
    await shop.fault("429", "setMyDescription", retry_after=9000)
    await shop.fault("5xx", "getMyName", times=1)
    await keep_set_up(shop.bot)
    await keep_set_up(shop.bot)
