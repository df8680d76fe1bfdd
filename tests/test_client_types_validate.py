"""Samples are checked against their schema: the first field that is wrong, and the rule."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from atdata_client import SampleMismatch, ValidationError
from atdata_client._schemas.validate import sample_check, validate_sample
from tests.schema_records import BOX, array, nested, plain, schema

IMAGE = np.zeros((2, 4, 3), np.uint8)

PHOTO = schema(
    "note",
    image=array("uint8", None, 4, 3),
    label=plain("str"),
    count=plain("int"),
    score=plain("float"),
    seen=plain("bool"),
    raw=plain("bytes"),
    words=array("str"),
    note=plain("str"),
)


def photo(**fields: Any) -> SimpleNamespace:
    good: dict[str, Any] = {"image": IMAGE, "label": "a", "count": 1, "score": 0.5, "seen": True}
    good |= {"raw": b"", "words": np.array(["one", "three"])}
    return SimpleNamespace(**(good | fields))


@pytest.mark.parametrize("fields", [{}, {"note": None}, {"note": "x"}, {"score": 1}])
def test_a_sample_that_is_what_its_schema_says_passes(fields: dict[str, Any]) -> None:
    validate_sample(PHOTO, photo(**fields))
    validate_sample(PHOTO, vars(photo(**fields)))


@pytest.mark.parametrize(
    ("fields", "rule", "words"),
    [
        ({"label": None}, "required", "it is None, and is not optional"),
        ({"label": b"a"}, "type", "bytes, the schema says str"),
        ({"count": True}, "type", "bool, the schema says int"),
        ({"count": 1.0}, "type", "float, the schema says int"),
        ({"score": False}, "type", "bool, the schema says float"),
        ({"seen": 1}, "type", "int, the schema says bool"),
        ({"raw": "a"}, "type", "str, the schema says bytes"),
        ({"note": 1}, "type", "int, the schema says str"),
        ({"image": IMAGE.tobytes()}, "type", "bytes, not an array: its class needs a bare NDArray"),
        ({"image": [1]}, "type", "list, not an array"),
        ({"image": IMAGE.astype("f4")}, "dtype", "float32, the schema says uint8"),
        ({"words": IMAGE}, "dtype", "uint8, the schema says str"),
        ({"image": IMAGE[0]}, "shape", "(4, 3), the schema says (*, 4, 3)"),
        ({"image": IMAGE[:, :2]}, "shape", "(2, 2, 3), the schema says (*, 4, 3)"),
    ],
)
def test_a_sample_that_is_not_is_refused_by_field_and_rule(
    fields: dict[str, Any], rule: str, words: str
) -> None:
    with pytest.raises(SampleMismatch) as caught:
        validate_sample(PHOTO, photo(**fields))
    assert (caught.value.field, caught.value.rule) == (next(iter(fields)), rule)
    assert caught.value.message.startswith(words)
    assert str(caught.value).startswith(f"field {caught.value.field!r} breaks {rule}: {words}")
    assert isinstance(caught.value, ValueError)


def test_a_field_that_is_not_there_is_refused_unless_it_is_optional() -> None:
    check = sample_check(schema("y", x=plain("int"), y=plain("int")))
    check({"x": 1})
    with pytest.raises(SampleMismatch, match=r"^field 'x' breaks required: it is missing"):
        check({"y": 1})


def test_an_empty_shape_is_a_single_number() -> None:
    check = sample_check(schema(x={"kind": "ndarray", "dtype": "<f8", "shape": []}))
    check({"x": np.array(1.0)})
    with pytest.raises(SampleMismatch, match=r"shape: \(1,\), the schema says \(\)"):
        check({"x": np.ones(1)})


def test_a_dtype_that_numpy_does_not_know_is_compared_by_name() -> None:
    with pytest.raises(SampleMismatch, match="dtype: float16, the schema says bfloat16"):
        validate_sample(schema(x=array("bfloat16")), {"x": np.ones(1, np.float16)})


def test_nested_samples_are_looked_into_where_their_schema_is_known() -> None:
    record, sample = schema(box=nested(BOX)), {"box": {"size": "wide"}}
    validate_sample(record, sample)
    with pytest.raises(SampleMismatch, match=r"^field 'box\.size' breaks type: str"):
        validate_sample(record, sample, nested={BOX: schema(size=plain("int"))}.get)
    ring = {BOX: schema("inner", inner=nested(BOX), x=plain("int"))}.get
    validate_sample(record, {"box": {"x": 1, "inner": {"x": "not looked at"}}}, nested=ring)


def test_a_record_that_is_no_schema_is_an_error() -> None:
    with pytest.raises(ValidationError):
        validate_sample(schema(x={"kind": "list"}), {})
