"""Where accounts live: from a handle or DID to the PDS that holds the repository.

Both are chosen by strangers, so a PDS is asked only over https and at a public address; on
loopback only by a client whose PLC directory is on loopback too (tests, development).
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from atdata_client._net.cache import Cache
from atdata_client._net.http import Http, UnreachableError
from atdata_client.errors import IdentityError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PLC_DIRECTORY = "https://plc.directory"
HANDLE_SECONDS = 3600.0
ENDPOINT_SECONDS = 24 * 3600.0
_LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa")
_JUST_NOW_SECONDS = 60.0


class Directory:
    """Resolves accounts; `plc_url` is the directory of `did:plc` identities.

    A handle is asked for at most once an hour, the PDS of a DID once a day or when `moved`.
    """

    def __init__(
        self,
        plc_url: str = PLC_DIRECTORY,
        *,
        timeout: float = 10.0,
        cache: Cache | None = None,
    ) -> None:
        self._plc_url = plc_url.rstrip("/")
        self._timeout = timeout
        self._http = Http(timeout=timeout)
        self._cache = Cache() if cache is None else cache

    def did_of(self, identifier: str, *, max_age: float = HANDLE_SECONDS) -> str:
        """The DID of a handle, and of a DID itself. Raises IdentityError."""
        from atdata_schemas.syntax import is_did, is_handle

        if is_did(identifier):
            return identifier
        known = self._cache.identity(identifier, max_age=max_age)
        if known is not None and is_did(known):
            return known
        if not is_handle(identifier) or not is_public(f"https://{identifier}"):
            raise IdentityError(f"not a handle or DID of the network: {identifier[:200]!r}")
        did = self._did_from_dns(identifier) or self._did_from_https(identifier)
        if did is None or not is_did(did):
            raise IdentityError(f"handle {identifier} does not resolve to a DID")
        self._cache.keep_identity(identifier, did)
        return did

    def pds_of(self, did: str, *, max_age: float = ENDPOINT_SECONDS) -> str:
        """The base URL of the PDS in the DID document of `did`. Raises IdentityError."""
        name = f"{did} by {self._plc_url}"
        endpoint = self._cache.identity(name, max_age=max_age)
        is_new = endpoint is None
        if endpoint is None:
            endpoint = pds_endpoint(did, self._document(did)).rstrip("/")
        local = is_loopback(self._plc_url) and is_loopback(endpoint)
        if not (local or is_public(endpoint)):
            raise IdentityError(f"{did} names a PDS that may not be asked: {endpoint[:200]}")
        if is_new:
            self._cache.keep_identity(name, endpoint)
        return endpoint

    def moved(self, did: str, endpoint: str) -> str | None:
        """Where `did` is now, if no longer at `endpoint`, which has failed; None when not known.

        What was looked up in the last minute is not looked up again.
        """
        try:
            now = self.pds_of(did, max_age=_JUST_NOW_SECONDS)
        except IdentityError:
            return None  # what failed first says more
        return None if now == endpoint else now

    def close(self) -> None:
        """Close the connections; the next question opens new ones."""
        self._http.close()

    def _did_from_dns(self, handle: str) -> str | None:
        from atproto_identity.handle.resolver import HandleResolver

        try:
            did: str | None = HandleResolver(timeout=self._timeout).resolve_dns(handle)
        except UnicodeDecodeError:
            return None
        return did

    def _did_from_https(self, handle: str) -> str | None:
        try:
            answer = self._http.get(f"https://{handle}/.well-known/atproto-did")
        except UnreachableError:
            return None
        return answer.body.decode("utf-8", "replace").strip() if answer.status == 200 else None

    def _document(self, did: str) -> Mapping[str, Any]:
        if did.startswith("did:plc:"):
            url = f"{self._plc_url}/{did}"
        elif did.startswith("did:web:"):
            url = f"https://{unquote(did.removeprefix('did:web:'))}/.well-known/did.json"
            if not is_public(url):
                raise IdentityError(f"{did} names a host that may not be asked")
        else:
            raise IdentityError(f"only did:plc and did:web can be resolved, not {did[:200]}")
        try:
            answer = self._http.get(url)
        except UnreachableError as error:
            raise IdentityError(f"{did} does not resolve: {error}") from error
        document = answer.json_object()
        if answer.status != 200 or document is None:
            raise IdentityError(f"{did} does not resolve: HTTP {answer.status}")
        return document


def pds_endpoint(did: str, document: Mapping[str, Any]) -> str:
    """The PDS endpoint in the DID document of `did` (spec: did). Raises IdentityError."""
    if document.get("id") != did:
        raise IdentityError(f"the DID document of {did} is another's")
    services = document.get("service")
    for service in services if isinstance(services, list) else ():
        if (
            isinstance(service, dict)
            and service.get("id") in {"#atproto_pds", f"{did}#atproto_pds"}
            and service.get("type") == "AtprotoPersonalDataServer"
            and isinstance(service.get("serviceEndpoint"), str)
        ):
            return str(service["serviceEndpoint"])
    raise IdentityError(f"{did} names no PDS")


def is_public(url: str) -> bool:
    """Whether `url` is https at a host that is not evidently a private one.

    Looks at the text alone: a name that resolves to a private address passes.
    """
    scheme, host = _scheme_and_host(url)
    try:
        return scheme == "https" and ip_address(host).is_global
    except ValueError:
        return scheme == "https" and "." in host and not host.endswith(_LOCAL_SUFFIXES)


def is_loopback(url: str) -> bool:
    """Whether `url` is http or https at this machine itself."""
    scheme, host = _scheme_and_host(url)
    try:
        return scheme in {"http", "https"} and ip_address(host).is_loopback
    except ValueError:
        return scheme in {"http", "https"} and host == "localhost"


def _scheme_and_host(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", ""
    return parts.scheme, (parts.hostname or "").rstrip(".")
