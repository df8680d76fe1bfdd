"""Rows, repo state, outbox and cursor are committed together or not at all."""

import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from atdata_indexer.errors import StoreError
from atdata_indexer.index.store import Store
from tests.appview import PATIENCE_S
from tests.contents import stored
from tests.small_index import SmallIndex, dataset, schema


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SmallIndex]:
    small = SmallIndex(tmp_path)
    small.put([schema()])
    yield small
    small.close()


@pytest.mark.parametrize("step", ["_upsert", "_append", "_save_cursors"])
def test_a_failure_at_any_step_leaves_nothing_behind(
    index: SmallIndex, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before, head, cursor = stored(index.store), index.store.head, index.store.cursor("test")
    fired = []

    def fail(*args: object) -> None:
        fired.append(step)
        raise duckdb.IOException("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(index.store, step, fail)
        with pytest.raises(StoreError, match="no space left"):
            index.store_only([dataset(schema().uri)])
    assert fired
    index.reopen()
    assert stored(index.store) == before
    assert index.store.head == head
    assert index.store.cursor("test") == cursor
    index.put([dataset(schema().uri)])
    assert len(index.views()) == 2


def test_the_cursor_is_kept_per_source(index: SmallIndex) -> None:
    index.store.save_cursors({"wss://one.example": 7}, 0)
    index.reopen()
    assert index.store.cursor("wss://one.example") == 7
    assert index.store.cursor("wss://two.example") is None


def test_a_file_in_use_is_refused_with_a_reason(index: SmallIndex) -> None:
    import subprocess
    import sys

    code = (
        "import sys, pathlib; from atdata_indexer.index.store import Store; "
        "Store(pathlib.Path(sys.argv[1]))"
    )
    refused = subprocess.run(
        [sys.executable, "-c", code, str(index.folder / "db")], capture_output=True, text=True
    )
    assert "StoreError: cannot open" in refused.stderr
    assert "lock" in refused.stderr


def test_a_damaged_file_is_refused_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"not a database, but long enough to be looked at" * 1000)
    with pytest.raises(StoreError, match="cannot open"):
        Store(tmp_path / "db")


def test_a_newer_layout_is_refused_with_a_way_out(tmp_path: Path) -> None:
    Store(tmp_path / "db").close()
    with duckdb.connect(str(tmp_path / "db")) as db:
        db.execute("UPDATE meta SET value = '999' WHERE key = 'layout'")
    with pytest.raises(StoreError, match="layout 999"):
        Store(tmp_path / "db")


def test_sql_cannot_reach_files_or_settings(index: SmallIndex) -> None:
    with index.store.reader() as db:
        for sql in (
            "SELECT * FROM read_text('/etc/hostname')",
            "COPY (SELECT 1) TO '/tmp/out.csv'",
            "SET enable_external_access = true",
            "INSTALL httpfs",
            "ATTACH 'other.db'",
        ):
            with pytest.raises(duckdb.Error):
                db.execute(sql)


def test_closing_waits_for_who_still_reads(index: SmallIndex) -> None:
    begun, go_on, counted = threading.Event(), threading.Event(), list[int]()

    def read() -> None:
        with index.store.reader() as db:
            begun.set()
            assert go_on.wait(PATIENCE_S)
            counted.extend(db.execute("SELECT count(*) FROM records").fetchone() or ())

    reader = threading.Thread(target=read)
    reader.start()
    assert begun.wait(PATIENCE_S)
    closing = threading.Thread(target=index.store.close)
    closing.start()
    assert closing.is_alive()
    assert not counted
    go_on.set()
    for thread in (reader, closing):
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert len(counted) == 1
    with pytest.raises(StoreError, match="cannot be read"), index.store.reader():
        pass
    index.open()
