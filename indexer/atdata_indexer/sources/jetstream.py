"""Jetstream servers of both versions (https://github.com/bluesky-social/jetstream).

The collections are filtered by the server; account and identity events of everybody come along.
Cursors are inclusive, so the newest event comes again. A server keeps some hours only: where it
begins later than was asked a NOTICE stands before its first event, because version 1 says nothing
and version 2 refuses.

Messages may be compressed, each by itself, with a dictionary: version 1 has one for good, which the
operator must provide; version 2 hands out its own. What is too long, packed or unpacked, comes as
its first bytes behind OVERSIZE, as from a relay.
"""

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import (
    AsyncGenerator,
    Callable,
    Collection,
    Container,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from functools import partial
from typing import ClassVar
from urllib.parse import urlencode

import httpx
import structlog
import zstandard
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from atdata_indexer.frames import Decode
from atdata_indexer.jetstream import NOTICE, JetstreamDecoder, Version, position_of, seen_us
from atdata_indexer.sources.connection import OVERSIZE, OVERSIZE_KEPT, Connection
from atdata_schemas.records import COLLECTIONS

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""A record of 1 MB may take six times that as JSON, when every character must be escaped."""
LOOKBACK_US = 36 * 3_600_000_000
"""How far back version 1 can go."""
SLACK_US = 60_000_000
"""How late the first event may be otherwise: on the network something happens at every moment."""
OLDEST = 10**15
"""A cursor that version 2 takes for a time, and which is older than all that it keeps."""
MAX_DICTIONARY_BYTES = 1 << 20
_PATH = "/xrpc/network.bsky.jetstream.subscribeEvents"
_DICTIONARY_PATH = "/xrpc/network.bsky.jetstream.getZstdDictionary"
_PACKED = b"\x28\xb5\x2f\xfd"  # how a zstd frame begins (RFC 8878, section 3.1.1)
_CHUNK_BYTES = 1 << 20

type Query = Mapping[str, str | int | Sequence[str]]


class _Jetstream(ABC):
    """One server, by the address of its host: `wss://jetstream2.us-east.bsky.network`.

    `buffer_bytes` bounds what waits unread, give or take one message.
    """

    version: ClassVar[Version]

    def __init__(
        self, url: str, *, user_agent: str, buffer_bytes: int, collections: Collection[str]
    ) -> None:
        self._url = url.rstrip("/")
        self._collections = collections
        self._headers = {"User-Agent": user_agent}
        self._buffer_bytes = buffer_bytes
        self._unpacker: zstandard.ZstdDecompressor | None = None

    @property
    def name(self) -> str:
        """The address behind the version, whose cursors the other does not understand."""
        return f"jetstream-v{self.version}:{self._url}"

    @property
    def finite(self) -> bool:
        """Never: a server that closes is connected to again."""
        return False

    def decoder(self, tracked: Container[str]) -> Decode:
        """See `Source.decoder`."""
        return JetstreamDecoder(self.version, tracked, self.name, self._collections).decode

    def emitted_us(self, frame: bytes) -> int | None:
        """See `Source.emitted_us`."""
        return seen_us(self.version, frame)

    @abstractmethod
    def frames(self, cursor: int | None) -> AsyncGenerator[Sequence[bytes]]:
        """See `Source.frames`."""

    @property
    def _proxied(self) -> bool:
        return not self._url.startswith("ws://")

    async def _messages(self, path: str, query: Query) -> AsyncGenerator[Sequence[bytes]]:
        """All messages, unpacked, in chunks; the first is empty."""
        connection_of = partial(
            Connection, buffer_bytes=self._buffer_bytes, message_bytes=MAX_MESSAGE_BYTES
        )
        # websockets logs every header when debugging, and one of them may be a secret.
        quiet = logging.getLogger(f"{__name__}.connection")
        quiet.setLevel(logging.INFO)
        async with connect(
            f"{self._url}{path}?{urlencode(query, doseq=True)}",
            create_connection=connection_of,  # type: ignore[arg-type]  # typed as a class, documented as a factory
            additional_headers=self._headers,
            user_agent_header=None,
            compression=None,  # a server refuses those that ask for two kinds
            max_size=MAX_MESSAGE_BYTES,
            ping_interval=30,  # as for a relay: quiet is not dead, and we may be busy
            ping_timeout=300,
            proxy=True if self._proxied else None,
            logger=quiet,
        ) as connection:
            assert isinstance(connection, Connection)
            yield ()
            while messages := await connection.take():
                for chunk in self._unpacked(messages):
                    yield chunk

    def _unpacked(self, messages: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
        """The messages in chunks that stay small, however much they grow."""
        chunk: list[bytes] = []
        size = 0
        for message in messages:
            if self._unpacker is not None and message.startswith(_PACKED):
                message = _unpack(self._unpacker, message)
            chunk.append(message)
            size += len(message)
            if size > _CHUNK_BYTES:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk


class JetstreamV1(_Jetstream):
    """A server of version 1. `dictionary` is what it compresses with; None: it shall not."""

    version = 1

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], int],
        dictionary: bytes | None = None,
        user_agent: str = "atdata-appview",
        buffer_bytes: int = 16 << 20,
        collections: Collection[str] = COLLECTIONS,
    ) -> None:
        super().__init__(
            url, user_agent=user_agent, buffer_bytes=buffer_bytes, collections=collections
        )
        self._clock = clock
        if dictionary is not None:
            self._unpacker = _unpacker(zstandard.ZstdCompressionDict(dictionary))

    async def frames(self, cursor: int | None) -> AsyncGenerator[Sequence[bytes]]:
        """See `Source.frames`."""
        wanted = list(self._collections)
        query: dict[str, str | int | Sequence[str]] = {"wantedCollections": wanted}
        if cursor is not None:
            query["cursor"] = cursor
        if self._unpacker is not None:
            query["compress"] = "true"
        asked = cursor
        async with aclosing(self._messages("/subscribe", query)) as chunks:
            async for chunk in chunks:
                positions = (position_of(1, message) for message in chunk)
                first = None if asked is None else next((p for p in positions if p), None)
                if asked is not None and first is not None:
                    if self._is_late(asked, first):
                        yield [NOTICE]
                    asked = None
                yield chunk

    def _is_late(self, asked: int, first: int) -> bool:
        """Whether the server cannot have begun where it was asked to."""
        late_us = 1 if self._clock() - asked >= LOOKBACK_US else SLACK_US
        return not asked <= first <= asked + late_us


class JetstreamV2(_Jetstream):
    """A server of version 2. `token` is sent to it and never logged."""

    version = 2

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        user_agent: str = "atdata-appview",
        buffer_bytes: int = 16 << 20,
        collections: Collection[str] = COLLECTIONS,
    ) -> None:
        super().__init__(
            url, user_agent=user_agent, buffer_bytes=buffer_bytes, collections=collections
        )
        self._dictionary_id: int | None = None
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._log = structlog.get_logger().bind(source=self.name)

    async def frames(self, cursor: int | None) -> AsyncGenerator[Sequence[bytes]]:
        """See `Source.frames`."""
        await self._learn()
        begins = [cursor] if cursor is None else [cursor, OLDEST, None]
        while True:
            query: dict[str, str | int | Sequence[str]] = {"collections": list(self._collections)}
            if begins[0] is not None:
                query["cursor"] = begins[0]
            if self._dictionary_id is not None:
                query["zstdDictionary"] = self._dictionary_id
            try:
                async with aclosing(self._messages(_PATH, query)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                        if not chunk and begins[0] != cursor:
                            yield [NOTICE]
                return
            except InvalidStatus as refused:
                match _error(refused.response.body):
                    case "CursorTooOld" if len(begins) > 1:
                        begins.pop(0)
                    case "UnknownZstdDictionary" if self._dictionary_id is not None:
                        self._dictionary_id = None  # not now; the next connection asks anew
                    case _:
                        raise

    async def _learn(self) -> None:
        """Ask for the dictionary; without one, messages come as they are."""
        if self._dictionary_id is not None:
            return
        address = self._url.replace("ws", "http", 1) + _DICTIONARY_PATH
        found = bytearray()
        try:
            async with (
                httpx.AsyncClient(
                    headers=self._headers, trust_env=self._proxied, timeout=10
                ) as client,
                client.stream("GET", address) as response,
            ):
                response.raise_for_status()
                async for part in response.aiter_bytes():
                    found += part
                    if len(found) > MAX_DICTIONARY_BYTES:
                        raise ValueError("it is too large")
            dictionary = zstandard.ZstdCompressionDict(bytes(found))
            if not dictionary.dict_id():
                raise ValueError("it is none")
            self._unpacker = _unpacker(dictionary)
            self._dictionary_id = dictionary.dict_id()
        except (httpx.HTTPError, httpx.InvalidURL, zstandard.ZstdError, ValueError) as error:
            self._log.info("no_dictionary", error=str(error).partition("\n")[0])


def _unpacker(dictionary: zstandard.ZstdCompressionDict) -> zstandard.ZstdDecompressor:
    return zstandard.ZstdDecompressor(dictionary, max_window_size=MAX_MESSAGE_BYTES)


def _unpack(unpacker: zstandard.ZstdDecompressor, message: bytes) -> bytes:
    """What was compressed; what is none, or would be too long, as its beginning."""
    try:
        if 0 <= zstandard.frame_content_size(message) <= MAX_MESSAGE_BYTES:
            return unpacker.decompress(message)
        with unpacker.stream_reader(message) as reader:
            unpacked = reader.read(MAX_MESSAGE_BYTES + 1)
    except zstandard.ZstdError:
        unpacked = None
    if unpacked is None or len(unpacked) > MAX_MESSAGE_BYTES:
        return OVERSIZE + message[:OVERSIZE_KEPT]
    return unpacked


def _error(body: bytes | bytearray | None) -> str | None:
    """The name of the error in an XRPC answer."""
    try:
        answer = json.loads(body or b"")
    except (ValueError, RecursionError):
        return None
    name = answer.get("error") if isinstance(answer, dict) else None
    return name if isinstance(name, str) else None
