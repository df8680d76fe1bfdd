"""Licenses against the SPDX list: a hint, never a refusal, for the list is a preference."""

from typing import Any

import atdata
import pytest

from atdata_client._records.lexicon import changed_record
from atdata_client._records.license import is_spdx, spdx_hint
from atdata_client.dataset import dataset_record

SCHEMA = "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.atdata.schema/3aaaaaaaaaaaa"


def record(license: str | None) -> dict[str, Any]:
    dataset: Any = atdata.Dataset("https://data.example.com/x.tar")
    return dataset_record(dataset, name="x", schema_uri=SCHEMA, license=license)


@pytest.mark.parametrize(
    "license",
    [
        "MIT",
        "CC-BY-4.0",
        "MIT OR Apache-2.0",
        "GPL-2.0-only WITH Classpath-exception-2.0",
        "LicenseRef-hospital",
    ],
)
def test_an_spdx_expression_passes_without_a_word(license: str) -> None:
    assert is_spdx(license)
    assert record(license)["license"] == license


@pytest.mark.parametrize(
    ("license", "meant"),
    [
        ("mit", "MIT"),
        ("MIT License", "MIT"),
        ("Apache 2.0", "Apache-2.0"),
        ("apache2", "Apache-2.0"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("CC BY 4.0", "CC-BY-4.0"),
        ("cc_by_sa_4.0", "CC-BY-SA-4.0"),
        ("cc-by", "CC-BY-4.0"),
        ("CC0", "CC0-1.0"),
        ("public domain", "CC0-1.0"),
        ("GPLv3", "GPL-3.0-only"),
        ("BSD 3 clause", "BSD-3-Clause"),
        ("odbl", "ODbL-1.0"),
    ],
)
def test_what_is_not_on_the_list_is_published_as_written_with_a_hint(
    license: str, meant: str
) -> None:
    with pytest.warns(UserWarning, match=f"not an SPDX identifier: did you mean '{meant}'") as said:
        assert record(license)["license"] == license
    assert said[0].filename == __file__


@pytest.mark.parametrize("license", ["ask me", "hospital use only", "foo OR bar", "(", "\u0000"])
def test_nothing_is_made_up_where_nothing_comes_close(license: str) -> None:
    assert spdx_hint(license) is None
    assert not is_spdx(license)


def test_one_of_ones_own_is_told_how_to_be_written() -> None:
    with pytest.warns(UserWarning, match="one of your own is 'LicenseRef-"):
        record("ask me")


@pytest.mark.parametrize("license", [None, ""])
def test_no_license_is_no_matter(license: str | None) -> None:
    assert "license" not in record(license)


def test_a_changed_license_is_looked_at_as_well() -> None:
    before = record("MIT")
    with pytest.warns(UserWarning, match="did you mean 'CC-BY-4.0'"):
        assert changed_record(before, {"license": "CC BY 4.0"})["license"] == "CC BY 4.0"
