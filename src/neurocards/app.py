"""The composition root: settings in, wired processes out. The only place that constructs."""

# ruff: noqa: PLC0415 - aiogram and the openai SDK take seconds to import, and most commands need neither.

import asyncio
import os
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from neurocards import maintenance, meters, starting, traces
from neurocards.addresses import callback_key, callback_url, webhook_secret
from neurocards.alerts import Alerts, Teller
from neurocards.catalogue import BadCatalogue, load_catalogue
from neurocards.checks import Checks
from neurocards.db import embedded, migrate
from neurocards.db.connection import APP_ROLE, BadAddress, Database, answered, check_address
from neurocards.db.provider_keys import Pace
from neurocards.domain.catalogue import Catalogue
from neurocards.keeping import forgetting
from neurocards.loops import Loop
from neurocards.notices import Messenger, Outbox
from neurocards.routing import PACE_SLACK_SECONDS, Router
from neurocards.settings import BadSettings, Reading, Settings
from neurocards.storage import Store, file_store, open_store
from neurocards.worker import Worker

if TYPE_CHECKING:
    from neurocards.bot import Change
    from neurocards.doctor.lines import Finding
    from neurocards.doctor.looking import Clock
    from neurocards.keeping.backing_up import Made, Place, Watch
    from neurocards.keeping.reconciling import Reconciled
    from neurocards.keeping.restoring import Proof, Restored
    from neurocards.preview import Preview, Trial
    from neurocards.production import VideoProvider
    from neurocards.providers.openai_writer import OpenAIWriter

OUTBOX_LEASES = 1.5
"""What is being sent may be sent twice when its lease runs out: others wait a little longer than for a job."""

PATIENCE_SECONDS = 60.0
"""How long bot and worker wait for a database that does not answer when they start."""

SUBMIT_WINDOW_SECONDS = 10.0
"""The window that KIE counts submits in; fal has none of its own and is treated alike."""

MAINTENANCE_SECONDS = 1.0
PLACES_SECONDS = 3.0
CHECKS_SECONDS = 30.0
ALERTS_SECONDS = 30.0
AUDIT_SECONDS = 20.0
"""How often it is asked whether an audit is due."""
PRUNE_SECONDS = 3600.0
FORGET_SECONDS = 600.0
SWEEP_SECONDS = 86_400.0
STALE_FILE_SECONDS = 3600.0

log = structlog.get_logger()


@dataclass(frozen=True)
class Basics:
    """What every command stands on."""

    settings: Settings
    database: Database
    store: Store
    catalogue: Catalogue


@asynccontextmanager
async def open_dsn(settings: Settings) -> AsyncIterator[str]:
    """The database's address. Without DATABASE_URL an embedded server is used, or started for as long as we live."""
    if settings.database_url is not None:
        dsn = settings.database_url.get_secret_value()
        try:
            check_address(dsn)
        except BadAddress as error:
            raise BadSettings(f"DATABASE_URL: {error}") from error
        yield dsn
        return
    folder = settings.neurocards_home / "postgres"
    try:
        server = await asyncio.to_thread(embedded.EmbeddedPostgres.start, folder)
    except embedded.AlreadyRunning as running:
        yield running.dsn
        return
    try:
        yield server.dsn
    finally:
        await asyncio.to_thread(server.stop)


@asynccontextmanager
async def open_basics(settings: Settings, *, patience_seconds: float = 0.0) -> AsyncIterator[Basics]:
    """Database, store and catalogue. An embedded database is migrated here; another one must be already.

    Raises one of Away when the database has not answered for `patience_seconds`.
    """
    catalogue = load_catalogue(own=settings.content_folder, preferred_model=settings.video_model)
    preferred = catalogue.models.get(catalogue.preferred_model or "")
    if preferred is not None and preferred.is_retired(datetime.now(UTC).date()):
        log.warning("model_retired", model=preferred.id, since=str(preferred.retires))
    async with open_dsn(settings) as dsn:
        if settings.database_url is None:
            await migrate.migrate(dsn)
        elif missing := await answered(lambda: migrate.pending(dsn), patience_seconds=patience_seconds):
            raise BadSettings(f"the database lacks {', '.join(missing)}: run ./neurocards migrate")
        async with Database(dsn, connections=settings.database_connections, role=APP_ROLE) as database:
            store = open_store(settings.store_url, settings.neurocards_home)
            yield Basics(settings, database, store, catalogue)


async def run_bot(settings: Settings) -> None:
    """Take orders until told to stop."""
    (bot_token,) = settings.required("bot_token")

    from neurocards.bot import (
        Alarm,
        Handling,
        Intake,
        IntakeRefused,
        Registration,
        TelegramMessenger,
        build_dispatcher,
        build_usual_models,
        keep_set_up,
        make_bot,
    )
    from neurocards.media.children import warm_up
    from neurocards.web import CannotListen

    bot = make_bot(bot_token, settings.telegram_api_url)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(bot.session.close)
        basics = await stack.enter_async_context(open_basics(settings, patience_seconds=PATIENCE_SECONDS))
        warm_up()
        build_usual_models()
        dispatcher = build_dispatcher(
            database=basics.database, store=basics.store, catalogue=basics.catalogue, settings=settings
        )
        await keep_set_up(bot)
        handling = Handling(bot, dispatcher, basics.database)
        outbox = _outbox(basics, TelegramMessenger(bot, basics.database, basics.store, basics.catalogue.models))
        if settings.public_url is None:
            entrances: list[Run] = [Intake(bot, basics.database).run]
        else:
            registration = Registration(bot, public_url=settings.public_url, secret=webhook_secret(bot_token))
            entrances = [registration.run, _hooks(basics, bot_token, stack)]
        upkeep = [*_upkeep(basics.database), _auditing(basics.database), _forgetting(basics), _sweeping(basics)]
        chat_id = settings.alert_chat_id
        if chat_id is not None:
            upkeep.append(_alerts(basics.database, Alarm(bot, chat_id), settings, chat_id))
        try:
            await _run_until_stopped(
                basics,
                role="bot",
                loops=[*entrances, handling.run, outbox.run, *upkeep],
                wakers={"updates": handling.wake, "notices": outbox.wake},
            )
        except (IntakeRefused, CannotListen) as refused:
            raise BadSettings(str(refused)) from refused


async def run_setup(settings: Settings) -> "list[Change]":
    """Let Telegram show name, descriptions and commands as our texts say; returns what was not so.

    Raises Failure when Telegram does not say how things are.
    """
    from neurocards.bot import make_bot, set_up

    (bot_token,) = settings.required("bot_token")
    bot = make_bot(bot_token, settings.telegram_api_url)
    try:
        return await set_up(bot)
    finally:
        await bot.session.close()


async def run_worker(settings: Settings) -> None:
    """Make videos until told to stop."""
    bot_token, keys = settings.worker_secrets()

    from neurocards.bot import TelegramMessenger, make_bot
    from neurocards.media.children import warm_up
    from neurocards.production import Production

    bot = make_bot(bot_token, settings.telegram_api_url)
    writer = _writer(settings)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(bot.session.close)
        providers = await stack.enter_async_context(_providers(settings, keys))
        if writer is not None:
            stack.push_async_callback(writer.close)
        basics = await stack.enter_async_context(open_basics(settings, patience_seconds=PATIENCE_SECONDS))
        router = Router(
            basics.catalogue,
            {name: provider.keys for name, provider in providers.items()},
            {
                "kie": _pace(settings.kie_submits, settings.kie_in_flight),
                "fal": _pace(settings.fal_submits, settings.fal_in_flight),
            },
        )
        await answered(lambda: basics.database.run(router.register), patience_seconds=PATIENCE_SECONDS)
        warm_up()
        production = Production(
            basics.database,
            basics.store,
            basics.catalogue,
            providers=providers,
            router=router,
            writer=writer,
            workspace=await asyncio.to_thread(_workspace, settings.neurocards_home),
            lease_seconds=settings.lease_seconds,
            doubt_seconds=settings.doubt_seconds,
            deadline_seconds=settings.order_deadline_seconds,
            callback_url=_callback_url(settings, bot_token),
        )
        worker = Worker(
            basics.database,
            {"generation": production},
            name=f"{socket.gethostname()}:{os.getpid()}",
            slots=settings.worker_slots,
            lease_seconds=settings.lease_seconds,
            room=router.room,
        )
        outbox = _outbox(basics, TelegramMessenger(bot, basics.database, basics.store, basics.catalogue.models))
        checks = _checks(basics.database, router, basics.catalogue, providers)
        upkeep = [*_upkeep(basics.database), _forgetting(basics), checks]
        await _run_until_stopped(
            basics,
            role="worker",
            loops=[worker.run, outbox.run, *upkeep],
            wakers={"jobs": worker.wake, "notices": outbox.wake},
        )


async def run_doctor(reading: Reading, *, clock: "Clock | None" = None) -> "list[Finding]":
    """Look at everything that a shop with these settings stands on. `clock` is this machine's if none is given."""
    from neurocards.doctor.examining import examine
    from neurocards.doctor.looking import Patient, this_machine

    settings = reading.settings
    catalogue = None
    # What cannot be made of the settings is among their problems, and what needs it says so.
    with suppress(BadCatalogue):
        catalogue = load_catalogue(own=settings.content_folder, preferred_model=settings.video_model)
    async with AsyncExitStack() as stack:
        providers = await stack.enter_async_context(_providers(settings, _known_keys(settings)))
        writer = _writer(settings)
        if writer is not None:
            stack.push_async_callback(writer.close)
        patient = Patient(
            settings,
            starting.problems(reading),
            open_dsn=lambda: _open_migrated(settings),
            catalogue=catalogue,
            providers=providers,
            writer=writer,
        )
        return await examine(patient, clock=clock or this_machine)


@asynccontextmanager
async def _open_migrated(settings: Settings) -> AsyncIterator[str]:
    """The database's address; an embedded one is brought up to date, as it is whenever it is opened."""
    async with open_dsn(settings) as dsn:
        if settings.database_url is None:
            with suppress(migrate.SchemaTooNew):  # told by the line about the schema
                await migrate.migrate(dsn)
        yield dsn


async def run_preview(settings: Settings, trial: "Trial", *, write: bool) -> "Preview":
    """What a video would be asked for with; where `write` says so the prompt writer is asked, and nobody else ever."""
    from neurocards.preview import prepare

    catalogue = load_catalogue(own=settings.content_folder, preferred_model=settings.video_model)
    if write:
        settings.required("openai_api_key")
    async with AsyncExitStack() as stack:
        writer = _writer(settings) if write else None
        if writer is not None:
            stack.push_async_callback(writer.close)
        return await prepare(catalogue, trial, writer)


async def run_backup(settings: Settings, watch: "Watch") -> "Made":
    """Make a backup and remove old ones."""
    from neurocards.keeping import backing_up

    key = settings.seal_key()
    place = _backups(settings)
    async with open_dsn(settings) as dsn, open_basics(settings) as basics:
        keep = timedelta(days=settings.backup_keep_days)
        return await backing_up.back_up(dsn, basics.database, basics.store, place, key=key, keep=keep, watch=watch)


async def run_restore(settings: Settings, named: str, watch: "Watch") -> "Restored":
    """Put a backup into the empty database; nothing is sold after it."""
    from neurocards.keeping import backing_up, restoring

    key = settings.seal_key()
    async with open_dsn(settings) as dsn:
        found = await backing_up.find(_backups(settings), named)
        return await restoring.restore(dsn, found, key=key, on_bytes=watch.on_bytes)


async def run_restore_check(settings: Settings, named: str, watch: "Watch") -> "Proof":
    """Restore into an embedded server that lives as long as the trial, audit there, and record how it went."""
    from neurocards.keeping import backing_up, restoring

    key = settings.seal_key()
    async with open_basics(settings) as basics:
        found = await backing_up.find(_backups(settings), named)
        with _scratch_folder(settings.neurocards_home) as folder:
            server = await asyncio.to_thread(embedded.EmbeddedPostgres.start, folder, durable=False)
            try:
                report = await restoring.prove(server.dsn, found, key=key, on_bytes=watch.on_bytes)
            except restoring.Unsound as error:
                await restoring.record_proof(basics.database, found, failure=str(error))
                raise
            finally:
                await asyncio.to_thread(server.stop)
        proof = restoring.Proof(found.location, report)
        await restoring.record_proof(basics.database, found, failure=proof.failure)
        return proof


async def run_reconcile(settings: Settings, *, dry_run: bool, tell: Callable[[str], None]) -> "Reconciled":
    """Compare a restored shop with what Telegram, the providers and the store know; sales go on if it passes."""
    (bot_token,) = settings.required("bot_token")

    from neurocards.bot import make_bot, star_moves
    from neurocards.checks import Account
    from neurocards.keeping.reconciling import reconcile

    bot = make_bot(bot_token, settings.telegram_api_url)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(bot.session.close)
        basics = await stack.enter_async_context(open_basics(settings))
        providers = await stack.enter_async_context(_providers(settings, _known_keys(settings)))
        return await reconcile(
            basics.database,
            basics.store,
            star_moves=star_moves(bot),
            accounts={name: one for name, one in providers.items() if isinstance(one, Account)},
            stars_per_credit=settings.stars_per_credit,
            dry_run=dry_run,
            tell=tell,
        )


def _known_keys(settings: Settings) -> Mapping[str, Sequence[str]]:
    """The video keys, which a machine that makes no videos may lack."""
    try:
        return settings.video_keys()
    except BadSettings:
        return {}


def _backups(settings: Settings) -> "Place":
    """Where backups lie."""
    from neurocards.keeping.backing_up import Place

    if settings.backup_url is not None:
        return Place(open_store(settings.backup_url, settings.neurocards_home), settings.backup_url.rstrip("/"))
    folder = (settings.backup_folder or settings.neurocards_home / "backups").absolute()
    return Place(file_store(folder), str(folder))


@contextmanager
def _scratch_folder(home: Path) -> Iterator[Path]:
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="trial-", dir=home) as folder:
        yield Path(folder)


def _writer(settings: Settings) -> "OpenAIWriter | None":
    """The prompt writer, if there is a key for one."""
    from neurocards.providers.openai_writer import OpenAIWriter

    if settings.openai_api_key is None:
        return None
    return OpenAIWriter(
        base_url=settings.openai_base_url,
        api_key=settings.openai_api_key.get_secret_value(),
        model=settings.openai_model,
        mode=settings.openai_mode,
    )


Run = Callable[[asyncio.Event], Coroutine[None, None, None]]


def _outbox(basics: Basics, messenger: Messenger) -> Outbox:
    settings = basics.settings
    return Outbox(
        basics.database,
        messenger,
        messages_per_second=settings.messages_per_second,
        lease_seconds=settings.lease_seconds * OUTBOX_LEASES,
    )


def _hooks(basics: Basics, bot_token: str, stack: AsyncExitStack) -> Run:
    """What serves the addresses that Telegram and the providers know."""
    from neurocards.providers.fal_callbacks import FalCallbacks
    from neurocards.providers.kie_callbacks import KieCallbacks
    from neurocards.web import build_hooks, serve

    settings = basics.settings
    fal = FalCallbacks(rest_url=settings.fal_rest_url)
    stack.push_async_callback(fal.close)
    kie_webhook_key = settings.kie_webhook_key
    app = build_hooks(
        basics.database,
        webhook_secret=webhook_secret(bot_token),
        callback_key=callback_key(bot_token),
        readers={
            "kie": KieCallbacks(kie_webhook_key.get_secret_value() if kie_webhook_key else None),
            "fal": fal,
        },
    )
    return lambda stop: serve(app, host=settings.http_host, port=settings.http_port, stop=stop)


@asynccontextmanager
async def _providers(
    settings: Settings, keys: Mapping[str, Sequence[str]]
) -> AsyncIterator["dict[str, VideoProvider]"]:
    """The adapters of all providers that there is a key for."""
    from neurocards.providers.fal import Fal
    from neurocards.providers.keys import labelled
    from neurocards.providers.kie import Kie

    async with AsyncExitStack() as stack:
        providers: dict[str, VideoProvider] = {}
        if "kie" in keys:
            kie = Kie(
                api_url=settings.kie_api_url, upload_url=settings.kie_upload_url, keys=labelled("kie", keys["kie"])
            )
            stack.push_async_callback(kie.close)
            providers["kie"] = kie
        if "fal" in keys:
            fal = Fal(
                queue_url=settings.fal_queue_url, rest_url=settings.fal_rest_url, keys=labelled("fal", keys["fal"])
            )
            stack.push_async_callback(fal.close)
            providers["fal"] = fal
        yield providers


def _pace(submits: int, in_flight: int) -> Pace:
    return Pace(submits, SUBMIT_WINDOW_SECONDS, PACE_SLACK_SECONDS, in_flight)


def _callback_url(settings: Settings, bot_token: str) -> Callable[[str, UUID], str | None]:
    """Where a provider may tell of an attempt: nowhere, as long as nobody reaches us from outside."""
    public_url = settings.public_url
    if public_url is None:
        return lambda _provider, _attempt_id: None
    key = callback_key(bot_token)
    return lambda provider, attempt_id: callback_url(public_url, key, provider, attempt_id)


async def _run_until_stopped(
    basics: Basics, *, role: str, loops: Sequence[Run], wakers: Mapping[str, Callable[[], None]]
) -> None:
    """Run the loops until SIGTERM or SIGINT; each then finishes what it is doing."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    listener = asyncio.create_task(_pass_on_hints(basics.database, wakers))
    log.info("started")
    try:
        with traces.exporting(basics.settings.otel_exporter_otlp_endpoint, role=role):
            async with _watched(basics, role, stop):
                outcomes = await asyncio.gather(*(_stopping_all(run, stop) for run in loops), return_exceptions=True)
    finally:
        listener.cancel()
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    log.info("stopped")


@asynccontextmanager
async def _watched(basics: Basics, role: str, stop: asyncio.Event) -> AsyncIterator[None]:
    """Answer to whoever watches, to the very end: that we are draining is said while we do."""
    from neurocards.web import Ops, build_ops, keep_serving

    settings = basics.settings
    if settings.ops_port == 0:
        yield
        return
    ops = Ops(basics.database, role=role, home=settings.neurocards_home, draining=stop.is_set)
    ended = asyncio.Event()
    watching = asyncio.create_task(
        keep_serving(build_ops(ops), host=settings.ops_host, port=settings.ops_port, stop=ended)
    )
    try:
        yield
    finally:
        ended.set()
        await watching


async def _stopping_all(run: Run, stop: asyncio.Event) -> None:
    """A loop that fails ends the process, but the others first finish what they are doing."""
    try:
        await run(stop)
    finally:
        stop.set()


async def _pass_on_hints(database: Database, wakers: Mapping[str, Callable[[], None]]) -> None:
    async for channel in database.listen(*wakers):
        wakers[channel]()


def _upkeep(database: Database) -> list[Run]:
    async def maintain() -> int:
        await maintenance.turn(database)
        return 0

    async def tell_places() -> int:
        await maintenance.tell_places(database)
        return 0

    async def prune() -> int:
        return await maintenance.prune(database)

    return [
        Loop("maintenance", maintain, pause_seconds=MAINTENANCE_SECONDS).run,
        Loop("places", tell_places, pause_seconds=PLACES_SECONDS).run,
        Loop("prune", prune, pause_seconds=PRUNE_SECONDS).run,
    ]


def _alerts(database: Database, teller: Teller, settings: Settings, chat_id: int) -> Run:
    """What tells the operators' chat of troubles."""
    alerts = Alerts(
        database,
        teller,
        chat_id=chat_id,
        readers=settings.operators,
        disk_used=lambda: meters.used_ratio(settings.neurocards_home),
    )

    async def look() -> int:
        await alerts.turn()
        return 0

    return Loop("alerts", look, pause_seconds=ALERTS_SECONDS).run


def _auditing(database: Database) -> Run:
    """The books are audited every few minutes, by one bot of however many."""

    async def audit() -> int:
        await maintenance.audit_books(database)
        return 0

    return Loop("audit", audit, pause_seconds=AUDIT_SECONDS).run


def _forgetting(basics: Basics) -> Run:
    """What is personal and old goes, a batch at a time."""
    settings = basics.settings

    async def forget() -> int:
        done = await forgetting.turn(
            basics.database, basics.store, photo_days=settings.photo_days, video_days=settings.video_days
        )
        return done.total

    return Loop("forgetting", forget, pause_seconds=FORGET_SECONDS).run


def _sweeping(basics: Basics) -> Run:
    """What is old in the store and in no row goes, once a day; by bots alone, since one look is enough."""
    settings = basics.settings

    async def sweep() -> int:
        await forgetting.sweep(
            basics.database, basics.store, photo_days=settings.photo_days, video_days=settings.video_days
        )
        return 0

    return Loop("sweeping", sweep, pause_seconds=SWEEP_SECONDS).run_loosely


def _checks(database: Database, router: Router, catalogue: Catalogue, providers: "Mapping[str, VideoProvider]") -> Run:
    """What is known of models, keys and balances is looked up now and then; nobody waits for it."""
    checking = Checks(database, catalogue, providers)

    async def check() -> int:
        await database.run(router.register)
        await checking.turn()
        return 0

    # A round of questions to a provider that is away takes minutes: nobody may wait for it who wants us to end.
    return Loop("checks", check, pause_seconds=CHECKS_SECONDS).run_loosely


def _workspace(home: Path) -> Path:
    """Where clips lie while they are checked; leftovers of a killed worker are swept."""
    folder = home / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.iterdir():
        with suppress(FileNotFoundError):  # another worker sweeps as well
            if time.time() - left.stat().st_mtime > STALE_FILE_SECONDS:
                left.unlink()
    return folder
