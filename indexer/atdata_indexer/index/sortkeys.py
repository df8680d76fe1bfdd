"""Unique keys for date sorts. Pure but for the look-up it is given."""

from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b


def unique_keys(
    wanted: Mapping[str, int], taken: Callable[[Iterable[int]], set[int]]
) -> dict[str, int]:
    """A key for each URI, unlike any other: its time in microseconds, moved a little if taken.

    `taken` says which of some keys are in use already. A key that is taken moves by a hash of its
    URI, ten times as far each round, so that no flood of equal times is slow. What came first keeps
    its place: the order of records of one instant depends on the order they came in.
    """
    keys: dict[str, int] = {}
    used: set[int] = set()
    pending, reach = dict(wanted), 1
    while pending:
        chosen: dict[int, str] = {}
        for uri, base in pending.items():
            key = base + _hash(uri, reach) % reach
            if key not in used:
                chosen.setdefault(key, uri)
        for key in taken(chosen):
            del chosen[key]
        keys |= {uri: key for key, uri in chosen.items()}
        used |= chosen.keys()
        pending = {uri: base for uri, base in pending.items() if uri not in keys}
        reach *= 10
    return keys


def _hash(uri: str, reach: int) -> int:
    """Another hash each round: URIs chosen to collide in one do not go on colliding."""
    return int.from_bytes(blake2b(f"{reach} {uri}".encode(), digest_size=8).digest())
