"""Answers every query from the tantivy index alone. Any number of readers, in any process.

A reader never touches DuckDB. It holds one snapshot, replaced as a whole by `refresh`; every
method works on the snapshot it started with, so a commit in between is never half seen.

The files are mapped, and what was touched of them stays so and counts as memory of the process,
though the system can take it back at any time. A reader lets go of it when it has become much.
"""

import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from atdata_indexer.errors import StoreError
from atdata_indexer.index import links, mapped, resolving, similar, suggest
from atdata_indexer.index.fields import open_index
from atdata_indexer.index.lens_graph import LensGraphs, Paths
from atdata_indexer.index.links import Backlinks, Usage
from atdata_indexer.index.page import Page
from atdata_indexer.index.panic import guarded
from atdata_indexer.index.query import Search, every, term
from atdata_indexer.index.searching import Searching, Sort, Wanted
from atdata_indexer.index.snapshot import Snapshot
from atdata_indexer.index.suggest import Suggestion
from atdata_indexer.index.writer import current, has_layout


class Reader:
    """Asks the index in `folder`; raises StoreError as long as there is none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._now: Snapshot | None = None
        self._refreshing = threading.Lock()
        self._asked = count(1)
        self._graphs = LensGraphs()
        self._searching = Searching(self._graphs)

    @property
    def seq(self) -> int:
        """The last outbox seq whose effect searches see."""
        return self._newest().sentinel.seq

    def refresh(self, *, anew: bool = False) -> int:
        """Look for a newer commit or generation; returns the seq that is searchable now.

        With `anew` the files are mapped anew in any case.
        """
        with self._refreshing, guarded("the index cannot be read"):
            generation = current(self._folder)
            if generation is None:
                raise StoreError("there is no index yet")
            if not has_layout(generation):
                raise StoreError(f"the index {generation} has another layout; it is made anew")
            now = self._now
            if now is None or now.generation != generation or anew:
                index = open_index(str(self._folder / generation))
            else:
                index = now.index
                index.reload()
            found = Snapshot.of(index, generation)
            if now is None or now.index is not index or now.name != found.name:
                self._now = found
            return found.sentinel.seq

    def search(
        self,
        search: Search,
        *,
        sort: Sort | None = None,
        limit: int = 25,
        cursor: str | None = None,
        facets: Sequence[str] = (),
        facet_size: int = 10,
        highlight: bool = False,
    ) -> Page:
        """A page of `search`. Raises InvalidCursor for a cursor of another walk, ValidationError
        for a parameter that breaks its rule.

        By date, name and size pages stay complete while records come and go. By relevance they
        are while the index stands still; a walk goes on behind the last hit when it moved.
        """
        snapshot = self._snapshot()
        wanted = Wanted(sort, limit, cursor, facets, facet_size, highlight)
        with guarded("the search failed"):
            return self._searching.page(snapshot, search, wanted)

    def get(self, kind: str, uris: Iterable[str]) -> list[str]:
        """The views of those of `uris` that are indexed as `kind`, in the order asked."""
        snapshot = self._snapshot()
        views = []
        with guarded("the look-up failed"):
            for uri in uris:
                query = every(term("kind", kind), term("uri", uri))
                views += snapshot.views(snapshot.best(query, 1))
        return views

    def account(self, identifier: str) -> str | None:
        """The DID of an account: of one with records in the index, when named by its handle."""
        with guarded("the look-up failed"):
            return resolving.account(self._snapshot(), identifier)

    def schema_of(self, did: str, named: str, version: str | None = None) -> str | None:
        """The view of a schema by its author and name, or record key: the highest version."""
        with guarded("the look-up failed"):
            return resolving.schema_of(self._snapshot(), did, named, version)

    def label_of(self, did: str, name: str, version: str | None = None) -> str | None:
        """The view of a label by its author and name: the one that was made last."""
        with guarded("the look-up failed"):
            return resolving.label_of(self._snapshot(), did, name, version)

    def lens_paths(self, source: str, target: str, max_hops: int, limit: int) -> Paths:
        """The ways from one schema to another over lenses, shortest first."""
        snapshot = self._snapshot()
        with guarded("the look-up failed"):
            return self._graphs.of(snapshot).find(snapshot, source, target, max_hops, limit)

    def usage(self, uri: str) -> Usage | None:
        """What is made with a schema; None when nothing is known of it."""
        with guarded("the look-up failed"):
            return links.usage(self._snapshot(), uri)

    def backlinks(
        self, subject: str, source: str | None, limit: int, cursor: str | None
    ) -> Backlinks:
        """The records that link to one, newest first. Raises InvalidCursor."""
        with guarded("the look-up failed"):
            return links.backlinks(self._snapshot(), subject, source, limit, cursor)

    def similar(self, uri: str, limit: int) -> list[str] | None:
        """The views of datasets like one; None when that is not indexed."""
        with guarded("the look-up failed"):
            return similar.similar(self._snapshot(), uri, limit)

    def suggest(self, q: str, limit: int) -> list[Suggestion]:
        """What somebody who has typed `q` may look for."""
        with guarded("the look-up failed"):
            return suggest.suggest(self._snapshot(), q, limit)

    def tags(self, limit: int, prefix: str = "") -> list[tuple[str, int]]:
        """The tags that most datasets carry, folded, with the number of datasets."""
        with guarded("the tags cannot be counted"):
            return suggest.tags(self._snapshot(), prefix, limit)

    def counts(self) -> dict[str, int]:
        """How many records of each kind are searchable."""
        snapshot = self._snapshot()
        kinds = ("dataset", "schema", "lens")
        with guarded("the records cannot be counted"):
            if not snapshot.deleted:
                return {kind: snapshot.records[kind] for kind in kinds}
            return {kind: snapshot.count(term("kind", kind)) for kind in kinds}

    def count(self, kind: str, namespace: str) -> int:
        """How many records of a kind in one namespace are searchable."""
        with guarded("the records cannot be counted"):
            return self._snapshot().count(every(term("kind", kind), term("ns", namespace)))

    def _snapshot(self) -> Snapshot:
        if next(self._asked) % mapped.LOOK == 0 and mapped.resident() > mapped.MOST_BYTES:
            with suppress(StoreError):  # whoever refreshes says so; this snapshot stays good
                self.refresh(anew=True)
        return self._newest()

    def _newest(self) -> Snapshot:
        if self._now is None:
            self.refresh()
        assert self._now is not None
        return self._now
