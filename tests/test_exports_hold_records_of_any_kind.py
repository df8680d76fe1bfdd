"""Exports hold whatever was indexed: long records in short groups, and odd values as they are."""

import json
import tracemalloc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from atdata_indexer import export
from atdata_indexer.changes import Row
from atdata_indexer.export import GROUP_TEXT, write
from atdata_indexer.exports import Exports
from atdata_indexer.index.store import Store
from atdata_schemas.records import parse_record
from tests import builders
from tests.small_index import BOB, NOW_US, SmallIndex, row


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallIndex]:
    index = SmallIndex(tmp_path)
    yield index
    index.close()


def stored(record: Mapping[str, Any], number: int) -> Row:
    """A valid record as a row."""
    collection, rkey = record["$type"], builders.tid(NOW_US + number)
    parse_record(collection, rkey, record)
    return row(BOB, collection, rkey, json.dumps(record), name=record["name"])


def exported(small: SmallIndex, name: str) -> pq.ParquetFile:
    exports = Exports(small.folder)
    return pq.ParquetFile(exports.path(exports.make(small.store, NOW_US), name))


def test_long_records_come_in_short_groups_and_few_are_held_at_once(
    small: SmallIndex, tmp_path: Path
) -> None:
    count, size = 300, 200_000
    long = "long " * (size // 5)
    for at in range(0, count, 50):
        records = (builders.dataset(name=f"n{n}", extra=f"{n} {long}") for n in range(at, at + 50))
        small.store_only(stored(one, at + n) for n, one in enumerate(records))
    folder = tmp_path / "out"
    folder.mkdir()
    tracemalloc.start()
    try:
        _, counts = write(small.store, folder)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert counts["datasets"] == count
    assert most < 2 * GROUP_TEXT < count * size
    with pq.ParquetFile(folder / "datasets.parquet") as file:
        groups = file.num_row_groups
        sizes = []
        for at in range(groups):
            rows = file.read_row_group(at, columns=["record"]).to_pylist()
            sizes.append(sum(len(one["record"]) for one in rows))
    assert groups >= count * size // GROUP_TEXT
    assert max(sizes) < GROUP_TEXT + 2 * size
    assert sum(sizes) > count * size


def test_short_records_fill_their_groups(
    small: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "GROUP", 40)
    small.store_only(stored(builders.dataset(name=f"n{n}"), n) for n in range(100))
    with exported(small, "datasets") as file:
        sizes = [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)]
    assert sizes == [40, 40, 20]


def test_a_database_that_may_not_take_the_memory_fails_the_export_alone(tmp_path: Path) -> None:
    """As a full disk does: what is offered stays, and the indexer goes on."""
    small = SmallIndex(tmp_path)
    Exports(tmp_path).make(small.store, NOW_US)
    long = "".join(chr(33 + n * 7919 % 90) for n in range(200_000))
    small.store_only(stored(builders.dataset(extra=f"{n}{long}"), n) for n in range(300))
    small.close()
    store = Store(tmp_path / "db", memory_limit="24MB")
    try:
        offered = Exports(tmp_path).current()
        with pytest.raises(OSError, match="Out of Memory"):
            Exports(tmp_path).make(store, NOW_US)
        assert Exports(tmp_path).current() == offered is not None
        assert store.counts()["accounts"] == 1, "the store can still be read"
    finally:
        store.close()


ODD: list[dict[str, Any]] = [
    {"name": "nul \x00 in it", "description": "\x00", "license": "\x00"},
    {"tags": ["\x00", "𝔘" * 12, " ", "a\tb\r\n"], "urls": ["\x00", "", "x" * 1000]},
    {"size": {"samples": 2**53 - 1, "bytes": 2**53 - 1}},
    {"size": {"samples": 0}},
    {"createdAt": "0010-01-01T00:00:00Z"},
    {"createdAt": "9999-12-31T23:59:59.999999Z"},
    {"createdAt": "1969-12-31T23:59:59.999999999Z"},
    {"description": "\ufffe\uffff\u202e\ud7ff\ue000\U0010ffff"},
    {"urls": ["https://x.example/"] * 10_000},
]


def test_odd_values_are_exported_as_they_are(small: SmallIndex) -> None:
    records = [builders.dataset(**changes) for changes in ODD]
    small.store_only(stored(one, n) for n, one in enumerate(records))
    with exported(small, "datasets") as file:
        rows = {one["uri"]: one for one in file.read().to_pylist()}
    assert len(rows) == len(ODD)
    exports = Exports(small.folder)
    made = exports.current()
    assert made is not None
    with duckdb.connect() as db:
        path = str(exports.path(made, "datasets"))
        db.execute("SET TimeZone = 'UTC'")
        ((years, samples),) = db.execute(
            "SELECT list_sort(list(DISTINCT year(created_at))), max(samples) FROM read_parquet(?)",
            [path],
        ).fetchall()
    assert (years[0], years[1], years[-1]) == (10, 1969, 9999)
    assert samples == 2**53 - 1
    for one in rows.values():
        said = json.loads(one["record"])
        assert said in records
        assert (one["name"], one["tags"], one["urls"]) == (said["name"], said["tags"], said["urls"])
