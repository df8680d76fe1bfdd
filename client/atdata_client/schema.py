"""Publishing sample types as schemas, and reading schemas from their authors' PDSs."""

from __future__ import annotations

from collections import defaultdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from atdata_client._annotations import class_description, field_spec, field_specs, nested_first
from atdata_client._lexicon import SCHEMA_NSID, build_schema_record, check_record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atdata import PackableSample

    from atdata_client.client import ATProtoClient

ANY_SCHEMA_URI = f"at://did:plc:{'2' * 24}/{SCHEMA_NSID}/{'2' * 13}"
"""Stands in for a schema that is not published yet, in records that are checked beforehand."""

_NO_REFS: Mapping[type, str] = MappingProxyType({})


class SchemaPublisher:
    """Publishes sample classes as records of `app.bsky.atdata.schema` in one's own repository."""

    def __init__(self, client: ATProtoClient) -> None:
        self.client = client

    def publish_schema[ST: PackableSample](
        self,
        sample_type: type[ST],
        *,
        name: str | None = None,
        version: str = "1.0.0",
        description: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> str:
        """Publish a sample class; returns the AT-URI of its schema record.

        `name` is the class's by default, `description` its docstring; `version` is a semantic
        version. Sample classes nested in it are published first, with the same version, and
        linked. Everything is checked before anything is published.

        Raises ValueError when the client is not logged in or `sample_type` is no dataclass,
        UnsupportedTypeError (a ValueError and a TypeError) naming field and type,
        ValidationError naming field and rule, PdsError. Warns (UserWarning) of each array field
        that names no dtype: it is published as float32.
        """
        if not self.client.is_authenticated:
            raise ValueError("Client must be authenticated")
        classes = nested_first(sample_type)

        def record(cls: type, refs: Mapping[type, str]) -> dict[str, Any]:
            own = (name, version, description, metadata)
            said = own if cls is sample_type else (None, version, None, None)
            fields = [spec.record(refs) for spec in classes[cls]]
            return _schema_record(cls, fields, *said)

        for cls in classes:
            check_record(record(cls, defaultdict(lambda: ANY_SCHEMA_URI)))
        refs: dict[type, str] = {}
        for cls in classes:
            refs[cls] = self.client.create_record(SCHEMA_NSID, record(cls, refs))
        return refs[sample_type]

    def _build_schema_record(
        self,
        sample_type: type,
        name: str | None,
        version: str,
        description: str | None,
        metadata: dict[str, Any] | None,
    ) -> dict[str, Any]:
        """The schema record of a class without nested ones. Raises what `publish_schema` does."""
        fields = [spec.record(_NO_REFS) for spec in field_specs(sample_type)]
        return _schema_record(sample_type, fields, name, version, description, metadata)

    def _field_to_record(self, name: str, field_type: Any) -> dict[str, Any]:
        """The record of one field that is not a nested sample."""
        return field_spec(name, field_type).record(_NO_REFS)

    def _python_type_to_schema_type(self, python_type: Any) -> dict[str, Any]:
        """The type record of a type that is not a nested sample."""
        declared: dict[str, Any] = self._field_to_record("", python_type)["type"]
        return declared


class SchemaLoader:
    """Reads schema records from the PDSs of their authors."""

    def __init__(self, client: ATProtoClient) -> None:
        self.client = client

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


def _schema_record(
    sample_type: type,
    fields: list[dict[str, Any]],
    name: str | None,
    version: str,
    description: str | None,
    metadata: dict[str, Any] | None,
) -> dict[str, Any]:
    if description is None:
        description = class_description(sample_type)
    return build_schema_record(
        name=name or sample_type.__name__,
        version=version,
        fields=fields,
        description=description,
        metadata=metadata,
    )
