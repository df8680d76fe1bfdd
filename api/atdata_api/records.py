"""getDataset(s), getSchema, getLens and getRecordStatus."""

from functools import partial

from atdata_api.errors import XrpcError
from atdata_api.ledger import Ledger
from atdata_api.xrpc import NS, Handler, Params, join
from atdata_indexer.index.reader import Reader
from atdata_schemas.syntax import format_micros


def handlers(reader: Reader, ledger: Ledger) -> dict[str, Handler]:
    """The queries of this family by NSID."""
    return {
        f"{NS}.getDataset": partial(_get, reader, "dataset"),
        f"{NS}.getSchema": partial(_get, reader, "schema"),
        f"{NS}.getLens": partial(_get, reader, "lens"),
        f"{NS}.getDatasets": partial(_get_datasets, reader),
        f"{NS}.getRecordStatus": partial(_status, ledger),
    }


def _get(reader: Reader, kind: str, params: Params) -> str:
    views = reader.get(kind, [params["uri"]])
    if not views:
        raise XrpcError(
            404, "NotFound", f"no {kind} {params['uri']} in the index; getRecordStatus says why"
        )
    return f'{{"{kind}": {views[0]}}}'


def _get_datasets(reader: Reader, params: Params) -> str:
    return join({}, "datasets", reader.get("dataset", params["uris"]))


def _status(ledger: Ledger, params: Params) -> dict[str, str | bool]:
    status = ledger.record_status(params["uri"])
    answer = {
        "uri": params["uri"],
        "status": status.status,
        "cid": status.cid,
        "rev": status.rev,
        "rule": status.rule,
        "path": status.path,
        "reason": status.reason,
        "accountStatus": status.account_status,
        "indexedAt": None if status.indexed_us is None else format_micros(status.indexed_us),
        "verified": status.verified,
    }
    return {name: value for name, value in answer.items() if value is not None}
