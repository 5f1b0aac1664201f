"""`python -m adapters.hosts.bigcode FD HOME FOLDER`: the harness's evaluation, asked for and answered over a line."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapters.hosts.bigcode import rows
from adapters.hosts.wire import LEFT, Line, Refused, host


def prepare() -> None:
    """Import the harness, in an empty folder of this process's own that is made to look to it like its checkout."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    # What would have it run generated code. It must not, and if it were about to, it would refuse.
    os.environ.pop("HF_ALLOW_CODE_EVAL", None)
    home, folder = Path(sys.argv[2]), sys.argv[3]
    LEFT.append(Path(folder))
    # It reads its examples from the working directory, writes logs there, and takes every file of earlier runs in the
    # temporary folder for its own.
    tempfile.tempdir = folder
    os.chdir(folder)
    (Path(folder) / "bigcode_eval").symlink_to(home / "bigcode_eval")
    sys.path.insert(0, str(home))
    warnings.simplefilter("ignore")


def run(line: Line, job: Mapping[str, Any]) -> None:
    """Evaluate. The job is what `adapters.bigcode` sends first, and how it is put comes second. Raises Refused."""
    from adapters.hosts.bigcode import execution
    from adapters.hosts.bigcode.asked import Asked
    from adapters.hosts.bigcode.registry import make, module_of, tasks
    from adapters.hosts.data import Data, first_line

    data = Data(job["datasets"], None)
    data.stand_in(rows.read)

    def execute(programs: execution.Programs, language: str, timeout: float | None) -> list[list[bool | None]]:
        return Asked.at_work.run(programs, language, timeout)

    execution.install(execute)
    known, asked = tasks(), []
    execution.hook(execute)
    for name in job["tasks"]:
        data.task = {"task": name, "test_split": SPLITS.get(module_of(known[name]), "test")}
        try:
            made = make(known[name], job["prompt"], job["descriptions"])
            asked.append(Asked(name, made, line, job))
        except Exception as error:
            raise Refused(
                f"BigCode's task '{name}' cannot be loaded: {type(error).__name__}: {first_line(error)}"
            ) from error
    for unused in sorted({*job["datasets"]} - data.used):
        raise Refused(f"--dataset {unused}=…: no task of this run takes its data from '{unused}'")
    put = line.reply(PUT)
    for each in asked:
        each.put(put)
    line.tell({"loaded": [each.description() for each in asked]})
    for step in (Asked.ask, Asked.evaluate):
        for each in asked:
            try:
                step(each)
            except Exception as error:
                logging.getLogger(__name__).exception("BigCode failed")
                why = f"{type(error).__name__}: {first_line(error)}"
                raise Refused(f"BigCode's task '{each.name}' failed: {why}") from error


PUT = 0
"""The number under which it comes how the questions are put."""
SPLITS = {"concode": "validation", "python_bugs": "train", "quixbugs": "train", "santacoder_fim": "train"}
"""What part of their data the tasks of some modules evaluate on, where it is not `test`."""

if __name__ == "__main__":
    host(run, prepare)
