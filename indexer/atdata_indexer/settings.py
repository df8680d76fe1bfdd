"""Every setting of the service, read once from `ATDATA_APPVIEW_*` variables and then frozen."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The settings; each is documented in docs/settings.md, in this order.

    Raises pydantic's ValidationError, which names the variable and the rule.
    """

    model_config = SettingsConfigDict(
        env_prefix="ATDATA_APPVIEW_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    data_dir: Path = Field(Path("data"), description="Where the database and the index live.")
    relay: str = Field(
        "wss://bsky.network",
        pattern=r"^wss?://[^/?#\s]+/?$",
        description="The relay (or PDS) whose firehose is read.",
    )
    first_cursor: int | None = Field(
        None, ge=0, description="Where to begin when there is no cursor yet; unset: at what is new."
    )
    host: str = Field("127.0.0.1", description="The address the API listens on.")
    port: int = Field(8900, ge=0, le=65535, description="The port of the API; 0 picks a free one.")
    metrics_host: str = Field("127.0.0.1", description="The address metrics are served on.")
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="The port of the metrics; 0 picks one, unset: none."
    )
    plc_url: str = Field(
        "https://plc.directory", pattern=r"^https?://", description="The PLC directory."
    )
    handle_resolver: str | None = Field(
        None,
        pattern=r"^https?://",
        description="A service to ask com.atproto.identity.resolveHandle of; unset: DNS and HTTPS.",
    )
    verify: Literal["full", "hash-only"] = Field(
        "full", description="Believe commits only when signed and proven, or by their hashes alone."
    )
    backfill: bool = Field(
        True, description="Fetch whole repos that are new or out of step from their PDS."
    )
    repo_mb: int = Field(
        256, ge=1, le=4096, description="The largest repo that is fetched, in megabytes."
    )
    allow_loopback: bool = Field(
        False, description="Let identity look-ups reach private addresses: for development only."
    )
    memory_limit: str = Field(
        "2GB",
        pattern=r"^([1-9][0-9]{2,4}MB|[1-9][0-9]{0,3}GB)$",
        description="What DuckDB may use of memory.",
    )
    batch_ms: int = Field(
        75, ge=1, le=10_000, description="How long changes are gathered into one transaction."
    )
    batch_events: int = Field(
        500, ge=1, le=10_000, description="How many events one transaction takes at most."
    )
    buffer_mb: int = Field(
        32,
        ge=8,
        le=4096,
        description="How much of the stream may wait in memory before reading stops.",
    )
    log_format: Literal["auto", "text", "json"] = Field(
        "auto", description="Log lines for people or machines; auto: text on a terminal."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least severe log line that is written."
    )

    @classmethod
    def variable(cls, name: str) -> str:
        """The environment variable of the setting `name`."""
        return f"ATDATA_APPVIEW_{name.upper()}"
