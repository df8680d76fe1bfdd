"""Logging in to any PDS; no Bluesky profile is needed."""

import pytest

from atdata_client import (
    ATProtoClient,
    AuthenticationError,
    IdentityError,
    PdsError,
)
from tests.real_pds import RealPds


def test_a_new_client_is_not_authenticated_and_says_so() -> None:
    client = ATProtoClient()
    assert not client.is_authenticated
    with pytest.raises(ValueError, match=r"^Not authenticated$"):
        _ = client.did
    with pytest.raises(ValueError, match=r"^Not authenticated$"):
        client.list_records("app.bsky.atdata.schema")
    with pytest.raises(ValueError, match=r"^Not authenticated$"):
        client.create_record("app.bsky.atdata.schema", {})


def test_handle_and_password_begin_a_session(pds: RealPds) -> None:
    account = pds.create_account()
    with ATProtoClient(base_url=pds.url) as client:
        client.login(account.handle, account.password)
        assert client.is_authenticated
        assert client.did == account.did


def test_a_login_replaces_the_one_before(pds: RealPds) -> None:
    first, second = pds.create_account(), pds.create_account()
    with ATProtoClient(base_url=pds.url) as client:
        client.login(first.handle, first.password)
        client.login(second.handle, second.password)
        assert client.did == second.did


def test_a_configured_sdk_client_is_used_as_it_is(pds: RealPds) -> None:
    from atproto import Client

    account = pds.create_account()
    sdk = Client(pds.url)
    client = ATProtoClient(sdk)
    assert not client.is_authenticated
    sdk.login(account.handle, account.password, fetch_bsky_profile=False)
    assert client.is_authenticated
    assert client.did == account.did
    client.close()
    assert sdk.com.atproto.server.get_session().did == account.did  # still open: it is not ours
    sdk.request.close()


def test_a_client_and_an_address_are_not_given_together() -> None:
    with pytest.raises(ValueError, match="not both"):
        ATProtoClient(object(), base_url="https://pds.example.com")


def test_a_wrong_password_is_an_authentication_error(pds: RealPds) -> None:
    account = pds.create_account()
    with ATProtoClient(base_url=pds.url) as client:
        with pytest.raises(AuthenticationError, match="Invalid identifier or password") as caught:
            client.login(account.handle, "wrong")
        assert caught.value.status == 401
        assert caught.value.error == "AuthenticationRequired"
        assert not client.is_authenticated


def test_a_failed_login_leaves_the_session_before(pds: RealPds) -> None:
    account = pds.create_account()
    with ATProtoClient(base_url=pds.url) as client:
        client.login(account.handle, account.password)
        with pytest.raises(AuthenticationError):
            client.login("someone-else.test", "wrong")
        assert client.did == account.did


def test_a_pds_that_does_not_answer_is_a_pds_error() -> None:
    with ATProtoClient(base_url="http://127.0.0.1:1") as client:
        with pytest.raises(PdsError, match=r"127\.0\.0\.1:1: Unreachable") as caught:
            client.login("alice.test", "password")
        assert caught.value.status is None


def test_tokens_go_on_with_a_session_begun_elsewhere(pds: RealPds) -> None:
    account = pds.create_account()
    # No address is given: the DID in the token leads to the PDS.
    with ATProtoClient(plc_url=pds.plc) as client:
        client.login_with_token(account.access_jwt, account.refresh_jwt)
        assert client.did == account.did
        uri = client.create_record("app.bsky.atdata.schema", {"name": "x"})
        assert uri.startswith(f"at://{account.did}/app.bsky.atdata.schema/")


@pytest.mark.parametrize("token", ["", "no-token", "a.b.c", "eyJhbGciOiJub25lIn0.e30.x"])
def test_a_token_that_is_none_is_an_authentication_error(token: str) -> None:
    with ATProtoClient() as client, pytest.raises(AuthenticationError, match="InvalidToken"):
        client.login_with_token(token, token)


def test_a_forged_token_is_refused_by_the_pds(pds: RealPds) -> None:
    account = pds.create_account()
    forged = account.access_jwt.rpartition(".")[0] + ".AAAA"
    with ATProtoClient(base_url=pds.url) as client:
        with pytest.raises(AuthenticationError):
            client.login_with_token(forged, account.refresh_jwt)
        assert not client.is_authenticated


def test_a_password_is_never_sent_to_a_pds_the_account_does_not_name() -> None:
    with ATProtoClient() as client, pytest.raises(IdentityError):
        client.login("localhost.localhost", "password")
