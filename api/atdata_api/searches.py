"""searchDatasets, searchSchemas and the three lists."""

from functools import partial

from atdata_api.xrpc import Handler, Params, listing
from atdata_indexer.index.query import Search
from atdata_indexer.index.reader import Reader

NS = "app.bsky.atdata"


def handlers(reader: Reader) -> dict[str, Handler]:
    """The queries of this family by NSID."""
    return {
        f"{NS}.searchDatasets": partial(_search, reader, "dataset", "datasets"),
        f"{NS}.searchSchemas": partial(_search, reader, "schema", "schemas"),
        f"{NS}.listDatasets": partial(_list, reader, "dataset", "datasets"),
        f"{NS}.listSchemas": partial(_list, reader, "schema", "schemas"),
        f"{NS}.listLenses": partial(_list, reader, "lens", "lenses"),
    }


def _search(reader: Reader, kind: str, key: str, params: Params) -> str:
    search = Search(
        kind,
        q=params.get("q", ""),
        tags=params.get("tags", ()),
        schema=params.get("schema"),
        author=params.get("author"),
    )
    page = reader.search(
        search, sort=params.get("sort"), limit=params["limit"], cursor=params.get("cursor")
    )
    return listing(key, page, total=True)


def _list(reader: Reader, kind: str, key: str, params: Params) -> str:
    search = Search(kind, author=params.get("author"))
    page = reader.search(search, sort="newest", limit=params["limit"], cursor=params.get("cursor"))
    return listing(key, page, total=False)
