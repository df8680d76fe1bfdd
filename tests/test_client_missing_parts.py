"""What is not installed is named, with the extra that brings it, before anything is asked."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from atdata_client import (
    DatasetLoader,
    SchemaLoader,
    export_records,
    extend_atdata,
    import_records,
)
from atdata_client._extras import part
from atdata_client._records.stored import StoredRecord
from tests.schema_records import BOX, plain, schema

URI = BOX.replace("schema", "dataset")


def no_client(**more: Any) -> Any:
    """A client that is asked nothing but what is told."""
    return Mock(spec_set=("did", "fetch_record", "iter_records", *more), **more)


@pytest.mark.parametrize(
    "call",
    [
        lambda: DatasetLoader(no_client()).load_dataset(URI),
        lambda: DatasetLoader(no_client()).load_dataset(URI, as_type=object),
        extend_atdata,
    ],
)
def test_atdata(call: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "atdata", None)
    hint = r"needs atdata: pip install 'atdata-appview\[atdata\]'"
    with pytest.raises(ModuleNotFoundError, match=hint) as caught:
        call()
    assert caught.value.name == "atdata"


def test_source_of_a_schema_needs_no_atdata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "atdata", None)
    record = schema(text=plain("str"))
    fetch = Mock(return_value=StoredRecord(BOX, "bafy", record))
    loader = SchemaLoader(Mock(fetch_record=fetch))
    assert "class Photo:" in loader.generate_module(BOX)
    with pytest.raises(ModuleNotFoundError, match=r"a class of a schema needs atdata: pip install"):
        loader.sample_type(BOX)


@pytest.mark.parametrize("call", [export_records, import_records])
def test_parquet(
    call: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    client = no_client(iter_records=Mock(return_value=iter(())))
    with pytest.raises(ModuleNotFoundError, match=r"Parquet needs pyarrow: .*\[frames\]"):
        call(client, tmp_path / "x.parquet")
    assert list(tmp_path.iterdir()) == []


def test_what_a_part_lacks_itself_is_not_taken_for_the_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_there.py").write_text("import nowhere_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="nowhere_at_all"):
        part("half_there", of="atdata", for_="a test")
