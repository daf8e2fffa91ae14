"""The child program: confines itself, then answers evaluation requests until its input ends.

Started by `pool` as `python -I -X utf8 -c … <json settings>`. A request is one line of JSON on stdin:
`{"expression", "imports", "keys", "seconds"}`. An answer is one line of JSON on stdout, `{"status", "sizes", "peak"}`,
followed by as many bytes as the sizes say: each key's value as compact JSON (size -1: too large, no bytes), or the
error text. With `keys` null the one size is that of nothing: only success or failure is told.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol

from reconciler.desired.nickel import sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

STACK = 256 << 20
"""Bytes. Nickel recurses; at 8 MiB a thousand nested brackets end it, at this size the guard's bounds fit."""
_ERROR_LIMIT = 256 << 10
_CHUNK = 1 << 16


class _Evaluate(Protocol):
    def __call__(self, expression: str, imports: list[str], cap: int) -> tuple[str, bytes]: ...


def main() -> None:
    """Settings in argv[1]: `root`, `command` (path or null), `memory`, `output`, `reply`, `parent`."""
    settings = json.loads(sys.argv[1])
    command = settings["command"]
    sandbox.die_with(settings["parent"])
    network = sandbox.leave_network()
    evaluate = _by_command(command) if command else _by_wheel()
    os.chdir(os.path.join(settings["root"], "tree"))  # noqa: PTH118 - the worker imports as little as it can
    refused = sandbox.limit(settings["memory"] + STACK, STACK)
    landlock = sandbox.confine(settings["root"], command)
    calls = sandbox.refuse_calls(command)
    status, body = evaluate("1", [], 100)
    ready = {"status": status, "landlock": landlock, "network": network, "calls": calls, "refused": refused,
             "error": body[-2000:].decode("utf-8", "replace") if status != "ok" else ""}  # fmt: skip
    _say(ready, b"")
    threading.stack_size(STACK)
    thread = threading.Thread(target=_serve, args=(evaluate, settings["output"], settings["reply"]))
    thread.start()
    thread.join()


def _serve(evaluate: _Evaluate, output: int, reply: int) -> None:
    for line in sys.stdin.buffer:
        request = json.loads(line)
        sandbox.allow_seconds(request["seconds"])
        status, body = evaluate(request["expression"], request["imports"], reply)
        if status == "ok" and request["keys"] is not None:
            status, sizes, parts = _parted(body, request["keys"], output)
        elif status == "ok":
            sizes, parts = [0], []
        else:
            parts = [body[:_ERROR_LIMIT]]
            sizes = [len(parts[0])]
        _say({"status": status, "sizes": sizes, "peak": _peak()}, b"".join(parts))


def _parted(body: bytes, keys: list[str], output: int) -> tuple[str, list[int], list[bytes]]:
    """Each key's value as compact JSON of its own."""
    try:
        record: dict[str, Any] = json.loads(body)
    except RecursionError:
        return "depth", [0], []
    sizes, parts = [], []
    for key in keys:
        text = json.dumps(record.pop(key), ensure_ascii=False, separators=(",", ":")).encode()
        sizes.append(len(text) if len(text) <= output else -1)
        if len(text) <= output:
            parts.append(text)
    return "ok", sizes, parts


def _by_wheel() -> _Evaluate:
    import nickel

    def evaluate(expression: str, imports: list[str], cap: int) -> tuple[str, bytes]:
        try:
            text = nickel.run(expression, imports).encode()
        except nickel.NickelException as error:
            return "error", str(error).encode()
        except BaseException as error:  # noqa: BLE001 - a Rust panic; this process must not be used again
            return "crash", repr(error).encode()
        return ("ok", text) if len(text) <= cap else ("output", b"")

    return evaluate


def _by_command(command: str) -> _Evaluate:
    parent = os.getpid()
    running: list[subprocess.Popen[bytes]] = []
    signal.signal(signal.SIGTERM, lambda *_: _end(running))

    def evaluate(expression: str, imports: list[str], cap: int) -> tuple[str, bytes]:
        paths = [argument for path in imports for argument in ("--import-path", path)]
        with subprocess.Popen(
            [command, "export", "--format", "json", "--color", "always", *paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={},
            preexec_fn=_preparation(parent),  # noqa: PLW1509 - the other thread only waits
        ) as process:
            running[:] = [process]
            text, errors, flooded = _listen(process, expression.encode(), cap)
        running.clear()
        if flooded:
            return "output", b""
        if process.returncode == 0:
            return "ok", text
        if process.returncode == 1:
            return "error", errors
        return "crash", errors[-2000:] or f"exit status {process.returncode}".encode()

    return evaluate


def _end(running: list[subprocess.Popen[bytes]]) -> None:
    """End the command that runs, and this process. Takes no lock: the other thread may hold it."""
    for process in running:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(process.pid, signal.SIGKILL)
            os.waitpid(process.pid, 0)
    os._exit(0)


def _preparation(parent: int) -> Callable[[], None]:
    return lambda: sandbox.die_with(parent)


def _listen(process: subprocess.Popen[bytes], request: bytes, cap: int) -> tuple[bytes, bytes, bool]:
    """stdout, the start of stderr, and whether stdout went over `cap` (the process is then killed)."""
    assert process.stdin and process.stdout and process.stderr
    try:
        with process.stdin as stdin:
            stdin.write(request)
    except BrokenPipeError:
        pass  # it ended early; its exit status says why
    kept: dict[int, list[bytes]] = {process.stdout.fileno(): [], process.stderr.fileno(): []}
    room = {process.stdout.fileno(): cap, process.stderr.fileno(): _ERROR_LIMIT}
    with selectors.DefaultSelector() as selector:
        for stream in (process.stdout, process.stderr):
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            for ready, _ in selector.select():
                data = os.read(ready.fd, _CHUNK)
                if not data:
                    selector.unregister(ready.fileobj)
                room[ready.fd] -= len(data)
                if room[ready.fd] >= 0:
                    kept[ready.fd].append(data)
                elif ready.fileobj is process.stdout:
                    process.kill()
                    return b"", b"", True
    return b"".join(kept[process.stdout.fileno()]), b"".join(kept[process.stderr.fileno()]), False


def _peak() -> int:
    """Most memory this process has used, in KiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most // 1024 if sys.platform == "darwin" else most


def _say(header: dict[str, Any], body: bytes) -> None:
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + body)
    sys.stdout.buffer.flush()
