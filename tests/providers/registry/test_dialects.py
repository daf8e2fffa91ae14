"""Harbor and ghcr where they differ, on servers scripted after their documents; neither has been met in the flesh."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.fleet import RegistryProvider, RegistrySettings
from reconciler.model.observed import ABSENT, Found, Unknown
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference, Repository
from reconciler.providers.registry.http.dialect import Dialect, dialect_of
from reconciler.providers.registry.http.docker_config import Credential
from reconciler.providers.registry.http.ghcr import Ghcr
from reconciler.providers.registry.http.harbor import Harbor
from reconciler.providers.registry.router import Connections, RoutedRegistry
from tests.ports.registry_suite import KIND, Differences, Image, Place, RegistrySuite, record
from tests.providers.registry.places import config, http_place, opened
from tests.servers import faulty_registry as faults
from tests.servers.scripted_ghcr import Pat, ScriptedGhcr
from tests.servers.scripted_harbor import PULL, PUSH, Account, ScriptedHarbor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.observed import Sighting
    from reconciler.model.problem import Problem
    from reconciler.providers.registry.http.docker_config import DockerConfig

ROBOT = "robot$shop+ci"
ACCOUNTS = {
    ROBOT: Account("canary-robot", {"shop": PUSH}),
    "robot$reader": Account("canary-reader", {"shop": PULL, "private": PULL}),
    "robot$old": Account("canary-old", {"shop": PUSH}, expired=True),
}
READS, WRITES = frozenset({"read:packages"}), frozenset({"read:packages", "write:packages"})
PATS = {
    "canary-writer": Pat("writer", WRITES, frozenset({"acme/private", "acme/new"})),
    "canary-reader": Pat("reader", READS, frozenset({"acme/private"})),
    "canary-without": Pat("without", frozenset()),
}


@pytest.fixture
def harbor() -> Iterator[ScriptedHarbor]:
    """Harbor with a public and a private project."""
    with ScriptedHarbor({"shop": True, "private": False}, ACCOUNTS).running() as server:
        yield server


@pytest.fixture
def ghcr() -> Iterator[ScriptedGhcr]:
    """ghcr with a public and a private package."""
    with ScriptedGhcr({"acme/public": True, "acme/private": False}, PATS).running() as server:
        yield server


def harbor_login(host: str, name: str = ROBOT) -> DockerConfig:
    return config(host, username=name, password=ACCOUNTS[name].password)


def pat(host: str, password: str) -> DockerConfig:
    return config(host, username="someone", password=password)


def look(host: str, docker: DockerConfig, dialect: Dialect, *paths: str) -> list[Sighting]:
    async def use() -> list[Sighting]:
        async with opened(host, docker=docker, dialect=dialect) as (registry, _):
            wanted = [Reference(Repository(host, path), "latest") for path in paths]
            return list((await registry.heads(wanted)).values())

    return asyncio.run(use())


def push(host: str, docker: DockerConfig, dialect: Dialect, path: str, image: Image | None = None) -> None:
    image = image or Image()

    async def use() -> None:
        async with opened(host, docker=docker, dialect=dialect) as (_, publisher):
            await publisher.publish(Repository(host, path), image.manifest, tags=["latest"], blobs=image.blobs)

    asyncio.run(use())


def refusal(host: str, docker: DockerConfig, dialect: Dialect, path: str) -> Problem:
    with pytest.raises(LianError) as error:
        push(host, docker, dialect, path)
    (problem,) = error.value.problems
    assert "canary" not in repr(problem)
    return problem


def told(sighting: Sighting) -> Problem:
    assert isinstance(sighting, Unknown), sighting
    assert "canary" not in repr(sighting)
    return sighting.problem


class TestHarborAsAnyOther(RegistrySuite):
    @pytest.fixture
    def place(self) -> Iterator[Place]:
        projects = dict.fromkeys(["shop", "a", "r", "other", "not"], False)
        robot = Account("canary", dict.fromkeys(projects, PUSH))
        names = frozenset({"index.json"})  # there is no such project
        with ScriptedHarbor(projects, {ROBOT: robot}).running() as server:
            docker = config(server.host, username=ROBOT, password="canary")
            place = http_place(
                server.host, differs=Differences(impossible_names=names), docker=docker, dialect=Harbor()
            )
            yield replace(place, builder=Credential(ROBOT, "canary").basic)


class TestGhcrAsAnyOther(RegistrySuite):
    @pytest.fixture
    def place(self) -> Iterator[Place]:
        everything = _All()
        with ScriptedGhcr({}, {"canary": Pat("me", WRITES, everything)}).running() as server:
            server.deletes = {"digest", "tag"}  # it has a REST API of its own for that; the suite takes away
            server.owner["canary-of-the-builder"] = server.pats["canary"]
            place = http_place(server.host, docker=pat(server.host, "canary"), dialect=Ghcr())
            yield replace(place, builder="Bearer canary-of-the-builder")


class _All(frozenset[str]):
    def __contains__(self, name: object) -> bool:
        return True


# -- Harbor ---------------------------------------------------------------------------------------------------------


def test_harbors_not_found_is_absent_to_one_who_may_read(harbor: ScriptedHarbor) -> None:
    push(harbor.host, harbor_login(harbor.host), Harbor(), "shop/api")
    found = look(harbor.host, harbor_login(harbor.host, "robot$reader"), Harbor(), "shop/api", "shop/none", "private/x")
    assert isinstance(found[0], Found)
    assert found[1:] == [ABSENT, ABSENT]
    assert look(harbor.host, config(), Harbor(), "shop/none") == [ABSENT]


def test_one_token_does_for_many_of_harbors_repositories(harbor: ScriptedHarbor) -> None:
    paths = [f"shop/{n}" for n in range(70)]
    assert set(look(harbor.host, harbor_login(harbor.host), Harbor(), *paths)) == {ABSENT}
    assert [(user, len(scopes)) for user, scopes in harbor.asked_tokens] == [(ROBOT, 50), (ROBOT, 20)]


def test_a_harbor_project_that_one_may_not_see_is_unknown(harbor: ScriptedHarbor) -> None:
    for docker in (config(), harbor_login(harbor.host)):
        problem = told(look(harbor.host, docker, Harbor(), "private/api")[0])
        assert problem.code == "registry-denied"
        assert "unauthorized to access repository: private/api, action: pull" in (problem.cause or "")


def test_a_harbor_project_that_is_not_there(harbor: ScriptedHarbor) -> None:
    """A push makes repositories, not projects: it is told before anything is built, and again by the push."""
    docker = harbor_login(harbor.host)
    problem = told(look(harbor.host, docker, Harbor(), "nope/api")[0])
    assert problem.code == "harbor-project-missing"
    assert "create the project nope" in (problem.hint or "")
    assert refusal(harbor.host, docker, Harbor(), "nope/api").code == "harbor-project-missing"


def test_a_robot_that_expired_or_may_only_read(harbor: ScriptedHarbor) -> None:
    old = told(look(harbor.host, harbor_login(harbor.host, "robot$old"), Harbor(), "shop/api")[0])
    assert old.code == "registry-denied"
    assert "expires" in (old.hint or "")
    reader = refusal(harbor.host, harbor_login(harbor.host, "robot$reader"), Harbor(), "shop/api")
    assert reader.code == "registry-denied"
    assert "action: push" in (reader.cause or "")


def test_a_token_of_harbors_that_ended_is_renewed_although_only_basic_is_offered(harbor: ScriptedHarbor) -> None:
    """Harbor offers Basic to whoever has shown a token, be it only too old."""
    docker = harbor_login(harbor.host)

    async def use() -> list[type]:
        found = []
        async with opened(harbor.host, docker=docker, dialect=Harbor()) as (registry, _):
            for _ in range(2):
                wanted = Reference(Repository(harbor.host, "shop/api"), "latest")
                found.append(type((await registry.heads([wanted]))[wanted]))
                harbor.granted.clear()
        return found

    assert asyncio.run(use()) == [type(ABSENT)] * 2
    assert len(harbor.asked_tokens) == 2
    assert not any(seen.headers.get("authorization", "").startswith("Basic") for seen in harbor.requests)


def test_a_harbor_quota_that_is_used_up(harbor: ScriptedHarbor) -> None:
    harbor.full.add("shop")
    problem = refusal(harbor.host, harbor_login(harbor.host), Harbor(), "shop/api")
    assert (problem.code, "quota" in problem.message) == ("registry-refused", True)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"errors":[{"code":"NOT_FOUND","message":"no such page"}]}'])
def test_a_404_of_something_else_than_harbor_is_unknown(harbor: ScriptedHarbor, body: bytes) -> None:
    for method in ("HEAD", "GET"):
        harbor.fault(method, "/manifests/", faults.status(404, body))
    assert told(look(harbor.host, harbor_login(harbor.host), Harbor(), "shop/api")[0]).code == "registry-not-oci"


# -- ghcr -----------------------------------------------------------------------------------------------------------


def test_a_public_package_of_ghcrs_takes_a_token_that_anyone_gets(ghcr: ScriptedGhcr) -> None:
    ghcr.pats["canary-owner"] = Pat("owner", WRITES, frozenset({"acme/public"}))
    image = Image()
    push(ghcr.host, pat(ghcr.host, "canary-owner"), Ghcr(), "acme/public", image)
    ghcr.asked_tokens.clear()
    (found,) = look(ghcr.host, config(), Ghcr(), "acme/public")
    assert isinstance(found, Found)
    assert ghcr.asked_tokens == [(False, ("repository:acme/public:pull",))]


@pytest.mark.parametrize("path", ["acme/private", "acme/never-pushed"])
def test_what_ghcr_hides_is_unknown(ghcr: ScriptedGhcr, path: str) -> None:
    problem = told(look(ghcr.host, config(), Ghcr(), path)[0])
    assert problem.code == "registry-denied"
    assert "docker login" in (problem.hint or "")


def test_a_404_of_ghcrs_to_an_anonymous_reader_is_unknown(ghcr: ScriptedGhcr) -> None:
    """The package may be there, and private by now."""
    problem = told(look(ghcr.host, config(), Ghcr(), "acme/public")[0])
    assert problem.code == "registry-denied"
    assert "MANIFEST_UNKNOWN" in (problem.cause or "") or "HTTP 404" in (problem.cause or "")


def test_what_ghcr_lacks_is_absent_to_one_who_is_known(ghcr: ScriptedGhcr) -> None:
    assert look(ghcr.host, pat(ghcr.host, "canary-writer"), Ghcr(), "acme/new", "acme/private") == [ABSENT, ABSENT]


def test_a_pat_without_the_right_scope(ghcr: ScriptedGhcr) -> None:
    problem = told(look(ghcr.host, pat(ghcr.host, "canary-without"), Ghcr(), "acme/private")[0])
    assert (problem.code, "read:packages" in (problem.hint or "")) == ("registry-denied", True)
    problem = refusal(ghcr.host, pat(ghcr.host, "canary-reader"), Ghcr(), "acme/private")
    assert (problem.code, "write:packages" in (problem.hint or "")) == ("registry-denied", True)
    problem = told(look(ghcr.host, pat(ghcr.host, "canary-none"), Ghcr(), "acme/private")[0])
    assert problem.code == "registry-denied"


def test_one_hidden_package_of_many_does_not_hide_the_others(ghcr: ScriptedGhcr) -> None:
    """A token for many is refused as a whole; then each is asked for by itself."""
    ghcr.packages |= {f"acme/{n}": True for n in range(20)}
    ghcr.pats["canary-owner"] = Pat("owner", WRITES, frozenset(ghcr.packages))
    for n in range(20):
        push(ghcr.host, pat(ghcr.host, "canary-owner"), Ghcr(), f"acme/{n}")
    found = look(ghcr.host, config(), Ghcr(), *(f"acme/{n}" for n in range(20)), "acme/private")
    assert {type(s) for s in found[:20]} == {Found}
    assert told(found[20]).code == "registry-denied"


@pytest.mark.parametrize("to", [None, "{url}/login", "https://github.invalid/login"])
def test_ghcr_has_no_referrers_api(ghcr: ScriptedGhcr, to: str | None) -> None:
    ghcr.referrers_to = to.format(url=ghcr.url) if to else None
    image = Image()

    async def use() -> list[str]:
        docker = pat(ghcr.host, "canary-writer")
        async with opened(ghcr.host, docker=docker, dialect=Ghcr()) as (registry, publisher):
            repository = Repository(ghcr.host, "acme/private")
            await publisher.publish(repository, image.manifest, tags=["latest"], blobs=image.blobs)
            manifest, blobs = record(image.descriptor, "one")
            await publisher.publish(repository, manifest, blobs=blobs)
            found = await registry.referrers(repository, image.manifest.digest, KIND)
            return [descriptor.annotations["dev.lian.text"] for descriptor in found]

    assert asyncio.run(use()) == ["one"]


def test_ghcrs_limit_of_requests_is_waited_out(ghcr: ScriptedGhcr) -> None:
    limited = faults.status(429, b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}', Retry_After="2")
    ghcr.fault("HEAD", "/manifests/", limited, times=3)
    assert look(ghcr.host, pat(ghcr.host, "canary-writer"), Ghcr(), "acme/private") == [ABSENT]


# -- which slot speaks which ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "host", "expected"),
    [
        (RegistryProvider.HARBOR, "h", Harbor),
        (RegistryProvider.GHCR, "h", Ghcr),
        (RegistryProvider.ZOT, "h", Dialect),
        (RegistryProvider.DISTRIBUTION, "ghcr.io", Dialect),
        (None, "h", Dialect),
        (None, "ghcr.io", Ghcr),
    ],
)
def test_the_slot_decides(provider: RegistryProvider | None, host: str, expected: type) -> None:
    assert type(dialect_of(provider, host)) is expected


@pytest.mark.parametrize(
    ("provider", "code"),
    [(RegistryProvider.HARBOR, "harbor-project-missing"), (RegistryProvider.ZOT, "registry-denied")],
)
def test_the_settings_choose_the_slot(harbor: ScriptedHarbor, provider: RegistryProvider, code: str) -> None:
    async def use() -> Any:
        known = RegistrySettings(provider, url=harbor.url)
        docker = harbor_login(harbor.host)
        async with contextlib.AsyncExitStack() as stack:
            connections = await stack.enter_async_context(Connections([known], config=lambda: docker))
            wanted = Reference(Repository(harbor.host, "nope/api"), "latest")
            return (await RoutedRegistry(connections).heads([wanted]))[wanted]

    assert told(asyncio.run(use())).code == code
