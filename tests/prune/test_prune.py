"""Whole prunes on fakes: what is kept, what holds, what is refused, and what becomes of a prune that is hindered."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.apply import claim as claims
from reconciler.apply import prune as pruning
from reconciler.model.digest import Digest
from reconciler.model.fleet import UNNAMED
from reconciler.model.manifest import Descriptor
from reconciler.model.manifest import artifact as artifact_manifest
from reconciler.model.observed import Unknown
from reconciler.model.policy import Policy, PrunePolicy
from reconciler.model.problem import LianError, Problem
from reconciler.model.pruning import CLAIM_PREFIX, PRUNING_TAG, Announcement
from reconciler.model.reference import Repository
from reconciler.model.removal import Gone, Kept, Pruned, PruneStatus
from reconciler.model.stock import of_lian
from reconciler.prune.once import prune_once
from reconciler.prune.plan import PruneOptions, plan_prune
from reconciler.reconcile import Options, reconcile_once
from tests.commits import APPLIED_TAG, HOST, Commit, artifact
from tests.fakes import FakeClock, FakeRegistry, World, image, problem
from tests.turns import LoopClock, TurnsLoop

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from reconciler.model.manifest import Manifest
    from reconciler.model.observed import Sighting
    from reconciler.model.reference import Reference
    from reconciler.model.removal import PrunePlan, Removal

DAY = 86_400.0
LITTLE = Policy(prune=PrunePolicy(keep_last=0, min_age=3600))
API, OLD = Repository(HOST, "shop/api"), Repository(HOST, "shop/old")


def files(*names: str) -> dict[str, bytes]:
    return {f"{n}/Dockerfile": b"FROM scratch\n" for n in names} | {f"{n}/app": n.encode() for n in names}


def commit(*names: str, **more: Any) -> Commit:
    return Commit(tuple(artifact(name) for name in names), files(*names), **{"policy": LITTLE, **more})


class Shop:
    """A world with a past: so many passes, then a month."""

    def __init__(self, folder: Path, *commits: Commit) -> None:
        self.world = World(commits[0], folder)
        for each in commits:
            self.world.source.commit = each
            asyncio.run(reconcile_once(self.world.ports(), Options()))
        self.world.clock.now += 30 * DAY

    def plan(self, **options: Any) -> PrunePlan:
        return asyncio.run(plan_prune(self.world.removing(), PruneOptions(**{"allow_most": True, **options})))

    def prune(self, plan: PrunePlan | None = None) -> dict[str, Pruned]:
        async def work() -> tuple[Pruned, ...]:
            ended = await prune_once(self.world.removing(), made)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            return ended

        made = plan or self.plan()
        return {end.repository.path: end for end in asyncio.run(work())}

    def tags(self) -> dict[str, set[str]]:
        """Repository -> its tags, but for content tags."""
        found: dict[str, set[str]] = {}
        for where, tag in self.world.registry.tags:
            if of_lian(tag) or not tag.startswith("lian-"):
                found.setdefault(where.path, set()).add(tag)
        return found

    def push(self, path: str, tag: str) -> Digest:
        """Someone who knows nothing of lian pushes an image."""
        registry, repository, config = self.world.registry, Repository(HOST, path), f"{path}:{tag}".encode()
        registry.blobs[repository, Digest.of(config)] = config
        manifest = image(config)
        registry.put(repository, manifest)
        registry.tags[repository, tag] = manifest.digest
        return manifest.digest


def removal(plan: PrunePlan, path: str) -> Removal:
    return next(r for r in plan.removals if r.repository.path == path)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """shop/old is not wanted any more; shop/api has an outdated image."""
    both = commit("shop/api", "shop/old")
    return Shop(tmp_path, both, both.changed({"shop/api/app": b"2"}, artifacts=both.artifacts[:1]))


def test_exactly_what_nothing_reaches_goes(shop: Shop) -> None:
    foreign = shop.push("shop/api", "theirs")
    plan = shop.plan()
    assert [(r.repository.path, [i.why for i in r.images]) for r in plan.removals] == [
        ("shop/api", [Gone.OUTDATED]),
        ("shop/old", [Gone.ORPHANED]),
    ]
    assert plan.kept == {Kept.WANTED: 1, Kept.FOREIGN: 1}
    assert (plan.images, plan.ours) == (2, 3)
    ends = shop.prune(plan)
    assert {end.status for end in ends.values()} == {PruneStatus.DONE}
    assert shop.tags() == {"shop/api": {"latest", "theirs", APPLIED_TAG}}
    assert (API, foreign) in shop.world.registry.manifests
    assert not shop.plan().images
    assert {end.status for end in shop.prune().values()} == {PruneStatus.NONE}


@pytest.mark.parametrize("fleet", ["acme", UNNAMED])
def test_another_repo_of_the_same_name_is_left_alone_if_that_is_no_name(tmp_path: Path, fleet: str) -> None:
    """Two desired repos that push to one registry, and have not named their fleets (ADR 049)."""
    ours = replace(commit("shop/api", "shop/old"), fleet=fleet)
    shop = Shop(tmp_path, ours, ours.changed({"shop/api/app": b"2"}))
    before = dict(shop.world.registry.tags)
    shop.world.source.commit = replace(commit("umbrella/x"), fleet=fleet, revision="7" * 40, before=("6" * 40,))
    plan = shop.plan()
    if fleet != UNNAMED:
        assert plan.images
        return
    assert not plan.images
    assert [note for note in plan.notes if "does not know" in note]
    shop.prune(plan)
    assert before.items() <= shop.world.registry.tags.items()


def test_a_fleet_without_a_name_prunes_what_its_own_commits_left(tmp_path: Path) -> None:
    both = replace(commit("shop/api", "shop/old"), fleet=UNNAMED)
    shop = Shop(tmp_path, both, both.changed({"shop/api/app": b"2"}, artifacts=both.artifacts[:1]))
    assert (shop.plan().images, shop.plan().notes) == (2, ())
    assert {end.status for end in shop.prune().values()} == {PruneStatus.DONE}


def test_the_pass_after_it_has_nothing_to_do(shop: Shop) -> None:
    shop.prune()
    shop.world.builder.built.clear()
    _, outcome = asyncio.run(reconcile_once(shop.world.ports(), Options()))
    assert [r.status.value for r in outcome.results] == ["none"]


# -- what is kept


def test_what_another_branch_wants_stays_by_its_inputs(shop: Shop) -> None:
    shop.world.revisions.refs["refs/heads/stable"] = replace(commit("shop/api", "shop/old"), revision="b" * 40)
    plan = shop.plan()
    assert plan.images == 0
    assert [(k.revision[:3], k.refs) for k in plan.revisions] == [
        (shop.world.source.commit.revision[:3], ()),
        ("bbb", ("refs/heads/stable",)),
    ]


def test_branches_that_the_policy_leaves_out_do_not_count(shop: Shop) -> None:
    shop.world.revisions.refs["refs/heads/stable"] = replace(commit("shop/api", "shop/old"), revision="b" * 40)
    shop.world.source.commit = replace(
        shop.world.source.commit, policy=Policy(prune=replace(LITTLE.prune, revisions=("refs/tags/*",)))
    )
    assert shop.plan().images == 2


def test_images_that_run_somewhere_stay(shop: Shop) -> None:
    digest = shop.world.tag(OLD, "latest")
    assert digest

    async def in_use() -> frozenset[Digest]:
        return frozenset({digest})

    assert [i.digest for r in shop.plan(in_use=in_use).removals for i in r.images] != [digest]
    assert removal(shop.plan(in_use=in_use), "shop/old").kept == {Kept.IN_USE: 1}


def test_what_was_pushed_without_an_applied_document_is_found_by_its_content_tag(shop: Shop) -> None:
    """A pass that was killed before it wrote the document, of an artifact that is gone since."""
    del shop.world.registry.tags[OLD, APPLIED_TAG]
    del shop.world.registry.tags[OLD, "latest"]
    assert removal(shop.plan(), "shop/old").images


class Watchful(FakeRegistry):
    """Knows whose tags were looked at."""

    listed: set[str]

    async def tags_of(self, repository: Repository) -> Mapping[str, Digest]:
        self.listed.add(repository.path)
        return await super().tags_of(repository)


def test_other_peoples_repositories_are_not_even_looked_into(shop: Shop) -> None:
    for number in range(5):
        shop.push(f"others/app{number}", "latest")
    shop.world.registry.__class__ = Watchful
    watched: Any = shop.world.registry
    watched.listed = set()
    shop.prune()
    assert watched.listed == {"shop/api", "shop/old"}
    assert {path for path in shop.tags() if path.startswith("others/")} == {f"others/app{n}" for n in range(5)}


class Private(FakeRegistry):
    """Lists repositories that this account may not read, or that do not answer."""

    code = "registry-denied"

    async def heads(self, references: Collection[Reference]) -> Mapping[Reference, Sighting]:
        odd = Unknown(Problem(self.code, "planted by the test"))
        return {r: odd if "others/" in r.repository.path else h for r, h in (await super().heads(references)).items()}

    async def all_names(self, repositories: Collection[Repository]) -> Mapping[Repository, tuple[str, ...]]:
        if any("others/" in repository.path for repository in repositories):
            raise problem(self.code)
        return await super().all_names(repositories)


@pytest.mark.parametrize(("code", "goes"), [("registry-denied", True), ("registry-failing", False)])
def test_what_this_account_may_not_read_is_left_alone(shop: Shop, code: str, goes: bool) -> None:
    """What is unknown for another reason might be the fleet's."""
    shop.push("others/app", "latest")
    del shop.world.registry.tags[OLD, APPLIED_TAG]
    shop.world.registry.__class__ = Private
    private: Any = shop.world.registry
    private.code = code
    plan = shop.plan()
    assert bool(plan.images) is goes
    assert {bool(r.problems) for r in plan.removals} == {not goes}
    assert [r.repository.path for r in plan.removals] == (["shop/api", "shop/old"] if goes else ["shop/api"])


def test_a_registry_without_a_catalogue_says_what_is_looked_at(shop: Shop) -> None:
    shop.world.registry.unreadable.add("catalog")
    plan = shop.plan()
    assert [r.repository.path for r in plan.removals] == ["shop/api"]
    assert "does not list its repositories" in plan.notes[0]


def test_what_belongs_to_an_image_goes_with_it_and_nothing_else(shop: Shop) -> None:
    """Signatures of others on our image, and on their own."""
    registry = shop.world.registry
    theirs = shop.push("shop/old", "theirs")
    ours = shop.world.tag(OLD, "latest")
    assert ours
    made = {}
    for digest in (ours, theirs):
        layer = b"signed " + digest.hex.encode()
        subject = Descriptor("application/vnd.oci.image.manifest.v1+json", digest, 1)
        signature = artifact_manifest("application/x-signature", subject, (Descriptor.of("x", layer),), {})
        registry.blobs |= {(OLD, Digest.of(layer)): layer, (OLD, Digest.of(b"{}")): b"{}"}
        registry.put(OLD, signature)
        made[digest] = signature.digest
    shop.prune()
    assert (OLD, made[theirs]) in registry.manifests
    assert (OLD, made[ours]) not in registry.manifests


# -- what holds


def test_an_invalid_branch_holds_everything_and_is_named(shop: Shop) -> None:
    wrong = Problem("directive-invalid", "tags has the wrong type", "directives/shop.ncl", 3, 5, "shop/x")
    odd = replace(commit("shop/api"), revision="c" * 40, problems=(wrong,))
    shop.world.revisions.refs |= {"refs/heads/odd": odd, "refs/tags/odd": odd}
    plan = shop.plan()
    (told,) = plan.problems
    assert (told.code, told.artifact) == ("revision-unread", "shop/x")
    assert "refs/heads/odd (cccccccccccc)" in told.message
    assert told.cause == "directives/shop.ncl:3:5: tags has the wrong type"
    assert "policy.prune.revisions" in (told.hint or "")
    assert plan.removals == ()
    with pytest.raises(LianError):
        shop.prune(plan)


def test_a_branch_that_wants_what_cannot_be_worked_out_holds(shop: Shop) -> None:
    on_base = replace(commit("shop/base"), files={"shop/base/Dockerfile": b"FROM other.example/base:1\n"})
    shop.world.revisions.refs["refs/heads/odd"] = replace(on_base, revision="c" * 40)
    (told,) = shop.plan().problems
    assert (told.code, told.artifact) == ("revision-unread", "shop/base")
    assert "other.example/base:1" in (told.cause or "")


def test_many_problems_of_a_branch_are_counted(shop: Shop) -> None:
    wrong = tuple(Problem("directive-invalid", f"wrong {n}", artifact=f"shop/a{n}") for n in range(9))
    shop.world.revisions.refs["refs/heads/odd"] = replace(commit("shop/api"), revision="c" * 40, problems=wrong)
    assert [p.message for p in shop.plan().problems][-1] == "refs/heads/odd (cccccccccccc) has 6 more problems"


@pytest.mark.parametrize("adopted", [False, True])
def test_a_commit_from_before_lian_wants_nothing(shop: Shop, adopted: bool) -> None:
    """But one with settings and without directives has lost them."""
    none = (Problem("no-directives", "the commit holds no directive"),)
    before = replace(Commit(()), revision="c" * 40, problems=none)
    shop.world.revisions.refs["refs/tags/v0"] = before
    shop.world.revisions.settings = adopted
    assert bool(shop.plan().problems) is adopted


def test_a_repository_that_cannot_be_read_holds_itself_alone(shop: Shop) -> None:
    shop.push("shop/old", "odd")
    shop.world.registry.unreadable.add("odd")
    plan = shop.plan()
    assert [p.code for p in removal(plan, "shop/old").problems] == ["registry-down"]
    ends = shop.prune(plan)
    assert {path: end.status for path, end in ends.items()} == {
        "shop/api": PruneStatus.DONE,
        "shop/old": PruneStatus.HELD,
    }


@pytest.mark.parametrize("point", ["manifest", "referrers", "blob"])
def test_what_cannot_be_looked_into_holds_itself(shop: Shop, point: str) -> None:
    shop.world.points.faults[point] = problem("registry-down")
    assert {bool(r.problems) for r in shop.plan().removals} == {True}


def test_a_registry_that_does_not_answer_holds_what_is_on_it(shop: Shop) -> None:
    shop.world.points.faults["repositories"] = problem("registry-down")
    assert [(r.repository.path, [p.code for p in r.problems]) for r in shop.plan().removals] == [
        ("shop/api", ["registry-down"])
    ]


def test_a_manifest_that_is_none_holds(shop: Shop) -> None:
    registry = shop.world.registry
    registry.tags[OLD, "odd"] = shop.push("shop/old", "odd")
    broken = replace(registry.manifests[OLD, registry.tags[OLD, "odd"]], data=b'{"manifests":{}}')
    registry.manifests[OLD, registry.tags[OLD, "odd"]] = broken
    assert [p.code for p in removal(shop.plan(), "shop/old").problems] == ["manifest-unreadable"]


def test_most_at_once_is_refused_unless_it_is_wanted(shop: Shop) -> None:
    plan = shop.plan(allow_most=False)
    assert [p.code for p in plan.problems] == ["prune-most"]
    assert plan.problems[0].message == "2 of the 3 images of this fleet would go at once"
    assert plan.images == 2, "it is shown all the same"
    assert shop.plan(allow_most=False, only=("shop/old",)).problems == (), "one of three"


def test_only_the_chosen_repositories_are_pruned(shop: Shop) -> None:
    assert shop.prune(shop.plan(only=("*/old",))).keys() == {"shop/old"}
    assert shop.prune(shop.plan(only=(f"{HOST}/shop/api",))).keys() == {"shop/api"}
    with pytest.raises(LianError) as error:
        shop.plan(only=("nowhere/*",))
    assert [p.code for p in error.value.problems] == ["selection-empty"]


@pytest.mark.parametrize("moved", ["head", "branch"])
def test_a_repo_that_has_moved_since_is_planned_again(shop: Shop, moved: str) -> None:
    plan = shop.plan()
    before = dict(shop.world.registry.tags)
    if moved == "head":
        shop.world.source.commit = shop.world.source.commit.changed({"shop/api/app": b"3"})
    else:
        shop.world.revisions.refs["refs/heads/new"] = replace(commit("shop/old"), revision="b" * 40)
    with pytest.raises(LianError) as error:
        shop.prune(plan)
    assert [p.code for p in error.value.problems] == ["revisions-moved"]
    assert shop.world.registry.tags == before


# -- what goes wrong


def test_a_registry_that_keeps_everything_says_so_once_and_nothing_is_written(shop: Shop) -> None:
    plan = shop.plan()
    before = (dict(shop.world.registry.tags), dict(shop.world.registry.manifests))
    shop.world.points.faults["delete"] = problem("registry-refused", "nothing may be deleted")
    ends = shop.prune(plan)
    assert {end.status for end in ends.values()} == {PruneStatus.FAILED}
    assert len({p for end in ends.values() for p in end.problems}) == 1
    assert (shop.world.registry.tags, shop.world.registry.manifests) == before


class Refusing(FakeRegistry):
    """Does not give one manifest away, or has an error there."""

    kept: Digest
    error: LianError

    async def delete(self, repository: Repository, digest: Digest) -> None:
        if digest == self.kept:
            raise self.error
        await super().delete(repository, digest)


@pytest.mark.parametrize(("code", "others_go"), [("registry-refused", True), ("registry-down", False)])
def test_one_image_that_cannot_be_removed(tmp_path: Path, code: str, others_go: bool) -> None:
    """What the registry needs for itself stops nobody else; a registry in trouble is left alone, and taken up again."""
    names = [f"shop/a{n}" for n in range(6)]
    made = tuple(artifact(name, image="shop/api", tags=(name[-2:],)) for name in names)
    first = Commit(made, files(*names), policy=LITTLE)
    shop = Shop(tmp_path, first, first.changed(artifacts=made[:1]))
    registry: Any = shop.world.registry
    registry.__class__ = Refusing
    registry.kept, registry.error = registry.tags[API, "a3"], problem(code)
    end = shop.prune()["shop/api"]
    assert end.status is PruneStatus.FAILED
    assert {p.code for p in end.problems} == {code}
    assert len(end.images) == 4
    assert (_dangling(registry) == []) is others_go
    assert registry.kept in {_subject(manifest) for manifest in registry.manifests.values()}, "its record stays too"
    assert "a3" in shop.tags()["shop/api"]
    registry.kept = Digest.of(b"none")
    assert shop.prune()["shop/api"].status is PruneStatus.DONE
    assert shop.tags() == {"shop/api": {"a0", APPLIED_TAG}}
    assert _dangling(registry) == []


def _dangling(registry: FakeRegistry) -> list[Digest]:
    held = {digest for _, digest in registry.manifests}
    subjects = (_subject(manifest) for manifest in registry.manifests.values())
    return [subject for subject in subjects if subject and subject not in held]


def _subject(manifest: Manifest) -> Digest | None:
    subject = manifest.document.get("subject")
    return Digest.parse(subject["digest"]) if subject else None


def test_a_registry_that_keeps_the_tags_of_what_is_deleted(shop: Shop) -> None:
    class Clinging(FakeRegistry):
        """As go-containerregistry's."""

        async def delete(self, repository: Repository, digest: Digest) -> None:
            tags = {key: named for key, named in self.tags.items() if named == digest and key[0] == repository}
            held = self.manifests.get((repository, digest))
            await super().delete(repository, digest)
            self.tags |= tags
            if tags and held:
                self.manifests[repository, digest] = held

        async def untag(self, repository: Repository, tag: str) -> None:
            digest = self.tags.get((repository, tag))
            await super().untag(repository, tag)
            if digest and (repository, digest) not in {(where, named) for (where, _), named in self.tags.items()}:
                self.manifests.pop((repository, digest), None)

    shop.world.registry.__class__ = Clinging
    assert {end.status for end in shop.prune().values()} == {PruneStatus.DONE}
    assert shop.tags() == {"shop/api": {"latest", APPLIED_TAG}}


# -- time


def timed(shop: Shop, work: Any) -> Any:
    """Run it where time passes by waiting."""
    shop.world.clock.__class__ = LoopClock
    with asyncio.Runner(loop_factory=lambda: TurnsLoop(lambda: False)) as runner:
        return runner.run(work)


class Slow(FakeRegistry):
    """Takes so many seconds for a list of tags, and for each deletion."""

    list_seconds = 0.0
    delete_seconds = 0.0
    most = 0.0
    """How far ahead an announcement's end was at most."""
    late = False
    """Something was removed when no announcement stood."""
    clock: FakeClock
    until = 0.0

    async def tags_of(self, repository: Repository) -> Mapping[str, Digest]:
        await asyncio.sleep(self.list_seconds)
        return await super().tags_of(repository)

    async def delete(self, repository: Repository, digest: Digest) -> None:
        await asyncio.sleep(self.delete_seconds)
        held = self.manifests.get((repository, digest))
        own = held is not None and str(held.document.get("artifactType", "")).startswith("application/vnd.lian.prun")
        self.late |= (
            held is not None
            and not own
            and APPLIED_TAG
            not in {tag for (where, tag), named in self.tags.items() if (where, named) == (repository, digest)}
            and self.clock() > self.until
        )
        await super().delete(repository, digest)

    async def publish(self, repository: Repository, manifest: Any, *, tags: Any = (), blobs: Any = None) -> Any:
        if PRUNING_TAG in tags:
            data = next(data for digest, data in blobs.items() if b"until" in data)
            import json

            self.until = json.loads(data)["until"]
            self.most = max(self.most, self.until - self.clock())
        return await super().publish(repository, manifest, tags=tags, blobs=blobs)


@pytest.mark.parametrize(("listing", "deleting"), [(0.0, 3.0), (8.0, 2.0), (14.0, 4.0)])
def test_a_slow_registry_is_pruned_under_one_announcement_after_another(
    tmp_path: Path, listing: float, deleting: float
) -> None:
    names = [f"shop/a{n:02}" for n in range(30)]
    made = tuple(artifact(name, image="shop/api", tags=(name[-3:],)) for name in names)
    first = Commit(made, files(*names), policy=LITTLE)
    shop = Shop(tmp_path, first, first.changed(artifacts=made[:2]))
    plan = shop.plan()
    registry: Any = shop.world.registry
    registry.__class__ = Slow
    registry.list_seconds, registry.delete_seconds, registry.clock = listing, deleting, shop.world.clock
    (end,) = timed(shop, prune_once(shop.world.removing(), plan))
    assert (end.status, len(end.images)) == (PruneStatus.DONE, 28)
    assert registry.most <= 60
    assert not registry.late


def test_a_registry_that_is_too_slow_to_be_pruned_safely_is_left_alone(shop: Shop) -> None:
    plan = shop.plan(only=("shop/old",))
    registry: Any = shop.world.registry
    before = dict(registry.tags)
    registry.__class__ = Slow
    registry.list_seconds, registry.clock = 58.0, shop.world.clock
    (end,) = timed(shop, prune_once(shop.world.removing(), plan))
    assert (end.status, [p.code for p in end.problems]) == (PruneStatus.HELD, ["prune-too-slow"])
    assert {key: digest for key, digest in registry.tags.items() if key[1] != PRUNING_TAG} == before


def claimed(shop: Shop, seconds: float) -> None:
    """Another prune says that it is at work for so long."""
    manifest, blobs = Announcement(until=shop.world.clock() + seconds, fleet="acme", by="other").packed()
    registry = shop.world.registry
    registry.blobs |= {(OLD, digest): data for digest, data in blobs.items()}
    registry.put(OLD, manifest)
    registry.tags[OLD, f"{CLAIM_PREFIX}other"] = manifest.digest


@pytest.mark.parametrize(
    ("seconds", "status"), [(-1.0, PruneStatus.DONE), (40.0, PruneStatus.DONE), (10_000.0, PruneStatus.HELD)]
)
def test_another_prune_is_waited_for(shop: Shop, seconds: float, status: PruneStatus) -> None:
    claimed(shop, seconds)
    plan = shop.plan(only=("shop/old",))
    (end,) = timed(shop, prune_once(shop.world.removing(), plan))
    assert end.status is status
    assert [p.code for p in end.problems] == (["prune-busy"] if status is PruneStatus.HELD else [])
    assert (OLD.path in shop.tags()) is (status is PruneStatus.HELD)


def test_an_announcement_of_another_that_was_left_meanwhile_is_not_thrown_away(shop: Shop) -> None:
    """It is not part of the plan, so it is left for the next."""
    plan = shop.plan(only=("shop/old",))
    manifest, blobs = Announcement({}, frozenset({Digest.of(b"x")}), 0.0, "acme", "other").packed()
    registry = shop.world.registry
    registry.blobs |= {(OLD, digest): data for digest, data in blobs.items()}
    registry.put(OLD, manifest)
    registry.tags[OLD, PRUNING_TAG] = manifest.digest
    end = shop.prune(plan)["shop/old"]
    assert (end.status, [p.code for p in end.problems]) == (PruneStatus.HELD, ["prune-left-over"])
    assert registry.tags[OLD, PRUNING_TAG] == manifest.digest
    assert shop.prune(shop.plan(only=("shop/old",)))["shop/old"].status is PruneStatus.DONE
    assert "shop/old" not in shop.tags()


def test_the_time_that_is_announced_is_what_taggers_wait_for() -> None:
    from reconciler.apply.outlasting import PATIENCE_SECONDS

    assert claims.MOST_SECONDS <= 60 < PATIENCE_SECONDS
    assert claims.MARGIN_SECONDS < claims.LEAST_SECONDS / 2
    assert pruning.AT_ONCE >= 1
