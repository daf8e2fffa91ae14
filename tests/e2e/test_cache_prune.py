"""`lian cache ls|du|prune` on running registries: what is unwanted, too old or too much goes, and nothing else."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.cache.rules import Generation
from reconciler.model.reference import Repository
from reconciler.providers.builder.binaries import locate
from reconciler.providers.registry.inventory_router import RoutedInventory
from reconciler.providers.registry.router import Connections, RoutedPublisher, RoutedRegistry
from tests.e2e.bench import Bench, directive
from tests.schemas.evaluation import validator
from tests.servers.distribution_v3 import run_distribution_v3
from tests.servers.registry import PROGRAM, distribution, run_registry
from tests.servers.running import running, usable
from tests.servers.zot import run_zot
from tests.upkeep.shelf import DAY, LAYOUT, Made, layers, mounts, spot, where

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from reconciler.cache.rules import Slot

LATEST, PREVIOUS, MOUNTS = "linux-amd64", "linux-amd64.previous", "linux-amd64.mounts"


@pytest.fixture(params=["oci-layout", "docker-registry", "distribution v3", "zot"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A registry, as --registry takes it."""
    if request.param == "oci-layout":
        yield f"oci-layout:{tmp_path / 'registry'}"
        return
    runs = {"docker-registry": run_registry, "distribution v3": run_distribution_v3, "zot": run_zot}
    with runs[request.param](tmp_path / "server") as server:
        yield server.url


@dataclass(frozen=True)
class Kitchen:
    """A desired repo, and the registry with its caches."""

    bench: Bench
    host: str

    @classmethod
    def new(cls, folder: Path, place: str, *names: str) -> Kitchen:
        """One that wants these artifacts."""
        made = cls(Bench.new(folder, place), place.removeprefix("http://"))
        made.want(*names)
        return made

    def want(self, *names: str) -> None:
        """A commit that wants exactly these."""
        by_workspace: dict[str, dict[str, str]] = {}
        for name in names:
            workspace, _, short = name.partition("/")
            by_workspace.setdefault(workspace, {})[short] = f'image = "{name}", context.path = "context"'
        for old in (self.bench.repo / "directives").glob("*.ncl"):
            old.unlink()
        files = {
            f"directives/{workspace}.ncl": directive(workspace, those) for workspace, those in by_workspace.items()
        }
        self.bench.commit({**files, "context/Dockerfile": "FROM scratch\nCOPY . /\n", "lian.ncl": '{ fleet = "acme" }'})

    def put(self, *pushes: tuple[Slot, Made]) -> None:
        """Have these there."""

        async def work() -> None:
            async with Connections(writable={self.host}) as connections:
                publisher = RoutedPublisher(connections)
                gate = asyncio.Semaphore(8)

                async def one(slot: Slot, made: Made) -> None:
                    async with gate:
                        await publisher.publish(
                            where(slot, self.host), made.manifest, tags=[slot.tag], blobs=made.blobs
                        )

                by_repository: dict[Repository, list[tuple[Slot, Made]]] = {}
                for slot, made in pushes:
                    by_repository.setdefault(where(slot, self.host), []).append((slot, made))

                async def all_of_one(those: Sequence[tuple[Slot, Made]]) -> None:
                    for slot, made in those:
                        await one(slot, made)

                await asyncio.gather(*map(all_of_one, by_repository.values()))

        asyncio.run(work())

    def left(self) -> dict[str, set[str]]:
        """Path of each cache's repository -> its tags, of those whose manifests and blobs are all there."""

        async def look() -> dict[str, set[str]]:
            async with Connections() as connections:
                inventory, registry = RoutedInventory(connections), RoutedRegistry(connections)
                paths = [path for path in await inventory.repositories(self.host) if LAYOUT.parse(path)]
                tags = await inventory.all_tags([Repository(self.host, path) for path in paths])
                found: dict[str, set[str]] = {}
                for repository, named in tags.items():
                    for tag, digest in named.items():
                        assert not await registry.missing(repository, digest)
                        found.setdefault(repository.path, set()).add(tag)
                return found

        return asyncio.run(look())

    def lian(self, *words: str, code: int = 0) -> Any:
        """`lian cache … --json`, checked against its schema."""
        document = self.bench.lian("cache", *words, "--json", code=code).json
        validator(document["kind"]).validate(document)
        return document


def ago(seconds: float) -> float:
    return time.time() - seconds


def of(name: str, age: float, *contents: bytes, **more: Any) -> tuple[Slot, Made]:
    """A cache of that age."""
    slot = spot(name, **more)
    made = mounts if slot.generation is Generation.MOUNTS else layers
    return slot, made(*(contents or (str(slot).encode(),)), created=ago(age))


def usual() -> list[tuple[Slot, Made]]:
    """Of an artifact that is wanted and of one that is not, and of a session's."""
    made = []
    for name in ("shop/api", "shop/old"):
        made += [of(name, 10 * DAY, b"layer" * 1000)]
        made += [of(name, 12 * DAY, b"before" * 1000, b"layer" * 1000, generation=Generation.PREVIOUS)]
        made += [of(name, 10 * DAY, b"mounts" * 1000, generation=Generation.MOUNTS)]
    return [*made, of("shop/api", 40 * DAY, b"layer" * 1000, b"own", actor="alice"), of("shop/new", 60)]


@pytest.fixture
def kitchen(place: str, tmp_path: Path) -> Kitchen:
    """With all the usual in it."""
    made = Kitchen.new(tmp_path, place, "shop/api")
    made.put(*usual())
    return made


ALL = {LATEST, PREVIOUS, MOUNTS}
API, OLD, NEW = (f"cache/ci/shop/{name}" for name in ("api", "old", "new"))
DEV = "cache/dev/alice-shop/api"


def test_a_life_of_caches(kitchen: Kitchen) -> None:
    """On a registry of each kind: listed, counted, planned, removed, and nothing left to do."""
    told = kitchen.lian("ls")
    states = {(c["repository"].removeprefix(f"{kitchen.host}/"), c["tag"]): c["state"] for c in told["caches"]}
    assert {path for path, _ in states} == {API, OLD, NEW, DEV}
    assert (states[API, LATEST], states[OLD, MOUNTS]) == ("kept-wanted", "unwanted")
    assert (states[DEV, LATEST], states[NEW, LATEST]) == ("kept-session", "kept-young")
    assert [registry["catalog"] for registry in told["registries"]] == [True]
    used = kitchen.lian("du")
    (whole,) = used["registries"]
    assert whole["caches"] == len(states)
    assert (whole["shared"] > 0) is (not kitchen.host.startswith("oci-layout:"))
    assert {n["namespace"]: n["caches"] for n in used["namespaces"]} == {"ci/shop": 7, "dev/alice-shop": 1}

    dry = kitchen.lian("prune", "--dry-run", code=2)
    assert {cache["state"] for cache in dry["caches"]} == {"unwanted"}
    assert dry["summary"]["caches"] == 3
    refused = kitchen.bench.lian("cache", "prune", code=1)
    assert "confirmation-needed" in refused.err
    assert "3 caches to remove" in refused.out
    assert kitchen.left() == {API: ALL, OLD: ALL, NEW: {LATEST}, DEV: {LATEST}}

    done = kitchen.lian("prune", "--yes")
    assert [cache["outcome"] for cache in done["caches"]] == ["removed"] * 3
    assert kitchen.left() == {API: ALL, NEW: {LATEST}, DEV: {LATEST}}
    assert kitchen.lian("prune", "--yes")["caches"] == []
    ran = kitchen.bench.lian("cache", "prune", "--yes", "--older-than", "30d")
    assert "1 cache removed" in ran.out
    assert max(len(line) for line in ran.out.splitlines() if "oci-layout" not in line) <= 80
    assert kitchen.left() == {API: ALL, NEW: {LATEST}}
    held = kitchen.lian("prune", "--yes", "--max-size", "0B", code=4)
    assert [problem["code"] for problem in held["problems"]] == ["prune-most"]
    kitchen.lian("prune", "--yes", "--max-size", "0B", "--allow-most")
    assert kitchen.left() == {NEW: {LATEST}}


def test_images_and_caches_do_not_see_one_another(kitchen: Kitchen) -> None:
    told = kitchen.bench.lian("registry", "status", "--json").json
    assert [(r["caches"], r["repositories"]) for r in told["registries"]] == [
        (4, told["registries"][0]["repositories"])
    ]
    assert [r["repository"] for r in told["registries"][0]["repositories"]] == [f"{kitchen.host}/shop/api"]
    assert "4 repositories of build caches" in kitchen.bench.lian("registry", "status").out
    plan = kitchen.bench.lian("diff", "--json", code=2).json
    assert [change["artifact"] for change in plan["changes"]] == ["shop/api"]
    pruned = kitchen.bench.lian("prune", "--yes", "--allow-most", "--json").json
    assert pruned["summary"]["images"] == 0
    kitchen.bench.lian("verify", code=2)
    assert kitchen.left() == {API: ALL, OLD: ALL, NEW: {LATEST}, DEV: {LATEST}}


def test_two_tags_of_one_content_and_one_that_stays(place: str, tmp_path: Path) -> None:
    """Only the tag goes where another that stays names the same; the next prune takes the other."""
    kitchen = Kitchen.new(tmp_path, place, "shop/api")
    slot, made = of("shop/old", 10 * DAY, b"x")
    kitchen.put((slot, made), (spot("shop/old", generation=Generation.PREVIOUS), made))
    kitchen.put((spot("shop/old", platform="linux/arm64"), made))
    kitchen.lian("prune", "--yes", "--allow-most")
    assert kitchen.left() == {}


def blobs(registry: Path) -> int:
    """How many files of content there are below a layout."""
    return len([path for path in registry.rglob("blobs/*/*") if path.is_file()])


@pytest.mark.parametrize("place", ["oci-layout"], indirect=True)
def test_on_disk_the_space_is_free_at_once(kitchen: Kitchen, tmp_path: Path) -> None:
    before = blobs(tmp_path / "registry" / "cache" / "ci" / "shop" / "old")
    assert before > 6
    told = kitchen.bench.lian("cache", "prune", "--yes")
    assert "the space is free now" in " ".join(told.out.split())
    assert blobs(tmp_path / "registry" / "cache" / "ci" / "shop" / "old") == 0
    assert blobs(tmp_path / "registry" / "cache" / "ci" / "shop" / "api") == before


@pytest.mark.parametrize("place", ["oci-layout"], indirect=True)
@pytest.mark.parametrize(("answer", "code"), [("yes", 0), ("no", 4)])
def test_a_person_is_asked(kitchen: Kitchen, answer: str, code: int) -> None:
    ran = kitchen.bench.asked("cache", "prune", answer=answer)
    assert "Remove 3 caches?" in ran.err
    assert ran.code == code
    assert (OLD in kitchen.left()) is (code == 4)


def test_a_registry_where_deletion_is_off_says_so_once(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    command = partial(distribution, usable(locate(PROGRAM)), folder, False)
    with running(folder, command, environment={"REGISTRY_STORAGE_DELETE_ENABLED": "false"}) as server:
        kitchen = Kitchen.new(tmp_path, server.url, "shop/api")
        kitchen.put(*usual(), of("shop/older", 10 * DAY))
        before = kitchen.left()
        ran = kitchen.bench.lian("cache", "prune", "--yes", code=3)
        assert ran.out.count("error[registry-refused]") == 1
        assert kitchen.left() == before


def many(number: int) -> list[tuple[Slot, Made]]:
    """Unwanted ones, in repositories of their own."""
    return [of(f"shop/gone{n:03}", 5 * DAY, b"shared" * 100, str(n).encode()) for n in range(number)]


def test_one_that_is_killed_half_way_is_finished_by_the_next(place: str, tmp_path: Path) -> None:
    kitchen = Kitchen.new(tmp_path, place, "shop/api")
    kitchen.put(of("shop/api", DAY), *many(60))
    process = kitchen.bench.start("cache", "prune", "--yes", "--allow-most")
    assert process.stderr
    for _ in range(10):
        assert "1 cache removed" in process.stderr.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    left = kitchen.left()
    assert 1 < len(left) <= 51
    assert left[API] == {LATEST}
    kitchen.lian("prune", "--yes", "--allow-most")
    assert kitchen.left() == {API: {LATEST}}


def test_a_registry_that_dies_is_told_and_the_next_prune_goes_on(tmp_path: Path) -> None:
    with run_registry(tmp_path / "server") as server:
        kitchen = Kitchen.new(tmp_path, server.url, "shop/api")
        kitchen.put(of("shop/api", DAY), *many(40))
        process = kitchen.bench.start("cache", "prune", "--yes", "--allow-most", "--json")
        assert process.stderr
        process.stderr.readline()
        server.stop()
        out, _ = process.communicate(timeout=100)
        port = int(server.host.rpartition(":")[2])
    assert process.returncode in {3, 4}
    told = json.loads(out)
    validator("cache_prune").validate(told)
    assert {cache["outcome"] for cache in told["caches"]} <= {"removed", "failed", "held"}
    assert "registry-unreachable" in {problem["code"] for problem in told["problems"]}
    with run_registry(tmp_path / "server", port=port):
        kitchen.lian("prune", "--yes", "--allow-most")
        assert kitchen.left() == {API: {LATEST}}


def test_a_cache_that_is_written_while_a_person_thinks_stays(place: str, tmp_path: Path) -> None:
    kitchen = Kitchen.new(tmp_path, place, "shop/api")
    kitchen.put(*usual())
    ran = kitchen.bench.asked(
        "cache",
        "prune",
        "--json",
        answer="yes",
        meanwhile=lambda: kitchen.put(of("shop/old", 0, b"a build of a branch")),
    )
    assert [cache["outcome"] for cache in ran.json["caches"]] == ["spared"] * 3
    assert kitchen.left()[OLD] == ALL
