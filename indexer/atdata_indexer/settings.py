"""Every setting of the service, read once from `ATDATA_APPVIEW_*` variables and then frozen."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, FilePath, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from atdata_indexer.labels import LabelPolicy
from atdata_indexer.limits import DAY_US, Limits
from atdata_schemas.records import NAMESPACES

_WS = r"wss?://[^/?#\s,]+/?"
_NAMESPACE = f"({'|'.join(map(re.escape, NAMESPACES))})"
_HTTP = r"https?://[^/?#\s,]+/?"
_LABEL = r"(\*|!?[a-z0-9-]{1,128})"
_DID = r"did:[a-z]+:[a-zA-Z0-9._:%-]*[a-zA-Z0-9._-]"
PROJECT = "atdata-appview"

type FetchBy = Literal["getRepo", "listRecords"]


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
        pattern=rf"^(none|{_WS}(,{_WS})*)$",
        description="The relays (or PDSs) whose firehose is read, comma-separated: the first that"
        " can be had; `none` for none.",
    )
    jetstream: str = Field(
        "none",
        pattern=rf"^(none|{_WS}(,{_WS})*)$",
        description="Jetstream servers that are read as well, or instead: the first that can be"
        " had. What only they say is indexed unverified.",
    )
    jetstream_version: int = Field(
        1, ge=1, le=2, description="Which Jetstream protocol they speak; their cursors differ."
    )
    jetstream_dictionary: FilePath | None = Field(
        None,
        description="The zstd dictionary of Jetstream 1, a file; unset: nothing is compressed."
        " Servers of version 2 are asked for theirs.",
    )
    jetstream_token: SecretStr | None = Field(
        None, description="The API token of a Jetstream 2 server that asks for one."
    )
    first_cursor: int | None = Field(
        None, ge=0, description="Where to begin when there is no cursor yet; unset: at what is new."
    )
    namespaces: str = Field(
        ",".join(NAMESPACES),
        pattern=rf"^{_NAMESPACE}(,{_NAMESPACE})*$",
        description="The record namespaces that are indexed, comma-separated. When one is added,"
        " every repo is fetched anew; when one is left out, its records go.",
    )
    host: str = Field("127.0.0.1", description="The address the API listens on.")
    port: int = Field(8900, ge=0, le=65535, description="The port of the API; 0 picks a free one.")
    public_url: str | None = Field(
        None,
        pattern=r"^https?://[a-z0-9.-]+(:[0-9]{1,5})?$",
        description="Where the API is reached from outside, such as `https://index.example.com`:"
        " its did:web, to which a PDS passes queries on; unset: no DID.",
    )
    query_nsid: str = Field(
        "app.bsky.atdata",
        pattern=r"^[a-z][a-z0-9-]{0,61}(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?){1,4}$",
        description="The prefix of the queries' names; `app.bsky.atdata` is answered as well.",
    )
    rate_limit: int = Field(
        3000,
        ge=0,
        description="How many requests one caller may make in five minutes; 0 for no limit."
        " This machine's own are not counted.",
    )
    forwarded_by: str = Field(
        "127.0.0.1,::1",
        pattern=r"^(none|\*|[0-9a-fA-F.:/]+(,[0-9a-fA-F.:/]+)*)$",
        description="The proxies whose `X-Forwarded-For` is believed, comma-separated addresses or"
        " networks; `none` for none.",
    )
    contact: str | None = Field(
        None,
        pattern=r"^[!-'*-~]([ !-'*-~]{0,198}[!-'*-~])?$",
        description="An address or page for those whose hosts are asked, told in the User-Agent;"
        " unset: the project's name alone is sent.",
    )
    labelers: str = Field(
        "none",
        pattern=rf"^(none|{_DID}(,{_DID})*)$",
        description="The DIDs of the labelers that are followed, comma-separated; `none` for none.",
    )
    hide_labels: str = Field(
        "!hide,!takedown",
        pattern=rf"^(none|{_LABEL}(,{_LABEL})*)$",
        description="The labels that hide what carries them, comma-separated; `*` for all, `none`"
        " for none.",
    )
    show_labels: str = Field(
        "*",
        pattern=rf"^(none|{_LABEL}(,{_LABEL})*)$",
        description="The labels that are only shown, likewise; any other is left aside.",
    )
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
    fetch_by: FetchBy = Field(
        "getRepo",
        description="How: whole and signed, or by listRecords, which is cheap and proves nothing.",
    )
    directories: str | None = Field(
        None,
        pattern=rf"^(none|{_HTTP}(,{_HTTP})*)$",
        description="Hosts asked which repos have records of ours, comma-separated, all of them;"
        " unset: the relays.",
    )
    discover_hours: int = Field(
        24, ge=1, le=8760, description="How often they are asked again, in hours."
    )
    reconcile_hours: int = Field(
        24, ge=1, le=8760, description="How often a quiet repo is compared with its PDS, in hours."
    )
    identity_hours: int = Field(
        24, ge=1, le=8760, description="How long a DID document and handle are believed, in hours."
    )
    repo_mb: int = Field(
        256, ge=1, le=4096, description="The largest repo that is fetched, in megabytes."
    )
    account_records: int = Field(
        10_000, ge=1, description="How many records are shown of one account; more are deferred."
    )
    account_mb: int = Field(
        64, ge=1, le=65536, description="How much room one account's records take, in megabytes."
    )
    account_quarantine: int = Field(
        100, ge=1, description="How many entries one account has in quarantine, the newest."
    )
    quarantine_entries: int = Field(
        100_000, ge=1, description="How many entries quarantine has in all, the newest."
    )
    quarantine_days: int = Field(
        30, ge=1, le=3650, description="How long an entry stays in quarantine, in days."
    )
    outbox_entries: int = Field(
        1_000_000, ge=1000, description="How many changes are kept for those who follow them."
    )
    followers: int = Field(
        500, ge=0, description="How many may follow changes at once, in each process that answers."
    )
    follower_patience_s: int = Field(
        20,
        ge=1,
        le=3600,
        description="How long a follower of changes may take none, in seconds, until it is closed.",
    )
    export_hour: int | None = Field(
        3,
        ge=0,
        le=23,
        description="At which hour (UTC) the index is exported as Parquet files; `none`: only when"
        " `atdata-appview export` says so.",
    )
    tombstone_days: int = Field(
        30, ge=1, le=3650, description="How long a deleted record is remembered, in days."
    )
    forget_days: int = Field(
        7, ge=1, le=3650, description="How long an account is tracked without a record, in days."
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
        1_000, ge=1, le=10_000, description="How many events one transaction takes at most."
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

    @field_validator("export_hour", mode="before")
    @classmethod
    def _never(cls, value: object) -> object:
        return None if value == "none" else value

    @property
    def user_agent(self) -> str:
        """What every outgoing request calls this program."""
        return PROJECT if self.contact is None else f"{PROJECT} ({self.contact})"

    @property
    def followed_labelers(self) -> list[str]:
        """The DIDs of the labelers."""
        return _split(self.labelers)

    @property
    def labels(self) -> LabelPolicy:
        """What labels do."""
        return LabelPolicy(frozenset(_split(self.hide_labels)), frozenset(_split(self.show_labels)))

    @property
    def relays(self) -> list[str]:
        """The relays, in the order of preference."""
        return _split(self.relay)

    @property
    def jetstreams(self) -> list[str]:
        """The Jetstream servers, in the order of preference."""
        return _split(self.jetstream)

    @property
    def collections(self) -> Sequence[str]:
        """The collections that are indexed."""
        named = self.namespaces.split(",")
        return [one for name, kinds in NAMESPACES.items() if name in named for one in kinds]

    @property
    def asked(self) -> list[str]:
        """The hosts that are asked for repos."""
        if self.directories is not None:
            return _split(self.directories)
        return [relay.replace("ws", "http", 1) for relay in self.relays]

    @property
    def limits(self) -> Limits:
        """How much is kept of one account, and in all."""
        return Limits(
            records=self.account_records,
            size=self.account_mb << 20,
            quarantine=self.account_quarantine,
            quarantine_all=self.quarantine_entries,
            quarantine_us=self.quarantine_days * DAY_US,
            outbox=self.outbox_entries,
            tombstone_us=self.tombstone_days * DAY_US,
            forget_us=self.forget_days * DAY_US,
        )

    @classmethod
    def variable(cls, name: str) -> str:
        """The environment variable of the setting `name`."""
        return f"ATDATA_APPVIEW_{name.upper()}"


def _split(addresses: str) -> list[str]:
    found = [] if addresses == "none" else addresses.split(",")
    return list(dict.fromkeys(one.rstrip("/") for one in found))
