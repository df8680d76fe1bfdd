"""Made-up records, as they stand in repos: what most people post, and what this project indexes.

The indexed ones are valid by the lexicons in `atdata_schemas`. Everything comes out of the random
generator handed in.
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

import msgpack

from atdata_schemas.records import DATASET_NSID, LENS_NSID, SCHEMA_NSID
from atdata_schemas.syntax import cid_text, format_micros
from benchmarks.repos import CID_PREFIX, link, tid

type Record = dict[str, Any]
"""A record in CBOR terms: links are tags, bytes are bytes."""

LIKE = "app.bsky.feed.like"
POST = "app.bsky.feed.post"
PROFILE = "app.bsky.actor.profile"
OTHERS: Mapping[str, float] = {
    LIKE: 0.56,
    POST: 0.13,
    "app.bsky.graph.follow": 0.12,
    "app.bsky.feed.repost": 0.09,
    "fm.teal.alpha.feed.play": 0.03,
    "com.example.notebook.entry": 0.03,
    "app.bsky.graph.block": 0.02,
    PROFILE: 0.02,
}
"""Collections that are not indexed, and their share of the ops."""

_TYPES = ("str", "int", "float", "bool", "bytes")
_DTYPES = ("uint8", "int32", "int64", "float16", "float32", "float64")
_LICENSES = ("CC-BY-4.0", "CC0-1.0", "Apache-2.0", "MIT", "ODbL-1.0")


class Writer:
    """Writes records. `people` are the DIDs that others follow, like and answer."""

    def __init__(self, random: Random, people: Sequence[str]) -> None:
        self._random = random
        self._people = people
        letters = "etaoinshrdlucmfwyp"
        self._words = [
            "".join(random.choices(letters, k=random.randint(2, 9))) for _ in range(3000)
        ]
        self._indexed: Mapping[str, Callable[[int, Sequence[str]], Record]] = {
            SCHEMA_NSID: self._schema,
            DATASET_NSID: self._dataset,
            LENS_NSID: self._lens,
        }

    def text(self, least: int, most: int) -> str:
        """So many words."""
        return " ".join(self._random.choices(self._words, k=self._random.randint(least, most)))

    def cid(self) -> bytes:
        """The CID of a block nobody has."""
        return CID_PREFIX + self._random.randbytes(32)

    def indexed(self, collection: str, us: int, schemas: Sequence[str]) -> Record:
        """A record of an indexed collection; `schemas` are the AT-URIs it may refer to."""
        return self._indexed[collection](us, schemas)

    def other(self, collection: str, us: int) -> Record:
        """A record of any other collection."""
        record: Record = {"$type": collection, "createdAt": format_micros(us)[:-4] + "Z"}
        match collection.rpartition(".")[2]:
            case "like" | "repost":
                record["subject"] = self._reference(us)
            case "follow" | "block":
                record["subject"] = self._random.choice(self._people)
            case "post":
                self._fill_post(record, us)
            case "profile":
                record |= {"displayName": self.text(1, 3), "description": self.text(5, 40)}
                record["avatar"] = self._blob()
            case _:
                record |= {"title": self.text(1, 6), "body": self.text(10, 80)}
                record["labels"] = self._random.choices(self._words, k=6)
        return record

    def _fill_post(self, record: Record, us: int) -> None:
        record |= {"text": self.text(2, 40), "langs": ["en"]}
        kind = self._random.random()
        if kind < 0.5:
            parent = self._reference(us)
            record["reply"] = {"root": parent, "parent": parent}
        elif kind < 0.75:
            image = {"alt": self.text(0, 30), "image": self._blob()}
            record["embed"] = {"$type": "app.bsky.embed.images", "images": [image]}
        elif kind < 0.9:
            page = {"title": self.text(4, 12), "description": self.text(10, 40)}
            page["uri"] = "https://example.com/" + self.text(3, 6).replace(" ", "-")
            record["embed"] = {"$type": "app.bsky.embed.external", "external": page}
        if self._random.random() < 0.15:
            tag = {"$type": "app.bsky.richtext.facet#tag", "tag": self.text(1, 1)}
            record["facets"] = [{"index": {"byteStart": 0, "byteEnd": 9}, "features": [tag]}]

    def _reference(self, us: int) -> Record:
        rkey = tid(us - self._random.getrandbits(36), self._random.getrandbits(10))
        uri = f"at://{self._random.choice(self._people)}/{POST}/{rkey}"
        return {"cid": cid_text(self.cid()), "uri": uri}

    def _blob(self) -> Record:
        size = self._random.randint(10_000, 900_000)
        return {"$type": "blob", "ref": link(self.cid()), "mimeType": "image/jpeg", "size": size}

    def _schema(self, us: int, schemas: Sequence[str]) -> Record:
        version = ".".join(str(self._random.randint(0, 9)) for _ in range(3))
        return {
            "$type": SCHEMA_NSID,
            "name": self.text(2, 3).title().replace(" ", ""),
            "version": version,
            "description": self.text(5, 40),
            "fields": [
                self._field(number, schemas) for number in range(self._random.randint(2, 9))
            ],
            "createdAt": format_micros(us),
        }

    def _field(self, number: int, schemas: Sequence[str]) -> Record:
        random = self._random
        declared: Record
        match random.random():
            case chance if chance < 0.5:
                declared = {"kind": "primitive", "primitive": random.choice(_TYPES)}
            case chance if chance < 0.9 or not schemas:
                shape = [random.choice((None, 3, 64, 512)) for _ in range(random.randint(1, 4))]
                declared = {"kind": "ndarray", "dtype": random.choice(_DTYPES), "shape": shape}
            case _:
                declared = {"kind": "nested", "schemaRef": random.choice(schemas)}
        return {
            "name": f"{self.text(1, 1)}_{number}",
            "type": declared,
            "optional": random.random() < 0.2,
            "description": self.text(2, 12),
        }

    def _dataset(self, us: int, schemas: Sequence[str]) -> Record:
        random = self._random
        name = self.text(1, 4)
        last = random.randint(1, 999)
        samples = random.randint(1, 10**7)
        folder = name.replace(" ", "-")
        return {
            "$type": DATASET_NSID,
            "name": name,
            "schemaRef": random.choice(schemas),
            "urls": [f"https://data.example.org/{folder}/shard-{{000000..{last:06}}}.tar"],
            "description": self.text(20, 200),
            "tags": random.sample(self._words, k=random.randint(1, 8)),
            "license": random.choice(_LICENSES),
            "size": {"samples": samples, "bytes": samples * random.randint(100, 100_000)},
            "metadata": msgpack.packb({"split": "train", "source": self.text(2, 6)}),
            "createdAt": format_micros(us),
        }

    def _lens(self, us: int, schemas: Sequence[str]) -> Record:
        code = {
            "kind": "reference",
            "repository": f"https://git.example.org/{self.text(1, 1)}/lenses",
            "commit": self._random.randbytes(20).hex(),
            "path": f"lenses/{self.text(1, 1)}.py:{self.text(1, 1)}",
        }
        return {
            "$type": LENS_NSID,
            "name": self.text(1, 3),
            "sourceSchema": self._random.choice(schemas),
            "targetSchema": self._random.choice(schemas),
            "description": self.text(5, 40),
            "getterCode": code,
            "createdAt": format_micros(us),
        }
