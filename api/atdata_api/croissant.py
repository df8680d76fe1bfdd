"""A dataset as Croissant JSON-LD (https://docs.mlcommons.org/croissant/docs/croissant-spec.html).

Pure. The shards are FileObjects, or FileSets where a URL in braces stands for very many. Each holds
samples as msgpack, so a field is a path into those. Nobody has hashed the shards, which is what
`isLiveDataset` says.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from typing import Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from atdata_indexer.index.fields import INVALID_HANDLE
from atdata_schemas.records import Dataset, Field, NDArray, Primitive, Schema

MEDIA_TYPE = "application/ld+json"
CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
MOST_SHARDS = 16
"""So many shards of one URL are named one by one."""

type Node = dict[str, Any]

_TERMS = (
    "arrayShape citeAs column containedIn equivalentProperty extract field fileObject "
    "fileProperty fileSet format includes isArray isLiveDataset jsonPath key md5 "
    "parentField path recordSet references regex repeated replace samplingRate separator "
    "source subField transform"
)
CONTEXT: Node = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
} | {term: f"cr:{term}" for term in _TERMS.split()}
"""The whole context of version 1.1: readers complain of one that leaves out what is not used."""

_PRIMITIVES = {
    "str": "sc:Text",
    "int": "sc:Integer",
    "float": "sc:Float",
    "bool": "sc:Boolean",
    "bytes": "sc:Text",
}
_DTYPES = {
    **{f"int{bits}": f"cr:Int{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"cr:UInt{bits}" for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"cr:Float{bits}" for bits in (16, 32, 64)},
    "bool": "sc:Boolean",
}
_BRACES = re.compile(r"\{([0-9]{1,12})\.\.([0-9]{1,12})\}")
_NOT_PLAIN = re.compile(r"[^\w-]")
_TAR = "application/x-tar"
_SAMPLES = "samples"


def croissant(view: Mapping[str, Any], dataset: Dataset, schema: Schema | None, url: str) -> Node:
    """The document of a dataset whose page is at `url`; `schema` is None while it is not known."""
    document = schema_org(view, dataset, url) | {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "citeAs": _citation(view, dataset),
        "isLiveDataset": True,
    }
    shards = list(_shards(dataset.urls))
    document["distribution"] = shards
    if shards:
        document["distribution"] = [*shards, _sample_files(shards)]
    if shards and schema is not None and schema.fields:
        document["recordSet"] = [_record_set(schema)]
    return document


def schema_org(view: Mapping[str, Any], dataset: Dataset, url: str) -> Node:
    """The same in the terms of schema.org alone, as search engines read it."""
    author = view["author"]
    known = author["handle"] != INVALID_HANDLE
    about: Node = {
        "@context": "https://schema.org/",
        "@type": "Dataset",
        "name": dataset.name,
        "description": dataset.description or dataset.name,
        "url": url,
        "identifier": [view["uri"], view["cid"]],
        "creator": {
            "@type": "Person",
            "name": author["handle"] if known else author["did"],
            "identifier": author["did"],
        },
        "datePublished": dataset.created_at.isoformat(),
        "dateModified": view["indexedAt"],
    }
    if known:
        about["creator"]["url"] = f"https://{author['handle']}"
    if dataset.tags:
        about["keywords"] = list(dataset.tags)
    if dataset.license:
        about["license"] = license_url(dataset.license)
    about["distribution"] = [
        {"@type": "DataDownload", "contentUrl": one, "encodingFormat": _TAR} for one in dataset.urls
    ]
    return about


def _citation(view: Mapping[str, Any], dataset: Dataset) -> str:
    author = view["author"]
    name = author["did"] if author["handle"] == INVALID_HANDLE else author["handle"]
    return f"{name} ({dataset.created_at.year}). {dataset.name}. {view['uri']}"


def license_url(license: str) -> str:
    """The page of a single SPDX licence; anything else as it is."""
    try:
        name = canonicalize_license_expression(license)
    except InvalidLicenseExpression:
        return license
    return license if " " in name else f"https://spdx.org/licenses/{name}"


def _shards(urls: Sequence[str]) -> Iterator[Node]:
    for number, url in enumerate(urls):
        name = f"shards-{number}"
        expanded = list(islice(_expanded(url), MOST_SHARDS + 1))
        if len(expanded) > MOST_SHARDS:
            # Very many: their pattern stands for them.
            yield {
                "@type": "cr:FileSet",
                "@id": name,
                "name": name,
                "description": url,
                "encodingFormat": _TAR,
                "includes": _BRACES.sub("*", url),
            }
            continue
        for at, one in enumerate(expanded):
            shard = f"{name}-{at}" if len(expanded) > 1 else name
            yield {
                "@type": "cr:FileObject",
                "@id": shard,
                "name": shard,
                "contentUrl": one,
                "encodingFormat": _TAR,
            }


def _expanded(url: str) -> Iterator[str]:
    """Every URL that one in braces stands for (`x-{000..012}.tar`)."""
    pieces = _BRACES.split(url)
    texts, bounds = pieces[::3], list(zip(pieces[1::3], pieces[2::3], strict=True))
    # No more than is asked for: a range may be as long as twelve digits allow.
    ranges = [range(int(low), int(high) + 1) for low, high in bounds]
    if any(len(one) > MOST_SHARDS for one in ranges):
        yield from [url] * (MOST_SHARDS + 1)
        return
    for numbers in product(*ranges):
        filled = [f"{n:0{len(low)}}" for n, (low, _) in zip(numbers, bounds, strict=True)]
        yield "".join(f"{text}{number}" for text, number in zip(texts, [*filled, ""], strict=True))


def _sample_files(shards: Sequence[Node]) -> Node:
    return {
        "@type": "cr:FileSet",
        "@id": _SAMPLES,
        "name": _SAMPLES,
        "containedIn": [{"@id": shard["@id"]} for shard in shards],
        "encodingFormat": "application/x-msgpack",
        "includes": "*.msgpack",
    }


def _ids(within: str, names: Sequence[str]) -> list[str]:
    """An `@id` for each name, no two the same: whoever reads them takes one for one thing.

    Only letters, digits and what joins them stay, as an `@id` is resolved like a URL.
    """
    ids: dict[str, None] = {}  # a set that keeps its order
    counts: Counter[str] = Counter()
    for name in names:
        plain = one = _NOT_PLAIN.sub("_", name) or "_"
        while one in ids:
            counts[plain] += 1
            one = f"{plain}-{counts[plain] + 1}"
        ids[one] = None
    return [f"{within}/{one}" for one in ids]


def _record_set(schema: Schema) -> Node:
    ids = _ids("records", [field.name for field in schema.fields])
    return {
        "@type": "cr:RecordSet",
        "@id": "records",
        "name": schema.name,
        "description": schema.description or f"Samples of {schema.name} {schema.version}",
        "field": [_field(*one) for one in zip(ids, schema.fields, strict=True)],
    }


def _field(name: str, field: Field) -> Node:
    node: Node = {
        "@type": "cr:Field",
        "@id": name,
        "name": field.name,
        "dataType": "sc:Text",
        "source": {
            "fileSet": {"@id": _SAMPLES},
            "extract": {"fileProperty": "content"},
            "transform": {"jsonPath": _path_to(field.name)},
        },
    }
    if field.description:
        node["description"] = field.description
    match field.type:
        case Primitive(primitive):
            node["dataType"] = _PRIMITIVES.get(primitive, "sc:Text")
        case NDArray(dtype, shape):
            node["dataType"] = _DTYPES.get(dtype, "sc:Float")
            node["isArray"] = True
            if shape:
                sizes = ("-1" if length is None else str(length) for length in shape)
                node["arrayShape"] = ",".join(sizes)
        case _:
            pass  # another schema, or what only its own schema can say
    return node


def _path_to(name: str) -> str:
    """The JSONPath of a member (RFC 9535, section 2.5.1)."""
    return f"$.{name}" if name.isidentifier() else f"$[{json.dumps(name, ensure_ascii=False)}]"
