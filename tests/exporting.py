"""An exporter over a small index, whose exports a test can hold just before they are offered."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from atdata_indexer.exporter import Exporter
from atdata_indexer.exports import Export, Exports
from atdata_indexer.index.store import Store
from tests.appview import PATIENCE_S
from tests.small_index import NOW_US, SmallIndex

FILES = {"datasets": "dataset", "schemas": "schema", "lenses": "lens"}


class HeldExports(Exports):
    """Exports that can be held, each when it is written, and that tell what was offered.

    `held` is set while one waits for `go_on`. `offering` is called just before each offer. `spans`
    are the moments between which each was made.
    """

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.held, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.offering: Callable[[], object] = lambda: None
        self.offered: list[Export] = []
        self.spans: list[tuple[float, float]] = []

    @contextmanager
    def written(self, store: Store, now_us: int) -> Iterator[Export]:
        began = time.monotonic()
        with super().written(store, now_us) as made:
            self.held.set()
            assert self.go_on.wait(PATIENCE_S)
            self.held.clear()
            self.spans.append((began, time.monotonic()))
            yield made

    def offer(self, made: Export) -> None:
        self.offering()
        super().offer(made)
        self.offered.append(made)


class Kept:
    """A small index and its exporter."""

    def __init__(
        self, small: SmallIndex, hour: int | None = None, exports: Exports | None = None
    ) -> None:
        self.small = small
        self.now_us = NOW_US
        self.exports = exports or Exports(small.folder)
        small.reader.refresh()
        self.exporter = Exporter(
            self.exports, small.store, small.reader, lambda: self.now_us, hour, first_s=0
        )

    def uris(self) -> set[str]:
        """The records in what is offered."""
        made = self.exports.current()
        assert made is not None
        paths = [str(self.exports.path(made, name)) for name in FILES]
        with duckdb.connect() as db:
            return {
                uri
                for (uri,) in db.execute(
                    "SELECT uri FROM read_parquet(?, union_by_name := true)", [paths]
                ).fetchall()
            }
