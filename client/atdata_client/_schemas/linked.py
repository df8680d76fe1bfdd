"""Schemas with all they link to: a schema may nest others, in other repositories too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from atdata_client._records.lexicon import SCHEMA_NSID, check_record, own_words
from atdata_client._records.stored import StoredRecord
from atdata_schemas.records import Nested, Schema

type Fetch = Callable[[str], StoredRecord]
"""Gives the record at an AT-URI as it is now, with its CID."""

MAX_NESTING = 16
MAX_LINKED = 256


@dataclass(frozen=True, slots=True)
class LinkedSchema:
    """A published schema: where, at which CID, and what it says."""

    uri: str
    cid: str
    schema: Schema

    @property
    def links(self) -> Iterator[str]:
        """The AT-URIs of the schemas of its nested samples, one for each such field."""
        return (
            field.type.schema_ref for field in self.schema.fields if isinstance(field.type, Nested)
        )


def linked_schemas(uri: str, fetch: Fetch) -> Mapping[str, LinkedSchema]:
    """The schema at `uri` and all it links to, by the AT-URI that names each, parts first.

    Raises ValueError when a record is no schema, contains itself, is nested more than 16 deep or
    links to more than 256 others; ValidationError when it breaks its lexicon; what `fetch` raises.
    """
    done: dict[str, LinkedSchema] = {}

    def visit(here: str, above: tuple[str, ...]) -> None:
        if here in above or len(above) > MAX_NESTING:
            raise ValueError(f"the schema at {here} contains itself, or is nested too deeply")
        if len(done) + len(above) > MAX_LINKED:
            raise ValueError(f"the schema at {uri} links to more than {MAX_LINKED} others")
        found = linked_schema(here, fetch(here))
        for link in found.links:
            if link not in done:
                visit(link, (*above, here))
        done[here] = found

    visit(uri, ())
    return done


def linked_schema(uri: str, stored: StoredRecord) -> LinkedSchema:
    """The schema of one record. Raises ValueError when the record is none."""
    schema = check_record(own_words(uri, stored.value, SCHEMA_NSID))
    assert isinstance(schema, Schema)
    return LinkedSchema(uri, stored.cid, schema)
