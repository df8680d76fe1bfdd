"""Recordings: files of frames, played from the start or from a cursor, and what breaks them."""

import gzip
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata_indexer.daemon import Indexer
from atdata_indexer.errors import FrameError, StreamError
from atdata_indexer.frames import Decoder
from atdata_indexer.sources.relay import MAX_FRAME_BYTES
from atdata_indexer.sources.replay import ReplaySource, read_recording
from tests.appview import settings as following
from tests.builders import (
    account_frame,
    commit_frame,
    error_frame,
    info_frame,
    recorded_frames,
    write_recording,
)

FRAMES = [account_frame(seq) for seq in range(1, 200)]
ENDINGS = ["bin", "bin.gz"]


async def played(path: Path, cursor: int | None) -> list[Sequence[bytes]]:
    return [chunk async for chunk in ReplaySource(path).frames(cursor)]


def seqs(chunks: list[Sequence[bytes]]) -> list[int]:
    decode = Decoder(frozenset()).decode
    return [decode(frame)[0] for chunk in chunks for frame in chunk]


# --- reading ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_recording_gives_back_the_frames_it_was_made_of(tmp_path: Path, ending: str) -> None:
    path = write_recording(tmp_path / f"frames.{ending}", FRAMES)
    assert list(read_recording(path)) == FRAMES
    assert path.read_bytes().startswith(b"\x1f\x8b") == (ending == "bin.gz")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_recording_may_hold_nothing(tmp_path: Path, ending: str) -> None:
    assert list(read_recording(write_recording(tmp_path / f"frames.{ending}", []))) == []


def test_the_recording_that_ships_is_read_to_its_end_and_in_the_order_of_its_seqs() -> None:
    found = seqs([recorded_frames()])
    assert len(found) > 600
    assert found == sorted(set(found))
    assert found[0] > 0


def test_a_recording_is_read_as_it_is_asked_for_and_not_before(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "frames.bin", FRAMES)
    path.write_bytes(path.read_bytes()[:-1])
    frames = read_recording(path)
    assert [next(frames) for _ in FRAMES[:-1]] == FRAMES[:-1]
    with pytest.raises(FrameError):
        next(frames)


@given(st.lists(st.binary(max_size=300), max_size=8), st.sampled_from(ENDINGS))
@settings(max_examples=60, deadline=None)
def test_any_messages_survive_being_recorded(
    tmp_path_factory: pytest.TempPathFactory, frames: list[bytes], ending: str
) -> None:
    path = write_recording(tmp_path_factory.getbasetemp() / f"any.{ending}", frames)
    assert list(read_recording(path)) == frames


# --- files that are cut off or are something else ---------------------------------------------

TWO = [b"first", b"second"]


@pytest.mark.parametrize("cut", [n for n in range(1, 19) if n != 9])
def test_a_plain_recording_cut_off_within_a_frame_is_a_frame_error(
    tmp_path: Path, cut: int
) -> None:
    path = write_recording(tmp_path / "frames.bin", TWO)
    assert path.stat().st_size == 19
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(FrameError, match=r"frames\.bin is cut off"):
        list(read_recording(path))


@pytest.mark.parametrize("missing", [1, 4, 8, 9, 12, 20])
def test_a_gzipped_recording_cut_off_anywhere_is_a_frame_error(
    tmp_path: Path, missing: int
) -> None:
    path = write_recording(tmp_path / "frames.bin.gz", FRAMES)
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(FrameError, match=r"frames\.bin\.gz"):
        list(read_recording(path))


def test_a_gzipped_recording_with_a_wrong_checksum_is_a_frame_error(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "frames.bin.gz", FRAMES)
    data = bytearray(path.read_bytes())
    data[-8] ^= 1
    path.write_bytes(data)
    with pytest.raises(FrameError, match=r"frames\.bin\.gz"):
        list(read_recording(path))


@pytest.mark.parametrize("place", [12, 40, 100])
def test_a_gzipped_recording_that_was_damaged_is_a_frame_error(tmp_path: Path, place: int) -> None:
    path = write_recording(tmp_path / "frames.bin.gz", FRAMES)
    data = bytearray(path.read_bytes())
    data[place : place + 8] = b"\xff" * 8
    path.write_bytes(data)
    with pytest.raises(FrameError, match=r"frames\.bin\.gz"):
        list(read_recording(path))


def test_a_plain_file_that_only_calls_itself_gzipped_is_a_frame_error(tmp_path: Path) -> None:
    path = tmp_path / "frames.bin.gz"
    path.write_bytes(struct.pack(">I", 5) + b"first")
    with pytest.raises(FrameError, match=r"frames\.bin\.gz"):
        list(read_recording(path))


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b"\xff" * 100,
        b"SQLite format 3\0",
        struct.pack(">I", MAX_FRAME_BYTES + 1) + bytes(MAX_FRAME_BYTES + 1),
        struct.pack(">I", 2**31) + bytes(100),
    ],
    ids=["json", "ff", "sqlite", "too long a frame", "endless frame"],
)
def test_a_file_that_is_no_recording_is_a_frame_error(
    tmp_path: Path, content: bytes, ending: str
) -> None:
    path = tmp_path / f"frames.{ending}"
    path.write_bytes(gzip.compress(content) if ending == "bin.gz" else content)
    with pytest.raises(FrameError, match="is cut off"):
        list(read_recording(path))


def test_a_recording_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(read_recording(tmp_path / "frames.bin"))


# --- as a source ------------------------------------------------------------------------------


def test_a_recording_is_a_source_that_ends_and_is_named_by_its_file(tmp_path: Path) -> None:
    source = ReplaySource(tmp_path / "frames.bin.gz")
    assert source.finite
    assert source.name == "file:frames.bin.gz"


@pytest.mark.parametrize("ending", ENDINGS)
async def test_without_a_cursor_everything_is_played_in_order(tmp_path: Path, ending: str) -> None:
    path = write_recording(tmp_path / f"frames.{ending}", FRAMES)
    chunks = await played(path, None)
    assert [frame for chunk in chunks for frame in chunk] == FRAMES


async def test_the_first_chunk_says_only_that_the_source_is_there(tmp_path: Path) -> None:
    chunks = await played(write_recording(tmp_path / "frames.bin", FRAMES), None)
    assert len(chunks[0]) == 0
    assert all(chunks[1:])
    assert await played(write_recording(tmp_path / "empty.bin", []), None) == [()]


@pytest.mark.parametrize("cursor", [0, 1, 2, 64, 65, 198, 199, 200, 2**63 - 1])
async def test_a_cursor_is_inclusive(tmp_path: Path, cursor: int) -> None:
    path = write_recording(tmp_path / "frames.bin.gz", FRAMES)
    assert seqs(await played(path, cursor)) == list(range(max(cursor, 1), 200))


async def test_a_cursor_may_lie_in_a_gap_of_the_stream(tmp_path: Path) -> None:
    frames = [commit_frame(seq) for seq in (3, 7, 20)]
    path = write_recording(tmp_path / "frames.bin", frames)
    assert seqs(await played(path, 8)) == [20]
    assert seqs(await played(path, 4)) == [7, 20]


async def test_a_frame_without_a_seq_is_played_from_the_start_only(tmp_path: Path) -> None:
    frames = [info_frame("OutdatedCursor"), *FRAMES[:2]]
    path = write_recording(tmp_path / "frames.bin", frames)
    assert seqs(await played(path, None)) == [0, 1, 2]
    assert seqs(await played(path, 1)) == [1, 2]


async def test_a_recorded_error_frame_ends_a_replay_as_it_ended_the_stream(tmp_path: Path) -> None:
    frames = [*FRAMES[:3], error_frame("ConsumerTooSlow")]
    path = write_recording(tmp_path / "frames.bin", frames)
    assert len([frame for chunk in await played(path, None) for frame in chunk]) == 4
    with pytest.raises(StreamError, match="ConsumerTooSlow"):
        await played(path, 1)


async def test_a_cut_off_recording_is_played_up_to_the_last_whole_chunk(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "frames.bin", FRAMES)
    path.write_bytes(path.read_bytes()[:-1])
    source = ReplaySource(path).frames(None)
    chunks = [await anext(source) for _ in range(4)]
    assert seqs(chunks) == list(range(1, 193))
    with pytest.raises(FrameError):
        await anext(source)


async def test_a_damaged_recording_stops_the_indexer_instead_of_being_read_for_ever(
    tmp_path: Path,
) -> None:
    """What came before the damage is indexed; then the error says what is wrong."""
    damaged = tmp_path / "damaged.bin"
    write_recording(damaged, recorded_frames()[:200])
    damaged.write_bytes(damaged.read_bytes()[:-5])
    source = ReplaySource(damaged)
    async with Indexer.open(following(tmp_path, "127.0.0.1:9"), [[source]]) as indexer:
        with pytest.raises(ExceptionGroup) as stopped:
            await indexer.run()
    assert stopped.group_contains(FrameError)
