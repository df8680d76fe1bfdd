"""A made-up network of any size: what searches are measured on.

The words of names, descriptions and tags follow Zipf's law, about 35 to a dataset: `image` is in a
fifth of the descriptions. So do the schemas that datasets refer to and the tags they carry; authors
are spread a little more evenly. Creation times lie in three years, most of them in the last; one
record in twenty came with a bulk import, whose records share author, schema and time. Lenses form
chains, trees and rings, and a few schemas are hubs that hundreds of lenses lead to.

Everything comes out of the seed, chunk by chunk, so that ten million records need no more memory
than one chunk.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atdata_indexer.index import tables
from atdata_indexer.repo import block_cid
from atdata_schemas.records import DATASET_NSID, LENS_NSID, SCHEMA_NSID
from atdata_schemas.syntax import format_micros
from benchmarks.vocabulary import VOCABULARY, Ints, Zipf, joined, runs, vocabulary

CHUNK = 20_000
TAGS = 5_000
FIELD_NAMES = 2_000
END_US = 1_760_000_000_000_000
SPAN_US = 3 * 365 * 86_400_000_000
KEY_STEP = 1_024
"""Sort keys of one chunk differ by this; its own number within it keeps it apart from others."""
VERSION = 3

_LICENSES = ("CC-BY-4.0", "CC0-1.0", "MIT", "Apache-2.0", "CC-BY-SA-4.0", "ODC-By-1.0", "other")
_PRIMITIVES = ("str", "int", "float", "bool", "bytes")
_DTYPES = ("float32", "uint8", "int64", "float64", "int32", "float16", "uint16", "bool")
_FIELDS = ("image", "label", "text", "audio", "id", "mask", "caption", "split", "embedding", "bbox")
_BASE32 = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz234567", "u1")
_SORTABLE = np.frombuffer(b"234567abcdefghijklmnopqrstuvwxyz", "u1")


@dataclass(frozen=True, slots=True)
class Datasets:
    """A chunk of datasets, column by column; `body` is the record's JSON, `created` the key."""

    uri: Sequence[str]
    did: Sequence[str]
    rkey: Sequence[str]
    name: Sequence[str]
    description: Sequence[str]
    tags: Sequence[Sequence[str]]
    schema: Sequence[str]
    license: Sequence[str]
    created: Sequence[int]
    body: Sequence[str]


class Corpus:
    """So many datasets, and the authors, schemas and lenses that go with them."""

    def __init__(self, datasets: int, seed: int = 7) -> None:
        self.size = datasets
        self.seed = seed
        random = self._random(0)
        self.words = vocabulary(random)
        self.tags = [
            word if number % 3 else f"{word}-{self.words[(number * 7 + 13) % VOCABULARY]}"
            for number, word in enumerate(self.words[5 : TAGS + 5])
        ]
        names = [*_FIELDS, *(word for word in self.words[25:] if word not in _FIELDS)]
        self.field_names = names[:FIELD_NAMES]
        self.dids = _texts(b"did:plc:", _BASE32[random.integers(0, 32, (self.authors, 24))])
        self.handles = [
            None if number % 20 == 19 else f"{self.words[(number * 31) % 9_000]}{number}.test"
            for number in range(self.authors)
        ]
        owners = random.integers(0, self.authors, self.schema_count)
        self._schema_keys = self._keys(random, self.schema_count, 1)
        self.schemas = _uris([self.dids[a] for a in owners], SCHEMA_NSID, self._schema_keys)
        self.word_ranks = Zipf(VOCABULARY, 1)
        self.name_ranks = Zipf(VOCABULARY, 20, 0.9)
        self.tag_ranks = Zipf(TAGS, 2)
        self.schema_ranks = Zipf(self.schema_count, 5)
        self.author_ranks = Zipf(self.authors, 30, 0.8)

    @property
    def authors(self) -> int:
        """How many accounts there are."""
        return min(max(self.size // 20, 20), 50_000)

    @property
    def schema_count(self) -> int:
        """How many schemas there are."""
        return min(max(self.size // 50, 20), 20_000)

    @property
    def lens_count(self) -> int:
        """How many lenses there are."""
        return min(max(self.size // 100, 10), 10_000)

    @property
    def records(self) -> int:
        """How many records there are of all kinds."""
        return self.size + self.schema_count + self.lens_count

    @property
    def hubs(self) -> list[str]:
        """The schemas that many lenses lead to, of all popularities."""
        return list(self.schemas[3::311][:5])

    @property
    def chunks(self) -> int:
        """How many chunks the datasets come in."""
        return -(-self.size // CHUNK)

    @cached_property
    def known(self) -> frozenset[str]:
        """Every word there is."""
        return frozenset(self.words)

    @cached_property
    def first(self) -> Datasets:
        """The first chunk: some real records to draw queries from."""
        return self.chunk(0)

    @cached_property
    def links(self) -> Sequence[tuple[str, str]]:
        """The source and target schema of every lens."""
        random = self._random(1)
        among = len(self.schemas)
        edges: list[tuple[int, int]] = []
        while len(edges) < self.lens_count:
            size = int(random.integers(3, 13))
            some = random.integers(0, among, size).tolist()
            match random.random():
                case chance if chance < 0.4:  # a chain
                    edges += pairwise(some)
                case chance if chance < 0.7:  # a tree, from the leaves to the root
                    edges += [(one, some[n // 2]) for n, one in enumerate(some[1:])]
                case chance if chance < 0.8:  # a ring
                    edges += zip(some, [*some[1:], some[0]], strict=True)
                case _:  # into a hub
                    hub = 3 + 311 * int(random.integers(0, 5))
                    edges += [(one, hub % among) for one in some]
        return [(self.schemas[a], self.schemas[b]) for a, b in edges[: self.lens_count]]

    def repos(self) -> pa.Table:
        """The accounts, as rows of `repos`."""
        count = self.authors
        return pa.table(
            {
                "did": self.dids,
                "rev": _tids(np.full(count, END_US)),
                "status": ["active"] * count,
                "sync": ["active"] * count,
                "handle": self.handles,
                "identity_due": [False] * count,
                "met_us": [END_US] * count,
            }
        )

    def tables(self) -> Iterator[pa.Table]:
        """All records, as rows of `records`: schemas, lenses, then datasets chunk by chunk."""
        yield self._schema_rows()
        yield self._lens_rows()
        for number in range(self.chunks):
            some = self.chunk(number)
            yield _rows(
                "dataset", DATASET_NSID, some.uri, some.name, some.body, some.created, some.schema
            )

    def chunk(self, number: int) -> Datasets:
        """The datasets of one chunk, in no order of time."""
        random = self._random(2, number)
        count = min(CHUNK, self.size - number * CHUNK)
        authors = self.author_ranks.draw(random, count)
        schemas = self.schema_ranks.draw(random, count)
        keys = self._keys(random, count, number + 3)
        shown = keys.copy()
        at = 0
        while at < count:  # one record in twenty is of a bulk import
            size = int(random.integers(5, max(6, min(1_000, count // 20))))
            imported = slice(at, at + size)
            authors[imported], schemas[imported] = authors[at], schemas[at]
            keys[imported] = keys[at] + KEY_STEP * np.arange(len(keys[imported]))
            shown[imported] = keys[at]
            at += 20 * size
        keys = _unique(keys)
        names = joined(self.words, self.name_ranks, random, random.integers(2, 6, count))
        said = joined(self.words, self.word_ranks, random, random.integers(10, 61, count))
        tags = [
            list(dict.fromkeys(some))
            for some in runs(self.tags, self.tag_ranks, random, random.integers(1, 7, count))
        ]
        dids = [self.dids[one] for one in authors.tolist()]
        refs = [self.schemas[one] for one in schemas.tolist()]
        licenses = [_LICENSES[n] for n in random.integers(0, len(_LICENSES), count).tolist()]
        samples = np.exp(random.uniform(3, 17, count)).astype(np.int64)
        sizes = samples * random.integers(100, 100_000, count)
        rkeys = _tids(keys)
        records = zip(
            names, refs, said, tags, licenses, samples.tolist(), sizes.tolist(), shown.tolist(),
            strict=True,
        )  # fmt: skip
        bodies = [_dataset(*one) for one in records]
        uris = [f"at://{did}/{DATASET_NSID}/{rkey}" for did, rkey in zip(dids, rkeys, strict=True)]
        return Datasets(uris, dids, rkeys, names, said, tags, refs, licenses, keys.tolist(), bodies)

    def _schema_rows(self) -> pa.Table:
        random = self._random(3)
        field_ranks = Zipf(FIELD_NAMES, 1)
        names: list[str] = []
        versions: list[str] = []
        bodies: list[str] = []
        for number, key in enumerate(self._schema_keys.tolist()):
            if number % 3 == 2:  # a later version of another
                names.append(names[-1])
                versions.append(f"{versions[-1][0]}.{int(versions[-1][2]) + 1}.0")
            else:
                first, second = self.name_ranks.draw(random, 2).tolist()
                names.append(f"{self.words[first]} {self.words[second]}".title().replace(" ", ""))
                versions.append(f"{int(random.integers(0, 3))}.0.0")
            fields = dict.fromkeys(field_ranks.draw(random, int(random.integers(2, 9))).tolist())
            record = {
                "$type": SCHEMA_NSID,
                "name": names[-1],
                "version": versions[-1],
                "description": " ".join(self._said(random, 12)),
                "fields": [self._field(random, rank) for rank in fields],
                "createdAt": format_micros(key),
            }
            bodies.append(json.dumps(record))
        keys = self._schema_keys.tolist()
        table = _rows("schema", SCHEMA_NSID, self.schemas, names, bodies, keys, [None] * len(keys))
        where = table.schema.get_field_index("version")
        return table.set_column(where, "version", pa.array(versions))

    def _field(self, random: np.random.Generator, rank: int) -> dict[str, Any]:
        declared: dict[str, Any]
        match random.random():
            case chance if chance < 0.5:
                declared = {"kind": "primitive", "primitive": _PRIMITIVES[rank % 5]}
            case chance if chance < 0.95:
                lengths = random.choice([0, 3, 64, 512], int(random.integers(1, 5))).tolist()
                shape = [length or None for length in lengths]
                dtype = _DTYPES[int(8 * random.random() ** 2)]
                declared = {"kind": "ndarray", "dtype": dtype, "shape": shape}
            case _:
                nested = self.schemas[int(random.integers(0, len(self.schemas)))]
                declared = {"kind": "nested", "schemaRef": nested}
        return {"name": self.field_names[rank].replace("-", "_"), "type": declared}

    def _lens_rows(self) -> pa.Table:
        random = self._random(4)
        keys = self._keys(random, self.lens_count, 2)
        owners = self.author_ranks.draw(random, self.lens_count).tolist()
        uris = _uris([self.dids[one] for one in owners], LENS_NSID, keys)
        code = {"kind": "reference", "repository": "https://git.example.org/lenses"}
        code |= {"commit": "0" * 40, "path": "lenses.py:convert"}
        names, bodies = [], []
        for (source, target), key in zip(self.links, keys.tolist(), strict=True):
            names.append(" ".join(self._said(random, 3)))
            record = {
                "$type": LENS_NSID,
                "name": names[-1],
                "sourceSchema": source,
                "targetSchema": target,
                "description": " ".join(self._said(random, 12)),
                "getterCode": code,
                "createdAt": format_micros(key),
            }
            bodies.append(json.dumps(record))
        sources, targets = zip(*self.links, strict=True)
        table = _rows("lens", LENS_NSID, uris, names, bodies, keys.tolist(), sources)
        where = table.schema.get_field_index("target_uri")
        return table.set_column(where, "target_uri", pa.array(targets))

    def _said(self, random: np.random.Generator, count: int) -> list[str]:
        return [self.words[rank] for rank in self.name_ranks.draw(random, count).tolist()]

    def _keys(self, random: np.random.Generator, count: int, number: int) -> Ints:
        """Times in microseconds, most of them late, that no other chunk has."""
        ages = (SPAN_US * random.random(count) ** 2).astype(np.int64)
        return _unique((END_US - ages) // KEY_STEP * KEY_STEP + number % KEY_STEP)

    def _random(self, *path: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *path])


def _dataset(
    name: str, schema: str, description: str, tags: Sequence[str], license: str,
    samples: int, size: int, created_us: int,
) -> str:  # fmt: skip
    """The JSON of a record; no word here needs escaping."""
    return (
        f'{{"$type":"{DATASET_NSID}","name":"{name}","schemaRef":"{schema}","urls":'
        f'["https://data.example.org/{name.replace(" ", "-")}/{{000000..000099}}.tar"],'
        f'"description":"{description}","tags":["{'","'.join(tags)}"],"license":"{license}",'
        f'"size":{{"samples":{samples},"bytes":{size}}},'
        f'"createdAt":"{format_micros(created_us)}"}}'
    )


def _rows(
    kind: str,
    collection: str,
    uris: Sequence[str],
    names: Sequence[str],
    bodies: Sequence[str],
    keys: Sequence[int],
    sources: Sequence[str | None],
) -> pa.Table:
    count = len(uris)
    rkeys = [uri.rpartition("/")[2] for uri in uris]
    columns: dict[str, Sequence[Any]] = {
        "uri": uris,
        "did": [uri[5:37] for uri in uris],
        "collection": [collection] * count,
        "rkey": rkeys,
        "kind": [kind] * count,
        "cid": [block_cid(body.encode()) for body in bodies],
        "rev": rkeys,
        "op_index": [0] * count,
        "state": ["live"] * count,
        "name": names,
        "version": [None] * count,
        "schema_uri": sources,
        "target_uri": [None] * count,
        "created_us": keys,
        "sort_created": keys,
        "body": bodies,
        "indexed_us": keys,
        "seq": [0] * count,
        "verified": [True] * count,
        "rule": [None] * count,
    }
    return pa.table({name: pa.array(values, tables.RECORD.field(name).type)
                     for name, values in columns.items()})  # fmt: skip


def _uris(dids: Sequence[str], collection: str, keys: Ints) -> list[str]:
    rkeys = _tids(keys)
    return [f"at://{did}/{collection}/{rkey}" for did, rkey in zip(dids, rkeys, strict=True)]


def _tids(micros: Ints) -> list[str]:
    """Record keys of these times (spec: TID)."""
    values = micros << 10
    digits = (values[:, None] >> np.arange(60, -1, -5)) & 31
    return _texts(b"", _SORTABLE[digits])


def _texts(prefix: bytes, letters: NDArray[np.uint8]) -> list[str]:
    """One text from each row of letters."""
    head = np.broadcast_to(np.frombuffer(prefix, "u1"), (len(letters), len(prefix)))
    rows = np.ascontiguousarray(np.hstack([head, letters]).astype("u1"))
    return [text.decode() for text in rows.view(f"S{rows.shape[1]}")[:, 0].tolist()]


def _unique(keys: Ints) -> Ints:
    """The keys, moved by as many steps as it takes to make each unlike the others."""
    order = np.argsort(keys, kind="stable")
    ramp = KEY_STEP * np.arange(len(keys))
    unique = np.empty_like(keys)
    unique[order] = np.maximum.accumulate(keys[order] - ramp) + ramp
    return unique
