"""A harness in a process of its own: what it says, refuses and prints, and how it ends."""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import hosted
from adapters.frames import HEAD, packed, unpacked
from adapters.hosted import KEPT_LINES, Hosted
from core.errors import HostError, UsageError

MODULE = """\
import os, signal, sys, time
from adapters.hosts.wire import Refused, host

def prepare():
    {prepare}

def run(line, job):
    {run}

host(run, prepare)
"""
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.fixture
def process(tmp_path, monkeypatch):
    """Starts a harness whose work is some statements, with a job."""
    monkeypatch.syspath_prepend(tmp_path)

    @contextmanager
    def start(*run, prepare="pass", job=None):
        text = MODULE.format(prepare=prepare, run="\n    ".join(run))
        (tmp_path / "a_harness.py").write_text(text)
        made = Hosted("a_harness", "a harness", job or {})
        try:
            yield made
        finally:
            made.close()
            assert made._process.returncode is not None

    return start


@given(VALUES)
def test_frames_when_they_are_read_again_then_they_hold_what_was_said(value):
    frame = packed(value)
    assert HEAD.unpack(frame[: HEAD.size]) == (len(frame) - HEAD.size,)
    assert unpacked(frame[HEAD.size :]) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_frames_when_json_has_no_word_for_a_value_then_it_is_refused(value):
    with pytest.raises((ValueError, TypeError)):
        packed([value])


def test_frames_when_half_a_character_is_said_then_it_arrives():
    assert unpacked(packed("\ud800")[HEAD.size :]) == "\ud800"


async def test_host_when_it_asks_then_answers_reach_it_in_any_order_and_it_comes_to_its_end(process):
    asks = "a = line.ask({'ask': 1}); b = line.ask({'ask': 2})"
    with process(asks, "line.tell({'got': [line.reply(a), line.reply(b), job]})", job={"n": 1}) as harness:
        first, second = await harness.receive(), await harness.receive()
        assert (first["ask"], second["ask"]) == (1, 2)
        await harness.send({"id": second["id"], "text": "b"})
        await harness.send({"id": first["id"], "text": "\ud800"})
        got = (await harness.receive())["got"]
        assert [got[0]["text"], got[1]["text"], got[2]] == ["\ud800", "b", {"n": 1}]
        assert await harness.receive() is None


async def test_host_when_it_prints_much_and_says_much_then_nothing_blocks(process):
    with process("print('x' * (8 << 20), flush=True)", "line.tell({'say': 'y' * (8 << 20)})") as harness:
        async with asyncio.timeout(60):
            assert len((await harness.receive())["say"]) == 8 << 20
            assert await harness.receive() is None


@pytest.mark.parametrize(("kind", "error"), [("usage", UsageError), ("host", HostError)])
@pytest.mark.parametrize("where", ["run", "prepare"])
async def test_host_when_it_refuses_then_its_words_are_the_error(process, kind, error, where):
    words = f"raise Refused('not this: mend it', {kind!r})"
    with process(words if where == "run" else "pass", prepare=words if where == "prepare" else "pass") as harness:
        with pytest.raises(error) as refused:
            await harness.receive()
        assert (type(refused.value), str(refused.value)) == (error, "not this: mend it")


async def test_host_when_a_harness_swallows_errors_then_a_refusal_still_ends_it(process):
    with (
        process("try: raise Refused('no')", "except Exception: line.tell({'say': 'on'})") as harness,
        pytest.raises(UsageError, match=r"^no$"),
    ):
        await harness.receive()


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("os._exit(3)", "3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "-9"),
        ("raise ArithmeticError('out of order')", "1"),
    ],
)
async def test_host_when_it_dies_then_its_last_lines_are_said_on_one(process, end, code):
    with process("print(*range(100), sep='\\n', flush=True)", end) as harness:
        with pytest.raises(HostError) as died:
            await harness.receive()
        with pytest.raises(HostError, match=f"ended before its work was done .exit {code}.: "):
            for _ in range(3):
                await harness.send({"id": 1})
    said = str(died.value)
    assert said.startswith(f"a harness ended before its work was done (exit {code}): ") and "\n" not in said
    last = said.partition("): ")[2].split(" | ")
    assert len(last) == KEPT_LINES
    assert last[-1] == ("ArithmeticError: out of order" if code == "1" else "99")


async def test_host_when_there_is_no_such_module_then_that_is_said():
    harness = Hosted("nowhere_at_all", "a harness", {})
    try:
        with pytest.raises(HostError, match="No module named nowhere_at_all"):
            await harness.receive()
    finally:
        harness.close()


async def test_close_when_the_process_does_not_listen_then_it_is_killed(process, monkeypatch):
    monkeypatch.setattr(hosted, "ENDS_S", 0.1)
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)", "os._exit = lambda _: time.sleep(600)"
    with process(*deaf, "line.tell({'say': 'here'})", "time.sleep(600)") as harness:
        assert await harness.receive() == {"say": "here"}
        harness.close()
        assert harness._process.returncode == -9
        harness.close()  # once more, which does nothing


async def test_host_when_nobody_is_there_any_more_then_it_ends_by_itself(process):
    with process("line.reply(line.ask({'ask': 1}))") as harness:
        await harness.receive()
        harness._writer.close()
        assert await asyncio.to_thread(harness._process.wait, 60) == 1


def test_host_when_it_is_never_asked_then_it_can_be_closed(process):
    with process("time.sleep(600)"):
        pass


async def test_host_when_it_runs_then_it_finds_what_this_process_finds(process):
    with process("line.tell({'path': sys.path})") as harness:
        assert {*filter(None, sys.path)} <= {*(await harness.receive())["path"]}
