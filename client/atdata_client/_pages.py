"""The results of a query, page by page, and what its pages say besides them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from atdata_client._types import JsonObject

PAGE = 100
"""Results per request, the most an index answers with."""


@dataclass(frozen=True, slots=True)
class FacetValue:
    """One value of a facet, and how many of the datasets found have it; `label` is for people."""

    value: str
    count: int
    label: str | None = None

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From `app.bsky.atdata.defs#facetValue`."""
        return cls(value["value"], value["count"], value.get("label"))


@dataclass(frozen=True, slots=True)
class Facet:
    """The most frequent values of one property (`tags`, `license`, `schema`, `author` or
    `fieldKind`) among what was found; counts that are `estimated` come from a sample.
    """

    facet: str
    values: tuple[FacetValue, ...]
    estimated: bool = False

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From `app.bsky.atdata.defs#facet`."""
        values = tuple(FacetValue.from_json(one) for one in value["values"])
        return cls(value["facet"], values, value["estimated"])


@dataclass(frozen=True, slots=True)
class PageHead:
    """What a page says besides its results: see `Pages`."""

    cursor: str | None = None
    total: int | None = None
    total_is_bound: bool = False
    facets: tuple[Facet, ...] = ()
    did_you_mean: str | None = None
    viewable_as_cut: bool = False
    approximate: bool = False

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From the answer of a query that has pages."""
        return cls(
            value.get("cursor"),
            value.get("hitsTotal", value.get("total")),
            value.get("hitsTotalIsBound", False),
            tuple(Facet.from_json(one) for one in value.get("facets", ())),
            value.get("didYouMean"),
            value.get("viewableAsCut", False),
            value.get("approximate", False),
        )


type Fetch[T] = Callable[[int, str | None], tuple[list[T], PageHead]]
"""From page size and cursor to the results of a page, and what else it says."""


class Pages[T](Iterator[T]):
    """The results of a query, page by page as they are asked for.

    Nothing is sent before the first result is. The first page tells the rest: `total` is how many
    records match in all (None where the query does not count them), or more than that many where
    `total_is_bound`; `facets` those that were asked for; `did_you_mean` the words corrected, if
    they seem mistyped; `viewable_as_cut` that too many schemas lead to `viewable_as`, so that
    datasets are missing. `approximate` says that the index changed during a walk by relevance: a
    result may have come twice or been missed.
    """

    def __init__(self, fetch: Fetch[T], limit: int | None) -> None:
        if limit is not None and limit < 0:
            raise ValueError("limit must not be negative")
        self.total: int | None = None
        self.total_is_bound = False
        self.facets: tuple[Facet, ...] = ()
        self.did_you_mean: str | None = None
        self.viewable_as_cut = False
        self.approximate = False
        self._fetch = fetch
        self._left = limit
        self._page: Iterator[T] = iter(())
        self._cursor: str | None = None
        self._done = False

    def __next__(self) -> T:
        while True:
            for item in self._page:
                return item
            if self._done or self._left == 0:
                raise StopIteration
            self._turn()

    def _turn(self) -> None:
        size = PAGE if self._left is None else min(PAGE, self._left)
        items, head = self._fetch(size, self._cursor)
        if self._cursor is None:
            self.total, self.total_is_bound = head.total, head.total_is_bound
            self.facets, self.did_you_mean = head.facets, head.did_you_mean
            self.viewable_as_cut = head.viewable_as_cut
        self.approximate |= head.approximate
        if self._left is not None:
            items = items[: self._left]
            self._left -= len(items)
        self._page = iter(items)
        previous, self._cursor = self._cursor, head.cursor
        # The same cursor twice would never end.
        self._done = self._cursor is None or self._cursor == previous
