"""The admin socket: this machine's operator and `serve` ask the indexer, and nobody else can."""

import asyncio
import os
import socket
import stat
from dataclasses import asdict
from pathlib import Path

import pytest

from atdata_indexer.admin import SOCKET, admin_socket
from atdata_indexer.admin_client import AdminClient
from atdata_indexer.errors import IndexerUnavailable, StoreError
from atdata_indexer.playback import recorded
from tests.appview import AppViewProcess, indexing, operator, playing, settled, wait_until
from tests.asking import TRUTH, uris_of


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_only_its_owner_may_use_it_and_it_is_gone_at_the_end(tmp_path: Path) -> None:
    old = os.umask(0)  # nothing may depend on it
    try:
        async with indexing(recorded(), tmp_path) as indexer:
            async with admin_socket(tmp_path, indexer) as path:
                assert path.is_socket()
                assert mode_of(path) == 0o600
            assert not path.exists()
    finally:
        os.umask(old)
    assert not {SOCKET, "admin.new"} & set(os.listdir(tmp_path))


def test_every_process_that_indexes_has_one_and_takes_it_along(tmp_path: Path) -> None:
    with playing(recorded()) as host:
        for command in ("run", "index"):
            with AppViewProcess(tmp_path, host, command=[command]) as process:
                assert mode_of(tmp_path / SOCKET) == 0o600
                assert process.stop() == 0
            assert not (tmp_path / SOCKET).exists()


def test_one_that_a_killed_process_left_behind_is_replaced(tmp_path: Path) -> None:
    with playing(recorded()) as host:
        with AppViewProcess(tmp_path, host, command=["index"]) as process:
            process.kill()
        assert (tmp_path / SOCKET).is_socket()
        client = AdminClient(tmp_path)
        with pytest.raises(IndexerUnavailable):
            client.head()
        with AppViewProcess(tmp_path, host, command=["index"]):
            assert wait_until(client.head) > 0


async def test_what_lies_at_its_path_is_never_followed(tmp_path: Path) -> None:
    data, victim = tmp_path / "data", tmp_path / "victim"
    data.mkdir()
    victim.write_text("untouched")
    victim.chmod(0o644)
    (data / SOCKET).symlink_to(victim)
    (data / "admin.new").symlink_to(victim)
    async with indexing(recorded(), data) as indexer, admin_socket(data, indexer) as path:
        assert path.is_socket()
        assert not path.is_symlink()
    assert victim.read_text() == "untouched"
    assert mode_of(victim) == 0o644


async def test_a_path_that_is_too_long_for_a_socket_is_refused_in_words(tmp_path: Path) -> None:
    data = tmp_path / ("long" * 30)
    async with indexing(recorded(), data) as indexer:
        with pytest.raises(StoreError, match="too long for a socket"):
            async with admin_socket(data, indexer):
                pass


def test_it_answers_what_the_indexer_knows(tmp_path: Path) -> None:
    playback = recorded()
    client = AdminClient(tmp_path)
    with playing(playback) as host, AppViewProcess(tmp_path, host, command=["index"]):
        found = settled(client, playback)
        assert found.running
        assert found.counts["frames"] == len(playback.frames)
        assert found.census.accounts["active"] == client.account_counts()["accounts"]
        broken = {uri for uri, one in TRUTH["records"].items() if not one["valid"]}
        assert sum(found.census.quarantine.values()) == len(broken)
        assert client.account_counts()["quarantined"] == len(broken)
        assert client.record_status(uris_of("dataset")[0]).status == "indexed"
        status = asdict(client.record_status(next(iter(broken))))
        assert (status["status"], status["rule"]) == (
            "quarantined",
            TRUTH["records"][next(iter(broken))]["rule"],
        )


async def test_what_cannot_be_written_is_told_in_words(tmp_path: Path) -> None:
    """What the operating system says is for the operator; the indexer goes on."""
    async with indexing(recorded(), tmp_path) as indexer, admin_socket(tmp_path, indexer):
        client = AdminClient(tmp_path)
        (tmp_path / "export").write_text("not a folder")
        with pytest.raises(StoreError, match=r"File exists.*export"):
            await asyncio.to_thread(client.export)
        told = await asyncio.to_thread(operator, tmp_path, "export")
        assert told.returncode == 3
        assert "File exists" in told.stderr
        assert "Traceback" not in told.stderr
        (tmp_path / "export").unlink()
        made = await asyncio.to_thread(client.export)
        assert made.files["datasets"].rows > 20


async def test_two_who_ask_for_an_export_at_once_get_one_each(tmp_path: Path) -> None:
    async with indexing(recorded(), tmp_path) as indexer, admin_socket(tmp_path, indexer):
        client = AdminClient(tmp_path)
        asked = [asyncio.to_thread(client.export) for _ in range(2)]
        one, other = await asyncio.gather(*asked)
        assert one.folder != other.folder
        assert indexer.exports.current() in (one, other)


def test_what_is_not_our_socket_is_an_indexer_that_does_not_answer(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / SOCKET))
        with pytest.raises(IndexerUnavailable, match="no answer"):
            AdminClient(tmp_path).record_status("at://did:plc:abc")
