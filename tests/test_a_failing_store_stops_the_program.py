"""A store that cannot be written ends the indexer, whoever meets it first: nobody works on."""

import asyncio
from pathlib import Path
from typing import NoReturn

import pytest

from atdata_indexer.daemon import Indexer
from atdata_indexer.errors import StoreError
from tests.appview import PATIENCE_S, settings
from tests.network import Network
from tests.signed import Author


@pytest.mark.parametrize("step", ["tidy", "unresolved", "set_sync_state", "add_repos"])
async def test_it_ends_with_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Housekeeping, rounds, a fetch that finds its repo gone, and the stream itself."""
    fired = []

    def fail(*args: object, **more: object) -> NoReturn:
        fired.append(step)
        raise StoreError("no room")

    author = Author("alice")
    network = Network(author)
    network.send(author.create(1))  # and no PDS has its repo
    async with (
        network.serve() as host,
        Indexer.open(settings(tmp_path, host, backfill=True)) as indexer,
    ):
        # This one's alone: others in this process go on with theirs.
        monkeypatch.setattr(indexer.store, step, fail)
        with pytest.raises(ExceptionGroup) as stopped:
            async with asyncio.timeout(PATIENCE_S):
                await indexer.run()
    assert stopped.group_contains(StoreError, match="no room")
    assert fired
