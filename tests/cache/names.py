"""What the properties of the cache are tried with: names that look like each other, layouts, builders, places."""

from __future__ import annotations

import re
from itertools import chain, zip_longest

from hypothesis import strategies as st

from reconciler.cache.namespace import Layout, Namespace
from reconciler.cache.rules import Generation, Slot
from reconciler.model.cache import BuildMode, Ci, Session
from reconciler.model.platform import Platform
from tests import strategies as some

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""What the design says a name is, said another way than `model.name` does."""

LONG = ("a" * 63, "a" + "-" * 61 + "b", "-".join("a" * 32), "a-" * 30 + "bcd")
FEW = ("a", "b", "c", "a-b", "b-c", "a--b", "ci", "dev")

_WORDS = st.text("ab0", min_size=1, max_size=3)
_TEXTS = st.text("ab0-", min_size=1, max_size=10) | st.text("ab0-", min_size=1, max_size=63)

names = st.sampled_from(FEW) | _WORDS | _TEXTS.map(lambda text: text.strip("-")).filter(bool) | st.sampled_from(LONG)
"""Any name; rich in dashes, and many are drawn twice."""
pairs = st.tuples(names, names)
"""(actor, workspace)."""


@st.composite
def confusable(draw: st.DrawFn) -> tuple[tuple[str, str], tuple[str, str]]:
    """Two different pairs that a careless way of joining makes one of: cut from the same text, or exchanged."""
    words = draw(st.lists(_WORDS, min_size=3, max_size=5))
    dashes = draw(st.lists(st.sampled_from(["-", "-", "--"]), min_size=len(words) - 1, max_size=len(words) - 1))
    first, second = draw(st.lists(st.integers(1, len(words) - 1), min_size=2, max_size=2, unique=True))

    def cut(at: int) -> tuple[str, str]:
        return _woven(words[:at], dashes[: at - 1]), _woven(words[at:], dashes[at:])

    return draw(st.sampled_from([(cut(first), cut(second)), (cut(first), cut(first)[::-1])]).filter(_differ))


def _differ(two: tuple[tuple[str, str], tuple[str, str]]) -> bool:
    return two[0] != two[1]


def _woven(words: list[str], dashes: list[str]) -> str:
    return "".join(chain.from_iterable(zip_longest(words, dashes, fillvalue="")))


two_pairs = confusable() | st.tuples(pairs, pairs).filter(_differ)
"""Two different pairs."""

ODD = "\0\n\r\t /@:._+~%*?\\ABZ\u0430\u0435\uff41\uff10\u0661\u00df\u0131\u2010\u2013\u200b\u00e9\udcff"
"""Characters that no name has: separators, upper case, and some that look like what a name has."""


@st.composite
def damaged(draw: st.DrawFn, of: st.SearchStrategy[str]) -> str:
    """A text with one thing wrong, often."""
    text = draw(of)
    at = draw(st.integers(0, len(text)))
    sign = draw(st.sampled_from(ODD) | st.sampled_from("-a0") | st.just("..") | st.characters())
    kept = draw(st.sampled_from([at, at + 1]))
    return text[:at] + sign + text[kept:]


PREFIXES = (
    "",
    "cache",
    "cache",
    "my-cache",
    "a.b",
    "a_b",
    "a__b",
    "a--b",
    "team/cache",
    "ci",
    "dev",
    "dev/ci",
    "a" * 250,
)
layouts = st.builds(Layout, st.sampled_from(PREFIXES), st.booleans())
namespaces = st.builds(Namespace, names, st.none() | names)
builders: st.SearchStrategy[BuildMode] = st.just(Ci()) | st.builds(Session, names)
platforms = some.platforms | st.from_regex(r"[a-z0-9]{1,9}/[a-z0-9_]{1,9}(/v[0-9]{1,3})?", fullmatch=True).map(
    Platform.parse
)
slots = st.builds(Slot, namespaces, names, platforms, st.sampled_from(Generation))


@st.composite
def two_namespaces(draw: st.DrawFn) -> tuple[Namespace, Namespace]:
    """Two different ones that may be taken for each other."""
    (actor, workspace), (other_actor, other_workspace) = draw(two_pairs)
    mine, theirs = Namespace(workspace, actor), Namespace(other_workspace, other_actor)
    two = [(mine, theirs), (mine, Namespace(workspace)), (Namespace(f"{actor}-{workspace}"[:63].strip("-")), mine)]
    if workspace != other_workspace:
        two.append((Namespace(workspace), Namespace(other_workspace)))
    return draw(st.sampled_from(two))


builds = st.tuples(builders, names, names, platforms)
"""(who builds, workspace, artifact, platform): all that a rule may ask for."""
