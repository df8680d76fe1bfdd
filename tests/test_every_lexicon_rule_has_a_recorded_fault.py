"""Each rule of a record is broken once in the recording, and is what the record is refused for."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from atdata_schemas.errors import ValidationError
from atdata_schemas.lexicon import lexicons
from atdata_schemas.records import KINDS, parse_record
from tests.builders import Recorded, recorded_records
from tests.fixtures.catalogue import COLLECTIONS
from tests.fixtures.faults import FAULTS

LAST = [version for version in recorded_records() if version.last]
BROKEN = [version for version in LAST if version.fault]
SOUND = [version for version in LAST if not version.fault]


def name(version: Recorded) -> str:
    rule, path = version.fault or ("none", "")
    return f"{KINDS[version.collection]}-{rule}-{path or 'rkey'}"


@pytest.mark.parametrize("version", BROKEN, ids=name)
def test_a_recorded_fault_is_refused_by_its_rule_at_its_path(version: Recorded) -> None:
    with pytest.raises(ValidationError) as caught:
        parse_record(version.collection, version.rkey, version.record)
    assert (caught.value.rule, caught.value.path) == version.fault


def test_every_recorded_record_without_a_fault_is_valid() -> None:
    assert len(SOUND) > 350
    for version in SOUND:
        assert parse_record(version.collection, version.rkey, version.record)


def test_the_recording_breaks_every_rule_the_faults_were_written_for() -> None:
    written = {(COLLECTIONS[kind], rule, path) for kind, rule, path, _ in FAULTS}
    recorded = {(version.collection, *version.fault) for version in BROKEN if version.fault}
    assert written <= recorded
    assert len(BROKEN) >= len(FAULTS)


CODE_RULES = {
    "schema": {"key", "semver", "identifier", "reference", "union"},
    "dataset": {"key", "reference"},
    "lens": {"key", "reference", "union"},
}
"""Rules that are no keyword of a string, integer, array or object in the lexicon."""

NO_RULE_OF_THEIR_OWN = {"items", "properties", "ref", "refs", "default", "const", "nullable"}
"""Keywords that say where rules are; `const` only tells members of a union apart."""


def keywords(nsid: str, definition: Mapping[str, Any], seen: frozenset[str]) -> Iterator[str]:
    """Every keyword that a record of the lexicon can break."""
    yield "type"
    yield from definition.keys() - {"type", "description"} - NO_RULE_OF_THEIR_OWN
    inner = [*definition.get("properties", {}).values()]
    inner += [definition["items"]] if "items" in definition else []
    refs = {definition["ref"]} if "ref" in definition else {*definition.get("refs", ())}
    for ref in refs - seen:
        assert ref.startswith("#"), "a record refers to its own document only"
        inner.append(lexicons().document(nsid)["defs"][ref[1:]])
    for child in inner:
        yield from keywords(nsid, child, seen | refs)


@pytest.mark.parametrize("nsid", KINDS)
def test_every_keyword_of_a_record_lexicon_has_a_recorded_fault(nsid: str) -> None:
    main = lexicons().document(nsid)["defs"]["main"]["record"]
    needed = set(keywords(nsid, main, frozenset())) | CODE_RULES[KINDS[nsid]]
    shown = {version.fault[0] for version in BROKEN if version.fault and version.collection == nsid}
    assert {"required", "type", "maxLength", "format"} < needed
    assert needed == shown


@pytest.mark.parametrize("nsid", KINDS)
def test_every_required_and_every_bounded_property_has_a_recorded_fault_of_its_own(
    nsid: str,
) -> None:
    shown = {
        (version.fault[0], version.fault[1].rpartition(".")[2].partition("[")[0])
        for version in BROKEN
        if version.fault and version.collection == nsid
    }
    needed = set()
    for definition in lexicons().document(nsid)["defs"].values():
        definition = definition.get("record", definition)
        needed |= {("required", name) for name in definition.get("required", ()) if name != "kind"}
        for name, declared in definition["properties"].items():
            bounds = declared.keys() & {"maxLength", "minLength", "minimum", "enum"}
            needed |= {(bound, name) for bound in bounds}
            bounds = declared.get("items", {}).keys() & {"maxLength", "minimum"}
            needed |= {(bound, name) for bound in bounds}
    assert len(needed) > 8
    assert needed <= shown
