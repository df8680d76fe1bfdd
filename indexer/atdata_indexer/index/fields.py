"""How a record becomes a tantivy document, and how text becomes terms.

LAYOUT changes whenever a document made by this module would differ; an index of another layout is
made anew. Every document has a `kind`; the sentinel is one of its own and every query filters it
out by asking for another kind.
"""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import tantivy

from atdata_indexer.index.tables import Link, Stored
from atdata_schemas.lexicon import Json
from atdata_schemas.syntax import format_micros

_TEXT = json.JSONEncoder(ensure_ascii=False)
LAYOUT = 1
SENTINEL = "sentinel"
INVALID_HANDLE = "handle.invalid"
_STEMMED = "en_folded"


def schema() -> tantivy.Schema:
    """The field layout.

    `text` is analysed; `uri did handle tag schema` are exact terms; `created` is the unique key of
    date sorts (microseconds); `view` is the stored answer, JSON text of the lexicon's view.
    """
    builder = tantivy.SchemaBuilder()
    for name in ("kind", "uri", "did", "handle", "schema"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    builder.add_text_field("tag", tokenizer_name="raw", index_option="basic", fast=True)
    builder.add_text_field("text", tokenizer_name=_STEMMED, index_option="position")
    builder.add_integer_field("created", indexed=True, fast=True)
    builder.add_bytes_field("view", stored=True)  # a text field would be indexed as well
    return builder.build()


def analyzer() -> tantivy.TextAnalyzer:
    """Words, without accents, lower-cased, stemmed as English.

    Accents go first: lower-casing `İ` would leave a dot that no accent filter knows.
    """
    return (
        tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
        .filter(tantivy.Filter.ascii_fold())
        .filter(tantivy.Filter.lowercase())
        .filter(tantivy.Filter.stemmer("english"))
        .build()
    )


def open_index(path: str) -> tantivy.Index:
    """Open or create the index in a folder, with the analyser, which tantivy does not keep."""
    index = tantivy.Index(schema(), path)
    index.register_tokenizer(_STEMMED, analyzer())
    return index


def fold_tag(tag: str) -> str:
    """The form under which tags are compared: case and width do not count."""
    return unicodedata.normalize("NFKC", tag).casefold().strip()


def normalise(text: str) -> str:
    """Text as it is given to the analyser, on both sides.

    Marks that do not combine into one character (`ẹ̀`, a lower-cased `İ`) are dropped, because the
    analyser would part the word there; what it takes for accents it removes itself.
    """
    if text.isascii():
        return text
    composed = unicodedata.normalize("NFKC", text)
    return "".join(character for character in composed if not unicodedata.combining(character))


def document(stored: Stored) -> dict[str, Any]:
    """The fields of a record's document."""
    record = json.loads(stored.body)
    tags: Sequence[str] = record.get("tags", ())
    name, description = record.get("name", ""), record.get("description", "")
    texts = [name] * 3 + [tag for tag in tags for _ in range(2)] + [description]
    texts += [link.name for link in (stored.schema, stored.target) if link and link.name]
    fields: dict[str, Any] = {
        "kind": stored.kind,
        "uri": stored.uri,
        "did": stored.did,
        "text": [normalise(text) for text in texts if text],
        "created": stored.sort_created,
        "view": _TEXT.encode(view(stored, record)).encode(),
    }
    if stored.handle is not None:
        fields["handle"] = stored.handle
    if tags:
        fields["tag"] = sorted({fold_tag(tag) for tag in tags} - {""})
    if stored.schema is not None:
        fields["schema"] = stored.schema.uri
    return fields


def sentinel(epoch: str, seq: int) -> dict[str, Any]:
    """The document that says how far the index has come, committed with what it speaks of."""
    state = json.dumps({"epoch": epoch, "seq": seq}).encode()
    return {"kind": SENTINEL, "uri": SENTINEL, "view": state}


def view(stored: Stored, record: Json) -> Mapping[str, Json]:
    """What the API answers: `app.bsky.atdata.defs#datasetView`, `#schemaView` or `#lensView`."""
    shown: dict[str, Json] = {
        "uri": stored.uri,
        "cid": stored.cid,
        "author": {"did": stored.did, "handle": stored.handle or INVALID_HANDLE},
        "record": record,
    }
    if stored.kind == "dataset" and stored.schema:
        shown["schema"] = _link(stored.schema)
    if stored.kind == "lens" and stored.schema and stored.target:
        shown["source"], shown["target"] = _link(stored.schema), _link(stored.target)
    return shown | {"indexedAt": format_micros(stored.indexed_us)}


def _link(link: Link) -> Mapping[str, Json]:
    if link.cid is None:
        return {"uri": link.uri, "status": "missing"}
    known = {"uri": link.uri, "status": "indexed", "cid": link.cid}
    return known | {"name": link.name, "version": link.version}
