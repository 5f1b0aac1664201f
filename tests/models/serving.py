"""A model server that is not ours: the one that comes with the transformers library."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.models import tiny

NAME, COMMIT = "maker/tiny", "0123456789abcdef0123456789abcdef01234567"
SERVE = "from transformers.cli.transformers import main; main()"


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """The address of a server of a tiny model, which it finds in a cache of the hub, made in `home`."""
    repository = home / "hub" / "models--maker--tiny"
    tiny.checkpoint(repository / "snapshots" / COMMIT, chat_template=tiny.WITH_BOS, context=2048)
    (repository / "blobs").mkdir()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    outer = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, "serve", "--host", "127.0.0.1", "--port", "0", "--device", "cpu"],
        env={**outer, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stderr is not None
        # One that never answers is ended, which ends the reading of what it says.
        patience = threading.Timer(180, server.kill)
        patience.start()
        # What it says later is read on, so that it never waits for a reader.
        reader = threading.Thread(target=server.stderr.read)
        try:
            listening = _listening(server.stderr)
            reader.start()
            yield f"{listening}/v1"
        finally:
            patience.cancel()
            server.terminate()
            if reader.ident is not None:
                reader.join(30)


def _listening(said: Iterable[str]) -> str:
    """Where a server says that it listens."""
    lines: list[str] = []
    for line in said:
        lines.append(line)
        if found := re.search(r"running on (http://\S+)", line):
            return found[1]
    pytest.fail("the server did not start; it says: " + "".join(lines[-20:]))
