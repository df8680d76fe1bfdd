"""A recording: a file of frames, each behind its length (u32, big-endian), gzipped or not."""

import gzip
import struct
import zlib
from collections.abc import AsyncGenerator, Container, Iterator, Sequence
from pathlib import Path

from atdata_indexer.errors import FrameError
from atdata_indexer.frames import Decode, Decoder, event_micros
from atdata_indexer.sources.relay import MAX_FRAME_BYTES

_CHUNK = 64


class ReplaySource:
    """A recorded stream. Its name holds the file's name, so each recording has its own cursor."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        """`file:` and the name of the file."""
        return f"file:{self._path.name}"

    @property
    def finite(self) -> bool:
        """Always."""
        return True

    async def frames(self, cursor: int | None) -> AsyncGenerator[Sequence[bytes]]:
        """See `Source.frames`. Frames before the cursor are left out, as a relay would."""
        decode = Decoder(frozenset()).decode
        chunk: list[bytes] = []
        yield ()
        for frame in read_recording(self._path):
            if cursor is not None and decode(frame)[0] < cursor:
                continue
            chunk.append(frame)
            if len(chunk) == _CHUNK:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    def decoder(self, tracked: Container[str]) -> Decode:
        """See `Source.decoder`."""
        return Decoder(tracked, self.name).decode

    def emitted_us(self, frame: bytes) -> int | None:
        """See `Source.emitted_us`."""
        return event_micros(frame)


def read_recording(path: Path) -> Iterator[bytes]:
    """The frames of a recording in order. Raises FrameError when the file is cut off or damaged."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        try:
            while head := file.read(4):
                (length,) = struct.unpack(">I", head)
                frame = file.read(length) if length <= MAX_FRAME_BYTES else b""
                if len(frame) != length:
                    raise FrameError(f"{path.name} is cut off or not a recording")
                yield frame
        except (struct.error, gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise FrameError(f"{path.name} is cut off or damaged: {error}") from error
