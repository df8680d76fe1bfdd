"""An answer says when it is not all: words put right, too many schemas, an index that moved."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from atdata_api.app import create_app
from atdata_api.server import AppView
from tests.asking import NS, Api
from tests.small_index import ALICE, NOW_US, SCHEMA, SmallIndex, dataset, lens

MOST = 2_000
"""How many schemas `viewableAs` may reach."""


@pytest.fixture
async def client(small: SmallIndex, recorded_appview: AppView) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(small.reader, recorded_appview.indexer))
    async with httpx.AsyncClient(transport=transport, base_url="http://appview.test") as client:
        yield client


@pytest.fixture
def small(tmp_path: Path) -> Any:
    small = SmallIndex(tmp_path)
    yield small
    small.close()


async def ask(client: httpx.AsyncClient, **params: Any) -> Any:
    response = await client.get(f"/xrpc/{NS}.searchDatasets", params=params)
    assert response.status_code == 200, response.text
    return response.json()


def schema_uri(number: int) -> str:
    return f"at://{ALICE}/{SCHEMA}/3kschema{number:05}"


async def test_a_walk_over_an_index_that_moved_says_so(
    small: SmallIndex, client: httpx.AsyncClient
) -> None:
    def put(number: int) -> None:
        rkey = f"3kdataset{number:04}"
        small.put([dataset(schema_uri(0), rkey=rkey, created_us=NOW_US + number)])
        small.reader.refresh()

    for number in range(4):
        put(number)
    first = await ask(client, q="whale", limit=2)
    still = await ask(client, q="whale", limit=2, cursor=first["cursor"])
    assert "approximate" not in first.keys() | still.keys()
    put(4)
    moved = await ask(client, q="whale", limit=2, cursor=first["cursor"])
    assert moved["approximate"] is True
    dated = await ask(client, q="whale", limit=2, sort="newest")
    put(5)
    dated = await ask(client, q="whale", limit=2, sort="newest", cursor=dated["cursor"])
    assert "approximate" not in dated, "by date nothing comes twice"


async def test_more_schemas_than_are_searched_are_owned_up_to(
    small: SmallIndex, client: httpx.AsyncClient
) -> None:
    target = schema_uri(0)
    rows = [lens(schema_uri(n), target, rkey=f"3klens{n:07}") for n in range(1, MOST + 1)]
    rows += [dataset(schema_uri(n), rkey=f"3kdata{n:07}") for n in (0, 1)]
    small.put(rows)
    small.reader.refresh()
    assert "viewableAsCut" not in await ask(client, viewableAs=target)
    small.put([lens(schema_uri(MOST + 1), target, rkey="3klensonemore")])
    small.reader.refresh()
    cut = await ask(client, viewableAs=target)
    assert cut["viewableAsCut"] is True
    assert cut["hitsTotal"] >= 1
    assert "viewableAsCut" not in await ask(client, viewableAs=schema_uri(1))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("satelite", "satellite"), ("kitchen recordigns", "kitchen recordings")],
)
def test_words_that_seem_mistyped_are_put_right(
    recorded_appview: AppView, typed: str, meant: str
) -> None:
    with Api(recorded_appview.url) as api:
        answer = api.ask("searchDatasets", q=typed)
        assert answer["didYouMean"] == meant
        assert answer["hitsTotal"] > 0
        assert "didYouMean" not in api.ask("searchDatasets", q=meant)
