"""A session outlives its program: exported, gone on with, renewed; app passwords begin one too."""

import base64
import json

import pytest
from atproto import Session

from atdata_client import ATProtoClient, AuthenticationError, PdsError
from tests.logged_in import logged_in
from tests.real_pds import Account, RealPds


@pytest.fixture(scope="module")
def account(pds: RealPds) -> Account:
    return pds.create_account()


def expired(token: str) -> str:
    """The token as it looks once it has expired; its signature is that of another."""
    head, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    aged = json.dumps(claims | {"exp": 1_700_000_000}).encode()
    return ".".join((head, base64.urlsafe_b64encode(aged).rstrip(b"=").decode(), signature))


def test_an_exported_session_goes_on_elsewhere(pds: RealPds, account: Account) -> None:
    with logged_in(pds, account) as client:
        text = client.export_session()
    # Neither an address nor a directory is given: the session knows its PDS.
    with ATProtoClient() as client:
        client.login_with_session(text)
        assert client.did == account.did
        uri = client.create_record("app.bsky.atdata.schema", {"name": "x"})
        assert uri.startswith(f"at://{account.did}/")
        assert Session.decode(client.export_session()).handle == account.handle


def test_without_a_session_there_is_nothing_to_export() -> None:
    with pytest.raises(ValueError, match=r"^Not authenticated$"):
        ATProtoClient().export_session()


@pytest.mark.parametrize("text", ["", "no session", ":::".join("abcd"), ":::".join("abcdef")])
def test_text_that_is_no_session_is_an_authentication_error(text: str) -> None:
    with ATProtoClient() as client, pytest.raises(AuthenticationError) as caught:
        client.login_with_session(text)
    # It might be most of one.
    assert text == "" or text not in str(caught.value)


def test_an_expired_access_token_is_renewed_and_the_new_one_exported(pds: RealPds) -> None:
    account = pds.create_account()
    old = expired(account.access_jwt)
    with ATProtoClient(base_url=pds.url, plc_url=pds.plc) as client:
        client.login_with_token(old, account.refresh_jwt)
        client.create_record("app.bsky.atdata.schema", {"name": "x"})
        now = Session.decode(client.export_session())
    assert now.access_jwt != old
    assert now.refresh_jwt != account.refresh_jwt
    with ATProtoClient() as again:
        again.login_with_session(now.export())
        assert again.did == account.did


def test_a_session_that_cannot_be_renewed_is_an_authentication_error(
    pds: RealPds, account: Account
) -> None:
    forged = account.refresh_jwt.rpartition(".")[0] + ".AAAA"
    session = Session("x.test", account.did, expired(account.access_jwt), forged, pds.url)
    with ATProtoClient() as client:
        with pytest.raises((AuthenticationError, PdsError)) as caught:
            client.login_with_session(session.export())
        assert forged not in str(caught.value)
        assert not client.is_authenticated


def test_an_app_password_publishes(pds: RealPds, account: Account) -> None:
    made = pds.post(
        "com.atproto.server.createAppPassword", {"name": "publisher"}, account.access_jwt
    )
    with ATProtoClient(base_url=pds.url) as client:
        client.login(account.handle, made["password"])
        client.create_record("app.bsky.atdata.schema", {"name": "x"})
        assert client.did == account.did
