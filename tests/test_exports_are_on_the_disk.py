"""What an export's manifest names is on the disk, whole; one that fails leaves what was offered."""

import os
import resource
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from atdata_indexer.exports import Export, Exports
from atdata_indexer.index.backup import DATABASE
from tests.appview import operator
from tests.exporting import HeldExports, Kept
from tests.small_index import NOW_US, SmallIndex, dataset, schema

PHOTO = schema()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallIndex]:
    index = SmallIndex(tmp_path)
    index.put([PHOTO, dataset(PHOTO.uri)])
    yield index
    index.close()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: as on a full disk, writes fail half-way."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_files_and_folders_are_on_the_disk_before_the_manifest_names_them(
    small: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[Path, int]] = []
    really = os.fsync

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced.append((path, os.fstat(descriptor).st_size))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    exports = Exports(small.folder)
    made = exports.make(small.store, NOW_US)
    root = small.folder / "export"
    before = [one[0] for one in synced].index(root / "manifest.new")
    on_disk = dict(synced[:before])
    for name, file in made.files.items():
        assert on_disk[exports.path(made, name)] == file.bytes, "nothing was written after that"
    folders = [path for path, _ in synced[:before]]
    assert folders.index(root / made.folder) > max(
        folders.index(exports.path(made, name)) for name in made.files
    )
    assert root in folders


@pytest.mark.parametrize("size", [0, 100, 5_000])
async def test_a_disk_that_is_full_half_way_leaves_what_was_offered(
    small: SmallIndex, size: int
) -> None:
    kept = Kept(small)
    offered = await kept.exporter.make()
    content = {name: kept.exports.path(offered, name).read_bytes() for name in offered.files}
    small.put([dataset(PHOTO.uri, rkey=f"3kdataset{n:04}") for n in range(2000)])
    with files_of_at_most(size), pytest.raises(OSError, match="File too large"):
        await kept.exporter.make()
    assert kept.exports.current() == offered
    for name, before in content.items():
        assert kept.exports.path(offered, name).read_bytes() == before
    folders = {path.name for path in (small.folder / "export").iterdir() if path.is_dir()}
    assert folders == {offered.folder}, "nothing is left of the other"
    made = await kept.exporter.make()
    assert kept.exports.current() == made
    assert made.files["datasets"].rows == 2001


def test_two_makers_at_once_make_one_after_the_other(small: SmallIndex) -> None:
    """Neither clears away what the other writes, be they in one process or two."""
    first, second = HeldExports(small.folder), HeldExports(small.folder)
    first.go_on.clear()
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(first.make, small.store, NOW_US)
        assert first.held.wait(60)
        begun = threading.Event()

        def make_too() -> Export:
            begun.set()
            return second.make(small.store, NOW_US)

        other = pool.submit(make_too)
        assert begun.wait(60)
        first.go_on.set()
        assert one.result(60) in first.offered
        last = other.result(60)
    assert first.spans[0][1] <= second.spans[0][1]
    now = Exports(small.folder)
    assert now.current() == last
    assert all(now.path(last, name).exists() for name in last.files)


def test_many_makers_at_once_end_with_a_whole_one(small: SmallIndex) -> None:
    exports = Exports(small.folder)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: exports.make(small.store, NOW_US), range(8)))
    assert len({one.folder for one in made}) == 8
    now = exports.current()
    assert now in made
    assert now is not None
    for name, file in now.files.items():
        assert pq.read_metadata(exports.path(now, name)).num_rows == file.rows


def test_an_operator_is_told_in_words_what_could_not_be_written(small: SmallIndex) -> None:
    """Also when no indexer runs."""
    small.close()
    (small.folder / "db").rename(small.folder / DATABASE)
    (small.folder / "export").write_text("not a folder")
    told = operator(small.folder, "export")
    assert told.returncode == 3
    assert "File exists" in told.stderr
    assert "Traceback" not in told.stderr
    small.open()
