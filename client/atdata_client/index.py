"""Asking the index: one method per query, typed results, lazy pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, Self

from atdata_client._types import (
    DatasetView,
    LensView,
    RecordStatus,
    SchemaView,
    ServiceDescription,
    TagCount,
)
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
    from collections.abc import Callable, Iterable, Mapping, Sequence

type Sort = Literal["relevance", "newest", "oldest"]
type Fetch[T] = Callable[[int, str | None], tuple[list[T], Mapping[str, Any]]]
"""From page size and cursor to the results of a page, and the whole answer."""

DEFAULT_URL = "http://127.0.0.1:8900"
PAGE = 100
"""Results per request, the most an index answers with."""
BATCH = 25
"""URIs per `getDatasets`, the most an index takes."""


class Pages[T](Iterator[T]):
    """The results of a query, page by page as they are asked for.

    Nothing is sent before the first result is. `total` is how many records match in all, known
    after the first page and only where the query counts them (None otherwise).
    """

    def __init__(self, fetch: Fetch[T], limit: int | None) -> None:
        if limit is not None and limit < 0:
            raise ValueError("limit must not be negative")
        self.total: int | None = None
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
        items, answer = self._fetch(size, self._cursor)
        if self.total is None:
            self.total = answer.get("hitsTotal")
        if self._left is not None:
            items = items[: self._left]
            self._left -= len(items)
        self._page = iter(items)
        previous, self._cursor = self._cursor, answer.get("cursor")
        # The same cursor twice would never end.
        self._done = self._cursor is None or self._cursor == previous


class IndexClient:
    """A client of the index at `url`: the argument, else `ATDATA_APPVIEW_URL`, else this machine.

    Failed calls are tried up to `attempts` times where that can help, keeping to `Retry-After`;
    `timeout` is in seconds, per step of a request; `namespace` is the prefix of the service's own
    query NSIDs. Every method raises a kind of IndexClientError: IndexUnavailable, InvalidRequest,
    NotFound, RateLimited, UnexpectedResponse. Use it as a context manager or call `close`.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        namespace: str = "app.bsky.atdata",
        timeout: float = 10.0,
        attempts: int = 3,
    ) -> None:
        from os import environ

        address = url or environ.get("ATDATA_APPVIEW_URL") or DEFAULT_URL
        self._namespace = namespace
        self._xrpc = XrpcReader(address, index_error, timeout=timeout, attempts=attempts)

    @property
    def url(self) -> str:
        """The base URL of the index."""
        return self._xrpc.url

    def search_datasets(
        self,
        q: str | None = None,
        *,
        tags: Sequence[str] = (),
        schema: str | None = None,
        author: str | None = None,
        sort: Sort | None = None,
        limit: int | None = None,
    ) -> Pages[DatasetView]:
        """Datasets that have every word of `q` and every one of `tags`, of this schema and author.

        `schema` is an AT-URI, `author` a DID or handle; `limit` bounds the results, None is all.
        Without `sort`: by relevance when there are words, newest first otherwise.
        """
        params = {"q": q, "tags": tags, "schema": schema, "author": author, "sort": sort}
        return self._pages("searchDatasets", "datasets", DatasetView.from_json, params, limit)

    def search_schemas(
        self,
        q: str | None = None,
        *,
        author: str | None = None,
        sort: Sort | None = None,
        limit: int | None = None,
    ) -> Pages[SchemaView]:
        """Schemas that have every word of `q`, by this author (DID or handle)."""
        params = {"q": q, "author": author, "sort": sort}
        return self._pages("searchSchemas", "schemas", SchemaView.from_json, params, limit)

    def list_datasets(
        self, *, author: str | None = None, limit: int | None = None
    ) -> Pages[DatasetView]:
        """Datasets, newest first, by this author (DID or handle)."""
        params = {"author": author}
        return self._pages("listDatasets", "datasets", DatasetView.from_json, params, limit)

    def list_schemas(
        self, *, author: str | None = None, limit: int | None = None
    ) -> Pages[SchemaView]:
        """Schemas, newest first, by this author (DID or handle)."""
        params = {"author": author}
        return self._pages("listSchemas", "schemas", SchemaView.from_json, params, limit)

    def list_lenses(
        self, *, author: str | None = None, limit: int | None = None
    ) -> Pages[LensView]:
        """Lenses, newest first, by this author (DID or handle)."""
        params = {"author": author}
        return self._pages("listLenses", "lenses", LensView.from_json, params, limit)

    def get_dataset(self, uri: str) -> DatasetView:
        """One dataset. Raises NotFound."""
        return self._get("getDataset", {"uri": uri}, lambda a: DatasetView.from_json(a["dataset"]))

    def get_datasets(self, uris: Iterable[str]) -> list[DatasetView]:
        """Several datasets, in the order asked; what is not in the index is left out."""
        wanted = [uris] if isinstance(uris, str) else list(uris)
        found: list[DatasetView] = []
        for start in range(0, len(wanted), BATCH):
            params = {"uris": wanted[start : start + BATCH]}
            found += self._get("getDatasets", params, _items("datasets", DatasetView.from_json))
        return found

    def get_schema(self, uri: str) -> SchemaView:
        """One schema. Raises NotFound."""
        return self._get("getSchema", {"uri": uri}, lambda a: SchemaView.from_json(a["schema"]))

    def get_lens(self, uri: str) -> LensView:
        """One lens. Raises NotFound."""
        return self._get("getLens", {"uri": uri}, lambda a: LensView.from_json(a["lens"]))

    def list_tags(self, *, limit: int | None = None) -> list[TagCount]:
        """The tags that datasets carry most often; `limit` is 1 to 100, the index's 25 if None."""
        return self._get("listTags", {"limit": limit}, _items("tags", TagCount.from_json))

    def record_status(self, uri: str) -> RecordStatus:
        """Why a record is, or is not, in the index."""
        return self._get("getRecordStatus", {"uri": uri}, RecordStatus.from_json)

    def describe(self) -> ServiceDescription:
        """What the index holds and how far it has read."""
        return self._get("describeService", {}, ServiceDescription.from_json)

    def close(self) -> None:
        """Close the connections; the next query opens new ones."""
        self._xrpc.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _get[R](
        self, name: str, params: Mapping[str, Any], parse: Callable[[Mapping[str, Any]], R]
    ) -> R:
        answer = self._xrpc.query(f"{self._namespace}.{name}", query_pairs(params))
        try:
            return parse(answer)
        except (KeyError, TypeError, ValueError) as error:
            message = f"not the answer of {name}: {type(error).__name__}: {error}"
            raise self._xrpc.unexpected(message) from error

    def _pages[T](
        self,
        name: str,
        key: str,
        parse: Callable[[Mapping[str, Any]], T],
        params: Mapping[str, Any],
        limit: int | None,
    ) -> Pages[T]:
        def fetch(size: int, cursor: str | None) -> tuple[list[T], Mapping[str, Any]]:
            asked = {**params, "limit": size, "cursor": cursor}
            return self._get(name, asked, lambda answer: (_items(key, parse)(answer), answer))

        return Pages(fetch, limit)


def query_pairs(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The (name, text) pairs of a query string: None left out, sequences as repeated names."""
    pairs: list[tuple[str, str]] = []
    for name, value in params.items():
        if isinstance(value, str | int):
            pairs.append((name, str(value)))
        elif value is not None:
            pairs += [(name, str(item)) for item in value]
    return pairs


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


def _items[T](
    key: str, parse: Callable[[Mapping[str, Any]], T]
) -> Callable[[Mapping[str, Any]], list[T]]:
    return lambda answer: [parse(item) for item in answer[key]]
