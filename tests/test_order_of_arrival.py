"""The order in which repos' events arrive, and how often, never changes the final index."""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import libipld
import pytest

from atdata_indexer.frames import Decoder, Event
from atdata_indexer.identity import ResolvedIdentity
from atdata_indexer.index.reader import Reader
from atdata_indexer.index.store import Store
from atdata_indexer.index.writer import IndexWriter
from atdata_indexer.ingest import Ingest, Work
from atdata_indexer.playback import RECORDING
from atdata_indexer.sources.replay import read_recording
from tests.contents import quarantined, searchable, stored


class Everyone:
    """Tracks every DID, so that decoding does not depend on what came before."""

    def __contains__(self, did: object) -> bool:
        return True


def events() -> list[Event]:
    decode = Decoder(Everyone()).decode
    touched: set[str | None] = set()
    found = []
    for frame in read_recording(RECORDING):
        event = decode(frame)[1]
        body = libipld.decode_dag_cbor_multi(frame)[1]
        if any(op["path"].startswith("app.bsky.atdata.") for op in body.get("ops", ())):
            touched.add(event.did if event else None)
        if event is not None:
            found.append(event)
    return [event for event in found if event.did in touched]


EVENTS = events()


def shuffled(seed: int) -> Iterator[Event]:
    """The events with repos interleaved at random, each repo's own order kept."""
    by_repo: dict[str | None, list[Event]] = defaultdict(list)
    for event in EVENTS:
        by_repo[event.did].append(event)
    turns = [did for did, queue in by_repo.items() for _ in queue]
    random.Random(seed).shuffle(turns)
    waiting = {did: iter(queue) for did, queue in by_repo.items()}
    for did in turns:
        yield next(waiting[did])


def end_of(folder: Path, log: Iterable[Event], batch: int) -> tuple[Any, ...]:
    """What an index holds after `log`, applied `batch` events at a time."""
    store = Store(folder / "db")
    try:
        writer = IndexWriter(folder / "index", store)
        ingest = Ingest(store, writer, verify=False)
        log = list(log)
        for at in range(0, len(log), batch):
            some = log[at : at + batch]
            handles = [
                ResolvedIdentity(e.did, f"h{e.did[8:16]}.test", None, None) for e in some if e.did
            ]
            ingest.apply(Work(some, {"test": some[-1].seq}))
            ingest.apply(Work(identities=handles))
        reader = Reader(folder / "index")
        reader.refresh()
        writer.close()
        return stored(store), quarantined(store), searchable(reader)
    finally:
        store.close()


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    return end_of(tmp_path_factory.mktemp("straight"), EVENTS, 100)


def test_the_recording_holds_what_makes_the_order_matter(straight: tuple[Any, ...]) -> None:
    rows, quarantine, views = straight
    missing = [v for v in views.values() if v.get("schema", {}).get("status") == "missing"]
    assert len(views) == 381
    assert len(quarantine) == 98
    assert len(missing) >= 3
    assert sum(row[0] == "deleted" for row in rows.values()) >= 5


@pytest.mark.parametrize(("seed", "batch"), [(1, 5), (2, 37), (3, 1000)])
def test_repos_interleaved_at_random_end_in_the_same_index(
    tmp_path: Path, straight: tuple[Any, ...], seed: int, batch: int
) -> None:
    assert end_of(tmp_path, shuffled(seed), batch) == straight


def test_the_whole_log_redelivered_three_times_changes_nothing(
    tmp_path: Path, straight: tuple[Any, ...]
) -> None:
    log = [*EVENTS, *shuffled(4), *shuffled(5)]
    assert end_of(tmp_path, log, 250) == straight


def test_redelivery_of_any_tail_changes_nothing(tmp_path: Path, straight: tuple[Any, ...]) -> None:
    log = list(EVENTS)
    for start in (len(EVENTS) // 4, len(EVENTS) // 2, len(EVENTS) - 10):
        log += EVENTS[start:]
    assert end_of(tmp_path, log, 64) == straight
