"""Every answer begins in time, or is given up: the one rule for queries, pages, feeds and files.

How long an answer then takes to be sent is its reader's affair (`protocol.SEND_S`).
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from atdata_api.errors import XrpcError
from atdata_api.xrpc import failure

ANSWER_S = 30.0
"""How long an answer may take, the wait for its turn included."""
RETRY_S = 10


class Timely:
    """An application that is not waited for any longer than `limit_s`; ANSWER_S by default."""

    def __init__(self, app: ASGIApp, limit_s: float | None = None) -> None:
        self._app = app
        self._limit_s = limit_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or say that there is no answer now."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        waited = asyncio.timeout(ANSWER_S if self._limit_s is None else self._limit_s)
        begun = False

        async def begin(message: Message) -> None:
            nonlocal begun
            if not begun:
                begun = True
                waited.reschedule(None)
            await send(message)

        try:
            async with waited:
                await self._app(scope, receive, begin)
        except TimeoutError:
            if begun:  # somebody else's
                raise
            late = failure(
                XrpcError(503, "Overloaded", "no answer in time; ask again later", RETRY_S)
            )
            if scope["type"] == "websocket":
                await WebSocket(scope, receive, send).send_denial_response(late)
            else:
                await late(scope, receive, send)
