"""The reference of the queries in Markdown, made from the lexicons (`make reference`)."""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from atdata_schemas.lexicon import Definition, lexicons

_HEAD = """# Queries

Made from the lexicons in `schemas/` by `make reference`. Every query is `GET /xrpc/<name>`; a
parameter marked * is required, arrays are repeated parameters. Failures are `{"error", "message"}`;
besides those listed, any query can answer `InvalidRequest` (400) for a parameter that breaks its
rule, and `IndexUnavailable` (503). Where the API runs apart from the indexer, `getRecordStatus` and
`describeService` answer `IndexerUnavailable` (503) while that is down.
"""

_VIEWS = {
    "Views": "app.bsky.atdata.defs",
    "Views of science.alt.dataset": "science.alt.dataset.defs",
}


def reference() -> str:
    """The whole page."""
    found = lexicons()
    parts = [_HEAD]
    for nsid in found.queries():
        parts += _query(nsid, found.document(nsid)["defs"])
    for nsid in found.subscriptions():
        parts += _query(nsid, found.document(nsid)["defs"])
    for title, nsid in _VIEWS.items():
        parts.append(f"## {title}\n")
        for name, definition in found.document(nsid)["defs"].items():
            parts += _object(f"### {name}\n\n", definition)
    return "\n".join(parts)


def _query(nsid: str, definitions: Mapping[str, Definition]) -> Iterator[str]:
    main = definitions["main"]
    yield f"## {nsid}\n\n{main['description']}\n"
    parameters = main.get("parameters", {})
    if parameters.get("properties"):
        yield _table("parameter", parameters)
    if "output" in main:
        yield from _object("Answers: ", main["output"]["schema"])
    for name, definition in definitions.items():
        if name != "main":
            yield from _object(f"`{name}`: ", definition)
    for error in main.get("errors", ()):
        yield f"- `{error['name']}`: {error['description']}\n"


def _object(title: str, definition: Definition) -> Iterator[str]:
    yield f"{title}{definition.get('description', '')}".rstrip() + "\n"
    yield _table("member", definition)


def _table(what: str, definition: Definition) -> str:
    required = definition.get("required", ())
    lines = [f"| {what} | type | |", "|---|---|---|"]
    for name, declared in definition.get("properties", {}).items():
        mark = " *" if name in required and what == "parameter" else ""
        absent = "" if name in required or what == "parameter" else "may be absent. "
        about = absent + declared.get("description", "")
        lines.append(f"| `{name}`{mark} | {_type(declared)} | {about.strip()} |")
    return "\n".join(lines) + "\n"


def _type(declared: Definition) -> str:
    match declared["type"]:
        case "array":
            most = f", at most {declared['maxLength']}" if "maxLength" in declared else ""
            return f"array of {_type(declared['items'])}{most}"
        case "ref":
            return f"`{str(declared['ref']).rpartition('#')[2]}`"
        case "object":
            return "object: " + ", ".join(f"`{name}`" for name in declared["properties"])
        case "unknown":
            return "object"
        case kind:
            return f"{kind}{_bounds(declared)}"


def _bounds(declared: Mapping[str, Any]) -> str:
    said = [str(declared["format"])] if "format" in declared else []
    if "enum" in declared:
        said.append(" / ".join(declared["enum"]))
    if "maximum" in declared:
        said.append(f"{declared.get('minimum', 0)} to {declared['maximum']}")
    elif "minimum" in declared:
        said.append(f"at least {declared['minimum']}")
    if "maxLength" in declared:
        said.append(f"at most {declared['maxLength']} bytes")
    if "default" in declared:
        said.append(f"default {json.dumps(declared['default']).strip('"')}")
    return f" ({', '.join(said)})" if said else ""


if __name__ == "__main__":
    sys.stdout.write(reference())
