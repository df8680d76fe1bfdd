"""subscribeChanges: everything that happens to the index, over a websocket.

    changes kept by the indexer ──batches──▶ filters ──▶ JSON text frames ──▶ one follower

A cursor is an outbox seq of an epoch. A follower that takes nothing for too long is closed, not
waited for: what it has missed is kept, and it resumes with its cursor.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from atdata_api.changes_source import ChangesSource
from atdata_api.ledger import Ledger
from atdata_api.limits import caller_of
from atdata_api.xrpc import NS, json_response
from atdata_indexer.changes_feed import SHOWING, Entry
from atdata_indexer.errors import IndexerUnavailable, StoreError
from atdata_indexer.index.fields import fold
from atdata_indexer.index.query import Search
from atdata_indexer.index.reader import Reader
from atdata_schemas.errors import ValidationError
from atdata_schemas.lexicon import lexicons

NSID = f"{NS}.subscribeChanges"
FOLLOWERS = 500
"""How many may follow at once, in each process."""
FOLLOWERS_EACH = 20
"""How many of them from one address, as `caller_of` tells them apart."""
PATIENCE_S = 20.0
"""How long a follower may take nothing."""
INFO_EVERY = 1000
"""After so many changes that filters left out a follower is told where the stream is."""

CLOSE = {
    "ConsumerTooSlow": 4000,
    "FutureCursor": 4001,
    "OutdatedCursor": 4002,
    "EpochChanged": 4003,
    "Unavailable": 1013,
}
"""Why the server ends a stream, and by which code (https://datatracker.ietf.org/doc/html/rfc6455,
section 7.4.2: those from 4000 on are a service's own)."""


class Refused(Exception):
    """The stream cannot go on; `error` is one of CLOSE."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.error = error


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which changes a follower wants; an empty filter lets all pass."""

    collections: Set[str] = frozenset()
    authors: Set[str] = frozenset()
    tags: Set[str] = frozenset()

    def told(self, entry: Entry) -> Entry | None:
        """What is told of a change. What takes something away is told whatever its tags were."""
        if self.authors and entry.did not in self.authors:
            return None
        parts = entry.uri.split("/")
        if self.collections and len(parts) > 3 and parts[3] not in self.collections:
            return None
        if not self.tags or entry.op not in SHOWING or not self.tags.isdisjoint(entry.tags):
            return entry
        if entry.op != "update" or entry.view is None:
            return None
        return Entry(entry.seq, entry.op, entry.uri, entry.did, entry.cid, entry.rev)


class Changes:
    """Serves the stream to any number of followers, up to `followers` at once."""

    def __init__(
        self,
        reader: Reader,
        ledger: Ledger,
        *,
        followers: int = FOLLOWERS,
        followers_each: int = FOLLOWERS_EACH,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._reader = reader
        self._source = ChangesSource(reader, ledger)
        self._room = followers
        self._room_each = followers_each
        self._following: Counter[str] = Counter()
        self._patience_s = patience_s

    def add_to(self, app: FastAPI, names: Sequence[str]) -> None:
        """Serve the stream under each of these names."""
        for name in names:
            path = f"/xrpc/{name}"
            app.router.routes.append(WebSocketRoute(path, self._endpoint, name=NSID))
            app.router.routes.append(Route(path, _upgrade, methods=["GET"], name=NSID))

    async def _endpoint(self, socket: WebSocket) -> None:
        try:
            params = lexicons().parse_params(NSID, socket.query_params.multi_items())
            wanted = await run_in_threadpool(self._wanted, params)
        except ValidationError as error:
            await socket.send_denial_response(_error(400, "InvalidRequest", str(error)))
            return
        except StoreError as error:
            structlog.get_logger().error("index_unusable", error=str(error), path=socket.url.path)
            unusable = _error(503, "IndexUnavailable", "the index cannot be read now")
            await socket.send_denial_response(unusable)
            return
        with self._place(socket) as has_room:
            if has_room:
                await self._serve(socket, wanted, params)
                return
        many = _error(503, "TooManyFollowers", "no more can follow at once; try again later")
        many.headers["Retry-After"] = "30"
        await socket.send_denial_response(many)

    @contextmanager
    def _place(self, socket: WebSocket) -> Iterator[bool]:
        """Hold one of the places, and one of those of its address; False where there is none.

        This machine's own have no address to be counted by: see `caller_of`.
        """
        caller = None if socket.client is None else caller_of(socket.client.host)
        full = caller is not None and self._following[caller] >= self._room_each
        if self._room < 1 or full:
            yield False
            return
        self._room -= 1
        if caller is not None:
            self._following[caller] += 1
        try:
            yield True
        finally:
            self._room += 1
            if caller is not None:
                self._following[caller] -= 1
                self._following += Counter()  # those of nobody go

    def _wanted(self, params: Mapping[str, Any]) -> Wanted:
        authors = {did for one in params.get("authors", ()) for did in self._dids(one)}
        tags = {fold(tag) for tag in params.get("tags", ())}
        return Wanted(frozenset(params.get("collections", ())), authors, tags)

    def _dids(self, author: str) -> Iterator[str]:
        if author.startswith("did:"):
            yield author
            return
        for kind in ("dataset", "schema", "lens"):
            found = self._reader.search(Search(kind, author=author), sort="newest", limit=1)
            if found.views:
                yield json.loads(found.views[0])["author"]["did"]
                return
        raise ValidationError("authors", "unknown", f"{author} has nothing in the index; use a DID")

    async def _serve(self, socket: WebSocket, wanted: Wanted, params: Mapping[str, Any]) -> None:
        await socket.accept()
        follower = _Follower(socket, self._source, wanted, self._patience_s)
        following = asyncio.create_task(follower.follow(params.get("cursor"), params.get("epoch")))
        leaving = asyncio.create_task(_left(socket))
        try:
            await asyncio.wait([following, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (following, leaving):
                task.cancel()
            with suppress(asyncio.CancelledError, WebSocketDisconnect):
                await following


class _Follower:
    """One connection and where it has come to."""

    def __init__(
        self, socket: WebSocket, source: ChangesSource, wanted: Wanted, patience_s: float
    ) -> None:
        self._socket = socket
        self._source = source
        self._wanted = wanted
        self._patience_s = patience_s
        self._epoch = ""
        self._told = 0
        self._live = False

    async def follow(self, cursor: int | None, epoch: str | None) -> None:
        """Tell changes until the stream cannot go on."""
        try:
            await self._tell_all(cursor, epoch)
        except Refused as refused:
            structlog.get_logger().info("follower_refused", error=refused.error, told=self._told)
            if refused.error != "ConsumerTooSlow":  # which takes no more words
                body = {"error": refused.error, "message": str(refused)}
                await self._socket.send_text(json.dumps(body))
            await self._socket.close(CLOSE[refused.error], refused.error)

    async def _tell_all(self, cursor: int | None, epoch: str | None) -> None:
        try:
            at = await self._begin(cursor, epoch)
            while True:
                at = await self._tell_next(at)
        except (IndexerUnavailable, StoreError) as error:
            structlog.get_logger().warning("changes_unavailable", error=str(error))
            raise Refused("Unavailable", "the changes cannot be read now; resume later") from error

    async def _begin(self, cursor: int | None, epoch: str | None) -> int:
        span = await self._source.span()
        self._epoch = span.epoch
        at = self._source.seq if cursor is None else cursor
        if epoch not in {None, span.epoch}:
            raise Refused("EpochChanged", f"the epoch is {span.epoch}: the index was restored")
        if at > span.head:
            raise Refused("FutureCursor", f"the cursor is ahead of the index, at {span.head}")
        if at < span.before:
            raise Refused("OutdatedCursor", f"changes up to {span.before} are no longer kept")
        self._told = at
        self._live = at >= self._source.seq
        await self._info(at)
        return at

    async def _tell_next(self, at: int) -> int:
        batch = await self._source.behind(at)
        if batch.epoch != self._epoch:
            raise Refused("EpochChanged", f"the epoch is {batch.epoch}: the index was restored")
        if batch.outdated:
            raise Refused("OutdatedCursor", f"what follows {at} is no longer kept")
        for entry in batch.entries:
            told = self._wanted.told(entry)
            if told is not None:
                await self._send(_message(told))
                self._told = told.seq
        caught_up = not self._live and batch.until >= self._source.seq
        self._live |= caught_up
        if batch.until - self._told >= (1 if caught_up else INFO_EVERY):
            await self._info(batch.until)
            self._told = batch.until
        return batch.until

    async def _info(self, seq: int) -> None:
        await self._send(json.dumps({"$type": f"{NSID}#info", "epoch": self._epoch, "seq": seq}))

    async def _send(self, text: str) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                await self._socket.send_text(text)
        except TimeoutError as error:
            raise Refused("ConsumerTooSlow", "no message was taken for too long") from error


def _message(entry: Entry) -> str:
    head = {
        "$type": f"{NSID}#change",
        "seq": entry.seq,
        "op": entry.op,
        "uri": entry.uri,
        "did": entry.did,
        "cid": entry.cid,
        "rev": entry.rev,
    }
    text = json.dumps({name: value for name, value in head.items() if value is not None})
    return text if entry.view is None else f'{text[:-1]}, "view": {entry.view}}}'


async def _left(socket: WebSocket) -> None:
    """Wait until the follower leaves, or the server must; what it says is not listened to."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def _upgrade(request: Request) -> Response:
    response = _error(426, "UpgradeRequired", "this is a stream: connect by websocket")
    response.headers["Upgrade"] = "websocket"
    return response


def _error(status: int, error: str, message: str) -> Response:
    return json_response(json.dumps({"error": error, "message": message}), status)
