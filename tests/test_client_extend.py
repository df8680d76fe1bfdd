"""`extend_atdata` adds two methods to `atdata.Dataset`, once, and nothing before it is called."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import atdata
import pytest
from atdata import packable

from atdata_client import ATProtoClient, extend_atdata
from tests.real_pds import RealPds

NAMES = ("publish_to_atproto", "from_atproto")


@packable
class Line:
    text: str


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Other tests of this process find atdata as it was."""
    held = {name: vars(atdata.Dataset)[name] for name in NAMES if name in vars(atdata.Dataset)}
    for name in held:
        delattr(atdata.Dataset, name)
    yield
    for name in NAMES:
        if name in vars(atdata.Dataset):
            delattr(atdata.Dataset, name)
    for name, method in held.items():
        setattr(atdata.Dataset, name, method)


def test_nothing_is_added_unasked_and_nothing_else_when_asked() -> None:
    before = dict(vars(atdata.Dataset))
    assert not set(NAMES) & set(before)
    extend_atdata()
    assert set(vars(atdata.Dataset)) - set(before) == set(NAMES)
    assert all(vars(atdata.Dataset)[name] is value for name, value in before.items())
    extend_atdata()


def test_a_dataset_is_published_and_loaded_by_its_own_methods(
    author: ATProtoClient, pds: RealPds, tmp_path: Path
) -> None:
    extend_atdata()
    make: Any = Line
    atdata.write_samples([make(text=word) for word in ("one", "two")], tmp_path / "lines.tar")
    dataset: Any = atdata.Dataset[Line](url=f"{tmp_path}/lines.tar")
    uri = dataset.publish_to_atproto(author, name="My Dataset", tags=["text"], license="MIT")
    record = pds.stored(uri)["value"]
    assert (record["name"], record["tags"], record["license"]) == ("My Dataset", ["text"], "MIT")
    whole: Any = atdata.Dataset
    found = whole.from_atproto(author, uri)
    assert [sample.text for sample in found.ordered()] == ["one", "two"]
    mine = whole.from_atproto(author, uri, sample_type=Line)
    assert mine.sample_type is Line


def test_methods_of_atdatas_own_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def from_atproto() -> None:
        raise AssertionError("never called")

    monkeypatch.setattr(atdata.Dataset, "from_atproto", from_atproto, raising=False)
    with pytest.raises(RuntimeError, match="has a from_atproto of its own"):
        extend_atdata()
    assert vars(atdata.Dataset)["from_atproto"] is from_atproto
    assert "publish_to_atproto" not in vars(atdata.Dataset)
