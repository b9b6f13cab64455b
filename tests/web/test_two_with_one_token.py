"""Two processes with one token, one of which is told of updates while the other polls: who came last leaves."""

import asyncio
from contextlib import suppress

import pytest

from bot.chat import Shop
from neurocards.addresses import webhook_secret
from neurocards.bot import Intake, IntakeRefused, Registration, make_bot
from neurocards.bot import intake as intake_module
from neurocards.bot.intake import RESIDENT_PATIENCE, WEBHOOKS
from neurocards.bot.webhook import LOSSES

OURS, THEIRS = "http://127.0.0.1:1", "http://127.0.0.1:2"


@pytest.fixture
def registration(shop: Shop) -> Registration:
    return Registration(shop.bot, public_url=OURS, secret=webhook_secret(shop.token))


async def lost(shop: Shop, registration: Registration, times: int, *, to: str = "") -> None:
    """Somebody else takes the updates so often, and each time we look and take them back."""
    for _ in range(times):
        await (shop.bot.set_webhook(to) if to else shop.bot.delete_webhook())
        assert await registration.turn()


@pytest.mark.parametrize(
    ("to", "sentence"),
    [
        ("", "another process with this BOT_TOKEN polls, and has removed our webhook: stop it, or use another bot"),
        (THEIRS, "another process with this BOT_TOKEN has set a webhook of its own: stop it, or use another bot"),
    ],
)
async def test_f81_who_is_told_of_updates_leaves_when_another_takes_them_again_and_again(
    shop: Shop, registration: Registration, to: str, sentence: str
) -> None:
    await registration.turn()
    await lost(shop, registration, LOSSES - 1, to=to)
    await (shop.bot.set_webhook(to) if to else shop.bot.delete_webhook())
    with pytest.raises(IntakeRefused, match=sentence):
        await registration.turn()
    await shop.bot.delete_webhook()


async def test_f81_whoever_was_there_first_stays_for_longer(shop: Shop, registration: Registration) -> None:
    await registration.turn()
    assert not await registration.turn(), "nobody has taken it: this process is at home"
    await lost(shop, registration, LOSSES * RESIDENT_PATIENCE - 1)
    assert not await registration.turn()
    await lost(shop, registration, LOSSES * RESIDENT_PATIENCE - 1)
    await shop.bot.delete_webhook()
    with pytest.raises(IntakeRefused):
        await registration.turn()


@pytest.mark.parametrize("is_resident", [False, True])
async def test_f81_who_polls_leaves_when_another_sets_a_webhook_again_and_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, is_resident: bool
) -> None:
    monkeypatch.setattr(intake_module, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(intake_module, "LONGEST_PAUSE_SECONDS", 0.001)
    other = make_bot(shop.token, shop.telegram)
    stop = asyncio.Event()
    if not is_resident:
        await other.set_webhook(THEIRS)
    polling = asyncio.create_task(Intake(shop.bot, shop.database, poll_seconds=0).run(stop))
    taken = 0
    try:
        async with asyncio.timeout(20):
            while not polling.done():
                await polled(shop, polling)
                if not polling.done():
                    await other.set_webhook(THEIRS)
                    taken += 1
        with pytest.raises(IntakeRefused, match="sets a webhook for this BOT_TOKEN again and again"):
            polling.result()
    finally:
        stop.set()
        with suppress(IntakeRefused):
            await polling
        await other.delete_webhook()
        await other.session.close()
    assert taken == (WEBHOOKS * RESIDENT_PATIENCE + 1 if is_resident else WEBHOOKS)


async def polled(shop: Shop, polling: "asyncio.Task[None]") -> None:
    """Wait until a poll from now on went well, or the poller has left."""
    since = (await shop.get("calls", limit=1, since=2**40))["last_id"]
    while not polling.done():
        found = await shop.get("calls", method="getUpdates", since=since)
        if any(
            call["status"] == 200 and call["token"].startswith(shop.token.partition(":")[0]) for call in found["calls"]
        ):
            return
        await asyncio.sleep(0.005)
