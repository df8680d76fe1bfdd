"""How hosts are to be treated: a few requests at a time, and none before they say so. No I/O."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

PER_HOST = 2
LONGEST_S = 3600.0


class Hosts:
    """What is known of hosts, by name and port; whoever asks the same ones must share it."""

    def __init__(
        self, *, per_host: int = PER_HOST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_host = per_host
        self._clock = clock
        # Only while somebody waits or asks: strangers can name hosts without an end.
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._closed_until: dict[str, float] = {}

    @asynccontextmanager
    async def turn(self, host: str) -> AsyncIterator[float]:
        """Wait for a turn; gives the seconds for which the host wants to be left alone."""
        turn = self._turns.get(host)
        if turn is None:
            turn = self._turns[host] = asyncio.Semaphore(self._per_host)
        async with turn:
            yield max(0.0, self._closed_until.get(host, 0.0) - self._clock())

    def close(self, host: str, seconds: float) -> None:
        """Leave a host alone for so long."""
        now = self._clock()
        self._closed_until = {h: until for h, until in self._closed_until.items() if until > now}
        self._closed_until[host] = max(now + seconds, self._closed_until.get(host, 0.0))


def host_of(url: str) -> str:
    """Name and port, the same however a URL spells them. Raises ValueError for what is no URL."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return f"{(parts.hostname or '').rstrip('.')}:{port}"


def seconds_of(retry_after: str | None, now_s: float) -> float:
    """The wait that `Retry-After` asks for, in seconds or until a date; 0 for none, an hour at
    most (RFC 9110, section 10.2.3).
    """
    if not retry_after:
        return 0.0
    if retry_after.isascii() and retry_after.isdigit():
        return min(LONGEST_S, float(retry_after))
    try:
        wait = parsedate_to_datetime(retry_after).timestamp() - now_s
    except (ValueError, OverflowError):
        return 0.0
    return min(LONGEST_S, max(0.0, wait))
