"""A network of authors for tests: their relay, PDS and directory on one loopback address."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from atdata_indexer.daemon import Indexer
from atdata_indexer.playback import Playback
from atdata_schemas.syntax import format_micros
from benchmarks.repos import encode
from tests.appview import settings, until
from tests.contents import searchable
from tests.signed import SEQS, Author, frame


class Network:
    """A relay, and the PDS and directory of its authors, on one loopback address."""

    def __init__(self, *authors: Author) -> None:
        self.playback = Playback([], {})
        self.authors: tuple[Author, ...] = authors
        self.host = ""

    def send(self, body: object) -> None:
        self.playback.append(frame(body))  # type: ignore[arg-type]  # the body of an event

    def serve_repos(self) -> None:
        """Let the PDS answer with every repo as it is now."""
        for author in self.authors:
            self.playback.repos[author.did] = author.car()

    def tell(self, author: Author, *, active: bool, status: str | None = None) -> None:
        """Send an `#account` event."""
        seq = next(SEQS)
        body = {"did": author.did, "active": active, "seq": seq, "time": format_micros(seq)}
        body |= {} if status is None else {"status": status}
        self.playback.append(encode({"op": 1, "t": "#account"}) + encode(body))

    def insert(self, message: bytes) -> None:
        """Send what is no event, or has no place of its own."""
        self.playback.insert(message)

    def join(self, author: Author) -> None:
        """Let an author come later; `serve` must have begun."""
        self.authors = (*self.authors, author)
        self.playback.identities[author.did] = author.identity(self.host)
        self.serve_repos()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Serve everything; gives `host:port`."""
        async with self.playback.serve() as self.host:
            for author in self.authors:
                self.playback.identities[author.did] = author.identity(self.host)
            yield self.host

    @asynccontextmanager
    async def followed(self, folder: Path, **more: object) -> AsyncIterator[Indexer]:
        """An indexer that follows the relay, which is served as long."""
        async with self.serve(), self.indexer(folder, **more) as indexer:
            yield indexer

    @asynccontextmanager
    async def indexer(self, folder: Path, **more: object) -> AsyncIterator[Indexer]:
        """An indexer that follows the relay, which is served already."""
        values = settings(folder, self.host, **({"backfill": True} | more))
        async with Indexer.open(values, pause=lambda failures: 0.0) as indexer:
            running = asyncio.create_task(indexer.run())
            try:
                yield indexer
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    async def settled(self, indexer: Indexer) -> dict[str, str]:
        """URI and CID of all that is found, once every repo is in step again."""
        await until(
            lambda: not indexer.store.behind() and indexer.is_current(self.playback.last_seq)
        )
        return found(indexer)


def found(indexer: Indexer) -> dict[str, str]:
    """URI and CID of all that is found."""
    return {uri: view["cid"] for uri, view in searchable(indexer.reader).items()}
