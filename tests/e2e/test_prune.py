"""`lian prune` on running registries: a thousand images of which four hundred are orphaned; exactly these go."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from reconciler.model.applied import Applied, AppliedTag, History
from reconciler.model.canonical import canonical
from reconciler.model.digest import Digest
from reconciler.model.manifest import EMPTY_BLOB, IMAGE_MANIFEST, Descriptor, Manifest, artifact, index
from reconciler.model.observed import Found
from reconciler.model.platform import Platform
from reconciler.model.record import (
    ARTIFACT_TYPE,
    KEY_ANNOTATION,
    RECORD_LAYER,
    TIME_ANNOTATION,
    BuildRecord,
    PlatformBuild,
)
from reconciler.model.reference import Reference, Repository
from reconciler.model.stock import Content, names_image, of_lian
from reconciler.providers.builder.binaries import locate
from reconciler.providers.registry.inventory_router import RoutedInventory
from reconciler.providers.registry.referrers import descriptor_of, fallback_tag, index_of
from reconciler.providers.registry.router import Connections, RoutedPublisher, RoutedRegistry
from tests.commits import APPLIED_TAG
from tests.e2e.bench import Bench, directive
from tests.schemas.evaluation import validator
from tests.servers.distribution_v3 import run_distribution_v3
from tests.servers.registry import PROGRAM, distribution, run_registry
from tests.servers.running import running, usable
from tests.servers.zot import run_zot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

CONFIG = "application/vnd.oci.image.config.v1+json"
SIGNATURE = "application/vnd.example.signature"
LONG_AGO = datetime.now(UTC) - timedelta(days=30)


@pytest.fixture(params=["oci-layout", "docker-registry", "distribution v3", "zot"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A registry, as --registry takes it."""
    if request.param == "oci-layout":
        yield f"oci-layout:{tmp_path / 'registry'}"
        return
    runs = {"docker-registry": run_registry, "distribution v3": run_distribution_v3, "zot": run_zot}
    with runs[request.param](tmp_path / "server") as server:
        yield server.url


@dataclass(frozen=True)
class Shop:
    """A desired repo, and the registry it is about."""

    bench: Bench
    host: str

    @classmethod
    def new(cls, folder: Path, where: str) -> Shop:
        """Empty."""
        return cls(Bench.new(folder, where), where.removeprefix("http://"))

    def commit(self, artifacts: Mapping[str, str], settings: str = "", **more: str) -> str:
        """A commit that wants exactly these: name -> the directive's fields but for the context, which is the same for
        all, and an argument that makes their inputs differ."""
        by_workspace: dict[str, dict[str, str]] = {}
        for name, text in artifacts.items():
            workspace, _, short = name.partition("/")
            own = f'context.path = "context", args = {{ NAME = "{name}" }}'
            by_workspace.setdefault(workspace, {})[short] = f"{text}, {own}"
        for old in (self.bench.repo / "directives").glob("*.ncl"):
            old.unlink()
        files = {f"directives/{workspace}.ncl": directive(workspace, text) for workspace, text in by_workspace.items()}
        files |= {"context/Dockerfile": "FROM scratch\nCOPY . /\n", "lian.ncl": f"{{ {settings} }}", **more}
        return self.bench.commit(files)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[RoutedRegistry, RoutedPublisher, RoutedInventory]]:
        """The adapters."""
        async with Connections(writable={self.host}) as connections:
            yield RoutedRegistry(connections), RoutedPublisher(connections), RoutedInventory(connections)

    def fill(self, changes: Collection[Mapping[str, Any]]) -> None:
        """Have there what a pass a month ago would have pushed for these changes of a plan."""
        by_image: dict[str, list[Mapping[str, Any]]] = {}
        for change in changes:
            by_image.setdefault(str(change["image"]), []).append(change)
        work = [(self.repository(image), _pushes(mine)) for image, mine in by_image.items()]
        if self.host.startswith("oci-layout:"):
            asyncio.run(self._publish(work))
            return
        with ThreadPoolExecutor(4) as threads:
            for done in [threads.submit(_put_all, repository, pushes) for repository, pushes in work]:
                done.result()

    async def _publish(self, work: Collection[tuple[Repository, list[Push]]]) -> None:
        async with self.open() as (_, publisher, _):
            for repository, pushes in work:
                for push in pushes:
                    await publisher.publish(repository, push.manifest, tags=push.tags, blobs=push.blobs)

    def repository(self, image: str) -> Repository:
        """By its name in a plan."""
        return Repository(self.host, image.removeprefix(f"{self.host}/"))

    def tags(self) -> dict[str, dict[str, Digest]]:
        """Repository -> tag -> digest: all that is there, but for lists of referrers."""

        async def look() -> dict[str, dict[str, Digest]]:
            async with self.open() as (_, _, inventory):
                paths = await inventory.repositories(self.host)
                found = await inventory.all_tags([Repository(self.host, path) for path in paths])
            return {
                repository.path: {tag: digest for tag, digest in sorted(tags.items()) if not tag.startswith("sha256-")}
                for repository, tags in found.items()
                if tags
            }

        return asyncio.run(look())

    def lists(self) -> int:
        """How many lists of referrers there are under fallback tags."""

        async def look() -> int:
            async with self.open() as (_, _, inventory):
                paths = await inventory.repositories(self.host)
                names = await inventory.all_names([Repository(self.host, path) for path in paths])
            return sum(tag.startswith("sha256-") for tags in names.values() for tag in tags)

        return asyncio.run(look())

    def whole(self, changes: Collection[Mapping[str, Any]]) -> bool:
        """Whether these images are there with all their parts and their records."""

        async def look() -> bool:
            async with self.open() as (registry, _, inventory):
                for change in changes:
                    repository = self.repository(str(change["image"]))
                    tags = await inventory.tags_of(repository)
                    digest = tags[change["tags"][0]]
                    if await registry.missing(repository, digest):
                        return False
                    if not await registry.referrers(repository, digest, ARTIFACT_TYPE):
                        return False
            return True

        return asyncio.run(look())

    def sign(self, change: Mapping[str, Any]) -> None:
        """Someone signs an image that is there."""

        async def put() -> None:
            async with self.open() as (registry, publisher, inventory):
                repository = self.repository(str(change["image"]))
                digest = (await inventory.tags_of(repository))[change["tags"][0]]
                image = await registry.manifest(repository, digest)
                data = f"signature of {digest}".encode()
                subject = Descriptor.of(image.media_type, image.data)
                manifest = artifact(SIGNATURE, subject, (Descriptor.of("application/x", data),), {})
                blobs = {Digest.of(EMPTY_BLOB): EMPTY_BLOB, Digest.of(data): data}
                await publisher.publish(repository, manifest, blobs=blobs)

        asyncio.run(put())

    def manifests(self, of: Mapping[str, str | None] | None = None) -> dict[str, str | None]:
        """Digest -> artifact type: which of these are in shop/api, or all that its tags reach and what refers to it."""

        async def look() -> dict[str, str | None]:
            repository = Repository(self.host, "shop/api")
            async with self.open() as (registry, _, inventory):
                if of is not None:
                    references = {Reference(repository, digest=Digest.parse(digest)): digest for digest in of}
                    heads = await registry.heads(references)
                    return {text: of[text] for ref, text in references.items() if isinstance(heads[ref], Found)}
                tags = {tag: d for tag, d in (await inventory.tags_of(repository)).items() if names_image(tag)}
                found: dict[str, str | None] = {}
                for digest in set(tags.values()):
                    manifest = await registry.manifest(repository, digest)
                    found |= dict.fromkeys(map(str, (digest, *Content.of(manifest).children)))
                    found |= {
                        str(d.digest): d.artifact_type for d in await registry.referrers(repository, digest, None)
                    }
                return found

        return asyncio.run(look())

    def push(self, path: str, tag: str) -> None:
        """Someone who knows nothing of lian pushes an image."""

        async def put() -> None:
            config = b"{}"
            manifest, blobs = _manifest(config, f"foreign {path} {tag}"), {Digest.of(config): config}
            async with self.open() as (_, publisher, _):
                await publisher.publish(Repository(self.host, path), manifest, tags=[tag], blobs=blobs)

        asyncio.run(put())


@dataclass(frozen=True)
class Push:
    """A manifest with its blobs, and the tags to point at it."""

    manifest: Manifest
    tags: Sequence[str] = ()
    blobs: Mapping[Digest, bytes] = field(default_factory=dict)


def _pushes(changes: Collection[Mapping[str, Any]]) -> list[Push]:
    """Images with their records, then the applied document, all of one repository."""
    config = b'{"architecture":"amd64","os":"linux"}'
    pushes = []
    applied: dict[str, AppliedTag] = {}
    for change in changes:
        made = {p: _manifest(config, f"{change['artifact']} {p}") for p in sorted(change["platforms"])}
        parts = [Push(manifest, blobs={Digest.of(config): config}) for manifest in made.values()]
        top = parts.pop().manifest if len(made) == 1 else _index(made)
        blobs = {Digest.of(config): config} if len(made) == 1 else {}
        pushes += [*parts, Push(top, [f"lian-{change['key'][:40]}", *change["tags"]], blobs)]
        pushes.append(_record(change, top, [manifest.digest for manifest in made.values()]))
        entry = AppliedTag(top.digest, change["artifact"], "0" * 40, int(LONG_AGO.timestamp()))
        applied |= dict.fromkeys(change["tags"], entry)
    document, blobs = Applied("acme", History("0" * 40, int(LONG_AGO.timestamp())), applied).packed()
    return [*pushes, Push(document, [APPLIED_TAG], blobs)]


def _index(made: Mapping[str, Manifest]) -> Manifest:
    return index({Platform.parse(p): Descriptor.of(m.media_type, m.data) for p, m in made.items()})


def _put_all(repository: Repository, pushes: Collection[Push]) -> None:
    """As plainly as HTTP can: the adapters read every tag back, and a thousand images are many."""
    there: set[Digest] = set()
    connection = http.client.HTTPConnection(repository.host, timeout=60)

    def ask(method: str, path: str, body: bytes = b"", kind: str = "application/octet-stream") -> Mapping[str, str]:
        connection.request(method, path, body, {"content-type": kind})
        response = connection.getresponse()
        said = response.read()
        assert response.status < 300, said
        return {name.lower(): value for name, value in response.getheaders()}

    for push in pushes:
        for digest, data in push.blobs.items():
            if digest not in there:
                where = urlsplit(ask("POST", f"/v2/{repository.path}/blobs/uploads/")["location"])
                sign = "&" if where.query else ""
                ask("PUT", f"{where.path}?{where.query}{sign}digest={digest}", data)
                there.add(digest)
        names = push.tags or [str(push.manifest.digest)]
        told = [
            ask("PUT", f"/v2/{repository.path}/manifests/{name}", push.manifest.data, push.manifest.media_type)
            for name in names
        ]
        subject = push.manifest.document.get("subject")
        if subject and "oci-subject" not in told[0]:
            entry = descriptor_of(push.manifest)
            listed = index_of([entry.to_json()])
            path = f"/v2/{repository.path}/manifests/{fallback_tag(Digest.parse(subject['digest']))}"
            ask("PUT", path, listed.data, listed.media_type)
    connection.close()


def _manifest(config: bytes, text: str) -> Manifest:
    document = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": Descriptor.of(CONFIG, config).to_json(),
        "layers": [],
        "annotations": {"text": text},
    }
    return Manifest(IMAGE_MANIFEST, canonical(document))


def _record(change: Mapping[str, Any], image: Manifest, platforms: Collection[Digest]) -> Push:
    started = LONG_AGO.isoformat().replace("+00:00", "Z")
    built = {
        Platform.parse(platform): PlatformBuild(change["key"], {}, digest)
        for platform, digest in zip(sorted(change["platforms"]), platforms, strict=True)
    }
    record = BuildRecord(change["artifact"], "0" * 40, change["key"], image.digest, built, started, 1.0, fleet="acme")
    data = canonical(record.to_json())
    annotations = {KEY_ANNOTATION: record.key, TIME_ANNOTATION: started}
    subject = Descriptor.of(image.media_type, image.data)
    manifest = artifact(ARTIFACT_TYPE, subject, (Descriptor.of(RECORD_LAYER, data),), annotations)
    return Push(manifest, blobs={Digest.of(EMPTY_BLOB): EMPTY_BLOB, Digest.of(data): data})


SETTINGS = 'fleet = "acme"'


WANTED = {"shop/api": 'image = "shop/api", tags = ["1.0"]'}
WIDE = {"shop/wide": 'image = "shop/api", tags = ["wide"], platforms = ["linux/amd64", "linux/arm64"]'}
OLD = {"web/old": 'image = "web/old", tags = ["1.0", "latest"]'}


@pytest.fixture
def shop(where: str, tmp_path: Path) -> Shop:
    """Two artifacts of three are not wanted any more; one of them is for two platforms. What is wanted has a signature,
    and so has what is not."""
    made = Shop.new(tmp_path, where)
    made.commit({**WANTED, **WIDE, **OLD}, SETTINGS)
    changes = made.bench.plan(2)
    made.fill(changes.values())
    for name in (*WANTED, *WIDE):
        made.sign(changes[name])
    made.commit(WANTED, SETTINGS)
    return made


def test_an_index_goes_with_its_platforms_and_all_that_refers_to_it(shop: Shop) -> None:
    """From a registry of each kind, and what is wanted is whole afterwards."""
    before = shop.manifests()
    dry = shop.bench.lian("prune", "--dry-run", "--json", "--allow-most", code=2).json
    wide = next(i for r in dry["repositories"] for i in r["images"] if i["artifacts"] == ["shop/wide"])
    assert (len(wide["parts"]), len(wide["attached"]), wide["why"]) == (2, 2, "orphaned")
    ran = shop.bench.lian("prune", "--yes", "--allow-most")
    assert "2 images removed" in ran.out
    left = {path: sorted(tag for tag in tags if len(tag) < 40) for path, tags in shop.tags().items()}
    assert left == {"shop/api": ["1.0", APPLIED_TAG]}
    gone = {wide["digest"], *wide["parts"], *wide["attached"]}
    assert before.keys() >= gone
    assert shop.manifests(before).keys().isdisjoint(gone)
    assert shop.whole(shop.bench.plan(0).values())
    image = next(iter(shop.tags()["shop/api"].values()))
    assert {kind for kind in shop.manifests(before).values() if kind} >= {ARTIFACT_TYPE, SIGNATURE}, image
    assert shop.lists() in {0, 1}


@pytest.mark.parametrize("where", ["oci-layout"], indirect=True)
def test_what_each_answer_means(shop: Shop) -> None:
    """The plan first, always; nothing goes without a yes, and nothing that is in use."""
    before = shop.tags()
    assert "prune-most" in shop.bench.lian("prune", "--yes", code=4).err + shop.bench.lian("prune", code=4).out
    refused = shop.bench.lian("prune", "--allow-most", code=1)
    assert "2 images to prune in 2 repositories" in refused.out
    assert "error[confirmation-needed]" in refused.err
    document = shop.bench.lian("prune", "--allow-most", "--json", code=1).json
    assert document["problems"][0]["code"] == "confirmation-needed"
    for source in ("/not/there", "cmd:false", "cmd:true"):
        held = shop.bench.lian("prune", "--yes", "--allow-most", "--keep-from", source, "--json", code=4).json
        assert held["problems"][0]["code"].startswith("keep-from-")
    assert shop.tags() == before
    digest = before["web/old"]["latest"]
    (shop.bench.repo / "pods").write_text(f"web@{digest}")
    told = shop.bench.lian("prune", "--yes", "--keep-from", "cmd:cat pods", "--only", "shop/*", "--json").json
    assert [(r["repository"].rpartition("/")[2], len(r["outcome"]["images"])) for r in told["repositories"]] == [
        ("api", 1)
    ]
    told = shop.bench.lian("prune", "--yes", "--keep-from", "pods", "--json").json
    assert told["summary"]["images"] == 0
    assert told["summary"]["kept"]["in-use"] == 1
    assert shop.tags()["web/old"] == before["web/old"]


@pytest.mark.parametrize("where", ["oci-layout"], indirect=True)
def test_branches_keep_what_they_ask_for_and_hold_what_they_leave_open(shop: Shop) -> None:
    before = shop.tags()
    shop.bench.git("branch", "stable", "HEAD~1")
    told = shop.bench.lian("prune", "--yes", "--json").json
    assert [(len(r["refs"]), told["summary"]["images"]) for r in told["revisions"]] == [(1, 0), (1, 0)]
    shop.bench.git("checkout", "-q", "-b", "odd")
    shop.bench.commit({"directives/shop.ncl": "{ nonsense = 1 }"})
    shop.bench.git("checkout", "-q", "main")
    held = shop.bench.lian("prune", "--yes", "--json", code=4)
    told = held.json["problems"][0]
    assert told["code"] == "revision-unread"
    assert "refs/heads/odd" in told["message"]
    assert "directives/shop.ncl" in told["cause"]
    shop.commit(WANTED, f'{SETTINGS}, policy.prune.revisions = ["refs/heads/main"]')
    assert shop.tags() == before
    assert "2 images removed" in shop.bench.lian("prune", "--yes", "--allow-most").out


@pytest.mark.parametrize("where", ["oci-layout"], indirect=True)
@pytest.mark.parametrize(("answer", "code"), [("yes", 0), ("y", 4), ("", 4)])
def test_a_person_is_asked(shop: Shop, answer: str, code: int) -> None:
    before = shop.tags()
    ran = shop.bench.asked("prune", "--allow-most", answer=answer)
    assert "Remove 2 images?" in ran.err
    assert "2 images to prune" in ran.out
    assert ran.code == code
    assert (shop.tags() == before) is (code == 4)


def test_a_registry_where_deletion_is_off_says_so_and_nothing_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    command = partial(distribution, usable(locate(PROGRAM)), folder, False)
    with running(folder, command, environment={"REGISTRY_STORAGE_DELETE_ENABLED": "false"}) as server:
        shop = Shop.new(tmp_path, server.url)
        shop.commit({**WANTED, **OLD}, SETTINGS)
        shop.fill(shop.bench.plan(2).values())
        shop.commit(WANTED, SETTINGS)
        before = shop.tags()
        ran = shop.bench.lian("prune", "--yes", code=3)
        assert ran.out.count("error[registry-refused]") == 1
        assert "does not let anything be deleted" in ran.out
        assert shop.tags() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "repositories"),
    [("docker-registry", 10), ("distribution v3", 10), ("zot", 50), ("oci-layout", 50)],
    indirect=["where"],
)
def test_of_a_thousand_images_exactly_the_orphans_go(where: str, repositories: int, tmp_path: Path) -> None:
    """Four hundred of them, from fifty repositories, of which two hold nothing else; killed half-way, and again.
    Both releases of distribution, which speak alike, have a fifth of them."""
    shop = Shop.new(tmp_path, where)
    text = 'image = "team{0:02}/app", tags = ["v{1}"]'
    staying = repositories - 2
    each = {r: 12 if r < staying // 2 else 13 for r in range(staying)}
    wanted = {f"w{r:02}/a{n:02}": text.format(r, n) for r, number in each.items() for n in range(number)}
    gone = {f"w{r:02}/b{n:02}": text.format(r, 100 + n) for r in range(repositories) for n in range(8)}
    all_images = len(wanted) + len(gone)
    assert repositories < 50 or (len(wanted), len(gone)) == (600, 400)
    shop.commit({**wanted, **gone}, SETTINGS)
    changes = shop.bench.plan(2)
    shop.fill(changes.values())
    for path in ("team00/app", "others/app"):
        shop.push(path, "theirs")
    before = shop.tags()
    shop.commit(wanted, SETTINGS)
    told = shop.bench.lian("diff", "--json").json["changes"]
    assert {change["artifact"] for change in told if change["reasons"][0]["code"] == "orphaned"} == gone.keys()

    process = shop.bench.start("prune", "--yes")
    assert process.stderr
    for _ in range(2 * repositories // 5):
        assert "images removed" in process.stderr.readline()
    process.send_signal(signal.SIGKILL)
    out, _ = process.communicate()
    assert f"{len(gone)} images to prune in {repositories} repositories" in out
    assert len(wanted) < _images(shop.tags()) < all_images

    ran = shop.bench.lian("prune", "--yes", "--json").json
    validator("prune").validate(ran)
    kept = {f"team{r:02}/app": {f"v{n}" for n in range(number)} for r, number in each.items()}
    kept["team00/app"].add("theirs")
    kept["others/app"] = {"theirs"}
    after = shop.tags()
    assert {path: {tag for tag in tags if not tag.startswith("lian-")} for path, tags in after.items()} == kept
    assert all(after[path][tag] == before[path][tag] for path, tags in kept.items() for tag in tags)
    assert _images(after) == len(wanted) + 2
    assert shop.lists() in {0, len(wanted)}
    assert shop.whole([changes[name] for name in wanted][::20])

    again = shop.bench.lian("prune", "--yes", "--json").json
    assert (again["summary"]["images"], again["summary"]["tags"]) == (0, 0)
    plan = shop.bench.plan(0)
    assert {change["action"] for change in plan.values()} == {"none"}
    assert plan.keys() == wanted.keys()


def _images(tags: Mapping[str, Mapping[str, Digest]]) -> int:
    """How many there are, documents of lian's own left out."""
    return len({(path, d) for path, named in tags.items() for tag, d in named.items() if not of_lian(tag)})
