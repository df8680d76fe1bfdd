"""What was read before: records by AT-URI, and where accounts live. In memory, on request on disk.

A record is kept with its CID. One that comes from the folder counts only where its content still
has that CID (spec: repository, DAG-CBOR and SHA-256), so that a damaged file is as none at all.
"""

from __future__ import annotations

from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

from atdata_client._records.stored import StoredRecord

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_IN_MEMORY = 4096
_CID_HEAD = bytes((1, 0x71, 0x12, 32))  # CIDv1, DAG-CBOR, SHA-256, 32 bytes


class Cache:
    """Records and identities, each with the time it was read.

    `folder` keeps them beyond this process, one small file each; it is made when first needed.
    `clock` gives seconds. Several processes may share a folder.
    """

    def __init__(
        self, folder: Path | str | None = None, *, clock: Callable[[], float] = time
    ) -> None:
        self._folder = None if folder is None else Path(folder).expanduser()
        self._clock = clock
        self._held: dict[str, tuple[float, Any]] = {}

    def record(
        self, uri: str, *, max_age: float = float("inf"), cid: str | None = None
    ) -> StoredRecord | None:
        """The record at `uri`, read at most `max_age` seconds ago, and of that `cid` if given."""
        held = self._get(f"record {uri}", max_age)
        match held:
            case {"cid": str(known), "value": dict(value)} if cid in (None, known):
                # A copy: what the caller does to it is no matter of who asks next.
                return StoredRecord(uri, known, deepcopy(value))
        return None

    def keep_record(self, stored: StoredRecord) -> None:
        """Keep a record that was just read."""
        on_disk = self._folder is not None and cid_of(stored.value) == stored.cid
        value = {"cid": stored.cid, "value": deepcopy(stored.value)}
        self._put(f"record {stored.uri}", value, on_disk=on_disk)

    def forget_record(self, uri: str) -> None:
        """Forget what was at `uri`: it was written to."""
        self._drop(f"record {uri}")

    def identity(self, name: str, *, max_age: float) -> str | None:
        """What `name` was resolved to at most `max_age` seconds ago."""
        held = self._get(f"identity {name}", max_age)
        return held if isinstance(held, str) else None

    def keep_identity(self, name: str, value: str) -> None:
        """Keep what `name` was just resolved to."""
        self._put(f"identity {name}", value, on_disk=self._folder is not None)

    def _get(self, key: str, max_age: float) -> Any:
        if key not in self._held and (found := self._read(key)) is not None:
            self._hold(key, *found)
        at, value = self._held.get(key, (0.0, None))
        # A time to come is a clock that was set back since: it says nothing of the age.
        return value if 0 <= self._clock() - at <= max_age else None

    def _put(self, key: str, value: Any, *, on_disk: bool) -> None:
        at = self._clock()
        self._hold(key, at, value)
        if on_disk:
            self._write(key, at, value)

    def _hold(self, key: str, at: float, value: Any) -> None:
        self._held.pop(key, None)
        self._held[key] = (at, value)
        if len(self._held) > MAX_IN_MEMORY:
            del self._held[next(iter(self._held))]

    def _drop(self, key: str) -> None:
        self._held.pop(key, None)
        if self._folder is not None:
            self._file(self._folder, key).unlink(missing_ok=True)

    def _read(self, key: str) -> tuple[float, Any] | None:
        import json

        if self._folder is None:
            return None
        try:
            held = json.loads(self._file(self._folder, key).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        match held:
            case {"key": str(name), "at": int() | float() as at, "value": value} if name == key:
                return (float(at), value) if _is_whole(value) else None
        return None

    def _write(self, key: str, at: float, value: Any) -> None:
        import json
        import os
        from tempfile import NamedTemporaryFile

        assert self._folder is not None
        self._folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"key": key, "at": at, "value": value}).encode()
        with NamedTemporaryFile(dir=self._folder, suffix=".new", delete=False) as file:
            file.write(text)
        # Whoever reads meanwhile finds the file before or the one after.
        os.replace(file.name, self._file(self._folder, key))

    def _file(self, folder: Path, key: str) -> Path:
        return folder / f"{sha256(key.encode()).hexdigest()[:32]}.json"


def cid_of(value: Any) -> str | None:
    """The CID of a record in JSON form; None for one with links or anything not of the data model.

    The encoder at hand knows no links.
    """
    import libipld

    try:
        cbor = libipld.encode_dag_cbor(_plain(value))
    except (ValueError, TypeError):
        return None
    text: str = libipld.encode_multibase("b", _CID_HEAD + sha256(cbor).digest())
    return text


def _is_whole(value: Any) -> bool:
    match value:
        case {"cid": str(cid), "value": record}:
            return cid_of(record) == cid
    return isinstance(value, str)


def _plain(value: Any) -> Any:
    """A value in JSON form with Python bytes for `$bytes`. Raises ValueError for links, floats."""
    from atdata_schemas.lexicon import decode_bytes

    match value:
        case {"$bytes": _}:
            return decode_bytes(value, "")
        case {"$link": _}:
            raise ValueError("a link")
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case float():
            raise ValueError("a float")
    return value
