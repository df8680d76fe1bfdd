"""The opaque paging token: versioned, bound to the search that made it, checked on the way in."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import blake2b

VERSION = 1
_MAX = 2**63 - 1


class InvalidCursor(ValueError):
    """The cursor was not made by this query."""


@dataclass(frozen=True, slots=True)
class Position:
    """The last hit of a page: its unique key and, by relevance, its rank and snapshot."""

    key: int
    rank: int = 0
    snapshot: str = ""


def encode(position: Position, identity: str) -> str:
    """The token for `position` in the walk that `identity` names."""
    parts = [VERSION, _bind(identity), position.key]
    if position.rank:
        parts += [position.rank, position.snapshot]
    return urlsafe_b64encode(json.dumps(parts, separators=(",", ":")).encode()).decode().rstrip("=")


def decode(token: str, identity: str) -> Position:
    """The position in `token`. Raises InvalidCursor for anything `encode` did not make for it."""
    try:
        text = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        version, bound, key, *ranked = json.loads(text)
        rank, snapshot = ranked or (0, "")
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidCursor("cursor: not one of this service") from error
    if version != VERSION or bound != _bind(identity):
        raise InvalidCursor("cursor: made by another query")
    position = Position(key, rank, snapshot)
    if not _sound(position) or encode(position, identity) != token:
        raise InvalidCursor("cursor: not one of this service")
    return position


def _sound(position: Position) -> bool:
    """Whether a position read from a token holds what it should, in bounds that searches bear."""
    return (
        type(position.key) is int
        and type(position.rank) is int
        and type(position.snapshot) is str
        and abs(position.key) < _MAX  # the keys beside it are asked for, and are 64 bits too
        and 0 <= position.rank < _MAX
    )


def _bind(identity: str) -> str:
    return blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
