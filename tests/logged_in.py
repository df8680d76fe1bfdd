"""Authors on the real PDS that several tests of a file share."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from atdata_client import ATProtoClient
from tests.real_pds import Account, RealPds


@contextmanager
def logged_in(pds: RealPds, account: Account | None = None) -> Iterator[ATProtoClient]:
    """A client logged in to an account, a new one if none is given."""
    account = account or pds.create_account()
    with ATProtoClient(base_url=pds.url, plc_url=pds.plc) as client:
        client.login_with_token(account.access_jwt, account.refresh_jwt)
        yield client


def made_default(pds: RealPds, patch: pytest.MonkeyPatch) -> None:
    """Have clients that are told no address ask this PDS and its directory."""
    addresses = ATProtoClient.__init__.__kwdefaults__
    assert addresses is not None
    patch.setitem(addresses, "base_url", pds.url)
    patch.setitem(addresses, "plc_url", pds.plc)
