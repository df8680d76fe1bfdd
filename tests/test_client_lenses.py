"""Publishing lenses: a reference to the code, never the code."""

import sys
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import atdata
import pytest
from atdata import packable

from atdata_client import ATProtoClient, IndexClient, LensLoader, LensPublisher, ValidationError
from atdata_client._records.lexicon import code_reference
from tests.canned_index import Canned, canned_index
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


@packable
class Photo:
    label: str


@packable
class Caption:
    text: str


@atdata.lens  # type: ignore[untyped-decorator]  # atdata is untyped
def as_caption(photo: Photo) -> Caption:
    raise AssertionError("never called")


@atdata.lens  # type: ignore[untyped-decorator]  # atdata is untyped
def read_only(caption: Caption) -> Photo:
    raise AssertionError("never called")


@as_caption.putter  # type: ignore[untyped-decorator]  # atdata is untyped
def put_caption(caption: Caption, photo: Photo) -> Photo:
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


@pytest.mark.parametrize(
    "missing", [("code_repository",), ("code_commit",), ("code_repository", "code_commit")]
)
def test_inline_code_is_refused(author: ATProtoClient, missing: tuple[str, ...]) -> None:
    given = GIVEN | dict.fromkeys(missing)
    with pytest.raises(NotImplementedError) as caught:
        # Their code is in no file, so no git checkout can tell where it is.
        LensPublisher(author).publish_lens(len, sorted, **given)
    assert str(caught.value) == (
        "Inline code storage not yet supported. Please provide code_repository and code_commit."
    )


def test_publishing_needs_a_login() -> None:
    with pytest.raises(ValueError, match=r"^Client must be authenticated$"):
        LensPublisher(ATProtoClient()).publish_lens(caption, Putters.put, **GIVEN)


def test_a_function_without_a_name_is_refused(author: ATProtoClient) -> None:
    for nameless in (partial(caption), lambda photo: ""):
        with pytest.raises(ValueError, match="not a named function"):
            LensPublisher(author).publish_lens(nameless, Putters.put, **GIVEN)


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


def test_an_atdata_lens_brings_its_putter(author: ATProtoClient) -> None:
    record = author.get_record(LensPublisher(author).publish_lens(as_caption, **GIVEN))
    assert record["getterCode"]["path"] == f"{__name__}:as_caption"
    assert record["putterCode"]["path"] == f"{__name__}:put_caption"


def test_an_atdata_lens_without_a_putter_is_published_without(author: ATProtoClient) -> None:
    record = author.get_record(LensPublisher(author).publish_lens(read_only, **GIVEN))
    assert record["getterCode"]["path"] == f"{__name__}:read_only"
    assert "putterCode" not in record


def test_a_function_needs_a_putter_and_a_composed_lens_has_no_code(author: ATProtoClient) -> None:
    with pytest.raises(TypeError, match="needs a putter"):
        LensPublisher(author).publish_lens(caption, **GIVEN)
    with pytest.raises(ValueError, match="publish the lenses it is made of"):
        LensPublisher(author).publish_lens(as_caption | read_only, **GIVEN)
    assert author.list_records(LENS) == []


def test_a_lens_is_read_and_its_code_stays_text(
    author: ATProtoClient, reader: ATProtoClient
) -> None:
    trap = {"kind": "python", "source": "raise SystemExit('run')"}
    record = {
        "name": "trap",
        "sourceSchema": SOURCE,
        "targetSchema": TARGET,
        "getterCode": trap,
        "createdAt": "2026-01-01T00:00:00Z",
    }
    uri = author.create_record(LENS, record)
    assert LensLoader(reader).get_lens(uri)["getterCode"] == trap
    assert [found["uri"] for found in LensLoader(author).list_lenses()] == [uri]
    assert [found["uri"] for found in LensLoader(reader).list_lenses(author.did)] == [uri]
    other = author.create_record("app.bsky.atdata.schema", {"name": "no lens"})
    with pytest.raises(ValueError, match=f"^Record at {other} is not a lens record$"):
        LensLoader(reader).get_lens(other)


def test_without_a_client_lenses_come_from_the_index() -> None:
    did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
    uri = f"at://{did}/{LENS}/3aaaaaaaaaaaa"
    record = {"$type": LENS, "name": "x", "sourceSchema": SOURCE, "targetSchema": TARGET}
    view = {
        "uri": uri,
        "cid": "bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy",
        "author": {"did": did, "handle": "alice.example.com"},
        "record": record,
        "source": {"uri": SOURCE, "status": "indexed", "name": "Photo"},
        "target": {"uri": TARGET, "status": "missing"},
        "indexedAt": "2026-02-01T00:00:00.000000Z",
    }
    answers = (Canned({"lens": view}), Canned({"lenses": [view]}), Canned({"lenses": [view]}))
    with canned_index(*answers) as canned, IndexClient(canned.url) as index:
        loader = LensLoader(index=index)
        assert loader.get_lens(uri) == record
        assert [found["uri"] for found in loader.list_lenses(did)] == [uri]
        [found] = loader.search_lenses("x", source_schema=SOURCE, target_schema=TARGET)
        assert (found["source"]["name"], found["target"]["status"]) == ("Photo", "missing")
        asked = dict(canned.asked[-1].params)
        with pytest.raises(ValueError, match=r"^Not authenticated$"):
            loader.list_lenses()
    assert (asked["q"], asked["sourceSchema"], asked["targetSchema"]) == ("x", SOURCE, TARGET)


@pytest.mark.parametrize(
    ("main", "path"),
    [
        ({"__file__": "/home/alice/lenses.py"}, "lenses:caption"),
        ({"__spec__": ModuleSpec("birds.lenses", None)}, "birds.lenses:caption"),
        ({"__spec__": ModuleSpec("birds.__main__", None)}, "birds:caption"),
        ({}, "__main__:caption"),  # a notebook's, which nobody can import
    ],
)
def test_code_of_the_program_that_runs_is_named_as_others_import_it(
    main: dict[str, Any], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = ModuleType("__main__")
    vars(program).update(main)
    monkeypatch.setitem(sys.modules, "__main__", program)
    monkeypatch.setattr(caption, "__module__", "__main__")
    assert code_reference(caption, "https://git.example.com/x", "0" * 40)["path"] == path
