"""Events on their way to the writer: in order, and some repos held back. Pure.

A repo is held while its key is being looked up or the whole of it is being fetched; its events wait
in the order they came and go on, ahead of what came after them, when it is released. Example, with
A held after its first event:

    put A1, hold A, put B1, put A2, take → A1 B1     release A, put B2, take → A2 B2

What waits is bounded in bytes. A held repo that would take more than its share loses its events; it
stands in `lost` and must be fetched whole.
"""

from collections import deque
from collections.abc import Iterable
from itertools import chain

from atdata_indexer.frames import Account, Event


class Lanes:
    """The queue between reading and writing. `held_bytes` bounds what waits for held repos."""

    def __init__(self, held_bytes: int) -> None:
        self._limit = held_bytes
        self._ready: deque[tuple[Event, int]] = deque()
        self._held: dict[str, list[tuple[Event, int]]] = {}
        self._held_bytes = 0
        self.ready_bytes = 0
        self.lost: set[str] = set()

    def __len__(self) -> int:
        """How many events can be taken now."""
        return len(self._ready)

    def put(self, event: Event, size: int) -> None:
        """Queue an event of `size` bytes."""
        # An account's state is not part of its repo's order, and must be seen at once.
        passes = event.did is None or isinstance(event, Account)
        held = None if passes else self._held.get(event.did or "")
        if held is None:
            self._ready.append((event, size))
            self.ready_bytes += size
        elif event.did not in self.lost:
            held.append((event, size))
            self._held_bytes += size
            if self._held_bytes > self._limit:
                self._drop_largest()

    def take(self, most: int) -> list[Event]:
        """Up to `most` events that are not held, in order; they no longer count."""
        taken = [self._ready.popleft() for _ in range(min(most, len(self._ready)))]
        self.ready_bytes -= sum(size for _, size in taken)
        return [event for event, _ in taken]

    def hold(self, did: str) -> bool:
        """Hold a repo's events from now on, those that wait already included; False if it was."""
        if did in self._held:
            return False
        mine = [entry for entry in self._ready if _waits_with(entry[0], did)]
        if mine:
            self._ready = deque(e for e in self._ready if not _waits_with(e[0], did))
            size = sum(size for _, size in mine)
            self.ready_bytes -= size
            self._held_bytes += size
        self._held[did] = mine
        return True

    def put_back(self, did: str, events: Iterable[Event]) -> None:
        """Give back events that were taken from a repo that is held: they come first again."""
        self._held[did][:0] = [(event, 0) for event in events]

    def drop(self, did: str) -> None:
        """Forget what waits for a held repo, which stays held."""
        if did in self._held:
            self._held_bytes -= sum(size for _, size in self._held[did])
            self._held[did] = []

    def holds(self, did: str) -> bool:
        """Whether a repo is held."""
        return did in self._held

    @property
    def holding(self) -> bool:
        """Whether any repo is held."""
        return bool(self._held)

    def release(self, did: str) -> None:
        """Let a repo's events go on, ahead of all that waits."""
        entries = self._held.pop(did, [])
        size = sum(size for _, size in entries)
        self._held_bytes -= size
        self.ready_bytes += size
        self._ready.extendleft(reversed(entries))

    def waits(self, did: str) -> bool:
        """Whether any event of a repo waits, or would."""
        return did in self._held or any(event.did == did for event, _ in self._ready)

    def made_up_for(self, did: str) -> None:
        """What a repo has lost so far will be fetched, and that stands in the store."""
        self.lost.discard(did)

    def oldest(self) -> dict[str, int]:
        """The lowest sequence number that waits of each source, held or not: the cursor must stay
        below it.

        All are looked at: what was held and released stands before events that came earlier.
        """
        lowest: dict[str, int] = {}
        held = (entry for entries in self._held.values() for entry in entries)
        for event, _ in chain(self._ready, held):
            lowest[event.source] = min(event.seq, lowest.get(event.source, event.seq))
        return lowest

    def _drop_largest(self) -> None:
        did = max(self._held, key=lambda one: sum(size for _, size in self._held[one]))
        self.drop(did)
        self.lost.add(did)


def _waits_with(event: Event, did: str) -> bool:
    return event.did == did and not isinstance(event, Account)
