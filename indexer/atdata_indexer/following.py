"""Reads a source, again and again, from where reading stopped; queues what concerns us.

A stream that ends or breaks is connected to again, after a pause that grows while nothing new
comes.
What waits to be applied is bounded: reading stops until there is room.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import structlog
from websockets.exceptions import WebSocketException

from atdata_indexer.errors import ClockBehind, FrameError, FutureCursor, StreamError
from atdata_indexer.fold import FUTURE_US
from atdata_indexer.frames import Decoder, event_micros
from atdata_indexer.lanes import Lanes
from atdata_indexer.sources import Source

MAX_BACKOFF_S = 60.0


def backoff(failures: int) -> float:
    """Seconds to wait after the n-th failure in a row: doubling, with jitter, up to a minute."""
    most = min(MAX_BACKOFF_S, 0.5 * 2 ** min(failures, 10))
    return random.uniform(0.1, most)  # noqa: S311 - jitter, not a secret


@dataclass(slots=True)
class SourceStatus:
    """How a source is doing: `cursor` is stored, `lag_us` the age of its newest event when read."""

    name: str
    connected: bool = False
    cursor: int | None = None
    lag_us: int | None = None


class Follower:
    """Follows one source into `lanes`. `meet` is told of a DID that was not tracked, before its
    event is queued; `wake` is called when there is something to apply.

    `limit` bounds in bytes what waits, `first_cursor` is where to begin when nothing is stored.
    """

    def __init__(
        self,
        source: Source,
        lanes: Lanes,
        tracked: set[str],
        status: SourceStatus,
        *,
        first_cursor: int | None,
        limit: int,
        pause: Callable[[int], float],
        clock: Callable[[], int],
        meet: Callable[[str], None],
        wake: Callable[[], None],
    ) -> None:
        self._source = source
        self._lanes = lanes
        self._tracked = tracked
        self._status = status
        self._first_cursor = first_cursor
        self._limit = limit
        self._pause = pause
        self._clock = clock
        self._meet = meet
        self._wake = wake
        self._decode = Decoder(tracked).decode
        self._timed = 0.0
        self._log = structlog.get_logger().bind(source=source.name)
        self.read: int | None = None
        self.frames_read = self.events_kept = 0
        self.room = asyncio.Event()
        """Set whenever something that waited was applied."""
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Follow until cancelled; a recording, to its end.

        Raises FutureCursor and ClockBehind, and for a recording whatever breaks it.
        """
        failures = 0
        while True:
            try:
                async with aclosing(self._source.frames(self._start())) as chunks:
                    async for chunk in chunks:
                        if not self._status.connected:
                            self._status.connected = True
                            self._log.info("connected", cursor=self._start())
                        if chunk:
                            before = self.read
                            self._take(chunk)
                            # What is only delivered again is no sign that all is well.
                            failures = failures if self.read == before else 0
                        await self._until_there_is_room()
                if self._source.finite:
                    return
                self._log.info("stream_ended")
            except FutureCursor:
                self._log.error("future_cursor", cursor=self._start())
                raise
            except (OSError, WebSocketException, FrameError, StreamError) as error:
                if self._source.finite:
                    raise  # a recording does not get better by reading it again
                self.counts["disconnects"] += 1
                self._log.warning("disconnected", error=str(error)[:300])
            finally:
                self._status.connected = False
            failures += 1
            await asyncio.sleep(self._pause(failures))

    def _start(self) -> int | None:
        if self.read is not None:
            return self.read
        stored = self._status.cursor
        return stored if stored is not None else self._first_cursor

    def _take(self, chunk: Sequence[bytes]) -> None:
        """Decode a chunk and queue what concerns us."""
        decode, tracked = self._decode, self._tracked
        self.frames_read += len(chunk)
        for frame in chunk:
            seq, event = decode(frame)
            if event is not None:
                if event.did is not None and event.did not in tracked:
                    self._meet(event.did)
                self.events_kept += 1
                self._lanes.put(event, len(frame))
            if seq:
                self.read = seq
        now = asyncio.get_running_loop().time()
        if now - self._timed >= 1:
            self._timed = now
            self._note_age(chunk[-1])
        self._wake()

    def _note_age(self, frame: bytes) -> None:
        sent = event_micros(frame)
        age = None if sent is None else self._clock() - sent
        if age is not None and age < -FUTURE_US:
            raise ClockBehind(
                f"the clock of this machine is {-age // 1_000_000} s behind the stream: every"
                " commit would look as if it came from the future"
            )
        self._status.lag_us = None if age is None else max(0, age)

    async def _until_there_is_room(self) -> None:
        while self._lanes.ready_bytes > self._limit:
            self.room.clear()
            await self.room.wait()
