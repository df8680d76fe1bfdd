"""What the public names give, as a type checker sees it: each line fails to check where it differs.

Nothing here is run; `tests/test_client_is_typed.py` has it checked.
"""

from collections.abc import Awaitable, Iterator
from typing import Any, assert_type

import atdata
import pandas as pd
import pyarrow as pa

from atdata_client import (
    AsyncIndexClient,
    AsyncPages,
    ATProtoClient,
    Backlink,
    Compatibility,
    DatasetLoader,
    DatasetPublisher,
    DatasetView,
    Facet,
    IndexClient,
    LensItem,
    LensLoader,
    LensPaths,
    LensPublisher,
    LensView,
    Pages,
    RecordStatus,
    RegisteredSchema,
    Results,
    SchemaItem,
    SchemaLoader,
    SchemaPublisher,
    SchemaRegistry,
    SchemaUsage,
    SchemaView,
    ServiceDescription,
    StoredRecord,
    Suggestion,
    TagCount,
    export_records,
    import_records,
    publish_many,
)

type Record = dict[str, Any]


def of_the_index(index: IndexClient, uri: str) -> None:
    pages = index.search_datasets("x", tags=["a"], facets=["tags"], sort="samples", limit=5)
    assert_type(pages, Pages[DatasetView])
    assert_type(next(pages), DatasetView)
    assert_type(pages.total, int | None)
    assert_type(pages.facets, tuple[Facet, ...])
    assert_type(pages.results(), Results[DatasetView])
    assert_type(pages.to_pandas(), pd.DataFrame)
    assert_type(pages.to_arrow(), pa.Table)
    assert_type(index.search_schemas(), Pages[SchemaView])
    assert_type(index.search_lenses(), Pages[LensView])
    assert_type(index.list_datasets(), Pages[DatasetView])
    assert_type(index.list_schemas(), Pages[SchemaView])
    assert_type(index.list_lenses(), Pages[LensView])
    assert_type(index.get_dataset(uri), DatasetView)
    assert_type(index.get_dataset(uri).to_pandas(), pd.DataFrame)
    assert_type(index.get_dataset(uri).tags, tuple[str, ...])
    assert_type(index.get_datasets([uri]), Results[DatasetView])
    assert_type(index.get_datasets([uri])[0], DatasetView)
    assert_type(index.get_schema(uri), SchemaView)
    assert_type(index.get_lens(uri), LensView)
    assert_type(index.list_tags("x", limit=3), Results[TagCount])
    assert_type(index.suggest("x"), Results[Suggestion])
    assert_type(index.similar_datasets(uri), Results[DatasetView])
    assert_type(index.find_lens_paths(uri, uri, max_hops=2), LensPaths)
    assert_type(index.find_lens_paths(uri, uri).paths[0].lenses, tuple[LensView, ...])
    assert_type(index.schema_usage(uri), SchemaUsage)
    assert_type(index.backlinks(uri), Pages[Backlink])
    assert_type(index.record_status(uri), RecordStatus)
    assert_type(index.describe(), ServiceDescription)


async def of_the_index_awaited(index: AsyncIndexClient, uri: str) -> None:
    pages = index.search_datasets("x", tags=["a"], facets=["tags"], sort="samples", limit=5)
    assert_type(pages, AsyncPages[DatasetView])
    assert_type(await anext(pages), DatasetView)
    assert_type(pages.total, int | None)
    assert_type(await pages.results(), Results[DatasetView])
    assert_type(await pages.to_pandas(), pd.DataFrame)
    assert_type(await pages.to_arrow(), pa.Table)
    assert_type(index.search_schemas(), AsyncPages[SchemaView])
    assert_type(index.search_lenses(), AsyncPages[LensView])
    assert_type(index.list_datasets(), AsyncPages[DatasetView])
    assert_type(index.list_schemas(), AsyncPages[SchemaView])
    assert_type(index.list_lenses(), AsyncPages[LensView])
    assert_type(await index.get_dataset(uri), DatasetView)
    assert_type(await index.get_datasets([uri]), Results[DatasetView])
    assert_type(await index.get_schema(uri), SchemaView)
    assert_type(await index.get_lens(uri), LensView)
    assert_type(await index.list_tags("x", limit=3), Results[TagCount])
    assert_type(await index.suggest("x"), Results[Suggestion])
    assert_type(await index.similar_datasets(uri), Results[DatasetView])
    assert_type(await index.find_lens_paths(uri, uri, max_hops=2), LensPaths)
    assert_type(await index.schema_usage(uri), SchemaUsage)
    assert_type(index.backlinks(uri), AsyncPages[Backlink])
    assert_type(await index.record_status(uri), RecordStatus)
    assert_type(await index.describe(), ServiceDescription)
    answer: Awaitable[DatasetView] = index.get_dataset(uri)
    assert_type(await answer, DatasetView)


def what_is_not_taken(index: IndexClient, client: ATProtoClient) -> None:
    """An ignore that is of no use fails to check: so does each of these where it is accepted."""
    index.search_datasets(sort="length")  # type: ignore[arg-type]  # no such order
    index.search_datasets(tag="x")  # type: ignore[call-arg]  # `tags`
    index.search_schemas(sort="samples")  # type: ignore[arg-type]  # only datasets have samples
    index.get_dataset(5)  # type: ignore[arg-type]  # a URI is text
    index.list_tags("x", 3)  # type: ignore[call-arg]  # keyword-only
    SchemaPublisher("alice")  # type: ignore[arg-type]  # a client
    client.create_record("x")  # type: ignore[call-arg]  # what record?


def of_the_design(
    client: ATProtoClient, sample: type[atdata.PackableSample], dataset: Any, uri: str
) -> None:
    assert_type(client.is_authenticated, bool)
    assert_type(client.did, str)
    assert_type(client.create_record("x", {}), str)
    assert_type(client.get_record(uri), Record)
    assert_type(client.list_records("x"), list[Record])
    assert_type(client.update_record(uri, {}), str)
    assert_type(client.export_session(), str)
    assert_type(SchemaPublisher(client).publish_schema(sample), str)
    assert_type(SchemaLoader(client).get_schema(uri), Record)
    assert_type(SchemaLoader(client).list_schemas(), list[Record])
    assert_type(SchemaLoader(client).generate_module(uri), str)
    assert_type(DatasetPublisher(client).publish_dataset(dataset, name="x"), str)
    loader = DatasetLoader(client)
    assert_type(loader.list_datasets(), list[Record])
    assert_type(loader.search_datasets(["a"], "x"), list[Record])
    assert_type(loader.iter_datasets(["a"], "x", match="all", sort="name"), Iterator[Record])
    assert_type(LensLoader(client).search_lenses("x"), list[Record])
    publisher = LensPublisher(client)
    lens = publisher.publish_lens(len, len, name="x", source_schema_uri=uri, target_schema_uri=uri)
    assert_type(lens, str)


def of_what_was_added(client: ATProtoClient, sample: type[atdata.PackableSample], uri: str) -> None:
    assert_type(client.iter_records("x"), Iterator[StoredRecord])
    assert_type(client.fetch_record(uri, max_age=1.0).cid, str)
    assert_type(client.put_record(uri, {}, swap_cid="x"), str)
    assert_type(client.create_records({uri: {}}), dict[str, str])
    registry = SchemaRegistry()
    assert_type(registry.of_uri(uri), RegisteredSchema | None)
    assert_type(registry.compatibility(sample), Compatibility | None)
    assert_type(SchemaPublisher(client, registry=registry).registry, SchemaRegistry | None)
    lens = LensItem(getter=len, putter=len, name="x")
    assert_type(publish_many(client, [SchemaItem(sample_type=sample), lens]), list[str])
    assert_type(export_records(client, "x.jsonl"), int)
    assert_type(import_records(client, "x.jsonl"), list[str])


def what_was_added_and_is_not_taken(client: ATProtoClient, loader: DatasetLoader) -> None:
    loader.search_datasets(match="some")  # type: ignore[arg-type]  # any or all
    loader.search_datasets(tag=["x"])  # type: ignore[call-arg]  # `tags`
    loader.load_dataset("x", dict)  # type: ignore[call-overload]  # keyword-only
    SchemaItem(dict)  # type: ignore[call-arg]  # keyword-only
    export_records(client, "x", format="csv")  # type: ignore[arg-type]  # no such format
