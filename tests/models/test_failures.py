from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from core.errors import GenerationError, UsageError
from models.failures import Transient, failure, retry_after_s, words


def test_retry_after_when_seconds_or_a_date_then_seconds_from_now() -> None:
    assert retry_after_s("1.5") == 1.5
    assert retry_after_s("-3") == 0
    later = retry_after_s(format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True))
    assert later is not None and 90 < later <= 100
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0


@pytest.mark.parametrize("value", [None, "", "soon", "nan", "inf"])
def test_retry_after_when_it_says_nothing_of_use_then_none(value: str | None) -> None:
    assert retry_after_s(value) is None


@pytest.mark.parametrize(
    ("status", "kind", "mend"),
    [
        (400, GenerationError, ""),
        (422, GenerationError, ""),
        (401, UsageError, "set THE_KEY"),
        (402, UsageError, "add credit"),
        (403, UsageError, "set THE_KEY"),
        (404, UsageError, "model's name is right, and THE_URL"),
        (408, Transient, ""),
        (409, Transient, ""),
        (429, Transient, ""),
        (500, Transient, ""),
        (529, Transient, ""),
    ],
)
def test_failure_when_a_status_came_then_is_as_final_as_that_status(status: int, kind: type, mend: str) -> None:
    error = failure(status, "said", key="THE_KEY", address="THE_URL")
    assert type(error) is kind
    assert str(error).startswith("said") and mend in str(error)


def test_words_when_an_error_has_causes_then_says_them_all_on_one_line() -> None:
    error = OSError("Connection\n error.")
    error.__cause__ = ConnectionError("refused")
    assert words(error) == "Connection error.: refused"


def test_words_when_an_error_is_long_then_is_short() -> None:
    assert len(words(OSError("x" * 10_000))) == 501


def test_words_when_an_error_says_nothing_then_is_its_kind() -> None:
    assert words(TimeoutError()) == "TimeoutError"


@pytest.mark.parametrize(("status", "throttled"), [(429, True), (529, True), (503, False), (500, False), (408, False)])
def test_failure_when_too_much_was_asked_then_says_so(status: int, throttled: bool) -> None:
    error = failure(status, "said", key="K", address="A", retry_after_s=3)
    assert isinstance(error, Transient)
    assert (error.throttled, error.retry_after_s) == (throttled, 3)
