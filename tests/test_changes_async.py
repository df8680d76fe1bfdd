"""The stream of changes for programs on asyncio, the same as the other."""

import itertools

from atdata_api.server import AppView
from atdata_client import AsyncIndexClient, Change, IndexClient

SOME = 300


async def test_it_gives_what_the_other_gives_and_resumes(recorded_appview: AppView) -> None:
    with IndexClient(recorded_appview.url) as index, index.changes(cursor=0) as stream:
        expected = list(itertools.islice(stream, SOME))
    seen: list[Change] = []
    cursor: str | int | None = 0
    async with AsyncIndexClient(recorded_appview.url) as asking:
        while len(seen) < SOME:
            async with asking.changes(cursor=cursor) as changes:
                async for change in changes:
                    seen.append(change)
                    if len(seen) % 100 == 0:
                        break
                cursor = changes.cursor
    assert seen == expected
