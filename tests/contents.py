"""What an index holds, in a form two of them can be compared by."""

import json
from collections.abc import Mapping
from typing import Any

from atdata_indexer.daemon import Indexer
from atdata_indexer.index.query import Search
from atdata_indexer.index.reader import Reader
from atdata_indexer.index.store import Store

KINDS = ("dataset", "schema", "lens")


def searchable(reader: Reader) -> dict[str, Any]:
    """Every view a walk through the index gives, by URI, without the time it was indexed at."""
    views: dict[str, Any] = {}
    for kind in KINDS:
        cursor = None
        while True:
            page = reader.search(Search(kind), sort="newest", limit=100, cursor=cursor)
            for text in page.views:
                view = json.loads(text)
                assert view["uri"] not in views, f"{view['uri']} came twice"
                del view["indexedAt"]
                views[view["uri"]] = view
            cursor = page.cursor
            if cursor is None:
                break
    return views


def stored(store: Store) -> dict[str, tuple[Any, ...]]:
    """Every row by URI: state, cid, rev, op index and body."""
    with store.reader() as db:
        rows = db.execute("SELECT uri, state, cid, rev, op_index, body FROM records").fetchall()
    return {row[0]: tuple(row[1:]) for row in rows}


def quarantined(store: Store) -> dict[str, Mapping[str, Any]]:
    """Every quarantine entry by URI: rule, path, cid and reason."""
    with store.reader() as db:
        rows = db.execute("SELECT uri, rule, path, cid, reason FROM quarantine").fetchall()
    return {
        uri: {"rule": rule, "path": path, "cid": cid, "reason": reason}
        for uri, rule, path, cid, reason in rows
    }


def everything(indexer: Indexer) -> tuple[Any, ...]:
    """Rows, quarantine and searchable views: what must be the same however events came."""
    store = indexer.store
    return stored(store), quarantined(store), searchable(indexer.reader)
