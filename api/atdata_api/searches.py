"""searchDatasets, searchSchemas, searchLenses, the three lists, suggest and listTags."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from atdata_api.xrpc import NS, Handler, Params, join
from atdata_indexer.index.facets import Facet
from atdata_indexer.index.page import Page
from atdata_indexer.index.query import Search
from atdata_indexer.index.reader import Reader
from atdata_schemas.errors import ValidationError
from atdata_schemas.syntax import micros, parse_datetime


def handlers(reader: Reader) -> dict[str, Handler]:
    """The queries of this family by NSID."""
    return {
        f"{NS}.searchDatasets": partial(_search, reader, "dataset", "datasets"),
        f"{NS}.searchSchemas": partial(_search, reader, "schema", "schemas"),
        f"{NS}.searchLenses": partial(_search, reader, "lens", "lenses"),
        f"{NS}.suggest": partial(_suggest, reader),
        f"{NS}.listDatasets": partial(_list, reader, "dataset", "datasets"),
        f"{NS}.listSchemas": partial(_list, reader, "schema", "schemas"),
        f"{NS}.listLenses": partial(_list, reader, "lens", "lenses"),
        f"{NS}.listTags": partial(_tags, reader),
    }


def _search(reader: Reader, kind: str, key: str, params: Params) -> str:
    page = reader.search(
        asked(kind, params),
        sort=params.get("sort"),
        limit=params["limit"],
        cursor=params.get("cursor"),
        facets=params.get("facets", ()),
        facet_size=params.get("facetSize", 10),
        highlight=params.get("highlight", False),
    )
    return join(_head(page), key, page.views)


def asked(kind: str, params: Params) -> Search:
    """The search that the parameters say; each kind of record knows some of them."""
    get = params.get
    after, before = _moment(params, "createdAfter"), _moment(params, "createdBefore")
    if after is not None and before is not None and after >= before:
        raise ValidationError("createdAfter", "range", "not before createdBefore")
    return Search(
        kind,
        q=get("q", ""),
        tags=get("tags", ()),
        tag_match=get("tagMatch", "all"),
        schema=get("schema"),
        viewable_as=get("viewableAs"),
        author=get("author"),
        licenses=get("license", ()),
        fields=get("field", ()),
        created_after_us=after,
        created_before_us=before,
        samples_min=get("samplesMin"),
        samples_max=get("samplesMax"),
        bytes_min=get("bytesMin"),
        bytes_max=get("bytesMax"),
        namespace=get("namespace"),
        source=get("sourceSchema"),
        target=get("targetSchema"),
    )


def _moment(params: Params, name: str) -> int | None:
    text = params.get(name)
    return None if text is None else micros(parse_datetime(text))


def _head(page: Page) -> dict[str, Any]:
    """What a page says besides its records; what does not apply is left out."""
    head: dict[str, Any] = {"hitsTotal": page.total, "hitsTotalIsBound": page.is_bound}
    if page.cursor is not None:
        head["cursor"] = page.cursor
    if page.facets is not None:
        head["facets"] = _facets(page.facets)
    if page.did_you_mean is not None:
        head["didYouMean"] = page.did_you_mean
    if page.cut:
        head["viewableAsCut"] = True
    if page.approximate:
        head["approximate"] = True
    return head


def _facets(facets: Sequence[Facet]) -> list[dict[str, Any]]:
    return [
        {
            "facet": facet.name,
            "values": [
                {"value": one.value, "count": one.count}
                | ({} if one.label is None else {"label": one.label})
                for one in facet.values
            ],
            "estimated": facet.estimated,
        }
        for facet in facets
    ]


def _list(reader: Reader, kind: str, key: str, params: Params) -> str:
    search = Search(kind, author=params.get("author"))
    page = reader.search(search, sort="newest", limit=params["limit"], cursor=params.get("cursor"))
    return join({"cursor": page.cursor} if page.cursor else {}, key, page.views)


def _suggest(reader: Reader, params: Params) -> dict[str, Any]:
    return {
        "suggestions": [
            {"kind": one.kind, "text": one.text, "value": one.value}
            | ({} if one.count is None else {"count": one.count})
            for one in reader.suggest(params["q"], params["limit"])
        ]
    }


def _tags(reader: Reader, params: Params) -> dict[str, Any]:
    counted = reader.tags(params["limit"], params.get("prefix", ""))
    return {"tags": [{"tag": tag, "count": count} for tag, count in counted]}
