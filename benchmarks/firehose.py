"""How fast the firehose is read: `python -m benchmarks.firehose`, see `--help`.

Three consumers read the same made-up stream over the loopback, in turn, round after round:

- bare: the websockets client's `async for message in connection`, and nothing else;
- ours: relay source, decoder, and the fold of what concerns us over what is known, without a store;
- sdk: the atproto SDK's firehose client, used as its example does: the message parsed, the CAR of
  each commit decoded, an AT-URI made for each op. The example's record models are left out.

What counts is CPU time per frame of this process; the server is another one. No compression. The
last line is JSON: frames per second of CPU (1 / median), ratios as medians of each round's, and how
many changes of indexed records were made and found. The exit status is 1 unless all were found.
"""

import argparse
import asyncio
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from atproto import (
    CAR,
    AsyncFirehoseSubscribeReposClient,
    AtUri,
    models,
    parse_subscribe_repos_message,
)
from websockets.asyncio.client import connect

from atdata_indexer.changes import Change, Held, Repo
from atdata_indexer.fold import fold
from atdata_indexer.frames import Commit, Decoder, Malformed
from atdata_indexer.sources.relay import MAX_FRAME_BYTES, PATH, RelaySource
from benchmarks import serve
from benchmarks.synthetic import Firehose, Frame, IndexedOp

FRAMES = 200_000
SMALL = 40_000
SDK_FRAMES = 10_000
"""At most so many for the SDK, which takes ten times as long."""
WARM_UP = 2_000


@dataclass(frozen=True, slots=True)
class Read:
    """What a consumer has read."""

    frames: int
    changes: Sequence[Change] = ()


type Consumer = Callable[[str], Awaitable[Read]]
"""Reads the firehose of a host, given as `ws://…`, to its end."""


async def bare(host: str) -> Read:
    """Receive messages."""
    frames = 0
    async with connect(
        host + PATH, compression=None, max_size=MAX_FRAME_BYTES, proxy=None
    ) as connection:
        async for _ in connection:
            frames += 1
    return Read(frames)


async def ours(host: str) -> Read:
    """Receive, decode and fold as the indexer does, with what is known in dicts."""
    frames = 0
    tracked: set[str] = set()
    repos: dict[str, Repo] = {}
    rows: dict[str, Held] = {}
    made: list[Change] = []
    decode = Decoder(tracked).decode
    async with aclosing(RelaySource(host).frames(None)) as chunks:
        async for chunk in chunks:
            frames += len(chunk)
            commits: list[Commit | Malformed] = []
            for frame in chunk:
                _, event = decode(frame)
                if event is None or event.did is None:
                    continue
                tracked.add(event.did)
                if isinstance(event, Commit | Malformed):
                    commits.append(event)
            if commits:
                changes = fold(commits, repos, rows, time.time_ns() // 1000, verify=False)
                repos |= changes.repos
                rows |= {uri: row.held for uri, row in changes.rows.items()}
                made += changes.outbox
    return Read(frames, made)


async def sdk(host: str) -> Read:
    """Receive and decode as the SDK's example does."""
    frames = 0
    client = AsyncFirehoseSubscribeReposClient(base_uri=f"{host}/xrpc")

    async def on_message(message: object) -> None:
        nonlocal frames
        commit = parse_subscribe_repos_message(message)
        if isinstance(commit, models.ComAtprotoSyncSubscribeRepos.Commit):
            car = CAR.from_bytes(commit.blocks)
            for op in commit.ops:
                AtUri.from_str(f"at://{commit.repo}/{op.path}")
                if op.cid is not None:
                    car.blocks.get(op.cid)
        frames += 1

    await client.start(on_message)
    return Read(frames)


CONSUMERS: Mapping[str, Consumer] = {"bare": bare, "ours": ours, "sdk": sdk}


def main() -> int:
    """Make a stream, measure, print."""
    options = _options()
    os.environ["no_proxy"] = "127.0.0.1"  # the SDK's client asks the environment for proxies
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "frames.bin")
        stream = Stream()
        serve.write(path, stream.taken(Firehose(options.seed).frames(options.frames)))
        stream.describe(time.perf_counter() - started)
        counts = dict.fromkeys(CONSUMERS, options.frames)
        counts["sdk"] = min(options.frames, SDK_FRAMES)
        print(f"the SDK reads the first {counts['sdk']}, the others all; warm-up, then rounds:")
        with serve.serving(path) as port:
            seconds, found = _measure(port, counts, options.rounds)
    expected = [(op.uri, op.action, op.cid) for op in stream.ops]
    got = [(change.uri, change.op, change.cid) for change in found]
    if got != expected:
        print("what was found is not what was made:", *_differences(expected, got), sep="\n  ")
    print(json.dumps(_figures(seconds) | {"expected_ops": len(expected), "got_ops": len(got)}))
    return 0 if got == expected else 1


class Stream:
    """What is in the frames that went by."""

    def __init__(self) -> None:
        self.ops: list[IndexedOp] = []
        self._about: Counter[str] = Counter()
        self._shares: Counter[str] = Counter()
        self._bytes = 0

    def taken(self, frames: Iterable[Frame]) -> Iterator[bytes]:
        """Let frames go by."""
        for frame in frames:
            self.ops += frame.ops
            self._about[frame.about] += 1
            self._shares[frame.share] += 1
            self._bytes += len(frame.message)
            yield frame.message

    def describe(self, seconds: float) -> None:
        """Print the mean size and the mix."""
        count = self._shares.total()
        print(f"{count} frames of {self._bytes / count:.0f} bytes, made in {seconds:.0f} s")
        for counter in (self._shares, self._about, Counter(op.action for op in self.ops)):
            print("  " + ", ".join(f"{what} {number}" for what, number in counter.most_common()))


def _measure(
    port: int, counts: Mapping[str, int], rounds: int
) -> tuple[Mapping[str, Sequence[float]], Sequence[Change]]:
    """CPU seconds per frame of each consumer, by round, and what ours found last."""
    for name in CONSUMERS:
        _run(name, port, min(WARM_UP, counts[name]))
    seconds: dict[str, list[float]] = {name: [] for name in CONSUMERS}
    found: Sequence[Change] = ()
    for number in range(rounds):
        for name in CONSUMERS:
            spent, read = _run(name, port, counts[name])
            seconds[name].append(spent)
            if name == "ours":
                found = read.changes
        spent_now = (f"{name} {of[-1] * 1e6:.2f}" for name, of in seconds.items())
        print(f"round {number + 1}, µs per frame: {', '.join(spent_now)}", flush=True)
    return seconds, found


def _run(name: str, port: int, count: int) -> tuple[float, Read]:
    """Let a consumer read `count` frames; CPU seconds per frame, and what it has read."""
    gc.collect()
    start = time.process_time()
    read = asyncio.run(_awaited(CONSUMERS[name](f"ws://127.0.0.1:{port}/{count}")))
    spent = time.process_time() - start
    if read.frames != count:
        raise SystemExit(f"{name} has read {read.frames} of {count} frames")
    return spent / count, read


async def _awaited(read: Awaitable[Read]) -> Read:
    return await read


def _figures(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    def per_second(name: str) -> int:
        return round(1 / statistics.median(seconds[name]))

    def ratio_to(name: str) -> float:
        pairs = zip(seconds[name], seconds["ours"], strict=True)
        return round(statistics.median(theirs / mine for theirs, mine in pairs), 3)

    return {
        "frames_per_s": per_second("ours"),
        "bare_frames_per_s": per_second("bare"),
        "ratio_to_bare": ratio_to("bare"),
        "sdk_frames_per_s": per_second("sdk"),
        "ratio_to_sdk": ratio_to("sdk"),
    }


def _differences[T](expected: Sequence[T], got: Sequence[T]) -> Iterator[str]:
    """The first few things that only one of two sequences has, or their order."""
    missing, surplus = Counter(expected) - Counter(got), Counter(got) - Counter(expected)
    yield from (f"missing: {one}" for one in list(missing)[:5])
    yield from (f"not made: {one}" for one in list(surplus)[:5])
    if not missing and not surplus:
        yield "the order is another"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--small", action="store_true", help=f"{SMALL} frames")
    parser.add_argument("--frames", type=int, help=f"how many frames (default {FRAMES})")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    options.frames = options.frames or (SMALL if options.small else FRAMES)
    return options


if __name__ == "__main__":
    sys.exit(main())
