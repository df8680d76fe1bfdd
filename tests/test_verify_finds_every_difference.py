"""`verify` finds a record that is not what its CID says, and an index that is not the database."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import tantivy

from atdata_indexer.changes import Row
from atdata_indexer.index.audit import Audit, audit, pin
from atdata_indexer.index.fields import document, open_index, schema
from atdata_indexer.index.packing import pack
from atdata_indexer.index.writer import current
from atdata_indexer.playback import recorded
from atdata_indexer.repo import record_cid
from tests.appview import AppViewProcess, answer_of, operator, playing, wait_until
from tests.builders import recorded_records
from tests.small_index import ALICE, BOB, SmallIndex
from tests.small_index import dataset as dataset_row
from tests.small_index import schema as schema_row

PHOTO = schema_row().uri
WHALES = dataset_row(PHOTO).uri
SOUND = {"altered": 0, "missing": 0, "stale": 0, "surplus": 0}


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SmallIndex]:
    small = SmallIndex(tmp_path)
    small.put([true(schema_row()), true(dataset_row(PHOTO))])
    small.put([true(dataset_row(PHOTO, did=ALICE, rkey="3kdatasetbbbb"))])
    yield small
    small.close()


def true(row: Row) -> Row:
    """The row with the CID that its body has."""
    return replace(row, cid=record_cid(json.loads(row.body or "")))


def checked(index: SmallIndex) -> Audit:
    with pin(index.store, index.folder / "index") as pinned:
        return audit(pinned)


def counts(found: Audit) -> dict[str, int]:
    return {name: getattr(found, name).count for name in SOUND}


class Tampering:
    """A second hand on the index of `folder`, whose own writer must be closed."""

    def __init__(self, folder: Path) -> None:
        name = current(folder)
        self.index = open_index(str(folder / str(name)))
        self.writer = self.index.writer(15_000_000, 1)

    def done(self) -> int:
        """Commit; how many documents there are now, the sentinel among them."""
        self.writer.commit()
        self.writer.wait_merging_threads()
        self.index.reload()
        return self.index.searcher().num_docs


def test_every_recorded_body_makes_its_cid_again() -> None:
    assert len(recorded_records()) > 500
    for one in recorded_records():
        assert record_cid(one.record) == one.cid


def test_a_sound_index_has_no_difference(index: SmallIndex) -> None:
    found = checked(index)
    assert counts(found) == SOUND
    assert (found.bodies, found.documents) == (3, 3)


def test_a_body_that_was_altered_is_found(index: SmallIndex) -> None:
    index.store._db.execute(
        "UPDATE records SET body = replace(body, 'Whale', 'Shark') WHERE uri = ?", [WHALES]
    )
    with index.store.reader() as db:
        (body,) = db.execute("SELECT body FROM records WHERE uri = ?", [WHALES]).fetchall()[0]
    assert "Shark" in body
    found = checked(index)
    assert counts(found) == SOUND | {"altered": 1}
    assert found.altered.uris == [WHALES]


@pytest.mark.parametrize(
    "body", [None, "", "{", "[]", '{"$link":"x"}', '{"$bytes":"é"}', '{"a":{"$link":"bafy"}}']
)
def test_a_body_that_is_none_is_found(index: SmallIndex, body: str | None) -> None:
    index.store._db.execute("UPDATE records SET body = ? WHERE uri = ?", [body, WHALES])
    assert checked(index).altered.uris == [WHALES]


def test_a_body_behind_a_hidden_account_is_checked_too(index: SmallIndex) -> None:
    index.account(BOB, active=False, status="deactivated")
    assert counts(checked(index)) == SOUND
    index.store._db.execute("UPDATE records SET body = '{}' WHERE uri = ?", [WHALES])
    assert counts(checked(index)) == SOUND | {"altered": 1}


def test_a_missing_document_is_found(index: SmallIndex) -> None:
    index.writer.close()
    hand = Tampering(index.folder / "index")
    hand.writer.delete_documents_by_term("uri", WHALES)
    assert hand.done() == 3
    found = checked(index)
    assert counts(found) == SOUND | {"missing": 1}
    assert found.missing.uris == [WHALES]


def test_a_surplus_document_is_found(index: SmallIndex) -> None:
    """One whose row has gone, as a delete that never reached the index would leave it."""
    (stored,) = index.store.load([WHALES])
    index.writer.close()
    hand = Tampering(index.folder / "index")
    ghost = f"at://{BOB}/app.bsky.atdata.dataset/3kghostaaaaaa"
    text = json.dumps(document(stored) | {"view": None}).replace(WHALES, ghost)
    view = pack(json.dumps({"uri": ghost, "cid": stored.cid}))
    hand.writer.add_document(
        tantivy.Document.from_dict(json.loads(text) | {"view": view}, schema())
    )
    assert hand.done() == 5
    found = checked(index)
    assert counts(found) == SOUND | {"surplus": 1}
    assert found.surplus.uris == [ghost]


def test_a_second_document_of_one_record_is_found(index: SmallIndex) -> None:
    (stored,) = index.store.load([WHALES])
    index.writer.close()
    hand = Tampering(index.folder / "index")
    hand.writer.add_document(tantivy.Document.from_dict(document(stored), schema()))
    assert hand.done() == 5
    found = checked(index)
    assert counts(found) == SOUND | {"surplus": 1}
    assert found.surplus.uris == [WHALES]


def test_a_document_of_a_hidden_account_is_found(index: SmallIndex) -> None:
    index.store._db.execute("UPDATE repos SET status = 'takendown' WHERE did = ?", [BOB])
    found = checked(index)
    assert counts(found) == SOUND | {"surplus": 1}
    assert found.surplus.uris == [WHALES]


def test_a_document_of_an_older_version_is_found(index: SmallIndex) -> None:
    (stored,) = index.store.load([WHALES])
    body = stored.body.replace("sea", "ocean")
    index.store._db.execute(
        "UPDATE records SET body = ?, cid = ? WHERE uri = ?",
        [body, record_cid(json.loads(body)), WHALES],
    )
    assert index.store.load([WHALES])[0].cid != stored.cid
    found = checked(index)
    assert counts(found) == SOUND | {"stale": 1}
    assert found.stale.uris == [WHALES]


def test_every_difference_is_counted_and_the_first_are_named(index: SmallIndex) -> None:
    rows = [true(dataset_row(PHOTO, rkey=f"many-{n}")) for n in range(150)]
    index.put(rows)
    index.store._db.execute("UPDATE records SET body = '{}' WHERE rkey LIKE 'many-%'")
    found = checked(index)
    assert found.altered.count == len(rows) == 150
    assert len(found.altered.uris) == 100


def test_what_is_written_meanwhile_does_not_disturb_it(index: SmallIndex) -> None:
    with pin(index.store, index.folder / "index") as pinned:
        index.put([true(dataset_row(PHOTO, rkey="3kdatasetcccc"))])
        index.account(BOB, active=False, status="deleted")
        assert index.writer.seq > pinned.seq
        found = audit(pinned)
    assert counts(found) == SOUND
    assert found.bodies == 3
    assert counts(checked(index)) == SOUND


def test_the_command_works_beside_the_indexer_and_without_it(tmp_path: Path) -> None:
    playback = recorded()
    with playing(playback) as host, AppViewProcess(tmp_path, host, command=["index"]) as process:
        wait_until(lambda: answer_of(operator(tmp_path, "status"))["census"]["head"] > 500)
        beside = answer_of(operator(tmp_path, "verify"))
        assert process.stop() == 0
    without = answer_of(operator(tmp_path, "verify", "--json"))
    for found in (beside, without):
        assert {name: found[name]["count"] for name in SOUND} == SOUND
        assert found["bodies"] >= found["documents"] > 100
    table = operator(tmp_path, "verify", "--table")
    assert table.returncode == 0
    assert "sound" in table.stdout


def test_the_command_ends_with_1_when_there_is_a_difference(tmp_path: Path) -> None:
    with playing(recorded()) as host, AppViewProcess(tmp_path, host, command=["index"]) as process:
        wait_until(lambda: answer_of(operator(tmp_path, "status"))["index_seq"] > 100)
        assert process.stop() == 0
    hand = Tampering(tmp_path / "index")
    before = hand.index.searcher().num_docs
    hand.writer.delete_documents_by_term("kind", "schema")
    gone = before - hand.done()
    del hand
    assert gone > 3
    found = answer_of(operator(tmp_path, "verify"), code=1)
    assert found["missing"]["count"] == gone
    assert all(".schema/" in uri for uri in found["missing"]["uris"])
    table = operator(tmp_path, "verify", "--table")
    assert table.returncode == 1
    assert f"{gone} differences" in table.stdout
    assert answer_of(operator(tmp_path, "rebuild"))["documents"] == before - 1
    assert answer_of(operator(tmp_path, "verify"))["missing"]["count"] == 0
