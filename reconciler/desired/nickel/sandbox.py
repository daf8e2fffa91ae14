"""Takes from the current process everything that evaluating Nickel does not need. Linux; elsewhere only the limits.

Runs in the worker, before the first untrusted file. Standard library only. Sources: landlock(7) and the kernel's
Documentation/userspace-api/landlock.rst; seccomp(2), `struct seccomp_data` and the x32 note; unshare(2); prctl(2).
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _READ_FILE, _READ_DIR = 1, 1 << 2, 1 << 3
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/nix/store", "/gnu/store")
_LOADER = ("/etc/ld.so.cache", "/etc/ld.so.preload")

_REFUSED = ("socket", "socketpair", "connect", "ptrace", "process_vm_readv", "process_vm_writev", "io_uring_setup")
_EXEC = ("execve", "execveat")
_CALLS = {
    "x86_64": (0xC000003E, {"socket": 41, "socketpair": 53, "connect": 42, "ptrace": 101, "process_vm_readv": 310,
                            "process_vm_writev": 311, "io_uring_setup": 425, "execve": 59, "execveat": 322}),
    "aarch64": (0xC00000B7, {"socket": 198, "socketpair": 199, "connect": 203, "ptrace": 117, "process_vm_readv": 270,
                             "process_vm_writev": 271, "io_uring_setup": 425, "execve": 221, "execveat": 281}),
}  # fmt: skip
_X32 = 0x40000000


def die_with(parent: int) -> None:
    """Let the kernel kill this process when its parent is gone; leave at once if that has already happened."""
    if sys.platform == "linux":
        _libc().prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def limit(memory: int, stack: int) -> list[str]:
    """Set the limits, in bytes; returns those that this system refuses."""
    refused = []
    wanted = {
        "memory": (resource.RLIMIT_AS, memory, memory),
        "core files": (resource.RLIMIT_CORE, 0, 0),
        "written files": (resource.RLIMIT_FSIZE, 0, 0),
        "open files": (resource.RLIMIT_NOFILE, 256, 256),
        "stack": (resource.RLIMIT_STACK, stack, resource.getrlimit(resource.RLIMIT_STACK)[1]),
    }
    for name, (which, soft, hard) in wanted.items():
        try:
            resource.setrlimit(which, (soft, hard))
        except (ValueError, OSError):
            refused.append(name)
    return refused


def allow_seconds(seconds: float) -> None:
    """Let this process use so many more seconds of processor time: it ends even if nobody is left to kill it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def leave_network() -> str | None:
    """Move into an empty network namespace; returns how, None where that is not permitted."""
    if sys.platform != "linux":
        return None
    for flags, how in ((_CLONE_NEWNET, "netns"), (_CLONE_NEWUSER | _CLONE_NEWNET, "user and netns")):
        if _libc().unshare(flags) == 0:
            return how
    return None


def confine(root: str, command: str | None) -> int:
    """Allow reading below `root` and, for an evaluator that is a command, running it with its libraries; deny every
    other access to files, TCP, and signals to outside. Returns the Landlock version, 0 where there is none."""
    if sys.platform != "linux":
        return 0
    libc = _libc()
    version = int(libc.syscall(_CREATE_RULESET, None, 0, 1))
    if version <= 0:
        return 0
    files = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    rules = struct.pack("QQQ", files, 0b11, 0b11)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = int(libc.syscall(_CREATE_RULESET, rules, len(rules), 0))
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset")
    _allow(ruleset, [root], _READ_FILE | _READ_DIR)
    if command:
        _allow(ruleset, [command], _READ_FILE | _EXECUTE)
        _allow(ruleset, _LIBRARIES, _READ_FILE | _READ_DIR | _EXECUTE)
        _allow(ruleset, _LOADER, _READ_FILE)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.syscall(_RESTRICT_SELF, ruleset, 0):
        raise OSError(ctypes.get_errno(), "landlock_restrict_self")
    os.close(ruleset)
    return version


def refuse_calls(command: str | None) -> bool:
    """Answer EPERM to what makes sockets or reaches into other processes, and, without a command, to exec. Returns
    False where the processor's call numbers are not known."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _CALLS:
        return False
    architecture, numbers = _CALLS[machine]
    calls = [numbers[name] for name in (*_REFUSED, *(() if command else _EXEC))]
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    deny, kill, permit = 0x00050000 | 1, 0x80000000, 0x7FFF0000
    program = [(load, 0, 0, 4), (equal, 1, 0, architecture), (answer, 0, 0, kill), (load, 0, 0, 0)]
    program.append((at_least, len(calls) + 1, 0, _X32))
    program.extend((equal, len(calls) - index, 0, call) for index, call in enumerate(calls))
    program.extend([(answer, 0, 0, permit), (answer, 0, 0, deny)])
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    filters = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code)))
    libc = _libc()
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(_PR_SET_SECCOMP, 2, ctypes.c_void_p(ctypes.addressof(filters)), 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP)")
    return True


def _allow(ruleset: int, paths: Iterable[str], access: int) -> None:
    for path in paths:
        try:
            folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # not on this machine, so nothing to allow
        try:
            rule = struct.pack("=Qi", access, folder)
            if _libc().syscall(_ADD_RULE, ruleset, 1, rule, 0):
                raise OSError(ctypes.get_errno(), f"landlock_add_rule: {path}")
        finally:
            os.close(folder)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
