"""Record keys that sort by time (spec: tid)."""

from __future__ import annotations

from secrets import randbelow
from time import time_ns

_ALPHABET = "234567abcdefghijklmnopqrstuvwxyz"


class Tids:
    """Hands out TIDs, each greater than the one before; two of these hardly ever give the same."""

    def __init__(self) -> None:
        self._clock_id = randbelow(1 << 10)
        self._last_us = 0

    def next(self) -> str:
        """The next TID."""
        self._last_us = max(time_ns() // 1000, self._last_us + 1)
        number = self._last_us << 10 | self._clock_id
        return "".join(_ALPHABET[number >> shift & 31] for shift in range(60, -5, -5))
