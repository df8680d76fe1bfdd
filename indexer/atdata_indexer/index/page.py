"""What a search answers. Values only."""

from collections.abc import Sequence
from dataclasses import dataclass

from atdata_indexer.index.facets import Facet

MOST = 10_000
"""How far hits are counted."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of answers: `views` are JSON texts; `cursor` is None on the last page.

    `total` is how many records match, all pages together; there are more where `is_bound`.
    `did_you_mean` is the question without its typing errors, `cut` says that not all schemas that
    lenses lead from were searched, `approximate` that the index changed since the page before and
    a hit may come twice or be missed.
    """

    views: Sequence[str]
    total: int
    cursor: str | None = None
    is_bound: bool = False
    facets: Sequence[Facet] | None = None
    did_you_mean: str | None = None
    cut: bool = False
    approximate: bool = False

    @property
    def size(self) -> int:
        """How many characters its views have."""
        return sum(map(len, self.views))


NOTHING = Page((), 0)
