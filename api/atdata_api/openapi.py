"""The OpenAPI document, made from the lexicons."""

from collections.abc import Callable, Mapping
from typing import Any

from atdata_schemas.lexicon import Definition, lexicons

type Schema = dict[str, Any]

_PREFIX = "#/components/schemas/"
_ERROR: Schema = {
    "type": "object",
    "required": ["error", "message"],
    "properties": {"error": {"type": "string"}, "message": {"type": "string"}},
}


def paths(name: Callable[[str], str]) -> Schema:
    """The path of each query, which goes by `name` here."""
    return {
        f"/xrpc/{name(nsid)}": {"get": _operation(nsid, name(nsid))}
        for nsid in lexicons().queries()
    }


def components() -> Schema:
    """The schemas that operations refer to."""
    return {"XrpcError": _ERROR} | {
        _name(nsid, name): _schema(nsid, definition)
        for nsid in lexicons().nsids
        for name, definition in lexicons().document(nsid)["defs"].items()
        if definition["type"] not in {"record", "query", "subscription"}
    }


def _operation(nsid: str, name: str) -> Schema:
    main = lexicons().document(nsid)["defs"]["main"]
    declared = main.get("parameters", {})
    required = declared.get("required", ())
    error = {"content": {"application/json": {"schema": {"$ref": f"{_PREFIX}XrpcError"}}}}
    return {
        "operationId": name,
        "summary": main["description"],
        "parameters": [
            {
                "name": parameter,
                "in": "query",
                "required": parameter in required,
                "description": definition.get("description", ""),
                "schema": _schema(nsid, definition),
            }
            for parameter, definition in declared.get("properties", {}).items()
        ],
        "responses": {
            "200": {
                "description": "The answer.",
                "content": {
                    "application/json": {"schema": _schema(nsid, main["output"]["schema"])}
                },
            },
            "400": {"description": "The request breaks the lexicon.", **error},
            "429": {"description": "Too many requests from one caller.", **error},
            "503": {"description": "The index cannot be read now.", **error},
            **(
                {"404": {"description": "Not in the index.", **error}}
                if any(one["name"] == "NotFound" for one in main.get("errors", ()))
                else {}
            ),
        },
    }


def _name(nsid: str, name: str) -> str:
    return f"{nsid}.{name}"


def _schema(nsid: str, definition: Definition) -> Schema:
    kind = definition["type"]
    schema: Schema
    match kind:
        case "ref":
            return {"$ref": _PREFIX + _target(nsid, definition["ref"])}
        case "union":
            return {"anyOf": [{"$ref": _PREFIX + _target(nsid, ref)} for ref in definition["refs"]]}
        case "array":
            schema = {"type": "array", "items": _schema(nsid, definition["items"])}
            bounds = {"minLength": "minItems", "maxLength": "maxItems"}
        case "object":
            schema = {
                "type": "object",
                "required": list(definition.get("required", ())),
                "properties": {
                    name: _schema(nsid, inner)
                    for name, inner in definition.get("properties", {}).items()
                },
            }
            bounds = {}
        case "unknown" | "bytes" | "blob" | "cid-link":
            schema, bounds = {"type": "object"}, {}
        case _:
            schema = {"type": kind}
            bounds = {"minimum": "minimum", "maximum": "maximum", "maxLength": "maxLength"}
    for name, keyword in bounds.items():
        _copy(definition, name, schema, keyword)
    for name in ("description", "enum", "const", "default", "format"):
        _copy(definition, name, schema, name)
    return schema


def _target(nsid: str, ref: str) -> str:
    base, _, name = ref.partition("#")
    return _name(base or nsid, name or "main")


def _copy(source: Mapping[str, Any], name: str, target: Schema, keyword: str) -> None:
    if name in source:
        target[keyword] = source[name]
