from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import UsageError
from models import keys

KEY = "sk-proj-A1b2C3d4E5f6G7h8wxyz"


def test_setting_when_in_the_environment_and_in_dotenv_then_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text("A_SETTING=file\nANOTHER=other\n")
    monkeypatch.setenv("A_SETTING", " environment\n")
    assert keys.setting("A_SETTING") == "environment"
    assert keys.setting("ANOTHER") == "other"


def test_setting_when_blank_in_the_environment_then_dotenv_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("A_SETTING='file ${HOME}'\n")
    monkeypatch.setenv("A_SETTING", "")
    assert keys.setting("A_SETTING") == "file ${HOME}"


def test_setting_when_nowhere_then_none() -> None:
    assert keys.setting("A_SETTING") is None


def test_setting_when_dotenv_cannot_be_read_then_says_so() -> None:
    Path(".env").write_bytes(b"A=\xff\xfe\n")
    with pytest.raises(UsageError, match=r"\.env cannot be read .*: mend or remove it"):
        keys.setting("A_SETTING")


@pytest.mark.parametrize("value", ["sk-two\nlines", "sk-pro\u2026", "two words"])
def test_secret_when_no_header_can_carry_it_then_names_the_variable_and_not_the_key(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("A_KEY", value)
    with pytest.raises(UsageError, match="A_KEY holds a character") as caught:
        keys.secret("A_KEY")
    assert value not in str(caught.value)


def test_scrub_when_a_key_was_handed_out_then_removes_it_whole_and_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    assert keys.scrub(f"key {KEY}") == f"key {KEY}"
    assert keys.secret("A_KEY") == KEY
    said = keys.scrub(f"wrong key: {KEY}, that is {KEY[:8]}****{KEY[-4:]} or {KEY[:6]}...{KEY[-3:]} or {KEY[:7]}***.")
    assert said == "wrong key: [key], that is [key] or [key] or [key]."


def test_hide_when_there_is_nothing_to_hide_then_texts_stay_as_they_are() -> None:
    keys.hide("")
    assert keys.scrub("text") == "text"


def test_scrub_when_a_text_holds_no_key_then_is_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    keys.secret("A_KEY")
    text = "sk-p is short... 2 ** 3, skipped"
    assert keys.scrub(text) == text
