"""Whether samples of one schema are samples of another, or of a class, and the reason if not."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from atdata import packable
from numpy.typing import NDArray

from atdata_client import Compatibility, ValidationError
from atdata_client.compatibility import check, compare
from tests.builders import DATASET
from tests.schema_records import BOX, OTHER, array, nested, plain, schema


def test_the_same_schema_is_compatible_whatever_the_order_of_its_fields() -> None:
    found = compare(schema(x=plain("int"), y=array("uint8")), schema(y=array("u1"), x=plain("int")))
    assert found == Compatibility(True, ())
    assert bool(found)
    assert str(found) == "compatible"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            schema(x=plain("int")),
            schema("y", x=plain("int"), y=plain("str")),
            "field 'y' was added and is optional",
        ),
        (
            schema(x=plain("int")),
            schema("x", x=plain("int")),
            "field 'x' was required, now is optional",
        ),
        (schema(x=plain("int")), schema(x=plain("float")), "field 'x' was int, now is float"),
        (
            schema(x=array("uint8", 4, 3)),
            schema(x=array("uint8", None, 3)),
            "field 'x' was an array of uint8 (4, 3), now is an array of uint8 (*, 3)",
        ),
        (
            schema(x=array("uint8", 4)),
            schema(x=array("uint8")),
            "field 'x' was an array of uint8 (4), now is an array of uint8",
        ),
        (schema(), schema() | {"description": "More."}, "the description changed"),
        (schema(), schema() | {"metadata": {"a": 1}}, "the metadata changed"),
        (schema(), schema() | {"name": "Picture"}, "the name changed"),
    ],
)
def test_a_change_that_only_allows_more_is_compatible_and_told(
    old: dict[str, Any], new: dict[str, Any], words: str
) -> None:
    found = compare(old, new)
    assert found == Compatibility(True, (), (words,))
    assert str(found) == f"compatible: {words}"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (schema(x=plain("int")), schema(), "field 'x' was removed"),
        (schema(), schema(x=plain("int")), "field 'x' was added and is not optional"),
        (
            schema("x", x=plain("int")),
            schema(x=plain("int")),
            "field 'x' was optional, now is required",
        ),
        (schema(x=plain("float")), schema(x=plain("int")), "field 'x' was float, now is int"),
        (
            schema(x=plain("bytes")),
            schema(x=array("uint8")),
            "field 'x' was bytes, now is an array of uint8",
        ),
        (
            schema(x=array("uint8")),
            schema(x=array("float32")),
            "field 'x' was an array of uint8, now is an array of float32",
        ),
        (
            schema(x=array("uint8")),
            schema(x=array("uint8", None)),
            "field 'x' was an array of uint8, now is an array of uint8 (*)",
        ),
        (
            schema(x=array("uint8", None, 3)),
            schema(x=array("uint8", 4, 3)),
            "field 'x' was an array of uint8 (*, 3), now is an array of uint8 (4, 3)",
        ),
        (
            schema(x=array("uint8", 3)),
            schema(x=array("uint8", 3, 3)),
            "field 'x' was an array of uint8 (3), now is an array of uint8 (3, 3)",
        ),
        (
            schema(x=nested(BOX)),
            schema(x=plain("str")),
            f"field 'x' was a sample of {BOX}, now is str",
        ),
    ],
)
def test_a_change_that_refuses_old_samples_breaks_and_says_why(
    old: dict[str, Any], new: dict[str, Any], words: str
) -> None:
    found = compare(old, new)
    assert found == Compatibility(False, (words,))
    assert not found
    assert str(found) == f"breaking: {words}"


def test_every_reason_is_given_beside_the_harmless_changes() -> None:
    old = schema(a=plain("int"), b=plain("str"), c=plain("int"))
    new = schema(b=plain("int"), c=plain("float"))
    found = compare(old, new)
    assert found.reasons == ("field 'a' was removed", "field 'b' was str, now is int")
    assert found.changes == ("field 'c' was int, now is float",)


def test_nested_schemas_are_compared_by_what_they_say_where_they_are_known() -> None:
    old, new = schema(box=nested(BOX)), schema(box=nested(OTHER))
    known = {BOX: schema(x=plain("int")), OTHER: schema(x=plain("float"))}
    found = compare(old, new, nested=known.get)
    assert found == Compatibility(True, (), ("in 'box': field 'x' was int, now is float",))
    known[OTHER] = schema(x=plain("str"))
    assert compare(old, new, nested=known.get).reasons == (
        "in 'box': field 'x' was int, now is str",
    )
    del known[OTHER]
    unknown = (f"field 'box' was a sample of {BOX}, now is a sample of {OTHER}",)
    assert compare(old, new, nested=known.get).reasons == unknown
    assert compare(old, new).reasons == unknown
    assert compare(old, schema(box=nested(BOX)))


def test_schemas_that_contain_themselves_are_compared_all_the_same() -> None:
    ring, other = schema(inner=nested(BOX)), schema(inner=nested(OTHER), x=plain("int"))
    found = compare(ring, other, nested={BOX: ring, OTHER: other}.get)
    added = "field 'x' was added and is not optional"
    assert found.reasons == (f"in 'inner': {added}", added)


@packable
class Box:
    label: str


@packable
class Photo:
    image: NDArray = field(  # type: ignore[type-arg]  # the form atdata makes arrays of
        metadata={"dtype": "uint8", "shape": (None, None, 3)}
    )
    mask: NDArray | None  # type: ignore[type-arg]  # so is this
    label: str
    score: float = 0.0


def test_a_class_takes_the_samples_that_it_can_hold() -> None:
    image, mask = array("uint8", 4, 4, 3), array("bool")
    found = check(schema(label=plain("str"), image=image, mask=mask), Photo)
    assert found.compatible
    assert found.changes == (
        "field 'image' is an array of uint8 (4, 4, 3) in the schema, "
        "an array of uint8 (*, *, 3) in Photo",
        "field 'mask' is required in the schema, optional in Photo",
        "field 'score' of Photo is not in the schema and keeps its default",
    )


@pytest.mark.parametrize(
    ("fields", "reasons"),
    [
        ({}, ["field 'label' of Photo has no default and is not in the schema"]),
        (
            {"label": plain("str"), "more": plain("str")},
            ["field 'more' of the schema is not in Photo"],
        ),
        ({"label": plain("bytes")}, ["field 'label' is bytes in the schema, str in Photo"]),
        (
            {"label": plain("str"), "mask": plain("bytes")},
            ["field 'mask' is bytes in the schema, an array of any dtype in Photo"],
        ),
        (
            {"label": plain("str"), "image": array("float32", 2, 2, 3)},
            [
                "field 'image' is an array of float32 (2, 2, 3) in the schema, "
                "an array of uint8 (*, *, 3) in Photo"
            ],
        ),
    ],
)
def test_a_class_that_would_not_hold_a_sample_is_refused_with_the_reason(
    fields: dict[str, Any], reasons: list[str]
) -> None:
    whole = {"image": array("uint8", None, None, 3), "mask": array("bool")} | fields
    assert check(schema("mask", **whole), Photo) == Compatibility(
        False,
        tuple(reasons),
        ("field 'score' of Photo is not in the schema and keeps its default",),
    )


def test_an_array_that_would_arrive_as_bytes_is_refused() -> None:
    @packable
    class Typed:
        image: NDArray[np.uint8]

    raw = Typed.from_bytes(Typed(np.zeros(3, np.uint8)).packed)  # type: ignore[attr-defined,call-arg]  # atdata is untyped
    assert isinstance(raw.image, bytes)
    [reason] = check(schema(image=array("uint8")), Typed).reasons
    assert reason.startswith("field 'image' of Typed: atdata leaves bytes")
    assert 'field(metadata={"dtype"' in reason


def test_a_field_no_schema_can_express_matters_only_where_a_sample_has_it() -> None:
    @dataclass
    class Mine:
        x: int
        notes: list[str] = dataclasses.field(default_factory=list)
        seen: int = dataclasses.field(default=0, init=False)

    assert check(schema(x=plain("int")), Mine)
    assert check(schema(x=plain("int"), notes=plain("str")), Mine).reasons == (
        "Unsupported type: list[str] (field 'notes')",
    )
    assert check(schema(x=plain("int"), seen=plain("int")), Mine).reasons == (
        "field 'seen' of the schema is not in Mine",
    )


def test_a_nested_class_is_compared_with_the_schema_it_stands_for() -> None:
    @packable
    class Framed:
        box: Box | None

    record = schema("box", box=nested(BOX))
    assert check(record, Framed, nested={BOX: schema(label=plain("str"))}.get)
    found = check(record, Framed, nested={BOX: schema(label=plain("int"))}.get)
    assert found.reasons == ("in 'box': field 'label' is int in the schema, str in Box",)
    assert check(record, Framed).reasons == (
        f"field 'box' is a sample of {BOX} in the schema, a sample of Box in Framed",
    )


def test_what_is_no_schema_or_no_sample_class_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"must be a dataclass$"):
        check(schema(), int)
    with pytest.raises(ValidationError, match=r"^fields: "):
        compare(schema(), {"$type": "app.bsky.atdata.schema", "name": "x", "version": "1.0.0"})
    lens = schema() | {"$type": DATASET, "schemaRef": BOX, "urls": ["x.tar"]}
    with pytest.raises(ValueError, match=f"^the record is a {DATASET}, not a schema$"):
        compare(schema(), lens)
