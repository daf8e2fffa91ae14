"""Whose a tag is, what speaks against moving it, and what a person is told of that."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from reconciler.identity.resolve import Resolution
from reconciler.model.applied import Applied, AppliedTag, History
from reconciler.model.digest import Digest
from reconciler.model.fleet import UNNAMED
from reconciler.model.observed import ABSENT, Found, Observed, Unknown
from reconciler.model.plan import Action, Change, Reason, ReasonCode
from reconciler.model.policy import DriftPolicy, Policy, Response
from reconciler.model.problem import Next, Problem
from reconciler.model.record import BuildRecord
from reconciler.model.reference import Reference
from reconciler.plan.compare import make_plan
from reconciler.plan.drift import TagDrift, next_tag, revisions_behind
from tests import strategies as some
from tests.commits import FLEET, Commit, artifact
from tests.plan.evidence import Evidence, resolved

if TYPE_CHECKING:
    from reconciler.model.observed import Sighting

WANTED, THERE, OTHER = (Digest.of(name) for name in (b"wanted", b"there", b"other"))
OURS, NEWER, THEIRS = "a" * 40, "b" * 40, "c" * 40
API = artifact("shop/api", tags=("1.0", "latest"))
DOWN = Unknown(Problem("registry-down", "the registry does not answer"))


def record(fleet: str = FLEET, revision: str = OURS, digest: Digest = THERE, key: str = "0" * 64) -> BuildRecord:
    return BuildRecord("shop/api", revision, key, digest, {}, "", 1.0, fleet=fleet)


def document(
    digest: Digest = THERE, *, fleet: str = FLEET, history: History | None = None, revision: str = OURS, time: int = 0
) -> Applied:
    entry = AppliedTag(digest, "shop/api", revision, time)
    return Applied(fleet, history or History(revision), {"1.0": entry, "latest": entry})


def drift(
    applied: Applied | Unknown | None = None,
    records: Any = (),
    *,
    head: Sighting = Found(THERE),  # noqa: B008 - a value
    lineage: dict[str, bool | None] | None = None,
    policy: Policy | None = None,
    allow_older: bool = False,
) -> TagDrift:
    """Both tags of the artifact name the same."""
    observed = Observed(
        heads={Reference(API.image, tag): head for tag in API.tags},
        records={(API.image, THERE): records},
        applied={API.image: applied},
        lineage=lineage or {},
    )
    return TagDrift(API, observed, FLEET, policy or Policy(), History(OURS, 5), allow_older)


# -- whose it is ------------------------------------------------------------------------------------------------------

WHOSE = {
    "lian put it there": (document(), (record(),), ReasonCode.TAG_DIFFERS),
    "lian put it there, and its record is lost": (document(), (), ReasonCode.TAG_DIFFERS),
    "lian put it there, and its record cannot be read": (document(), DOWN, ReasonCode.TAG_DIFFERS),
    "someone moved it to another image of the fleet": (document(OTHER), (record(),), ReasonCode.RETAGGED),
    "someone moved it to an image that nobody knows": (document(OTHER), (), ReasonCode.FOREIGN),
    "someone moved it to an image of another fleet": (document(OTHER), (record("umbrella"),), ReasonCode.FOREIGN),
    "no document, an image of the fleet": (None, (record(),), ReasonCode.TAG_DIFFERS),
    "no document, an image from before fleets were recorded": (None, (record(""),), ReasonCode.TAG_DIFFERS),
    "no document, an image that nobody knows": (None, (), ReasonCode.FOREIGN),
    "no document, an image of another fleet": (None, (record("umbrella"),), ReasonCode.FOREIGN),
    "no document, an image from before the fleet had a name": (None, (record(UNNAMED),), ReasonCode.TAG_DIFFERS),
    "no document, an image of another repo that has no name": (
        None,
        (record(UNNAMED, revision="9" * 40),),
        ReasonCode.FOREIGN,
    ),
    "one record of another fleet, one of ours": (None, (record("umbrella"), record()), ReasonCode.TAG_DIFFERS),
    "a document that cannot be read, our image": (DOWN, (record(),), ReasonCode.TAG_DIFFERS),
}


@pytest.mark.parametrize("case", WHOSE)
def test_whose_a_tag_is(case: str) -> None:
    applied, records, code = WHOSE[case]
    moves = drift(applied, records).moves(WANTED)
    assert [(r.code, r.old, r.new, r.subject) for r in moves] == [
        (code, str(THERE), str(WANTED), tag) for tag in ("1.0", "latest")
    ]


def test_a_tag_that_is_right_or_cannot_be_seen_is_no_drift() -> None:
    assert drift(head=Found(WANTED)).moves(WANTED) == []
    assert drift(head=DOWN).moves(WANTED) == []
    assert drift(head=ABSENT).moves(None) == []
    assert [r.code for r in drift(head=ABSENT).moves(WANTED)] == [ReasonCode.ABSENT] * 2


# -- what speaks against it -------------------------------------------------------------------------------------------


def test_only_tags_that_are_somewhere_else_are_stuck() -> None:
    policy = Policy(immutable_tags=("1.*",))
    stuck = drift(records=(record(),), policy=policy).stuck(drift(records=(record(),)).moves(WANTED))
    assert [(r.code, r.subject) for r in stuck] == [(ReasonCode.IMMUTABLE, "1.0")]
    absent = drift(head=ABSENT, policy=policy)
    assert absent.stuck(absent.moves(WANTED)) == []


SUPERSEDED: dict[str, tuple[Applied | None, tuple[BuildRecord, ...], dict[str, bool | None], str | None]] = {
    "git knows": (document(revision=NEWER), (), {NEWER: True}, NEWER),
    "git knows better": (document(revision=NEWER, time=9), (), {NEWER: False}, None),
    "its ancestors tell": (document(history=History.of(NEWER, 9, (OURS,), complete=False)), (), {}, NEWER),
    "its ancestors are all there are": (document(history=History.of(NEWER, 9, (), complete=True)), (), {}, None),
    "only the time is known": (document(revision=NEWER, time=9), (), {NEWER: None}, NEWER),
    "only the time is known, and it is the same": (document(revision=NEWER, time=5), (), {NEWER: None}, None),
    "a branch wrote last, and git knows who moved the tag": (
        document(revision=NEWER, history=History(THEIRS)),
        (),
        {THEIRS: False, NEWER: True},
        NEWER,
    ),
    "our own commit": (document(revision=OURS, time=9), (), {}, None),
    "a newer commit built what is there": (None, (record(revision=NEWER),), {NEWER: True}, NEWER),
    "a newer commit built it as well": (None, (record(), record(revision=NEWER)), {NEWER: True}, NEWER),
    "a newer commit of another fleet built it": (None, (record("umbrella", NEWER),), {NEWER: True}, None),
    "an unknown commit built it": (None, (record(revision=NEWER),), {NEWER: None}, None),
}


@pytest.mark.parametrize("case", SUPERSEDED)
def test_a_newer_commit_supersedes(case: str) -> None:
    applied, records, lineage, newer = SUPERSEDED[case]
    found = drift(applied, records, lineage=dict(lineage)).superseded()
    assert (found and (found.code, found.old, found.new)) == (newer and (ReasonCode.SUPERSEDED, newer, OURS))
    assert drift(applied, records, lineage=dict(lineage), allow_older=True).superseded() is None


def test_where_every_commit_behind_an_image_stands_is_asked() -> None:
    applied = Applied(
        FLEET,
        History("1" * 40),
        {tag: AppliedTag(THERE, "shop/api", number * 40) for tag, number in (("latest", "2"), ("unseen", "3"))},
    )
    observed = Observed(
        heads={Reference(API.image, "latest"): Found(THERE), Reference(API.image, digest=THERE): Found(THERE)},
        records={(API.image, THERE): (record(revision="4" * 40),), (API.image, OTHER): DOWN},
        applied={API.image: applied, artifact("shop/other").image: None, artifact("shop/down").image: DOWN},
    )
    assert revisions_behind(observed) == {"1" * 40, "2" * 40, "4" * 40}
    assert revisions_behind(Observed()) == set()


# -- one image of the same inputs that must not move, another under the content tag -----------------------------------


def fixed_plan(*, lacking: tuple[Digest, ...] = (), key_differs: bool = False, policy: Policy | None = None) -> Change:
    """Two passes built the same inputs at once and got two images: 1.0 names one, all other tags the other."""
    rules = policy or Policy(immutable_tags=("1.*",))
    commit = Commit((API,), {"shop/api/Dockerfile": b"FROM scratch\n"}, policy=rules)
    resolution = Resolution(commit.desired, 0.0)
    observed = Observed()
    while questions := resolution.still_needed(observed):
        identity = resolution.identities.get(API.name)
        key = "f" * 64 if key_differs else getattr(identity, "key", "")
        observed.take(
            Observed(
                # The content tag and latest name the other.
                heads={r: Found(THERE if r.tag == "1.0" else OTHER) for r in questions.heads},
                records={i: (record(revision=commit.revision, digest=i[1], key=key),) for i in questions.records},
                applied={where.repository: None for where in questions.applied},
                missing={i: lacking if i[1] == THERE else () for i in questions.whole},
            )
        )
    (change,) = make_plan(resolution, observed).changes
    return change


def test_the_image_that_a_fixed_tag_names_is_the_one_that_counts() -> None:
    change = fixed_plan()
    assert (change.action, change.digest) == (Action.RETAG, THERE)
    assert {(r.code, r.old, r.new) for r in change.reasons} == {(ReasonCode.TAG_DIFFERS, str(OTHER), str(THERE))}
    subjects = [r.subject or "" for r in change.reasons]
    assert subjects[0].startswith("lian-")
    assert subjects[1:] == ["latest"]


@pytest.mark.parametrize("case", [{"key_differs": True}, {"lacking": (OTHER,)}], ids=["other inputs", "broken"])
def test_unless_it_was_built_from_something_else_or_is_broken(case: Any) -> None:
    change = fixed_plan(**case)
    assert (change.action, change.holds[0].code) == (Action.HOLD, "tag-immutable")


def test_where_tags_may_move_the_content_tag_decides() -> None:
    change = fixed_plan(policy=Policy())
    assert (change.action, change.digest) == (Action.RETAG, OTHER)
    assert [r.subject for r in change.reasons] == ["1.0"]


# -- what is said of it -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("response", Response)
def test_the_policy_answers_what_others_did(response: Response) -> None:
    rules = Policy(drift=DriftPolicy(retagged=response, foreign=response, broken=response))
    tags = drift(policy=rules)
    others = (ReasonCode.RETAGGED, ReasonCode.FOREIGN, ReasonCode.BROKEN)
    assert [tags.response(Reason(code)) for code in others] == [response] * 3
    assert [tags.response(Reason(code)) for code in (ReasonCode.IMMUTABLE, ReasonCode.SUPERSEDED)] == [
        Response.HOLD
    ] * 2
    rest = set(ReasonCode) - {*others, ReasonCode.IMMUTABLE, ReasonCode.SUPERSEDED}
    assert {tags.response(Reason(code)) for code in rest} == {Response.HEAL}


@pytest.mark.parametrize(
    ("reason", "code", "says", "next_"),
    [
        (Reason(ReasonCode.FOREIGN, str(THERE), None, "latest"), "tag-foreign", "shop/api:latest", Next.PERSON),
        (Reason(ReasonCode.RETAGGED, str(THERE), None, "latest"), "tag-retagged", "shop/api:latest", Next.PERSON),
        (Reason(ReasonCode.IMMUTABLE, str(THERE), None, "1.0"), "tag-immutable", "must not move", Next.PERSON),
        (Reason(ReasonCode.SUPERSEDED, NEWER, OURS), "superseded", NEWER[:12], Next.RETRY),
        (Reason(ReasonCode.BROKEN, str(THERE)), "image-broken", THERE.hex[:12], Next.PERSON),
    ],
)
def test_a_hold_says_why_and_what_to_do(reason: Reason, code: str, says: str, next_: Next) -> None:
    problem = drift().problem(reason, Change(API.name, API.image, API.tags, (), Action.BUILD, (reason,)))
    assert (problem.code, problem.next, problem.artifact) == (code, next_, "shop/api")
    assert problem.hint
    assert says in f"{problem.message} {problem.hint}"


FIXED = Policy(immutable_tags=("1.*",), drift=DriftPolicy(foreign=Response.HEAL))
FIRST = Commit((artifact("shop/api", tags=("1.0",)),), {"shop/api/app": b"1"}, policy=FIXED)
SECOND = FIRST.changed({"shop/api/app": b"2"})


def stuck(commit: Commit, evidence: Evidence, *, forced: bool = False) -> tuple[str, str]:
    """Message and hint of the fixed tag's problem."""
    resolution, observed = resolved(commit, evidence, forced=frozenset({API.name} if forced else ()))
    (change,) = make_plan(resolution, observed).changes
    assert (change.action, [p.code for p in change.holds]) == (Action.HOLD, ["tag-immutable"])
    return change.holds[0].message, change.holds[0].hint or ""


def evidence_of(*commits: Commit) -> Evidence:
    evidence = Evidence()
    for commit in commits:
        evidence.apply(commit.desired)
    return evidence


@pytest.mark.parametrize("was_there", [False, True], ids=["to be built", "built before"])
def test_where_the_inputs_changed_a_fixed_tag_is_to_be_followed_by_another(*, was_there: bool) -> None:
    evidence = evidence_of(*([SECOND] if was_there else []), FIRST)
    message, hint = stuck(SECOND, evidence)
    assert message.endswith("shop/api:1.0 must not move, and its inputs changed")
    assert hint == "write a new tag in the directive, such as 1.1"


def test_a_fixed_tag_that_someone_moved_has_the_same_inputs_as_ever() -> None:
    evidence, fixed = evidence_of(FIRST, SECOND), Reference(API.image, "1.0")
    there, wanted = evidence_of(FIRST).heads[fixed], evidence.heads[fixed]
    assert isinstance(there, Found)
    assert isinstance(wanted, Found)
    evidence.heads[fixed] = there
    message, hint = stuck(SECOND, evidence)
    assert message.endswith(f"shop/api:1.0 must not move, and was moved to {there.digest.hex[:12]} by someone else")
    assert hint == f"move it back to {wanted.digest.hex[:12]}, or remove it: lian sets a tag that is not there"


def test_a_fixed_tag_at_a_foreign_image_has_the_same_inputs_as_ever() -> None:
    evidence = evidence_of(FIRST)
    evidence.heads[Reference(API.image, "1.0")] = Found(OTHER)
    message, hint = stuck(FIRST, evidence)
    assert message.endswith(f"shop/api:1.0 must not move, and points at {OTHER.hex[:12]}, which lian did not make")
    assert "new tag" not in hint


def test_a_forced_build_would_move_a_fixed_tag_whose_inputs_are_the_same() -> None:
    message, hint = stuck(FIRST, evidence_of(FIRST), forced=True)
    assert message.endswith("shop/api:1.0 must not move, and a forced build would move it")
    assert hint == "leave shop/api out of --force"
    assert "its inputs changed" in stuck(SECOND, evidence_of(FIRST), forced=True)[0]


def test_what_waits_for_a_parent_says_whether_its_own_inputs_changed() -> None:
    def child(app: bytes) -> Commit:
        made = (artifact("shop/base"), artifact("shop/api", tags=("1.0",), contexts={"base": "artifact:shop/base"}))
        files = {"shop/api/Dockerfile": b"FROM base\n", "shop/api/app": app, "shop/base/app": app}
        return Commit(made, files, policy=FIXED)

    resolution, observed = resolved(child(b"2"), evidence_of(child(b"1")))
    held = make_plan(resolution, observed).changes[1].holds[0]
    assert "its inputs changed" in held.message
    assert held.hint == "write a new tag in the directive, such as 1.1"


@pytest.mark.parametrize(
    ("tag", "following"),
    [("1.4.2", "1.4.3"), ("v9", "v10"), ("1.0-rc1", "1.0-rc2"), ("007", "008"), ("099", "100"), ("stable", "stable-2")],
)
def test_the_tag_that_could_follow(tag: str, following: str) -> None:
    assert next_tag(tag) == following


@given(some.tags)
def test_a_following_tag_is_another_tag(tag: str) -> None:
    following = next_tag(tag)
    assert following != tag
    assert Reference.parse(f"registry.example/shop/api:{following}").tag == following


def test_an_artifact_is_judged_by_its_own_repository_alone() -> None:
    elsewhere = artifact("shop/other", tags=("latest",))
    tags = drift(document(), (record(),))
    tags.observed.heads[Reference(elsewhere.image, "latest")] = Found(THERE)
    assert [r.code for r in replace(tags, artifact=elsewhere).moves(WANTED)] == [ReasonCode.FOREIGN]
