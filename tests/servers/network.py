"""A network of a server's own: a namespace in which nothing but it listens, and ways into it and out of it.

A way is a port on one side, from which whatever comes is passed on to the same port on the other side; so both are
the loopback to who uses them, and nothing is changed in the network of this machine. See network_namespaces(7).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

HERE = "127.0.0.1"
CHUNK = 1 << 17
_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


class Network:
    """It is there as long as this is, or anything runs in it. Raises OSError where none may be made."""

    def __init__(self) -> None:
        self._namespace = _in_thread(_made)
        self._ways: list[_Way] = []
        weakref.finalize(self, os.close, self._namespace)

    @property
    def entering(self) -> list[str]:
        """What runs the words behind it in there."""
        return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self._namespace}", "--"]

    def way_in(self, port: int = 0) -> int:
        """From a port of this machine; which."""
        listener = socket.create_server((HERE, port))
        port = listener.getsockname()[1]
        self._ways.append(_Way(listener, lambda: self._inside(lambda: socket.create_connection((HERE, port)))))
        return port

    def way_out(self, port: int) -> None:
        """To a port of this machine."""
        listener = self._inside(lambda: socket.create_server((HERE, port)))
        self._ways.append(_Way(listener, lambda: socket.create_connection((HERE, port))))

    def close(self) -> None:
        """All ways, with what is on them."""
        while self._ways:
            self._ways.pop().close()

    def _inside(self, work: Callable[[], T]) -> T:
        """A socket is of the network in which it was made, whoever uses it."""

        def run() -> T:
            _called(_libc.setns(self._namespace, _CLONE_NEWNET))
            return work()

        return _in_thread(run)


class _Way:
    """What comes to `listener` goes to what `connect` gives."""

    def __init__(self, listener: socket.socket, connect: Callable[[], socket.socket]) -> None:
        self._listener, self._connect = listener, connect
        self._open: set[socket.socket] = set()
        self._accepting = _started(self._accept)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # who waits in accept() is woken
        self._accepting.join()
        self._listener.close()
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            _started(partial(self._serve, near))

    def _serve(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError), self._connect() as far:
            self._open |= {near, far}
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = _started(lambda: _pass_on(far, near))
            _pass_on(near, far)
            back.join()
            self._open -= {near, far}


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    """Until there is no more of it; then the other is told."""
    with contextlib.suppress(OSError):
        while data := one.recv(CHUNK):
            other.sendall(data)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_WR)


_libc = ctypes.CDLL(None, use_errno=True)


def _called(status: int) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _made() -> int:
    """A descriptor of a new namespace, whose loopback is up; this thread stays in it."""
    _called(_libc.unshare(_CLONE_NEWNET))
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _started(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def _in_thread(work: Callable[[], T]) -> T:
    """A namespace is a thread's, so one of its own."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    _started(run).join()
    if errors:
        raise errors[0]
    return results[0]
