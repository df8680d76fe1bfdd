"""A disk that fills up stops the program, loudly; when there is room again nothing is missing.

The disks are real and small: in memory, mounted where only the program sees them.
"""

import errno
import os
import random
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from atdata_indexer.admin_client import AdminClient
from atdata_indexer.playback import Playback
from atdata_indexer.settings import Settings
from benchmarks.repos import Write
from tests.appview import PATIENCE_S, PROGRAM, AppViewProcess, answer_of, settled, wait_until
from tests.conftest import require
from tests.signed import Author, frame, path, record

DATA = Path("/mnt")
"""Where the program sees its disks: one for the database, one for the search index."""
INDEX = DATA / "index"
RANDOM = random.Random(1)


class Disks:
    """Two small disks; `entering` runs a command where they are.

    `seen` says where this process sees what the program sees at a path.
    """

    def __init__(self, holder: int, entering: Sequence[str]) -> None:
        self.entering = entering
        self._root = Path(f"/proc/{holder}/root")

    def seen(self, path: Path) -> Path:
        return self._root / path.relative_to("/")

    def fill(self, folder: Path, *, leave: int = 0) -> None:
        """Leave so many bytes of the disk at `folder`, and no more."""
        filler = self.seen(folder) / "filler"
        piece = bytes(1 << 20)
        with filler.open("wb", buffering=0) as file:
            while piece:
                try:
                    file.write(piece)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    piece = piece[: len(piece) // 2]
            if leave:
                file.truncate(file.tell() - leave)

    def free(self, folder: Path) -> None:
        (self.seen(folder) / "filler").unlink()


@contextmanager
def mounted(namespaces: Sequence[str]) -> Iterator[int]:
    """Two disks in namespaces of their own; the process that these last as long as, 0 if none."""
    script = (
        f"mount -t tmpfs -o size=64m tmpfs {DATA} && mkdir {INDEX}"
        f" && mount -t tmpfs -o size=64m tmpfs {INDEX} && echo ready && exec cat"
    )
    with subprocess.Popen(
        ["unshare", *namespaces, "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        yield holder.pid if holder.stdout.readline() == b"ready\n" else 0


@pytest.fixture
def disks() -> Iterator[Disks]:
    with ExitStack() as stack:
        # The first needs root; the second need not be allowed.
        for namespaces in (["-m"], ["-U", "-r", "-m"]):
            holder = stack.enter_context(mounted(namespaces))
            if holder:
                break
        require(holder, "no file system can be mounted (unshare, mount)")
        flags = ["-m"] if namespaces == ["-m"] else ["-U", "-m", "--preserve-credentials"]
        yield Disks(holder, ["nsenter", "-t", str(holder), *flags])


class Program(AppViewProcess):
    """`atdata-appview run` on the disks, in small batches, so that it commits often."""

    def __init__(self, disks: Disks, host: str, **more: Any) -> None:
        super().__init__(DATA, host, program=[*disks.entering, PROGRAM], batch_events=20, **more)


class Network:
    """One author, whose commits are on a stream."""

    def __init__(self, portal: BlockingPortal, playback: Playback, host: str) -> None:
        self._portal, self.playback, self.host = portal, playback, host
        self.author = Author("alice")
        self._written = 0
        playback.identities[self.author.did] = self.author.identity(host)

    def write(self, commits: int, *, records: int = 10, size: int = 2000) -> None:
        """Commits of new records of this size, which cannot be compressed much."""
        for _ in range(commits):
            numbers = range(self._written, self._written + records)
            self._written += records
            body = self.author.write(
                *(
                    Write("create", path(n), record(f"n{n}") | {"description": text(size)})
                    for n in numbers
                )
            )
            self._portal.call(self.playback.append, frame(body))


def text(size: int) -> str:
    return RANDOM.randbytes(size // 2).hex()


@pytest.fixture
def network() -> Iterator[Network]:
    playback = Playback([], {})
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(playback.serve()) as host,
    ):
        yield Network(portal, playback, host)


def found(url: str) -> dict[str, str]:
    """URI and CID of every dataset that is found."""
    cids: dict[str, str] = {}
    page: dict[str, Any] = {"cursor": None}
    while "cursor" in page:
        params = {"limit": 100} | ({"cursor": page["cursor"]} if page["cursor"] else {})
        answer = httpx.get(f"{url}/xrpc/app.bsky.atdata.listDatasets", params=params)
        page = answer.raise_for_status().json()
        cids |= {view["uri"]: view["cid"] for view in page["datasets"]}
    return cids


def reached(disks: Disks, network: Network) -> int:
    """The cursor once all is searchable."""
    cursor = settled(AdminClient(disks.seen(DATA)), network.playback).sources[0].cursor
    assert cursor is not None
    return cursor


def ordered(disks: Disks, command: str) -> subprocess.CompletedProcess[str]:
    """Run an operator's command where the disks are."""
    return subprocess.run(
        [*disks.entering, PROGRAM, command],
        env={**os.environ, Settings.variable("data_dir"): str(DATA)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def ends_whole(disks: Disks, network: Network, acknowledged: int) -> None:
    """Started again, the program goes on where it was and ends as the author's repo."""
    with Program(disks, network.host) as program:
        assert program.wait_for_log("connected")["cursor"] >= acknowledged
        reached(disks, network)
        assert found(program.url) == network.author.uris()
        assert answer_of(ordered(disks, "verify"))["bodies"] == len(network.author.uris())
        assert program.stop() == 0


def stopped_by_a_full_disk(program: AppViewProcess) -> str:
    """What a program said when it ended by itself, which must be that, and why."""
    stopped = program.wait_for_log("stopped")
    assert wait_until(lambda: program.exit_code) == 3
    assert stopped["kind"] == "StoreError"
    said: str = stopped["error"]
    assert "damaged" not in said
    assert "No space left on device" in said or f"the disk of {INDEX} is full" in said
    return said


LEFT = [0, pytest.param(3 << 12, marks=pytest.mark.long), 200_000]
"""How much a disk still takes before it is full: it fills up at different places."""


@pytest.mark.parametrize("leave", LEFT)
def test_a_disk_that_is_full_when_the_database_commits_loses_nothing(
    disks: Disks, network: Network, leave: int
) -> None:
    with Program(disks, network.host) as program:
        network.write(10)
        acknowledged = reached(disks, network)
        disks.fill(DATA, leave=leave)
        network.write(30)
        assert "the database cannot be" in stopped_by_a_full_disk(program)
    disks.free(DATA)
    ends_whole(disks, network, acknowledged)


@pytest.mark.parametrize("leave", LEFT)
def test_a_disk_that_is_full_when_the_index_commits_loses_nothing(
    disks: Disks, network: Network, leave: int
) -> None:
    with Program(disks, network.host) as program:
        network.write(10)
        acknowledged = reached(disks, network)
        disks.fill(INDEX, leave=leave)
        network.write(30)
        assert "cannot write the index" in stopped_by_a_full_disk(program)
    disks.free(INDEX)
    ends_whole(disks, network, acknowledged)


def test_a_disk_that_is_full_when_the_index_is_made_anew_stops_the_start(
    disks: Disks, network: Network
) -> None:
    with Program(disks, network.host) as program:
        network.write(10)
        acknowledged = reached(disks, network)
        assert program.stop() == 0
    (disks.seen(INDEX) / "CURRENT").unlink()
    disks.fill(INDEX)
    with Program(disks, network.host, wait=False) as program:
        assert "cannot build the index" in stopped_by_a_full_disk(program)
    network.write(5)
    disks.free(INDEX)
    ends_whole(disks, network, acknowledged)


def test_a_disk_that_is_full_when_an_operator_rebuilds_fails_the_command_and_nothing_else(
    disks: Disks, network: Network
) -> None:
    with Program(disks, network.host) as program:
        network.write(10)
        reached(disks, network)
        disks.fill(INDEX, leave=3 << 12)
        failed = ordered(disks, "rebuild")
        assert failed.returncode == 3
        assert "cannot build the index" in failed.stderr
        assert "the disk of /mnt/index is full" in failed.stderr
        disks.free(INDEX)
        network.write(5)
        reached(disks, network)
        assert found(program.url) == network.author.uris()
        documents = answer_of(ordered(disks, "rebuild"))["documents"]
        assert documents == len(network.author.uris())
        assert program.stop() == 0


def test_a_program_that_is_stopped_on_a_full_disk_loses_nothing(
    disks: Disks, network: Network
) -> None:
    with Program(disks, network.host) as program:
        network.write(10)
        acknowledged = reached(disks, network)
        disks.fill(DATA)
        disks.fill(INDEX)
        assert program.stop() == 0
    network.write(5)
    with Program(disks, network.host, wait=False) as program:
        stopped_by_a_full_disk(program)
    disks.free(DATA)
    disks.free(INDEX)
    ends_whole(disks, network, acknowledged)
