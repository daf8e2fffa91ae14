"""`lian lock` from a commit to a file, with everyone who is asked standing in memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.locking.once import Options, check, lock_once
from reconciler.model.desired import Fetched
from reconciler.model.digest import Digest
from reconciler.model.lock import Lock
from reconciler.model.lock_report import LockAction, LockReport
from reconciler.model.moving import Part, PartKind
from reconciler.model.observed import ABSENT, Found, Unknown
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.reference import Reference
from reconciler.ports.bundle import Locking
from tests.commits import Commit, artifact

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from reconciler.model.desired import Desired
    from reconciler.model.observed import Sighting

DOWN = Problem("registry-unreachable", "no answer", next=Next.RETRY)
NAMES = ["alpine:3", "node:22", "reg.example/team/tools:1", "https://files.example/x", "https://files.example/y"]
GIT = Part(PartKind.GIT, "https://git.example/r.git", "main")


def part(name: str) -> Part:
    return Part(PartKind.URL, name) if "://" in name else Part(PartKind.IMAGE, str(Reference.parse(name)))


def digest(text: str) -> Digest:
    return Digest.of(text.encode())


@dataclass
class World:
    """What everything is now, and the two locks."""

    desired: Desired
    now: dict[Part, str | Problem | None] = field(default_factory=dict)
    """Part -> digest or commit; a problem where nobody can tell, None where it is certainly not there."""
    tree: Lock | None = None
    tree_problem: Problem | None = None
    in_commit: Lock | None = None
    asked: list[Part] = field(default_factory=list)
    written: int = 0
    kept: dict[tuple[str, str], str] | None = None
    """At which commits git contexts are read; None while nobody has said."""

    @property
    def ports(self) -> Locking:
        mine: Any = self
        return Locking(mine, mine, mine, mine, mine)

    async def load(self) -> Desired:
        return self.desired

    async def heads(self, references: Collection[Reference]) -> Mapping[Reference, Sighting]:
        assert len({reference.repository for reference in references}) == 1
        return {reference: self._head(Part.image(reference)) for reference in references}

    def _head(self, image: Part) -> Sighting:
        self.asked.append(image)
        match self.now[image]:
            case None:
                return ABSENT
            case Problem() as problem:
                return Unknown(problem)
            case text:
                return Found(Digest.parse(text))

    async def digest(self, url: str) -> Digest:
        return Digest.parse(self._told(Part(PartKind.URL, url)))

    async def commits(self, places: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str | Problem]:
        return {(url, rev): self._told(Part(PartKind.GIT, url, rev)) for url, rev in places}

    def _told(self, other: Part) -> str:
        self.asked.append(other)
        found = self.now[other]
        if isinstance(found, str):
            return found
        raise LianError(found or Problem("url-missing", "it is not there"))

    def keep(self, pins: Mapping[tuple[str, str], str]) -> None:
        self.kept = dict(pins)

    async def committed(self) -> Lock | None:
        return self.in_commit

    async def read(self) -> Lock | None:
        if self.tree_problem:
            raise LianError(self.tree_problem)
        return self.tree

    async def write(self, lock: Lock) -> bool:
        if self.tree is not None and str(self.tree) == str(lock):
            return False
        self.tree, self.written = lock, self.written + 1
        return True


def world(uses: Mapping[str, Collection[str]], **more: Any) -> World:
    """`uses`: artifact -> what its Dockerfile names."""
    commit = Commit(tuple(artifact(name) for name in uses))
    files = {f"{name}/Dockerfile": _dockerfile(names) for name, names in uses.items()}
    desired = commit.changed(files).desired
    wanted = dict(desired.wanted)
    for name, names in uses.items():
        one = next(w for n, w in wanted.items() if str(n) == name)
        assert one.materials is not None
        fetched = tuple(Fetched(url, part(url), 1) for url in names if "://" in url)
        fetched += tuple(Fetched(str(GIT), GIT, 2) for name in names if name == "git")
        needs = {platform: replace(need, fetched=fetched) for platform, need in one.materials.needs.items()}
        wanted[one.artifact.name] = replace(one, materials=replace(one.materials, needs=needs))
    now = {part(name): str(digest(name)) for name in NAMES} | {GIT: "a" * 40}
    return World(replace(desired, wanted=wanted), {**now, **more.pop("now", {})}, **more)


def _dockerfile(names: Collection[str]) -> bytes:
    return "".join(f"FROM {name}\n" for name in ("scratch", *names) if "://" not in name and name != "git").encode()


def lock(made: World, *names: str) -> LockReport:
    """`lian lock`, or with names `lian lock --update`."""
    return asyncio.run(lock_once(made.ports, Options(names or None)))


def update_all(made: World) -> LockReport:
    return asyncio.run(lock_once(made.ports, Options(())))


def found(report: LockReport) -> list[tuple[str, str]]:
    return [(change.part.name, change.action.value) for change in report.changes]


def test_what_is_used_gets_an_entry_and_who_uses_it_is_told() -> None:
    made = world({"shop/api": NAMES, "shop/web": ["alpine:3"]})
    report = lock(made)
    assert report.written
    assert made.tree == Lock.of({part(name): str(digest(name)) for name in NAMES})
    assert {change.action for change in report.changes} == {LockAction.ADDED}
    users = {change.part.name: [str(name) for name in change.artifacts] for change in report.changes}
    assert users["docker.io/library/alpine:3"] == ["shop/api", "shop/web"]
    assert users["https://files.example/x"] == ["shop/api"]


def test_entries_that_are_there_stay_and_nobody_is_asked_for_them() -> None:
    made = world({"shop/api": ["alpine:3", "node:22"]}, tree=Lock({Reference.parse("alpine:3"): digest("old")}))
    report = lock(made)
    assert made.asked == [part("node:22")]
    assert (report.kept, found(report)) == (1, [("docker.io/library/node:22", "added")])
    assert made.tree is not None
    assert made.tree.images[Reference.parse("alpine:3")] == digest("old")
    again = lock(made)
    assert (again.written, again.changes, made.written) == (False, (), 1)


def test_what_nothing_uses_goes() -> None:
    made = world({"shop/api": []}, tree=Lock({Reference.parse("alpine:3"): digest("old")}))
    assert found(lock(made)) == [("docker.io/library/alpine:3", "removed")]
    assert made.tree == Lock()


def test_nothing_goes_while_it_is_not_known_what_all_use() -> None:
    held = world({"shop/api": []}, tree=Lock({Reference.parse("alpine:3"): digest("old")}))
    wanted = dict(held.desired.wanted)
    (name,) = wanted
    wanted[name] = replace(wanted[name], materials=None).held(Problem("x", "y"))
    held.desired = replace(held.desired, wanted=wanted)
    report = lock(held)
    assert (report.changes, report.kept) == ((), 1)
    assert any("shop/api" in note for note in report.notes)
    wrong = world({"shop/api": []}, tree=held.tree)
    wrong.desired = replace(wrong.desired, problems=(Problem("x", "y"),))
    assert lock(wrong).changes == ()


def test_an_update_moves_what_it_names_and_nothing_else() -> None:
    old = Lock({Reference.parse(name): digest("old") for name in NAMES[:3]}, urls={NAMES[3]: digest("old")})
    for glob, moved in {
        "alpine": ["docker.io/library/alpine:3"],
        "alpine:3": ["docker.io/library/alpine:3"],
        "reg.example/*": ["reg.example/team/tools:1"],
        "https://*": ["https://files.example/x"],
        "*": [part(name).name for name in NAMES[:4]],
    }.items():
        made = world({"shop/api": NAMES[:4]}, tree=old)
        report = lock(made, glob)
        assert [change.part.name for change in report.changes] == moved
        assert all(c.action is LockAction.MOVED and c.old == str(digest("old")) for c in report.changes)
    assert len(update_all(world({"shop/api": NAMES[:4]}, tree=old)).changes) == 4


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("alpin", "did you mean docker.io/library/alpine:3?"),
        ("tool", "did you mean reg.example/team/tools:1?"),
        ("team/tools", "did you mean reg.example/team/tools:1?"),
        ("tools:1", "did you mean reg.example/team/tools:1?"),
        ("qqq", "lian.lock and `lian lock --check` name them all"),
    ],
)
def test_a_name_that_names_nothing_changes_nothing(typed: str, meant: str) -> None:
    made = world({"shop/api": NAMES})
    with pytest.raises(LianError) as raised:
        lock(made, typed, "alpine")
    (problem,) = raised.value.problems
    assert (problem.code, problem.hint) == ("lock-name-unknown", meant)
    assert (made.asked, made.tree) == ([], None)


def test_nothing_is_written_unless_all_is_known() -> None:
    made = world(
        {"shop/api": NAMES},
        now={part("alpine:3"): DOWN, part("node:22"): None, part(NAMES[3]): Problem("url-missing", "gone")},
    )
    report = lock(made)
    assert (made.tree, report.written, report.changes) == (None, False, ())
    assert [problem.code for problem in report.unresolved] == ["registry-unreachable", "base-missing", "url-missing"]
    assert {problem.artifact for problem in report.unresolved} == {"shop/api"}
    assert len(made.asked) == len(NAMES)


def test_a_branch_is_pinned_to_its_commit() -> None:
    made = world({"shop/api": ["git", "alpine:3"]})
    assert [change.new for change in lock(made).changes] == ["a" * 40, str(digest("alpine:3"))]
    assert made.tree is not None
    assert made.tree.commit_of(GIT.name, GIT.rev) == "a" * 40


def test_a_repository_is_read_where_it_is_pinned_unless_that_moves() -> None:
    pins = Lock(git={(GIT.name, GIT.rev): "b" * 40})
    for update, kept in ((None, pins.git), ((), {}), (("*r.git#main",), {}), (("alpine",), pins.git)):
        made = world({"shop/api": ["git", "alpine:3"]}, tree=pins)
        asyncio.run(lock_once(made.ports, Options(update)))
        assert made.kept == kept
    made = world({"shop/api": ["git"]}, in_commit=pins)
    asyncio.run(check(made.ports))
    assert made.kept is None


def test_a_check_asks_nobody_and_looks_at_the_commit() -> None:
    made = world({"shop/api": NAMES[:2]}, in_commit=Lock({Reference.parse("debian:12"): digest("old")}))
    made.tree = Lock({Reference.parse("alpine:3"): digest("now")})
    report = asyncio.run(check(made.ports))
    assert found(report) == [
        ("docker.io/library/alpine:3", "lacking"),
        ("docker.io/library/node:22", "lacking"),
        ("docker.io/library/debian:12", "unused"),
    ]
    assert (made.asked, report.written, report.mended) == ([], False, False)


def test_what_only_has_to_be_committed_is_known() -> None:
    made = world({"shop/api": NAMES[:2]}, in_commit=Lock({Reference.parse("debian:12"): digest("old")}))
    lock(made)
    report = asyncio.run(check(made.ports))
    assert (len(report.changes), report.mended) == (3, True)
    made.in_commit = made.tree
    report = asyncio.run(check(made.ports))
    assert (report.changes, report.mended) == ((), False)


def test_a_check_needs_no_working_tree() -> None:
    made = world({"shop/api": NAMES[:2]})
    made.tree_problem = Problem("lock-unwritable", "there is no working tree")
    report = asyncio.run(check(made.ports))
    assert (len(report.changes), report.mended) == (2, False)


def test_nothing_that_moves_needs_no_lock() -> None:
    made = world({"shop/api": []})
    report = lock(made)
    assert (report.written, report.kept, made.tree) == (False, 0, None)


@settings(max_examples=60)
@given(
    st.dictionaries(st.sampled_from(["shop/a", "shop/b"]), st.sets(st.sampled_from(NAMES)), min_size=1),
    st.sets(st.sampled_from([*NAMES, "debian:12"])),
    st.booleans(),
)
def test_afterwards_the_lock_has_exactly_what_is_used(
    uses: dict[str, set[str]], before: set[str], update: bool
) -> None:
    made = world(uses, tree=Lock.of({part(name): str(digest("old")) for name in before}))
    first = update_all(made) if update else lock(made)
    assert made.tree is not None
    used = {part(name) for names in uses.values() for name in names}
    assert set(made.tree.pins) == used
    stays = set() if update else {part(name) for name in before}
    assert {p for p, pin in made.tree.pins.items() if pin == str(digest("old"))} == used & stays
    assert first.kept + len([c for c in first.changes if c.action is not LockAction.REMOVED]) == len(used)
    made.asked.clear()
    assert lock(made).changes == ()
    assert made.asked == []
    made.in_commit = made.tree
    assert asyncio.run(check(made.ports)).changes == ()


class Broken(World):
    """Its registry fails as no registry should, while others still answer."""

    answered = 0

    async def heads(self, references: Collection[Reference]) -> Mapping[Reference, Sighting]:
        raise LianError(DOWN)

    async def digest(self, url: str) -> Digest:
        for _ in range(9):
            await asyncio.sleep(0)
        self.answered += 1
        return await super().digest(url)


def test_nobody_is_still_asked_when_an_error_is_told() -> None:
    usual = world({"shop/api": NAMES})
    made = Broken(usual.desired, usual.now)
    with pytest.raises(LianError):
        lock(made)
    assert made.answered == 2
