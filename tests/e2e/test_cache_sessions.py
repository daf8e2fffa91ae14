"""CI and two actors in one workspace, on a registry that asks for tokens: real builds, each under its own credential.

Session commands are not there yet; what they will stand on is: the rules, and builds that take a mode.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from reconciler import wiring
from reconciler.apply.caching import Caches
from reconciler.apply.send import Parcel, Sender
from reconciler.cache import rules
from reconciler.cache.home import cache_layout
from reconciler.cache.namespace import Namespace
from reconciler.model.cache import Ci, Session
from reconciler.model.cache_use import CacheUse, LookStatus
from reconciler.model.name import ArtifactName
from reconciler.model.observed import Found
from reconciler.model.reference import Reference, Repository
from reconciler.model.tier import Tier
from reconciler.ports.builder import BuildRequest, CacheTarget, PinnedImage
from reconciler.ports.compute import LeaseRequest
from reconciler.ports.publisher import PushTo
from reconciler.reconcile import load
from tests.e2e.test_cache import SHOP, cache_of, shop
from tests.servers.secured_registry import run_secured
from tests.servers.token_server import READ, WRITE, TokenServer, User

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.model.cache import BuildMode
    from tests.e2e.bench import Bench
    from tests.servers.running import RegistryServer

pytestmark = pytest.mark.buildkit

CI_CACHE = "cache/ci/shop/api"
TIER = Tier(2, 1.0, 30)
USERS = {
    "ci": User("ci-secret", [("shop/*", WRITE), ("cache/ci/*", WRITE)]),
    "ada": User("ada-secret", [("shop/*", READ), ("cache/ci/shop/*", READ), ("*dev/ada-shop/*", WRITE)]),
    "bob": User("bob-secret", [("shop/*", READ), ("cache/ci/shop/*", READ), ("*dev/bob-shop/*", WRITE)]),
}


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    with TokenServer(USERS).running() as service:
        yield service


@pytest.fixture
def server(tmp_path: Path, tokens: TokenServer) -> Iterator[RegistryServer]:
    with run_secured(tmp_path / "server", tokens=tokens) as running:
        yield running


@pytest.fixture
def bench(tmp_path: Path, server: RegistryServer, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """CI has built the workspace once."""
    made = shop(tmp_path / "bench", server.url)
    made.env |= {"LIAN_REGISTRY_USER": "ci", "LIAN_REGISTRY_PASSWORD": "ci-secret"}
    assert made.reconcile()["shop/api"]["status"] == "done"
    monkeypatch.setenv("LIAN_CREDENTIAL_HOSTS", server.host)
    return made


def session_build(
    bench: Bench, user: str, mode: BuildMode, monkeypatch: pytest.MonkeyPatch, target: Repository | None = None
) -> CacheUse:
    """One build of shop/api as `user`, whose image goes where sessions keep theirs; `target` is where lian is made to
    write the cache, against its own rules."""
    monkeypatch.setenv("LIAN_REGISTRY_USER", user)
    monkeypatch.setenv("LIAN_REGISTRY_PASSWORD", f"{user}-secret")
    return asyncio.run(_session_build(bench, user, mode, target))


async def _session_build(bench: Bench, user: str, mode: BuildMode, target: Repository | None) -> CacheUse:
    choice = wiring.Choice(str(bench.repo), "HEAD", bench.registry, bench.cache / user)
    async with wiring.working(choice) as working:
        ports = working.ports(SimpleNamespace(record=lambda event: None))
        desired = await load(ports)
        wanted = desired.wanted[ArtifactName("shop", "api")]
        materials, (platform,) = wanted.materials, wanted.artifact.platforms
        assert materials is not None
        host = wanted.artifact.image.host
        lease = LeaseRequest("fleet", "pass", f"lease-{user}", TIER, 300.0, hosts=frozenset({host}))
        async with ports.compute.rent(lease) as runner:
            caches = Caches(ports, desired, wanted.artifact, mode)
            sender = Sender(ports.source, runner.scratch)
            lookup = await caches.look_and_keep(platform, runner.scratch / "cache")
            if target is not None:
                lookup = replace(lookup, target=CacheTarget(PushTo(target, plain=True), "linux-amd64"))
            base = desired.wanted[ArtifactName("shop", "base")]
            assert base.materials is not None
            request = BuildRequest(
                artifact="shop/api",
                platform=platform,
                context=await Parcel(sender).folder(materials.context),
                dockerfile=await sender.dockerfile(materials),
                log=bench.cache / f"{user}.log",
                tier=TIER,
                destination=PushTo(
                    Repository(host, "shop/api" if user == "ci" else f"dev/{user}-shop/shop/api"), plain=True
                ),
                contexts=await _pinned(ports, host),
                cache_from=lookup.sources,
                cache_to=lookup.target,
            )
            built = await ports.builder.build(runner, request, lambda step: None)
            await caches.keep(platform, lookup, [built])
            await sender.close()
            return caches.uses[platform]


async def _pinned(ports: Any, host: str) -> dict[str, Any]:
    base = Reference(Repository(host, "shop/base"), "latest")
    head = (await ports.registry.heads([base]))[base]
    assert isinstance(head, Found)
    return {"base": PinnedImage(head.digest, ports.publisher.origin(base.repository))}


def statuses(use: CacheUse) -> list[tuple[str, LookStatus]]:
    return [(look.reference.partition("/")[2], look.status) for look in use.looked]


def test_a_session_is_as_fast_as_ci_made_it_and_writes_its_own(
    bench: Bench, server: RegistryServer, tokens: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted((server.storage / "docker/registry/v2/repositories").rglob("link"))
    use = session_build(bench, "ada", Session("ada"), monkeypatch)
    assert statuses(use) == [
        ("cache/dev/ada-shop/api:linux-amd64", LookStatus.ABSENT),
        ("cache/dev/ada-shop/api:linux-amd64.previous", LookStatus.ABSENT),
        (f"{CI_CACHE}:linux-amd64", LookStatus.READ),
        (f"{CI_CACHE}:linux-amd64.previous", LookStatus.ABSENT),
    ]
    assert (use.hits, use.problem) == (len(use.steps), None)
    assert use.saved >= 1
    assert use.written == f"{server.host}/cache/dev/ada-shop/api:linux-amd64"
    after = sorted((server.storage / "docker/registry/v2/repositories").rglob("link"))
    new = {str(path.relative_to(server.storage)) for path in set(after) - set(before)}
    assert all("/dev/ada-shop/" in path for path in new), new
    asked = {scope for one in tokens.asked if one.user == "ada" for scope in one.scopes}
    assert {scope for scope in asked if "cache/ci" in scope} == {f"repository:{CI_CACHE}:pull"}
    # Nobody else reads it: not another actor, and not CI.
    theirs = session_build(bench, "bob", Session("bob"), monkeypatch)
    assert [place for place, status in statuses(theirs) if status is LookStatus.READ] == [f"{CI_CACHE}:linux-amd64"]
    bench.commit({"images/api/app": "two\n"})
    mine = cache_of(bench.reconcile()["shop/api"])
    assert {look["reference"].partition("/")[2].rpartition(":")[0] for look in mine["looked"]} == {CI_CACHE}
    assert not [one for one in tokens.asked if one.user == "ci" and any("dev/" in scope for scope in one.scopes)]


def test_a_lian_that_broke_its_own_rules_is_stopped_by_the_registry(
    bench: Bench, server: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it wrote wrongly is refused, and the build is good all the same."""
    repositories = server.storage / "docker/registry/v2/repositories"
    ours = repositories / CI_CACHE / "_manifests/tags/linux-amd64/current/link"
    kept = ours.read_text()
    for where in (CI_CACHE, "cache/dev/bob-shop/api", "cache/ci/tools/api", "shop/api"):
        use = session_build(bench, "ada", Session("ada"), monkeypatch, Repository(server.host, where))
        assert use.problem is not None
        assert use.problem.code == "cache-not-written"
        assert use.written is None
    assert ours.read_text() == kept
    assert not (repositories / "cache/dev/bob-shop/api/_manifests").exists()


def test_ci_cannot_read_what_a_session_wrote_even_if_it_asks(
    bench: Bench, server: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a CI that took itself for ada would."""
    session_build(bench, "ada", Session("ada"), monkeypatch)
    use = session_build(bench, "ci", Session("ada"), monkeypatch, Repository(server.host, CI_CACHE))
    assert ("cache/dev/ada-shop/api:linux-amd64", LookStatus.UNREADABLE) in statuses(use)
    assert [place for place, status in statuses(use) if status is LookStatus.READ] == [f"{CI_CACHE}:linux-amd64"]


def test_the_tests_users_have_what_the_rules_give() -> None:
    """Else the registry above would prove nothing of the rules."""
    layout = cache_layout(SimpleNamespace(fleet=SimpleNamespace(cache_prefix="cache"), registries={}), "")  # type: ignore[arg-type]
    modes: dict[str, BuildMode] = {"ci": Ci(), "ada": Session("ada"), "bob": Session("bob")}
    for user, mode in modes.items():
        for namespace in (
            Namespace("shop"),
            Namespace("shop", "ada"),
            Namespace("shop", "bob"),
            Namespace("tools", "ada"),
        ):
            may = USERS[user].may(layout.repository(namespace, "api"))
            assert ("pull" in may) == rules.may_read(mode, "shop", namespace)
            assert ("push" in may) == rules.may_write(mode, "shop", namespace)
    assert set(SHOP) == {"base", "api"}
