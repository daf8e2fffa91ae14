"""Generated fleets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from tests.commits import AMD64, ARM64, Commit, artifact

if TYPE_CHECKING:
    from collections.abc import Sequence


@st.composite
def fleets(draw: st.DrawFn, roots: Sequence[str] = ("scratch", "alpine")) -> Commit:
    """Up to seven artifacts, each on any of those before it, or on one of these images."""
    artifacts, files = [], {}
    names = draw(st.permutations([f"w{n % 2}/a{n}" for n in range(draw(st.integers(1, 7)))]))
    both = draw(st.booleans())
    for place, name in enumerate(names):
        parents = draw(st.lists(st.sampled_from(names[:place]), unique=True, max_size=2)) if place else []
        platforms = (AMD64, ARM64) if both else (AMD64,)
        contexts = {f"p{n}": f"artifact:{parent}" for n, parent in enumerate(parents)}
        artifacts.append(artifact(name, contexts=contexts, platforms=platforms))
        used = "".join(f"FROM {context}\n" for context in contexts) or f"FROM {draw(st.sampled_from(roots))}\n"
        files[f"{name}/Dockerfile"] = used.encode()
        files[f"{name}/app"] = draw(st.sampled_from([b"1", b"2"]))
    return Commit(tuple(artifacts), files)


@st.composite
def edited(draw: st.DrawFn, roots: Sequence[str] = ("scratch", "alpine")) -> tuple[Commit, Commit]:
    """A fleet, and the same with some files changed."""
    fleet = draw(fleets(roots))
    files = {path: draw(st.sampled_from([data, data + b"#\n"])) for path, data in fleet.files.items()}
    return fleet, replace(fleet, files=files)
