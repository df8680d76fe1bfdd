"""How soon a record is found: `python -m benchmarks.freshness`, see `--help`.

The whole AppView runs as a process of its own with its own settings, but for the backfill, which
made-up accounts have no server for. It follows a relay on the loopback, which sends a made-up
firehose at a steady rate, nearly all of it by others. Now and then an author known to the index
publishes a dataset. A client on a connection that is kept open searches for it until it is found.

The clock runs from the moment the relay is given the frame until the answer that holds the record
was read; between two questions lie 5 ms. The last line is JSON: percentiles, and of how many
records.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from io import BytesIO
from itertools import chain, count
from pathlib import Path
from random import Random

import cbor2
import httpx

from atdata_indexer.ingest import wall_clock
from atdata_indexer.playback import Playback
from atdata_indexer.settings import Settings
from benchmarks.authors import Authors, identities
from benchmarks.progress import counted, steps
from benchmarks.repos import encode
from benchmarks.synthetic import Firehose

RECORDS = 1000
SMALL = 200
EVENTS_PER_S = 600
POLL_S = 0.005
PAUSE_S = 0.15
"""A record is published at most so long after the last was found: twice the time of a batch."""
STEP = 10
"""Background events are numbered in such steps; what is published takes numbers in between."""
PATIENCE_S = 60.0
PROGRAM = Path(sys.executable).parent / "atdata-appview"


def main() -> int:
    """Make a stream, measure, print."""
    options = _options()
    milliseconds = asyncio.run(measure(options.records, options.rate, options.seed))
    print(json.dumps(_figures(milliseconds)))
    return 0


async def measure(records: int, rate: int, seed: int) -> list[float]:
    """Publish so many records into so many events a second; milliseconds until each is found."""
    firehose = Firehose(seed)
    authors = Authors(2, wall_clock(), seed)
    relay = Relay(firehose, round(rate * 0.25 * (records + 20)), rate)
    with tempfile.TemporaryDirectory() as folder:
        async with relay.playback.serve() as host:
            accounts = [*firehose.authors, *authors.repos]
            relay.playback.identities |= identities(accounts, host)
            async with (
                _appview(Path(folder), host) as url,
                httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as client,
                _beside(relay.flow()),
            ):
                reader = Reader(client, relay, authors, seed)
                await reader.warm_up()
                with steps("published and found", records) as done:
                    began, sent = time.perf_counter(), relay.sent
                    found = []
                    for _ in range(records):
                        found.append(await reader.publish_and_find())
                        done()
                    flow = (relay.sent - sent) / (time.perf_counter() - began)
    print(f"meanwhile {flow:.0f} other events a second")
    if flow < 0.95 * rate:
        raise SystemExit(f"this machine cannot send {rate} events a second beside the AppView")
    return found


class Relay:
    """A relay on the loopback, and the events of others that flow through it.

    As many of them as are `likely` needed are made beforehand, the rest as they are sent.
    """

    def __init__(self, firehose: Firehose, likely: int, rate: int) -> None:
        self.playback = Playback([], {})
        self.sent = 0
        self._seq = 0
        self._rate = rate
        made = _numbered(firehose)
        beforehand = zip(made, range(likely), strict=False)
        first = [message for message, _ in counted("events made", beforehand, likely)]
        self._frames = chain(first, made)

    async def flow(self) -> None:
        """Send one event after the other at the wanted rate, without an end."""
        start = time.perf_counter()
        for frame in self._frames:
            self.playback.append(frame)
            self.sent += 1
            self._seq = self.sent * STEP
            await asyncio.sleep(start + self.sent / self._rate - time.perf_counter())

    def next_seq(self) -> int:
        """The number of what is sent between two events of others."""
        self._seq += 1
        return self._seq


class Reader:
    """Publishes records by authors in turn, and searches until each is found."""

    def __init__(
        self, client: httpx.AsyncClient, relay: Relay, authors: Authors, seed: int
    ) -> None:
        self._client = client
        self._relay = relay
        self._authors = authors
        self._random = Random(seed)
        self._numbers = count()

    async def warm_up(self) -> None:
        """Let every author become known, and every path be taken once."""
        for frame in self._authors.frames(self._relay.next_seq() for _ in self._authors.repos):
            self._relay.playback.append(frame)
        for _ in range(10):
            await self.publish_and_find()

    async def publish_and_find(self) -> float:
        """Publish a record some time soon; milliseconds until it was found."""
        await asyncio.sleep(self._random.uniform(0, PAUSE_S))
        number = next(self._numbers)
        name = f"fresh{number}"
        repo = self._authors.repos[number % len(self._authors.repos)]
        frame = self._authors.publish(self._relay.next_seq(), repo, name, wall_clock())
        start = time.perf_counter()
        self._relay.playback.append(frame)
        while not await self._is_found(name):
            if time.perf_counter() - start > PATIENCE_S:
                raise SystemExit(f"{name} was not found within {PATIENCE_S:.0f} s")
            await asyncio.sleep(POLL_S)
        return (time.perf_counter() - start) * 1000

    async def _is_found(self, name: str) -> bool:
        asked = {"q": name, "limit": "1"}
        answer = await self._client.get("/xrpc/app.bsky.atdata.searchDatasets", params=asked)
        return bool(answer.raise_for_status().json()["datasets"])


@asynccontextmanager
async def _appview(folder: Path, host: str) -> AsyncIterator[str]:
    """`atdata-appview run` on an empty folder, following the relay at `host`; gives its URL."""
    values = {
        "data_dir": folder,
        "port": 0,
        "relay": f"ws://{host}",
        "plc_url": f"http://{host}",
        "handle_resolver": f"http://{host}",
        "allow_loopback": True,
        "backfill": False,
        "log_format": "json",
    }
    prefix = Settings.variable("")
    plain = {name: value for name, value in os.environ.items() if not name.startswith(prefix)}
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        "run",
        env=plain | {Settings.variable(name): str(value) for name, value in values.items()},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    log = _Log(process.stderr)
    try:
        async with _beside(log.read()):
            async with asyncio.timeout(PATIENCE_S):
                await log.ready.wait()
            if log.url is None:
                raise SystemExit("\n".join(["the AppView ended:", *log.last]))
            yield log.url
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


class _Log:
    """The log of the AppView: `ready` once it serves and follows the relay, or has ended."""

    def __init__(self, lines: asyncio.StreamReader) -> None:
        self.ready = asyncio.Event()
        self.url: str | None = None
        self.last: deque[str] = deque(maxlen=20)
        self._lines = lines

    async def read(self) -> None:
        """Read to the end, so that the AppView is never kept from writing."""
        missing = {"serving", "connected"}
        async for text in self._lines:
            self.last.append(text.decode().rstrip())
            line = json.loads(text) if text.startswith(b"{") else {}
            self.url = line.get("url", self.url)
            missing.discard(line.get("event", ""))
            if not missing:
                self.ready.set()
        self.url = None
        self.ready.set()


@asynccontextmanager
async def _beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Let something go on for the length of a block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _numbered(firehose: Firehose) -> Iterator[bytes]:
    """The messages of others, numbered anew to leave room between them."""
    for number, frame in enumerate(firehose.frames(sys.maxsize), 1):
        stream = BytesIO(frame.message)
        decoder = cbor2.CBORDecoder(stream)
        header, body = decoder.decode(), decoder.decode()
        yield encode(header) + encode(body | {"seq": number * STEP})


def _figures(milliseconds: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(milliseconds, n=100, method="inclusive")
    figures: dict[str, float] = {f"p{p}_ms": round(cuts[p - 1], 1) for p in (50, 95, 99)}
    return figures | {"n": len(milliseconds)}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--small", action="store_true", help=f"{SMALL} records")
    parser.add_argument("--records", type=int, help=f"how many records (default {RECORDS})")
    parser.add_argument("--rate", type=int, default=EVENTS_PER_S, help="other events a second")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    options.records = options.records or (SMALL if options.small else RECORDS)
    return options


if __name__ == "__main__":
    sys.exit(main())
