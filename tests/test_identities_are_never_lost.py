"""What a resolver answers while a batch is being applied is stored as well."""

import json
from pathlib import Path

import pytest

from atdata_indexer.playback import IDENTITIES, RECORDING, Playback
from atdata_indexer.sources.replay import read_recording
from tests.appview import indexing

FRAMES = list(read_recording(RECORDING))
KNOWN = json.loads(IDENTITIES.read_text("utf-8"))


@pytest.mark.parametrize("frames", [120, 200, 280])
async def test_every_author_of_a_stream_that_goes_quiet_gets_a_handle(
    tmp_path: Path, frames: int
) -> None:
    async with indexing(Playback(FRAMES[:frames], KNOWN), tmp_path) as indexer:
        with indexer.store.reader() as db:
            handles = dict(db.execute("SELECT did, handle FROM repos").fetchall())
    assert handles
    for did, handle in handles.items():
        assert handle == (KNOWN[did]["handle"] if did in KNOWN else None)
