"""What `buildctl --progress=rawjson` writes to stderr, line by line: steps, their output, and plain text between. Pure.

A line that is not a JSON object is text (warnings, the excerpt of the Dockerfile, the final `error: …`). Vertices are
merged by digest; each change resends the whole vertex; a vertex may complete and start again (client/graph.go). Nothing
leaves here with a secret in it: names, errors and texts are masked whole, each stream of a step's output as it comes.
"""

from __future__ import annotations

import base64
import json
import re
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from reconciler.model.cache_use import StepRun
from reconciler.model.masking import NOTHING, Mask, Masked
from reconciler.model.problem import redact
from reconciler.ports.builder import StepSeen

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_TEXT_LINES = 400
"""Lines of plain text kept from the end."""
MAX_OUTPUT_LINES = 40
"""Lines of each step's output kept from the end."""
MAX_LINE = 2000
"""Bytes kept of a line, in memory; the log gets all of it."""

_STEP = re.compile(r"\[(?:[^\]]* )?\d+/\d+\] (?!FROM )")
_CACHE = re.compile(r"(?P<way>importing cache manifest from|exporting cache to) ")
_IMPORT, _EXPORT = "importing cache manifest from", "exporting cache to"
_LAYER = re.compile(r"sha256:[0-9a-f]{64}")
_CANCELLED = re.compile(r"context canceled|code = Canceled|^Canceled:|operation was canceled")


@dataclass(slots=True)
class Vertex:
    """One node of the build as it stands now."""

    number: int
    name: str
    started: datetime | None = None
    completed: bool = False
    ended: bool = False
    """It has completed at least once."""
    cached: bool = False
    """It was taken from a cache; also where its layer is fetched later, as for an image's last one."""
    ran: float = 0.0
    """Seconds between its begins and its ends."""
    error: str = ""
    pending: bytes = b""
    """The begin of a line of output whose end has not come yet."""
    streams: dict[str, Masked] = field(default_factory=dict)
    """What a step writes to stdout and to stderr: what of it may be the begin of a secret waits there."""
    output: deque[bytes] = field(default_factory=lambda: deque(maxlen=MAX_OUTPUT_LINES))

    @property
    def is_internal(self) -> bool:
        """True for what loads the Dockerfile and the context: it opens again each time it is used."""
        return self.name.startswith("[internal] ")

    @property
    def is_step(self) -> bool:
        """True for an instruction of the Dockerfile but FROM: `[2/5] RUN …`, `[stage 2/5] …`, not `[internal] …`."""
        return _STEP.match(self.name) is not None

    @property
    def cache_way(self) -> str | None:
        """`importing cache manifest from` or `exporting cache to`. What goes wrong there fails no build."""
        match = _CACHE.match(self.name)
        return match["way"] if match else None


@dataclass(frozen=True, slots=True)
class FailedStep:
    """A step that ended with an error, and the last lines of what it wrote."""

    name: str
    error: str
    output: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Update:
    """What one line brought: text for the log, and steps that began or ended."""

    log: bytes
    seen: tuple[StepSeen, ...] = ()


class Progress:
    """The build so far."""

    def __init__(self, mask: Mask = NOTHING) -> None:
        self._mask = mask
        self._vertices: dict[str, Vertex] = {}
        self._text: deque[str] = deque(maxlen=MAX_TEXT_LINES)
        self._first_error: Vertex | None = None
        self._layers: dict[str, int] = {}
        self._fetching: set[tuple[str, str]] = set()
        self.cache_moves = 0
        """How often something was said of a cache that is read: it is not silent as long as this grows."""

    def feed(self, line: bytes) -> Update:
        """Take one line, without its newline."""
        document = _object(line)
        if document is None:
            line = self._mask.data(line)
            self._text.append(line[:MAX_LINE].decode(errors="replace"))
            return Update(line + b"\n")
        log: list[bytes] = []
        seen: list[StepSeen] = []
        for vertex in _list(document, "vertexes"):
            self._merge(vertex, log, seen)
        for entry in _list(document, "logs"):
            log += self._output(entry)
        for status in _list(document, "statuses"):
            log += self._status(status)
        for warning in _list(document, "warnings"):
            log += self._warning(warning)
        for known in self._vertices.values():
            if known.completed:
                log += _last_line(known)
        return Update(b"".join(log), tuple(seen))

    @property
    def text(self) -> str:
        """The last lines that were not progress."""
        return "\n".join(self._text)

    @property
    def steps(self) -> tuple[StepRun, ...]:
        """Instructions seen, stage by stage, without credentials: they are kept in records. Fetching a hit is not
        counted as running it."""
        steps = sorted((vertex for vertex in self._vertices.values() if vertex.is_step), key=_place)
        return tuple(StepRun(redact(v.name), v.cached, 0.0 if v.cached else round(v.ran, 3)) for v in steps)

    @property
    def pulled(self) -> int:
        """Bytes of layers that were fetched for instructions: they came from caches."""
        return sum(self._layers.values())

    @property
    def only_keeps(self) -> bool:
        """True while nothing is under way but the export of the cache: the image is made and pushed."""
        begun = [v for v in self._vertices.values() if v.started and not v.completed]
        return bool(begun) and all(v.cache_way == _EXPORT for v in begun)

    @property
    def reads_cache(self) -> bool:
        """True while a cache is being read: its description, or a layer that a step needs."""
        begun = any(v.started and not v.completed and v.cache_way == _IMPORT for v in self._vertices.values())
        return begun or bool(self._fetching)

    @property
    def export_failure(self) -> str | None:
        """Why the cache was not exported, None if nothing was said of that."""
        return next((v.error for v in self._vertices.values() if v.cache_way == _EXPORT and v.error), None)

    @property
    def running(self) -> tuple[str, ...]:
        """Names of what has begun and not ended, Dockerfile instructions first."""
        begun = [v for v in self._vertices.values() if v.started and not v.completed]
        return tuple(v.name for v in sorted(begun, key=lambda v: (not v.is_step, v.number)))

    @property
    def failed(self) -> FailedStep | None:
        """The first step that ended with an error of its own, not because another one failed."""
        return _failed(self._first_error) if self._first_error else None

    def interrupted(self, name: str) -> FailedStep:
        """A step by name, as it stood when the build was given up."""
        vertex = next(v for v in self._vertices.values() if v.name == name)
        return _failed(vertex)

    def _merge(self, document: dict[str, Any], log: list[bytes], seen: list[StepSeen]) -> None:
        identity, name = str(document.get("digest", "")), self._mask.text(str(document.get("name", "")))
        vertex = self._vertices.setdefault(identity, Vertex(len(self._vertices) + 1, name))
        self.cache_moves += vertex.cache_way == _IMPORT
        began = _time(document.get("started"))
        completed, cached = bool(document.get("completed")), bool(document.get("cached")) or vertex.cached
        error = self._mask.text(str(document.get("error", "")))
        reopened = vertex.completed and not completed and not vertex.is_internal
        if began and (vertex.started is None or reopened):
            log.append(f"#{vertex.number} {vertex.name}\n".encode(errors="replace"))
            if not (completed and cached):  # that has not begun
                seen.append(StepSeen(vertex.name, False, False))
        if completed and not vertex.completed and not (vertex.ended and vertex.is_internal):
            log += _last_line(vertex)
            log.append(f"#{vertex.number} {_end(cached, error)}\n".encode(errors="replace"))
            seen.append(StepSeen(vertex.name, True, cached))
            vertex.ended = True
        if completed:
            self._fetching = {one for one in self._fetching if one[0] != vertex.name}
        if completed and not vertex.completed:
            vertex.ran += _seconds(began or vertex.started, _time(document.get("completed")))
        vertex.started, vertex.completed = began or vertex.started, completed
        vertex.cached, vertex.error = cached, error
        if error and self._first_error is None and not _CANCELLED.search(error) and not vertex.cache_way:
            self._first_error = vertex

    def _output(self, entry: dict[str, Any]) -> Iterator[bytes]:
        vertex = self._vertices.get(str(entry.get("vertex", "")))
        if vertex is None:
            return iter(())
        stream = vertex.streams.setdefault(repr(entry.get("stream")), Masked(self._mask))
        return iter(_lines(vertex, stream.feed(_bytes(entry.get("data")))))

    def _status(self, status: dict[str, Any]) -> Iterator[bytes]:
        vertex = self._vertices.get(str(status.get("vertex", "")))
        if vertex is not None:
            self._layer(vertex, status)
        if vertex is not None and status.get("completed"):
            what = status.get("name") or status.get("id") or ""
            yield f"#{vertex.number} {self._mask.text(str(what))} done\n".encode(errors="replace")

    def _layer(self, vertex: Vertex, status: dict[str, Any]) -> None:
        """A layer is being fetched, or has been. Those of base images belong to their FROM."""
        identity, size = str(status.get("id")), status.get("current")
        if not _LAYER.fullmatch(identity) or not vertex.is_step:
            return
        self.cache_moves += 1
        if not status.get("completed"):
            self._fetching.add((vertex.name, identity))
            return
        self._fetching.discard((vertex.name, identity))
        if isinstance(size, int) and size > 0:
            self._layers[identity] = size

    def _warning(self, warning: dict[str, Any]) -> Iterator[bytes]:
        vertex = self._vertices.get(str(warning.get("vertex", "")))
        if vertex is not None:
            yield b"#%d WARN: %s\n" % (vertex.number, self._mask.data(_bytes(warning.get("short"))))


def _place(vertex: Vertex) -> tuple[str, int]:
    """By stage, then by number: `[build 2/5] …`."""
    stage, _, numbers = vertex.name.partition("] ")[0].rpartition(" ")
    return stage, int(numbers.strip("[").partition("/")[0])


def _lines(vertex: Vertex, data: bytes) -> list[bytes]:
    """Whole lines of output for the log; what follows the last newline waits for its end."""
    *whole, vertex.pending = (vertex.pending + data).split(b"\n")
    vertex.output.extend(line[-MAX_LINE:] for line in whole)
    return [b"#%d %s\n" % (vertex.number, line) for line in whole]


def _last_line(vertex: Vertex) -> list[bytes]:
    """What a step wrote behind its last newline, once nothing more is to come."""
    _settle(vertex)
    return _lines(vertex, b"\n") if vertex.pending else []


def _settle(vertex: Vertex) -> None:
    vertex.pending += b"".join(stream.end() for stream in vertex.streams.values())


def _failed(vertex: Vertex) -> FailedStep:
    _settle(vertex)
    output = [*vertex.output, vertex.pending[-MAX_LINE:]] if vertex.pending else list(vertex.output)
    return FailedStep(vertex.name, vertex.error, tuple(line.decode(errors="replace") for line in output))


def _end(cached: bool, error: str) -> str:
    if error:
        return f"ERROR: {error}"
    return "CACHED" if cached else "DONE"


def _object(line: bytes) -> dict[str, Any] | None:
    if not line.startswith(b"{"):
        return None
    try:
        document = json.loads(line)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _list(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = document.get(key)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _bytes(value: object) -> bytes:
    try:
        return base64.b64decode(value) if isinstance(value, str) else b""
    except ValueError:
        return b""


def _seconds(began: datetime | None, ended: datetime | None) -> float:
    """Clocks may lack a zone, or run backwards; then nobody knows."""
    try:
        return max(0.0, (ended - began).total_seconds()) if began and ended else 0.0
    except TypeError:
        return 0.0


def _time(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
