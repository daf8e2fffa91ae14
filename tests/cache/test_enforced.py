"""The rendered policies, enforced: everything that the rules forbid is tried on registries that refuse it, with plain
curl under each account's credential and with lian's own adapters; everything that they allow works.

ci is CI's account. ada has sessions of both workspaces, bob of shop. eve is known to the registry alone. Where entries
of others have a place, there is one after ours that lets everyone do anything: it opens nothing of ours.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import pytest

from reconciler.cache import rules
from reconciler.cache.namespace import Layout
from reconciler.cache.policy import harbor, tokens, zot
from reconciler.cache.policy.rule import Rule, rule
from reconciler.model.access import Access
from reconciler.model.cache import Ci, Session
from reconciler.model.manifest import IMAGE_MANIFEST
from reconciler.model.observed import Found, Unknown
from reconciler.model.platform import Platform
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference, Repository
from reconciler.providers.registry.distribution.inventory import DistributionInventory
from tests.cache.policies import ACCESS, copied, ground
from tests.needs import not_run
from tests.ports.registry_suite import Image
from tests.providers.registry.places import config, opened, removing, transport
from tests.servers.docker_auth import granted, users_of
from tests.servers.scripted_harbor import Account, ScriptedHarbor
from tests.servers.secured_registry import run_secured
from tests.servers.token_server import TokenServer
from tests.servers.zot import Access as ZotAccess
from tests.servers.zot import run_zot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from reconciler.model.cache import BuildMode
    from reconciler.providers.registry.http.docker_config import DockerConfig

pytestmark = pytest.mark.slow
ADMIN = "root"
ACCOUNTS = ("ci", "ada", "bob", "eve")
READS, WRITES, NOTHING = "r", "rw", ""
MAY = {
    "cache/ci/shop/api": {"ci": WRITES, "ada": READS, "bob": READS},
    "cache/ci/tools/cli": {"ci": WRITES, "ada": READS},
    "cache/dev/ada-shop/api": {"ada": WRITES},
    "cache/dev/ada-tools/cli": {"ada": WRITES},
    "cache/dev/bob-shop/api": {"bob": WRITES},
    "cache/dev/bob-tools/cli": {},
    "cache/dev/eve-shop/api": {},
    "cache/ci/closed/api": {},
    "dev/ada-shop/shop/api": {"ada": WRITES},
    "dev/bob-shop/shop/api": {"bob": WRITES},
    "dev/eve-shop/shop/api": {},
    "dev/x": {"ci": WRITES, "ada": READS, "bob": READS},
    "shop/api": {"ci": WRITES, "ada": READS, "bob": READS},
    "tools/cli": {"ci": WRITES, "ada": READS},
}
"""Said here once more, by hand: repository -> account -> what it may do."""
IN_PROJECTS = {
    "cache/ci/shop/api": "cache.ci.shop/api",
    "cache/ci/tools/cli": "cache.ci.tools/cli",
    "cache/dev/ada-shop/api": "cache.dev.ada.shop/api",
    "cache/dev/ada-tools/cli": "cache.dev.ada.tools/cli",
    "cache/dev/bob-shop/api": "cache.dev.bob.shop/api",
    "cache/dev/bob-tools/cli": "cache.dev.bob.tools/cli",
    "cache/dev/eve-shop/api": "cache.dev.eve.shop/api",
    "cache/ci/closed/api": "cache.ci.closed/api",
    "dev/ada-shop/shop/api": "dev.ada.shop/shop/api",
    "dev/bob-shop/shop/api": "dev.bob.shop/shop/api",
    "dev/eve-shop/shop/api": "dev.eve.shop/shop/api",
    "dev/x": "dev/x",
    "shop/api": "shop/api",
    "tools/cli": "tools/cli",
}

# bcrypt of canary-NAME, at the lowest cost
HTPASSWD = (
    "ci:$2a$04$ykG9bWeCSuzc8XM4LEUnaOAIO8HWKhwTM5UbjH5FLCwpKrU9wvFcy",
    "ada:$2a$04$veMbvaz.xFlbERzHvnPffOf0X6NNQ02X9x8.8iuFRsUuLeUL2p6GO",
    "bob:$2a$04$jA7AyfCBNr3nwnXVHiXoa.z6cs7wSxU6NHXqEtu0FiMMg7pYP6mnS",
    "root:$2a$04$bOL9j9oBrcV/C/5q1vOz1udux2csESgipK7MJbv.y7C/W7JpJ5bCq",
    "eve:$2a$04$y6MILeZALXwSwX7MfX2mv.o3J66ajVo1l.KVc4NhjptIHyWwAPAR2",
)
REFUSED = {401, 403}


def the_rule(*, projects: bool = False) -> Rule:
    """Of the fleet, with someone who looks after the registry, and an image of shop where sessions have theirs."""
    place = ground(projects=projects)
    access = Access(ACCESS.ci, ACCESS.actors, (ADMIN,))
    return rule(access, replace(place, products=(*place.products, ("shop", "dev/x"))))


def password(account: str) -> str:
    return f"canary-{account}"


def login(host: str, account: str | None, prefix: str = "") -> DockerConfig:
    if account is None:
        return config()
    return config(host, username=f"{prefix}{account}", password=password(account))


class Enforced(Protocol):
    """A registry with the policy."""

    host: str

    def authorization(self, account: str | None, repository: str) -> list[str]:
        """What curl is to show, for all that it could want in this repository."""


@dataclass
class ByTokens:
    """docker-registry, and a token service that grants by the rendered acl."""

    host: str
    service: TokenServer
    acl: list[dict[str, object]]

    def authorization(self, account: str | None, repository: str) -> list[str]:
        """As docker does: a token is asked for, for everything."""
        who = [] if account is None else ["-u", f"{account}:{password(account)}"]
        scope = f"scope=repository:{repository}:pull,push,delete"
        url = f"{self.service.realm}?service=lian-tests&{scope}"
        out = subprocess.run(["curl", "-sS", *who, url], check=True, capture_output=True, text=True).stdout
        return ["-H", f"Authorization: Bearer {json.loads(out)['token']}"]


@dataclass
class ByPassword:
    """A registry that is shown the password itself; `prefix` stands before an account's name."""

    host: str
    prefix: str = ""

    def authorization(self, account: str | None, repository: str) -> list[str]:
        """See Enforced."""
        del repository
        return [] if account is None else ["-u", f"{self.prefix}{account}:{password(account)}"]


@dataclass(frozen=True)
class Try:
    """A request, what it needs of "rw", and the status of one that is let through."""

    needs: str
    method: str
    path: str
    well: int
    body: bytes | None = None

    def words(self, host: str) -> list[str]:
        """For curl."""
        found = ["-o", "/dev/null", "-w", "%{http_code}\n", "-X", self.method, "-H", f"Accept: {IMAGE_MANIFEST}"]
        if self.body is not None:
            found += ["-H", f"Content-Type: {IMAGE_MANIFEST}", "--data-binary", self.body.decode()]
        elif self.method == "POST":
            found += ["-H", "Content-Length: 0"]
        return [*found, f"http://{host}/v2/{self.path}"]


def curl(server: Enforced, account: str | None, repository: str, tries: list[Try]) -> list[int]:
    """The status that plain curl gets for each."""
    shown = server.authorization(account, repository)
    command = ["curl", "-sS"]
    for number, each in enumerate(tries):
        command += [*(["--next", "-sS"] if number else []), *shown, *each.words(server.host)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [int(status) for status in out.split()]


def publish(
    server: Enforced, account: str | None, repository: str, image: Image, prefix: str = "", tag: str = "latest"
) -> None:
    async def use() -> None:
        async with opened(server.host, docker=login(server.host, account, prefix)) as (_, publisher):
            where = Repository(server.host, repository)
            await publisher.publish(where, image.manifest, tags=[tag], blobs=image.blobs)

    asyncio.run(use())


@dataclass
class Seeded:
    """A registry where each repository has an image, put there by the admin."""

    server: Enforced
    images: dict[str, Image]
    prefix: str = ""
    names: dict[str, str] | None = None

    def path(self, repository: str) -> str:
        """As this registry calls it."""
        return repository if self.names is None else self.names[repository]


def seeded(server: Enforced, prefix: str = "", names: dict[str, str] | None = None) -> Seeded:
    images = {repository: Image(repository) for repository in MAY}
    for repository, image in images.items():
        publish(server, ADMIN, repository if names is None else names[repository], image, prefix)
    return Seeded(server, images, prefix, names)


@pytest.fixture(scope="module")
def by_tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeded]:
    """distribution, with the rendered acl of docker_auth."""
    acl = [*copied(tokens.render(the_rule()))["acl"], {"match": {"account": "/.+/"}, "actions": ["*"]}]
    with (
        TokenServer(users_of(acl, (*ACCOUNTS, ADMIN))).running() as service,
        run_secured(tmp_path_factory.mktemp("tokens") / "server", tokens=service) as server,
    ):
        yield seeded(ByTokens(server.host, service, acl))


@pytest.fixture(scope="module")
def by_zot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeded]:
    """zot, with the rendered accessControl."""
    control = copied(zot.render(the_rule()))
    control["repositories"]["**"] = {"defaultPolicy": ["read", "create", "update", "delete"]}
    with run_zot(tmp_path_factory.mktemp("by-zot") / "zot", access=ZotAccess(control, HTPASSWD)) as server:
        yield seeded(ByPassword(server.host))


@pytest.fixture(scope="module")
def by_harbor() -> Iterator[Seeded]:
    """Harbor as its documents describe it, with the rendered projects and robots. Its admin has rights everywhere."""
    document = copied(harbor.render(the_rule(projects=True)))
    projects = {each["project_name"]: each["metadata"]["public"] == "true" for each in document["projects"]}
    strange = {name.partition("/")[0]: False for name in IN_PROJECTS.values()}
    accounts = {f"robot${each['name']}": robot(each) for each in document["robots"]}
    everything = frozenset({"pull", "push", "delete"})
    accounts[f"robot${ADMIN}"] = Account(password(ADMIN), dict.fromkeys({**strange, **projects}, everything))
    accounts["robot$eve"] = Account(password("eve"))
    with ScriptedHarbor({**strange, **projects}, accounts).running() as server:
        yield seeded(ByPassword(server.host, "robot$"), "robot$", IN_PROJECTS)


def robot(each: dict[str, object]) -> Account:
    """An account with the rights of POST /robots."""
    assert (each["level"], each["duration"], each["disable"]) == ("system", -1, False)
    rights = {
        permission["namespace"]: frozenset(access["action"] for access in permission["access"])
        for permission in copied(each["permissions"])
        if permission["kind"] == "project" and {access["resource"] for access in permission["access"]} == {"repository"}
    }
    return Account(password(str(each["name"])), rights)


@pytest.fixture(params=["by_tokens", "by_zot", "by_harbor"])
def place(request: pytest.FixtureRequest) -> Seeded:
    """Each of them."""
    if shutil.which("curl") is None:
        not_run("curl is not on PATH")
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Seeded)
    return found


def test_curl_is_refused_what_the_rules_forbid_and_nothing_else(place: Seeded) -> None:
    """A pull of the manifest and of a layer, the start of an upload, a manifest, a deletion; also without a login."""
    wrong = []
    for repository, accounts in MAY.items():
        path, image = place.path(repository), place.images[repository]
        layer = list(image.blobs)[1]
        for account in (*ACCOUNTS, None):
            right, doomed = accounts.get(account or "", NOTHING), image
            if "w" in right:  # its own is taken away; for others, what the admin put there
                doomed = Image(f"{repository} by {account}")
                publish(place.server, account, path, doomed, place.prefix, "doomed")
            tries = [
                Try("r", "GET", f"{path}/manifests/latest", 200),
                Try("r", "GET", f"{path}/blobs/{layer}", 200),
                Try("w", "POST", f"{path}/blobs/uploads/", 202),
                Try("w", "PUT", f"{path}/manifests/other", 201, image.manifest.data),
                Try("w", "PUT", f"{path}/manifests/latest", 201, image.manifest.data),
                Try("w", "DELETE", f"{path}/manifests/{doomed.descriptor.digest}", 202),
            ]
            for each, status in zip(tries, curl(place.server, account, path, tries), strict=True):
                if status not in ({each.well} if each.needs in right else REFUSED):
                    wrong.append((account, each.method, each.path, status))
    assert wrong == []


def test_lian_is_refused_what_the_rules_forbid_and_nothing_else(place: Seeded) -> None:
    """By what publishes, reads and removes: it says that it was refused, and nothing of it changed."""
    wrong = []
    for account in ACCOUNTS:
        for repository, done in asyncio.run(used(place, account)).items():
            right = MAY[repository].get(account, NOTHING)
            if done != {"read": "r" in right, "publish": "w" in right, "delete": "w" in right}:
                wrong.append((account, repository, done))
    assert wrong == []
    for repository, seen in asyncio.run(seen_by_admin(place)).items():
        assert isinstance(seen, Found) and seen.digest == place.images[repository].descriptor.digest, repository


async def seen_by_admin(place: Seeded) -> dict[str, object]:
    host = place.server.host
    wanted = {repository: Reference(Repository(host, place.path(repository)), "latest") for repository in MAY}
    async with opened(host, docker=login(host, ADMIN, place.prefix)) as (registry, _):
        seen = await registry.heads(list(wanted.values()))
    return {repository: seen[reference] for repository, reference in wanted.items()}


async def used(place: Seeded, account: str) -> dict[str, dict[str, bool]]:
    """Whether each of lian's ways worked in each repository; what it put there it takes away again."""
    host = place.server.host
    docker = login(host, account, place.prefix)
    found = {}
    async with opened(host, docker=docker) as (registry, publisher), removing(host, docker=docker) as remover:
        for repository in MAY:
            where = Repository(host, place.path(repository))
            image = Image(f"{repository} by {account} with lian")
            (seen,) = (await registry.heads([Reference(where, "latest")])).values()
            assert isinstance(seen, Found) or (isinstance(seen, Unknown) and seen.problem.code == "registry-denied")
            published = await not_denied(publisher.publish(where, image.manifest, tags=["mine"], blobs=image.blobs))
            doomed = image if published else place.images[repository]
            deleted = await not_denied(remover.delete(where, doomed.descriptor.digest))
            found[repository] = {"read": isinstance(seen, Found), "publish": published, "delete": deleted}
    return found


async def not_denied(done: Awaitable[object]) -> bool:
    try:
        await done
    except LianError as error:
        assert {problem.code for problem in error.problems} == {"registry-denied"}, error
        return False
    return True


@pytest.mark.parametrize("registry", ["by_tokens", "by_zot"])
def test_admins_alone_list_all_repositories(request: pytest.FixtureRequest, registry: str) -> None:
    """zot shows everybody those that he may read."""
    place = request.getfixturevalue(registry)

    async def listed(account: str | None) -> set[str]:
        host = place.server.host
        async with transport(host, docker=login(host, account)) as made:
            return set(await DistributionInventory(made).repositories(host))

    assert asyncio.run(listed(ADMIN)) == set(MAY)
    for account in (*ACCOUNTS, None):
        if registry == "by_zot" and account:
            assert asyncio.run(listed(account)) == {one for one, accounts in MAY.items() if account in accounts}
            continue
        with pytest.raises(LianError) as caught:
            asyncio.run(listed(account))
        assert [problem.code for problem in caught.value.problems] == ["catalog-unsupported"]


@pytest.mark.parametrize("registry", ["by_tokens", "by_zot"])
def test_no_blob_of_a_closed_cache_is_mounted_into_an_own_one(request: pytest.FixtureRequest, registry: str) -> None:
    """Whoever knows a digest could read what it names by that."""
    place = request.getfixturevalue(registry)
    for account, own, other in [
        ("bob", "cache/dev/bob-shop/api", "cache/dev/ada-shop/api"),
        ("bob", "cache/dev/bob-shop/api", "cache/ci/tools/cli"),
        ("ci", "cache/ci/shop/api", "cache/dev/ada-shop/api"),
    ]:
        layer = list(place.images[other].blobs)[1]
        tries = [
            Try("w", "POST", f"{own}/blobs/uploads/?mount={layer}&from={other}", 202),
            Try("w", "POST", f"{own}/blobs/uploads/?mount={layer}", 202),
            Try("r", "GET", f"{own}/blobs/{layer}", 404),
        ]
        first, *rest = curl(place.server, account, own, tries)
        assert first in {202, *REFUSED}, (account, other)  # the start of a plain upload, or no
        assert rest == [202, 404], (account, other)


AMD64 = Platform("linux", "amd64")


@pytest.mark.parametrize(("account", "mode"), [("ci", Ci()), ("ada", Session("ada")), ("bob", Session("bob"))])
def test_what_a_build_reads_and_writes_by_the_rules_is_what_it_may(
    by_tokens: Seeded, account: str, mode: BuildMode
) -> None:
    """Each cache that the rules name is read, and the own one written; a token is never asked for with a wider scope
    than the rules give, and for what is only read with pull alone."""
    server = by_tokens.server
    assert isinstance(server, ByTokens)
    layout = Layout("cache")
    reads = [slot.at(server.host, layout) for slot in rules.imports(mode, "shop", "api", AMD64)]
    place = rules.export(mode, "shop", "api", AMD64).at(server.host, layout)
    server.service.asked.clear()

    async def build() -> None:
        async with opened(server.host, docker=login(server.host, account)) as (registry, publisher):
            assert not [one for one in (await registry.heads(reads)).values() if isinstance(one, Unknown)]
            image = Image(account)
            await publisher.publish(place.repository, image.manifest, tags=[str(place.tag)], blobs=image.blobs)
            (seen,) = (await registry.heads([place])).values()
            assert isinstance(seen, Found) and seen.digest == image.descriptor.digest

    asyncio.run(build())
    asked = {(each.user, scope) for each in server.service.asked for scope in each.scopes}
    assert {user for user, _ in asked} <= {account, None}
    for _, scope in asked:
        repository, _, actions = scope.removeprefix("repository:").rpartition(":")
        assert set(actions.split(",")) <= granted(server.acl, account, repository), scope
    only_read = {reference.repository.path for reference in reads} - {place.repository.path}
    assert {scope for _, scope in asked if scope.split(":")[1] in only_read} == {
        f"repository:{path}:pull" for path in only_read
    }
