"""Sessions and records: the author's own PDS for writing, every author's for reading.

Records are exchanged in JSON form. `create_record` and `put_record` also take Python `bytes`
anywhere in a record; what is read back holds `{"$bytes": unpadded base64}`, as the network has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from atdata_client._net.cache import Cache
from atdata_client._net.identity import PLC_DIRECTORY, Directory
from atdata_client._net.repos import Repos
from atdata_client._net.sdk import session_of, subject
from atdata_client._net.session import PdsSession
from atdata_client._records.stored import StoredRecord

if TYPE_CHECKING:
    from pathlib import Path

    from atproto import Client


class ATProtoClient:
    """A session with the author's PDS, and a reader of every author's.

    `client` is a pre-configured `atproto.Client`, used as it is. Otherwise the PDS is `base_url`,
    or, without it, the one that the account's identity names when logging in. `plc_url` is the
    directory of `did:plc` identities. `cache` is a folder in which schemas and resolved identities
    are kept beyond this process; without one they are kept in memory. Nothing is sent before the
    first call.
    """

    def __init__(
        self,
        client: Client | None = None,
        *,
        base_url: str | None = None,
        plc_url: str = PLC_DIRECTORY,
        cache: Path | str | None = None,
    ) -> None:
        if client is not None and base_url is not None:
            raise ValueError("give a client or a base_url, not both")
        self._cache = Cache(cache)
        self._session = PdsSession(client, base_url)
        self._repos = Repos(self._session, Directory(plc_url, cache=self._cache))

    def login(self, handle: str, password: str) -> None:
        """Log in with a handle, DID or e-mail address and a password or app password.

        Raises AuthenticationError for wrong credentials, IdentityError when the account names no
        PDS, PdsError when the PDS does not answer.
        """
        self._session.login(handle, password, lambda: self._repos.home_of(handle))

    def login_with_token(self, access_token: str, refresh_token: str) -> None:
        """Go on with a session begun elsewhere, from its access and refresh JWTs.

        The tokens are tried at once; an access token that has expired or is about to is renewed.
        Raises what `login` raises, and AuthenticationError for tokens that are none.
        """
        from atproto import Session

        did = subject(access_token)
        start = Session("handle.invalid", did, access_token, refresh_token)
        self._session.resume(start, lambda: self._repos.pds_of(did))

    def export_session(self) -> str:
        """The session as text, for `login_with_session`. Raises ValueError when not logged in.

        It holds the session's tokens: keep it as you would a password. Tokens are renewed now and
        then, and the ones before end; what was exported last is what goes on.
        """
        session = self._session.now
        if session is None:
            raise ValueError("Not authenticated")
        return str(session.export())

    def login_with_session(self, session: str) -> None:
        """Go on with a session that `export_session` gave, at the PDS it was begun with.

        Raises what `login_with_token` raises, and AuthenticationError for text that is no session.
        """
        start = session_of(session)
        self._session.resume(start, lambda: start.pds_endpoint)

    @property
    def is_authenticated(self) -> bool:
        """Whether there is a session. That the PDS still honours it shows with the next call."""
        return self._session.now is not None

    @property
    def did(self) -> str:
        """The DID of the account that is logged in. Raises ValueError when none is."""
        session = self._session.now
        if session is None:
            raise ValueError("Not authenticated")
        return str(session.did)

    def create_record(
        self, collection: str, record: Mapping[str, Any], *, rkey: str | None = None
    ) -> str:
        """Create a record in one's own repository; returns its AT-URI.

        `record` may leave out `$type`, and is sent as it is otherwise: the publishers check
        records, this does not. The PDS chooses the record key unless `rkey` is given. Raises
        ValueError when not logged in or `$type` is another's, ValidationError for values the data
        model has no place for, PdsError.
        """
        body = {"collection": collection, "record": _typed(collection, record)}
        if rkey is not None:
            body["rkey"] = rkey
        return str(self._write("createRecord", body)["uri"])

    def put_record(
        self, uri: str, record: Mapping[str, Any], *, swap_cid: str | None = None
    ) -> str:
        """Replace one's own record at `uri`; returns its new CID.

        With `swap_cid` only where the record still has that CID (SwapConflict otherwise). Raises
        what `create_record` raises, and ValueError for another's record.
        """
        collection, rkey = self._own(uri)
        body = {"collection": collection, "rkey": rkey, "record": _typed(collection, record)}
        with self._forgetting(collection, rkey):
            return str(self._write("putRecord", body | _swap(swap_cid))["cid"])

    def delete_record(self, uri: str, *, swap_cid: str | None = None) -> None:
        """Delete one's own record at `uri`; one that is not there is no error.

        With `swap_cid` only where the record still has that CID (SwapConflict otherwise). Raises
        ValueError when not logged in or for another's record, PdsError.
        """
        collection, rkey = self._own(uri)
        with self._forgetting(collection, rkey):
            self._write("deleteRecord", {"collection": collection, "rkey": rkey} | _swap(swap_cid))

    def update_record(
        self, uri: str, changes: Mapping[str, Any], *, swap_cid: str | None = None
    ) -> str:
        """Change some fields of one's own record at `uri`; returns its new CID.

        `changes` has the new values by field; None takes a field away. The metadata of a dataset
        may be given as a mapping. Only where nobody has changed the record since it was read here,
        or since `swap_cid` (SwapConflict otherwise). A schema, dataset or lens is checked before it
        is sent. Raises what `put_record` and `get_record` raise, ValidationError.
        """
        from atdata_client._records.lexicon import changed_record

        self._own(uri)
        before = self.fetch_record(uri)
        record = changed_record(before.value, changes)
        return self.put_record(uri, record, swap_cid=swap_cid or before.cid)

    def create_records(self, records: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """Create records at AT-URIs of one's own repository, all in one commit; returns their CIDs.

        At most 200, and at most 150 KB in all at most PDSs; where one cannot be created none is.
        Otherwise as `create_record`.
        """
        writes, uris = [], []
        for uri, record in records.items():
            collection, rkey = self._own(uri)
            target = {"collection": collection, "rkey": rkey}
            value = {"value": _typed(collection, record)}
            writes.append({"$type": "com.atproto.repo.applyWrites#create"} | target | value)
            uris.append(uri)
        results = self._write("applyWrites", {"writes": writes}).get("results") or ()
        if len(results) != len(uris):  # what was written is written: a PDS need not say its CIDs
            return {uri: self.fetch_record(uri).cid for uri in uris}
        # Told in the order asked, under the DID where a handle may have been asked.
        return {uri: str(result["cid"]) for uri, result in zip(uris, results, strict=True)}

    def get_record(self, uri: str) -> dict[str, Any]:
        """The record at `uri`, in JSON form, from its author's own PDS.

        Raises ValueError when `uri` is not the AT-URI of a record, RecordNotFound, IdentityError
        when its author cannot be found, PdsError.
        """
        return self.fetch_record(uri).value

    def fetch_record(self, uri: str, *, max_age: float = 0.0) -> StoredRecord:
        """The record at `uri` with its CID. Raises what `get_record` raises.

        With `max_age`, in seconds, a schema that was read at most so long ago is not asked for
        again.
        """
        from atdata_schemas.records import SCHEMA_COLLECTIONS
        from atdata_schemas.syntax import AtUri

        target = AtUri.parse(uri)
        did = self._repos.did_of(target.authority)
        is_schema = target.collection in SCHEMA_COLLECTIONS
        own = f"at://{did}/{target.collection}/{target.rkey}"
        if is_schema and max_age > 0 and (known := self._cache.record(own, max_age=max_age)):
            return known
        stored = self._repos.record(did, target.collection, target.rkey)
        if is_schema:
            self._cache.keep_record(StoredRecord(own, stored.cid, stored.value))
        return stored

    def list_records(self, collection: str, did: str | None = None) -> list[dict[str, Any]]:
        """All records of a collection, every page, in JSON form.

        Of one's own repository without `did` (a DID, or a handle), else of that account's, from
        its own PDS. Each item holds the record's fields, and its AT-URI and CID as `uri` and
        `cid`. Raises ValueError when not logged in and no `did` is given, IdentityError, PdsError.
        """
        return [
            {**item.value, "uri": item.uri, "cid": item.cid}
            for item in self.iter_records(collection, did)
        ]

    def iter_records(self, collection: str, did: str | None = None) -> Iterator[StoredRecord]:
        """What `list_records` lists, page by page as it is asked for, each as its PDS holds it."""
        author = self.did if did is None else self._repos.did_of(did)
        return self._repos.records(author, collection)

    def close(self) -> None:
        """Close all connections but those of a client that was given. Nothing works afterwards."""
        self._repos.close()
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _own(self, uri: str) -> tuple[str, str]:
        """Collection and record key of one's own record."""
        from atdata_schemas.syntax import AtUri

        target = AtUri.parse(uri)
        if self._repos.did_of(target.authority) != self.did:
            raise ValueError(f"{uri} is not in the repository of {self.did}")
        return target.collection, target.rkey

    @contextmanager
    def _forgetting(self, collection: str, rkey: str) -> Iterator[None]:
        """Forget what was kept of one's own record, whether or not writing it is seen to succeed.

        Afterwards: what is read meanwhile would be kept again.
        """
        try:
            yield
        finally:
            self._cache.forget_record(f"at://{self.did}/{collection}/{rkey}")

    def _write(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._session.call(f"com.atproto.repo.{name}", {"repo": self.did, **body})


def _typed(collection: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """The record in JSON form, with its `$type`."""
    from atdata_client._records.lexicon import to_json

    typed: dict[str, Any] = to_json({"$type": collection, **record})
    if typed["$type"] != collection:
        raise ValueError(f"the record is a {typed['$type']}, not a {collection}")
    return typed


def _swap(cid: str | None) -> dict[str, str]:
    return {} if cid is None else {"swapRecord": cid}
