"""How many requests a caller may make. Pure but for the clock it is given.

A caller may make `limit` requests at once and gets each back as time goes by, all of them within
`window_s` (the generic cell rate algorithm: one number is kept of each caller).
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

WINDOW_S = 300
MOST_CALLERS = 100_000
"""Of more who asked lately those are forgotten who have most back: memory is bounded first."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left to a caller now of `limit` requests: `reset_s` until it has all again, `wait_s`
    if it must wait.
    """

    limit: int
    remaining: int
    reset_s: float
    wait_s: float = 0.0


class RateLimiter:
    """Counts the requests of callers, who are told apart by any text."""

    def __init__(
        self,
        limit: int,
        window_s: float = WINDOW_S,
        *,
        clock: Callable[[], float] = time.monotonic,
        most_callers: int = MOST_CALLERS,
    ) -> None:
        self.limit = limit
        self.window_s = window_s
        self._each_s = window_s / limit
        self._clock = clock
        self._most = most_callers
        self._settled: dict[str, float] = {}  # when each caller has all its requests again

    def times(self, factor: int) -> "RateLimiter":
        """Another one that lets callers make so many times as many requests."""
        return RateLimiter(
            factor * self.limit, self.window_s, clock=self._clock, most_callers=self._most
        )

    def take(self, caller: str) -> Allowance:
        """Count a request of `caller`; one that must wait is not counted."""
        now = self._clock()
        settled = max(now, self._settled.get(caller, now))
        spent = settled - now
        left = math.floor((self.window_s - spent) / self._each_s + 1e-6)
        if left < 1:
            return Allowance(self.limit, 0, spent, spent + self._each_s - self.window_s)
        if caller not in self._settled and len(self._settled) >= self._most:
            self._make_room(now)
        self._settled[caller] = settled + self._each_s
        return Allowance(self.limit, left - 1, spent + self._each_s)

    def _make_room(self, now: float) -> None:
        asked = [one for one in self._settled.items() if one[1] > now]
        if len(asked) > self._most * 9 // 10:
            asked = sorted(asked, key=lambda one: one[1])[len(asked) // 2 :]
        self._settled = dict(asked)


def believes_anybody(proxies: str) -> bool:
    """Whether `proxies`, whose `X-Forwarded-For` is believed, are all there can be."""
    return any(one == "*" or one.endswith("/0") for one in proxies.split(","))


def caller_of(host: str) -> str | None:
    """What requests from an address are counted under; None for this machine's own, which are not.

    An IPv6 address counts as its network of 64 bits, which is what one subscriber has.
    """
    try:
        ip = ip_address(host.partition("%")[0])
    except ValueError:
        return host[:64] or None  # what a proxy said instead of an address is counted like one
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is None:
            return None if ip.is_loopback else str(ip_network((ip, 64), strict=False))
        ip = ip.ipv4_mapped
    return None if ip.is_loopback else str(ip)
