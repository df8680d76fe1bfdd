"""What is linked to what: the versions and twins of a schema, who uses it, who links to a record.

Functions over a snapshot, which ask the index and read no more views than they show.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import tantivy

from atdata_indexer.index import cursor as paging
from atdata_indexer.index.cursor import Position
from atdata_indexer.index.fields import LINKS, fold
from atdata_indexer.index.query import among, any_of, between, but, every, term
from atdata_indexer.index.snapshot import Snapshot
from atdata_indexer.index.structure import structure
from atdata_schemas.lexicon import Json
from atdata_schemas.records import COLLECTIONS
from atdata_schemas.versions import SchemaName, Version

MOST_SCHEMAS = 2_000
"""So many schemas of one name are searched, the newest first."""

_SOURCES = [
    f"{collection}:{path}" for collection, kind in COLLECTIONS.items() for path in LINKS[kind]
]

MOST_SHOWN = 25
MOST_VERSIONS = 10_000


@dataclass(frozen=True, slots=True)
class Usage:
    """How much a schema is used. `newer` and `identical` are schema views."""

    schema: Mapping[str, Json]
    datasets: int
    lenses_from: int
    lenses_to: int
    newer: Sequence[str]
    identical: Sequence[str]


@dataclass(frozen=True, slots=True)
class Backlinks:
    """A page of records that link to one, the newest first, as JSON texts; `total` is of all."""

    views: Sequence[str]
    total: int
    cursor: str | None


def resolve_schema(snapshot: Snapshot, reference: SchemaName) -> tuple[list[int], bool]:
    """The keys of the schemas that a name and range stand for, and whether there are more."""
    query = _named(reference.name)
    if reference.range is not None:
        versions = _versions(snapshot, query)
        matching = [text for text, one in versions.items() if reference.range.matches(one)]
        if not matching:
            return [], False
        query = every(query, among("version", matching))
    addresses, _ = snapshot.first(query, MOST_SCHEMAS + 1, "created", descending=True)
    cut = len(addresses) > MOST_SCHEMAS
    return snapshot.values("key", addresses[:MOST_SCHEMAS]), cut


def usage(snapshot: Snapshot, uri: str) -> Usage | None:
    """Who uses a schema, and what stands beside it; None when nothing is known of it."""
    datasets, lenses_from, lenses_to = (
        snapshot.count(term(name, uri)) for name in ("schema", "source", "target")
    )
    found = snapshot.best(every(term("kind", "schema"), term("uri", uri)), 1)
    if found:
        view: dict[str, Any] = json.loads(snapshot.view(found[0]))
        newer, identical = list(_newer(snapshot, view)), _identical(snapshot, view)
        return Usage(_link(view), datasets, lenses_from, lenses_to, newer, identical)
    if datasets or lenses_from or lenses_to:
        missing = {"uri": uri, "status": "missing"}
        return Usage(missing, datasets, lenses_from, lenses_to, (), ())
    return None


def backlinks(
    snapshot: Snapshot, subject: str, source: str | None, limit: int, cursor: str | None
) -> Backlinks:
    """The records that link to `subject`, or those that do so from `source` (`collection:path`).

    Raises InvalidCursor.
    """
    sources = _SOURCES if source is None else [source]
    query = any_of(*(term("ref", f"{one} {subject}") for one in sources))
    asked = f"{source or ''} {subject}"
    total = snapshot.count(query)
    if cursor is not None:
        (after,) = paging.decode(cursor, asked, 1).key
        query = every(query, between("created", None, after - 1))
    addresses, times = snapshot.first(query, limit + 1, "created", descending=True)
    views = snapshot.views(addresses[:limit])
    shown = [_backlink(view, subject) for view in views]
    if len(views) == len(addresses):
        return Backlinks(shown, total, None)
    return Backlinks(
        shown, total, paging.encode(Position(times[len(views) - 1 : len(views)]), asked)
    )


def _named(name: str) -> tantivy.Query:
    return every(term("kind", "schema"), term("name", fold(name)))


def _versions(snapshot: Snapshot, query: tantivy.Query) -> dict[str, Version]:
    """The versions of the schemas that match, by their text."""
    terms = {"field": "version", "size": MOST_VERSIONS, "segment_size": MOST_VERSIONS}
    found = snapshot.aggregate(query, {"versions": {"terms": terms}})
    texts: Iterable[str] = (bucket["key"] for bucket in found["versions"]["buckets"])
    return {text: _version(text) for text in texts}


@lru_cache(maxsize=8192)
def _version(text: str) -> Version:
    return Version.parse(text)


def _newer(snapshot: Snapshot, view: Mapping[str, Any]) -> Iterator[str]:
    """Schemas of the same author and name with a higher version, upwards."""
    record = view["record"]
    own = Version.parse(record["version"])
    query = every(_named(record["name"]), term("did", view["author"]["did"]))
    higher = [(one, text) for text, one in _versions(snapshot, query).items() if one > own]
    room = MOST_SHOWN
    for _, text in sorted(higher):
        if not room:
            return
        of_it = every(query, term("version", text))
        addresses, _ = snapshot.first(of_it, room, "created", descending=True)
        room -= len(addresses)
        yield from snapshot.views(addresses)


def _identical(snapshot: Snapshot, view: Mapping[str, Any]) -> Sequence[str]:
    """Other schemas of the same fields, the newest first."""
    shape = structure(json.dumps(view["record"])).shape
    others = but(term("shape", shape), term("uri", view["uri"]))
    addresses, _ = snapshot.first(others, MOST_SHOWN, "created", descending=True)
    return snapshot.views(addresses)


def _link(view: Mapping[str, Any]) -> Mapping[str, Json]:
    """A schema view as a link to it."""
    known = {name: view["record"][name] for name in ("name", "version")}
    return {"uri": view["uri"], "status": "indexed", "cid": view["cid"]} | known


def _backlink(text: str, subject: str) -> str:
    """A record's view as one of those that link to `subject`."""
    view: dict[str, Any] = json.loads(text)
    collection = view["uri"].split("/")[3]
    sources = [
        f"{collection}:{path}"
        for path in LINKS[COLLECTIONS[collection]]
        if subject in _values(view["record"], path)
    ]
    shown = {name: view[name] for name in ("uri", "cid", "author", "indexedAt")}
    return json.dumps(shown | {"sources": sources}, ensure_ascii=False)


def _values(record: Mapping[str, Any], path: str) -> list[Any]:
    """What stands at a path of LINKS."""
    values: list[Any] = [record]
    for part in path.split("."):
        values = [value[name] for value in values if (name := part.removesuffix("[]")) in value]
        if part.endswith("[]"):
            values = [item for value in values for item in value]
    return values
