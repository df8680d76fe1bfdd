"""The other end of the admin socket: what another process asks of the running indexer."""

import json
import socket
from collections.abc import Mapping, Sequence
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlencode

from pydantic import TypeAdapter, ValidationError

from atdata_indexer.admin import SOCKET
from atdata_indexer.changes_feed import Batch, Span
from atdata_indexer.errors import IndexerUnavailable, StoreError
from atdata_indexer.exports import Export
from atdata_indexer.following import SourceStatus
from atdata_indexer.index.audit import Audit
from atdata_indexer.index.backup import Manifest
from atdata_indexer.index.moderation import Takedown
from atdata_indexer.index.tables import RecordStatus
from atdata_indexer.overview import Overview
from atdata_indexer.sampling import Sample
from atdata_indexer.upkeep import Rebuilt

_PATIENCE_S = 5.0


class AdminClient:
    """The indexer of a data directory, asked through its socket. Any thread.

    Every method raises IndexerUnavailable when it does not answer, and commands StoreError when
    they fail there.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / SOCKET

    def record_status(self, uri: str) -> RecordStatus:
        """Whether a record is indexed, quarantined, deferred, hidden, deleted or unseen; why."""
        return self._ask(RecordStatus, "GET", "record-status", uri=uri)

    def pds(self, did: str) -> str | None:
        """The PDS of an account that shows its records, as last resolved."""
        return self._ask(str, "GET", "pds", did=did) or None

    def account_counts(self) -> Mapping[str, int]:
        """`accounts` and `quarantined`."""
        return self._ask(dict[str, int], "GET", "account-counts")

    def sources(self) -> Sequence[SourceStatus]:
        """How each source is doing."""
        return self._ask(list[SourceStatus], "GET", "sources")

    def head(self) -> int:
        """The newest outbox seq."""
        return self._ask(int, "GET", "head")

    def changes_span(self) -> Span:
        """Which changes are kept for those who follow them."""
        return self._ask(Span, "GET", "changes-span")

    def changes(self, after: int, until: int) -> Batch:
        """The changes of seqs above `after`, `until` included, or the first of them."""
        return self._ask(Batch, "GET", "changes", after=str(after), until=str(until))

    def overview(self) -> Overview:
        """How the service is doing."""
        return self._ask(Overview, "GET", "overview")

    def verify(self) -> Audit:
        """Check every stored body, and the index against the database."""
        return self._ask(Audit, "POST", "verify")

    def sample(self, size: int) -> Sample:
        """Compare some repos with their PDSs."""
        return self._ask(Sample, "POST", "sample", size=str(size))

    def backfill(self, hosts: Sequence[str] = ()) -> None:
        """Have repos discovered and fetched; `overview` says how it goes."""
        self._ask(bool, "POST", "backfill", host=hosts)

    def rebuild(self) -> Rebuilt:
        """Make the index anew from the database."""
        return self._ask(Rebuilt, "POST", "rebuild")

    def backup(self, folder: Path) -> Manifest:
        """Copy the database to a new folder, which the indexer must be able to write."""
        return self._ask(Manifest, "POST", "backup", folder=str(folder.absolute()))

    def take_down(self, named: str, reason: str) -> Takedown:
        """Hide a record or an account."""
        return self._ask(Takedown, "POST", "take-down", subject=named, reason=reason)

    def put_back(self, named: str) -> Takedown:
        """Undo a takedown."""
        return self._ask(Takedown, "POST", "put-back", subject=named)

    def takedowns(self) -> Sequence[Takedown]:
        """All takedowns, the newest first."""
        return self._ask(list[Takedown], "GET", "takedowns")

    def export(self) -> Export:
        """Export the index as Parquet files."""
        return self._ask(Export, "POST", "export")

    def _ask[T](self, kind: type[T], method: str, name: str, **params: str | Sequence[str]) -> T:
        patience = _PATIENCE_S if method == "GET" else None
        try:
            status, body = self._exchange(
                method, f"/{name}?{urlencode(params, doseq=True)}", patience
            )
            if status == HTTPStatus.CONFLICT:
                raise StoreError(str(json.loads(body)["message"]))
            if status != HTTPStatus.OK:
                raise IndexerUnavailable(f"{self._path} answers {name} with {status}")
            return TypeAdapter(kind).validate_json(body)
        except (OSError, HTTPException) as error:
            raise IndexerUnavailable(f"no answer on {self._path}: {error}") from error
        except ValidationError as error:
            raise IndexerUnavailable(
                f"what answers on {self._path} is another version of this program"
            ) from error

    def _exchange(self, method: str, target: str, patience: float | None) -> tuple[int, bytes]:
        # A connection for each: they cost nothing here, and one that was kept to an indexer that
        # has gone would cost its successor a failure.
        with closing(_Connection(self._path, patience)) as connection:
            connection.request(method, target)
            answer = connection.getresponse()
            return answer.status, answer.read()


class _Connection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, patience: float | None) -> None:
        super().__init__("indexer")
        self._path = path
        self._patience = patience

    def connect(self) -> None:
        """Connect, which takes no longer than `patience`, as does every answer."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self._patience)
        self.sock.connect(str(self._path))
