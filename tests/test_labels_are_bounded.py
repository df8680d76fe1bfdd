"""A labeler that says too much fills no disk, slows nobody down, and harms no other labeler."""

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from atdata_indexer.identity import IdentityResolver, IdentityUnavailable
from atdata_indexer.index import database, labelled, moderation_sql
from atdata_indexer.index.store import Store
from atdata_indexer.labelers import LABELS_AT_ONCE, Labelers
from atdata_indexer.labels import Label, LabelPolicy
from tests.appview import settings as settings_for
from tests.appview import until
from tests.labeler import CTS, Labeler
from tests.network import Network
from tests.signed import path
from tests.small_index import ALICE, BOB, NOW_US, SmallIndex, dataset, schema

ONE = "did:plc:labelerlabelerlabelerla"
OTHER = "did:plc:otherotherotherotheroth"
PHOTO = schema()
WHALES = dataset(PHOTO.uri)


def account(number: int) -> str:
    """One that is not here."""
    return f"did:plc:{number:a>24}".translate(str.maketrans("0189", "bcde"))


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SmallIndex]:
    small = SmallIndex(tmp_path)
    small.store.set_labels(LabelPolicy(frozenset({"spam"})), [ONE, OTHER])
    small.put([PHOTO, WHALES])
    yield small
    small.close()


def say(index: SmallIndex, *labels: Label) -> Counter[str]:
    return index.store.apply_labels(labels, {}, NOW_US)


def said(index: SmallIndex, src: str) -> list[tuple[str, str]]:
    """What is kept of a labeler's words, in their order."""
    with index.store.reader() as db:
        sql = "SELECT uri, val FROM labels WHERE src = ? ORDER BY rowid"
        return db.execute(sql, [src]).fetchall()


def size(index: SmallIndex, src: str) -> int:
    return sum(len(src) + len(uri) + len(val) + len(CTS) for uri, val in said(index, src))


def test_what_is_said_of_what_is_not_here_is_bounded_for_each_labeler(
    index: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelled, "STRANGE_BYTES", 20_000)
    say(index, Label(OTHER, account(0), "spam", CTS), Label(OTHER, account(1), "fine", CTS))
    say(index, Label(ONE, WHALES.uri, "sea", CTS), Label(ONE, BOB, "fine", CTS))
    counts: Counter[str] = Counter()
    with capture_logs() as logs:
        for at in range(0, 1000, 20):
            counts += say(
                index,
                Label(ONE, account(at), "spam", CTS),
                *(Label(ONE, account(at + n), "fine", CTS) for n in range(1, 20)),
            )
            assert size(index, ONE) < 23_000
    kept = said(index, ONE)
    assert counts["labels"] == 1000
    assert counts["labels_dropped"] == 1002 - len(kept) > 700
    dropped = [line for line in logs if line["event"] == "labels_dropped"]
    assert sum(line["labels"] for line in dropped) == counts["labels_dropped"]
    assert {line["labeler"] for line in dropped} == {ONE}
    # What is here, what hides, what was said last; and every word of the other labeler.
    assert kept[:2] == [(WHALES.uri, "sea"), (BOB, "fine")]
    assert sum(val == "spam" for _, val in kept) == 50
    shown = [uri for uri, val in kept[2:] if val == "fine"]
    assert shown == [account(n) for n in range(1000) if n % 20][-len(shown) :]
    assert len(said(index, OTHER)) == 2


def test_more_that_hides_than_there_is_room_for_leaves_the_newest(
    index: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelled, "STRANGE_BYTES", 20_000)
    late = [dataset(PHOTO.uri, rkey=f"3k{number:011}") for number in range(400)]
    for at in range(0, 400, 10):
        say(index, *(Label(ONE, one.uri, "spam", CTS) for one in late[at : at + 10]))
    kept = {uri for uri, _ in said(index, ONE)}
    assert 0 < len(kept) < 200
    with index.store.reader() as db:
        hidden = {uri for (uri,) in db.execute("SELECT uri FROM hidden").fetchall()}
    assert hidden == kept
    index.put(late)
    assert late[-1].uri in kept
    assert index.views().keys() == {PHOTO.uri, WHALES.uri} | {one.uri for one in late} - kept


def test_what_was_dropped_can_be_said_again(
    index: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelled, "STRANGE_BYTES", 2_000)
    first = dataset(PHOTO.uri, rkey="3kdatasetbbbb")
    say(index, Label(ONE, first.uri, "spam", CTS))
    for at in range(0, 100, 10):
        say(index, *(Label(ONE, account(at + number), "spam", CTS) for number in range(10)))
    assert (first.uri, "spam") not in said(index, ONE)
    index.put([first])
    assert first.uri in index.views()
    assert say(index, Label(ONE, first.uri, "spam", CTS))["labels"] == 1
    index.writer.catch_up()
    assert first.uri not in index.views()


def test_one_record_has_so_many_labels_of_a_labeler_and_those_that_hide_are_the_last_to_go(
    index: SmallIndex,
) -> None:
    most = labelled.MOST_OF_SUBJECT
    say(index, Label(ONE, WHALES.uri, "spam", CTS), Label(OTHER, WHALES.uri, "sea", CTS))
    counts = say(index, *(Label(ONE, WHALES.uri, f"v{n}", CTS) for n in range(5 * most)))
    assert counts == Counter(labels=most - 1, labels_dropped=4 * most + 1)
    say(index, Label(ONE, WHALES.uri, "last", CTS))
    kept = [val for _, val in said(index, ONE)]
    assert len(kept) == most
    assert set(kept) == {"spam", "last"} | {f"v{n}" for n in range(4 * most + 2, 5 * most)}
    assert said(index, OTHER) == [(WHALES.uri, "sea")]


def test_what_ends_at_once_goes_in_pieces(
    index: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelled, "EXPIRED_AT_ONCE", 3)
    say(index, *(Label(ONE, account(n), "spam", CTS, exp_us=NOW_US + 5) for n in range(7)))
    say(index, Label(ONE, account(8), "spam", CTS, exp_us=NOW_US + 6))
    expired = [index.store.expire_labels(NOW_US + 5)["labels_expired"] for _ in range(4)]
    assert expired == [3, 3, 1, 0]
    assert said(index, ONE) == [(account(8), "spam")]


def test_a_labeler_of_a_million_values_is_forgotten_like_any_other(
    index: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(index, *(Label(ONE, account(n), f"v{n}", CTS) for n in range(5000)))
    say(index, Label(OTHER, WHALES.uri, "v1", CTS))
    asked = Counter[str]()
    every = index.store._all

    def counting(sql: str, *more: Any) -> list[Any]:
        asked[sql] += 1
        return every(sql, *more)

    monkeypatch.setattr(index.store, "_all", counting)
    index.store.set_labels(LabelPolicy(), [OTHER])
    assert said(index, ONE) == []
    assert said(index, OTHER) == [(WHALES.uri, "v1")]
    assert asked
    assert max(asked.values()) < 20


# --- looked up by key -----------------------------------------------------------------------------


def test_labels_are_looked_up_and_not_searched_for(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    with store._transaction():
        store._db.execute(
            "INSERT INTO labels SELECT 'did:plc:x', 'did:plc:' || i, 'spam', '', '', NULL,"
            " i % 2 = 0 FROM range(100000) t(i)"
        )
        store._db.execute("INSERT INTO hidden SELECT uri, NULL FROM labels")
    for sql in (moderation_sql.LABELS_OF, moderation_sql.HIDDEN_AMONG):
        plan = store._all(f"EXPLAIN ANALYZE {sql} (?, ?)", ["did:plc:5", "did:plc:70005"])
        assert "Index Scan" in plan[0][1], plan[0][1]
    store.close()


def test_an_older_database_gets_its_indexes_when_it_is_opened(tmp_path: Path) -> None:
    layout = Path(__file__).parent / "data" / "layout-3" / "appview.duckdb"
    shutil.copy(layout, tmp_path / "appview.duckdb")
    for _ in range(2):
        store = Store(tmp_path / "appview.duckdb")
        names = {name for (name,) in store._all("SELECT index_name FROM duckdb_indexes()")}
        assert names >= {"labels_by_uri", "hidden_by_uri"}
        store.close()


SUBJECTS = [ALICE, BOB, PHOTO.uri, WHALES.uri, dataset(PHOTO.uri, rkey="3kdatasetbbbb").uri]
VERSIONS = [
    *((uri, None) for uri in SUBJECTS),
    *((one.uri, cid) for one in (PHOTO, WHALES) for cid in (one.cid, "bafyother")),
]


@given(
    labels=st.lists(st.tuples(st.sampled_from(VERSIONS), st.booleans()), max_size=6),
    taken=st.none() | st.sampled_from(SUBJECTS),
    scanned=st.sampled_from([0, database.SCANNED]),
)
@settings(max_examples=25, deadline=None)
def test_what_is_looked_up_is_hidden_as_what_is_read_whole(
    tmp_path_factory: pytest.TempPathFactory,
    labels: list[tuple[tuple[str, str | None], bool]],
    taken: str | None,
    scanned: int,
) -> None:
    index = SmallIndex(tmp_path_factory.mktemp("hidden"))
    index.store.set_labels(LabelPolicy(frozenset({"spam"})), [ONE])
    index.put([PHOTO, WHALES, dataset(PHOTO.uri, rkey="3kdatasetbbbb")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "SCANNED", scanned)
        say(
            index,
            *(Label(ONE, uri, "spam", CTS, cid=cid, neg=neg) for (uri, cid), neg in labels),
        )
        if taken is not None:
            index.store.take_down(taken, "why", NOW_US)
        found = {one.uri: one.schema for one in index.store.load(SUBJECTS)}
    whole = {one.uri: one.schema for batch in index.store.load_all() for one in batch}
    index.close()
    assert found == whole


# --- from the stream ------------------------------------------------------------------------------


class Stored:
    """What a labeler's words were stored as: how many at once, and with which cursor."""

    def __init__(self) -> None:
        self.transactions: list[tuple[int, Sequence[int]]] = []
        self.rounds: list[int] = []

    async def apply(self, labels: Sequence[Label], cursors: Mapping[str, int]) -> Counter[str]:
        self.transactions.append((len(labels), list(cursors.values())))
        return Counter(labels=len(labels))

    async def expire(self) -> Counter[str]:
        await asyncio.sleep(0)
        self.rounds.append(2 if len(self.rounds) < 3 else 0)
        return Counter(labels_expired=self.rounds[-1])


@asynccontextmanager
async def followed(
    labeler: Labeler, stored: Stored, *, allow_private: bool
) -> AsyncIterator[Labelers]:
    """A labeler on this machine, followed."""
    network = Network(labeler)
    async with labeler.serve(), network.serve() as host:
        network.playback.identities[labeler.did] = labeler.identity(network.host)
        resolver = IdentityResolver(settings_for(Path("unused"), host), "test")
        labelers = Labelers(
            [labeler.did],
            resolver,
            lambda source: None,
            apply=stored.apply,
            expire=stored.expire,
            pause=lambda failures: 0.0,
            user_agent="test",
            verify=True,
            allow_private=allow_private,
        )
        running = asyncio.create_task(labelers.run())
        try:
            yield labelers
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await resolver.aclose()


async def test_a_labeler_whose_document_names_a_private_address_is_not_connected_to() -> None:
    labeler = Labeler()
    with capture_logs() as logs:
        async with followed(labeler, Stored(), allow_private=False) as labelers:
            await until(lambda: labelers.counts["labeler_disconnects"] >= 2)
    why = {line.get("error") for line in logs if line["event"] == "labeler_disconnected"}
    assert why == {"127.0.0.1 has no public address"}
    assert labeler.asked == []
    async with followed(labeler, Stored(), allow_private=True):
        await until(lambda: len(labeler.asked) == 1)


@pytest.mark.parametrize("url", ["wss://a:99999", "wss://a:b", "wss://[::1", "wss://exa..mple"])
async def test_an_endpoint_that_is_no_address_is_the_labelers_failure_alone(url: str) -> None:
    async with followed(Labeler(), Stored(), allow_private=True) as labelers:
        with pytest.raises(IdentityUnavailable):
            await labelers._address(url)


async def test_many_labels_of_one_frame_are_stored_in_pieces_and_the_cursor_with_the_last() -> None:
    labeler, stored = Labeler(), Stored()
    uri = f"at://{ALICE}/{path(1)}"
    many = 2 * LABELS_AT_ONCE + 5
    labeler.say(*(labeler.label(uri, f"v{number}") for number in range(many)))
    async with followed(labeler, stored, allow_private=True) as labelers:
        await until(lambda: labelers.counts["labels"] == many)
    assert stored.transactions == [(LABELS_AT_ONCE, []), (LABELS_AT_ONCE, []), (5, [1])]


async def test_what_ended_goes_on_going_until_nothing_is_left_and_then_waits() -> None:
    stored = Stored()
    async with followed(Labeler(), stored, allow_private=False) as labelers:
        await until(lambda: labelers.counts["labeler_disconnects"] >= 5)
        assert stored.rounds == [2, 2, 2, 0]
        assert labelers.counts["labels_expired"] == 6
