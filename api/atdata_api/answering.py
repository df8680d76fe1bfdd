"""Answers are made in threads: what is asked of one request holds up no other.

A thread is busy until its work has ended, also when nobody waits for it any more. So what takes
too long is never more than there are threads, and the rest waits for its turn.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from fastapi import FastAPI, Request, Response
from starlette.routing import Match, Route
from starlette.types import Scope

THREADS = 40


class _Route(Route):
    """A route without what FastAPI does for parameters, which a lexicon checks: a sixth less time.

    It is named in the scope as FastAPI's own are, for the metrics.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        if match != Match.NONE:
            found["route"] = self
        return match, found


class Answering:
    """The threads of an application, and its routes that are answered in them."""

    def __init__(self, app: FastAPI, threads: int = THREADS) -> None:
        self._app = app
        self._threads = ThreadPoolExecutor(threads, "answer")

    def add(self, path: str, answer: Callable[[Request], Response], name: str) -> None:
        """Answer GET and HEAD of `path`, under this name in the metrics."""

        async def endpoint(request: Request) -> Response:
            return await self.do(answer, request)

        self._app.router.routes.append(_Route(path, endpoint, methods=["GET"], name=name))

    async def do[*Args, R](self, work: Callable[[*Args], R], *args: *Args) -> R:
        """Do this in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
