"""Datasets seen as another class: through lenses the caller has registered, and checked samples."""

from __future__ import annotations

from collections import deque
from dataclasses import is_dataclass
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from atdata_client._schemas.generate import class_name
from atdata_client.compatibility import check
from atdata_client.errors import NoLensPath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from atdata import Lens

    from atdata_client._schemas.linked import LinkedSchema

type Edges = Mapping[tuple[type, type], Lens[Any, Any]]
"""Lenses by the class they start from and the one they lead to."""


def registered_lenses() -> Edges:
    """The lenses registered with atdata in this process, in the order they were.

    Without those from untyped samples, which lead everywhere and check nothing.
    """
    import atdata

    # atdata offers to look for one pair of classes, and no way to see them all.
    known: Edges = atdata.LensNetwork()._registry
    return {ends: lens for ends, lens in known.items() if ends[0] is not atdata.DictSample}


def shortest_path(
    starts: Iterable[type], target: type, lenses: Edges
) -> list[Lens[Any, Any]] | None:
    """The fewest lenses that lead from one of `starts` to `target`; None when none do.

    Of several equally short ways the one whose lenses were registered first.
    """
    came: dict[type, Lens[Any, Any] | None] = dict.fromkeys(starts)
    waiting = deque(came)
    while waiting and target not in came:
        here = waiting.popleft()
        for (source, view), lens in lenses.items():
            if source is here and view not in came:
                came[view] = lens
                waiting.append(view)
    if target not in came:
        return None
    path: list[Lens[Any, Any]] = []
    at = target
    while (lens := came[at]) is not None:
        path.insert(0, lens)
        at = lens.source_type
    return path


def starts(target: type, ref: str, schemas: Mapping[str, LinkedSchema]) -> list[type]:
    """The classes that samples of the schema at `ref` load as: `target` itself, else those that
    lenses start from and that have the schema's name.

    Raises NoLensPath, with the reasons, when there are none.
    """
    schema = schemas[ref].schema
    verdicts = {}
    for cls in [target, *(source for source, _ in registered_lenses())]:
        if is_dataclass(cls) and (cls is target or cls.__name__ == class_name(schema.name)):
            verdicts[cls] = check(schema, cls, nested=lambda uri: schemas[uri].schema)
    if verdicts.get(target):
        return [target]
    found = [cls for cls, verdict in verdicts.items() if verdict]
    if found:
        return found
    against = [
        f"{cls.__module__}.{cls.__qualname__} is {verdict}"
        for cls, verdict in verdicts.items()
        if cls is not target
    ]
    raise NoLensPath(
        f"samples of {ref} ({schema.name}) cannot be seen as {target.__name__}: no registered lens "
        "starts from their class"
        + (f" ({'; '.join(against)})" if against else "; give it as sample_type")
    )


def path_or_raise(starts: Sequence[type], target: type, ref: str) -> list[Lens[Any, Any]]:
    """The fewest lenses to `target`. Raises NoLensPath when none lead there."""
    path = shortest_path(starts, target, registered_lenses())
    if path is not None:
        return path
    names = " or ".join(sorted({start.__name__ for start in starts}))
    raise NoLensPath(f"no registered lenses lead from {names} ({ref}) to {target.__name__}")


def checked(cls: type, check: Callable[[object], None]) -> Lens[Any, Any]:
    """A lens that gives each sample back as it is, once `check` has let it pass."""
    import atdata

    lens = atdata.Lens.identity(cls)

    def get(sample: object) -> object:
        check(sample)
        return sample

    lens._getter = get
    return lens


def composed(lenses: Sequence[Lens[Any, Any]]) -> Lens[Any, Any] | None:
    """One lens that does what all of these do in turn; None when there are none."""
    return reduce(or_, lenses) if lenses else None
