"""Looks accounts up: which handle, PDS and signing key a DID stands for now.

What cannot be had is asked for again and again; who waits for it is told when that takes long.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Container, Iterable

import structlog

from atdata_indexer.errands import Errands
from atdata_indexer.identity import IdentityResolver, IdentityUnavailable, ResolvedIdentity

AT_ONCE = 8
PATIENCE = 3
"""After so many failures nothing waits for an answer any longer."""


class Lookups:
    """Resolves identities. `resolved` waits for the writer; `wake` is called when something does.

    Who is not in `tracked` any more is not looked up. `give_up` is told of each that still cannot
    be had after a while.
    """

    def __init__(
        self,
        resolver: IdentityResolver,
        tracked: Container[str],
        counts: Counter[str],
        *,
        wake: Callable[[], None],
        give_up: Callable[[str], Awaitable[None]],
    ) -> None:
        self._resolver = resolver
        self._tracked = tracked
        self._counts = counts
        self._wake = wake
        self._give_up = give_up
        self._errands = Errands(self._look_up, AT_ONCE)
        self._log = structlog.get_logger()
        self.resolved: list[ResolvedIdentity] = []

    @property
    def idle(self) -> bool:
        """Whether nobody is being looked up or could be."""
        return self._errands.idle and not self.resolved

    @property
    def resting(self) -> bool:
        """Whether all who can be looked up were: who is left has failed again and again."""
        return self._errands.resting and not self.resolved

    async def run(self) -> None:
        """Look up until cancelled."""
        await self._errands.run()

    def soon(self, did: str) -> None:
        """Look an account up."""
        self._errands.soon(did)

    def all_soon(self, dids: Iterable[str]) -> None:
        """Look accounts up."""
        for did in dids:
            self._errands.soon(did)

    async def _look_up(self, did: str, failures: int) -> float | None:
        if did not in self._tracked:
            return None  # it was forgotten meanwhile
        try:
            # Awaited first: the list that results are put into is swapped meanwhile.
            identity = await self._resolver.resolve(did)
            self.resolved.append(identity)
        except IdentityUnavailable as error:
            self._counts["identities_unavailable"] += 1
            self._log.warning("identity_unavailable", did=did, error=str(error)[:300])
            if failures >= PATIENCE:
                await self._give_up(did)
            return 1.0
        self._wake()
        return None
