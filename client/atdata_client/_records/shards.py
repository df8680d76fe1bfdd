"""Shard URLs between datasets and records: of one's own out, of strangers in.

webdataset runs a `pipe:` URL as a shell command, so a URL of somebody's record is opened only when
it cannot become one, whatever brace expansion makes of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from atdata_client.errors import UnsafeUrlError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from atdata import Dataset

# What webdataset opens without a shell, and s3, for which people register their own opener.
_SCHEME = re.compile(r"(?:https?|ftps|sftp|scp|s3|gs|hf|file)://[^\s\x00-\x1f]*")
# Nothing before the first slash that could be, or expand to, a scheme.
_PATH = re.compile(r"(?:\.{0,2}/[^\x00-\x1f]*|(?!-)[^:\s\x00-\x1f\\][^:\x00-\x1f]*)")

# How a dataset shows its samples, and where atdata keeps that.
_VIEWS = {"as_type": "_output_lens", "filter": "_filter_fn", "map": "_map_fn"}


def shard_urls(dataset: Dataset[Any]) -> list[str]:
    """The shards of a dataset: the patterns it was made from, else every shard of its source.

    Raises ValueError for one that is a view of others: its samples are not what the shards hold.
    """
    made = [name for name, attribute in _VIEWS.items() if vars(dataset).get(attribute) is not None]
    if made:
        raise ValueError(
            f"the dataset is a view ({', '.join(made)}), and a record says what the shards hold: "
            "publish the dataset it was made from"
        )
    source = getattr(dataset, "source", None)
    if isinstance(source, ShardPatterns):
        return list(source.urls)
    if source is None or getattr(source, "url", None) == dataset.url:
        return [dataset.url]
    return list(dataset.list_shards()) or [dataset.url]


def check_urls(urls: Sequence[str]) -> None:
    """Refuse shards that opening might run as a command. Raises UnsafeUrlError."""
    for url in urls:
        if not (_SCHEME.fullmatch(url) or _PATH.fullmatch(url)):
            raise UnsafeUrlError(f"not opened, for it may do more than read: {url[:200]!r}")


@dataclass(frozen=True)
class ShardPatterns:
    """A source for `atdata.Dataset` that reads several brace patterns one after the other."""

    urls: tuple[str, ...]

    def list_shards(self) -> list[str]:
        """Every shard of every pattern, in order."""
        from atdata import URLSource

        return [shard for url in self.urls for shard in URLSource(url).list_shards()]

    @property
    def shards(self) -> Iterator[tuple[str, IO[bytes]]]:
        """Each shard with its opened stream."""
        return ((shard, self.open_shard(shard)) for shard in self.list_shards())

    def open_shard(self, shard_id: str) -> IO[bytes]:
        """The stream of one shard. Raises KeyError for one that is not of these patterns."""
        from atdata import URLSource

        for url in self.urls:
            if shard_id in (source := URLSource(url)).list_shards():
                stream: IO[bytes] = source.open_shard(shard_id)
                return stream
        raise KeyError(f"Shard not found: {shard_id}")
