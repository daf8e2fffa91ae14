"""buildx as the reader of bake files (port `Bake`): `buildx bake --print`, which builds nothing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.model.problem import LianError, Next, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

SECONDS = 60.0
_CANDIDATES = (("buildx",), ("docker-buildx",), ("docker", "buildx"))
_PLACED = re.compile(r"^(?P<file>[^:\n]+):(?P<line>[0-9]+),(?P<column>[0-9]+)(?:-[0-9,]+)?: (?P<said>.*)", re.DOTALL)
_ESCAPED = re.compile(r"\$\$\{|%%\{")
_NO_DEFAULT = "failed to find target default"
_HANDED_ON = ("PATH", "HOME", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "TMPDIR")
"""Of the environment. Others would be taken for values of the file's variables, and what is written must not depend on
who runs it."""


@dataclass(frozen=True, slots=True)
class Buildx:
    """buildx as it is found on PATH, alone or as Docker's; `folder` is where bake files' paths begin."""

    folder: Path

    def printed(self, file: str, names: Collection[str]) -> Any:
        """See ports/project.py."""
        words = [*self._words(), "bake", "--file", file]
        done = self._run([*words, "--print", *names])
        if done.returncode and not names and _NO_DEFAULT in done.stderr:
            done = self._run([*words, "--print", *self._targets(words, file)])
        if done.returncode:
            raise LianError(_problem(done.stderr, file))
        return _unescaped(self._parsed(done.stdout, file))

    def _targets(self, words: Sequence[str], file: str) -> list[str]:
        """All that the file has, where it has no default. Raises LianError."""
        done = self._run([*words, "--list", "type=targets,format=json"])
        if done.returncode:
            raise LianError(_problem(done.stderr, file))
        listed = self._parsed(done.stdout, file)
        return [each["name"] for each in listed if isinstance(each, dict) and not each.get("group")]

    def _parsed(self, text: str, file: str) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            message = f"what buildx prints of {file} is not JSON"
            raise LianError(Problem("buildx-failed", message, file, cause=str(error))) from error

    def _words(self) -> Sequence[str]:
        """How buildx is called. Raises LianError `buildx-missing`."""
        for words in _CANDIDATES:
            if shutil.which(words[0]) is not None and self._run([*words, "version"]).returncode == 0:
                return words
        hint = "install Docker's buildx, or write docker-bake.json by `docker buildx bake --print` where it is"
        raise LianError(Problem("buildx-missing", "there is no buildx to read a bake file with", hint=hint))

    def _run(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Raises LianError `buildx-failed` where it does not end."""
        try:
            return self._ended(words)
        except (OSError, subprocess.TimeoutExpired) as error:
            message = f"{' '.join(words[:2])} does not work here"
            raise LianError(Problem("buildx-failed", message, cause=str(error), next=Next.RETRY)) from error

    def _ended(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Raises OSError or TimeoutExpired. Whatever is raised, nothing of it is left."""
        process = None
        try:
            with _interrupted_afterwards():
                process = self._started(words)
            out, said = process.communicate(timeout=SECONDS)
        except BaseException:  # Ctrl-C too; Docker's plugin is another program than the one that was started
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
            raise
        return subprocess.CompletedProcess(words, process.returncode, out, said)

    def _started(self, words: Sequence[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            words,
            cwd=self.folder,
            env={name: os.environ[name] for name in _HANDED_ON if name in os.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )


@contextlib.contextmanager
def _interrupted_afterwards() -> Iterator[None]:
    """A Ctrl-C while the block runs is raised when it has ended: what is started in it is known by then."""
    usual = signal.getsignal(signal.SIGINT)
    if not callable(usual) or threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _frame: seen.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if seen:
        raise KeyboardInterrupt


def _problem(said: str, file: str) -> Problem:
    """What buildx says is wrong, at the place that it tells."""
    told = said.rpartition("ERROR: ")[2].strip() or "it said nothing"
    placed = _PLACED.match(told)
    if placed is None:
        message = f"buildx cannot read {file}"
        hint = "make an empty file of that name" if "failed to stat" in told else None
        return Problem("bake-invalid", message, file, cause=told, hint=hint)
    message = f"buildx cannot read {placed['file']}"
    line, column = int(placed["line"]), int(placed["column"])
    return Problem("bake-invalid", message, placed["file"], line, column, cause=placed["said"].strip())


def _unescaped(value: Any) -> Any:
    """Texts as they are meant: what bake prints can be read as a bake file again."""
    if isinstance(value, str):
        return _ESCAPED.sub(lambda found: found[0][1:], value)
    if isinstance(value, list):
        return [_unescaped(each) for each in value]
    if isinstance(value, dict):
        return {key: _unescaped(each) for key, each in value.items()}
    return value
