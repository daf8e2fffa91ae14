"""A Docker that is made up: it knows the requests that lian sends, keeps containers and volumes in memory, and answers
as a test has told it to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""What a server says first in HTTP/2."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with one kind of request: after `seconds`, a `status` with a message; or with `lost` no answer at
    all, whether the request was carried out (`done`) or not."""

    status: int = 0
    message: str = "out of order"
    seconds: float = 0.0
    lost: bool = False
    done: bool = False
    times: int = 1_000_000


@dataclass
class ScriptedDocker:
    """`faults` is by a pattern of `METHOD /path`; the first that matches counts."""

    socket: Path
    faults: dict[str, Fault] = field(default_factory=dict)
    version: dict[str, Any] = field(
        default_factory=lambda: {"Version": "27", "ApiVersion": "1.47", "MinAPIVersion": "1.24", "Os": "linux"}
    )
    images: set[str] = field(default_factory=set)
    containers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By name."""
    volumes: list[dict[str, Any]] = field(default_factory=list)
    others: list[dict[str, Any]] = field(default_factory=list)
    """What is listed besides."""
    asked: list[str] = field(default_factory=list)
    builder: bytes = b"buildkitd github.com/moby/buildkit v0.33.1 0123\n"
    loaded: str = '{"stream":"Loaded image"}\n'
    mute: bool = False
    """Whether the builder in the container says nothing."""
    hanging: str = "\0"
    """Commands with this in them say nothing, read nothing, and do not end."""
    used: str | None = ""
    """What the container tells of what it uses, line by line; None if it does not tell."""
    flood: bytes = b""
    """What a builder says to whoever greets it, and then it reads no more."""
    _commands: list[list[str]] = field(default_factory=list)
    _slow: set[asyncio.Task[None]] = field(default_factory=set)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[ScriptedDocker]:
        """It answers inside of the block."""
        server = await asyncio.start_unix_server(self._serve, path=str(self.socket))
        try:
            yield self
        finally:
            server.close()
            for task in self._slow:
                task.cancel()

    def left(self) -> list[str]:
        """What a lease may have here."""
        return [*self.containers, *(str(volume["Name"]) for volume in self.volumes)]

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._slow.add(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._answer(reader, writer)
        self._slow.discard(task)
        writer.close()

    async def _answer(self, reader: StreamReader, writer: StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target = head.split(" ")[:2]
        url = urlsplit(target)
        path = re.sub(r"^/v1\.\d+", "", unquote(url.path))
        length = re.search(r"content-length: *(\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(length[1])) if length else await _chunks(head, reader)
        self.asked.append(f"{method} {path}")
        fault = self._fault(f"{method} {path}")
        if fault.lost and not fault.done:
            return None
        if fault.status:
            await asyncio.sleep(fault.seconds)
            return _write(writer, fault.status, {"message": fault.message})
        await asyncio.sleep(fault.seconds)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if path.endswith("/attach"):
            writer.write(b"HTTP/1.1 101 UPGRADED\r\n\r\n")
            await reader.read()
            return None
        if re.fullmatch(r"/exec/\d+/start", path):
            return await self._execute(int(path.split("/")[2]), reader, writer)
        status, document = self._carry_out(method, path, query, body)
        return None if fault.lost else _write(writer, status, document)

    def _fault(self, request: str) -> Fault:
        for pattern, fault in self.faults.items():
            if re.search(pattern, request) and fault.times:
                self.faults[pattern] = Fault(**{**fault.__dict__, "times": fault.times - 1})
                return fault
        return Fault()

    def _carry_out(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> tuple[int, Any]:
        words = path.strip("/").split("/")
        match method, *words:
            case "GET", "version":
                return 200, {"Arch": "amd64", **self.version}
            case "POST", "images", "load":
                self.images |= set(re.findall(r"lian/runner:[a-z0-9]+-[0-9a-f]{12}", body.decode("latin-1")))
                return 200, self.loaded
            case "GET", "images", *_:
                name = path.removeprefix("/images/").removesuffix("/json")
                return (200, {"Id": "sha256:0"}) if name in self.images else (404, {"message": "no such image"})
            case "GET", "volumes":
                return 200, {"Volumes": [v for v in self.volumes if _has(v["Labels"], query)]}
            case "DELETE", "volumes", name:
                self.volumes = [volume for volume in self.volumes if volume["Name"] != name]
                return 204, None
            case "GET", "containers", "json":
                own = [
                    {"Names": [f"/{n}"], "Labels": c["Labels"], "State": "running"} for n, c in self.containers.items()
                ]
                return 200, [entry for entry in [*own, *self.others] if _has(entry.get("Labels"), query)]
            case "POST", "containers", "create":
                name = query["name"]
                if name in self.containers:
                    return 409, {"message": f'Conflict. The container name "/{name}" is already in use'}
                self.containers[name] = json.loads(body)
                return 201, {"Id": f"id-{name}", "Warnings": []}
            case _, "containers", name, *rest:
                return self._container(method, name.removeprefix("id-"), rest, body)
        return 404, {"message": f"unknown: {method} {path}"}

    def _container(self, method: str, name: str, rest: list[str], body: bytes) -> tuple[int, Any]:
        found = self.containers.get(name)
        if found is None:
            return 404, {"message": f"No such container: {name}"}
        match method, *rest:
            case "GET", "json":
                state = {"Status": "running", "Running": True}
                return 200, {"Id": f"id-{name}", "Config": {"Labels": found["Labels"]}, "State": state}
            case ("DELETE",):
                del self.containers[name]
                return 204, None
            case "POST", "exec":
                self._commands.append(json.loads(body)["Cmd"])
                return 201, {"Id": str(len(self._commands) - 1)}
            case "PUT", "archive":
                return 200, None
            case "POST", "start":
                return 204, None
        return 404, {"message": "unknown"}

    async def _execute(self, number: int, reader: StreamReader, writer: StreamWriter) -> None:
        """A builder that answers to a greeting, and tells its version."""
        writer.write(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\n\r\n")
        command = self._commands[number]
        if self.hanging in " ".join(command):
            await asyncio.sleep(3600)
        elif self.flood:
            writer.write(_frame(self.flood))
            await asyncio.sleep(3600)
        elif any("--version" in word for word in command):
            writer.write(_frame(self.builder) + _frame(b".\n"))
            while self.used is not None and await reader.readline():
                writer.write(_frame(f"{self.used}.\n".encode()))
            await reader.read()
        elif command[-1] == "dial-stdio" and not self.mute:
            await reader.read(24)
            writer.write(_frame(SETTINGS[:4]) + _frame(SETTINGS[4:]))
            await reader.read()
        elif self.mute:
            await reader.read()


def _has(labels: object, query: Mapping[str, str]) -> bool:
    """Whether the labels are those that are asked for. A list may be said to hold more than it was asked for."""
    wanted = json.loads(query.get("filters", "{}")).get("label", [])
    return isinstance(labels, dict) and all(f"{k}={labels.get(k)}" == w for w in wanted for k in [w.partition("=")[0]])


def _frame(content: bytes, stream: int = 1) -> bytes:
    return bytes((stream, 0, 0, 0)) + len(content).to_bytes(4) + content


def _write(writer: StreamWriter, status: int, document: Any) -> None:
    body = b"" if document is None else (document if isinstance(document, str) else json.dumps(document)).encode()
    head = f"HTTP/1.1 {status} Said\r\nContent-Length: {len(body)}\r\nContent-Type: application/json\r\n\r\n"
    writer.write(head.encode() + body)


async def _chunks(head: str, reader: StreamReader) -> bytes:
    """A body of unknown length (RFC 9112, 7.1)."""
    if "chunked" not in head.lower():
        return b""
    content = b""
    while size := int((await reader.readline()).strip(), 16):
        content += await reader.readexactly(size)
        await reader.readexactly(2)
    return content
