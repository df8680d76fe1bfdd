"""Errors are values: they come out of worker processes as they went in."""

import pickle

import pytest

from atdata_client import errors
from atdata_client.compatibility import Compatibility
from atdata_client.errors import (
    AtdataClientError,
    CodeNotPublished,
    Failure,
    IncompatibleType,
    NotIndexed,
    PublishInterrupted,
    RateLimited,
    SampleMismatch,
    SchemaChanged,
    UnsupportedTypeError,
)
from tests.schema_records import BOX

BREAKS = Compatibility(False, ("field 'x' was removed",))


@pytest.mark.parametrize(
    "error",
    [
        RateLimited(Failure("https://index.example.com", 429, "TooMany", "later", 60.0)),
        UnsupportedTypeError(list[str], "texts"),
        SchemaChanged("Photo", "1.0.0", BOX, BREAKS, "2.0.0"),
        SampleMismatch("image", "dtype", "int8"),
        IncompatibleType(BOX, dict, BREAKS),
        CodeNotPublished("changes"),
        NotIndexed(BOX, "unseen", None),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_being_pickled(error: AtdataClientError) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    text = errors.__doc__ or ""
    named = {name for name in errors.__all__ if name in text}
    assert named == {*errors.__all__} - {"Failure"}
    for name in named - {"ValidationError"}:
        assert issubclass(getattr(errors, name), AtdataClientError)
    assert issubclass(PublishInterrupted, AtdataClientError)
