"""A running shop for all these tests, a fresh page and a fresh seller for each."""

from collections.abc import AsyncIterator

import psycopg
import psycopg.conninfo
import pytest
from playwright.async_api import Browser, BrowserContext

from browser.orders import meet
from browser.phone import NewPhone, Phone, page_address
from browser.stage import QUICK, Stage, open_stage
from neurocards.db.embedded import EmbeddedPostgres
from neurocards.demo.samples import draw_product


@pytest.fixture(scope="package")
async def stage(
    browser: Browser, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    """Bot, worker and simulators; not even started where there is no browser."""
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute("create database browser template empty_shop")
    dsn = psycopg.conninfo.make_conninfo(postgres.dsn, dbname="browser")
    async with open_stage(dsn, tmp_path_factory.mktemp("browser")) as stage:
        yield stage


@pytest.fixture
async def context(browser: Browser, stage: Stage) -> AsyncIterator[BrowserContext]:
    """A browser as if just installed, and a quick KIE; whatever a page complains about fails the test."""
    await stage.kie("POST", "settings", QUICK)
    await stage.kie("DELETE", "faults")
    complaints: list[str] = []
    context = await browser.new_context(viewport={"width": 1000, "height": 900}, locale="ru-RU")
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on(
        "console", lambda line: complaints.append(f"{line.text} {line.location}") if line.type == "error" else None
    )
    yield context
    await context.close()
    assert complaints == []


@pytest.fixture
def new_phone(context: BrowserContext, stage: Stage) -> NewPhone:
    """Somebody new in an empty chat, on a page of their own."""

    async def arrive(language: str = "ru", app_language: str | None = None) -> Phone:
        person_id = await stage.arrive(language=app_language or language)
        page = await context.new_page()
        await page.goto(page_address(stage.addresses.telegram, person_id))
        return Phone(page, person_id, language)

    return arrive


@pytest.fixture
async def phone(new_phone: NewPhone) -> Phone:
    """A Russian seller who has agreed and has the welcome credit."""
    phone = await new_phone()
    await meet(phone)
    return phone


@pytest.fixture(scope="session")
def photo() -> bytes:
    return draw_product(0)
