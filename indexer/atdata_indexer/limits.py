"""How much is kept, of one account and in all, and what is held of an account. Pure.

A record beyond its account's limits is deferred: its row stands, without a body, until there is
room. Where several would fit, the one that comes first is taken.
"""

from dataclasses import dataclass

DAY_US = 86_400_000_000

DEFERRED = {
    "account-records": "its account already has as many records here as are kept of one account",
    "account-bytes": "its account's records would take more room than one account is given",
}
"""The rules that defer a record, in words."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of the settings. `records` and `size` (in bytes) are of one account's live
    records, `quarantine` is of its entries there; the others hold for all accounts together.
    """

    records: int = 10_000
    size: int = 64 << 20
    quarantine: int = 100
    quarantine_all: int = 100_000
    quarantine_us: int = 30 * DAY_US
    outbox: int = 1_000_000
    tombstone_us: int = 30 * DAY_US
    forget_us: int = 7 * DAY_US

    def exceeded(self, held: "Totals", size: int) -> str | None:
        """The rule by which a record of `size` bytes is too much beside what is held."""
        if held.records >= self.records:
            return "account-records"
        return "account-bytes" if held.size + size > self.size else None


DEFAULTS = Limits()


@dataclass(frozen=True, slots=True)
class Totals:
    """What is held of an account: rows of any state, live records, the bytes of their bodies, and
    deferred records.
    """

    rows: int = 0
    records: int = 0
    size: int = 0
    deferred: int = 0

    def counting(self, state: str, size: int, times: int = 1) -> "Totals":
        """The totals with a row of this state and size counted in, or out when `times` is -1."""
        return Totals(
            self.rows + times,
            self.records + times * (state == "live"),
            self.size + times * size,
            self.deferred + times * (state == "deferred"),
        )


NOTHING = Totals()
