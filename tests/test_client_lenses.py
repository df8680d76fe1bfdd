"""Publishing lenses: a reference to the code, never the code."""

from functools import partial
from typing import Any

import pytest

from atdata_client import ATProtoClient, LensPublisher, ValidationError
from tests.real_pds import RealPds

LENS = "app.bsky.atdata.lens"
SOURCE = "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.atdata.schema/3aaaaaaaaaaaa"
TARGET = "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/science.alt.dataset.schema/3bbbbbbbbbbbb"
GIVEN: dict[str, Any] = {
    "name": "Photo to caption",
    "source_schema_uri": SOURCE,
    "target_schema_uri": TARGET,
    "code_repository": "https://git.example.com/lenses",
    "code_commit": "0123456789abcdef0123456789abcdef01234567",
}


def caption(photo: Any) -> str:
    raise AssertionError("never called")


class Putters:
    @staticmethod
    def put(text: str, photo: Any) -> Any:
        raise AssertionError("never called")


def test_a_published_lens_refers_to_its_code(pds: RealPds, author: ATProtoClient) -> None:
    uri = LensPublisher(author).publish_lens(
        caption, Putters.put, description="Keeps the caption.", **GIVEN
    )
    record = pds.stored(uri)["value"]
    del record["createdAt"]
    reference = {
        "kind": "reference",
        "repository": "https://git.example.com/lenses",
        "commit": "0123456789abcdef0123456789abcdef01234567",
    }
    assert record == {
        "$type": LENS,
        "name": "Photo to caption",
        "sourceSchema": SOURCE,
        "targetSchema": TARGET,
        "description": "Keeps the caption.",
        "getterCode": {**reference, "path": f"{__name__}:caption"},
        "putterCode": {**reference, "path": f"{__name__}:Putters.put"},
    }


@pytest.mark.parametrize("missing", ["code_repository", "code_commit"])
def test_inline_code_is_refused(author: ATProtoClient, missing: str) -> None:
    with pytest.raises(NotImplementedError) as caught:
        LensPublisher(author).publish_lens(caption, Putters.put, **(GIVEN | {missing: None}))
    assert str(caught.value) == (
        "Inline code storage not yet supported. Please provide code_repository and code_commit."
    )


def test_publishing_needs_a_login() -> None:
    with pytest.raises(ValueError, match=r"^Client must be authenticated$"):
        LensPublisher(ATProtoClient()).publish_lens(caption, Putters.put, **GIVEN)


def test_a_function_without_a_name_is_refused(author: ATProtoClient) -> None:
    with pytest.raises(ValueError, match="not a named function"):
        LensPublisher(author).publish_lens(partial(caption), Putters.put, **GIVEN)


@pytest.mark.parametrize(
    ("argument", "value", "path"),
    [
        ("code_commit", "x" * 41, "getterCode.commit"),
        ("source_schema_uri", "at://alice.example.com", "sourceSchema"),
        ("name", "x" * 101, "name"),
    ],
)
def test_a_bad_record_is_refused_by_field(
    author: ATProtoClient, argument: str, value: str, path: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        LensPublisher(author).publish_lens(caption, Putters.put, **(GIVEN | {argument: value}))
    assert caught.value.path == path
    assert author.list_records(LENS) == []
