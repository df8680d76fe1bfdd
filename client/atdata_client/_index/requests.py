"""What is asked of the index, as values: who sends it, and who waits for it, is told elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from atdata_client._records.stored import JsonObject

if TYPE_CHECKING:
    from atdata_client._index.frames import Row
    from atdata_client._net.xrpc import Service

type Params = Mapping[str, Any]
"""Parameters of a query by the names of its lexicon."""


@dataclass(frozen=True, slots=True)
class Query[R]:
    """One request: the name of the query, its parameters, and how its answer is read."""

    name: str
    params: Params
    parse: Callable[[JsonObject], R]

    def read(self, answer: JsonObject, service: Service[Any]) -> R:
        """What an answer says. Raises the service's error where it is not one of this query."""
        try:
            return self.parse(answer)
        except (KeyError, TypeError, ValueError) as error:
            message = f"not the answer of {self.name}: {type(error).__name__}: {error}"
            raise service.unexpected(message) from error


@dataclass(frozen=True, slots=True)
class Batches[R: Row]:
    """Several requests for one list of results: what each of them answers, in their order."""

    queries: tuple[Query[list[R]], ...]
    item: type[R]


@dataclass(frozen=True, slots=True)
class Listing[R: Row]:
    """A query that has pages: `key` is where its answers hold the results, `limit` bounds them
    (None is all); `once` has parameters that are for the first page alone.
    """

    name: str
    key: str
    item: type[R]
    params: Params
    limit: int | None
    once: Params = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 0:
            raise ValueError("limit must not be negative")


@dataclass(frozen=True, slots=True)
class Subscription:
    """A stream of the index: its name, what is left out of it, and from where on."""

    name: str
    filters: Params
    cursor: str | int | None


def query_pairs(params: Params) -> list[tuple[str, str]]:
    """The (name, text) pairs of a query string: None left out, sequences as repeated names.

    Raises ValueError for a datetime without a time zone.
    """
    pairs: list[tuple[str, str]] = []
    for name, value in params.items():
        if isinstance(value, str | int | datetime):
            pairs.append((name, _text(name, value)))
        elif value is not None:
            pairs += [(name, str(item)) for item in value]
    return pairs


def _text(name: str, value: str | int | datetime) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, datetime):
        return str(value)
    if value.tzinfo is None:
        raise ValueError(f"{name} has no time zone: {value.isoformat()}")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
