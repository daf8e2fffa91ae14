"""What a person may be shown, as values: plans, their ends, a story, a lock, figures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.artifact import Place
from reconciler.model.digest import Digest
from reconciler.model.forecast import BuildForecast, Expected, PassForecast, Span, Warmth
from reconciler.model.lock_report import LockAction, LockChange, LockReport
from reconciler.model.moving import Part, PartKind
from reconciler.model.outcome import Outcome, Result, Status
from reconciler.model.plan import Action, Change, FileChange, FileStatus, Merge, Moved, Plan, Reason, ReasonCode
from reconciler.model.problem import Problem
from reconciler.model.tier import Tier
from tests.commits import AMD64, ARM64, artifact

if TYPE_CHECKING:
    from reconciler.model.name import ArtifactName

REVISION, COMMIT = "f3a1" + "0" * 36, "3f2c1a9" + "0" * 33
MEDIUM = Tier(4, 8, 30, "medium")


def digest(text: str) -> str:
    """Of no content that there is."""
    return str(Digest.of(text.encode()))


def change(name: str, action: Action, *reasons: Reason, tags: tuple[str, ...] = ("latest",), **more: object) -> Change:
    """Of one artifact on two platforms."""
    a = artifact(name)
    return Change(a.name, a.image, tags, (AMD64, ARM64), action, reasons, **more)  # type: ignore[arg-type]


def _behind(name: str, parent: ArtifactName) -> Change:
    reason = Reason(ReasonCode.PARENT_CHANGED, digest("old"), subject=str(parent))
    return change(name, Action.BUILD, reason, waits_for=(parent,), conditional=True)


FILES = (FileChange("images/base/Dockerfile"), FileChange("images/base/ärger 日本.txt", FileStatus.ADDED))
BASE = change(
    "shop/base",
    Action.BUILD,
    Reason(ReasonCode.DOCKERFILE_CHANGED, digest("1"), digest("2"), files=FILES, commit=COMMIT),
    key="ab" * 32,
    forecast=BuildForecast(MEDIUM, Warmth.WARM, Expected(12.0, 20.0, 7), 0.004),
)
ARGS = change(
    "pay/gate",
    Action.BUILD,
    Reason(ReasonCode.ARGS_CHANGED, "1.3", "1.4", "VERSION"),
    Reason(ReasonCode.LABELS_CHANGED, None, "payments", "org.example.team"),
    Reason(ReasonCode.BASE_MOVED, digest("a"), digest("b"), "debian:12"),
    tags=("1.4", "1.4.0", "stable", "latest", "edge"),
    forecast=BuildForecast(MEDIUM, Warmth.COLD),
)
GIT = change(
    "pay/tools",
    Action.BUILD,
    Reason(
        ReasonCode.CONTEXT_CHANGED,
        digest("c"),
        digest("d"),
        files=(FileChange("cmd/main.go"), FileChange("old.go", FileStatus.REMOVED)),
        origin=Moved("https://git.example.org/tools.git", "main", "0" * 40, "1" * 40),
    ),
)
RETAG = change(
    "shop/web",
    Action.RETAG,
    Reason(ReasonCode.RETAGGED, digest("e"), digest("f"), "stable"),
    tags=("stable",),
    digest=Digest.of(b"f"),
)
HELD = change(
    "pay/ledger",
    Action.HOLD,
    Reason(ReasonCode.UNKNOWN, None, "registry-unauthorized"),
    holds=(
        Problem(
            "registry-unauthorized",
            "the base image ghcr.io/example/runtime:2 of this artifact could not be looked up",
            cause="GET https://ghcr.io/token: 401 Unauthorized",
            hint="run `docker login ghcr.io`, or bind a login in registries of lian.ncl",
        )
        .at(Place("images/ledger/Dockerfile", 1))
        .of("pay/ledger"),
    ),
)
CASCADE = tuple(_behind(f"shop/svc{n:02}", BASE.artifact) for n in range(14))
SYNC = change("shop/db", Action.NONE, Reason(ReasonCode.IN_SYNC), digest=Digest.of(b"db"))
ORPHAN = change("shop/old", Action.NONE, Reason(ReasonCode.ORPHANED), tags=("1", "2", "3", "4"))
FORECAST = PassForecast(
    4,
    17,
    16,
    compute=Span(12.0, 400.0, 700.0),
    wall=Span(12.0, 130.0, 240.0),
    longest=(BASE.artifact, CASCADE[3].artifact),
    longest_seconds=48.0,
    warm=1,
    fewest=3,
    cost=Span(0.004, 0.11, 0.2),
    currency="EUR",
)
PLAN = Plan(REVISION, (BASE, *CASCADE, ARGS, GIT, RETAG, HELD, SYNC), orphans=(ORPHAN,), forecast=FORECAST)
MERGE = replace(PLAN, merge=Merge("1" * 40, REVISION, "main", "topic"), orphans=())
ALL_IN_SYNC = Plan(REVISION, (SYNC, replace(SYNC, artifact=RETAG.artifact)))

OUTCOME = Outcome(
    REVISION,
    (
        Result(BASE.artifact, Action.BUILD, Status.DONE, digest=Digest.of(b"base"), seconds=12.34),
        Result(
            ARGS.artifact,
            Action.BUILD,
            Status.FAILED,
            problem=Problem(
                "build-failed",
                "the step `RUN make all` ended with exit code 2",
                file="images/gate/Dockerfile",
                line=7,
                artifact="pay/gate",
                cause="make: *** No rule to make target 'all'.  Stop.",
                hint="run the step by hand: lian build images/gate",
            ),
            seconds=3.2,
        ),
        Result(
            CASCADE[0].artifact,
            Action.BUILD,
            Status.SKIPPED,
            problem=Problem("parent-failed", "pay/gate could not be built, so what stands on it stays as it is"),
        ),
        Result(
            RETAG.artifact, Action.RETAG, Status.DONE, digest=Digest.of(b"f"), seconds=0.21
        ),
        Result(HELD.artifact, Action.HOLD, Status.HELD, problem=HELD.holds[0]),
        Result(SYNC.artifact, Action.NONE, Status.NONE, digest=Digest.of(b"db")),
    ),
)  # fmt: skip

DEBIAN = Part(PartKind.IMAGE, "docker.io/library/debian:12")
TOOL = Part(PartKind.URL, "https://dl.example.org/tool.tgz")
LOCKED = LockReport(
    REVISION,
    (
        LockChange(DEBIAN, LockAction.MOVED, digest("a"), digest("b"), tuple(one.artifact for one in CASCADE[:9])),
        LockChange(TOOL, LockAction.ADDED, None, digest("t"), (GIT.artifact,)),
    ),
)  # fmt: skip
