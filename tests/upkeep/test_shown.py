"""`lian cache ls|du|prune` on the command line: what is shown, how wide it is, and what it exits with."""

from __future__ import annotations

import argparse
import io
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.cache.content import CacheContent, CacheKind
from reconciler.cache.holding import (
    CacheEnd,
    CacheList,
    CachePlan,
    Caches,
    CacheStatus,
    Cupboard,
    Fate,
    FoundCache,
    Verdict,
)
from reconciler.cache.namespace import Layout, Namespace
from reconciler.cache.usage import CacheUsage
from reconciler.cli import exits, flag_values
from reconciler.cli.views import caches as view
from reconciler.cli.views.text import as_json
from reconciler.model.digest import Digest
from reconciler.model.fleet import RegistryProvider
from reconciler.model.problem import Problem
from reconciler.model.reference import Repository
from tests import strategies as some
from tests.cli.test_documents import checked
from tests.cli.test_views import NASTY, steers
from tests.commits import HOST

DAY = 86_400.0
PROBLEM = Problem("registry-denied", "2 repositories of dev/alice-shop could not be read")


def found(artifact: str = "api", tag: str = "linux-amd64", actor: str | None = None, **more: Any) -> FoundCache:
    namespace = Namespace("shop", actor)
    repository = Repository(HOST, Layout("cache").repository(namespace, artifact))
    kind = CacheKind.MOUNTS if tag.endswith(".mounts") else CacheKind.LAYERS
    content = CacheContent(**{"kind": kind, "blobs": {Digest.of(artifact.encode()): 5 << 20}, "created": 1.0, **more})
    return FoundCache(repository, namespace, artifact, tag, Digest.of(b"m"), content)


def verdicts() -> tuple[Verdict, ...]:
    return (
        Verdict(found(), Fate.KEPT_WANTED, 3 * 3600.0, 3 * 3600.0),
        Verdict(found(tag="linux-amd64.previous"), Fate.KEPT_WANTED, 2 * DAY, 2 * DAY),
        Verdict(found("x" * 63, "linux-mips64le"), Fate.UNWANTED, 99 * DAY, 99 * DAY),
        Verdict(found("x" * 63, "latest", kind=CacheKind.STRANGE, blobs={}), Fate.KEPT_STRANGE),
        Verdict(found(actor="alice"), Fate.EXPIRED, 40 * DAY, 40 * DAY),
        Verdict(found("web", actor="alice"), Fate.KEPT_UNDATED, None, 40 * DAY),
    )


CACHES = Caches(
    tuple(verdict.cache for verdict in verdicts()),
    (Cupboard(HOST, True, RegistryProvider.DISTRIBUTION),),
    (PROBLEM,),
    tuple(Repository(HOST, f"cache/ci/a/b/c{number}") for number in range(9)),
)


def shown(show: Any, *told: Any, **more: Any) -> str:
    stream = io.StringIO()
    show(*told, stream, **more)
    return stream.getvalue()


def test_a_list_names_what_is_there_how_large_how_old_and_how_it_stands() -> None:
    text = shown(view.show, CacheList("acme", "0" * 40, CACHES, verdicts()))
    lines = text.splitlines()
    assert lines[0].split() == ["artifact", "platform", "generation", "size", "age", "state"]
    assert lines[1:3] == [HOST, "ci/shop"]
    line = next(line for line in lines if "previous" in line)
    assert line.split() == ["linux/amd64", "previous", "5.0", "MiB", "2", "d", "wanted"]
    assert "api" not in line, "an artifact is named once"
    strange = verdicts()[3].cache
    wide = replace(strange, artifact="api", tag="linux-amd64.previous")
    shown_wide = shown(view.show, CacheList("acme", "0" * 40, CACHES, (Verdict(wide, Fate.KEPT_STRANGE),))).splitlines()
    assert next(line for line in shown_wide if "previous" in line).split()[-1] == "strange", "on one line"
    assert "<40 d" in text
    assert "and 4 more" in text
    assert "unknown[registry-denied]" in text
    assert text.endswith("6 caches, 15.0 MiB\n")
    assert max(map(len, lines)) <= 80
    assert "no caches" in shown(view.show, CacheList("acme", "0" * 40, Caches()))


def test_usage_says_what_is_shared() -> None:
    text = shown(view.show_usage, CacheUsage.of("acme", "0" * 40, CACHES))
    lines = text.splitlines()
    assert lines[1].split() == ["caches", "size", "shared"]
    api = next(line for line in lines if line.startswith("    api"))
    assert api.split()[:2] == ["api", "2"]
    assert next(line for line in lines if line.startswith("  all")).split()[1:] == ["6", "15.0", "MiB", "5.0", "MiB"]
    assert max(map(len, lines)) <= 80


def test_a_plan_says_what_goes_and_why() -> None:
    plan = CachePlan("acme", "0" * 40, CACHES, verdicts())
    text = shown(view.show_plan, plan)
    assert text.startswith(f"{HOST}\n- ci/shop  1 cache, 5.0 MiB\n")
    assert "- dev/alice-shop  1 cache, 5.0 MiB" in text
    assert "    api  linux/amd64  latest  expired  5.0 MiB  40 d old" in text
    assert "held[registry-denied]" in text
    assert "2 caches to remove, 5.0 MiB that no other cache needs" in text
    assert "stays: 2 wanted, 1 undated, 1 no caches" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "nothing to remove" in shown(view.show_plan, CachePlan("acme", "0" * 40))


def test_many_are_counted_unless_all_are_asked_for() -> None:
    many = tuple(Verdict(found(f"a{number}"), Fate.UNWANTED, DAY, DAY) for number in range(9))
    plan = CachePlan("acme", "0" * 40, replace(CACHES, unread=()), many)
    assert "and 4 more" in shown(view.show_plan, plan)
    assert shown(view.show_plan, plan, detailed=True).count("unwanted") == 9


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        (RegistryProvider.DISTRIBUTION, "registry garbage-collect"),
        (RegistryProvider.ZOT, "zot frees the space by itself"),
        (RegistryProvider.OCI_LAYOUT, "free now"),
        (RegistryProvider.HARBOR, "Harbor frees"),
        (RegistryProvider.GHCR, "by itself"),
    ],
)
def test_the_end_says_when_the_space_is_free(provider: RegistryProvider, words: str) -> None:
    plan = CachePlan("acme", "0" * 40, replace(CACHES, cupboards=(Cupboard(HOST, True, provider),)), verdicts())
    here = found().repository
    ends = (
        CacheEnd(here, CacheStatus.DONE, ("linux-amd64",), ("linux-arm64",)),
        CacheEnd(here, CacheStatus.FAILED, (), problems=(PROBLEM,)),
        CacheEnd(here, CacheStatus.HELD, (), problems=(PROBLEM,)),
    )
    text = shown(view.ended, plan, ends)
    assert (
        "1 cache removed, 1 spared, because they were written meanwhile, 1 repository failed, 1 repository held" in text
    )
    assert words in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 120
    assert [bool(view.progress(end)) for end in ends] == [True] * 3


def test_what_others_wrote_steers_no_terminal() -> None:
    nasty = replace(found(), tag=NASTY, content=CacheContent(CacheKind.STRANGE, fleet=NASTY))
    verdict = Verdict(nasty, Fate.STRANGE)
    assert not steers(shown(view.show, CacheList("acme", "0" * 40, CACHES, (verdict,))))
    assert not steers(shown(view.show_plan, CachePlan("acme", "0" * 40, CACHES, (verdict,))))


@pytest.mark.parametrize(
    ("plan", "code"),
    [
        (CachePlan("acme", "0" * 40), 0),
        (CachePlan("acme", "0" * 40, replace(CACHES, unread=()), verdicts()), 2),
        (CachePlan("acme", "0" * 40, CACHES, verdicts()), 4),
        (CachePlan("acme", "0" * 40, problems=(PROBLEM,)), 4),
    ],
)
def test_a_plan_exits_as_that_of_a_prune(plan: CachePlan, code: int) -> None:
    assert exits.of_cache_plan(plan) == code


@pytest.mark.parametrize(
    ("states", "unread", "code"),
    [([], False, 0), (["done"], False, 0), (["done", "held"], False, 4), (["held", "failed"], True, 3), ([], True, 4)],
)
def test_an_end_exits_with_the_worst(states: list[str], unread: bool, code: int) -> None:
    plan = CachePlan("acme", "0" * 40, CACHES if unread else Caches())
    assert exits.of_cache_ends(plan, [CacheEnd(found().repository, CacheStatus(state)) for state in states]) == code


@pytest.mark.parametrize("text", ["", "0d", "30", "1.5d", "-1d", "30 d", "9999999d", "1y"])
def test_what_is_no_age_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        flag_values.age(text)


@pytest.mark.parametrize("text", ["", "20", "20G", "GB", "-1GB", "iB", "1.GB", "1e3GB", "20 GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        flag_values.volume(text)


blobs = st.dictionaries(some.digests, st.integers(0, 1 << 60), max_size=3)
contents = st.builds(
    CacheContent,
    kind=st.sampled_from(CacheKind),
    blobs=blobs,
    created=st.none() | st.floats(-1e12, 1e12),
    fleet=st.none() | some.texts,
    revision=st.none() | some.texts,
)
namespaces = st.builds(Namespace, some.names, st.none() | some.names)


@st.composite
def some_caches(draw: st.DrawFn) -> FoundCache:
    """Anywhere, with any names."""
    namespace, artifact = draw(namespaces), draw(some.names)
    repository = Repository("127.0.0.1:5000", Layout("cache").repository(namespace, artifact))
    tag = draw(some.tags | some.platforms.map(lambda platform: str(platform).replace("/", "-")))
    return FoundCache(repository, namespace, artifact, tag, draw(some.digests), draw(contents))


all_verdicts = st.lists(
    st.builds(Verdict, some_caches(), st.sampled_from(Fate), st.none() | st.floats(0, 1e9), st.none()), max_size=4
).map(tuple)


@settings(deadline=None)
@given(all_verdicts, st.none() | st.sampled_from(CacheStatus), st.lists(some.problems, max_size=2).map(tuple))
def test_every_document_is_one_that_its_schema_describes(
    those: tuple[Verdict, ...], status: CacheStatus | None, problems: tuple[Problem, ...]
) -> None:
    caches = replace(CACHES, found=tuple(verdict.cache for verdict in those), unread=problems)
    ends = None if status is None else [CacheEnd(v.cache.repository, status, (v.cache.tag,)) for v in those]
    plan = CachePlan("acme", "0" * 40, caches, those, problems)
    document = checked("cache_prune", as_json(plan.to_json(ends)))
    assert document["summary"]["caches"] == len(document["caches"])
    checked("cache_list", as_json(CacheList("acme", "0" * 40, caches, those, problems).to_json()))
    checked("cache_usage", as_json(CacheUsage.of("acme", "0" * 40, caches).to_json()))
