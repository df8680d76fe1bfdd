"""What a reader touched of the index's files does not stay resident without a bound.

Answers are the same before and after; a file is mapped once, however often that was done.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from atdata_indexer.changes import Row
from atdata_indexer.errors import StoreError
from atdata_indexer.index import mapped, reader
from atdata_indexer.index.query import Search
from tests.small_index import BOB, DATASET, SmallIndex, row

RECORDS = 3000
BOUND = 1 << 20
SCHEMA_URI = f"at://{BOB}/app.bsky.atdata.schema/3kschemaaaaaa"


def described(number: int) -> str:
    """A record of a few kilobytes that does not pack well."""
    text = Random(number).randbytes(1500).hex()
    body = {"name": f"calls {number}", "schemaRef": SCHEMA_URI, "description": text}
    return json.dumps({"$type": DATASET} | body)


def calls(number: int) -> Row:
    body = described(number)
    return row(BOB, DATASET, f"{number:04}", body, name=f"calls {number}", schema_uri=SCHEMA_URI)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallIndex]:
    index = SmallIndex(tmp_path_factory.mktemp("index"))
    index.put(map(calls, range(RECORDS)))
    yield index
    index.close()


@pytest.fixture
def index(filled: SmallIndex) -> SmallIndex:
    filled.reader = reader.Reader(filled.folder / "index")
    return filled


def mappings(index: SmallIndex) -> tuple[Counter[str], int]:
    """How often each file of the index is mapped by this process, and how much is resident."""
    found: Counter[str] = Counter()
    resident, ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-", line):
            name = line.split(maxsplit=5)[-1]
            ours = name.startswith(str(index.folder / "index"))
            found[name] += ours
        elif ours and line.startswith("Rss:"):
            resident += int(line.split()[1]) << 10
    return +found, resident


def ask_all(index: SmallIndex) -> Iterator[int]:
    """Read every record by itself; how much is resident every hundred times."""
    for number in range(RECORDS):
        uri = f"at://{BOB}/{DATASET}/{number:04}"
        (view,) = index.reader.get("dataset", [uri])
        assert json.loads(view)["record"]["name"] == f"calls {number}"
        if number % 100 == 99:
            yield mappings(index)[1]


def test_what_was_touched_is_let_go(index: SmallIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    before = index.reader.search(Search("dataset", q="calls"), limit=5)
    most = max(ask_all(index))
    assert most > 4 * BOUND  # else there is nothing to let go of
    index.reader.refresh(anew=True)
    monkeypatch.setattr(mapped, "MOST_BYTES", mapped.resident() + BOUND)
    some = [*ask_all(index)]
    assert max(some[1:]) < 3 * BOUND
    again = index.reader.search(Search("dataset", q="calls", tags=[]), limit=5)
    assert (again.views, again.total) == (before.views, before.total)
    assert set(mappings(index)[0].values()) == {1}


def test_what_few_wide_questions_touched_is_let_go_too(
    index: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    uris = [f"at://{BOB}/{DATASET}/{number:04}" for number in range(RECORDS)]
    index.reader.refresh(anew=True)
    monkeypatch.setattr(mapped, "MOST_BYTES", mapped.resident() + BOUND)
    for _ in range(mapped.LOOK - 1):
        assert len(index.reader.get("dataset", uris)) == RECORDS
    assert mappings(index)[1] > 4 * BOUND
    for uri in uris[: 2 * mapped.LOOK]:
        index.reader.get("dataset", [uri])
    assert mappings(index)[1] < BOUND


def test_how_far_the_index_is_can_be_asked_without_that(
    index: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop asks for it."""
    before = index.reader._snapshot()
    monkeypatch.setattr(mapped, "MOST_BYTES", -1)
    monkeypatch.setattr(mapped, "LOOK", 1)
    assert index.reader.seq == before.sentinel.seq
    assert index.reader._now is before
    assert index.reader._snapshot() is not before


def test_a_walk_goes_on_where_it_was(index: SmallIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "MOST_BYTES", -1)  # anew whenever it is looked at
    monkeypatch.setattr(mapped, "LOOK", 2)
    first = index.reader._snapshot().index
    seen: list[str] = []
    cursor = None
    while cursor or not seen:
        page = index.reader.search(
            Search("dataset", q="calls"), sort="relevance", limit=100, cursor=cursor
        )
        seen += [json.loads(view)["uri"] for view in page.views]
        cursor = page.cursor
    assert len(seen) == len(set(seen)) == RECORDS
    assert index.reader._snapshot().index is not first


def test_an_index_that_cannot_be_mapped_anew_is_still_asked(
    index: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def gone(path: str) -> None:
        tried.append(path)
        raise StoreError("there is no index")

    index.reader.refresh()
    monkeypatch.setattr(mapped, "MOST_BYTES", -1)
    monkeypatch.setattr(mapped, "LOOK", 1)
    monkeypatch.setattr(reader, "open_index", gone)
    assert index.reader.search(Search("dataset", q="calls")).total == RECORDS
    assert tried
