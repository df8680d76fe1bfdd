"""How fast counters grow: a rate over the last minute. Pure."""

from collections import deque
from collections.abc import Mapping

WINDOW_S = 60.0


class Rates:
    """Notes counters at moments of a monotonic clock and gives their growth per second."""

    def __init__(self) -> None:
        self._noted: deque[tuple[float, Mapping[str, int]]] = deque()

    def note(self, now: float, counts: Mapping[str, int]) -> None:
        """Note what the counters are `now`; what is older than the window is forgotten."""
        self._noted.append((now, dict(counts)))
        while now - self._noted[0][0] > WINDOW_S:
            self._noted.popleft()

    def per_second(self) -> Mapping[str, float]:
        """The growth of each counter between the oldest and the newest note."""
        if len(self._noted) < 2:
            return {}
        (start, before), (end, after) = self._noted[0], self._noted[-1]
        if end <= start:
            return {}
        return {
            name: round((count - before.get(name, 0)) / (end - start), 2)
            for name, count in sorted(after.items())
        }
