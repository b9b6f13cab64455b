"""What one person does, on purpose or not, is nobody else's trouble, and names that people give things name nothing."""

import asyncio

import pytest

from bot.chat import Shop, photo, words
from media.test_photos import hungry


async def test_t14_whoever_floods_the_chat_waits_alone(shop: Shop) -> None:
    flooder, other = await shop.regular(), await shop.regular()
    for number in range(60):
        await shop.post(f"people/{flooder.id}/text", {"text": f"hello {number}"})
    await shop.post(f"people/{other.id}/text", {"text": "hello"})
    while await shop.intake.turn():
        pass
    assert await shop.handling.turn() == 2, "one update of each person at a time, whoever came first"
    await shop.handling.idle()
    assert await _is_answered(shop, other.id), "who came last has been answered among the first"
    assert await shop.handling.turn() == 1, "and the others still wait in the database, not in memory"
    await shop.handling.idle()


async def test_t31_while_a_hundred_of_the_worst_photos_are_looked_at_others_are_answered(shop: Shop) -> None:
    """The heaviest that is admitted, in a file of a few kilobytes; ordered by what was done first, not by a clock."""
    heavy, senders = hungry("webp"), 10
    crowd = [await shop.regular() for _ in range(senders)]
    other = await shop.regular()
    for person in crowd:
        for _ in range(100 // senders):
            files = {"file": ("photo.webp", heavy)}
            await shop.post(f"people/{person.id}/document", files=files, data={"caption": ""})
    await shop.post(f"people/{other.id}/text", {"text": "/balance"})
    while await shop.intake.turn():
        pass
    assert await shop.handling.turn() == senders + 1
    async with asyncio.timeout(30):
        while not await _is_answered(shop, other.id):  # noqa: ASYNC110 (a chat sets no event)
            await asyncio.sleep(0.01)
    assert not all([await _is_answered(shop, person.id) for person in crowd]), "photos were still looked at"
    await shop.handling.idle()
    assert all([await _is_answered(shop, person.id) for person in crowd])


async def _is_answered(shop: Shop, person_id: int) -> bool:
    """Whether the last word in this chat is the bot's."""
    chat = await shop.get(f"people/{person_id}/chat")
    return bool([one for one in chat["messages"] if not one["deleted"]][-1]["from_bot"])


@pytest.mark.parametrize(
    "name",
    ["../../../etc/cron.d/x.jpg", "/etc/passwd", "-i.jpg", "a%00b.jpg", "photos/1", "; rm -rf ~.jpg", "%2e%2e%2f.jpg"],
)
async def test_t08_a_files_name_names_nothing_of_ours(shop: Shop, name: str) -> None:
    person = await shop.regular()
    said = words(await person.send(photo(), name, kind="document"))
    assert "photo is fine" in said
    async with shop.database.transaction() as tx:
        ((key,),) = await (await tx.execute("select photo_key from drafts")).fetchall()
    assert [part for part in ("..", "etc", "-i", "rm", "%") if part in key] == []
    assert key.startswith("photos/") and await shop.store.get(key)


@pytest.mark.parametrize(
    "amount", ["0", "-1", "9223372036854775808", "9" * 400, "1e309", "10 000", "٣", "²", "0x10", "NaN"]
)
async def test_t22_a_count_is_one_of_a_few_small_numbers(shop: Shop, amount: str) -> None:
    person = await shop.shopper()
    await person.tap("‹ Back")
    await person.answers()
    said = words(await person.write(amount))
    async with shop.database.transaction() as tx:
        ((count,),) = await (await tx.execute("select count from drafts")).fetchall()
    assert count is None or 1 <= count <= 20, said
    assert all(state == "handled" for state in await shop.states())
