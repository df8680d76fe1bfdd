"""`/feeds/….atom`: any search as an Atom feed (RFC 4287), newest first.

The parameters are those of the search (`/feeds/datasets.atom?q=speech&tags=asr`).
"""

import json
from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response
from starlette.exceptions import HTTPException

from atdata_api.answering import Answering
from atdata_api.identity import ServiceIdentity
from atdata_api.places import Places
from atdata_api.searches import asked
from atdata_api.xml import Element, add, xml_response
from atdata_api.xrpc import NS
from atdata_indexer.index.fields import INVALID_HANDLE
from atdata_indexer.index.reader import Reader
from atdata_schemas.lexicon import lexicons

MEDIA_TYPE = "application/atom+xml"
SEARCHES = {
    "datasets": ("dataset", f"{NS}.searchDatasets"),
    "schemas": ("schema", f"{NS}.searchSchemas"),
    "lenses": ("lens", f"{NS}.searchLenses"),
}
_NEVER = "1970-01-01T00:00:00Z"


class FeedRoutes:
    """Serves searches as feeds."""

    def __init__(self, reader: Reader, identity: ServiceIdentity) -> None:
        self._reader = reader
        self._identity = identity

    def add_to(self, answering: Answering) -> None:
        """Add the route."""
        answering.add("/feeds/{kinds}.atom", self._feed, "feed")

    def _feed(self, request: Request) -> Response:
        kinds = request.path_params["kinds"]
        if kinds not in SEARCHES:
            raise HTTPException(404, f"no such feed; there are {', '.join(SEARCHES)}")
        kind, nsid = SEARCHES[kinds]
        params = lexicons().parse_params(nsid, request.query_params.multi_items())
        page = self._reader.search(
            asked(kind, params),
            sort="newest",
            limit=params["limit"],
            cursor=params.get("cursor"),
        )
        views = [json.loads(view) for view in page.views]
        places = Places.of(self._identity, request)
        about = ", ".join(f"{name} {value}" for name, value in request.query_params.multi_items())
        feed = Element("feed", {"xmlns": "http://www.w3.org/2005/Atom"})
        self_url = places.at(request.url.path.lstrip("/"))
        if request.url.query:
            self_url += f"?{request.url.query}"
        add(feed, "id", self_url)
        add(feed, "title", f"atdata {kinds}{f': {about}' if about else ''}")
        add(feed, "updated", max((view["indexedAt"] for view in views), default=_NEVER))
        add(feed, "link", attributes={"rel": "self", "type": MEDIA_TYPE, "href": self_url})
        add(feed, "generator", "atdata-appview")
        for view in views:
            _add_entry(feed, view, places)
        return xml_response(feed, MEDIA_TYPE)


def _add_entry(feed: Element, view: Mapping[str, Any], places: Places) -> None:
    record, author = view["record"], view["author"]
    known = author["handle"] != INVALID_HANDLE
    entry = add(feed, "entry")
    add(entry, "id", view["uri"])
    add(entry, "title", record.get("name", view["uri"]))
    add(entry, "link", attributes={"rel": "alternate", "href": places.page(view["uri"])})
    add(entry, "updated", view["indexedAt"])
    if isinstance(created := record.get("createdAt"), str):
        add(entry, "published", created)
    person = add(entry, "author")
    add(person, "name", author["handle"] if known else author["did"])
    add(person, "uri", places.feed("datasets", author=author["did"]))
    add(entry, "summary", record.get("description") or record.get("name", ""))
    tags = record.get("tags")  # of what is no dataset they may be anything
    for tag in tags if isinstance(tags, list) else ():
        if isinstance(tag, str):
            add(entry, "category", attributes={"term": tag})
