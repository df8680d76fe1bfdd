"""Whatever the OpenAPI document allows, and whatever it does not, is answered as it says.

Schemathesis makes the requests: those that fit the document, and those that break it in one way.
"""

import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from atdata_api.server import AppView
from atdata_schemas.lexicon import lexicons
from tests.asking import TRUTH, uris_of

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
QUERIES = lexicons().queries()
SHORT, LONG = 10, 200
"""How many requests of each query."""

# What the document's formats stand for: what is in the index, what might be, and any text at all.
_DIDS = sorted({uri.split("/")[2] for uri in TRUTH["records"]})
_HANDLES = [account["handle"] for account in TRUTH["accounts"].values()]
KNOWN = {
    "at-uri": [uri for kind in ("dataset", "schema", "lens") for uri in uris_of(kind)[:10]],
    "at-identifier": [*_DIDS[:5], *_HANDLES[:5]],
    "handle": _HANDLES[:5],
    "nsid": ["app.bsky.atdata", "app.bsky.atdata.dataset", "science.alt.dataset"],
    "record-key": [uri.split("/")[4] for uri in uris_of("dataset")[:10]],
    "datetime": ["2026-01-01T00:00:00Z", "1969-12-31T23:59:59.999-23:59"],
    "cid": ["bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"],
}
for name, values in KNOWN.items():
    schemathesis.openapi.format(name, st.sampled_from(values))


@pytest.fixture(scope="module")
def document(recorded_appview: AppView) -> Any:
    return schemathesis.openapi.from_url(f"{recorded_appview.url}/openapi.json")


@pytest.mark.parametrize("nsid", QUERIES)
def test_some_of_what_can_be_asked(document: Any, nsid: str) -> None:
    assert sum(ask(document, nsid, SHORT).values()) > 0


@pytest.mark.long
def test_five_thousand_requests(document: Any) -> None:
    counts: dict[int, int] = {}
    for nsid in QUERIES:
        for status, count in ask(document, nsid, LONG).items():
            counts[status] = counts.get(status, 0) + count
    assert sum(counts.values()) >= 5000
    assert counts[200] > 1000
    assert counts[400] > 1000


def ask(document: Any, nsid: str, number: int) -> dict[int, int]:
    """Make requests of one query, and check each answer; how often each status came."""
    operation = document[f"/xrpc/{nsid}"]["GET"]
    modes = [GenerationMode.POSITIVE]
    if lexicons().document(nsid)["defs"]["main"].get("parameters", {}).get("properties"):
        modes.append(GenerationMode.NEGATIVE)
    cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes))
    counts: dict[int, int] = {}

    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def check(case: Any) -> None:
        response = case.call()
        counts[response.status_code] = counts.get(response.status_code, 0) + 1
        case.validate_response(response, checks=CHECKS)
        if response.status_code != 200:
            body = json.loads(response.content)
            assert body.keys() == {"error", "message"}

    check()
    return counts
