"""The HTTP application: the composition root of this package."""

import json
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Response
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from atdata_api import alt, links, records, repo, searches, service
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
    for routes in (
        export,
        SitemapRoutes(export, identity),
        PageRoutes(reader, identity),
        FeedRoutes(reader, identity),
    ):
        routes.add_to(app)
    for family in families:
        for nsid, handler in family.items():
            for name in identity.names(nsid):
                add_query(app, nsid, handler, name)

    @app.get("/xrpc/_health", summary="Whether the service can answer.")
    def health() -> Response:
        reader.refresh()
        return json_response(json.dumps({"version": service.VERSION}))

    @app.get("/", include_in_schema=False)
    def greeting() -> PlainTextResponse:
        return PlainTextResponse(_GREETING)

    @app.get("/.well-known/did.json", include_in_schema=False)
    def did_document() -> Response:
        document = identity.document()
        if document is None:
            raise HTTPException(404, "this service has no public name")
        return json_response(json.dumps(document))

    @app.get("/robots.txt", include_in_schema=False)
    def robots() -> PlainTextResponse:
        return PlainTextResponse(identity.robots())

    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        document["paths"] |= paths(identity.name)
        if identity.url is not None:
            document["servers"] = [{"url": identity.url}]
        document["components"] = {"schemas": components()}
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI documents to extend it
    return app
