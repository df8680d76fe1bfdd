"""Identities are chosen by strangers: they lead only to hosts that may be asked."""

import pytest

from atdata_client import ATProtoClient, IdentityError
from atdata_client._net.identity import is_loopback, is_public, pds_endpoint

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
SERVICE = {
    "id": "#atproto_pds",
    "type": "AtprotoPersonalDataServer",
    "serviceEndpoint": "https://pds.example.com",
}


@pytest.mark.parametrize(
    "url",
    ["https://pds.example.com", "https://pds.example.com:8443/x", "https://8.8.8.8"],
)
def test_public_https_may_be_asked(url: str) -> None:
    assert is_public(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://pds.example.com",
        "ftp://pds.example.com",
        "https://localhost",
        "https://a.localhost",
        "https://printer.local",
        "https://intranet",
        "https://intranet.",
        "https://127.0.0.1",
        "https://127.0.0.1.",
        "https://10.0.0.1",
        "https://169.254.169.254",
        "https://[::1]",
        "https://[fd00::1]",
        "https://user@10.0.0.1",
        "https://[bad",
        "https://",
        "",
    ],
)
def test_private_hosts_and_plain_http_may_not(url: str) -> None:
    assert not is_public(url)


def test_loopback_is_known_by_name_and_number() -> None:
    assert is_loopback("http://localhost:2583")
    assert is_loopback("http://127.0.0.1:2583")
    assert not is_loopback("http://10.0.0.1")
    assert not is_loopback("https://localhost.example.com")


def test_the_pds_is_found_in_the_did_document() -> None:
    other = {"id": "#other", "type": "Other", "serviceEndpoint": "https://no.example.com"}
    document = {"id": DID, "service": [other, SERVICE]}
    assert pds_endpoint(DID, document) == "https://pds.example.com"
    full = {"id": DID, "service": [{**SERVICE, "id": f"{DID}#atproto_pds"}]}
    assert pds_endpoint(DID, full) == "https://pds.example.com"


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"id": DID},
        {"id": DID, "service": None},
        {"id": DID, "service": "https://pds.example.com"},
        {"id": DID, "service": [None, {**SERVICE, "type": "Other"}]},
        {"id": DID, "service": [{**SERVICE, "serviceEndpoint": 5}]},
        {"id": "did:plc:someoneelse", "service": [SERVICE]},
    ],
)
def test_a_document_that_names_no_pds_or_is_anothers_is_refused(
    document: dict[str, object],
) -> None:
    with pytest.raises(IdentityError):
        pds_endpoint(DID, document)


@pytest.mark.parametrize(
    "did",
    [
        "did:web:localhost",
        "did:web:localhost%3A8080",
        "did:web:127.0.0.1",
        "did:web:169.254.169.254",
        "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
    ],
)
def test_a_did_at_a_private_host_or_of_another_method_is_not_followed(did: str) -> None:
    with ATProtoClient() as client, pytest.raises(IdentityError):
        client.get_record(f"at://{did}/app.bsky.atdata.schema/3aaaaaaaaaaaa")
