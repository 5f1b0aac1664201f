"""Bare fork and exec: what no evaluator that gives each sample a process of its own can beat on this machine.

Run by `python3 -I -S -c`, so that the parent holds next to nothing. No limits, no time-outs, nothing isolated, and a
pass is an exit status of 0: this is a yardstick, not an evaluator. Standard input holds the number of children at a
time and the programs, each a length (4 bytes, big-endian) and as many bytes of UTF-8.
"""

import gc
import os
import sys
import time

PRELOADED = ("typing", "random", "math", "copy", "string")
"""What the programs import most; imported in every child, it would cost more than all the rest."""


def main() -> None:
    """Judge what comes."""
    data = sys.stdin.buffer.read()
    at_once, position = int.from_bytes(data[:4], "big"), 4
    programs = []
    while position < len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        programs.append(data[position + 4 : position + 4 + size])
        position += 4 + size
    del data
    sys.path.append("/usr/lib/python3/dist-packages")  # where the image has its packages; -S leaves it out
    for name in PRELOADED:
        __import__(name)
    null = os.open("/dev/null", os.O_RDWR)
    gc.collect()
    gc.freeze()
    passed = [False] * len(programs)
    running: dict[int, int] = {}
    start = time.monotonic()
    for number, program in enumerate(programs):
        if len(running) == at_once:
            reap(running, passed)
        pid = os.fork()
        if pid == 0:
            run(program, null)
        running[pid] = number
    while running:
        reap(running, passed)
    seconds = time.monotonic() - start
    print(f'{{"seconds": {seconds}, "passed": {str(passed).lower()}}}')


def run(program: bytes, null: int) -> None:
    """The child."""
    code = 1
    try:
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        exec(compile(program, "program.py", "exec"), {"__name__": "__main__"})
        code = 0
    finally:
        os._exit(code)


def reap(running: dict[int, int], passed: list[bool]) -> None:
    """Wait for a child."""
    pid, status = os.wait()
    passed[running.pop(pid)] = status == 0


main()
