"""`/sitemap.xml`: the pages of all datasets for search engines (https://www.sitemaps.org/protocol).

Made from the export, whose groups of rows are the files that the sitemap names: so it is as old as
that, and nothing that is hidden is in it.
"""

import pyarrow.parquet as pq
from fastapi import Request, Response
from starlette.exceptions import HTTPException

from atdata_api.answering import Answering
from atdata_api.errors import XrpcError
from atdata_api.export import ExportRoutes
from atdata_api.identity import ServiceIdentity
from atdata_api.places import Places
from atdata_api.xml import Element, add, xml_response

MEDIA_TYPE = "application/xml"
_XMLNS = {"xmlns": "http://www.sitemaps.org/schemas/sitemap/0.9"}


class SitemapRoutes:
    """Serves the sitemap of what was exported."""

    def __init__(self, export: ExportRoutes, identity: ServiceIdentity) -> None:
        self._export = export
        self._identity = identity

    def add_to(self, answering: Answering) -> None:
        """Add the routes."""
        answering.add("/sitemap.xml", self._all, "sitemap")
        answering.add("/sitemap/{part}.xml", self._part, "sitemap")

    def _all(self, request: Request) -> Response:
        places = Places.of(self._identity, request)
        root = Element("sitemapindex", _XMLNS)
        with self._datasets() as file:
            for part in range(file.num_row_groups):
                add(add(root, "sitemap"), "loc", places.at(f"sitemap/{part}.xml"))
        return xml_response(root, MEDIA_TYPE)

    def _part(self, request: Request) -> Response:
        part = request.path_params["part"]
        places = Places.of(self._identity, request)
        root = Element("urlset", _XMLNS)
        with self._datasets() as file:
            if not (part.isdecimal() and len(part) < 9 and int(part) < file.num_row_groups):
                raise HTTPException(404, f"the sitemap has {file.num_row_groups} parts")
            rows = file.read_row_group(int(part), columns=["uri", "indexed_at"]).to_pylist()
        for row in rows:
            url = add(root, "url")
            add(url, "loc", places.page(row["uri"]))
            add(url, "lastmod", row["indexed_at"].isoformat())
        return xml_response(root, MEDIA_TYPE)

    def _datasets(self) -> pq.ParquetFile:
        exports, made = self._export.current()
        try:
            return pq.ParquetFile(exports.path(made, "datasets"))
        except FileNotFoundError as error:
            raise XrpcError(503, "NotExported", "the export has just been withdrawn") from error
