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
    from atdata_client.client import ATProtoClient
    from atdata_client.dataset import DatasetLoader, DatasetPublisher
    from atdata_client.errors import (
        AtdataClientError,
        AuthenticationError,
        IdentityError,
        IndexClientError,
        IndexUnavailable,
        InvalidRequest,
        NotFound,
        PdsError,
        RateLimited,
        RecordNotFound,
        SwapConflict,
        UnexpectedResponse,
        UnsafeUrlError,
        UnsupportedTypeError,
        ValidationError,
        XrpcError,
    )
    from atdata_client.index import IndexClient
    from atdata_client.lens import LensPublisher
    from atdata_client.schema import SchemaLoader, SchemaPublisher

__all__ = [
    "ATProtoClient",
    "AtdataClientError",
    "AuthenticationError",
    "DatasetLoader",
    "DatasetPublisher",
    "IdentityError",
    "IndexClient",
    "IndexClientError",
    "IndexUnavailable",
    "InvalidRequest",
    "LensPublisher",
    "NotFound",
    "PdsError",
    "RateLimited",
    "RecordNotFound",
    "SchemaLoader",
    "SchemaPublisher",
    "SwapConflict",
    "UnexpectedResponse",
    "UnsafeUrlError",
    "UnsupportedTypeError",
    "ValidationError",
    "XrpcError",
]

_MODULES = {
    "ATProtoClient": "client",
    "DatasetLoader": "dataset",
    "DatasetPublisher": "dataset",
    "IndexClient": "index",
    "LensPublisher": "lens",
    "SchemaLoader": "schema",
    "SchemaPublisher": "schema",
}


def __getattr__(name: str) -> object:
    # Lazily (PEP 562): validating records costs 40 ms to import, and asking the index needs none.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
