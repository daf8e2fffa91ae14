"""Looking for a secret everywhere: as it is, and in the forms that it takes on its way."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os
import threading
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LAUNCHER = """
import json, os, sys
told = open(os.environ["LIAN_TEST_STARTED"], "a", buffering=1)

def hook(event, args):
    if event in ("subprocess.Popen", "os.posix_spawn"):
        executable, words, *_, environ = args
        environ = os.environ if environ is None else environ
        pairs = [[os.fsdecode(k), os.fsdecode(v)] for k, v in dict(environ).items()]
        told.write(json.dumps({"words": [os.fsdecode(w) for w in words], "environ": pairs}) + "\\n")
    elif event in ("os.system", "os.exec"):
        told.write(json.dumps({"words": [repr(args)], "environ": []}) + "\\n")

sys.addaudithook(hook)
from reconciler.cli import main
sys.argv[0] = "lian"
sys.exit(main())
"""
"""Runs lian, and writes down what every process that it starts is given (PEP 578)."""


def forms(secret: str, user: str = "") -> dict[str, bytes]:
    """What to look for: name -> bytes. Base64 also where it begins in the middle of what is encoded."""
    pair = f"{user}:{secret}"
    found = {
        "plain": secret,
        "url-encoded": quote(secret, safe=""),
        "form-encoded": quote_plus(secret),
        "json": json.dumps(secret)[1:-1],
        "base64": base64.b64encode(secret.encode()).decode().rstrip("="),
        "pair": base64.b64encode(pair.encode()).decode().rstrip("="),
        "hex": secret.encode().hex(),
    }
    for shift in (1, 2):
        shifted = base64.b64encode(b"x" * shift + secret.encode()).decode()
        found[f"base64+{shift}"] = shifted[4 : len(shifted) - 4]
    return {name: text.encode() for name, text in found.items()}


def seen_in(data: bytes, wanted: dict[str, bytes]) -> list[str]:
    """The names of the forms that stand in it, also if it is compressed."""
    unpacked = [data]
    if data[:2] == b"\x1f\x8b":
        with contextlib.suppress(OSError, EOFError, zlib.error):
            unpacked.append(gzip.decompress(data))
    return sorted({name for name, form in wanted.items() for text in unpacked if form in text})


def seen_below(folder: Path, wanted: dict[str, bytes]) -> dict[str, list[str]]:
    """File -> forms, of all files below a folder; their names are looked at too."""
    found = {}
    for path in folder.rglob("*"):
        here = seen_in(os.fsencode(path.name), wanted)
        with contextlib.suppress(OSError):
            here += seen_in(path.read_bytes(), wanted) if path.is_file() and not path.is_symlink() else []
        if here:
            found[str(path)] = here
    return found


@dataclass
class Watcher:
    """Looks again and again at a process's descendants, and at files that come and go below a folder.

    `leaks` are processes with the secret on their command line or in their environment; `configs` what was read of
    files called config.json there, with their modes.
    """

    folder: Path
    wanted: dict[str, bytes]
    leaks: dict[str, list[str]] = field(default_factory=dict)
    configs: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    """Content -> (mode of the file, mode of its folder)."""
    others: set[str] = field(default_factory=set)
    """Other files with the secret."""
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def watching(self, pid: int) -> Iterator[Watcher]:
        """As long as the block lasts."""
        thread = threading.Thread(target=self._watch, args=(pid,))
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()

    def _watch(self, pid: int) -> None:
        own = _read(Path(f"/proc/{pid}/cmdline"))
        while not self._stop.wait(0.02):
            for child in _descendants(pid):
                words = _read(Path(f"/proc/{child}/cmdline"))
                if words and words != own:  # between fork and exec a child is a copy of lian
                    environ = _read(Path(f"/proc/{child}/environ"))
                    self._note(words, seen_in(words, self.wanted) + seen_in(environ, self.wanted))
            self._look_at_files()

    def _note(self, words: bytes, forms: list[str]) -> None:
        if forms:
            self.leaks[words.replace(b"\0", b" ").decode(errors="replace")] = forms

    def _look_at_files(self) -> None:
        for path in (Path(folder, name) for folder, _, names in os.walk(self.folder / "leases") for name in names):
            if "scratch" not in path.parts:
                continue
            with contextlib.suppress(OSError):
                if path.name == "config.json":
                    modes = path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777
                    if data := path.read_bytes():
                        self.configs[data] = modes
                elif path.is_file() and path.stat().st_size < 1 << 20 and seen_in(path.read_bytes(), self.wanted):
                    self.others.add(str(path))


def _descendants(pid: int) -> Iterable[int]:
    parents = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parents[int(entry.name)] = int(Path(entry.path, "stat").read_text().rpartition(")")[2].split()[1])
    found, grew = {pid}, True
    while grew:
        more = {child for child, parent in parents.items() if parent in found} - found
        found |= more
        grew = bool(more)
    return found - {pid}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
