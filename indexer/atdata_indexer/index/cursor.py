"""The opaque paging token: versioned, bound to the search that made it, checked on the way in."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

VERSION = 2
_BOUND = 2**63
_COMPACT = json.JSONEncoder(separators=(",", ":"))


class InvalidCursor(ValueError):
    """The cursor was not made by this query."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a walk has come to: what it was told on the way, and the last hit of the page.

    `key` is where that hit stands in the columns of an order. By relevance it is its unique key,
    `rank` is how many hits were shown, `offset` how many of the engine's were used up for them,
    `snapshot` the state of the index that both belong to, `relaxed` says that words may be missing.
    `total` is how many hits there are.
    """

    key: Sequence[int]
    total: int = 0
    rank: int = 0
    offset: int = 0
    relaxed: bool = False
    snapshot: str = ""


def encode(position: Position, identity: str) -> str:
    """The token for `position` in the walk that `identity` names."""
    one = position
    parts: list[Any] = [VERSION, _bind(identity), list(one.key), one.total]
    if one.snapshot:
        parts += [one.rank, one.offset, one.relaxed, one.snapshot]
    return urlsafe_b64encode(_COMPACT.encode(parts).encode()).decode().rstrip("=")


def decode(token: str, identity: str, columns: int) -> Position:
    """The position in `token`, whose key has so many columns.

    Raises InvalidCursor for anything `encode` did not make for this walk.
    """
    try:
        text = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        version, bound, key, total, *ranked = json.loads(text)
        position = Position(key, total, *ranked)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidCursor("cursor: not one of this service") from error
    if version != VERSION or bound != _bind(identity):
        raise InvalidCursor("cursor: made by another query")
    if not _sound(position, columns) or encode(position, identity) != token:
        raise InvalidCursor("cursor: not one of this service")
    return position


def _sound(position: Position, columns: int) -> bool:
    """Whether a position read from a token holds what it should, in bounds that searches bear."""
    numbers: list[Any] = [position.total, position.rank, position.offset]
    return (
        type(position.key) is list
        and len(position.key) == columns
        # The values beside a key are asked for, and are 64 bits too.
        and all(type(one) is int and -_BOUND < one < _BOUND - 1 for one in position.key)
        and all(type(one) is int and 0 <= one < _BOUND for one in numbers)
        and type(position.relaxed) is bool
        and type(position.snapshot) is str
    )


def _bind(identity: str) -> str:
    return blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
