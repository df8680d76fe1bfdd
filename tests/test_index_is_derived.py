"""tantivy is disposable: whatever happens to it, it is made again from the database."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atdata_indexer.index.reader import Reader
from atdata_indexer.index.writer import CURRENT, current
from tests.small_index import SmallIndex, dataset, schema

PHOTO = schema().uri
WHALES = dataset(PHOTO).uri


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SmallIndex]:
    small = SmallIndex(tmp_path)
    small.put([schema(), dataset(PHOTO)])
    yield small
    small.close()


def generation(index: SmallIndex) -> Path:
    name = current(index.folder / "index")
    assert name is not None
    return index.folder / "index" / name


def deleted(folder: Path) -> None:
    shutil.rmtree(folder)


def without_its_meta_file(folder: Path) -> None:
    (folder / "meta.json").unlink()


def with_garbage_for_its_meta_file(folder: Path) -> None:
    (folder / "meta.json").write_text("{")


def truncated(folder: Path) -> None:
    for file in folder.iterdir():
        if file.suffix in {".store", ".term", ".idx"}:
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def of_another_layout(folder: Path) -> None:
    folder.rename(folder.with_name("v0-old"))
    (folder.parent / CURRENT).write_text("v0-old")


@pytest.mark.parametrize(
    "damage",
    [
        deleted,
        without_its_meta_file,
        with_garbage_for_its_meta_file,
        truncated,
        of_another_layout,
    ],
)
def test_a_damaged_index_is_rebuilt_by_itself(
    index: SmallIndex, damage: Callable[[Path], None]
) -> None:
    before = index.views()
    index.close()
    damage(generation(index))
    index.open()
    assert index.writer.rebuilt
    assert index.views() == before


def test_an_undamaged_index_is_not_rebuilt(index: SmallIndex) -> None:
    index.reopen()
    assert index.writer.rebuilt is None


def test_what_was_stored_but_not_indexed_before_a_crash_is_indexed_after_it(
    index: SmallIndex,
) -> None:
    index.store_only([dataset(PHOTO, rkey="3kdatasetbbbb")])
    assert len(index.views()) == 2
    index.reopen()
    assert index.writer.rebuilt is None
    assert len(index.views()) == 3


def test_an_index_of_another_database_is_rebuilt(index: SmallIndex, tmp_path: Path) -> None:
    before = index.views()
    index.close()
    other = SmallIndex(tmp_path / "other")
    other.close()
    shutil.rmtree(index.folder / "index")
    shutil.copytree(tmp_path / "other" / "index", index.folder / "index")
    index.open()
    assert index.writer.rebuilt == "the index belongs to another database"
    assert index.views() == before


def test_an_index_ahead_of_its_database_is_rebuilt(index: SmallIndex, tmp_path: Path) -> None:
    index.close()
    shutil.copytree(index.folder, tmp_path / "backup")
    index.open()
    index.put([dataset(PHOTO, rkey="3kdatasetbbbb")])
    index.close()
    (index.folder / "db").unlink()
    shutil.copy(tmp_path / "backup" / "db", index.folder / "db")
    index.open()
    assert index.writer.rebuilt == "the index is ahead of the database"
    assert set(index.views()) == {PHOTO, WHALES}


def test_an_index_behind_a_pruned_outbox_is_rebuilt(index: SmallIndex) -> None:
    for n in range(3):
        index.store_only([dataset(PHOTO, rkey=f"3kdataset{'bcd'[n] * 4}")])
    index.store.prune_outbox(index.store.head, keep=1)
    index.reopen()
    assert index.writer.rebuilt == "the index is behind what the outbox still holds"
    assert len(index.views()) == 5


def test_the_outbox_never_forgets_what_is_not_indexed(index: SmallIndex) -> None:
    reached = index.writer.seq
    index.store_only([dataset(PHOTO, rkey="3kdatasetbbbb")])
    index.store.prune_outbox(reached, keep=0)
    index.reopen()
    assert index.writer.rebuilt is None
    assert len(index.views()) == 3


def test_a_reader_goes_on_while_the_index_is_rebuilt_and_then_follows(index: SmallIndex) -> None:
    before = index.views()
    reader = Reader(index.folder / "index")
    reader.refresh()
    old = generation(index)
    index.writer.rebuild()
    assert reader.get("dataset", [WHALES])
    reader.refresh()
    assert generation(index) != old
    assert index.views() == before
    index.reopen()
    assert not old.exists()
