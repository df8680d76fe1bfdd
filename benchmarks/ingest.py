"""How fast records become searchable: `python -m benchmarks.ingest`, see `--help`.

The same recorded commits, one record each, of accounts whose keys are known, are taken in by turns,
round after round, each time into an empty index on the same disk:

- hashes: the whole indexer, with its own settings, which believes hashes;
- verified: the same, which asks of every commit that it is signed and proven;
- row at a time: PostgreSQL with its own settings, one transaction for each record.

The clock runs from the first byte of the recording until every record is durable and a search sees
it. The last line is JSON: records per second (medians), how much faster hashes are than rows (the
median of each round's ratio) and the peak of this process's memory. The exit status is 1 unless
every index ended with the same records.
"""

import argparse
import asyncio
import gc
import json
import resource
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from atdata_indexer.daemon import Indexer
from atdata_indexer.identity import ResolvedIdentity
from atdata_indexer.index.store import Store
from atdata_indexer.ingest import wall_clock
from atdata_indexer.log import configure
from atdata_indexer.settings import Settings
from atdata_indexer.sources.replay import ReplaySource, read_recording
from benchmarks import postgres
from benchmarks.authors import Authors, multibase
from benchmarks.progress import counted, steps

RECORDS = 20_000
SMALL = 5_000
WARM_UP = 500
ACCOUNTS = 200
HOUR_US = 3_600_000_000

type Verify = Literal["hash-only", "full"]


@dataclass(frozen=True, slots=True)
class Recording:
    """Commits in a file, how many records there are at the end, and the keys of the accounts."""

    path: Path
    commits: int
    records: int
    keys: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Round:
    """Records per second of each; they are commits per second, since each commit has one."""

    hashes: float
    verified: float
    rows: float

    def __str__(self) -> str:
        return f"hashes {self.hashes:.0f}, verified {self.verified:.0f}, rows {self.rows:.0f}"


def main() -> int:
    """Make commits, measure, print."""
    options = _options()
    if reason := postgres.missing():
        raise SystemExit(reason)
    with (
        tempfile.TemporaryDirectory(dir=options.dir) as name,
        postgres.running(options.dir) as connection,
    ):
        folder = Path(name)
        recording = record(folder / "commits.bin", options.records, options.seed)
        size = recording.path.stat().st_size / recording.commits
        print(f"{recording.commits} commits of {size:.0f} bytes, {len(recording.keys)} accounts,")
        print(f"{recording.records} records at the end; {postgres.about(connection)}")
        with steps("measured", 3 * (options.rounds + 1)) as done:
            warm_up = record(folder / "warm-up.bin", min(WARM_UP, options.records), options.seed)
            _round(folder, warm_up, connection, done)
            rounds = [_round(folder, recording, connection, done) for _ in range(options.rounds)]
    for number, one in enumerate(rounds, 1):
        print(f"round {number}, records per s: {one}")
    print(json.dumps(_figures(rounds)))
    return 0


def record(path: Path, commits: int, seed: int) -> Recording:
    """Make commits and write them as a recording."""
    authors = Authors(max(2, min(ACCOUNTS, commits // 10)), wall_clock() - HOUR_US, seed)
    with path.open("wb") as file:
        for frame in counted("commits made", authors.frames(range(1, commits + 1)), commits):
            file.write(struct.pack(">I", len(frame)) + frame)
    keys = {repo.did: multibase(repo) for repo in authors.repos}
    return Recording(path, commits, authors.records, keys)


def _round(
    folder: Path, recording: Recording, connection: postgres.Connection, done: Callable[[], object]
) -> Round:
    takes: Sequence[Callable[[], float]] = (
        lambda: _ours(folder, recording, "hash-only"),
        lambda: _ours(folder, recording, "full"),
        lambda: _rows(recording, connection),
    )
    speeds = []
    for seconds_of in takes:
        gc.collect()
        speeds.append(recording.commits / seconds_of())
        done()
    return Round(*speeds)


def _ours(folder: Path, recording: Recording, verify: Verify) -> float:
    """Seconds for the whole indexer, from the file of frames to what a reader finds."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        settings = Settings(data_dir=Path(name), verify=verify, backfill=False, log_level="warning")
        configure(settings)
        now = wall_clock()
        store = Store(settings.data_dir / "appview.duckdb")
        store.add_repos(recording.keys, now)
        known = recording.keys.items()
        store.set_identities([ResolvedIdentity(did, None, None, key) for did, key in known], now)
        store.close()
        return asyncio.run(_index(settings, recording))


async def _index(settings: Settings, recording: Recording) -> float:
    async with Indexer.open(settings, [[ReplaySource(recording.path)]]) as indexer:
        start = time.perf_counter()
        await indexer.run()
        spent = time.perf_counter() - start
        found = sum(indexer.reader.counts().values())
        if indexer.counts["commits"] != recording.commits or found != recording.records:
            raise SystemExit(f"indexed {found} of {recording.records}: {indexer.counts}")
    return spent


def _rows(recording: Recording, connection: postgres.Connection) -> float:
    """Seconds for PostgreSQL, from the file of frames to rows."""
    postgres.prepare(connection)
    start = time.perf_counter()
    postgres.upsert(connection, read_recording(recording.path))
    spent = time.perf_counter() - start
    if (found := postgres.count(connection)) != recording.records:
        raise SystemExit(f"PostgreSQL holds {found} of {recording.records}")
    return spent


def _figures(rounds: Sequence[Round]) -> dict[str, float]:
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "records_per_s": round(statistics.median(one.hashes for one in rounds)),
        "verified_records_per_s": round(statistics.median(one.verified for one in rounds)),
        "row_at_a_time_records_per_s": round(statistics.median(one.rows for one in rounds)),
        "ratio": round(statistics.median(one.hashes / one.rows for one in rounds), 2),
        "rss_mb": round(kilobytes / 1024),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--small", action="store_true", help=f"{SMALL} records")
    parser.add_argument("--records", type=int, help=f"how many records (default {RECORDS})")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--dir", type=Path, help="where both keep their files (a disk, not memory)")
    options = parser.parse_args()
    options.records = options.records or (SMALL if options.small else RECORDS)
    return options


if __name__ == "__main__":
    sys.exit(main())
