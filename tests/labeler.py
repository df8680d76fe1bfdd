"""A labeler on loopback: signs labels, and streams them as `com.atproto.label.subscribeLabels`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.repos import encode
from tests.signed import Author

CTS = "2026-11-01T00:00:00.000Z"
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class Labeler(Author):
    """An account that labels."""

    def __init__(self, name: str = "labeler") -> None:
        super().__init__(name)
        self.frames: list[tuple[int, bytes]] = []
        self.host = ""
        self.asked: list[tuple[int, str]] = []
        """Where each connection wanted to begin, and what it called itself."""
        self._more = asyncio.Event()

    def label(self, uri: str, val: str, **more: Any) -> dict[str, Any]:
        """A label, signed with the labeler's key."""
        said = {"ver": 1, "src": self.did, "uri": uri, "val": val, "cts": CTS} | more
        return said | {"sig": sign(self.key, encode(said))}

    def say(self, *labels: dict[str, Any]) -> int:
        """Stream labels in one frame; gives its seq."""
        seq = len(self.frames) + 1
        self.send(seq, encode({"op": 1, "t": "#labels"}) + encode({"seq": seq, "labels": labels}))
        return seq

    def send(self, seq: int, frame: bytes) -> None:
        """Stream any bytes as what stands at `seq`."""
        self.frames.append((seq, frame))
        self._more.set()
        self._more = asyncio.Event()

    def identity(self, host: str) -> dict[str, Any]:
        """What a PLC directory says: a labeler's document, whose service is its own."""
        found = super().identity(host)
        found["didDoc"]["verificationMethod"].append(
            {"id": f"{self.did}#atproto_label", "publicKeyMultibase": self.multibase}
        )
        found["didDoc"]["service"].append(
            {
                "id": "#atproto_labeler",
                "type": "AtprotoLabeler",
                "serviceEndpoint": f"http://{self.host}",
            }
        )
        return found

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Serve on a free port of 127.0.0.1; gives `127.0.0.1:port`."""
        async with serve(self._stream, "127.0.0.1", 0, ping_interval=None) as server:
            host, port = next(iter(server.sockets)).getsockname()[:2]
            self.host = f"{host}:{port}"
            yield self.host

    async def _stream(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        url = urlsplit(connection.request.path)
        assert url.path == "/xrpc/com.atproto.label.subscribeLabels"
        cursor = int(parse_qs(url.query)["cursor"][0])
        self.asked.append((cursor, connection.request.headers["User-Agent"]))
        at = 0
        while True:
            while at < len(self.frames):
                seq, frame = self.frames[at]
                if seq > cursor:
                    await connection.send(frame)
                at += 1
            more = asyncio.create_task(self._more.wait())
            closed = asyncio.create_task(connection.wait_closed())
            await asyncio.wait({more, closed}, return_when=asyncio.FIRST_COMPLETED)
            more.cancel()
            if closed.done():
                return
            closed.cancel()


def sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """The low one of the two possible signatures."""
    signature = key.sign(data, ec.ECDSA(SHA256(), deterministic_signing=True))
    r, s = decode_dss_signature(signature)
    return r.to_bytes(32) + min(s, _ORDER - s).to_bytes(32)
