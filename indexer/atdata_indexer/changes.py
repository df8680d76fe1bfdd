"""What is known of repos and records, and what events change of it: values only.

A row is the newest state of one record; tombstones are rows too. `Changes` is what a run of commits
or a snapshot does to them, ready to be stored in one transaction.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from atdata_indexer.frames import Commit
from atdata_indexer.limits import NOTHING, Totals
from atdata_schemas.records import Kind

type State = Literal["live", "invalid", "deferred", "deleted"]
type SyncState = Literal["active", "backfilling", "desynchronised", "throttled", "gone"]


@dataclass(frozen=True, slots=True)
class Repo:
    """What is known of a repo. `status` is `active` or why its account is not.

    `data` is the CID of its tree's root at `rev`, None when commits are not verified; `key` the
    account's signing key, None while it is not known. `totals` is what is held of it, `pruned_rev`
    the newest rev of a tombstone that is no longer kept.
    """

    did: str
    rev: str | None = None
    status: str = "active"
    sync: SyncState = "active"
    data: str | None = None
    key: str | None = None
    totals: Totals = NOTHING
    pruned_rev: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """The newest state of one record; `body` is its JSON text when it is live.

    `created_us` is what date sorts go by: the record's own claim, but never later than its commit.
    `rule` is what keeps the record from being live, when it is invalid or deferred.
    """

    uri: str
    did: str
    collection: str
    rkey: str
    kind: Kind
    cid: str | None
    rev: str
    op_index: int
    state: State
    name: str | None = None
    version: str | None = None
    schema_uri: str | None = None
    target_uri: str | None = None
    created_us: int | None = None
    body: str | None = None
    verified: bool = False
    rule: str | None = None

    @property
    def order(self) -> tuple[str, int]:
        """The place of this state among all states of its record."""
        return self.rev, self.op_index

    @property
    def held(self) -> "Held":
        """What is held of the record once this row is stored."""
        size = len(self.body.encode()) if self.body else 0
        where = self.collection, self.rkey, self.cid
        return Held(*where, self.order, self.state, self.verified, size)


@dataclass(frozen=True, slots=True)
class Held:
    """What the index holds of one record: its newest state, and where that stands in its order.

    `size` is that of the body in bytes.
    """

    collection: str
    rkey: str
    cid: str | None
    order: tuple[str, int]
    state: State
    verified: bool = False
    size: int = 0

    def outlasts(self, cid: str | None, order: tuple[str, int], *, verified: bool) -> bool:
        """Whether a change at `order` comes too late, or again.

        What was only reported is overruled by the same change once it is proven.
        """
        again = self.order == order and self.cid == cid and self.verified >= verified
        return again or self.order > order


@dataclass(frozen=True, slots=True)
class Fault:
    """Why something is in quarantine. `uri` is a record's, or `at://did` for a whole repo."""

    uri: str
    did: str
    cid: str | None
    rev: str | None
    rule: str
    path: str
    reason: str
    raw: bytes | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the outbox: what happened to a record, in the order it happened."""

    uri: str
    did: str
    cid: str | None
    rev: str
    op: str


@dataclass(slots=True)
class Changes:
    """What a run of commits does: the last state of each row and repo, every change in order."""

    rows: dict[str, Row] = field(default_factory=dict)
    repos: dict[str, Repo] = field(default_factory=dict)
    totals: dict[str, Totals] = field(default_factory=dict)
    """What is held then of each account that more or less is held of."""
    faults: dict[str, Fault] = field(default_factory=dict)
    outbox: list[Change] = field(default_factory=list)
    doubted: list[Commit] = field(default_factory=list)
    """Commits whose signature did not fit the key that is held: it may have changed."""
    healed: set[str] = field(default_factory=set)
    """Repos that were read whole: what was in quarantine for their commits is settled."""
    in_step: set[str] = field(default_factory=set)
    """Repos that were just seen to miss nothing."""
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Changes") -> None:
        """Let this be what another run does as well, which concerns other repos."""
        self.rows |= other.rows
        self.repos |= other.repos
        self.totals |= other.totals
        self.faults |= other.faults
        self.outbox += other.outbox
        self.doubted += other.doubted
        self.healed |= other.healed
        self.in_step |= other.in_step
        self.counts += other.counts
