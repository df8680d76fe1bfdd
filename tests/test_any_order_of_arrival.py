"""In whatever order schemas, datasets, lenses, handles and accounts arrive, all ends the same.

Each lane is what one record, handle or account goes through; its own order is kept, as revs and
sources keep it. How far each lane comes, how the lanes are interleaved, and which changes reach
tantivy together is drawn at random.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atdata_indexer.changes import Row
from atdata_indexer.index.facets import NAMES
from atdata_indexer.index.fields import document
from atdata_indexer.index.query import Search
from tests.contents import searchable
from tests.small_index import ALICE, BOB, DATASET, LENS, NOW_US, SCHEMA, SmallIndex, row

type Step = Row | Callable[[SmallIndex], None]
"""A row that is stored, or what else happens."""

CAROL = "did:plc:carolcarolcarolcarolcarol"
RKEYS = {"photo": 1, "scan": 2, "newer": 3, "birds": 4, "bones": 5, "crop": 6, "grey": 7, "back": 8}


def uri_of(did: str, collection: str, rkey: str) -> str:
    return f"at://{did}/{collection}/{rkey}"


PHOTO = uri_of(ALICE, SCHEMA, "photo")
SCAN = uri_of(BOB, SCHEMA, "scan")


def record(did: str, collection: str, rkey: str, rev: int, body: dict[str, Any]) -> Row:
    """A row of this body, of a time of its own: equal times are told apart by their arrival."""
    columns = {
        "name": body["name"],
        "version": body.get("version"),
        "schema_uri": body.get("schemaRef", body.get("sourceSchema")),
        "target_uri": body.get("targetSchema"),
        "created_us": NOW_US - 10**9 * RKEYS.get(rkey, 9) - len(did + collection),
    }
    body = {"$type": collection, **body}
    return row(did, collection, rkey, json.dumps(body), rev=f"3m{rev:011}", **columns)


def a_schema(did: str, rkey: str, rev: int, name: str, version: str, *fields: str) -> Row:
    described = [
        {"name": one, "type": {"kind": "ndarray", "dtype": "uint8"}, "optional": False}
        for one in fields
    ]
    body = {"name": name, "version": version, "fields": described}
    return record(did, SCHEMA, rkey, rev, body)


def a_dataset(did: str, rkey: str, rev: int, name: str, schema: str, *tags: str) -> Row:
    return record(did, DATASET, rkey, rev, {"name": name, "schemaRef": schema, "tags": [*tags]})


def a_lens(did: str, rkey: str, rev: int, source: str, target: str) -> Row:
    body = {"name": rkey, "sourceSchema": source, "targetSchema": target}
    return record(did, LENS, rkey, rev, body)


def without(gone: Row, rev: int) -> Row:
    """The tombstone of a row."""
    nothing = dict.fromkeys(("cid", "body", "created_us", "name", "version"))
    return replace(gone, state="deleted", rev=f"3m{rev:011}", **nothing)  # type: ignore[arg-type]


def handle(did: str, name: str | None) -> Step:
    return lambda index: index.handle(did, name)


def account(did: str, status: str) -> Step:
    active = status == "active"
    return lambda index: index.account(did, active, None if active else status)


BIRDS = a_dataset(BOB, "birds", 1, "Garden birds", PHOTO, "birds")
CROP = a_lens(CAROL, "crop", 1, PHOTO, SCAN)
SECOND = a_schema(ALICE, "photo", 2, "Picture", "1.1.0", "pixels", "caption")
LANES: Sequence[Sequence[Step]] = (
    [
        a_schema(ALICE, "photo", 1, "Photo", "1.0.0", "image"),
        SECOND,
        without(SECOND, 3),
        a_schema(ALICE, "photo", 4, "Photo", "2.0.0", "image", "label"),
    ],
    [a_schema(BOB, "scan", 1, "Scan", "1.0.0", "volume")],
    [a_schema(ALICE, "newer", 1, "Photo", "2.1.0", "label", "image")],
    [
        BIRDS,
        a_dataset(BOB, "birds", 2, "Garden finches", PHOTO, "birds", "song"),
        without(BIRDS, 3),
    ],
    [
        a_dataset(ALICE, "bones", 1, "Bones", PHOTO, "ct"),
        a_dataset(ALICE, "bones", 2, "Bones", SCAN),
    ],
    [
        CROP,
        a_lens(CAROL, "crop", 2, SCAN, PHOTO),
        without(CROP, 3),
        a_lens(CAROL, "crop", 4, PHOTO, SCAN),
    ],
    [a_lens(BOB, "grey", 1, SCAN, PHOTO)],
    [handle(ALICE, "alice.test"), handle(ALICE, "garden.test")],
    [handle(BOB, "bob.test"), handle(BOB, None)],
    [account(ALICE, "deactivated"), account(ALICE, "active"), account(ALICE, "takendown")],
    [account(BOB, "suspended"), account(BOB, "active")],
    [account(CAROL, "deactivated"), account(CAROL, "active")],
)
START = [
    a_dataset(did, "start", 1, "Known before", "at://nobody.test/x/y")
    for did in (ALICE, BOB, CAROL)
]
"""An account of which nothing is known has neither handle nor state."""

SEARCHES: Sequence[Search] = (
    *(Search("dataset", q) for q in ("birds", "photo", "picture", "image", "pixels", "label")),
    *(Search("dataset", q) for q in ("garden", "alice", "bob", "volume", "-birds")),
    Search("dataset", "author:bob.test"),
    *(Search("dataset", schema=text) for text in (PHOTO, SCAN, "Photo", "Photo@^1.0", "Photo@>=2")),
    *(Search("dataset", viewable_as=uri) for uri in (PHOTO, SCAN)),
    *(Search("dataset", fields=[one]) for one in ("image", "pixels:ndarray:uint8", "volume")),
    *(Search("dataset", author=one) for one in ("alice.test", "garden.test", "bob.test", BOB)),
    Search("dataset", tags=["birds"]),
    Search("schema", "photo"),
    Search("schema", fields=["label"]),
    Search("schema", author="garden.test"),
    Search("lens", source=PHOTO),
    Search("lens", target=PHOTO),
    Search("lens", "picture"),
)  # fmt: skip


def apply(index: SmallIndex, steps: Sequence[tuple[Step, bool]]) -> None:
    """Each step, and whether tantivy follows at once; at the end it does."""
    for step, at_once in steps:
        if not isinstance(step, Row):
            step(index)
        elif at_once:
            index.put([step])
        else:
            index.store_only([step])
    index.writer.catch_up()
    index.reader.refresh()


def documents(index: SmallIndex) -> dict[str, dict[str, Any]]:
    """Every document that the database makes."""
    return {one.uri: document(one) for batch in index.store.load_all() for one in batch}


def answers(index: SmallIndex) -> dict[str, Any]:
    """What the index itself says: it was never made anew, only brought up to date."""
    reader = index.reader
    found: dict[str, Any] = {"views": searchable(reader)}
    for search in SEARCHES:
        facets = NAMES if search.kind == "dataset" else ()
        page = reader.search(search, sort="newest", facets=facets)
        counted = {facet.name: sorted(map(str, facet.values)) for facet in page.facets or ()}
        views = [json.loads(view) for view in page.views]
        found[search.identity] = (page.total, views, counted)
    for uri in (PHOTO, SCAN):
        usage = reader.usage(uri)
        found[f"usage {uri}"] = usage and asdict(usage)
        found[f"backlinks {uri}"] = reader.backlinks(uri, None, 50, None).views
    found["there"] = reader.lens_paths(PHOTO, SCAN, 4, 10)
    found["back"] = reader.lens_paths(SCAN, PHOTO, 4, 10)
    found["tags"] = reader.tags(50)
    found["counts"] = reader.counts()
    return found


@settings(
    deadline=None,
    max_examples=8,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_order_ends_in_the_same_documents_and_answers(data: st.DataObject) -> None:
    lanes = [lane[: data.draw(st.integers(0, len(lane)))] for lane in LANES]
    turns = [number for number, lane in enumerate(lanes) for _ in lane]
    waiting = [iter(lane) for lane in lanes]
    shuffled = [next(waiting[turn]) for turn in data.draw(st.permutations(turns))]
    at_once = data.draw(st.lists(st.booleans(), min_size=len(turns), max_size=len(turns)))
    straight = [(step, True) for lane in lanes for step in lane]
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        first, second = SmallIndex(Path(one)), SmallIndex(Path(other))
        first.put(START)
        second.put(START)
        apply(first, straight)
        apply(second, list(zip(shuffled, at_once, strict=True)))
        assert documents(second) == documents(first)
        expected = answers(first)
        assert expected["views"].keys() == documents(first).keys()
        assert answers(second) == expected
        first.close()
        second.close()
