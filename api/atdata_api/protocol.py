"""HTTP as uvicorn speaks it, but with a bound on a request's head and XRPC error bodies."""

import json

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 65_535
"""The most bytes of request line and headers; beyond this httptools cannot split a URL."""


class Protocol(HttpToolsProtocol):
    """One connection. A head that is too long or not HTTP is refused and the connection closed."""

    _head = 0

    def data_received(self, data: bytes) -> None:
        """Count what came since the last head or body ended: it is all in memory."""
        self._head += len(data)
        super().data_received(data)
        if self._head > MAX_HEAD and not self.transport.is_closing():
            self.send_400_response(f"the head of a request is at most {MAX_HEAD} bytes")

    def on_headers_complete(self) -> None:
        """The head ended."""
        self._head = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a body, which uvicorn bounds itself."""
        self._head = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """What uvicorn says in plain text, as an XRPC error body."""
        body = json.dumps({"error": "InvalidRequest", "message": msg}).encode()
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        self.transport.close()
