"""Makes `index/views.zdict`: what views have in common, learned from realistic ones.

    python -m tests.relevance.make_dictionary

The views are those of the relevance set and of the recorded network, which has lenses. Run only
together with a new LAYOUT of documents: what one dictionary packed no other can unpack.
"""

import asyncio
import tempfile
from pathlib import Path

import zstandard

from atdata_indexer.index.backup import DATABASE
from atdata_indexer.index.fields import view
from atdata_indexer.index.packing import DICTIONARY
from atdata_indexer.index.store import Store
from atdata_indexer.playback import recorded
from tests.appview import indexing
from tests.relevance.measure import load_records, published

SIZE = 4096
"""Twice as many bytes save one in fifty more."""


def views() -> list[bytes]:
    """Every view there is to learn from, the commonest kind last."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        async def play() -> None:
            async with indexing(recorded(), folder):
                pass

        asyncio.run(play())
        with published(load_records()) as index:
            stored = [one for batch in index.store.load_all() for one in batch]
        store = Store(folder / DATABASE)
        stored += [one for batch in store.load_all() for one in batch if one.kind == "lens"]
        store.close()
    stored.sort(key=lambda one: (one.kind == "dataset", one.kind, one.uri))
    return [view(one).encode() for one in stored]


if __name__ == "__main__":
    DICTIONARY.write_bytes(zstandard.train_dictionary(SIZE, [*views()]).as_bytes())
