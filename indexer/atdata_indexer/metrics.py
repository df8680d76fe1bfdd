"""The indexer's metrics, in Prometheus's form, made from its overview whenever they are asked for.

Nothing is counted for metrics alone, so they cost nothing between two scrapes. The names are listed
in docs/operations.md.
"""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from atdata_indexer.overview import Overview

_TOTALS = {
    "frames": "Frames read from the source.",
    "events": "Events kept, because they concern a tracked account or one of our collections.",
    "commits": "Commits applied.",
    "disconnects": "Connections to the source that failed or were refused.",
}


class IndexerCollector(Collector):
    """Gives the metrics of one overview at a time."""

    def __init__(self, overview: Callable[[], Overview]) -> None:
        self._overview = overview

    def collect(self) -> Iterator[Metric]:
        """What Prometheus's client asks for at each scrape."""
        found = self._overview()
        counts = dict(found.counts)
        for name, text in _TOTALS.items():
            yield CounterMetricFamily(f"atdata_{name}", text, value=counts.pop(name, 0))
        del counts["records"]
        yield _counter("records", "outcome", _taken(counts, "records_"), "Record operations.")
        yield _counter("refused_commits", "reason", _taken(counts, "refused_"), "Commits refused.")
        yield _counter(
            "fetches",
            "what",
            found.repo_counts,
            "What became of repos that were asked for: named by hosts, compared with their PDSs,"
            " fetched, refused.",
        )
        yield _counter("other", "what", counts, "What else became of events and connections.")
        census = found.census
        yield _gauge("repos", "state", census.repos, "Tracked repos by sync state.")
        yield _gauge("quarantined", "rule", census.quarantine, "Records in quarantine by rule.")
        yield _gauge("stored_records", "state", census.records, "Rows by state, tombstones too.")
        sources = {one.name: one for one in found.sources}
        lags = {name: one.lag_us / 1e6 for name, one in sources.items() if one.lag_us is not None}
        yield _gauge("lag_seconds", "source", lags, "Age of the newest event when it was read.")
        connected = {name: int(one.connected) for name, one in sources.items()}
        yield _gauge("connected", "source", connected, "1 while the source is connected.")
        for name, value, text in (
            ("identities_due", census.identities_due, "Accounts whose identity must be read."),
            ("outbox_head", census.head, "The newest change stored."),
            ("index_seq", found.index_seq, "The newest change that searches see."),
            ("waiting_bytes", found.waiting_bytes, "Read from the source and not yet applied."),
        ):
            if value is not None:
                yield GaugeMetricFamily(f"atdata_{name}", text, value=value)


def _taken(counts: dict[str, int], prefix: str) -> dict[str, int]:
    """What `counts` has under `prefix`, which it has no more."""
    names = [name for name in counts if name.startswith(prefix)]
    return {name.removeprefix(prefix): counts.pop(name) for name in names}


def _counter(name: str, label: str, values: Mapping[str, int], text: str) -> Metric:
    family = CounterMetricFamily(f"atdata_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _gauge(name: str, label: str, values: Mapping[str, float], text: str) -> Metric:
    family = GaugeMetricFamily(f"atdata_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
