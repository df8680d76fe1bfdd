"""HTTP as uvicorn speaks it, but with bounds on a request's size and time and XRPC error bodies."""

import asyncio
import json

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 65_535
"""The most bytes of request line and headers; beyond this httptools cannot split a URL."""
MAX_BODY = 1 << 20
"""The most bytes of a body. Queries have none; it is let by unread."""
REQUEST_S = 30.0
"""How long a request may take to arrive, from the connection or its first byte to its last."""
SEND_S = 60.0
"""How long a client may take nothing of what waits for it; then the connection is cut."""
LINGER_S = 2.0
"""How long a client that still sends is heard, unread, so that it gets to read why it is refused
(RFC 9112, section 9.6)."""


class Protocol(HttpToolsProtocol):
    """One connection. A request that is too long, too slow or not HTTP is refused and the
    connection closed.
    """

    _head = _body = 0
    _refused = _in_body = False
    _timer: asyncio.TimerHandle | None = None
    _sending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Called by asyncio; the first request is waited for."""
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._stop_timer()
        self._stop_sending()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Called by asyncio: much of an answer was not taken yet."""
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Called by asyncio: nearly all of it was."""
        self._stop_sending()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Count what came since the last head or body ended: it is all in memory."""
        if self._refused:
            return
        self._head += len(data)
        super().data_received(data)
        if self._head > MAX_HEAD and not self.transport.is_closing():
            self._refuse(
                400, "InvalidRequest", f"the head of a request is at most {MAX_HEAD} bytes"
            )

    def on_message_begin(self) -> None:
        """The first byte of a request came."""
        super().on_message_begin()
        self._body = 0
        self._expect()

    def on_headers_complete(self) -> None:
        """The head ended."""
        self._head = 0
        for name, value in self.headers:
            # Known to be too long before it comes: nothing of it is asked for.
            if name == b"content-length" and (len(value) > 9 or int(value) > MAX_BODY):
                self._too_long()
                return
        super().on_headers_complete()
        self._in_body = True

    def on_body(self, body: bytes) -> None:
        """A piece of a body, of which uvicorn keeps no more than an application reads."""
        self._head = 0
        self._body += len(body)
        if self._body > MAX_BODY:
            self._too_long()
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is all there."""
        self._stop_timer()
        if not self._refused:
            self._in_body = False
            super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """The connection is another protocol's from now on."""
        self._stop_timer()
        self._stop_sending()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn says in plain text, as an XRPC error body."""
        self._refuse(400, "InvalidRequest", msg)

    def _expect(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(REQUEST_S, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self, waiting: int) -> None:
        self._sending = self.loop.call_later(SEND_S, self._not_taken, waiting)

    def _not_taken(self, waiting: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left < waiting:
            self._watch(left)
        else:
            self.transport.abort()

    def _stop_sending(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _too_slow(self) -> None:
        self._refuse(408, "RequestTimeout", f"a request takes at most {REQUEST_S:.0f} seconds")

    def _too_long(self) -> None:
        if not self._refused:
            message = f"the body of a request is at most {MAX_BODY} bytes"
            self._refuse(413, "PayloadTooLarge", message, linger_s=LINGER_S)

    def _refuse(self, status: int, error: str, message: str, linger_s: float = 0.0) -> None:
        """Say why, unless an answer was begun, and close the connection."""
        self._refused = True
        self._stop_timer()
        cycle = self.cycle
        if cycle is None or not (cycle.response_started if self._in_body else self._answering):
            body = json.dumps({"error": error, "message": message}).encode()
            self.transport.write(
                b"HTTP/1.1 %d Refused\r\ncontent-type: application/json\r\n"
                b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)
            )
        if cycle is not None:
            cycle.disconnected = True  # what is still to come of an answer goes nowhere
            cycle.message_event.set()
        if linger_s:
            self.flow.resume_reading()
            self.loop.call_later(linger_s, self.transport.close)
        else:
            self.transport.close()

    @property
    def _answering(self) -> bool:
        """Whether the request before is still being answered."""
        return not self.cycle.response_complete
