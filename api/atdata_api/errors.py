"""The error this package answers with."""


class XrpcError(Exception):
    """A failure told to the client as `{"error", "message"}` (https://atproto.com/specs/xrpc)."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.message = message
