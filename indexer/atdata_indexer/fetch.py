"""Asking PDSs and relays for repos: `getRepo`, `getLatestCommit`, discovery. I/O only.

Hosts are named by strangers: requests go through the guarded client, a few at a time to one host,
and a host that says when to come back is left alone until then. An answer of another shape than its
lexicon's is none: it must not pass for an empty list.
"""

import asyncio
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx

from atdata_indexer.hosts import Hosts, host_of, seconds_of
from atdata_indexer.net import fetch
from atdata_schemas.syntax import is_did, is_tid

GONE = frozenset({"RepoNotFound", "RepoTakendown", "RepoSuspended", "RepoDeactivated"})
"""Answers after which asking again is of no use until the account speaks."""

LISTINGS = 3
"""How often a repo is listed before it counts as too busy."""

PAGE = 100
"""How many records are asked for at once; fewer where so many are more than `ANSWER_BYTES`."""
LEAST_BYTES = 64 << 10
"""A page of a list counts as so much at least, so that short ones come to an end as well."""

ANSWER_BYTES = 8 << 20
ANSWER_S = 30.0
REPO_S = 300.0
LISTING_S = 1800.0


class RepoUnavailable(Exception):
    """The repo cannot be had now; `retry_s` is the least wait before asking again, in seconds."""

    def __init__(self, message: str, retry_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_s = retry_s


class TooLong(RepoUnavailable):
    """The answer is longer than is read."""


class RepoGone(Exception):
    """The host says that it has no such repo, or shows it to nobody."""


class Refused(Exception):
    """The host understood and said no; `error` is the XRPC error's name."""

    def __init__(self, host: str, error: str) -> None:
        super().__init__(f"{host}: {error}")
        self.error = error


@dataclass(frozen=True, slots=True)
class Page:
    """Some DIDs, and the cursor of those that follow; None at the end."""

    dids: Sequence[str]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """The records of a repo at `rev`, each with `uri`, `cid` and `value` as its PDS lists them."""

    rev: str
    entries: Sequence[Mapping[str, Any]]


class Fetcher:
    """Fetches from hosts, each treated as `hosts` says."""

    def __init__(
        self, client: httpx.AsyncClient, *, repo_bytes: int, hosts: Hosts | None = None
    ) -> None:
        self._client = client
        self._repo_bytes = repo_bytes
        self._hosts = hosts or Hosts()

    async def repo(self, pds: str, did: str) -> bytes:
        """The CAR of a whole repo. Raises RepoUnavailable and RepoGone."""
        method, most = "com.atproto.sync.getRepo", self._repo_bytes
        try:
            with _of_a_repo():
                return await self._get(pds, method, {"did": did}, most, REPO_S)
        except TooLong as error:
            raise RepoUnavailable(f"{did} is larger than is fetched", 3600.0) from error

    async def records(self, pds: str, did: str, collections: Iterable[str]) -> Listing:
        """The records of a repo in some collections by `listRecords`: cheap, and unsigned.

        The list says at no point which rev it is of: it is read between two `getLatestCommit`, and
        again when they differ. Raises RepoUnavailable and RepoGone.
        """
        try:
            async with asyncio.timeout(LISTING_S):
                for _ in range(LISTINGS):
                    rev = await self.latest(pds, did)
                    entries: list[Mapping[str, Any]] = []
                    for collection in collections:
                        with _of_a_repo():
                            entries += await self._list(pds, did, collection)
                    if await self.latest(pds, did) == rev:
                        return Listing(rev, entries)
        except TimeoutError as error:
            raise RepoUnavailable(f"{pds} takes too long to list {did}", 3600.0) from error
        raise RepoUnavailable(f"{did} is written to faster than it can be listed", 60.0)

    async def _list(self, pds: str, did: str, collection: str) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        size, limit, cursor = 0, PAGE, ""
        seen = {cursor}
        while True:
            params = {"repo": did, "collection": collection, "limit": str(limit)}
            params |= {"cursor": cursor} if cursor else {}
            try:
                page, length = await self._json(pds, "com.atproto.repo.listRecords", params)
            except TooLong:
                limit //= 10
                if not limit:
                    raise
                continue
            found += _objects(pds, page, "records")
            size += max(length, LEAST_BYTES)
            if size > self._repo_bytes:
                raise RepoUnavailable(f"{did} has more records than are fetched", 3600.0)
            following = page.get("cursor")
            if not isinstance(following, str) or not page["records"]:
                return found
            if following in seen:
                raise RepoUnavailable(f"{pds} lists {did} in circles", 3600.0)
            seen.add(cursor := following)

    async def latest(self, pds: str, did: str) -> str:
        """The rev of a repo's newest commit. Raises RepoUnavailable and RepoGone."""
        with _of_a_repo():
            answer, _ = await self._json(pds, "com.atproto.sync.getLatestCommit", {"did": did})
        rev = answer.get("rev")
        if not isinstance(rev, str) or not is_tid(rev):
            raise RepoUnavailable(f"{pds} names no rev")
        return rev

    async def repos_with(self, host: str, collection: str, cursor: str | None) -> Page:
        """A page of the repos that a relay or directory knows to have records of a collection.

        Raises RepoUnavailable, and Refused by a host that has no such list, such as a PDS.
        """
        method, params = "com.atproto.sync.listReposByCollection", {"collection": collection}
        return await self._page(host, method, params, cursor)

    async def repos(self, host: str, cursor: str | None) -> Page:
        """A page of all repos of a host. Raises RepoUnavailable and Refused."""
        return await self._page(host, "com.atproto.sync.listRepos", {}, cursor)

    async def is_pds(self, host: str) -> bool:
        """Whether a host is a PDS: relays do not describe a server. Raises RepoUnavailable."""
        try:
            await self._json(host, "com.atproto.server.describeServer", {})
        except Refused:
            return False
        return True

    async def collections(self, pds: str, did: str) -> frozenset[str]:
        """The collections that a repo has records of; none when it is not shown.

        Raises RepoUnavailable.
        """
        try:
            about, _ = await self._json(pds, "com.atproto.repo.describeRepo", {"repo": did})
        except Refused:
            return frozenset()
        held = about.get("collections")
        if not isinstance(held, list):
            raise RepoUnavailable(f"{pds} does not say what {did} has")
        return frozenset(one for one in held if isinstance(one, str))

    async def _page(
        self, host: str, method: str, params: Mapping[str, str], cursor: str | None
    ) -> Page:
        asked = {**params, "limit": "500"} | ({} if cursor is None else {"cursor": cursor})
        answer, _ = await self._json(host, method, asked)
        dids = [repo.get("did") for repo in _objects(host, answer, "repos")]
        following = answer.get("cursor")
        return Page(
            [did for did in dids if isinstance(did, str) and is_did(did)],
            following if isinstance(following, str) and following else None,
        )

    async def _json(
        self, host: str, method: str, params: Mapping[str, str]
    ) -> tuple[Mapping[str, Any], int]:
        """An answer in JSON, and how many bytes it had."""
        body = await self._get(host, method, params, ANSWER_BYTES, ANSWER_S)
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise RepoUnavailable(f"{host} does not answer in JSON") from error
        if not isinstance(value, dict):
            raise RepoUnavailable(f"{host} does not answer with an object")
        return value, len(body)

    async def _get(
        self, host: str, method: str, params: Mapping[str, str], most: int, limit_s: float
    ) -> bytes:
        url = f"{host.rstrip('/')}/xrpc/{method}?{urlencode(params)}"
        try:
            name = host_of(host)
        except ValueError as error:
            raise RepoUnavailable(f"{host!r} is no host: {error}") from error
        async with self._hosts.turn(name) as wait:
            if wait > 0:
                raise RepoUnavailable(f"{name} asked to be left alone", wait)
            try:
                response = await fetch(self._client, url, most_bytes=most, limit_s=limit_s)
            except httpx.DecodingError as error:
                raise TooLong(f"{name}: {error}") from error
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
                raise RepoUnavailable(f"{name}: {str(error) or type(error).__name__}") from error
            pause = seconds_of(response.headers.get("Retry-After"), time.time())
            if response.status_code == 429:
                pause = pause or 5.0
            if pause and response.status_code != 200:
                self._hosts.close(name, pause)
        if response.status_code == 200:
            return response.content
        if response.status_code in (429, 500, 502, 503, 504):
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


def _objects(host: str, answer: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The list of objects that an answer must have. Raises RepoUnavailable."""
    entries = answer.get(name)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise RepoUnavailable(f"{host} gives no list of {name}")
    return entries


def _error(response: httpx.Response) -> str:
    try:
        return str(json.loads(response.content).get("error", response.status_code))[:100]
    except (ValueError, AttributeError, RecursionError):
        return str(response.status_code)
