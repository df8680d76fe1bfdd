"""A document shows its schema's name and its author's handle: it changes when they do."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atdata_indexer.changes import Row
from atdata_indexer.index.query import Search
from tests.small_index import ALICE, BOB, SmallIndex, dataset, lens, schema

PHOTO = schema().uri
WHALES = dataset(PHOTO).uri


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SmallIndex]:
    small = SmallIndex(tmp_path)
    yield small
    small.close()


def test_a_dataset_is_indexed_before_its_schema_and_completed_when_it_arrives(
    index: SmallIndex,
) -> None:
    index.put([dataset(PHOTO)])
    assert index.views()[WHALES]["schema"] == {"uri": PHOTO, "status": "missing"}
    index.put([schema()])
    assert index.views()[WHALES]["schema"] == {
        "uri": PHOTO,
        "status": "indexed",
        "cid": schema().cid,
        "name": "Photo",
        "version": "1.0.0",
    }


def test_words_of_a_schemas_name_find_its_datasets_once_it_is_known(index: SmallIndex) -> None:
    index.put([dataset(PHOTO)])
    assert index.reader.search(Search("dataset", "photo")).total == 0
    index.put([schema()])
    index.reader.refresh()
    assert index.reader.search(Search("dataset", "photo")).total == 1


def test_a_renamed_schema_shows_in_every_dataset_and_lens(index: SmallIndex) -> None:
    index.put([schema(), dataset(PHOTO), lens(PHOTO, PHOTO)])
    index.put([schema(name="Picture", rev="3mzzzzzzzzzz2")])
    views = index.views()
    assert views[WHALES]["schema"]["name"] == "Picture"
    assert views[lens("", "").uri]["source"]["name"] == "Picture"
    assert views[lens("", "").uri]["target"]["name"] == "Picture"


def test_a_handle_change_reaches_every_document_of_its_author(index: SmallIndex) -> None:
    index.put([schema(), dataset(PHOTO)])
    index.handle(BOB, "bob.test")
    assert index.views()[WHALES]["author"] == {"did": BOB, "handle": "bob.test"}
    index.handle(BOB, None)
    assert index.views()[WHALES]["author"] == {"did": BOB, "handle": "handle.invalid"}
    assert index.views()[PHOTO]["author"]["did"] == ALICE


def test_fields_of_a_schema_and_handles_find_datasets_only_as_long_as_they_are_so(
    index: SmallIndex,
) -> None:
    def found(**asked: Any) -> int:
        index.reader.refresh()
        return index.reader.search(Search("dataset", **asked), sort="newest").total

    def with_field(name: str, rev: str) -> Row:
        body = json.loads(schema().body or "")
        body["fields"] = [{"name": name, "type": {"kind": "ndarray", "dtype": "uint8"}}]
        return replace(schema(), body=json.dumps(body), cid=f"bafy{rev}", rev=rev)

    index.put([with_field("pixels", "3mabcdefghij2"), dataset(PHOTO)])
    index.handle(BOB, "oceanlab.test")
    assert found(q="pixels") == found(fields=["pixels:ndarray:uint8"]) == 1
    assert found(q="oceanlab") == found(author="oceanlab.test") == 1
    index.put([with_field("volume", "3mzzzzzzzzzz2")])
    index.handle(BOB, "reef.test")
    assert found(q="pixels") == found(fields=["pixels"]) == 0
    assert found(q="volume") == found(fields=["volume:ndarray"]) == 1
    assert found(q="oceanlab") == found(author="oceanlab.test") == 0
    assert found(q="reef") == 1
