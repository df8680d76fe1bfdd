"""Every query of the lexicons is served, answers what its lexicon says, and is described."""

import re
from base64 import b32decode
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import cbor2
import pytest

from atdata_api.server import AppView
from atdata_schemas.lexicon import Json, decode_bytes, lexicons
from atdata_schemas.syntax import AtUri, cid_text
from tests.asking import NS, TRUTH, Api, uris_of

DATASETS, SCHEMAS, LENSES = uris_of("dataset"), uris_of("schema"), uris_of("lens")
CASES = TRUTH["cases"]
HIDDEN = [uri for account in TRUTH["hidden"].values() for uri in account["records"]]
INVALID = [uri for uri, one in TRUTH["records"].items() if not one["valid"]]

FACETS = ["tags", "license", "schema", "author", "fieldKind"]

QUESTIONS: dict[str, list[dict[str, Any]]] = {
    "describeService": [{}],
    "findLensPaths": [
        {"source": source, "target": target, "maxHops": 8}
        for source in SCHEMAS[::30]
        for target in SCHEMAS[::20]
    ],
    "getBacklinks": [
        {"subject": SCHEMAS[0]},
        {"subject": SCHEMAS[1], "source": f"{NS}.dataset:schemaRef", "limit": 1},
        {"subject": CASES["target_schema_never_published"][0]},
    ],
    "getDataset": [{"uri": uri} for uri in (*CASES["schema_never_published"], *DATASETS[::40])],
    "getDatasets": [
        {"uris": DATASETS[:25]},
        {"uris": DATASETS[-1]},
        {"uris": [*HIDDEN, *INVALID[:9]]},
        {"uris": CASES["markup_and_script_urls"] + CASES["metadata_packs_none"]},
    ],
    "getLens": [{"uri": uri} for uri in (*CASES["target_schema_never_published"], *LENSES[::9])],
    "getRecordStatus": [
        {"uri": uri}
        for uri in (DATASETS[0], INVALID[0], HIDDEN[0], CASES["deleted"][0], "at://did:web:a.b")
    ],
    "getSchema": [{"uri": uri} for uri in (*CASES["field_name_beyond_ascii"], *SCHEMAS[::20])],
    "getSchemaUsage": [{"uri": uri} for uri in SCHEMAS[::9]],
    "getSimilarDatasets": [{"uri": uri} for uri in DATASETS[::40]]
    + [{"uri": DATASETS[0], "limit": 50}],
    "listDatasets": [{}, {"limit": 100}, {"author": "sakura-data.test"}, {"author": "no.one.test"}],
    "listLenses": [{}, {"limit": 100}, {"author": "kestrel-vision.test"}],
    "listSchemas": [{}, {"limit": 1}, {"author": "datenwerk.test", "limit": 100}],
    "listTags": [{}, {"limit": 1}, {"limit": 100}, {"prefix": "s"}, {"prefix": "no such tag"}],
    "searchDatasets": [
        {},
        {"q": "whale"},
        {"q": "nothing is called so"},
        {"q": "image", "tags": ["segmentation", "satellite"], "sort": "oldest", "limit": 3},
        {"schema": SCHEMAS[0], "author": "reefsound.test", "limit": 100},
        {"q": "clip", "facets": FACETS, "highlight": "true", "viewableAs": SCHEMAS[0]},
        {"facets": FACETS, "facetSize": 100, "sort": "samples"},
        {"q": "segmentatoin of satelite imges", "facets": "tags"},
        {"q": 'tag:speech -field:waveform schema:@@ "a b" author:no license:', "sort": "name"},
    ],
    "searchLenses": [{}, {"q": "clip"}, {"sort": "name"}, {"sourceSchema": SCHEMAS[0]}],
    "searchSchemas": [{}, {"q": "clip"}, {"q": "Werkstück", "sort": "newest"}, {"field": "image"}],
    "suggest": [{"q": q} for q in ("s", "speech", "kestrel", "日", "", "a" * 100)],
}


@pytest.fixture(scope="module")
def api(recorded_appview: AppView) -> Iterator[Api]:
    with Api(recorded_appview.url) as api:
        yield api


def test_every_query_is_served() -> None:
    own = {nsid for nsid in lexicons().queries() if nsid.startswith(f"{NS}.")}
    assert {f"{NS}.{name}" for name in QUESTIONS} == own


@pytest.mark.parametrize("name", sorted(QUESTIONS))
def test_every_answer_is_what_its_lexicon_says(api: Api, name: str) -> None:
    for params in QUESTIONS[name]:
        lexicons().check_output(f"{NS}.{name}", api.ask(name, **params))


@pytest.mark.parametrize("name", ["listDatasets", "listSchemas", "listLenses"])
def test_every_view_of_the_index_is_what_its_lexicon_says(api: Api, name: str) -> None:
    for page in api.pages(name, limit=100):
        lexicons().check_output(f"{NS}.{name}", page)


@pytest.mark.parametrize("name", ["listDatasets", "listSchemas", "listLenses"])
def test_a_record_is_answered_as_its_author_wrote_it(api: Api, name: str) -> None:
    """To the last byte: its own CID is that of the record encoded again."""
    for view in api.walk(name):
        uri = AtUri.parse(view["uri"])
        lexicons().check_record(uri.collection, uri.rkey, view["record"])
        block = cbor2.dumps(_data(view["record"]), canonical=True)
        assert cid_text(b"\x01\x71\x12\x20" + sha256(block).digest()) == view["cid"]
        assert TRUTH["records"][view["uri"]]["cid"] == view["cid"]


def test_several_datasets_come_in_the_order_asked_without_what_is_not_there(api: Api) -> None:
    asked = [DATASETS[7], HIDDEN[1], DATASETS[3], SCHEMAS[0], INVALID[0], DATASETS[5]]
    found = api.ask("getDatasets", uris=asked)["datasets"]
    assert [view["uri"] for view in found] == [DATASETS[7], DATASETS[3], DATASETS[5]]


def test_get_answers_what_search_shows(api: Api) -> None:
    for kind in ("Dataset", "Schema", "Lens"):
        plural = {"Lens": "Lenses"}.get(kind, f"{kind}s")
        for view in api.ask(f"list{plural}", limit=5)[plural.lower()]:
            assert api.ask(f"get{kind}", uri=view["uri"]) == {kind.lower(): view}


def test_openapi_describes_every_query_with_its_parameters(api: Api) -> None:
    paths = api.get("/openapi.json").json()["paths"]
    assert set(paths) == {f"/xrpc/{nsid}" for nsid in lexicons().queries()} | {"/xrpc/_health"}
    for nsid in lexicons().queries():
        main = lexicons().document(nsid)["defs"]["main"]
        declared = main.get("parameters", {})
        operation = paths[f"/xrpc/{nsid}"]["get"]
        described = {one["name"]: one for one in operation["parameters"]}
        assert list(described) == list(declared["properties"])
        for name, definition in declared["properties"].items():
            assert described[name]["in"] == "query"
            assert described[name]["required"] is (name in declared.get("required", ()))
            schema = described[name]["schema"]
            assert schema["type"] == definition["type"]
            for word in ("enum", "default", "minimum", "maximum", "format"):
                assert schema.get(word) == definition.get(word)
        assert "422" not in operation["responses"]
        answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
        output = main["output"]["schema"]
        assert answer["required"] == list(output["required"])
        assert set(answer["properties"]) == set(output["properties"])


def test_openapi_is_valid(api: Api) -> None:
    """By the rules of OpenAPI 3.1 that such a document can break."""
    document = api.get("/openapi.json").json()
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert {"title", "version"} <= document["info"].keys()
    schemas = document["components"]["schemas"]
    assert all(re.fullmatch(r"[a-zA-Z0-9._-]+", name) for name in schemas)
    operations = []
    for path, item in document["paths"].items():
        assert path.startswith("/")
        assert item.keys() <= {"get", "put", "post", "delete", "head", "options", "patch", "trace"}
        operations += item.values()
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    for operation in operations:
        parameters = operation.get("parameters", [])
        assert len({(one["name"], one["in"]) for one in parameters}) == len(parameters)
        for parameter in parameters:
            _check_schema(parameter["schema"], schemas)
        for code, response in operation["responses"].items():
            assert re.fullmatch(r"[1-5]\d\d|default", code)
            assert response["description"]
            for content in response["content"].values():
                _check_schema(content["schema"], schemas)
    for schema in schemas.values():
        _check_schema(schema, schemas)


_TYPES = {"object", "array", "string", "integer", "boolean"}
_KEYWORDS = {
    *("type", "description", "enum", "const", "default", "format", "required", "properties"),
    *("items", "minItems", "maxItems", "minimum", "maximum", "maxLength", "anyOf"),
}


def _check_schema(schema: dict[str, Any], known: dict[str, Any]) -> None:
    if "$ref" in schema:
        assert schema["$ref"].removeprefix("#/components/schemas/") in known
        return
    assert schema.keys() <= _KEYWORDS
    assert not schema or schema.get("type") in _TYPES or "anyOf" in schema
    assert ("items" in schema) == (schema.get("type") == "array")
    assert set(schema.get("required", ())) <= schema.get("properties", {}).keys()
    for bound in ("minItems", "maxItems", "maxLength"):
        assert schema.get(bound, 0) >= 0
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
    for one in [*inner, *([schema["items"]] if "items" in schema else [])]:
        _check_schema(one, known)


def _data(value: Json) -> Any:
    """The data model's value behind its JSON form (https://atproto.com/specs/data-model)."""
    match value:
        case {"$bytes": str(), **rest} if not rest:
            return decode_bytes(value)
        case {"$link": str(cid), **rest} if not rest:
            return cbor2.CBORTag(42, b"\0" + b32decode(cid[1:].upper() + "=" * 6))
        case dict():
            return {key: _data(item) for key, item in value.items()}
        case list():
            return [_data(item) for item in value]
        case _:
            return value
