"""User namespaces in which there are 65,536 users, none of whom is anybody on the host."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from core.errors import SandboxUnavailable

COUNT = 65_536
BASE = 0x70000000
"""Where root's start on the host: beyond what systemd's UIDS-GIDS.md assigns to anybody."""


def namespace() -> int:
    """A descriptor of a new one: its root owns nothing outside, and no further one can be made in it.

    Made by an ordinary user, that user is its root. Raises SandboxUnavailable with the command that mends it.
    """
    command = ["unshare", "--user", "sh", "-c", "echo; read line"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stderr is not None
        if not holder.stdout.readline():
            said = holder.stderr.read().decode("utf-8", "replace").strip()
            raise SandboxUnavailable(
                f"the kernel gives no user namespace ({said}): as root, `sysctl -w user.max_user_namespaces=10000 "
                "kernel.unprivileged_userns_clone=1`; in a container, run that one with `--privileged`"
            )
        _map(holder.pid)
        found = os.open(f"/proc/{holder.pid}/ns/user", os.O_RDONLY)
        holder.stdin.close()
    # For good measure: the filter of system calls does not let candidates make one either.
    limit = "echo 0 >/proc/sys/user/max_user_namespaces"
    subprocess.run([*entered(found), "sh", "-c", limit], pass_fds=(found,), capture_output=True, check=False)
    return found


def entered(namespace: int) -> list[str]:
    """What makes a command run as root of a namespace. The descriptor must be one of this process's."""
    return ["nsenter", f"--user=/proc/{os.getpid()}/fd/{namespace}"]


def _map(pid: int) -> None:
    """Say who on the host the users of a process's namespace are."""
    if os.geteuid() == 0:
        try:
            for kind in ("uid", "gid"):
                Path(f"/proc/{pid}/{kind}_map").write_text(f"0 {BASE} {COUNT}\n")
        except OSError as error:
            raise SandboxUnavailable(
                f"no users of its own can be had for the sandbox ({error.strerror}): in a container, run that one "
                "with `--privileged` and without a user namespace"
            ) from error
        return
    name = pwd.getpwuid(os.geteuid()).pw_name
    for kind, own in (("uid", os.geteuid()), ("gid", os.getegid())):
        tool = f"new{kind}map"
        if shutil.which(tool) is None:
            raise SandboxUnavailable(f"{tool} is missing: as root, `apt-get install -y uidmap`")
        first = _first(Path(f"/etc/sub{kind}"), name, os.geteuid())
        command = [tool, str(pid), "0", str(own), "1", "1", str(first), str(COUNT - 1)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SandboxUnavailable(f"no users of its own can be had for the sandbox: {done.stderr.strip()}")


def _first(file: Path, name: str, uid: int) -> int:
    """The first of enough ids that a user may map: subuid(5). Raises SandboxUnavailable."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        whose, _, span = line.partition(":")
        first, _, count = span.partition(":")
        if whose in (name, str(uid)) and count.isdigit() and int(count) >= COUNT - 1:
            return int(first)
    raise SandboxUnavailable(
        f"{file} gives {name} fewer than {COUNT - 1:,} users, which the sandbox needs: as root, "
        f"`usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}`, or run as root"
    )
