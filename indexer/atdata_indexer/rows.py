"""What the block of a record makes of its row. Pure.

A record that breaks its lexicon takes its row (so that an older valid version does not come back)
and goes to quarantine with the rule; one beyond its account's limits takes its row too, and is
deferred.
"""

from dataclasses import replace

from atdata_indexer.changes import Change, Changes, Fault, Held, Repo, Row
from atdata_indexer.errors import RecordError
from atdata_indexer.limits import Limits
from atdata_indexer.repo import read_record
from atdata_schemas.errors import ValidationError
from atdata_schemas.records import Dataset, Label, Lens, Record, Schema, parse_record, record_text
from atdata_schemas.syntax import micros, tid_micros

RAW_BYTES = 8192
"""How much of an invalid record quarantine keeps."""


def apply_row(
    changes: Changes,
    row: Row,
    action: str,
    block: bytes | RecordError | None,
    known: Held | None,
    repo: Repo,
    limits: Limits,
) -> None:
    """Make `row` the state of its record: a tombstone without a block, else what the block holds.

    A block that breaks its lexicon makes the row invalid and is put in quarantine, as is one that
    could not be had for a reason; one that is beyond the account's limits makes it deferred.
    `known` is what was held of the record before, `repo` what is known of its repo.
    """
    totals = changes.totals.get(row.did, repo.totals)
    if known is not None:
        totals = totals.counting(known.state, known.size, -1)
    outcome, fault = action, None
    if block is not None:
        try:
            live = _live(row, block)
        except (RecordError, ValidationError) as error:
            fault = _fault(row, block, error)
            row, outcome = replace(row, state="invalid", rule=fault.rule), "quarantine"
        else:
            rule = limits.exceeded(totals, live.held.size)
            row = live if rule is None else replace(row, state="deferred", rule=rule)
            outcome = action if rule is None else "deferred"
    held = row.held
    if held == known:
        return
    changes.faults.pop(row.uri, None)
    if fault is not None:
        changes.faults[row.uri] = fault
    changes.rows[row.uri] = row
    changes.totals[row.did] = totals.counting(held.state, held.size)
    changes.outbox.append(Change(row.uri, row.did, row.cid, row.rev, outcome))
    changes.counts[f"records_{outcome}"] += 1


def _fault(row: Row, block: bytes | RecordError, error: RecordError | ValidationError) -> Fault:
    raw = None if isinstance(block, RecordError) else block[:RAW_BYTES]
    path = error.path if isinstance(error, ValidationError) else ""
    message = error.message if isinstance(error, ValidationError) else str(error)
    return Fault(row.uri, row.did, row.cid, row.rev, error.rule, path, message, raw)


def _live(row: Row, block: bytes | RecordError) -> Row:
    if isinstance(block, RecordError):
        raise block
    body = read_record(block)
    record = parse_record(row.collection, row.rkey, body)
    text = record_text(body)
    source, target = _links(record)
    return Row(
        uri=row.uri,
        did=row.did,
        collection=row.collection,
        rkey=row.rkey,
        kind=row.kind,
        cid=row.cid,
        rev=row.rev,
        op_index=row.op_index,
        state="live",
        name=record.name,
        version=record.version if isinstance(record, Schema | Label) else None,
        schema_uri=source,
        target_uri=target,
        created_us=_created_us(record, tid_micros(row.rev)),
        body=text,
        verified=row.verified,
    )


def _created_us(record: Record, committed_us: int) -> int:
    claimed = record.created_at
    return committed_us if claimed is None else min(micros(claimed), committed_us)


def _links(record: Record) -> tuple[str | None, str | None]:
    """The schemas that a record refers to."""
    match record:
        case Lens():
            return record.source_schema, record.target_schema
        case Dataset():
            return record.schema_ref, None
        case _:
            return None, None
