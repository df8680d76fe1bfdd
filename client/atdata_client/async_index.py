"""Asking the index without waiting in line: the methods of `IndexClient`, to be awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Concatenate, Self

from atdata_client._index import queries
from atdata_client._index.frames import Results, Row
from atdata_client._index.pages import AsyncPages, Page
from atdata_client._index.reader import IndexReader
from atdata_client._index.requests import Batches, Listing, Query, Subscription, query_pairs
from atdata_client._net.xrpc import AsyncXrpcReader
from atdata_client.follow import AsyncChangeStream

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any


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

    return queries.as_method(method, describe, Results)


def _paged[**P, R: Row](
    describe: Callable[P, Listing[R]],
) -> Callable[Concatenate[AsyncIndexClient, P], AsyncPages[R]]:
    """The method that gives the pages; they ask for themselves."""

    def method(self: AsyncIndexClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncPages[R]:
        return AsyncPages(describe(*args, **kwargs), self._page)

    return queries.as_method(method, describe, AsyncPages)


def _followed[**P](
    describe: Callable[P, Subscription],
) -> Callable[Concatenate[AsyncIndexClient, P], AsyncChangeStream]:
    """The method that gives the stream; it connects by itself."""

    def method(self: AsyncIndexClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncChangeStream:
        return AsyncChangeStream(self._start(describe(*args, **kwargs)))

    return queries.as_method(method, describe, AsyncChangeStream)


class AsyncIndexClient(IndexReader[AsyncXrpcReader]):
    """What `IndexClient` is, for programs that wait for many things at once (asyncio or trio).

    The same methods, parameters, results and errors. What has pages is gone through with
    `async for`; everything else is awaited. Use it as an async context manager, or await `close`.
    """

    _reader = AsyncXrpcReader

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

    async def close(self) -> None:
        """Close the connections; the next query opens new ones."""
        await self._xrpc.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def _get[R](self, query: Query[R]) -> R:
        answer = await self._xrpc.query(self._nsid(query.name), query_pairs(query.params))
        return query.read(answer, self._xrpc)

    async def _page[R: Row](self, query: Query[Page[R]]) -> Page[R]:
        return await self._get(query)
