"""A line between the program and PostgreSQL that is cut at a COMMIT: before the server hears it, or before we hear that
it was done. What travels is passed on unread but for the words of each transaction.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from psycopg.conninfo import conninfo_to_dict, make_conninfo

Cut = Literal["before", "after"]
Decide = Callable[[str], Cut | None]
"""Asked at each COMMIT, with the statements of the transaction: where to cut, if at all."""


class Line:
    """Use it with `async with`; `dsn` leads through it. While it is `down` nobody gets through."""

    def __init__(self, dsn: str, decide: Decide = lambda _words: None) -> None:
        self._server = conninfo_to_dict(dsn)
        self._plain_dsn = dsn
        self.decide = decide
        self._open: set[asyncio.StreamWriter] = set()
        self._lines: set[asyncio.Task[None]] = set()
        self.down = False

    async def __aenter__(self) -> "Line":
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._listener.sockets[0].getsockname()[1]
        self.dsn = make_conninfo(self._plain_dsn, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        self.cut_all()
        if self._lines:
            await asyncio.wait(self._lines)

    def cut_all(self) -> None:
        """Cut everybody off."""
        for writer in self._open:
            writer.close()

    async def _accept(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        line = asyncio.current_task()
        if line is not None:
            self._lines.add(line)
            line.add_done_callback(self._lines.discard)
        if self.down:
            to_client.close()
            return
        server, to_server = await asyncio.open_connection(str(self._server["host"]), int(str(self._server["port"])))
        ends = {to_client, to_server}
        self._open |= ends
        muted = asyncio.Event()
        back = asyncio.create_task(_pass_back(server, to_client, muted))
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._pass_on(client, to_server, muted, back)
        for end in ends:
            end.close()
        await asyncio.wait([back])
        self._open -= ends

    async def _pass_on(
        self,
        client: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
        muted: asyncio.Event,
        back: "asyncio.Task[None]",
    ) -> None:
        length = await client.readexactly(4)
        to_server.write(length + await client.readexactly(int.from_bytes(length) - 4))
        words: list[str] = []
        while True:
            head = await client.readexactly(5)
            body = await client.readexactly(int.from_bytes(head[1:]) - 4)
            statement = _statement(head[:1], body)
            if statement.startswith("BEGIN"):
                words = []
            elif statement == "COMMIT":
                cut = self.decide("; ".join(words))
                if cut == "before":
                    return
                if cut == "after":
                    muted.set()
                    to_server.write(head + body)
                    await asyncio.wait([back])
                    return
            elif statement:
                words.append(statement)
            to_server.write(head + body)
            await to_server.drain()


async def _pass_back(server: asyncio.StreamReader, to_client: asyncio.StreamWriter, muted: asyncio.Event) -> None:
    with suppress(ConnectionError):
        while chunk := await server.read(65536):
            if muted.is_set():
                return
            to_client.write(chunk)
            await to_client.drain()


def _statement(kind: bytes, body: bytes) -> str:
    """The words of a Query or Parse message; nothing for any other."""
    match kind:
        case b"Q":
            text = body.rstrip(b"\0")
        case b"P":
            text = body.split(b"\0")[1]
        case _:
            return ""
    return " ".join(text.decode().split())


def once_each(cut: Cut, done: list[str]) -> Decide:
    """Cut every kind of transaction the first time it comes; `done` lists them."""

    def decide(words: str) -> Cut | None:
        if words in done:
            return None
        done.append(words)
        return cut

    return decide
