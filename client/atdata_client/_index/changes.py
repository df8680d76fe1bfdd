"""The stream of changes as values: what a message says, where a stream is, what a failure means.

Pure: `follow` connects and waits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from atdata_client._index.views import DatasetView, LensView, SchemaView, View
from atdata_client._records.stored import JsonObject
from atdata_client.errors import Failure

if TYPE_CHECKING:
    from atdata_client._index.requests import Params
    from atdata_client.errors import XrpcError

LOST = frozenset({"FutureCursor", "OutdatedCursor", "EpochChanged"})
"""Why a stream cannot be resumed: the cursor leads nowhere."""
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 30.0

_SHOWING = frozenset({"create", "update", "show", "refresh"})
_VIEWS: dict[str, type[DatasetView | SchemaView | LensView]] = {
    "dataset": DatasetView,
    "entry": DatasetView,
    "schema": SchemaView,
    "lens": LensView,
}


@dataclass(frozen=True, slots=True)
class Start:
    """What a stream is to be: of which service, under which name, filtered how, from where on."""

    service: str
    nsid: str
    filters: Params
    cursor: str | int | None
    to_error: Callable[[Failure], XrpcError]
    timeout: float


@dataclass(frozen=True, slots=True)
class Change:
    """One change to the index. Whoever applies all of them in order has what the index shows.

    `op` is `create`, `update` or `delete` by the author; `show`, `refresh`; or one that takes the
    record away (`hide`, `quarantine`, `deferred`; `is_gone` says so). `uri` is the record's, or
    `at://did` where all records of an account are taken away. `view` is what the index shows now:
    None where the record is gone, or was changed again since, which comes later.
    """

    seq: int
    op: str
    uri: str
    did: str
    cid: str | None = None
    rev: str | None = None
    view: View | None = None

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From `app.bsky.atdata.subscribeChanges#change`."""
        uri = value["uri"]
        kind = _VIEWS.get(uri.split("/")[3].rpartition(".")[2]) if uri.count("/") == 4 else None
        shown = value.get("view")
        view = None if kind is None or shown is None else kind.from_json(shown)
        cid, rev = value.get("cid"), value.get("rev")
        return cls(value["seq"], value["op"], uri, value["did"], cid, rev, view)

    @property
    def is_gone(self) -> bool:
        """Whether the record, or all those of the account, are no longer shown."""
        return self.op not in _SHOWING

    @property
    def is_account(self) -> bool:
        """Whether this concerns all records of an account."""
        return self.uri.count("/") == 2


class Position:
    """Where a stream is, and what is to be done when its connection ends.

    A cursor is the text `epoch:seq`, or a bare seq; None begins with what is new.
    """

    def __init__(
        self,
        service: str,
        cursor: str | int | None,
        to_error: Callable[[Failure], XrpcError],
    ) -> None:
        self._service = service
        self._to_error = to_error
        self._pause = FIRST_PAUSE_SECONDS
        self._epoch: str | None = None
        self._seq: int | None = None
        if cursor is not None:
            epoch, _, seq = str(cursor).rpartition(":")
            if not (seq.isascii() and seq.isdigit()):
                raise ValueError(f"not a cursor of a stream of changes: {cursor!r}")
            self._epoch, self._seq = epoch or None, int(seq)

    @property
    def cursor(self) -> str | None:
        """Where to resume; None before the first connection stood."""
        if self._seq is None:
            return None
        return str(self._seq) if self._epoch is None else f"{self._epoch}:{self._seq}"

    @property
    def params(self) -> Params:
        """What a connection is to be asked with to go on here."""
        return {"cursor": self._seq, "epoch": self._epoch}

    def take(self, text: str | bytes) -> Change | None:
        """What a message tells; None where it only says how far the stream is.

        Raises the service's error where the stream is lost, or is none.
        """
        import json

        try:
            value = json.loads(text)
            if "error" in value:
                self._refused(str(value["error"]), str(value.get("message", "")))
                return None
            if value["$type"].endswith("#info"):
                self._epoch, self._seq = str(value["epoch"]), int(value["seq"])
                return None
            change = Change.from_json(value)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            words = f"not a message of changes: {type(error).__name__}: {error}"
            failure = Failure(self._service, 200, "UnexpectedResponse", words)
            raise self._to_error(failure) from error
        self._pause = FIRST_PAUSE_SECONDS
        self._seq = change.seq
        return change

    def pause(self) -> float:
        """How many seconds to wait before the next attempt, after one more failed."""
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        return pause

    def denied(self, status: int, body: bytes, retry_after: float | None) -> float:
        """How long to wait where the service answers an attempt with an HTTP status.

        Raises its error where waiting would not help.
        """
        import json

        try:
            said = json.loads(body)
            name, words = str(said["error"]), str(said["message"])
        except (KeyError, TypeError, ValueError):
            name, words = "UnexpectedResponse", f"HTTP {status}, and no XRPC body"
        error = self._to_error(Failure(self._service, status, name, words, retry_after))
        if not error.transient:
            raise error
        return max(self.pause(), retry_after or 0.0)

    def _refused(self, name: str, words: str) -> None:
        if name in LOST:
            raise self._to_error(Failure(self._service, 400, name, words))
