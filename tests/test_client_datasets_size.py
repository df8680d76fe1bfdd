"""The size in a dataset's record: known, given, or counted; never a guess."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import atdata
import pytest
from rich.console import Console

from atdata_client import ValidationError
from atdata_client._records.lexicon import check_record
from atdata_client._records.size import count_size
from atdata_client.dataset import dataset_record
from atdata_schemas.records import Dataset

SCHEMA = "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.atdata.schema/3aaaaaaaaaaaa"


@atdata.packable
class Word:
    text: str


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Path]]:
    """The pattern of three shards with seven samples, and the shards."""
    folder = tmp_path_factory.mktemp("words")
    make: Any = Word
    atdata.write_samples([make(text=str(n)) for n in range(7)], folder / "w.tar", maxcount=3)
    shards = sorted(folder.glob("*.tar"))
    assert len(shards) == 3
    return f"{folder}/w-{{000000..000002}}.tar", shards


def record(dataset: Any, **more: Any) -> Any:
    built = dataset_record(dataset, name="x", schema_uri=SCHEMA, **more)
    assert isinstance(check_record(built), Dataset)
    return built


def test_the_size_of_files_here_is_known(written: tuple[str, list[Path]]) -> None:
    url, shards = written
    size = record(atdata.Dataset[Word](url))["size"]
    assert size == {"bytes": sum(shard.stat().st_size for shard in shards)}


def test_a_dataset_that_was_counted_has_its_samples(written: tuple[str, list[Path]]) -> None:
    dataset = atdata.Dataset[Word](written[0])
    assert len(dataset) == 7
    assert record(dataset)["size"]["samples"] == 7


def test_nothing_is_said_of_shards_elsewhere() -> None:
    assert "size" not in record(atdata.Dataset[Word]("https://data.example.com/x-{0..9}.tar"))
    assert "size" not in record(atdata.Dataset[Word]("/nowhere/x-{0..9}.tar"))


def test_a_given_size_is_taken_at_its_word(written: tuple[str, list[Path]]) -> None:
    assert record(atdata.Dataset[Word](written[0]), size={"samples": 9})["size"] == {"samples": 9}
    with pytest.raises(ValidationError, match=r"^size\.samples: "):
        record(atdata.Dataset[Word](written[0]), size={"samples": -1})


def test_counting_reads_every_shard_behind_a_progress_bar(written: tuple[str, list[Path]]) -> None:
    url, shards = written
    dataset = atdata.Dataset[Word](url)
    said = io.StringIO()
    console = Console(file=said, force_terminal=True, width=80)
    expected = {"samples": 7, "bytes": sum(shard.stat().st_size for shard in shards)}
    assert count_size(dataset, console=console) == expected
    assert "Counting samples" in said.getvalue()
    assert "100%" in said.getvalue()
    assert record(dataset, count_size=True)["size"] == expected


def test_no_bar_is_drawn_where_nobody_looks(
    written: tuple[str, list[Path]], capfd: pytest.CaptureFixture[str]
) -> None:
    record(atdata.Dataset[Word](written[0]), count_size=True)
    assert capfd.readouterr() == ("", "")


def test_what_can_be_refused_is_refused_before_anything_is_counted(
    written: tuple[str, list[Path]],
) -> None:
    opened: list[str] = []

    def open_shard(shard: str) -> Any:
        opened.append(shard)
        return source.open_shard(shard)

    dataset = atdata.Dataset[Word](written[0])
    source = dataset.source
    dataset._source = SimpleNamespace(open_shard=open_shard, list_shards=source.list_shards)
    with pytest.raises(ValidationError, match=r"^tags: "):
        record(dataset, tags=["t"] * 21, count_size=True)
    assert opened == []
    record(dataset, count_size=True)
    assert len(opened) == 3
