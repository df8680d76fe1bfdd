"""One count of callers for all workers, in memory that they share.

No lock is taken, for a worker may be killed while it holds one: of two requests of one caller that
two workers count in the same microsecond, one may go uncounted.
"""

import secrets
from ctypes import Array, c_uint64
from hashlib import blake2b
from multiprocessing.context import SpawnContext

from atdata_api.limits import Allowance, RateLimiter

SETS = 1 << 15
WAYS = 8
"""A caller has one of so many places in its set. When all are taken, the one goes whose requests
are given back soonest: about one caller in 250 loses its count so when 100,000 ask at once.
"""
_US = 1_000_000
_SECRETS = 2

type Table = Array[c_uint64]
"""Two words that keep strangers from choosing where they are counted, then two for each place:
which caller it is, and when it has all its requests again, in microseconds.
"""


def table(processes: SpawnContext) -> Table:
    """An empty table, to be given to workers as they are started."""
    made: Table = processes.RawArray(c_uint64, _SECRETS + 2 * SETS * WAYS)
    made[:_SECRETS] = [secrets.randbits(64) for _ in range(_SECRETS)]
    return made


class SharedRateLimiter(RateLimiter):
    """Counts the requests of callers together with all who have the same table."""

    def __init__(self, limit: int, shared: Table, sets: int = SETS) -> None:
        super().__init__(limit)
        self._shared = shared
        self._sets = sets
        self._words = memoryview(shared).cast("B").cast("Q")
        self._key = self._words[:_SECRETS].tobytes()

    def times(self, factor: int) -> RateLimiter:
        """Another one in the same table that lets callers make so many times as many requests."""
        return SharedRateLimiter(factor * self.limit, self._shared, self._sets)

    def take(self, caller: str) -> Allowance:
        """Count a request of `caller`; one that must wait is not counted."""
        who = f"{self.limit} {caller}".encode("utf-8", "surrogatepass")
        digest = blake2b(who, digest_size=8, key=self._key).digest()
        name = int.from_bytes(digest) | 1  # 0 is a place that was never taken
        first = _SECRETS + 2 * WAYS * ((name >> 1) % self._sets)
        places = range(first, first + 2 * WAYS, 2)
        place = next((one for one in places if self._words[one] == name), None)
        self._settled = {} if place is None else {caller: self._words[place + 1] / _US}
        allowance = super().take(caller)
        if not allowance.wait_s:
            if place is None:
                place = min(places, key=lambda one: self._words[one + 1])
            self._words[place + 1] = round(self._settled[caller] * _US)
            self._words[place] = name
        return allowance
