"""`neurocards bot --setup`: Telegram shows our name, words and commands, and is told only what it does not know."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from bot.chat import Shop
from neurocards.bot import set_up
from neurocards.texts import translate

ROOT = Path(__file__).parent.parent.parent

WRITES = {"setMyName", "setMyDescription", "setMyShortDescription", "setMyCommands"}


async def written(shop: Shop) -> list[tuple[str, str]]:
    """What Telegram was told so far, and in which language."""
    calls = (await shop.get("calls", limit=20_000))["calls"]
    return [
        (call["method"], str(call["parameters"].get("language_code", "")))
        for call in calls
        if call["token"].startswith(shop.token.partition(":")[0]) and call["method"] in WRITES
    ]


async def test_everything_is_set_in_both_languages_and_the_second_time_nothing(shop: Shop) -> None:
    changes = await set_up(shop.bot)
    assert sorted((one.what, one.language, one.refusal) for one in changes) == [
        (what, language, None) for what in ("about", "commands", "description", "name") for language in ("en", "ru")
    ]
    assert sorted(await written(shop)) == sorted((method, code) for method in WRITES for code in ("", "ru"))
    for code, language in (("", "en"), ("ru", "ru"), ("de", "en")):
        assert (await shop.bot.get_my_name(language_code=code)).name == translate(language, "bot-name")
        assert (await shop.bot.get_my_description(language_code=code)).description == translate(
            language, "bot-description"
        )
    assert [one.command for one in await shop.bot.get_my_commands(language_code="ru")] == [
        one.command for one in await shop.bot.get_my_commands()
    ]
    before = len(await written(shop))
    assert await set_up(shop.bot) == []
    assert len(await written(shop)) == before


async def test_what_telegram_refuses_for_now_keeps_nothing_else_from_being_set(shop: Shop) -> None:
    await shop.fault("429", "setMyName", retry_after=9000, times=2)
    changes = await set_up(shop.bot)
    refused = [one for one in changes if one.refusal is not None]
    assert [(one.what, one.language) for one in refused] == [("name", "en"), ("name", "ru")]
    assert "retry" in str(refused[0].refusal).lower()
    assert len(changes) == 8
    await shop.bot.set_my_short_description("somebody else's words", language_code="ru")
    assert [(one.what, one.language) for one in await set_up(shop.bot)] == [
        ("name", "en"),
        ("name", "ru"),
        ("about", "ru"),
    ]


async def test_the_command_says_what_it_changed_and_why_it_could_not(shop: Shop, tmp_path: Path) -> None:
    async def command(token: str) -> "subprocess.CompletedProcess[str]":
        return await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "neurocards", "bot", "--setup"],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT / "src"),
                "COLUMNS": "200",
                "TELEGRAM_API_URL": shop.telegram,
                "BOT_TOKEN": token,
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    await set_up(shop.bot)
    await shop.bot.set_my_name("somebody else's", language_code="ru")
    done = await command(shop.token)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Set name (ru):\n  {translate('ru', 'bot-name')}\n"
    stranger = await command("0:nobody")
    assert stranger.returncode == 1
    assert stranger.stderr.startswith("neurocards: Telegram does not say how the bot is shown:")
    assert len(stranger.stderr.splitlines()) == 1
