"""git over http: the git that is installed, behind a server of the test's own. It counts, asks for a login, leads on to
another place, fails, or changes the repository between two requests."""

from __future__ import annotations

import base64
import contextlib
import itertools
import os
import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple

from tests.needs import not_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_LISTS = "/info/refs?service=git-upload-pack"


class Request(NamedTuple):
    """What was asked, and with which header `Authorization`."""

    method: str
    path: str
    login: str | None


@dataclass
class GitServer:
    """Serves the bare repositories below `root`. `login` is the `USER:PASSWORD` it asks for."""

    root: Path
    login: str | None = None
    redirect: str | None = None
    """The URL of another server, to which everything is sent on."""
    after_login: bool = False
    """Whether only who is logged in is sent on."""
    status: int = 0
    """Answers everything with this."""
    drips: bool = False
    """What is sent comes byte by byte, one every now and then, until this is False again or nobody listens."""
    drips_from: str = "POST"
    """What is sent so: answers to this method."""
    dripped: int = 0
    dripping: int = 0
    """To how many it drips now."""
    floods: bool = False
    """Tells refs without end."""
    before_fetch: Callable[[], None] | None = None
    """Done once, when somebody begins to fetch."""
    url: str = ""
    slowly: threading.Event = field(default_factory=threading.Event)
    """Set at the end: nothing drips any more."""
    seen: list[Request] = field(default_factory=list)
    sent: int = 0
    """Bytes of what was fetched."""

    @property
    def listed(self) -> int:
        """How often somebody asked what the refs are, and was answered."""
        asked = [request for request in self.seen if request.path.endswith(_LISTS)]
        return sum(request.login is not None or self.login is None for request in asked)

    def fresh(self) -> None:
        """Count from zero."""
        self.seen.clear()
        self.sent = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    git: GitServer

    def do_GET(self) -> None:
        self._answer(b"")

    def do_CONNECT(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            self._answer(self._chunks())
        else:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, body: bytes) -> None:
        git, given = self.git, self.headers.get("Authorization")
        git.seen.append(Request(self.command, self.path, given))
        if git.redirect and (given or not git.after_login):
            self._send(301, [("Location", git.redirect + self.path)], b"")
        elif git.status:
            self._send(git.status, [], b"")
        elif git.floods:
            self._flood()
        elif git.login and given != f"Basic {base64.b64encode(git.login.encode()).decode()}":
            self._send(401, [("WWW-Authenticate", 'Basic realm="git"')], b"")
        else:
            if self.command == "POST" and (change := git.before_fetch):
                git.before_fetch = None
                change()
            self._send(*self._backend(body))

    def _backend(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """git-http-backend(1), as a CGI program."""
        path, _, query = self.path.partition("?")
        environ = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.git.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type") or "",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=environ, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line]
        status = next((int(value.split()[0]) for name, value in fields if name == "Status"), 200)
        if self.command == "POST":
            self.git.sent += len(content)
        return status, [(name, value) for name, value in fields if name != "Status"], content

    def _send(self, status: int, fields: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        for name, value in (*fields, ("Content-Length", str(len(content)))):
            self.send_header(name, value)
        self.end_headers()
        if self.git.drips and self.command == self.git.drips_from:
            self.git.dripping += 1
            try:
                content = self._drip(content)
            finally:
                self.git.dripping -= 1
        self.wfile.write(content)

    def _flood(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
        self.send_header("Content-Length", str(1 << 40))
        self.end_headers()
        first = b"%040x HEAD\0ofs-delta shallow\n" % 1
        self.wfile.write(b"001e# service=git-upload-pack\n0000%04x%s" % (len(first) + 4, first))
        for number in itertools.count():
            lines = (b"%040x refs/heads/%0900d%06d\n" % (1, number, each) for each in range(1000))
            self.wfile.write(b"".join(b"%04x%s" % (len(line) + 4, line) for line in lines))

    def _drip(self, content: bytes) -> bytes:
        """What is left to be sent at once."""
        while content and self.git.drips:
            self.wfile.write(content[:1])
            content = content[1:]
            self.git.dripped += 1
            self.git.slowly.wait(0.2)
        return content

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is killed or has had enough is no error."""


@contextlib.contextmanager
def git_server(root: Path, login: str | None = None, redirect: str | None = None) -> Iterator[GitServer]:
    """A server on a free port, ready when this returns."""
    git = shutil.which("git")
    if git is None:
        not_run("git is not on PATH")
    git_served = GitServer(root, login, redirect)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"git": git_served}))
    git_served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield git_served
    finally:
        git_served.drips = False
        git_served.slowly.set()
        server.shutdown()
        thread.join()
        server.server_close()
