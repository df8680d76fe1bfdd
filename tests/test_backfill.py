"""Repos that nobody spoke of are found and fetched, politely, however often it is cut short."""

import asyncio
import os
import pty
import signal
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from atdata_api.backfill import backfill
from atdata_indexer import sync
from atdata_indexer.admin_client import AdminClient
from atdata_indexer.index.store import Store
from atdata_indexer.sampling import Sample
from atdata_indexer.settings import Settings
from atdata_indexer.snapshot import Snapshot
from benchmarks.hosts import Answer, Asked, Host, refusal
from tests.appview import (
    PROGRAM,
    AppViewProcess,
    answer_of,
    playing,
    serving,
    settings,
    until,
    wait_until,
)
from tests.hosting import Frozen, World, authors, environment, run_backfill, shelves, truth
from tests.network import found
from tests.signed import DATASET, Author

LIST = "sync.listReposByCollection"
REPO = "sync.getRepo"
LOST = refusal("RepoNotFound")


def stored(data_dir: Path) -> dict[str, str]:
    """URI and CID of every visible record of a database that nobody holds."""
    store = Store(data_dir / "appview.duckdb")
    try:
        return {one.uri: one.cid for some in store.load_all() for one in some}
    finally:
        store.close()


class Served:
    """A world served in threads, for commands that run beside it."""

    def __init__(self, stack: ExitStack, host: Host, some: Sequence[Author]) -> None:
        self.world = World({})
        self.address = stack.enter_context(playing(host))
        self.url = f"http://{self.address}"
        host.repos |= shelves(some)
        for author in some:
            self.world.playback.identities[author.did] = author.identity(self.address)
        self.relay = stack.enter_context(playing(self.world.playback))
        self.values: dict[str, Any] = {"relay": "none", "directories": self.url, "backfill": True}

    def settings(self, folder: Path) -> Settings:
        return settings(folder, self.relay, **self.values)

    def begun(self, folder: Path) -> AppViewProcess:
        """The command in a process of its own, just begun."""
        return AppViewProcess(folder, self.relay, command=["backfill"], wait=False, **self.values)


# The command


def test_the_command_by_itself_fetches_every_repo_once_and_says_so(tmp_path: Path) -> None:
    some, host = authors(12), Host(page=5)
    with ExitStack() as stack:
        served = Served(stack, host, some)
        values = served.settings(tmp_path)
        done = answer_of(run_backfill(values))
        assert done == {
            "unasked": 0,
            "named": 12,
            "new": 12,
            "fetched": 12,
            "gone": 0,
            "behind": 0,
        }
        assert stored(tmp_path) == truth(some)
        assert host.times(REPO) == 12
        again = run_backfill(values, "--table")
        assert again.returncode == 0
        said = dict(line.split() for line in again.stdout.splitlines())
        assert said == {k: str(v) for k, v in (done | {"new": 0, "fetched": 0}).items()}
        assert host.times(REPO) == 12, "what is in step is not fetched again"


def test_the_command_ends_with_1_and_names_what_could_not_be_had(tmp_path: Path) -> None:
    some, host = authors(3), Host()

    async def without_one(asked: Asked) -> Answer | None:
        return LOST if asked.params.get("did") == some[0].did else None

    host.meddle = without_one
    with ExitStack() as stack:
        served = Served(stack, host, some)
        run = run_backfill(
            served.settings(tmp_path),
            "--json",
            "--host",
            "http://127.0.0.1:9",
            "--host",
            served.url,
        )
        done = answer_of(run, code=1)
        assert (done["unasked"], done["fetched"], done["gone"]) == (1, 2, 1)
        assert stored(tmp_path) == truth(some[1:])
        lines = [line for line in run.stderr.splitlines() if "backfilling" in line]
        assert lines, "not on a terminal: lines in the log"


@pytest.mark.parametrize("address", ["example.com", "https://a.example/path", "ftp://a.example"])
def test_what_is_no_host_is_not_asked(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        backfill(["--host", address])
    assert ended.value.code == 2
    assert "not the address of a host" in capsys.readouterr().err


def test_where_no_repo_may_be_fetched_the_command_says_so(tmp_path: Path) -> None:
    done = run_backfill(settings(tmp_path, "127.0.0.1:9", relay="none", backfill=False))
    assert done.returncode == 3
    assert "ATDATA_APPVIEW_BACKFILL" in done.stderr
    assert "Traceback" not in done.stderr


def test_beside_a_running_indexer_the_command_has_it_do_the_work(tmp_path: Path) -> None:
    some, host = authors(5), Host()
    with ExitStack() as stack:
        served = Served(stack, host, some)
        values = served.settings(tmp_path)
        playback = served.world.playback
        view = stack.enter_context(serving(playback, tmp_path, backfill=True, directories="none"))
        assert found(view.indexer) == {}
        done = answer_of(run_backfill(values, "--host", served.url))
        assert (done["new"], done["fetched"], done["behind"]) == (5, 5, 0)
        assert found(view.indexer) == truth(some), "and it is searchable when the command ends"
        assert AdminClient(tmp_path).sample(9) == Sample(repos=5, records=10)


def test_on_a_terminal_there_is_a_bar(tmp_path: Path) -> None:
    some, host = authors(3), Host()
    with ExitStack() as stack:
        served = Served(stack, host, some)
        shown = on_terminal(served.settings(tmp_path), "backfill", "--table")
    assert "fetching repos" in shown
    assert "3/3" in shown
    assert "backfilling" not in shown, "the lines are for logs"


def on_terminal(values: Settings, *arguments: str) -> str:
    """What the program writes on a terminal, its exit code being 0."""
    terminal, its_end = pty.openpty()
    shown = b""
    with subprocess.Popen(
        [PROGRAM, *arguments],
        env=environment(values) | {"TERM": "xterm", "COLUMNS": "100"},
        stdout=its_end,
        stderr=its_end,
    ) as program:
        os.close(its_end)
        with suppress(OSError):  # how Linux says that the other end of a terminal was closed
            while chunk := os.read(terminal, 4096):
                shown += chunk
    os.close(terminal)
    assert program.returncode == 0, shown
    return shown.decode()


# Cut short


def test_killed_in_the_middle_of_a_list_it_goes_on_at_the_stored_cursor(tmp_path: Path) -> None:
    some = authors(10, records=1)
    host = Host(page=2)
    stuck: list[Asked] = []

    async def stop_at_the_fourth_page(asked: Asked) -> Answer | None:
        of_datasets = [one for one in host.of(LIST) if one.params["collection"] == DATASET]
        if of_datasets[3:] == [asked]:
            stuck.append(asked)
            await asyncio.Event().wait()
        return None

    host.meddle = stop_at_the_fourth_page
    with ExitStack() as stack:
        served = Served(stack, host, some)
        values = served.settings(tmp_path)
        with served.begun(tmp_path) as process:
            wait_until(lambda: stuck)
            process.kill()
        assert process.exit_code == -signal.SIGKILL
        cursor = stuck[0].params["cursor"]
        before = len(host.of(LIST))
        assert answer_of(run_backfill(values))["behind"] == 0
        resumed = [one for one in host.of(LIST)[before:] if one.params["collection"] == DATASET]
        assert [one.params.get("cursor") for one in resumed[:1]] == [cursor]
        assert len(resumed) == 2, "the pages before it are not asked for again"
    assert stored(tmp_path) == truth(some)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_by_a_signal_it_ends_cleanly_and_says_so(
    tmp_path: Path, number: signal.Signals
) -> None:
    some, host = authors(6), Host()
    fetched: list[Asked] = []

    async def stop_at_the_third_repo(asked: Asked) -> Answer | None:
        if asked.method == REPO and len(fetched) < 3:
            fetched.append(asked)
            if len(fetched) == 3:
                await asyncio.Event().wait()
        return None

    host.meddle = stop_at_the_third_repo
    with ExitStack() as stack:
        served = Served(stack, host, some)
        with served.begun(tmp_path) as process:
            wait_until(lambda: len(fetched) == 3)
            os.kill(process.pid, number)
            assert wait_until(lambda: process.exit_code) == 3
        process.kill()
        said = [line.get("text", "") for line in process.log]
        assert any("cut short" in text for text in said), process.log
        assert not any("Traceback" in text for text in said)
    assert stored(tmp_path).items() < truth(some).items()


# Beside the stream


async def test_what_comes_live_while_a_repo_is_fetched_is_applied_after_it(tmp_path: Path) -> None:
    author, host = Author("alice"), Host()
    author.create(1, 2)
    world = World({host: [author]})
    late: list[object] = []
    async with world.served() as relay:
        host.repos = {author.did: Frozen(author)}
        later = [author.create(3), author.delete(1), author.update(2, "Meanwhile")]

        async def speak(asked: Asked) -> Answer | None:
            if asked.method == REPO:
                while later:
                    late.append(later[0])
                    world.send(later.pop(0))
                await until(lambda: len(indexer._lanes._held.get(author.did, ())) == 3)
            return None

        host.meddle = speak
        values = settings(tmp_path, relay, backfill=True, directories="none")
        async with world.running(values) as indexer:
            await indexer.backfill([world.urls[host]])
            await until(lambda: found(indexer) == author.uris())
            await until(lambda: indexer.is_current(world.playback.last_seq))
            assert found(indexer) == author.uris()
            assert len(late) == 3
            assert host.times(REPO) == 1
            assert indexer.counts["gaps"] == 0


@pytest.mark.parametrize("fetch_by", ["getRepo", "listRecords"])
async def test_an_old_repo_takes_back_no_newer_record_and_brings_back_no_deleted_one(
    tmp_path: Path, fetch_by: str
) -> None:
    author, host = Author("alice"), Host()
    world = World({host: [author]})
    async with world.served() as relay:
        before = [author.create(1), author.create(2)]
        host.repos = {author.did: Frozen(author)}
        after = [author.update(1, "Newer"), author.delete(2), author.create(3)]
        for body in before + after:
            world.send(body)
        values = settings(tmp_path, relay, backfill=False, directories="none")
        async with world.running(values) as indexer:
            await until(lambda: indexer.is_current(world.playback.last_seq))
            assert found(indexer) == author.uris()
        again = values.model_copy(update={"backfill": True, "fetch_by": fetch_by})
        async with world.running(again) as indexer:
            await until(lambda: indexer.counts["snapshots"] > 0)
            await until(indexer.is_settled)
            assert found(indexer) == author.uris()
            assert indexer.store.behind() == [author.did], "and it is known to be no good"


@pytest.mark.parametrize("address", ["https://[", "http://127.0.0.1:99999", "http://%00.example"])
async def test_a_pds_whose_address_is_none_holds_nothing_up(tmp_path: Path, address: str) -> None:
    author, host = Author("alice"), Host()
    author.create(1)
    world = World({host: [author]})
    async with world.served() as relay:
        identity = world.playback.identities[author.did]
        identity["didDoc"]["service"][0]["serviceEndpoint"] = address
        values = settings(tmp_path, relay, backfill=True, directories="none")
        world.send(author.create(2))
        async with world.running(values) as indexer:
            await until(lambda: indexer.repo_counts["unavailable"] > 0)
            live = author.uris().items() - {next(iter(author.uris().items()))}
            await until(lambda: found(indexer).items() == live)
            world.send(author.create(3))
            await until(lambda: len(found(indexer)) == 2)
            assert not indexer._lanes.holding


async def test_a_repo_that_cannot_be_read_for_any_reason_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    author, host = Author("alice"), Host()
    author.create(1)
    world = World({host: [author]})
    failed: list[bytes] = []

    def unforeseen(car: bytes, *_: object) -> Snapshot:
        failed.append(car)
        raise LookupError("nobody thought of this")

    monkeypatch.setattr(sync, "read_snapshot", unforeseen)
    async with world.indexed(tmp_path) as indexer:
        world.send(author.create(2))
        await until(lambda: bool(failed))
        world.send(author.create(3))
        await until(lambda: len(found(indexer)) == 2)
        assert not indexer._lanes.holding
