"""How large a dataset is: what is known without reading it, and what counting its shards says."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atdata import Dataset
    from rich.console import Console

_SAMPLE = ".msgpack"


def known_size(dataset: Dataset[Any]) -> dict[str, int]:
    """`samples` where the dataset was counted before, `bytes` where all shards are files here."""
    known: dict[str, int] = {}
    # Where atdata keeps what `len` has once counted.
    counted = vars(dataset).get("_len_cache")
    if isinstance(counted, int):
        known["samples"] = counted
    source = getattr(dataset, "source", None)
    shards = dataset.list_shards() if getattr(source, "url", None) == dataset.url else []
    files = [Path(shard.removeprefix("file://")) for shard in shards]
    if files and all("://" not in str(file) and file.is_file() for file in files):
        known["bytes"] = sum(file.stat().st_size for file in files)
    return known


def count_size(dataset: Dataset[Any], *, console: Console | None = None) -> dict[str, int]:
    """`samples` and `bytes` of all shards, which are read from end to end.

    A progress bar goes to `console`, by default to stderr where that is a terminal. Raises what
    opening a shard raises, and tarfile.TarError for a shard that is no tar file.
    """
    samples = size = 0
    for shard in _with_progress(dataset.list_shards(), console):
        with dataset.source.open_shard(shard) as stream:
            counting = _Counting(stream)
            with tarfile.open(fileobj=cast("IO[bytes]", counting), mode="r|*") as tar:
                samples += sum(member.isfile() and member.name.endswith(_SAMPLE) for member in tar)
            counting.drain()
        size += counting.size
    return {"samples": samples, "bytes": size}


class _Counting:
    """A stream that knows how much was read of it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.size = 0
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.size += len(data)
        return data

    def drain(self) -> None:
        while self.read(1 << 20):
            pass


def _with_progress(shards: list[str], console: Console | None) -> Iterator[str]:
    from rich.console import Console
    from rich.progress import track

    console = console if console is not None else Console(stderr=True)
    yield from track(
        shards, "Counting samples", console=console, disable=not console.is_terminal, transient=True
    )
