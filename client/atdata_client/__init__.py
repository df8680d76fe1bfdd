"""The thin client: publishes to the author's own PDS and asks the index for everything else.

Owns publishing (schemas, datasets, lenses), reading records from their authors' PDSs, and typed
queries to an AppView's index. It depends on `atdata_schemas` and never on the indexer or the API.

Invariants: importing this package imports none of atproto, atdata and httpx, each is imported by
the first call that needs it; a record is checked against its lexicon before it is published; code
and shell commands found in other people's records are never run.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atdata_client._extend import extend_atdata
    from atdata_client._index.changes import Change
    from atdata_client._index.frames import Results
    from atdata_client._index.links import Backlink, LensPath, LensPaths, SchemaUsage
    from atdata_client._index.pages import AsyncPages, Facet, FacetValue, Pages
    from atdata_client._index.service import ServiceDescription, Suggestion, TagCount
    from atdata_client._index.views import (
        DatasetView,
        LensView,
        RecordStatus,
        SchemaView,
    )
    from atdata_client._records.stored import StoredRecord
    from atdata_client.async_index import AsyncIndexClient
    from atdata_client.bulk import DatasetItem, LensItem, Plan, SchemaItem, publish_many
    from atdata_client.client import ATProtoClient
    from atdata_client.compatibility import Compatibility
    from atdata_client.dataset import DatasetLoader, DatasetPublisher
    from atdata_client.errors import (
        AtdataClientError,
        AuthenticationError,
        CodeNotPublished,
        IdentityError,
        IncompatibleType,
        IndexClientError,
        IndexUnavailable,
        InvalidRequest,
        NoLensPath,
        NotFound,
        NotIndexed,
        PdsError,
        PublishInterrupted,
        RateLimited,
        RecordNotFound,
        SampleMismatch,
        SchemaChanged,
        SwapConflict,
        UnexpectedResponse,
        UnsafeUrlError,
        UnsupportedTypeError,
        ValidationError,
        XrpcError,
    )
    from atdata_client.exchange import export_records, import_records
    from atdata_client.follow import AsyncChangeStream, ChangeStream
    from atdata_client.index import IndexClient
    from atdata_client.lens import LensLoader, LensPublisher
    from atdata_client.registry import RegisteredSchema, SchemaRegistry
    from atdata_client.schema import SchemaLoader, SchemaPublisher

__all__ = [
    "ATProtoClient",
    "AsyncChangeStream",
    "AsyncIndexClient",
    "AsyncPages",
    "AtdataClientError",
    "AuthenticationError",
    "Backlink",
    "Change",
    "ChangeStream",
    "CodeNotPublished",
    "Compatibility",
    "DatasetItem",
    "DatasetLoader",
    "DatasetPublisher",
    "DatasetView",
    "Facet",
    "FacetValue",
    "IdentityError",
    "IncompatibleType",
    "IndexClient",
    "IndexClientError",
    "IndexUnavailable",
    "InvalidRequest",
    "LensItem",
    "LensLoader",
    "LensPath",
    "LensPaths",
    "LensPublisher",
    "LensView",
    "NoLensPath",
    "NotFound",
    "NotIndexed",
    "Pages",
    "PdsError",
    "Plan",
    "PublishInterrupted",
    "RateLimited",
    "RecordNotFound",
    "RecordStatus",
    "RegisteredSchema",
    "Results",
    "SampleMismatch",
    "SchemaChanged",
    "SchemaItem",
    "SchemaLoader",
    "SchemaPublisher",
    "SchemaRegistry",
    "SchemaUsage",
    "SchemaView",
    "ServiceDescription",
    "StoredRecord",
    "Suggestion",
    "SwapConflict",
    "TagCount",
    "UnexpectedResponse",
    "UnsafeUrlError",
    "UnsupportedTypeError",
    "ValidationError",
    "XrpcError",
    "export_records",
    "extend_atdata",
    "import_records",
    "publish_many",
]

_MODULES = {
    "ATProtoClient": "client",
    "AsyncChangeStream": "follow",
    "AsyncIndexClient": "async_index",
    "AsyncPages": "_index.pages",
    "Backlink": "_index.links",
    "Change": "_index.changes",
    "ChangeStream": "follow",
    "Compatibility": "compatibility",
    "DatasetItem": "bulk",
    "DatasetLoader": "dataset",
    "DatasetPublisher": "dataset",
    "DatasetView": "_index.views",
    "Facet": "_index.pages",
    "FacetValue": "_index.pages",
    "IndexClient": "index",
    "LensItem": "bulk",
    "LensLoader": "lens",
    "LensPath": "_index.links",
    "LensPaths": "_index.links",
    "LensPublisher": "lens",
    "LensView": "_index.views",
    "Pages": "_index.pages",
    "Plan": "bulk",
    "RecordStatus": "_index.views",
    "RegisteredSchema": "registry",
    "Results": "_index.frames",
    "SchemaItem": "bulk",
    "SchemaLoader": "schema",
    "SchemaPublisher": "schema",
    "SchemaRegistry": "registry",
    "SchemaUsage": "_index.links",
    "SchemaView": "_index.views",
    "ServiceDescription": "_index.service",
    "StoredRecord": "_records.stored",
    "Suggestion": "_index.service",
    "TagCount": "_index.service",
    "export_records": "exchange",
    "extend_atdata": "_extend",
    "import_records": "exchange",
    "publish_many": "bulk",
}


def __getattr__(name: str) -> object:
    # Lazily (PEP 562): validating records costs 40 ms to import, and asking the index needs none.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
