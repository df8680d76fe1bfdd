"""The HTTP application: the composition root of this package."""

import json
from typing import Any

from fastapi import FastAPI, Response
from starlette.responses import PlainTextResponse

from atdata_api import links, records, searches, service
from atdata_api.ledger import Ledger
from atdata_api.openapi import components, paths
from atdata_api.xrpc import add_error_bodies, add_query, json_response
from atdata_indexer.index.reader import Reader

_GREETING = f"""atdata-appview {service.VERSION}

An AppView for typed ML datasets on the AT Protocol.

  /xrpc/app.bsky.atdata.searchDatasets?q=speech
  /xrpc/app.bsky.atdata.describeService
  /xrpc/_health
  /openapi.json
"""


def create_app(reader: Reader, ledger: Ledger) -> FastAPI:
    """The application over an index and the indexer that keeps it."""
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
        service.handlers(reader, ledger),
    )
    for family in families:
        for nsid, handler in family.items():
            add_query(app, nsid, handler)

    @app.get("/xrpc/_health", summary="Whether the service can answer.")
    def health() -> Response:
        reader.refresh()
        return json_response(json.dumps({"version": service.VERSION}))

    @app.get("/", include_in_schema=False)
    def greeting() -> PlainTextResponse:
        return PlainTextResponse(_GREETING)

    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        document["paths"] |= paths()
        document["components"] = {"schemas": components()}
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI documents to extend it
    return app
