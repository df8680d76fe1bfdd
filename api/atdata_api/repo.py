"""What is asked of a PDS, answered from the index: getRecord, listRecords and resolveHandle."""

import json
from functools import partial
from typing import Any

from atdata_api.errors import XrpcError
from atdata_api.xrpc import Handler, Params, join
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
    repo, collection, cid = params["repo"], params["collection"], params.get("cid")
    did = reader.account(repo)
    if did is None:
        raise _not_found(f"repo: no account in the index is {repo}")
    kind = COLLECTIONS.get(collection)
    if kind is None:
        raise _not_found(f"collection: records of {collection} are not indexed")
    uri = f"at://{did}/{collection}/{params['rkey']}"
    views = reader.get(kind, [uri])
    if not views:
        raise _not_found(f"{uri} is not in the index; getRecordStatus says why")
    found = json.loads(views[0])
    if cid is not None and cid != found["cid"]:
        raise _not_found(f"cid: the index has {uri} as {found['cid']} only")
    return _record(found)


def _list(reader: Reader, params: Params) -> str:
    did = reader.account(params["repo"])
    kind = COLLECTIONS.get(params["collection"])
    if did is None or kind is None:
        return join({}, "records", [])
    namespace = params["collection"].rpartition(".")[0]
    page = reader.search(
        Search(kind, author=did, namespace=namespace),
        sort="oldest" if params["reverse"] else "newest",
        limit=params["limit"],
        cursor=params.get("cursor"),
    )
    # One by one: a page of the longest records in one go would hold up every other thread.
    records = [json.dumps(_record(json.loads(view))) for view in page.views]
    return join({} if page.cursor is None else {"cursor": page.cursor}, "records", records)


def _record(view: dict[str, Any]) -> dict[str, Any]:
    return {"uri": view["uri"], "cid": view["cid"], "value": view["record"]}


def _not_found(message: str) -> XrpcError:
    return XrpcError(400, "RecordNotFound", message)  # the name and status that a PDS answers with
