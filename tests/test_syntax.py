"""Identifiers: what the protocol's own interoperability cases say, and what an attacker adds."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multiformats import CID

from atdata_schemas.syntax import (
    FORMATS,
    AtUri,
    cid_text,
    format_micros,
    is_cid,
    micros,
    parse_datetime,
    tid_micros,
)
from tests.fixtures.catalogue import tid

VALID: dict[str, list[str]] = {
    "did": [
        "did:method:val",
        "did:method:VAL",
        "did:method:val123",
        "did:method:123",
        "did:method:val-two",
        "did:method:val_two",
        "did:method:val.two",
        "did:method:val:two",
        "did:method:val%BB",
        "did:method:" + "v" * 240,
        "did:method:" + "v" * (2048 - 11),
        "did:m:v",
        "did:method::::val",
        "did:method:-",
        "did:method:-:_:.:%ab",
        "did:method:.",
        "did:method:_",
        "did:method::.",
        "did:onion:2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid",
        "did:example:123456789abcdefghi",
        "did:plc:7iza6de2dwap2sbkpav7c6c6",
        "did:web:example.com",
        "did:web:localhost%3A1234",
        "did:key:zQ3shZc2QzApp2oymGvQbzP8eKheVshBHbU4ZYjeXqwSKEn6N",
        "did:ethr:0xb9c5714089478a327f09197987f16f9e5d936e8a",
    ],
    "handle": [
        "A.ISI.EDU",
        "XX.LCS.MIT.EDU",
        "SRI-NIC.ARPA",
        "john.test",
        "john2.test",
        "john-john.test",
        "john.bsky.app",
        "jo.hn",
        "a.co",
        "joh.n",
        "j0.h0",
        "a234567890123456789.test",
        "short." + "o" * 63 + ".test",
        "shoooort" + ".loooooooooooooooooooooooooong" * 8 + ".test",
        "jay.mome-johnber123456.test",
        "john.test.bsky.app",
        "laptop.local",
        "laptop.arpa",
        "xn--ls8h.test",
        "xn--bcher-kva.tld",
        "xn--fiqa61au8b7zsevnm8ak20mc4a87e.xn--fiqs8s",
        "xn--stackoverflow.com",
        "stackoverflow.xn--com",
        "friend.expyuzz4wqqyqhjn.onion",
        "12345.test",
        "8.cn",
        "4chan.org",
        "4chan.o-g",
        "thing.a01",
        "120.0.0.1.com",
        "9sta--ck.com",
        "john.t--t",
        "thing.0aa.thing",
    ],
    "nsid": [
        "com." + "o" * 63 + ".foo",
        "com.example." + "o" * 63,
        "com" + ".middle" * 43 + ".foo",
        "com" + ".middle" * 44 + ".fives",  # 317 characters in all
        "com.example.fooBar",
        "com.example.fooBarV2",
        "net.users.bob.ping",
        "a.b.c",
        "m.xn--masekowski-d0b.pl",
        "one.two.three",
        "one.two.three.four-and.FiVe",
        "one.2.three",
        "a-0.b-1.c",
        "a0.b1.cc",
        "cn.8.lex.stuff",
        "test.12345.record",
        "a01.thing.record",
        "a.0.c",
        "xn--fiqs8s.xn--fiqa61au8b7zsevnm8ak20mc4a87e.record.two",
        "a0.b1.c3",
        "com.example.f00",
        "onion.expyuzz4wqqyqhjn.spec.getThing",
        "org.4chan.lex.getThing",
        "onion.2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.lex.deleteThing",
    ],
    "record-key": [
        "self",
        "example.com",
        "~1.2-3_",
        "dHJ1ZQ",
        "_",
        "-",
        "~",
        ":",
        "...",
        "pre:fix",
        "literal:self",
        "o" * 512,
        "3jzfcijpj2z2a",
    ],
    "tid": [
        "3jzfcijpj2z2a",
        "7777777777777",
        "3zzzzzzzzzzzz",
        "a222222222222",
        "j222222222222",
        "azzzzzzzzzzzz",
        "2222222222222",
        "jzzzzzzzzzzzz",
    ],
    "at-uri": [
        "at://did:plc:asdf123",
        "at://user.bsky.social",
        "at://did:plc:asdf123/com.atproto.feed.post",
        "at://did:plc:asdf123/com.atproto.feed.post/record",
        "at://did:plc:asdf123/com.atproto.feed.post/" + "o" * 512,
        "at://did:plc:asdf123/com.atproto.feed.post/a",
        "at://did:plc:asdf123/com.atproto.feed.post/asdf-123",
        "at://did:plc:asdf123/com.atproto.feed.postV2",
        "at://did:abc:123",
        "at://did:web:example.com/io.nsid.someFunc/record-key",
        "at://did:web:example.com/io.nsid.someFunc/self.",
        "at://did:web:example.com/io.nsid.someFunc/lang:",
        "at://did:web:example.com/io.nsid.someFunc/:",
        "at://did:web:example.com/io.nsid.someFunc/-",
        "at://did:web:example.com/io.nsid.someFunc/_",
        "at://did:web:example.com/io.nsid.someFunc/~",
        "at://did:web:example.com/io.nsid.someFunc/...",
        "at://8.cn/a.b.c/d",
    ],
    "datetime": [
        "1985-04-12T23:20:50.123Z",
        "1985-04-12T23:20:50.000Z",
        "2000-01-01T00:00:00.000Z",
        "1985-04-12T23:20:50.123456Z",
        "1985-04-12T23:20:50.120000Z",
        "1985-04-12T23:20:50.1235678912345Z",
        "1985-04-12T23:20:50Z",
        "1985-04-12T23:20:50.0Z",
        "1985-04-12T23:20:50.123+00:00",
        "1985-04-12T23:20:50.123-07:00",
        "1985-04-12T23:20:50.123+07:00",
        "1985-04-12T23:20:50.123+01:45",
        "0985-04-12T23:20:50.123-07:00",
        "0123-01-01T00:00:00.000Z",
        "1985-04-12T23:20:50.1Z",
        "1985-04-12T23:20:50.12Z",
        "1985-04-12T23:20:50.1234567890Z",
        "1985-04-12T23:20:50.123456789012Z",
        "1984-02-29T23:59:59.999999999999Z",
        "9999-12-31T23:59:59Z",
    ],
    "cid": [
        "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a",
        "bafyreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq",
        "bafkreiccldh766hwcnuxnf2wh6jgzepf2nlu2lvcllt63eww5p6chi4ity",
    ],
    "at-identifier": [
        "did:plc:7iza6de2dwap2sbkpav7c6c6",
        "john.test",
        "did.test",
        "XX.LCS.MIT.EDU",
    ],
    "uri": [
        "https://example.com",
        "https://example.com/path?q=blah&yes=true#frag.123",
        "dns:example.com",
        "at://handle.example.com/nsid/rkey",
        "did:key:zQ3shZc2QzApp2oymGvQbzP8eKheVshBHbU4ZYjeXqwSKEn6N",
        "content-type:text/plan",
        "microsoft.windows.camera:thing",
        "go://?Mercedes%20Benz",
        "https://example.com/" + "x" * 5000,
    ],
    "language": [
        "ja",
        "ban",
        "pt-BR",
        "hy-Latn-IT-arevela",
        "en-GB",
        "zh-Hant",
        "sgn-BE-NL",
        "es-419",
        "en-GB-boont-r-extended-sequence-x-private",
        "zh-hakka",
        "i-default",
        "i-navajo",
        "de-CH-1901",
    ],
}

INVALID: dict[str, list[str]] = {
    "did": [
        "did",
        "didmethodval",
        "method:did:val",
        "did:method:",
        "didmethod:val",
        "did:methodval",
        ":did:method:val",
        "did.method.val",
        "did:method:val:",
        "did:method:val%",
        "DID:method:val",
        "did:METHOD:val",
        "did:m123:val",
        "did::val",
        "did:method:val/two",
        "did:method:val?two",
        "did:method:val#two",
        "did:method:" + "v" * (2049 - 11),
    ],
    "handle": [
        "did:thing.test",
        "did:thing",
        "john-.test",
        "john.0",
        "john.-",
        "xn--bcher-.tld",
        "john..test",
        "jo_hn.test",
        "-john.test",
        ".john.test",
        "jo!hn.test",
        "jo%hn.test",
        "jo@hn.test",
        "jo*hn.test",
        "jo:hn.test",
        "jo/hn.test",
        "john💩.test",
        "bücher.test",
        "john .test",
        "john.test.",
        "john",
        "john.",
        ".john",
        "john.-est",
        "john.tes-",
        "org",
        "shoooort" + ".loooooooooooooooooooooooooong" * 9 + ".test",
        "shooooort" + ".loooooooooooooooooooooooooong" * 8 + ".test",  # 254 characters in all
        "short." + "o" * 64 + ".test",
        "cn.8",
        "thing.0aa",
        "127.0.0.1",
        "192.168.0.142",
        "fe80::7325:8a97:c100:94b",
        "-notvalid.at-all",
        "www.masełkowski.pl.com",
    ],
    "nsid": [
        "com." + "o" * 64 + ".foo",
        "com.example." + "o" * 64,
        "com" + ".middle" * 50 + ".foo",
        "com" + ".middle" * 44 + ".sixsix",  # 318 characters in all
        "com.example.foo.*",
        "com.example.foo.blah*",
        "com.exa💩ple.thing",
        "a-0.b-1.c-3",
        "1.0.0.127.record",
        "0two.example.foo",
        "example.com",
        "com.example.",
        "a.",
        ".one.two.three",
        "one.two..three",
        "one .two.three",
        "com.atproto.feed.p@st",
        "com.atproto.feed.p_st",
        "com.atproto.feed.po#t",
        "com.example-.foo",
        "com.-example.foo",
        "com.example.fooBar.2",
        "com.example.0foo",
        "com.example.f-o",
    ],
    "record-key": [
        ".",
        "..",
        "",
        "alpha/beta",
        "#extra",
        "@handle",
        "any space",
        "any+space",
        "number[3]",
        "number(3)",
        '"quote"',
        "dHJ1ZQ==",
        "o" * 513,
        "{nsid}@1.0.0",
        "app.bsky.atdata.schema@1.0.0",
        "ключ",
    ],
    "tid": [
        "3jzfcijpj2z21",
        "0000000000000",
        "3JZFCIJPJ2Z2A",
        "3jzfcijpj2z2aa",
        "3jzfcijpj2z2",
        "222",
        "",
        "3jzf-cij-pj2z-2a",
        "zzzzzzzzzzzzz",
        "kjzfcijpj2z2a",
    ],
    "at-uri": [
        "a://did:plc:asdf123",
        "at//did:plc:asdf123",
        "at:/a/did:plc:asdf123",
        "at:/did:plc:asdf123",
        "AT://did:plc:asdf123",
        "http://did:plc:asdf123",
        "://did:plc:asdf123",
        "at:did:plc:asdf123",
        "at:///did:plc:asdf123",
        "at://:/did:plc:asdf123",
        "at:/ /did:plc:asdf123",
        "at://",
        "//did:plc:asdf123",
        "at://name",
        "at://name.0",
        "at://diD:plc:asdf123",
        "at://DID:plc:asdf123",
        "at://user.bsky.123",
        "at://did:plc:",
        "at://did:plc:asdf123/com.atproto.feed.p@st",
        "at://did:plc:asdf123/com.atproto.feed.p%st",
        "at://did:plc:asdf123/com.atproto.feed.p()t",
        "at://did:plc:asdf123/com.atproto.feed_post",
        "at://did:plc:asdf123/-com.atproto.feed.post",
        "at://did:plc:asdf@123/com.atproto.feed.post",
        "at://did:plc:asdf123/short/stuff",
        "at://did:plc:asdf123/12345",
        "at://did:plc:asdf123/",
        "at://user.bsky.social/",
        "at://user.bsky.social//",
        "at://user.bsky.social//com.atproto.feed.post",
        "at://user.bsky.social/com.atproto.feed.post//",
        "at://did:plc:asdf123/com.atproto.feed.post/",
        "at://did:plc:asdf123/com.atproto.feed.post/record/",
        "at://did:plc:asdf123/com.atproto.feed.post/record/#/frag",
        "at://did:plc:asdf123/com.atproto.feed.post/asdf123/asdf",
        "at://did:plc:asdf123#",
        "at://did:plc:asdf123#/asdf#/asdf",
        "#at://did:plc:asdf123",
        "at://did:plc:asdf123?query=1",
        "at://did:plc:asdf123/com.atproto.feed.post/%23",
        "at://did:plc:asdf123/com.atproto.feed.post/$@!*)(:,;~.sdf123",
        "at://did:plc:asdf123/com.atproto.feed.post/abc%30123",
        "at://did:plc:asdf123/com.atproto.feed.post/@",
        "at://did:plc:asdf123/com.atproto.feed.post/*",
        "at://did:plc:asdf123/com.atproto.feed.post/.",
        "at://did:plc:asdf123/com.atproto.feed.post/..",
        "at://did:plc:asdf123/com.atproto.feed.post/" + "o" * 513,
        "at://did:plc:asdf123/com.atproto.feed.post/" + "o" * 8200,
    ],
    "datetime": [
        "1985-04-12T23:20:50.123z",
        "01985-04-12T23:20:50.123Z",
        "985-04-12T23:20:50.123Z",
        "1985-04-12T23:20:50.Z",
        "1985-04-32T23;20:50.123Z",
        "1985—04-12T23:20:50.123Z",
        "1985–04-12T23:20:50.123Z",
        "1985-04-12T 23:20:50.123Z",
        "1985-4-12T23:20:50.123Z",
        "1985-04-2T23:20:50.123Z",
        "1985-04-12T3:20:50.123Z",
        "1985-04-12T23:0:50.123Z",
        "1985-04-12T23:20:5.123Z",
        "1985-004-12T23:20:50.123Z",
        "1985-04-012T23:20:50.123Z",
        "1985-04-12T023:20:50.123Z",
        "1985-04-12t23:20:50.123Z",
        "1985-04-12T23:20:50.123-00:00",
        "1985-04-12_23:20:50.123Z",
        "1985-04-12 23:20:50.123Z",
        "1985-04-274T23:20:50.123Z",
        "1985-04-12T23:20:50.123",
        "1985-04-12T23:20:50",
        "1985-04-12",
        "1985-04-12T23:20Z",
        "+001985-04-12T23:20:50.123Z",
        "23:20:50.123Z",
        "1985-04-12T23:20:50.123+00",
        "1985-04-12T23:20:50.123+0:00",
        "1985-04-12T23:20:50.123+0000",
        "1985-04-12T23:20:50.123+",
        "-000001-12-31T23:00:00.000Z",
        "1985-00-12T23:20:50.123Z",
        "1985-04-00T23:20:50.123Z",
        "1985-13-12T23:20:50.123Z",
        "1985-04-31T23:20:50.123Z",
        "1985-04-12T24:00:00Z",
        "1985-04-12T25:20:50.123Z",
        "1985-04-12T23:99:50.123Z",
        "1985-04-12T23:20:61.123Z",
        "1985-04-12T23:20:60Z",
        "1985-02-29T23:20:50.123Z",
        "0000-01-01T00:00:00.000Z",
        "0009-01-01T00:00:00.000Z",
        "1985-04-12T23:20:50+24:00",
        "9999-12-31T23:59:59-00:01",
        "1985-W15-5T23:20:50Z",
        "1985-102T23:20:50Z",
        "19850412T232050Z",
        "1985-04-12T23:20:50,123Z",
        "1985-04-12T23:20:50." + "1" * 21 + "Z",
    ],
    "cid": [
        "example.com",
        "https://example.com",
        "cid:bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a",
        ".",
        "12345",
        "bafyre idfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a",
        "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR",
        "noop",
        "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2",
        "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2aa",
        "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2b",  # a bit set in the padding
        "BAFYREIDFAYVFUWQA7QLNOPDJIQRXZS6BLMOEU4RUJCJTNCI5BELUDIRZ2A",
        "bafyreıdfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a",  # a dotless i
        "bafyreißfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2",  # grows in upper case
        "bafyrei0fayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a",
        "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz==",
    ],
    "at-identifier": ["did:plc:", "did:PLC:abc", "john", "@john.test", "did:", ""],
    "uri": [
        "example.com",
        "://example.com",
        "//example.com",
        "http:",
        ".http://example.com",
        "-http://example.com",
        "12345",
        "127.0.0.1",
        "https://example.com/path gap",
        "https://example.com/\u2003gap",
        "https://example.com/\x7f",
        "https://example.com/" + "x" * 8200,
        "a" * 82 + ":b",
    ],
    "language": [".", "123", "j", "ja-", "a-DE", "jaja", "JA", "ja--JP", "x" * 129],
}


def cases(table: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(name, text) for name, texts in table.items() for text in texts]


@pytest.mark.parametrize(("name", "text"), cases(VALID))
def test_what_the_protocol_calls_valid_is_accepted(name: str, text: str) -> None:
    assert FORMATS[name](text)


@pytest.mark.parametrize(("name", "text"), cases(INVALID))
def test_what_the_protocol_calls_invalid_is_refused(name: str, text: str) -> None:
    assert not FORMATS[name](text)


def test_every_format_a_lexicon_may_name_has_its_cases() -> None:
    assert set(FORMATS) == set(VALID) == set(INVALID)


ATTACKS = {
    "a newline at the end": lambda text: text + "\n",
    "a carriage return at the end": lambda text: text + "\r\n",
    "a line separator at the end": lambda text: text + "\u2028",
    "a NUL at the end": lambda text: text + "\0",
    "a NUL in the middle": lambda text: text[:3] + "\0" + text[3:],
    "a space before": lambda text: " " + text,
    "a space behind": lambda text: text + " ",
    "a byte order mark before": lambda text: "\ufeff" + text,
    "a lone surrogate": lambda text: text + "\ud800",
    "a second line": lambda text: text + "\n" + text,
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("name", FORMATS)
def test_one_stray_character_makes_any_identifier_invalid(name: str, attack: str) -> None:
    for text in VALID[name]:
        if name == "uri" and attack in {"a byte order mark before", "a lone surrogate"}:
            continue  # any character but spaces and controls may follow a scheme
        assert not FORMATS[name](ATTACKS[attack](text)), text
    assert not FORMATS[name]("")


@pytest.mark.parametrize("digits", ["０１２３４５６７８９", "٠١٢٣٤٥٦٧٨٩", "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗"])
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "uri"])
def test_a_digit_of_another_script_is_no_digit(name: str, digits: str) -> None:
    table = str.maketrans("0123456789", digits)
    changed = [text.translate(table) for text in VALID[name]]
    found = [text for text in changed if text not in VALID[name]]
    assert found, "no case with a digit"
    assert not [text for text in found if FORMATS[name](text)]


@pytest.mark.parametrize("name", FORMATS)
@given(text=st.text(st.characters(), max_size=80))
@settings(max_examples=60, deadline=None)
def test_a_predicate_answers_any_text_and_never_raises(name: str, text: str) -> None:
    assert FORMATS[name](text) in {True, False}
    assert FORMATS[name](VALID[name][0] + text) in {True, False}


# --- AT-URIs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [text for text in VALID["at-uri"] if text.count("/") == 4])
def test_the_uri_of_a_record_comes_apart_and_goes_together_again(text: str) -> None:
    uri = AtUri.parse(text)
    assert str(uri) == text
    assert f"at://{uri.authority}/{uri.collection}/{uri.rkey}" == text


@pytest.mark.parametrize(
    "text", [*INVALID["at-uri"], "at://did:plc:asdf123", "at://did:plc:asdf123/a.b.c"]
)
def test_what_is_not_the_uri_of_a_record_does_not_parse(text: str) -> None:
    with pytest.raises(ValueError, match="not the AT-URI of a record"):
        AtUri.parse(text)


# --- datetimes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1985-04-12T23:20:50.123Z", datetime(1985, 4, 12, 23, 20, 50, 123_000, tzinfo=UTC)),
        ("1985-04-12T23:20:50.1Z", datetime(1985, 4, 12, 23, 20, 50, 100_000, tzinfo=UTC)),
        ("1985-04-12T23:20:50.123-07:00", datetime(1985, 4, 13, 6, 20, 50, 123_000, tzinfo=UTC)),
        ("1985-04-12T23:20:50+01:45", datetime(1985, 4, 12, 21, 35, 50, tzinfo=UTC)),
        ("0010-01-01T00:00:00+23:59", datetime(9, 12, 31, 0, 1, tzinfo=UTC)),
    ],
)
def test_a_datetime_is_read_into_utc(text: str, expected: datetime) -> None:
    assert parse_datetime(text) == expected
    assert parse_datetime(text).utcoffset() == timedelta(0)


def test_digits_beyond_microseconds_are_cut_and_not_rounded() -> None:
    nines = parse_datetime("1999-12-31T23:59:59.99999999999999999999Z")
    assert nines == datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


@pytest.mark.parametrize("text", INVALID["datetime"])
def test_what_is_no_datetime_raises_only_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"datetime|out of range|month|day|hour|minute|offset"):
        parse_datetime(text)


MOMENTS = st.datetimes(min_value=datetime(10, 1, 2), timezones=st.just(UTC))  # noqa: DTZ001 - aware by the strategy


@given(MOMENTS)
@settings(max_examples=200, deadline=None)
def test_a_moment_survives_being_written_as_microseconds_and_as_text(moment: datetime) -> None:
    assert parse_datetime(format_micros(micros(moment))) == moment


@given(MOMENTS)
@settings(max_examples=200, deadline=None)
def test_texts_of_moments_sort_as_the_moments_do(moment: datetime) -> None:
    earlier = moment - timedelta(microseconds=1)
    assert format_micros(micros(earlier)) < format_micros(micros(moment))


# --- TIDs -------------------------------------------------------------------------------------


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(2255, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - aware by the strategy
    st.integers(0, 1023),
)
@settings(max_examples=200, deadline=None)
def test_a_tid_says_the_microsecond_it_was_made_of(moment: datetime, clock: int) -> None:
    text = tid(moment, clock)
    assert FORMATS["tid"](text)
    assert tid_micros(text) == micros(moment)


def test_the_greatest_tid_still_says_a_time() -> None:
    assert tid_micros("2222222222222") == 0
    assert tid_micros("jzzzzzzzzzzzz") == 2**54 - 1


# --- CIDs -------------------------------------------------------------------------------------


@given(st.binary(min_size=32, max_size=32), st.sampled_from(["dag-cbor", "raw"]))
@settings(max_examples=100, deadline=None)
def test_a_cid_reads_as_another_implementation_writes_it(digest: bytes, codec: str) -> None:
    other = CID("base32", 1, codec, ("sha2-256", digest))
    assert cid_text(bytes(other)) == str(other)
    assert is_cid(str(other))


@pytest.mark.parametrize(
    "text",
    [
        # CIDs all of them, but the data model knows only v1, SHA-256, dag-cbor and raw, in base32.
        "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",
        "bafybeie5gq4jxvzmsym6hjlwxej4rwdoxt7wadqvmmwbqi7r27fclha2va",
        "zdj7WWeQ43G6JJvLWQWZpyHuAMq6uYWRjkBXFad11vE2LHhQ7",
        "mBcDxtdWx0aWhhc2g+",
        "z7x3CtScH765HvShXT",
        "7134036155352661643226414134664076",
        "f017012202c5f688262e0ece8569aa6f94d60aad55ca8d9d83734e4a7430d0cff6588ec2b",
    ],
)
def test_a_cid_the_data_model_does_not_bless_is_refused(text: str) -> None:
    assert not is_cid(text)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x01\x71\x12\x20" + bytes(31),
        b"\x01\x71\x12\x20" + bytes(33),
        b"\0\x01\x71\x12\x20" + bytes(31),
        b"\x02\x71\x12\x20" + bytes(32),
        b"\x01\x70\x12\x20" + bytes(32),
        b"\x01\x71\x13\x20" + bytes(32),
        b"\x01\x71\x12\x21" + bytes(32),
    ],
)
def test_binary_that_is_no_blessed_cid_has_no_text(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not a CID"):
        cid_text(raw)
