"""Asking the index: one method per query, typed results, lazy pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Concatenate, Self

from atdata_client._index import queries
from atdata_client._index.frames import Results, Row
from atdata_client._index.pages import Page, Pages
from atdata_client._index.queries import DatasetSort, FacetName, Sort
from atdata_client._index.reader import DEFAULT_URL, IndexReader
from atdata_client._index.requests import Batches, Listing, Query, Subscription, query_pairs
from atdata_client._net.xrpc import XrpcReader
from atdata_client.follow import ChangeStream

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DEFAULT_URL", "DatasetSort", "FacetName", "IndexClient", "Sort"]


def _one[**P, R](
    describe: Callable[P, Query[R]],
) -> Callable[Concatenate[IndexClient, P], R]:
    """The method that asks what `describe` describes."""

    def method(self: IndexClient, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._get(describe(*args, **kwargs))

    return queries.as_method(method, describe)


def _several[**P, R: Row](
    describe: Callable[P, Batches[R]],
) -> Callable[Concatenate[IndexClient, P], Results[R]]:
    """The method that asks for all batches, one after the other."""

    def method(self: IndexClient, /, *args: P.args, **kwargs: P.kwargs) -> Results[R]:
        asked = describe(*args, **kwargs)
        found = [one for query in asked.queries for one in self._get(query)]
        return Results(found, asked.item)

    return queries.as_method(method, describe, Results)


def _paged[**P, R: Row](
    describe: Callable[P, Listing[R]],
) -> Callable[Concatenate[IndexClient, P], Pages[R]]:
    """The method that gives the pages; they ask for themselves."""

    def method(self: IndexClient, /, *args: P.args, **kwargs: P.kwargs) -> Pages[R]:
        return Pages(describe(*args, **kwargs), self._page)

    return queries.as_method(method, describe, Pages)


def _followed[**P](
    describe: Callable[P, Subscription],
) -> Callable[Concatenate[IndexClient, P], ChangeStream]:
    """The method that gives the stream; it connects by itself."""

    def method(self: IndexClient, /, *args: P.args, **kwargs: P.kwargs) -> ChangeStream:
        return ChangeStream(self._start(describe(*args, **kwargs)))

    return queries.as_method(method, describe, ChangeStream)


class IndexClient(IndexReader[XrpcReader]):
    """A client of the index at `url`: the argument, else `ATDATA_APPVIEW_URL`, else this machine.

    Failed calls are tried up to `attempts` times where that can help, keeping to `Retry-After`;
    `timeout` is in seconds, per step of a request; `namespace` is the prefix of the service's own
    query NSIDs. Every method raises a kind of IndexClientError: IndexUnavailable, InvalidRequest,
    NotFound, RateLimited, UnexpectedResponse. Use it as a context manager or call `close`.

    Results are frozen values, and rows of tables: `to_pandas`, `to_arrow`, and tables in notebooks.
    """

    _reader = XrpcReader

    search_datasets = _paged(queries.search_datasets)
    search_schemas = _paged(queries.search_schemas)
    search_lenses = _paged(queries.search_lenses)
    suggest = _one(queries.suggest)
    list_datasets = _paged(queries.list_datasets)
    list_schemas = _paged(queries.list_schemas)
    list_lenses = _paged(queries.list_lenses)
    get_dataset = _one(queries.get_dataset)
    get_datasets = _several(queries.get_datasets)
    get_schema = _one(queries.get_schema)
    get_lens = _one(queries.get_lens)
    list_tags = _one(queries.list_tags)
    similar_datasets = _one(queries.similar_datasets)
    find_lens_paths = _one(queries.find_lens_paths)
    schema_usage = _one(queries.schema_usage)
    backlinks = _paged(queries.backlinks)
    record_status = _one(queries.record_status)
    describe = _one(queries.describe)
    changes = _followed(queries.changes)

    def close(self) -> None:
        """Close the connections; the next query opens new ones."""
        self._xrpc.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _get[R](self, query: Query[R]) -> R:
        answer = self._xrpc.query(self._nsid(query.name), query_pairs(query.params))
        return query.read(answer, self._xrpc)

    def _page[R: Row](self, query: Query[Page[R]]) -> Page[R]:
        return self._get(query)
