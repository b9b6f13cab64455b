"""Connections to PostgreSQL: a pool, transactions that survive passing trouble, and a listener for hints."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import DeadlockDetected, IdleInTransactionSessionTimeout, SerializationFailure, TransactionTimeout
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from neurocards import meters

Transaction = AsyncConnection[TupleRow]
"""An open transaction. Functions that take one never commit; who opened it does."""

Result = TypeVar("Result")

log = structlog.get_logger()

CONFLICT_RETRIES = 3
OWN_CODES = "NC"
"""How the codes begin with which our own triggers and functions refuse what must never be true."""
POOL_WAIT_SECONDS = 10.0
RECONNECT_ROUND_SECONDS = 3.0
LONGEST_AWAY_PAUSE_SECONDS = 2.0
"""How seldom a database that is away may be asked for: people wait for it, and a refused connection costs nothing."""

# A statement, a lock wait or a forgotten transaction ends by itself long before a lease or a person's patience does.
# Nothing outside happens in a transaction, so one that idles belongs to a process that was stopped or cut off, and may
# hold what others wait for.
SESSION_LIMITS = (
    "-c statement_timeout=20s -c lock_timeout=10s -c idle_in_transaction_session_timeout=5s -c timezone=UTC"
)
SOCKET_LIMITS = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
APP_ROLE = "neurocards_app"
"""What bot, workers and commands act as; its rights stand in the migrations."""

TRY_SECONDS = 40.0
"""How long one try of a transaction may take in all: longer than its statement's own limit, shorter than for ever."""


class BadAddress(ValueError):
    """A database address that cannot be one. It is not repeated here: it may hold a password."""


Away = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    PoolTimeout,
    IdleInTransactionSessionTimeout,
    TransactionTimeout,
)
"""What is raised while the database is away: restarting, unreachable, out of connections, or rid of one that idled."""


def check_address(dsn: str) -> None:
    """Raise BadAddress unless the text is a PostgreSQL address."""
    try:
        conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise BadAddress("not a PostgreSQL address such as postgresql://name:password@host/database") from None


async def answered(ask: Callable[[], Awaitable[Result]], *, patience_seconds: float) -> Result:
    """What `ask` says, asked again for so long while the database does not answer."""
    loop = asyncio.get_running_loop()
    gives_up_at = loop.time() + patience_seconds
    while True:
        try:
            return await ask()
        except Away as error:
            if loop.time() > gives_up_at:
                raise
            log.warning("database_away", error=" ".join(str(error).split()))
            await asyncio.sleep(1.0)


@asynccontextmanager
async def _limit(seconds: float) -> AsyncIterator[None]:
    """A line that was cut without a word looks like a database that thinks: both end here."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise psycopg.OperationalError(f"no answer within {seconds:.0f} seconds") from error


def _note_refusal(error: psycopg.DatabaseError) -> None:
    """That somebody tried what must never be is on record, with whose work it was, whatever becomes of the error."""
    if error.sqlstate is not None and error.sqlstate.startswith(OWN_CODES):
        meters.database_refused(error.sqlstate)
        log.error("database_refused", code=error.sqlstate, by=error.diag.constraint_name, error=str(error))


class Database:
    """The database as the rest of the program sees it. Open it with `async with`."""

    def __init__(self, dsn: str, *, connections: int = 10, role: str | None = None) -> None:
        """With a `role` every connection acts as it, and has no more rights than it."""
        check_address(dsn)
        options = SESSION_LIMITS if role is None else f"{SESSION_LIMITS} -c role={role}"
        self._conninfo = make_conninfo(dsn, options=options, **SOCKET_LIMITS)
        self._pool: AsyncConnectionPool[Transaction] = AsyncConnectionPool(
            self._conninfo,
            kwargs={"autocommit": True},
            min_size=1,
            max_size=connections,
            timeout=POOL_WAIT_SECONDS,
            # A process outlives any outage of its database. The pool's own pauses double for as long as one round
            # of attempts lasts, so rounds are short and each is followed by the next.
            reconnect_timeout=RECONNECT_ROUND_SECONDS,
            reconnect_failed=AsyncConnectionPool.check,
            open=False,
        )

    async def __aenter__(self) -> "Database":
        await self._pool.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """One transaction: committed at the end of the block, rolled back by any exception."""
        try:
            async with self._pool.connection() as connection, connection.transaction():
                yield connection
        except psycopg.DatabaseError as error:
            _note_refusal(error)
            raise

    async def run(self, work: Callable[[Transaction], Awaitable[Result]], *, patience_seconds: float = 0.0) -> Result:
        """Run `work` in one transaction, again after a conflict, and again until the database is back.

        `patience_seconds` bounds the second kind of waiting. An answer to COMMIT can be lost, so `work` must be
        safe to repeat: guarded by a lease number or a unique key.
        """
        loop = asyncio.get_running_loop()
        gives_up_at = loop.time() + patience_seconds
        conflicts = 0
        pause = 0.05
        while True:
            try:
                async with _limit(TRY_SECONDS), self.transaction() as tx:
                    return await work(tx)
            except (DeadlockDetected, SerializationFailure):
                conflicts += 1
                if conflicts > CONFLICT_RETRIES:
                    raise
                await asyncio.sleep(random.uniform(0.01, 0.05) * conflicts)  # noqa: S311 (jitter, no secret)
            except Away:
                if loop.time() + pause > gives_up_at:
                    raise
                await asyncio.sleep(pause)
                pause = min(LONGEST_AWAY_PAUSE_SECONDS, pause * 2)

    async def listen(self, *channels: str) -> AsyncIterator[str]:
        """Yield a channel's name whenever it is notified, for ever, reconnecting by itself.

        Also yields every channel after each (re)connection, since notifications may have been missed.
        """
        pause = 0.1
        while True:
            try:
                async with await AsyncConnection.connect(self._conninfo, autocommit=True) as connection:
                    for channel in channels:
                        await connection.execute(f"listen {channel}".encode())
                    for channel in channels:
                        yield channel
                    pause = 0.1
                    async for notification in connection.notifies():
                        yield notification.channel
            except Away:
                await asyncio.sleep(pause)
                pause = min(LONGEST_AWAY_PAUSE_SECONDS, pause * 2)
