"""Tokens: asked for many repositories at once, renewed in time, believed only as far as they say what they grant."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.manifest import IMAGE_MANIFEST
from reconciler.model.observed import ABSENT, Found, Unknown
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference, Repository
from reconciler.providers.registry.http import auth
from reconciler.providers.registry.http.scopes import Granted, Scope
from reconciler.providers.registry.http.transport import Call, Endpoint, Transport
from tests.ports.registry_suite import Image, codes
from tests.providers.registry.places import Clock, config, opened
from tests.servers import faulty_registry as faults
from tests.servers.faulty_registry import FaultyRegistry
from tests.servers.secured_registry import run_secured
from tests.servers.token_server import READ, WRITE, TokenServer, User

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.model.observed import Sighting
    from reconciler.providers.registry.http.docker_config import DockerConfig
    from tests.servers.running import RegistryServer

READER = User("canary-reader", [("*", READ)], refresh="canary-refresh")
WRITER = User("canary-writer", [("*", WRITE)])
TEAM = User("canary-team", [("team/*", WRITE), ("*", READ)])
STRANGER = User("canary-stranger", [("public/*", READ)])
USERS = {"reader": READER, "writer": WRITER, "team": TEAM, "stranger": STRANGER}


def login(host: str, name: str) -> DockerConfig:
    return config(host, username=name, password=USERS[name].password)


def repositories(host: str, count: int, prefix: str = "r") -> list[Reference]:
    return [Reference(Repository(host, f"{prefix}/{n}"), "latest") for n in range(count)]


def seen(host: str, docker: DockerConfig, wanted: list[Reference], **how: Any) -> list[Sighting]:
    async def use() -> list[Sighting]:
        async with opened(host, docker=docker, **how) as (registry, _):
            return list((await registry.heads(wanted)).values())

    return asyncio.run(use())


def push(host: str, docker: DockerConfig, path: str, image: Image) -> None:
    async def use() -> None:
        async with opened(host, docker=docker) as (_, publisher):
            await publisher.publish(Repository(host, path), image.manifest, tags=["latest"], blobs=image.blobs)

    asyncio.run(use())


def problems_of(sightings: list[Sighting]) -> set[str]:
    return {sighting.problem.code if isinstance(sighting, Unknown) else "seen" for sighting in sightings}


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    """A token service."""
    with TokenServer(USERS).running() as service:
        yield service


@pytest.fixture
def registry(tmp_path: Path, tokens: TokenServer) -> Iterator[RegistryServer]:
    """A docker-registry that takes its tokens."""
    with run_secured(tmp_path / "server", tokens=tokens) as server:
        yield server


class Honoured(dict[str, tuple[str, ...]]):
    """Tokens as the registry in memory looks them up: what the service granted, or all that it was ever asked for."""

    def __init__(self, tokens: TokenServer, *, all_of_it: bool) -> None:
        self.tokens, self.all_of_it = tokens, all_of_it

    def get(self, token: str, default: Any = None) -> Any:
        if token not in self.tokens.issued:
            return default
        if self.all_of_it:
            asked = (scope.rpartition(":") for one in self.tokens.asked for scope in one.scopes)
            return tuple(f"{repository}:{action}" for repository, _, actions in asked for action in actions.split(","))
        return tuple(f"repository:{r}:{a}" for r, actions in self.tokens.issued[token].items() for a in actions)


@contextlib.contextmanager
def in_memory(tokens: TokenServer, *, all_of_it: bool = False) -> Iterator[FaultyRegistry]:
    """A registry in memory that takes the service's tokens, opaque ones too."""
    with FaultyRegistry(auth="bearer").running() as server:
        server.realm = tokens.realm
        server.tokens = Honoured(tokens, all_of_it=all_of_it)
        yield server


def test_many_repositories_take_few_tokens(registry: RegistryServer, tokens: TokenServer) -> None:
    image = Image()
    push(registry.host, login(registry.host, "writer"), "r/0", image)
    tokens.asked.clear()
    found = seen(registry.host, login(registry.host, "reader"), repositories(registry.host, 120))
    assert found[0] == Found(image.manifest.digest, IMAGE_MANIFEST, image.descriptor.size)
    assert set(found[1:]) == {ABSENT}
    assert [len(asked.scopes) for asked in tokens.asked] == [50, 50, 20]
    assert all(scope.endswith(":pull") for asked in tokens.asked for scope in asked.scopes)
    assert {asked.user for asked in tokens.asked} == {"reader"}


def test_a_token_request_keeps_within_its_bounds(registry: RegistryServer, tokens: TokenServer) -> None:
    long = [Reference(Repository(registry.host, f"{'n' * 200}/{n}"), "latest") for n in range(60)]
    assert set(seen(registry.host, login(registry.host, "reader"), long)) == {ABSENT}
    assert max(asked.url_length for asked in tokens.asked) <= auth.LONGEST_URL
    assert 4 <= len(tokens.asked) <= 6


def test_an_identity_token_asks_for_many_repositories_by_post(registry: RegistryServer, tokens: TokenServer) -> None:
    docker = config(registry.host, identitytoken="canary-refresh")
    assert set(seen(registry.host, docker, repositories(registry.host, 60))) == {ABSENT}
    assert [(asked.method, asked.user, len(asked.scopes)) for asked in tokens.asked] == [
        ("POST", "reader", 50),
        ("POST", "reader", 10),
    ]


def test_rights_are_those_of_the_user(registry: RegistryServer, tokens: TokenServer) -> None:
    team = login(registry.host, "team")
    push(registry.host, team, "team/api", Image())
    for path, docker in (("other/api", team), ("team/api", login(registry.host, "reader"))):
        with pytest.raises(LianError) as error:
            push(registry.host, docker, path, Image())
        assert codes(error) == {"registry-denied"}
        assert "push" in error.value.problems[0].message
    asked = {scope for one in tokens.asked for scope in one.scopes if "push" in scope}
    assert asked == {"repository:team/api:pull,push", "repository:other/api:pull,push"}


def test_what_is_not_granted_is_unknown_and_the_rest_goes_on(registry: RegistryServer, tokens: TokenServer) -> None:
    """A service leaves out of a token what it does not grant, and says nothing of it."""
    wanted = repositories(registry.host, 30, "public") + repositories(registry.host, 5, "secret")
    found = seen(registry.host, login(registry.host, "stranger"), wanted)
    assert set(found[:30]) == {ABSENT}
    assert problems_of(found[30:]) == {"registry-denied"}
    assert len(tokens.asked) <= 1 + 5 + 1


@pytest.mark.parametrize("strict", [False, True])
def test_a_service_that_grants_one_scope_at_a_time(tmp_path: Path, strict: bool) -> None:
    with (
        TokenServer(USERS, most=1, strict=strict).running() as tokens,
        run_secured(tmp_path / "server", tokens=tokens) as server,
    ):
        assert set(seen(server.host, login(server.host, "reader"), repositories(server.host, 120))) == {ABSENT}
        groups = [asked for asked in tokens.asked if len(asked.scopes) > 1]
        assert len(groups) <= 2
        assert len(tokens.asked) <= 122


def test_a_token_that_ended_early_is_asked_for_once_more(registry: RegistryServer, tokens: TokenServer) -> None:
    """The registry refuses it although it should still be good: a clock that is off, a restart, a revocation."""
    tokens.first_lives = [-600.0]
    assert set(seen(registry.host, login(registry.host, "reader"), repositories(registry.host, 20))) == {ABSENT}
    assert [len(asked.scopes) for asked in tokens.asked] == [20, 20]


def test_a_service_whose_tokens_are_never_good(registry: RegistryServer, tokens: TokenServer) -> None:
    tokens.life = -600.0
    found = seen(registry.host, login(registry.host, "reader"), repositories(registry.host, 1))
    assert problems_of(found) == {"registry-denied"}
    assert len(tokens.asked) == 2


@pytest.mark.parametrize(
    ("told", "age", "still_good", "over"),
    [(None, 0.0, 44, 2), (100.0, 0.0, 74, 2), (300.0, 250.0, 36, 3), (300.0, 400.0, 3, 1)],
)
def test_when_a_token_is_renewed(
    registry: RegistryServer, tokens: TokenServer, told: float | None, age: float, still_good: int, over: int
) -> None:
    """After three quarters of what is left of its life: 60 seconds where the answer does not say, less what the service
    kept it before it handed it out."""
    tokens.told_life, tokens.age = told, age
    clock, wanted = Clock(), [Reference(Repository(registry.host, "r/0"), f"t{n}") for n in range(3)]

    async def use() -> list[int]:
        asked = []
        async with opened(registry.host, docker=login(registry.host, "reader"), clock=clock) as (reader, _):
            for passed in (0, still_good, over):
                clock.now += passed
                await reader.heads(wanted[:1])
                asked.append(len(tokens.asked))
        return asked

    assert asyncio.run(use()) == [1, 1, 2]


def test_a_service_that_is_down_is_told_as_that(registry: RegistryServer, tokens: TokenServer) -> None:
    for status, code in ((503, "registry-failing"), (429, "registry-busy"), (404, "registry-denied")):
        tokens.status = status
        for sighting in seen(registry.host, login(registry.host, "reader"), repositories(registry.host, 3)):
            assert isinstance(sighting, Unknown)
            assert sighting.problem.code == code
            assert "token service" in f"{sighting.problem.message} {sighting.problem.cause}"


def test_a_wrong_password_is_told_as_that(registry: RegistryServer) -> None:
    (sighting,) = seen(
        registry.host, config(registry.host, username="reader", password="canary-wrong"), repositories(registry.host, 1)
    )
    assert isinstance(sighting, Unknown)
    assert (sighting.problem.code, "canary" in repr(sighting)) == ("registry-denied", False)
    assert "authentication required" in (sighting.problem.cause or "")


def test_a_question_about_no_repository_asks_for_the_scope_that_the_registry_names(tokens: TokenServer) -> None:
    with in_memory(tokens, all_of_it=True) as server:

        async def use() -> int:
            endpoint = Endpoint.of(server.host)
            transport = Transport(endpoint, login(server.host, "reader"), timing=Clock().timing)
            try:
                return (await transport.send(Call("GET", "/v2/_catalog", ""))).status
            finally:
                await transport.aclose()

        assert asyncio.run(use()) == 200
        assert [asked.scopes for asked in tokens.asked] == [("registry:catalog:*",)]


# -- what a 404 is worth --------------------------------------------------------------------------------------------


def test_a_404_under_a_token_that_grants_no_pull_is_unknown(tokens: TokenServer) -> None:
    """Some registries hide what one may not see behind a 404 (design section 5: absent takes a right to pull)."""
    with in_memory(tokens, all_of_it=True) as server:
        wanted = repositories(server.host, 3, "public") + repositories(server.host, 3, "secret")
        found = seen(server.host, login(server.host, "stranger"), wanted)
        assert set(found[:3]) == {ABSENT}
        assert problems_of(found[3:]) == {"registry-denied"}
        assert all("not granted" in s.problem.message for s in found[3:] if isinstance(s, Unknown))


def test_a_404_under_a_token_for_many_that_does_not_say_is_asked_again_alone(tokens: TokenServer) -> None:
    """An opaque token for fifty repositories may grant ten: what is there is believed, what is not is asked again."""
    tokens.opaque = True
    image = Image()
    with in_memory(tokens) as server:
        for n in range(30):
            push(server.host, login(server.host, "writer"), f"r/{n}", image)
        tokens.asked.clear()
        found = seen(server.host, login(server.host, "reader"), repositories(server.host, 33))
        assert {type(s) for s in found[:30]} == {Found}
        assert set(found[30:]) == {ABSENT}
        assert sorted(len(asked.scopes) for asked in tokens.asked) == [1, 1, 1, 33]


def test_an_opaque_service_that_grants_less_than_was_asked(tokens: TokenServer) -> None:
    tokens.opaque, tokens.most = True, 10
    image = Image()
    with in_memory(tokens) as server:
        for n in range(20):
            push(server.host, login(server.host, "writer"), f"r/{n}", image)
        assert {type(s) for s in seen(server.host, login(server.host, "reader"), repositories(server.host, 20))} == {
            Found
        }


def hides(right: faults.Answer) -> faults.Answer:
    """What one may not see is not there."""
    unknown = faults.status(404, b'{"errors": [{"code": "NAME_UNKNOWN", "message": "unknown"}]}')
    return unknown(right) if right.status == 401 else right


def test_a_registry_that_hides_instead_of_asking_who_it_is(tokens: TokenServer) -> None:
    """It never asks for a login where it matters. `GET /v2/` tells that it knows logins (distribution-spec, end-1)."""
    image = Image()
    with in_memory(tokens) as server:
        push(server.host, login(server.host, "writer"), "r/0", image)
        challenge = f'Bearer realm="{tokens.realm}",service="lian-tests"'
        server.fault("GET", "^/v2/$", faults.status(401, WWW_Authenticate=challenge))
        for method in ("HEAD", "GET"):
            server.fault(method, "/manifests/", hides)
        found = seen(server.host, login(server.host, "reader"), repositories(server.host, 2))
        assert [type(s) for s in found] == [Found, type(ABSENT)]
        assert problems_of(seen(server.host, config(), repositories(server.host, 2))) == {"registry-denied"}


def test_an_open_registry_is_asked_once_whether_it_is(tmp_path: Path) -> None:
    with FaultyRegistry().running() as server:
        assert set(seen(server.host, config(), repositories(server.host, 40))) == {ABSENT}
        assert len(server.asked("GET", "^/v2/$")) == 1


def test_a_registry_that_fails_when_asked_whether_it_is_open_is_unknown() -> None:
    with FaultyRegistry().running() as server:
        server.fault("GET", "^/v2/$", faults.status(503))
        assert problems_of(seen(server.host, config(), repositories(server.host, 2))) == {"registry-failing"}


# -- what a token says ----------------------------------------------------------------------------------------------


def jwt(payload: str) -> str:
    import base64

    return f"e30.{base64.urlsafe_b64encode(payload.encode()).rstrip(b'=').decode()}.x"


@pytest.mark.parametrize(
    ("token", "granted"),
    [
        ("opaque", None),
        ("a.b.c", None),
        ("a.b", None),
        (jwt("{}"), None),
        (jwt("[]"), None),
        (jwt('{"access": 7}'), None),
        (jwt('{"access": [{"type": "repository"}]}'), None),
        (jwt('{"access": null}'), {}),
        (jwt('{"access": []}'), {}),
        (jwt('{"access": [{"type": "registry", "name": "catalog", "actions": ["*"]}]}'), {}),
        (jwt('{"access": [{"type": "repository", "name": "a", "actions": null}]}'), {"a": frozenset()}),
        (
            jwt('{"access": [{"type": "repository", "name": "a/b", "actions": ["pull", "push"]}]}'),
            {"a/b": frozenset({"pull", "push"})},
        ),
    ],
)
def test_what_a_token_says_it_grants(token: str, granted: dict[str, frozenset[str]] | None) -> None:
    found = Granted.by(token)
    assert (found.actions if found else None) == granted


def test_what_is_covered() -> None:
    granted = Granted({"a": frozenset({"pull"}), "b": frozenset({"*"}), "c": frozenset({"push"})})
    assert granted.covers(Scope("a"))
    assert not granted.covers(Scope("a", "pull,push"))
    assert granted.covers(Scope("b", "pull,push,delete"))
    assert [granted.may_pull(repository) for repository in "abcd"] == [True, True, False, False]
