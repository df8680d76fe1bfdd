"""A made-up network put into an AppView's data directory, in bulk.

Only the fold is passed by: the tables and the index are the real ones.
"""

import json
import time
from pathlib import Path

from atdata_indexer.index import tables
from atdata_indexer.index.backup import DATABASE
from atdata_indexer.index.store import Store
from atdata_indexer.index.writer import IndexWriter
from atdata_indexer.ingest import wall_clock
from atdata_indexer.upkeep import INDEX
from benchmarks.corpus import VERSION, Corpus
from benchmarks.progress import steps

_MADE = "corpus.json"


def fill(folder: Path, corpus: Corpus, *, rebuild: bool = False) -> dict[str, float]:
    """Make `folder` the data directory of an AppView that holds the corpus; seconds of each phase.

    What is there already is kept: the rows if they are of this corpus, and the index if it has the
    layout of this version, unless it is to be rebuilt.
    """
    spent: dict[str, float] = {}
    began = time.perf_counter()
    made = folder / _MADE
    identity = json.dumps({"version": VERSION, "datasets": corpus.size, "seed": corpus.seed})
    is_made = made.exists() and made.read_text() == identity
    if not is_made:
        for stale in (made, folder / DATABASE, folder / f"{DATABASE}.wal"):
            stale.unlink(missing_ok=True)
        _insert(folder / DATABASE, corpus)
        spent["rows_s"] = time.perf_counter() - began
        made.write_text(identity)
    start = time.perf_counter()
    store = Store(folder / DATABASE)
    with store.reader() as db:  # nobody is there to be asked who these accounts are
        db.execute("UPDATE repos SET resolved_us = $1, checked_us = $1", [wall_clock()])
    with steps("documents", corpus.records) as done:
        shown = 0

        def progress(count: int) -> None:
            nonlocal shown
            for _ in range(count - shown):
                done()
            shown = count

        writer = IndexWriter(folder / INDEX, store, progress)
        if rebuild and writer.rebuilt is None:
            writer.rebuild()
            writer.rebuilt = "it was asked for"
    spent["documents_s"] = time.perf_counter() - start
    writer.close()
    store.close()
    spent["build_s"] = time.perf_counter() - began
    print(f"index {'kept' if writer.rebuilt is None else f'made: {writer.rebuilt}'}", flush=True)
    return spent


def _insert(path: Path, corpus: Corpus) -> None:
    """The rows, by the thousand; the store's own way is a dictionary for each."""
    store = Store(path, memory_limit="4GB")
    with steps("chunks of rows", corpus.chunks + 2) as done, store.reader() as db:
        db.register("incoming", corpus.repos())
        db.execute("INSERT INTO repos BY NAME SELECT * FROM incoming")
        for rows in corpus.tables():
            db.register("incoming", rows)
            db.execute(tables.INSERT["records"])
            done()
        db.execute(
            "UPDATE repos SET held_rows = n, live_records = n, live_bytes = b FROM (SELECT did,"
            " count(*) n, sum(strlen(body)) b FROM records GROUP BY did) h WHERE repos.did = h.did"
        )
        # As if each had come by the outbox, and the outbox had been pruned since.
        db.execute("UPDATE meta SET value = ? WHERE key = 'head'", [str(corpus.records)])
        db.execute("CHECKPOINT")
    store.close()
