"""Which credential goes where: by host, by who names it, and never elsewhere."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.credential import HOSTS, SourceKind, SourceRef
from reconciler.model.fleet import Author, RegistryProvider, RegistrySettings
from reconciler.model.observed import ABSENT, Unknown
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference, Repository
from reconciler.providers.registry.http.docker_config import Credential, DockerConfig
from reconciler.providers.registry.http.logins import PASSWORD, USER
from reconciler.providers.registry.router import Connections, RoutedRegistry
from reconciler.providers.secrets.sources import Sources
from tests.ports.registry_suite import codes
from tests.providers.registry.places import config
from tests.servers.faulty_registry import PASSWORD as RIGHT
from tests.servers.faulty_registry import USER as KNOWN
from tests.servers.faulty_registry import FaultyRegistry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.model.problem import Problem

HOST, OTHER = "reg.example.org", "other.example.org"
OWN = {USER: "operator", PASSWORD: "canary-own"}
OF_DOCKER = Credential("docker", "canary-docker")
NAMED = SourceRef(SourceKind.ENV, "REGISTRY_PASSWORD", "ci")
ENVIRON = {"REGISTRY_PASSWORD": "canary-named"}


def settings(host: str = HOST, **more: Any) -> RegistrySettings:
    return RegistrySettings(RegistryProvider.ZOT, url=f"https://{host}", **more)


def docker() -> DockerConfig:
    """Docker's configuration knows every host."""
    entry = {"username": OF_DOCKER.username, "password": OF_DOCKER.password}
    return DockerConfig(None, {"auths": dict.fromkeys((HOST, OTHER, "third.example.org"), entry)}, {})


def found(
    host: str, *known: RegistrySettings, environ: Mapping[str, str] = ENVIRON, fleet: RegistrySettings | None = None
) -> Credential | None:
    """The credential that a build for this host would be given: all that lian would send there."""

    async def use() -> Credential | None:
        async with Connections(config=docker, environ=environ, read=Sources(environ).read) as connections:
            await connections.learn(known, fleet=fleet or (known[0] if known else None))
            document = json.loads((await connections.logins([host])).reveal())
        entry = document["auths"].get(host)
        return DockerConfig(None, document, {})._entry(entry) if entry else None

    return asyncio.run(use())


def refused(host: str, *known: RegistrySettings, environ: Mapping[str, str] = ENVIRON) -> Problem:
    with pytest.raises(LianError) as error:
        found(host, *known, environ=environ)
    (problem,) = error.value.problems
    assert "canary" not in repr(problem)
    return problem


def test_the_operators_variables_are_for_the_fleets_registry_alone() -> None:
    fleet = settings()
    assert found(HOST, fleet, environ=OWN) == Credential("operator", "canary-own")
    for host in (OTHER, "third.example.org"):
        assert found(host, fleet, settings(OTHER, by=Author.DIRECTIVE), environ=OWN) == OF_DOCKER
    assert found("unknown.example.org", fleet, environ=OWN) is None


def test_the_operators_variables_beat_what_the_commit_names_and_docker() -> None:
    fleet = settings(credentials=NAMED)
    assert found(HOST, fleet, environ=ENVIRON | OWN) == Credential("operator", "canary-own")
    assert found(HOST, fleet) == Credential("ci", "canary-named")
    assert found(HOST, settings()) == OF_DOCKER
    assert found(HOST, fleet, environ=ENVIRON | {USER: "", PASSWORD: ""}) == Credential("ci", "canary-named")


@pytest.mark.parametrize(("there", "missing"), [(USER, PASSWORD), (PASSWORD, USER)])
def test_half_a_login_is_told(there: str, missing: str) -> None:
    problem = refused(HOST, settings(), environ={there: "canary"})
    assert problem.code == "credential-incomplete"
    assert missing in problem.message


@pytest.mark.parametrize(
    ("text", "user", "expected"),
    [
        ("canary", "ci", Credential("ci", "canary")),
        ("a:b:c", "robot$shop+ci", Credential("robot$shop+ci", "a:b:c")),
        ("ci:a:b", None, Credential("ci", "a:b")),
        ("canary", None, None),
        ("one\ntwo", "ci", None),
    ],
)
def test_what_a_source_may_hold(text: str, user: str | None, expected: Credential | None) -> None:
    fleet = settings(credentials=replace(NAMED, user=user))
    if expected is not None:
        assert found(HOST, fleet, environ={"REGISTRY_PASSWORD": text}) == expected
        return
    problem = refused(HOST, fleet, environ={"REGISTRY_PASSWORD": text})
    assert problem.code == "credential-incomplete"
    assert "REGISTRY_PASSWORD" in problem.message


def test_a_variable_that_is_not_set_is_named() -> None:
    problem = refused(HOST, settings(credentials=NAMED), environ={})
    assert (problem.code, problem.file) == ("credential-missing", "lian.ncl")
    assert "REGISTRY_PASSWORD" in problem.message
    said = settings(credentials=NAMED, by=Author.OPERATOR)
    assert refused(HOST, said, environ={}).file is None, "lian.ncl does not say it"


# -- a pull request must not be able to lead a credential elsewhere -------------------------------------------------


def test_a_directive_gets_no_credential_for_a_host_of_its_own_choice() -> None:
    """A pull request adds a directive that names the fleet's variable and the author's host."""
    thief = settings(OTHER, credentials=NAMED, by=Author.DIRECTIVE)
    problem = refused(OTHER, settings(credentials=NAMED), thief)
    assert problem.code == "credential-forbidden"
    assert HOSTS in (problem.hint or "")
    assert found(HOST, settings(credentials=NAMED), thief) == Credential("ci", "canary-named")


@pytest.mark.parametrize("listed", [OTHER, f"{HOST},{OTHER}", f"  a.example\t{OTHER} "])
def test_with_the_operators_leave_it_does(listed: str) -> None:
    named = settings(OTHER, credentials=NAMED, by=Author.DIRECTIVE)
    assert found(OTHER, settings(), named, environ=ENVIRON | {HOSTS: listed}) == Credential("ci", "canary-named")


@pytest.mark.parametrize("credentials", [NAMED, None])
def test_the_operators_list_binds_the_owner_too(credentials: SourceRef | None) -> None:
    """A pull request changes the registry's URL in lian.ncl, and leaves the credentials as they are."""
    moved = settings("evil.example.org", credentials=credentials)
    environ = ENVIRON | OWN | {HOSTS: HOST}
    if credentials:
        assert refused("evil.example.org", moved, environ=environ).code == "credential-forbidden"
    else:
        assert found("evil.example.org", moved, environ=environ) is None
    assert found(HOST, settings(credentials=credentials), environ=environ) == Credential("operator", "canary-own")


def test_what_the_operator_names_needs_no_leave() -> None:
    chosen = settings(OTHER, by=Author.OPERATOR)
    assert found(OTHER, chosen, environ=OWN | {HOSTS: HOST}) == Credential("operator", "canary-own")


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"url": f"http://{OTHER}"}, None),
        ({"url": f"https://{OTHER}", "insecure": True}, None),
        ({"url": f"https://{OTHER}", "ca": "evil.pem"}, None),
        ({"url": f"https://{OTHER}"}, OF_DOCKER),
        ({"url": f"https://{OTHER}", "by": Author.OWNER, "insecure": True}, OF_DOCKER),
    ],
)
def test_what_docker_knows_is_not_sent_where_a_directive_alone_vouches(
    how: dict[str, Any], expected: Credential | None
) -> None:
    described = RegistrySettings(RegistryProvider.ZOT, **{"by": Author.DIRECTIVE} | how)
    if expected is None:
        assert refused(OTHER, settings(), described).code == "credential-withheld"
    else:
        assert found(OTHER, settings(), described) == expected


def test_a_host_that_is_withheld_what_it_does_not_want_is_read_all_the_same() -> None:
    with FaultyRegistry().running() as server:
        described = RegistrySettings(RegistryProvider.ZOT, url=server.url, insecure=True, by=Author.DIRECTIVE)

        async def use() -> None:
            known = config(server.host, username="a", password="canary")
            async with Connections(config=lambda: known) as connections:
                await connections.learn([described])
                wanted = Reference(Repository(server.host, "a"), "latest")
                assert await RoutedRegistry(connections).heads([wanted]) == {wanted: ABSENT}

        asyncio.run(use())


# -- as late as possible, and told once ----------------------------------------------------------------------------


def test_a_source_is_read_when_the_registry_asks_and_not_before() -> None:
    read: list[str] = []

    async def use(server: FaultyRegistry, environ: dict[str, str]) -> list[object]:
        sources = Sources(environ)

        async def reading(ref: SourceRef, purpose: str) -> Any:
            read.append(ref.name)
            return await sources.read(ref, purpose)

        known = RegistrySettings(RegistryProvider.ZOT, url=server.url, credentials=replace(NAMED, user=KNOWN))
        async with Connections(config=config, read=reading) as connections:
            await connections.learn([known], fleet=known)
            wanted = [Reference(Repository(server.host, f"r/{n}"), "latest") for n in range(30)]
            return list((await RoutedRegistry(connections).heads(wanted)).values())

    with FaultyRegistry().running() as server:
        assert set(asyncio.run(use(server, {}))) == {ABSENT}
        assert read == []
    with FaultyRegistry(auth="basic").running() as server:
        assert set(asyncio.run(use(server, {"REGISTRY_PASSWORD": RIGHT}))) == {ABSENT}
        assert read == ["REGISTRY_PASSWORD"]
        seen = asyncio.run(use(server, {}))
        assert isinstance(seen[0], Unknown)
        assert {s.problem for s in seen if isinstance(s, Unknown)} == {seen[0].problem}
        assert seen[0].problem.code == "credential-missing"


def test_a_configuration_that_is_broken_does_not_matter_to_who_needs_none_of_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")

    async def use() -> str:
        broken = {"DOCKER_CONFIG": str(tmp_path)}
        async with Connections(config=lambda: DockerConfig.load(broken), environ=OWN) as connections:
            await connections.learn([settings()], fleet=settings())
            assert "canary" not in str(await connections.logins([HOST]))
            with pytest.raises(LianError) as error:
                await connections.logins([OTHER])
            return ",".join(codes(error))

    assert asyncio.run(use()) == "docker-config-invalid"


def test_who_logs_in_meanwhile_is_let_in(tmp_path: Path) -> None:
    """A watch keeps its connections; Docker's file is read again when a credential is refused."""
    entry = {"username": KNOWN, "password": "canary"}
    path = tmp_path / "config.json"

    async def use(server: FaultyRegistry) -> list[type]:
        environ = {"DOCKER_CONFIG": str(tmp_path)}
        found = []
        async with Connections(config=lambda: DockerConfig.load(environ)) as connections:
            for password in ("canary", RIGHT):
                path.write_text(json.dumps({"auths": {server.host: entry | {"password": password}}}))
                wanted = Reference(Repository(server.host, "a"), "latest")
                found.append(type((await RoutedRegistry(connections).heads([wanted]))[wanted]))
        return found

    with FaultyRegistry(auth="basic").running() as server:
        assert asyncio.run(use(server)) == [Unknown, type(ABSENT)]


@pytest.mark.parametrize("auth", [None, "basic"])
def test_a_broken_helper_matters_to_a_registry_that_asks(auth: str | None) -> None:
    """A build on an open registry needs no login, and Docker's configuration may be another machine's."""
    broken = DockerConfig(None, {"credsStore": "no-such"}, {"PATH": "/none"})

    async def use(server: FaultyRegistry) -> str:
        async with Connections(config=lambda: broken) as connections:
            wanted = Reference(Repository(server.host, "a"), "latest")
            await RoutedRegistry(connections).heads([wanted])
            return (await connections.logins([server.host])).reveal()

    with FaultyRegistry(auth=auth).running() as server:
        if auth is None:
            assert json.loads(asyncio.run(use(server))) == {"auths": {}}
            return
        with pytest.raises(LianError) as error:
            asyncio.run(use(server))
        assert codes(error) == {"credential-helper-missing"}
