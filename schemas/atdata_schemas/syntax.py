"""Strict syntax of AT Protocol identifiers (https://atproto.com/specs: did, handle, nsid, …).

Predicates (`is_did`, …) never raise; `FORMATS` maps a lexicon's string `format` to its predicate.
Parsers (`AtUri.parse`, `parse_datetime`, `cid_text`) raise ValueError.
"""

import re
from base64 import b32decode, b32encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

_DID = re.compile(r"did:[a-z]+:[a-zA-Z0-9._:%-]*[a-zA-Z0-9._-]")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_HANDLE = re.compile(rf"(?:{_LABEL}\.)+[a-zA-Z](?:[a-zA-Z0-9-]{{0,61}}[a-zA-Z0-9])?")
_NSID = re.compile(
    rf"[a-zA-Z](?:[a-zA-Z0-9-]{{0,61}}[a-zA-Z0-9])?(?:\.{_LABEL})+\.[a-zA-Z][a-zA-Z0-9]{{0,62}}"
)
_RECORD_KEY = re.compile(r"[a-zA-Z0-9._:~-]{1,512}")
_TID_DIGITS = str.maketrans("234567abcdefghijklmnopqrstuvwxyz", "0123456789abcdefghijklmnopqrstuv")
_TID = re.compile(r"[234567a-j][234567a-z]{12}")
_DATETIME = re.compile(
    r"[0-9]{4}-[01][0-9]-[0-3][0-9]T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,20})?"
    r"(?:Z|[+-][0-2][0-9]:[0-5][0-9])"
)
_URI = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,80}:[^\s\x00-\x1f\x7f]+")
_LANGUAGE = re.compile(r"(?:i|[a-z]{2,3})(?:-[a-zA-Z0-9]+)*")
_AT_URI_PREFIX = "at://"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def is_did(text: str) -> bool:
    """Whether `text` is a DID (spec: did)."""
    return len(text) <= 2048 and _DID.fullmatch(text) is not None


def is_handle(text: str) -> bool:
    """Whether `text` is a handle (spec: handle). Says nothing about whether it resolves."""
    return len(text) <= 253 and _HANDLE.fullmatch(text) is not None


def is_at_identifier(text: str) -> bool:
    """Whether `text` is a DID or a handle."""
    return is_did(text) if text.startswith("did:") else is_handle(text)


def is_nsid(text: str) -> bool:
    """Whether `text` is a namespaced identifier (spec: nsid)."""
    return len(text) <= 317 and _NSID.fullmatch(text) is not None


def is_record_key(text: str) -> bool:
    """Whether `text` is a record key (spec: record-key)."""
    return _RECORD_KEY.fullmatch(text) is not None and text not in {".", ".."}


def is_tid(text: str) -> bool:
    """Whether `text` is a timestamp identifier (spec: tid)."""
    return _TID.fullmatch(text) is not None


def is_at_uri(text: str) -> bool:
    """Whether `text` is an AT-URI in the restricted form lexicons use (spec: at-uri-scheme).

    Authority alone, authority and collection, or authority, collection and record key; no query,
    fragment or trailing slash.
    """
    if len(text) > 8192 or not text.startswith(_AT_URI_PREFIX):
        return False
    match text.removeprefix(_AT_URI_PREFIX).split("/"):
        case [authority]:
            return is_at_identifier(authority)
        case [authority, collection]:
            return is_at_identifier(authority) and is_nsid(collection)
        case [authority, collection, rkey]:
            return is_at_identifier(authority) and is_nsid(collection) and is_record_key(rkey)
        case _:
            return False


def is_datetime(text: str) -> bool:
    """Whether `text` is a datetime a lexicon accepts (spec: lexicon, "datetime")."""
    try:
        parse_datetime(text)
    except ValueError:
        return False
    return True


def is_cid(text: str) -> bool:
    """Whether `text` is a CID as the data model blesses it: v1, base32, SHA-256, cbor or raw."""
    return len(text) == 59 and text[0] == "b" and _is_blessed_cid(text)


def is_uri(text: str) -> bool:
    """Whether `text` is a URI of any scheme (spec: lexicon, "uri")."""
    return len(text) <= 8192 and _URI.fullmatch(text) is not None


def is_language(text: str) -> bool:
    """Whether `text` has the shape of a BCP 47 language tag."""
    return len(text) <= 128 and _LANGUAGE.fullmatch(text) is not None


FORMATS: dict[str, Callable[[str], bool]] = {
    "at-identifier": is_at_identifier,
    "at-uri": is_at_uri,
    "cid": is_cid,
    "datetime": is_datetime,
    "did": is_did,
    "handle": is_handle,
    "language": is_language,
    "nsid": is_nsid,
    "record-key": is_record_key,
    "tid": is_tid,
    "uri": is_uri,
}


@dataclass(frozen=True, slots=True)
class AtUri:
    """The AT-URI of one record: authority (DID or handle), collection (NSID) and record key."""

    authority: str
    collection: str
    rkey: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the AT-URI of a record. Raises ValueError for any other AT-URI or text."""
        if not is_at_uri(text) or text.count("/") != 4:
            raise ValueError(f"not the AT-URI of a record: {text[:200]!r}")
        return cls(*text.removeprefix(_AT_URI_PREFIX).split("/"))

    def __str__(self) -> str:
        return f"{_AT_URI_PREFIX}{self.authority}/{self.collection}/{self.rkey}"


def parse_datetime(text: str) -> datetime:
    """Parse a lexicon datetime into an aware UTC datetime; digits beyond microseconds are cut.

    Raises ValueError when the syntax or the calendar says no.
    """
    if len(text) > 64 or not _DATETIME.fullmatch(text):
        raise ValueError(f"not a datetime: {text[:80]!r}")
    if text.endswith("-00:00") or text.startswith("000"):
        raise ValueError(f"not a datetime lexicons accept: {text!r}")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"datetime out of range: {text!r}") from error


def micros(moment: datetime) -> int:
    """Whole microseconds from the Unix epoch to an aware `moment`; negative before 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def format_micros(us: int) -> str:
    """The lexicon datetime, in UTC with microseconds, of `us` microseconds after the epoch."""
    moment = _EPOCH + timedelta(microseconds=us)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def tid_micros(tid: str) -> int:
    """The microseconds since the epoch that a TID claims. Its author chose them: never trust."""
    return int(tid.translate(_TID_DIGITS), 32) >> 10


def cid_text(cid: bytes) -> str:
    """The base32 text of a binary CID. Raises ValueError unless it is 36 bytes of v1, SHA-256."""
    if len(cid) != 36 or cid[0] != 1 or cid[1] not in (0x55, 0x71) or cid[2:4] != b"\x12\x20":
        raise ValueError(f"not a CID of the AT Protocol data model: {cid[:40].hex()}")
    return "b" + b32encode(cid).decode("ascii").rstrip("=").lower()


def _is_blessed_cid(text: str) -> bool:
    try:
        raw = b32decode(text[1:].upper() + "=" * 6)
        return cid_text(raw) == text
    except ValueError:
        return False
