"""A backup made under load restores to the index as it was, and begins a new epoch."""

import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from atdata_indexer.admin_client import AdminClient
from atdata_indexer.errors import StoreError
from atdata_indexer.index import backup
from atdata_indexer.index.backup import DATABASE, MANIFEST
from atdata_indexer.index.reader import Reader
from atdata_indexer.index.store import Store
from atdata_indexer.index.writer import IndexWriter
from atdata_indexer.playback import recorded
from tests.appview import AppViewProcess, answer_of, operator, playing, settled, wait_until
from tests.contents import quarantined, searchable, stored
from tests.small_index import ALICE, SmallIndex, dataset, schema

PHOTO = schema().uri


def restore(folder: Path, data_dir: Path, *, replace: bool = False) -> backup.Restored:
    return backup.restore(folder, data_dir, replace=replace, memory_limit="1GB")


def back_up(index: SmallIndex, folder: Path) -> backup.Manifest:
    backup.prepare(folder)
    copied = backup.copy(index.store, folder)
    return backup.finish(folder, copied, "2026-01-01T00:00:00.000000Z", "1GB")


def small(folder: Path) -> SmallIndex:
    index = SmallIndex(folder)
    index.put([schema(), dataset(PHOTO)])
    return index


def state(data_dir: Path) -> tuple[Any, ...]:
    """Rows, quarantine and cursors of a stopped data directory."""
    store = Store(data_dir / DATABASE)
    try:
        with store.reader() as db:
            cursors = db.execute("SELECT source, seq FROM cursors").fetchall()
        return stored(store), quarantined(store), cursors
    finally:
        store.close()


def held_by_another_process(path: Path) -> bool:
    """Whether a second process finds the database locked."""
    code = f"import duckdb; duckdb.connect({str(path)!r}).close()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return "Could not set lock" in done.stderr


def test_a_backup_under_load_restores_to_an_equal_index_with_a_new_epoch(tmp_path: Path) -> None:
    live, copy, other = tmp_path / "live", tmp_path / "copy", tmp_path / "other"
    playback = recorded()
    with (
        playing(playback) as host,
        AppViewProcess(live, host, command=["index"], batch_ms=1, batch_events=5) as process,
    ):
        client = AdminClient(live)
        wait_until(lambda: client.head() > 50)
        before = client.head()
        manifest = answer_of(operator(live, "backup", str(copy)))
        assert before <= manifest["head"]
        settled(client, playback)
        assert client.head() > manifest["head"], "nothing was written after the backup"
        assert process.stop() == 0
        taken = state(copy)

        restored = answer_of(operator(other, "restore", str(copy)))
        assert state(other) == taken
        assert restored["epoch"] != manifest["epoch"]
        assert restored["manifest"] == manifest
        ((_, cursor),) = taken[2]
        assert 0 < cursor < playback.last_seq

        with AppViewProcess(other, host, command=["index"]) as process:
            overview = settled(AdminClient(other), playback)
            assert overview.census.epoch == restored["epoch"]
            assert process.stop() == 0
    rows, faults, cursors = state(other)
    assert (rows, faults, cursors) == state(live)
    readers = [Reader(folder / "index") for folder in (other, live)]
    assert searchable(readers[0]) == searchable(readers[1])


def test_a_restored_database_has_its_index_made_anew(tmp_path: Path) -> None:
    index = small(tmp_path / "live")
    epoch = index.store.epoch
    back_up(index, tmp_path / "copy")
    index.put([dataset(PHOTO, rkey="3kdatasetbbbb")])
    index.close()
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "live" / "db").rename(data / DATABASE)
    shutil.copytree(tmp_path / "live" / "index", data / "index")

    made = restore(tmp_path / "copy", data, replace=True)
    store = Store(data / DATABASE)
    assert store.epoch == made.epoch != epoch
    writer = IndexWriter(data / "index", store)
    assert writer.rebuilt == "the index belongs to another database"
    assert len(searchable(Reader(data / "index"))) == 2
    writer.close()
    store.close()


def test_what_was_there_is_refused_or_put_aside_but_never_lost(tmp_path: Path) -> None:
    index = small(tmp_path / "live")
    back_up(index, tmp_path / "copy")
    index.close()
    data = tmp_path / "data"
    data.mkdir()
    (data / DATABASE).write_bytes(b"damaged")
    (data / f"{DATABASE}.wal").write_bytes(b"of the damaged one")
    with pytest.raises(StoreError, match="--replace"):
        restore(tmp_path / "copy", data)
    assert (data / DATABASE).read_bytes() == b"damaged"
    made = restore(tmp_path / "copy", data, replace=True)
    assert made.replaced == str(data / f"{DATABASE}.replaced")
    assert Path(made.replaced).read_bytes() == b"damaged"
    assert (data / f"{DATABASE}.wal.replaced").read_bytes() == b"of the damaged one"
    assert {path.name for path in data.iterdir()} == {
        DATABASE,
        f"{DATABASE}.replaced",
        f"{DATABASE}.wal.replaced",
    }
    assert len(state(data)[0]) == 2


def test_a_damaged_or_unfinished_backup_is_refused(tmp_path: Path) -> None:
    index = small(tmp_path / "live")
    back_up(index, tmp_path / "copy")
    index.close()
    whole = (tmp_path / "copy" / DATABASE).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (whole[:-1], whole + b"\0", b"", bytes(flipped)):
        (tmp_path / "copy" / DATABASE).write_bytes(damaged)
        with pytest.raises(StoreError, match="is damaged"):
            restore(tmp_path / "copy", tmp_path / "data")
        assert not list((tmp_path / "data").iterdir())
    (tmp_path / "copy" / MANIFEST).unlink()
    with pytest.raises(StoreError, match="not a complete backup"):
        restore(tmp_path / "copy", tmp_path / "data")


def test_a_backup_is_never_made_over_something(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "thesis.tex").write_text("the only copy")
    with pytest.raises(StoreError, match="not empty"):
        backup.prepare(tmp_path / "copy")


def test_a_backup_is_its_owners_alone(tmp_path: Path) -> None:
    index = small(tmp_path / "live")
    back_up(index, tmp_path / "copy")
    index.close()
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o700
    manifest = json.loads((tmp_path / "copy" / MANIFEST).read_text())
    assert manifest["size"] == (tmp_path / "copy" / DATABASE).stat().st_size


def test_it_holds_what_was_only_in_the_log_and_what_readers_still_see_deleted(
    tmp_path: Path,
) -> None:
    index = small(tmp_path / "live")
    with index.store.reader() as db:
        db.execute("BEGIN")
        assert db.execute("SELECT count(*) FROM records").fetchall() == [(2,)]
        index.put([dataset(PHOTO, rkey="3kdatasetbbbb")])
        index.account(ALICE, active=False, status="deleted")
        backup.prepare(tmp_path / "copy")
        copied = backup.copy(index.store, tmp_path / "copy")
        assert (tmp_path / "copy" / f"{DATABASE}.wal").stat().st_size > 0
        backup.finish(tmp_path / "copy", copied, "2026-01-01T00:00:00.000000Z", "1GB")
        assert db.execute("SELECT count(*) FROM records").fetchall() == [(2,)]
    rows = stored(index.store)
    index.close()
    assert state(tmp_path / "copy")[0] == rows
    assert len(rows) == 2


def test_a_backup_does_not_give_the_lock_on_the_database_away(tmp_path: Path) -> None:
    """Closing any descriptor of a file gives up a process's locks on it: none is closed."""
    index = small(tmp_path / "live")
    path = tmp_path / "live" / "db"
    assert held_by_another_process(path)
    for n in range(2):
        back_up(index, tmp_path / f"copy{n}")
        assert held_by_another_process(path)
    index.close()
    assert not held_by_another_process(path)


def test_restore_is_refused_while_the_indexer_runs(tmp_path: Path) -> None:
    live, copy = tmp_path / "live", tmp_path / "copy"
    with playing(recorded()) as host, AppViewProcess(live, host, command=["index"]) as process:
        answer_of(operator(live, "backup", str(copy)))
        before = (live / DATABASE).stat().st_ino
        done = operator(live, "restore", "--replace", str(copy))
        assert done.returncode == 3
        assert "is in use: stop the indexer" in done.stderr
        assert (live / DATABASE).stat().st_ino == before
        assert AdminClient(live).head() >= 0
        assert process.stop() == 0
    assert answer_of(operator(live, "restore", "--replace", str(copy)))["replaced"]


def test_a_backup_of_a_stopped_directory_needs_no_indexer(tmp_path: Path) -> None:
    index = small(tmp_path / "live")
    index.close()
    (tmp_path / "live" / "db").rename(tmp_path / "live" / DATABASE)
    made = answer_of(operator(tmp_path / "live", "backup", str(tmp_path / "copy")))
    assert made["head"] == 3
    shown = operator(tmp_path / "new", "restore", str(tmp_path / "copy"), "--table")
    assert shown.returncode == 0
    assert "makes the search index anew" in shown.stdout
