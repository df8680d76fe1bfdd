"""Asking an AppView over HTTP, and what the recorded network is known to hold."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

NS = "app.bsky.atdata"
TRUTH = json.loads((Path(__file__).parent / "fixtures" / "recording-truth.json").read_text("utf-8"))


class Api(httpx.Client):
    """The queries of one AppView: `Api(url).ask("searchDatasets", q="whale")`."""

    def __init__(self, url: str) -> None:
        super().__init__(base_url=url, timeout=60)

    def query(self, name: str, **params: Any) -> httpx.Response:
        """Whatever a query answers."""
        return self.get(f"/xrpc/{NS}.{name}", params=params)

    def ask(self, name: str, **params: Any) -> Any:
        """The answer of a query, which must be a good one."""
        response = self.query(name, **params)
        assert response.status_code == 200, response.text
        return response.json()

    def pages(self, name: str, **params: Any) -> Iterator[Any]:
        """Every page of a listing or search, one after the other."""
        page = self.ask(name, **params)
        yield page
        while "cursor" in page:
            page = self.ask(name, **params, cursor=page["cursor"])
            yield page

    def walk(self, name: str, **params: Any) -> list[Any]:
        """Every view of every page of `listLenses`, `searchDatasets`, …"""
        key = name.removeprefix("list").removeprefix("search").lower()
        return [view for page in self.pages(name, **{"limit": 100} | params) for view in page[key]]


def uris_of(kind: str, *, valid: bool = True) -> list[str]:
    """The URIs of the recorded records of a kind that active accounts hold."""
    return [
        uri
        for uri, one in TRUTH["records"].items()
        if uri.split("/")[3] == f"{NS}.{kind}" and one["valid"] is valid
    ]
