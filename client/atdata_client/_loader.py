"""What the loaders share: where they read, what they list, and results as plain records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypedDict

from atdata_client._index.views import as_json
from atdata_client._records.stored import StoredRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from atdata_client._index.queries import DatasetSort
    from atdata_client._index.views import DatasetView, LensView, View
    from atdata_client._schemas.linked import Fetch
    from atdata_client.client import ATProtoClient
    from atdata_client.index import IndexClient

SCHEMA_SECONDS = 300.0
"""How old a schema may be that loading a dataset does not ask for again."""


class SearchFilters(TypedDict, total=False):
    """Filters and order of a search besides words and tags, as in `IndexClient.search_datasets`."""

    schema: str | None
    viewable_as: str | None
    author: str | None
    license: Sequence[str]
    field: Sequence[str]
    created_after: datetime | None
    created_before: datetime | None
    samples_min: int | None
    samples_max: int | None
    bytes_min: int | None
    bytes_max: int | None
    namespace: str | None
    sort: DatasetSort | None


class Loader:
    """Reads records from their authors' PDSs through `client`, or, without one, from the index.

    The index is `index`, by default `IndexClient()`, which is its own to close: as a context
    manager, or by `close`.
    """

    def __init__(
        self, client: ATProtoClient | None = None, index: IndexClient | None = None
    ) -> None:
        from atdata_client.index import IndexClient

        self.client = client
        self.index = index if index is not None else IndexClient()
        self._own_index = index is None

    def close(self) -> None:
        """Close connections to the index, unless it was given; the next question opens new ones."""
        if self._own_index:
            self.index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _read(self, uri: str, known: Callable[[str], View]) -> dict[str, Any]:
        """The record at `uri`; `known` is how the index is asked for it."""
        return known(uri).record if self.client is None else self.client.get_record(uri)

    def _listed(
        self, nsid: str, did: str | None, known: Iterable[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """The records of an account; `known` brings those in the index, and asks when it has to."""
        if self.client is not None:
            return self.client.list_records(nsid, did)
        if did is None:
            raise ValueError("Not authenticated")
        return list(known)


def schema_fetch(client: ATProtoClient | None, index: IndexClient) -> Fetch:
    """Gives the schema record at an AT-URI: from its author's PDS, without a client the index."""

    def fetch(uri: str) -> StoredRecord:
        if client is not None:
            return client.fetch_record(uri, max_age=SCHEMA_SECONDS)
        view = index.get_schema(uri)
        return StoredRecord(view.uri, view.cid, view.record)

    return fetch


def flat_dataset(view: DatasetView) -> dict[str, Any]:
    """The record's fields, and what the index knows of it."""
    told = {
        "uri": view.uri,
        "cid": view.cid,
        "author": as_json(view.author),
        "schema": as_json(view.schema),
    }
    path = {} if view.lens_path is None else {"lensPath": list(view.lens_path)}
    return {**view.record, **told, **path}


def flat_lens(view: LensView) -> dict[str, Any]:
    """The record's fields, and what the index knows of it."""
    told = {
        "uri": view.uri,
        "cid": view.cid,
        "author": as_json(view.author),
        "source": as_json(view.source),
        "target": as_json(view.target),
    }
    return {**view.record, **told}
