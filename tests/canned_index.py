"""An HTTP server on loopback that answers what a test lays out, for how the client takes it.

What a real index answers is tested against a real index.
"""

import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
CID = "bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"


@dataclass(frozen=True)
class Canned:
    """One answer: a JSON value, or bytes as they are."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """One request: its path, query pairs and headers (names in lower case)."""

    path: str
    params: list[tuple[str, str]]
    headers: Mapping[str, str]


class CannedIndex:
    """Answers in the order laid out, the last one again and again; remembers what was asked."""

    def __init__(self, url: str, answers: Sequence[Canned]) -> None:
        self.url = url
        self.asked: list[Asked] = []
        self._answers = deque(answers)

    def answer(self, asked: Asked) -> Canned:
        """The next answer."""
        self.asked.append(asked)
        return self._answers.popleft() if len(self._answers) > 1 else self._answers[0]


@contextmanager
def canned_index(*answers: Canned) -> Iterator[CannedIndex]:
    """Serve `answers`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(parts.path, parse_qsl(parts.query, keep_blank_values=True), headers)
            canned = index.answer(asked)
            raw = isinstance(canned.body, bytes)
            body = canned.body if raw else json.dumps(canned.body).encode()
            self.send_response(canned.status)
            for name, value in canned.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    index = CannedIndex(f"http://127.0.0.1:{server.server_address[1]}", answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def dataset_view(rkey: str = "3aaaaaaaaaaaa", **record: Any) -> dict[str, Any]:
    """A `datasetView` as an index answers with; `record` adds to or replaces fields."""
    schema = f"at://{DID}/app.bsky.atdata.schema/3bbbbbbbbbbbb"
    known = {"cid": CID, "name": "XRay", "version": "1.2.0"}
    return {
        "uri": f"at://{DID}/app.bsky.atdata.dataset/{rkey}",
        "cid": CID,
        "author": {"did": DID, "handle": "alice.example.com"},
        "record": {
            "$type": "app.bsky.atdata.dataset",
            "name": "Chest x-rays",
            "schemaRef": schema,
            "urls": ["https://data.example.com/x-{000000..000004}.tar"],
            "tags": ["medical", "image"],
            "createdAt": "2026-01-02T03:04:05Z",
            **record,
        },
        "schema": {"uri": schema, "status": "indexed", **known},
        "indexedAt": "2026-02-01T00:00:00.000000Z",
    }


def page(*views: Mapping[str, Any], total: int | None = None, **more: Any) -> Canned:
    """A page of `searchDatasets`."""
    hits = len(views) if total is None else total
    found = {"datasets": list(views), "hitsTotal": hits, "hitsTotalIsBound": False}
    return Canned(found | more)
