"""How the annotations of a sample class become the fields of its schema."""

import dataclasses
import warnings
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Optional, Union

import numpy as np
import pytest
from numpy.typing import NDArray

from atdata_client import UnsupportedTypeError
from atdata_client._schemas.annotations import FieldSpec, class_description, field_spec, field_specs
from atdata_client.client import ATProtoClient
from atdata_client.schema import SchemaPublisher

type Pixels = NDArray[np.uint8]
type Maybe[T] = T | None


def spec(annotation: Any, **said: Any) -> FieldSpec:
    return field_spec("it", annotation, said)


def array(dtype: str, *shape: int | None) -> dict[str, object]:
    return {"kind": "ndarray", "dtype": dtype} | ({"shape": list(shape)} if shape else {})


@pytest.mark.parametrize("python_type", [str, int, float, bool, bytes])
def test_a_primitive_is_named_as_in_python(python_type: type) -> None:
    declared = {"kind": "primitive", "primitive": python_type.__name__}
    assert spec(python_type) == FieldSpec("it", declared, optional=False)


@pytest.mark.parametrize(
    "annotation",
    [
        int | None,
        None | int,
        Optional[int],  # noqa: UP045 - the older spelling is what is tested
        Union[int, None],  # noqa: UP007 - so is this
        Annotated[int | None, "a note"],
        Maybe[int],
    ],
)
def test_every_spelling_of_optional_is_optional(annotation: Any) -> None:
    declared = {"kind": "primitive", "primitive": "int"}
    assert spec(annotation) == FieldSpec("it", declared, optional=True)


@pytest.mark.parametrize(
    ("annotation", "declared"),
    [
        (NDArray[np.uint8], array("uint8")),
        (NDArray[np.float16] | None, array("float16")),
        (NDArray[np.bool_], array("bool")),
        (Pixels, array("uint8")),
        (np.ndarray[Any, np.dtype[np.complex64]], array("complex64")),
        (np.ndarray[tuple[Any, ...], np.dtype[np.int64]], array("int64")),
        (np.ndarray[tuple[int, ...], np.dtype[np.int64]], array("int64")),
        (np.ndarray[tuple[int, int], np.dtype[np.int32]], array("int32", None, None)),
        (
            np.ndarray[tuple[int, int, Literal[3]], np.dtype[np.uint8]],
            array("uint8", None, None, 3),
        ),
        (
            np.ndarray[tuple[Literal[2], Any], np.dtype[np.float32]] | None,
            array("float32", 2, None),
        ),
        (np.ndarray[tuple[()], np.dtype[np.float64]], array("float64") | {"shape": []}),
        (Annotated[NDArray, np.uint8, (None, None, 3)], array("uint8", None, None, 3)),
        (NDArray[np.uint8, (None, 3)], array("uint8", None, 3)),  # type: ignore[misc]  # no type
        (NDArray[np.uint8, tuple[int, Literal[3]]], array("uint8", None, 3)),
        (np.ndarray[(None, 3), np.uint8], array("uint8", None, 3)),  # type: ignore[misc]  # nor this
        (Annotated[NDArray, np.uint8, tuple[Literal[2], int]], array("uint8", 2, None)),
        (Annotated[NDArray, "uint16"], array("uint16")),
        (Annotated[NDArray, np.dtype("int8"), [4]], array("int8", 4)),
        (Annotated[NDArray[np.int16], (2, None)], array("int16", 2, None)),
        (Annotated[NDArray[np.int16], "what people should know"], array("int16")),
        (Annotated[NDArray | None, np.uint8, (8,)], array("uint8", 8)),
    ],
)
def test_an_array_annotation_gives_dtype_and_shape(
    annotation: Any, declared: dict[str, object]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert spec(annotation).declared == declared


def test_a_bare_array_can_say_more_beside_its_annotation() -> None:
    @dataclass
    class Photo:
        image: NDArray = field(  # type: ignore[type-arg]  # what is tested
            metadata={"dtype": "uint8", "shape": (None, None, 3)}
        )
        mask: NDArray | None = field(  # type: ignore[type-arg]  # what is tested
            default=None, metadata={"dtype": np.bool_}
        )

    image, mask = field_specs(Photo)
    assert image.declared == array("uint8", None, None, 3)
    assert mask == FieldSpec("mask", array("bool"), optional=True)


@pytest.mark.parametrize(
    "annotation",
    [
        NDArray,
        NDArray | None,
        np.ndarray,
        NDArray[Any],
        NDArray[np.floating[Any]],
        NDArray[np.float32 | np.float64],
        Annotated[NDArray, (None, 3)],
    ],
)
def test_an_array_without_a_dtype_is_float32_and_warned_of_by_name(annotation: Any) -> None:
    with pytest.warns(UserWarning, match=r"field 'it': .*no dtype.*float32.*NDArray\[np\.uint8\]"):
        found = spec(annotation)
    assert isinstance(found.declared, dict)
    assert found.declared["dtype"] == "float32"


def test_the_warning_points_at_the_callers_line() -> None:
    with pytest.warns(UserWarning, match="no dtype") as caught:
        field_spec("it", NDArray)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "annotation",
    [
        list[int],
        dict[str, int],
        tuple[int, int],
        int | str,
        int | str | None,
        Any,
        object,
        complex,
        np.float32,
        Literal["a"],
        type(None),
        "unresolved",
        NDArray[np.object_],
        Annotated[NDArray, np.dtype("U10")],
        Annotated[NDArray, np.dtype([("x", "i4")])],
        dataclasses.make_dataclass("NoSample", [("x", int)]),
    ],
)
def test_any_other_type_is_an_error_that_names_field_and_type(annotation: Any) -> None:
    with pytest.raises(
        UnsupportedTypeError, match=r"^Unsupported type: .*\(field 'it'\)"
    ) as caught:
        spec(annotation)
    assert caught.value.field == "it"
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("said", [{"dtype": "uint7"}, {"shape": (-1,)}, {"shape": "3"}])
def test_a_dtype_or_shape_that_is_none_is_an_error(said: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedTypeError, match="field 'it'"):
        spec(NDArray[np.uint8], **said)


def test_fields_come_in_order_without_what_is_no_field() -> None:
    @dataclass
    class Base:
        first: int

    @dataclass
    class Sample(Base):
        """What it is."""

        count: ClassVar[int] = 0
        second: str = field(default="", metadata={"description": "The second."})

    first, second = field_specs(Sample)
    assert (first.name, second.name) == ("first", "second")
    assert second.record({}) == {
        "name": "second",
        "type": {"kind": "primitive", "primitive": "str"},
        "optional": False,
        "description": "The second.",
    }


@pytest.mark.parametrize("what", [int, object(), "Sample", FieldSpec("x", {}, False)])
def test_what_is_no_dataclass_is_refused(what: Any) -> None:
    with pytest.raises(ValueError, match=r"must be a dataclass$"):
        field_specs(what)


def test_an_annotation_that_names_nothing_is_refused() -> None:
    cls = dataclasses.make_dataclass("Sample", [("x", "Nowhere")])
    with pytest.raises(ValueError, match="Nowhere"):
        field_specs(cls)


def test_a_docstring_is_the_description_unless_dataclass_wrote_it() -> None:
    @dataclass
    class Silent:
        x: int

    @dataclass
    class Told:
        """What it is.

        And more.
        """

        x: int

    assert class_description(Silent) is None
    assert class_description(Told) == "What it is.\n\nAnd more."
    Told.__doc__ = "Short.\n\n" + "x" * 1000
    assert class_description(Told) == "Short."
    Told.__doc__ = "x" * 1001
    assert class_description(Told) is None


def test_the_documents_helpers_answer_as_it_says() -> None:
    publisher = SchemaPublisher(ATProtoClient())
    assert publisher._python_type_to_schema_type(bool) == {"kind": "primitive", "primitive": "bool"}
    assert publisher._field_to_record("x", str | None) == {
        "name": "x",
        "type": {"kind": "primitive", "primitive": "str"},
        "optional": True,
    }
    with pytest.raises(ValueError, match=r"^Unsupported type: list\[int\]$"):
        publisher._python_type_to_schema_type(list[int])
