"""The index client has a method for every query, with every parameter of its lexicon."""

import inspect
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from atdata_client import IndexClient
from atdata_schemas.lexicon import lexicons
from tests.canned_index import DID, Canned, canned_index

NS = "app.bsky.atdata"
RECORD = f"at://{DID}/{NS}.schema/3bbbbbbbbbbbb"

METHODS = {
    "describeService": "describe",
    "findLensPaths": "find_lens_paths",
    "getBacklinks": "backlinks",
    "getDataset": "get_dataset",
    "getDatasets": "get_datasets",
    "getLens": "get_lens",
    "getRecordStatus": "record_status",
    "getSchema": "get_schema",
    "getSchemaUsage": "schema_usage",
    "getSimilarDatasets": "similar_datasets",
    "listDatasets": "list_datasets",
    "listLenses": "list_lenses",
    "listSchemas": "list_schemas",
    "listTags": "list_tags",
    "searchDatasets": "search_datasets",
    "searchLenses": "search_lenses",
    "searchSchemas": "search_schemas",
    "suggest": "suggest",
}
OTHER_NAMES = {"tagMatch": "match"}
VALUES: Mapping[str, Any] = {
    "q": "a b",
    "author": "alice.example.com",
    "namespace": NS,
    "schema": "Photo@^1.0",
    "field": ["image:ndarray", "label"],
    "createdAfter": datetime(2026, 1, 2, tzinfo=UTC),
    "createdBefore": datetime(2026, 1, 3, tzinfo=UTC),
    "source": RECORD,
    "prefix": "sp",
}
"""What to ask for where it cannot be made from the type."""


def parameters_of(name: str) -> Mapping[str, Any]:
    main = lexicons().document(f"{NS}.{name}")["defs"]["main"]
    properties: Mapping[str, Any] = main["parameters"]["properties"]
    return properties


def argument(parameter: str) -> str:
    """What a parameter is called in Python."""
    snake = re.sub(r"[A-Z]", lambda capital: f"_{capital[0].lower()}", parameter)
    return OTHER_NAMES.get(parameter, snake)


def value_of(parameter: str, declared: Mapping[str, Any]) -> Any:
    """A value that is not the default."""
    if parameter in VALUES:
        return VALUES[parameter]
    match declared:
        case {"type": "array", "items": items}:
            return [value_of("", items)]
        case {"enum": choices}:
            return next(choice for choice in choices if choice != declared.get("default"))
        case {"type": "integer"}:
            return declared.get("maximum", 9)
        case {"type": "boolean"}:
            return not declared["default"]
        case {"format": "at-uri"}:
            return RECORD
        case _:
            return "word"


def test_every_query_has_a_method() -> None:
    own = {nsid for nsid in lexicons().queries() if nsid.startswith(f"{NS}.")}
    assert {f"{NS}.{name}" for name in METHODS} == own
    public = {name for name in dir(IndexClient) if not name.startswith("_")}
    assert public - set(METHODS.values()) == {"changes", "close", "url"}


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_takes_what_its_query_takes_and_no_more(name: str) -> None:
    taken = set(inspect.signature(getattr(IndexClient, METHODS[name])).parameters) - {"self"}
    assert taken == {argument(parameter) for parameter in parameters_of(name)} - {"cursor"}


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_sends_every_parameter_as_the_lexicon_has_it(name: str) -> None:
    declared = {one: about for one, about in parameters_of(name).items() if one != "cursor"}
    arguments = {argument(one): value_of(one, about) for one, about in declared.items()}
    with canned_index(Canned({})) as canned, IndexClient(canned.url) as index:
        with pytest.raises(Exception, match=rf"not the answer of {name}"):
            ended(getattr(index, METHODS[name])(**arguments))
        [asked] = canned.asked
    assert asked.path == f"/xrpc/{NS}.{name}"
    assert asked.headers["user-agent"].startswith("atdata-appview/")
    sent = lexicons().parse_params(f"{NS}.{name}", asked.params)
    assert set(sent) == set(declared)
    for one, value in sent.items():
        given = arguments[argument(one)]
        if isinstance(given, datetime):
            given = given.isoformat().replace("+00:00", "Z")
        assert value == given
        assert value != declared[one].get("default") or one == "limit"


@pytest.mark.parametrize("name", sorted(METHODS))
def test_what_is_not_given_is_not_sent(name: str) -> None:
    main = lexicons().document(f"{NS}.{name}")["defs"]["main"]
    declared = main["parameters"]["properties"]
    required = main["parameters"].get("required", ())
    arguments = {argument(one): value_of(one, declared[one]) for one in required}
    with canned_index(Canned({})) as canned, IndexClient(canned.url) as index:
        with pytest.raises(Exception, match=rf"not the answer of {name}"):
            ended(getattr(index, METHODS[name])(**arguments))
        [asked] = canned.asked
    assert {one for one, _ in asked.params} - set(required) <= {"limit"}


def ended(answer: object) -> object:
    """An answer; the first page of it where it has pages."""
    return next(answer) if isinstance(answer, Iterator) else answer
