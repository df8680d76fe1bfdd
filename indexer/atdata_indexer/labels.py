"""Labels, which say something about an account or a record (https://atproto.com/specs/label). Pure.

A labeler's stream is an event stream like any other. Each label is signed with the labeler's own
key, over the DAG-CBOR of all its members but the signature.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import libipld

from atdata_indexer.errors import FrameError, FutureCursor, StreamError
from atdata_indexer.keys import SigningKey
from atdata_schemas.syntax import is_cid, is_did, micros, parse_datetime

_VERSION = 1
_LONGEST = 128
"""The most bytes of a label's value (com.atproto.label.defs#label)."""
_SIGNED = ("ver", "src", "uri", "cid", "val", "neg", "cts", "exp")


@dataclass(frozen=True, slots=True)
class LabelPolicy:
    """Which labels hide what carries them, and which are only shown; `*` stands for all."""

    hiding: frozenset[str] = frozenset({"!hide", "!takedown"})
    showing: frozenset[str] = frozenset({"*"})

    def hides(self, value: str) -> bool:
        """Whether a label hides."""
        return value in self.hiding or "*" in self.hiding

    def shows(self, value: str) -> bool:
        """Whether a label is shown."""
        return value in self.showing or "*" in self.showing


@dataclass(frozen=True, slots=True)
class Label:
    """What `src` says of the account or record `uri`, of its version `cid` where there is one.

    `neg` takes the same label back. It holds until `exp_us`.
    """

    src: str
    uri: str
    val: str
    cts: str
    cid: str | None = None
    neg: bool = False
    exp_us: int | None = None


@dataclass(frozen=True, slots=True)
class SignedLabel:
    """A label as it came: what its labeler signed, and the signature."""

    label: Label
    signed: bytes
    signature: bytes

    def is_by(self, key: SigningKey) -> bool:
        """Whether `key` signed it."""
        return key.signed(self.signature, self.signed)


def read_frame(frame: bytes) -> tuple[int | None, list[SignedLabel]]:
    """The seq of a frame and its labels; what is no label among them is left out.

    Raises FrameError for what cannot be read, and StreamError for what the labeler calls one.
    """
    header, body = _items(frame)
    match header.get("op"), header.get("t"):
        case -1, _:
            error, message = str(body.get("error", "")), str(body.get("message", ""))
            raise (FutureCursor if error == "FutureCursor" else StreamError)(error, message[:500])
        case 1, "#labels":
            seq, labels = body.get("seq"), body.get("labels")
            if type(seq) is not int or not 0 <= seq < 2**63 or not isinstance(labels, list):
                raise FrameError("#labels: no seq or labels")
            return seq, list(_labels(labels))
    return None, []


def _items(frame: bytes) -> list[Mapping[str, Any]]:
    try:
        items = libipld.decode_dag_cbor_multi(frame)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"not DAG-CBOR: {error}") from error
    if len(items) != 2 or not all(isinstance(item, dict) for item in items):
        raise FrameError("not a header and a body")
    return list(items)


def _labels(values: list[Any]) -> Iterator[SignedLabel]:
    for value in values:
        try:
            label = _label(value)
            signed = {name: value[name] for name in _SIGNED if name in value}
            yield SignedLabel(label, libipld.encode_dag_cbor(signed), _bytes(value.get("sig", b"")))
        except (TypeError, ValueError, AttributeError):
            continue  # a bad label harms only itself


def _label(value: Any) -> Label:
    """The label that a map is. Raises TypeError, ValueError and AttributeError for any other."""
    src, uri, val, cts = (_text(value.get(name)) for name in ("src", "uri", "val", "cts"))
    cid, neg, exp = value.get("cid"), value.get("neg", False), value.get("exp")
    if value.get("ver", _VERSION) != _VERSION or not isinstance(neg, bool):
        raise ValueError("not of this version")
    if not is_did(src) or not 0 < len(val.encode()) <= _LONGEST:
        raise ValueError("src or val")
    parse_datetime(cts)
    exp_us = None if exp is None else micros(parse_datetime(_text(exp)))
    if cid is not None and not is_cid(_text(cid)):
        raise ValueError("cid")
    return Label(src, uri, val, cts, cid, neg, exp_us)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError("not bytes")
    return value
