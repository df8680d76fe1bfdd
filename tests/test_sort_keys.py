"""Keys of date sorts: unlike any other, next to the time they stand for, made without delay."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from atdata_indexer.index.sortkeys import unique_keys

TIMES = st.integers(-(10**6), 10**6)
URIS = st.text(min_size=1, max_size=12)
BATCHES = st.lists(st.dictionaries(URIS, TIMES, max_size=30), max_size=5)


class Held:
    """The keys already given, and how often they were asked for."""

    def __init__(self, keys: Iterable[int] = ()) -> None:
        self.keys = set(keys)
        self.asked = 0

    def taken(self, keys: Iterable[int]) -> set[int]:
        self.asked += 1
        return self.keys & set(keys)

    def give(self, wanted: dict[str, int]) -> dict[str, int]:
        given = unique_keys(wanted, self.taken)
        assert given.keys() == wanted.keys()
        assert len(set(given.values())) == len(given)
        assert not self.keys & set(given.values())
        self.keys |= set(given.values())
        return given


@given(batches=BATCHES)
def test_every_key_is_unlike_any_other_within_a_batch_and_across_batches(
    batches: list[dict[str, int]],
) -> None:
    held = Held()
    for number, batch in enumerate(batches):
        held.give({f"{number} {uri}": time for uri, time in batch.items()})
    assert len(held.keys) == sum(map(len, batches))


@given(wanted=st.dictionaries(URIS, TIMES, max_size=60))
def test_a_time_that_nobody_else_has_is_its_own_key(wanted: dict[str, int]) -> None:
    given = Held().give(wanted)
    times = list(wanted.values())
    assert all(given[uri] == time for uri, time in wanted.items() if times.count(time) == 1)


@given(wanted=st.dictionaries(URIS, TIMES, max_size=60), held=st.sets(TIMES))
def test_the_first_of_equal_times_keeps_its_own_unless_it_is_taken(
    wanted: dict[str, int], held: set[int]
) -> None:
    given = Held(held).give(wanted)
    for time in set(wanted.values()) - held:
        assert time in {given[uri] for uri, own in wanted.items() if own == time}


@given(wanted=st.dictionaries(URIS, st.sampled_from([0, 1, 2, 7]), max_size=60))
def test_a_key_is_moved_later_and_within_reach_of_its_time(wanted: dict[str, int]) -> None:
    """Sixty records of four instants end within a second of them, whatever they are called."""
    given = Held().give(wanted)
    assert all(0 <= given[uri] - time < 1_000_000 for uri, time in wanted.items())


def test_a_flood_of_equal_times_is_soon_done_and_stays_near() -> None:
    held = Held()
    for batch in range(20):
        given = held.give({f"{batch} {number}": 0 for number in range(500)})
        assert max(given.values()) < 10_000_000, "ten seconds"
    assert held.asked <= 20 * 9, "each batch asks a few times, not once for each record"


def test_a_time_in_a_dense_neighbourhood_is_soon_done_too() -> None:
    held = Held(range(100_000))
    given = held.give({str(number): 0 for number in range(500)})
    assert min(given.values()) >= 100_000
    assert max(given.values()) < 100_000_000
    assert held.asked <= 10
