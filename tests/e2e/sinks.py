"""Everywhere that a secret could come out of a pass, and in how many ways it is looked for there."""

from __future__ import annotations

import base64
import contextlib
import gzip
import html
import json
import os
import shlex
import subprocess
import sys
import threading
import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from tests.e2e.bench import SECONDS, Bench, Ran
from tests.e2e.canaries import LAUNCHER

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 4 << 20
"""Bytes of a file that is looked into; a shell is no larger, and holds no secret."""


def encodings(value: str) -> dict[str, bytes]:
    """The value as programs write it, whole: what a step may print."""
    data = value.encode()
    return {
        "raw": data,
        "base64": base64.b64encode(data),
        "base64, one before": base64.b64encode(b"x" + data),
        "base64, two before": base64.b64encode(b"xy" + data),
        "base64url": base64.urlsafe_b64encode(data),
        "base32": base64.b32encode(data),
        "hex": data.hex().encode(),
        "HEX": data.hex().upper().encode(),
        "url": quote(value, safe="").encode(),
        "form": quote_plus(value).encode(),
        "json": json.dumps(value)[1:-1].encode(),
        "json, as it is": json.dumps(value, ensure_ascii=False)[1:-1].encode(),
        "reversed": value[::-1].encode(),
        "shell": shlex.quote(value).encode(),
        "xml": html.escape(value).encode(),
        "utf-16-le": value.encode("utf-16-le"),
        "utf-16-be": value.encode("utf-16-be"),
    }


def forms(value: str) -> dict[str, bytes]:
    """What to look for: the same without what depends on what stands around it, in every place of base64 and 32."""
    found = encodings(value)
    data = value.encode()
    ways = {"base64": (base64.b64encode, 3, 4), "base64url": (base64.urlsafe_b64encode, 3, 4)}
    for name, (encode, bytes_, digits) in {**ways, "base32": (base64.b32encode, 5, 8)}.items():
        for before in range(bytes_):
            shifted = encode(b"\0" * before + data)
            found[f"{name}, {before} before"] = shifted[digits if before else 0 : -digits]
        found.pop(name)
    del found["base64, one before"], found["base64, two before"]
    return found


@dataclass
class Sinks:
    """Where the value was seen: sink -> what it was seen in."""

    value: str
    folder: Path
    seen: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    looked_at: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Sink -> how many things were looked at in it."""
    processes: set[tuple[str, bytes]] = field(default_factory=set)
    """Those that were looked at: id and command line."""
    own: set[bytes] = field(default_factory=set)
    """Command lines of lian: a child has it until it becomes another program, also when lian itself has just ended."""

    def __post_init__(self) -> None:
        self.wanted = forms(self.value)
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()
        self.started, self.launcher = self.folder / "started", self.folder / "launcher.py"
        self.launcher.write_text(LAUNCHER)

    def look(self, sink: str, where: str, data: bytes) -> None:
        """At some bytes, and at what they are compressed."""
        self.looked_at[sink] += 1
        texts = [data]
        if data[:2] == b"\x1f\x8b":
            with contextlib.suppress(OSError, EOFError, zlib.error):
                texts.append(gzip.decompress(data))
        if any(form in text for form in self.wanted.values() for text in texts):
            self.seen[sink].add(where)

    def look_below(self, sink: str, folder: Path) -> None:
        """At all files of a folder, and their names. What others take away meanwhile is theirs."""
        walked = os.walk(folder)  # unlike a glob it goes on where a folder goes away
        for path in (Path(where, name) for where, folders, files in walked for name in (*folders, *files)):
            with contextlib.suppress(OSError):
                if path.is_file() and not path.is_symlink() and path.stat().st_size <= LARGEST:
                    self.look(sink, str(path), path.read_bytes())
            self.look(sink, str(path), os.fsencode(path.name))

    def look_at_registry(self, storage: Path) -> None:
        """At every blob and manifest, by what it is; a distribution's storage and an on-disk layout alike."""
        for path in storage.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                self.look(f"registry: {_kind(data)}", str(path), data)

    def lian(self, bench: Bench, *words: str, code: int | None = 0) -> Ran:
        """Run it to its end while all processes are watched; look at what it printed and left in its temporary
        folder."""
        process = self.start(bench, *words)
        with self.watching(process.pid):
            out, err = process.communicate(timeout=SECONDS)
        assert code is None or process.returncode == code, f"{out}\n{err}"
        self.printed(words, out, err)
        return Ran(process.returncode, out, err)

    def start(self, bench: Bench, *words: str) -> subprocess.Popen[str]:
        """Start it under the eyes of the launcher."""
        environ = bench.environment | {"LIAN_TEST_STARTED": str(self.started), "TMPDIR": str(self.temporary)}
        line = [sys.executable, str(self.launcher), *words]
        self.own.add(b"".join(os.fsencode(word) + b"\0" for word in line))
        return subprocess.Popen(
            line,
            cwd=bench.repo,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def printed(self, words: tuple[str, ...], out: str, err: str) -> None:
        """Look at what a command printed."""
        self.look("stdout", " ".join(words), out.encode())
        self.look("stderr", " ".join(words), err.encode())

    def look_back(self, bench: Bench) -> None:
        """At what was started, and what was left."""
        for line in self.started.read_text().splitlines():
            given = json.loads(line)
            self.look("started: words", str(given["words"]), "\0".join(given["words"]).encode())
            pairs = "\0".join(f"{name}={value}" for name, value in given["environ"])
            self.look("started: environment", str(given["words"]), pairs.encode())
        self.look_below("temporary files", self.temporary)
        for path in Path("/dev/shm").iterdir():
            if path.is_dir() and not path.name.startswith("pytest-of-"):  # what tests have themselves
                self.look_below("temporary files", path)
            elif path.is_file():
                self.look("temporary files", str(path), path.read_bytes())
        self.look_below("logs", bench.cache / "logs")
        self.look_below("state", bench.cache)

    @contextlib.contextmanager
    def watching(self, pid: int) -> Iterator[None]:
        """Look at all processes of the machine again and again. What is exempt is this process and lian's own
        environment, where a secret may have come from."""
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(0.02):
                self.look_at_processes(pid)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def look_at_processes(self, pid: int) -> None:
        """At all but this one and lian's, once each."""
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit() or int(entry.name) in {os.getpid(), pid}:
                continue
            words = _read(Path(entry.path, "cmdline"))
            if not words or words in self.own or (entry.name, words) in self.processes:
                continue
            environ = _read(Path(entry.path, "environ"))
            if words == _read(Path(entry.path, "cmdline")):  # else it has become another in between
                self.processes.add((entry.name, words))
                told = words.replace(b"\0", b" ").decode(errors="replace")
                self.look("processes: words", told, words)
                self.look("processes: environment", told, environ)


def _kind(data: bytes) -> str:
    if data[:2] == b"\x1f\x8b":
        return "layer"
    try:
        document = json.loads(data)
    except ValueError:
        return "other"
    if not isinstance(document, dict):
        return "other"
    if "kind" in document:
        return str(document["kind"])
    for key, kind in (
        ("rootfs", "config"),
        ("dsseEnvelope", "attestation"),
        ("schemaVersion", "manifest"),
        ("records", "cache"),
    ):
        if key in document:
            return kind
    return "other"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
