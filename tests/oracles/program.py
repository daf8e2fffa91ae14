"""Builds one of the Go programs beside this file and talks to it, one JSON line each way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.needs import not_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BUILD_SECONDS = 900


@contextmanager
def oracle(name: str, into: Path) -> Iterator[Callable[[dict[str, Any]], dict[str, Any]]]:
    """A running oracle: give it a question, get its answer. `into` is where the program is built.

    The test ends as not run when Go or the pinned modules cannot be had; a program that does not compile fails it.
    """
    program = _built(name, into)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        questions, answers = process.stdin, process.stdout

        def ask(question: dict[str, Any]) -> dict[str, Any]:
            questions.write(json.dumps(question) + "\n")
            questions.flush()
            line = answers.readline()
            assert line, f"the {name} oracle ended on {question!r}"
            answer: dict[str, Any] = json.loads(line)
            return answer

        try:
            yield ask
        finally:
            questions.close()


def _built(name: str, into: Path) -> Path:
    go = shutil.which("go")
    if go is None:
        not_run(f"the {name} oracle needs Go (the command `go`) to be built")
    source = Path(__file__).parent / name
    environment = os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"}
    modules = _run([go, "mod", "download"], source, environment)
    if modules.returncode != 0:
        not_run(f"the {name} oracle's Go modules cannot be had: {modules.stderr.strip().splitlines()[-1]}")
    program = into / name
    built = _run([go, "build", "-o", str(program), "."], source, environment)
    assert built.returncode == 0, built.stderr
    return program


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False
    )
