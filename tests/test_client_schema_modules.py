"""Python out of published schemas: classes at run time, and source that people can keep.

Both come from the same records, held in a dict here; `test_client_schemas` has them on a real PDS.
"""

import ast
import json
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import atdata
import numpy as np
import pytest

from atdata_client import ATProtoClient, SchemaLoader, SchemaPublisher, ValidationError
from atdata_client._records.stored import StoredRecord
from atdata_client._schemas.generate import RESERVED
from tests.schema_records import BOX, OTHER, array, nested, plain, schema

BOX_RECORD = schema(corners=array("float32", 4, 2), label=plain("str")) | {
    "name": "Box",
    "description": "Where something is in an image.",
}
PHOTO_RECORD = schema(
    "caption mask",
    caption=plain("str"),
    image=array("uint8", None, None, 3),
    mask=array("bool"),
    box=nested(BOX),
) | {"description": 'A photograph.\n\nWith what it "shows".'}


@atdata.packable
class Line:
    text: str


class Records(dict[str, dict[str, Any]]):
    """Records by AT-URI, and the loader that reads them; `asked` are the AT-URIs it fetched."""

    def __init__(self, records: Mapping[str, dict[str, Any]]) -> None:
        super().__init__(records)
        self.asked: list[str] = []
        self.loader = SchemaLoader(Mock(fetch_record=self._fetch))

    def _fetch(self, uri: str, *, max_age: float) -> StoredRecord:
        self.asked.append(uri)
        return StoredRecord(uri, f"bafy{hash(json.dumps(self[uri])):x}", self[uri])


@pytest.fixture
def records() -> Records:
    return Records({BOX: dict(BOX_RECORD), OTHER: dict(PHOTO_RECORD)})


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports source as the module it is; only ever what this package wrote."""

    def load(source: str) -> ModuleType:
        (tmp_path / "generated.py").write_text(source, "utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "generated", raising=False)
        module = __import__("generated")
        monkeypatch.delitem(sys.modules, "generated")
        return module

    return load


def republished(cls: type) -> dict[str, Any]:
    """The record that a class publishes as, its date left out."""
    client = Mock(is_authenticated=True, create_record=Mock(side_effect=[BOX, OTHER]))
    SchemaPublisher(client).publish_schema(cls)
    record: dict[str, Any] = client.create_record.call_args[0][1]
    return without_date(record)


def without_date(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "createdAt"}


def test_the_source_is_what_a_person_would_write(records: Records) -> None:
    cid = f"bafy{hash(json.dumps(PHOTO_RECORD)):x}"
    assert (
        records.loader.generate_module(OTHER)
        == f'''"""Sample classes of the schema Photo 1.0.0.

Made from {OTHER}
with the CID {cid}.
"""

# atdata turns bytes back into arrays only where the annotation is a bare NDArray.
# mypy: disable-error-code="type-arg"

from dataclasses import field

import atdata
from numpy.typing import NDArray


@atdata.packable
class Box:
    """Where something is in an image."""

    corners: NDArray = field(metadata={{"dtype": "float32", "shape": (4, 2)}})
    label: str


@atdata.packable
class Photo:
    """A photograph.

    With what it "shows".
    """

    caption: str | None = field(default=None, kw_only=True)
    image: NDArray = field(metadata={{"dtype": "uint8", "shape": (None, None, 3)}})
    mask: NDArray | None = field(default=None, kw_only=True, metadata={{"dtype": "bool"}})
    box: Box
'''
    )


@pytest.mark.parametrize("way", ["source", "type"])
def test_what_is_made_publishes_as_it_was_published(
    way: str, records: Records, written: Callable[[str], ModuleType]
) -> None:
    if way == "source":
        made: type = written(records.loader.generate_module(OTHER)).Photo
    else:
        made = records.loader.sample_type(OTHER)
    assert republished(made) == without_date(PHOTO_RECORD)


@pytest.mark.parametrize("way", ["source", "type"])
def test_arrays_decode_to_arrays_and_optional_fields_stand_anywhere(
    way: str, records: Records, written: Callable[[str], ModuleType]
) -> None:
    fields = [*PHOTO_RECORD["fields"][:3], {"name": "last", "type": plain("int")}]
    records[OTHER]["fields"] = fields
    if way == "source":
        made: Any = written(records.loader.generate_module(OTHER)).Photo
    else:
        made = records.loader.sample_type(OTHER)
    image, mask = np.zeros((2, 2, 3), np.uint8), np.ones(3, np.bool_)
    sample = made.from_bytes(made(image=image, mask=mask, last=7).packed)
    np.testing.assert_array_equal(sample.image, image)
    np.testing.assert_array_equal(sample.mask, mask)
    assert (sample.caption, sample.last) == (None, 7)


def test_a_type_is_made_once_for_a_cid_and_anew_when_the_record_changes(records: Records) -> None:
    first = records.loader.sample_type(OTHER)
    assert records.asked == [OTHER, BOX]
    assert records.loader.sample_type(OTHER) is first
    assert records.loader.sample_type(BOX) is first.__annotations__["box"]
    records[BOX]["description"] = "Changed."
    second = records.loader.sample_type(OTHER)
    assert second is not first
    assert second.__annotations__["box"].__doc__ == "Changed."
    assert records.loader.sample_type(OTHER) is second


def test_a_schema_is_made_of_what_the_client_read_not_long_ago(
    author: ATProtoClient, reader: ATProtoClient
) -> None:
    uri = SchemaPublisher(author).publish_schema(Line)
    loader = SchemaLoader(reader)
    made = loader.sample_type(uri)
    author.update_record(uri, {"description": "Changed."})
    assert loader.sample_type(uri) is made
    assert loader.get_schema(uri)["description"] == "Changed."
    # Its author's own client knows.
    assert SchemaLoader(author).sample_type(uri).__doc__ == "Changed."


def test_a_schema_linked_twice_is_fetched_once(records: Records) -> None:
    records[OTHER]["fields"].append({"name": "other_box", "type": nested(BOX)})
    records.loader.generate_module(OTHER)
    assert records.asked == [OTHER, BOX]


HOSTILE = '"""\n\nimport os\nos.abort()\n\\"""\u202e\x00\ud800 \'"'


SAID = HOSTILE.replace("\ud800", "?")
"""The same, but what no text file can hold."""


def test_what_others_wrote_stays_text_in_the_source(
    records: Records, written: Callable[[str], ModuleType]
) -> None:
    records[BOX] |= {"name": f"Box{HOSTILE}"[:90], "description": HOSTILE}
    records[BOX]["fields"] = [
        {"name": "x", "type": array(HOSTILE[:20]), "description": HOSTILE},
        {"name": "y", "type": plain("str"), "description": HOSTILE},
    ]
    source = records.loader.generate_module(BOX)
    assert source.replace("\n", "").isprintable()
    assert [type(node).__name__ for node in ast.parse(source).body] == [
        "Expr",  # the docstring
        "ImportFrom",
        "Import",
        "ImportFrom",
        "ClassDef",
    ]
    assert records.loader.sample_type(BOX).__doc__ == SAID
    [made] = [item for item in vars(written(source)).values() if getattr(item, "packed", None)]
    said = {name: field.metadata for name, field in made.__dataclass_fields__.items()}
    assert said["x"] == {"dtype": HOSTILE[:20], "description": SAID}
    assert said["y"] == {"description": SAID}
    assert made.__doc__ is not None
    assert made.__doc__.replace("\n    ", "\n").rstrip("\n") == SAID


def test_fields_named_like_what_the_module_uses_do_not_hide_it(
    records: Records, written: Callable[[str], ModuleType]
) -> None:
    names = ["str", "field", "int", "NDArray", "atdata", "Box", "dataclasses"]
    records[OTHER] = schema(
        " ".join(names),
        **{name: plain("str") for name in names},
        last=plain("int"),
        image=array("uint8"),
        box=nested(BOX),
    )
    source = records.loader.generate_module(OTHER)
    made = written(source).Photo
    assert republished(made)["fields"] == records[OTHER]["fields"]
    assert "class Box_:" in source
    assert "str_ = str" in source


def test_two_schemas_of_one_name_are_two_classes(
    records: Records, written: Callable[[str], ModuleType]
) -> None:
    records[BOX]["name"] = "Photo"
    module = written(records.loader.generate_module(OTHER))
    assert module.Photo_.__annotations__["box"] is module.Photo


def test_a_schema_without_fields_is_an_empty_class(
    records: Records, written: Callable[[str], ModuleType]
) -> None:
    records[OTHER] = schema()
    assert written(records.loader.generate_module(OTHER)).Photo() is not None
    assert records.loader.sample_type(OTHER)() is not None


@pytest.mark.parametrize("make", ["sample_type", "generate_module"])
@pytest.mark.parametrize("name", ["class", "packed", "__x", "\ufb01eld"])
def test_a_name_that_can_be_no_attribute_is_refused(make: str, name: str, records: Records) -> None:
    records[OTHER] = schema(**{name: plain("str")})
    with pytest.raises(ValueError, match=f"^field '{name}' of the schema cannot be an attribute"):
        getattr(records.loader, make)(OTHER)


def test_the_names_that_every_sample_has_are_known() -> None:
    names = {name for name in dir(atdata.PackableSample) if not name.startswith("__")}
    assert names == RESERVED


@pytest.mark.parametrize("make", ["sample_type", "generate_module"])
def test_a_schema_that_contains_itself_or_links_to_far_is_refused(
    make: str, records: Records
) -> None:
    records[BOX] = schema(photo=nested(OTHER))
    with pytest.raises(ValueError, match="contains itself, or is nested too deeply"):
        getattr(records.loader, make)(OTHER)
    uris = [BOX[:-2] + f"{number:03d}" for number in range(300)]
    records |= {uri: schema(x=nested(after)) for uri, after in pairwise(uris)}
    with pytest.raises(ValueError, match="nested too deeply"):
        getattr(records.loader, make)(uris[0])
    records |= dict.fromkeys(uris, schema())
    records[OTHER] = schema(**{f"x{number}": nested(uri) for number, uri in enumerate(uris)})
    with pytest.raises(ValueError, match="links to more than 256 others"):
        getattr(records.loader, make)(OTHER)


@pytest.mark.parametrize("make", ["sample_type", "generate_module"])
def test_another_record_is_no_schema_and_a_bad_one_names_its_fault(
    make: str, records: Records
) -> None:
    records[OTHER] = {"$type": "app.bsky.atdata.lens"}
    with pytest.raises(ValueError, match=f"^Record at {OTHER} is not a schema record$"):
        getattr(records.loader, make)(OTHER)
    records[OTHER] = schema(x={"kind": "primitive", "primitive": "complex"})
    with pytest.raises(ValidationError, match=r"^fields\[0\]\.type"):
        getattr(records.loader, make)(OTHER)
