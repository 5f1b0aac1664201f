"""What every backend must keep from a candidate, and what one candidate must not leave to the next."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from core.types import Case, Execution, Status, Tests
from sandbox.base import Sandbox
from sandbox.verdict import verdict
from tests.sandbox.candidates import CORRECT, candidate, case

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def found(sandbox: Sandbox, code: str, call: str = "look()") -> Any:
    """What `look()` gives in the sandbox."""
    execution = await sandbox.run(candidate(code, case(call), cpu_s=10.0, wall_margin_s=10.0))
    assert execution.stage == "done", execution
    assert execution.cases[0].raised is None, execution.cases[0].raised
    return execution.cases[0].value


def refusals(*attempts: str) -> str:
    """Code whose `look()` gives the attempts that the kernel does not refuse."""
    return f"""
import ctypes, os, signal, socket
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result == -1:
        raise OSError(ctypes.get_errno(), "refused")
def look():
    came = []
    for attempt in {attempts!r}:
        try:
            exec(attempt, globals())
        except OSError:
            continue
        came.append(attempt)
    return came
"""


# ── what it is ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_process_then_is_nobody_in_particular_without_any_capability(sandbox: Sandbox) -> None:
    status, new_privileges, ambient = await found(
        sandbox,
        """
        import ctypes
        libc = ctypes.CDLL(None)
        def look():
            status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
            return status, libc.prctl(39, 0, 0, 0, 0) != 1, [c for c in range(64) if libc.prctl(47, 1, c, 0, 0) == 1]
        """,
    )
    assert {int(status[name].strip(), 16) for name in ("CapInh", "CapPrm", "CapEff")} == {0}
    assert not new_privileges
    assert not ambient
    assert status["Seccomp"].strip() == "2"
    assert all(int(uid) >= 1000 for name in ("Uid", "Gid") for uid in status[name].split())
    assert status["Groups"].strip() == ""


async def test_process_then_cannot_become_somebody_else(sandbox: Sandbox) -> None:
    assert not await found(
        sandbox,
        refusals(
            "os.setuid(0)",
            "os.setresuid(0, 0, 0)",
            "os.setgid(0)",
            "os.setgroups([0])",
            "os.chroot('/tmp')",
            "check(libc.unshare(0x10000000))",
            "check(libc.mount(b'none', b'/tmp', b'tmpfs', 0, 0))",
            "check(libc.umount2(b'/tmp', 2))",
            "check(libc.setns(os.open('/proc/1/ns/net', 0), 0))",
            "socket.sethostname('owned')",
        ),
    )


async def test_descriptors_then_are_its_standard_streams_its_reply_and_its_task(sandbox: Sandbox) -> None:
    code = """
        import os
        def look():
            links = {int(fd): f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")}
            return {fd: os.readlink(link).split(":")[0] for fd, link in links.items() if os.path.lexists(link)}
        """
    assert await found(sandbox, code) == {0: "/dev/null", 1: "pipe", 2: "pipe", 3: "pipe", 4: "pipe"}


async def test_standard_input_then_is_at_its_end(sandbox: Sandbox) -> None:
    assert await found(sandbox, "import sys\ndef look():\n    return sys.stdin.read()\n") == ""


async def test_environment_then_holds_nothing_of_the_hosts(
    backend: type[Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    async with backend(1) as fresh:  # type: ignore[call-arg]
        environment = await found(fresh, "import os\ndef look():\n    return dict(os.environ)\n")
    assert not [name for name in environment if "KEY" in name or "TOKEN" in name or "DOCKER" in name]
    assert "sk-secret" not in json.dumps(environment)
    assert {value for value in environment.values() if value and value in os.environ.get("PATH", "")} <= {
        environment["PATH"]
    }
    assert os.uname().nodename not in environment.values()


async def test_python_then_is_the_same_each_time(sandbox: Sandbox) -> None:
    code = """
        import locale, os, random, sys
        def look():
            return (hash("touchstone"), sys.flags.hash_randomization, sys.flags.utf8_mode, sys.getfilesystemencoding(),
                    locale.getpreferredencoding(False), random.random(), os.getcwd(), list({"a", "b", "c", "d", "e"}))
        """
    first, second = await found(sandbox, code), await found(sandbox, code)
    assert first == second
    assert first[1:5] == (0, 1, "utf-8", "utf-8")


async def test_numpy_then_can_be_imported(sandbox: Sandbox) -> None:
    code = "import numpy\ndef look():\n    return float(numpy.linalg.norm(numpy.ones((4, 4)) @ numpy.ones(4)))\n"
    assert await found(sandbox, code) == 8.0


# ── what it can reach ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_network_then_there_is_none(sandbox: Sandbox) -> None:
    assert not await found(
        sandbox,
        refusals(
            "socket.create_connection(('1.1.1.1', 53), 1)",
            "socket.create_connection(('172.17.0.1', 22), 1)",
            "socket.create_connection(('169.254.169.254', 80), 1)",
            "socket.getaddrinfo('example.org', 80)",
            "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('1.1.1.1', 53))",
            "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b'x', ('2606:4700:4700::1111', 53))",
            "socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)",
            "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
            "socket.socket(socket.AF_UNIX).connect('/var/run/docker.sock')",
            "socket.socket(socket.AF_UNIX).connect('/run/docker.sock')",
        ),
    )
    interfaces = "import socket\ndef look():\n    return [name for _, name in socket.if_nameindex()]\n"
    assert set(await found(sandbox, interfaces)) <= {"lo", "tunl0", "sit0", "ip6tnl0", "gre0", "gretap0", "erspan0"}


async def test_file_system_then_is_read_only_but_for_its_own_folders(sandbox: Sandbox) -> None:
    code = """
        import os, stat
        def look():
            came = []
            for root, folders, files in os.walk("/"):
                folders[:] = [name for name in folders if os.path.join(root, name) not in ("/proc", "/sys")]
                if os.access(root, os.W_OK):
                    came.append(root)
                for name in files:
                    path = os.path.join(root, name)
                    if stat.S_ISREG(os.lstat(path).st_mode) and os.access(path, os.W_OK):
                        came.append(path)
            return came
        """
    assert set(await found(sandbox, code)) <= {"/tmp", "/dev/shm", "/dev/mqueue"}


async def test_kernel_then_cannot_be_changed(sandbox: Sandbox) -> None:
    assert not await found(
        sandbox,
        refusals(
            "open('/proc/sys/kernel/hostname', 'w')",
            "open('/proc/sysrq-trigger', 'w')",
            "open('/proc/sys/vm/overcommit_memory', 'w')",
            "open('/sys/fs/cgroup/memory/memory.limit_in_bytes', 'w')",
            "open('/sys/fs/cgroup/memory.max', 'w')",
            "os.mkdir('/sys/fs/cgroup/own')",
            "os.mknod('/tmp/disk', 0o60600, os.makedev(8, 0))\nopen('/tmp/disk', 'rb')",
            "open('/dev/mem', 'rb')",
            "open('/dev/kmsg', 'rb').read(1)",
            "check(libc.reboot(0x1234567))",
            "check(libc.klogctl(3, ctypes.create_string_buffer(64), 64))",
            "check(libc.swapon(b'/tmp/x', 0))",
            "check(libc.init_module(0, 0, b''))",
            "check(libc.bpf(0, 0, 0) if hasattr(libc, 'bpf') else libc.syscall(321, 0, 0, 0))",
            "check(libc.perf_event_open(0) if hasattr(libc, 'perf_event_open') else libc.syscall(298, 0, 0, 0, 0, 0))",
        ),
    )


async def test_kernel_then_gives_no_namespaces_and_none_of_its_rarer_interfaces(sandbox: Sandbox) -> None:
    clone = "check(libc.syscall({}, {} | 17, 0, 0, 0, 0) or os._exit(0))"
    fork, read, personality = {"x86_64": (56, 310, 135), "aarch64": (220, 270, 92)}[os.uname().machine]
    flags = (0x10000000, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x20000000, 0x40000000)
    assert not await found(
        sandbox,
        refusals(
            *(clone.format(fork, flag) for flag in flags),
            *(f"check(libc.unshare({flag}))" for flag in (*flags, 0x80)),
            f"check(libc.syscall({read}, os.getpid(), 0, 0, 0, 0, 0))",
            f"check(libc.syscall({personality}, 0x0040000))",  # ADDR_NO_RANDOMIZE
            "socket.socket(40, socket.SOCK_STREAM)",  # AF_VSOCK, which knows no namespaces
            "socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)",
            "import fcntl; fcntl.ioctl(os.open('/dev/ptmx', os.O_RDWR), 0x5412, b'x')",  # TIOCSTI
        ),
    )
    code = """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        def look():
            return {number: libc.syscall(number, 0, 0, 0, 0, 0) + ctypes.get_errno() for number in %r}
        """
    eperm, enosys = 1 - 1, 38 - 1
    refused = (425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 440, 442, 443)  # io_uring_setup, …, quotactl_fd
    expected = {**dict.fromkeys(refused, eperm), 435: enosys, 451: enosys, 1000: enosys}
    assert await found(sandbox, code % (list(expected),)) == expected


AGENT = """
import os
def look():
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != str(os.getpid())]
"""
"""Its `look()` gives the numbers of the agent's processes."""


async def test_agent_then_can_be_neither_signalled_nor_read_nor_written_to_nor_traced(sandbox: Sandbox) -> None:
    agent = await found(sandbox, AGENT)
    assert len(agent) == 2
    descriptor = (
        "if os.readlink('/proc/{0}/fd/{1}') == '/dev/null':\n    raise OSError\nos.open('/proc/{0}/fd/{1}', {2})"
    )
    for pid in agent:
        assert not await found(
            sandbox,
            refusals(
                *(f"os.kill({pid}, {number})" for number in (0, 2, 9, 10, 15, 17, 19, 34)),
                *(f"open('/proc/{pid}/{name}', 'rb').read(1)" for name in ("mem", "syscall", "stack", "pagemap")),
                *(f"os.readlink('/proc/{pid}/{name}')" for name in ("exe", "cwd", "root")),
                *(descriptor.format(pid, fd, flags) for fd in range(20) for flags in (0o4000, 0o4001)),
                f"os.listdir('/proc/{pid}/map_files')",
                f"open('/proc/{pid}/oom_score_adj', 'w').write('1000')",
                f"open('/proc/{pid}/coredump_filter', 'w').write('1')",
                f"check(libc.ptrace(16, {pid}, 0, 0))",
                f"check(libc.ptrace(0x4206, {pid}, 0, 0))",
                "buffer = ctypes.create_string_buffer(16)\n"
                "here, there = ((ctypes.c_size_t * 2)(place, 16) for place in (ctypes.addressof(buffer), 0x400000))\n"
                f"check(libc.process_vm_readv({pid}, ctypes.byref(here), 1, ctypes.byref(there), 1, 0))",
                f"signal.pidfd_send_signal(os.pidfd_open({pid}), 9)",
                f"check(libc.syscall(438, os.pidfd_open({pid}), 1, 0))",  # pidfd_getfd
                f"check(libc.prlimit({pid}, 7, ctypes.byref((ctypes.c_ulong * 2)(0, 0)), 0))",
            ),
        )


async def test_agent_then_shows_nothing_of_itself_and_cannot_be_slowed_down(sandbox: Sandbox) -> None:
    for pid in await found(sandbox, AGENT):
        assert not await found(
            sandbox,
            refusals(
                *(f"open('/proc/{pid}/{name}', 'rb').read(1)" for name in ("environ", "maps", "auxv", "personality")),
                f"os.listdir('/proc/{pid}/fd')",
                f"os.setpriority(os.PRIO_PROCESS, {pid}, 19)",
                f"os.sched_setaffinity({pid}, {{0}})",
            ),
        )


async def test_expected_values_then_are_nowhere_in_its_memory_or_in_the_next_ones(sandbox: Sandbox) -> None:
    tests = Tests((Case("look()  # in-the-open", "the-expected-value"), Case("look()", raises="Expected4711Error")))
    code = """
        import ctypes, re
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: without it, its own memory is closed to it
        def look():
            secret, came = re.compile(b"the-expecte[d]-value|Expected471[1]Error|in-the-ope[n]"), set()
            with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
                for line in maps:
                    span, rights = line.split()[:2]
                    start, end = (int(part, 16) for part in span.split("-"))
                    if rights[0] == "r" and "[v" not in line:
                        try:
                            memory.seek(start)
                            content = memory.read(end - start)
                        except (OSError, OverflowError, ValueError):
                            continue
                        came.update(secret.findall(content))
            return came
        """
    for _ in range(2):
        execution = await sandbox.run(candidate(code, tests, cpu_s=5.0))
        assert [case.value for case in execution.cases] == [{b"in-the-open"}] * 2, execution


# ── what it leaves ───────────────────────────────────────────────────────────────────────────────────────────────────

LITTER = """
import builtins, ctypes, json, math, os, random, resource, socket, subprocess, sys, time, threading
from multiprocessing import shared_memory, resource_tracker
resource_tracker.register = lambda *_: None
libc = ctypes.CDLL(None, use_errno=True)
for folder in ("/tmp", "/dev/shm"):
    for name in ("plain", ".hidden", "-rf", "new\\nline", "näme", "x" * 255, "$(id)", "*"):
        open(f"{folder}/{name}", "w").write("left")
    os.makedirs(f"{folder}/a/b/c")
    open(f"{folder}/a/b/c/file", "w").close()
    os.chmod(f"{folder}/a/b", 0)
    os.mkdir(f"{folder}/closed", 0)
    os.symlink("/etc/passwd", f"{folder}/link")
    os.mkfifo(f"{folder}/fifo")
    socket.socket(socket.AF_UNIX).bind(f"{folder}/socket")
for name in ("json.py", "numpy.py", "sitecustomize.py", "usercustomize.py", "solution.py", "tests.py"):
    open(f"/tmp/{name}", "w").write("raise SystemExit('left behind')")
memory = shared_memory.SharedMemory("left", create=True, size=4096)
libc.shmget(4711, 4096, 0o1666), libc.semget(4711, 1, 0o1666), libc.msgget(4711, 0o1666)
try:
    libc.mq_open(b"/left", os.O_CREAT | os.O_RDWR, 0o666, 0)
except AttributeError:
    pass
libc.syscall(248, b"user", b"left", b"left", 4, -3)
os.environ["LEFT"] = "behind"
os.environ["PYTHONPATH"] = "/tmp"
os.putenv("LEFT", "behind")
os.umask(0o777)
os.nice(5)
time.tzset()
math.sqrt = lambda x: 7
json.dumps = lambda *a, **k: "left"
builtins.divmod = lambda *_: 7
builtins.left = True
sys.path.insert(0, "/tmp")
sys.modules["left"] = sys
sys.setrecursionlimit(100)
sys.set_int_max_str_digits(640)
random.seed(4711)
os.chdir("/tmp/a")
if os.fork() == 0:
    os.setsid()
    threading.Thread(target=time.sleep, args=(60,)).start()
    server = socket.socket(socket.AF_UNIX)
    server.bind("\\0left")
    server.listen()
    time.sleep(60)
subprocess.Popen(["/bin/sleep", "60"], start_new_session=True)
resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
"""
LOOK = """
import builtins, ctypes, glob, json, math, os, random, resource, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def look():
    left = socket.socket(socket.AF_UNIX)
    return {
        "folders": [os.listdir(folder) for folder in ("/tmp", "/dev/shm")],
        "processes": sorted(
            set(line.split()[1] for line in open(f"/proc/{name}/status") if line.startswith("Uid:")).pop()
            for name in os.listdir("/proc")
            if name.isdigit() and name != str(os.getpid())
        ),
        "ipc": [libc.shmget(4711, 4096, 0), libc.semget(4711, 1, 0), libc.msgget(4711, 0)],
        "listed": [len(open(path).readlines()) for path in glob.glob("/proc/sysvipc/*")],
        "key": libc.syscall(249, b"user", b"left", 0, 0),
        "abstract": left.connect_ex("\\0left"),
        "environment": dict(os.environ),
        "umask": os.umask(0o22),
        "nice": os.nice(0),
        "modules": (math.sqrt(4), json.dumps(1), divmod(7, 2), hasattr(builtins, "left"), "left" in sys.modules),
        "path": sys.path,
        "limits": (sys.getrecursionlimit(), sys.get_int_max_str_digits(), resource.getrlimit(resource.RLIMIT_NOFILE)),
        "random": random.random(),
        "cwd": os.getcwd(),
    }
"""


async def test_state_when_a_candidate_leaves_some_everywhere_then_the_next_finds_what_the_first_one_did(
    sandbox: Sandbox,
) -> None:
    before = await found(sandbox, LOOK)
    assert (before["folders"], before["processes"], before["listed"]) in (
        ([[], []], ["0", "9999"], [1, 1, 1]),
        ([[], []], ["0", "9999"], []),  # a kernel that does not list them
    )
    assert set(before["ipc"]) == {-1}
    litter = await sandbox.run(candidate(LITTER + "\ndef look():\n    return 'left'\n", case("look()")))
    assert (litter.stage, [ran.value for ran in litter.cases]) == ("done", ["left"]), litter.raised
    assert await found(sandbox, LOOK) == before


async def test_state_of_a_worker_when_one_candidate_is_hostile_then_no_fault_of_the_next(sandbox: Sandbox) -> None:
    hostile = """
        import os
        for number in range(1, 65):
            try:
                os.kill(-1, number)
            except OSError:
                pass
        """
    for _ in range(3):
        await sandbox.run(candidate(hostile))
        asked = candidate(CORRECT)
        execution: Execution = await sandbox.run(asked)
        assert verdict(asked, execution).status is Status.PASSED
