"""Publishing datasets, loading them, and finding them through the index."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, overload

from atdata_client._lexicon import (
    DATASET_NSID,
    SCHEMA_NSID,
    build_dataset_record,
    check_record,
    unpack_metadata,
)
from atdata_client._shards import ShardPatterns, check_urls, shard_urls
from atdata_client._types import DatasetView, as_json
from atdata_client.index import IndexClient
from atdata_client.schema import ANY_SCHEMA_URI, SchemaPublisher

if TYPE_CHECKING:
    from atdata import Dataset, PackableSample

    from atdata_client.client import ATProtoClient

_MAX_NESTING = 16


class DatasetPublisher:
    """Publishes datasets as records of `app.bsky.atdata.dataset` in one's own repository."""

    def __init__(self, client: ATProtoClient) -> None:
        self.client = client
        self.schema_publisher = SchemaPublisher(client)

    def publish_dataset[ST: PackableSample](
        self,
        dataset: Dataset[ST],
        *,
        name: str,
        schema_uri: str | None = None,
        description: str | None = None,
        tags: list[str] | None = None,
        license: str | None = None,
        auto_publish_schema: bool = True,
    ) -> str:
        """Publish where a dataset is and what it holds; returns the AT-URI of its record.

        Without `schema_uri` the schema of its sample type is published first. The record names the
        pattern the dataset was made from, or every shard of its source, and carries its metadata
        (a msgpack map of at most 100,000 bytes). `license` is an SPDX identifier by preference.
        Everything is checked before anything is published; the shards are not looked at.

        Raises ValueError when the client is not logged in, or without `schema_uri` when
        `auto_publish_schema` is False or the dataset has no sample type; ValidationError naming
        field and rule; what `publish_schema` raises; PdsError.
        """
        if not self.client.is_authenticated:
            raise ValueError("Client must be authenticated")
        if schema_uri is None and not auto_publish_schema:
            raise ValueError("schema_uri required when auto_publish_schema=False")
        record = build_dataset_record(
            name=name,
            schema_uri=ANY_SCHEMA_URI if schema_uri is None else schema_uri,
            urls=shard_urls(dataset),
            description=description,
            metadata=dataset.metadata,
            tags=tags,
            license=license,
        )
        check_record(record)
        if schema_uri is None:
            record["schemaRef"] = self.schema_publisher.publish_schema(_sample_type(dataset))
        return self.client.create_record(DATASET_NSID, record)


class DatasetLoader:
    """Loads datasets from their records, and finds them.

    Records come from their authors' PDSs through `client`, or, without one, from the index.
    Searches always ask `index`, by default `IndexClient()`.
    """

    def __init__(
        self, client: ATProtoClient | None = None, index: IndexClient | None = None
    ) -> None:
        self.client = client
        self.index = index if index is not None else IndexClient()

    @overload
    def load_dataset[ST: PackableSample](
        self, uri: str, *, sample_type: type[ST]
    ) -> Dataset[ST]: ...

    @overload
    def load_dataset(self, uri: str, *, sample_type: None = None) -> Dataset[PackableSample]: ...

    def load_dataset(
        self, uri: str, *, sample_type: type[PackableSample] | None = None
    ) -> Dataset[Any]:
        """The dataset of the record at `uri`, with the record's metadata, ready to iterate.

        Its samples are of `sample_type`, or of a class made from the published schema. Nothing is
        read from the shards yet. A nested sample arrives as the dict that atdata makes of it.

        Raises ValueError when the record is no dataset or its schema makes no class,
        ValidationError when either breaks its lexicon, UnsafeUrlError when opening a shard could
        run a command, and what reading records raises: RecordNotFound or NotFound, IdentityError,
        PdsError or IndexClientError.
        """
        record = self._record(uri, DATASET_NSID)
        if record.get("$type") != DATASET_NSID:
            raise ValueError(f"Record at {uri} is not a dataset record")
        check_record(record)
        urls: list[str] = record["urls"]
        check_urls(urls)
        metadata = unpack_metadata(record)
        cls = sample_type if sample_type is not None else self._made(record["schemaRef"])

        import atdata

        dataset = atdata.Dataset[cls](urls[0] if len(urls) == 1 else ShardPatterns(tuple(urls)))
        if metadata is not None:
            # atdata fetches metadata from metadata_url once and keeps it here: it has arrived.
            dataset.metadata_url, dataset._metadata = uri, metadata
        return dataset

    def list_datasets(self, did: str | None = None) -> list[dict[str, Any]]:
        """All dataset records of an account (one's own without `did`), each with `uri` and `cid`.

        Raises ValueError when no `did` is given and there is no client that is logged in.
        """
        if self.client is not None:
            return self.client.list_records(DATASET_NSID, did)
        if did is None:
            raise ValueError("Not authenticated")
        return [_flat(view) for view in self.index.list_datasets(author=did)]

    def search_datasets(
        self,
        tags: list[str] | None = None,
        query: str | None = None,
        *,
        match: Literal["any", "all"] = "any",
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Dataset records that carry any of `tags` (or all, with `match="all"`) and match `query`.

        `query` is words, and a record has them all; tags match whatever the case. Each result
        holds the record's fields, and `uri`, `cid`, `author` (did, handle) and `schema` (uri,
        status, and name and version when known). By relevance where words decide, newest first
        where several tags may match. Raises IndexClientError; ValueError for another `match`.
        """
        if match not in ("any", "all"):
            raise ValueError(f"match is 'any' or 'all', not {match!r}")
        if match == "all" or tags is None or len(tags) < 2:
            views = list(self.index.search_datasets(query, tags=tags or (), limit=limit))
            return [_flat(view) for view in views]
        found: dict[str, DatasetView] = {}
        for tag in tags:
            for view in self.index.search_datasets(query, tags=(tag,), sort="newest", limit=limit):
                found.setdefault(view.uri, view)
        merged = sorted(found.values(), key=_dated, reverse=True)
        return [_flat(view) for view in merged[:limit]]

    def _record(self, uri: str, nsid: str) -> dict[str, Any]:
        if self.client is not None:
            return self.client.get_record(uri)
        if nsid == DATASET_NSID:
            return self.index.get_dataset(uri).record
        return self.index.get_schema(uri).record

    def _made(self, uri: str, above: tuple[str, ...] = ()) -> type[PackableSample]:
        """The sample class of the schema at `uri`."""
        from atdata_client._generate import sample_type_of
        from atdata_schemas.records import Schema

        if uri in above or len(above) > _MAX_NESTING:
            raise ValueError(f"the schema at {uri} contains itself, or is nested too deeply")
        record = self._record(uri, SCHEMA_NSID)
        if record.get("$type") != SCHEMA_NSID:
            raise ValueError(f"Record at {uri} is not a schema record")
        schema = check_record(record)
        assert isinstance(schema, Schema)
        return sample_type_of(schema, lambda inner: self._made(inner, (*above, uri)))


def _sample_type[ST: PackableSample](dataset: Dataset[ST]) -> type[ST]:
    try:
        sample_type: type[ST] = dataset.sample_type
    except AttributeError as error:
        raise ValueError(
            "the dataset has no sample type: make it as Dataset[MySample](url), or give schema_uri"
        ) from error
    return sample_type


def _flat(view: DatasetView) -> dict[str, Any]:
    return {
        **view.record,
        "uri": view.uri,
        "cid": view.cid,
        "author": as_json(view.author),
        "schema": as_json(view.schema),
    }


def _dated(view: DatasetView) -> tuple[datetime, str]:
    """What the index sorts dates by, as far as a client can know: never later than its arrival."""
    from atdata_schemas.syntax import parse_datetime

    try:
        claimed = parse_datetime(view.record["createdAt"])
    except (KeyError, TypeError, ValueError):
        claimed = view.indexed_at
    return min(claimed, view.indexed_at), view.uri
