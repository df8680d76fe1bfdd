"""Schema records in a few words: `schema(x=plain("int"), image=array("uint8", None, 3))`."""

from typing import Any

BOX = "at://did:plc:alicealicealicealicealic/app.bsky.atdata.schema/3mabcdefghij2"
OTHER = "at://did:plc:alicealicealicealicealic/app.bsky.atdata.schema/3mabcdefghik2"


def plain(primitive: str) -> dict[str, Any]:
    return {"kind": "primitive", "primitive": primitive}


def array(dtype: str, *shape: int | None) -> dict[str, Any]:
    return {"kind": "ndarray", "dtype": dtype} | ({"shape": list(shape)} if shape else {})


def nested(uri: str) -> dict[str, Any]:
    return {"kind": "nested", "schemaRef": uri}


def schema(optional: str = "", /, **fields: dict[str, Any]) -> dict[str, Any]:
    """A schema record with these fields, those named in `optional` being so."""
    return {
        "$type": "app.bsky.atdata.schema",
        "name": "Photo",
        "version": "1.0.0",
        "fields": [
            {"name": name, "type": declared, "optional": name in optional.split()}
            for name, declared in fields.items()
        ],
        "createdAt": "2026-01-01T00:00:00Z",
    }
