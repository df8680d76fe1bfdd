"""Following the changes of long records takes no more memory than a batch may."""

import asyncio
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from atdata_api.changes_source import ChangesSource
from atdata_api.server import AppView
from atdata_indexer.changes_feed import MOST_TEXT, Batch, read
from atdata_indexer.daemon import Indexer
from tests.small_index import BOB, DATASET, SCHEMA, SmallIndex, dataset, row

LONG = 900_000
MANY = 24


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallIndex]:
    index = SmallIndex(tmp_path)
    yield index
    index.close()


def long_records(index: SmallIndex) -> None:
    """Datasets whose own text is long."""
    for number in range(MANY):
        words = f"{number} " * (LONG // 3)
        body = f'{{"$type":"{DATASET}","name":"x","schemaRef":"at://x","text":"{words[:LONG]}"}}'
        index.store_only([row(BOB, DATASET, f"3k{number:011}", body, name="x")])


def long_schemas(index: SmallIndex) -> None:
    """Short datasets, each with a long schema of its own that came long before."""
    schemas = []
    for number in range(MANY):
        body = f'{{"$type":"{SCHEMA}","name":"Long","text":"{"y" * LONG}"}}'
        schemas.append(row(BOB, SCHEMA, f"3s{number:011}", body, name="Long"))
        index.store_only(schemas[-1:])
    index.store_only(dataset(one.uri, rkey=f"3k{number:011}") for number, one in enumerate(schemas))


def batches(index: SmallIndex, after: int) -> Sequence[tuple[Batch, int]]:
    """All there is to tell from a seq on, and how much memory each batch took at most."""
    found = []
    while after < index.store.head:
        tracemalloc.start()
        batch = read(index.store, after, index.store.head)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        found.append((batch, peak))
        after = batch.until
    return found


@pytest.mark.parametrize("fill", [long_records, long_schemas])
def test_a_batch_of_long_records_holds_about_what_it_may(
    small: SmallIndex, fill: Callable[[SmallIndex], None]
) -> None:
    fill(small)
    last = small.store.head - MANY
    found = batches(small, last)
    entries = [one for batch, _ in found for one in batch.entries]
    assert [one.seq for one in entries] == list(range(last + 1, small.store.head + 1))
    assert all(one.view is not None for one in entries)
    # Bodies as they are read, and what is made of them.
    assert max(peak for _, peak in found) < 4 * MOST_TEXT
    held = [sum(len(one.view or "") for one in batch.entries) for batch, _ in found]
    assert max(held) < 2 * MOST_TEXT


def test_short_records_are_still_told_many_at_once(small: SmallIndex) -> None:
    small.store_only(dataset("at://x", rkey=f"3k{number:011}") for number in range(150))
    [(batch, _)] = batches(small, 0)
    assert len(batch.entries) == 150


class Counted:
    """The ledger of an indexer, with how often changes were read."""

    def __init__(self, indexer: Indexer) -> None:
        self._indexer = indexer
        self.read = 0

    def changes(self, after: int, until: int) -> Batch:
        self.read += 1
        return self._indexer.changes(after, until)


async def test_followers_at_one_place_share_what_is_read_there(recorded_appview: AppView) -> None:
    ledger = Counted(recorded_appview.indexer)
    source = ChangesSource(recorded_appview.indexer.reader, ledger)  # type: ignore[arg-type]  # the part that is used
    first = await asyncio.gather(*(source.behind(0) for _ in range(50)))
    assert ledger.read == 1
    assert all(one is first[0] for one in first)
    later = await asyncio.gather(*(source.behind(first[0].until) for _ in range(50)))
    assert ledger.read == 2
    assert later[0].until > first[0].until
