"""Who was refused, with which login, and whether for one repository or for all: told so that it can be mended."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.credential import SourceKind, SourceRef
from reconciler.model.fleet import Author, RegistryProvider, RegistrySettings
from reconciler.model.observed import Unknown
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference, Repository
from reconciler.ports.registry import MANIFEST_UNKNOWN
from reconciler.providers.registry.connections import Connections
from reconciler.providers.registry.http.docker_config import DockerConfig
from reconciler.providers.registry.http.logins import PASSWORD, USER
from reconciler.providers.registry.http.transport import Call
from reconciler.providers.registry.router import RoutedRegistry
from reconciler.providers.secrets.sources import Sources
from tests.ports.registry_suite import Image
from tests.servers import faulty_registry as faults
from tests.servers.faulty_registry import FaultyRegistry
from tests.servers.registry import PASSWORD as RIGHT
from tests.servers.registry import USER as KNOWN
from tests.servers.secured_registry import run_secured
from tests.servers.token_server import READ, TokenServer
from tests.servers.token_server import User as Person

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.model.problem import Problem
    from reconciler.providers.registry.http.transport import Transport
    from tests.servers.registry import RegistryServer

WRONG = "canary-wrong"
VARIABLES = {USER: "operator", PASSWORD: WRONG}
NAMED = SourceRef(SourceKind.ENV, "CI_PASSWORD", "ci")


def settings(server: RegistryServer | FaultyRegistry, **more: Any) -> RegistrySettings:
    return RegistrySettings(RegistryProvider.DISTRIBUTION, url=server.url, **more)


def told(
    known: RegistrySettings, environ: Mapping[str, str], docker: DockerConfig | None = None, count: int = 100
) -> list[Problem]:
    """The distinct problems that so many repositories are unknown for; as many questions of other kinds as well."""

    async def use() -> dict[Problem, None]:
        config = docker or DockerConfig(None, {}, {})
        async with Connections(config=lambda: config, environ=environ, read=Sources(environ).read) as connections:
            await connections.learn([known], fleet=known)
            registry = RoutedRegistry(connections)
            repositories = [Repository(known.host, f"r/{n}") for n in range(count)]
            seen = await registry.heads([Reference(repository, "latest") for repository in repositories])
            found = dict.fromkeys(s.problem for s in seen.values() if isinstance(s, Unknown))
            try:
                await registry.manifest(repositories[0], Image().manifest.digest)
            except LianError as error:
                found |= dict.fromkeys(error.problems)
            return found

    problems = list(asyncio.run(use()))
    assert "canary" not in repr(problems)
    return [problem for problem in problems if problem.code != MANIFEST_UNKNOWN]


def one(problems: list[Problem]) -> Problem:
    (problem,) = problems
    assert problem.code == "registry-denied"
    return problem


def in_full(problem: Problem) -> str:
    return f"{problem.message} | {problem.cause} | {problem.hint}"


def docker_of(folder: Path, host: str, entry: Mapping[str, str] | None, **more: Any) -> DockerConfig:
    document = {"auths": {host: entry}} if entry else {}
    (folder / "config.json").write_text(json.dumps(document | more))
    return DockerConfig.load({"DOCKER_CONFIG": str(folder), "PATH": f"{folder}:{os.environ['PATH']}"})


# -- where the login came from -------------------------------------------------------------------------------------


def test_no_login_is_told_as_none(password_registry_server: RegistryServer) -> None:
    problem = one(told(settings(password_registry_server), {}))
    assert "asks for a login, and there is none for it" in problem.message
    assert f"docker login {password_registry_server.host}" in (problem.hint or "")


def test_the_operators_variables(password_registry_server: RegistryServer) -> None:
    """`docker login` does not help where the variables win."""
    problem = one(told(settings(password_registry_server), VARIABLES))
    assert "refuses the login of operator" in problem.message
    assert f"{USER} and {PASSWORD}" in (problem.cause or "")
    assert USER in (problem.hint or "")
    assert "run `docker login" not in (problem.hint or "")


@pytest.mark.parametrize(("by", "whose"), [(Author.OWNER, "lian.ncl"), (Author.DIRECTIVE, "the directive")])
def test_what_the_settings_name(password_registry_server: RegistryServer, by: Author, whose: str) -> None:
    host = password_registry_server.host
    environ = {"CI_PASSWORD": WRONG, "LIAN_CREDENTIAL_HOSTS": host}
    problem = one(told(settings(password_registry_server, credentials=NAMED, by=by), environ))
    assert "refuses the login of ci" in problem.message
    assert "the variable CI_PASSWORD" in (problem.cause or "")
    assert whose in (problem.cause or "")
    assert "CI_PASSWORD" in (problem.hint or "")
    assert "docker login" not in (problem.hint or "")


def test_dockers_own_file(password_registry_server: RegistryServer, tmp_path: Path) -> None:
    host = password_registry_server.host
    pair = base64.b64encode(f"{KNOWN}:{WRONG}".encode()).decode()
    problem = one(told(settings(password_registry_server), {}, docker_of(tmp_path, host, {"auth": pair})))
    assert pair not in in_full(problem)
    assert f"refuses the login of {KNOWN}" in problem.message
    assert str(tmp_path / "config.json") in (problem.cause or "")
    assert f"docker login {host}" in (problem.hint or "")


def test_a_credential_helper(password_registry_server: RegistryServer, tmp_path: Path) -> None:
    helper = tmp_path / "docker-credential-test"
    helper.write_text(f"""#!/bin/sh\necho '{{"Username":"kept","Secret":"{WRONG}"}}'\n""")
    helper.chmod(0o755)
    docker = docker_of(tmp_path, "", None, credsStore="test")
    problem = one(told(settings(password_registry_server), {}, docker, count=5))
    assert "refuses the login of kept" in problem.message
    assert "docker-credential-test" in (problem.cause or "")
    assert "docker-credential-test" in (problem.hint or "")


def test_the_right_login_reads(password_registry_server: RegistryServer) -> None:
    assert told(settings(password_registry_server), {USER: KNOWN, PASSWORD: RIGHT}) == []


# -- tokens --------------------------------------------------------------------------------------------------------


def test_a_token_service_that_refuses_the_login(tmp_path: Path) -> None:
    people = {"operator": Person("canary-right", [("*", READ)])}
    with TokenServer(people).running() as tokens, run_secured(tmp_path / "server", tokens=tokens) as server:
        problem = one(told(settings(server), VARIABLES, count=60))
        assert "refuses the login of operator" in problem.message
        assert "the token service answered HTTP 401" in (problem.cause or "")
        assert USER in (problem.hint or "")


def test_an_identity_token_has_no_user(tmp_path: Path) -> None:
    with TokenServer({}).running() as tokens, run_secured(tmp_path / "server", tokens=tokens) as server:
        docker = docker_of(tmp_path, server.host, {"auth": "MDAwOg==", "identitytoken": "canary-identity"})
        problem = one(told(settings(server), {}, docker, count=5))
        assert "refuses the login by an identity token" in problem.message
        assert "000" not in problem.message


def test_what_one_account_may_not_read_is_told_for_each(tmp_path: Path) -> None:
    people = {"operator": Person(WRONG, [("r/1", READ)])}
    with TokenServer(people).running() as tokens, run_secured(tmp_path / "server", tokens=tokens) as server:
        problems = told(settings(server), VARIABLES, count=5)
        assert {name for name in ("r/0", "r/2", "r/3", "r/4") for p in problems if name in p.message} == {
            "r/0", "r/2", "r/3", "r/4"
        }  # fmt: skip
        assert not [p for p in problems if "r/1" in p.message]
        for problem in problems:
            assert f"as operator, a login from {USER}" in (problem.cause or "")
            assert "give operator the right" in (problem.hint or "")


def test_a_401_of_the_token_service_for_one_repository_stays_one() -> None:
    """Some refuse so what an account that they know may not read, and with it all that is asked for at once."""
    with FaultyRegistry(auth="bearer").running() as server:
        server.fault("GET", r"/token\?.*r%2F3%3A", faults.status(401))
        problem = one(told(settings(server), {USER: faults.USER, PASSWORD: faults.PASSWORD}, count=6))
        assert "refuses access to r/3 (pull)" in problem.message
        assert f"as {faults.USER}, a login from {USER}" in (problem.cause or "")


def test_who_may_not_list_is_not_unknown_to_the_token_service() -> None:
    """The scope that the registry names for its listing is not asked for where only the login matters."""
    with FaultyRegistry(auth="bearer").running() as server:
        for scope in ("catalog", "r%2F0%3A"):
            server.fault("GET", rf"/token\?.*{scope}", faults.status(401))
        entry = {"username": faults.USER, "password": faults.PASSWORD}
        docker = DockerConfig(None, {"auths": {server.host: entry}}, {})

        async def refused(transport: Transport, target: str, repository: str) -> str:
            with pytest.raises(LianError) as error:
                await transport.send(Call("GET", target, repository))
            return error.value.problems[0].message

        async def use() -> list[str]:
            async with Connections(config=lambda: docker) as connections:
                transport = connections.transport(server.host)
                targets = {"/v2/_catalog": "", "/v2/r/0/tags/list": "r/0"}
                return [await refused(transport, target, repository) for target, repository in targets.items()]

        said = asyncio.run(use())
        assert ["its own listing" in said[0], "r/0 (pull)" in said[1]] == [True, True]


# -- for one repository, or for all --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("environ", [{}, {USER: faults.USER, PASSWORD: faults.PASSWORD}])
def test_a_repository_that_is_denied_at_an_open_door_stays_one(status: int, environ: Mapping[str, str]) -> None:
    """There are registries that answer 401 to an account that they know, for what it may not read."""
    with FaultyRegistry(auth="basic" if environ else None).running() as server:
        refused = faults.status(status, WWW_Authenticate='Basic realm="x"')
        for method in ("HEAD", "GET"):
            server.fault(method, "/v2/r/[34]/manifests", lambda right: right if right.status == 401 else refused(right))
        problems = told(settings(server), environ, count=6)
        assert ["r/3" in p.message or "r/4" in p.message for p in problems] == [True, True]
        for problem in problems:
            login = f"as {faults.USER}, a login from" if environ else "without a login"
            assert login in (problem.cause or "")


def test_one_question_at_the_door_does_for_a_pass() -> None:
    with FaultyRegistry(auth="basic").running() as server:
        server.fault("GET", "^/v2/$", faults.status(401, WWW_Authenticate='Basic realm="x"'))
        for environ in ({}, VARIABLES):
            server.requests.clear()
            assert len(told(settings(server), environ)) == 1
            assert len(server.asked("GET", "^/v2/$")) == 1
