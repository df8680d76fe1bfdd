"""A caller has one limit, however many processes answer it."""

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from atdata_api.limits import RateLimiter
from atdata_api.shared_limits import WAYS, SharedRateLimiter, Table, table
from atdata_indexer.playback import recorded
from tests.appview import AppViewProcess, playing, wait_until
from tests.test_serve_apart_from_the_indexer import workers_of

LIMIT = 20
_SPAWN = multiprocessing.get_context("spawn")
_given: list[Table] = []


def test_a_caller_of_several_workers_has_one_limit(tmp_path: Path) -> None:
    more: dict[str, Any] = {"rate_limit": LIMIT, "forwarded_by": "127.0.0.1"}
    with (
        playing(recorded()) as host,
        AppViewProcess(tmp_path, host, command=["serve", "--workers", "2"], **more) as server,
    ):
        told = []
        for stopped in (0, 1):
            wait_until(lambda: len(workers_of(server.pid)) == 2)
            with halted(workers_of(server.pid)[stopped]):  # so it is the other that answers
                wait_until(lambda: ask(server.url) is not None)
                told += [ask(server.url, "203.0.113.7") for _ in range(LIMIT)]
    assert [one and one.status_code for one in told] == [200] * LIMIT + [429] * LIMIT
    left = [one and int(one.headers["ratelimit-remaining"]) for one in told]
    assert left == [*reversed(range(LIMIT))] + [0] * LIMIT


def ask(url: str, address: str = "127.0.0.1") -> httpx.Response | None:
    """An answer on a connection of its own; None when there is nobody yet to give one."""
    try:
        return httpx.get(f"{url}/robots.txt", headers={"X-Forwarded-For": address}, timeout=5)
    except httpx.TransportError:
        return None


@contextmanager
def halted(pid: int) -> Iterator[None]:
    """A process does nothing in this block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_processes_count_in_one_table() -> None:
    shared = table(_SPAWN)
    asked = ["203.0.113.7"] * LIMIT + ["203.0.113.8"] * (LIMIT // 2)
    with ProcessPoolExecutor(1, _SPAWN, _give, (shared,)) as workers:
        taken = Counter(workers.map(_take, asked))
    assert taken == {("203.0.113.7", True): LIMIT, ("203.0.113.8", True): LIMIT // 2}
    ours = SharedRateLimiter(LIMIT, shared)
    assert ours.take("203.0.113.7").wait_s > 0
    assert ours.take("203.0.113.8").remaining == LIMIT // 2 - 1
    assert ours.take("203.0.113.9").remaining == LIMIT - 1
    assert ours.times(10).take("203.0.113.7").remaining == 10 * LIMIT - 1, "another count"


def _give(shared: Table) -> None:
    _given.append(shared)


def _take(caller: str) -> tuple[str, bool]:
    return caller, not SharedRateLimiter(LIMIT, _given[0]).take(caller).wait_s


def test_it_counts_as_one_process_would() -> None:
    shared, own = SharedRateLimiter(3, table(_SPAWN)), RateLimiter(3)
    for _ in range(2 * 3):
        for caller in ("a", "b", "\ud800"):
            one, other = shared.take(caller), own.take(caller)
            assert (one.limit, one.remaining) == (other.limit, other.remaining)
            assert abs(one.wait_s - other.wait_s) < 1
            assert abs(one.reset_s - other.reset_s) < 1


def test_in_a_full_set_who_has_spent_least_makes_room() -> None:
    limiter = SharedRateLimiter(100, table(_SPAWN), sets=1)
    for spent in range(1, WAYS + 1):
        for _ in range(spent):
            limiter.take(str(spent))
    assert limiter.take("new").remaining == 99
    assert limiter.take(str(WAYS)).remaining == 99 - WAYS, "who has spent most is still known"
    assert limiter.take("1").remaining == 99
