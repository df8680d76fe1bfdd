"""Outgoing HTTP to hosts that strangers name: public addresses only, checked when connecting.

A host name is resolved here and the connection goes to the very address that was judged, so a name
that answers differently the second time gains nothing. No redirects; time and size are bounded,
and compressed answers refused, for a few kilobytes of one can fill the memory.
"""

import asyncio
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpcore
import httpx

TIMEOUT_S = 10.0
MAX_BYTES = 256 * 1024
_GLOBAL_UNICAST = ip_network("2000::/3")
_NAT64 = ip_network("64:ff9b::/96")


class ForbiddenHost(httpx.ConnectError):
    """The host has no public address (or is no host at all, or the scheme is not https)."""


def is_public(address: str) -> bool:
    """Whether an IP address is of the public internet.

    An IPv6 address that leads to an IPv4 one counts as that; any other must be global unicast.
    """
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        if ip in _NAT64:
            inner = IPv4Address(int(ip) & 0xFFFF_FFFF)
        if inner:
            ip = inner
        elif ip not in _GLOBAL_UNICAST:
            return False
    return ip.is_global and not ip.is_multicast


class _GuardedBackend(httpcore.AsyncNetworkBackend):
    def __init__(self) -> None:
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature httpcore calls
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        addresses = [str(entry[4][0]) for entry in found]
        if not addresses or not all(is_public(address) for address in addresses):
            raise ForbiddenHost(f"{host} is not a public address")
        return await self._inner.connect_tcp(
            addresses[0], port, timeout, local_address, socket_options
        )

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class _GuardedTransport(httpx.AsyncHTTPTransport):
    def __init__(self) -> None:
        super().__init__()
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=20,
            network_backend=_GuardedBackend(),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.scheme != "https" or request.url.port not in (None, 443):
            raise ForbiddenHost(f"{request.url.host}: https on its own port only")
        return await super().handle_async_request(request)


def strangers_client(user_agent: str, *, allow_private: bool = False) -> httpx.AsyncClient:
    """A client for hosts that strangers name. `allow_private` lifts the guard: development only."""
    return httpx.AsyncClient(
        transport=None if allow_private else _GuardedTransport(),
        headers={"User-Agent": user_agent},
        timeout=TIMEOUT_S,
        follow_redirects=False,
        trust_env=False,
    )


async def fetch(
    client: httpx.AsyncClient,
    url: str,
    *,
    most_bytes: int = MAX_BYTES,
    limit_s: float = 2 * TIMEOUT_S,
) -> httpx.Response:
    """GET `url`, at most `most_bytes` of it within `limit_s` seconds.

    Raises httpx.HTTPError, also for a longer body and for a host that cannot be one; TimeoutError.
    """
    plain = {"Accept-Encoding": "identity"}
    try:
        async with (
            asyncio.timeout(limit_s),
            client.stream("GET", url, headers=plain) as response,
        ):
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise httpx.DecodingError("the answer is compressed", request=response.request)
            body = bytearray()
            async for part in response.aiter_raw():
                body += part
                if len(body) > most_bytes:
                    raise httpx.DecodingError("the answer is too long", request=response.request)
            kept = {k: v for k, v in response.headers.items() if k == "retry-after"}
            return httpx.Response(
                response.status_code, headers=kept, content=bytes(body), request=response.request
            )
    except (httpx.InvalidURL, UnicodeError) as error:
        # UnicodeError: what the encodings of host names (IDNA) raise, httpx's and the system's.
        raise ForbiddenHost(f"no host: {url[:200]!r}: {error}") from error
