"""What labelers say hides or is shown, as the operator wants; only what they signed counts."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from atdata_indexer.daemon import Indexer
from atdata_indexer.errors import FrameError, FutureCursor, StreamError
from atdata_indexer.labels import Label, LabelPolicy, read_frame
from benchmarks.repos import encode
from tests.appview import until
from tests.contents import searchable
from tests.labeler import CTS, Labeler
from tests.network import Network
from tests.signed import Author, path
from tests.small_index import ALICE, BOB, NOW_US, SmallIndex, dataset, lens, schema

SRC = "did:plc:labelerlabelerlabelerla"
PHOTO = schema().uri
WHALES = dataset(PHOTO).uri
CID = dataset(PHOTO).cid
POLICY = LabelPolicy(frozenset({"!hide", "spam"}), frozenset({"*"}))


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SmallIndex]:
    small = SmallIndex(tmp_path)
    small.store.set_labels(POLICY, [SRC])
    photo, other = schema(), schema(did=BOB, rkey="3kschemabbbbb", name="Crop")
    small.put([photo, other, dataset(photo.uri), lens(photo.uri, other.uri)])
    yield small
    small.close()


def say(index: SmallIndex, uri: str, val: str, **more: Any) -> int:
    """Apply one label; how many were new."""
    label = Label(SRC, uri, val, CTS, **more)
    new = index.store.apply_labels([label], {f"labels:{SRC}": 1}, NOW_US)["labels"]
    index.writer.catch_up()
    return new


def labels_of(index: SmallIndex, uri: str) -> list[tuple[str, str]]:
    return [(one["val"], one["uri"]) for one in index.views()[uri].get("labels", ())]


@pytest.mark.parametrize("named", [WHALES, BOB, PHOTO, ALICE])
@pytest.mark.parametrize("val", ["!hide", "spam"])
def test_a_label_that_hides_is_as_good_as_a_takedown(
    index: SmallIndex, named: str, val: str
) -> None:
    before = index.views()
    assert say(index, named, val) == 1
    hidden = before.keys() - index.views().keys()
    assert hidden == {uri for uri in before if named in uri}
    for uri in hidden:
        status = index.store.record_status(uri)
        assert (status.status, status.rule) == ("hidden", "label")
        assert status.reason == f"labelled {val} by {SRC}"
    assert say(index, named, val, neg=True) == 1
    assert index.views() == before


def test_any_other_label_is_shown_with_what_it_is_of(index: SmallIndex) -> None:
    before = index.views()
    say(index, WHALES, "sea")
    say(index, BOB, "biologist")
    assert labels_of(index, WHALES) == [("sea", WHALES), ("biologist", BOB)]
    assert labels_of(index, lens("", "").uri) == [("biologist", BOB)]
    assert labels_of(index, PHOTO) == []
    assert index.views()[WHALES]["labels"][1] == {
        "src": SRC, "uri": BOB, "val": "biologist", "cts": CTS,
    }  # fmt: skip
    index.reopen()
    assert len(labels_of(index, WHALES)) == 2
    say(index, WHALES, "sea", neg=True)
    say(index, BOB, "biologist", neg=True)
    assert index.views() == before


def test_a_label_that_hides_nothing_is_no_reason_to_look_through_the_export(
    index: SmallIndex,
) -> None:
    before = index.store.moderations
    say(index, WHALES, "sea")
    say(index, WHALES, "sea", neg=True)
    assert index.store.moderations == before
    say(index, WHALES, "spam")
    say(index, WHALES, "spam", neg=True)
    assert index.store.moderations == before + 1


def test_a_label_of_a_version_is_of_that_version(index: SmallIndex) -> None:
    say(index, WHALES, "sea", cid="bafyother")
    say(index, WHALES, "!hide", cid="bafyother")
    assert labels_of(index, WHALES) == []
    say(index, WHALES, "sea", cid=CID)
    assert labels_of(index, WHALES) == [("sea", WHALES)]
    say(index, WHALES, "spam", cid=CID)
    assert WHALES not in index.views()
    index.put([dataset(PHOTO, rev="3mabcdefghik2")])
    assert labels_of(index, WHALES) == [], "the next version has to be labelled anew"


def test_a_label_said_again_changes_nothing(index: SmallIndex) -> None:
    assert say(index, WHALES, "sea") == 1
    head = index.store.head
    assert say(index, WHALES, "sea") == 0
    assert say(index, WHALES, "sky", neg=True) == 0
    assert index.store.head == head


def test_what_was_labelled_before_it_came_is_hidden_when_it_comes(index: SmallIndex) -> None:
    late = dataset(PHOTO, rkey="3kdatasetbbbb")
    say(index, late.uri, "spam")
    index.put([late])
    assert late.uri not in index.views()


def test_a_label_ends_with_its_time(index: SmallIndex) -> None:
    before = index.views()
    assert say(index, WHALES, "spam", exp_us=NOW_US - 1) == 0
    assert say(index, WHALES, "spam", exp_us=NOW_US + 10) == 1
    assert index.store.expire_labels(NOW_US + 9).total() == 0
    assert WHALES not in index.views()
    assert index.store.expire_labels(NOW_US + 10).total() == 1
    index.writer.catch_up()
    assert index.views() == before


@pytest.mark.parametrize(
    "uri", ["at://did:plc:abc", "at://alice.test/app.bsky.atdata.dataset/x", "https://x.test",
            f"at://{BOB}/app.bsky.feed.post/3kaaaaaaaaaaa", f"{WHALES}/x", ""],
)  # fmt: skip
def test_labels_of_what_is_never_indexed_are_not_kept(index: SmallIndex, uri: str) -> None:
    assert say(index, uri, "spam") == 0


def test_what_labels_do_follows_the_settings(index: SmallIndex) -> None:
    say(index, WHALES, "sea")
    say(index, PHOTO, "spam")
    assert index.store.cursor(f"labels:{SRC}") == 1

    def follow(policy: LabelPolicy, *labelers: str) -> int | None:
        index.store.set_labels(policy, labelers)
        index.writer.catch_up()
        return index.store.cursor(f"labels:{SRC}")

    assert follow(POLICY, SRC) == 1, "nothing new, nothing to be read again"
    assert follow(LabelPolicy(frozenset({"sea"}), frozenset({"spam"})), SRC) is None
    assert WHALES not in index.views()
    assert labels_of(index, PHOTO) == [("spam", PHOTO)]
    say(index, WHALES, "sea")
    follow(LabelPolicy(frozenset(), frozenset({"sea"})), SRC)
    assert labels_of(index, WHALES) == [("sea", WHALES)]
    assert labels_of(index, PHOTO) == []
    say(index, WHALES, "sea")
    assert follow(LabelPolicy(frozenset(), frozenset({"sea"})), "did:plc:another") is None
    assert labels_of(index, WHALES) == []


# --- the stream -----------------------------------------------------------------------------------


@asynccontextmanager
async def following(folder: Path, labeler: Labeler, author: Author) -> AsyncIterator[Indexer]:
    """An indexer of an author's two records that follows a labeler."""
    network = Network(author)
    settings = {"labelers": labeler.did, "hide_labels": "spam", "contact": "ops@index.example"}
    async with labeler.serve(), network.serve():
        network.playback.identities[labeler.did] = labeler.identity(network.host)
        network.serve_repos()
        async with network.indexer(folder, **settings) as indexer:
            await until(lambda: len(indexer.store.held(author.did)) == 2)
            yield indexer


@pytest.fixture
def author() -> Author:
    author = Author("alice")
    author.create(1, 2)
    return author


async def test_a_labelers_word_is_followed_and_gone_on_with(tmp_path: Path, author: Author) -> None:
    labeler, (one, two) = Labeler(), (f"at://{author.did}/{path(n)}" for n in (1, 2))
    labeler.say(labeler.label(one, "spam"), labeler.label(two, "nice"))

    def shown(indexer: Indexer) -> dict[str, list[str]]:
        return {
            uri: [label["val"] for label in view.get("labels", ())]
            for uri, view in searchable(indexer.reader).items()
        }

    async with following(tmp_path, labeler, author) as indexer:
        await until(lambda: shown(indexer) == {two: ["nice"]})
        labeler.say(labeler.label(one, "spam", neg=True))
        await until(lambda: shown(indexer) == {one: [], two: ["nice"]})
    async with following(tmp_path, labeler, author) as indexer:
        assert shown(indexer) == {one: [], two: ["nice"]}
        await until(lambda: len(labeler.asked) == 2)
        last = labeler.say(labeler.label(author.did, "spam"))
        await until(lambda: shown(indexer) == {})
    agent = "atdata-appview (ops@index.example)"
    assert labeler.asked == [(0, agent), (last - 1, agent)]


async def test_what_it_did_not_sign_is_refused(tmp_path: Path, author: Author) -> None:
    labeler, other, uri = Labeler(), Labeler("forger"), f"at://{author.did}/{path(1)}"
    forged = other.label(uri, "spam", src=labeler.did)
    altered = labeler.label(uri, "fine") | {"val": "spam"}
    unsigned = {name: value for name, value in labeler.label(uri, "spam").items() if name != "sig"}
    labeler.say(forged, altered, unsigned, other.label(uri, "spam"), labeler.label(uri, "seen"))
    async with following(tmp_path, labeler, author) as indexer:
        await until(lambda: indexer.counts["labels"] == 1 and uri in searchable(indexer.reader))
        assert indexer.counts["labels_refused"] == 4
        assert [one["val"] for one in searchable(indexer.reader)[uri]["labels"]] == ["seen"]


async def test_what_breaks_its_stream_does_not_end_it(tmp_path: Path, author: Author) -> None:
    labeler, uri = Labeler(), f"at://{author.did}/{path(1)}"
    labeler.say(labeler.label(uri, "one"))
    async with following(tmp_path, labeler, author) as indexer:
        await until(lambda: indexer.counts["labels"] == 1)
        labeler.send(2, b"\xff garbage")
        await until(lambda: indexer.counts["labeler_frames_skipped"] == 1)
        labeler.frames[1] = (2, encode({"op": 1, "t": "#info"}) + encode({"name": "x"}))
        labeler.say(labeler.label(uri, "two"), {"ver": 1}, {"src": 7})
        await until(lambda: indexer.counts["labels"] == 2)
        labeler.send(4, encode({"op": -1}) + encode({"error": "FutureCursor", "message": ""}))
        await until(lambda: labeler.asked[-1][0] == 0 and len(labeler.asked) > 3)


def test_frames_say_what_they_are() -> None:
    for error, kind in (("FutureCursor", FutureCursor), ("ConsumerTooSlow", StreamError)):
        with pytest.raises(kind, match=error):
            read_frame(encode({"op": -1}) + encode({"error": error}))
    for body in (
        {},
        {"seq": -1, "labels": []},
        {"seq": 2**63, "labels": []},
        {"seq": True, "labels": []},
        {"seq": 1},
    ):
        with pytest.raises(FrameError):
            read_frame(encode({"op": 1, "t": "#labels"}) + encode(body))
    for frame in (
        b"",
        b"\xa0",
        encode(1) + encode(2),
        encode({"op": 1, "t": "#labels"}),
        b"\xff" * 9,
    ):
        with pytest.raises(FrameError):
            read_frame(frame)
    assert read_frame(encode({"op": 1, "t": "#other"}) + encode({})) == (None, [])


@pytest.mark.parametrize(
    "flaw",
    [{"src": "alice.test"}, {"val": ""}, {"val": "v" * 129}, {"cts": "yesterday"}, {"neg": 1},
     {"ver": 2}, {"cid": 7}, {"cid": ""}, {"cid": "bafyother"}, {"exp": "never"}, {"uri": None},
     {"sig": "text"}],
)  # fmt: skip
def test_what_is_no_label_is_left_out_of_its_frame(flaw: dict[str, Any]) -> None:
    labeler = Labeler()
    good = labeler.label(WHALES, "fine", exp="2030-01-01T00:00:00Z", neg=False)
    body = {"seq": 5, "labels": [good | flaw, 7, good]}
    seq, labels = read_frame(encode({"op": 1, "t": "#labels"}) + encode(body))
    assert seq == 5
    assert [one.label.val for one in labels] == ["fine"]


async def test_a_label_of_a_version_hides_that_one_and_followers_are_told_of_the_next(
    tmp_path: Path, author: Author
) -> None:
    labeler, network = Labeler(), Network(author)
    uri = f"at://{author.did}/{path(1)}"
    cid = author.uris()[uri]
    settings = {"labelers": labeler.did, "hide_labels": "spam"}

    def told(indexer: Indexer) -> list[tuple[str, bool]]:
        batch = indexer.changes(0, indexer.head())
        entries = [one for one in batch.entries if one.uri == uri and one.op != "refresh"]
        return [(one.op, one.view is not None) for one in entries]

    async with labeler.serve(), network.serve():
        network.playback.identities[labeler.did] = labeler.identity(network.host)
        network.serve_repos()
        async with network.indexer(tmp_path, **settings) as indexer:
            await until(lambda: uri in searchable(indexer.reader))
            labeler.say(labeler.label(uri, "spam", cid=cid))
            await until(lambda: uri not in searchable(indexer.reader))
            assert told(indexer) == [("hide", False)]
            network.send(author.update(1, "another"))
            network.serve_repos()
            await until(lambda: uri in searchable(indexer.reader))
            assert told(indexer)[-2:] == [("hide", False), ("update", True)]
            assert searchable(indexer.reader)[uri]["cid"] == author.uris()[uri] != cid
