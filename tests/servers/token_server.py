"""A token service (distribution: docs/content/spec/auth), in this process, whose tokens a real registry verifies.

It signs JWTs with a certificate of its own authority; a registry gets that authority as `auth.token.rootcertbundle`.
Users have a password, or a refresh token to be sent by POST, and rights on repositories by pattern. What it was asked
is kept in `asked`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.servers.certificates import Authority

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.servers.certificates import Certified

SERVICE, ISSUER = "lian-tests", "lian-tests-issuer"
CATALOG = "registry:catalog:*"
"""The scope of the list of all repositories."""


@dataclass(frozen=True)
class User:
    """`rights` are (pattern of repositories, actions) pairs."""

    password: str
    rights: Sequence[tuple[str, frozenset[str]]]
    refresh: str | None = None

    def may(self, repository: str) -> frozenset[str]:
        """The actions on a repository."""
        return frozenset().union(*(actions for pattern, actions in self.rights if fnmatchcase(repository, pattern)))

    @property
    def lists(self) -> bool:
        """Whether it may list all repositories."""
        return False


NOBODY = User("", ())
READ, WRITE = frozenset({"pull"}), frozenset({"pull", "push", "delete"})


@dataclass(frozen=True)
class Asked:
    """One request for a token: how, by whom (None: anonymously), for which scopes."""

    method: str
    user: str | None
    scopes: tuple[str, ...]
    url_length: int
    headers: Mapping[str, str]


@dataclass
class TokenServer:
    """`most` bounds how many scopes of a request are granted; a service with `strict` refuses a request for more.
    `life` is what tokens live, in seconds (`first_lives` what the first ones do); `told_life` what the answer says of
    it (None: nothing). `age` is how long ago it says that it issued them. `opaque` tokens are no JWTs: no real registry
    takes them. `status` is what it answers instead of a token."""

    users: Mapping[str, User]
    anonymous: User = NOBODY
    tls: ssl.SSLContext | None = None
    most: int | None = None
    strict: bool = False
    life: float = 300.0
    first_lives: list[float] = field(default_factory=list)
    told_life: float | None = 300.0
    age: float = 0.0
    opaque: bool = False
    status: int | None = None
    asked: list[Asked] = field(default_factory=list)
    issued: dict[str, dict[str, frozenset[str]]] = field(default_factory=dict)
    """Token -> repository, or CATALOG -> actions."""

    def __post_init__(self) -> None:
        self.authority = Authority("lian-tests-tokens")
        self._signer: Certified = self.authority.issue("signer")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = False
        if self.tls:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def realm(self) -> str:
        """Its URL."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._server.server_address[1]}/token"

    def settings(self, folder: Path) -> dict[str, Any]:
        """The `auth` part of a distribution registry's settings that trusts it."""
        bundle = folder / "token-authority.pem"
        bundle.write_text(self.authority.pem)
        token = {"realm": self.realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(bundle)}
        return {"token": token}

    @contextlib.contextmanager
    def running(self) -> Iterator[TokenServer]:
        """Answers as long as the block lasts."""
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def answer(
        self, method: str, query: dict[str, list[str]], headers: Mapping[str, str], length: int
    ) -> tuple[int, bytes]:
        """Status and body."""
        scopes = tuple(scope for one in query.get("scope", ()) for scope in one.split())
        name, user = self._who(query, headers)
        self.asked.append(Asked(method, name, scopes, length, headers))
        if self.status is not None:
            return self.status, b"<html>down</html>"
        if user is None or "service" not in query:
            return 401, _error("UNAUTHORIZED", "authentication required")
        if self.strict and self.most is not None and len(scopes) > self.most:
            return 400, _error("UNSUPPORTED", "too many scopes")
        granted: dict[str, frozenset[str]] = {}
        for scope in scopes[: self.most]:
            kind, repository, actions = scope.split(":", 1)[0], *scope.split(":", 1)[1].rsplit(":", 1)
            if scope == CATALOG and user.lists:
                granted[CATALOG] = frozenset("*")
            elif kind == "repository":
                granted[repository] = granted.get(repository, frozenset()) | user.may(repository) & set(
                    actions.split(",")
                )
        return 200, self._document(name or "", granted)

    def _who(self, query: dict[str, list[str]], headers: Mapping[str, str]) -> tuple[str | None, User | None]:
        given = headers.get("authorization", "")
        refresh = query.get("refresh_token", [""])[0]
        if refresh:
            return next(((n, u) for n, u in self.users.items() if u.refresh == refresh), (None, None))
        if query.get("username"):  # the password grant, which BuildKit's client tries first
            given = "Basic " + base64.b64encode(f"{query['username'][0]}:{query['password'][0]}".encode()).decode()
        if not given:
            return None, self.anonymous
        name, _, password = base64.b64decode(given.removeprefix("Basic ")).decode().partition(":")
        user = self.users.get(name)
        return (name, user) if user and user.password == password else (name, None)

    def _document(self, name: str, granted: dict[str, frozenset[str]]) -> bytes:
        token = f"opaque-{secrets.token_hex(8)}" if self.opaque else self._signed(name, granted)
        self.issued[token] = granted
        document: dict[str, Any] = {"token": token, "access_token": token}
        if self.told_life is not None:
            document["expires_in"] = int(self.told_life)  # BuildKit reads a whole number only
        if self.age:
            document["issued_at"] = datetime.fromtimestamp(time.time() - self.age, UTC).isoformat()
        return json.dumps(document).encode()

    def _signed(self, name: str, granted: dict[str, frozenset[str]]) -> str:
        """RFC 7519, with ES256 (RFC 7518, 3.4) and the certificate in `x5c`."""
        now, life = time.time(), self.first_lives.pop(0) if self.first_lives else self.life
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(self._signer.der).decode()]}
        access = [_resource(r) | {"actions": sorted(a)} for r, a in granted.items() if a]
        claims = {
            "iss": ISSUER, "sub": name, "aud": SERVICE, "jti": secrets.token_hex(8), "access": access,
            "iat": int(now), "nbf": int(now) - 10, "exp": int(now + life),
        }  # fmt: skip
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
        r, s = decode_dss_signature(self._signer.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _resource(granted: str) -> dict[str, Any]:
    kind, name = ("registry", "catalog") if granted == CATALOG else ("repository", granted)
    return {"type": kind, "name": name}


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _error(code: str, message: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


def _handler(server: TokenServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def log_message(self, format: str, *args: object) -> None:
            """Tests look at `asked`."""

        def _serve(self) -> None:
            data = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
            query = parse_qs(data if self.command == "POST" else urlsplit(self.path).query)
            headers = {k.lower(): v for k, v in self.headers.items()}
            status, body = server.answer(self.command, query, headers, len(self.path))
            self.send_response_only(status)
            self.send_header("Date", format_datetime(datetime.now(UTC), usegmt=True))
            self.send_header("Content-Type", "application/json" if status != server.status else "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _serve

    return Handler
