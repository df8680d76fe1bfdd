"""Every bound of every parameter is kept over HTTP: what is beyond it is refused by its name."""

from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from atdata_api.server import AppView
from atdata_schemas.lexicon import lexicons
from tests.asking import NS, Api, uris_of

RECORD = uris_of("schema")[0]
GOOD: Mapping[str, Any] = {
    "at-uri": RECORD,
    "at-identifier": "alice.test",
    "cid": "bafyreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq",
    "datetime": "2026-01-01T00:00:00Z",
    "handle": "alice.test",
    "nsid": NS,
    "record-key": RECORD.rpartition("/")[2],
    "": "word",
}
PATTERNS = {"schema": "Photo", "field": "image"}
"""What the index itself checks: a good value."""


@pytest.fixture(scope="module")
def api(recorded_appview: AppView) -> Iterator[Api]:
    with Api(recorded_appview.url) as api:
        yield api


def declared(name: str) -> Mapping[str, Any]:
    parameters: Mapping[str, Any] = lexicons().document(name)["defs"]["main"]["parameters"]
    return parameters


def good(name: str, definition: Mapping[str, Any]) -> Any:
    match definition["type"]:
        case "array":
            return good(name, definition["items"])
        case "integer":
            return definition.get("minimum", 1)
        case "boolean":
            return "true"
        case _:
            choices = definition.get("enum", [GOOD[definition.get("format", "")]])
            return PATTERNS.get(name, choices[0])


def bad(name: str, definition: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
    """Values beyond each of the bounds, and where the fault is said to be."""
    if definition["type"] == "array":
        yield [good(name, definition)] * (definition["maxLength"] + 1), name
        for value in beyond(definition["items"]):
            yield [good(name, definition), value], f"{name}[1]"
        return
    yield [good(name, definition)] * 2, name
    for value in beyond(definition):
        yield value, name


def beyond(definition: Mapping[str, Any]) -> Iterator[Any]:
    """Single values beyond a bound."""
    if definition["type"] == "integer":
        yield from ("", "x", "1.0", "9" * 17)
        yield definition["minimum"] - 1
        if "maximum" in definition:
            yield definition["maximum"] + 1
    if definition["type"] == "boolean":
        yield from ("", "1", "True")
    if "enum" in definition:
        yield "none of them"
    if "format" in definition:
        yield from ("", "a b", "x" * 9000)
    if "maxLength" in definition:
        yield "é" * (definition["maxLength"] // 2 + 1)


def ask(api: Api, nsid: str, params: Mapping[str, Any]) -> httpx.Response:
    return api.get(f"/xrpc/{nsid}", params=dict(params))


CASES = [
    (nsid, name)
    for nsid in lexicons().queries()
    for name in declared(nsid).get("properties", {})
    if name != "cursor"
]


@pytest.mark.parametrize(("nsid", "name"), CASES)
def test_what_is_beyond_a_bound_is_refused_by_the_name(api: Api, nsid: str, name: str) -> None:
    properties = declared(nsid)["properties"]
    others = {one: good(one, properties[one]) for one in declared(nsid).get("required", ())}
    fine = ask(api, nsid, others | {name: good(name, properties[name])})
    assert fine.is_success or fine.json()["error"].endswith("NotFound"), fine.text
    faults = list(bad(name, properties[name]))
    assert faults
    for value, place in faults:
        response = ask(api, nsid, others | {name: value})
        assert response.status_code == 400, value
        assert response.json()["error"] == "InvalidRequest"
        assert response.json()["message"].startswith(f"{place}: "), value


@pytest.mark.parametrize("nsid", lexicons().queries())
def test_what_must_be_there_is_missed_by_its_name(api: Api, nsid: str) -> None:
    properties, required = declared(nsid)["properties"], declared(nsid).get("required", ())
    for missing in required:
        others = {one: good(one, properties[one]) for one in required if one != missing}
        response = ask(api, nsid, others)
        assert response.status_code == 400
        assert response.json()["message"] == f"{missing}: missing"
    assert required or not set(properties) & {"uri", "uris", "subject"}
