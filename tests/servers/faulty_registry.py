"""An OCI registry in memory, in this process, on a free port, that fails on command.

It keeps the rules of distribution-spec 1.1 (with or without the referrers API), asks for a password or for tokens if
told so, and plays its own token service. Everything it is asked is kept in `requests`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import secrets
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from typing import Self

INDEX = "application/vnd.oci.image.index.v1+json"
USER, PASSWORD = "tester", "canary-password-7f3a"

DISCOVER, SEARCH = "/v2/_oci/ext/discover", "/v2/_zot/ext/search"
_PATH = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs/uploads|blobs|referrers|tags)/(?P<rest>.*)")


@dataclass(frozen=True)
class Answer:
    """What goes over the wire. `cut`: bytes of the body after which the connection is reset; `drip`: seconds between
    single bytes of the body; `reset`: no answer at all."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    drip: float = 0.0
    reset: bool = False


@dataclass
class Fault:
    """Applies to requests of `method` whose path matches, `times` times; gets the right answer and returns another."""

    method: str
    path: re.Pattern[str]
    times: int
    change: Callable[[Answer], Answer]


@dataclass(frozen=True)
class Seen:
    """One request as it came in; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]


def status(code: int, body: bytes = b"", **headers: str) -> Callable[[Answer], Answer]:
    """This answer instead; `Retry_After="1"` is the header Retry-After."""
    return lambda _: Answer(code, {k.replace("_", "-"): v for k, v in headers.items()}, body)


def html(code: int) -> Callable[[Answer], Answer]:
    """A web page."""
    return status(code, b"<!doctype html><title>Hello</title>", Content_Type="text/html; charset=utf-8")


def reset(_: Answer) -> Answer:
    """The connection is reset instead of an answer."""
    return Answer(reset=True)


def truncated(right: Answer) -> Answer:
    """The connection ends in the middle of the body."""
    return Answer(right.status, right.headers, right.body, cut=len(right.body) // 2)


def dripping(seconds: float) -> Callable[[Answer], Answer]:
    """The right body, one byte at a time."""
    return lambda right: Answer(right.status, right.headers, right.body, drip=seconds)


def headers(**changed: str | None) -> Callable[[Answer], Answer]:
    """The right answer with other headers; None takes one away."""

    def change(right: Answer) -> Answer:
        kept = {k.lower(): v for k, v in right.headers.items()}
        for name, value in changed.items():
            kept.pop(name.replace("_", "-").lower(), None)
            if value is not None:
                kept[name.replace("_", "-").lower()] = value
        return Answer(right.status, kept, right.body)

    return change


def body(data: bytes) -> Callable[[Answer], Answer]:
    """The right headers over another body, of whose length they tell."""

    def change(right: Answer) -> Answer:
        kept = {name: value for name, value in right.headers.items() if name.lower() != "content-length"}
        return Answer(right.status, kept, data)

    return change


class FaultyRegistry:
    """`auth` is None, "basic" or "bearer"; `referrers` says whether the referrers API exists.

    What registries differ in besides: `deletes` says what may be deleted by its `digest` or its `tag`, `mounts`
    whether blobs are mounted, `ranges` whether a part of a blob can be asked for, `strict` whether a chunk that does
    not continue the upload is refused (416) or just appended, `least` is the smallest chunk it takes. `search` says
    whether zot's search extension exists, `unlisted` what it leaves out, `behind` the tags it still tells of;
    `catalog` whether there is a catalogue; `page` is how many entries a page of the catalogue or of a list of tags
    has.
    """

    def __init__(self, *, referrers: bool = False, auth: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.referrers, self.auth = referrers, auth
        self.deletes = {"digest", "tag"}
        self.mounts, self.ranges, self.strict, self.least = True, True, True, 0
        self.uploads: dict[str, bytes] = {}
        self.search, self.catalog, self.page = False, True, 1000
        self.unlisted: set[tuple[str, str]] = set()
        self.behind: dict[tuple[str, str], str] = {}
        self.realm: str | None = None
        self.token_life: float = 300.0
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.tags: dict[tuple[str, str], str] = {}
        self.tokens: dict[str, tuple[str, ...]] = {}
        self.refresh_tokens: set[str] = set()
        self.requests: list[Seen] = []
        self.faults: list[Fault] = []
        self.lost: re.Pattern[str] | None = None
        """What is put here is taken with thanks, and forgotten."""
        self.interrupted: re.Pattern[str] | None = None
        """In the middle of what is sent here, the connection is reset."""
        self._lock = threading.RLock()
        self._tls = tls
        self._listen(0)

    def _listen(self, port: int) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = False
        if self._tls:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"{'https' if self._tls else 'http'}://{self.host}"

    @contextlib.contextmanager
    def running(self) -> Iterator[Self]:
        """Answers as long as the block lasts."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stop()

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """Nothing listens on its port as long as the block lasts."""
        port = self._server.server_address[1]
        self._stop()
        try:
            yield
        finally:
            self._listen(port)
            self._thread.start()

    def _stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fault(self, method: str, path: str, change: Callable[[Answer], Answer], times: int = 1 << 30) -> None:
        """From now on; earlier faults that still apply go first."""
        self.faults.append(Fault(method, re.compile(path), times, change))

    def asked(self, method: str, path: str = "") -> list[Seen]:
        """The requests of a method whose path matches."""
        return [seen for seen in self.requests if seen.method == method and re.search(path, seen.path)]

    def answer(self, seen: Seen, data: bytes) -> Answer:
        """The answer with the faults that apply."""
        with self._lock:
            self.requests.append(seen)
            right = self._lost(seen, data) or self._right(seen, data)
            for fault in self.faults:
                if fault.times and fault.method == seen.method and fault.path.search(seen.path):
                    fault.times -= 1
                    return fault.change(right)
            return right

    def _lost(self, seen: Seen, data: bytes) -> Answer | None:
        """The answer to what is forgotten at once; None for all else."""
        if seen.method != "PUT" or self.lost is None or not self.lost.search(seen.path):
            return None
        digest = parse_qs(urlsplit(seen.path).query).get("digest", [_digest(data)])[0]
        return Answer(201, {"Docker-Content-Digest": digest, "Location": seen.path.partition("?")[0]})

    def _right(self, seen: Seen, data: bytes) -> Answer:
        parts = urlsplit(seen.path)
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        if parts.path == "/token":
            return self._token(seen, parse_qs(parts.query or data.decode()))
        match = _PATH.fullmatch(parts.path)
        if match is None:
            return self._extension(seen, parts.path, query, data)
        if refusal := self._refusal(seen, match["name"]):
            return refusal
        name, rest = match["name"], match["rest"]
        match match["kind"]:
            case "manifests" if seen.method == "PUT":
                return self._put_manifest(name, rest, seen.headers.get("content-type", ""), data)
            case "manifests" if seen.method == "DELETE":
                return self._delete_manifest(name, rest)
            case "manifests":
                return self._get_manifest(name, rest)
            case "blobs/uploads" if seen.method == "POST":
                return self._start_upload(name, query)
            case "blobs/uploads":
                return self._upload(seen, name, rest, query, data)
            case "blobs":
                return self._get_blob(name, rest, seen.headers.get("range", ""))
            case "referrers" if self.referrers:
                return self._referrers(name, rest, query.get("artifactType"))
            case "tags" if rest == "list":
                return self._tags(name, query)
            case _:
                return Answer(404, {"Content-Type": "text/plain"}, b"404 page not found\n")

    def _extension(self, seen: Seen, path: str, query: dict[str, str], data: bytes) -> Answer:
        """What is not of one repository: the catalogue, and zot's search."""
        if path == "/v2/_catalog" and self.catalog:
            refusal = self._refusal(seen, "", ("registry:catalog:*",))
            return refusal or self._listed("repositories", {name for name, _ in self.manifests}, query, path)
        if self.search and path in {DISCOVER, SEARCH}:
            refusal = self._refusal(seen, "", ())
            return refusal or (self._discovered() if path == DISCOVER else self._searched(data))
        return _error(404, "UNSUPPORTED")

    def _discovered(self) -> Answer:
        """As zot answers (distribution-spec, extensions/_oci.md)."""
        extension = {"name": "_zot", "url": "", "description": "", "endpoints": [SEARCH, "/v2/_zot/ext/mgmt"]}
        return Answer(200, {"Content-Type": "application/json"}, json.dumps({"extensions": [extension]}).encode())

    def _searched(self, data: bytes) -> Answer:
        """All images that are listed, sorted, one page of them; the query must be the one that lists them."""
        asked = re.fullmatch(
            r'\{ImageList\(repo:"",requestedPage:\{limit:(\d+),offset:(\d+),sortBy:ALPHABETIC_ASC\}\)'
            r"\{Page\{TotalCount\} Results\{RepoName Tag Digest\}\}\}",
            json.loads(data)["query"],
        )
        assert asked, data
        entries = [
            {"RepoName": name, "Tag": tag, "Digest": digest}
            for (name, tag), digest in sorted((self.tags | self.behind).items())
            if (name, tag) not in self.unlisted
        ]
        page = entries[int(asked[2]) : int(asked[2]) + int(asked[1])]
        answer = {"data": {"ImageList": {"Page": {"TotalCount": len(entries)}, "Results": page}}}
        return Answer(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())

    def _tags(self, name: str, query: dict[str, str]) -> Answer:
        if not any(repository == name for repository, _ in self.manifests):
            return _error(404, "NAME_UNKNOWN")
        tags = {tag for repository, tag in self.tags if repository == name}
        return self._listed("tags", tags, query, f"/v2/{name}/tags/list")

    def _listed(self, what: str, names: set[str], query: dict[str, str], path: str) -> Answer:
        """A page of names after `last`, with a link to the next one."""
        rest = sorted(name for name in names if name > query.get("last", ""))
        page = rest[: self.page]
        link = {"Link": f'<{path}?last={page[-1]}&n={self.page}>; rel="next"'} if len(rest) > self.page else {}
        return Answer(200, {"Content-Type": "application/json"} | link, json.dumps({what: page or None}).encode())

    def _get_blob(self, name: str, digest: str, wanted: str) -> Answer:
        found = self.blobs.get((name, digest))
        if found is None:
            return _error(404, "BLOB_UNKNOWN")
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted)
        if part is None or not self.ranges:
            return Answer(200, {}, found)
        first, last = int(part[1]), min(int(part[2]), len(found) - 1)
        if first > last:
            return Answer(416, {"Content-Range": f"bytes */{len(found)}"})
        return Answer(206, {"Content-Range": f"bytes {first}-{last}/{len(found)}"}, found[first : last + 1])

    def _start_upload(self, name: str, query: dict[str, str]) -> Answer:
        mounted = (query.get("from", ""), query.get("mount", ""))
        if self.mounts and mounted in self.blobs:
            self.blobs[name, mounted[1]] = self.blobs[mounted]
            return Answer(201, {"Location": f"/v2/{name}/blobs/{mounted[1]}"})
        session = secrets.token_hex(4)
        self.uploads[session] = b""
        least = {"OCI-Chunk-Min-Length": str(self.least)} if self.least else {}
        return Answer(202, {"Location": f"/v2/{name}/blobs/uploads/{session}?state=kept"} | least)

    def _upload(self, seen: Seen, name: str, session: str, query: dict[str, str], data: bytes) -> Answer:
        if query.get("state") != "kept" or session not in self.uploads:
            return _error(404, "BLOB_UPLOAD_UNKNOWN")
        held = self.uploads[session]
        if seen.method in {"PATCH", "PUT"} and data and self.strict:
            start = int(seen.headers.get("content-range", "0").partition("-")[0])
            if start != len(held):
                return _error(416, "BLOB_UPLOAD_INVALID")
        if seen.method == "PATCH":
            held = self.uploads[session] = held + data
        elif seen.method == "PUT":
            return self._finish_upload(name, session, query, held + data)
        elif seen.method == "DELETE":
            del self.uploads[session]
            return Answer(204)
        at = {"Location": f"/v2/{name}/blobs/uploads/{session}?state=kept", "Range": f"0-{max(0, len(held) - 1)}"}
        return Answer(202 if seen.method == "PATCH" else 204, at)

    def _finish_upload(self, name: str, session: str, query: dict[str, str], data: bytes) -> Answer:
        if query["digest"] != _digest(data):
            return _error(400, "DIGEST_INVALID")
        del self.uploads[session]
        self.blobs[name, query["digest"]] = data
        return Answer(201, {"Location": f"/v2/{name}/blobs/{query['digest']}"})

    def _delete_manifest(self, name: str, rest: str) -> Answer:
        if ("digest" if ":" in rest else "tag") not in self.deletes:
            return _error(405, "UNSUPPORTED")
        if ":" not in rest:
            gone = self.tags.pop((name, rest), None)
            return Answer(202) if gone else _error(404, "MANIFEST_UNKNOWN")
        if self.manifests.pop((name, rest), None) is None:
            return _error(404, "MANIFEST_UNKNOWN")
        for tag in [tag for tag, digest in self.tags.items() if (tag[0], digest) == (name, rest)]:
            del self.tags[tag]
        return Answer(202)

    def _put_manifest(self, name: str, rest: str, media_type: str, data: bytes) -> Answer:
        digest, document = _digest(data), json.loads(data)
        if ":" in rest and rest != digest:
            return _error(400, "DIGEST_INVALID")
        parts = [*document.get("layers", ()), *([document["config"]] if "config" in document else ())]
        children = document.get("manifests", ())
        here = all((name, d["digest"]) in self.blobs for d in parts)
        if not here or not all(
            (name, d["digest"]) in self.manifests for d in children if not rest.startswith("sha256-")
        ):
            return _error(400, "MANIFEST_BLOB_UNKNOWN")
        self.manifests[name, digest] = (media_type, data)
        if ":" not in rest:
            self.tags[name, rest] = digest
        subject = {"OCI-Subject": document["subject"]["digest"]} if self.referrers and "subject" in document else {}
        return Answer(201, {"Docker-Content-Digest": digest, "Location": f"/v2/{name}/manifests/{digest}"} | subject)

    def _get_manifest(self, name: str, rest: str) -> Answer:
        digest = rest if ":" in rest else self.tags.get((name, rest), "")
        if (name, digest) not in self.manifests:
            return _error(404, "MANIFEST_UNKNOWN")
        media_type, data = self.manifests[name, digest]
        return Answer(200, {"Content-Type": media_type, "Docker-Content-Digest": digest}, data)

    def _referrers(self, name: str, subject: str, wanted: str | None) -> Answer:
        found = []
        for (repository, digest), (media_type, data) in self.manifests.items():
            document = json.loads(data)
            if repository != name or document.get("subject", {}).get("digest") != subject:
                continue
            entry: dict[str, Any] = {"mediaType": media_type, "digest": digest, "size": len(data)}
            entry["artifactType"] = document.get("artifactType") or document["config"]["mediaType"]
            found.append(entry | {"annotations": document.get("annotations", {})})
        filtered = {"OCI-Filters-Applied": "artifactType"} if wanted else {}
        kept = [e for e in found if not wanted or e["artifactType"] == wanted]
        listed = {"schemaVersion": 2, "mediaType": INDEX, "manifests": kept}
        return Answer(200, {"Content-Type": INDEX} | filtered, json.dumps(listed).encode())

    def _refusal(self, seen: Seen, name: str, needs: tuple[str, ...] | None = None) -> Answer | None:
        """What it answers without the right credential; `needs` are the scopes, if not the usual ones."""
        given = seen.headers.get("authorization", "")
        needed = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(seen.method, "push")
        if self.auth == "basic" and given != f"Basic {_pair()}":
            return _error(401, "UNAUTHORIZED", {"WWW-Authenticate": 'Basic realm="tests, and more"'})
        if self.auth == "bearer":
            granted = self.tokens.get(given.removeprefix("Bearer "), ())
            sources = parse_qs(urlsplit(seen.path).query).get("from", [])
            scopes = [f"repository:{name}:{needed}", *(f"repository:{source}:pull" for source in sources)]
            scopes = scopes if needs is None else list(needs)
            if not granted or not set(scopes) <= set(granted):
                realm = self.realm or f"{self.url}/token"
                asked = f'Bearer realm="{realm}",service="tests",scope="{" ".join(scopes)}"'
                return _error(401, "UNAUTHORIZED", {"WWW-Authenticate": asked})
        return None

    def _token(self, seen: Seen, query: dict[str, list[str]]) -> Answer:
        refresh = query.get("refresh_token", [""])[0]
        if seen.headers.get("authorization") != f"Basic {_pair()}" and refresh not in self.refresh_tokens:
            return _error(401, "UNAUTHORIZED")
        granted = []
        for scope in " ".join(query.get("scope", ())).split():
            repository, _, actions = scope.rpartition(":")
            granted += [f"{repository}:{action}" for action in actions.split(",")]
        token = f"canary-token-{secrets.token_hex(8)}"
        self.tokens[token] = tuple(granted)
        return Answer(
            200,
            {"Content-Type": "application/json"},
            json.dumps({"token": token, "expires_in": self.token_life}).encode(),
        )


def _handler(registry: FaultyRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def log_message(self, format: str, *args: object) -> None:
            """Tests look at `requests`."""

        def _serve(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            if length and registry.interrupted and registry.interrupted.search(self.path):
                self.rfile.read(length // 2)
                return self._cut()
            data = self.rfile.read(length)
            given = {k.lower(): v for k, v in self.headers.items()}
            return self._send(registry.answer(Seen(self.command, self.path, given), data))

        def _send(self, answer: Answer) -> None:
            if answer.reset:
                return self._cut()
            told = {name.lower() for name in answer.headers}
            lines = ({} if "content-length" in told else {"Content-Length": str(len(answer.body))}) | answer.headers
            head = f"HTTP/1.1 {answer.status} -\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n"
            content = b"" if self.command == "HEAD" else answer.body
            if answer.drip:
                return self._drip(head.encode("latin-1"), content, answer.drip)
            with contextlib.suppress(OSError):  # whoever asked may have read enough
                self.wfile.write(head.encode("latin-1") + content[: answer.cut])
            return self._cut() if answer.cut is not None and self.command != "HEAD" else None

        def _drip(self, head: bytes, content: bytes, seconds: float) -> None:
            with contextlib.suppress(OSError):  # whoever asked may give up
                self.wfile.write(head)
                for at in range(len(content)):
                    self.wfile.write(content[at : at + 1])
                    time.sleep(seconds)
            self.close_connection = True

        def _cut(self) -> None:
            """Closing with unsent linger time 0 sends RST instead of FIN."""
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True

        do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _serve

    return Handler


def _error(code: int, name: str, more: dict[str, str] | None = None) -> Answer:
    document = {"errors": [{"code": name, "message": name.lower().replace("_", " ")}]}
    return Answer(code, {"Content-Type": "application/json", **(more or {})}, json.dumps(document).encode())


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _pair() -> str:
    return base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
