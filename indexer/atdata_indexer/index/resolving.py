"""From what people write to records: accounts by handle, schemas and labels by author and name.

Functions over a snapshot. What was deleted is never found, though its terms may still be there.
"""

import json
from collections.abc import Iterator
from typing import Any

import tantivy

from atdata_indexer.index.fields import fold
from atdata_indexer.index.query import among, any_of, every, term
from atdata_indexer.index.snapshot import Snapshot
from atdata_schemas import alt
from atdata_schemas.errors import ValidationError
from atdata_schemas.versions import Version

MOST = 2_000
"""So many schemas of one name, or labels of one, are looked at, the newest first."""

_SEPARATORS = "@:~_-."
"""What may stand in a record key between the name of a schema and its version."""


def account(snapshot: Snapshot, identifier: str) -> str | None:
    """The DID of an account with records in the index, by its DID or its verified handle."""
    if identifier.startswith("did:"):
        return identifier
    found = snapshot.best(term("handle", identifier.lower()), 1)
    if not found:
        return None
    did: str = json.loads(snapshot.view(found[0]))["author"]["did"]
    return did


def schema_of(snapshot: Snapshot, did: str, named: str, version: str | None) -> str | None:
    """The view of an author's schema of `science.alt.dataset`, by name or by its record key without
    the version: this version, or the highest.
    """
    found = [
        (Version.parse(view["record"]["version"]), text)
        for view, text in _schemas(snapshot, did, named)
        if version is None or view["record"]["version"] == version
    ]
    return max(found, key=lambda one: one[0])[1] if found else None


def label_of(snapshot: Snapshot, did: str, name: str, version: str | None) -> str | None:
    """The view of an author's label: of this version, or the one that was made last."""
    query = every(term("kind", "label"), term("did", did), term("name", fold(name)))
    for view, text in _views(snapshot, query):
        record = view["record"]
        if record["name"] == name and version in (None, record.get("version")):
            return text
    return None


def _schemas(snapshot: Snapshot, did: str, named: str) -> Iterator[tuple[dict[str, Any], str]]:
    start = f"at://{did}/{alt.SCHEMA_NSID}/{named}"
    # More keys may begin so than are versions of this name: each separator is looked up by itself.
    keys = [start] if _exists(snapshot, start) else []
    for separator in _SEPARATORS:
        begun = snapshot.searcher.terms_with_prefix("uri", start + separator, limit=MOST)
        keys += [key for key, _ in begun if _is_version(key[len(start) + 1 :])]
    by_name = term("name", fold(named))
    query = any_of(by_name, among("uri", keys)) if keys else by_name
    own = every(term("kind", "schema"), term("did", did), term("ns", alt.NAMESPACE), query)
    for view, text in _views(snapshot, own):
        if view["record"]["name"] == named or view["uri"] in keys:
            yield view, text


def _exists(snapshot: Snapshot, uri: str) -> bool:
    return snapshot.frequency("uri", uri) > 0


def _is_version(text: str) -> bool:
    try:
        Version.parse(text)
    except ValidationError:
        return False
    return True


def _views(snapshot: Snapshot, query: tantivy.Query) -> Iterator[tuple[dict[str, Any], str]]:
    """The views of what matches, the newest first, as values and as texts."""
    addresses, _ = snapshot.first(query, MOST, "created", descending=True)
    for address in addresses:
        text = snapshot.view(address)
        yield json.loads(text), text
