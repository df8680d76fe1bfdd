"""An account that is not active is found by no name: not its handle, schemas, labels or blobs."""

from collections.abc import Mapping
from pathlib import Path

from atdata_indexer.daemon import Indexer
from tests.alt_records import ALT, Publisher, entry, label, schema
from tests.appview import caught_up
from tests.network import Network
from tests.signed import frame


def resolved(indexer: Indexer, publisher: Publisher) -> Mapping[str, bool]:
    """What can be found of an author, by what it is found with."""
    reader, did = indexer.reader, publisher.did
    return {
        "handle": reader.account(publisher.handle) == did,
        "schema": reader.schema_of(did, "Photo") is not None,
        "schema by key": reader.schema_of(did, "org.example.photo") is not None,
        "label": reader.label_of(did, "wrens") is not None,
        "blobs": indexer.pds(did) is not None,
        "counts": reader.count("label", ALT) > 0,
        "records": bool(reader.get("label", publisher.of("label"))),
    }


async def test_whoever_is_hidden_is_found_by_no_name_until_it_is_back(tmp_path: Path) -> None:
    ada = Publisher("ada")
    photo = ada.put(schema(), rkey="org.example.photo-1.0.0")
    ada.put(label("wrens", ada.put(entry(photo))))
    network = Network(ada.author)
    async with network.serve(), network.indexer(tmp_path, backfill=False) as indexer:
        for body in ada.commits():
            network.playback.append(frame(body))
        await caught_up(indexer, network.playback)
        assert set(resolved(indexer, ada).values()) == {True}
        network.tell(ada.author, active=False, status="deactivated")
        await caught_up(indexer, network.playback)
        assert set(resolved(indexer, ada).values()) == {False}
        network.tell(ada.author, active=True)
        await caught_up(indexer, network.playback)
        assert set(resolved(indexer, ada).values()) == {True}
