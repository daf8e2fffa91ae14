"""The documents of a pass: what the model writes satisfies the JSON Schemas, and nothing else does."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from reconciler.audit.sizing import Explanation, Suggestion, Suggestions
from reconciler.audit.stats import Figures, Slow, Stats
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
from reconciler.cache.namespace import Namespace
from reconciler.cache.policy.findings import Check, Finding, Who
from reconciler.cache.policy.findings import Kind as FindingKind
from reconciler.cache.refs import PlatformRefs, Refs
from reconciler.cache.usage import CacheUsage
from reconciler.model.attempt import Again, FailedTry
from reconciler.model.cache import CachePolicy, Session
from reconciler.model.desired import Wanted
from reconciler.model.digest import Digest
from reconciler.model.fleet import RegistryProvider
from reconciler.model.forecast import BuildForecast, Expected, PassForecast, Score, Span, Warmth
from reconciler.model.lock import Lock
from reconciler.model.lock_report import LockAction, LockChange, LockReport
from reconciler.model.moving import Part, PartKind
from reconciler.model.name import ArtifactName
from reconciler.model.outcome import Outcome, Result, Status
from reconciler.model.plan import Action, Change, FileChange, Plan, Reason, ReasonCode
from reconciler.model.platform import Platform
from reconciler.model.problem import Problem
from reconciler.model.reference import Reference, Repository
from reconciler.model.removal import (
    Doomed,
    Gone,
    Kept,
    KeptRevision,
    Pruned,
    PrunePlan,
    PruneStatus,
    Removal,
    Untagged,
)
from reconciler.model.run import Run
from reconciler.model.tier import BuildSpec, Ladder, NamedTier, Sizes, Tier
from reconciler.plan.score import accuracy
from reconciler.sizing.choose import size
from reconciler.sizing.evidence import Evidence
from reconciler.sizing.suggest import Advice, Wish
from tests.commits import artifact
from tests.schemas.evaluation import validator

_API = ArtifactName.parse("shop/api")
_BASE = ArtifactName.parse("shop/base")
_REVISION = "0" * 40
_DIGEST = Digest.parse("sha256:" + "a" * 64)
_AMD64 = Platform.parse("linux/amd64")
_PROBLEM = Problem("build-failed", "Step 3 exited with 1.", "images/api/Dockerfile", 3, 1, "shop/api", "why", "try")
_HERE = Repository.parse("shop/api", "127.0.0.1:5000")
_TIER = Tier(4, 8, 30, "medium")
_LADDER = Ladder((NamedTier("small", 2, 4, hourly=0.006), NamedTier("medium", 4, 8, hourly=0.01)), "EUR")
_EXPECTED = Expected(9.0, 12.5, 7)
_SPAN = Span(0.0, 9.0, 12.5)
_RUN = Run("2026-11-20T12:00:00.000000Z", 9.5, _TIER, 5 << 30, 12.5, 1000, 1, 3, alone=True, forecast=_EXPECTED)
_WANTED = Wanted(artifact("shop/api"), None, (_PROBLEM,), BuildSpec("shop/api/.build-spec.ncl", language="go"))
_WISH = Wish(("shop/api",), 4, 8.0, _TIER, _TIER, 14)
_CACHE_REF = Reference.parse("127.0.0.1:5000/cache/dev/ada-shop/api:linux-amd64")
_CHANGES = tuple(
    Change(
        artifact=_API,
        image=Repository.parse("shop/api", "127.0.0.1:5000"),
        tags=("1.4",),
        platforms=(_AMD64,),
        action=action,
        reasons=(
            Reason(ReasonCode.CONTEXT_CHANGED, "old", "new", "context", (FileChange("main.go"),)),
            Reason(ReasonCode.ABSENT),
        ),
        key=key,
        digest=digest,
        waits_for=(_BASE,),
        conditional=True,
        holds=(_PROBLEM,),
        forecast=BuildForecast(_TIER, Warmth.WARM, _EXPECTED, 0.01),
    )
    for action, key, digest in [
        (Action.BUILD, "0" * 64, None),
        (Action.RETAG, "f" * 64, _DIGEST),
        (Action.HOLD, None, None),
    ]
)
_CACHE = FoundCache(
    Repository.parse("cache/dev/a-shop/api", "127.0.0.1:5000"),
    Namespace("shop", "a"),
    "api",
    "linux-amd64",
    _DIGEST,
    CacheContent(CacheKind.LAYERS, {_DIGEST: 7}, 1.5, 1.0, "acme", _REVISION),
)
_VERDICTS = (
    Verdict(_CACHE, Fate.EXPIRED, 1.0, 1.0),
    Verdict(replace(_CACHE, tag="odd", content=CacheContent(CacheKind.STRANGE)), Fate.STRANGE),
    *(Verdict(_CACHE, fate) for fate in Fate),
)
_CACHES = Caches(
    (_CACHE,),
    (Cupboard("127.0.0.1:5000", True, RegistryProvider.ZOT), Cupboard("other:1", None)),
    (_PROBLEM,),
    (_HERE,),
    ("a note",),
)
DOCUMENTS: dict[str, dict[str, Any]] = {
    "plan": Plan(
        _REVISION,
        _CHANGES,
        (_PROBLEM,),
        forecast=PassForecast(
            2,
            3,
            2,
            compute=_SPAN,
            wall=_SPAN,
            longest=(_BASE, _API),
            longest_seconds=9.0,
            warm=1,
            fewest=7,
            cost=_SPAN,
            currency="EUR",
        ),
    ).to_json(),
    "outcome": Outcome(
        _REVISION,
        (
            Result(
                _API,
                Action.BUILD,
                Status.DONE,
                _DIGEST,
                1.9,
                None,
                {_AMD64: _DIGEST},
                "/tmp/build.log",
                tries=(FailedTry(_PROBLEM, _TIER, 0.5, Again.LARGER_RUNNER),),
                tier=_TIER,
                build_seconds=1.5,
                forecast=_EXPECTED,
            ),
            Result(_BASE, Action.BUILD, Status.FAILED, problem=_PROBLEM),
            *(Result(_API, Action.NONE, status) for status in (Status.SKIPPED, Status.HELD, Status.NONE)),
        ),
        (_PROBLEM,),
        2.0,
        Score(2.0, _SPAN, accuracy([(_EXPECTED, 1.5)])),
    ).to_json(),
    "prune": PrunePlan(
        "acme",
        _REVISION,
        (KeptRevision(_REVISION, ("refs/heads/main",)),),
        (
            Removal(
                _HERE,
                (Doomed(_DIGEST, Gone.OUTDATED, ("shop/api",), ("1.4",), 1.5, 7, (_DIGEST,), {_DIGEST: _DIGEST}),),
                (Untagged("1.3", _DIGEST, "shop/old"),),
                dict.fromkeys(Kept, 1),
                problems=(_PROBLEM,),
            ),
            Removal(Repository.parse("shop/base", "127.0.0.1:5000")),
        ),
        (_PROBLEM,),
        ("a note",),
    ).to_json({_HERE: Pruned(_HERE, PruneStatus.DONE, (_DIGEST,), ("1.3",), (_DIGEST,), (_PROBLEM,))}),
    "cache_list": CacheList("acme", _REVISION, _CACHES, _VERDICTS, (_PROBLEM,), ("a note",)).to_json(),
    "cache_usage": CacheUsage.of("acme", _REVISION, _CACHES, ("a note",)).to_json(),
    "cache_prune": CachePlan("acme", _REVISION, _CACHES, _VERDICTS, (_PROBLEM,), ("a note",)).to_json(
        [CacheEnd(_CACHE.repository, CacheStatus.FAILED, ("linux-amd64",), problems=(_PROBLEM,))]
    ),
    "cache_policy_check": Check(
        "zot",
        _REVISION,
        (
            Finding(FindingKind.OPENS, Who("ada"), "cache/ci/shop/**", "cache/ci/shop/api", ("create",), "an entry"),
            Finding(FindingKind.UNKNOWN, because="an entry that is not read"),
        ),
        ("a note",),
    ).to_json(),
    "cache_refs": Refs(
        _API,
        Session("ada"),
        _REVISION,
        CachePolicy(),
        (PlatformRefs(_AMD64, (_CACHE_REF,), (_CACHE_REF,)),),
        (_CACHE_REF,),
        _CACHE_REF,
    ).to_json(),
    "sizing": Explanation(
        _REVISION,
        _WANTED,
        size(_WANTED.artifact, _WANTED.spec, Evidence.of([_RUN], ["shop/api"]), Sizes(_LADDER, Tier(2, 4, 30))),
        _LADDER,
        unread=(_PROBLEM,),
    ).to_json(),
    "sizing_suggestions": Suggestions(
        _REVISION,
        (Suggestion("shop/api/.build-spec.ncl", _WISH, None, "{}"),),
        (("shop/web/.build-spec.ncl", _WISH),),
        (Advice("shop/api", _TIER, _TIER),),
        (_PROBLEM,),
        (_PROBLEM,),
    ).to_json({"shop/api/.build-spec.ncl": "diff"}),
    "lock": json.loads(
        str(
            Lock(
                {Reference.parse("alpine:3"): _DIGEST},
                {("https://git.example/r.git", "main"): _REVISION},
                {"https://files.example/x": _DIGEST},
            )
        )
    ),
    "lock_report": LockReport(
        _REVISION,
        (
            LockChange(Part(PartKind.IMAGE, "docker.io/library/alpine:3"), LockAction.MOVED, "a", "b", (_API,)),
            LockChange(Part(PartKind.GIT, "https://git.example/r.git", "main"), LockAction.LACKING),
            *(LockChange(Part(PartKind.URL, "https://files.example/x"), action) for action in LockAction),
        ),
        3,
        problems=(_PROBLEM,),
        unresolved=(_PROBLEM,),
        notes=("a note",),
    ).to_json(),
    "stats": Stats(
        _REVISION,
        {"shop": Figures.of({_API: [_RUN], _BASE: []})},
        Figures.of({_API: []}),
        (Slow(_API, 1, 9.5, 9.5),),
        (_PROBLEM,),
        (_PROBLEM,),
    ).to_json(),
    "problems": {"kind": "problems", "version": 1, "problems": [_PROBLEM.to_json(), Problem("a", "b").to_json()]},
}


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_what_the_model_writes_satisfies_its_schema(kind: str) -> None:
    validator(kind).validate(DOCUMENTS[kind])


def test_every_reason_that_the_model_knows_is_listed() -> None:
    schema: Any = validator("plan").schema
    code = schema["$defs"]["reason"]["properties"]["code"]
    assert {reason.value for reason in ReasonCode} <= set(code["examples"])


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_every_field_is_named_by_the_schema(kind: str) -> None:
    """A field that nobody agreed on is refused, at each depth."""
    twin = validator(kind)

    def planted(node: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
        children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        here = [path] if isinstance(node, dict) else []
        return here + [found for key, child in children for found in planted(child, (*path, key))]

    for path in planted(DOCUMENTS[kind]):
        document = copy.deepcopy(DOCUMENTS[kind])
        place: Any = document
        for key in path:
            place = place[key]
        place["surprise"] = "x"
        assert not twin.is_valid(document), path


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("plan", "kind", "outcome"),
        ("plan", "version", 2),
        ("plan", "revision", "main"),
        ("outcome", "revision", "0" * 39),
        ("outcome", "results", None),
        ("problems", "problems", [{"code": "Bad Code", "message": "x"}]),
        ("problems", "problems", [{"message": "x"}]),
        ("problems", "problems", [{"code": "a", "message": "x", "line": 0}]),
    ],
)
def test_a_wrong_value_is_refused(kind: str, field: str, value: Any) -> None:
    assert not validator(kind).is_valid({**DOCUMENTS[kind], field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("action", "delete"),
        ("key", "0" * 63),
        ("digest", "sha256:1"),
        ("image", "a:b"),
        ("tags", ["a", "a"]),
        ("reasons", None),
    ],
)
def test_a_wrong_change_is_refused(field: str, value: Any) -> None:
    document = copy.deepcopy(DOCUMENTS["plan"])
    document["changes"][0][field] = value
    assert not validator("plan").is_valid(document)
