"""What this host offers for a sandbox, and the command that mends what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

from core.errors import SandboxUnavailable
from runners.doctor import SPACE_BYTES, Finding

DELEGATE = (
    "the engine is rootless: give it the controllers with `systemctl edit user@.service`, "
    "`[Service]` and `Delegate=cpu cpuset io memory pids`, and log in again"
)
BOOT_MEMORY = (
    "boot with `cgroup_enable=memory swapaccount=1`: in GRUB_CMDLINE_LINUX of /etc/default/grub, then `update-grub` "
    "and `reboot`"
)
BWRAP = ("bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true")
"""What a host can do on which bubblewrap works."""


def host(sandbox: str = "docker", runtime: str | None = None) -> Iterator[Finding]:
    """Look at what a sandbox is made of. What the one called `sandbox` can do without is never wrong.

    runtime: the engine's runtime that is asked for, if any. Raises nothing for what is missing.
    """
    yield from _engine(sandbox == "docker", runtime)
    yield _bubblewrap(sandbox == "bubblewrap")
    yield _mmdebstrap()


def _engine(needed: bool, runtime: str | None) -> Iterator[Finding]:
    from docker.errors import DockerException

    from sandbox import engine

    bad = False if needed else None
    try:
        client = engine.connect()
    except SandboxUnavailable as error:
        yield Finding("engine", bad, str(error))
        return
    try:
        info = client.info()
        yield Finding("engine", True, _engine_words(info))
        yield from limits(info, bad)
        yield from _runtimes(info, bad, runtime)
        yield _space(client, info, bad)
        yield from _images(client)
    except (DockerException, OSError) as error:
        yield Finding("engine", bad, f"it answers, and says nothing of itself ({error}): start it again")
    finally:
        client.close()


def limits(info: Mapping[str, Any], bad: bool | None = False) -> Iterator[Finding]:
    """What the engine can confine with, by its own account (the Engine API's `/info`).

    bad: what a fault counts as.
    """
    rootless = "name=rootless" in (info.get("SecurityOptions") or [])
    driver = info.get("CgroupDriver") or "none"
    yield Finding("cgroups", None if driver == "none" else True, f"version {info.get('CgroupVersion', 1)}, by {driver}")
    if not info.get("MemoryLimit"):
        yield Finding("memory limit", bad, f"the engine sets none: {DELEGATE if rootless else BOOT_MEMORY}")
    elif info.get("SwapLimit"):
        yield Finding("memory limit", True, "works, swap included")
    else:
        yield Finding("memory limit", None, f"works, but swap is beyond it: `swapoff -a`, or {BOOT_MEMORY}")
    if info.get("PidsLimit"):
        yield Finding("process limit", True, "works")
    else:
        mend = DELEGATE if rootless else "mount the pids controller where dockerd runs, and start it again"
        yield Finding("process limit", bad, f"the engine sets none: {mend}")
    if info.get("CpuCfsQuota"):
        yield Finding("CPU limit", True, "works; the sandbox counts CPU time itself")
    else:
        yield Finding("CPU limit", None, "the engine sets none; not needed, the sandbox counts CPU time itself")
    yield _seccomp(info, bad)
    for warning in info.get("Warnings") or []:
        yield Finding("engine's warning", None, warning)


def _seccomp(info: Mapping[str, Any], bad: bool | None) -> Finding:
    found = [option for option in info.get("SecurityOptions") or [] if option.startswith("name=seccomp")]
    if not found:
        return Finding("seccomp", bad, "the engine has no filter: it needs a kernel with CONFIG_SECCOMP_FILTER")
    profile = found[0].partition("profile=")[2] or "default"
    if profile == "unconfined":
        return Finding("seccomp", bad, "switched off: start dockerd without `--seccomp-profile=unconfined`")
    return Finding("seccomp", True, f"the engine's filter, profile {profile}, and the sandbox's own")


def _runtimes(info: Mapping[str, Any], bad: bool | None, asked: str | None) -> Iterator[Finding]:
    from sandbox import engine

    known = sorted(name for name in info.get("Runtimes") or {} if not name.startswith("io.containerd."))
    default = info.get("DefaultRuntime") or "none"
    if asked is not None and asked not in known:
        words = f"the engine knows no {asked}, but {', '.join(known)}: {engine.mend(asked)}"
        yield Finding("runtimes", bad, words)
    else:
        yield Finding("runtimes", True, f"{', '.join(known)}; {asked or default} is used")
    if "runsc" in known:
        yield Finding("gVisor", True, "the engine knows it: `--runtime runsc`")
    else:
        there = "runsc is installed, but" if shutil.which("runsc") else "not installed, and"
        yield Finding("gVisor", None, f"{there} the engine does not know it: {engine.mend('runsc')}")


def _space(client: Any, info: Mapping[str, Any], bad: bool | None) -> Finding:
    root = str(info.get("DockerRootDir") or "")
    try:
        if not client.api.base_url.startswith("http+docker://"):
            raise FileNotFoundError
        space = shutil.disk_usage(root).free
    except OSError:
        return Finding("disk for images", None, f"{root} on the engine's own host, which is not seen from here")
    if space < SPACE_BYTES:
        return Finding("disk for images", bad, f"only {space >> 20} MiB free at {root}: `docker system prune`")
    return Finding("disk for images", True, f"{space >> 30} GiB free at {root}")


def _images(client: Any) -> Iterator[Finding]:
    from sandbox import image, languages
    from sandbox.pythons import ENVIRONMENTS

    there = {tag for found in client.images.list(name=image.REPOSITORY) for tag in found.tags}
    if image.tag() in there:
        yield Finding("image", True, image.tag())
    else:
        yield Finding("image", None, "not built: `touchstone sandbox build` does it, and so does the first run")
    known = [*ENVIRONMENTS, *languages.names()]
    built = [name for name in known if image.tag(name) in there]
    missing = [name for name in known if name not in built]
    words = f"{', '.join(built) or 'none'}"
    if missing:
        words += f"; built when first asked for: {', '.join(missing)}"
    yield Finding("images of other languages", True if built else None, words)


def _bubblewrap(needed: bool) -> Finding:
    bad = False if needed else None
    if shutil.which(BWRAP[0]) is None:
        return Finding("bubblewrap", bad, "not there: `apt-get install bubblewrap`")
    said = subprocess.run(
        (BWRAP[0], "--version"), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    version = said.stdout.strip() or "bubblewrap"
    tried = subprocess.run(BWRAP, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if tried.returncode == 0:
        return Finding("bubblewrap", True, version)
    why = (tried.stderr.strip().splitlines() or ["no reason given"])[-1]
    mend = "`sysctl -w kernel.unprivileged_userns_clone=1`, on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0"
    if os.geteuid() == 0:
        mend = "this host lets nobody make namespaces; in a container, run that one with `--privileged`"
    return Finding("bubblewrap", bad, f"{version} makes no namespaces ({why}): {mend}")


def _mmdebstrap() -> Finding:
    if shutil.which("mmdebstrap"):
        return Finding("mmdebstrap", True, "there: images can be built without a registry")
    mend = "`apt-get install mmdebstrap debian-archive-keyring`"
    return Finding("mmdebstrap", None, f"not there; images are built with it where no registry answers: {mend}")


def _engine_words(info: Mapping[str, Any]) -> str:
    parts = [f"version {info.get('ServerVersion', 'unknown')}", str(info.get("OperatingSystem", ""))]
    parts += [f"kernel {info.get('KernelVersion', 'unknown')}", str(info.get("Architecture", ""))]
    where = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    return ", ".join(part for part in parts if part) + f", at {where}"
