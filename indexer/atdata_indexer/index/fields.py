"""How a record becomes a tantivy document.

LAYOUT changes whenever a document made by this module would differ; an index of another layout is
made anew. Every document has a `kind`; the sentinel is one of its own and every query filters it
out by asking for another kind, or for what only that kind has.
"""

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from typing import Any

import tantivy

from atdata_indexer.index.analysis import PLAIN, STEMMED, pairs, register, values
from atdata_indexer.index.files import write
from atdata_indexer.index.packing import pack
from atdata_indexer.index.structure import NOTHING, Structure, structure
from atdata_indexer.index.tables import Link, Stored
from atdata_schemas import alt
from atdata_schemas.lexicon import Json
from atdata_schemas.syntax import format_micros
from atdata_schemas.translation import from_alt

_TEXT = json.JSONEncoder(ensure_ascii=False)
LAYOUT = 4
INVALID_HANDLE = "handle.invalid"

TEXT = {"dataset": "text", "schema": "schematext", "lens": "lenstext"}
"""The field that words of a kind are searched in: one each, so that no search filters by kind."""

NAME_COLUMNS = ("n1", "n2", "n3")
"""The first 24 bytes of the folded name as three integers, in the order of the bytes."""

INDEXED_COLUMNS = ("created", "n1", "samples", "schema_key", "author", "lens_key")
"""Integer columns whose values are terms as well: few of them are found at once."""

SPANS = {"day": 86_400_000_000, "hour": 3_600_000_000}
"""Terms of when a dataset was created, and their microseconds: few of them are a long time."""

SAMPLES = {"1": 16, "2": 128, "3": 1024}
"""The `sample` terms, and of how many records one carries each."""

LINKS = {
    "dataset": ("schemaRef",),
    "lens": ("sourceSchema", "targetSchema"),
    "schema": ("fields[].type.schemaRef",),
    "label": ("datasetUri",),
    "verification": ("lens",),
    "index": (),
}
"""Where records of a kind link to others; `[]` is every item of a list."""

_NO_SIZE = -1
_SHORT = 200
"""Texts up to this length, tags and names of schemas above all, come again and again."""
_NAME = Struct(f">{len(NAME_COLUMNS)}Q")
_SIGN = 2**63


@cache
def schema() -> tantivy.Schema:
    """The field layout.

    `text schematext lenstext` are analysed, `word` holds the same words unstemmed. `kind uri did
    handle ns tag license schema source target name field fieldkind version shape ref sample` are
    exact terms, those that are counted as facets fast columns too. The integers are fast columns:
    `created` is the unique key of all sorts (microseconds), `n1 n2 n3` that of the name before it,
    `samples bytes` are -1 where they are not known, the keys and `author` are hashes
    (`key_of`). `band` is when a document was written, in their order (`bands`). `view` is the
    stored answer, the packed JSON text of the lexicon's view.
    """
    builder = tantivy.SchemaBuilder()
    for name in ("kind", "uri", "handle", "ns", "name", "field", "shape", "source", "target"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    for name in ("ref", "sample", "did", "schema"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    for name in ("tag", "license", "fieldkind", "version"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic", fast=True)
    for name in TEXT.values():
        builder.add_text_field(name, tokenizer_name=STEMMED, index_option="position")
    builder.add_text_field("word", tokenizer_name=PLAIN, index_option="basic")
    for name in INDEXED_COLUMNS:
        builder.add_integer_field(name, indexed=True, fast=True)
    for name in (*SPANS, "band"):
        builder.add_integer_field(name, indexed=True)
    for name in ("n2", "n3", "key", "bytes", "source_key", "target_key"):
        builder.add_integer_field(name, fast=True)
    builder.add_bytes_field("view", stored=True)  # a text field would be indexed as well
    return builder.build()


def create_index(folder: Path) -> tantivy.Index:
    """Make an index in an empty folder, one that stores what it is given as it is, in small blocks:
    to read a document copies its block.

    tantivy takes that from `meta.json`; its Python bindings have no argument for it.
    """
    tantivy.Index(schema(), str(folder))
    meta = json.loads((folder / "meta.json").read_text())
    meta["index_settings"] |= {"docstore_compression": "none", "docstore_blocksize": 2048}
    write(folder / "meta.json", [json.dumps(meta).encode()])
    return open_index(str(folder))


def open_index(path: str) -> tantivy.Index:
    """Open the index in a folder, with the analysers, which tantivy does not keep."""
    index = tantivy.Index(schema(), path)
    register(index)
    return index


def fold(text: str) -> str:
    """The form under which tags, licences and names are compared: case and width do not count."""
    if text.isascii():
        return text.lower().strip()
    return unicodedata.normalize("NFKC", text).casefold().strip()


def key_of(text: str) -> int:
    """A URI or DID as a positive integer of 63 bits."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) >> 1


def name_columns(name: str) -> Sequence[int]:
    """The values of NAME_COLUMNS: names in the order of their letters, without case and accents."""
    folded = name.lower()
    if not name.isascii():
        parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
        folded = "".join(character for character in parts if not unicodedata.combining(character))
    start = folded.strip().encode()[: _NAME.size]
    # The least number of 64 bits has no place behind it that a cursor could name.
    return [max(chunk, 1) - _SIGN for chunk in _NAME.unpack(start.ljust(_NAME.size, b"\0"))]


def handle_words(handle: str) -> str:
    """What of a handle says something: not its top level, nor the name of the usual host."""
    return " ".join(handle.removesuffix(".bsky.social").split(".")[: handle.count(".") or 1])


def document(stored: Stored) -> dict[str, Any]:
    """The fields of a record's document."""
    record: dict[str, Any] = json.loads(stored.body)
    kind = stored.kind
    own = structure(stored.body) if kind == "schema" else NOTHING
    if kind == "dataset" and stored.schema and stored.schema.body:
        own = structure(stored.schema.body)
    key = key_of(stored.uri)
    fields: dict[str, Any] = {
        "kind": kind,
        "uri": stored.uri,
        "did": stored.did,
        "author": key_of(stored.did),
        "ns": stored.uri.split("/")[3].rpartition(".")[0],
        "created": stored.sort_created,
        "view": pack(view(stored)),
        "field": own.terms,
        "fieldkind": own.kinds,
        "ref": sorted(_references(stored, record, own)),
        "sample": [name for name, of in SAMPLES.items() if key % of == 0],
    }
    # What is only kept may hold anything at all.
    name = record.get("name", "") if kind in TEXT or kind == "label" else ""
    fields |= zip(NAME_COLUMNS, name_columns(name), strict=True)
    if kind in TEXT:
        texts = [(_forms(text, times), times) for text, times in _texts(stored, record, own)]
        fields[TEXT[kind]] = [one for forms, times in texts for one in forms.all * times]
        fields["word"] = [one for forms, _ in texts for one in forms.plain]
    if stored.handle is not None:
        fields["handle"] = stored.handle
    match kind:
        case "dataset":
            fields |= _of_dataset(stored, record)
        case "schema":
            fields["key"], fields["name"] = key, fold(record["name"])
            fields["shape"], fields["version"] = own.shape, record["version"]
        case "label":
            fields["key"], fields["name"] = key, fold(record["name"])
        case "lens" if stored.schema and stored.target:
            fields["target"] = stored.target.uri
            fields["source"] = stored.schema.uri
            fields["key"] = fields["lens_key"] = key
            fields["source_key"] = key_of(stored.schema.uri)
            fields["target_key"] = key_of(stored.target.uri)
    return {name: value for name, value in fields.items() if value or value == 0}


def view(stored: Stored) -> str:
    """What the API answers, JSON text: `app.bsky.atdata.defs#datasetView` and the like.

    The text of the record is taken as it is stored.
    """
    before = {
        "uri": stored.uri,
        "cid": stored.cid,
        "author": {"did": stored.did, "handle": stored.handle or INVALID_HANDLE},
    }
    behind: dict[str, Json] = {}
    if stored.kind == "dataset" and stored.schema:
        behind["schema"] = _link(stored.schema)
    if stored.kind == "lens" and stored.schema and stored.target:
        behind["source"], behind["target"] = _link(stored.schema), _link(stored.target)
    translation = _translation(stored)
    if translation is not None:
        behind["translation"] = translation
    behind["indexedAt"] = format_micros(stored.indexed_us)
    if stored.labels:
        behind["labels"] = [dict(one) for one in stored.labels]
    head, tail = _TEXT.encode(before), _TEXT.encode(behind)
    return f'{head[:-1]}, "record": {stored.body}, {tail[1:]}'


def _translation(stored: Stored) -> Mapping[str, Json] | None:
    """A record of the other namespace in the words of this project's, where nothing is lost."""
    if stored.kind not in TEXT or f"/{alt.NAMESPACE}." not in stored.uri:
        return None
    return from_alt(json.loads(stored.body))


def _of_dataset(stored: Stored, record: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    size = record.get("size", {})
    yield "samples", size.get("samples", _NO_SIZE)
    yield "bytes", size.get("bytes", _NO_SIZE)
    yield "tag", sorted({fold(tag) for tag in record.get("tags", ())} - {""})
    yield "license", fold(record.get("license", ""))
    for span, length in SPANS.items():
        yield span, stored.sort_created // length
    if stored.schema is not None:
        yield "schema", stored.schema.uri
        yield "schema_key", key_of(stored.schema.uri)


def _texts(stored: Stored, record: Mapping[str, Any], own: Structure) -> Iterator[tuple[str, int]]:
    """What is searched as words, and how often each counts: one field is faster than five."""
    yield record.get("name", ""), 3
    tags = record.get("tags", ())
    if isinstance(tags, list):  # what others than datasets call so may be anything
        yield from ((tag, 2) for tag in tags if isinstance(tag, str))
    yield record.get("description", ""), 1
    for link in (stored.schema, stored.target):
        if link is not None and link.name:
            yield link.name, 1
    yield " ".join(own.names), 1
    if stored.handle is not None:
        yield handle_words(stored.handle), 1


@dataclass(frozen=True, slots=True)
class _Forms:
    """The values of a text: `plain` for the dictionary of words, all for searches."""

    all: tuple[str, ...]
    plain: tuple[str, ...]


def _forms(text: str, times: int) -> _Forms:
    """The values of a text; names and tags are short, and count the words they join, too."""
    return (_known_forms if len(text) <= _SHORT else _forms_of)(text, times > 1)


def _forms_of(text: str, joined: bool) -> _Forms:
    plain = tuple(values(text))
    return _Forms((*plain, *pairs(text)) if joined else plain, plain)


_known_forms = lru_cache(maxsize=20_000)(_forms_of)


def _references(stored: Stored, record: Mapping[str, Any], own: Structure) -> Iterator[str]:
    """The records this one links to, each with where it does so: `collection:path uri`."""
    paths = LINKS[stored.kind]
    if stored.kind == "schema":
        refs = [(uri, paths[0]) for _, uri in own.nested]
    elif stored.kind in ("dataset", "lens"):
        links = [link.uri for link in (stored.schema, stored.target) if link]
        refs = list(zip(links, paths, strict=True))
    else:
        refs = [(record[path], path) for path in paths]
    collection = stored.uri.split("/")[3]
    for uri, path in refs:
        yield f"{collection}:{path} {uri}"


def _link(link: Link) -> Mapping[str, Json]:
    if link.cid is None:
        return {"uri": link.uri, "status": "missing"}
    known = {"uri": link.uri, "status": "indexed", "cid": link.cid}
    return known | {"name": link.name, "version": link.version}
