"""Requests to hosts that strangers name: public addresses only, of bounded size, over HTTPS."""

import gzip
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType

import httpx
import pytest

from atdata_indexer.identity import IdentityResolver, IdentityUnavailable
from atdata_indexer.net import MAX_BYTES, ForbiddenHost, fetch, is_public, strangers_client
from atdata_indexer.settings import Settings

# --- which addresses are public ---------------------------------------------------------------

NOT_PUBLIC = {
    "0.0.0.0": "this host",  # noqa: S104 - not bound to
    "0.1.2.3": "this network",
    "10.0.0.1": "private",
    "10.255.255.255": "private",
    "100.64.0.1": "shared between a provider's customers",
    "100.127.255.255": "shared between a provider's customers",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "169.254.0.1": "link-local",
    "169.254.169.254": "metadata of a cloud machine",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.1": "protocol assignments",
    "192.0.2.1": "documentation",
    "192.168.0.1": "private",
    "198.18.0.1": "benchmarks",
    "198.51.100.1": "documentation",
    "203.0.113.1": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "this host",
    "::1": "loopback",
    "::127.0.0.1": "IPv4-compatible, loopback",
    "::10.0.0.1": "IPv4-compatible, private",
    "::8.8.8.8": "IPv4-compatible, which leads nowhere",
    "::ffff:127.0.0.1": "mapped, loopback",
    "::ffff:10.0.0.1": "mapped, private",
    "::ffff:169.254.169.254": "mapped, link-local",
    "::ffff:a9fe:a9fe": "the same in hexadecimal",
    "::ffff:0:127.0.0.1": "translated, loopback",
    "64:ff9b::127.0.0.1": "NAT64, loopback",
    "64:ff9b::a00:1": "NAT64, private",
    "64:ff9b::169.254.169.254": "NAT64, link-local",
    "64:ff9b:1::1": "NAT64 of a local network",
    "100::1": "discarded",
    "2001:0:4136:e378:8000:63bf:80ff:fffe": "Teredo, loopback",
    "2001:0:4136:e378:8000:63bf:f5ff:fffe": "Teredo, private",
    "2001:db8::1": "documentation",
    "2002:7f00:1::": "6to4, loopback",
    "2002:a00:1::": "6to4, private",
    "2002:a9fe:a9fe::1": "6to4, link-local",
    "4000::1": "not given out yet",
    "5f00::1": "segment routing",
    "fc00::1": "unique local",
    "fdff:ffff::1": "unique local",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local with a zone",
    "fec0::1": "site-local",
    "ff02::1": "multicast",
    "ff0e::1": "multicast that is global",
}

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.167.255.255",
    "223.255.255.254",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_of_the_public_internet_is_known_as_such(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_public(address: str) -> None:
    assert is_public(address)


# --- which hosts are connected to -------------------------------------------------------------


@pytest.fixture
async def guarded() -> AsyncIterator[httpx.AsyncClient]:
    async with strangers_client("test") as client:
        yield client


async def refusal(client: httpx.AsyncClient, url: str) -> str:
    """Why the guard refuses a URL; empty when it was not the guard that did."""
    try:
        await fetch(client, url)
    except ForbiddenHost as error:
        return str(error)
    except httpx.HTTPError:
        return ""
    return ""


async def let_through(client: httpx.AsyncClient, urls: Iterable[str], words: str) -> list[str]:
    """The URLs that the guard does not refuse with these words."""
    return [url for url in urls if not (why := await refusal(client, url)) or words not in why]


async def test_a_host_by_its_private_address_is_refused(guarded: httpx.AsyncClient) -> None:
    plain = [address.partition("%")[0] for address in NOT_PUBLIC]
    urls = [f"https://[{host}]/" if ":" in host else f"https://{host}/" for host in plain]
    assert len(urls) > 30
    assert await let_through(guarded, urls, "is not a public address") == []


ANOTHER_NAME = [
    "localhost",
    "LOCALHOST",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f.1",
    "0x7f000001",
    "0x7F.0x0.0x0.0x1",
    "017700000001",
    "0",
    "0x0",
    "10.1",
    "0xa9fea9fe",
    "2852039166",
    "127。0。0。1",
    "user@127.0.0.1",
    "example.com@127.0.0.1",
    "example.com:secret@127.0.0.1",
    "127.0.0.1:443",
    "127.0.0.1?@example.com",
    "127.0.0.1#@example.com",
]


async def test_a_private_host_by_another_name_is_refused(guarded: httpx.AsyncClient) -> None:
    urls = [f"https://{host}/" for host in ANOTHER_NAME]
    assert await let_through(guarded, urls, "is not a public address") == []


NO_HOSTS = [
    "0177.0.0.1",
    "１２７.０.０.１",
    "ⓛocalhost",
    "a..example",
    ".example",
    "a" * 64 + ".example",
    "xn--a.example",
    "xn--",
    "[::1",
    "\udc80.example",
    "127.0.0.1\0.example",
    "a\n.example",
    "a\x7f.example",
    "example.com:99999",
    "example.com:x",
]


async def test_what_cannot_be_a_host_is_refused_and_crashes_nothing(
    guarded: httpx.AsyncClient,
) -> None:
    urls = [f"https://{host}/" for host in NO_HOSTS]
    assert await let_through(guarded, urls, "") == []


NO_HTTPS = [
    "http://example.com/",
    "http://127.0.0.1/",
    "http://example.com:443/",
    "HTTP://example.com/",
    "ftp://example.com/",
    "ws://example.com/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:70/",
    "unix:///run/docker.sock",
    "https:///path",
    "//example.com/",
    "example.com",
    "",
]


async def test_anything_but_https_is_refused(guarded: httpx.AsyncClient) -> None:
    assert await let_through(guarded, NO_HTTPS, "https on its own port only") == []


async def test_any_port_but_that_of_https_is_refused(guarded: httpx.AsyncClient) -> None:
    ports = [1, 22, 80, 444, 2583, 6379, 8443, 65535]
    urls = [f"https://example.com:{port}/" for port in ports]
    words = "example.com: https on its own port only"
    assert await let_through(guarded, urls, words) == []


# --- what is taken of an answer ---------------------------------------------------------------


class Host(ThreadingHTTPServer):
    """A host on loopback; `seen` holds path and Accept-Encoding of each request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.seen: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


BOMB = gzip.compress(bytes(10_000_000))


class Answers(BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers["Accept-Encoding"]))
        match self.path.strip("/").split("/"):
            case ["bytes", size]:
                self._answer(bytes(int(size)))
            case ["status", status]:
                self._answer(b"text", status=int(status))
            case ["redirect"]:
                self._answer(b"", 302, {"Location": f"{self.server.url}/bytes/1"})
            case ["encoded", encoding]:
                self._answer(BOMB, 200, {"Content-Encoding": encoding})
            case _:
                self._without_end()

    def _answer(
        self, body: bytes, status: int = 200, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self._write(body)

    def _without_end(self) -> None:
        self.send_response(200)
        self.end_headers()
        while self._write(bytes(65536)):
            pass

    def _write(self, body: bytes) -> bool:
        try:
            self.wfile.write(body)
        except OSError:  # whoever asked has had enough
            return False
        return True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        yield server
        server.shutdown()
        serving.join()


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with strangers_client("test", allow_private=True) as client:
        yield client


@pytest.mark.parametrize("size", [0, 1, MAX_BYTES])
async def test_an_answer_of_a_fair_size_is_taken_whole(
    host: Host, client: httpx.AsyncClient, size: int
) -> None:
    response = await fetch(client, f"{host.url}/bytes/{size}")
    assert (response.status_code, response.content) == (200, bytes(size))


@pytest.mark.parametrize("path", [f"bytes/{MAX_BYTES + 1}", "bytes/20000000", "without-end"])
async def test_an_answer_that_is_too_long_is_given_up(
    host: Host, client: httpx.AsyncClient, path: str
) -> None:
    with pytest.raises(httpx.HTTPError, match="the answer is too long"):
        await fetch(client, f"{host.url}/{path}")
    assert (await fetch(client, f"{host.url}/bytes/3")).content == bytes(3)


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "deflate", "br", "GZIP", "gzip,br"])
async def test_a_compressed_answer_is_not_unpacked(
    host: Host, client: httpx.AsyncClient, encoding: str
) -> None:
    with pytest.raises(httpx.HTTPError, match="the answer is compressed"):
        await fetch(client, f"{host.url}/encoded/{encoding}")
    assert host.seen == [(f"/encoded/{encoding}", "identity")]


async def test_a_redirect_is_an_answer_and_not_followed(
    host: Host, client: httpx.AsyncClient
) -> None:
    response = await fetch(client, f"{host.url}/redirect")
    assert response.status_code == 302
    assert [path for path, _ in host.seen] == ["/redirect"]


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
async def test_a_status_that_is_no_success_is_an_answer_too(
    host: Host, client: httpx.AsyncClient, status: int
) -> None:
    response = await fetch(client, f"{host.url}/status/{status}")
    assert (response.status_code, response.content) == (status, b"text")


async def test_a_proxy_of_the_environment_is_not_used(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with strangers_client("test", allow_private=True) as client:
        assert (await fetch(client, f"{host.url}/bytes/1")).content == b"\0"


async def test_the_guard_keeps_a_real_host_on_loopback_from_being_asked(
    host: Host, guarded: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    assert await refusal(guarded, f"{host.url}/bytes/1")
    assert await refusal(guarded, f"https://127.0.0.1:{host.server_port}/bytes/1")
    assert host.seen == []
    await fetch(client, f"{host.url}/bytes/1")
    assert len(host.seen) == 1


# --- DIDs that name such hosts ----------------------------------------------------------------


FORBIDDEN_DIDS = [
    "did:web:localhost",
    "did:web:127.0.0.1",
    "did:web:169.254.169.254",
    "did:web:0x7f.1",
    "did:web:%5B%3A%3A1%5D",
    "did:web:localhost%3A8080",
    "did:web:example.com%3A8443",
    "did:web:example.com%40127.0.0.1",
    "did:web:127.0.0.1%2Fexample.com",
    "did:web:127.0.0.1%23example.com",
    "did:web:a..example",
    "did:web:xn--a.example",
    "did:web:" + "a" * 64 + ".example",
    "did:web:%00",
    "did:web:%0A",
    "did:web:%FF",
]


async def test_a_did_that_names_a_forbidden_host_has_no_identity_for_now() -> None:
    resolver = IdentityResolver(Settings(), "test")
    try:
        for did in FORBIDDEN_DIDS:
            with pytest.raises(IdentityUnavailable, match=r"address|port only|no host"):
                await resolver.resolve(did)
    finally:
        await resolver.aclose()
