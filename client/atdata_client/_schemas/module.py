"""Python source of the sample classes of published schemas, for people to read, keep and edit.

What others wrote comes into the source as text only: names are checked or made safe, and in
strings everything that is not printable is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from atdata_client._schemas.generate import check_names, class_name, field_metadata, readable
from atdata_client._schemas.linked import LinkedSchema
from atdata_schemas.records import Field, NDArray, Nested, Primitive, Schema

_WIDTH = 100
_BUILTINS = ("str", "int", "float", "bool", "bytes")
_FIELD = "field"
_ARRAY = "NDArray"


def module_source(linked: Mapping[str, LinkedSchema]) -> str:
    """A module with a class for each of these schemas, as `linked_schemas` gives them.

    A field that is called like something the module uses gives that another name in it: `str_`.
    Raises ValueError for a field that cannot be an attribute of a sample.
    """
    for found in linked.values():
        check_names(found.schema)
    fields = [field for found in linked.values() for field in found.schema.fields]
    taken = {field.name for field in fields}
    names = {name: _free(name, taken) for name in (*_BUILTINS, _FIELD, _ARRAY)}
    used = taken | {*_BUILTINS, *names.values(), "atdata"}
    for uri, found in linked.items():
        names[uri] = _free(class_name(found.schema.name), used)
        used.add(names[uri])
    classes = [
        line for uri, found in linked.items() for line in _class(found.schema, names[uri], names)
    ]
    return "\n".join([*_head(list(linked.values())[-1]), *_imports(fields, names), *classes, ""])


def _head(top: LinkedSchema) -> Iterator[str]:
    schema = top.schema
    yield f'"""{_plain(f"Sample classes of the schema {schema.name} {schema.version}.")}'
    yield ""
    yield f"Made from {_plain(top.uri)}"
    yield f"with the CID {_plain(top.cid)}."
    yield '"""'
    yield ""


def _imports(fields: list[Field], names: Mapping[str, str]) -> Iterator[str]:
    arrays = any(isinstance(field.type, NDArray) for field in fields)
    if arrays:
        yield "# atdata turns bytes back into arrays only where the annotation is a bare NDArray."
        yield '# mypy: disable-error-code="type-arg"'
        yield ""
    if any(_value(field, names) for field in fields):
        yield f"from dataclasses import {_as(_FIELD, names)}"
        yield ""
    yield "import atdata"
    if arrays:
        yield f"from numpy.typing import {_as(_ARRAY, names)}"
    plain = {field.type.primitive for field in fields if isinstance(field.type, Primitive)}
    aliases = [name for name in _BUILTINS if name in plain and names[name] != name]
    if aliases:
        yield ""
        yield from (f"{names[name]} = {name}" for name in aliases)


def _as(name: str, names: Mapping[str, str]) -> str:
    return name if names[name] == name else f"{name} as {names[name]}"


def _class(schema: Schema, name: str, names: Mapping[str, str]) -> Iterator[str]:
    yield from ("", "", "@atdata.packable", f"class {name}:")
    if schema.description:
        yield from _docstring(schema.description)
        if schema.fields:
            yield ""
    elif not schema.fields:
        yield "    pass"
    for field in schema.fields:
        yield from _field(field, names)


def _field(field: Field, names: Mapping[str, str]) -> Iterator[str]:
    head = f"    {field.name}: {_annotation(field, names)}"
    arguments = _value(field, names)
    if not arguments:
        yield head
        return
    line = f"{head} = {names[_FIELD]}({', '.join(arguments)})"
    if len(line) <= _WIDTH:
        yield line
        return
    yield f"{head} = {names[_FIELD]}("
    yield from (f"        {argument}," for argument in arguments)
    yield "    )"


def _value(field: Field, names: Mapping[str, str]) -> list[str]:
    said = [f"{_text(key)}: {_literal(value)}" for key, value in field_metadata(field).items()]
    default = ["default=None", "kw_only=True"] if field.optional else []
    return [*default, *([f"metadata={{{', '.join(said)}}}"] if said else [])]


def _annotation(field: Field, names: Mapping[str, str]) -> str:
    match field.type:
        case Primitive(primitive):
            annotation = names[primitive]
        case NDArray():
            annotation = names[_ARRAY]
        case Nested(schema_ref):
            annotation = names[schema_ref]
    return f"{annotation} | None" if field.optional else annotation


def _free(name: str, taken: Iterable[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _literal(value: object) -> str:
    return _text(value) if isinstance(value, str) else repr(value)


def _text(text: str) -> str:
    """A string literal in double quotes, with nothing in it that is not printable."""
    return f'"{_escaped(text).replace(chr(34), chr(92) + chr(34))}"'


def _plain(text: str) -> str:
    """Text within a docstring, on one line, which cannot end it."""
    return _escaped(text).replace('"""', r"\"\"\"")


def _escaped(text: str) -> str:
    return "".join(
        letter
        if letter.isprintable() and letter != "\\"
        else letter.encode("unicode_escape").decode("ascii")
        for letter in readable(text)
    )


def _docstring(text: str) -> Iterator[str]:
    lines = [_plain(line) for line in text.split("\n")]
    if lines[-1].endswith('"'):
        lines[-1] = f'{lines[-1][:-1]}\\"'
    indented = [f"    {line}" if line else "" for line in lines]
    if len(lines) == 1 and len(lines[0]) + 10 <= _WIDTH:
        yield f'    """{lines[0]}"""'
        return
    yield f'    """{lines[0]}'
    yield from indented[1:]
    yield '    """'
