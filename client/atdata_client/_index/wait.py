"""Waiting until the index shows what was published."""

from __future__ import annotations

from time import monotonic, sleep
from typing import TYPE_CHECKING

from atdata_client.errors import IndexUnavailable, NotIndexed, RateLimited

if TYPE_CHECKING:
    from atdata_client._index.views import RecordStatus
    from atdata_client.index import IndexClient

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0


def wait_for_dataset(index: IndexClient, uri: str, cid: str, *, timeout: float) -> None:
    """Return once the index shows the dataset at `uri` with this CID; `timeout` is in seconds.

    Raises NotIndexed, with what `getRecordStatus` says, when the index has set this version aside,
    or when the time is over; IndexUnavailable when it did not answer to the end.
    """
    deadline, pause = monotonic() + timeout, FIRST_PAUSE_SECONDS
    while True:
        said: RecordStatus | None = None
        unheard: IndexUnavailable | RateLimited | None = None
        try:
            if any(view.cid == cid for view in index.get_datasets([uri])):
                return
            said = index.record_status(uri)
        except (IndexUnavailable, RateLimited) as error:
            unheard = error
        if said is not None and said.cid == cid and said.status in {"quarantined", "deferred"}:
            raise NotIndexed(uri, f"the index has set it aside: {_words(said)}", said)
        if said is not None and said.status == "hidden":
            raise NotIndexed(uri, f"the index hides its account: {_words(said)}", said)
        if monotonic() + pause > deadline:
            if unheard is not None:
                raise unheard
            assert said is not None
            raise NotIndexed(uri, f"not in the index after {timeout:g} s: {_words(said)}", said)
        sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _words(said: RecordStatus) -> str:
    """`quarantined, rule maxLength at tags[3]: longer than 50`."""
    if said.status == "indexed":
        return "it holds another version"
    rule = f", rule {said.rule}" if said.rule else ""
    place = f" at {said.path}" if said.path else ""
    account = f", the account is {said.account_status}" if said.account_status else ""
    reason = f": {said.reason}" if said.reason else ""
    return f"{said.status}{account}{rule}{place}{reason}"
