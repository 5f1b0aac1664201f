"""The candidate's process where a program is to run: lays out its files, then becomes it, or waits for a compiler."""

from __future__ import annotations

import os
from typing import Any, NoReturn

from sandbox.agent.frames import dumps, send

FOLDER = "/tmp/program"
"""Where programs are laid, and start."""
CANNOT_RUN = 126
"""The exit status where a program cannot be run, as a shell has it."""
Listing = list[tuple[str, int, int]]
"""Of each file: its path below `FOLDER`, its mode, and its size in bytes."""


def run(program: dict[str, Any], payload: bytes, reply: int) -> NoReturn:
    """Become a program; or, where what it makes is to be kept, wait for it and send that. Ends the process.

    payload: what was kept of an earlier one. reply: takes what is kept, or the news that the image lacks the program: a
    frame, and the content of files after it. No program inherits it.
    """
    _lay(program["files"], payload)
    argv, environment = program["argv"], program["environment"]
    try:
        if not program["keep"]:
            os.execvpe(argv[0], argv, environment)
        path = next(filter(os.path.exists, (f"{part}/{argv[0]}" for part in environment["PATH"].split(":"))), argv[0])
        pid = os.posix_spawn(path, argv, environment)
    except OSError as error:
        said = f"{argv[0]}: {error.strerror}"
        if "/" in argv[0]:  # it has been compiled: that it cannot be run is its own doing
            os.write(2, f"{said}\n".encode())
        else:
            send(reply, dumps({"missing": said}).encode("ascii"))
        os._exit(CANNOT_RUN)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        send(reply, *_kept(program["files"]))
    os._exit(code if code >= 0 else 128 - code)


def _lay(files: dict[str, str], payload: bytes) -> None:
    """Write a program's files, and those that were kept."""
    os.mkdir(FOLDER)
    os.chdir(FOLDER)
    for path, text in files.items():
        _write(path, 0o644, text.encode("utf-8", "surrogatepass"))
    if not payload:
        return
    import json

    start = 4 + int.from_bytes(payload[:4], "big")
    for path, mode, size in json.loads(payload[4:start]):
        _write(path, mode, payload[start : start + size])
        start += size


def _write(path: str, mode: int, content: bytes) -> None:
    if "/" in path:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, mode & 0o777)) as file:
        file.write(content)


def _kept(given: dict[str, str]) -> list[bytes]:
    """What has been made: a listing, and the files' contents."""
    listing: Listing = []
    contents = []
    for folder, _, names in os.walk("."):
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name))
            if path not in given and os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    contents.append(file.read())
                listing.append((path, os.stat(path).st_mode, len(contents[-1])))
    return [dumps(listing).encode("ascii"), *contents]
