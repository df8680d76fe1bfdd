"""Every record that an AppView shows, and what filters and orders look at in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from atdata_schemas.syntax import micros, parse_datetime, tid_micros
from tests.asking import Api

type View = dict[str, Any]

LISTS = {
    "searchDatasets": "listDatasets",
    "searchSchemas": "listSchemas",
    "searchLenses": "listLenses",
}


@dataclass(frozen=True)
class Network:
    """All there is, by URI, and when each was created, as far as that is believed."""

    views: Mapping[str, Mapping[str, View]]
    created: Mapping[str, int]

    def schema_of(self, view: View) -> View | None:
        """The record of a dataset's schema, or of a schema itself."""
        if "schema" not in view:
            record: View = view["record"]
            return record
        found = self.views["searchSchemas"].get(view["schema"]["uri"])
        return None if found is None else found["record"]

    @classmethod
    def of(cls, api: Api) -> Self:
        """All that an AppView lists."""
        views = {name: {v["uri"]: v for v in api.walk(of)} for name, of in LISTS.items()}
        created = {}
        for view in [view for found in views.values() for view in found.values()]:
            rev = api.ask("getRecordStatus", uri=view["uri"])["rev"]
            claimed = micros(parse_datetime(view["record"]["createdAt"]))
            created[view["uri"]] = min(claimed, tid_micros(rev))
        return cls(views, created)


def tags_of(view: View) -> set[str]:
    return {tag.casefold() for tag in view["record"].get("tags", ())}


def license_of(view: View) -> str:
    return str(view["record"].get("license", "")).casefold()


def size_of(view: View, unit: str) -> int | None:
    return view["record"].get("size", {}).get(unit)  # type: ignore[no-any-return]  # JSON
