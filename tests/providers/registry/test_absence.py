"""What a 404 is worth: absent is only what someone with the right to look is told to be absent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.fleet import RegistryProvider, RegistrySettings
from reconciler.model.observed import ABSENT, Unknown
from reconciler.model.parts import below
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference, Repository
from reconciler.providers.registry.abilities import RoutedAbilities
from reconciler.providers.registry.distribution.writes import delete_digest, delete_tag
from reconciler.providers.registry.router import Connections, RoutedRegistry
from tests.ports.registry_suite import KIND, Image, codes, record
from tests.providers.registry.places import config, opened, removing, transport
from tests.servers import faulty_registry as faults
from tests.servers.faulty_registry import PASSWORD, USER, FaultyRegistry
from tests.servers.running import PASSWORD as ZOT_PASSWORD
from tests.servers.running import USER as ZOT_USER
from tests.servers.token_server import READ, WRITE, TokenServer, User
from tests.servers.zot import run_zot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from reconciler.model.observed import Sighting
    from reconciler.providers.registry.http.docker_config import DockerConfig
    from tests.servers.faulty_registry import Answer

EVERYONE = User("", [("*", READ)])
BASIC = faults.status(401, WWW_Authenticate='Basic realm="tests"')


@pytest.fixture
def server() -> Iterator[FaultyRegistry]:
    """It asks nobody who they are, until a test says otherwise."""
    with FaultyRegistry().running() as running:
        yield running


def at_its_door(server: FaultyRegistry, change: Callable[[Answer], Answer]) -> None:
    """What it answers to `GET /v2/` of those who do not say who they are."""
    server.fault("GET", "^/v2/$", change)


def refs(host: str, count: int = 3, prefix: str = "r") -> list[Reference]:
    return [Reference(Repository(host, f"{prefix}/{n}"), "latest") for n in range(count)]


def seen(host: str, wanted: list[Reference], docker: DockerConfig | None = None, **how: Any) -> list[Sighting]:
    async def use() -> list[Sighting]:
        async with opened(host, docker=docker or config(), **how) as (registry, _):
            return list((await registry.heads(wanted)).values())

    return asyncio.run(use())


def told(sightings: list[Sighting]) -> set[str]:
    return {s.problem.code if isinstance(s, Unknown) else type(s).__name__.lower() for s in sightings}


# -- passwords ------------------------------------------------------------------------------------------------------


def test_a_404_of_a_registry_that_demands_a_login_is_unknown_to_nobody(server: FaultyRegistry) -> None:
    at_its_door(server, BASIC)
    found = seen(server.host, refs(server.host))
    assert told(found) == {"registry-denied"}
    problem = found[0].problem if isinstance(found[0], Unknown) else None
    assert problem is not None
    assert "cannot be told" in problem.message
    assert f"docker login {server.host}" in (problem.hint or "")
    assert "asks for a login, and there is none" in (problem.cause or "")


def test_with_the_login_it_is_absent(server: FaultyRegistry) -> None:
    at_its_door(server, BASIC)
    docker = config(server.host, username=USER, password=PASSWORD)
    assert set(seen(server.host, refs(server.host), docker)) == {ABSENT}
    assert any("authorization" in one.headers for one in server.asked("HEAD"))


def test_what_nobody_may_see_is_unknown_however_it_is_asked_for(server: FaultyRegistry) -> None:
    at_its_door(server, BASIC)
    repository, image = Repository(server.host, "shop/api"), Image()

    async def use() -> None:
        async with opened(server.host) as (registry, _):
            blob = below(image.manifest).blobs[0]
            for ask in (
                registry.manifest(repository, image.manifest.digest),
                registry.missing(repository, image.manifest.digest),
                registry.blob(repository, blob.digest, 1000),
                registry.verified(repository, blob),
                registry.referrers(repository, image.manifest.digest, None),
            ):
                with pytest.raises(LianError) as error:
                    await ask
                assert codes(error) == {"registry-denied"}

    asyncio.run(use())


def test_one_question_settles_it_for_a_whole_pass(server: FaultyRegistry) -> None:
    for door in (BASIC, faults.status(200)):
        server.requests.clear()
        server.faults.clear()
        at_its_door(server, door)

        async def use() -> None:
            async with opened(server.host) as (registry, _):
                for _ in range(2):
                    await registry.heads(refs(server.host, 40))

        asyncio.run(use())
        assert len(server.asked("GET", "^/v2/$")) == 1
        assert len(server.asked("HEAD")) + len(server.asked("GET", "/manifests/")) <= 2 * 80


def test_what_nobody_may_see_is_not_gone_either(server: FaultyRegistry) -> None:
    """A removal that is answered with 404 has not removed anything that only others may see."""
    repository, digest = Repository(server.host, "r/0"), Image().manifest.digest
    login = config(server.host, username=USER, password=PASSWORD)

    async def use(docker: DockerConfig) -> None:
        async with removing(server.host, docker=docker) as remover:
            await remover.delete(repository, digest)
        async with transport(server.host, docker=docker) as made:
            await delete_digest(made, repository, digest)
            await delete_tag(made, repository, "latest")

    asyncio.run(use(config()))
    at_its_door(server, BASIC)
    asyncio.run(use(login))
    assert any("authorization" in one.headers for one in server.asked("DELETE"))

    async def nobody() -> None:
        async with transport(server.host) as made:
            for ask in (delete_digest(made, repository, digest), delete_tag(made, repository, "latest")):
                with pytest.raises(LianError) as error:
                    await ask
                assert codes(error) == {"registry-denied"}

    asyncio.run(nobody())


@pytest.mark.parametrize("door", [faults.status(200), faults.status(404), faults.html(200)])
def test_a_registry_that_asks_nobody_says_what_is_absent(server: FaultyRegistry, door: Any) -> None:
    at_its_door(server, door)
    assert set(seen(server.host, refs(server.host))) == {ABSENT}


@pytest.mark.parametrize(
    "door", [faults.status(401), faults.status(401, WWW_Authenticate="Negotiate"), faults.html(403)]
)
def test_a_refusal_that_offers_no_way_in_is_unknown(server: FaultyRegistry, door: Any) -> None:
    at_its_door(server, door)
    assert told(seen(server.host, refs(server.host))) == {"registry-denied"}


def test_a_registry_that_knows_logins_and_answers_everyone(server: FaultyRegistry) -> None:
    """zot, where some may be read by everyone: what is absent is absent, and who has a login uses it."""
    at_its_door(server, faults.status(200, WWW_Authenticate="basic realm="))
    assert set(seen(server.host, refs(server.host, 30))) == {ABSENT}
    assert len(server.asked("HEAD")) + len(server.asked("GET", "/manifests/")) <= 2 * 30 + 2 * 32
    image = Image()
    push_to(server.host, "r/0", image)
    hidden = Hidden(server)
    docker = config(server.host, username=USER, password=PASSWORD)
    assert told(seen(server.host, refs(server.host, 2), docker)) == {"found", "absent"}
    assert hidden.seen


@pytest.mark.parametrize("first", ["secret", "public"])
def test_the_order_of_questions_decides_nothing(server: FaultyRegistry, first: str) -> None:
    """An open registry that asks for a login for some repositories only."""
    for method in ("HEAD", "GET"):
        server.fault(method, "/v2/secret/", BASIC)
    at_its_door(server, faults.status(200))

    async def use() -> list[Sighting]:
        async with opened(server.host) as (registry, _):
            prefixes = ("secret", "public") if first == "secret" else ("public", "secret")
            asked = {prefix: await registry.heads(refs(server.host, 1, prefix)) for prefix in prefixes}
            return [*asked["public"].values(), *asked["secret"].values()]

    public, secret = asyncio.run(use())
    assert public == ABSENT
    assert told([secret]) == {"registry-denied"}


def test_what_is_there_for_everyone_is_read_with_what_refers_to_it(server: FaultyRegistry) -> None:
    """A registry without the referrers API answers 404 to everyone: that says nothing of the right to look."""
    image = Image()
    about, blobs = record(image.descriptor, "one")
    push_to(server.host, "r/0", image)
    repository = Repository(server.host, "r/0")

    async def write() -> None:
        async with opened(server.host) as (_, publisher):
            await publisher.publish(repository, about, blobs=blobs)

    asyncio.run(write())
    at_its_door(server, BASIC)

    async def use() -> None:
        async with opened(server.host) as (registry, _):
            listed = await registry.referrers(repository, image.manifest.digest, KIND)
            assert [d.digest for d in listed] == [about.digest]
        async with Connections(config=config) as connections:
            assert (await RoutedAbilities(connections).of(repository)).referrers is False

    asyncio.run(use())


def test_each_pass_asks_again(server: FaultyRegistry) -> None:
    """Whoever watches for a month is told when a registry is opened, or closed."""
    settings = [RegistrySettings(RegistryProvider.DISTRIBUTION, url=server.url)]
    found: list[set[str]] = []

    async def use() -> None:
        async with Connections(config=config) as connections:
            for door in (faults.status(200), BASIC, faults.status(200)):
                await connections.learn(settings)
                server.faults.clear()
                at_its_door(server, door)
                found.append(told(list((await RoutedRegistry(connections).heads(refs(server.host))).values())))

    asyncio.run(use())
    assert found == [{"absent"}, {"registry-denied"}, {"absent"}]
    assert len(server.asked("GET", "^/v2/$")) == 3


# -- tokens ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opaque", "anonymous", "expected"),
    [
        (True, EVERYONE, "registry-denied"),
        (True, User("", ()), "registry-denied"),
        (False, EVERYONE, "absent"),
        (False, User("", ()), "registry-denied"),
    ],
)
@pytest.mark.parametrize("count", [1, 12])
def test_an_anonymous_token_is_worth_what_it_says(
    server: FaultyRegistry, *, opaque: bool, anonymous: User, expected: str, count: int
) -> None:
    """A service that grants everyone pull says so in its tokens; one that does not say may have granted nothing."""
    with TokenServer({}, anonymous=anonymous, opaque=opaque).running() as tokens:
        at_its_door(server, faults.status(401, WWW_Authenticate=f'Bearer realm="{tokens.realm}",service="lian-tests"'))
        found = seen(server.host, refs(server.host, count))
        assert told(found) == {expected}
        assert all("docker login" in (s.problem.hint or "") for s in found if isinstance(s, Unknown))
        assert {asked.user for asked in tokens.asked} == {None}


def test_an_opaque_token_of_someone_is_believed(server: FaultyRegistry) -> None:
    with TokenServer({"writer": User("canary-writer", [("*", WRITE)])}, opaque=True).running() as tokens:
        at_its_door(server, faults.status(401, WWW_Authenticate=f'Bearer realm="{tokens.realm}",service="lian-tests"'))
        docker = config(server.host, username="writer", password="canary-writer")
        assert set(seen(server.host, refs(server.host), docker)) == {ABSENT}


def test_what_was_asked_before_the_registry_wanted_to_know_is_asked_again(server: FaultyRegistry) -> None:
    """A request that went out without a token, while another one was just told that a token is needed."""
    with TokenServer({}, anonymous=EVERYONE).running() as tokens:
        bearer = faults.status(401, WWW_Authenticate=f'Bearer realm="{tokens.realm}",service="lian-tests"')
        at_its_door(server, bearer)
        for method in ("HEAD", "GET"):
            server.fault(method, "/v2/secret/", bearer)
        both = refs(server.host, 2, "secret") + refs(server.host, 8)
        found = seen(server.host, both)
        assert told(found[:2]) == {"registry-denied"}
        assert set(found[2:]) == {ABSENT}
        assert {scope for asked in tokens.asked for scope in asked.scopes} >= {
            f"repository:r/{n}:pull" for n in range(8)
        }


# -- real ones ------------------------------------------------------------------------------------------------------


def test_a_zot_that_everyone_may_read_and_one_with_logins(tmp_path: Path) -> None:
    """Hidden is 401 there, so its 404 is one; with the policy for everyone or without."""
    with run_zot(tmp_path / "zot", password=True, everyone="public/**") as zot:
        docker = config(zot.host, username=ZOT_USER, password=ZOT_PASSWORD)
        push_to(zot.host, "public/0", Image(), docker)
        assert told(seen(zot.host, refs(zot.host, 1, "public"))) == {"found"}
        assert told(seen(zot.host, refs(zot.host, 3, "public")[1:])) == {"absent"}
        assert told(seen(zot.host, refs(zot.host, 2, "secret"))) == {"registry-denied"}
        assert told(seen(zot.host, refs(zot.host, 2, "secret"), docker)) == {"absent"}
    with run_zot(tmp_path / "closed", password=True) as zot:
        assert told(seen(zot.host, refs(zot.host))) == {"registry-denied"}


class Hidden:
    """From now on nobody sees anything, and who says who he is sees all."""

    def __init__(self, server: FaultyRegistry) -> None:
        self.seen = False
        self._answer = server.answer
        server.answer = self.answer  # type: ignore[method-assign]

    def answer(self, seen: faults.Seen, data: bytes) -> Answer:
        """See FaultyRegistry."""
        right = self._answer(seen, data)
        if "/manifests/" not in seen.path or "authorization" in seen.headers:
            self.seen = self.seen or (right.status == 200 and "/manifests/" in seen.path)
            return right
        return faults.status(404, b'{"errors": [{"code": "NAME_UNKNOWN", "message": "unknown"}]}')(right)


def push_to(host: str, path: str, image: Image, docker: DockerConfig | None = None) -> None:
    async def use() -> None:
        async with opened(host, docker=docker or config()) as (_, publisher):
            await publisher.publish(Repository(host, path), image.manifest, tags=["latest"], blobs=image.blobs)

    asyncio.run(use())
