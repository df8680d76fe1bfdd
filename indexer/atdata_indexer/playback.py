"""A recording played back on loopback: a relay, and the identities of its accounts.

For `demo`, tests and benchmarks. Serves `com.atproto.sync.subscribeRepos` from the recording
(inclusive cursor; the connection stays open at the end, or closes when asked to), the accounts'
DID documents as a PLC directory would, and `com.atproto.identity.resolveHandle`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import libipld
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from atdata_indexer.frames import Decoder, event_micros
from atdata_indexer.ingest import wall_clock
from atdata_indexer.repo import cid_text, read_roots
from atdata_indexer.sources.replay import read_recording

RECORDING = Path(str(files("atdata_indexer") / "recording" / "frames.bin.gz"))
IDENTITIES = Path(str(files("atdata_indexer") / "recording" / "identities.json"))


class Playback:
    """One recording on offer. Frames appended later are sent to whoever is connected."""

    def __init__(
        self, frames: Sequence[bytes], identities: Mapping[str, Any], *, close_at_end: bool = False
    ) -> None:
        decode = Decoder(frozenset()).decode
        self.frames = [(decode(frame)[0], frame) for frame in frames]
        self._newest_us = max((event_micros(frame) or 0 for frame in frames), default=0)
        self.identities = dict(identities)
        self.repos: dict[str, bytes] = {}
        """The CAR of each repo that `com.atproto.sync.getRepo` answers with."""
        self.asked: list[str] = []
        """The methods that were asked for over HTTP, in order."""
        self.connections = 0
        self._close_at_end = close_at_end
        self._more = asyncio.Event()

    def clock(self) -> int:
        """Now, or the time of the newest frame where this machine's clock is behind it."""
        return max(wall_clock(), self._newest_us)

    @property
    def last_seq(self) -> int:
        """The sequence number of the newest frame."""
        return self.frames[-1][0] if self.frames else 0

    def append(self, frame: bytes) -> None:
        """Add a frame at the end of the stream."""
        self._append(Decoder(frozenset()).decode(frame)[0], frame)

    def insert(self, message: bytes) -> None:
        """Add what is no event: it comes wherever the stream is read from its last frame on."""
        self._append(self.last_seq, message)

    def _append(self, seq: int, message: bytes) -> None:
        self.frames.append((seq, message))
        self._more.set()
        self._more = asyncio.Event()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Serve on a free port of 127.0.0.1; gives `127.0.0.1:port`."""
        async with serve(
            self._stream,
            "127.0.0.1",
            0,
            process_request=self._answer,
            compression=None,
            max_size=1024,
            ping_interval=None,
        ) as server:
            host, port = next(iter(server.sockets)).getsockname()[:2]
            yield f"{host}:{port}"

    async def _stream(self, connection: ServerConnection) -> None:
        self.connections += 1
        request = connection.request
        query = parse_qs(urlsplit(request.path if request else "").query)
        at = len(self.frames)
        if "cursor" in query:
            cursor = int(query["cursor"][0])
            at = next((i for i, (seq, _) in enumerate(self.frames) if seq >= cursor), at)
        while True:
            while at < len(self.frames):
                await connection.send(self.frames[at][1])
                at += 1
            if self._close_at_end:
                return
            more = asyncio.create_task(self._more.wait())
            closed = asyncio.create_task(connection.wait_closed())
            await asyncio.wait({more, closed}, return_when=asyncio.FIRST_COMPLETED)
            more.cancel()
            if closed.done():
                return
            closed.cancel()

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer plain HTTP; None lets a websocket handshake go on."""
        url = urlsplit(request.path)
        if url.path == "/xrpc/com.atproto.sync.subscribeRepos":
            return None
        self.asked.append(url.path.removeprefix("/xrpc/"))
        if url.path == "/xrpc/com.atproto.sync.getRepo":
            car = self.repos.get(parse_qs(url.query).get("did", [""])[0])
            if car is None:
                return _json({"error": "RepoNotFound"}, HTTPStatus.BAD_REQUEST)
            return _response(car, "application/vnd.ipld.car", HTTPStatus.OK)
        if url.path == "/xrpc/com.atproto.sync.getLatestCommit":
            car = self.repos.get(parse_qs(url.query).get("did", [""])[0])
            if car is None:
                return _json({"error": "RepoNotFound"}, HTTPStatus.BAD_REQUEST)
            root, blocks = read_roots(car)
            rev = libipld.decode_dag_cbor(blocks[root])["rev"]
            return _json({"cid": cid_text(root), "rev": rev})
        if url.path == "/xrpc/com.atproto.sync.listReposByCollection":
            return _json({"repos": [{"did": did} for did in self.repos]})
        if url.path == "/xrpc/com.atproto.identity.resolveHandle":
            handle = parse_qs(url.query).get("handle", [""])[0]
            for did, identity in self.identities.items():
                if identity["handle"] == handle:
                    return _json({"did": did})
            return _json({"error": "InvalidRequest"}, HTTPStatus.BAD_REQUEST)
        identity = self.identities.get(unquote(url.path.removeprefix("/")))
        if identity is None:
            return _json({"message": "DID not registered"}, HTTPStatus.NOT_FOUND)
        return _json(identity["didDoc"])


def recorded() -> Playback:
    """The recording that ships with this package."""
    identities = json.loads(IDENTITIES.read_text("utf-8"))
    return Playback(list(read_recording(RECORDING)), identities)


def _json(value: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return _response(json.dumps(value).encode(), "application/json", status)


def _response(body: bytes, media_type: str, status: HTTPStatus) -> Response:
    headers = Headers(
        {
            "Content-Type": media_type,
            "Content-Length": str(len(body)),
            "Connection": "close",
        }
    )
    return Response(status.value, status.phrase, headers, body)
