"""Whatever is no identifier of the kind a parameter asks for is refused with 400, by its name."""

from collections.abc import Iterator
from typing import Any

import pytest

from atdata_api.server import AppView
from atdata_schemas.lexicon import lexicons
from tests.asking import Api
from tests.test_syntax import INVALID

VALID = {
    "did": "did:plc:abcdefghijklmnopqrstuvwx",
    "handle": "alice.test",
    "at-identifier": "alice.test",
    "at-uri": "at://did:plc:abcdefghijklmnopqrstuvwx/app.bsky.atdata.dataset/3lhzqk2mfd22s",
    "nsid": "app.bsky.atdata",
    "record-key": "3lhzqk2mfd22s",
    "cid": "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a",
    "datetime": "2026-01-01T00:00:00Z",
}
BAD: dict[str, set[str]] = {name: {*INVALID[name], "", " "} for name in VALID if name in INVALID}
BAD["at-identifier"] = BAD["did"] & BAD["handle"] | {"did:plc:", "@alice.test", "alice", "a..test"}


def parameters(nsid: str) -> dict[str, Any]:
    declared: dict[str, Any] = lexicons().document(nsid)["defs"]["main"].get("parameters", {})
    return declared


def cases() -> Iterator[tuple[str, str, str]]:
    """Each parameter of each query that has a format, with that."""
    for nsid in lexicons().queries():
        for name, definition in parameters(nsid).get("properties", {}).items():
            inner = definition.get("items", definition)
            if "format" in inner:
                yield nsid, name, inner["format"]


def given(nsid: str) -> dict[str, str]:
    """Good values of all that a query must be given."""
    declared = parameters(nsid)
    found = {}
    for name in declared.get("required", ()):
        definition = declared["properties"][name]
        inner = definition.get("items", definition)
        found[name] = VALID.get(inner.get("format", ""), "1.0.0")
    return found


@pytest.fixture(scope="module")
def api(recorded_appview: AppView) -> Iterator[Api]:
    with Api(recorded_appview.url) as api:
        yield api


@pytest.mark.parametrize(("nsid", "name", "format_"), list(cases()))
def test_what_is_none_is_refused(api: Api, nsid: str, name: str, format_: str) -> None:
    assert len(BAD[format_]) > 5
    for value in BAD[format_]:
        response = api.get(f"/xrpc/{nsid}", params=given(nsid) | {name: value})
        assert response.status_code == 400, (value, response.text)
        body = response.json()
        assert body.keys() == {"error", "message"}
        assert body["error"] == "InvalidRequest"
        assert body["message"].startswith((f"{name}:", f"{name}["))


def test_every_format_that_is_asked_for_has_its_cases() -> None:
    assert {format_ for _, _, format_ in cases()} <= BAD.keys() <= VALID.keys()
