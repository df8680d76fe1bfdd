"""The error this package answers with."""

RETRY_S = 5
"""When to come back after a 503 that knows no better."""


class XrpcError(Exception):
    """A failure told to the client as `{"error", "message"}` (https://atproto.com/specs/xrpc).

    Every 503 says when to come back: after `retry_s`, else RETRY_S.
    """

    def __init__(self, status: int, error: str, message: str, retry_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.message = message
        self.retry_s = RETRY_S if retry_s is None and status == 503 else retry_s
