"""A damaged index is made again by itself; a damaged database is said to be one, with a way back.

Damage to a stopped index is in `test_index_is_derived`, damage to a backup in
`test_backup_and_restore`.
"""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atdata_indexer.admin_client import AdminClient
from atdata_indexer.errors import StoreError
from atdata_indexer.index.backup import DATABASE
from atdata_indexer.index.store import Store
from atdata_indexer.index.writer import current
from atdata_indexer.playback import recorded
from tests.appview import AppViewProcess, answer_of, operator, playing, settled, wait_until
from tests.contents import stored
from tests.small_index import SmallIndex, dataset, schema

PHOTO = schema().uri
RANDOM = random.Random(1)


def overwrite(path: Path, at: float) -> None:
    """Put other bytes in the place of some, so far into the file."""
    with path.open("r+b") as file:
        file.seek(int(path.stat().st_size * at))
        file.write(RANDOM.randbytes(64))


def truncate(path: Path, at: float) -> None:
    os.truncate(path, int(path.stat().st_size * at))


def replace(path: Path, content: bytes) -> None:
    path.write_bytes(content)


# --- the index ----------------------------------------------------------------------------------


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SmallIndex]:
    small = SmallIndex(tmp_path)
    small.put([schema(), dataset(PHOTO)])
    yield small
    small.close()


def segments(index: SmallIndex) -> list[Path]:
    """The files that searches read, of the generation that is in use."""
    name = current(index.folder / "index")
    assert name is not None
    files = (index.folder / "index" / name).iterdir()
    return sorted(file for file in files if file.suffix in {".store", ".term", ".idx", ".fast"})


def test_a_corrupted_index_is_rebuilt_by_itself(index: SmallIndex) -> None:
    before = index.views()
    index.close()
    damaged = segments(index)
    for file in damaged:
        file.write_bytes(RANDOM.randbytes(file.stat().st_size))
    assert damaged
    index.open()
    assert index.writer.rebuilt
    assert index.views() == before


@pytest.mark.parametrize("name", [b"", b"\n", b"../elsewhere", b"\xff\xfe\x00", b"v99-nowhere"])
def test_an_index_whose_name_is_damaged_is_rebuilt_by_itself(
    index: SmallIndex, name: bytes
) -> None:
    before = index.views()
    index.close()
    (index.folder / "index" / "CURRENT").write_bytes(name)
    index.open()
    assert index.writer.rebuilt
    assert index.views() == before


def removed(folder: Path) -> None:
    shutil.rmtree(folder)


def emptied(folder: Path) -> None:
    for file in folder.iterdir():
        os.truncate(file, 0)


def scrambled(folder: Path) -> None:
    for file in folder.iterdir():
        file.write_bytes(RANDOM.randbytes(file.stat().st_size))


@pytest.mark.parametrize("damage", [removed, emptied, scrambled])
def test_an_index_damaged_in_use_fails_loudly_and_the_next_start_makes_it_anew(
    index: SmallIndex, damage: Callable[[Path], None]
) -> None:
    damage(segments(index)[0].parent)
    with pytest.raises(StoreError, match="cannot write the index"):
        index.put([dataset(PHOTO, rkey="3kdatasetbbbb")])
    index.reopen()
    assert index.writer.rebuilt
    assert len(index.views()) == 3, "what was stored when the index failed is in it"


def test_an_index_damaged_in_use_can_be_rebuilt_without_a_restart(index: SmallIndex) -> None:
    removed(segments(index)[0].parent)
    with pytest.raises(StoreError, match="cannot write the index"):
        index.put([dataset(PHOTO, rkey="3kdatasetbbbb")])
    index.writer.rebuild()
    assert len(index.views()) == 3


# --- the database -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory whose database has been checkpointed, with a backup beside it."""
    folder = tmp_path_factory.mktemp("whole")
    playback = recorded()
    with playing(playback) as host, AppViewProcess(folder / "data", host) as process:
        settled(AdminClient(folder / "data"), playback)
        assert process.stop() == 0
    answer_of(operator(folder / "data", "backup", str(folder / "backup")))
    return folder


DAMAGE: dict[str, Callable[[Path], None]] = {
    "emptied": lambda file: truncate(file, 0),
    "cut off in its header": lambda file: truncate(file, 0.001),
    "cut off": lambda file: truncate(file, 0.3),
    "another file": lambda file: replace(file, RANDOM.randbytes(100_000)),
    "its first bytes overwritten": lambda file: overwrite(file, 0),
    "zeros": lambda file: replace(file, bytes(file.stat().st_size)),
}
LESS = {"cut off in its header", "another file", "zeros"}
"""What is tried with `make test-long` only."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=pytest.mark.long if one in LESS else ()) for one in DAMAGE],
)
def test_a_damaged_database_stops_the_start_and_is_restored_from_a_backup(
    whole: Path, tmp_path: Path, name: str
) -> None:
    data = tmp_path / "data"
    shutil.copytree(whole / "data", data)
    before = contents(data)
    DAMAGE[name](data / DATABASE)
    damaged = (data / DATABASE).read_bytes()
    with AppViewProcess(data, "127.0.0.1:9", wait=False) as process:
        stopped = process.wait_for_log("stopped")
        assert wait_until(lambda: process.exit_code) == 3
    assert stopped["kind"] == "StoreError"
    for said in (str(data / DATABASE), "damaged", "restore --replace", "rebuild --from-network"):
        assert said in stopped["error"]
    assert (data / DATABASE).read_bytes() == damaged, "nothing is touched by itself"

    answer_of(operator(data, "restore", "--replace", str(whole / "backup")))
    assert contents(data) == before
    assert answer_of(operator(data, "verify"))["bodies"] > 0


def test_a_damaged_database_without_a_backup_is_filled_from_the_network_again(
    whole: Path, tmp_path: Path
) -> None:
    playback = recorded()
    data = tmp_path / "data"
    shutil.copytree(whole / "data", data)
    truncate(data / DATABASE, 0.3)
    damaged = (data / DATABASE).read_bytes()
    aside = answer_of(operator(data, "rebuild", "--from-network", "--json"))["put_aside"]
    assert Path(aside).read_bytes() == damaged, "nobody says that it cannot be mended"
    with playing(playback) as host, AppViewProcess(data, host) as process:
        settled(AdminClient(data), playback)
        refused = operator(data, "rebuild", "--from-network")
        assert refused.returncode == 3
        assert "in use: stop the indexer" in refused.stderr
        assert process.stop() == 0
    assert contents(data) == contents(whole / "data")


def test_a_database_damaged_where_its_rows_are_is_named_by_verify(
    whole: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(whole / "data", data)
    file = data / DATABASE
    step = 1 << 16  # every block of 256 KiB behind the headers, wherever the rows are
    for at in range(12288 + 100, file.stat().st_size, step):
        overwrite(file, at / file.stat().st_size)
    done = operator(data, "verify")
    assert done.returncode == 3
    assert "The file is damaged" in done.stderr


@pytest.mark.parametrize("at", [pytest.param(0, marks=pytest.mark.long), 0.5])
def test_what_a_cut_off_log_has_lost_is_read_from_the_stream_again(
    whole: Path, tmp_path: Path, at: float
) -> None:
    playback = recorded()
    with playing(playback) as host:
        with AppViewProcess(tmp_path, host, batch_events=20) as process:
            settled(AdminClient(tmp_path), playback)
            process.kill()
        log = tmp_path / f"{DATABASE}.wal"
        assert log.stat().st_size > 10_000
        truncate(log, at)
        with AppViewProcess(tmp_path, host) as process:
            assert process.wait_for_log("index_rebuilt")["why"] in {
                "the index is ahead of the database",
                "the index belongs to another database",  # which the log was all there was of
            }
            assert process.wait_for_log("connected")["cursor"] < playback.last_seq
            settled(AdminClient(tmp_path), playback)
            assert process.stop() == 0
    assert contents(tmp_path) == contents(whole / "data")


def contents(data: Path) -> dict[str, tuple[object, ...]]:
    """Every row of a stopped data directory."""
    store = Store(data / DATABASE)
    try:
        return stored(store)
    finally:
        store.close()
