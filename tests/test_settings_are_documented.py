"""Every setting stands in docs/settings.md with its variable, default and meaning, in order."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from atdata_indexer.settings import Settings

PAGE = (Path(__file__).parents[1] / "docs" / "settings.md").read_text("utf-8")


def test_the_page_lists_every_setting_and_no_other() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `ATDATA_APPVIEW_")]
    wanted = []
    for name, field in Settings.model_fields.items():
        default = "unset" if field.default is None else f"`{field.default}`"
        wanted.append(f"| `{Settings.variable(name)}` | {default} | {field.description} |")
    assert rows == wanted


def test_settings_are_read_once_and_then_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATDATA_APPVIEW_PORT", "8123")
    settings = Settings()
    assert settings.port == 8123
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1  # type: ignore[misc]  # what the test is about


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ATDATA_APPVIEW_PORT", "70000"),
        ("ATDATA_APPVIEW_RELAY", "https://relay.example"),
        ("ATDATA_APPVIEW_MEMORY_LIMIT", "2 GB'; DROP"),
        ("ATDATA_APPVIEW_LOG_LEVEL", "loud"),
        ("ATDATA_APPVIEW_FIRST_CURSOR", "-1"),
    ],
)
def test_a_bad_value_is_refused_by_name_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValidationError, match=variable.removeprefix("ATDATA_APPVIEW_").lower()):
        Settings()
