"""What a loader reads and finds: schemas from wherever it reads, and results as plain records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from atdata_client._types import StoredRecord, as_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from atdata_client._linked import Fetch
    from atdata_client._queries import DatasetSort
    from atdata_client._types import DatasetView, LensView
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
