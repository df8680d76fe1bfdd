"""DIDs to documents, and handles verified both ways (https://atproto.com/specs/did, /handle).

A handle is believed when the DID document claims it and it resolves back to the DID, by DNS, by
HTTPS, or by the service an operator named. What cannot be known now (a host that does not answer)
raises; what is known to be wrong is None.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, unquote

import dns.asyncresolver
import dns.exception
import httpx

from atdata_indexer.net import fetch, strangers_client
from atdata_indexer.settings import Settings
from atdata_schemas.syntax import is_did, is_handle

# What goes into the database and into requests is plain: documents are written by strangers.
_ENDPOINT = re.compile(r"https?://[!-~]{1,500}")
_MULTIBASE = re.compile(r"z[1-9A-HJ-NP-Za-km-z]{1,200}")


class IdentityUnavailable(Exception):
    """The answer cannot be had now; asking again later may help."""


@dataclass(frozen=True, slots=True)
class ResolvedIdentity:
    """What a DID stands for now; `handle` only when verified both ways.

    `claimed` is a handle that the document names and that could not be looked up: one that was
    verified before stays, and is asked for again.
    """

    did: str
    handle: str | None
    pds: str | None
    signing_key: str | None
    claimed: str | None = None


@dataclass(frozen=True, slots=True)
class LabelerPlace:
    """Where a labeler answers, and the key of its labels (https://atproto.com/specs/label)."""

    endpoint: str
    key: str | None


class IdentityResolver:
    """Resolves DIDs. One instance per program; close it with `aclose`."""

    def __init__(self, settings: Settings, user_agent: str) -> None:
        self._plc = settings.plc_url.rstrip("/")
        self._service = settings.handle_resolver
        self._strangers = strangers_client(user_agent, allow_private=settings.allow_loopback)
        self._trusted = httpx.AsyncClient(headers={"User-Agent": user_agent}, timeout=10)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._strangers.aclose()
        await self._trusted.aclose()

    async def resolve(self, did: str) -> ResolvedIdentity:
        """The identity of `did`. Raises IdentityUnavailable when it cannot be known now."""
        document = await self._document(did)
        if document is None or document.get("id") != did:
            return ResolvedIdentity(did, None, None, None)
        handle = _claimed_handle(document)
        identity = ResolvedIdentity(did, None, _service(document), _key(document))
        if handle is None:
            return identity
        try:
            resolved = await self._did_of(handle)
        except IdentityUnavailable:
            return replace(identity, claimed=handle)
        return replace(identity, handle=handle if resolved == did else None)

    async def signing_key(self, did: str) -> str | None:
        """The signing key of an account now. Raises IdentityUnavailable."""
        document = await self._document(did)
        return None if document is None or document.get("id") != did else _key(document)

    async def labeler(self, did: str) -> LabelerPlace | None:
        """Where a labeler is now; None for what is none. Raises IdentityUnavailable."""
        document = await self._document(did)
        if document is None or document.get("id") != did:
            return None
        endpoint = _service(document, "#atproto_labeler")
        return (
            None if endpoint is None else LabelerPlace(endpoint, _key(document, "#atproto_label"))
        )

    async def _document(self, did: str) -> Mapping[str, Any] | None:
        method, _, name = did.removeprefix("did:").partition(":")
        if method == "plc":
            return await self._json(self._trusted, f"{self._plc}/{quote(did, safe=':')}")
        if method == "web" and ":" not in name:
            return await self._json(
                self._strangers, f"https://{unquote(name)}/.well-known/did.json"
            )
        return None

    async def _did_of(self, handle: str) -> str | None:
        if self._service is not None:
            url = f"{self._service.rstrip('/')}/xrpc/com.atproto.identity.resolveHandle"
            answer = await self._json(self._trusted, f"{url}?handle={quote(handle)}")
            did = None if answer is None else answer.get("did")
            return did if isinstance(did, str) else None
        return await self._by_dns(handle) or await self._by_https(handle)

    async def _by_dns(self, handle: str) -> str | None:
        try:
            answer = await dns.asyncresolver.resolve(f"_atproto.{handle}", "TXT", lifetime=10)
        except dns.exception.DNSException:
            return None  # no such record, or none to be had: HTTPS may still say
        texts = (b"".join(record.strings).decode("ascii", "replace") for record in answer)
        dids = {text.removeprefix("did=") for text in texts if text.startswith("did=")}
        return dids.pop() if len(dids) == 1 else None

    async def _by_https(self, handle: str) -> str | None:
        response = await self._get(self._strangers, f"https://{handle}/.well-known/atproto-did")
        did = response.text.strip() if response.status_code == 200 else ""
        return did if is_did(did) else None

    async def _json(self, client: httpx.AsyncClient, url: str) -> Mapping[str, Any] | None:
        """The object at `url`; None when the host knows of none."""
        response = await self._get(client, url)
        if response.status_code >= 500 or response.status_code == 429:
            raise IdentityUnavailable(f"{url} answers {response.status_code}")
        if response.status_code != 200:
            return None
        try:
            value = json.loads(response.content)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    async def _get(self, client: httpx.AsyncClient, url: str) -> httpx.Response:
        try:
            return await fetch(client, url)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise IdentityUnavailable(f"{url}: {error}") from error


def _claimed_handle(document: Mapping[str, Any]) -> str | None:
    """The first handle the document claims; a later one does not count (spec: did)."""
    for alias in _entries(document.get("alsoKnownAs")):
        if isinstance(alias, str) and alias.startswith("at://"):
            handle = alias.removeprefix("at://").lower()
            return handle if is_handle(handle) else None
    return None


def _service(document: Mapping[str, Any], name: str = "#atproto_pds") -> str | None:
    for service in _entries(document.get("service")):
        if isinstance(service, dict) and str(service.get("id", "")).endswith(name):
            endpoint = service.get("serviceEndpoint")
            if isinstance(endpoint, str) and _ENDPOINT.fullmatch(endpoint):
                return endpoint
    return None


def _key(document: Mapping[str, Any], name: str = "#atproto") -> str | None:
    for method in _entries(document.get("verificationMethod")):
        if isinstance(method, dict) and str(method.get("id", "")).endswith(name):
            key = method.get("publicKeyMultibase")
            if isinstance(key, str) and _MULTIBASE.fullmatch(key):
                return key
    return None


def _entries(value: object) -> list[Any]:
    return value[:100] if isinstance(value, list) else []
