"""How the service is doing, in one value: what `status` shows and metrics are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from atdata_indexer.daemon import Indexer
from atdata_indexer.following import SourceStatus
from atdata_indexer.index.census import Census
from atdata_indexer.upkeep import Upkeep


@dataclass(frozen=True, slots=True)
class Overview:
    """One moment of the service.

    `index_seq` is how far searches see (None: the index cannot be read) and `census.head` how far
    they should. `counts` are events since the start, `rates` their growth per second over the last
    minute, `repo_counts` what became of repos; all are empty while the indexer does not run.
    `backfilling` says that a backfill which was asked for goes on.
    """

    running: bool
    index_seq: int | None
    census: Census
    sources: Sequence[SourceStatus] = ()
    waiting_bytes: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    repo_counts: Mapping[str, int] = field(default_factory=dict)
    backfilling: bool = False

    @property
    def behind(self) -> int:
        """How many repos must be fetched."""
        states = ("backfilling", "desynchronised", "throttled")
        return sum(self.census.repos.get(state, 0) for state in states)


def of_running(indexer: Indexer, rates: Mapping[str, float]) -> Overview:
    """The overview of a running indexer; any thread."""
    return Overview(
        running=True,
        index_seq=indexer.upkeep.index_seq(),
        census=indexer.upkeep.census(),
        sources=indexer.sources(),
        waiting_bytes=indexer.waiting_bytes,
        counts=counters(indexer),
        rates=rates,
        repo_counts=dict(indexer.repo_counts),
        backfilling=indexer.backfilling,
    )


def of_stopped(upkeep: Upkeep) -> Overview:
    """The overview of a data directory that no indexer holds."""
    return Overview(False, upkeep.index_seq(), upkeep.census())


def counters(indexer: Indexer) -> Mapping[str, int]:
    """What grows while the indexer runs: frames read, events kept of them, and what became of
    those; `records` is the sum of all outcomes.
    """
    counts = dict(indexer.counts)
    records = sum(count for name, count in counts.items() if name.startswith("records_"))
    return {"frames": 0, "events": 0, "records": records} | counts
