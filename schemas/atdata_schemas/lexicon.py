"""The lexicon validator: records, query parameters and query output against lexicon JSON.

Follows https://atproto.com/specs/lexicon. Two leniencies, each because real records need it:
a union member without `$type` is recognised by the `const` of its `kind` property, and the arrays
named in `NULLABLE_ITEMS` may hold null, which lexicons can say of properties but not of items.
String lengths are UTF-8 bytes, as the specification has them.
"""

import json
import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from atdata_schemas.errors import LexiconError, ValidationError
from atdata_schemas.syntax import FORMATS, is_cid, is_record_key, is_tid

type Json = Any
"""A value of the AT Protocol data model in its JSON form."""

type Definition = Mapping[str, Any]

NULLABLE_ITEMS = frozenset({"app.bsky.atdata.schema#ndarray.shape"})
MAX_INTEGER = 2**53 - 1
_INTEGER = re.compile(r"-?[0-9]{1,16}")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?")
_KEYWORDS: Mapping[str, frozenset[str]] = {
    "array": frozenset({"items", "maxLength", "minLength"}),
    "blob": frozenset(),
    "boolean": frozenset({"default"}),
    "bytes": frozenset({"maxLength", "minLength"}),
    "cid-link": frozenset(),
    "integer": frozenset({"default", "enum", "maximum", "minimum"}),
    "object": frozenset({"nullable", "properties", "required"}),
    "query": frozenset({"errors", "output", "parameters"}),
    "record": frozenset({"key", "record"}),
    "ref": frozenset({"ref"}),
    "string": frozenset(
        {"const", "default", "enum", "format", "knownValues", "maxLength", "minLength"}
    ),
    "union": frozenset({"closed", "refs"}),
    "unknown": frozenset(),
}
_RECORD_KEYS: dict[str, Callable[[str], bool]] = {"tid": is_tid, "any": is_record_key}


class Lexicons:
    """A closed set of lexicon documents and the checks they define.

    Raises LexiconError at once for a document that uses a type, keyword, format or reference
    this validator does not know, so that nothing passes because it was not understood.
    """

    def __init__(self, documents: Iterable[Definition], nullable_items: Iterable[str] = ()) -> None:
        self._documents: dict[str, Definition] = {doc["id"]: doc for doc in documents}
        self._nullable_items: set[int] = set()
        self._checks: dict[str, Callable[[str, Definition, Json, str], None]] = {
            "array": self._array,
            "blob": self._blob,
            "boolean": self._boolean,
            "bytes": self._bytes,
            "cid-link": self._cid_link,
            "integer": self._integer,
            "object": self._object,
            "ref": self._ref,
            "string": self._string,
            "union": self._union,
            "unknown": self._unknown,
        }
        for nsid, document in self._documents.items():
            for name, definition in document["defs"].items():
                self._inspect(nsid, definition, f"{nsid}#{name}")
        for place in nullable_items:
            name, _, item = place.rpartition(".")
            _, _, owner = self._resolve("", name)
            self._nullable_items.add(id(owner["properties"][item]))

    @property
    def nsids(self) -> Sequence[str]:
        """Every NSID of the set, sorted."""
        return sorted(self._documents)

    def document(self, nsid: str) -> Definition:
        """The lexicon document of `nsid`. Raises LexiconError when there is none."""
        try:
            return self._documents[nsid]
        except KeyError:
            raise LexiconError(f"no lexicon {nsid}") from None

    def queries(self) -> Sequence[str]:
        """The NSIDs whose main definition is a query, sorted."""
        return [nsid for nsid in self.nsids if self._main(nsid).get("type") == "query"]

    def check_record(self, nsid: str, rkey: str, record: Json) -> None:
        """Check a record and its key. Raises ValidationError."""
        main = self._main(nsid)
        if main.get("type") != "record":
            raise LexiconError(f"{nsid} is not the lexicon of a record")
        if not _RECORD_KEYS[main["key"]](rkey):
            raise ValidationError("", "key", f"record key {rkey[:80]!r} is not a {main['key']}")
        if not isinstance(record, dict):
            raise ValidationError("", "type", "not an object")
        if record.get("$type") != nsid:
            raise ValidationError("$type", "const", f"not {nsid!r}")
        self._object(nsid, main["record"], record, "")

    def check_output(self, nsid: str, value: Json) -> None:
        """Check the body a query answers with. Raises ValidationError."""
        self._check(nsid, self._main(nsid)["output"]["schema"], value, "")

    def parse_params(self, nsid: str, pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
        """Turn the (name, text) pairs of a query string into checked, typed parameters.

        Arrays are repeated names; defaults are filled in; what is absent stays absent.
        Raises ValidationError for unknown, repeated, missing and ill-formed parameters.
        """
        definition = self._main(nsid).get("parameters", {})
        properties: Mapping[str, Definition] = definition.get("properties", {})
        params: dict[str, Any] = {}
        for name, text in pairs:
            if name not in properties:
                known = ", ".join(properties) or "none"
                raise ValidationError(name[:80], "unknown", f"no such parameter; known: {known}")
            declared = properties[name]
            if declared["type"] == "array":
                value = _param(declared["items"], text, f"{name}[{len(params.get(name, []))}]")
                params.setdefault(name, []).append(value)
            elif name in params:
                raise ValidationError(name, "type", "given more than once")
            else:
                params[name] = _param(declared, text, name)
        for name in definition.get("required", ()):
            if name not in params:
                raise ValidationError(name, "required", "missing")
        for name, declared in properties.items():
            if name in params:
                self._check(nsid, declared, params[name], name)
            elif "default" in declared:
                params[name] = declared["default"]
        return params

    def _main(self, nsid: str) -> Definition:
        main: Definition = self.document(nsid)["defs"].get("main", {})
        return main

    def _resolve(self, nsid: str, ref: str) -> tuple[str, str, Definition]:
        base, _, name = ref.partition("#")
        base, name = base or nsid, name or "main"
        try:
            return base, name, self._documents[base]["defs"][name]
        except KeyError:
            raise LexiconError(f"{nsid}: reference to unknown {ref}") from None

    def _inspect(self, nsid: str, definition: Definition, where: str) -> None:
        """Refuse at load time what `_check` would not understand."""
        kind = definition.get("type")
        inner: list[Definition] = [*definition.get("properties", {}).values()]
        if kind == "record":
            if definition.get("key") not in _RECORD_KEYS:
                raise LexiconError(f"{where}: unknown record key type {definition.get('key')!r}")
            inner = [definition["record"]]
        elif kind == "query":
            inner += definition.get("parameters", {}).get("properties", {}).values()
            inner.append(definition["output"]["schema"])
        elif kind not in self._checks:
            raise LexiconError(f"{where}: unknown type {kind!r}")
        unknown = definition.keys() - _KEYWORDS[kind] - {"type", "description"}
        if unknown:
            raise LexiconError(f"{where}: unknown keyword {min(unknown)!r} of {kind}")
        if kind == "array":
            inner = [definition["items"]]
        if kind == "string" and definition.get("format", "did") not in FORMATS:
            raise LexiconError(f"{where}: unknown format {definition['format']!r}")
        for ref in [definition["ref"]] if kind == "ref" else definition.get("refs", ()):
            _, _, target = self._resolve(nsid, ref)
            if target.get("type") not in self._checks:
                raise LexiconError(f"{where}: {ref} is a {target.get('type')}, not a value")
        for child in inner:
            self._inspect(nsid, child, where)

    def _check(self, nsid: str, definition: Definition, value: Json, path: str) -> None:
        self._checks[definition["type"]](nsid, definition, value, path)

    def _object(self, nsid: str, definition: Definition, value: Json, path: str) -> None:
        if not _is_object(value):
            raise ValidationError(path, "type", "not an object")
        prefix = f"{path}." if path else ""
        for name in definition.get("required", ()):
            if name not in value:
                raise ValidationError(f"{prefix}{name}", "required", "missing")
        nullable = definition.get("nullable", ())
        for name, declared in definition.get("properties", {}).items():
            if name in value and not (value[name] is None and name in nullable):
                self._check(nsid, declared, value[name], f"{prefix}{name}")

    def _array(self, nsid: str, definition: Definition, value: Json, path: str) -> None:
        if not isinstance(value, list):
            raise ValidationError(path, "type", "not an array")
        _check_length(definition, len(value), path)
        items = definition["items"]
        nullable = id(definition) in self._nullable_items
        for index, item in enumerate(value):
            if not (item is None and nullable):
                self._check(nsid, items, item, f"{path}[{index}]")

    def _string(self, nsid: str, definition: Definition, value: Json, path: str) -> None:
        if not isinstance(value, str):
            raise ValidationError(path, "type", "not a string")
        if "const" in definition and value != definition["const"]:
            raise ValidationError(path, "const", f"not {definition['const']!r}")
        if "enum" in definition and value not in definition["enum"]:
            raise ValidationError(path, "enum", f"not one of {', '.join(definition['enum'])}")
        if "maxLength" in definition or "minLength" in definition:
            _check_length(definition, len(value.encode("utf-8", "surrogatepass")), path)
        if "format" in definition and not FORMATS[definition["format"]](value):
            raise ValidationError(path, "format", f"not a valid {definition['format']}")

    def _integer(self, nsid: str, definition: Definition, value: Json, path: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValidationError(path, "type", "not an integer")
        if value < definition.get("minimum", -MAX_INTEGER):
            limit = definition.get("minimum", -MAX_INTEGER)
            raise ValidationError(path, "minimum", f"less than {limit}")
        if value > definition.get("maximum", MAX_INTEGER):
            limit = definition.get("maximum", MAX_INTEGER)
            raise ValidationError(path, "maximum", f"greater than {limit}")
        if "enum" in definition and value not in definition["enum"]:
            raise ValidationError(path, "enum", f"not one of {definition['enum']}")

    def _boolean(self, nsid: str, definition: Definition, value: Json, path: str) -> None:
        if not isinstance(value, bool):
            raise ValidationError(path, "type", "not a boolean")

    def _bytes(self, nsid: str, definition: Definition, value: Json, path: str) -> None:
        if not isinstance(value, dict) or set(value) != {"$bytes"}:
            raise ValidationError(path, "type", 'not bytes ({"$bytes": base64})')
        _check_length(definition, len(decode_bytes(value, path)), path)

    def _cid_link(self, nsid: str, definition: Definition, value: Json, path: str) -> None:
        link = value.get("$link") if isinstance(value, dict) and len(value) == 1 else None
        if not isinstance(link, str) or not is_cid(link):
            raise ValidationError(path, "type", 'not a CID link ({"$link": cid})')

    def _blob(self, nsid: str, definition: Definition, value: Json, path: str) -> None:
        if not isinstance(value, dict) or value.get("$type") != "blob":
            raise ValidationError(path, "type", "not a blob")
        self._cid_link(nsid, definition, value.get("ref"), f"{path}.ref")

    def _unknown(self, nsid: str, definition: Definition, value: Json, path: str) -> None:
        if not _is_object(value):
            raise ValidationError(path, "type", "not an object")

    def _ref(self, nsid: str, definition: Definition, value: Json, path: str) -> None:
        base, _, target = self._resolve(nsid, definition["ref"])
        self._check(base, target, value, path)

    def _union(self, nsid: str, definition: Definition, value: Json, path: str) -> None:
        if not isinstance(value, dict):
            raise ValidationError(path, "type", "not an object")
        members: dict[str, tuple[str, Definition]] = {}
        told_by = "$type"
        for ref in definition["refs"]:
            base, name, member = self._resolve(nsid, ref)
            kind = member.get("properties", {}).get("kind", {}).get("const")
            members[kind or (base if name == "main" else f"{base}#{name}")] = (base, member)
            told_by = "kind" if kind else "$type"
        tag = value.get(told_by)
        if isinstance(tag, str) and tag in members:
            base, member = members[tag]
            self._check(base, member, value, path)
        elif told_by == "kind" or definition.get("closed", False) or not isinstance(tag, str):
            raise ValidationError(path, "union", f"{told_by} is none of {', '.join(members)}")


def decode_bytes(value: Mapping[str, str], path: str = "") -> bytes:
    """The bytes behind `{"$bytes": base64}` (unpadded, as the data model has it; padding is taken).

    Raises ValidationError when the text is not base64.
    """
    text = value["$bytes"]
    if not isinstance(text, str) or not _BASE64.fullmatch(text):
        raise ValidationError(path, "type", "$bytes is not base64")
    return b64decode(text + "=" * (-len(text) % 4))


@cache
def lexicons() -> Lexicons:
    """The lexicons that ship with this package, loaded once."""
    documents = (json.loads(entry.read_text("utf-8")) for entry in _walk(files(__package__)))
    return Lexicons(documents, NULLABLE_ITEMS)


def _walk(folder: Traversable) -> Iterable[Traversable]:
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if entry.is_dir():
            yield from _walk(entry)
        elif entry.name.endswith(".json"):
            yield entry


def _is_object(value: Json) -> bool:
    """Whether a value is an object of the data model: bytes, links and blobs look like one."""
    return (
        isinstance(value, dict)
        and not value.keys() & {"$bytes", "$link"}
        and value.get("$type") != "blob"
    )


def _param(declared: Definition, text: str, path: str) -> str | int | bool:
    match declared["type"]:
        case "integer":
            if not _INTEGER.fullmatch(text):
                raise ValidationError(path, "type", "not an integer")
            return int(text)
        case "boolean":
            if text not in {"true", "false"}:
                raise ValidationError(path, "type", "not true or false")
            return text == "true"
        case _:
            return text


def _check_length(definition: Definition, length: int, path: str) -> None:
    if length > definition.get("maxLength", length):
        limit = definition["maxLength"]
        raise ValidationError(path, "maxLength", f"longer than {limit}")
    if length < definition.get("minLength", 0):
        limit = definition["minLength"]
        raise ValidationError(path, "minLength", f"shorter than {limit}")
