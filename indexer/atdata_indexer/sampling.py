"""Some repos of the index compared with what their PDSs hold, record by record. Changes nothing."""

import asyncio
from collections.abc import Container
from dataclasses import dataclass, field

from atdata_indexer.errors import CommitError
from atdata_indexer.fetch import Fetcher, RepoGone, RepoUnavailable
from atdata_indexer.index.audit import Difference
from atdata_indexer.index.store import Store
from atdata_indexer.snapshot import read_snapshot
from atdata_schemas.records import COLLECTIONS

AT_ONCE = 4


@dataclass(slots=True)
class Sample:
    """What was found: how many `repos` and `records` were compared and equal what their PDSs hold.

    `moving` repos are not at the same rev here and there, and say nothing. `unreachable` could not
    be had. `differing` names what the index has otherwise, or not, or too much; a repo that cannot
    be believed as its PDS gives it, as `at://did`.
    """

    repos: int = 0
    records: int = 0
    moving: int = 0
    unreachable: int = 0
    differing: Difference = field(default_factory=Difference)


async def compare(
    store: Store,
    fetcher: Fetcher,
    size: int,
    *,
    verify: bool,
    collections: Container[str] = COLLECTIONS,
) -> Sample:
    """Compare up to `size` repos, chosen at random among those that are in step."""
    found = Sample()
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(did: str) -> None:
        async with turns:
            await _compare(store, fetcher, did, found, verify=verify, collections=collections)

    async with asyncio.TaskGroup() as tasks:
        for did in await asyncio.to_thread(store.sample, size):
            tasks.create_task(one(did))
    return found


async def _compare(
    store: Store,
    fetcher: Fetcher,
    did: str,
    found: Sample,
    *,
    verify: bool,
    collections: Container[str],
) -> None:
    place = store.place(did)
    if place is None or place.pds is None:
        found.unreachable += 1
        return
    try:
        car = await fetcher.repo(place.pds, did)
        key = place.key if verify else None
        snapshot = await asyncio.to_thread(read_snapshot, car, did, key, collections)
    except (RepoGone, RepoUnavailable):
        found.unreachable += 1
        return
    except CommitError:
        found.differing.add(f"at://{did}")
        return
    held = await asyncio.to_thread(store.held, did)
    now = store.place(did)
    ahead = any(one.order[0] > snapshot.rev for one in held.values())
    if now is None or now.rev != snapshot.rev or ahead:
        found.moving += 1
        return
    theirs = {f"at://{did}/{c}/{r}": cid for (c, r), (cid, _) in snapshot.records.items()}
    ours = {uri: one.cid for uri, one in held.items() if one.state != "deleted"}
    for uri in sorted(theirs.keys() | ours.keys()):
        if theirs.get(uri) != ours.get(uri):
            found.differing.add(uri)
    found.repos += 1
    found.records += len(theirs)
