"""Metrics on an address of their own, and how long requests take."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from prometheus_client import CollectorRegistry, Histogram, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from atdata_indexer import overview
from atdata_indexer.daemon import Indexer
from atdata_indexer.metrics import IndexerCollector
from atdata_indexer.settings import Settings

_SHARED = "PROMETHEUS_MULTIPROC_DIR"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Measured:
    """An application whose requests are measured, by query and status.

    What is no query of this service counts as `other`: a stranger cannot invent label values.
    """

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app = app
        self._seconds = Histogram(
            "atdata_http_request_seconds",
            "How long requests took to answer.",
            ["query", "status"],
            buckets=_BUCKETS,
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            query = getattr(scope.get("route"), "name", "other")
            taken = time.perf_counter() - started
            self._seconds.labels(query, str(status)).observe(taken)


@contextmanager
def serving(settings: Settings, registry: CollectorRegistry) -> Iterator[None]:
    """Serve what `registry` collects, if the settings say where, until the block ends."""
    if settings.metrics_port is None:
        yield
        return
    server, thread = start_http_server(settings.metrics_port, settings.metrics_host, registry)
    host, port = server.server_address[:2]
    structlog.get_logger().info("metrics", url=f"http://{host!s}:{port}/metrics")
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def of_indexer(indexer: Indexer) -> CollectorRegistry:
    """A registry that collects from a running indexer."""
    registry = CollectorRegistry()
    registry.register(IndexerCollector(lambda: overview.of_running(indexer, {})))
    return registry


@contextmanager
def serving_for_workers(settings: Settings) -> Iterator[None]:
    """Serve what worker processes measure, all together; they must be started in this block."""
    if settings.metrics_port is None:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="atdata-metrics-") as folder:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]  # its own
        os.environ[_SHARED] = folder  # where the client of each worker puts what it counts
        try:
            with serving(settings, registry):
                yield
        finally:
            del os.environ[_SHARED]
