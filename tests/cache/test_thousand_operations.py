"""1,000 operations on a real registry that asks for tokens: each account does what it likes in every namespace, by HTTP
alone, and what the registry lets it do is what the rules say, and nothing else.

The client is no part of lian: it does what any client does that is asked for a token (distribution: docs/content/spec,
auth/token.md).
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from reconciler.cache import rules
from reconciler.cache.namespace import Layout, Namespace
from reconciler.cache.rights import Ground
from reconciler.model.access import Access, ActorAccess
from reconciler.model.cache import BuildMode, Ci, Session
from tests.cache.faults import FAULTS
from tests.cache.rooms import REAL
from tests.servers.secured_registry import run_secured
from tests.servers.token_server import TokenServer
from tests.servers.token_server import User as TokenUser

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.cache.rooms import Room

OPERATIONS = 1000
LAYOUT = Layout("cache")
WORKSPACES = ("shop", "b-c", "c")
MODES: dict[str, tuple[BuildMode, tuple[str, ...]]] = {
    "ci": (Ci(), WORKSPACES),
    "ada": (Session("ada"), WORKSPACES),
    "bob": (Session("bob"), ("shop", "c")),
    "ada-b": (Session("ada-b"), ("c",)),
}
"""Accounts: whose each is, and the workspaces it is let into. `ada` with `b-c` and `ada-b` with `c` join alike if that
is done without care."""
ACTORS = {name: ActorAccess((name,), spaces) for name, (mode, spaces) in MODES.items() if isinstance(mode, Session)}
NAMESPACES = [Namespace(workspace, actor) for workspace in WORKSPACES for actor in (None, *ACTORS)]
ARTIFACTS = ("api", "worker")
KINDS = {"start": 1, "write": 4, "read": 3, "delete": 2, "mount": 2}
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
REFUSED = 401
"""What distribution answers to a token that does not go far enough."""
_THING = re.compile(r"/v2/.+/(blobs|manifests|tags)/")


def may_read(account: str, namespace: Namespace) -> bool:
    """By the rules, for the workspaces that the account has."""
    mode, workspaces = MODES[account]
    return namespace.workspace in workspaces and rules.may_read(mode, namespace.workspace, namespace)


def may_write(account: str, namespace: Namespace) -> bool:
    """By the rules, for the workspaces that the account has."""
    mode, workspaces = MODES[account]
    return namespace.workspace in workspaces and rules.may_write(mode, namespace.workspace, namespace)


@dataclass
class Client:
    """Somebody with an account."""

    host: str
    account: str
    tokens: dict[str, str] = field(default_factory=dict)
    _known: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection(self.host, timeout=30)

    def ask(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body; where a token is asked for, with a token of the scope that was named. What it was
        for the same kind of thing is tried first."""
        kind = f"{method} {_THING.match(target)[0]} {parse_qs(urlsplit(target).query).get('from')}"  # type: ignore[index]
        answer = self._send(method, target, body, {**(headers or {}), **self._known.get(kind, {})})
        if answer[0] == REFUSED:
            self._known[kind] = {"Authorization": f"Bearer {self._token(answer[1]['www-authenticate'])}"}
            answer = self._send(method, target, body, {**(headers or {}), **self._known[kind]})
        return answer

    def _send(
        self, method: str, target: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        self._connection.request(method, target, body, headers)
        response = self._connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()

    def _token(self, challenge: str) -> str:
        asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        if (scope := asked.get("scope", "")) not in self.tokens:
            realm = urlsplit(asked["realm"])
            connection = http.client.HTTPConnection(realm.netloc, timeout=30)
            login = base64.b64encode(f"{self.account}:of {self.account}".encode()).decode()
            query = urlencode([("service", asked["service"]), *(("scope", each) for each in scope.split())])
            connection.request("GET", f"{realm.path}?{query}", headers={"Authorization": f"Basic {login}"})
            self.tokens[scope] = json.loads(connection.getresponse().read())["token"]
            connection.close()
        return self.tokens[scope]

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


@dataclass
class Held:
    """What the registry holds: repository -> digest of a manifest -> (tag, who wrote it), and blobs."""

    manifests: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)
    blobs: dict[str, set[str]] = field(default_factory=dict)


@dataclass
class Trial:
    """The operations: each says whether it was let through, and keeps what it changed."""

    random: random.Random
    held: Held = field(default_factory=Held)
    number: int = 0

    def start(self, client: Client, path: str, _: str) -> bool:
        """An upload is begun."""
        status, _headers, _body = client.ask("POST", f"/v2/{path}/blobs/uploads/")
        return _let(status, 202)

    def write(self, client: Client, path: str, _: str) -> bool:
        """A blob and a manifest that names it, under a tag."""
        self.number += 1
        blob = json.dumps({"by": client.account, "number": self.number}).encode()
        status, headers, _body = client.ask("POST", f"/v2/{path}/blobs/uploads/")
        if not _let(status, 202):
            # and without asking whether it may begin: the manifest alone, of a blob that lies there
            known = sorted(self.held.blobs.get(path, ())) or [_digest(blob)]
            return self._put(client, path, known[0], len(blob))
        upload = urlsplit(headers["location"])
        status, _headers, _body = client.ask(
            "PUT", f"{upload.path}?{upload.query}&{urlencode({'digest': _digest(blob)})}", blob
        )
        assert status == 201
        self.held.blobs.setdefault(path, set()).add(_digest(blob))
        return self._put(client, path, _digest(blob), len(blob))

    def _put(self, client: Client, path: str, blob: str, size: int) -> bool:
        entry = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": blob, "size": size}
        document: dict[str, Any] = {"schemaVersion": 2, "mediaType": MANIFEST, "config": entry, "layers": [entry]}
        document["annotations"] = {"by": client.account, "number": str(self.number)}
        manifest, tag = json.dumps(document).encode(), self.random.choice(["linux-amd64", "linux-arm64", "x.mounts"])
        status, _headers, _body = client.ask("PUT", f"/v2/{path}/manifests/{tag}", manifest, {"Content-Type": MANIFEST})
        if done := _let(status, 201):
            there = self.held.manifests.setdefault(path, {})
            for digest, (other, by) in list(there.items()):
                there[digest] = ("" if other == tag else other, by)
            there[_digest(manifest)] = (tag, client.account)
        return done

    def read(self, client: Client, path: str, _: str) -> bool:
        """A manifest by its tag, and its blob."""
        there = self.held.manifests.get(path, {})
        digest, (tag, _by) = self.random.choice(list(there.items()) or [("", ("linux-amd64", ""))])
        status, _headers, body = client.ask(
            "GET", f"/v2/{path}/manifests/{tag or digest}", headers={"Accept": MANIFEST}
        )
        if not _let(status, 200, 404):
            blob = next(iter(self.held.blobs.get(path, ())), f"sha256:{'0' * 64}")
            assert not _let(client.ask("GET", f"/v2/{path}/blobs/{blob}")[0], 200, 404)
            return False
        assert (status == 200) == bool(there)
        if there:
            assert _digest(body) == digest
            assert client.ask("GET", f"/v2/{path}/blobs/{json.loads(body)['config']['digest']}")[0] == 200
        return True

    def delete(self, client: Client, path: str, _: str) -> bool:
        """A manifest by its digest."""
        there = self.held.manifests.get(path, {})
        digest = self.random.choice(list(there) or [f"sha256:{'0' * 64}"])
        status, _headers, _body = client.ask("DELETE", f"/v2/{path}/manifests/{digest}")
        if done := _let(status, 202, 404):
            assert (status == 202) == (there.pop(digest, None) is not None)
        return done

    def mount(self, client: Client, path: str, other: str) -> bool:
        """A blob of another repository is taken over without being pulled."""
        blob = self.random.choice(sorted(self.held.blobs.get(other, ())) or [f"sha256:{'0' * 64}"])
        query = urlencode({"mount": blob, "from": other})
        status, _headers, _body = client.ask("POST", f"/v2/{path}/blobs/uploads/?{query}")
        if status == 201:
            assert blob in self.held.blobs.get(other, ())
            self.held.blobs.setdefault(path, set()).add(blob)
        return _let(status, 201, 202)


def _let(status: int, *good: int) -> bool:
    assert status in {*good, REFUSED}, f"HTTP {status}"
    return status != REFUSED


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def allowed(kind: str, account: str, namespace: Namespace, other: Namespace) -> bool:
    """What the rules say of an operation."""
    match kind:
        case "read":
            return may_read(account, namespace)
        case "mount":
            return may_write(account, namespace) and may_read(account, other)
    return may_write(account, namespace)


def operations(seed: int) -> Iterator[tuple[str, str, Namespace, Namespace, str]]:
    """(what, account, where, from where, artifact): half of them where the account is at home."""
    drawn = random.Random(seed)
    for _ in range(OPERATIONS):
        (kind,) = drawn.choices(list(KINDS), list(KINDS.values()))
        account = drawn.choice(list(MODES))
        near = [each for each in NAMESPACES if may_read(account, each)]
        where = drawn.choice(drawn.choice([near, NAMESPACES]))
        yield kind, account, where, drawn.choice(drawn.choice([near, NAMESPACES])), drawn.choice(ARTIFACTS)


def users(room: Room) -> dict[str, TokenUser]:
    """As the room's territories say, in the words of the token service."""
    found = room.territories(Access(("ci",), ACTORS), Ground(LAYOUT, Layout(""), (), WORKSPACES))
    given: dict[str, list[tuple[str, frozenset[str]]]] = {account: [] for account in MODES}
    for territory in found:
        for account, rights in territory.rights:
            given[account].append((f"{territory.folder}/*", frozenset(map(str, rights))))
    everything = TokenUser("of admin", [("*", frozenset({"pull"}))])
    return {account: TokenUser(f"of {account}", those) for account, those in given.items()} | {"admin": everything}


def run(room: Room, folder: Path) -> Counter[tuple[str, bool]]:
    """All operations, on a registry with the room's rights: how many of each kind were let through, and were not."""
    outcomes: Counter[tuple[str, bool]] = Counter()
    trial = Trial(random.Random(2))
    with TokenServer(users(room)).running() as tokens, run_secured(folder, tokens=tokens) as server:
        clients = {account: Client(server.host, account) for account in (*MODES, "admin")}
        try:
            for kind, account, where, other, artifact in operations(1):
                path, source = LAYOUT.repository(where, artifact), LAYOUT.repository(other, artifact)
                let = getattr(trial, kind)(clients[account], path, source)
                assert let == allowed(kind, account, where, other), f"{account}: {kind} {path} ({source})"
                outcomes[kind, let] += 1
            _look(clients["admin"], trial.held)
        finally:
            for client in clients.values():
                client.close()
    return outcomes


@pytest.mark.slow
def test_a_registry_lets_everyone_do_what_the_rules_say(tmp_path: Path) -> None:
    outcomes = run(REAL, tmp_path / "server")
    assert outcomes.total() == OPERATIONS
    assert all(outcomes[kind, let] >= 10 for kind in KINDS for let in (True, False)), outcomes


@pytest.mark.parametrize("name", ["CI's accounts pull dev", "actors' accounts push ci", "nobody may delete"])
def test_a_registry_with_other_rights_is_found_out(name: str, tmp_path: Path) -> None:
    (room,) = (fault.room for fault in FAULTS if fault.room.name == name)
    with pytest.raises(AssertionError, match=r": (read|mount|write|start|delete) cache/"):
        run(room, tmp_path / "server")


def _look(admin: Client, held: Held) -> None:
    """What lies there was written by whom the rules let, and is what was written and not deleted."""
    written = 0
    for namespace in NAMESPACES:
        for artifact in ARTIFACTS:
            path = LAYOUT.repository(namespace, artifact)
            there = held.manifests.get(path, {})
            status, _headers, body = admin.ask("GET", f"/v2/{path}/tags/list")
            tags = set((json.loads(body)["tags"] or ()) if status == 200 else ())
            assert tags == {tag for tag, _ in there.values() if tag}
            for digest, (_tag, by) in there.items():
                status, _headers, body = admin.ask(
                    "GET", f"/v2/{path}/manifests/{digest}", headers={"Accept": MANIFEST}
                )
                assert (status, _digest(body)) == (200, digest)
                assert json.loads(body)["annotations"]["by"] == by
                assert may_write(by, namespace), f"{by} wrote {path}"
                written += 1
    assert written >= 50
