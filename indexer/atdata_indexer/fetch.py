"""Asking PDSs and relays for repos: `getRepo`, `getLatestCommit`, discovery. I/O only.

Hosts are named by strangers: requests go through the guarded client, a few at a time to one host,
and a host that says when to come back is left alone until then.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx

from atdata_indexer.net import fetch
from atdata_schemas.syntax import is_tid

GONE = frozenset({"RepoNotFound", "RepoTakendown", "RepoSuspended", "RepoDeactivated"})
"""Answers after which asking again is of no use until the account speaks."""


class RepoUnavailable(Exception):
    """The repo cannot be had now; `retry_s` is the least wait before asking again, in seconds."""

    def __init__(self, message: str, retry_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_s = retry_s


class RepoGone(Exception):
    """The host says that it has no such repo, or shows it to nobody."""


class Refused(Exception):
    """The host understood and said no; `error` is the XRPC error's name."""

    def __init__(self, host: str, error: str) -> None:
        super().__init__(f"{host}: {error}")
        self.error = error


class Fetcher:
    """Fetches from hosts; at most `per_host` requests at a time to each."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        repo_bytes: int,
        per_host: int = 2,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._repo_bytes = repo_bytes
        self._per_host = per_host
        self._clock = clock
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._closed_until: dict[str, float] = {}

    async def repo(self, pds: str, did: str) -> bytes:
        """The CAR of a whole repo. Raises RepoUnavailable and RepoGone."""
        with _of_a_repo():
            return await self._get(pds, "com.atproto.sync.getRepo", {"did": did}, self._repo_bytes)

    async def latest(self, pds: str, did: str) -> str:
        """The rev of a repo's newest commit. Raises RepoUnavailable and RepoGone."""
        params = {"did": did}
        with _of_a_repo():
            answer = await self._json(pds, "com.atproto.sync.getLatestCommit", params)
        rev = answer.get("rev")
        if not isinstance(rev, str) or not is_tid(rev):
            raise RepoUnavailable(f"{pds} names no rev")
        return rev

    async def repos_with(self, host: str, collection: str) -> AsyncIterator[str]:
        """The DIDs that a relay knows to have records of a collection, page by page.

        A host without `listReposByCollection`, such as a PDS, is asked for all its repos and what
        each holds. Raises RepoUnavailable and Refused.
        """
        method, params = "com.atproto.sync.listReposByCollection", {"collection": collection}
        try:
            async for did in self._dids(host, method, params):
                yield did
        except Refused:
            async for did in self._dids(host, "com.atproto.sync.listRepos", {}):
                if await self._has(host, did, collection):
                    yield did

    async def _dids(self, host: str, method: str, params: Mapping[str, str]) -> AsyncIterator[str]:
        cursor: dict[str, str] = {}
        while True:
            page = await self._json(host, method, {**params, "limit": "500", **cursor})
            repos = page.get("repos")
            for repo in repos if isinstance(repos, list) else ():
                if isinstance(repo, dict) and isinstance(repo.get("did"), str):
                    yield repo["did"]
            following = page.get("cursor")
            if not isinstance(following, str) or {"cursor": following} == cursor or not repos:
                return
            cursor = {"cursor": following}

    async def _has(self, host: str, did: str, collection: str) -> bool:
        try:
            about = await self._json(host, "com.atproto.repo.describeRepo", {"repo": did})
        except Refused:
            return False
        held = about.get("collections")
        return isinstance(held, list) and collection in held

    async def _json(self, host: str, method: str, params: Mapping[str, str]) -> Mapping[str, Any]:
        body = await self._get(host, method, params, 8 << 20)
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise RepoUnavailable(f"{host} does not answer in JSON") from error
        return value if isinstance(value, dict) else {}

    async def _get(self, host: str, method: str, params: Mapping[str, str], most: int) -> bytes:
        name = urlsplit(host).netloc
        wait = self._closed_until.get(name, 0.0) - self._clock()
        if wait > 0:
            raise RepoUnavailable(f"{name} asked to be left alone", wait)
        url = f"{host.rstrip('/')}/xrpc/{method}?{urlencode(params)}"
        turn = self._turns.setdefault(name, asyncio.Semaphore(self._per_host))
        async with turn:
            try:
                response = await fetch(self._client, url, most_bytes=most, limit_s=300)
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
                raise RepoUnavailable(f"{name}: {str(error) or type(error).__name__}") from error
        if response.status_code == 200:
            return response.content
        pause = _seconds(response.headers.get("Retry-After"))
        if response.status_code == 429:
            pause = pause or 5.0
        if pause:
            self._closed_until[name] = self._clock() + pause
        if response.status_code == 429 or response.status_code in (500, 502, 503, 504):
            raise RepoUnavailable(f"{name} answers {response.status_code}", pause)
        raise Refused(name, _error(response))


@contextmanager
def _of_a_repo() -> Iterator[None]:
    """What a refusal means when it is about one repo."""
    try:
        yield
    except Refused as error:
        if error.error in GONE:
            raise RepoGone(str(error)) from error
        raise RepoUnavailable(str(error), 60.0) from error


def _seconds(retry_after: str | None) -> float:
    return min(3600.0, float(retry_after)) if retry_after and retry_after.isdigit() else 0.0


def _error(response: httpx.Response) -> str:
    try:
        return str(json.loads(response.content).get("error", response.status_code))[:100]
    except (ValueError, AttributeError, RecursionError):
        return str(response.status_code)
