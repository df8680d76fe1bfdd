"""How many searches are answered while records arrive: `python -m benchmarks.load`, see `--help`.

The whole AppView runs over a made-up network (`benchmarks.corpus`), the indexer and the server as
processes of their own, as where many ask. It follows a relay on the loopback, which sends signed
commits of one record each at a steady rate. Meanwhile this process, which is that relay too, keeps
so many connections busy: each asks the next question as soon as the last was answered. Both cores
are shared with it.

The last line is JSON: requests per second, the 95th percentile from the request to the end of the
answer, how many were not answered with 200, and how many clients there were. The exit status is 1
unless every record that was sent became searchable.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import cast

import uvloop

from atdata_indexer.index.reader import Reader
from atdata_indexer.ingest import wall_clock
from atdata_indexer.playback import Playback
from atdata_indexer.upkeep import INDEX
from benchmarks.appview import Served, request, running
from benchmarks.authors import Authors, identities
from benchmarks.corpus import Corpus
from benchmarks.filling import fill
from benchmarks.progress import counted
from benchmarks.questions import LIMIT, SEARCH, Question, Questions

RECORDS = 1_000_000
SMALL = 100_000
CLIENTS = 8
RATE = 50
SECONDS = 30.0
SMALL_SECONDS = 10.0
WARM_UP_S = 3.0
AUTHORS = 20
POOL = 5_000
PATIENCE_S = 60.0
MIX = {
    "common": 8.0,
    "mid": 10.0,
    "rare": 6.0,
    "two common": 8.0,
    "three": 8.0,
    "prefix": 8.0,
    "phrase": 2.0,
    "tag": 8.0,
    "tag + text": 4.0,
    "schema": 6.0,
    "author": 5.0,
    "newest": 6.0,
    "date range": 1.0,
    "by name": 1.0,
    "facets": 2.0,
    "viewableAs": 2.0,
    "structure": 2.0,
    "suggest": 8.0,
    "typo": 1.0,
    "similar": 2.0,
    "get": 10.0,
}
"""What is asked, in parts: words first of all, as they are typed; the rest by clicking about."""


@dataclass(slots=True)
class Answers:
    """What came back since counting began."""

    milliseconds: list[float] = field(default_factory=list)
    errors: int = 0


class Client(asyncio.Protocol):
    """A connection that asks one thing after the other until it is told to stop."""

    def __init__(self, requests: Iterator[bytes], answers: Answers) -> None:
        self._requests = requests
        self._answers = answers
        self._buffer = b""
        self._missing = 0
        self._sent = 0.0
        self._ends = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def stop(self) -> None:
        """Ask nothing more."""
        self._ends = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the first."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._ask()

    def data_received(self, data: bytes) -> None:
        """A piece of an answer."""
        if self._missing:
            self._missing -= len(data)
        else:
            self._buffer += data
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._buffer[:end].lower()
            if not head.startswith(b"http/1.1 200 "):
                self._answers.errors += 1
            length = int(head.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
            self._missing = end + 4 + length - len(self._buffer)
            self._buffer = b""
        if self._missing == 0:
            self._answers.milliseconds.append((time.perf_counter() - self._sent) * 1000)
            if self._ends:
                self._transport.close()
            else:
                self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        """An error unless it was told to stop."""
        self._answers.errors += not self._ends
        if not self.ended.done():
            self.ended.set_result(None)

    def _ask(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(next(self._requests))


def main() -> int:
    """Build, ask, print."""
    options = _options()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.dir)))
        corpus = Corpus(options.records, options.seed)
        if options.index is not None:
            shutil.copytree(options.index, folder, ignore=_cluster, dirs_exist_ok=True)
        fill(folder, corpus)
        apart = not options.together
        load = Load(folder, corpus, options.clients, options.rate, options.seconds, apart=apart)
        print(json.dumps(uvloop.run(load.run())))
    return 0


class Load:
    """One run."""

    def __init__(
        self,
        folder: Path,
        corpus: Corpus,
        clients: int,
        rate: int,
        seconds: float,
        *,
        apart: bool = True,
    ) -> None:
        self._folder = folder
        self._clients = clients
        self._rate = rate
        self._seconds = seconds
        self._apart = apart
        mixed = Questions(corpus).mixed(POOL, MIX)
        self._requests = cycle([_request(question) for question in mixed])
        self._authors = Authors(AUTHORS, wall_clock())
        count = AUTHORS + round(rate * (seconds + WARM_UP_S + 1))
        made = self._authors.frames(range(1, count + 1))
        self._frames = list(counted("commits made", made, count))
        self._relay = Playback([], identities(self._authors.repos, "127.0.0.1"))

    async def run(self) -> dict[str, float]:
        """The figures."""
        before = sum(Reader(self._folder / INDEX).counts().values())
        async with self._relay.serve() as host:
            self._relay.identities = identities(self._authors.repos, host)
            context = running(
                self._folder,
                apart=self._apart,
                relay=f"ws://{host}",
                first_cursor=0,
                plc_url=f"http://{host}",
                handle_resolver=f"http://{host}",
                allow_loopback=True,
            )
            served = await asyncio.to_thread(context.__enter__)
            try:
                figures = await self._measure(served)
                await self._found(before + self._authors.records)
            finally:
                await asyncio.to_thread(context.__exit__, None, None, None)
        return figures

    async def _measure(self, served: Served) -> dict[str, float]:
        sending = asyncio.create_task(self._send())
        loop = asyncio.get_running_loop()
        answers = Answers()
        clients = []
        for _ in range(self._clients):
            _, client = await loop.create_connection(
                lambda: Client(self._requests, answers), served.host, served.port
            )
            clients.append(client)
        await asyncio.sleep(WARM_UP_S)
        times, errors = answers.milliseconds, answers.errors
        times.clear()
        start = time.perf_counter()
        await asyncio.sleep(self._seconds)
        spent = time.perf_counter() - start
        measured = list(times)
        for client in clients:
            client.stop()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(client.ended for client in clients))
        await sending
        cuts = statistics.quantiles(measured, n=100, method="inclusive")
        print(f"p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms, {len(self._frames)} records sent")
        return {
            "requests_per_s": round(len(measured) / spent),
            "p95_ms": round(cuts[94], 1),
            "errors": errors + answers.errors,
            "clients": self._clients,
        }

    async def _send(self) -> None:
        """All commits, at the wanted rate; the first of each author at once."""
        for frame in self._frames[:AUTHORS]:
            self._relay.append(frame)
        start = time.perf_counter()
        for number, frame in enumerate(self._frames[AUTHORS:], 1):
            await asyncio.sleep(start + number / self._rate - time.perf_counter())
            self._relay.append(frame)

    async def _found(self, expected: int) -> None:
        """Wait until every record is searchable."""
        reader = Reader(self._folder / INDEX)
        deadline = time.monotonic() + PATIENCE_S
        while (found := sum(reader.counts().values())) != expected:
            if time.monotonic() > deadline:
                raise SystemExit(f"{found} records are searchable, not {expected}")
            await asyncio.sleep(0.05)
            reader.refresh()


def _request(question: Question) -> bytes:
    more = [("limit", str(LIMIT))] if question.nsid == SEARCH else []
    return request(question.nsid, [*question.params, *more])


def _cluster(folder: str, names: list[str]) -> list[str]:
    """What is PostgreSQL's in a kept folder, which nobody needs here."""
    return [name for name in names if name == "postgres"]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--small", action="store_true", help=f"{SMALL} datasets, shorter")
    parser.add_argument("--records", type=int, help=f"how many datasets (default {RECORDS})")
    parser.add_argument("--clients", type=int, default=CLIENTS, help="connections kept busy")
    parser.add_argument("--rate", type=int, default=RATE, help="records a second")
    parser.add_argument("--seconds", type=float, help="how long")
    parser.add_argument("--together", action="store_true", help="one process, `run`, for all")
    parser.add_argument("--index", type=Path, help="a folder of benchmarks.search, to be copied")
    parser.add_argument("--dir", type=Path, help="where the copy goes (a disk, not memory)")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    options.records = options.records or (SMALL if options.small else RECORDS)
    options.seconds = options.seconds or (SMALL_SECONDS if options.small else SECONDS)
    return options


if __name__ == "__main__":
    sys.exit(main())
