"""Every data directory an earlier version made is opened by this one, with all it holds."""

import json
import shutil
from pathlib import Path

import pytest

from atdata_indexer.index.reader import Reader
from atdata_indexer.index.store import Store
from atdata_indexer.index.writer import IndexWriter
from tests.contents import quarantined, searchable

DATA = Path(__file__).parent / "data"
TRUTH = json.loads((Path(__file__).parent / "fixtures" / "recording-truth.json").read_text("utf-8"))


@pytest.mark.parametrize("layout", sorted(path.name for path in DATA.glob("layout-*")))
def test_it_opens_and_holds_the_recorded_network(layout: str, tmp_path: Path) -> None:
    folder = tmp_path / layout
    shutil.copytree(DATA / layout, folder)
    store = Store(folder / "appview.duckdb")
    writer = IndexWriter(folder / "index", store)
    writer.catch_up()
    reader = Reader(folder / "index")
    wanted = {uri: one["cid"] for uri, one in TRUTH["records"].items() if one["valid"]}
    assert {uri: view["cid"] for uri, view in searchable(reader).items()} == wanted
    broken = {uri for uri, one in TRUTH["records"].items() if not one["valid"]}
    assert set(quarantined(store)) == broken
    writer.close()
    store.close()


def test_the_first_layout_is_among_them() -> None:
    assert (DATA / "layout-1" / "appview.duckdb").exists()
