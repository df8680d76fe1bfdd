"""Another front to an index that is served already: other limits or names, the same answers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from anyio.from_thread import start_blocking_portal
from prometheus_client import CollectorRegistry

from atdata_api.front import front
from atdata_api.server import AppView, listen, url_of
from atdata_indexer.settings import Settings


@contextmanager
def another_front(view: AppView, **more: Any) -> Iterator[str]:
    """Serve the index of `view` with these settings; gives where, as `http://127.0.0.1:port`."""
    settings = Settings(port=0, allow_loopback=True, **more)

    @asynccontextmanager
    async def start() -> AsyncIterator[str]:
        registry, indexer = CollectorRegistry(), view.indexer
        with listen("127.0.0.1", 0) as listener:
            port = url_of(listener).rpartition(":")[2]
            named = settings
            if settings.public_url is not None:
                named = settings.model_copy(update={"public_url": f"http://localhost:{port}"})
            async with front(named, indexer.reader, indexer, registry) as server:
                serving = asyncio.create_task(server.serve(sockets=[listener]))
                try:
                    yield url_of(listener)
                finally:
                    server.should_exit = True
                    await serving

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(start()) as url:
        yield url
