"""The results of a query, page by page, and what its pages say besides them.

`_Walk` knows which page comes next and what a page told; `Pages` and `AsyncPages` only ask for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from atdata_client._index.frames import SHOWN_ROWS, Columns, Results, Row, html_of
from atdata_client._index.requests import Listing, Query
from atdata_client._records.stored import JsonObject

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


PAGE = 100
"""Results per request, the most an index answers with."""


@dataclass(frozen=True, slots=True)
class FacetValue(Row):
    """One value of a facet, and how many of the datasets found have it; `label` is for people."""

    COLUMNS: ClassVar[Columns] = {"value": "text", "label": "text", "count": "integer"}
    SHOWN: ClassVar[tuple[str, ...]] = ("value", "label", "count")

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
    values: Results[FacetValue]
    estimated: bool = False

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From `app.bsky.atdata.defs#facet`."""
        values = Results(map(FacetValue.from_json, value["values"]), FacetValue)
        return cls(value["facet"], values, value["estimated"])

    def to_pandas(self) -> pd.DataFrame:
        """Its values, one a row. Raises ModuleNotFoundError without pandas."""
        return self.values.to_pandas()

    def to_arrow(self) -> pa.Table:
        """Its values, one a row. Raises ModuleNotFoundError without pyarrow."""
        return self.values.to_arrow()

    def _repr_html_(self) -> str:
        return self.values._repr_html_()


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


type Page[R] = tuple[list[R], PageHead]


class _Walk[R: Row]:
    """Where a walk through pages is, and what they told."""

    def __init__(self, listing: Listing[R]) -> None:
        self.total: int | None = None
        self.total_is_bound = False
        self.facets: tuple[Facet, ...] = ()
        self.did_you_mean: str | None = None
        self.viewable_as_cut = False
        self.approximate = False
        self._listing = listing
        self._left = listing.limit
        self._page: deque[R] = deque()
        self._cursor: str | None = None
        self._begun = False
        self._done = listing.limit == 0

    def _query(self) -> Query[Page[R]]:
        """What brings the next page."""
        listing = self._listing
        size = PAGE if self._left is None else min(PAGE, self._left)
        first = {} if self._begun else listing.once
        params = {**listing.params, **first, "limit": size, "cursor": self._cursor}
        return Query(listing.name, params, self._read)

    def _read(self, answer: JsonObject) -> Page[R]:
        items = [self._listing.item.from_json(one) for one in answer[self._listing.key]]
        return items, PageHead.from_json(answer)

    def _turn(self, page: Page[R]) -> None:
        """Go on to the page that came."""
        items, head = page
        if not self._begun:
            self.total, self.total_is_bound = head.total, head.total_is_bound
            self.facets, self.did_you_mean = head.facets, head.did_you_mean
            self.viewable_as_cut = head.viewable_as_cut
        self.approximate |= head.approximate
        if self._left is not None:
            items = items[: self._left]
            self._left -= len(items)
        self._page = deque(items)
        previous, self._cursor = self._cursor, head.cursor
        # The same cursor twice would never end.
        self._done = self._cursor is None or self._cursor == previous or self._left == 0
        self._begun = True

    def _html(self) -> str:
        """The results that come next, as far as they are here."""
        if not self._begun:
            return "<p>nothing asked yet</p>"
        more = "+" if self.total_is_bound else ""
        said = "" if self.total is None else f"{self.total}{more} in all"
        return html_of(self._listing.item, list(self._page)[:SHOWN_ROWS], said)


class Pages[R: Row](_Walk[R], Iterator[R]):
    """The results of a query, page by page as they are asked for.

    Nothing is sent before the first result is. The first page tells the rest: `total` is how many
    records match in all (None where the query does not count them), or more than that many where
    `total_is_bound`; `facets` those that were asked for; `did_you_mean` the words corrected, if
    they seem mistyped; `viewable_as_cut` that too many schemas lead to `viewable_as`, so that
    datasets are missing. `approximate` says that the index changed during a walk by relevance: a
    result may have come twice or been missed.

    A notebook shows the results that come next, and takes none of them.
    """

    def __init__(self, listing: Listing[R], ask: Callable[[Query[Page[R]]], Page[R]]) -> None:
        super().__init__(listing)
        self._ask = ask

    def __next__(self) -> R:
        while not self._page:
            if self._done:
                raise StopIteration
            self._turn(self._ask(self._query()))
        return self._page.popleft()

    def results(self) -> Results[R]:
        """All results that are left, up to `limit`. Raises what asking raises."""
        return Results(self, self._listing.item)

    def to_pandas(self) -> pd.DataFrame:
        """All results that are left, one a row. Raises ModuleNotFoundError without pandas."""
        return self.results().to_pandas()

    def to_arrow(self) -> pa.Table:
        """All results that are left, one a row. Raises ModuleNotFoundError without pyarrow."""
        return self.results().to_arrow()

    def _repr_html_(self) -> str:
        if not self._begun and not self._done:
            self._turn(self._ask(self._query()))
        return self._html()


class AsyncPages[R: Row](_Walk[R], AsyncIterator[R]):
    """What `Pages` is, to be gone through with `async for`.

    A notebook shows what is here already: it cannot wait for the first page.
    """

    def __init__(
        self, listing: Listing[R], ask: Callable[[Query[Page[R]]], Awaitable[Page[R]]]
    ) -> None:
        super().__init__(listing)
        self._ask = ask

    async def __anext__(self) -> R:
        while not self._page:
            if self._done:
                raise StopAsyncIteration
            self._turn(await self._ask(self._query()))
        return self._page.popleft()

    async def results(self) -> Results[R]:
        """All results that are left, up to `limit`. Raises what asking raises."""
        return Results([one async for one in self], self._listing.item)

    async def to_pandas(self) -> pd.DataFrame:
        """All results that are left, one a row. Raises ModuleNotFoundError without pandas."""
        return (await self.results()).to_pandas()

    async def to_arrow(self) -> pa.Table:
        """All results that are left, one a row. Raises ModuleNotFoundError without pyarrow."""
        return (await self.results()).to_arrow()

    def _repr_html_(self) -> str:
        return self._html()
