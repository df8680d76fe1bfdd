"""Where things are on this service: the addresses of pages and feeds, as others ask for them."""

from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, urlencode

from starlette.requests import Request

from atdata_api.identity import ServiceIdentity


@dataclass(frozen=True, slots=True)
class Places:
    """The addresses under one base URL: the public one, or where the request came to."""

    base: str

    @classmethod
    def of(cls, identity: ServiceIdentity, request: Request) -> Self:
        """Those to answer a request with."""
        return cls((identity.url or str(request.base_url)).rstrip("/"))

    def page(self, uri: str) -> str:
        """The page of a record."""
        return f"{self.base}/at/{quote(uri.removeprefix('at://'), safe=':/~')}"

    def feed(self, kinds: str, **params: str) -> str:
        """The feed of a search for `datasets`, `schemas` or `lenses`."""
        asked = f"?{urlencode(params)}" if params else ""
        return f"{self.base}/feeds/{kinds}.atom{asked}"

    def at(self, path: str) -> str:
        """Any other address."""
        return f"{self.base}/{path}"
