"""The Docker Engine API over its unix socket: what is asked of it, and what it answers.

A connection for each request: they are few and local, and a client that outlives its event loop would be in the way.
"""

from __future__ import annotations

import asyncio
import errno
import json
import ssl
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from reconciler.finishing import to_its_end
from reconciler.model.problem import LianError
from reconciler.providers.compute.docker import problems
from reconciler.providers.compute.docker.hijack import Connection, hijack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from reconciler.model.problem import Problem

OLDEST, NEWEST = (1, 41), (1, 47)
"""Of the API: what the requests here need, and the latest that they were written for."""
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
"""How long an answer may take: a container is made on a disk that may be busy."""
LOAD_SECONDS = 600.0
"""How long the taking of an image may be silent."""
GONE_SECONDS = 20.0
"""How long a removal that someone else began may take."""
MAX_ANSWER = 1 << 24
"""Bytes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, and the content."""

    status: int
    content: bytes

    @property
    def document(self) -> Any:
        """Parsed. None if it is no JSON."""
        try:
            return json.loads(self.content)
        except ValueError:
            return None

    @property
    def message(self) -> str:
        """What Docker says of an error."""
        document = self.document
        told = document.get("message") if isinstance(document, dict) else None
        return str(told or self.content[:500].decode(errors="replace").strip() or "no reason was given")


@dataclass(frozen=True, slots=True)
class Version:
    """What answers: `api` the version that is spoken, `architecture` in Go's words."""

    api: str
    engine: str
    architecture: str


class Engine:
    """One Docker. Every call raises LianError `docker-missing`, `docker-forbidden`, `docker-silent`, `docker-lost`,
    `docker-refused`, `docker-unsuitable` or `disk-full`."""

    def __init__(self, socket: Path, seconds: float = ANSWER_SECONDS) -> None:
        self.socket = socket
        self._seconds = seconds
        self._version: Version | None = None

    async def version(self) -> Version:
        """Asked once."""
        if self._version is None:
            answer = await self._ask("tell its version", "GET", "/version")
            self._version = _version(_accepted("tell its version", answer, {200}).document)
        return self._version

    async def container(self, name: str) -> Mapping[str, Any] | None:
        """What is told of a container; None if there is none."""
        what = f"describe the container {name}"
        answer = await self.ask(what, "GET", f"/containers/{_word(name)}/json")
        return None if answer.status == 404 else _mapping(what, _accepted(what, answer, {200}))

    async def containers(self, labels: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        """All with these labels (`name=value`), running or not."""
        what, query = "list containers", {"all": "true", "filters": json.dumps({"label": list(labels)})}
        answer = await self.ask(what, "GET", "/containers/json", query=query)
        return _entries(what, _accepted(what, answer, {200}).document)

    async def volumes(self, labels: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        """All with these labels."""
        what, query = "list volumes", {"filters": json.dumps({"label": list(labels)})}
        found = _mapping(what, _accepted(what, await self.ask(what, "GET", "/volumes", query=query), {200}))
        return _entries(what, found.get("Volumes") or [])

    async def remove_volume(self, name: str) -> None:
        """Gone already is fine."""
        what = f"remove the volume {name}"
        _accepted(what, await self.ask(what, "DELETE", f"/volumes/{_word(name)}"), {204, 404})

    async def create(self, name: str, body: Mapping[str, Any]) -> str | None:
        """Make a container; its id, or None if the name is taken. Once sent, the request is waited for even when this
        is cancelled: what Docker makes of it has to be known."""
        what = f"make the container {name}"
        answer = await to_its_end(self.ask(what, "POST", "/containers/create", query={"name": name}, document=body))
        if answer.status == 409:
            return None
        return str(_mapping(what, _accepted(what, answer, {201})).get("Id"))

    async def upload(self, container: str, archive: bytes) -> None:
        """Unpack a tar at the root of a container, running or not."""
        what = "take the builder's configuration"
        path = f"/containers/{_word(container)}/archive"
        _accepted(what, await self.ask(what, "PUT", path, query={"path": "/"}, content=archive), {200})

    async def start(self, container: str) -> None:
        """Start it; one that runs is left as it is."""
        what = "start the container"
        _accepted(what, await self.ask(what, "POST", f"/containers/{_word(container)}/start"), {204, 304})

    async def remove(self, container: str) -> None:
        """Kill it, and remove it with its volumes; gone already is fine. It is gone when this returns."""
        what = f"remove the container {container[:12]}"
        query = {"force": "true", "v": "true"}
        answer = await self.ask(what, "DELETE", f"/containers/{_word(container)}", query=query)
        if answer.status == 409 and await self._goes(container):
            return
        _accepted(what, answer, {204, 404})

    async def _goes(self, container: str) -> bool:
        """Whether a removal that goes on already comes to its end."""
        try:
            async with asyncio.timeout(GONE_SECONDS):
                while await self.container(container) is not None:  # noqa: ASYNC110 - nothing tells us but Docker
                    await asyncio.sleep(0.05)
        except TimeoutError:
            return False
        return True

    async def image(self, name: str) -> Mapping[str, Any] | None:
        """What is told of an image; None if it is not there."""
        what = f"describe the image {name}"
        answer = await self.ask(what, "GET", f"/images/{quote(name, safe='/:@')}/json")
        return None if answer.status == 404 else _mapping(what, _accepted(what, answer, {200}))

    async def load(self, archive: AsyncIterator[bytes]) -> None:
        """Take the images of an archive as `docker save` writes them. Errors come inside of a 200, too."""
        what = "load the runner's image"
        query = {"quiet": "true"}
        answer = await self.ask(what, "POST", "/images/load", query=query, content=archive, seconds=LOAD_SECONDS)
        told = _accepted(what, answer, {200}).content.decode(errors="replace")
        for line in told.splitlines():
            if '"error"' in line or '"errorDetail"' in line:
                raise LianError(problems.refused(what, Answer(500, _error_of(line))))

    async def running(self, container: str, command: Sequence[str]) -> Connection:
        """A process in a running container, with its input and its output; it is to end when its input does."""
        what = f"run {command[0]} in the builder's container"
        wanted = {"Cmd": list(command), "AttachStdin": True, "AttachStdout": True, "AttachStderr": True}
        answer = await self.ask(what, "POST", f"/containers/{_word(container)}/exec", document=wanted)
        made = _mapping(what, _accepted(what, answer, {201})).get("Id")
        return await self._hijacked(what, f"/exec/{_word(str(made))}/start", {"Detach": False, "Tty": False})

    async def attached(self, container: str) -> Connection:
        """The output of a container, from its start if it has not been started; it ends with the container."""
        path = f"/containers/{_word(container)}/attach?stream=1&stdout=1&stderr=1&logs=1"
        return await self._hijacked("show the builder's output", path, None)

    async def _hijacked(self, what: str, path: str, document: Mapping[str, Any] | None) -> Connection:
        try:
            async with asyncio.timeout(self._seconds):
                status, connection = await hijack(self.socket, await self._prefix() + path, document)
        except TimeoutError as error:
            raise LianError(problems.silent(what, self._seconds)) from error
        except asyncio.IncompleteReadError as error:
            raise LianError(problems.lost(what, "there was no whole answer")) from error
        except OSError as error:
            raise LianError(self._broken(what, error)) from error
        if status not in {101, 200}:
            await connection.close()
            raise LianError(problems.refused(what, Answer(status, connection.refusal)))
        return connection

    async def ask(
        self,
        what: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        document: Mapping[str, Any] | None = None,
        content: bytes | AsyncIterator[bytes] | None = None,
        seconds: float | None = None,
    ) -> Answer:
        """One request in the version that both know. `what` says for a person what is asked."""
        path = await self._prefix() + path
        return await self._ask(what, method, path, query=query, document=document, content=content, seconds=seconds)

    async def _prefix(self) -> str:
        return f"/v{(await self.version()).api}"

    async def _ask(
        self,
        what: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        document: Mapping[str, Any] | None = None,
        content: bytes | AsyncIterator[bytes] | None = None,
        seconds: float | None = None,
    ) -> Answer:
        seconds = self._seconds if seconds is None else seconds
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket), verify=_no_tls())
        timeout = httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
        headers = {"Content-Type": "application/x-tar"} if content is not None else {}
        try:
            async with (
                httpx.AsyncClient(transport=transport, timeout=timeout, trust_env=False) as client,
                client.stream(
                    method, f"http://docker{path}", params=query, json=document, content=content, headers=headers
                ) as response,
            ):
                return Answer(response.status_code, await _content(response))
        except httpx.TimeoutException as error:
            raise LianError(problems.silent(what, seconds)) from error
        except httpx.HTTPError as error:
            raise LianError(self._broken(what, error)) from error

    def _broken(self, what: str, error: Exception) -> Problem:
        """A connection that could not be made is told apart from one that ended."""
        cause = _os_error(error)
        refused = cause is not None and cause.errno in {errno.ENOENT, errno.ECONNREFUSED, errno.EACCES, errno.EPERM}
        if refused or isinstance(error, httpx.ConnectError):
            return problems.unreachable(self.socket, cause, str(error))
        return problems.lost(what, str(error) or type(error).__name__)


@cache
def _no_tls() -> ssl.SSLContext:
    """A socket needs none; the client's own context would read the machine's certificates each time."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


async def _content(response: httpx.Response) -> bytes:
    content = b""
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > MAX_ANSWER:
            raise httpx.RemoteProtocolError(f"the answer is longer than {MAX_ANSWER} bytes")
    return content


def _version(document: Any) -> Version:
    """Raises LianError `docker-unsuitable` for what is too old, too new or builds no Linux images."""
    try:
        highest, lowest = _numbers(document["ApiVersion"]), _numbers(document.get("MinAPIVersion", "1.0"))
        told = Version("", str(document["Version"]), str(document["Arch"]))
        system = str(document["Os"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = "what answers at Docker's socket does not tell Docker's version"
        raise LianError(problems.unsuitable(what, "check `compute.url` and DOCKER_HOST")) from error
    if system != "linux":
        what = f"Docker runs containers of {system}, and builders need Linux"
        raise LianError(problems.unsuitable(what, "switch Docker to Linux containers"))
    if highest < OLDEST or lowest > NEWEST:
        spoken = f"{_text(lowest)} to {_text(highest)}"
        what = f"Docker {told.engine} speaks versions {spoken} of its API, and lian {_text(OLDEST)} to {_text(NEWEST)}"
        hint = "use Docker 20.10 or newer" if highest < OLDEST else "use a newer lian"
        raise LianError(problems.unsuitable(what, hint))
    return Version(_text(min(highest, NEWEST)), told.engine, told.architecture)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split("."))


def _text(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))


def _accepted(what: str, answer: Answer, statuses: set[int]) -> Answer:
    if answer.status not in statuses:
        raise LianError(problems.refused(what, answer))
    return answer


def _mapping(what: str, answer: Answer) -> Mapping[str, Any]:
    document = answer.document
    if not isinstance(document, dict):
        raise LianError(problems.lost(what, "the answer is no JSON object"))
    return document


def _entries(what: str, document: Any) -> Sequence[Mapping[str, Any]]:
    if not isinstance(document, list):
        raise LianError(problems.lost(what, "the answer is no list"))
    return [entry for entry in document if isinstance(entry, dict)]


def _error_of(line: str) -> bytes:
    """One line of a stream that tells of progress, in the form of an error."""
    try:
        told = json.loads(line)["error"]
    except (ValueError, KeyError, TypeError):
        told = line
    return json.dumps({"message": told}).encode()


def _word(text: str) -> str:
    return quote(text, safe="")


def _os_error(error: BaseException | None) -> OSError | None:
    """The system's own error below those of libraries."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error
        error = error.__cause__ or error.__context__
    return None
