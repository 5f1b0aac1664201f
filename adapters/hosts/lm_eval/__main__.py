"""`python -m adapters.hosts.lm_eval FD`: lm-eval's evaluation, asked for and answered over a line."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from adapters.hosts.wire import Line, Refused, host
from core.imports import lean


def prepare() -> None:
    """Import lm-eval, while nothing is known of what it is to do."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with lean("chardet"):
        import lm_eval.evaluator
    # A template is compiled once, and not for each document anew: the same texts in a quarter of the time.
    environment = lm_eval.utils.env
    environment.from_string = cache(environment.from_string)


def run(line: Line, job: Mapping[str, Any]) -> None:
    """Evaluate. The job is what `adapters.lm_eval` sends first, and how it is put comes second. Raises Refused."""
    from lm_eval import evaluator

    from adapters.hosts.data import Data
    from adapters.hosts.lm_eval.bridge import Bridge, Questions
    from adapters.hosts.lm_eval.code import Verdicts, install
    from adapters.hosts.lm_eval.results import tell_results
    from adapters.hosts.lm_eval.tasks import Tasks
    from adapters.hosts.lm_eval.watched import Watched

    logging.getLogger("lm_eval").addHandler(_Warnings(line))
    data, verdicts = Data(job["datasets"], job["num_fewshot"]), Verdicts()
    data.install()
    tasks = Tasks(Path(job["index"]), job["include"], data)
    metric = install(verdicts, lambda: tasks.doing)
    bridge = Bridge()
    whole = evaluator.evaluate

    def evaluate(lm: Any, task_dict: Any, **settings: Any) -> Any:
        """lm-eval's own, once every setting is in effect: what it is about to do is told first."""
        for unused in sorted({*job["datasets"]} - data.used):
            raise Refused(f"--dataset {unused}=…: no task of this run takes its data from '{unused}'")
        put = line.reply(PUT)
        bridge.questions = questions = Questions(line, prefill=put["prefill"], references=put["references"])
        watched = [Watched(task, line, questions, metric, verdicts) for task in task_dict["tasks"].values()]
        for each in watched:
            if put["repeats"] is not None:
                each.task.set_config("repeats", put["repeats"])
            bridge.tasks[each.name] = each.task
        with _same_chance():
            line.tell({"loaded": [each.description(settings["limit"]) for each in watched]})
        for each in watched:
            each.install()
        return whole(lm, task_dict, **{**settings, "apply_chat_template": put["chat"]})

    evaluator.evaluate = evaluate
    # What these find out about this process and its machine is in the run's manifest, and takes seconds.
    evaluator.add_env_info = lambda _: None
    evaluator.get_git_commit_hash = lambda: None
    try:
        results = evaluator.simple_evaluate(
            model=bridge,
            tasks=list(job["tasks"]),
            num_fewshot=job["num_fewshot"],
            limit=job["limit"],
            gen_kwargs=dict(job["generation"]) or None,
            system_instruction=job["system_prompt"],
            fewshot_as_multiturn=job["multiturn"],
            task_manager=tasks,
            confirm_run_unsafe_code=True,
            # No tensor is made here: seeding it would import torch.
            torch_random_seed=None,
        )
    except Exception as error:
        logging.getLogger(__name__).exception("lm-eval failed")
        raise Refused(f"lm-eval failed: {type(error).__name__}: {' '.join(str(error).split())[:500]}") from error
    tell_results(line, results)


@contextmanager
def _same_chance() -> Iterator[None]:
    """Within, whatever draws random numbers takes none from what follows: some tasks shuffle whenever they are read."""
    import random

    import numpy as np

    states = random.getstate(), np.random.get_state()
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])


class _Warnings(logging.Handler):
    """Hands on what lm-eval warns of, each thing once."""

    def __init__(self, line: Line) -> None:
        super().__init__(logging.WARNING)
        self._line, self._said = line, set[str]()

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())[:500]
        if text not in self._said and not any(text.startswith(known) for known in EXPECTED):
            self._said.add(text)
            self._line.tell({"say": text})


PUT = 0
"""The number under which it comes how the questions are put."""
EXPECTED = (
    "generation_kwargs:",  # that the settings of the command line are in effect
    "Overwriting default num_fewshot",
)
"""Warnings of what the user has asked for."""

if __name__ == "__main__":
    host(run, prepare)
