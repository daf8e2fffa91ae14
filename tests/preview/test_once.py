"""What merging one commit into another would build, and why."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.cli.views.reasons import sentence
from reconciler.model.desired import Origin, Unclear
from reconciler.model.digest import Digest
from reconciler.model.plan import Action, FileChange, FileStatus, Moved, Reason, ReasonCode
from reconciler.model.problem import LianError, Problem
from reconciler.model.reference import Reference
from reconciler.plan.causes import grouped
from reconciler.plan.select import Selection
from reconciler.ports.bundle import Previewing
from reconciler.preview.once import preview_once
from reconciler.reconcile import Options, reconcile_once
from tests.commits import Commit, artifact
from tests.fakes import FakeSource, World, image, problem

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.apply.work import Work
    from reconciler.model.desired import Desired, SentFolder
    from reconciler.model.plan import Plan
    from reconciler.model.tree import Entry

URL = "https://git.example.org/site.git"
FILES = {
    "w/base/Dockerfile": b"FROM scratch\nCOPY . /\n",
    "w/base/a": b"1",
    "w/child/Dockerfile": b"FROM base\n",
    "w/other/Dockerfile": b"FROM scratch\nCOPY . /\n",
    "w/other/a": b"1",
}
BASE = artifact("w/base")
CHILD = artifact("w/child", contexts={"base": "artifact:w/base"})
OTHER = artifact("w/other")
MAIN = Commit((BASE, CHILD, OTHER), FILES)
CHANGED = MAIN.changed(files={"w/base/a": b"2", "w/base/new": b"1"})
CHILD_CHANGED = MAIN.changed(files={"w/child/Dockerfile": b"FROM base\nLABEL a=b\n"})
THREE = b"FROM base\nCOPY --from=sick / /\nCOPY --from=sicker / /\n"


class Elsewhere(FakeSource):
    """Whose contexts are from another repository, at a commit that moves with its own."""

    async def load(self) -> Desired:
        desired = await super().load()
        wanted = {}
        for name, one in desired.wanted.items():
            assert one.materials is not None
            context = replace(one.materials.context, origin=Origin(URL, "main", self.commit.revision))
            wanted[name] = replace(one, materials=replace(one.materials, context=context))
        return replace(desired, wanted=wanted)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(MAIN, tmp_path)


def previewed(
    world: World, head: Commit, *only: str, builds: int | None = None, reading: type[FakeSource] = FakeSource
) -> Work:
    """Of merging `head` into the world's commit."""
    return asyncio.run(preview(world, head, *only, builds=builds, reading=reading))


async def preview(
    world: World, head: Commit, *only: str, builds: int | None = None, reading: type[FakeSource] = FakeSource
) -> Work:
    base = world.source.commit
    ports = Previewing(
        source=reading(head, world.points),
        registry=world.registry,
        inventory=world.registry,
        clock=world.clock,
        memory=world.memory,
        revisions=world.revisions,
        base="main",
        head="topic",
        before=lambda: reading(base, world.points),
    )
    return await preview_once(ports, Options(Selection(only), max_builds=builds))


def applied(world: World) -> None:
    asyncio.run(reconcile_once(world.ports(), Options()))


def told(plan: Plan) -> dict[str, tuple[Action, list[ReasonCode]]]:
    return {c.artifact.artifact: (c.action, [reason.code for reason in c.reasons]) for c in plan.changes}


def test_what_is_changed_and_what_stands_on_it(world: World) -> None:
    applied(world)
    plan = previewed(world, CHANGED).plan
    assert told(plan) == {
        "base": (Action.BUILD, [ReasonCode.CONTEXT_CHANGED]),
        "child": (Action.BUILD, [ReasonCode.PARENT_CHANGED]),
    }
    files = plan.changes[0].reasons[0].files
    assert files == (FileChange("w/base/a", FileStatus.MODIFIED), FileChange("w/base/new", FileStatus.ADDED))
    assert plan.changes[0].reasons[0].commit == CHANGED.revision
    assert plan.merge is not None
    assert (plan.merge.base, plan.merge.head, plan.revision) == (MAIN.revision, CHANGED.revision, CHANGED.revision)


@pytest.mark.parametrize("is_there", [True, False])
def test_what_is_read_from_another_repository_has_both_commits(world: World, is_there: bool) -> None:
    """Those of the two revisions, whatever was built last; and its files are not looked up in this repo's history."""
    if is_there:
        applied(world)
    plan = previewed(world, CHANGED, reading=Elsewhere).plan
    reason = next(change for change in plan.changes if change.artifact == BASE.name).reasons[0]
    assert (reason.code, reason.origin) == (
        ReasonCode.CONTEXT_CHANGED,
        Moved(URL, "main", MAIN.revision, CHANGED.revision),
    )
    assert [file.path for file in reason.files] == ["w/base/a", "w/base/new"]
    assert reason.commit is None


def test_the_reasons_are_the_merges_whatever_was_built_last(world: World) -> None:
    """Nothing was built yet, or another commit was: what the merge changes is told all the same, and first."""
    assert told(previewed(world, CHANGED).plan)["base"][1] == [ReasonCode.CONTEXT_CHANGED, ReasonCode.ABSENT]
    world.source.commit = MAIN.changed(files={"w/base/b": b"1"})
    applied(world)
    world.source.commit = MAIN
    (reason,) = previewed(world, CHANGED).plan.changes[0].reasons
    assert [file.path for file in reason.files] == ["w/base/a", "w/base/new"]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [(604_800, 2_592_000, ("7d", "30d")), (604_800, None, ("7d", None)), (None, 5_400, (None, "90m"))],
)
@pytest.mark.parametrize("is_there", [True, False])
def test_another_max_age_is_told_by_its_length(
    world: World, before: int | None, after: int | None, told: tuple[str, str], *, is_there: bool
) -> None:
    """Which windows the two are in decides nothing: an old image would be of another one anyway."""
    base = replace(BASE, max_age=before)
    world.source.commit = MAIN.changed(artifacts=(base, CHILD, OTHER))
    if is_there:
        applied(world)
    head = world.source.commit.changed(artifacts=(replace(base, max_age=after), CHILD, OTHER))
    reason, *rest = previewed(world, head, "w/base").plan.changes[0].reasons
    assert (reason.code, reason.subject, reason.old, reason.new) == (ReasonCode.MAX_AGE_CHANGED, "max_age", *told)
    assert [each.code for each in rest] == ([] if is_there else [ReasonCode.ABSENT])


def test_bases_are_told_by_what_they_are_and_never_by_a_digest_that_nobody_has(world: World) -> None:
    """Another base, both of which answer; a base that the base's own registry does not tell of."""
    os, rt = (Reference.parse(f"registry.example:5000/bases/{name}:1") for name in ("os", "rt"))
    for reference in (os, rt):
        config = str(reference).encode()
        world.registry.blobs[reference.repository, Digest.of(config)] = config
        world.registry.put(reference.repository, manifest := image(config))
        world.registry.tags[reference.repository, "1"] = manifest.digest
    on = MAIN.changed(files={"w/other/Dockerfile": f"FROM {os}\n".encode()})
    world.source.commit = on
    head = on.changed(files={"w/other/Dockerfile": f"FROM {rt}\n".encode()})
    digests = {ref: str(world.registry.tags[ref.repository, "1"]) for ref in (os, rt)}

    def moved() -> dict[str | None, tuple[str | None, str | None]]:
        (change,) = previewed(world, head).plan.changes
        assert not any("0" * 12 in f"{reason.old} {reason.new}" for reason in change.reasons)
        return {r.subject: (r.old, r.new) for r in change.reasons if r.code is ReasonCode.BASE_MOVED}

    assert moved() == {str(os): (digests[os], None), str(rt): (None, digests[rt])}
    del world.registry.tags[os.repository, "1"]
    assert moved() == {str(os): (None, None), str(rt): (None, digests[rt])}
    assert sentence(Reason(ReasonCode.BASE_MOVED, subject=str(os))) == f"base {os} changed"


def test_another_parent_is_told_by_its_name(world: World) -> None:
    head = MAIN.changed(artifacts=(BASE, artifact("w/child", contexts={"base": "artifact:w/other"}), OTHER))
    (change,) = previewed(world, head).plan.changes
    assert change.reasons[0] == Reason(ReasonCode.NAMED_CONTEXT_CHANGED, "w/base", "w/other", subject="base")
    alone = artifact("w/child", contexts={"base": "w/other"})
    (change,) = previewed(world, MAIN.changed(artifacts=(BASE, alone, OTHER))).plan.changes
    (reason,) = change.reasons[:1]
    assert (reason.code, reason.old, reason.subject) == (ReasonCode.NAMED_CONTEXT_CHANGED, "w/base", "base")
    assert reason.new is not None
    assert set(reason.new) != {"0"}


def test_what_was_built_before_is_not_built_again(world: World) -> None:
    world.source.commit = CHANGED
    applied(world)
    world.source.commit = MAIN.changed()
    applied(world)
    plan = previewed(world, CHANGED).plan
    assert {change.action for change in plan.changes} == {Action.RETAG}


def test_where_files_cannot_be_listed_nothing_reads_on_when_that_is_told(world: World) -> None:
    asked: list[SentFolder] = []
    reading: list[SentFolder] = []

    class Halting(FakeSource):
        """Whose first listing fails while the others are still being read."""

        async def listing(self, folder: SentFolder) -> tuple[Entry, ...]:
            asked.append(folder)
            if len(asked) == 1:
                raise problem("git-broken")
            reading.append(folder)
            for _ in range(5):
                await asyncio.sleep(0)
            reading.remove(folder)
            return await super().listing(folder)

    async def until_told() -> list[SentFolder]:
        with pytest.raises(LianError, match="git-broken"):
            await preview(world, CHANGED.changed(files={"w/other/a": b"2"}), reading=Halting)
        return list(reading)

    assert asyncio.run(until_told()) == []
    assert len(asked) == 3


def test_what_drifts_without_the_merge_is_a_note(world: World) -> None:
    work = previewed(world, CHILD_CHANGED)
    assert set(told(work.plan)) == {"child"}
    assert work.notes == ("1 artifact that this stands on drifts at main already, and comes first: w/base",)


def test_several_that_drift_are_told_as_several(world: World) -> None:
    top = artifact("w/top", contexts={"base": "artifact:w/child"})
    files = {**FILES, "w/top/Dockerfile": b"FROM base\n"}
    world.source.commit = Commit((BASE, CHILD, top), files)
    work = previewed(world, world.source.commit.changed(files={"w/top/Dockerfile": b"FROM base\nLABEL a=b\n"}))
    assert work.notes == ("2 artifacts that this stands on drift at main already, and come first: w/base, w/child",)


def test_what_is_held_does_not_come_first(world: World) -> None:
    """It holds what stands on it, in a pass after the merge as in one before."""
    applied(world)
    world.registry.unreadable.add("latest")
    (note,) = previewed(world, CHILD_CHANGED).notes
    assert note == "1 artifact that this stands on is held at main already: w/base"


def test_held_ones_are_told_apart_from_those_that_drift(world: World) -> None:
    child = artifact("w/child", contexts={name: f"artifact:w/{name}" for name in ("base", "sick", "sicker")})
    sick = (artifact(name, tags=("sick",)) for name in ("w/sick", "w/sicker"))
    world.source.commit = Commit((BASE, *sick, child), {**FILES, "w/child/Dockerfile": THREE})
    world.registry.unreadable.add("sick")
    head = world.source.commit.changed(files={"w/child/Dockerfile": THREE + b"LABEL a=b\n"})
    assert previewed(world, head).notes == (
        "1 artifact that this stands on drifts at main already, and comes first: w/base",
        "2 artifacts that this stands on are held at main already: w/sick, w/sicker",
    )


def test_a_limit_is_spent_on_what_is_told(world: World) -> None:
    """The parent drifts already, and is not shown."""
    head = MAIN.changed(files={"w/child/Dockerfile": b"FROM base\nLABEL a=b\n", "w/other/a": b"2"})
    work = previewed(world, head, builds=1)
    assert [action for action, _ in told(work.plan).values()] == [Action.BUILD, Action.HOLD]
    assert work.notes == ("1 artifact that this stands on drifts at main already, and comes first: w/base",)
    assert [change.action for change in previewed(world, head, builds=2).plan.changes] == [Action.BUILD] * 2


def test_a_merge_that_builds_nothing_says_so(world: World) -> None:
    plan = previewed(world, MAIN.changed()).plan
    assert (plan.changes, plan.orphans, plan.drift) == ((), (), False)


def test_what_is_renamed_and_keeps_its_image_is_not_left_over(world: World) -> None:
    renamed = artifact("w/another", image="w/other", tags=OTHER.tags, context=OTHER.context)
    assert previewed(world, MAIN.changed(artifacts=(BASE, CHILD, renamed))).plan.orphans == ()


def test_what_is_taken_out_is_named(world: World) -> None:
    plan = previewed(world, MAIN.changed(artifacts=(BASE, CHILD))).plan
    assert [(str(c.artifact), c.action) for c in plan.orphans] == [("w/other", Action.NONE)]
    assert not plan.drift


SYNTAX = Problem("nickel-syntax", "Nickel cannot read this", "directives/w.ncl", 7, 3)


@pytest.mark.parametrize("file", ["directives/w.ncl", "directives/renamed.ncl"])
def test_what_cannot_be_read_is_not_taken_out(world: World, file: str) -> None:
    """Also where it may have been moved to what cannot be read."""
    applied(world)
    wrong = replace(SYNTAX, file=file)
    head = MAIN.changed(artifacts=(CHILD,), problems=(wrong,), unclear=Unclear({file: wrong}))
    plan = previewed(world, head).plan
    assert (plan.orphans, plan.drift, plan.problems) == ((), False, (wrong,))
    assert {(c.artifact.artifact, c.action, c.holds[0].code, c.holds[0].file) for c in plan.changes} == {
        ("base", Action.HOLD, "directive-unread", file),
        ("child", Action.HOLD, "parent-unread", file),
        ("other", Action.HOLD, "directive-unread", file),
    }
    assert {(group.action, len(group.own), len(group.behind)) for group in grouped(plan)} == {(Action.HOLD, 2, 1)}
    assert [change.artifact for change in previewed(world, head, "w/other").plan.changes] == [OTHER.name]


def test_what_is_declared_wrongly_is_not_taken_out(world: World) -> None:
    wrong = Problem("directive-invalid", "there is no such tier", "directives/w.ncl", 5, 9, artifact="w/base")
    head = MAIN.changed(artifacts=(CHILD,), problems=(wrong,), unclear=Unclear(artifacts={BASE.name: wrong}))
    plan = previewed(world, head).plan
    assert {c.artifact.artifact: (c.action, c.holds) for c in plan.changes} == {
        "base": (Action.HOLD, (wrong,)),
        "child": (Action.HOLD, (wrong,)),
    }
    assert [change.artifact for change in plan.orphans] == [OTHER.name]


def test_what_the_base_cannot_read_either_is_no_ones_change(world: World) -> None:
    unclear = Unclear({"directives/w.ncl": SYNTAX})
    world.source.commit = MAIN.changed(artifacts=(CHILD, OTHER), problems=(SYNTAX,), unclear=unclear)
    plan = previewed(world, world.source.commit.changed(files={"w/other/a": b"2"})).plan
    assert set(told(plan)) == {"other"}
    assert plan.problems == (SYNTAX,)


def test_globs_choose_of_what_is_changed(world: World) -> None:
    plan = previewed(world, CHANGED.changed(files={"w/other/a": b"2"}), "w/other").plan
    assert set(told(plan)) == {"other"}


def test_an_unreadable_registry_holds_and_the_reasons_stand(world: World) -> None:
    world.registry.unreadable.add("latest")
    assert told(previewed(world, CHANGED).plan)["base"] == (
        Action.HOLD,
        [ReasonCode.CONTEXT_CHANGED, ReasonCode.UNKNOWN],
    )
