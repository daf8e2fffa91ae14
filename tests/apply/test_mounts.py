"""Cache mounts around a build, against fakes: what is brought, and what becomes of everything that goes wrong."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.mounts import CacheMounts, kept, ran
from reconciler.cache import mounts as forms
from reconciler.model.cache import CacheMount, CachePolicy, Ci, Owner, Session
from reconciler.model.cache_use import StepRun
from reconciler.model.desired import Materials, Needs, SentFolder
from reconciler.model.mount_use import MountsEnd, MountsMoved, MountUse
from reconciler.model.reference import Repository
from reconciler.ports.builder import Built, WriteFolder
from reconciler.ports.compute import Runner
from tests.commits import AMD64, ARM64, HOST, Commit, artifact
from tests.fakes import World, problem
from tests.providers.workshop import TIER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.model.cache import BuildMode
    from reconciler.ports.builder import BuildRequest, StepSeen

A, B = CacheMount("/a"), CacheMount("/b", Owner(7))
RAN = (Built(None, 1.0, (StepRun("[1/1] RUN --mount=type=cache,target=/a x", False, 1.0),)),)
CACHED = (Built(None, 1.0, (StepRun("[1/1] RUN --mount=type=cache,target=/a x", True, 0.0),)),)
CI = Repository(HOST, "cache/ci/shop/api")


@dataclass
class MountBuilder:
    """Keeps mounts as a builder does: by id, namespace and owner."""

    world: World
    held: dict[str, bytes] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)

    async def build(self, runner: Runner, request: BuildRequest, seen: Callable[[StepSeen], None]) -> Built:
        step = request.dockerfile.name.split(".")[1]
        self.steps.append(step)
        await self.world.points.at(step)
        if step in self.failing:
            raise problem("builder-lost")
        text = request.dockerfile.read_text()
        ids = [value for name, value in sorted(request.args.items()) if name.startswith("LIAN_ID")]
        owners = [
            line.partition(f"target=/m/{n},sharing=locked")[2].split(" ")[0]
            for n in range(len(ids))
            for line in text.splitlines()
            if f"target=/m/{n}," in line
        ]
        nonce = request.args["LIAN_NONCE"]
        for number, (name, owner) in enumerate(zip(ids, owners, strict=True)):
            key = f"{request.mount_namespace}/{name}{owner}"
            if step == "restore":
                archives = request.contexts["archives"]
                self.held.setdefault(key, (archives / f"{nonce}-{number}.tar").read_bytes())  # type: ignore[operator]
            elif step == "empty":
                self.held.pop(key, None)
            else:
                assert isinstance(request.destination, WriteFolder)
                out = request.destination.folder / "out"
                out.mkdir(parents=True, exist_ok=True)
                (out / f"{nonce}-{number}.tar").write_bytes(self.held.get(key, b""))
        return Built(None, 0.1)


@dataclass
class Shop:
    """One artifact, built again and again, each time on a new builder."""

    world: World
    folder: Path
    builder: MountBuilder = field(init=False)
    work: CacheMounts = field(init=False)

    def __post_init__(self) -> None:
        self.renew()

    def renew(self, mode: BuildMode | None = None, policy: CachePolicy | None = None) -> None:
        """A fresh builder."""
        self.builder = MountBuilder(self.world)
        ports = replace(self.world.ports(), builder=self.builder)
        wanted = artifact("shop/api", cache=policy or CachePolicy(mounts=True))
        runner = Runner("lease", "unix:///x", self.folder / "scratch", "buildkit")
        desired = Commit((wanted,)).desired
        self.work = CacheMounts(ports, desired, wanted, mode or Ci(), runner, TIER)

    def hold(self, mount: CacheMount, data: bytes) -> None:
        """What a step left in a mount."""
        self.builder.held[self.key(mount)] = data

    def key(self, mount: CacheMount) -> str:
        owner = f",uid={mount.owner.uid},gid={mount.owner.gid},mode={mount.owner.mode:04o}" if mount.owner else ""
        return f"lian.shop.api.linux-amd64/{mount.id}{owner}"

    def restore(self, *mounts: CacheMount) -> MountsMoved:
        return self.checked(asyncio.run(self.work.restore(AMD64, mounts or (A, B))))

    def save(self, *mounts: CacheMount) -> MountsMoved:
        return self.checked(asyncio.run(self.work.save(AMD64, mounts or (A, B), RAN)))

    def checked(self, moved: MountsMoved) -> MountsMoved:
        """Nothing is left behind, and it is told as it was."""
        left = self.folder / "scratch/mounts"
        assert not left.exists() or not list(left.iterdir())
        use = MountUse(moved, moved)
        assert MountUse.from_json(use.to_json()).to_json() | {} == replace_hints(use)
        return moved

    @property
    def tag(self) -> object:
        return self.world.tag(CI, "linux-amd64.mounts")


def replace_hints(use: MountUse) -> object:
    """As it is told once the artifact's name is left out, which stands around it."""
    document = use.to_json()
    for way in document.values():
        for told in way["problems"]:
            told["artifact"] = None
    return document


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(World(Commit(()), tmp_path), tmp_path)


def codes(moved: MountsMoved) -> list[str]:
    return [one.code for one in moved.problems]


def test_what_is_saved_is_restored_on_the_next_builder(shop: Shop) -> None:
    assert shop.restore().end is MountsEnd.ABSENT
    shop.hold(A, b"one")
    shop.hold(B, b"other")
    saved = shop.save()
    assert (saved.end, saved.mounts, saved.bytes) == (MountsEnd.SAVED, 2, 8)
    held = shop.builder.held
    shop.renew()
    restored = shop.restore()
    assert (restored.end, restored.mounts, restored.bytes, restored.problems) == (MountsEnd.RESTORED, 2, 8, ())
    assert shop.builder.held == held
    assert restored.reference == saved.reference == f"{CI}:linux-amd64.mounts"


def test_what_is_not_kept_asks_nobody(shop: Shop) -> None:
    shop.renew(policy=CachePolicy())
    assert shop.restore() == shop.save() == MountsMoved()
    shop.renew()
    assert asyncio.run(shop.work.restore(AMD64, ())) == asyncio.run(shop.work.save(AMD64, (), RAN)) == MountsMoved()
    assert asyncio.run(shop.work.save(AMD64, (A,), CACHED)) == MountsMoved()
    assert shop.world.points.seen == [] and shop.builder.steps == []


def test_namespaces_are_for_those_who_keep(shop: Shop) -> None:
    assert shop.work.namespace(ARM64) == "lian.shop.api.linux-arm64"
    shop.renew(policy=CachePolicy())
    assert shop.work.namespace(ARM64) is None


def test_what_has_not_changed_is_not_written_again_but_dated_anew(shop: Shop) -> None:
    shop.hold(A, b"one")
    shop.save()
    before = shop.tag
    assert (again := shop.save()).end is MountsEnd.UNCHANGED and again.bytes == 0 and shop.tag == before
    shop.world.clock.now += forms.RENEWED_AFTER + 1
    assert (again := shop.save()).end is MountsEnd.SAVED and again.bytes == 0 and shop.tag != before


def test_what_is_empty_here_is_not_lost_there(shop: Shop) -> None:
    shop.hold(A, b"one")
    shop.hold(B, b"other")
    shop.save()
    shop.renew()
    shop.hold(A, b"new")
    assert shop.save().mounts == 2
    shop.renew()
    shop.restore()
    assert shop.builder.held == {shop.key(A): b"new", shop.key(B): b"other"}
    shop.renew()
    shop.hold(A, b"newer")
    assert shop.save(A).mounts == 1


def test_what_is_warm_stays(shop: Shop) -> None:
    shop.hold(A, b"old")
    shop.save()
    shop.hold(A, b"warm")
    shop.restore()
    assert shop.builder.held[shop.key(A)] == b"warm"


def test_without_a_tool_nothing_is_kept_and_it_is_told(shop: Shop) -> None:
    shop.world.archives.lacking = True
    for moved in (shop.restore(), shop.save()):
        assert (moved.end, codes(moved)) == (MountsEnd.FAILED, ["cache-mounts-tool-missing"])
    assert shop.builder.steps == [] and shop.world.registry.asked == []


def test_a_registry_that_does_not_answer_costs_time_only(shop: Shop) -> None:
    shop.hold(A, b"one")
    shop.save()
    before = shop.tag
    shop.world.registry.unreadable.add("linux-amd64.mounts")
    shop.renew()
    assert (restored := shop.restore()).end is MountsEnd.FAILED and codes(restored) == ["registry-down"]
    shop.hold(A, b"two")
    assert (saved := shop.save()).end is MountsEnd.FAILED and codes(saved) == ["registry-down"]
    shop.world.registry.unreadable.clear()
    assert shop.tag == before


@pytest.mark.parametrize("point", ["fetch", "unpack", "restore", "manifest"])
def test_a_restore_that_fails_leaves_the_mounts_empty(shop: Shop, point: str) -> None:
    shop.hold(A, b"one")
    shop.save()
    shop.renew()
    shop.world.points.faults[point] = problem()
    restored = shop.restore()
    assert restored.end is MountsEnd.FAILED and set(codes(restored)) == {"planted"}
    assert shop.builder.held == {}
    assert ("empty" in shop.builder.steps) is (point == "restore")
    assert all(one.artifact == "shop/api" for one in restored.problems)


@pytest.mark.parametrize("point", ["save", "pack", "store", "heads"])
def test_a_save_that_fails_leaves_what_was_saved(shop: Shop, point: str) -> None:
    shop.hold(A, b"one")
    shop.save()
    before = shop.tag
    shop.hold(A, b"two")
    shop.world.points.faults[point] = problem()
    saved = shop.save()
    assert saved.end is MountsEnd.FAILED and set(codes(saved)) == {"planted"}
    assert shop.tag == before


def test_one_that_is_no_good_does_not_keep_the_others_back(shop: Shop) -> None:
    shop.hold(A, b"bad")
    shop.hold(B, b"good")
    shop.save()
    shop.renew()
    shop.world.archives.refused[b"bad"] = "cache-mount-unsafe"
    restored = shop.restore()
    assert (restored.end, restored.mounts, codes(restored)) == (MountsEnd.FAILED, 1, ["cache-mount-unsafe"])
    assert "the cache mount /a" in restored.problems[0].message
    assert shop.builder.held == {shop.key(B): b"good"}
    assert shop.save().mounts == 1  # what was refused is not carried on
    shop.renew()
    assert shop.restore().problems == ()


def test_one_that_cannot_be_packed_is_told_and_the_others_are_saved(shop: Shop) -> None:
    shop.hold(A, b"huge")
    shop.hold(B, b"good")
    shop.world.archives.refused[b"huge"] = "cache-mount-too-large"
    saved = shop.save()
    assert (saved.end, saved.mounts, codes(saved)) == (MountsEnd.FAILED, 1, ["cache-mount-too-large"])
    shop.renew()
    assert shop.restore().mounts == 1


def test_what_is_no_saved_mounts_is_told_and_overwritten(shop: Shop) -> None:
    shop.hold(A, b"one")
    shop.save()
    registry = shop.world.registry
    saved = next(iter(registry.manifests.values()))
    strange = replace(saved, data=saved.data.replace(forms.KIND.encode(), b"application/x"))
    registry.manifests[CI, strange.digest] = strange
    registry.tags[CI, "linux-amd64.mounts"] = strange.digest
    shop.renew()
    assert codes(shop.restore()) == ["cache-mount-broken"]
    shop.hold(A, b"two")
    assert shop.save().end is MountsEnd.SAVED


def test_sessions_read_their_own_then_cis_and_write_their_own(shop: Shop) -> None:
    shop.hold(A, b"ci")
    shop.save()
    before = shop.tag
    shop.renew(Session("anna"))
    assert shop.restore().reference == f"{CI}:linux-amd64.mounts"
    shop.hold(A, b"anna")
    own = shop.save()
    assert own.reference == f"{HOST}/cache/dev/anna-shop/api:linux-amd64.mounts" and shop.tag == before
    shop.renew(Session("anna"))
    assert shop.restore().reference == own.reference and shop.builder.held[shop.key(A)] == b"anna"
    shop.renew()
    shop.restore()
    assert shop.builder.held[shop.key(A)] == b"ci"


@pytest.mark.parametrize("point", ["tool", "heads", "fetch", "unpack", "restore", "save", "pack", "store"])
def test_a_cancellation_goes_on_and_leaves_nothing(shop: Shop, point: str) -> None:
    shop.hold(A, b"one")
    shop.save()

    async def use() -> None:
        shop.world.points.holds[point] = asyncio.Event()
        arrival = shop.world.points.arrivals[point] = asyncio.Event()
        work = (
            shop.work.save(AMD64, (A,), RAN) if point in {"save", "pack", "store"} else shop.work.restore(AMD64, (A,))
        )
        task = asyncio.create_task(work)
        await arrival.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert list((shop.folder / "scratch/mounts").iterdir()) == []

    asyncio.run(use())


def test_checks_count() -> None:
    materials = Materials(
        SentFolder("", "."),
        "Dockerfile",
        "",
        needs={AMD64: Needs(mounts=(A,))},
        check_needs={AMD64: Needs(mounts=(B, A))},
    )
    assert kept(materials, AMD64) == (A, B) and kept(materials, ARM64) == ()


def test_only_steps_with_mounts_count() -> None:
    other = Built(None, 1.0, (StepRun("[1/1] RUN x", False, 1.0),))
    assert ran(RAN) and ran((other, *RAN)) and not ran((other,)) and not ran(CACHED) and not ran(())
