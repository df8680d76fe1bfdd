"""`/at/…`: the page of a record for people and search engines, and a dataset as Croissant.

What authors wrote is shown as text and never as a link that does anything but lead to http(s).
"""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Any

from fastapi import Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from atdata_api import croissant
from atdata_api.answering import Answering
from atdata_api.errors import XrpcError
from atdata_api.identity import ServiceIdentity
from atdata_api.places import Places
from atdata_api.xrpc import json_response
from atdata_indexer.index.fields import INVALID_HANDLE
from atdata_indexer.index.reader import Reader
from atdata_schemas.errors import ValidationError
from atdata_schemas.records import (
    COLLECTIONS,
    CodeReference,
    CodeText,
    Dataset,
    Field,
    Lens,
    NDArray,
    Nested,
    Primitive,
    Record,
    Schema,
    parse_record,
)
from atdata_schemas.syntax import is_at_uri

FORMATS = ("html", "json", "croissant")
_KINDS = {"dataset": "datasets", "schema": "schemas", "lens": "lenses"}
_STYLE = (files("atdata_api") / "templates" / "style.css").read_text("utf-8")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none';"
    f" style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True, slots=True)
class _Text:
    """A value that is shown, and where it leads to, if anywhere."""

    text: str
    href: str = ""
    rel: str = ""


class PageRoutes:
    """Serves the pages of what is in the index."""

    def __init__(self, reader: Reader, identity: ServiceIdentity) -> None:
        self._reader = reader
        self._identity = identity
        environment = Environment(
            loader=PackageLoader("atdata_api"), autoescape=True, undefined=StrictUndefined
        )
        self._template = environment.get_template("record.html")

    def add_to(self, answering: Answering) -> None:
        """Add the routes."""
        answering.add("/at/{did}/{collection}/{rkey}", self._record, "page")

    def _record(self, request: Request) -> Response:
        did, collection, rkey = (request.path_params[one] for one in ("did", "collection", "rkey"))
        format = request.query_params.get("format", "html")
        uri = f"at://{did}/{collection}/{rkey}"
        kind = COLLECTIONS.get(collection)
        if format not in FORMATS:
            raise ValidationError("format", "enum", f"none of {', '.join(FORMATS)}")
        if not is_at_uri(uri):
            raise ValidationError("uri", "format", "not the AT-URI of a record")
        text = self._view(kind, uri)
        if kind is None or text is None:
            raise XrpcError(404, "NotFound", f"{uri} is not in the index; getRecordStatus says why")
        if format == "json":
            return json_response(text)
        view = json.loads(text)
        record = _parsed(view)
        places = Places.of(self._identity, request)
        if format == "croissant":
            if not isinstance(record, Dataset):
                why = "this one breaks their lexicon" if kind == "dataset" else f"this is a {kind}"
                raise XrpcError(404, "NotFound", f"format: Croissant describes datasets; {why}")
            schema = self._schema(record.schema_ref)
            document = croissant.croissant(view, record, schema, places.page(uri))
            body = json.dumps(document, ensure_ascii=False)
            return Response(body, media_type=croissant.MEDIA_TYPE, headers=_HEADERS)
        return HTMLResponse(self._html(kind, view, record, places), headers=_HEADERS)

    def _view(self, kind: str | None, uri: str) -> str | None:
        views = [] if kind not in _KINDS else self._reader.get(kind, [uri])
        return views[0] if views else None

    def _schema(self, uri: str) -> Schema | None:
        found = self._view("schema", uri)
        record = None if found is None else _parsed(json.loads(found))
        return record if isinstance(record, Schema) else None

    def _html(
        self, kind: str, view: Mapping[str, Any], record: Record | None, places: Places
    ) -> str:
        author, raw = view["author"], view["record"]
        url = places.page(view["uri"])
        json_ld = ""
        if isinstance(record, Dataset):
            json_ld = _in_script(croissant.schema_org(view, record, url))
        known = author["handle"] != INVALID_HANDLE
        return self._template.render(
            kind=kind,
            name=raw.get("name", view["uri"]),
            version=raw.get("version", ""),
            description=raw.get("description", ""),
            author=author["handle"] if known else author["did"],
            did=author["did"],
            uri=view["uri"],
            url=url,
            feed=places.feed(_KINDS[kind], author=author["did"]),
            style=_STYLE,
            json_ld=json_ld,
            facts=[*_facts(view, record, places)],
            fields=[_field(one) for one in record.fields] if isinstance(record, Schema) else (),
            codes=[*_codes(record)] if isinstance(record, Lens) else (),
        )


def _parsed(view: Mapping[str, Any]) -> Record | None:
    """The record of a view; None where it breaks a rule that is younger than it."""
    record = view["record"]
    try:
        return parse_record(record["$type"], view["uri"].rpartition("/")[2], record)
    except ValidationError:
        return None


def _in_script(value: object) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _facts(
    view: Mapping[str, Any], record: Record | None, places: Places
) -> Iterator[tuple[str, str | Sequence[_Text]]]:
    """What is told of a record, each by its name."""
    match record:
        case Dataset():
            yield "schema", [_schema(view["schema"], places)]
            if record.tags:
                yield "tags", [_Text(tag, places.feed("datasets", tags=tag)) for tag in record.tags]
            if record.license:
                yield "license", [_link(record.license, croissant.license_url(record.license))]
            if record.samples is not None:
                yield "samples", f"{record.samples:,}"
            if record.size_bytes is not None:
                yield "bytes", f"{record.size_bytes:,}"
            if record.urls:
                yield "shards", [_link(url, url) for url in record.urls]
        case Lens():
            yield "from", [_schema(view["source"], places)]
            yield "to", [_schema(view["target"], places)]
    if isinstance(created := view["record"].get("createdAt"), str):
        yield "created", created
    yield "indexed", view["indexedAt"]


def _schema(link: Mapping[str, Any], places: Places) -> _Text:
    if link["status"] != "indexed":
        return _Text(f"{link['uri']} (not in the index)")
    return _Text(f"{link['name']} {link['version']}", places.page(link["uri"]))


def _link(text: str, target: str) -> _Text:
    """A link out, if it leads to the web and does nothing else."""
    if target.lower().startswith(("http://", "https://")):
        return _Text(text, target, "nofollow noopener noreferrer")
    return _Text(text)


def _field(field: Field) -> Mapping[str, str | None]:
    match field.type:
        case Primitive(primitive):
            kind = primitive
        case NDArray(dtype, shape):
            sizes = [] if shape is None else ["?" if one is None else str(one) for one in shape]
            kind = f"ndarray {dtype}{f' ({", ".join(sizes)})' if sizes else ''}"
        case Nested(schema_ref):
            kind = schema_ref
        case foreign:
            kind = f"{foreign.kind} {foreign.detail}".strip()
    optional = " (optional)" if field.optional else ""
    return {"name": field.name, "type": f"{kind}{optional}", "description": field.description}


def _codes(lens: Lens) -> Iterator[tuple[str, str]]:
    for title, code in (("getter", lens.getter), ("putter", lens.putter)):
        match code:
            case CodeText(source):
                yield title, source
            case CodeReference(repository, commit, path):
                yield title, f"{path}\n{repository} at {commit}"
