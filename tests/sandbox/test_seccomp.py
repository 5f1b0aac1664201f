"""The agent's filter of system calls, by an interpreter of its instructions: on this machine one of them alone runs."""

from __future__ import annotations

import pytest

from sandbox.agent import seccomp
from sandbox.agent.seccomp import ALLOW, EAFNOSUPPORT, ENOSYS, EPERM, MACHINES, program

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def verdict(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the filter gives for a system call."""
    words = {0: number, 4: ARCHITECTURES[machine] if architecture is None else architecture}
    for place, value in enumerate((*arguments, *[0] * (6 - len(arguments)))):
        words |= {16 + 8 * place: value & 0xFFFFFFFF, 20 + 8 * place: value >> 32}
    lines, at, word = program(machine), 0, 0
    while True:
        code, holds, fails, operand = lines[at]
        at += 1
        if code == seccomp.LOAD:
            word = words[operand]
        elif code == seccomp.GIVE:
            return operand
        else:
            true = {
                seccomp.EQUAL: word == operand,
                seccomp.AT_LEAST: word >= operand,
                seccomp.ANY_BIT: bool(word & operand),
            }[code]
            at += holds if true else fails


@pytest.mark.parametrize(
    ("machine", "clone", "personality", "socket", "ioctl"),
    [("x86_64", 56, 135, 41, 16), ("aarch64", 220, 92, 198, 29)],
)
def test_filter_when_a_call_is_allowed_or_not_by_an_argument_then_looks_at_its_lower_half(
    machine: str, clone: int, personality: int, socket: int, ioctl: int
) -> None:
    fork, thread, high = 0x1200011, 0x3D0F00, 1 << 40
    assert [verdict(machine, clone, flags) for flags in (fork, thread, fork | high)] == [ALLOW] * 3
    for bit in (17, 25, 26, 27, 28, 29, 30):  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
        assert verdict(machine, clone, fork | 1 << bit) == EPERM
    assert [verdict(machine, personality, kind) for kind in (0, 8, 0xFFFFFFFF)] == [ALLOW] * 3
    assert verdict(machine, personality, 0x0040000) == EPERM
    assert [verdict(machine, socket, family) for family in (1, 2, 10, 16)] == [ALLOW] * 4
    assert [verdict(machine, socket, family) for family in (0, 3, 17, 38, 40, 45)] == [EAFNOSUPPORT] * 6
    assert [verdict(machine, ioctl, 0, request) for request in (0x5401, 0x5412, 0x541C)] == [ALLOW, EPERM, EPERM]


@pytest.mark.parametrize("machine", MACHINES)
def test_filter_when_a_call_is_refused_then_by_its_own_number(machine: str) -> None:
    place = MACHINES[machine][0]
    numbers = {int(entry.split(":")[1 + place] or -1) for entry in seccomp.REFUSED.split()} - {-1}
    assert {number for number in range(seccomp.FIRST_UNKNOWN) if verdict(machine, number) == EPERM} == numbers
    assert [verdict(machine, number) for number in (435, 451, 1000, 0x40000000)] == [ENOSYS] * 4
    assert verdict(machine, 0, architecture=0x40000003) == EPERM  # of 32 bits, where numbers mean other calls
