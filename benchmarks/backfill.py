"""How fast repos are found and fetched, killed on the way: `python -m benchmarks.backfill`.

Made-up authors with signed repos, half of them under secp256k1, lie on a PDS on the loopback that
is their directory too. `atdata-appview backfill` is run with its own settings on an empty data
directory, and killed (`kill -9`) once while it reads the list of repos and then while it fetches
them, each time when the host has been asked for so many more. The last run goes to the end.

The clock runs while the program does, from its start to its end, all runs together. The last line
is JSON: per second of that, how many records are expected, how often it was killed in the middle,
and how many records are missing in the search index at the end. The exit status is 1 unless the
index has all of them as their authors have them, and nothing else, and no repo that was stored when
the program was killed was fetched again.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from anyio.from_thread import start_blocking_portal
from cryptography.hazmat.primitives.asymmetric import ec

from atdata_indexer.index.query import Search
from atdata_indexer.index.reader import Reader
from atdata_indexer.index.store import Store
from atdata_indexer.ingest import wall_clock
from atdata_indexer.settings import Settings
from atdata_schemas.records import DATASET_NSID, LENS_NSID, SCHEMA_NSID
from atdata_schemas.syntax import cid_text
from benchmarks.authors import identities
from benchmarks.hosts import Host
from benchmarks.progress import counted, steps
from benchmarks.records import OTHERS, Record, Writer
from benchmarks.repos import Repo, car, cid_of, encode, sign, tid

REPOS = 5_000
SMALL = 1_000
KILLS = 5
PATIENCE_S = 600.0
PAGE = 100
KINDS = ("dataset", "schema", "lens")
PROGRAM = Path(sys.executable).parent / "atdata-appview"
LIST = "sync.listReposByCollection"
REPO = "sync.getRepo"
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_MIX = {DATASET_NSID: 0.7, SCHEMA_NSID: 0.15, LENS_NSID: 0.15}


@dataclass(frozen=True, slots=True)
class Packed:
    """A repo ready to be served. `cids` are those of all its records, by path."""

    rev: str
    commit: str
    blocks: bytes
    cids: Mapping[str, tuple[str, Any]]

    def car(self) -> bytes:
        """The whole repo."""
        return self.blocks

    def records(self) -> Mapping[str, tuple[str, Any]]:
        """CIDs by path; what the records say is only in the CAR."""
        return self.cids


class People:
    """So many authors, their repos, and the `expected` CID of each record of ours by URI."""

    def __init__(self, count: int, seed: int) -> None:
        random = self._random = Random(seed)
        self._us = wall_clock() - 3_600_000_000
        dids = ["did:plc:" + "".join(random.choices(_BASE32, k=24)) for _ in range(count)]
        self._write = Writer(random, dids)
        self._schemas = [f"at://{did}/{SCHEMA_NSID}/{self._rkey()}" for did in dids[:100]]
        self.expected: dict[str, str] = {}
        self.repos: list[Repo] = []
        self.packed: dict[str, Packed] = {}
        for did in counted("repos made", dids, count):
            self._make(did)

    def _make(self, did: str) -> None:
        random = self._random
        mine = {f"{SCHEMA_NSID}/{uri[-13:]}" for uri in self._schemas if did in uri}
        for collection in random.choices(list(_MIX), list(_MIX.values()), k=random.randint(2, 30)):
            mine.add(f"{collection}/{self._rkey()}")
        others: set[str] = set()
        if random.random() < 1 / 3:
            names = random.choices(list(OTHERS), list(OTHERS.values()), k=random.randint(10, 60))
            others = {f"{name}/{self._rkey()}" for name in names}
        blocks = {path: encode(self._record(path)) for path in sorted(mine | others)}
        cids = {path: cid_of(block) for path, block in blocks.items()}
        curve = ec.SECP256R1() if len(self.repos) % 2 else ec.SECP256K1()
        key = ec.derive_private_key(random.getrandbits(255) + 1, curve)
        repo = Repo(did, key, self._rkey(), cids)
        tree = repo._tree
        signed = sign(key, did, repo.rev, tree.root)
        root = cid_of(signed)
        held = dict(zip(cids.values(), blocks.values(), strict=True))
        whole = car(root, {root: signed, **tree.blocks, **held})
        texts = {path: cid_text(cid) for path, cid in cids.items()}
        self.repos.append(repo)
        self.packed[did] = Packed(
            repo.rev, cid_text(root), whole, {path: (text, None) for path, text in texts.items()}
        )
        self.expected |= {f"at://{did}/{path}": texts[path] for path in mine}

    def _record(self, path: str) -> Record:
        collection = path.partition("/")[0]
        if collection in _MIX:
            return self._write.indexed(collection, self._us, self._schemas)
        return self._write.other(collection, self._us)

    def _rkey(self) -> str:
        self._us += 1
        return tid(self._us, self._random.getrandbits(10))


@dataclass(slots=True)
class Run:
    """The program, run again and again in `folder`: how long, how often killed, what was stored."""

    folder: Path
    host: Host
    variables: Mapping[str, str]
    seconds: float = 0.0
    killed: int = 0
    fetched_again: list[str] = field(default_factory=list)
    _stored: set[str] = field(default_factory=set)
    _looked: int = 0

    def until(self, is_time: Callable[[], bool], tick: Callable[[], object]) -> None:
        """Run it, and kill it when it is time."""
        with self._running() as program:
            while program.poll() is None and not is_time():
                tick()
                time.sleep(0.005)
            program.kill()
        if program.returncode != -9:
            raise SystemExit(f"it was not killed: {program.returncode}")
        self.killed += 1
        self._look()
        self._stored = self._in_step()

    def to_the_end(self, tick: Callable[[], object]) -> None:
        """Run it to its end, which must be a good one."""
        with self._running() as program:
            while program.poll() is None:
                tick()
                time.sleep(0.01)
        tick()
        if program.returncode != 0:
            raise SystemExit(f"it ended with {program.returncode}")
        self._look()

    @contextmanager
    def _running(self) -> Iterator["subprocess.Popen[bytes]"]:
        began = time.perf_counter()
        with (self.folder / "log").open("ab") as log:
            program = subprocess.Popen(
                [PROGRAM, "backfill", "--json"], env=self.variables, stdout=log, stderr=log
            )
            try:
                yield program
            finally:
                program.kill()
                program.wait()
                self.seconds += time.perf_counter() - began

    def _look(self) -> None:
        """Note which repos were fetched by this run though they had been stored before it."""
        asked = self.host.asked[self._looked :]
        self._looked += len(asked)
        dids = [one.params["did"] for one in asked if one.method == REPO]
        self.fetched_again += [did for did in dids if did in self._stored]

    def _in_step(self) -> set[str]:
        """The repos that are stored, in a copy: nobody else is to repair what the kill has left."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            for file in (self.folder / "data").glob("appview.duckdb*"):
                shutil.copy(file, name)
            store = Store(Path(name, "appview.duckdb"))
            try:
                with store.reader() as db:
                    rows = db.execute("SELECT did FROM repos WHERE sync = 'active'").fetchall()
            finally:
                store.close()
        return {did for (did,) in rows}


def main() -> int:
    """Make repos, have them fetched, compare, print."""
    options = _options()
    people = People(options.repos, options.seed)
    host = Host(people.packed, page=PAGE)
    with (
        tempfile.TemporaryDirectory() as name,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(host.serve()) as address,
    ):
        host.identities = identities(people.repos, address)
        run = Run(Path(name), host, _variables(Path(name), address))
        _backfill(run, options.repos, options.kills)
        found = _found(Path(name, "data", "index"))
    missing = [uri for uri, cid in people.expected.items() if found.get(uri) != cid]
    surplus = sorted(found.keys() - people.expected.keys())
    wrong = {"missing": missing, "surplus": surplus, "fetched again": run.fetched_again}
    for what, which in wrong.items():
        if which:
            print(f"{what}: {len(which)}, such as", *which[:3])
    print(
        json.dumps(
            {
                "repos_per_s": round(options.repos / run.seconds, 1),
                "records_per_s": round(len(people.expected) / run.seconds, 1),
                "expected": len(people.expected),
                "killed": run.killed,
                "missing": len(missing),
            }
        )
    )
    return 1 if any(wrong.values()) else 0


class Seen:
    """What the host was asked for so far: pages of lists, and which repos."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._at = 0
        self.pages = 0
        self.repos: set[str] = set()
        self.fetches = 0

    def look(self) -> int:
        """Look at what was asked since the last time; how many repos were."""
        asked = self._host.asked[self._at :]
        self._at += len(asked)
        for one in asked:
            self.pages += one.method == LIST
            if one.method == REPO:
                self.fetches += 1
                self.repos.add(one.params["did"])
        return len(self.repos)


def _backfill(run: Run, repos: int, kills: int) -> None:
    """Let it be killed so often, in the list first, then when so many repos were asked for."""
    seen = Seen(run.host)
    with steps("repos fetched", repos) as done:

        def tick() -> None:
            before = len(seen.repos)
            for _ in range(seen.look() - before):
                done()

        def in_the_list() -> bool:
            return seen.pages > max(1, repos // PAGE // 2)

        moments = [in_the_list]
        for number in range(1, kills):
            least = repos * number // kills
            moments.append(partial(_has, seen.repos, least))
        for is_time in moments:
            run.until(is_time, tick)
            tick()
            if len(seen.repos) >= repos:
                raise SystemExit("it was killed too late to be in the middle")
            print(f"killed after {seen.pages} pages and {len(seen.repos)} repos", flush=True)
        run.to_the_end(tick)
    again = seen.fetches - repos
    print(f"{again} repos were under way, or not stored yet, at a kill, and fetched twice")


def _has(repos: set[str], least: int) -> bool:
    return len(repos) >= least


def _found(folder: Path) -> dict[str, str]:
    """URI and CID of all that a search finds."""
    reader = Reader(folder)
    reader.refresh()
    found: dict[str, str] = {}
    for kind in KINDS:
        cursor = None
        while True:
            page = reader.search(Search(kind), sort="newest", limit=100, cursor=cursor)
            views = [json.loads(text) for text in page.views]
            found |= {view["uri"]: view["cid"] for view in views}
            cursor = page.cursor
            if cursor is None:
                break
    return found


def _variables(folder: Path, address: str) -> Mapping[str, str]:
    values = {
        "data_dir": str(folder / "data"),
        "relay": "none",
        "directories": f"http://{address}",
        "plc_url": f"http://{address}",
        "handle_resolver": f"http://{address}",
        "allow_loopback": "true",
    }
    return os.environ | {Settings.variable(name): value for name, value in values.items()}


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--small", action="store_true", help=f"{SMALL} repos")
    parser.add_argument("--repos", type=int, help=f"how many repos (default {REPOS})")
    parser.add_argument("--kills", type=int, default=KILLS, help=f"how often [{KILLS}]")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args(arguments)
    options.repos = options.repos or (SMALL if options.small else REPOS)
    return options


if __name__ == "__main__":
    sys.exit(main())
