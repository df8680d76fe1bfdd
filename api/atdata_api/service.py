"""describeService."""

from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

from atdata_api.ledger import Ledger
from atdata_api.xrpc import NS, Handler, Params
from atdata_indexer.following import SourceStatus
from atdata_indexer.index.reader import Reader

VERSION = version("atdata-appview")


def handlers(reader: Reader, ledger: Ledger, collections: Sequence[str]) -> dict[str, Handler]:
    """The queries of this family by NSID."""
    return {
        f"{NS}.describeService": partial(_describe, reader, ledger, collections),
    }


def _describe(
    reader: Reader, ledger: Ledger, collections: Sequence[str], params: Params
) -> dict[str, Any]:
    counts = reader.counts()
    return {
        "version": VERSION,
        "collections": list(collections),
        "counts": {
            "datasets": counts["dataset"],
            "schemas": counts["schema"],
            "lenses": counts["lens"],
            **ledger.account_counts(),
        },
        "sources": [_source(status) for status in ledger.sources()],
        "index": {"seq": reader.seq, "pending": max(0, ledger.head() - reader.seq)},
    }


def _source(status: SourceStatus) -> dict[str, Any]:
    answer = {
        "name": status.name,
        "connected": status.connected,
        "cursor": status.cursor,
        "lagMs": None if status.lag_us is None else status.lag_us // 1000,
    }
    return {name: value for name, value in answer.items() if value is not None}
