"""Which artifacts two commits ask for differently."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.artifact import Place
from reconciler.model.desired import Origin
from reconciler.model.name import ArtifactName
from reconciler.plan.touched import dropped, touched
from tests.commits import Commit, artifact

if TYPE_CHECKING:
    from reconciler.model.desired import Desired, Wanted

NAMES = ("w/a", "w/b", "w/c", "w/d")


@st.composite
def commits(draw: st.DrawFn) -> Commit:
    made = []
    for at, name in enumerate(NAMES[: draw(st.integers(0, 4))]):
        parent = draw(st.sampled_from(NAMES[:at])) if at and draw(st.booleans()) else None
        made.append(
            artifact(
                name,
                contexts={"base": f"artifact:{parent}"} if parent else {},
                args={"V": draw(st.sampled_from("12"))},
                tags=(draw(st.sampled_from(["1", "2"])),),
                place=Place("directives/w.ncl", draw(st.integers(1, 9)), 1),
            )
        )
    files = {f"{name}/a": draw(st.sampled_from([b"1", b"2"])) for name in NAMES}
    return Commit(tuple(made), files)


@given(commits(), commits())
def test_exactly_what_differs_and_what_stands_on_it(old: Commit, new: Commit) -> None:
    before, after = old.desired, new.desired
    placed = {n: replace(w.artifact, place=Place("x")) for n, w in before.wanted.items()}

    def own(name: ArtifactName, wanted: Wanted) -> bool:
        was = before.wanted.get(name)
        return was is None or (placed[name], was.materials) != (
            replace(wanted.artifact, place=Place("x")),
            wanted.materials,
        )

    found = touched(before, after)
    for name, wanted in after.wanted.items():
        behind = any(parent in found for parent in wanted.artifact.parents)
        assert (name in found) == (own(name, wanted) or behind)
    assert dropped(before, after) == set(before.wanted) - set(after.wanted)
    assert touched(after, after) == frozenset()


def test_another_commit_of_the_same_content_touches_nothing() -> None:
    made = Commit((artifact("w/a"),), {"w/a/a": b"1"}).desired

    def read_at(commit: str) -> Desired:
        name = ArtifactName.parse("w/a")
        wanted = made.wanted[name]
        assert wanted.materials is not None
        context = replace(wanted.materials.context, origin=Origin("https://git.example/r.git", "main", commit))
        return replace(made, wanted={name: replace(wanted, materials=replace(wanted.materials, context=context))})

    assert touched(read_at("1" * 40), read_at("2" * 40)) == frozenset()
