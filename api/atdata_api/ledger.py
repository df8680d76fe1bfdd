"""What the API asks the indexer for, because tantivy cannot answer it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from atdata_indexer.changes_feed import Batch, Span
from atdata_indexer.following import SourceStatus
from atdata_indexer.index.tables import RecordStatus


class Ledger(Protocol):
    """The indexer as the API sees it: in this process, or behind its admin socket.

    Methods may be called from any thread and raise IndexerUnavailable when it does not answer.
    """

    def record_status(self, uri: str) -> RecordStatus:
        """Whether a record is indexed, quarantined, deferred, hidden, deleted or unseen; why."""

    def pds(self, did: str) -> str | None:
        """The PDS of an account that shows its records, as last resolved."""

    def account_counts(self) -> Mapping[str, int]:
        """`accounts` and `quarantined`."""

    def sources(self) -> Sequence[SourceStatus]:
        """How each source is doing."""

    def head(self) -> int:
        """The newest outbox seq; what is above the reader's is stored but not yet searchable."""

    def changes_span(self) -> Span:
        """Which changes are kept for those who follow them."""

    def changes(self, after: int, until: int) -> Batch:
        """The changes of seqs above `after`, `until` included, or the first of them."""
