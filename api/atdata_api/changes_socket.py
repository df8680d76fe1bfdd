"""WebSockets as uvicorn speaks them, but a close does not wait behind what nobody takes."""

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

GRACE_S = 10.0
"""How long one who took nothing may still take what was sent to it, the close last."""


class ChangesSocket(WebSocketsSansIOProtocol):
    """One connection. A peer that stopped reading learns why it was closed if it reads on soon;
    afterwards the connection is cut, with all that waits for it.
    """

    async def send(self, message: ASGISendEvent) -> None:
        """Send a message; uvicorn lets each wait until the one before it was taken."""
        if message["type"] == "websocket.close" and not self.writable.is_set():
            self.writable.set()
            self.loop.call_later(GRACE_S, self.transport.abort)
        await super().send(message)
