"""Rules against artifacts: what breaks them, what they are not about, and what becomes of what breaks one."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.collector import paused
from reconciler.model.artifact import Place
from reconciler.model.desired import Desired, Fetched, Remote
from reconciler.model.lock import Lock
from reconciler.model.moving import Part, PartKind
from reconciler.model.outcome import Status
from reconciler.model.plan import Action, ReasonCode
from reconciler.model.problem import LianError, Problem
from reconciler.model.rule import ArgRules, Choice, Most, Rule, Rulebook, Written
from reconciler.model.tier import BuildSpec, RunnerOverride
from reconciler.plan.rules import ruled, violations
from reconciler.plan.select import Selection
from reconciler.reconcile import Options, judged, load, plan_once, reconcile_once
from tests.commits import AMD64, ARM64, HOST, Commit, artifact
from tests.fakes import World, problem

if TYPE_CHECKING:
    from pathlib import Path

NAMES_AND_GLOBS = st.one_of(st.sampled_from(["a/x", "b/x-1", "*", "a/*"]), st.text("ab/xy*?[]!-1", max_size=6))
PLACE = Place("policy/p.ncl", 2, 3)
OUTSIDE = {"w/api/Dockerfile": b"FROM python:3.12\nCOPY --from=quay.io/a/tools:1 / /\n"}


def rule(name: str = "r", **more: Any) -> Rule:
    return Rule(name, PLACE, **more)


def found(commit: Commit, *rules: Rule) -> list[tuple[str, str]]:
    """(what is written where, what is said), without the rule's name."""
    desired = replace(commit, rules=rules).desired
    told = []
    for one in violations(desired):
        where = one.written.image or "/".join(".".join(path) for path in one.written.fields)
        told.append((where.replace("artifacts.api.", ""), one.message.removeprefix(f"the rule {one.rule.name} ")))
    return told


def api(files: dict[str, bytes] | None = None, *, spec: BuildSpec | None = None, **more: Any) -> Commit:
    return Commit((artifact("w/api", **more),), files or {}, specs={"w/api": spec} if spec else {})


def test_without_a_rule_everything_passes() -> None:
    assert found(api(OUTSIDE)) == []
    assert found(api(OUTSIDE), rule(because="nothing is asked")) == []


def test_bases_are_those_that_the_build_takes_in() -> None:
    allowed = rule(bases=Choice(("docker.io/library/*",)))
    assert found(api(OUTSIDE), allowed) == [("quay.io/a/tools:1", "does not allow the base quay.io/a/tools:1")]
    assert found(api(OUTSIDE), rule(bases=Choice(None, ("*:3.*",)))) == [
        ("python:3.12", "denies the base docker.io/library/python:3.12")
    ]
    assert len(found(api(OUTSIDE), rule(pinned=True))) == 2
    assert [where for where, _ in found(api(OUTSIDE), rule(bases=Choice(())))] == ["python:3.12", "quay.io/a/tools:1"]
    pinned = {"w/api/Dockerfile": b"FROM python@sha256:" + b"0" * 64 + b"\n"}
    assert found(api(pinned), rule(pinned=True)) == []


def test_what_reads_a_dockerfile_is_judged_as_a_base_is() -> None:
    """A frontend decides what is built, so a rule that it walks around is none."""
    commit = replace(api({"w/api/Dockerfile": b"FROM scratch\n"}), frontend="evil.example/docker/dockerfile:1")
    allowed = rule(bases=Choice(("docker.io/docker/dockerfile",)))
    said = "does not allow the base evil.example/docker/dockerfile:1"
    assert found(commit, allowed) == [("evil.example/docker/dockerfile:1", said)]


def test_a_named_context_is_judged_if_it_is_used() -> None:
    contexts = {"python:3.12": "image:evil.test/python:1", "unused": "image:evil.test/x:1", "folder": "libs"}
    commit = api({**OUTSIDE, "libs/a": b""}, contexts=contexts)
    assert found(commit, rule(bases=Choice(("quay.io/*",)))) == [
        ("contexts.python:3.12", "does not allow the base evil.test/python:1")
    ]


def test_artifacts_that_others_stand_on_are_no_bases() -> None:
    base, child = artifact("w/base"), artifact("w/api", contexts={"base": "artifact:w/base"})
    commit = Commit((base, child), {"w/api/Dockerfile": b"FROM base\n", "w/base/Dockerfile": b"FROM scratch\n"})
    assert found(commit, rule(bases=Choice(()))) == []


def test_a_check_is_judged_as_the_build_is() -> None:
    desired = replace(api(OUTSIDE, checks=("test",)), rules=(rule(bases=Choice(("docker.io/*",))),)).desired
    (name, wanted), *_ = desired.wanted.items()
    assert wanted.materials is not None
    plain = {platform: replace(needs, images={}) for platform, needs in wanted.materials.needs.items()}
    only_checks = replace(desired, wanted={name: replace(wanted, materials=replace(wanted.materials, needs=plain))})
    assert [v.written.image for v in violations(only_checks)] == ["quay.io/a/tools:1"]


def test_what_cannot_be_read_is_not_judged_by_its_bases() -> None:
    commit = replace(api(OUTSIDE), holds={"w/api": problem().problems[0]})
    assert found(commit, rule(bases=Choice(()), tags=Choice(None, ("latest",)))) == [("tags", "denies the tag latest")]


GIT = "git:https://git.example/team/app.git@main"


def test_sources_are_git_contexts_used_or_not() -> None:
    commit = api({"w/api/Dockerfile": b"FROM scratch\n"}, contexts={"lib": GIT})
    assert found(commit, rule(sources=Choice(("git.example/team/*",)))) == []
    assert found(commit, rule(sources=Choice(("git.example/other/*",)))) == [
        ("contexts.lib.git", "does not allow the source https://git.example/team/app.git@main")
    ]
    assert found(commit, rule(sources=Choice(None, ("git.example/team/*",)))) == [
        ("contexts.lib.git", "denies the source https://git.example/team/app.git@main")
    ]


def test_a_git_context_is_fixed_by_its_commit_or_the_lock() -> None:
    asked = rule(sources_pinned=True)
    says = "wants sources to be fixed, and https://git.example/team/app.git@main may change"
    loose = api(contexts={"lib": GIT})
    assert found(loose, asked) == [("contexts.lib.git", says)]
    assert found(api(contexts={"lib": GIT.replace("main", "a" * 40)}), asked) == []
    desired = replace(loose, rules=(asked,)).desired
    locked = Lock(git={("https://git.example/team/app.git", "main"): "a" * 40})
    assert violations(replace(desired, lock=locked)) == []


def adding(*remotes: Remote, fetched: tuple[Fetched, ...] = ()) -> Desired:
    """An artifact whose Dockerfile fetches these."""
    desired = api().desired
    (name, wanted), *_ = desired.wanted.items()
    assert wanted.materials is not None
    needs = {p: replace(n, remotes=remotes, fetched=fetched) for p, n in wanted.materials.needs.items()}
    return replace(desired, wanted={name: replace(wanted, materials=replace(wanted.materials, needs=needs))})


def against(desired: Desired, *rules: Rule) -> list[tuple[int | None, str]]:
    """(line of the Dockerfile, what is said)."""
    told = violations(replace(desired, rules=Rulebook(rules)))
    return [(v.written.line, v.message.removeprefix(f"the rule {v.rule.name} ")) for v in told]


def test_what_a_dockerfile_fetches_is_a_source() -> None:
    url = "https://dl.example/x.tgz"
    desired = adding(Remote(url, "https://dl.example/$V.tgz", 3, pinned=True), Remote(None, "$URL", 4, pinned=False))
    unsure = "cannot tell where $URL leads: only the build will know what that is"
    assert against(desired, rule(sources=Choice(("git.example/*",)))) == [
        (3, "does not allow the source https://dl.example/x.tgz"),
        (4, unsure),
    ]
    assert against(desired, rule(sources=Choice(None, ("evil.example/*",)))) == [(4, unsure)]
    assert against(desired, rule(sources=Choice(("*",)))) == []
    assert against(desired, rule(sources_pinned=True)) == [(4, "wants sources to be fixed, and $URL may change")]
    dots = adding(Remote("https://dl.example/ok/../evil", "https://dl.example/ok/../evil", 3, pinned=True))
    said = "cannot tell where https://dl.example/ok/../evil leads: a server may read that otherwise"
    assert against(dots, rule(sources=Choice(("dl.example/ok/*",)))) == [(3, said)]


def test_a_source_is_named_without_secrets() -> None:
    desired = adding(Remote("https://dl.example/hunter2/x?t=1", "https://dl.example/$T/x", 3, pinned=True))
    (name,) = desired.wanted
    told = replace(desired.wanted[name].artifact, args={"NPM_TOKEN": "hunter2"})
    secret = replace(desired, wanted={name: replace(desired.wanted[name], artifact=told)})
    assert against(secret, rule(sources=Choice(("git.example/*",)))) == [
        (3, "does not allow the source https://dl.example/***/x?***")
    ]


def test_what_the_lock_pins_of_it_is_fixed() -> None:
    url = "https://dl.example/x.tgz"
    pinned = Fetched(url, Part(PartKind.URL, url), 3, "sha256:" + "0" * 64)
    loose = Remote(url, url, 3, pinned=False)
    assert against(adding(loose, fetched=(pinned,)), rule(sources_pinned=True)) == []
    assert len(against(adding(loose, fetched=(replace(pinned, pin=None),)), rule(sources_pinned=True))) == 1


def test_where_an_image_is_pushed() -> None:
    says = "does not let images be pushed to registry.example:5000/w/api"
    assert found(api(), rule(image=Choice(("registry.example:5000/w/*",)))) == []
    assert found(api(), rule(image=Choice(("registry.example:5000/x/*",)))) == [("image", says)]
    assert found(api(), rule(image=Choice(("*",), ("*/w/api",)))) == [("image", says)]


def test_tags_platforms_and_secrets() -> None:
    commit = api(tags=("1.4", "dev-1"), platforms=(AMD64,), secrets={"npm": "prod-npm"})
    assert found(commit, rule(tags=Choice(("[0-9]*",), ("dev*",)))) == [
        ("tags", "denies the tag dev-1"),
        ("tags", "does not allow the tag dev-1"),
    ]
    assert found(commit, rule(platforms=frozenset({ARM64}), required_platforms=frozenset({ARM64, AMD64}))) == [
        ("platforms", "does not allow the platform linux/amd64"),
        ("platforms", "requires the platform linux/arm64"),
    ]
    assert found(commit, rule(secrets=Choice(("npm-*",)))) == [("secrets.npm", "does not allow the secret prod-npm")]
    assert found(commit, rule(secrets=Choice((), ("prod-*",))))[0] == ("secrets.npm", "denies the secret prod-npm")


def test_labels() -> None:
    asked = rule(labels={"source": "https://*", "vendor": "*"})
    assert found(api(labels={"source": "https://x", "vendor": "v", "more": ""}), asked) == []
    assert found(api(labels={"source": "ftp://x", "vendor": ""}), asked) == [
        ("labels.source", "wants the label source to match https://*, and it is ftp://x"),
        ("labels", "requires the label vendor"),
    ]


def test_arguments_are_never_shown() -> None:
    args = {"NPM_TOKEN": "hunter2", "Extra": "https://a:hunter2@example.org", "OK": "1", "PUBLIC_TOKEN": "hunter2"}
    asked = rule(args=ArgRules(("ok", "PUBLIC*"), True, ("public_*",)))
    told = found(api(args=args), asked)
    assert told == [
        ("args.Extra", "wants no secret in an argument, and Extra has the form of a URL with a password"),
        ("args.NPM_TOKEN", "wants no secret in an argument, and NPM_TOKEN is named like one (it ends in TOKEN)"),
        ("args.OK", "denies the argument OK"),
    ]
    desired = replace(api(args=args), rules=(asked,)).desired
    assert "hunter2" not in repr([v.problem(PLACE) for v in violations(desired)])


MOST = rule(most=Most(4, 8, 30))


@pytest.mark.parametrize(
    ("runner", "spec", "wanted"),
    [
        (None, None, []),
        (RunnerOverride(4, 8, 30), None, []),
        (RunnerOverride(5, 8, 31), None, ["runner.cpu", "runner.time_budget"]),
        (None, BuildSpec("s", 8, 8), ["spec.cpu"]),
        (RunnerOverride(2), BuildSpec("s", 8, 16), ["spec.memory_gb"]),
        (RunnerOverride(tier="large"), None, ["runner.tier", "runner.tier"]),
        (RunnerOverride(tier="large", cpu=2), None, ["runner.tier"]),
        (RunnerOverride(tier="large", cpu=2, memory_gb=4), BuildSpec("s", 99, 99, 60), ["spec.time_budget"]),
        (RunnerOverride(tier="small"), BuildSpec("s", 99, 99), []),
        (RunnerOverride(tier="gone"), None, ["runner.tier"] * 3),
    ],
)
def test_sizes_are_judged_by_what_decides_of_them(
    runner: RunnerOverride | None, spec: BuildSpec | None, wanted: list[str]
) -> None:
    desired = replace(api(runner=runner, spec=spec), rules=(MOST,)).desired
    told = []
    for one in violations(desired):
        fields = one.written.fields
        told.append("spec." + fields[0][0] if one.written.file == "s" else ".".join(fields[-1]))
        assert one.written.file == "s" or fields[0] == ("artifacts", "api", *fields[1])
    assert told == wanted


def test_tiers_that_may_be_named() -> None:
    large = api(runner=RunnerOverride(tier="large"))
    assert [said for _, said in found(large, rule(tiers=("small",)))] == ["does not allow the tier large"]
    assert found(large, rule(tiers=("large",))) == []
    assert found(api(runner=RunnerOverride(cpu=4)), rule(tiers=())) == []


def test_an_age() -> None:
    assert found(api(max_age=86_400), rule(max_age="1d")) == []
    for age in (None, 86_401):
        assert found(api(max_age=age), rule(max_age="1d")) == [("max_age", "requires a `max_age` of at most 1d")]


def test_a_rule_is_about_what_it_names() -> None:
    commit = Commit((artifact("a/x"), artifact("a/y"), artifact("b/x")))
    for globs, but, names in (
        (("*",), (), ["a/x", "a/y", "b/x"]),
        (("a/*",), (), ["a/x", "a/y"]),
        (("a/*", "b/*"), ("*/y",), ["a/x", "b/x"]),
        (("c/*",), (), []),
        (("*",), ("*",), []),
    ):
        one = rule(artifacts=globs, excepted=but, tags=Choice(None, ("latest",)))
        desired = replace(commit, rules=(one,)).desired
        assert [str(v.artifact) for v in violations(desired)] == names
        assert [str(name) for name in desired.wanted if one.is_about(str(name))] == names


@given(st.lists(NAMES_AND_GLOBS, min_size=1, max_size=4), st.lists(NAMES_AND_GLOBS, max_size=3))
def test_a_rule_reads_its_globs_as_globs_are_read(globs: list[str], but: list[str]) -> None:
    one = rule(artifacts=tuple(globs), excepted=tuple(but))
    for name in ("a/x", "a/y", "b/xy", "b/x-1"):
        about = any(fnmatchcase(name, glob) for glob in globs) and not any(fnmatchcase(name, glob) for glob in but)
        assert one.is_about(name) == about


def test_a_rule_of_many_names_is_asked_of_many() -> None:
    """By refusals of --force and by the look for idle rules."""
    one = rule(artifacts=tuple(f"w/a{number}" for number in range(2_000)), excepted=("*-test",))
    started = time.process_time()
    assert sum(one.is_about(f"w/a{number}") for number in range(10_000)) == 2_000
    assert time.process_time() - started < 3, "each name was matched against all"


def test_every_rule_holds_and_each_is_told_once() -> None:
    commit = api(OUTSIDE, platforms=(AMD64, ARM64))
    two = (rule("a", bases=Choice(())), replace(rule("a", bases=Choice(())), place=Place("policy/q.ncl", 9, 1)))
    assert len(found(commit, two[0])) == 2
    assert len(found(commit, *two)) == 4


def test_a_violation_names_both_places() -> None:
    places = {("tags",): Place("policy/p.ncl", 4, 5), ("tags", "deny"): Place("policy/p.ncl", 4, 10)}
    one = rule("no-latest", because="it moves", tags=Choice(None, ("latest",)), places=places)
    (found_one,) = violations(replace(api(), rules=(one,)).desired)
    told = found_one.problem(Place("directives/w.ncl", 7, 2))
    assert told == Problem(
        "policy-violation",
        "the rule no-latest denies the tag latest",
        "directives/w.ncl",
        7,
        2,
        "w/api",
        "policy/p.ncl:4:10 (tags.deny): it moves",
        "name a tag other than latest",
        shared="the rule no-latest denies the tag latest",
    )
    assert one.place_of("tags", "allow") == places["tags",]
    assert one.place_of("bases", "allow") == PLACE


# -- what becomes of it


TWO = Commit((artifact("w/bad", tags=("latest",)), artifact("w/good", tags=("1",)), artifact("w/child",
              tags=("1",), contexts={"base": "artifact:w/bad"})), {"w/child/Dockerfile": b"FROM base\n"})  # fmt: skip
NO_LATEST = rule("no-latest", tags=Choice(None, ("latest",)))


def test_what_breaks_a_rule_is_held_and_the_rest_is_built(tmp_path: Path) -> None:
    world = World(replace(TWO, rules=(NO_LATEST,)), tmp_path)
    plan, outcome = asyncio.run(reconcile_once(world.ports(), Options()))
    actions = {str(change.artifact): change.action for change in plan.changes}
    assert actions == {"w/bad": Action.HOLD, "w/good": Action.BUILD, "w/child": Action.HOLD}
    (bad,) = (change for change in plan.changes if str(change.artifact) == "w/bad")
    assert [reason.code for reason in bad.reasons] == [ReasonCode.INVALID]
    assert [p.code for p in plan.problems] == ["policy-violation"]
    assert {str(r.artifact): r.status for r in outcome.results if r.status is Status.DONE} == {"w/good": Status.DONE}
    assert "places" in world.points.seen


def test_places_are_not_asked_for_where_all_is_well(tmp_path: Path) -> None:
    world = World(replace(TWO, rules=(rule(tags=Choice(None, ("nobody",))),)), tmp_path)
    asyncio.run(load(world.ports()))
    assert "places" not in world.points.seen


def test_directives_can_be_judged_by_the_rules_of_another_commit(tmp_path: Path) -> None:
    world = World(replace(TWO, rules=()), tmp_path)
    head = asyncio.run(world.source.load())
    assert asyncio.run(judged(head, world.source)).problems == ()
    told = asyncio.run(judged(replace(head, rules=Rulebook((NO_LATEST,))), world.source))
    assert [problem.artifact for problem in told.problems] == ["w/bad"]


def test_while_a_policy_is_wrong_nothing_is_built(tmp_path: Path) -> None:
    world = World(TWO, tmp_path)
    wrong = Problem("nickel-syntax", "unexpected token", "policy/x.ncl", 3, 1)
    head = replace(asyncio.run(world.source.load()), rules=Rulebook((NO_LATEST,), (wrong,)))
    told = asyncio.run(judged(head, world.source))
    assert [problem.code for problem in told.problems] == ["nickel-syntax", "policy-violation"]
    assert all(wanted.materials is None for wanted in told.wanted.values())
    held = {str(name): [problem.code for problem in wanted.holds] for name, wanted in told.wanted.items()}
    assert held == {
        "w/bad": ["policy-violation", "policy-unknown"],
        "w/good": ["policy-unknown"],
        "w/child": ["policy-unknown"],
    }
    assert told.wanted[artifact("w/good").name].holds[0].place == "policy/x.ncl:3:1"


def test_forcing_is_refused_for_everyone_and_before_anything(tmp_path: Path) -> None:
    commit = replace(TWO, rules=(rule("by-hand", artifacts=("w/g*",), force=False, because="it is signed"),))
    world = World(commit, tmp_path)
    with pytest.raises(LianError) as caught:
        asyncio.run(plan_once(world.ports(), Options(forced=("w/*",))))
    (told,) = caught.value.problems
    assert (told.code, told.artifact, told.file) == ("force-denied", "w/good", "--force")
    assert told.cause == "policy/p.ncl:2:3 (force): it is signed"
    assert "head" not in world.points.seen
    plan = asyncio.run(plan_once(world.ports(), Options(Selection(("w/bad",)), forced=("w/bad",)))).plan
    assert plan.changes[0].reasons[0].code is ReasonCode.FORCED


_TAGS = st.lists(st.sampled_from(["1", "2", "latest", "dev"]), min_size=1, max_size=3, unique=True)


@given(st.lists(_TAGS, min_size=1, max_size=5), st.lists(st.sampled_from(["latest", "dev", "[0-9]"]), max_size=2))
def test_exactly_what_breaks_a_rule_is_invalid(tags: list[list[str]], denied: list[str]) -> None:
    commit = Commit(tuple(artifact(f"w/a{i}", tags=tuple(each)) for i, each in enumerate(tags)))
    desired = replace(commit, rules=(rule(tags=Choice(None, tuple(denied))),)).desired
    broken = violations(desired)
    after = ruled(desired, [one.problem(PLACE) for one in broken])
    wrong = {
        f"w/a{i}"
        for i, each in enumerate(tags)
        if any(tag == glob or (glob == "[0-9]" and tag.isdigit()) for tag in each for glob in denied)
    }
    assert {str(name) for name, wanted in after.wanted.items() if wanted.materials is None} == wrong
    assert {problem.artifact for problem in after.problems} == wrong


def test_ten_thousand_are_judged_in_linear_time() -> None:
    """Twice the artifacts, about twice the processor time; a square would be four times."""

    def seconds(number: int) -> float:
        made = tuple(artifact(f"w{i % 50}/a{i}") for i in range(number))
        desired = Commit(made, rules=tuple(rule(f"r{j}", tags=Choice(None, ("latest",))) for j in range(2))).desired
        with paused():  # what other tests have left in memory is searched by the collector too
            start = time.process_time()
            told = violations(desired)
            ruled(desired, [one.problem(PLACE) for one in told])
            taken = time.process_time() - start
        assert len(told) == 2 * number
        return taken

    seconds(200)
    assert min(seconds(4000) for _ in range(3)) < 3.2 * min(seconds(2000) for _ in range(3))


def test_what_is_written_can_be_a_key() -> None:
    one = Written(artifact("w/a").name, "f", (("a", "b"),))
    assert {one: 1}[replace(one)] == 1


def test_what_a_rule_says_of_many_names_none_of_them() -> None:
    """So that it is told once, whatever differs between them."""
    commit = Commit((artifact("w/one"), artifact("w/two")))
    rules = (rule(image=Choice(("x/*",))), rule("q", labels={"team": "*"}), rule("t", tags=Choice(None, ("latest",))))
    told = [one.problem(PLACE) for one in violations(replace(commit, rules=rules).desired)]
    assert len(told) == 6
    assert len({(problem.code, problem.shared, problem.cause, problem.hint) for problem in told}) == 3
    pushed = {problem.message for problem in told if problem.shared != problem.message}
    assert pushed == {f"the rule r does not let images be pushed to {HOST}/w/{n}" for n in ("one", "two")}
