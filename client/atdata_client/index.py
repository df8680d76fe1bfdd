"""Asking the index: one method per query, typed results, lazy pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Concatenate, Self

from atdata_client import _queries as queries
from atdata_client._frames import Results, Row
from atdata_client._pages import Page, Pages
from atdata_client._queries import DatasetSort, FacetName, Sort
from atdata_client._requests import Batches, Listing, Query, query_pairs
from atdata_client._xrpc import XrpcReader
from atdata_client.errors import (
    Failure,
    IndexClientError,
    IndexUnavailable,
    InvalidRequest,
    NotFound,
    RateLimited,
    UnexpectedResponse,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atdata_client.follow import ChangeStream

__all__ = ["DEFAULT_URL", "DatasetSort", "FacetName", "IndexClient", "Sort"]

DEFAULT_URL = "http://127.0.0.1:8900"


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

    return queries.as_method(method, describe)


def _paged[**P, R: Row](
    describe: Callable[P, Listing[R]],
) -> Callable[Concatenate[IndexClient, P], Pages[R]]:
    """The method that gives the pages; they ask for themselves."""

    def method(self: IndexClient, /, *args: P.args, **kwargs: P.kwargs) -> Pages[R]:
        return Pages(describe(*args, **kwargs), self._page)

    return queries.as_method(method, describe)


class IndexClient:
    """A client of the index at `url`: the argument, else `ATDATA_APPVIEW_URL`, else this machine.

    Failed calls are tried up to `attempts` times where that can help, keeping to `Retry-After`;
    `timeout` is in seconds, per step of a request; `namespace` is the prefix of the service's own
    query NSIDs. Every method raises a kind of IndexClientError: IndexUnavailable, InvalidRequest,
    NotFound, RateLimited, UnexpectedResponse. Use it as a context manager or call `close`.

    Results are frozen values, and rows of tables: `to_pandas`, `to_arrow`, and tables in notebooks.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        namespace: str = "app.bsky.atdata",
        timeout: float = 10.0,
        attempts: int = 3,
    ) -> None:
        self._namespace = namespace
        self._timeout = timeout
        self._xrpc = XrpcReader(index_address(url), index_error, timeout=timeout, attempts=attempts)

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

    def changes(
        self,
        *,
        cursor: str | int | None = None,
        collections: Sequence[str] = (),
        authors: Sequence[str] = (),
        tags: Sequence[str] = (),
    ) -> ChangeStream:
        """Every change to the index behind `cursor` (one of a stream's; None: from now on).

        Only of these collections, accounts (DIDs or handles) and datasets with one of these tags.
        The stream is in order and connects again by itself. It raises InvalidRequest when it
        cannot go on: its `error` is `OutdatedCursor`, `FutureCursor` or `EpochChanged`.
        """
        from atdata_client.follow import ChangeStream, Start

        filters = {"collections": collections, "authors": authors, "tags": tags}
        nsid = f"{self._namespace}.subscribeChanges"
        start = Start(self.url, nsid, filters, cursor, index_error, self._timeout)
        return ChangeStream(start)

    @property
    def url(self) -> str:
        """The base URL of the index."""
        return self._xrpc.url

    def close(self) -> None:
        """Close the connections; the next query opens new ones."""
        self._xrpc.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _get[R](self, query: Query[R]) -> R:
        nsid = f"{self._namespace}.{query.name}"
        return query.read(self._xrpc.query(nsid, query_pairs(query.params)), self._xrpc)

    def _page[R: Row](self, query: Query[Page[R]]) -> Page[R]:
        return self._get(query)


def index_address(url: str | None) -> str:
    """The base URL of an index: the argument, else `ATDATA_APPVIEW_URL`, else this machine."""
    from os import environ

    return url or environ.get("ATDATA_APPVIEW_URL") or DEFAULT_URL


def index_error(failure: Failure) -> IndexClientError:
    """The error class of a failed query."""
    kind: type[IndexClientError] = IndexUnavailable
    if failure.error == "NotFound":
        kind = NotFound
    elif failure.status == 429:
        kind = RateLimited
    elif failure.error == "UnexpectedResponse" and (failure.status or 500) < 500:
        kind = UnexpectedResponse
    elif failure.status is not None and 400 <= failure.status < 500:
        kind = InvalidRequest
    return kind(failure)
