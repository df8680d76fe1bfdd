"""Sessions and records: the author's own PDS for writing, every author's for reading.

Records are exchanged in JSON form. `create_record` and `put_record` also take Python `bytes`
anywhere in a record; what is read back holds `{"$bytes": unpadded base64}`, as the network has it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from atdata_client._cache import Cache
from atdata_client._identity import PLC_DIRECTORY, Directory
from atdata_client._sdk import (
    TIMEOUT,
    json_object,
    new_client,
    pds_error,
    sdk_errors,
    session_of,
    subject,
    url_of,
)
from atdata_client._types import StoredRecord
from atdata_client._xrpc import XrpcReader
from atdata_client.errors import Failure, PdsError, RecordNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from atproto import Client, Session

_PAGE = 100
_ATTEMPTS = 3


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
        self._client = client
        self._given = client
        self._base_url = base_url
        self._cache = Cache(cache)
        self._directory = Directory(plc_url, cache=self._cache)
        self._readers: dict[str, XrpcReader] = {}

    def login(self, handle: str, password: str) -> None:
        """Log in with a handle, DID or e-mail address and a password or app password.

        Raises AuthenticationError for wrong credentials, IdentityError when the account names no
        PDS, PdsError when the PDS does not answer.
        """
        with self._entering(lambda: self._home_of(handle)) as sdk:
            sdk.login(handle, password, fetch_bsky_profile=False)

    def login_with_token(self, access_token: str, refresh_token: str) -> None:
        """Go on with a session begun elsewhere, from its access and refresh JWTs.

        The tokens are tried at once; an access token that has expired or is about to is renewed.
        Raises what `login` raises, and AuthenticationError for tokens that are none.
        """
        from atproto import Session

        did = subject(access_token)
        start = Session("handle.invalid", did, access_token, refresh_token)
        self._resume(start, lambda: self._directory.pds_of(did))

    def export_session(self) -> str:
        """The session as text, for `login_with_session`. Raises ValueError when not logged in.

        It holds the session's tokens: keep it as you would a password. Tokens are renewed now and
        then, and the ones before end; what was exported last is what goes on.
        """
        if self._client is None or self._session is None:
            raise ValueError("Not authenticated")
        return str(self._client.export_session_string())

    def login_with_session(self, session: str) -> None:
        """Go on with a session that `export_session` gave, at the PDS it was begun with.

        Raises what `login_with_token` raises, and AuthenticationError for text that is no session.
        """
        start = session_of(session)
        self._resume(start, lambda: start.pds_endpoint)

    @property
    def is_authenticated(self) -> bool:
        """Whether there is a session. That the PDS still honours it shows with the next call."""
        return self._session is not None

    @property
    def did(self) -> str:
        """The DID of the account that is logged in. Raises ValueError when none is."""
        session = self._session
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
        from atdata_client._lexicon import changed_record

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
        did = self._did_of(target.authority)
        is_schema = target.collection in SCHEMA_COLLECTIONS
        own = f"at://{did}/{target.collection}/{target.rkey}"
        if is_schema and max_age > 0 and (known := self._cache.record(own, max_age=max_age)):
            return known
        params = {"repo": did, "collection": target.collection, "rkey": target.rkey}
        stored = _stored(self._read(did, "com.atproto.repo.getRecord", params))
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
        author = self.did if did is None else self._did_of(did)
        return self._walk(author, collection)

    def _walk(self, author: str, collection: str) -> Iterator[StoredRecord]:
        params = {"repo": author, "collection": collection, "limit": str(_PAGE)}
        seen: set[str] = set()
        while True:
            page = self._read(author, "com.atproto.repo.listRecords", params)
            records = [_stored(item) for item in page.get("records", ())]
            yield from records
            cursor = page.get("cursor")
            # A cursor that comes again, or with nothing, would never end.
            if not isinstance(cursor, str) or cursor in seen or not records:
                return
            seen.add(cursor)
            params["cursor"] = cursor

    def close(self) -> None:
        """Close all connections but those of a client that was given. Nothing works afterwards."""
        for reader in self._readers.values():
            reader.close()
        self._directory.close()
        if self._client is not None and self._client is not self._given:
            self._client.request.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def _session(self) -> Session | None:
        # The SDK renews its session on its own: a copy kept here would go stale.
        if self._client is None:
            return None
        from atproto import Session
        from atproto.exceptions import LoginRequiredError

        try:
            return Session.decode(self._client.export_session_string())
        except LoginRequiredError:
            return None

    def _resume(self, start: Session, home: Callable[[], str | None]) -> None:
        """Log in with the tokens of `start`, and try them."""
        from atproto import Session

        with self._entering(home) as sdk:
            start.pds_endpoint = url_of(sdk)
            sdk.login(session_string=start.export(), fetch_bsky_profile=False)
            found = sdk.com.atproto.server.get_session()
            now = Session.decode(sdk.export_session_string())
            named = Session(found.handle, found.did, now.access_jwt, now.refresh_jwt, url_of(sdk))
            sdk.login(session_string=named.export(), fetch_bsky_profile=False)

    @contextmanager
    def _entering(self, home: Callable[[], str | None]) -> Iterator[Client]:
        """A client to log in with, which replaces the one before once it has; `home` is its PDS."""
        before, given = self._client, self._given
        sdk = given if given is not None else new_client(self._base_url or home())
        try:
            with sdk_errors(sdk):
                yield sdk
            self._client = sdk
        finally:
            # Whichever of the two is of no more use.
            idle = before if self._client is sdk else sdk
            if idle is not None and idle not in (given, self._client):
                idle.request.close()

    def _home_of(self, identifier: str) -> str | None:
        """The PDS of an account; None, the SDK's default, for an e-mail address."""
        if "@" in identifier:
            return None
        # A password goes to the PDS that the account names now, not to one that it named before.
        return self._directory.pds_of(self._directory.did_of(identifier, max_age=0), max_age=0)

    def _did_of(self, authority: str) -> str:
        """The DID of an AT-URI's authority; one's own PDS is asked first for handles."""
        session = self._session
        if session is not None and not authority.startswith("did:"):
            if authority == session.handle:
                return str(session.did)
            try:
                name = "com.atproto.identity.resolveHandle"
                return str(self._read(session.did, name, {"handle": authority})["did"])
            except PdsError:
                pass
        return self._directory.did_of(authority)

    def _own(self, uri: str) -> tuple[str, str]:
        """Collection and record key of one's own record."""
        from atdata_schemas.syntax import AtUri

        target = AtUri.parse(uri)
        if self._did_of(target.authority) != self.did:
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

    def _read(self, did: str, nsid: str, params: Mapping[str, str]) -> dict[str, Any]:
        session = self._session
        if self._client is None or session is None or did != session.did:
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
        from atproto_client.models.dot_dict import DotDict

        with sdk_errors(self._client):
            return json_object(self._client, self._client.invoke_query(nsid, DotDict(dict(params))))

    def _reader(self, url: str) -> XrpcReader:
        if url not in self._readers:
            reader = XrpcReader(url, pds_error, timeout=TIMEOUT, attempts=_ATTEMPTS)
            self._readers[url] = reader
        return self._readers[url]

    def _write(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        import json

        did, sdk = self.did, self._client
        assert sdk is not None
        # As text: the SDK's own values would rename keys and cannot hold every record.
        text = json.dumps({"repo": did, **body}).encode()
        with sdk_errors(sdk):
            answer = sdk.invoke_procedure(
                f"com.atproto.repo.{name}", content=text, input_encoding="application/json"
            )
            return json_object(sdk, answer)


def _stored(item: Any) -> StoredRecord:
    match item:
        case {"uri": str(uri), "cid": str(cid), "value": dict(value)}:
            return StoredRecord(uri, cid, value)
    raise pds_error(Failure("PDS", 200, "UnexpectedResponse", "not a record with URI and CID"))


def _typed(collection: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """The record in JSON form, with its `$type`."""
    from atdata_client._lexicon import to_json

    typed: dict[str, Any] = to_json({"$type": collection, **record})
    if typed["$type"] != collection:
        raise ValueError(f"the record is a {typed['$type']}, not a {collection}")
    return typed


def _swap(cid: str | None) -> dict[str, str]:
    return {} if cid is None else {"swapRecord": cid}
