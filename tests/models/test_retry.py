from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from core.errors import GenerationError, UsageError
from core.types import Completion
from models.retry import Retry, Transient, failure, retry_after_s, words


async def test_run_when_requests_fail_at_first_then_counts_them_all() -> None:
    faults: list[GenerationError] = [Transient("a"), Transient("b")]

    async def attempt() -> Completion:
        if faults:
            raise faults.pop()
        return Completion("x")

    assert (await Retry(first_s=0).run(attempt)).tries == 3


async def test_run_when_every_request_fails_then_gives_up_with_the_last_failure_and_the_count() -> None:
    async def attempt() -> Completion:
        raise Transient("busy")

    with pytest.raises(GenerationError, match="busy") as caught:
        await Retry(tries=4, first_s=0).run(attempt)
    assert caught.value.tries == 4


@pytest.mark.parametrize("fault", [GenerationError("no"), UsageError("no")])
async def test_run_when_another_request_would_not_help_then_makes_none(fault: Exception) -> None:
    made = 0

    async def attempt() -> Completion:
        nonlocal made
        made += 1
        raise fault

    with pytest.raises(type(fault)):
        await Retry(first_s=0).run(attempt)
    assert made == 1


def test_wait_when_the_server_asks_for_none_then_doubles_up_to_the_longest_less_up_to_a_half() -> None:
    retry = Retry(tries=5000, first_s=1, longest_s=8)
    for tries, full in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (4999, 8)]:
        waits = {retry.wait_s(tries, Transient("")) for _ in range(20)}
        assert all(wait is not None and full / 2 <= wait <= full for wait in waits)
        assert len(waits) > 1


def test_wait_when_the_server_asks_for_one_then_is_that_unless_patience_ends() -> None:
    retry = Retry(patience_s=60)
    assert retry.wait_s(1, Transient("", retry_after_s=60)) == 60
    assert retry.wait_s(1, Transient("", retry_after_s=61)) is None


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
