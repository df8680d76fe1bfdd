"""The queries of `science.alt.dataset`, in the shapes that the `atdata` library reads.

A view is flat there: the members of the record, and what is known beside them. Datasets of this
project's own namespace are answered in the words of that one; schemas and lenses that are asked for
by their URI are, where nothing is lost by that.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode

from atdata_api.errors import XrpcError
from atdata_api.ledger import Ledger
from atdata_api.xrpc import Handler, Params, join
from atdata_indexer.index.page import Page
from atdata_indexer.index.query import Search
from atdata_indexer.index.reader import Reader
from atdata_schemas.alt import NAMESPACE as ALT
from atdata_schemas.alt import blobs_of
from atdata_schemas.records import ALT_KINDS
from atdata_schemas.translation import to_alt

MOST_PAGES = 20
"""So many pages are looked at for one that has anything to show."""

type View = dict[str, Any]

_LISTS = {"Entries": "dataset", "Schemas": "schema", "Lenses": "lens", "Labels": "label"}
_GETS = {"Schema": "schema", "Lens": "lens", "Label": "label"}


def handlers(
    reader: Reader, ledger: Ledger, did: str | None, version: str, collections: Sequence[str]
) -> dict[str, Handler]:
    """The queries of this family by NSID. `did` is the service's, if it has a public name."""
    lists = {f"list{name}": partial(_list, reader, kind) for name, kind in _LISTS.items()}
    gets = {f"get{name}": partial(_get, reader, kind) for name, kind in _GETS.items()}
    others: dict[str, Handler] = {
        "describeService": partial(_describe, reader, did, version, collections),
        "getEntries": partial(_get_entries, reader),
        "getEntry": lambda params: {"entry": _get(reader, "dataset", params)},
        "getEntryStats": partial(_stats, reader),
        "resolveBlobs": partial(_resolve_blobs, reader, ledger),
        "resolveLabel": partial(_resolve_label, reader),
        "resolveSchema": partial(_resolve_schema, reader),
        "searchDatasets": partial(_search_datasets, reader),
        "searchLenses": partial(_search_lenses, reader),
    }
    return {f"{ALT}.{name}": handler for name, handler in (lists | gets | others).items()}


def _describe(
    reader: Reader, did: str | None, version: str, collections: Sequence[str], params: Params
) -> View:
    counts = {
        name: reader.count(kind, ALT) for name, kind in ALT_KINDS.items() if name in collections
    }
    return ({} if did is None else {"did": did}) | {
        "version": version,
        "availableCollections": list(counts),
        "recordCount": counts,
    }


def _search_datasets(reader: Reader, params: Params) -> str:
    search = Search(
        "dataset",
        q=params.get("q", ""),
        tags=params.get("tags", ()),
        schema=params.get("schemaRef"),
        author=params.get("repo"),
    )
    page, entries = _filled(reader, search, params)
    return join({"hitsTotal": page.total} | _cursor(page), "entries", entries)


def _search_lenses(reader: Reader, params: Params) -> str:
    source, target = params.get("sourceSchema"), params.get("targetSchema")
    search = Search("lens", namespace=ALT, source=source, target=target)
    page, lenses = _filled(reader, search, params)
    return join(_cursor(page), "lenses", lenses)


def _list(reader: Reader, kind: str, params: Params) -> str:
    # Those of the other namespace are datasets like others; its schemas may be more than can be
    # said in this one.
    namespace = None if kind == "dataset" else ALT
    search = Search(kind, author=params.get("repo"), namespace=namespace)
    page, views = _filled(reader, search, params)
    key = next(name for name, one in _LISTS.items() if one == kind)
    return join(_cursor(page), key.lower(), views)


def _get(reader: Reader, kind: str, params: Params) -> View:
    views = list(_flat(reader.get(kind, [params["uri"]])))
    if not views:
        raise _not_found(kind, params["uri"])
    return views[0]


def _get_entries(reader: Reader, params: Params) -> str:
    return join({}, "entries", _texts(reader.get("dataset", params["uris"])))


def _stats(reader: Reader, params: Params) -> View:
    uri, period = params["uri"], params["period"]
    if not reader.get("dataset", [uri]):
        raise _not_found("dataset", uri)
    labels = reader.backlinks(uri, f"{ALT}.label:datasetUri", 1, None).total
    unknown = {"views": 0, "searchAppearances": 0}
    return {"uri": uri, "period": period, **unknown, "labels": labels}


def _resolve_schema(reader: Reader, params: Params) -> View:
    did = reader.account(params["handle"])
    text = did and reader.schema_of(did, params["schemaId"], params.get("version"))
    if not text:
        message = f"{params['handle']} has no schema {params['schemaId']} in the index"
        raise XrpcError(400, "SchemaNotFound", message)
    view = json.loads(text)
    return {name: view[name] for name in ("uri", "cid", "record")}


def _resolve_label(reader: Reader, params: Params) -> View:
    did = reader.account(params["handle"])
    text = did and reader.label_of(did, params["name"], params.get("version"))
    if not text:
        message = f"{params['handle']} has no label {params['name']} in the index"
        raise XrpcError(400, "LabelNotFound", message)
    label = json.loads(text)["record"]
    uri = label["datasetUri"]
    found = reader.get("dataset", [uri])
    cid = {"cid": json.loads(found[0])["cid"]} if found else {}
    return {"uri": uri, **cid, "label": label}


def _resolve_blobs(reader: Reader, ledger: Ledger, params: Params) -> View:
    blobs: list[View] = []
    for uri in params["uris"]:
        views = [json.loads(view) for view in reader.get("dataset", [uri])]
        if not views:
            blobs.append({"uri": uri, "error": "not in the index"})
            continue
        held = list(blobs_of(views[0]["record"]))
        if not held:
            blobs.append({"uri": uri, "error": "its shards are not blobs"})
            continue
        did = views[0]["author"]["did"]
        blobs += _placed(uri, did, ledger.pds(did), held)
    return {"blobs": blobs}


def _placed(
    uri: str, did: str, pds: str | None, blobs: Iterable[Mapping[str, Any]]
) -> Iterator[View]:
    for blob in blobs:
        cid = blob["ref"]["$link"]
        known = {name: blob[name] for name in ("mimeType", "size") if name in blob}
        query = urlencode({"did": did, "cid": cid})
        where = (
            {"error": "its author's PDS is not known"}
            if pds is None
            else {"url": f"{pds.rstrip('/')}/xrpc/com.atproto.sync.getBlob?{query}"}
        )
        yield {"uri": uri, "cid": cid, **known, **where}


def _filled(reader: Reader, search: Search, params: Params) -> tuple[Page, list[str]]:
    """A page and its flat views as JSON: clients take an empty one for the end."""
    cursor = params.get("cursor")
    for _ in range(MOST_PAGES):
        page = reader.search(search, limit=params["limit"], cursor=cursor)
        views = _texts(page.views)
        cursor = page.cursor
        if views or cursor is None:
            break
    return page, views


def _texts(views: Iterable[str]) -> list[str]:
    """Flat views as JSON, one by one: all in one go would hold up every other thread."""
    return [json.dumps(view) for view in _flat(views)]


def _flat(texts: Iterable[str]) -> Iterator[View]:
    """Views as this namespace has them; what cannot be said in it is left out."""
    for text in texts:
        view = json.loads(text)
        record = view["record"]
        if not record["$type"].startswith(f"{ALT}."):
            record = to_alt(record)
        if record is not None:
            known = {name: view[name] for name in ("uri", "cid", "indexedAt")}
            yield {**record, **_padded(record.get("metadata")), **view["author"], **known}


def _padded(metadata: Any) -> View:
    """Packed metadata with the padding that the library cannot do without."""
    match metadata:
        case {"$bytes": str(text)}:
            return {"metadata": {"$bytes": text + "=" * (-len(text) % 4)}}
        case _:
            return {}


def _cursor(page: Page) -> View:
    return {} if page.cursor is None else {"cursor": page.cursor}


def _not_found(kind: str, uri: str) -> XrpcError:
    return XrpcError(404, "NotFound", f"no {kind} {uri} in the index; getRecordStatus says why")
