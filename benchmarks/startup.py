"""`python -m benchmarks.startup`: what it costs to start the command line, beside Python itself and Click alone."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROUNDS = 21
COMMANDS = {
    "python": ["-c", "pass"],
    "click": ["-c", "import click"],
    "help": ["-m", "runners.unified", "--help"],
}


def main() -> None:
    """Run each command in turn, `ROUNDS` times; medians in seconds, and as multiples of Python's own start."""
    root = Path(__file__).resolve().parent.parent
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, words in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *words], cwd=root, stdout=subprocess.DEVNULL, check=True)
            times[name].append(time.perf_counter() - start)
    seconds = {name: median(each) for name, each in times.items()}
    ratios = {name: round(value / seconds["python"], 2) for name, value in seconds.items()}
    print(json.dumps({"seconds": seconds, "times_python": ratios, "python": platform.python_version()}))


if __name__ == "__main__":
    main()
