"""`AsyncIndexClient` is `IndexClient` for programs that wait for many things at once."""

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest

from atdata_api.server import AppView
from atdata_client import (
    AsyncIndexClient,
    AsyncPages,
    IndexClient,
    IndexUnavailable,
    NotFound,
    RateLimited,
    Results,
    UnexpectedResponse,
)
from tests.canned_index import DID, Canned, canned_index, dataset_view, page

URI = f"at://{DID}/app.bsky.atdata.dataset/3aaaaaaaaaaaa"
TAGS = Canned({"tags": [{"tag": "sea", "count": 7}]})
METHODS = sorted(
    name
    for name, value in inspect.getmembers(IndexClient, inspect.isfunction)
    if not name.startswith("_")
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def index(recorded_appview: AppView) -> AsyncIterator[AsyncIndexClient]:
    async with AsyncIndexClient(recorded_appview.url) as index:
        yield index


@pytest.fixture(scope="module")
def waiting(recorded_appview: AppView) -> Iterator[IndexClient]:
    with IndexClient(recorded_appview.url) as index:
        yield index


def test_both_clients_have_the_same_methods() -> None:
    public = {name for name in dir(IndexClient) if not name.startswith("_")}
    assert {name for name in dir(AsyncIndexClient) if not name.startswith("_")} == public
    assert len(METHODS) >= 19
    assert inspect.signature(AsyncIndexClient) == inspect.signature(IndexClient)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_the_same_parameters_and_words_in_both(name: str) -> None:
    one, other = getattr(IndexClient, name), getattr(AsyncIndexClient, name)
    # What they give differs in who waits for it.
    assert inspect.signature(one).parameters == inspect.signature(other).parameters
    assert next(iter(inspect.signature(one).parameters)) == "self"
    assert inspect.getdoc(one) == inspect.getdoc(other)
    assert inspect.getdoc(one)
    with IndexClient() as index:
        assert "self" not in inspect.signature(getattr(index, name)).parameters


async def test_both_clients_are_answered_the_same(
    index: AsyncIndexClient, waiting: IndexClient
) -> None:
    asked: dict[str, Any] = {
        "tags": ["audio", "speech"],
        "match": "any",
        "facets": ["tags"],
        "sort": "newest",
    }
    pages, others = index.search_datasets(**asked), waiting.search_datasets(**asked)
    assert [view async for view in pages] == list(others)
    assert (pages.total, pages.facets) == (others.total, others.facets)
    assert pages.total is not None
    assert pages.total > 3
    one = await anext(index.list_datasets())
    assert await index.get_dataset(one.uri) == waiting.get_dataset(one.uri) == one
    assert await index.get_datasets([one.uri]) == waiting.get_datasets([one.uri]) == (one,)
    assert await index.list_tags(limit=3) == waiting.list_tags(limit=3)
    lens = await anext(index.list_lenses())
    ends = lens.source.uri, lens.target.uri
    assert await index.find_lens_paths(*ends) == waiting.find_lens_paths(*ends)


async def test_many_questions_wait_at_once(index: AsyncIndexClient, waiting: IndexClient) -> None:
    uris = [view.uri for view in waiting.list_datasets(limit=20)]
    found: dict[str, str] = {}

    async def ask(uri: str) -> None:
        found[uri] = (await index.get_dataset(uri)).uri

    async with anyio.create_task_group() as group:
        for uri in uris:
            group.start_soon(ask, uri)
    assert sorted(found.values()) == sorted(uris)


async def test_pages_are_followed_and_only_those_that_are_needed() -> None:
    views = [dataset_view(name=str(number)) for number in range(100)]
    with canned_index(page(*views, cursor="a"), page(*views, cursor="b")) as canned:
        async with AsyncIndexClient(canned.url) as index:
            pages = index.search_datasets(limit=150)
            assert isinstance(pages, AsyncPages)
            assert "nothing asked" in pages._repr_html_()
            assert canned.asked == []
            assert (await anext(pages)).name == "0"
            assert len(canned.asked) == 1
            assert "<td>1</td>" in pages._repr_html_()
            rest = await pages.results()
    assert isinstance(rest, Results)
    assert len(rest) == 149
    assert [dict(one.params)["limit"] for one in canned.asked] == ["100", "50"]


async def test_results_that_are_left_become_frames() -> None:
    with canned_index(page(dataset_view(), dataset_view(name="two"))) as canned:
        async with AsyncIndexClient(canned.url) as index:
            assert list((await index.search_datasets().to_pandas())["name"])[1] == "two"
            assert (await index.search_datasets().to_arrow()).num_rows == 2


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_what_passes_is_tried_again_after_the_wait_that_was_asked_for(
    asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def rest(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("stamina._core._smart_sleep", rest)
    monkeypatch.setattr("time.sleep", waits.append)
    busy = Canned({"error": "Busy"}, 503, {"Retry-After": "7"})
    with canned_index(busy, busy, TAGS) as canned:
        if asynchronous:
            async with AsyncIndexClient(canned.url) as index:
                assert (await index.list_tags())[0].count == 7
        else:
            with IndexClient(canned.url) as waiting:
                assert waiting.list_tags()[0].count == 7
        assert len(canned.asked) == 3
    assert waits == [7, 7]


async def test_a_failure_is_the_same_error() -> None:
    refused = Canned({"error": "NotFound", "message": "no"}, 404)
    long = Canned({"error": "RateLimitExceeded"}, 429, {"Retry-After": "3600"})
    with canned_index(refused, long, Canned({}), Canned(b"<h1>")) as canned:
        async with AsyncIndexClient(canned.url) as index:
            with pytest.raises(NotFound, match="no"):
                await index.get_dataset(URI)
            with pytest.raises(RateLimited) as caught:
                await index.list_tags()
            assert caught.value.retry_after == 3600
            with pytest.raises(UnexpectedResponse, match="not the answer of listTags"):
                await index.list_tags()
            with pytest.raises(UnexpectedResponse):
                await anext(index.search_datasets())
        url = canned.url
    async with AsyncIndexClient(url, attempts=1) as gone:
        with pytest.raises(IndexUnavailable, match="Unreachable"):
            await gone.list_tags()
    with pytest.raises(ValueError, match="negative"):
        AsyncIndexClient().search_datasets(limit=-1)


async def test_a_client_works_again_after_close() -> None:
    with canned_index(TAGS) as canned:
        index = AsyncIndexClient(canned.url)
        for _ in range(2):
            assert len(await index.list_tags()) == 1
            await index.close()
        await index.close()


async def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atdata_client._net.http.MAX_BODY_BYTES", 1000)
    with canned_index(Canned(b" " * 1001)) as canned:
        async with AsyncIndexClient(canned.url, attempts=1) as index:
            with pytest.raises(IndexUnavailable, match="longer than 1000 bytes"):
                await index.list_tags()
    packed = Canned(b"", headers={"Content-Encoding": "gzip"})
    with canned_index(packed) as canned:
        async with AsyncIndexClient(canned.url, attempts=1) as index:
            with pytest.raises(IndexUnavailable, match="compressed answer"):
                await index.list_tags()


def test_the_address_comes_from_the_same_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATDATA_APPVIEW_URL", "https://index.example.com/")
    assert AsyncIndexClient().url == IndexClient().url == "https://index.example.com"
    assert AsyncIndexClient("https://other.example.com").url == "https://other.example.com"


async def test_a_walk_goes_on_where_it_failed() -> None:
    views = [dataset_view(name=str(number)) for number in range(3)]
    answers = page(views[0], cursor="a"), Canned({"error": "Down"}, 500), page(*views[1:])
    with canned_index(*answers) as canned, IndexClient(canned.url) as waiting:
        pages = waiting.search_datasets()
        assert next(pages).name == "0"
        with pytest.raises(IndexUnavailable):
            next(pages)
        assert [view.name for view in pages] == ["1", "2"]
    with canned_index(*answers) as canned:
        async with AsyncIndexClient(canned.url) as index:
            others = index.search_datasets()
            assert (await anext(others)).name == "0"
            with pytest.raises(IndexUnavailable):
                await anext(others)
            assert [view.name async for view in others] == ["1", "2"]
        assert [dict(one.params).get("cursor") for one in canned.asked] == [None, "a", "a"]
