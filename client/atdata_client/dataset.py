"""Publishing datasets, loading them, and finding them through the index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from atdata_client._extras import part
from atdata_client._loader import Loader, SearchFilters, flat_dataset, schema_fetch
from atdata_client._records.lexicon import (
    DATASET_NSID,
    build_dataset_record,
    check_record,
    own_words,
    unpack_metadata,
    warn_of_handles,
)
from atdata_client._records.shards import ShardPatterns, check_urls, shard_urls
from atdata_client._schemas.linked import linked_schemas
from atdata_client._warn import warn
from atdata_client.errors import IncompatibleType, NotFound, RecordNotFound
from atdata_client.index import IndexClient
from atdata_client.schema import ANY_SCHEMA_URI, SchemaPublisher

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Unpack

    from atdata import Dataset, Lens, PackableSample

    from atdata_client._schemas.linked import LinkedSchema
    from atdata_client.client import ATProtoClient
    from atdata_client.registry import SchemaRegistry


class DatasetPublisher:
    """Publishes datasets as records of `app.bsky.atdata.dataset` in one's own repository.

    `registry` is that of its SchemaPublisher; `index` is asked by `wait_indexed`, by default
    `IndexClient()`.
    """

    def __init__(
        self,
        client: ATProtoClient,
        *,
        registry: SchemaRegistry | None = None,
        index: IndexClient | None = None,
    ) -> None:
        self.client = client
        self.index = index
        self.schema_publisher = SchemaPublisher(client, registry=registry)

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
        metadata: Mapping[str, Any] | None = None,
        size: Mapping[str, int] | None = None,
        count_size: bool = False,
        wait_indexed: bool = False,
        timeout: float = 30.0,
    ) -> str:
        """Publish where a dataset is and what it holds; returns the AT-URI of its record.

        Without `schema_uri` the schema of its sample type is published first. The record names the
        patterns the dataset was made from, or every shard of its source, and carries `metadata`, by
        default the dataset's own (a msgpack map of at most 100,000 bytes). `license` is an SPDX
        identifier by preference: of another, UserWarning says what was probably meant. `size` is
        `{"samples": …, "bytes": …}`, or one of them; with `count_size` the shards are read and
        counted, behind a progress bar; otherwise it says what is known without reading them.
        Everything is checked before anything is published. Warns (UserWarning) of a `schema_uri`
        that names its author by a handle, which no index follows.

        With `wait_indexed` returns once the index shows this very version; `timeout` is in seconds.

        Raises ValueError when the client is not logged in, the dataset is a view of another, or
        without `schema_uri` when `auto_publish_schema` is False or the dataset has no sample type;
        ValidationError naming field and rule; what `publish_schema` raises; PdsError. Once it is
        published, NotIndexed with the reason the index gives, IndexUnavailable.
        """
        if not self.client.is_authenticated:
            raise ValueError("Client must be authenticated")
        if schema_uri is None and not auto_publish_schema:
            raise ValueError("schema_uri required when auto_publish_schema=False")
        record = dataset_record(
            dataset,
            name=name,
            schema_uri=ANY_SCHEMA_URI if schema_uri is None else schema_uri,
            description=description,
            tags=tags,
            license=license,
            metadata=metadata,
            size=size,
            count_size=count_size,
        )
        if schema_uri is None:
            record["schemaRef"] = self.schema_publisher.publish_schema(sample_type_of(dataset))
        uri = self.client.create_record(DATASET_NSID, record)
        if wait_indexed:
            self._wait(uri, timeout)
        return uri

    def _wait(self, uri: str, timeout: float) -> None:
        from atdata_client._index.wait import wait_for_dataset

        cid = self.client.fetch_record(uri).cid
        if self.index is not None:
            wait_for_dataset(self.index, uri, cid, timeout=timeout)
            return
        with IndexClient() as index:
            wait_for_dataset(index, uri, cid, timeout=timeout)


class DatasetLoader(Loader):
    """Loads datasets from their records, and finds them.

    Records come from their authors' PDSs through `client`, or, without one, from the index.
    Searches always ask `index`, by default `IndexClient()`, which is its own to close: as a context
    manager, or by `close`.
    """

    def __init__(
        self, client: ATProtoClient | None = None, index: IndexClient | None = None
    ) -> None:
        from atdata_client._schemas.generate import SampleTypes

        super().__init__(client, index)
        self._fetch = schema_fetch(client, self.index)
        self._types = SampleTypes(self._fetch)

    @overload
    def load_dataset[VT: PackableSample](
        self,
        uri: str,
        *,
        sample_type: type[PackableSample] | None = None,
        as_type: type[VT],
        validate: bool = False,
    ) -> Dataset[VT]: ...

    @overload
    def load_dataset[ST: PackableSample](
        self, uri: str, *, sample_type: type[ST], as_type: None = None, validate: bool = False
    ) -> Dataset[ST]: ...

    @overload
    def load_dataset(
        self, uri: str, *, sample_type: None = None, as_type: None = None, validate: bool = False
    ) -> Dataset[PackableSample]: ...

    def load_dataset(
        self,
        uri: str,
        *,
        sample_type: type[PackableSample] | None = None,
        as_type: type[PackableSample] | None = None,
        validate: bool = False,
    ) -> Dataset[Any]:
        """The dataset of the record at `uri`, with the record's metadata, ready to iterate.

        Its samples are of a class made from the published schema, or of `sample_type`, which must
        be compatible with it. With `as_type` they are seen as that class: over the fewest lenses
        registered with atdata in this process (`@atdata.lens`) that lead there from `sample_type`,
        or from a registered class that is compatible with the schema and has its name. Nothing is
        read from the shards yet; with `validate` each sample is checked when it is: its types, and
        dtype and shape of its arrays (SampleMismatch). A nested sample arrives as the dict that
        atdata makes of it. Warns (UserWarning) when the schema is gone and `sample_type` cannot be
        compared with it.

        Raises ValueError when the record is no dataset or its schema makes no class,
        IncompatibleType and NoLensPath with the reasons, ValidationError when a record breaks its
        lexicon, UnsafeUrlError when opening a shard could run a command, and what reading records
        raises: RecordNotFound or NotFound, IdentityError, PdsError or IndexClientError.
        """
        # Before anything is asked: without it there is nothing to load into.
        atdata = part("atdata", of="atdata", for_="load_dataset")
        record = own_words(uri, self._read(uri, self.index.get_dataset), DATASET_NSID)
        check_record(record)
        urls: list[str] = record["urls"]
        check_urls(urls)
        metadata = unpack_metadata(record)
        shown, lens = self._shown(record["schemaRef"], sample_type, as_type, validate)

        dataset = atdata.Dataset[shown](urls[0] if len(urls) == 1 else ShardPatterns(tuple(urls)))
        # The one place atdata has for a lens; its own `as_type` knows paths of one lens only.
        dataset._output_lens = lens
        if metadata is not None:
            # atdata fetches metadata from metadata_url once and keeps it here: it has arrived.
            dataset.metadata_url, dataset._metadata = uri, metadata
        return dataset

    def list_datasets(self, did: str | None = None) -> list[dict[str, Any]]:
        """All dataset records of an account (one's own without `did`), each with `uri` and `cid`.

        Raises ValueError when no `did` is given and there is no client that is logged in.
        """
        known = map(flat_dataset, self.index.list_datasets(author=did))
        return self._listed(DATASET_NSID, did, known)

    def search_datasets(
        self,
        tags: Sequence[str] | None = None,
        query: str | None = None,
        *,
        match: Literal["any", "all"] = "any",
        limit: int | None = None,
        **filters: Unpack[SearchFilters],
    ) -> list[dict[str, Any]]:
        """Dataset records that carry any of `tags` (or all, with `match="all"`) and match `query`.

        `query` is words, and a record has them all; tags match whatever the case; `filters` are
        those of `IndexClient.search_datasets`. Each result holds the record's fields, and `uri`,
        `cid`, `author` (did, handle) and `schema` (uri, status, and name and version when known).
        By relevance where there are words, newest first otherwise; `limit` bounds the results, None
        is all. Raises IndexClientError; ValueError for another `match`.
        """
        return list(self.iter_datasets(tags, query, match=match, limit=limit, **filters))

    def iter_datasets(
        self,
        tags: Sequence[str] | None = None,
        query: str | None = None,
        *,
        match: Literal["any", "all"] = "any",
        limit: int | None = None,
        **filters: Unpack[SearchFilters],
    ) -> Iterator[dict[str, Any]]:
        """What `search_datasets` finds, page by page as it is asked for."""
        if match not in ("any", "all"):
            raise ValueError(f"match is 'any' or 'all', not {match!r}")
        tags = tags or ()
        # One tag is any of one and all of one: then the query is the one everybody asks.
        how = match if len(tags) > 1 else "all"
        views = self.index.search_datasets(
            query or None, tags=tags, match=how, limit=limit, **filters
        )
        return (flat_dataset(view) for view in views)

    def _shown(
        self,
        ref: str,
        sample_type: type[PackableSample] | None,
        as_type: type[PackableSample] | None,
        validate: bool,
    ) -> tuple[type[PackableSample], Lens[Any, Any] | None]:
        """The class the samples are shown as, and the lens to it where one is needed."""
        from atdata_client._schemas import lens_paths
        from atdata_client._schemas.validate import sample_check

        schemas = None
        if sample_type is not None or as_type is not None or validate:
            schemas = self._schemas(ref, needed=sample_type is None or validate)
        if sample_type is not None:
            if schemas is not None:
                check_type(sample_type, ref, schemas)
            starts: Sequence[type] = [sample_type]
        elif as_type is not None:
            assert schemas is not None
            starts = lens_paths.starts(as_type, ref, schemas)
        else:
            starts = [self._types.sample_type(ref)]
        path = [] if as_type is None else lens_paths.path_or_raise(starts, as_type, ref)
        source = path[0].source_type if path else as_type or starts[0]
        if validate:
            assert schemas is not None
            check = sample_check(schemas[ref].schema, nested=lambda uri: schemas[uri].schema)
            path = [lens_paths.checked(source, check), *path]
        return as_type or starts[0], lens_paths.composed(path)

    def _schemas(self, ref: str, *, needed: bool) -> Mapping[str, LinkedSchema] | None:
        """The schema and all it links to; None when it is gone and not `needed`."""
        try:
            return linked_schemas(ref, self._fetch)
        except (RecordNotFound, NotFound):
            if needed:
                raise
        warn(f"the schema at {ref} is gone: whether its samples load is not known")
        return None


def dataset_record(
    dataset: Dataset[Any],
    *,
    name: str,
    schema_uri: str,
    description: str | None = None,
    tags: Sequence[str] | None = None,
    license: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    size: Mapping[str, int] | None = None,
    count_size: bool = False,
) -> dict[str, Any]:
    """The record of a dataset, checked. Raises what `publish_dataset` raises of these."""
    from atdata_client._records import size as sizes
    from atdata_client._records.license import warn_unless_spdx

    record = build_dataset_record(
        name=name,
        schema_uri=schema_uri,
        urls=shard_urls(dataset),
        description=description,
        metadata=dataset.metadata if metadata is None else metadata,
        tags=tags,
        license=license,
        size=sizes.known_size(dataset) if size is None else size,
    )
    check_record(record)
    warn_of_handles(record)
    warn_unless_spdx(license)
    if count_size:
        # Reading the shards may take long, so what can be refused was refused before.
        record["size"] = sizes.count_size(dataset) | dict(size or {})
        check_record(record)
    return record


def sample_type_of[ST: PackableSample](dataset: Dataset[ST]) -> type[ST]:
    """The class a dataset was made with. Raises ValueError when there is none."""
    try:
        sample_type: type[ST] = dataset.sample_type
    except AttributeError as error:
        raise ValueError(
            "the dataset has no sample type: make it as Dataset[MySample](url), or give schema_uri"
        ) from error
    return sample_type


def check_type(cls: type, ref: str, schemas: Mapping[str, LinkedSchema]) -> None:
    """Whether samples of the schema at `ref` load as `cls`. Raises IncompatibleType."""
    from atdata_client.compatibility import check

    found = check(schemas[ref].schema, cls, nested=lambda uri: schemas[uri].schema)
    if not found:
        raise IncompatibleType(ref, cls, found)
