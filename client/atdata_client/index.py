"""Asking the index: one method per query, typed results, lazy pages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Self

from atdata_client._links import Backlink, LensPaths, SchemaUsage
from atdata_client._pages import PageHead, Pages
from atdata_client._types import (
    DatasetView,
    LensView,
    RecordStatus,
    SchemaView,
    ServiceDescription,
    Suggestion,
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

type Sort = Literal["relevance", "newest", "oldest", "name"]
type DatasetSort = Literal["relevance", "newest", "oldest", "name", "samples"]
type FacetName = Literal["tags", "license", "schema", "author", "fieldKind"]

DEFAULT_URL = "http://127.0.0.1:8900"
BATCH = 25
"""URIs per `getDatasets`, the most an index takes."""


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
        match: Literal["all", "any"] = "all",
        schema: str | None = None,
        viewable_as: str | None = None,
        author: str | None = None,
        license: Sequence[str] = (),
        field: Sequence[str] = (),
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        samples_min: int | None = None,
        samples_max: int | None = None,
        bytes_min: int | None = None,
        bytes_max: int | None = None,
        namespace: str | None = None,
        sort: DatasetSort | None = None,
        facets: Sequence[FacetName] = (),
        facet_size: int | None = None,
        highlight: bool = False,
        limit: int | None = None,
    ) -> Pages[DatasetView]:
        """Datasets by the words of `q` and by what they are; every filter given must hold.

        `tags`: all of them, or with `match="any"` one at least. `schema`: an AT-URI, or a name with
        or without versions, `Photo@^1.0`. `viewable_as`: the AT-URI of a schema that theirs is, or
        leads to through lenses. `author`: a DID or handle. `license`: any of these. `field`: all of
        these in the schema, each `name[:kind[:dtype[:ndim]]]`, as in `image:ndarray:uint8`.
        `created_after` is included and `created_before` is not; bounds of sizes are.

        `limit` bounds the results, None is all. Without `sort`: by relevance when there are words,
        newest first otherwise. `facets`: what to count the values of, `facet_size` of each.
        """
        params = {
            "q": q,
            "tags": tags,
            "tagMatch": None if match == "all" else match,
            "schema": schema,
            "viewableAs": viewable_as,
            "author": author,
            "license": license,
            "field": field,
            "createdAfter": created_after,
            "createdBefore": created_before,
            "samplesMin": samples_min,
            "samplesMax": samples_max,
            "bytesMin": bytes_min,
            "bytesMax": bytes_max,
            "namespace": namespace,
            "sort": sort,
            "highlight": highlight or None,
        }
        once = {"facets": facets, "facetSize": facet_size}
        return self._pages("searchDatasets", "datasets", DatasetView.from_json, params, limit, once)

    def search_schemas(
        self,
        q: str | None = None,
        *,
        author: str | None = None,
        field: Sequence[str] = (),
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        namespace: str | None = None,
        sort: Sort | None = None,
        limit: int | None = None,
    ) -> Pages[SchemaView]:
        """Schemas by the words of `q`, author and fields, as in `search_datasets`."""
        params = {
            "q": q,
            "author": author,
            "field": field,
            "createdAfter": created_after,
            "createdBefore": created_before,
            "namespace": namespace,
            "sort": sort,
        }
        return self._pages("searchSchemas", "schemas", SchemaView.from_json, params, limit)

    def search_lenses(
        self,
        q: str | None = None,
        *,
        author: str | None = None,
        source_schema: str | None = None,
        target_schema: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        namespace: str | None = None,
        sort: Sort | None = None,
        limit: int | None = None,
    ) -> Pages[LensView]:
        """Lenses by the words of `q`, author and the AT-URIs of the schemas they join."""
        params = {
            "q": q,
            "author": author,
            "sourceSchema": source_schema,
            "targetSchema": target_schema,
            "createdAfter": created_after,
            "createdBefore": created_before,
            "namespace": namespace,
            "sort": sort,
        }
        return self._pages("searchLenses", "lenses", LensView.from_json, params, limit)

    def suggest(self, q: str, *, limit: int | None = None) -> list[Suggestion]:
        """What a search that begins with `q` may go on to; `limit` is 1 to 20, 8 if None."""
        params = {"q": q, "limit": limit}
        return self._get("suggest", params, _items("suggestions", Suggestion.from_json))

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

    def list_tags(self, prefix: str | None = None, *, limit: int | None = None) -> list[TagCount]:
        """The tags that datasets carry most often, of those that begin with `prefix`.

        `limit` is 1 to 100, the index's 25 if None.
        """
        params = {"prefix": prefix, "limit": limit}
        return self._get("listTags", params, _items("tags", TagCount.from_json))

    def similar_datasets(self, uri: str, *, limit: int | None = None) -> list[DatasetView]:
        """Datasets like one, the most similar first; `limit` is 1 to 50, 10 if None.

        Raises NotFound.
        """
        params = {"uri": uri, "limit": limit}
        return self._get("getSimilarDatasets", params, _items("datasets", DatasetView.from_json))

    def find_lens_paths(
        self, source: str, target: str, *, max_hops: int | None = None, limit: int | None = None
    ) -> LensPaths:
        """The ways from one schema to another through lenses, given by their AT-URIs.

        `max_hops`, 1 to 8, is how many lenses a way has at most, 4 if None; `limit` is 1 to 50, 10
        if None.
        """
        params = {"source": source, "target": target, "maxHops": max_hops, "limit": limit}
        return self._get("findLensPaths", params, LensPaths.from_json)

    def schema_usage(self, uri: str) -> SchemaUsage:
        """What refers to a schema, and the schemas like it. Raises NotFound."""
        return self._get("getSchemaUsage", {"uri": uri}, SchemaUsage.from_json)

    def backlinks(
        self, subject: str, *, source: str | None = None, limit: int | None = None
    ) -> Pages[Backlink]:
        """The records that link to `subject` (an AT-URI), newest first.

        `source` is the place of the link, such as `app.bsky.atdata.dataset:schemaRef`.
        """
        params = {"subject": subject, "source": source}
        return self._pages("getBacklinks", "backlinks", Backlink.from_json, params, limit)

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
        once: Mapping[str, Any] | None = None,
    ) -> Pages[T]:
        """The pages of a query; `once` has parameters that are for the first of them alone."""

        def read(answer: Mapping[str, Any]) -> tuple[list[T], PageHead]:
            return _items(key, parse)(answer), PageHead.from_json(answer)

        def fetch(size: int, cursor: str | None) -> tuple[list[T], PageHead]:
            first = once if once and cursor is None else {}
            return self._get(name, {**params, **first, "limit": size, "cursor": cursor}, read)

        return Pages(fetch, limit)


def query_pairs(params: Mapping[str, Any]) -> list[tuple[str, str]]:
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
