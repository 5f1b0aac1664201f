"""The agent's filter of system calls: seccomp(2). It holds for it and for all that it starts, whoever isolates it.

What is refused is what the default profile of the Docker engine refuses to a container without capabilities (source:
seccomp/default.json of github.com/moby/profiles), and what would outlive or reach a process: System V objects, message
queues, keys, ptrace and its like. Where a container engine has a filter of its own, both hold.
"""

from __future__ import annotations

import ctypes
import platform
import struct
from collections.abc import Iterable

REFUSED = """
    acct:163:89 add_key:248:217 bpf:321:280 chroot:161:51 clock_settime:227:112 delete_module:176:106
    fanotify_init:300:262 finit_module:313:273 fsconfig:431:431 fsmount:432:432 fsopen:430:430 fspick:433:433
    get_mempolicy:239:236 init_module:175:105 io_uring_enter:426:426 io_uring_register:427:427 io_uring_setup:425:425
    ioperm:173: iopl:172: kcmp:312:272 kexec_file_load:320:294 kexec_load:246:104 keyctl:250:219 lookup_dcookie:212:18
    mbind:237:235 migrate_pages:256:238 mount:165:40 mount_setattr:442:442 move_mount:429:429 move_pages:279:239
    mq_open:240:180 msgget:68:186 name_to_handle_at:303:264 open_by_handle_at:304:265 open_tree:428:428
    perf_event_open:298:241 pidfd_getfd:438:438 pivot_root:155:41 process_madvise:440:440 process_vm_readv:310:270
    process_vm_writev:311:271 ptrace:101:117 quotactl:179:60 quotactl_fd:443:443 reboot:169:142 request_key:249:218
    semget:64:190 set_mempolicy:238:237 set_mempolicy_home_node:450:450 setdomainname:171:162 sethostname:170:161
    setns:308:268 settimeofday:164:170 shmget:29:194 swapoff:168:225 swapon:167:224 sysfs:139: syslog:103:116
    umount2:166:39 unshare:272:97 uselib:134: userfaultfd:323:282 ustat:136: vhangup:153:58
"""
"""System calls that fail with EPERM: NAME:NUMBER on x86_64:NUMBER on aarch64, none where there is no such call."""
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""The place of a machine's number above and below, and its AUDIT_ARCH of <linux/audit.h>."""
CLONE, IOCTL, PERSONALITY, SOCKET = (56, 220), (16, 29), (135, 92), (41, 198)
CLONE3 = 435
FIRST_UNKNOWN = 451
"""Calls from here on, which came after Linux 6.4 and x32's, do not exist: whoever uses them knows kernels without."""

NAMESPACES = 0x7E020000
"""The flags of clone(2) that make a namespace."""
PERSONALITIES = (0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""Linux, Linux of 32 bits, both with the release that old programs want; and the question which one it is."""
FAMILIES = (1, 2, 10, 16)
"""Sockets: Unix, IPv4, IPv6, netlink. Others, such as AF_VSOCK, know no network namespaces, or are for few."""
INPUT_CONTROLS = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX: they type into a terminal."""

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
EPERM, ENOSYS, EAFNOSUPPORT = ERRNO | 1, ERRNO | 38, ERRNO | 97
LOAD, EQUAL, AT_LEAST, ANY_BIT, GIVE = 0x20, 0x15, 0x35, 0x45, 0x06
"""Instructions of classic BPF: load a word, compare it in three ways, return."""
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
Instruction = tuple[int, int, int, int]
"""A code, how many instructions to skip where a comparison holds, how many where it does not, and an operand."""


def confine() -> None:
    """Nobody gains privileges from here on, and the filter holds. Raises OSError."""
    if platform.machine() not in MACHINES:
        raise OSError(f"no system call numbers for {platform.machine()}")
    lines = program(platform.machine())
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))

    class Program(ctypes.Structure):
        _fields_ = (("size", ctypes.c_ushort), ("code", ctypes.c_void_p))

    filter_ = Program(len(lines), ctypes.cast(code, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filter_), 0, 0),
    ):
        if libc.prctl(*arguments):
            raise OSError(ctypes.get_errno(), f"prctl{arguments[:2]}")


def program(machine: str) -> list[Instruction]:
    """The filter for a machine: over struct seccomp_data, the call's number, the architecture, and its arguments."""
    place, architecture = MACHINES[machine]
    refused = [int(number) for entry in REFUSED.split() if (number := entry.split(":")[1 + place])]
    return [
        (LOAD, 0, 0, 4),
        (EQUAL, 1, 0, architecture),
        (GIVE, 0, 0, EPERM),
        (LOAD, 0, 0, 0),
        (AT_LEAST, 0, 1, FIRST_UNKNOWN),
        (GIVE, 0, 0, ENOSYS),
        *_among(refused, EPERM),
        *_among([CLONE3], ENOSYS),  # whose flags a filter cannot see: C libraries use clone instead
        *_argument(CLONE[place], 0, [(ANY_BIT, 0, 1, NAMESPACES), (GIVE, 0, 0, EPERM), (GIVE, 0, 0, ALLOW)]),
        *_argument(PERSONALITY[place], 0, [*_among(PERSONALITIES, ALLOW), (GIVE, 0, 0, EPERM)]),
        *_argument(SOCKET[place], 0, [*_among(FAMILIES, ALLOW), (GIVE, 0, 0, EAFNOSUPPORT)]),
        *_argument(IOCTL[place], 1, [*_among(INPUT_CONTROLS, EPERM), (GIVE, 0, 0, ALLOW)]),
        (GIVE, 0, 0, ALLOW),
    ]


def _among(values: Iterable[int], action: int) -> list[Instruction]:
    """Where the word is one of the values, the action; else on with what follows."""
    left = sorted(values)
    tests = [(EQUAL, len(left) - 1 - place, place == len(left) - 1, value) for place, value in enumerate(left)]
    return [*tests, (GIVE, 0, 0, action)]


def _argument(number: int, place: int, then: list[Instruction]) -> list[Instruction]:
    """Where the word is a call's number, what follows for the lower half of one of its arguments, counted from 0."""
    return [(EQUAL, 0, 1 + len(then), number), (LOAD, 0, 0, 16 + 8 * place), *then]
