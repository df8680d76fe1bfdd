"""Authors, their relay and PDS, the Jetstream servers that tell of them, and who follows."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from atdata_indexer.daemon import Indexer
from atdata_indexer.jetstream import Version
from atdata_indexer.playback import Playback
from atdata_indexer.sources import Source
from atdata_indexer.sources.jetstream import JetstreamV1, JetstreamV2
from atdata_indexer.sources.relay import RelaySource
from tests.appview import settings, until
from tests.contents import searchable
from tests.jetstream_server import JetstreamServer
from tests.signed import DATASET, START_US, Author, rkey


def source(version: Version, url: str, **more: Any) -> Source:
    if version == 1:
        return JetstreamV1(url, clock=lambda: START_US + 3_600_000_000, **more)
    return JetstreamV2(url, **more)


class World:
    """Authors, their relay, PDS and directory, and one Jetstream server or more."""

    def __init__(self, *authors: Author, servers: Sequence[JetstreamServer]) -> None:
        self.relay = Playback([], {})
        self.authors = authors
        self.servers = servers
        self.host = ""
        self.urls: list[str] = []

    def serve_repos(self) -> None:
        """Let the PDS answer with every repo as it is now."""
        for author in self.authors:
            self.relay.repos[author.did] = author.car()

    def truth(self) -> dict[str, str]:
        return {uri: cid for author in self.authors for uri, cid in author.uris().items()}

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            self.host = await stack.enter_async_context(self.relay.serve())
            for author in self.authors:
                self.relay.identities[author.did] = author.identity(self.host)
            self.urls = [await stack.enter_async_context(one.serve()) for one in self.servers]
            yield

    @asynccontextmanager
    async def followed(
        self, folder: Path, *, relay: bool = False, options: Mapping[str, Any] = {}, **more: Any
    ) -> AsyncIterator[Indexer]:
        """An indexer that follows the servers, which stand in for one another; and the relay."""
        followed = zip(self.servers, self.urls, strict=True)
        lines: list[list[Source]] = [[RelaySource(f"ws://{self.host}")]] if relay else []
        lines.append([source(s.version, url, **options) for s, url in followed])
        values = settings(folder, self.host, **({"backfill": True, "first_cursor": None} | more))
        async with Indexer.open(values, lines, pause=lambda _: 0.01) as indexer:
            running = asyncio.create_task(indexer.run())
            try:
                await until(lambda: connected(indexer) == len(lines) or running.done())
                yield indexer
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    async def settled(self, indexer: Indexer, *, fetched: bool = True) -> dict[str, str]:
        """URI and CID of all that is found, once all was read and every repo `fetched`."""
        ends = {
            source(s.version, url).name: s.last
            for s, url in zip(self.servers, self.urls, strict=True)
        } | {f"ws://{self.host}": self.relay.last_seq}

        def ready() -> bool:
            return (
                all(
                    one.cursor is not None and one.cursor >= ends[one.name]
                    for one in indexer.sources()
                    if one.connected
                )
                and connected(indexer) > 0
                and not (fetched and indexer.store.behind())
                and indexer.is_settled()
            )

        await until(ready)
        return found(indexer)


def connected(indexer: Indexer) -> int:
    return sum(one.connected for one in indexer.sources())


def found(indexer: Indexer) -> dict[str, str]:
    return {uri: view["cid"] for uri, view in searchable(indexer.reader).items()}


def uri(author: Author, number: int) -> str:
    return f"at://{author.did}/{DATASET}/{rkey(number)}"


def verified(indexer: Indexer, author: Author, number: int) -> bool | None:
    return indexer.store.record_status(uri(author, number)).verified
