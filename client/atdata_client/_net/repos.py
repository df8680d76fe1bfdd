"""Whose repository, where it is, and what it holds: one's own PDS is asked with the session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from atdata_client._net.identity import Directory
from atdata_client._net.sdk import TIMEOUT, pds_error
from atdata_client._net.xrpc import XrpcReader
from atdata_client._records.stored import StoredRecord
from atdata_client.errors import Failure, PdsError, RecordNotFound

if TYPE_CHECKING:
    from atdata_client._net.session import PdsSession

_PAGE = 100
_ATTEMPTS = 3


class Repos:
    """Reads every author's repository from the PDS that holds it."""

    def __init__(self, session: PdsSession, directory: Directory) -> None:
        self._session = session
        self._directory = directory
        self._readers: dict[str, XrpcReader] = {}

    def home_of(self, identifier: str) -> str | None:
        """The PDS of an account that logs in; None, the SDK's default, for an e-mail address."""
        if "@" in identifier:
            return None
        # A password goes to the PDS that the account names now, not to one that it named before.
        return self._directory.pds_of(self._directory.did_of(identifier, max_age=0), max_age=0)

    def pds_of(self, did: str) -> str:
        """The PDS of an account. Raises IdentityError."""
        return self._directory.pds_of(did)

    def did_of(self, authority: str) -> str:
        """The DID of an AT-URI's authority; one's own PDS is asked first for handles."""
        session = self._session.now
        if session is not None and not authority.startswith("did:"):
            if authority == session.handle:
                return str(session.did)
            try:
                name = "com.atproto.identity.resolveHandle"
                return str(self._read(session.did, name, {"handle": authority})["did"])
            except PdsError:
                pass
        return self._directory.did_of(authority)

    def record(self, did: str, collection: str, rkey: str) -> StoredRecord:
        """One record, as its PDS holds it. Raises RecordNotFound, IdentityError, PdsError."""
        params = {"repo": did, "collection": collection, "rkey": rkey}
        return _stored(self._read(did, "com.atproto.repo.getRecord", params))

    def records(self, did: str, collection: str) -> Iterator[StoredRecord]:
        """All records of a collection, page by page as they are asked for."""
        params = {"repo": did, "collection": collection, "limit": str(_PAGE)}
        seen: set[str] = set()
        while True:
            page = self._read(did, "com.atproto.repo.listRecords", params)
            records = [_stored(item) for item in page.get("records", ())]
            yield from records
            cursor = page.get("cursor")
            # A cursor that comes again, or with nothing, would never end.
            if not isinstance(cursor, str) or cursor in seen or not records:
                return
            seen.add(cursor)
            params["cursor"] = cursor

    def close(self) -> None:
        """Close the connections to others' PDSs, and to the directory."""
        for reader in self._readers.values():
            reader.close()
        self._directory.close()

    def _read(self, did: str, nsid: str, params: Mapping[str, str]) -> dict[str, Any]:
        session = self._session.now
        if session is not None and did == session.did:
            return self._session.query(nsid, params)
        url = self._directory.pds_of(did)
        try:
            return self._reader(url).query(nsid, params.items())
        except PdsError as error:
            gone = not isinstance(error, RecordNotFound) or error.error == "RepoNotFound"
            # The account may have moved since it was looked up.
            moved = self._directory.moved(did, url) if gone else None
            if moved is None:
                raise
        return self._reader(moved).query(nsid, params.items())

    def _reader(self, url: str) -> XrpcReader:
        if url not in self._readers:
            reader = XrpcReader(url, pds_error, timeout=TIMEOUT, attempts=_ATTEMPTS)
            self._readers[url] = reader
        return self._readers[url]


def _stored(item: Any) -> StoredRecord:
    match item:
        case {"uri": str(uri), "cid": str(cid), "value": dict(value)}:
            return StoredRecord(uri, cid, value)
    raise pds_error(Failure("PDS", 200, "UnexpectedResponse", "not a record with URI and CID"))
