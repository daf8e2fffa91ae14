"""Cache mounts around a build, against fakes: what is brought, and what becomes of everything that goes wrong."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.mounts import RESTORE_SECONDS, SAVE_SECONDS, CacheMounts, kept, ran
from reconciler.cache import mounts as forms
from reconciler.cache.notes import is_fresh
from reconciler.cli.views.cache_use import story
from reconciler.cli.views.text import Writer
from reconciler.model.cache import (
    MAX_MOUNT_BYTES,
    MAX_MOUNTS,
    CacheMode,
    CacheMount,
    CachePolicy,
    Ci,
    Owner,
    Session,
)
from reconciler.model.cache_use import CacheUse, StepRun
from reconciler.model.desired import Materials, Needs, SentFolder
from reconciler.model.mount_use import MountsEnd, MountsMoved, MountUse
from reconciler.model.reference import Repository
from reconciler.ports.builder import Built, WriteFolder
from reconciler.ports.compute import Runner
from tests.commits import AMD64, ARM64, HOST, Commit, artifact
from tests.fakes import FakeArchives, World, problem
from tests.providers.workshop import TIER

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.model.cache import BuildMode
    from reconciler.ports.archives import Packed
    from reconciler.ports.builder import BuildRequest, StepSeen
    from tests.fakes import Points

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

    async def build(self, runner: Runner, request: BuildRequest, seen: Callable[[StepSeen], None]) -> Built:
        step = request.dockerfile.name.split(".")[1]
        self.steps.append(step)
        if step != "restore":
            await self.world.points.at(step)
        text = request.dockerfile.read_text()
        ids = [value for name, value in sorted(request.args.items()) if name.startswith("LIAN_ID")]
        owners = [
            line.partition(f"target=/m/{n},sharing=locked")[2].split(" ")[0]
            for n in range(len(ids))
            for line in text.splitlines()
            if f"target=/m/{n}," in line
        ]
        nonce = request.args["LIAN_NONCE"]
        keys = [f"{request.mount_namespace}/{name}{owner}" for name, owner in zip(ids, owners, strict=True)]
        empty = [key for key in keys if key not in self.held]
        if step == "restore":
            self.held |= dict.fromkeys(empty, b"half")
            await self.world.points.at(step)
        for number, key in enumerate(keys):
            if step == "restore":
                archives = request.contexts["archives"]
                data = (archives / f"{nonce}-{number}.tar").read_bytes()  # type: ignore[operator]
                self.held[key] = data if key in empty else self.held[key]
            elif step == "empty":
                self.held.pop(key, None)
            else:
                assert isinstance(request.destination, WriteFolder)
                out = request.destination.folder / "out"
                out.mkdir(parents=True, exist_ok=True)
                (out / f"{nonce}-{number}.tar").write_bytes(self.held.get(key, b""))
        return Built(None, 0.1)


class TellingArchives(FakeArchives):
    """Contents can be said to be larger than they are, and to have left something out."""

    def __init__(self, folder: Path, points: Points) -> None:
        super().__init__(folder, points)
        self.sizes: dict[bytes, int] = {}
        self.dropped: dict[bytes, int] = {}

    async def pack(self, tar: Path, into: Path) -> Packed:
        data, packed = tar.read_bytes(), await super().pack(tar, into)
        return replace(packed, size=self.sizes.get(data, packed.size), dropped=self.dropped.get(data, 0))

    async def unpack(self, archive: Path, into: Path, after: Path, told: Packed) -> None:
        data = archive.read_bytes()
        assert told.size == self.sizes.get(data, len(data))
        await super().unpack(archive, into, after, replace(told, size=len(data)))


@dataclass
class Shop:
    """One artifact, built again and again, each time on a new builder."""

    world: World
    folder: Path
    builder: MountBuilder = field(init=False)
    work: CacheMounts = field(init=False)
    archives: TellingArchives = field(init=False)

    def __post_init__(self) -> None:
        self.archives = self.world.archives = TellingArchives(self.folder, self.world.points)
        self.renew()

    def renew(self, mode: BuildMode | None = None, policy: CachePolicy | None = None, freshness: str = "") -> None:
        """A fresh builder."""
        self.builder = MountBuilder(self.world)
        ports = replace(self.world.ports(), builder=self.builder)
        wanted = artifact("shop/api", cache=policy or CachePolicy(mounts=True))
        runner = Runner("lease", "unix:///x", self.folder / "scratch", "buildkit")
        desired = Commit((wanted,)).desired
        self.work = CacheMounts(ports, desired, wanted, mode or Ci(), runner, TIER, freshness=freshness)

    def hold(self, mount: CacheMount, data: bytes) -> None:
        """What a step left in a mount."""
        self.builder.held[self.key(mount)] = data

    def key(self, mount: CacheMount) -> str:
        owner = f",uid={mount.owner.uid},gid={mount.owner.gid},mode={mount.owner.mode:04o}" if mount.owner else ""
        return f"{self.work.namespace(AMD64)}/{mount.id}{owner}"

    def restore(self, *mounts: CacheMount) -> MountsMoved:
        return self.checked(asyncio.run(self.work.restore(AMD64, mounts or (A, B))))

    def save(self, *mounts: CacheMount) -> MountsMoved:
        return self.checked(asyncio.run(self.work.save(AMD64, mounts or (A, B), RAN)))

    def checked(self, moved: MountsMoved) -> MountsMoved:
        """Nothing is left behind, and it is told as it was."""
        left = self.folder / "scratch/mounts"
        assert not left.exists() or not list(left.iterdir())
        use = MountUse(moved, moved)
        assert MountUse.from_json(use.to_json()).to_json() == replace_hints(use)
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


def test_what_no_commit_holds_is_restored_for_and_never_saved(shop: Shop) -> None:
    shop.hold(A, b"one")
    shop.save()
    kept = shop.tag
    shop.renew()
    shop.work.desired = replace(shop.work.desired, revision="")
    assert shop.restore().end is MountsEnd.RESTORED
    shop.hold(A, b"of a folder")
    assert shop.save().end is MountsEnd.NONE
    assert shop.tag == kept is not None


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


def test_mounts_that_are_filled_by_halves_are_no_builds(shop: Shop) -> None:
    """Neither a restore went well nor what should have undone it: a build has others, and what it saves is its own."""
    shop.hold(A, b"one")
    shop.save()
    shop.renew()
    before = shop.work.namespace(AMD64)
    shop.world.points.faults |= {"restore": problem("first"), "empty": problem("second")}
    assert codes(shop.restore()) == ["first", "second"]
    shop.world.points.faults.clear()
    assert shop.builder.held[f"{before}/{A.id}"] == b"half"
    assert shop.work.namespace(AMD64) != before
    shop.hold(B, b"other")
    assert shop.save().end is MountsEnd.SAVED
    shop.renew()
    assert shop.work.namespace(AMD64) == before
    shop.restore()
    assert shop.builder.held == {shop.key(A): b"one", shop.key(B): b"other"}


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


@pytest.mark.parametrize("point", ["tool", "heads", "manifest", "fetch", "unpack", "restore", "save", "pack", "store"])
def test_what_takes_too_long_is_given_up_and_leaves_nothing(shop: Shop, point: str) -> None:
    shop.hold(A, b"one")
    shop.save(A)
    before = shop.tag
    saves = point in {"save", "pack", "store"}
    if saves:
        shop.hold(A, b"two")
    else:
        shop.renew()

    async def use() -> MountsMoved:
        loop = asyncio.get_running_loop()
        now = loop.time
        shop.world.points.holds[point] = asyncio.Event()
        arrival = shop.world.points.arrivals[point] = asyncio.Event()
        task = asyncio.create_task(shop.work.save(AMD64, (A,), RAN) if saves else shop.work.restore(AMD64, (A,)))
        await arrival.wait()
        loop.time = lambda: now() + max(RESTORE_SECONDS, SAVE_SECONDS) + 1  # type: ignore[method-assign]
        return await task

    moved = shop.checked(asyncio.run(use()))
    assert (moved.end, codes(moved)) == (MountsEnd.FAILED, ["cache-mounts-late"])
    assert shop.tag == before and (saves or shop.builder.held == {})
    assert ("empty" in shop.builder.steps) is (point == "restore")


def test_checks_count() -> None:
    materials = Materials(
        SentFolder("", "."),
        "Dockerfile",
        "",
        needs={AMD64: Needs(mounts=(A,))},
        check_needs={AMD64: Needs(mounts=(B, A))},
    )
    assert kept(materials, AMD64) == (A, B) and kept(materials, ARM64) == ()


def test_target_and_checks_together_have_no_more_than_is_kept(shop: Shop) -> None:
    own, other = (tuple(CacheMount(f"/{kind}/{n}") for n in range(20)) for kind in ("target", "check"))
    needs = {AMD64: Needs(mounts=own)}, {AMD64: Needs(mounts=other)}
    mounts = kept(Materials(SentFolder("", "."), "Dockerfile", "", needs=needs[0], check_needs=needs[1]), AMD64)
    assert len(mounts) == MAX_MOUNTS and mounts[:20] == own
    for mount in mounts:
        shop.hold(mount, mount.id.encode())
    assert shop.save(*mounts).mounts == MAX_MOUNTS
    shop.renew()
    assert shop.restore(*mounts).mounts == MAX_MOUNTS


def test_what_could_not_be_restored_is_not_published(shop: Shop) -> None:
    mounts = [CacheMount(f"/{n}") for n in range(MAX_MOUNTS + 1)]
    for mount in mounts:
        shop.hold(mount, b"x")
    saved = shop.save(*mounts)
    assert (saved.end, codes(saved)) == (MountsEnd.FAILED, ["cache-mount-broken"])
    assert "no build has more than 32" in str(saved.problems[0].cause) and shop.tag is None


def test_all_that_lies_there_is_within_the_bounds(shop: Shop) -> None:
    """What is packed now and what is carried over count together, and what is refused counts nothing."""
    c = CacheMount("/c")
    shop.archives.sizes = {b"large": MAX_MOUNT_BYTES, b"half": MAX_MOUNT_BYTES // 2, b"more": MAX_MOUNT_BYTES // 2 + 1}
    shop.hold(A, b"large")
    shop.hold(B, b"half")
    assert shop.save(A, B).problems == ()
    shop.renew()
    shop.hold(c, b"more")  # more than there is room for beside those that are carried over
    saved = shop.save(A, B, c)
    assert codes(saved) == ["cache-mount-too-large"] and "/b" in saved.problems[0].message
    assert saved.mounts == 2
    shop.renew()
    restored = shop.restore(A, B, c)
    assert (restored.end, restored.mounts) == (MountsEnd.RESTORED, 2)
    assert shop.key(B) not in shop.builder.held


def test_a_mount_that_is_refused_takes_no_room(shop: Shop) -> None:
    shop.archives.sizes = {b"large": MAX_MOUNT_BYTES, b"more": MAX_MOUNT_BYTES // 2 + 1, b"half": MAX_MOUNT_BYTES // 2}
    mounts = [CacheMount(f"/{n}") for n in range(4)]
    for mount, data in zip(mounts, (b"large", b"half", b"more", b"half"), strict=True):
        shop.hold(mount, data)
    saved = shop.save(*mounts)
    assert (saved.mounts, codes(saved)) == (3, ["cache-mount-too-large"]) and "/2:" in saved.problems[0].message


@pytest.mark.parametrize(
    ("code", "carried"), [("disk-full", True), ("cache-mount-broken", True), ("cache-mount-too-large", False)]
)
def test_what_cannot_be_packed_now_is_not_lost(shop: Shop, code: str, *, carried: bool) -> None:
    shop.hold(A, b"old")
    shop.hold(B, b"one")
    shop.save()
    shop.hold(A, b"new")
    shop.hold(B, b"two")
    shop.archives.refused[b"new"] = code
    saved = shop.save()
    assert (codes(saved), saved.mounts) == ([code], 1 + carried)
    shop.renew()
    shop.restore()
    assert shop.builder.held == {shop.key(B): b"two"} | ({shop.key(A): b"old"} if carried else {})


def test_another_dockerfile_of_the_artifact_finds_its_own_mounts_again(shop: Shop) -> None:
    """Branches take turns: each has mounts that the other does not know."""
    shop.hold(A, b"one")
    shop.save(A)
    shop.renew()
    shop.hold(B, b"other")
    assert shop.save(B).mounts == 1
    shop.renew()
    assert shop.restore(A).mounts == 1 and shop.builder.held == {shop.key(A): b"one"}
    assert shop.save(A).end is MountsEnd.UNCHANGED


def test_mounts_that_no_build_has_any_more_are_let_go(shop: Shop) -> None:
    day = 24 * 3600.0
    shop.hold(A, b"one")
    shop.hold(B, b"other")
    shop.save()
    for _ in range(int(forms.UNUSED_SECONDS / day) + 1):
        shop.world.clock.now += day
        assert shop.save(B).problems == ()
    shop.renew()
    assert shop.restore().mounts == 1 and shop.builder.held == {shop.key(B): b"other"}


def test_a_mount_that_is_in_use_is_not_let_go_whoever_else_writes(shop: Shop) -> None:
    day = 24 * 3600.0
    for number in range(2 * int(forms.UNUSED_SECONDS / day)):
        for mount, data in ((A, b"same"), (B, b"%d" % number)):
            shop.world.clock.now += day / 2
            shop.renew()
            shop.hold(mount, data)
            shop.save(mount)
    shop.renew()
    assert shop.restore().mounts == 2


def test_mounts_of_others_make_room_the_oldest_first(shop: Shop) -> None:
    shop.archives.sizes = {b"large": MAX_MOUNT_BYTES}
    c = CacheMount("/c")
    for mount in (B, A, c):
        shop.world.clock.now += 60
        shop.renew()
        shop.hold(mount, b"large")
        assert shop.save(mount).problems == ()
    shop.renew()
    assert shop.restore(A, B, c).mounts == 2 and shop.key(B) not in shop.builder.held
    many = [CacheMount(f"/{n}") for n in range(MAX_MOUNTS)]
    shop.renew()
    for mount in many:
        shop.hold(mount, b"x")
    assert shop.save(*many).mounts == MAX_MOUNTS
    shop.renew()
    assert shop.restore(A, *many).mounts == MAX_MOUNTS and shop.key(A) not in shop.builder.held


def test_what_is_to_be_fresh_takes_nothing_of_another_freshness(shop: Shop) -> None:
    def at(freshness: str) -> Shop:
        shop.renew(freshness=freshness)
        return shop

    at("")
    shop.hold(A, b"plain")
    shop.hold(B, b"plain too")
    shop.save()
    assert (restored := at("1").restore()).end is MountsEnd.ABSENT and restored.problems == ()
    shop.hold(A, b"first")
    assert shop.save().mounts == 1  # and nothing of what is not as fresh is carried over
    assert at("1").restore().mounts == 1 and shop.builder.held == {shop.key(A): b"first"}
    assert at("2").restore().end is MountsEnd.ABSENT
    assert at("").restore().mounts == 1
    shop.hold(A, b"first")
    assert at("2").restore().end is MountsEnd.ABSENT
    shop.hold(A, b"first")
    assert shop.save().end is MountsEnd.SAVED  # the same content, and fresh for all that
    assert at("2").restore().mounts == 1


def test_freshness_that_nobody_noted_is_not_fresh(shop: Shop) -> None:
    manifest = forms.formed([], {"dev.lian.cache.freshness": "1"})
    assert is_fresh(manifest, "1") and is_fresh(manifest, "") and not is_fresh(manifest, "2")
    assert not is_fresh(forms.formed([], {}), "1") and is_fresh(forms.formed([], {}), "")


def test_a_session_takes_cis_where_its_own_are_not_fresh(shop: Shop) -> None:
    shop.renew(freshness="2")
    shop.hold(A, b"ci")
    shop.save()
    shop.renew(Session("anna"), freshness="1")
    shop.hold(A, b"anna")
    shop.save()
    shop.renew(Session("anna"), freshness="2")
    assert shop.restore().reference == f"{CI}:linux-amd64.mounts" and shop.builder.held[shop.key(A)] == b"ci"


def test_what_is_left_out_is_counted(shop: Shop) -> None:
    shop.archives.dropped = {b"one": 2, b"other": 3}
    shop.hold(A, b"one")
    shop.hold(B, b"other")
    assert shop.save().dropped == 5 and shop.restore().dropped == 0
    assert shop.save().dropped == 5  # also where nothing has changed


def test_what_is_left_out_is_shown(shop: Shop) -> None:
    def told(dropped: int) -> str:
        out = io.StringIO()
        moved = MountsMoved(MountsEnd.SAVED, "r/x:y", 1, 5, 1.0, dropped=dropped)
        story("linux/amd64", CacheUse(CacheMode.MAX, mounts=MountUse(MountsMoved(), moved)), Writer(out))
        return out.getvalue()

    assert "1,234 left out" in told(1234) and "left out" not in told(0)


@pytest.mark.parametrize("schema", ["outcome", "story"])
def test_the_schemas_know_it(schema: str) -> None:
    document = json.loads((Path(__file__).parents[2] / f"schemas/json/{schema}.json").read_text("utf-8"))
    moved = document["$defs"]["mounts_moved"]
    assert set(moved["required"]) == set(moved["properties"]) == set(MountsMoved().to_json())


def test_only_steps_with_mounts_count() -> None:
    other = Built(None, 1.0, (StepRun("[1/1] RUN x", False, 1.0),))
    assert ran(RAN) and ran((other, *RAN)) and not ran((other,)) and not ran(CACHED) and not ran(())
