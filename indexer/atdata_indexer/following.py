"""Reads a source, again and again, from where reading stopped; queues what concerns us.

A stream that ends or breaks is connected to again, after a pause that grows while nothing new
comes. Where others can stand in for it they do, each from its own cursor. A frame that cannot be
read ends the connection, for the source may mend it; at the third time it is set aside as it came,
noted as a gap, and the stream goes on behind it. What waits to be applied is bounded: reading stops
until there is room.
"""

import asyncio
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from hashlib import sha256

import structlog
from websockets.exceptions import WebSocketException

from atdata_indexer.errors import ClockBehind, FrameError, FutureCursor, StreamError
from atdata_indexer.fold import FUTURE_US
from atdata_indexer.frames import Event, Gap
from atdata_indexer.lanes import Lanes
from atdata_indexer.sources import Source

MAX_BACKOFF_S = 60.0
STRIKES = 3
"""How often a frame may break the connection at one position of the stream."""
PATIENCE = 5
"""After so many failures in a row another source stands in, if there is one."""
_KEPT = 10_000
_DID = re.compile(rb"did:(?:plc:[a-z2-7]{24}|web:[a-zA-Z0-9.:%-]{1,200})")


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
    """Follows one of `sources` at a time into `lanes`, the first as long as it can be had.

    `meet` is told of a DID that was not tracked, before its event is queued; `wake` is called when
    there is something to apply; `room` is set whenever something was. `limit` bounds in bytes what
    waits, `first_cursor` is where the first source begins when nothing is stored. What happens is
    counted in `counts`.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        lanes: Lanes,
        tracked: set[str],
        cursors: Callable[[str], int | None],
        *,
        first_cursor: int | None,
        limit: int,
        room: asyncio.Event,
        counts: Counter[str],
        pause: Callable[[int], float],
        clock: Callable[[], int],
        meet: Callable[[str], None],
        wake: Callable[[], None],
    ) -> None:
        self._sources = sources
        self._lanes = lanes
        self._tracked = tracked
        self._first_cursor = first_cursor
        self._limit = limit
        self._room = room
        self._counts = counts
        self._pause = pause
        self._clock = clock
        self._meet = meet
        self._wake = wake
        self._timed = 0.0
        self._struck_at: int | None = None
        self._strikes = 0
        self._kept: set[bytes] = set()
        self._begins_live = False
        self.statuses = [SourceStatus(one.name, cursor=cursors(one.name)) for one in sources]
        self.read: dict[str, int] = {}
        """How far each source was read since the start."""
        self._follow(0)

    async def run(self) -> None:
        """Follow until cancelled; a recording, to its end.

        Raises FutureCursor and ClockBehind, and for a recording whatever breaks it.
        """
        failures = 0
        while True:
            begun = self._position
            try:
                await self._read_once()
                if self._source.finite:
                    return
                self._log.info("stream_ended")
            except FutureCursor:
                self._log.error("future_cursor", cursor=self._position)
                raise
            except (OSError, WebSocketException, FrameError, StreamError) as error:
                if self._source.finite:
                    raise  # a recording does not get better by reading it again
                self._counts["disconnects"] += 1
                self._log.warning("disconnected", error=str(error)[:300])
            finally:
                self.status.connected = False
            # What is only delivered again is no sign that all is well.
            failures = 1 if self._position != begun else failures + 1
            await asyncio.sleep(self._pause(failures))
            if failures % PATIENCE == 0 and len(self._sources) > 1:
                self._follow((self._at + 1) % len(self._sources))
                self._log.warning("stands_in", cursor=self._position)
                self._counts["failovers"] += 1
                self._begins_live = self._position is None

    def _follow(self, at: int) -> None:
        self._at = at
        self._source = self._sources[at]
        self.status = self.statuses[at]
        self._decode = self._source.decoder(self._tracked)
        self._strikes = 0
        self._log = structlog.get_logger().bind(source=self.status.name)

    @property
    def _position(self) -> int | None:
        """Where the source that is followed goes on."""
        begin = self._first_cursor if self._at == 0 else None
        stored = self.status.cursor
        return self.read.get(self.status.name, begin if stored is None else stored)

    async def _read_once(self) -> None:
        async with aclosing(self._source.frames(self._position)) as chunks:
            async for chunk in chunks:
                if not self.status.connected:
                    self.status.connected = True
                    self._log.info("connected", cursor=self._position)
                    if self._begins_live:
                        # Not before it is connected: what happens until then may be missed too.
                        self._begins_live = False
                        self._queue(Gap(1, "another source stands in", source=self.status.name))
                if chunk:
                    self._take(chunk)
                while self._lanes.ready_bytes > self._limit:
                    self._room.clear()
                    await self._room.wait()

    def _take(self, chunk: Sequence[bytes]) -> None:
        """Decode a chunk and queue what concerns us."""
        decode, name, read = self._decode, self.status.name, self.read
        self._counts["frames"] += len(chunk)
        for frame in chunk:
            try:
                seq, event = decode(frame)
            except FrameError as error:
                # Its traceback holds all that was decoded, which may be a hundred times the frame.
                self._set_aside(frame, error.with_traceback(None))
                continue
            if event is not None:
                self._queue(event, len(frame))
            if seq:
                read[name] = seq
        now = asyncio.get_running_loop().time()
        if now - self._timed >= 1:
            self._timed = now
            self._note_age(chunk[-1])

    def _queue(self, event: Event, size: int = 0) -> None:
        if isinstance(event, Gap):
            # It has no place of its own in the stream: that of what comes next.
            event = replace(event, seq=(self._position or 0) + 1)
            self._counts["gaps_in_streams"] += 1
            self._log.warning("gap", reason=event.reason, cursor=self._position)
        elif event.did is not None and event.did not in self._tracked:
            self._meet(event.did)
        self._counts["events"] += 1
        self._lanes.put(event, size)
        self._wake()

    def _set_aside(self, frame: bytes, error: FrameError) -> None:
        """Raise `error`, unless this place of the stream has had its chances."""
        if self._position != self._struck_at:
            self._struck_at, self._strikes = self._position, 0
        self._strikes += 1
        if self._strikes < STRIKES or self._source.finite:
            raise error
        digest = sha256(frame).digest()
        if digest in self._kept:
            return
        if len(self._kept) > _KEPT:
            self._kept.clear()
        self._kept.add(digest)
        self._counts["unreadable_frames"] += 1
        dids = tuple({found.decode() for found in _DID.findall(frame)})[:100]
        gap = Gap(0, f"unreadable frame: {error}", frame, dids, source=self.status.name)
        self._queue(gap, len(frame))

    def _note_age(self, frame: bytes) -> None:
        sent = self._source.emitted_us(frame)
        age = None if sent is None else self._clock() - sent
        if age is not None and age < -FUTURE_US:
            raise ClockBehind(
                f"the clock of this machine is {-age // 1_000_000} s behind the stream: every"
                " commit would look as if it came from the future"
            )
        self.status.lag_us = None if age is None else max(0, age)
