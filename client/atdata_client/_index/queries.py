"""Every query of the index, as a function from its parameters to what is asked.

`IndexClient` and `AsyncIndexClient` take their methods from here: names, parameters, defaults and
docstrings. Nothing here sends anything.

The annotations are values, not text: `typing.get_type_hints` could not look up text in another
module than the one that it stands in.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import update_wrapper
from inspect import Parameter, signature
from itertools import batched
from typing import Any, Literal, get_args

from atdata_client._index.frames import Results, Row
from atdata_client._index.links import Backlink, LensPaths, SchemaUsage
from atdata_client._index.requests import Batches, Listing, Query, Subscription
from atdata_client._index.service import ServiceDescription, Suggestion, TagCount
from atdata_client._index.views import DatasetView, LensView, RecordStatus, SchemaView
from atdata_client._records.stored import JsonObject

type Sort = Literal["relevance", "newest", "oldest", "name"]
type DatasetSort = Literal["relevance", "newest", "oldest", "name", "samples"]
type FacetName = Literal["tags", "license", "schema", "author", "fieldKind"]

BATCH = 25
"""URIs per `getDatasets`, the most an index takes."""


def as_method[**P, R](
    method: Callable[P, R], describe: Callable[..., object], gives: Any = None
) -> Callable[P, R]:
    """`method` with the name, parameters and docstring of `describe`, and `self` before them.

    It gives what `describe` asks for, or, with `gives`, that of it: `Pages` of what is listed.
    """
    update_wrapper(method, describe)
    known = signature(describe)
    asked = get_args(known.return_annotation)
    answer = asked[0] if gives is None else gives[asked[0]] if asked else gives
    itself = Parameter("self", Parameter.POSITIONAL_ONLY)
    parameters = [itself, *known.parameters.values()]
    method.__annotations__ = describe.__annotations__ | {"return": answer}
    vars(method)["__signature__"] = known.replace(parameters=parameters, return_annotation=answer)
    return method


def search_datasets(
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
) -> Listing[DatasetView]:
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
    return Listing("searchDatasets", "datasets", DatasetView, params, limit, once)


def search_schemas(
    q: str | None = None,
    *,
    author: str | None = None,
    field: Sequence[str] = (),
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    namespace: str | None = None,
    sort: Sort | None = None,
    limit: int | None = None,
) -> Listing[SchemaView]:
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
    return Listing("searchSchemas", "schemas", SchemaView, params, limit)


def search_lenses(
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
) -> Listing[LensView]:
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
    return Listing("searchLenses", "lenses", LensView, params, limit)


def suggest(q: str, *, limit: int | None = None) -> Query[Results[Suggestion]]:
    """What a search that begins with `q` may go on to; `limit` is 1 to 20, 8 if None."""
    params = {"q": q, "limit": limit}
    return Query("suggest", params, _results("suggestions", Suggestion))


def list_datasets(*, author: str | None = None, limit: int | None = None) -> Listing[DatasetView]:
    """Datasets, newest first, by this author (DID or handle)."""
    params = {"author": author}
    return Listing("listDatasets", "datasets", DatasetView, params, limit)


def list_schemas(*, author: str | None = None, limit: int | None = None) -> Listing[SchemaView]:
    """Schemas, newest first, by this author (DID or handle)."""
    params = {"author": author}
    return Listing("listSchemas", "schemas", SchemaView, params, limit)


def list_lenses(*, author: str | None = None, limit: int | None = None) -> Listing[LensView]:
    """Lenses, newest first, by this author (DID or handle)."""
    params = {"author": author}
    return Listing("listLenses", "lenses", LensView, params, limit)


def get_dataset(uri: str) -> Query[DatasetView]:
    """One dataset. Raises NotFound."""
    return Query("getDataset", {"uri": uri}, lambda a: DatasetView.from_json(a["dataset"]))


def get_datasets(uris: Iterable[str]) -> Batches[DatasetView]:
    """Several datasets, in the order asked; what is not in the index is left out."""
    wanted = [uris] if isinstance(uris, str) else uris
    queries = (
        Query("getDatasets", {"uris": some}, _items("datasets", DatasetView))
        for some in batched(wanted, BATCH)
    )
    return Batches(tuple(queries), DatasetView)


def get_schema(uri: str) -> Query[SchemaView]:
    """One schema. Raises NotFound."""
    return Query("getSchema", {"uri": uri}, lambda a: SchemaView.from_json(a["schema"]))


def get_lens(uri: str) -> Query[LensView]:
    """One lens. Raises NotFound."""
    return Query("getLens", {"uri": uri}, lambda a: LensView.from_json(a["lens"]))


def list_tags(prefix: str | None = None, *, limit: int | None = None) -> Query[Results[TagCount]]:
    """The tags that datasets carry most often, of those that begin with `prefix`.

    `limit` is 1 to 100, the index's 25 if None.
    """
    params = {"prefix": prefix, "limit": limit}
    return Query("listTags", params, _results("tags", TagCount))


def similar_datasets(uri: str, *, limit: int | None = None) -> Query[Results[DatasetView]]:
    """Datasets like one, the most similar first; `limit` is 1 to 50, 10 if None.

    Raises NotFound.
    """
    params = {"uri": uri, "limit": limit}
    return Query("getSimilarDatasets", params, _results("datasets", DatasetView))


def find_lens_paths(
    source: str, target: str, *, max_hops: int | None = None, limit: int | None = None
) -> Query[LensPaths]:
    """The ways from one schema to another through lenses, given by their AT-URIs.

    `max_hops`, 1 to 8, is how many lenses a way has at most, 4 if None; `limit` is 1 to 50, 10
    if None.
    """
    params = {"source": source, "target": target, "maxHops": max_hops, "limit": limit}
    return Query("findLensPaths", params, LensPaths.from_json)


def schema_usage(uri: str) -> Query[SchemaUsage]:
    """What refers to a schema, and the schemas like it. Raises NotFound."""
    return Query("getSchemaUsage", {"uri": uri}, SchemaUsage.from_json)


def backlinks(
    subject: str, *, source: str | None = None, limit: int | None = None
) -> Listing[Backlink]:
    """The records that link to `subject` (an AT-URI), newest first.

    `source` is the place of the link, such as `app.bsky.atdata.dataset:schemaRef`.
    """
    params = {"subject": subject, "source": source}
    return Listing("getBacklinks", "backlinks", Backlink, params, limit)


def record_status(uri: str) -> Query[RecordStatus]:
    """Why a record is, or is not, in the index."""
    return Query("getRecordStatus", {"uri": uri}, RecordStatus.from_json)


def describe() -> Query[ServiceDescription]:
    """What the index holds and how far it has read."""
    return Query("describeService", {}, ServiceDescription.from_json)


def changes(
    *,
    cursor: str | int | None = None,
    collections: Sequence[str] = (),
    authors: Sequence[str] = (),
    tags: Sequence[str] = (),
) -> Subscription:
    """Every change to the index behind `cursor` (one of a stream's; None: from now on).

    Only of these collections, accounts (DIDs or handles) and datasets with one of these tags.
    The stream is in order and connects again by itself. It raises InvalidRequest when it
    cannot go on: its `error` is `OutdatedCursor`, `FutureCursor` or `EpochChanged`.
    """
    filters = {"collections": collections, "authors": authors, "tags": tags}
    return Subscription("subscribeChanges", filters, cursor)


def _items[R: Row](key: str, item: type[R]) -> Callable[[JsonObject], list[R]]:
    return lambda answer: [item.from_json(one) for one in answer[key]]


def _results[R: Row](key: str, item: type[R]) -> Callable[[JsonObject], Results[R]]:
    return lambda answer: Results(map(item.from_json, answer[key]), item)
