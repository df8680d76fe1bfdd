"""Views lie packed in the index and come out as they went in, in every thread."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata_indexer.errors import StoreError
from atdata_indexer.index.packing import DICTIONARY, pack, unpack
from tests.relevance.measure import load_records, published
from tests.small_index import SmallIndex, schema


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.text('{}[]:," ', max_size=5_000))
def test_a_view_comes_out_as_it_went_in(view: str) -> None:
    assert unpack(pack(view)) == view


@given(st.binary(max_size=300))
def test_what_was_never_packed_is_no_surprise(stored: bytes) -> None:
    with suppress(StoreError):
        assert isinstance(unpack(stored), str)


def test_a_damaged_view_is_refused() -> None:
    with pytest.raises(StoreError, match="a stored view is damaged"):
        unpack(b"")
    with pytest.raises(StoreError, match="a stored view is damaged"):
        unpack(pack("a view " * 100)[:-3])


def test_threads_pack_and_unpack_at_the_same_time() -> None:
    views = [
        f'{{"uri": "at://did:plc:{number}", "text": "{number * 7}"}}' * 50 for number in range(200)
    ]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda view: unpack(pack(view)), views * 5)) == views * 5


def test_the_dictionary_makes_realistic_views_less_than_half_their_size() -> None:
    with published(load_records()) as index:
        views = [json.dumps(view) for view in index.views().values()]
    whole = sum(len(view.encode()) for view in views)
    assert len(views) > 500
    assert sum(len(pack(view)) for view in views) < whole / 2
    assert DICTIONARY.stat().st_size == 4096


def test_the_index_stores_what_it_is_given(tmp_path: Path) -> None:
    index = SmallIndex(tmp_path)
    index.put([schema()])
    index.close()
    (store,) = (tmp_path / "index").glob("*/*.store")
    assert pack(index.reader.get("schema", [schema().uri])[0]) in store.read_bytes()
