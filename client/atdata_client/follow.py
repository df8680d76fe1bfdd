"""Following the index: every change to it, once and in order, across lost connections.

A stream keeps its cursor and connects again by itself, behind the last change it has given. Keep
`cursor` with what was made of a change, and begin there the next time.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Self

from atdata_client._index.changes import Change, Position, Start
from atdata_client._index.requests import query_pairs
from atdata_client._net.http import retry_after, user_agent

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection as AsyncConnection
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import ClientConnection

MAX_MESSAGE_BYTES = 16 << 20
CLOSING_SECONDS = 0.2
"""How long a close may take: what answers it comes behind all messages that were not taken."""


class _Stream:
    """What both kinds of stream are but for who waits."""

    def __init__(self, start: Start) -> None:
        self._address = f"{start.service.replace('http', 'ws', 1)}/xrpc/{start.nsid}"
        self._filters = start.filters
        self._position = Position(start.service, start.cursor, start.to_error)
        self._timeout = start.timeout

    @property
    def cursor(self) -> str | None:
        """Behind the last change that was given; None before the first connection stood."""
        return self._position.cursor

    @property
    def _target(self) -> str:
        from urllib.parse import urlencode

        pairs = query_pairs({**self._filters, **self._position.params})
        return f"{self._address}?{urlencode(pairs)}"

    def _denied(self, error: InvalidStatus) -> float:
        answer = error.response
        wait = retry_after(answer.headers.get("Retry-After"))
        return self._position.denied(answer.status_code, bytes(answer.body or b""), wait)


class ChangeStream(_Stream):
    """The changes, as an iterator that does not end. Close it, or use it as a context manager."""

    def __init__(self, start: Start) -> None:
        super().__init__(start)
        self._connection: ClientConnection | None = None
        self._open = ExitStack()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

        while True:
            try:
                change = self._position.take(self._connected().recv())
            except InvalidStatus as error:
                time.sleep(self._denied(error))
            except (ConnectionClosed, InvalidHandshake, OSError):  # TimeoutError is one
                self.close()
                time.sleep(self._position.pause())
            else:
                if change is not None:
                    return change

    def close(self) -> None:
        """Close the connection; asking for the next change opens another."""
        self._connection = None
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _connected(self) -> ClientConnection:
        if self._connection is None:
            from websockets.sync.client import connect

            connecting = connect(
                self._target,
                open_timeout=self._timeout,
                close_timeout=CLOSING_SECONDS,
                max_size=MAX_MESSAGE_BYTES,
                user_agent_header=user_agent(),
            )
            self._connection = self._open.enter_context(connecting)
        return self._connection


class AsyncChangeStream(_Stream):
    """What `ChangeStream` is, for programs on asyncio."""

    def __init__(self, start: Start) -> None:
        super().__init__(start)
        self._connection: AsyncConnection | None = None
        self._open = AsyncExitStack()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        from asyncio import sleep

        from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

        while True:
            try:
                connection = await self._connected()
                change = self._position.take(await connection.recv())
            except InvalidStatus as error:
                await sleep(self._denied(error))
            except (ConnectionClosed, InvalidHandshake, OSError):
                await self.close()
                await sleep(self._position.pause())
            else:
                if change is not None:
                    return change

    async def close(self) -> None:
        """Close the connection; asking for the next change opens another."""
        self._connection = None
        await self._open.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def _connected(self) -> AsyncConnection:
        if self._connection is None:
            from websockets.asyncio.client import connect

            connecting = connect(
                self._target,
                open_timeout=self._timeout,
                close_timeout=CLOSING_SECONDS,
                max_size=MAX_MESSAGE_BYTES,
                user_agent_header=user_agent(),
            )
            self._connection = await self._open.enter_async_context(connecting)
        return self._connection
