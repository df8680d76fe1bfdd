"""A record longer than a record may be: kept out under a rule, and told before it is sent."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atdata_client._records.lexicon import check_record
from atdata_indexer.ingest import Work
from atdata_schemas.errors import ValidationError
from atdata_schemas.records import MAX_BYTES, record_text
from tests.builders import DATASET, Write, commit, dataset, rev
from tests.contents import quarantined
from tests.small_index import ALICE, SmallIndex, row

PATH = f"{DATASET}/3kdatasetaaaa"
URI = f"at://{ALICE}/{PATH}"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SmallIndex]:
    small = SmallIndex(tmp_path)
    yield small
    small.close()


def long(surplus: int, letter: str = "x") -> dict[str, Any]:
    """A dataset so many bytes longer than one may be, in a field that its lexicon knows nothing of;
    shorter, if that is below 0.
    """
    empty = dataset(notes="")
    room = MAX_BYTES - len(record_text(empty).encode())
    return dataset(notes=letter * ((room + surplus) // len(letter.encode())))


def send(index: SmallIndex, at: int, write: Write) -> None:
    event = commit(at, did=ALICE, rev=rev(at), since=rev(at - 1), ops=[write])
    index.ingest.apply(Work([event], {"test": at}))


@pytest.mark.parametrize("letter", ["x", "é", "中"])
def test_the_longest_is_indexed_and_one_byte_more_is_quarantined(
    index: SmallIndex, letter: str
) -> None:
    send(index, 1, ("create", PATH, long(0)))
    assert index.store.record_status(URI).status == "indexed"
    send(index, 2, ("update", PATH, long(len(letter.encode()), letter)))
    status = index.store.record_status(URI)
    assert (status.status, status.rule) == ("quarantined", "maxBytes")
    assert status.reason == f"a record is at most {MAX_BYTES} bytes as JSON"
    assert len(quarantined(index.store)) == 1
    assert URI not in index.views(), "what was there before does not come back"


def test_a_publisher_is_told_before_anything_is_sent() -> None:
    check_record(long(0))
    with pytest.raises(ValidationError, match="at most 262144 bytes"):
        check_record(long(1))


def test_a_rebuild_loads_no_more_long_records_at_once_than_fit(index: SmallIndex) -> None:
    body = record_text(long(0))
    kept = [
        row(ALICE, DATASET, f"3k{number:011}", body, name="long", schema_uri=None)
        for number in range(300)
    ]
    index.store_only(kept)
    held = [sum(len(one.body) for one in batch) for batch in index.store.load_all()]
    assert sum(held) == 300 * len(body)
    assert max(held) <= 33 << 20 < sum(held) - max(held)
