"""The connection to a Jetstream server: compression, sizes, back pressure, the token."""

import asyncio
import json
import logging
from pathlib import Path

import pytest
import zstandard
from pydantic import SecretStr

from atdata_indexer.settings import Settings
from atdata_indexer.sources.configured import configured
from atdata_indexer.sources.jetstream import MAX_MESSAGE_BYTES
from tests.jetstream_server import Heard, JetstreamServer
from tests.jetstream_world import World, source
from tests.signed import START_US, Author

type Sample = bytes | bytearray | memoryview[int]


JUNK = b"\x28\xb5\x2f\xfd junk"


@pytest.fixture(scope="module")
def dictionary() -> bytes:
    """What a server compresses with, trained on messages like its own."""
    samples: list[Sample] = [
        json.dumps({"did": f"did:plc:{n}", "time_us": START_US + n, "kind": "identity"}).encode()
        for n in range(2000)
    ]
    return zstandard.train_dictionary(4096, samples).as_bytes()


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def server(request: pytest.FixtureRequest) -> JetstreamServer:
    return JetstreamServer(request.param)


@pytest.fixture
def packed(server: JetstreamServer, dictionary: bytes) -> tuple[JetstreamServer, dict[str, bytes]]:
    """A server that compresses, and what a client of it must be given."""
    server.dictionary = dictionary
    return server, {"dictionary": dictionary} if server.version == 1 else {}


async def test_compressed_messages_are_read(
    tmp_path: Path, packed: tuple[JetstreamServer, dict[str, bytes]]
) -> None:
    server, options = packed
    alice = Author("alice")
    world = World(alice, servers=[server])
    async with world.serve(), world.followed(tmp_path, options=options) as indexer:
        told = alice.create(*range(10))
        world.serve_repos()
        server.commit(told, alice.delete(3))
        assert await world.settled(indexer) == world.truth()
    if server.version == 1:
        assert server.queries[0]["compress"] == ["true"]
    else:
        known = zstandard.ZstdCompressionDict(server.dictionary or b"").dict_id()
        assert server.queries[0]["zstdDictionary"] == [str(known)]
    assert server.packed > 10


async def test_a_message_that_grows_too_large_never_holds_the_stream(
    tmp_path: Path, packed: tuple[JetstreamServer, dict[str, bytes]]
) -> None:
    server, options = packed
    alice = Author("alice")
    world = World(alice, servers=[server])
    bomb = server.pack(b" " * (MAX_MESSAGE_BYTES + 1))
    unsized = zstandard.ZstdCompressor(
        dict_data=zstandard.ZstdCompressionDict(server.dictionary or b""),
        write_content_size=False,
    ).compress(b"{" * (256 << 20))
    assert max(len(bomb), len(unsized)) < 50_000
    async with world.serve(), world.followed(tmp_path, options=options) as indexer:
        told = alice.create(1)
        world.serve_repos()
        server.commit(told)
        await world.settled(indexer)
        server.hear(*(Heard("bomb", "", raw=one) for one in (bomb, unsized, JUNK)))
        server.commit(alice.create(2))
        assert await world.settled(indexer) == world.truth()
        assert indexer.counts["unreadable_frames"] == 3
        assert indexer.counts["disconnects"] >= 2


async def test_a_message_that_is_too_long_as_it_comes_never_holds_the_stream(
    tmp_path: Path, server: JetstreamServer
) -> None:
    alice = Author("alice")
    world = World(alice, servers=[server])
    async with world.serve(), world.followed(tmp_path) as indexer:
        told = alice.create(1)
        world.serve_repos()
        server.commit(told)
        await world.settled(indexer)
        server.hear(Heard("long", "", raw=b"{" + b" " * MAX_MESSAGE_BYTES))
        server.commit(alice.create(2))
        assert await world.settled(indexer) == world.truth()
        assert indexer.counts["unreadable_frames"] == 1


async def test_a_dictionary_that_was_retired_is_done_without(dictionary: bytes) -> None:
    server = JetstreamServer(2, dictionary=dictionary)
    async with server.serve() as url:
        stream = source(2, url)
        chunks = stream.frames(None)
        assert await anext(chunks) == ()
        await chunks.aclose()
        other: list[Sample] = [f"{n:>40}{n * 7:>40}".encode() for n in range(2000)]
        server.dictionary = zstandard.train_dictionary(2048, other).as_bytes()
        chunks = stream.frames(None)
        assert await anext(chunks) == ()
        await chunks.aclose()
        assert server.refused == ["UnknownZstdDictionary"]
        assert ["zstdDictionary" in query for query in server.queries] == [True, False]
        chunks = stream.frames(None)
        assert await anext(chunks) == ()
        await chunks.aclose()
        assert "zstdDictionary" in server.queries[2], "the next connection asks for the new one"


async def test_the_token_is_sent_and_never_logged(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], dictionary: bytes
) -> None:
    caplog.set_level(logging.DEBUG)
    server = JetstreamServer(2, dictionary=dictionary)
    async with server.serve() as url:
        values = Settings(
            relay="none",
            jetstream=url,
            jetstream_version=2,
            jetstream_token=SecretStr("hush-hush"),
        )
        ((stream,),) = configured(values, "test")
        chunks = stream.frames(None)
        assert await anext(chunks) == ()
        await chunks.aclose()
    assert server.tokens == ["Bearer hush-hush"]
    assert "GET /xrpc" in caplog.text, "the server's side logs what it got"
    ours = [one for one in caplog.records if "server" not in one.name]
    assert not [one for one in ours if "hush" in one.getMessage()]
    assert "hush" not in "".join(capsys.readouterr())


async def test_settings_name_the_sources() -> None:
    values = Settings(jetstream="wss://a.example,wss://b.example/", jetstream_version=1)
    relays, jetstreams = configured(values, "test")
    assert [one.name for one in relays] == ["wss://bsky.network"]
    assert [one.name for one in jetstreams] == [
        "jetstream-v1:wss://a.example",
        "jetstream-v1:wss://b.example",
    ]


async def test_what_waits_unread_is_bounded_while_the_reader_is_busy(
    server: JetstreamServer,
) -> None:
    filler = json.dumps({"kind": "filler", "$type": "filler", "x": "y" * 100_000}).encode()
    server.hear(*[Heard("filler", "", raw=filler)] * 1000)
    async with server.serve() as url:
        stream = source(server.version, url, buffer_bytes=1 << 20)
        chunks = stream.frames(1)
        await anext(chunks)
        stuck = -1
        while server.sent != stuck:  # the server is held back once every buffer between us is full
            stuck = server.sent
            for _ in range(200):
                await asyncio.sleep(0)
            await asyncio.sleep(0.05)
        assert server.sent < 500
        got = 0
        async for chunk in chunks:
            got += len(chunk)
            assert sum(map(len, chunk)) <= (1 << 20) + 2 * len(filler)
            if got == 1000:
                break
        await chunks.aclose()
    assert got == server.sent == 1000
