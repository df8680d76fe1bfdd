"""However slow the disk and whatever comes, memory stays bounded and the stream goes on."""

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from websockets.asyncio.server import ServerConnection, serve

from atdata_indexer.admin_client import AdminClient
from atdata_indexer.frames import Decoder
from atdata_indexer.playback import Playback
from benchmarks.authors import identities
from benchmarks.repos import Write
from benchmarks.synthetic import Firehose
from tests.appview import AppViewProcess, wait_until
from tests.signed import Author, frame, path, record
from tests.slow_disk import SlowDisk

MB = 1 << 20
LARGE = 5 * MB - 4096
"""About as much as fits into the largest frame of the protocol."""
BUFFER_MB = 8
"""How much of the stream may wait in memory, here.

The bounds below are generous: what waits, one frame on its way, the heap of the index, and for
CBOR the 370 MB that 5 MB of empty lists decode to, once and not twice.
"""


class Relay:
    """A relay that says how much of its stream was taken; made by `relaying`.

    What is sent before anybody connects waits.
    """

    def __init__(self, portal: BlockingPortal, directory: Playback) -> None:
        self.directory = directory
        self.host = self.address = ""
        self.taken = 0
        self.connections = 0
        self._portal = portal
        self._frames: list[tuple[int, bytes]] = []
        self._seqs = itertools.count(1)
        self._more = asyncio.Event()

    def knows(self, *authors: Author) -> None:
        """The directory has these accounts."""
        for author in authors:
            self.directory.identities[author.did] = author.identity(self.host)

    def commit(self, body: Mapping[str, Any]) -> int:
        """Send a `#commit`; its seq."""
        seq = next(self._seqs)
        self._portal.call(self._send, seq, frame(dict(body) | {"seq": seq}))
        return seq

    def message(self, message: bytes) -> None:
        """Send anything. It comes again with whatever came before it."""
        self._portal.call(self._send, self._frames[-1][0], message)

    async def play(self, connection: ServerConnection) -> None:
        """Send what there is from the cursor on, and what is added."""
        self.connections += 1
        assert connection.request is not None
        cursor = int(connection.request.path.rpartition("cursor=")[2])
        at = next((n for n, (seq, _) in enumerate(self._frames) if seq >= cursor), 0)
        closed = asyncio.create_task(connection.wait_closed())
        while not closed.done():
            more = asyncio.create_task(self._more.wait())
            while at < len(self._frames):
                await connection.send(self._frames[at][1])
                self.taken += len(self._frames[at][1])
                at += 1
            await asyncio.wait({more, closed}, return_when=asyncio.FIRST_COMPLETED)
            more.cancel()

    async def _send(self, seq: int, message: bytes) -> None:
        self._frames.append((seq, message))
        self._more.set()
        self._more = asyncio.Event()


class LiveRelay(Relay):
    """Sends what `firehose` makes up, at a steady rate, to the one that connects first."""

    rate, seconds = 2000, 300
    took = 0.0
    """How many seconds it took, once all is sent."""
    last_seq = 0

    @cached_property
    def firehose(self) -> Firehose:
        """What is sent."""
        return Firehose()

    def has_sent(self, count: int) -> bool:
        return self.taken >= count

    async def play(self, connection: ServerConnection) -> None:
        self.connections += 1
        assert self.connections == 1
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for n, one in enumerate(self.firehose.frames(self.rate * self.seconds), 1):
            await connection.send(one.message)
            self.taken += 1
            await asyncio.sleep(max(0.0, begun + n / self.rate - loop.time()))
        self.last_seq = Decoder(frozenset()).decode(one.message)[0]
        self.took = loop.time() - begun
        await connection.wait_closed()


@asynccontextmanager
async def _served(relay: Relay) -> AsyncIterator[None]:
    relays = serve(relay.play, "127.0.0.1", 0, compression=None, max_size=1024, ping_interval=None)
    async with relay.directory.serve() as relay.host, relays as server:
        relay.address = f"127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        yield


@contextmanager
def relaying[R: Relay](kind: type[R]) -> Iterator[R]:
    """A relay and a directory of identities, served by a thread beside the test."""
    with start_blocking_portal() as portal:
        relay = kind(portal, Playback([], {}))
        with portal.wrap_async_context_manager(_served(relay)):
            yield relay


@pytest.fixture
def relay() -> Iterator[Relay]:
    with relaying(Relay) as relay:
        yield relay


@contextmanager
def running(relay: Relay, folder: Path, disk: SlowDisk) -> Iterator[AppViewProcess]:
    """The program, indexing what the relay sends."""
    with AppViewProcess(
        folder,
        relay.address,
        command=["index"],
        program=disk.program,
        plc_url=f"http://{relay.host}",
        handle_resolver=f"http://{relay.host}",
        buffer_mb=BUFFER_MB,
    ) as process:
        yield process


def resident(process: AppViewProcess, field: str = "VmRSS") -> int:
    """What a process has in memory now (or had at most: VmHWM), in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text("ascii")
    return int(status.partition(f"{field}:")[2].split()[0]) * 1024


class Memory:
    """How much more memory a process takes than when this was made: now, and at most."""

    def __init__(self, process: AppViewProcess) -> None:
        self._process = process
        Path(f"/proc/{process.pid}/clear_refs").write_text("5", "ascii")  # resets the peak
        self._begun = resident(process)

    @property
    def grown(self) -> int:
        return resident(self._process) - self._begun

    @property
    def peak(self) -> int:
        return resident(self._process, "VmHWM") - self._begun


def indexed(folder: Path, author: Author) -> bool:
    """Whether every record of the author is in the index."""
    status = AdminClient(folder).record_status
    return all(status(uri).status == "indexed" for uri in author.uris())


def standing_still(relay: Relay) -> int:
    """How much the program has taken once it takes no more."""
    seen: list[int] = []

    def still() -> bool:
        seen.append(relay.taken)
        return len(seen) > 25 and len(set(seen[-25:])) == 1  # half a second of looking

    wait_until(still)
    return seen[-1]


def test_reading_stops_while_the_disk_stands_still_and_goes_on_after(
    relay: Relay, tmp_path: Path
) -> None:
    author, disk = Author("alice"), SlowDisk(tmp_path / "disk")
    relay.knows(author)
    relay.commit(author.create(1))
    with running(relay, tmp_path, disk) as process:
        wait_until(lambda: indexed(tmp_path, author))
        memory = Memory(process)
        body = author.create(2)
        stale = dict(body) | {"blocks": bytes(60_000)}
        with disk.held():
            relay.commit(body)
            for _ in range(1500):
                relay.commit(stale)
            relay.commit(author.create(3))
            taken = standing_still(relay)
            assert BUFFER_MB * MB < taken < 40 * MB
            assert memory.grown < 60 * MB
        wait_until(lambda: indexed(tmp_path, author))
        assert relay.taken > 80 * MB
        assert memory.peak < 100 * MB
        assert disk.delays > 0


def test_frames_of_5_mb_at_full_speed_take_a_few_times_their_size(
    relay: Relay, tmp_path: Path
) -> None:
    author, disk = Author("alice"), SlowDisk(tmp_path / "disk", 0.05)
    relay.knows(author)
    relay.commit(author.create(1))
    with running(relay, tmp_path, disk) as process:
        wait_until(lambda: indexed(tmp_path, author))
        memory = Memory(process)
        body = author.create(2)
        relay.commit(body)
        stale = dict(body) | {"blocks": bytes(LARGE)}
        stranger = stale | {"repo": "did:plc:strangerstrangerstranger", "ops": []}
        for _ in range(20):
            relay.commit(stale)
            relay.commit(stranger)
        relay.commit(author.create(3))
        wait_until(lambda: indexed(tmp_path, author))
        assert relay.taken > 40 * LARGE
        assert memory.peak < 150 * MB
        assert disk.delays > 0


HEADER = b"\xa2\x61t\x67#commit\x62op\x01"
MANY = LARGE.to_bytes(4)
BOMBS = {
    "lists within lists": b"\x81" * LARGE + b"\x80",
    "maps within maps": b"\xa1\x61a" * (LARGE // 3) + b"\xa0",
    "empty lists": b"\xa1\x61a\x9a" + MANY + b"\x80" * LARGE,
    "empty maps": b"\xa1\x61a\x9a" + MANY + b"\xa0" * LARGE,
    "a list longer than all memory": b"\xa1\x61a\x9b" + b"\x7f" * 8 + b"\x80" * LARGE,
    "tags within tags": b"\xa1\x61a" + b"\xd8\x2a" * (LARGE // 2) + b"\x40",
}
LESS = {"maps within maps", "empty maps", "tags within tags"}
"""What is tried with `make test-long` only."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=pytest.mark.long if one in LESS else ()) for one in BOMBS],
)
def test_a_frame_that_decodes_to_a_hundred_times_its_size_is_survived(
    relay: Relay, tmp_path: Path, name: str
) -> None:
    author, disk = Author("alice"), SlowDisk(tmp_path / "disk")
    relay.knows(author)
    relay.commit(author.create(1))
    with running(relay, tmp_path, disk) as process:
        wait_until(lambda: indexed(tmp_path, author))
        memory = Memory(process)
        for n in (2, 3):
            relay.message(HEADER + BOMBS[name])
            relay.commit(author.create(n))
        wait_until(lambda: indexed(tmp_path, author))
        assert relay.connections > 1, "the frame was read without complaint"
        assert memory.peak < 500 * MB


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


RECORDS: dict[str, Mapping[str, Any]] = {
    "empty lists": {"a": [[]] * 990_000},
    "empty maps": {"a": [{}] * 990_000},
    "lists within lists": {"a": nested(400)},
    "numbers": {"a": [1] * 990_000},
    # Nothing here unpacks msgpack, and nothing may begin to.
    "nested msgpack": {"metadata": b"\x91" * 90_000 + b"\xc0"},
    "msgpack of four billion items": {"metadata": b"\xdd\xff\xff\xff\xff"},
    "msgpack of four gigabytes": {"metadata": b"\xc6\xff\xff\xff\xff"},
}

REFUSED = {"lists within lists", "empty lists", "empty maps", "numbers"}
"""What is too deep or too long for a record; all else is one, with bytes."""


def test_records_that_are_bombs_are_survived(relay: Relay, tmp_path: Path) -> None:
    author, good, disk = Author("mallory"), Author("alice"), SlowDisk(tmp_path / "disk")
    relay.knows(author, good)
    relay.commit(good.create(1))
    with running(relay, tmp_path, disk) as process:
        wait_until(lambda: indexed(tmp_path, good))
        memory = Memory(process)
        for n, more in enumerate(RECORDS.values(), 2):
            bomb = record("Bomb") | dict(more)
            relay.commit(author.write(Write("create", path(n), bomb)))
            relay.commit(good.create(n))
        wait_until(lambda: indexed(tmp_path, good))
        status = AdminClient(tmp_path).record_status
        uris = [f"at://{author.did}/{path(n)}" for n, _ in enumerate(RECORDS, 2)]
        wait_until(lambda: "unseen" not in {status(uri).status for uri in uris})
        became = {name: status(uri).status for name, uri in zip(RECORDS, uris, strict=True)}
        assert {name for name, what in became.items() if what != "indexed"} == REFUSED
        assert relay.connections == 1
        assert memory.peak < 300 * MB


@pytest.mark.long
def test_five_minutes_of_the_firehose_on_a_slow_disk(tmp_path: Path) -> None:
    disk = SlowDisk(tmp_path / "disk", 0.05)
    with relaying(LiveRelay) as relay:
        relay.directory.identities.update(identities(relay.firehose.authors, relay.host))
        with running(relay, tmp_path, disk) as process:
            memory = Memory(process)
            grown = []
            for seconds in range(10, relay.seconds + 1, 10):
                wait_until(partial(relay.has_sent, seconds * relay.rate))
                grown.append(memory.grown)
            wait_until(lambda: relay.took)
            sources = AdminClient(tmp_path).sources
            wait_until(lambda: sources()[0].cursor == relay.last_seq)
            sys.stdout.write(
                f"{relay.taken} events in {relay.took:.0f} s, {disk.delays} delays of 50 ms,"
                f" grown by {max(grown) / MB:.0f} MB, at most {memory.peak / MB:.0f} MB\n"
            )
    assert relay.taken == relay.rate * relay.seconds
    assert relay.took < relay.seconds * 1.1, "the relay was slower than that, or held back"
    assert disk.delays > relay.seconds
    assert max(grown) < 200 * MB
