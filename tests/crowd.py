"""Authors at work on a made-up network, and the log of what they really did.

What they do is random and always what a PDS does: signed commits of one or several writes, accounts
that leave, come back and are deleted, authors nobody knew with records from before. Now and then a
commit is never announced, which is a gap. `truth` folds the log into what must be found at the end;
`may_be` says what may be found at any moment, given how far an index says it has come.
"""

import random
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from atdata_indexer.playback import Playback
from atdata_schemas.syntax import cid_text, format_micros
from benchmarks.repos import Repo, Write, cid_of, encode
from tests.signed import START_US, Author, path, record, tid

MOST_RECORDS = 16
FEWEST_ACTIVE = 24
SILENT = 8
"""How many authors are there from the start and say nothing for the time being."""


@dataclass(frozen=True, slots=True)
class Wrote:
    """A commit: every record it touched, with its new CID, None where it was deleted."""

    did: str
    records: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Turned:
    """An account's new state: `active`, `deactivated` or `deleted`."""

    did: str
    status: str


@dataclass(frozen=True, slots=True)
class State:
    """What a record was from one moment on; `seq` is the event that told, None if none did."""

    seq: int | None
    cid: str | None


class Shelf(dict[str, bytes]):
    """The repos of a PDS as they are when they are asked for; of active accounts only."""

    def __init__(self, crowd: "Crowd") -> None:
        self._crowd = crowd

    def get(self, did: str, default: Any = None) -> Any:
        author = self._crowd.active.get(did)
        return default if author is None else author.car()


class Crowd:
    """The authors on `playback`, whose PDS and directory are at `host`.

    Not thread-safe: everything that changes it runs in the thread that serves the playback.
    """

    def __init__(self, playback: Playback, host: str, rng: random.Random) -> None:
        self.log: list[Wrote | Turned] = []
        self.active: dict[str, Author] = {}
        self.commits: list[int] = []
        """The seq of every commit that the stream told of."""
        self._away: dict[str, tuple[Author, str]] = {}
        self._records: dict[str, list[State]] = {}
        self._accounts: dict[str, list[tuple[int, bool]]] = {}
        self._seen: dict[str, int] = {}
        self._returned: set[str] = set()
        self._names = 0
        self._versions = 0
        self._seq = 0
        self._rng = rng
        self._host = host
        self._playback = playback
        playback.repos = Shelf(self)
        for _ in range(SILENT):
            self._join()

    def go_on(self, events: int, wanted: str) -> None:
        """Let `events` things happen; `wanted` names the step that they should lead past."""
        for _ in range(events):
            self._happen(self._rng.random())
        if wanted in ("fetch", "snapshot"):
            self._write(self._join())
            self._write(self._anyone(), told=False)
        elif wanted in ("hide", "purge"):
            self._turn(self._anyone(), "deactivated" if wanted == "hide" else "deleted")

    def speak(self) -> None:
        """Let every active author commit, which shows what the stream never told of."""
        for author in list(self.active.values()):
            self._write(author)

    def truth(self) -> dict[str, str]:
        """URI and CID of every visible record: a plain fold of the log."""
        records: dict[str, str] = {}
        hidden: set[str] = set()
        for entry in self.log:
            if isinstance(entry, Wrote):
                for uri, cid in entry.records.items():
                    if cid is None:
                        del records[uri]
                    else:
                        records[uri] = cid
            elif entry.status == "active":
                hidden.discard(entry.did)
            else:
                hidden.add(entry.did)
                if entry.status == "deleted":
                    records = {u: c for u, c in records.items() if _did(u) != entry.did}
        return {uri: cid for uri, cid in records.items() if _did(uri) not in hidden}

    def saw(self, found: Mapping[str, str]) -> None:
        """Somebody was shown these records: from now on they are as new as that, or newer."""
        for uri, cid in found.items():
            at = next(n for n, state in enumerate(self._records[uri]) if state.cid == cid)
            self._seen[uri] = max(self._seen.get(uri, 0), at)

    def violations(
        self, found: Mapping[str, str], cursor: int, behind: Container[str] | None = None
    ) -> list[str]:
        """What of `found` cannot be where all up to `cursor` is said to be stored.

        `behind` are the repos that the index is known to fetch yet, None if that is not known.
        """
        unknown = [f"{uri} never was" for uri in found.keys() - self._records.keys()]
        return unknown + [
            f"{uri} is {found.get(uri)} at {cursor}, and may be {sorted(map(str, may_be))}"
            for uri in self._records
            if found.get(uri) not in (may_be := self._may_be(uri, cursor))
            and not self._is_awaited(uri, uri in found, behind)
        ]

    def _is_awaited(self, uri: str, found: bool, behind: Container[str] | None) -> bool:
        """Whether a record of an account that was deleted may be missing although it is back.

        A repo that was fetched can be newer than the stream: then the deletion that is read later
        takes it away, and it is fetched once more when the account is active again.
        """
        did = _did(uri)
        return not found and did in self._returned and (behind is None or did in behind)

    def _may_be(self, uri: str, cursor: int) -> set[str | None]:
        """The states since the newest that was told of up to `cursor`, or seen by somebody."""
        states = self._records[uri]
        told = (
            n for n, state in enumerate(states) if state.seq is not None and state.seq <= cursor
        )
        least = max(told, default=0)
        may_be = {state.cid for state in states[max(least, self._seen.get(uri, 0)) :]}
        standing = self._accounts.get(_did(uri), [])
        now = [active for seq, active in standing if seq <= cursor][-1:] or [True]
        later = [active for seq, active in standing if seq > cursor]
        if not all(now + later):
            may_be.add(None)
        return may_be if any(now + later) else {None}

    # What happens

    def _happen(self, chance: float) -> None:
        if len(self.active) < FEWEST_ACTIVE or chance < 0.01:
            self._write(self._join())
        elif chance < 0.04:
            self._turn(self._anyone(), "deactivated")
        elif chance < 0.05:
            self._turn(self._anyone(), "deleted")
        elif chance < 0.09 and self._away:
            self._return(self._rng.choice(sorted(self._away)))
        elif chance < 0.11:
            self._send("#identity", {"did": self._anyone().did})
        else:
            # Nobody hears of some: that is a gap, which the author's next commit shows.
            self._write(self._anyone(), told=chance < 0.97)

    def _anyone(self) -> Author:
        return self.active[self._rng.choice(sorted(self.active))]

    def _join(self) -> Author:
        """An author with records that the stream never told of."""
        name = "".join("bcdefghijk"[int(digit)] for digit in f"{self._names:06}")
        self._names += 1
        author = Author(name, self._rng.choice([ec.SECP256K1(), ec.SECP256R1()]))
        self.active[author.did] = author
        self._playback.identities[author.did] = author.identity(self._host)
        self._playback.repos[author.did] = b""
        self._write(author, told=False)
        return author

    def _write(self, author: Author, *, told: bool = True) -> None:
        numbers = self._rng.sample(range(MOST_RECORDS), self._rng.choice([1, 1, 2, 3]))
        writes = [self._change(author, path(number)) for number in numbers]
        body = author.write(*writes)
        seq = self._send("#commit", body) if told else None
        if seq is not None:
            self.commits.append(seq)
        changed = {
            f"at://{author.did}/{write.path}": None
            if write.record is None
            else cid_text(cid_of(encode(write.record)))
            for write in writes
        }
        self.log.append(Wrote(author.did, changed))
        self._note(seq, changed)

    def _change(self, author: Author, place: str) -> Write:
        if place in author.repo.records and self._rng.random() < 0.4:
            return Write("delete", place)
        self._versions += 1
        new = record(f"Version {self._versions}")
        return Write("update" if place in author.repo.records else "create", place, new)

    def _turn(self, author: Author, status: str) -> None:
        del self.active[author.did]
        self._away[author.did] = author, status
        seq = self._account(author.did, status)
        if status == "deleted":
            held = [uri for uri in self._records if _did(uri) == author.did]
            self._note(seq, dict.fromkeys(held))

    def _return(self, did: str) -> None:
        """An account is active again; one that was deleted begins with an empty repo."""
        author, status = self._away.pop(did)
        self.active[did] = author
        if status == "deleted":
            author.repo = Repo(did, author.key, tid(next(author.revs)), {})
            self._returned.add(did)
        self._account(did, "active")
        self._send("#sync", {"did": did, "rev": author.repo.rev})

    def _account(self, did: str, status: str) -> int:
        active = status == "active"
        body = {"did": did, "active": active} | ({} if active else {"status": status})
        seq = self._send("#account", body)
        self.log.append(Turned(did, status))
        self._accounts.setdefault(did, []).append((seq, active))
        return seq

    def _note(self, seq: int | None, changed: Mapping[str, str | None]) -> None:
        for uri, cid in changed.items():
            self._records.setdefault(uri, [State(None, None)]).append(State(seq, cid))

    def _send(self, kind: str, body: Mapping[str, Any]) -> int:
        self._seq += 1
        told = {"seq": self._seq, "time": format_micros(START_US + self._seq * 1000)}
        self._playback.append(encode({"op": 1, "t": kind}) + encode(dict(body) | told))
        return self._seq


def _did(uri: str) -> str:
    return uri.split("/")[2]
