"""The HTTP server of the API, with everything that stands between a connection and an answer.

connection ──▶ Protocol ──▶ Measured ──▶ Guarded ──▶ Timely ──▶ Cached ──▶ the application
               size, time    metrics      limits,     time of     ETag,
               of a request               CORS        an answer   gzip
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
from prometheus_client import CollectorRegistry

from atdata_api.app import create_app
from atdata_api.caching import Cached
from atdata_api.changes import Changes
from atdata_api.changes_socket import ChangesSocket
from atdata_api.guards import Guarded
from atdata_api.identity import ServiceIdentity
from atdata_api.ledger import Ledger
from atdata_api.limits import RateLimiter, believes_anybody
from atdata_api.metrics import Measured
from atdata_api.protocol import Protocol
from atdata_api.service_auth import ServiceAuth
from atdata_api.shared_limits import SharedRateLimiter, Table
from atdata_api.timely import Timely
from atdata_api.used_tokens import UsedTokens
from atdata_indexer.exports import Exports
from atdata_indexer.http_server import Server
from atdata_indexer.identity import IdentityResolver
from atdata_indexer.index.reader import Reader
from atdata_indexer.settings import Settings


@asynccontextmanager
async def front(
    settings: Settings,
    reader: Reader,
    ledger: Ledger,
    registry: CollectorRegistry,
    callers: Table | None = None,
) -> AsyncIterator[Server]:
    """A server over an index and the indexer that keeps it; what it measures is in `registry`.

    Where several processes answer, `callers` is what they count callers in together.
    """
    if believes_anybody(settings.forwarded_by) and (settings.rate_limit or settings.followers):
        structlog.get_logger().warning(
            "callers_name_their_own_address",
            setting=settings.variable("forwarded_by"),
            value=settings.forwarded_by,
            why="whoever reaches this port is believed whatever it says in X-Forwarded-For, so no"
            " limit for each caller holds: name the proxies, unless only they can reach it",
        )
    identity = ServiceIdentity.of(settings)
    changes = Changes(
        reader, ledger, followers=settings.followers, patience_s=settings.follower_patience_s
    )
    app = create_app(
        reader,
        ledger,
        identity,
        changes=changes,
        exports=Exports(settings.data_dir),
        collections=settings.collections,
    )
    limiter = None
    if settings.rate_limit:
        limit = settings.rate_limit
        limiter = RateLimiter(limit) if callers is None else SharedRateLimiter(limit, callers)
    async with AsyncExitStack() as stack:
        auth = None
        if identity.did is not None and limiter is not None:
            resolver = IdentityResolver(settings, settings.user_agent)
            stack.push_async_callback(resolver.aclose)
            auth = ServiceAuth(
                identity.did, resolver.signing_key, used=UsedTokens(each=2 * settings.rate_limit)
            )
        yield Server(
            Measured(Guarded(Timely(Cached(app)), limiter, auth), registry),
            http=Protocol,
            ws=ChangesSocket,
            ws_max_size=1024,  # nothing that followers say is listened to
            ws_per_message_deflate=False,  # it would be done anew for each of them
            proxy_headers=settings.forwarded_by != "none",
            forwarded_allow_ips=settings.forwarded_by,
        )
