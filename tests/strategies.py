"""Hypothesis strategies for the nouns of `reconciler.model`, one for each."""

from __future__ import annotations

import string
from typing import Any

from hypothesis import strategies as st

from reconciler.model.applied import ANCESTORS, Applied, AppliedTag, History
from reconciler.model.artifact import Artifact, BaseImage, Folder, ParentImage, Place
from reconciler.model.attempt import Again, FailedTry
from reconciler.model.cache import CacheMode
from reconciler.model.cache_use import CachedStep, CacheLook, CacheUse, LookStatus
from reconciler.model.digest import Digest
from reconciler.model.forecast import Accuracy, Basis, BuildForecast, Expected, PassForecast, Score, Span, Warmth
from reconciler.model.lease import MAX_TIME, Lease
from reconciler.model.manifest import IMAGE_INDEX, IMAGE_MANIFEST, Descriptor
from reconciler.model.mount_use import MountsEnd, MountsMoved, MountUse
from reconciler.model.name import ArtifactName
from reconciler.model.outcome import Outcome, Result, Status
from reconciler.model.plan import Action, Change, FileChange, FileStatus, Merge, Plan, Reason, ReasonCode
from reconciler.model.platform import Platform
from reconciler.model.problem import Next, Problem
from reconciler.model.pruning import Announcement
from reconciler.model.record import BuildRecord, PlatformBuild
from reconciler.model.reference import Reference, Repository
from reconciler.model.run import Run, newest
from reconciler.model.tier import BuildSpec, Ladder, NamedTier, RunnerOverride, Sizes, Tier
from reconciler.model.tree import EXECUTABLE, FILE, FOLDER, SYMLINK, Entry
from reconciler.ports.compute import Keeper, Outstanding, RentalState
from reconciler.sizing.evidence import Evidence
from reconciler.upkeep.runners import RunnerList

_ALNUM = string.ascii_lowercase + string.digits
_WORD = st.text(_ALNUM, min_size=1, max_size=6)

texts = st.text(st.characters(codec="utf-8"), max_size=12)
"""Any text that a directive can hold."""
file_names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=6).filter(
    lambda name: name not in {".", ".."}
) | st.sampled_from(["Dockerfile", "a b", "é", "e\u0301", "\udcff", "\x1b[31m", "\n"])
"""Names as git keeps them: any bytes but `/` and NUL; those that are not UTF-8 come as lone surrogates."""


def hexes(length: int) -> st.SearchStrategy[str]:
    """Hexadecimal digits."""
    return st.text("0123456789abcdef", min_size=length, max_size=length)


digests = st.builds(Digest, st.just("sha256"), hexes(64)) | st.builds(Digest, st.just("sha512"), hexes(128))
sha256s = st.builds(Digest, st.just("sha256"), hexes(64))
names = st.lists(_WORD, min_size=1, max_size=3).flatmap(
    lambda words: st.sampled_from(["-", "--"]).map(lambda d: d.join(words))
)
artifact_names = st.builds(ArtifactName, names, names)
hosts = st.sampled_from(
    [
        "localhost",
        "localhost:5000",
        "ghcr.io",
        "registry.example.org:443",
        "127.0.0.1:5000",
        "[::1]:5000",
        "HOST.example",
        "h:1",
    ]
)
_COMPONENTS = st.lists(_WORD, min_size=1, max_size=3).flatmap(
    lambda words: st.sampled_from([".", "_", "__", "-", "---"]).map(lambda sign: sign.join(words))
)
repositories = st.builds(Repository, hosts, st.lists(_COMPONENTS, min_size=1, max_size=3).map("/".join))
tags = st.builds(
    str.__add__,
    st.sampled_from(string.ascii_letters + string.digits + "_"),
    st.text(string.ascii_letters + string.digits + "._-", max_size=12),
)
references = st.builds(Reference, repositories, tags, st.none() | digests) | st.builds(
    Reference, repositories, st.none(), digests
)
platforms = st.sampled_from(
    ["linux/amd64", "linux/arm64", "linux/arm/v6", "linux/arm/v7", "linux/s390x", "linux/amd64/v3", "windows/amd64"]
).map(Platform.parse)
_PLATFORM_SETS = st.lists(platforms, min_size=1, max_size=3, unique=True).map(tuple)
mappings = st.dictionaries(texts.filter(bool), texts, max_size=3)
places = st.builds(Place, st.just("directives/shop.ncl"), st.integers(0, 99), st.integers(0, 99))
entries = st.builds(Entry, file_names, st.sampled_from([FILE, EXECUTABLE, SYMLINK]), hexes(40))


@st.composite
def listings(draw: st.DrawFn, *, min_size: int = 0) -> tuple[Entry, ...]:
    """Files, links and empty folders that can stand beside one another."""
    tree: dict[str, Any] = {}
    for _ in range(draw(st.integers(min_size, 8))):
        here: dict[str, Any] | None = tree
        for part in draw(st.lists(file_names, min_size=0, max_size=2)):
            here = here.setdefault(part, {}) if here is not None else None
            here = here if isinstance(here, dict) else None
        if here is not None:
            name = draw(file_names)
            here.setdefault(name, {} if draw(st.booleans()) else draw(entries))
    return tuple(_flat(tree, ""))


def _flat(tree: dict[str, Any], prefix: str) -> list[Entry]:
    found: list[Entry] = []
    for name, child in tree.items():
        path = prefix + name
        if isinstance(child, Entry):
            found.append(Entry(path, child.mode, child.id))
        elif child:
            found += _flat(child, path + "/")
        else:
            found.append(Entry(path, FOLDER, ""))
    return found


descriptors = st.builds(
    Descriptor,
    st.sampled_from([IMAGE_MANIFEST, IMAGE_INDEX]),
    sha256s,
    st.integers(0, 1 << 40),
    st.none() | st.just("application/x"),
    mappings,
    st.none() | platforms.map(Platform.to_json),
)
_CONTEXTS = st.dictionaries(
    names,
    st.builds(ParentImage, artifact_names)
    | st.builds(BaseImage, references)
    | st.builds(Folder, st.just("libs"), st.just(())),
    max_size=3,
)
overrides = st.builds(
    RunnerOverride,
    st.none() | st.integers(1, 64),
    st.none() | st.floats(0.5, 512),
    st.none() | st.integers(1, 1440),
    st.none() | st.sampled_from(["t0", "t3", "small"]),
)
artifacts = st.builds(
    Artifact,
    name=artifact_names,
    image=repositories,
    place=places,
    tags=st.lists(tags, min_size=1, max_size=3, unique=True).map(tuple),
    platforms=_PLATFORM_SETS,
    target=st.none() | _WORD,
    args=mappings,
    labels=mappings,
    contexts=_CONTEXTS,
    secrets=st.dictionaries(names, names, max_size=2),
    checks=st.lists(_WORD, max_size=2).map(tuple),
    language=st.none() | st.sampled_from(["go", "rust", "java", "perl"]),
    max_age=st.none() | st.integers(60, 10**7),
    os_epoch=st.none() | _WORD,
    source_date_epoch=st.integers(0, 2**31),
    runner=st.none() | overrides,
)
problems = st.builds(
    Problem,
    code=st.lists(_WORD, min_size=1, max_size=3).map("-".join),
    message=texts,
    file=st.none() | st.just("directives/shop.ncl"),
    line=st.none() | st.integers(1, 999),
    column=st.none() | st.integers(1, 999),
    artifact=st.none() | artifact_names.map(str),
    cause=st.none() | texts,
    hint=st.none() | texts,
    next=st.sampled_from(Next),
    shared=st.none() | texts,
)
_SCALAR_LEAVES = st.fixed_dictionaries(
    {"context": hexes(64), "dockerfile": hexes(64)},
    optional={
        "target": texts,
        "args": mappings,
        "labels": mappings,
        "bases": mappings,
        "secrets": mappings,
        "contexts": st.dictionaries(names, st.fixed_dictionaries({"image": sha256s.map(str)}), max_size=2),
        "fresh": st.integers(0, 10**6),
        "os_epoch": texts,
        "source_date_epoch": st.integers(1, 2**31),
        "builder": texts,
    },
)
inputs = st.builds(lambda platform, leaves: {"platform": str(platform), **leaves}, platforms, _SCALAR_LEAVES)
"""Input documents as `identity.inputs` makes them."""
_BYTES = st.integers(0, 1 << 50)
_LINES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
_MOVED = st.builds(
    MountsMoved,
    st.sampled_from(MountsEnd),
    st.none() | _LINES,
    st.integers(0, 32),
    _BYTES,
    st.integers(0, 10**6).map(lambda milliseconds: milliseconds / 1000),
    dropped=st.integers(0, 10**6),
)
cache_uses = st.builds(
    CacheUse,
    st.sampled_from(CacheMode),
    st.lists(
        st.builds(CacheLook, _LINES, st.sampled_from(LookStatus), st.none() | digests, st.none() | _LINES), max_size=2
    ).map(tuple),
    st.lists(st.builds(CachedStep, _LINES, st.booleans(), st.none() | st.floats(0, 10**6)), max_size=2).map(tuple),
    _BYTES,
    _BYTES,
    st.none() | _LINES,
    st.none() | st.just(Problem("cache-not-written", "the build's cache was not written", cause="503")),
    st.builds(MountUse, _MOVED, _MOVED),
)
_TIMES = st.integers(0, 59).map(lambda minute: f"2026-01-01T00:{minute:02}:00.000000Z")
tiers = st.builds(
    Tier,
    st.integers(1, 256),
    st.sampled_from([0.05, 0.5, 1.0, 4.0, 6.5, 8.0, 16.0, 4096.0]),
    st.integers(1, 1440),
    st.sampled_from(["", "small", "cx22"]),
)
_MILLISECONDS = st.integers(0, 10**7).map(lambda milliseconds: milliseconds / 1000)
_PAIRS = st.tuples(_MILLISECONDS, _MILLISECONDS)
expectations = st.builds(
    lambda pair, runs, basis: Expected(min(pair), max(pair), runs, basis),
    _PAIRS,
    st.integers(1, 20),
    st.sampled_from(Basis),
)
_COSTS = st.none() | st.integers(0, 10**9).map(lambda millionths: millionths / 10**6)
build_forecasts = st.builds(
    BuildForecast, tiers, st.sampled_from(Warmth), st.none() | expectations, _COSTS, st.booleans()
)
spans = st.tuples(_MILLISECONDS, _MILLISECONDS, _MILLISECONDS).map(lambda three: Span(*sorted(three)))
accuracies = st.builds(Accuracy, st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.none() | st.floats(0, 100))
runs = st.builds(
    Run,
    _TIMES,
    _MILLISECONDS,
    tiers,
    st.none() | st.integers(0, 1 << 40),
    st.none() | _MILLISECONDS,
    _BYTES,
    st.integers(0, 3),
    st.integers(0, 3),
    st.booleans(),
    st.none() | expectations,
)
evidences = st.lists(runs, max_size=14).map(lambda found: Evidence.of(found, ["shop/api"]))
failed_tries = st.builds(
    FailedTry,
    st.just(Problem("builder-lost", "the builder went away while it was building", cause="EOF", hint="look at it")),
    tiers,
    _MILLISECONDS,
    st.sampled_from(Again),
)
specs = st.none() | st.builds(
    BuildSpec,
    st.just("app/.build-spec.ncl"),
    st.none() | st.integers(1, 256),
    st.none() | st.sampled_from([0.5, 7.0, 4096.0]),
    st.none() | st.integers(1, 1440),
    st.none() | st.sampled_from(["go", "rust"]),
)


@st.composite
def _grown(draw: st.DrawFn) -> Ladder:
    """Each tier has no less of anything than the one before it, and more memory or more cores."""
    cpu, memory, found = draw(st.integers(1, 8)), draw(st.sampled_from([0.05, 1.0, 4.0])), list[NamedTier]()
    for number in range(draw(st.integers(0, 5))):
        found.append(NamedTier(f"t{number}", cpu, memory, draw(st.none() | st.integers(1, 1440))))
        more_cpu, more_memory = draw(st.sampled_from([(1, 0.0), (0, 0.5), (2, 8.0), (0, 64.0)]))
        cpu, memory = cpu + more_cpu, memory + more_memory
    return Ladder(tuple(found))


ladders = _grown()
all_sizes = st.builds(Sizes, ladders, st.just(Tier(2, 4, 30)), st.just({"rust": Tier(4, 8, 60)}))
records = st.builds(
    BuildRecord,
    artifact=artifact_names.map(str),
    revision=hexes(40) | st.just(""),
    key=hexes(64),
    digest=digests,
    platforms=st.dictionaries(platforms, st.builds(PlatformBuild, hexes(64), inputs, digests), max_size=2),
    started=st.just("2026-01-01T00:00:00.000000Z"),
    seconds=st.integers(0, 10**7).map(lambda milliseconds: milliseconds / 1000),
    builder=st.just({"builder": "buildkit v0.33.1"}),
    tier=st.just({"cpu": 2, "memory_gb": 4.0, "time_budget": 30}),
    steps=st.just({"total": 3, "cached": 1}),
    peak_memory=st.none() | st.integers(0, 1 << 40),
    listings=st.dictionaries(hexes(64), sha256s, max_size=2),
    caches=st.dictionaries(platforms, cache_uses, max_size=2),
    runs=st.lists(runs, max_size=3).map(newest),
    tries=st.lists(failed_tries, max_size=2).map(tuple),
)
_VALUES = st.none() | texts
file_changes = st.builds(FileChange, file_names, st.sampled_from(FileStatus))
reasons = st.builds(
    Reason,
    st.sampled_from(ReasonCode),
    _VALUES,
    _VALUES,
    _VALUES,
    st.lists(file_changes, max_size=2).map(tuple),
    commit=st.none() | hexes(40),
)
_IMAGES = repositories | st.builds(Repository, st.just("oci-layout:.lian/registry"), st.just("shop/api"))
changes = st.builds(
    Change,
    artifact_names,
    _IMAGES,
    st.lists(tags, max_size=2, unique=True).map(tuple),
    _PLATFORM_SETS,
    st.sampled_from(Action),
    st.lists(reasons, min_size=1, max_size=3).map(tuple),
    key=st.none() | hexes(64),
    digest=st.none() | digests,
    waits_for=st.lists(artifact_names, max_size=2, unique=True).map(tuple),
    conditional=st.booleans(),
    holds=st.lists(problems, max_size=1).map(tuple),
    forecast=st.none() | build_forecasts,
)
pass_forecasts = st.builds(
    PassForecast,
    st.integers(1, 256),
    st.integers(1, 9),
    st.integers(0, 9),
    compute=spans,
    wall=spans,
    longest=st.lists(artifact_names, max_size=9).map(tuple),
    longest_seconds=_MILLISECONDS,
    warm=st.integers(0, 9),
    fewest=st.integers(0, 20),
    cost=st.none() | spans,
    currency=st.none() | st.just("EUR"),
)
plans = st.builds(
    Plan,
    hexes(40),
    st.lists(changes, max_size=3).map(tuple),
    st.lists(problems, max_size=2).map(tuple),
    merge=st.none() | st.builds(Merge, hexes(40), hexes(40), st.text(max_size=20), st.text(max_size=20)),
    forecast=st.none() | pass_forecasts,
)
results = st.builds(
    Result,
    artifact_names,
    st.sampled_from(Action),
    st.sampled_from(Status),
    st.none() | digests,
    st.floats(0, 10**5),
    st.none() | problems,
    st.dictionaries(platforms, digests, max_size=2),
    st.none() | st.just("/logs/a.log"),
    st.dictionaries(platforms, cache_uses, max_size=2),
    st.lists(failed_tries, max_size=2).map(tuple),
    st.none() | tiers,
    st.none() | _MILLISECONDS,
    st.none() | expectations,
)
outcomes = st.builds(
    Outcome,
    hexes(40),
    st.lists(results, max_size=3).map(tuple),
    st.lists(problems, max_size=2).map(tuple),
    _MILLISECONDS,
    st.none() | st.builds(Score, _MILLISECONDS, st.none() | spans, accuracies),
)
_MOMENTS = st.integers(0, 1 << 40)
histories = st.builds(
    History.of,
    hexes(40),
    _MOMENTS,
    st.lists(hexes(40), max_size=4).map(tuple) | st.just(("f" * 40,) * (ANCESTORS + 1)),
    complete=st.booleans(),
)
applied_tags = st.builds(AppliedTag, digests, artifact_names.map(str), hexes(40) | st.just(""), _MOMENTS)
applieds = st.builds(Applied, names, histories, st.dictionaries(tags, applied_tags, max_size=3))
announcements = st.builds(
    Announcement,
    st.dictionaries(tags, digests, max_size=3),
    st.frozensets(digests, max_size=3),
    st.floats(0, 1 << 40),
    names,
    hexes(8),
)

lease_names = st.from_regex(r"[a-z0-9][a-z0-9-]{0,39}", fullmatch=True)
_lines = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
_times = st.floats(0, MAX_TIME, allow_nan=False)
leases = st.builds(Lease, lease_names, _lines, _lines, _times, _times, purpose=_lines, tier=_lines)
runner_lists = st.builds(
    RunnerList,
    _times,
    st.none() | _lines,
    st.lists(
        st.builds(
            Outstanding,
            lease_names,
            st.sampled_from(["", "Local", "Ssh"]),
            st.none() | leases,
            st.none() | st.sampled_from(RentalState),
            st.sampled_from(Keeper),
        ),
        max_size=3,
    ).map(tuple),
    st.lists(lease_names, unique=True, max_size=2).map(tuple),
    st.lists(problems, max_size=2).map(tuple),
    st.sampled_from(["Local", "Ssh"]),
    ladders,
)
