"""findLensPaths, getSchemaUsage, getBacklinks and getSimilarDatasets: what hangs together."""

import json
from functools import partial

from atdata_api.errors import XrpcError
from atdata_api.xrpc import NS, Handler, Params, array, join, members
from atdata_indexer.index.reader import Reader


def handlers(reader: Reader) -> dict[str, Handler]:
    """The queries of this family by NSID."""
    return {
        f"{NS}.findLensPaths": partial(_paths, reader),
        f"{NS}.getSchemaUsage": partial(_usage, reader),
        f"{NS}.getBacklinks": partial(_backlinks, reader),
        f"{NS}.getSimilarDatasets": partial(_similar, reader),
    }


def _paths(reader: Reader, params: Params) -> str:
    found = reader.lens_paths(
        params["source"], params["target"], params["maxHops"], params["limit"]
    )
    paths = [members({"lenses": array(path)}) for path in found.paths]
    return join({"cut": found.cut}, "paths", paths)


def _usage(reader: Reader, params: Params) -> str:
    usage = reader.usage(params["uri"])
    if usage is None:
        raise XrpcError(404, "NotFound", f"nothing in the index is, or refers to, {params['uri']}")
    return members(
        {
            "schema": json.dumps(usage.schema),
            "datasets": str(usage.datasets),
            "lensesFrom": str(usage.lenses_from),
            "lensesTo": str(usage.lenses_to),
            "newerVersions": array(usage.newer),
            "identical": array(usage.identical),
        }
    )


def _backlinks(reader: Reader, params: Params) -> str:
    page = reader.backlinks(
        params["subject"], params.get("source"), params["limit"], params.get("cursor")
    )
    head = {"total": page.total} | ({"cursor": page.cursor} if page.cursor else {})
    return join(head, "backlinks", page.views)


def _similar(reader: Reader, params: Params) -> str:
    views = reader.similar(params["uri"], params["limit"])
    if views is None:
        raise XrpcError(
            404, "NotFound", f"no dataset {params['uri']} in the index; getRecordStatus says why"
        )
    return join({}, "datasets", views)
