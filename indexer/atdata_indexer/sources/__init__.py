"""Where events come from: I/O only. A source hands over frames as bytes and interprets nothing.

Invariants: frames come in the order of the stream; what waits unread is bounded in bytes; a source
ends by itself only when the stream does.
"""

from collections.abc import AsyncGenerator, Container, Sequence
from typing import Protocol

from atdata_indexer.frames import Decode


class Source(Protocol):
    """A stream of frames that can be taken up at a cursor."""

    @property
    def name(self) -> str:
        """What the cursor of this source is stored under; cursors never travel between sources."""

    @property
    def finite(self) -> bool:
        """Whether the end of the stream is the end of the work, as for a recording."""

    def frames(self, cursor: int | None) -> AsyncGenerator[Sequence[bytes]]:
        """Frames from `cursor` on (inclusive; None: from the source's own start), in chunks.

        The first chunk, which may be empty, says that the source is connected. Ends when the
        stream does. Raises OSError or websockets' exceptions when the connection fails.
        """

    def decoder(self, tracked: Container[str]) -> Decode:
        """What reads these frames; `tracked` holds the DIDs whose every event matters."""

    def emitted_us(self, frame: bytes) -> int | None:
        """When the source says it sent a frame, in microseconds since the epoch."""
