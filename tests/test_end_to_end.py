"""The whole path on the real PDS: publish with the client, find through the index, follow changes.

The indexer runs as a process of its own and is killed (`kill -9`) and started again on the way.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path

import atdata
import pytest
from numpy.typing import NDArray

from atdata_client import (
    ATProtoClient,
    DatasetLoader,
    DatasetPublisher,
    IndexClient,
    LensPublisher,
    SchemaPublisher,
)
from tests.appview import PATIENCE_S, AppViewProcess
from tests.real_pds import Account, RealPds


@atdata.packable
class Photo:
    """A photograph and what it shows."""

    image: NDArray = field(metadata={"dtype": "uint8", "shape": (None, None, 3)})  # type: ignore[type-arg]  # atdata decodes arrays only for the bare form
    label: str


@atdata.packable
class Caption:
    """What a photograph shows."""

    label: str


def caption_of(photo: Photo) -> Caption:
    return Caption(label=photo.label)  # type: ignore[call-arg]  # atdata's decorator is untyped


def with_caption(caption: Caption, photo: Photo) -> Photo:
    return Photo(image=photo.image, label=caption.label)  # type: ignore[call-arg]  # as above


def until[T](ask: Callable[[], T], holds: Callable[[T], bool]) -> T:
    """Ask until the answer is right; fails with the last one."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds(answer := ask()):
        assert time.monotonic() < deadline, f"still {answer}"
    return answer


class Network:
    """The PDS, a running AppView over it, and an author with everything published."""

    def __init__(self, pds: RealPds, data_dir: Path) -> None:
        self.pds = pds
        self.data_dir = data_dir
        self.start()

    def start(self) -> None:
        host = self.pds.url.removeprefix("http://")
        self.process = AppViewProcess(self.data_dir, host, plc_url=self.pds.plc, backfill=True)
        self.index = IndexClient(self.process.url)

    def restart_after_kill(self) -> None:
        self.process.kill()
        self.index.close()
        self.start()

    def found(self, **query: str) -> set[str]:
        return {view.uri for view in self.index.search_datasets(**query)}  # type: ignore[arg-type]  # only text is asked for here

    def status(self, uri: str) -> str:
        return self.index.record_status(uri).status


@pytest.fixture(scope="module")
def network(pds: RealPds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    network = Network(pds, tmp_path_factory.mktemp("network"))
    yield network
    network.index.close()
    network.process.kill()


@contextmanager
def author(pds: RealPds, name: str) -> Iterator[tuple[Account, ATProtoClient]]:
    """A new account, logged in."""
    account = pds.create_account(f"{name}.test")
    with ATProtoClient(base_url=pds.url, plc_url=pds.plc) as client:
        client.login(account.handle, account.password)
        yield account, client


def token(pds: RealPds, account: Account) -> str:
    """A fresh access token: what the operator does to an account ends its sessions."""
    login = {"identifier": account.did, "password": account.password}
    return str(pds.post("com.atproto.server.createSession", login)["accessJwt"])


def take_down(pds: RealPds, did: str, applied: bool) -> None:
    pds.admin(
        "com.atproto.admin.updateSubjectStatus",
        {
            "subject": {"$type": "com.atproto.admin.defs#repoRef", "did": did},
            "takedown": {"applied": applied} | ({"ref": "case-1"} if applied else {}),
        },
    )


def publish(client: ATProtoClient, name: str) -> str:
    dataset = atdata.Dataset[Photo](f"https://data.example/{name}-{{000..009}}.tar")
    return DatasetPublisher(client).publish_dataset(
        dataset, name=f"Lighthouses of {name}", tags=["image", "coast"], license="CC0-1.0"
    )


def test_what_is_published_is_found_and_every_change_is_followed(network: Network) -> None:
    with author(network.pds, "keeper") as (account, client):
        photo = SchemaPublisher(client).publish_schema(Photo, version="1.0.0")
        caption = SchemaPublisher(client).publish_schema(Caption, version="1.0.0")
        lens = LensPublisher(client).publish_lens(
            caption_of,
            with_caption,
            name="caption of photo",
            source_schema_uri=photo,
            target_schema_uri=caption,
            code_repository="https://git.example/keeper/lenses",
            code_commit="4f1c0a9d27be5538c1f06b6f4c0f2a8be31d7e90",
        )
        uri = publish(client, "keeper")

        until(lambda: network.found(q="lighthouses"), lambda found: uri in found)
        until(lambda: network.found(author="keeper.test"), lambda found: found == {uri})
        view = network.index.get_dataset(uri)
        assert view.author.did == account.did
        assert view.schema.name == "Photo"
        assert view.record == client.get_record(uri)
        found = DatasetLoader(client, network.index).search_datasets(
            tags=["coast"], query="lighthouse"
        )
        assert [one["uri"] for one in found] == [uri]
        shown = until(
            lambda: network.index.get_lens(lens), lambda view: view.target.name == "Caption"
        )
        assert shown.source.name == "Photo"

        record = client.get_record(uri)
        client.put_record(uri, record | {"name": "Foghorns of keeper", "tags": ["audio"]})
        until(lambda: network.found(q="foghorns"), lambda found: uri in found)
        until(lambda: network.found(q="lighthouses"), lambda found: uri not in found)

        client.put_record(uri, record | {"urls": []})
        until(lambda: network.status(uri), lambda status: status == "quarantined")
        refused = network.index.record_status(uri)
        assert (refused.rule, refused.path) == ("minLength", "urls")
        client.put_record(uri, record)
        until(lambda: network.found(q="lighthouses"), lambda found: uri in found)

        client.delete_record(uri)
        until(lambda: network.status(uri), lambda status: status == "deleted")
        until(lambda: network.found(q="lighthouses"), lambda found: uri not in found)


def test_accounts_and_handles_are_followed(network: Network) -> None:
    pds = network.pds
    with author(pds, "warden") as (account, client):
        did = account.did
        uri = publish(client, "warden")
        until(lambda: network.found(author="warden.test"), lambda found: found == {uri})

        pds.post(
            "com.atproto.identity.updateHandle", {"handle": "watcher.test"}, token(pds, account)
        )
        until(lambda: network.found(author="watcher.test"), lambda found: found == {uri})
        assert network.found(author="warden.test") == set()
        assert network.found(author=did) == {uri}

        pds.post("com.atproto.server.deactivateAccount", {}, token(pds, account))
        until(lambda: network.status(uri), lambda status: status == "hidden")
        until(lambda: network.found(author=did), lambda found: not found)
        pds.post("com.atproto.server.activateAccount", None, token(pds, account))
        until(lambda: network.found(author=did), lambda found: found == {uri})

        take_down(pds, did, True)
        until(lambda: network.index.record_status(uri).account_status, lambda s: s == "takendown")
        until(lambda: network.found(author=did), lambda found: not found)
        take_down(pds, did, False)
        until(lambda: network.found(author=did), lambda found: found == {uri})

        pds.admin("com.atproto.admin.deleteAccount", {"did": did})
        until(lambda: network.status(uri), lambda status: status == "deleted")
        until(lambda: network.found(author=did), lambda found: not found)


def test_kill_9_while_an_author_writes_and_a_restart_end_in_what_the_pds_holds(
    network: Network,
) -> None:
    with author(network.pds, "mason") as (account, client):
        schema = SchemaPublisher(client).publish_schema(Photo, version="1.0.0")
        record = {
            "name": "Stones",
            "schemaRef": schema,
            "urls": ["https://data.example/stones.tar"],
            "createdAt": "2026-01-02T03:04:05.678901Z",
        }
        kills = 0
        for number in range(60):
            uri = client.create_record(
                "app.bsky.atdata.dataset", record | {"name": f"Stone {number}"}
            )
            if number % 3 == 0:
                client.put_record(uri, record | {"name": f"Polished stone {number}"})
            if number % 5 == 0:
                client.delete_record(uri)
            if number in (15, 30, 45):
                network.restart_after_kill()
                kills += 1

        def held() -> dict[str, str]:
            return {view.uri: view.cid for view in network.index.list_datasets(author=account.did)}

        truth = {one["uri"]: one["cid"] for one in client.list_records("app.bsky.atdata.dataset")}
        assert kills == 3
        assert len(truth) == 48
        until(held, lambda found: found == truth)
