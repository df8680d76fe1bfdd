"""Who this service is to others: its DID, its document, and the names of its queries.

A PDS passes a query on when it is asked with `atproto-proxy: <did>#atdata_appview`
(https://atproto.com/specs/xrpc#service-proxying): it reads the document at `/.well-known/did.json`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, urlsplit

from atdata_api.xrpc import NS
from atdata_indexer.settings import Settings

SERVICE = "atdata_appview"


@dataclass(frozen=True, slots=True)
class ServiceIdentity:
    """Where the service is reached from outside (None: it has no public name), and the prefix
    under which its own queries are named.
    """

    url: str | None = None
    prefix: str = NS

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """What the settings say."""
        return cls(settings.public_url, settings.query_nsid)

    @property
    def did(self) -> str | None:
        """The service's did:web; a port is part of its name (https://atproto.com/specs/did)."""
        return None if self.url is None else f"did:web:{quote(urlsplit(self.url).netloc, safe='')}"

    def name(self, nsid: str) -> str:
        """The name of a query here: those of our namespace are named as the operator says."""
        inner = nsid.removeprefix(f"{NS}.")
        return nsid if inner == nsid else f"{self.prefix}.{inner}"

    def names(self, nsid: str) -> Sequence[str]:
        """Every name a query is answered under: its own too, for that is what clients ask."""
        return list(dict.fromkeys((self.name(nsid), nsid)))

    def document(self) -> dict[str, Any] | None:
        """The DID document, if there is one."""
        if self.did is None:
            return None
        return {
            "@context": ["https://www.w3.org/ns/did/v1"],
            "id": self.did,
            "service": [
                {
                    "id": f"#{SERVICE}",
                    "type": "AtdataAppView",
                    "serviceEndpoint": self.url,
                }
            ],
        }

    def robots(self) -> str:
        """`robots.txt`: pages are for crawlers, queries are not."""
        found = "User-agent: *\nDisallow: /xrpc/\n"
        return found if self.url is None else f"{found}\nSitemap: {self.url}/sitemap.xml\n"
