"""Publishing sample types as schemas, and reading schemas from their authors' PDSs."""

from __future__ import annotations

from collections import defaultdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from atdata_client._loader import SCHEMA_SECONDS
from atdata_client._records.lexicon import SCHEMA_NSID, check_record
from atdata_client._schemas.annotations import field_spec, field_specs
from atdata_client._schemas.drafts import DEFAULT_VERSION, Draft, draft, drafts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atdata import PackableSample

    from atdata_client._records.stored import StoredRecord
    from atdata_client.client import ATProtoClient
    from atdata_client.registry import SchemaRegistry

ANY_SCHEMA_URI = f"at://did:plc:{'2' * 24}/{SCHEMA_NSID}/{'2' * 13}"
"""Stands in for a schema that is not published yet, in records that are checked beforehand."""

_NO_REFS: Mapping[type, str] = MappingProxyType({})


class SchemaPublisher:
    """Publishes sample classes as records of `app.bsky.atdata.schema` in one's own repository.

    With a `registry`, what has not changed since it was published is not published again.
    """

    def __init__(self, client: ATProtoClient, *, registry: SchemaRegistry | None = None) -> None:
        self.client = client
        self.registry = registry

    def publish_schema[ST: PackableSample](
        self,
        sample_type: type[ST],
        *,
        name: str | None = None,
        version: str = DEFAULT_VERSION,
        description: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> str:
        """Publish a sample class; returns the AT-URI of its schema record.

        `name` is the class's by default, `description` its docstring; `version` is a semantic
        version. Sample classes nested in it are published first, with the same version, and
        linked. Everything is checked before anything is published. With a registry, an unchanged
        class (nested ones too) is not published: the AT-URI is that of the record there is,
        whatever its version.

        Raises ValueError when the client is not logged in or `sample_type` is no dataclass,
        UnsupportedTypeError (a ValueError and a TypeError) naming field and type,
        ValidationError naming field and rule, SchemaChanged when the registry has this version of
        this name and it was another schema, PdsError. Warns (UserWarning) of each array field
        that names no dtype, which is published as float32, and of a version that does not say
        that it breaks the one before.
        """
        if not self.client.is_authenticated:
            raise ValueError("Client must be authenticated")
        parts = drafts(
            sample_type, name=name, version=version, description=description, metadata=metadata
        )
        for part in parts:
            check_record(part.record(defaultdict(lambda: ANY_SCHEMA_URI)))
        known = self.registry.plan(parts, self.client.did) if self.registry is not None else {}
        refs = {cls: entry.uri for cls, entry in known.items()}
        for part in parts:
            if part.cls not in refs:
                refs[part.cls] = self._publish(part, refs)
        return refs[sample_type]

    def _publish(self, part: Draft, refs: Mapping[type, str]) -> str:
        record = part.record(refs)
        uri = self.client.create_record(SCHEMA_NSID, record)
        if self.registry is not None:
            # Before its CID is known, so that it is not published twice if asking for that fails.
            self.registry.register(uri, record, sample_type=part.cls)
            cid = self.client.fetch_record(uri).cid
            self.registry.register(uri, record, cid=cid, sample_type=part.cls)
        return uri

    def _build_schema_record(
        self,
        sample_type: type,
        name: str | None,
        version: str,
        description: str | None,
        metadata: dict[str, Any] | None,
    ) -> dict[str, Any]:
        """The schema record of a class without nested ones. Raises what `publish_schema` does."""
        part = draft(
            sample_type,
            field_specs(sample_type),
            name=name,
            version=version,
            description=description,
            metadata=metadata,
        )
        return part.record(_NO_REFS)

    def _field_to_record(self, name: str, field_type: Any) -> dict[str, Any]:
        """The record of one field that is not a nested sample."""
        return field_spec(name, field_type).record(_NO_REFS)

    def _python_type_to_schema_type(self, python_type: Any) -> dict[str, Any]:
        """The type record of a type that is not a nested sample."""
        declared: dict[str, Any] = self._field_to_record("", python_type)["type"]
        return declared


class SchemaLoader:
    """Reads schema records from the PDSs of their authors, and makes Python of them.

    `get_schema` asks each time; what Python is made of may have been read up to five minutes before
    (the client's cache).
    """

    def __init__(self, client: ATProtoClient) -> None:
        from atdata_client._schemas.generate import SampleTypes

        self.client = client
        self._types = SampleTypes(self._fetch)

    def get_schema(self, uri: str) -> dict[str, Any]:
        """The schema record at `uri`, in JSON form.

        Raises ValueError when the record there is no schema, RecordNotFound when there is none.
        """
        record = self.client.get_record(uri)
        if record.get("$type") != SCHEMA_NSID:
            raise ValueError(f"Record at {uri} is not a schema record")
        return record

    def list_schemas(self, did: str | None = None) -> list[dict[str, Any]]:
        """All schema records of an account (one's own without `did`), each with `uri` and `cid`."""
        return self.client.list_records(SCHEMA_NSID, did)

    def sample_type(self, uri: str) -> type[PackableSample]:
        """A packable class made from the schema at `uri`, the same one while its CID is the same.

        Arrays decode to arrays, fields that are optional are keyword-only with default None, and a
        nested schema is a class of its own (which atdata can neither pack nor unpack yet: such a
        field arrives as a dict).

        Raises ValueError when a record is no schema, contains itself, or has a field that cannot
        be an attribute; ValidationError when it breaks its lexicon; what `get_record` raises.
        """
        return self._types.sample_type(uri)

    def generate_module(self, uri: str) -> str:
        """Python source with the sample class of the schema at `uri`, and of all nested in it.

        For people to read, keep and edit; it needs atdata and NumPy, making it needs neither.
        Raises what `sample_type` raises.
        """
        from atdata_client._schemas.linked import linked_schemas
        from atdata_client._schemas.module import module_source

        return module_source(linked_schemas(uri, self._fetch))

    def _fetch(self, uri: str) -> StoredRecord:
        return self.client.fetch_record(uri, max_age=SCHEMA_SECONDS)
