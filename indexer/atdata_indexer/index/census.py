"""What the database holds, counted: for an operator's `status` and for metrics."""

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from atdata_indexer.index.store import Store


@dataclass(frozen=True, slots=True)
class Census:
    """Counts by state. `head` is the newest outbox seq, `cursors` the stored seq of each source.

    `identities_due` accounts wait for their DID document and handle to be read.
    """

    epoch: str
    head: int
    cursors: Mapping[str, int]
    repos: Mapping[str, int]
    accounts: Mapping[str, int]
    records: Mapping[str, int]
    quarantine: Mapping[str, int]
    identities_due: int = 0


def take(store: Store) -> Census:
    """Count everything, on one snapshot; any thread."""
    with store.reader() as db:
        db.execute("BEGIN")
        return Census(
            epoch=store.epoch,
            head=store.head,
            cursors=_pairs(db, "SELECT source, seq FROM cursors ORDER BY source"),
            repos=_pairs(db, "SELECT sync, count(*) FROM repos GROUP BY 1 ORDER BY 1"),
            accounts=_pairs(db, "SELECT status, count(*) FROM repos GROUP BY 1 ORDER BY 1"),
            records=_pairs(db, "SELECT state, count(*) FROM records GROUP BY 1 ORDER BY 1"),
            quarantine=_pairs(db, "SELECT rule, count(*) FROM quarantine GROUP BY 1 ORDER BY 1"),
            identities_due=_count(db, "SELECT count(*) FROM repos WHERE identity_due"),
        )


def _pairs(db: duckdb.DuckDBPyConnection, sql: str) -> dict[str, int]:
    return dict(db.execute(sql).fetchall())


def _count(db: duckdb.DuckDBPyConnection, sql: str) -> int:
    ((count,),) = db.execute(sql).fetchall()
    return int(count)
