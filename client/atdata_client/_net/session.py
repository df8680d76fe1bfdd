"""A session with the author's own PDS, through the SDK: begun, gone on with, used, closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from atdata_client._net.sdk import json_object, new_client, sdk_errors, url_of

if TYPE_CHECKING:
    from atproto import Client, Session

type Home = Callable[[], str | None]
"""Where the PDS of an account is, asked only when it has to be known; None is the SDK's default."""


class PdsSession:
    """The session of one account, or none yet.

    `given` is a client to use as it is, and never closed here; else the PDS is `base_url`, or the
    account's `Home`.
    """

    def __init__(self, given: Client | None, base_url: str | None) -> None:
        self._sdk = given
        self._given = given
        self._base_url = base_url

    @property
    def now(self) -> Session | None:
        """The session as it is; the SDK renews it on its own, so that a copy would go stale."""
        if self._sdk is None:
            return None
        from atproto import Session
        from atproto.exceptions import LoginRequiredError

        try:
            return Session.decode(self._sdk.export_session_string())
        except LoginRequiredError:
            return None

    def login(self, handle: str, password: str, home: Home) -> None:
        """Begin a session. Raises what `home` raises, and PdsError."""
        with self._entering(home) as sdk:
            sdk.login(handle, password, fetch_bsky_profile=False)

    def resume(self, start: Session, home: Home) -> None:
        """Go on with the tokens of `start`, which are tried. Raises as `login`."""
        from atproto import Session

        with self._entering(home) as sdk:
            start.pds_endpoint = url_of(sdk)
            sdk.login(session_string=start.export(), fetch_bsky_profile=False)
            found = sdk.com.atproto.server.get_session()
            now = Session.decode(sdk.export_session_string())
            named = Session(found.handle, found.did, now.access_jwt, now.refresh_jwt, url_of(sdk))
            sdk.login(session_string=named.export(), fetch_bsky_profile=False)

    def query(self, nsid: str, params: Mapping[str, str]) -> dict[str, Any]:
        """What the PDS answers to a query. Raises PdsError."""
        from atproto_client.models.dot_dict import DotDict

        assert self._sdk is not None
        with sdk_errors(self._sdk):
            return json_object(self._sdk, self._sdk.invoke_query(nsid, DotDict(dict(params))))

    def call(self, nsid: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """What the PDS answers to a procedure. Raises PdsError."""
        import json

        assert self._sdk is not None
        # As text: the SDK's own values would rename keys and cannot hold every record.
        text = json.dumps(body).encode()
        with sdk_errors(self._sdk):
            answer = self._sdk.invoke_procedure(
                nsid, content=text, input_encoding="application/json"
            )
            return json_object(self._sdk, answer)

    def close(self) -> None:
        """Close the connections, but for those of a client that was given."""
        if self._sdk is not None and self._sdk is not self._given:
            self._sdk.request.close()

    @contextmanager
    def _entering(self, home: Home) -> Iterator[Client]:
        """A client to log in with, which replaces the one before once it has."""
        before, given = self._sdk, self._given
        sdk = given if given is not None else new_client(self._base_url or home())
        try:
            with sdk_errors(sdk):
                yield sdk
            self._sdk = sdk
        finally:
            # Whichever of the two is of no more use.
            idle = before if self._sdk is sdk else sdk
            if idle is not None and idle not in (given, self._sdk):
                idle.request.close()
