"""What is asked of a PDS, answered from the index: getRecord, listRecords and resolveHandle."""

import json
from functools import partial
from typing import Any

from atdata_api.errors import XrpcError
from atdata_api.xrpc import Handler, Params
from atdata_indexer.index.query import Search
from atdata_indexer.index.reader import Reader
from atdata_schemas.records import COLLECTIONS


def handlers(reader: Reader) -> dict[str, Handler]:
    """The queries of this family by NSID."""
    return {
        "com.atproto.identity.resolveHandle": partial(_resolve, reader),
        "com.atproto.repo.getRecord": partial(_get, reader),
        "com.atproto.repo.listRecords": partial(_list, reader),
    }


def _resolve(reader: Reader, params: Params) -> dict[str, Any]:
    did = reader.account(params["handle"])
    if did is None:
        raise XrpcError(400, "HandleNotFound", f"no account in the index is {params['handle']}")
    return {"did": did}


def _get(reader: Reader, params: Params) -> dict[str, Any]:
    did = reader.account(params["repo"])
    uri = f"at://{did}/{params['collection']}/{params['rkey']}"
    kind = COLLECTIONS.get(params["collection"])
    views = reader.get(kind, [uri]) if did and kind else []
    found = json.loads(views[0]) if views else None
    if found is None or params.get("cid", found["cid"]) != found["cid"]:
        # The name and status that a PDS answers with.
        raise XrpcError(400, "RecordNotFound", f"no such record in the index: {uri}")
    return _record(found)


def _list(reader: Reader, params: Params) -> dict[str, Any]:
    did = reader.account(params["repo"])
    kind = COLLECTIONS.get(params["collection"])
    if did is None or kind is None:
        return {"records": []}
    namespace = params["collection"].rpartition(".")[0]
    page = reader.search(
        Search(kind, author=did, namespace=namespace),
        sort="oldest" if params["reverse"] else "newest",
        limit=params["limit"],
        cursor=params.get("cursor"),
    )
    records = [_record(json.loads(view)) for view in page.views]
    return {"records": records} | ({} if page.cursor is None else {"cursor": page.cursor})


def _record(view: dict[str, Any]) -> dict[str, Any]:
    return {"uri": view["uri"], "cid": view["cid"], "value": view["record"]}
