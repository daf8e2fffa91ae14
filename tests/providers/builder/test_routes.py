"""BuildKit reaches registries as lian does: real builds that push to and pull from registries behind TLS, tokens and
mirrors."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from reconciler.model.problem import LianError
from reconciler.model.reference import Repository
from reconciler.model.secret import Secret
from reconciler.ports.access import Identity, Route
from reconciler.ports.builder import PinnedImage
from reconciler.ports.publisher import PullFrom, PushTo
from reconciler.providers.builder.binaries import find_part
from reconciler.providers.builder.buildctl import BuildctlBuilder
from reconciler.providers.registry.http.docker_config import Credential
from tests.providers.access import Told
from tests.providers.workshop import Image, image_of, open_bench, write_context
from tests.servers.certificates import Authority
from tests.servers.registry import run_registry
from tests.servers.secured_registry import run_secured
from tests.servers.token_server import WRITE, TokenServer, User

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.digest import Digest

pytestmark = pytest.mark.buildkit

DATA = "FROM scratch\nCOPY data /data\n"


def push_and_use(folder: Path, host: str, access: Told, at: str | None = None) -> tuple[Digest, Image]:
    """Build an image into the registry `host`, then one upon it that is kept on disk, pulled by the name `at` (the
    same, if not given)."""
    parent = write_context(folder / "parent", DATA, {"data": b"parent"}, busybox=False)
    child = write_context(folder / "child", "FROM base\nCOPY own /own\n", {"own": b"child"}, busybox=False)
    repository = Repository(host, "shop/base")
    buildctl = find_part("buildctl")
    assert buildctl is not None
    builder = BuildctlBuilder(buildctl, access)

    async def run() -> tuple[Digest, Image]:
        routes = tuple(access.ways.values())
        async with open_bench(folder / "pushing", routes=routes) as bench:
            request = bench.request(parent, destination=PushTo(repository, plain=False))
            built = await builder.build(bench.runner, request, lambda step: None)
        assert built.digest is not None
        async with open_bench(folder / "pulling", routes=routes) as bench:
            pulled = PullFrom(Repository(at or host, "shop/base"), plain=False)
            request = bench.request(child, contexts={"base": PinnedImage(built.digest, pulled)})
            return built.digest, image_of((await builder.build(bench.runner, request, lambda step: None), request))

    return asyncio.run(run())


BOTH = {"data": b"parent", "own": b"child"}


def test_an_https_registry_on_the_loopback_with_an_authority_of_its_own(tmp_path: Path) -> None:
    """Left to itself, BuildKit takes whatever is on the loopback for plain HTTP."""
    authority = Authority()
    with run_secured(tmp_path / "server", tls=authority.issue()) as server:
        trusting = Told(ways={server.host: Route(server.host, authorities=(Authority("other").pem, authority.pem))})
        assert push_and_use(tmp_path / "a", server.host, trusting)[1].files() == BOTH
        careless = Told(ways={server.host: Route(server.host, insecure=True)})
        assert push_and_use(tmp_path / "b", server.host, careless)[1].files() == BOTH
        for n, wrong in enumerate((Route(server.host), Route(server.host, authorities=(Authority("other").pem,)))):
            with pytest.raises(LianError) as error:
                push_and_use(tmp_path / f"wrong-{n}", server.host, Told(ways={server.host: wrong}))
            assert error.value.problems[0].code == "certificate-refused"


def test_a_registry_that_asks_for_a_client_certificate(tmp_path: Path) -> None:
    authority, clients = Authority(), Authority("clients")
    one = clients.issue("lian")
    with run_secured(tmp_path / "server", tls=authority.issue(), clients=clients) as server:
        identity = Identity(one.pem, Secret(one.key_pem))
        shown = Route(server.host, authorities=(authority.pem,), identity=identity)
        assert push_and_use(tmp_path / "a", server.host, Told(ways={server.host: shown}))[1].files() == BOTH
        hidden = Route(server.host, authorities=(authority.pem,))
        with pytest.raises(LianError) as error:
            push_and_use(tmp_path / "b", server.host, Told(ways={server.host: hidden}))
        assert error.value.problems[0].code == "push-failed"
    assert not list(tmp_path.rglob("*client.key"))


def test_a_token_service_behind_the_same_authority(tmp_path: Path) -> None:
    """buildctl itself asks the token service, so it has to be told whom to trust."""
    authority = Authority()
    users = {"ci": User("canary-password", [("*", WRITE)])}
    with (
        TokenServer(users, tls=authority.issue("tokens").server_context(tmp_path / "tokens")).running() as tokens,
        run_secured(tmp_path / "server", tls=authority.issue(), tokens=tokens) as server,
    ):
        way = {server.host: Route(server.host, authorities=(authority.pem,))}
        access = Told({server.host: Credential("ci", "canary-password")}, way)
        assert push_and_use(tmp_path / "a", server.host, access)[1].files() == BOTH
        assert {asked.user for asked in tokens.asked} == {"ci"}


@pytest.mark.parametrize("alive", [True, False])
def test_a_base_is_pulled_from_a_mirror_and_else_from_its_origin(tmp_path: Path, alive: bool) -> None:
    with run_registry(tmp_path / "origin") as origin, run_registry(tmp_path / "mirror") as mirror:
        if alive:
            filled, other = mirror, origin
            origin.stop()
        else:
            filled, other = origin, mirror
            mirror.stop()
        ways = {
            filled.host: Route(filled.host, plain=True),
            other.host: Route(other.host, plain=True),
            "fleet.example": Route("fleet.example"),
        }
        ways[origin.host] = Route(origin.host, plain=True, mirrors=(mirror.host,))
        _, image = push_and_use(tmp_path / "a", filled.host, Told(ways=ways), at=origin.host)
        assert image.files() == BOTH


def test_a_mirror_with_a_path(tmp_path: Path) -> None:
    """As Harbor's proxy projects have it: the origin's repository stands below a path of the mirror."""
    with run_registry(tmp_path / "mirror") as mirror:
        ways = {
            mirror.host: Route(mirror.host, plain=True),
            "origin.invalid": Route("origin.invalid", mirrors=(f"{mirror.host}/shop",)),
        }
        parent = write_context(tmp_path / "parent", DATA, {"data": b"parent"}, busybox=False)
        child = write_context(tmp_path / "child", "FROM base\nCOPY own /own\n", {"own": b"child"}, busybox=False)

        async def run() -> Image:
            async with open_bench(tmp_path / "bench", routes=tuple(ways.values())) as bench:
                into = PushTo(Repository(mirror.host, "shop/base"), plain=True)
                built, _ = await bench.build(bench.request(parent, destination=into))
                assert built.digest is not None
                pulled = PullFrom(Repository("origin.invalid", "base"), plain=False)
                return image_of(
                    await bench.build(bench.request(child, contexts={"base": PinnedImage(built.digest, pulled)}))
                )

        assert asyncio.run(run()).files() == BOTH
