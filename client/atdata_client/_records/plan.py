"""What a bulk publish is going to write: records with their AT-URIs, cut into commits.

Keys are chosen here, so that records can name each other before any of them is published, and so
that a plan taken up again finds what it has written.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from atdata_client._records.lexicon import to_json
from atdata_client.errors import PublishInterrupted, RecordNotFound, XrpcError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from atdata_client.client import ATProtoClient

MAX_WRITES = 200
"""Records per commit, the most `applyWrites` takes."""

MAX_BYTES = 140_000
"""JSON per commit: a PDS reads at most 150 KB of a request."""

type Written = Callable[[str, str, dict[str, Any]], None]
"""Told of each record that is on the PDS: its AT-URI, CID and JSON form."""

type Progress = Callable[[int, int], None]
"""Told after each commit how many records are published, and of how many."""


class Write(NamedTuple):
    """A record to create, in JSON form."""

    uri: str
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """A bulk publish in the repository of `did`: what to write, in order.

    `answers` are the AT-URIs `publish_many` returns; `fingerprint` tells what was asked for.
    """

    did: str
    writes: tuple[Write, ...]
    answers: tuple[str, ...]
    fingerprint: str = ""

    @property
    def commits(self) -> Iterator[tuple[Write, ...]]:
        """The writes as they are committed: the same cut each time."""
        batch: list[Write] = []
        size = 0
        for write in self.writes:
            length = len(json.dumps(write.record)) + 200  # its key, collection and action
            if batch and (len(batch) == MAX_WRITES or size + length > MAX_BYTES):
                yield tuple(batch)
                batch, size = [], 0
            batch.append(write)
            size += length
        if batch:
            yield tuple(batch)

    def save(self, path: Path) -> None:
        """Write the plan to a file, whole or not at all."""
        head = {"did": self.did, "answers": self.answers, "fingerprint": self.fingerprint}
        lines = [head, *({"uri": uri, "record": record} for uri, record in self.writes)]
        beside = path.with_name(f"{path.name}.{os.getpid()}")
        beside.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
        beside.replace(path)

    @classmethod
    def load(cls, path: Path) -> Plan:
        """The plan in a file. Raises ValueError when it holds none."""
        try:
            head, *lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
            writes = tuple(Write(line["uri"], line["record"]) for line in lines)
            return cls(head["did"], writes, tuple(head["answers"]), head["fingerprint"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} holds no plan of a bulk publish: {error}") from error


def carry_out(
    client: ATProtoClient,
    plan: Plan,
    *,
    begun: bool,
    written: Written | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Write what is planned; returns its answers. With `begun`, what is there already is skipped.

    Raises ValueError for the plan of another account, PublishInterrupted when a commit fails.
    """
    if plan.did != client.did:
        raise ValueError(f"the plan is that of {plan.did}, not of {client.did}")
    done: list[str] = []
    for commit in plan.commits:
        try:
            # All of a commit is there or nothing is, and all of the ones before it.
            begun = begun and _is_there(client, commit[0].uri)
            if begun:
                cids = {uri: client.fetch_record(uri).cid for uri, _ in commit if written}
            else:
                cids = client.create_records({uri: to_json(record) for uri, record in commit})
        except XrpcError as error:
            raise PublishInterrupted(tuple(done), plan, error) from error
        done += [uri for uri, _ in commit]
        for uri, record in commit if written else ():
            assert written is not None
            written(uri, cids[uri], record)
        if progress is not None:
            progress(len(done), len(plan.writes))
    return list(plan.answers)


def _is_there(client: ATProtoClient, uri: str) -> bool:
    try:
        client.fetch_record(uri)
    except RecordNotFound:
        return False
    return True
