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
    from atdata_client._changes import Change
    from atdata_client._extend import extend_atdata
    from atdata_client._frames import Results
    from atdata_client._links import Backlink, LensPath, LensPaths, SchemaUsage
    from atdata_client._pages import AsyncPages, Facet, FacetValue, Pages
    from atdata_client._service import ServiceDescription, Suggestion, TagCount
    from atdata_client._types import (
        DatasetView,
        LensView,
        RecordStatus,
        SchemaView,
        StoredRecord,
    )
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
    "AsyncPages": "_pages",
    "Backlink": "_links",
    "Change": "_changes",
    "ChangeStream": "follow",
    "Compatibility": "compatibility",
    "DatasetItem": "bulk",
    "DatasetLoader": "dataset",
    "DatasetPublisher": "dataset",
    "DatasetView": "_types",
    "Facet": "_pages",
    "FacetValue": "_pages",
    "IndexClient": "index",
    "LensItem": "bulk",
    "LensLoader": "lens",
    "LensPath": "_links",
    "LensPaths": "_links",
    "LensPublisher": "lens",
    "LensView": "_types",
    "Pages": "_pages",
    "Plan": "bulk",
    "RecordStatus": "_types",
    "RegisteredSchema": "registry",
    "Results": "_frames",
    "SchemaItem": "bulk",
    "SchemaLoader": "schema",
    "SchemaPublisher": "schema",
    "SchemaRegistry": "registry",
    "SchemaUsage": "_links",
    "SchemaView": "_types",
    "ServiceDescription": "_service",
    "StoredRecord": "_types",
    "Suggestion": "_service",
    "TagCount": "_service",
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
