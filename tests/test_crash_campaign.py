"""`kill -9` at random moments and at every named step, under load: nothing acknowledged is lost.

Every life of the program ends by a kill: at a step by its own hand (`tests/crashing.py`), which
leaves a line in a file, or at a random moment, its start included. The database and the index that
it leaves are looked at as they are, in a copy, and the next life is asked what it has.
"""

import os
import random
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from atdata_indexer.admin_client import AdminClient
from atdata_indexer.errors import IndexerUnavailable, StoreError
from atdata_indexer.index.reader import Reader
from atdata_indexer.index.store import Store
from atdata_indexer.playback import Playback
from tests import crashing
from tests.appview import PATIENCE_S, PROGRAM, AppViewProcess, answer_of, operator, wait_until
from tests.crowd import Crowd

KILLS = int(os.environ.get("CRASH_KILLS", "210"))
"""How many times the long campaign kills."""

CHAINS = 2
"""Campaigns side by side, each with a data directory and a network of its own."""

RANDOM = "random moment"
RANDOM_S = 2.5
"""Random moments lie within so many seconds of a life, of which its start takes more than one."""

PASSINGS = {"database-commit": 12, "index-commit": 8, "fetch": 4, "snapshot": 4, "hide": 2}
"""At which passing of a step at the latest the kill comes; elsewhere it is the first."""

AHEAD = 150
"""How many events the network may be ahead of what the index has acknowledged."""

VISIBLE = (
    "SELECT r.uri, r.cid FROM records r JOIN repos p ON p.did = r.did"
    " WHERE r.state = 'live' AND p.status = 'active'"
)
BEHIND = "SELECT did FROM repos WHERE sync <> 'active'"
LEFT_OF_THE_DELETED = (
    "SELECT count(*) FROM records JOIN repos USING (did) WHERE repos.status = 'deleted'"
)


class Campaign:
    """One data directory, the network it follows, and what was seen of both."""

    def __init__(self, folder: Path, portal: BlockingPortal, host: str, playback: Playback) -> None:
        self.kills: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self._rng = random.Random(folder.name)
        self._crowd = Crowd(playback, host, self._rng)
        self._playback = playback
        self._portal = portal
        self._host = host
        self._folder = folder
        self._data = folder / "data"
        self._data.mkdir()
        self._admin = AdminClient(self._data)
        self._http = httpx.Client(timeout=PATIENCE_S)
        self._cursor = -1
        """The newest cursor that anybody was shown."""

    def run(self, steps: list[str]) -> None:
        """A life for each of `steps`, and one that ends when all that happened is found."""
        with closing(self._http):
            for step in steps:
                self._live_and_die(step)
            assert self.violations == []
            self.counts["acknowledged commits"] = sum(
                seq <= self._cursor for seq in self._crowd.commits
            )
            self._live_to_the_end()
        self.counts["commits"] = len(self._crowd.commits)
        self.counts["events"] = self._playback.last_seq

    def _live_and_die(self, step: str) -> None:
        fired = self._folder / "fired"
        fired.unlink(missing_ok=True)
        nth = str(self._rng.randint(1, PASSINGS.get(step.partition("-")[2], 1)))
        by_itself = [sys.executable, "-P", crashing.__file__, step, nth, str(fired), "--"]
        self._more(step)
        with self._life([PROGRAM] if step == RANDOM else by_itself) as process:
            end = threading.Timer(self._rng.uniform(0, RANDOM_S), process.kill)
            if step == RANDOM:
                end.start()
            self._watch(process, step)
            if step == RANDOM:
                end.join()
        assert process.exit_code == -signal.SIGKILL, (step, process.log)
        assert step == RANDOM or fired.read_text() == f"{step}\n"
        self.kills[step] += 1
        self._post_mortem(step)

    def _watch(self, process: AppViewProcess, step: str) -> None:
        """Look at what a life has, at its start and while more and more happens, until it dies."""
        deadline = time.monotonic() + PATIENCE_S
        try:
            url = self._first_look(process)
            while url and time.monotonic() < deadline:
                self._more(step)
                cursor = self._acknowledged()
                page = self._ask(url)
                self._crowd.saw({view["uri"]: view["cid"] for view in page["datasets"]})
                self._cursor = max(cursor, self._cursor)
                if "swap" in step:
                    self._admin.rebuild()
        except (IndexerUnavailable, httpx.TransportError):
            self.counts["kills while it was asked"] += 1
        wait_until(lambda: process.exit_code is not None)

    def _first_look(self, process: AppViewProcess) -> str | None:
        """Wait until a life answers, and compare what it has; its URL, if it comes so far."""

        def started() -> list[str]:
            urls = [line["url"] for line in process.log if line["event"] == "serving"]
            return urls or [""] * (process.exit_code is not None)

        url = wait_until(started)[0]
        if not url:
            return None
        cursor = self._acknowledged()
        found = self._found(url)
        self._compare("restarts", found, cursor)
        return url

    def _post_mortem(self, step: str) -> None:
        """What a life left on the disk: no more than was acknowledged is missing from it."""
        left = self._folder / "left"
        shutil.copytree(self._data, left, ignore=shutil.ignore_patterns("admin.*"))
        with closing(Store(left / "appview.duckdb")) as store:
            with store.reader() as db:
                rows = dict(db.execute(VISIBLE).fetchall())
                behind = {did for (did,) in db.execute(BEHIND).fetchall()}
                ((cursor,),) = db.execute("SELECT coalesce(max(seq), -1) FROM cursors").fetchall()
            head = store.head
        self._compare(f"remains of {step}", rows, cursor, behind)
        try:
            seq = Reader(left / "index").refresh()
        except StoreError as error:
            self._demand("there is no index yet" in str(error), f"{step} left an index: {error}")
        else:
            self._demand(seq <= head, f"{step} left an index at {seq}, and a database at {head}")
        shutil.rmtree(left)

    def _live_to_the_end(self) -> None:
        self._portal.call(self._crowd.speak)
        with self._life([PROGRAM]) as process:
            url = self._first_look(process)
            assert url
            truth = self._crowd.truth()
            with suppress(AssertionError):  # what differs says more
                wait_until(
                    lambda: (
                        self._acknowledged() == self._playback.last_seq
                        and self._found(url) == truth
                    )
                )
            assert self._found(url) == truth
            assert process.stop() == 0
        self.counts["records at the end"] = len(truth)
        audit = answer_of(operator(self._data, "verify"))
        assert audit["bodies"] >= audit["documents"] == len(truth)
        with closing(Store(self._data / "appview.duckdb")) as store, store.reader() as db:
            assert db.execute(LEFT_OF_THE_DELETED).fetchall() == [(0,)]

    @contextmanager
    def _life(self, program: list[str]) -> Iterator[AppViewProcess]:
        with AppViewProcess(
            self._data,
            self._host,
            program=program,
            wait=False,
            backfill=True,
            batch_ms=2,
            batch_events=self._rng.randint(5, 40),
        ) as process:
            yield process
        whys = [line["why"] for line in process.log if line["event"] == "index_rebuilt"]
        self._demand(set(whys) <= {"there is no index yet"}, f"the index was lost: {whys}")
        broken = [line for line in process.log if line["event"] in ("text", "stopped")]
        self._demand(not broken, f"it did not die by the kill alone: {broken}")

    def _more(self, step: str) -> None:
        """Let the network go on, in the thread that serves it, unless it is far ahead."""
        if self._playback.last_seq - self._cursor < AHEAD:
            self._portal.call(self._crowd.go_on, 16, step.partition("-")[2])

    def _acknowledged(self) -> int:
        (source,) = self._admin.sources()
        return -1 if source.cursor is None else source.cursor

    def _found(self, url: str) -> dict[str, str]:
        found: dict[str, str] = {}
        page = self._ask(url)
        while True:
            found |= {view["uri"]: view["cid"] for view in page["datasets"]}
            if "cursor" not in page:
                return found
            page = self._ask(url, cursor=page["cursor"])

    def _ask(self, url: str, **more: str) -> Any:
        params = {"limit": "100", **more}
        answer = self._http.get(f"{url}/xrpc/app.bsky.atdata.listDatasets", params=params)
        answer.raise_for_status()
        return answer.json()

    def _compare(
        self, what: str, found: dict[str, str], cursor: int, behind: set[str] | None = None
    ) -> None:
        """Compare what is found somewhere with what may be there, given the cursor there."""
        # It may be less than was shown: the event that it names comes again, and may wait then.
        least = max(cursor, self._cursor)
        for violation in self._crowd.violations(found, least, behind):
            self.violations.append(f"{what}: {violation}")
        self.counts[f"{what.partition(' ')[0]} compared"] += 1

    def _demand(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.violations.append(otherwise)


def campaign(folder: Path, steps: list[str]) -> Campaign:
    """One chain of lives in `folder`."""
    folder.mkdir()
    playback = Playback([], {})
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(playback.serve()) as host,
    ):
        one = Campaign(folder, portal, host, playback)
        one.run(steps)
    return one


def campaigns(folder: Path, kills: int) -> str:
    """Kill so often, with all steps and random moments in their turn; what came of it, in words."""
    steps = list(islice(cycle([*crashing.STEPS, *[RANDOM] * 6]), kills))
    random.Random(kills).shuffle(steps)
    began = time.monotonic()
    with ThreadPoolExecutor(CHAINS) as pool:
        chains = [
            pool.submit(campaign, folder / f"chain-{n}", steps[n::CHAINS]) for n in range(CHAINS)
        ]
        done = [chain.result() for chain in chains]
    fired = sum((one.kills for one in done), Counter[str]())
    counts = sum((one.counts for one in done), Counter[str]())
    violations = [violation for one in done for violation in one.violations]
    assert violations == []
    assert fired == Counter(steps)
    assert fired.keys() >= {*crashing.STEPS}
    assert counts["remains compared"] == kills
    assert counts["restarts compared"] > kills // 3
    assert counts["acknowledged commits"] > kills
    counts |= {"seconds": round(time.monotonic() - began), "kills": kills}
    lines = [*sorted(fired.items()), *counts.items(), ("violations", len(violations))]
    return "".join(f"{count:8} {name}\n" for name, count in lines)


def test_nothing_acknowledged_is_lost_whatever_step_a_kill_comes_at(tmp_path: Path) -> None:
    assert campaigns(tmp_path, len(crashing.STEPS) + 2).count("\n") > len(crashing.STEPS)


@pytest.mark.long
def test_nothing_acknowledged_is_lost_in_a_campaign_of_kills(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = campaigns(tmp_path, KILLS)
    with capsys.disabled():
        sys.stdout.write(f"\n{report}")
