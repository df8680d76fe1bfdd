"""The stream's own faults: each is survived, or stops the program loudly, and loses nothing."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import libipld
import pytest
from websockets.asyncio.server import ServerConnection, serve

from atdata_indexer.daemon import Indexer
from atdata_indexer.errors import FutureCursor
from atdata_indexer.frames import Decoder
from atdata_indexer.playback import IDENTITIES, RECORDING, Playback
from atdata_indexer.sources.relay import RelaySource
from atdata_indexer.sources.replay import read_recording
from tests.appview import PATIENCE_S, settings
from tests.contents import stored

FRAMES = list(read_recording(RECORDING))
SEQS = [Decoder(frozenset()).decode(frame)[0] for frame in FRAMES]
TRUTH = json.loads(
    (Path(__file__).parent / "fixtures" / "protocol" / "frames-truth.json").read_text("utf-8")
)

type Serve = Callable[[ServerConnection, int, Sequence[bytes]], Awaitable[None]]


class Relay:
    """A relay with a fault: `play` is given each connection, its number and what it asked for."""

    def __init__(self, play: Serve) -> None:
        self._play = play
        self.connections = 0
        self.cursors: list[int] = []

    async def _connected(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        cursor = int(connection.request.path.rpartition("cursor=")[2])
        self.cursors.append(cursor)
        self.connections += 1
        rest = [frame for seq, frame in zip(SEQS, FRAMES, strict=True) if seq >= cursor]
        await self._play(connection, self.connections, rest)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        async with serve(self._connected, "127.0.0.1", 0, compression=None) as server:
            yield f"127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


@asynccontextmanager
async def followed(relay: Relay, folder: Path) -> AsyncIterator[tuple[Indexer, Any]]:
    """An indexer that follows `relay`, with identities from the recording."""
    identities = Playback([], json.loads(IDENTITIES.read_text("utf-8")))
    async with (
        relay.serve() as host,
        identities.serve() as directory,
        Indexer.open(
            settings(
                folder,
                host,
                plc_url=f"http://{directory}",
                handle_resolver=f"http://{directory}",
            ),
            pause=lambda failures: 0.0,
            clock=Playback(FRAMES, {}).clock,
        ) as indexer,
    ):
        running = asyncio.create_task(indexer.run())
        try:
            yield indexer, running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def current(indexer: Indexer, running: "asyncio.Task[None]") -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not indexer.is_current(SEQS[-1]):
            if running.done():
                await running
            await asyncio.sleep(0.005)


async def healthy(connection: ServerConnection, number: int, frames: Sequence[bytes]) -> None:
    for frame in frames:
        await connection.send(frame)
    await connection.wait_closed()


@pytest.fixture(scope="module")
async def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    async with followed(Relay(healthy), tmp_path_factory.mktemp("whole")) as (indexer, running):
        await current(indexer, running)
        return stored(indexer.store)


async def ends_whole(relay: Relay, folder: Path, whole: dict[str, Any]) -> Indexer:
    async with followed(relay, folder) as (indexer, running):
        await current(indexer, running)
        assert stored(indexer.store) == whole
        return indexer


async def test_disconnects_after_every_few_frames_lose_nothing(
    tmp_path: Path, whole: dict[str, Any]
) -> None:
    async def cut(connection: ServerConnection, number: int, frames: Sequence[bytes]) -> None:
        for frame in frames[: 1 + number % 23]:
            await connection.send(frame)
        if len(frames) <= 1 + number % 23:
            await connection.wait_closed()
        elif number % 2:
            connection.transport.abort()

    relay = Relay(cut)
    await ends_whole(relay, tmp_path, whole)
    assert relay.connections > 30
    assert relay.cursors == sorted(relay.cursors)


async def test_a_frame_that_is_not_cbor_drops_the_connection_and_is_read_again(
    tmp_path: Path, whole: dict[str, Any]
) -> None:
    async def garble(connection: ServerConnection, number: int, frames: Sequence[bytes]) -> None:
        if number <= 3:
            for frame in frames[:50]:
                await connection.send(frame)
            await connection.send("text" if number == 1 else b"\xff\xff garbage")
            await connection.wait_closed()
        await healthy(connection, number, frames)

    relay = Relay(garble)
    indexer = await ends_whole(relay, tmp_path, whole)
    assert indexer.counts["disconnects"] == 3
    assert relay.cursors[1] == SEQS[49]


async def test_fragmented_messages_are_put_together(tmp_path: Path, whole: dict[str, Any]) -> None:
    async def fragment(connection: ServerConnection, number: int, frames: Sequence[bytes]) -> None:
        for frame in frames:
            third = len(frame) // 3
            await connection.send([frame[:third], frame[third : 2 * third], frame[2 * third :]])
        await connection.wait_closed()

    await ends_whole(Relay(fragment), tmp_path, whole)


async def test_a_consumer_that_was_too_slow_goes_on_from_its_cursor(
    tmp_path: Path, whole: dict[str, Any]
) -> None:
    error = libipld.encode_dag_cbor({"op": -1}) + libipld.encode_dag_cbor(
        {"error": "ConsumerTooSlow", "message": "too slow"}
    )

    async def slow(connection: ServerConnection, number: int, frames: Sequence[bytes]) -> None:
        for frame in frames[:200]:
            await connection.send(frame)
        if len(frames) > 200:
            await connection.send(error)
        await connection.wait_closed()

    indexer = await ends_whole(Relay(slow), tmp_path, whole)
    assert indexer.counts["disconnects"] >= 3


async def test_unknown_messages_and_an_outdated_cursor_notice_are_passed_over(
    tmp_path: Path, whole: dict[str, Any]
) -> None:
    strange = [
        libipld.encode_dag_cbor({"op": 1, "t": "#labels"}) + libipld.encode_dag_cbor({"seq": 1}),
        libipld.encode_dag_cbor({"op": 7}) + libipld.encode_dag_cbor({}),
        bytes.fromhex(TRUTH["outdatedCursorInfoFrameHex"]),
    ]

    async def chatty(connection: ServerConnection, number: int, frames: Sequence[bytes]) -> None:
        for frame in strange:
            await connection.send(frame)
        await healthy(connection, number, frames)

    indexer = await ends_whole(Relay(chatty), tmp_path, whole)
    assert indexer.counts["disconnects"] == 0


async def test_a_cursor_from_the_future_stops_the_program_loudly(tmp_path: Path) -> None:
    async def refuse(connection: ServerConnection, number: int, frames: Sequence[bytes]) -> None:
        await connection.send(bytes.fromhex(TRUTH["futureCursorFrameHex"]))
        await connection.wait_closed()

    relay = Relay(refuse)
    async with followed(relay, tmp_path) as (_, running):
        with pytest.raises(ExceptionGroup) as stopped:
            async with asyncio.timeout(PATIENCE_S):
                await running
    assert stopped.group_contains(FutureCursor)
    assert relay.connections == 1


async def test_what_waits_unread_is_bounded_while_the_reader_is_busy() -> None:
    frame = max(FRAMES, key=len)
    sent = 0

    async def flood(connection: ServerConnection, number: int, frames: Sequence[bytes]) -> None:
        nonlocal sent
        for _ in range(2000):
            await connection.send(frame)
            sent += len(frame)

    limit = 1 << 20
    async with Relay(flood).serve() as host:
        source = RelaySource(f"ws://{host}", buffer_bytes=limit)
        chunks = source.frames(0)
        await anext(chunks)
        stuck = -1
        while sent != stuck:  # the server is held back once every buffer between us is full
            stuck = sent
            for _ in range(200):
                await asyncio.sleep(0)
            await asyncio.sleep(0.05)
        chunk = await anext(chunks)
        assert limit < sum(map(len, chunk)) < limit + 2 * len(frame) + (1 << 18)
        total = sum(map(len, chunk))
        async for chunk in chunks:
            total += sum(map(len, chunk))
    assert total == sent == 2000 * len(frame)
