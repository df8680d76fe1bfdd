"""How many datasets are of some time is known without looking at each, and is exact."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata_indexer.index.fields import SPANS
from atdata_indexer.index.query import between, every, term
from atdata_indexer.index.snapshot import Snapshot
from atdata_indexer.index.spans import created_within, cut
from tests.described import snapshot as snapshot_of
from tests.small_index import NOW_US, SmallIndex, dataset, schema

DAY = SPANS["day"]
BEGIN = NOW_US - 10 * DAY
TIMES = [BEGIN + number * 7_777_777_777 for number in range(90)]
MOMENTS = st.integers(BEGIN - DAY, TIMES[-1] + DAY) | st.sampled_from(TIMES)


@given(st.integers(-5 * DAY, 5 * DAY), st.integers(0, 9 * DAY))
def test_a_time_is_cut_into_spans_and_rests_without_gap_or_overlap(low: int, length: int) -> None:
    whole, rests = cut(low, low + length)
    pieces = [*rests]
    for name, some in whole.items():
        pieces += [(one * SPANS[name], (one + 1) * SPANS[name] - 1) for one in some]
    at = low
    for start, end in sorted(pieces):
        assert start == at
        at = end + 1
    assert at == low + length + 1
    assert all(end - start < SPANS["hour"] * 2 for start, end in rests)
    assert len(whole["hour"]) < 48 or not whole["day"]


@pytest.fixture(scope="module", params=["nothing deleted", "some deleted"])
def snapshot(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Snapshot]:
    index = SmallIndex(tmp_path_factory.mktemp("spans"))
    shape = schema()
    index.put([shape])
    rkeys = [
        f"3kdataset{number:04}".translate(str.maketrans("0189", "abcd")) for number in range(90)
    ]
    rows = [
        dataset(shape.uri, rkey=rkey, created_us=us) for rkey, us in zip(rkeys, TIMES, strict=True)
    ]
    index.put(rows)
    if request.param == "some deleted":
        index.put(rows[::3])
    else:
        index.writer.rebuild()
    found = snapshot_of(index)
    assert bool(found.deleted) is (request.param == "some deleted")
    yield found
    index.close()


@given(low=st.none() | MOMENTS, high=st.none() | MOMENTS, step=st.sampled_from([1, 7, 80, 100]))
def test_a_count_is_what_there_is(
    snapshot: Snapshot, low: int | None, high: int | None, step: int
) -> None:
    bounds = [] if low is high is None else [between("created", low, high)]
    query = every(term("kind", "dataset"), *bounds)
    sample = TIMES[step // 2 :: step]
    assert created_within(snapshot, (low, high), sample, 10_000) == snapshot.count(query)
