"""How far a run is, on a terminal and elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from core.types import Sample, SampleKey, Status, Verdict
from runners import progress
from runners.progress import EVERY_S, Display, Tally


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def sample(status=Status.PASSED):
    return Sample(SampleKey("s", "a", 0, 0), Verdict(status), "", None)


def test_tally_when_there_is_no_terminal_then_a_line_comes_every_so_often(clock):
    said: list[str] = []
    with Display() as display:
        tally = Tally(display, "openai/m", 1000, 0, said.append)
        for _ in range(60):
            clock.now += EVERY_S / 20
            tally.done(sample())
    assert len(said) == 3
    assert said[0] == "openai/m: 20/1,000 done, 490 s left, 2.0/s, 100.0 % passed: passed 20"


def test_tally_when_a_run_goes_on_then_what_was_done_before_counts_but_not_in_its_rate(clock):
    with Display() as display:
        tally = Tally(display, "m", 100, 60, print)
        clock.now += 10
        for status in (Status.PASSED, Status.FAILED, Status.FAILED, Status.GENERATION_ERROR):
            tally.done(sample(status))
    assert tally.line() == "m: 64/100 done, 90 s left, 0.4/s, 33.3 % passed: passed 1, failed 2, generation_error 1"


def test_tally_when_nothing_is_done_then_nothing_is_guessed(clock):
    with Display() as display:
        assert Tally(display, "m", 5, 0, print).line() == "m: 0/5 done, 0.0/s, none graded yet"


def test_display_when_there_is_a_terminal_then_each_run_has_a_line_and_none_is_said(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    said: list[str] = []
    with Display() as display:
        for title in ("openai/m", "ollama/m"):
            tally = Tally(display, title, 4, 1, said.append)
            tally.done(sample())
        display.live.refresh()
        screen = terminal.getvalue()
    assert said == []
    for words in ("openai/m", "ollama/m", "2/4", "100.0 % passed: passed 1"):
        assert words in screen
