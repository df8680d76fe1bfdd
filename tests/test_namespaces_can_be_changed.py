"""What is indexed can be changed between starts: what is new is fetched, what is left out goes."""

import json
from pathlib import Path

from atdata_indexer.daemon import Indexer
from tests import builders
from tests.alt_records import ALT, Publisher, entry, schema
from tests.asking import NS
from tests.contents import quarantined, stored
from tests.network import Network, found
from tests.signed import frame

BOTH = f"{NS},{ALT}"


async def test_a_namespace_that_is_added_is_fetched_and_one_that_is_left_out_goes(
    tmp_path: Path,
) -> None:
    ada, bob = Publisher("ada"), Publisher("bob")
    alt_schema = ada.put(schema())
    own = ada.put(builders.dataset(name="Newts", schemaRef=alt_schema))
    ada.put({"$type": f"{ALT}.schema", "name": "broken"})
    only_bobs = bob.put(entry(alt_schema, name="Wrens"))
    network = Network(ada.author, bob.author)
    async with network.serve():
        for publisher in (ada, bob):
            for body in publisher.commits():
                network.playback.append(frame(body))
        network.serve_repos()
        wide = {"directories": f"http://{network.host}"}
        async with network.indexer(tmp_path, namespaces=NS, **wide) as indexer:
            assert set(await network.settled(indexer)) == {own}
            assert set(stored(indexer.store)) == {own}
        async with network.indexer(tmp_path, namespaces=BOTH, **wide) as indexer:
            assert indexer.store.behind(), "every repo is asked for again"
            await indexer.backfill()
            assert set(await network.settled(indexer)) == {own, alt_schema, only_bobs}
            assert len(quarantined(indexer.store)) == 1
            assert schema_name(indexer, own) == "Photo"
        async with network.indexer(tmp_path, namespaces=BOTH, **wide) as indexer:
            assert not indexer.store.behind(), "nothing was changed"
        async with network.indexer(tmp_path, namespaces=NS, **wide) as indexer:
            assert set(found(indexer)) == {own}
            assert schema_name(indexer, own) is None, "what showed it is made again"
            assert set(stored(indexer.store)) == {own}
            assert quarantined(indexer.store) == {}
            assert indexer.store.repos([ada.did])[ada.did].totals.records == 1
            assert indexer.store.repos([bob.did])[bob.did].totals.rows == 0


def schema_name(indexer: Indexer, uri: str) -> str | None:
    """What a dataset's view says its schema is called."""
    (text,) = indexer.reader.get("dataset", [uri])
    name: str | None = json.loads(text)["schema"].get("name")
    return name
