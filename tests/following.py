"""An AppView that follows the tests' PDS, in this process, from now on."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from atdata_api.server import AppView
from atdata_client import IndexClient
from tests.appview import settings, wait_until
from tests.real_pds import RealPds


@contextmanager
def following(pds: RealPds, data_dir: Path) -> Iterator[IndexClient]:
    """A client of the index; what other tests have published before is no matter here."""
    host = pds.url.removeprefix("http://")
    told = settings(data_dir, host, plc_url=pds.plc, handle_resolver=pds.url, first_cursor=None)

    @asynccontextmanager
    async def start() -> AsyncIterator[AppView]:
        async with AppView.start(told) as (view, _):
            yield view

    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(start()) as view,
        IndexClient(view.url) as index,
    ):
        wait_until(lambda: index.describe().sources[0].connected)
        yield index
