"""The last few results of something, by what they are results of."""

from collections import OrderedDict
from threading import Lock


class Remembered[K, V]:
    """The `most` results that were last asked for. Any thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._results: OrderedDict[K, V] = OrderedDict()
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        """The result of `key`, if it is remembered."""
        with self._lock:
            result = self._results.get(key)
            if result is not None:
                self._results.move_to_end(key)
            return result

    def put(self, key: K, result: V) -> V:
        """Remember a result, and give it back."""
        with self._lock:
            self._results[key] = result
            self._results.move_to_end(key)
            if len(self._results) > self._most:
                self._results.popitem(last=False)
        return result
