"""What is linked to what: versions and twins of a schema, who uses it, who links to a record."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atdata_indexer.changes import Row
from atdata_indexer.index import links
from atdata_indexer.index.cursor import InvalidCursor
from atdata_indexer.index.fields import key_of, open_index
from atdata_indexer.index.links import Backlinks, resolve_schema
from atdata_indexer.index.query import Search
from atdata_indexer.index.snapshot import Snapshot
from atdata_indexer.index.writer import current
from atdata_schemas.versions import SchemaName, parse_schema_reference
from tests.small_index import (
    ALICE,
    BOB,
    DATASET,
    LENS,
    NOW_US,
    SCHEMA,
    SmallIndex,
    dataset,
    lens,
    row,
)

IMAGE = {"name": "image", "type": {"kind": "ndarray", "dtype": "uint8"}}
LABEL = {"name": "label", "type": {"kind": "primitive", "primitive": "str"}}
NEWER = "3mzzzzzzzzzz2"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SmallIndex]:
    small = SmallIndex(tmp_path)
    yield small
    small.close()


def photo(
    number: int,
    version: str = "1.0.0",
    *,
    name: str = "Photo",
    did: str = ALICE,
    fields: Iterable[Mapping[str, Any]] = (IMAGE, LABEL),
    **more: Any,
) -> Row:
    """A schema; those of higher numbers are newer."""
    record = {"$type": SCHEMA, "name": name, "version": version, "fields": [*fields]}
    return row(
        did,
        SCHEMA,
        f"3k{number:011d}",
        json.dumps(record),
        name=name,
        version=version,
        created_us=NOW_US + number,
        **more,
    )


def deleted(live: Row) -> Row:
    return replace(live, rev=NEWER, state="deleted", cid=None, body=None)


def snapshot_of(index: SmallIndex) -> Snapshot:
    folder = index.folder / "index"
    generation = current(folder)
    assert generation is not None
    return Snapshot.of(open_index(str(folder / generation)), generation)


def resolved(index: SmallIndex, text: str) -> list[int]:
    reference = parse_schema_reference(text)
    assert isinstance(reference, SchemaName)
    keys, cut = resolve_schema(snapshot_of(index), reference)
    assert not cut
    return keys


def keys(rows: Iterable[Row]) -> list[int]:
    return [key_of(one.uri) for one in rows]


def uris(views: Iterable[str]) -> list[str]:
    return [json.loads(view)["uri"] for view in views]


def all_backlinks(
    index: SmallIndex, subject: str, source: str | None = None, limit: int = 2
) -> list[dict[str, Any]]:
    """Every page of the back-links; each says the same total."""
    found: list[dict[str, Any]] = []
    totals = set()
    cursor = None
    while True:
        page = links.backlinks(snapshot_of(index), subject, source, limit, cursor)
        assert len(page.views) <= limit
        found += map(json.loads, page.views)
        totals.add(page.total)
        cursor = page.cursor
        if cursor is None:
            break
    assert totals == {len(found)}
    return found


def test_a_name_with_a_range_stands_for_the_schemas_of_these_versions(index: SmallIndex) -> None:
    versions = ["0.9.0", "1.0.0", "1.2.0-rc.1", "1.2.0", "1.10.0+build", "2.0.0"]
    old, one, candidate, two, ten, next_one = rows = [
        photo(number, version) for number, version in enumerate(versions)
    ]
    index.put([*rows, photo(20, "1.5.0", name="Photograph")])
    assert resolved(index, "Photo") == keys(reversed(rows))
    assert resolved(index, "Photo@*") == keys([next_one, ten, two, one, old])
    assert resolved(index, "Photo@^1.0") == keys([ten, two, one])
    assert resolved(index, "Photo@>=1.2 <2") == keys([ten, two])
    assert resolved(index, "Photo@1.2.0-rc.1") == keys([candidate])
    assert resolved(index, "Photo@1.10.0") == keys([ten])
    assert resolved(index, "Photo@3") == []
    assert resolved(index, "Phot") == []


def test_names_of_schemas_match_whatever_the_case_and_the_author(index: SmallIndex) -> None:
    own, other = photo(1), photo(2, did=BOB, name="ＰHOTO")
    index.put([own, other, dataset(own.uri), lens(own.uri, own.uri)])
    assert resolved(index, "photo@1") == keys([other, own])
    index.put([deleted(other)])
    assert resolved(index, "photo@1") == keys([own])
    index.account(ALICE, active=False, status="takendown")
    assert resolved(index, "photo@1") == []


def test_datasets_are_found_by_their_schemas_name_and_version(index: SmallIndex) -> None:
    old, new = photo(1, "1.0.0"), photo(2, "2.1.0")
    of_old, of_new = dataset(old.uri), dataset(new.uri, rkey="3kdatasetbbbb")
    index.put([old, new, of_old, of_new])
    index.reader.refresh()

    def found(schema: str) -> set[str]:
        return set(uris(index.reader.search(Search("dataset", schema=schema)).views))

    assert found("Photo") == {of_old.uri, of_new.uri}
    assert found("Photo@^2") == {of_new.uri}
    assert found(old.uri) == {of_old.uri}
    assert found("Photo@3") == set()


def test_of_too_many_schemas_of_one_name_the_newest_are_searched(
    index: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [photo(number) for number in range(4)]
    index.put(rows)
    for most, cut in ((3, True), (4, False)):
        monkeypatch.setattr(links, "MOST_SCHEMAS", most)
        for reference in ("Photo", "Photo@1"):
            name = parse_schema_reference(reference)
            assert isinstance(name, SchemaName)
            found = resolve_schema(snapshot_of(index), name)
            assert found == (keys(reversed(rows))[:most], cut)


def test_the_usage_of_a_schema_counts_what_is_visible(index: SmallIndex) -> None:
    one, other = photo(1, fields=[IMAGE]), photo(2, name="Label", fields=[LABEL])
    index.put([one, other, dataset(one.uri), dataset(one.uri, ALICE, "3kdatasetbbbb")])
    index.put([lens(one.uri, other.uri), lens(one.uri, one.uri, ALICE)])
    index.reader.refresh()
    usage = index.reader.usage(one.uri)
    assert usage is not None
    assert usage.schema == {
        "uri": one.uri,
        "status": "indexed",
        "cid": one.cid,
        "name": "Photo",
        "version": "1.0.0",
    }
    assert (usage.datasets, usage.lenses_from, usage.lenses_to) == (2, 2, 1)
    assert (list(usage.newer), list(usage.identical)) == ([], [])
    index.account(BOB, active=False, status="deactivated")
    index.reader.refresh()
    usage = index.reader.usage(one.uri)
    assert usage is not None
    assert (usage.datasets, usage.lenses_from, usage.lenses_to) == (1, 1, 1)


def test_of_a_missing_schema_the_usage_is_known_where_there_is_any(index: SmallIndex) -> None:
    gone = photo(1).uri
    index.put([dataset(gone)])
    usage = links.usage(snapshot_of(index), gone)
    assert usage is not None
    assert usage.schema == {"uri": gone, "status": "missing"}
    assert (usage.datasets, usage.lenses_from, usage.lenses_to) == (1, 0, 0)
    assert links.usage(snapshot_of(index), photo(2).uri) is None


def test_newer_versions_are_those_of_the_same_author_and_name_upwards(index: SmallIndex) -> None:
    rows = [photo(n, v) for n, v in enumerate(["1.10.0", "1.2.0", "2.0.0-rc.1", "1.0.0", "1.9.0"])]
    ten, two, candidate, one, nine = rows
    again = photo(9, "1.9.0", name="PHOTO")
    others = [photo(20, "3.0.0", did=BOB), photo(21, "3.0.0", name="Photograph")]
    index.put([*rows, again, *others])

    def newer(schema: Row) -> list[str]:
        usage = links.usage(snapshot_of(index), schema.uri)
        assert usage is not None
        return uris(usage.newer)

    assert newer(two) == [again.uri, nine.uri, ten.uri, candidate.uri]
    assert newer(candidate) == []
    index.put([deleted(nine)])
    assert newer(one) == [two.uri, again.uri, ten.uri, candidate.uri]


def test_at_most_so_many_newer_and_identical_schemas_are_shown(index: SmallIndex) -> None:
    rows = [photo(number, f"1.{number}.0") for number in range(links.MOST_SHOWN + 5)]
    index.put(rows)
    usage = links.usage(snapshot_of(index), rows[0].uri)
    assert usage is not None
    assert uris(usage.newer) == [one.uri for one in rows[1 : links.MOST_SHOWN + 1]]
    newest_first = [one.uri for one in reversed(rows[1:])]
    assert uris(usage.identical) == newest_first[: links.MOST_SHOWN]


def test_schemas_of_the_same_fields_are_identical_whatever_their_order_and_name(
    index: SmallIndex,
) -> None:
    own, twin = photo(1), photo(2, "7.0.0", name="Bild", did=BOB, fields=[LABEL, IMAGE])
    described = photo(3, fields=[IMAGE | {"description": "what is seen"}, LABEL])
    optional = photo(4, fields=[IMAGE | {"optional": True}, LABEL])
    fewer = photo(5, fields=[IMAGE])
    index.put([own, twin, described, optional, fewer])
    usage = links.usage(snapshot_of(index), own.uri)
    assert usage is not None
    assert uris(usage.identical) == [described.uri, twin.uri]
    index.account(BOB, active=False, status="suspended")
    usage = links.usage(snapshot_of(index), own.uri)
    assert usage is not None
    assert uris(usage.identical) == [described.uri]


def linking(index: SmallIndex) -> tuple[str, Sequence[Row]]:
    """A schema, and records that link to it, the oldest first."""
    subject = photo(1)
    nested = {"kind": "nested", "schemaRef": subject.uri}
    album = photo(2, name="Album", fields=[{"name": n, "type": nested} for n in ("best", "all")])
    rows = [
        album,
        dataset(subject.uri, created_us=NOW_US + 3),
        lens(subject.uri, subject.uri, created_us=NOW_US + 4),
        lens(album.uri, subject.uri, rkey="3klensbbbbbbb", created_us=NOW_US + 5),
        dataset(subject.uri, ALICE, "3kdatasetbbbb", created_us=NOW_US + 6),
    ]
    index.put([subject, *rows, dataset(album.uri, rkey="3kdatasetcccc")])
    return subject.uri, rows


def test_backlinks_are_all_records_that_link_to_one_the_newest_first(index: SmallIndex) -> None:
    subject, rows = linking(index)
    for limit in (1, 2, 5, 100):
        found = all_backlinks(index, subject, limit=limit)
        assert [one["uri"] for one in found] == [one.uri for one in reversed(rows)]
    assert found[0]["cid"] == rows[-1].cid
    assert found[0]["author"] == {"did": ALICE, "handle": "handle.invalid"}
    assert set(found[0]) == {"uri", "cid", "author", "sources", "indexedAt"}
    assert all_backlinks(index, rows[1].uri) == []


def test_a_record_that_links_twice_is_one_backlink_with_both_places(index: SmallIndex) -> None:
    subject, rows = linking(index)
    sources = {one["uri"]: one["sources"] for one in all_backlinks(index, subject)}
    assert sources == {
        rows[0].uri: [f"{SCHEMA}:fields[].type.schemaRef"],
        rows[1].uri: [f"{DATASET}:schemaRef"],
        rows[2].uri: [f"{LENS}:sourceSchema", f"{LENS}:targetSchema"],
        rows[3].uri: [f"{LENS}:targetSchema"],
        rows[4].uri: [f"{DATASET}:schemaRef"],
    }
    for source in {one for found in sources.values() for one in found}:
        expected = {uri for uri, places in sources.items() if source in places}
        assert {one["uri"] for one in all_backlinks(index, subject, source)} == expected
    assert all_backlinks(index, subject, f"{LENS}:schemaRef") == []


def test_a_walk_over_backlinks_goes_on_while_records_come_and_go(index: SmallIndex) -> None:
    subject, rows = linking(index)
    index.reader.refresh()
    first: Backlinks = index.reader.backlinks(subject, None, 2, None)
    assert uris(first.views) == [rows[4].uri, rows[3].uri]
    index.put([dataset(subject, rkey="3kdatasetdddd", created_us=NOW_US + 9), deleted(rows[3])])
    index.reader.refresh()
    rest = index.reader.backlinks(subject, None, 9, first.cursor)
    assert uris(rest.views) == [rows[2].uri, rows[1].uri, rows[0].uri]
    assert (rest.total, rest.cursor) == (5, None)


def test_a_cursor_of_another_walk_is_refused(index: SmallIndex) -> None:
    subject, _ = linking(index)
    snapshot = snapshot_of(index)
    cursor = links.backlinks(snapshot, subject, None, 1, None).cursor
    assert cursor is not None
    for other, source in ((photo(2).uri, None), (subject, f"{DATASET}:schemaRef")):
        with pytest.raises(InvalidCursor):
            links.backlinks(snapshot, other, source, 1, cursor)


def test_datasets_viewable_as_a_schema_come_with_the_lenses_that_lead_to_it(
    index: SmallIndex,
) -> None:
    one, two, three, alone = (photo(number) for number in range(1, 5))
    first = lens(one.uri, two.uri)
    second = lens(two.uri, three.uri, rkey="3klensbbbbbbb")
    datasets = [
        dataset(schema.uri, rkey=f"3kdataset{number:04d}")
        for number, schema in enumerate((one, two, three, alone))
    ]
    index.put([one, two, three, alone, first, second, *datasets])
    index.reader.refresh()
    page = index.reader.search(Search("dataset", viewable_as=three.uri))
    found = {view["uri"]: view["lensPath"] for view in map(json.loads, page.views)}
    assert found == {
        datasets[0].uri: [first.uri, second.uri],
        datasets[1].uri: [second.uri],
        datasets[2].uri: [],
    }
    assert (page.total, page.cut) == (3, False)
    paths = index.reader.lens_paths(one.uri, three.uri, 4, 10)
    assert [uris(path) for path in paths.paths] == [[first.uri, second.uri]]
