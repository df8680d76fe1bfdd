"""The HTTP application: the composition root of this package."""

import json
from collections.abc import Sequence
from functools import cache

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from atdata_api import alt, links, records, repo, searches, service
from atdata_api.answering import Answering
from atdata_api.changes import NSID, Changes
from atdata_api.export import ExportRoutes
from atdata_api.feeds import FeedRoutes
from atdata_api.identity import ServiceIdentity
from atdata_api.ledger import Ledger
from atdata_api.openapi import components, paths
from atdata_api.pages import PageRoutes
from atdata_api.sitemap import SitemapRoutes
from atdata_api.xrpc import add_error_bodies, add_query, json_response
from atdata_indexer.exports import Exports
from atdata_indexer.index.reader import Reader
from atdata_schemas.records import COLLECTIONS

_GREETING = f"""atdata-appview {service.VERSION}

An AppView for typed ML datasets on the AT Protocol.

  /xrpc/app.bsky.atdata.searchDatasets?q=speech
  /xrpc/app.bsky.atdata.describeService
  /feeds/datasets.atom?q=speech
  /export/
  /sitemap.xml
  /xrpc/_health
  /openapi.json
"""


def create_app(
    reader: Reader,
    ledger: Ledger,
    identity: ServiceIdentity | None = None,
    *,
    changes: Changes | None = None,
    exports: Exports | None = None,
    collections: Sequence[str] = tuple(COLLECTIONS),
) -> FastAPI:
    """The application over an index of `collections` and the indexer that keeps it."""
    identity = identity or ServiceIdentity()
    app = FastAPI(
        title="atdata-appview",
        version=service.VERSION,
        description="Search over typed ML datasets on the AT Protocol.",
        openapi_url=None,  # FastAPI's would be written anew, on the event loop, for each who asks
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    add_error_bodies(app)
    families = (
        searches.handlers(reader),
        links.handlers(reader),
        records.handlers(reader, ledger),
        service.handlers(reader, ledger, collections),
        alt.handlers(reader, ledger, identity.did, service.VERSION, collections),
        repo.handlers(reader),
    )
    (changes or Changes(reader, ledger)).add_to(app, identity.names(NSID))
    export = ExportRoutes(exports)
    export.add_to(app)
    answering = Answering(app)
    for routes in (
        SitemapRoutes(export, identity),
        PageRoutes(reader, identity),
        FeedRoutes(reader, identity),
    ):
        routes.add_to(answering)
    for family in families:
        for nsid, handler in family.items():
            for name in identity.names(nsid):
                add_query(answering, nsid, handler, name)
    _add_others(app, answering, reader, identity)
    return app


def _add_others(
    app: FastAPI, answering: Answering, reader: Reader, identity: ServiceIdentity
) -> None:
    """What tells of the service itself."""

    @app.head("/xrpc/_health", include_in_schema=False)
    @app.get("/xrpc/_health", summary="Whether the service can answer.")
    async def health() -> Response:
        await answering.do(reader.refresh)
        return json_response(json.dumps({"version": service.VERSION}))

    def greeting(request: Request) -> Response:
        return PlainTextResponse(_GREETING)

    def did_document(request: Request) -> Response:
        document = identity.document()
        if document is None:
            raise HTTPException(404, "this service has no public name")
        return json_response(json.dumps(document))

    def robots(request: Request) -> Response:
        return PlainTextResponse(identity.robots())

    @cache
    def described() -> str:
        document = app.openapi()
        document["paths"] |= paths(identity.name)
        if identity.url is not None:
            document["servers"] = [{"url": identity.url}]
        document["components"] = {"schemas": components()}
        return json.dumps(document)

    def openapi(request: Request) -> Response:
        return json_response(described())

    answering.add("/", greeting, "greeting")
    answering.add("/.well-known/did.json", did_document, "did_document")
    answering.add("/robots.txt", robots, "robots")
    answering.add("/openapi.json", openapi, "openapi")
