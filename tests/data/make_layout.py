"""Makes `tests/data/layout-N`: the recorded network as this version stores it.

    python -m tests.data.make_layout

Run once when a layout is final, and commit what it makes: every later version must open it.
"""

import asyncio
import shutil
from pathlib import Path

from atdata_indexer.index.tables import LAYOUT
from atdata_indexer.playback import recorded
from tests.appview import indexing

FOLDER = Path(__file__).parent / f"layout-{LAYOUT}"


async def make() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    async with indexing(recorded(), FOLDER):
        pass


if __name__ == "__main__":
    asyncio.run(make())
