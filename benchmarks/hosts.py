"""Hosts on the loopback for measuring and tests: PDSs, directories, and who their accounts are.

A `Host` answers over HTTP/1.1 what the indexer asks of strangers: `getRepo`, `getLatestCommit`,
`listRecords`, `describeRepo` and the lists of repos, page by page; DID documents and handles. It
notes what it was asked and when, and `meddle` can answer otherwise, or wait.
"""

import asyncio
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

PLC = "plc"
"""What asking for a DID document is called among methods."""


class Hosted(Protocol):
    """A repo as a host serves it. `records` gives CID and JSON of each by its path."""

    @property
    def rev(self) -> str: ...
    @property
    def commit(self) -> str: ...
    def car(self) -> bytes: ...
    def records(self) -> Mapping[str, tuple[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: its method and parameters, and when it came, by the loop's clock."""

    method: str
    params: Mapping[str, str]
    at: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered: JSON, or bytes as they are."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def refusal(error: str, status: int = 400, **headers: str) -> Answer:
    """An XRPC error; underscores in the names of `headers` stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer({"error": error, "message": error}, status, named)


type Meddle = Callable[[Asked], Awaitable[Answer | None]]
"""Looks at a request before it is answered; gives another answer, or None."""


class Host:
    """Serves `repos` by DID. A directory lists them by collection, a PDS all of them."""

    def __init__(
        self,
        repos: Mapping[str, Hosted] | None = None,
        *,
        directory: bool = True,
        pds: bool = True,
        page: int = 500,
    ) -> None:
        self.repos: dict[str, Hosted] = dict(repos or {})
        self.identities: dict[str, Any] = {}
        self.directory = directory
        self.pds = pds
        self.page = page
        self.meddle: Meddle | None = None
        self.asked: list[Asked] = []
        self.under_way = 0
        self.most_at_once = 0
        """The most requests about repos that were under way at a time."""
        self._clients: set[asyncio.Task[None]] = set()

    def times(self, method: str) -> int:
        """How often something was asked."""
        return self.counts[method]

    @property
    def counts(self) -> Counter[str]:
        """How often each method was asked for."""
        return Counter(asked.method for asked in self.asked)

    def of(self, method: str) -> Sequence[Asked]:
        """The requests for a method, in order."""
        return [asked for asked in self.asked if asked.method == method]

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Serve on a free port of 127.0.0.1; gives `127.0.0.1:port`."""
        server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        try:
            host, port = server.sockets[0].getsockname()[:2]
            yield f"{host}:{port}"
        finally:
            server.close()
            for client in self._clients:
                client.cancel()
            await asyncio.gather(*self._clients, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        me = asyncio.current_task()
        assert me is not None
        self._clients.add(me)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(await self._response(head.split(b" ")[1].decode()))
                    await writer.drain()
        except asyncio.CancelledError:
            pass  # the server ends, and streams would report it
        finally:
            self._clients.discard(me)
            writer.close()

    async def _response(self, target: str) -> bytes:
        url = urlsplit(target)
        params = {name: values[-1] for name, values in parse_qs(url.query).items()}
        _, is_xrpc, method = url.path.rpartition("/xrpc/")
        if not is_xrpc:
            method, params = PLC, {"did": unquote(url.path.removeprefix("/"))}
        asked = Asked(
            method.removeprefix("com.atproto."), params, asyncio.get_running_loop().time()
        )
        self.asked.append(asked)
        counts = asked.method.startswith(("sync.", "repo."))
        self.under_way += counts
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            answer = await self.meddle(asked) if self.meddle else None
            return _bytes(answer or self._answer(asked.method, params))
        finally:
            self.under_way -= counts

    def _answer(self, method: str, params: Mapping[str, str]) -> Answer:
        match method:
            case "sync.listReposByCollection" if self.directory:
                return self._repos(params, params["collection"])
            case "sync.listRepos":
                return self._repos(params, "")
            case "identity.resolveHandle":
                dids = (d for d, of in self.identities.items() if of["handle"] == params["handle"])
                did = next(dids, None)
                return Answer({"did": did}) if did else refusal("InvalidRequest")
            case "plc":
                identity = self.identities.get(params["did"])
                return Answer(identity["didDoc"]) if identity else refusal("NotFound", 404)
            case "server.describeServer" if self.pds:
                return Answer({"did": "did:web:localhost", "availableUserDomains": []})
        did = params.get("did") or params.get("repo") or ""
        repo = self.repos.get(did)
        if method not in _OF_A_REPO or not self.pds:
            return refusal("InvalidRequest")
        return refusal("RepoNotFound") if repo is None else _OF_A_REPO[method](did, repo, params)

    def _repos(self, params: Mapping[str, str], collection: str) -> Answer:
        dids = sorted(
            did
            for did, repo in self.repos.items()
            if any(path.startswith(collection) for path in repo.records())
        )
        first = bisect_right(dids, params.get("cursor", ""))
        end = first + min(self.page, int(params["limit"]))
        more = {"cursor": dids[end - 1]} if end < len(dids) else {}
        return Answer({"repos": [{"did": did} for did in dids[first:end]]} | more)


def _latest(did: str, repo: Hosted, params: Mapping[str, str]) -> Answer:
    return Answer({"cid": repo.commit, "rev": repo.rev})


def _repo(did: str, repo: Hosted, params: Mapping[str, str]) -> Answer:
    return Answer(repo.car())


def _described(did: str, repo: Hosted, params: Mapping[str, str]) -> Answer:
    held = {path.partition("/")[0] for path in repo.records()}
    return Answer({"did": did, "collections": sorted(held)})


def _records(did: str, repo: Hosted, params: Mapping[str, str]) -> Answer:
    """Newest first, as PDSs list them; the cursor is the last record key of a page."""
    mine = {
        path.partition("/")[2]: (path, *record)
        for path, record in repo.records().items()
        if path.partition("/")[0] == params["collection"]
    }
    rkeys = [rkey for rkey in sorted(mine, reverse=True) if rkey < params.get("cursor", "~")]
    page = [mine[rkey] for rkey in rkeys[: int(params["limit"])]]
    records = [
        {"uri": f"at://{did}/{path}", "cid": cid, "value": value} for path, cid, value in page
    ]
    return Answer({"records": records} | ({"cursor": rkeys[len(page) - 1]} if page else {}))


_OF_A_REPO: Mapping[str, Callable[[str, Hosted, Mapping[str, str]], Answer]] = {
    "sync.getLatestCommit": _latest,
    "sync.getRepo": _repo,
    "repo.describeRepo": _described,
    "repo.listRecords": _records,
}


def _bytes(answer: Answer) -> bytes:
    body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
    headers = {"Content-Length": str(len(body))} | dict(answer.headers)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} -\r\n{lines}\r\n".encode("latin-1") + body
