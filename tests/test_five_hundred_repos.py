"""Ten thousand events of 500 repos through the real index, again and in other orders: one end."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from atdata_indexer.frames import Commit
from atdata_indexer.index.reader import Reader
from atdata_indexer.index.store import Store
from atdata_indexer.index.writer import IndexWriter
from atdata_indexer.ingest import Ingest, Work
from atdata_schemas.syntax import cid_text
from tests.builders import DATASET, Write, block_of, cid, commit, dataset, rev
from tests.contents import searchable, stored

REPOS, EACH, BATCH = 500, 20, 500
SOURCE = "wss://relay.example"
DIGITS = str.maketrans("0189", "bcde")  # which base32 lacks
DIDS = [f"did:plc:{number:a>24}".translate(DIGITS) for number in range(REPOS)]


def log_of(did: str, chance: random.Random, truth: dict[str, bytes]) -> Iterator[Commit]:
    """The commits of one repo, recreations among them; `truth` is what is left."""
    live: set[str] = set()
    since = None
    for number in range(EACH):
        place = f"{DATASET}/3k{chance.choice('abcd') * 11}"
        uri = f"at://{did}/{place}"
        record = dataset(name=f"{did[-4:]} {number}")
        write: Write
        if place not in live:
            write = ("create", place, record)
        elif chance.random() < 0.4:
            write = ("delete", place, None)
        else:
            write = ("update", place, record)
        if write[2] is None:
            live.discard(place)
            del truth[uri]
        else:
            live.add(place)
            truth[uri] = cid(block_of(record))
        yield commit(number + 1, did, rev(number), since, [write])
        since = rev(number)


def shuffled(logs: Sequence[Sequence[Commit]], seed: int) -> list[Commit]:
    """All events, in another order across repos and in order within each."""
    turns = [number for number, log in enumerate(logs) for _ in log]
    random.Random(seed).shuffle(turns)
    waiting = [iter(log) for log in logs]
    return [next(waiting[number]) for number in turns]


@contextmanager
def index(folder: Path) -> Iterator[tuple[Store, Ingest, Reader]]:
    store = Store(folder / "db")
    writer = IndexWriter(folder / "index", store)
    try:
        yield store, Ingest(store, writer, verify=False), Reader(folder / "index")
    finally:
        writer.close()
        store.close()


def digest(store: Store, reader: Reader) -> str:
    """One hash over all that is stored and all that is found."""
    reader.refresh()
    found = sorted(searchable(reader).items()), sorted(stored(store).items())
    return sha256(repr(found).encode()).hexdigest()


def test_three_times_over_in_any_order_ends_as_a_plain_dict(tmp_path: Path) -> None:
    chance, truth = random.Random(500), dict[str, bytes]()
    logs = [list(log_of(did, chance, truth)) for did in DIDS]
    ends, heads = set[str](), set[int]()
    with index(tmp_path) as (store, ingest, reader):
        for seed in range(3):
            events = shuffled(logs, seed)
            assert len(events) == REPOS * EACH
            for at in range(0, len(events), BATCH):
                ingest.apply(Work(events[at : at + BATCH], {SOURCE: at + BATCH}))
            ends.add(digest(store, reader))
            heads.add(store.head)
        assert len(heads) == 1, "what came again changed nothing"
        held = {uri: view["cid"] for uri, view in searchable(reader).items()}
        assert ingest.counts["stale_commits"] == 2 * REPOS * EACH
    assert len(ends) == 1
    assert held == {uri: cid_text(binary) for uri, binary in truth.items()}
    assert 500 < len(held) < 4 * REPOS
