"""The errors of this package.

IndexerError
├── FrameError      bytes that are not an event: the connection they came from is dropped
├── StreamError     the source refused to go on (an error frame); names the protocol's error
│   └── FutureCursor   the stored cursor is ahead of the source: an operator must decide
├── ClockBehind     this machine's clock is behind the stream: nothing could be judged
├── CommitError     a commit whose blocks do not hold what it says; names the reason
├── RecordError     a record block that is not data of the AT Protocol; names the rule
├── StoreError      the database or index of this process cannot be used
└── IndexerUnavailable   the indexer of this data directory does not answer on its socket
"""


class IndexerError(Exception):
    """Any failure this package reports on purpose."""


class FrameError(IndexerError):
    """Bytes that are not an event of `com.atproto.sync.subscribeRepos`."""


class StreamError(IndexerError):
    """The source sent an error frame: `error` is its name, `message` its words."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(f"{error}: {message}" if message else error)
        self.error = error
        self.message = message


class FutureCursor(StreamError):
    """The stored cursor is ahead of the source. Going on would skip events; nothing is skipped."""


class ClockBehind(IndexerError):
    """This machine's clock is so far behind the stream that true commits would be refused."""


class CommitError(IndexerError):
    """A commit whose blocks do not hold what it says. `reason` is a short slug for counting."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class RecordError(IndexerError):
    """A record block that is not data of the AT Protocol. `rule` is a short slug for counting."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


class StoreError(IndexerError):
    """The database or index of this process cannot be used; says what the operator can do."""


class IndexerUnavailable(IndexerError):
    """The indexer of this data directory does not answer on its admin socket."""
