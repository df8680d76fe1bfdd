"""The lexicon validator: records, query parameters and query output against lexicon JSON.

Follows https://atproto.com/specs/lexicon. Two leniencies, each because real records need it:
a union member without `$type` is recognised by the `const` of its `kind` property, and the arrays
named in `NULLABLE_ITEMS` may hold null, which lexicons can say of properties but not of items.
String lengths are UTF-8 bytes, as the specification has them.

Every definition becomes one function when it is loaded, so that checking a value looks nothing up.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from atdata_schemas.checks import (
    MAX_INTEGER,
    PLAIN,
    Check,
    Definition,
    Json,
    decode_bytes,
    is_object,
    length_check,
)
from atdata_schemas.errors import LexiconError, ValidationError
from atdata_schemas.syntax import FORMATS, is_record_key, is_tid

__all__ = [
    "MAX_INTEGER",
    "NULLABLE_ITEMS",
    "Definition",
    "Json",
    "Lexicons",
    "decode_bytes",
    "is_object",
    "lexicons",
]

NULLABLE_ITEMS = frozenset({"app.bsky.atdata.schema#ndarray.shape"})
_INTEGER = re.compile(r"-?[0-9]{1,16}")
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
    "subscription": frozenset({"errors", "message", "parameters"}),
    "union": frozenset({"closed", "refs"}),
    "unknown": frozenset(),
}
_VALUES = _KEYWORDS.keys() - {"query", "record", "subscription"}
_RECORD_KEYS: dict[str, Callable[[str], bool]] = {"tid": is_tid, "any": is_record_key}


class Lexicons:
    """A closed set of lexicon documents and the checks they define.

    Raises LexiconError at once for a document that uses a type, keyword, format or reference
    this validator does not know, so that nothing passes because it was not understood.
    """

    def __init__(self, documents: Iterable[Definition], nullable_items: Iterable[str] = ()) -> None:
        self._documents: dict[str, Definition] = {doc["id"]: doc for doc in documents}
        definitions = [
            (nsid, _full_name(nsid, name), definition)
            for nsid, document in self._documents.items()
            for name, definition in document["defs"].items()
        ]
        for nsid, name, definition in definitions:
            self._inspect(nsid, definition, name)
        self._nullable_items: set[int] = set()
        for place in nullable_items:
            name, _, item = place.rpartition(".")
            _, owner = self._resolve("", name)
            self._nullable_items.add(id(owner["properties"][item]))
        self._parameters: dict[str, Mapping[str, Check]] = {}
        self._checks: dict[str, Check] = {}
        for nsid, name, definition in definitions:
            self._checks[name] = self._compile(nsid, definition)

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

    def subscriptions(self) -> Sequence[str]:
        """The NSIDs whose main definition is a subscription, sorted."""
        return [nsid for nsid in self.nsids if self._main(nsid).get("type") == "subscription"]

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
        self._checks[nsid](record)

    def check_output(self, nsid: str, value: Json) -> None:
        """Check the body a query answers with, or a message of a subscription.

        Raises ValidationError.
        """
        if self._main(nsid).get("type") not in {"query", "subscription"}:
            raise LexiconError(f"{nsid} is not the lexicon of a query")
        self._checks[nsid](value)

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
                try:
                    self._parameters[nsid][name](params[name])
                except ValidationError as error:
                    raise _within(name, error) from None
            elif "default" in declared:
                params[name] = declared["default"]
        return params

    def _main(self, nsid: str) -> Definition:
        main: Definition = self.document(nsid)["defs"].get("main", {})
        return main

    def _resolve(self, nsid: str, ref: str) -> tuple[str, Definition]:
        """What `ref` means in the document `nsid`: the full name and the definition."""
        base, _, name = ref.partition("#")
        base, name = base or nsid, name or "main"
        try:
            return _full_name(base, name), self._documents[base]["defs"][name]
        except KeyError:
            raise LexiconError(f"{nsid}: reference to unknown {ref}") from None

    def _inspect(self, nsid: str, definition: Definition, where: str) -> None:
        """Refuse what `_compile` would not understand."""
        kind = definition.get("type")
        inner: list[Definition] = [*definition.get("properties", {}).values()]
        if kind == "record":
            if definition.get("key") not in _RECORD_KEYS:
                raise LexiconError(f"{where}: unknown record key type {definition.get('key')!r}")
            inner = [definition["record"]]
        elif kind in {"query", "subscription"}:
            inner += definition.get("parameters", {}).get("properties", {}).values()
            inner.append(_answer(definition))
        elif kind not in _VALUES:
            raise LexiconError(f"{where}: unknown type {kind!r}")
        unknown = definition.keys() - _KEYWORDS[kind] - {"type", "description"}
        if unknown:
            raise LexiconError(f"{where}: unknown keyword {min(unknown)!r} of {kind}")
        if kind == "array":
            inner = [definition["items"]]
        if kind == "string" and definition.get("format", "did") not in FORMATS:
            raise LexiconError(f"{where}: unknown format {definition['format']!r}")
        for ref in [definition["ref"]] if kind == "ref" else definition.get("refs", ()):
            _, target = self._resolve(nsid, ref)
            if target.get("type") not in _VALUES:
                raise LexiconError(f"{where}: {ref} is a {target.get('type')}, not a value")
        for child in inner:
            self._inspect(nsid, child, where)

    def _compile(self, nsid: str, definition: Definition) -> Check:
        """The check of a definition that stands in the document `nsid`."""
        match definition["type"]:
            case "record":
                return self._compile(nsid, definition["record"])
            case "query" | "subscription":
                declared = definition.get("parameters", {}).get("properties", {})
                self._parameters[nsid] = self._compile_each(nsid, declared)
                return self._compile(nsid, _answer(definition))
            case "object":
                return self._object(nsid, definition)
            case "array":
                return self._array(nsid, definition)
            case "ref":
                return self._ref(nsid, definition["ref"])
            case "union":
                return self._union(nsid, definition)
            case kind:
                return PLAIN[kind](definition)

    def _compile_each(self, nsid: str, declared: Mapping[str, Definition]) -> dict[str, Check]:
        return {name: self._compile(nsid, definition) for name, definition in declared.items()}

    def _object(self, nsid: str, definition: Definition) -> Check:
        required = tuple(definition.get("required", ()))
        checks = self._compile_each(nsid, definition.get("properties", {}))
        for name in checks.keys() & definition.get("nullable", ()):
            checks[name] = _or_null(checks[name])
        properties = tuple(checks.items())

        def check(value: Json) -> None:
            if not is_object(value):
                raise ValidationError("", "type", "not an object")
            for name in required:
                if name not in value:
                    raise ValidationError(name, "required", "missing")
            for name, check_property in properties:
                if name in value:
                    try:
                        check_property(value[name])
                    except ValidationError as error:
                        raise _within(name, error) from None

        return check

    def _array(self, nsid: str, definition: Definition) -> Check:
        check_length = length_check(definition)
        check_item = self._compile(nsid, definition["items"])
        if id(definition) in self._nullable_items:
            check_item = _or_null(check_item)

        def check(value: Json) -> None:
            if not isinstance(value, list):
                raise ValidationError("", "type", "not an array")
            check_length(len(value))
            for index, item in enumerate(value):
                try:
                    check_item(item)
                except ValidationError as error:
                    raise _within(f"[{index}]", error) from None

        return check

    def _ref(self, nsid: str, ref: str) -> Check:
        name, _ = self._resolve(nsid, ref)
        checks = self._checks
        # Looked up only when a value is there: a definition may contain itself.
        return lambda value: checks[name](value)

    def _union(self, nsid: str, definition: Definition) -> Check:
        members: dict[str, Check] = {}
        told_by = "$type"
        for ref in definition["refs"]:
            name, member = self._resolve(nsid, ref)
            kind = member.get("properties", {}).get("kind", {}).get("const")
            members[kind or name] = self._ref(nsid, ref)
            told_by = "kind" if kind else "$type"
        closed = told_by == "kind" or definition.get("closed", False)
        words = f"{told_by} is none of {', '.join(members)}"

        def check(value: Json) -> None:
            if not isinstance(value, dict):
                raise ValidationError("", "type", "not an object")
            tag = value.get(told_by)
            if isinstance(tag, str) and tag in members:
                members[tag](value)
            elif closed or not isinstance(tag, str):
                raise ValidationError("", "union", words)

        return check


def _answer(definition: Definition) -> Definition:
    """What a query answers with, or what the messages of a subscription are."""
    schema: Definition = definition.get("output", definition.get("message", {}))["schema"]
    return schema


def _or_null(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _within(place: str, error: ValidationError) -> ValidationError:
    """The same fault as seen from one level further out."""
    dot = "." if error.path and not error.path.startswith("[") else ""
    return ValidationError(f"{place}{dot}{error.path}", error.rule, error.message)


def _full_name(nsid: str, name: str) -> str:
    return nsid if name == "main" else f"{nsid}#{name}"


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
