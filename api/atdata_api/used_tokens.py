"""Which tokens were used, each of which counts once. Pure: the time is given.

What is remembered is bounded for each account and in all, so that an account with many tokens, and
one who makes many accounts, has the tokens of nobody else forgotten or refused.
"""

from hashlib import blake2b

MOST = 100_000
"""How many are remembered in all, which takes some 20 MB."""


class UsedTokens:
    """Remembers tokens until they do not hold any more, up to `each` of an account, `most` in all.

    An account that has too many is not believed further. When there are too many in all, the
    oldest of those who used most are forgotten: they could come again, and would only be counted as
    that account's once more.
    """

    def __init__(self, each: int, most: int = MOST) -> None:
        self._each = each
        self._most = most
        self._count = 0
        self._of: dict[str, dict[bytes, float]] = {}

    def __len__(self) -> int:
        return self._count

    def add(self, issuer: str, nonce: str, until: float, now: float) -> bool:
        """Note a token as used, which does not hold from `until` on.

        False when it was used before, or its issuer has too many.
        """
        # A nonce may be as long as a token.
        key = blake2b(nonce.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        used = self._of.get(issuer, {})
        if len(used) >= self._each:
            used = self._keep(issuer, _holding(used, now))
        if key in used or len(used) >= self._each:
            return False
        if self._count >= self._most:
            self._make_room(now)
        self._of.setdefault(issuer, {})[key] = until
        self._count += 1
        return True

    def _make_room(self, now: float) -> None:
        for issuer, used in list(self._of.items()):
            self._keep(issuer, _holding(used, now))
        for issuer in sorted(self._of, key=lambda one: len(self._of[one]), reverse=True):
            if self._count <= self._most * 9 // 10:
                return
            used = self._of[issuer]
            newest = sorted(used.items(), key=lambda one: one[1])[(len(used) + 1) // 2 :]
            self._keep(issuer, dict(newest))

    def _keep(self, issuer: str, used: dict[bytes, float]) -> dict[bytes, float]:
        self._count += len(used) - len(self._of[issuer])
        if used:
            self._of[issuer] = used
        else:
            del self._of[issuer]
        return used


def _holding(used: dict[bytes, float], now: float) -> dict[bytes, float]:
    return {one: until for one, until in used.items() if until > now}
