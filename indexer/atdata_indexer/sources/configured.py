"""The sources that the settings name."""

from collections.abc import Sequence

from atdata_indexer.ingest import wall_clock
from atdata_indexer.settings import Settings
from atdata_indexer.sources import Source
from atdata_indexer.sources.jetstream import JetstreamV1, JetstreamV2
from atdata_indexer.sources.relay import RelaySource

type Line = Sequence[Source]
"""Sources that stand in for one another: one is followed at a time."""


def configured(settings: Settings, user_agent: str) -> list[Line]:
    """What is followed at once: the relays, and the Jetstream servers."""
    lines: list[Line] = [
        [_relay(settings, url, user_agent) for url in settings.relays],
        [_jetstream(settings, url, user_agent) for url in settings.jetstreams],
    ]
    return [line for line in lines if line]


def _relay(settings: Settings, url: str, user_agent: str) -> Source:
    return RelaySource(
        url,
        user_agent=user_agent,
        buffer_bytes=settings.buffer_mb << 19,
        collections=settings.collections,
    )


def _jetstream(settings: Settings, url: str, user_agent: str) -> Source:
    buffer_bytes = settings.buffer_mb << 19
    if settings.jetstream_version == 1:
        file = settings.jetstream_dictionary
        return JetstreamV1(
            url,
            dictionary=None if file is None else file.read_bytes(),
            clock=wall_clock,
            user_agent=user_agent,
            buffer_bytes=buffer_bytes,
            collections=settings.collections,
        )
    secret = settings.jetstream_token
    token = None if secret is None else secret.get_secret_value()
    return JetstreamV2(
        url,
        token=token,
        user_agent=user_agent,
        buffer_bytes=buffer_bytes,
        collections=settings.collections,
    )
