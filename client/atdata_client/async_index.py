"""Asking the index without waiting in line: the methods of `IndexClient`, to be awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Concatenate, Self

from atdata_client import _queries as queries
from atdata_client._frames import Results, Row
from atdata_client._pages import AsyncPages, Page
from atdata_client._requests import Batches, Listing, Query, query_pairs
from atdata_client._xrpc import AsyncXrpcReader
from atdata_client.index import index_address, index_error

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

    from atdata_client.follow import AsyncChangeStream


def _one[**P, R](
    describe: Callable[P, Query[R]],
) -> Callable[Concatenate[AsyncIndexClient, P], Coroutine[Any, Any, R]]:
    """The method that asks what `describe` describes."""

    async def method(self: AsyncIndexClient, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._get(describe(*args, **kwargs))

    return queries.as_method(method, describe)


def _several[**P, R: Row](
    describe: Callable[P, Batches[R]],
) -> Callable[Concatenate[AsyncIndexClient, P], Coroutine[Any, Any, Results[R]]]:
    """The method that asks for all batches, one after the other."""

    async def method(self: AsyncIndexClient, /, *args: P.args, **kwargs: P.kwargs) -> Results[R]:
        asked = describe(*args, **kwargs)
        found = [one for query in asked.queries for one in await self._get(query)]
        return Results(found, asked.item)

    return queries.as_method(method, describe)


def _paged[**P, R: Row](
    describe: Callable[P, Listing[R]],
) -> Callable[Concatenate[AsyncIndexClient, P], AsyncPages[R]]:
    """The method that gives the pages; they ask for themselves."""

    def method(self: AsyncIndexClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncPages[R]:
        return AsyncPages(describe(*args, **kwargs), self._page)

    return queries.as_method(method, describe)


class AsyncIndexClient:
    """What `IndexClient` is, for programs that wait for many things at once (asyncio or trio).

    The same methods, parameters, results and errors. What has pages is gone through with
    `async for`; everything else is awaited. Use it as an async context manager, or await `close`.
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
        self._xrpc = AsyncXrpcReader(
            index_address(url), index_error, timeout=timeout, attempts=attempts
        )

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
    ) -> AsyncChangeStream:
        """Every change to the index behind `cursor` (one of a stream's; None: from now on).

        Only of these collections, accounts (DIDs or handles) and datasets with one of these tags.
        The stream is in order and connects again by itself. It raises InvalidRequest when it
        cannot go on: its `error` is `OutdatedCursor`, `FutureCursor` or `EpochChanged`.
        """
        from atdata_client.follow import AsyncChangeStream, Start

        filters = {"collections": collections, "authors": authors, "tags": tags}
        nsid = f"{self._namespace}.subscribeChanges"
        start = Start(self.url, nsid, filters, cursor, index_error, self._timeout)
        return AsyncChangeStream(start)

    @property
    def url(self) -> str:
        """The base URL of the index."""
        return self._xrpc.url

    async def close(self) -> None:
        """Close the connections; the next query opens new ones."""
        await self._xrpc.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def _get[R](self, query: Query[R]) -> R:
        nsid = f"{self._namespace}.{query.name}"
        return query.read(await self._xrpc.query(nsid, query_pairs(query.params)), self._xrpc)

    async def _page[R: Row](self, query: Query[Page[R]]) -> Page[R]:
        return await self._get(query)
