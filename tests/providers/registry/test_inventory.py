"""What whole registries hold: the same answers from every kind, and none with holes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.manifest import IMAGE_MANIFEST
from reconciler.model.observed import ABSENT, Found
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference, Repository
from reconciler.providers.registry.connections import Connections
from reconciler.providers.registry.distribution import inventory
from reconciler.providers.registry.distribution.inventory import DistributionInventory
from reconciler.providers.registry.http.transport import Endpoint, Transport
from reconciler.providers.registry.inventory_router import RoutedInventory
from reconciler.providers.registry.layout.inventory import LayoutInventory
from reconciler.providers.registry.router import RoutedPublisher
from tests.ports.registry_suite import Image, Place, codes, record
from tests.providers.registry.places import Clock, config, disk_place, http_place, opened
from tests.servers import faulty_registry as faults
from tests.servers.faulty_registry import PASSWORD, USER, FaultyRegistry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from pathlib import Path

    from reconciler.model.digest import Digest
    from reconciler.model.observed import Sighting
    from reconciler.ports.publisher import Publisher
    from reconciler.ports.registry import Registry
    from reconciler.providers.registry.http.docker_config import DockerConfig
    from tests.servers.running import RegistryServer


def inspect(use: Callable[[RoutedInventory], Awaitable[Any]], docker: DockerConfig | None = None) -> Any:
    """What `use` finds out."""

    async def whole() -> Any:
        async with Connections(config=lambda: docker or config()) as connections:
            return await use(RoutedInventory(connections))

    return asyncio.run(whole())


def repositories(host: str, **how: Any) -> tuple[str, ...]:
    found: tuple[str, ...] = inspect(lambda i: i.repositories(host), **how)
    return found


def tags(host: str, path: str, **how: Any) -> Mapping[str, Digest]:
    found: Mapping[str, Digest] = inspect(lambda i: i.tags_of(Repository(host, path)), **how)
    return found


class InventorySuite:
    """The promises of the port Inventory."""

    def test_an_empty_registry_holds_nothing(self, place: Place) -> None:
        assert repositories(place.host) == ()
        assert tags(place.host, "shop/api") == {}

    def test_all_repositories_with_all_their_tags(self, place: Place) -> None:
        held: dict[Repository, dict[str, Digest]] = {}

        async def fill(_: Registry, publisher: Publisher) -> None:
            for path in ("b", "a/b", "a", "a/manifests", "a/index/x", "zz/oci-layout"):
                first, second, repository = Image(), Image(), place.repository(path)
                await publisher.publish(repository, first.manifest, tags=["1", "latest"], blobs=first.blobs)
                await publisher.publish(repository, second.manifest, tags=["latest", "lian-2"], blobs=second.blobs)
                new, old = second.manifest.digest, first.manifest.digest
                held[repository] = {"1": old, "latest": new, "lian-2": new}

        place.run(fill)
        found = repositories(place.host)
        assert found == tuple(sorted(repository.path for repository in held))
        everything = inspect(lambda i: i.all_tags([place.repository(path) for path in found]))
        assert everything == held
        names = inspect(lambda i: i.all_names([place.repository(path) for path in (*found, "not/there")]))
        assert {r: set(tags) for r, tags in names.items()} == {
            **{r: set(tags) for r, tags in held.items()},
            place.repository("not/there"): set(),
        }
        assert {path: dict(tags(place.host, path)) for path in found} == {r.path: t for r, t in held.items()}

    def test_what_has_no_tag_is_not_listed(self, place: Place) -> None:
        async def fill(_: Registry, publisher: Publisher) -> None:
            image = Image()
            await publisher.publish(place.repository("untagged"), image.manifest, blobs=image.blobs)

        place.run(fill)
        assert tags(place.host, "untagged") == {}

    def test_documents_with_a_subject_are_listed_under_their_tags(self, place: Place) -> None:
        """With their fallback list, where there is one: it is a tag like others."""
        image = Image()
        manifest, blobs = record(image.descriptor, "note")

        async def fill(_: Registry, publisher: Publisher) -> None:
            await publisher.publish(place.repository(), image.manifest, tags=["latest"], blobs=image.blobs)
            await publisher.publish(place.repository(), manifest, tags=["note"], blobs=blobs)

        place.run(fill)
        found = dict(tags(place.host, "shop/api"))
        fallback = [tag for tag in found if tag.startswith("sha256-")]
        assert fallback in ([], [f"sha256-{image.manifest.digest.hex}"])
        assert {t: d for t, d in found.items() if t not in fallback} == {
            "latest": image.manifest.digest,
            "note": manifest.digest,
        }

    def test_many_tags(self, place: Place) -> None:
        image, names = Image(), [f"t{n}" for n in range(40)]

        async def fill(_: Registry, publisher: Publisher) -> None:
            await publisher.publish(place.repository(), image.manifest, tags=names, blobs=image.blobs)

        place.run(fill)
        assert tags(place.host, "shop/api") == dict.fromkeys(names, image.manifest.digest)


class TestLayoutOnDisk(InventorySuite):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        return disk_place(tmp_path / "registry")


class TestDockerRegistry(InventorySuite):
    @pytest.fixture
    def place(self, registry_server: RegistryServer) -> Place:
        return http_place(registry_server.host)


class TestDistributionV3(InventorySuite):
    @pytest.fixture
    def place(self, distribution_v3_server: RegistryServer) -> Place:
        return http_place(distribution_v3_server.host)


class TestGoContainerregistry(InventorySuite):
    @pytest.fixture
    def place(self, ggcr_server: RegistryServer) -> Place:
        return http_place(ggcr_server.host)


class TestZot(InventorySuite):
    @pytest.fixture
    def place(self, zot_server: RegistryServer) -> Place:
        return http_place(zot_server.host)


class TestInMemory(InventorySuite):
    @pytest.fixture
    def place(self) -> Iterator[Place]:
        server = FaultyRegistry()
        server.page = 3
        with server.running():
            yield http_place(server.host)


@pytest.fixture
def server() -> Iterator[FaultyRegistry]:
    """Ten repositories with ten tags each, four on a page."""
    registry, image = FaultyRegistry(), Image("one")
    registry.page = 4
    for n in range(10):
        registry.manifests[f"r/{n}", str(image.manifest.digest)] = (IMAGE_MANIFEST, image.manifest.data)
        registry.tags |= {(f"r/{n}", f"t{t}"): str(image.manifest.digest) for t in range(10)}
    with registry.running():
        yield registry


def told(use: Callable[[], Any]) -> set[str]:
    with pytest.raises(LianError) as error:
        use()
    return codes(error)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (faults.status(404), "catalog-unsupported"),
        (faults.status(404, b'{"errors": [{"code": "UNSUPPORTED"}]}'), "catalog-unsupported"),
        (faults.status(405), "catalog-unsupported"),
        (faults.status(401), "catalog-unsupported"),
        (faults.status(403), "catalog-unsupported"),
        (faults.html(200), "catalog-unsupported"),
        (faults.body(b'{"repositories": "no"}'), "catalog-unsupported"),
        (faults.body(b'{"repositories": [1]}'), "catalog-unsupported"),
        (faults.body(b'{"repositories": ["\xff"]}'), "catalog-unsupported"),
        (faults.body(b"[" * 50_000), "catalog-unsupported"),
        (faults.headers(Link='</v2/_catalog>; rel="next"'), "registry-not-oci"),
        (faults.status(500), "registry-failing"),
        (faults.status(429), "registry-busy"),
        (faults.reset, "registry-unreachable"),
        (faults.truncated, "registry-unreachable"),
    ],
)
def test_a_catalogue_that_cannot_be_read_says_why(server: FaultyRegistry, fault: Any, expected: str) -> None:
    server.fault("GET", "/_catalog", fault)

    async def use() -> None:
        transport = Transport(Endpoint.of(server.host), config(), timing=Clock().timing)
        try:
            await DistributionInventory(transport).repositories(server.host)
        finally:
            await transport.aclose()

    assert told(lambda: asyncio.run(use())) == {expected}


def test_pages_of_the_catalogue_and_of_tags_are_followed(server: FaultyRegistry) -> None:
    assert repositories(server.host) == tuple(f"r/{n}" for n in range(10))
    assert len(server.asked("GET", "/_catalog")) == 3
    assert set(tags(server.host, "r/1")) == {f"t{n}" for n in range(10)}
    assert len(server.asked("GET", "/tags/list")) == 3


def test_a_list_that_breaks_off_is_begun_again(server: FaultyRegistry) -> None:
    """As zot's does when the tag at which a page begins is removed meanwhile."""
    server.fault("GET", r"/tags/list\?", faults.status(404, b'{"errors": [{"code": "NAME_UNKNOWN"}]}'), times=1)
    assert len(tags(server.host, "r/1")) == 10
    server.fault("GET", r"/tags/list\?", faults.status(404, b'{"errors": [{"code": "NAME_UNKNOWN"}]}'))
    assert told(lambda: tags(server.host, "r/1")) == {"registry-not-oci"}


@pytest.mark.parametrize(
    ("method", "where", "fault", "expected"),
    [
        ("GET", "/tags/list", faults.html(200), "registry-not-oci"),
        ("GET", "/tags/list", faults.status(404), "registry-not-oci"),
        ("GET", "/tags/list", faults.status(403), "registry-denied"),
        ("GET", r"/tags/list\?", faults.status(403), "registry-denied"),
        ("GET", "/tags/list", faults.body(b'{"tags": ["t1", null]}'), "registry-not-oci"),
        ("GET", "/tags/list", faults.body(b'{"tags": [""]}'), "registry-not-oci"),
        ("GET", "/tags/list", faults.headers(Link='</v2/r/1/tags/list>; rel="next"'), "registry-not-oci"),
        ("HEAD", "/manifests/t7", faults.status(403), "registry-denied"),
        ("HEAD", "/manifests/t7", faults.status(200), "registry-not-oci"),
    ],
)
def test_a_list_with_holes_is_none(server: FaultyRegistry, method: str, where: str, fault: Any, expected: str) -> None:
    server.fault(method, where, fault)
    if method == "HEAD":
        server.fault("GET", where, fault)
    assert told(lambda: tags(server.host, "r/1")) == {expected}


def test_one_repository_that_cannot_be_read_fails_all(server: FaultyRegistry) -> None:
    server.fault("GET", "/r/3/tags/list", faults.status(403))
    wanted = [Repository(server.host, f"r/{n}") for n in range(10)]
    assert told(lambda: inspect(lambda i: i.all_tags(wanted))) == {"registry-denied"}


def test_a_tag_removed_after_it_was_listed_is_left_out(server: FaultyRegistry) -> None:
    def removed(right: faults.Answer) -> faults.Answer:
        server.tags.pop(("r/1", "t0"), None)
        return right

    server.fault("GET", "/tags/list", removed)
    assert set(tags(server.host, "r/1")) == {f"t{n}" for n in range(1, 10)}


def test_all_tags_of_many_repositories_are_one_question_where_there_is_a_list(server: FaultyRegistry) -> None:
    server.search = True
    wanted = [Repository(server.host, f"r/{n}") for n in range(10)]
    found = inspect(lambda i: i.all_tags(wanted))
    assert {len(t) for t in found.values()} == {10}
    assert len(server.asked("HEAD")) < 10
    assert len(server.asked("POST", faults.SEARCH)) == 1


def test_tags_that_the_search_hides_are_listed(server: FaultyRegistry) -> None:
    server.search = True
    server.unlisted = {(f"r/{n}", "t3") for n in range(10)}
    found = inspect(lambda i: i.all_tags([Repository(server.host, f"r/{n}") for n in range(10)]))
    assert all("t3" in held for held in found.values())


def test_a_list_that_is_behind_is_not_asked_about_one_repository(server: FaultyRegistry) -> None:
    """Before anything is removed all tags of its repository are looked at again, as of now. Here one tag moved to
    another image and one was removed, and the registry's search does not know it yet."""
    server.search = True
    image, other = str(Image("one").manifest.digest), Image("other").manifest
    for n in range(100):
        server.tags["r/1", f"more{n}"] = image
    server.behind = {(name, tag): digest for (name, tag), digest in server.tags.items() if name == "r/1"}
    server.manifests["r/1", str(other.digest)] = (IMAGE_MANIFEST, other.data)
    server.tags["r/1", "more7"] = str(other.digest)
    del server.tags["r/1", "more8"]
    now = tags(server.host, "r/1")
    assert now["more7"] == other.digest
    assert "more8" not in now
    assert len(now) == len(server.asked("HEAD")) == 109
    assert not server.asked("POST")

    async def heads() -> list[Sighting]:
        async with opened(server.host) as (registry, _):
            wanted = [Reference(Repository(server.host, "r/1"), f"more{n}") for n in range(100)]
            return list((await registry.heads(wanted)).values())

    seen = asyncio.run(heads())
    assert isinstance(seen[7], Found)
    assert (seen[7].digest, seen[8]) == (other.digest, ABSENT)
    assert not server.asked("POST")


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_the_catalogue_is_asked_for_with_its_own_scope(auth: str) -> None:
    server, image = FaultyRegistry(auth=auth), Image()
    server.manifests["r", str(image.manifest.digest)] = (IMAGE_MANIFEST, image.manifest.data)
    with server.running():
        assert repositories(server.host, docker=config(server.host, username=USER, password=PASSWORD)) == ("r",)
        assert told(lambda: repositories(server.host)) == {"catalog-unsupported"}


def test_pages_elsewhere_get_no_credential(server: FaultyRegistry) -> None:
    """A link to another host is followed as a redirect is: without the credential."""
    with FaultyRegistry().running() as other:
        other.auth = None
        server.auth = "basic"
        link = f'<{other.url}/v2/_catalog?last=x>; rel="next"'
        server.fault("GET", "/_catalog", faults.headers(Link=link))
        repositories(server.host, docker=config(server.host, username=USER, password=PASSWORD))
        assert other.requests
        assert not [seen for seen in other.requests if "authorization" in seen.headers]


def test_only_layouts_are_repositories(tmp_path: Path) -> None:
    """Others' folders, hidden ones and names that no repository can have are passed by."""
    for name in ("plain", ".trash/a", "Upper", "a b", "blobs", "_x/y"):
        (tmp_path / name).mkdir(parents=True)
        if name != "plain":
            (tmp_path / name / "index.json").write_text('{"manifests": []}')
    (tmp_path / "shop/_blobs").mkdir(parents=True)
    (tmp_path / "shop/_blobs/index.json").write_text('{"manifests": []}')
    (tmp_path / "shop/api/blobs/sha256/deep").mkdir(parents=True)
    (tmp_path / "shop/api/oci-layout").write_text("{}")
    found = asyncio.run(LayoutInventory(tmp_path).repositories(f"oci-layout:{tmp_path}"))
    assert found == ("shop/api", "shop/blobs")


@pytest.mark.parametrize(
    "index", ["{", "[]", '{"manifests": [{"annotations": {"org.opencontainers.image.ref.name": 3}}]}']
)
def test_a_damaged_layout_is_told(tmp_path: Path, index: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/index.json").write_text(index)
    assert told(lambda: asyncio.run(LayoutInventory(tmp_path).tags_of(Repository("oci-layout:x", "a")))) == {
        "registry-damaged"
    }


def test_a_registry_on_disk_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert asyncio.run(LayoutInventory(tmp_path / "none").repositories("oci-layout:none")) == ()


def test_lists_do_not_go_on_for_ever(server: FaultyRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "MAX_PAGES", 5)
    pages = iter(range(100))

    def on(right: faults.Answer) -> faults.Answer:
        return faults.headers(Link=f'<{right.headers.get("x", "")}?last=r/1&page={next(pages)}>; rel="next"')(right)

    server.fault("GET", "/_catalog", on)
    assert told(lambda: repositories(server.host)) == {"registry-not-oci"}


# -- names of tags from a registry's own list --------------------------------------------------------------------------


@pytest.fixture
def many() -> Iterator[FaultyRegistry]:
    """60 repositories with two tags each; zot's search is on."""
    server, image = FaultyRegistry(), Image("one")
    server.search = True
    for n in range(60):
        server.manifests[f"m/{n}", str(image.manifest.digest)] = (IMAGE_MANIFEST, image.manifest.data)
        server.tags |= {(f"m/{n}", tag): str(image.manifest.digest) for tag in ("v1", "v2")}
    with server.running() as running:
        yield running


def names(server: FaultyRegistry, *more: str) -> dict[str, set[str]]:
    wanted = [Repository(server.host, path) for path in (*(f"m/{n}" for n in range(60)), *more)]
    found = inspect(lambda i: i.all_names(wanted))
    assert list(found) == wanted
    return {repository.path: set(those) for repository, those in found.items()}


def test_all_names_of_many_repositories_are_one_list_and_a_sample(many: FaultyRegistry) -> None:
    found = names(many, "m/none")
    assert found.pop("m/none") == set()
    assert list(found.values()) == [{"v1", "v2"}] * 60
    assert len(many.asked("POST", faults.SEARCH)) == 1
    assert len(many.asked("GET", "/tags/list")) in {5, 6}  # a sample, and what is not in the list


def test_what_the_search_does_not_list_is_asked_for(many: FaultyRegistry) -> None:
    many.unlisted = {("m/7", "v1"), ("m/7", "v2")}
    assert names(many)["m/7"] == {"v1", "v2"}


def test_a_list_that_lacks_only_what_names_no_image_is_believed(many: FaultyRegistry) -> None:
    signatures = {(f"m/{n}", f"sha256-{'a' * 64}.sig") for n in range(60)}
    many.tags |= dict.fromkeys(signatures, many.tags["m/0", "v1"])
    many.unlisted = signatures
    assert all(those >= {"v1", "v2"} for those in names(many).values())
    assert len(many.asked("GET", "/tags/list")) == 5


@pytest.mark.parametrize("how", ["hides", "remembers"])
def test_a_list_that_a_repository_contradicts_is_not_believed(many: FaultyRegistry, how: str) -> None:
    if how == "hides":
        many.unlisted = {(f"m/{n}", "v2") for n in range(60)}
    else:
        many.behind = {**many.tags, **{(f"m/{n}", "old"): many.tags["m/0", "v1"] for n in range(60)}}
    assert list(names(many).values()) == [{"v1", "v2"}] * 60


def test_a_push_between_sample_and_list_does_not_spoil_the_names(many: FaultyRegistry) -> None:
    digest = many.tags["m/0", "v1"]

    def pushed(right: faults.Answer) -> faults.Answer:
        many.tags |= {(f"m/{n}", "v3"): digest for n in range(60)}
        return right

    many.fault("GET", "_oci/ext/discover", pushed)
    assert list(names(many).values()) == [{"v1", "v2", "v3"}] * 60
    assert len(many.asked("GET", "/tags/list")) == 10


@pytest.mark.parametrize("fault", [faults.status(500), faults.html(200), faults.status(429)])
def test_names_come_without_a_list_that_cannot_be_had(many: FaultyRegistry, fault: Any) -> None:
    many.fault("POST", faults.SEARCH, fault, times=9)
    assert list(names(many).values()) == [{"v1", "v2"}] * 60


def test_all_tags_never_lack_what_the_search_hides(many: FaultyRegistry) -> None:
    """A prune needs the tags of signatures and lists, too."""
    signature = f"sha256-{'a' * 64}.sig"
    many.tags["m/7", signature] = many.tags["m/7", "v1"]
    many.unlisted = {("m/7", signature)}
    wanted = [Repository(many.host, f"m/{n}") for n in range(60)]
    found = inspect(lambda i: i.all_tags(wanted))
    assert set(found[wanted[7]]) == {"v1", "v2", signature}


def test_zot_lists_the_names_of_many_repositories(zot_server: RegistryServer) -> None:
    image, signature = Image("one"), f"sha256-{'a' * 64}.sig"
    wanted = [Repository(zot_server.host, f"m/{n}") for n in range(25)]

    async def use() -> Mapping[Repository, tuple[str, ...]]:
        async with Connections(config=config, writable=[zot_server.host]) as connections:
            publisher = RoutedPublisher(connections)
            for repository in wanted:
                tags = ["v1", f"lian-{'b' * 40}", signature]
                await publisher.publish(repository, image.manifest, tags=tags, blobs=image.blobs)
            found: Mapping[Repository, tuple[str, ...]] = await RoutedInventory(connections).all_names(wanted)
            return found

    found = asyncio.run(use())
    assert {frozenset(those) - {signature} for those in found.values()} == {frozenset({"v1", f"lian-{'b' * 40}"})}
    assert any(signature not in those for those in found.values())  # it was asked in bulk
