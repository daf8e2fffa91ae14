"""What a merge would make of the desired repo: base's settings, head's directives, and no more read than differs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pygit2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.desired.merged_source import MergedSource
from reconciler.desired.nickel.settings import EvaluatorSettings
from reconciler.desired.source import GitSource
from reconciler.model.artifact import Place
from reconciler.model.digest import Digest
from reconciler.model.lock import Lock
from reconciler.model.name import ArtifactName
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference
from reconciler.plan.graph import checked
from reconciler.plan.select import Selection, select
from reconciler.plan.touched import dropped, touched
from reconciler.plan.unclear import with_unclear
from tests.desired.repos import SYMLINK, Content, Repo
from tests.desired.test_source import directives, images

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.desired import Desired, Wanted


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> EvaluatorSettings:
    return EvaluatorSettings(cache=tmp_path_factory.mktemp("evaluations") / "cache.sqlite", workers=1)


class Sides:
    """A repository with a branch `main` and one that is to be merged into it, `topic`."""

    def __init__(self, folder: Path, evaluator: EvaluatorSettings) -> None:
        self.repo = Repo(folder / "repo")
        self.more: dict[str, Any] = {"cache": folder / "cache", "evaluator": evaluator}

    def commit(self, base: dict[str, Content], head: dict[str, Content]) -> None:
        start = self.repo.commit(base, "main")
        if "topic" in self.repo.git.branches.local:
            self.repo.git.branches.local["topic"].delete()
        self.repo.git.branches.local.create("topic", self.repo.git[start].peel(pygit2.Commit))
        self.repo.commit(head, "topic")

    def merged(self, **more: Any) -> tuple[Desired, Desired]:
        """What is read before and after."""
        source = MergedSource(str(self.repo.path), "main", "topic", **self.more, **more)
        after = asyncio.run(source.load())
        return asyncio.run(source.before.load()), after

    def whole(self, rev: str) -> Desired:
        return asyncio.run(GitSource(str(self.repo.path), rev, **self.more).load())


@pytest.fixture
def sides(tmp_path: Path, evaluations: EvaluatorSettings) -> Sides:
    return Sides(tmp_path, evaluations)


def named(*names: str) -> set[ArtifactName]:
    return {ArtifactName.parse(name) for name in names}


SHOP = {"directives/shop.ncl": directives("shop", "base", "api"), **images("base", "api")}
OPS = {"directives/ops.ncl": directives("ops", "job"), **images("job")}


def test_only_what_may_differ_is_read(sides: Sides) -> None:
    sides.commit({**SHOP, **OPS}, {**SHOP, **OPS, "images/api/a": b"2"})
    before, after = sides.merged()
    assert set(before.wanted) == set(after.wanted) == named("shop/base", "shop/api")
    assert touched(before, after) == named("shop/api")
    assert after.revision == str(sides.repo.git.branches["topic"].target)
    assert before.revision == str(sides.repo.git.branches["main"].target)


def test_what_main_has_got_meanwhile_is_no_part_of_it(sides: Sides) -> None:
    sides.commit({**SHOP, **OPS}, {**SHOP, **OPS, "images/api/a": b"2"})
    sides.repo.commit({**SHOP, **OPS, "images/job/a": b"2"}, "main")
    before, after = sides.merged()
    assert touched(before, after) == named("shop/api")
    assert dropped(before, after) == frozenset()


def test_the_settings_are_those_of_the_base(sides: Sides) -> None:
    base = """{ fleet = "acme", secrets.shop.token = { source = 'Env, name = "TOKEN" } }"""
    evil = """{ fleet = "evil", registry = { provider = 'Zot, url = "http://evil.example" },
      secrets.shop.token = { source = 'Command, name = "cat /etc/shadow" }, directives = ["hidden/*.ncl"] }"""
    heard: list[str] = []
    sides.commit({**SHOP, "lian.ncl": base}, {**SHOP, "lian.ncl": evil, "hidden/x.ncl": directives("x", "y")})
    before, after = sides.merged(secret=heard.extend)
    assert after.fleet == before.fleet == sides.whole("main").fleet
    assert (after.fleet.name, list(after.registries)) == ("acme", list(sides.whole("main").registries))
    assert heard == ["TOKEN", "TOKEN"]
    assert "topic changes lian.ncl: until it is merged, the settings are those of main" in after.notes
    assert touched(before, after) == frozenset()


GOOD = """{ fleet = "acme", secrets.shop.token = { source = 'Env, name = "TOKEN" } }"""
SSH = '{ compute = { provider = \'Ssh, hosts = ["host:70000"] } }'
STEPS = '{ compute = { provider = \'Local, tiers = ["nope"] } }'


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ({"lian.ncl": "{ fleet = "}, ("nickel-syntax", "lian.ncl", 1)),
        ({"lian.ncl": '{\n  flet = "acme",\n}'}, ("nickel-contract", "lian.ncl", 2)),
        ({"lian.ncl": SSH}, ("host-invalid", "lian.ncl", None)),
        ({"lian.ncl": STEPS}, ("tier-unknown", "lian.ncl", 1)),
        ({"lian.ncl": (SYMLINK, b"other.ncl")}, ("directive-is-link", "lian.ncl", None)),
        ({"policy/a.ncl": "{ rules = { a = { tgs = 1 } } }"}, ("nickel-contract", "policy/a.ncl", 1)),
        ({"policy": "not a folder"}, ("policy-is-link", "policy", None)),
    ],
)
def test_what_will_count_is_checked(
    sides: Sides, head: dict[str, Content], expected: tuple[str, str, int | None]
) -> None:
    """Whoever proposes it is told before it breaks everything; until then it counts for nothing."""
    heard: list[str] = []
    base: dict[str, Content] = {**SHOP, "lian.ncl": GOOD}
    sides.commit(base, {**base, **head, "images/api/a": b"2"})
    before, after = sides.merged(secret=heard.extend)
    assert [(problem.code, problem.file, problem.line) for problem in after.problems] == [expected]
    (path,) = head
    verb, what = ("changes", "lian.ncl") if path == "lian.ncl" else ("adds", "policy")
    counts = "settings" if what == "lian.ncl" else "rules"
    assert f"topic {verb} {what}: until it is merged, the {counts} are those of main" in after.notes
    assert after.fleet == before.fleet == sides.whole("main").fleet
    assert (after.rules, heard) == (before.rules, ["TOKEN", "TOKEN"])
    assert touched(before, after) == named("shop/api")
    assert all(wanted.materials for wanted in after.wanted.values())


def test_what_the_settings_import_counts_as_theirs(sides: Sides) -> None:
    base: dict[str, Content] = {**SHOP, "lian.ncl": '{ fleet = import "name.ncl" }', "name.ncl": '"acme"'}
    sides.commit(base, {**base, "name.ncl": '"other"'})
    note = "topic changes what is imported by lian.ncl: until it is merged, the settings are those of main"
    assert sides.merged()[1].notes[0] == note
    sides.commit(base, {**base, "name.ncl": '"oth'})
    _, after = sides.merged()
    assert ([problem.code for problem in after.problems], after.notes[:-1]) == (["nickel-syntax"], (note,))


def test_settings_that_are_deleted_are_told(sides: Sides) -> None:
    sides.commit({**SHOP, "lian.ncl": GOOD}, SHOP)
    _, after = sides.merged()
    told = "topic deletes lian.ncl: until it is merged, the settings are those of main, and then the defaults"
    assert (after.notes[0], after.problems) == (told, ())


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('builder = "v2"', ["builder (part of every key)"]),
        ("source_date_epoch = 5", ["source_date_epoch (part of every key without"]),
        ('builder = "v2", source_date_epoch = 5', ["builder (part of every key), source_date_epoch (part"]),
        ('registry = { provider = \'Zot, url = "http://h.example" }', ["registry (where images go)"]),
        (
            'registry = { provider = \'OciLayout, path = ".lian/registry", images_prefix = "p" }',
            ["registry (where images go)"],
        ),
        ('directives = ["more/*.ncl"]', ["directives (which files count)"]),
        ('fleet = "other", builder = "v2"', ["builder (part of every key)", "fleet (whose images"]),
        ("jobs = 3", []),
        ('registry = { provider = \'OciLayout, path = ".lian/registry", cache_prefix = "c" }', []),
    ],
)
def test_settings_that_will_build_otherwise_are_told(sides: Sides, said: str, told: list[str]) -> None:
    """Nothing of it is in the plan, which is made with the settings of the base."""
    sides.commit({**SHOP, "lian.ncl": "{}"}, {**SHOP, "lian.ncl": f"{{ {said} }}"})
    _, after = sides.merged()
    assert not after.problems
    found = [note for note in after.notes if note.startswith("merging topic changes ")]
    assert len(found) == bool(told)
    for each in told:
        assert each in found[0]
    assert not found or found[0].endswith("what a pass will build, copy or hold for that is not told here")


def test_settings_that_will_hold_everything_are_told(sides: Sides) -> None:
    sides.commit(SHOP, {**SHOP, "lian.ncl": '{ cache.build_mode = \'Session, cache.actor = "alice" }'})
    _, after = sides.merged()
    assert not after.problems
    assert "once this is merged, artifacts are held for it" in " ".join(after.notes)


def test_what_settings_name_is_read_from_the_base(sides: Sides) -> None:
    sides.commit({**SHOP, "ca.pem": b"good"}, {**SHOP, "ca.pem": b"evil"})
    source = MergedSource(str(sides.repo.path), "main", "topic", **sides.more)
    asyncio.run(source.load())
    assert asyncio.run(source.blob("ca.pem")) == b"good"


OWN = '  registry = { provider = \'Zot, url = "http://%s:7000" },\n'


def test_a_registry_that_is_only_proposed_is_not_asked(sides: Sides) -> None:
    proposed = {"directives/ops.ncl": directives("ops", "job", more=OWN % "evil.example"), **images("job")}
    sides.commit(SHOP, {**SHOP, **proposed, "images/api/a": b"2"})
    _, after = sides.merged()
    held = after.wanted[ArtifactName.parse("ops/job")]
    assert held.materials is None
    assert [(p.code, p.file, p.line) for p in held.holds] == [("registry-proposed", "directives/ops.ncl", 7)]
    assert not any("evil" in host for host in after.registries)
    assert after.wanted[ArtifactName.parse("shop/api")].materials is not None


def test_a_registry_that_the_base_has_is_asked(sides: Sides) -> None:
    own = {"directives/ops.ncl": directives("ops", "job", more=OWN % "127.0.0.1"), **images("job")}
    sides.commit(own, {**own, "images/job/a": b"2"})
    before, after = sides.merged()
    assert touched(before, after) == named("ops/job")
    assert list(after.registries)[-1] == "127.0.0.1:7000"
    assert not after.wanted[ArtifactName.parse("ops/job")].holds


AT = 'job = lian.make_artifact { image = "%s/job", context.path = "images/job" }'


def test_a_host_that_only_an_image_proposes_is_not_asked(sides: Sides) -> None:
    proposed = {"directives/ops.ncl": directives("ops", AT % "10.0.0.5", "more"), **images("job", "more")}
    sides.commit(SHOP, {**SHOP, **proposed})
    _, after = sides.merged()
    held = after.wanted[ArtifactName.parse("ops/job")]
    assert held.materials is None
    assert [(p.code, p.file, p.line) for p in held.holds] == [("registry-proposed", "directives/ops.ncl", 5)]
    assert held.holds[0].message.startswith("the registry 10.0.0.5 is named by nothing in main")
    assert after.wanted[ArtifactName.parse("ops/more")].materials is not None
    _, flagged = sides.merged(registry_override="http://127.0.0.1:5000")
    assert flagged.wanted[ArtifactName.parse("ops/job")].materials is None


FLEET = '{ registry = { provider = \'Zot, url = "http://10.0.0.5:7000" } }'


@pytest.mark.parametrize(
    ("base", "more"),
    [
        ({"lian.ncl": FLEET}, {}),
        ({"directives/own.ncl": directives("own", "own", more=OWN % "10.0.0.5"), **images("own")}, {}),
        ({"directives/own.ncl": directives("own", AT % "10.0.0.5:7000")}, {}),
        ({}, {"registry_override": "http://10.0.0.5:7000"}),
    ],
)
def test_a_host_that_the_base_names_is_asked(sides: Sides, base: dict[str, Content], more: dict[str, str]) -> None:
    base = {**SHOP, **base, **images("job")}
    sides.commit(base, {**base, "directives/ops.ncl": directives("ops", AT % "10.0.0.5:7000/new")})
    _, after = sides.merged(**more)
    assert not after.wanted[ArtifactName.parse("ops/job")].holds


def test_globs_may_name_what_is_not_read(sides: Sides) -> None:
    """A team's job on everybody's pull requests: nothing of theirs is changed, and nothing is wrong."""
    sides.commit({**SHOP, **OPS}, {**SHOP, **OPS, "images/api/a": b"2"})
    _, after = sides.merged()
    assert after.unread == {"ops/job"}
    assert not select(after, Selection(("ops/*",)))
    assert set(select(after, Selection(excluded=("ops/*",))) or ()) == named("shop/base", "shop/api")
    assert not select(after, Selection(excluded=("shop/*",)))
    with pytest.raises(LianError, match="selection-empty") as raised:
        select(after, Selection(("ops/jbo",)))
    assert raised.value.problems[0].hint == "did you mean ops/job?"


def test_a_lock_that_moves_touches_what_it_pins(sides: Sides) -> None:
    base: dict[str, Content] = {**SHOP, **OPS, "images/api/Dockerfile": b"FROM alpine:3\n", "lian.lock": lock("1" * 64)}
    sides.commit(base, {**base, "lian.lock": lock("2" * 64)})
    assert touched(*sides.merged()) == named("shop/api")


def lock(digest: str) -> str:
    return str(Lock({Reference.parse("docker.io/library/alpine:3"): Digest.parse(f"sha256:{digest}")}))


FROM_GIT = 'job = lian.make_artifact {{ image = "ops/job", context = {{ git = "{0}", rev = "{1}" }} }}'


def test_a_repository_that_is_only_proposed_is_not_asked(sides: Sides) -> None:
    """No question reaches it: port 1 would be told as unreachable."""
    own = {"directives/ops.ncl": directives("ops", FROM_GIT.format("http://127.0.0.1:1/evil", "main"))}
    sides.commit(SHOP, {**SHOP, **own})
    _, after = sides.merged()
    (held,) = after.wanted[ArtifactName.parse("ops/job")].holds
    assert held.code == "git-proposed"
    assert held.file == "directives/ops.ncl"


def test_a_repository_that_the_base_names_is_asked(sides: Sides) -> None:
    told = [{"directives/ops.ncl": directives("ops", FROM_GIT.format("http://127.0.0.1:1/own", rev))} for rev in "ab"]
    sides.commit({**SHOP, **told[0]}, {**SHOP, **told[1]})
    _, after = sides.merged()
    (held,) = after.wanted[ArtifactName.parse("ops/job")].holds
    assert held.code == "git-unreachable"


LOGIN = """{ git.credentials."127.0.0.1:1" = { source = 'Env, name = "TOKEN" } }"""
PRIVATE = 'job = lian.make_artifact { image = "ops/job", context = { git = "http://127.0.0.1:1/own", %s }%s }'


@pytest.mark.parametrize(
    "change", [('rev = "b"', ""), ('rev = "a", path = "secrets"', ""), ('rev = "a"', ', dockerfile = "x"')]
)
def test_of_a_private_repository_nothing_else_is_read(sides: Sides, change: tuple[str, str]) -> None:
    """The fleet's login would be shown, and what lies there be told, on a stranger's word."""
    said = [directives("ops", PRIVATE % one) for one in (('rev = "a"', ""), change)]
    base, head = ({**SHOP, "lian.ncl": LOGIN, "directives/ops.ncl": one} for one in said)
    sides.commit(base, head)
    _, after = sides.merged()
    (held,) = after.wanted[ArtifactName.parse("ops/job")].holds
    assert held.code == "git-proposed"


def test_a_pin_of_a_private_repository_counts_once_it_is_merged(sides: Sides) -> None:
    own = {**SHOP, "lian.ncl": LOGIN, "directives/ops.ncl": directives("ops", PRIVATE % ('rev = "a"', ""))}
    pins = [str(Lock(git={("http://127.0.0.1:1/own", "a"): digit * 40})) for digit in "12"]
    sides.commit({**own, "lian.lock": pins[0]}, {**own, "lian.lock": pins[1]})
    _, after = sides.merged()
    assert [hold.code for hold in after.wanted[ArtifactName.parse("ops/job")].holds] == ["git-proposed"]


def test_without_lian_in_the_base_all_is_new(sides: Sides) -> None:
    sides.commit({"README": b""}, SHOP)
    before, after = sides.merged()
    assert touched(before, after) == named("shop/base", "shop/api")
    assert not dropped(before, after)


def test_settings_of_the_base_that_are_wrong_are_told_of_the_base(sides: Sides) -> None:
    sides.commit({**SHOP, "lian.ncl": "{ fleet = 1 }"}, SHOP)
    with pytest.raises(LianError) as raised:
        sides.merged()
    assert raised.value.problems[0].file == "lian.ncl"


def test_two_files_that_want_one_tag_are_both_read(sides: Sides) -> None:
    new = 'job = lian.make_artifact { image = "shop/api", context.path = "images/job" }'
    sides.commit({**SHOP, **OPS}, {**SHOP, **OPS, "directives/ops.ncl": directives("ops", new)})
    _, after = sides.merged()
    assert [problem.code for problem in checked(after).problems] == ["tag-conflict", "tag-conflict"]


def test_a_name_that_is_there_already_is_seen(sides: Sides) -> None:
    sides.commit(SHOP, {**SHOP, "directives/more.ncl": directives("shop", "api")})
    _, after = sides.merged()
    assert [problem.code for problem in after.problems] == ["artifact-twice"]


LINKED = 'job = lian.make_artifact { image = "ops/job", context.path = "link" }'
NAMED = 'job = lian.make_artifact { image = "ops/job", context.path = "images/job", contexts.dep.path = "link" }'
LINK: dict[str, Content] = {"link": (SYMLINK, b"shared")}
AWAY = (SYMLINK, b"../../shared/Dockerfile")


@pytest.mark.parametrize(
    "repo",
    [
        {"directives/ops.ncl": directives("ops", LINKED), **LINK},
        {"directives/ops.ncl": directives("ops", NAMED), **LINK, "images/job/Dockerfile": b"FROM dep\n"},
        {"directives/ops.ncl": directives("ops", "job"), "images/job/Dockerfile": AWAY},
        {"directives/ops.ncl": directives("ops", "job"), "images/job/dockerfile": AWAY},
    ],
)
def test_a_link_is_followed(sides: Sides, repo: dict[str, Content]) -> None:
    base: dict[str, Content] = {**SHOP, **repo, "shared/Dockerfile": b"FROM scratch\nCOPY . /\n"}
    sides.commit(base, {**base, "shared/Dockerfile": b"FROM scratch\nCOPY . /x\n"})
    assert touched(*sides.merged()) == named("ops/job")


SIZES = {"lib/sizes.ncl": "{ big = 2 }"}
SIZED = '{ cpu = (import "../../lib/sizes.ncl").big }'


@pytest.mark.parametrize("head", ["{ big = 64 }", "{ big = 1000 }", "{ small = 2 }", "{ big = ", None])
def test_a_spec_differs_where_what_it_imports_does(sides: Sides, head: str | None) -> None:
    base: dict[str, Content] = {**SHOP, **OPS, **SIZES, "images/job/.build-spec.ncl": SIZED}
    after_it = {path: content for path, content in base.items() if path not in SIZES}
    sides.commit(base, {**after_it, **({"lib/sizes.ncl": head} if head else {})})
    before, after = sides.merged()
    assert touched(before, after) == named("ops/job")
    job, whole = (one.wanted[ArtifactName.parse("ops/job")] for one in (after, sides.whole("topic")))
    assert (job.spec, job.holds) == (whole.spec, whole.holds)
    assert (job.spec is None) is bool(after.problems) is (head != "{ big = 64 }")


def test_a_spec_that_imports_what_stays_is_not_read(sides: Sides) -> None:
    base: dict[str, Content] = {**SHOP, **OPS, **SIZES, "images/job/.build-spec.ncl": SIZED}
    sides.commit(base, {**base, "images/api/a": b"2", "lib/others.ncl": "{}"})
    before, after = sides.merged()
    assert set(after.wanted) == named("shop/base", "shop/api")
    assert touched(before, after) == named("shop/api")


def test_what_stands_on_it_is_read_too_and_what_that_stands_on(sides: Sides) -> None:
    on = ', contexts = { base = { artifact = "shop/base" }, other = { artifact = "more/other" } } }'
    job = 'job = lian.make_artifact { image = "ops/job", context.path = "images/job"' + on
    base: dict[str, Content] = {
        **SHOP,
        "directives/ops.ncl": directives("ops", job),
        "directives/more.ncl": directives("more", "other"),
        "directives/far.ncl": directives("far", "away"),
        **images("job", "other", "away"),
    }
    sides.commit(base, {**base, "images/base/a": b"2"})
    before, after = sides.merged()
    assert touched(before, after) == named("shop/base", "ops/job")
    assert set(after.wanted) == named("shop/base", "shop/api", "ops/job", "more/other")
    assert not checked(after).problems


ON_BASE = (
    'job = lian.make_artifact { image = "ops/job", context.path = "images/job", contexts.base.artifact = "shop/%s" }'
)
OVER = {**SHOP, "directives/ops.ncl": directives("ops", ON_BASE % "base"), **images("job")}
TIERED = directives("shop", "api", 'base = lian.make_artifact { image = "shop/base", runner.tier = "x" }')


@pytest.mark.parametrize(
    ("broken", "files", "artifacts"),
    [
        (directives("shop", "base", "api").replace('"shop"', '"shop', 1), ["directives/shop.ncl"], set()),
        ((SYMLINK, b"ops.ncl"), ["directives/shop.ncl"], set()),
        (TIERED, [], named("shop/base")),
    ],
)
def test_what_stands_on_what_cannot_be_read_is_read(
    sides: Sides, broken: Content, files: list[str], artifacts: set[ArtifactName]
) -> None:
    sides.commit(OVER, {**OVER, "directives/shop.ncl": broken})
    before, after = map(checked, sides.merged())
    assert (list(after.unclear.files), set(after.unclear.artifacts)) == (files, artifacts)
    assert len(after.problems) == 1
    job = ArtifactName.parse("ops/job")
    assert [hold.code for hold in after.wanted[job].holds] == ["parent-unread" if files else "directive-invalid"]
    assert job in touched(before, after)
    gone = with_unclear(before, after).wanted.keys() - after.wanted.keys()
    assert gone == (named("shop/base", "shop/api") if files else named("shop/base"))


def test_what_stands_on_what_is_taken_out_is_read(sides: Sides) -> None:
    sides.commit(OVER, {**OVER, "directives/shop.ncl": directives("shop", "api")})
    _, after = sides.merged()
    assert [problem.code for problem in checked(after).problems] == ["parent-unknown"]


# -- however a fleet is laid out, the narrow reading tells what the whole one does ---------------------------------

NAMES = tuple("abcdef")
DIRECTIVES = ["directives/w0.ncl", "directives/w1.ncl", "directives/w2.ncl"]
paths = st.sampled_from([f"images/{name}" for name in NAMES] + ["images", "shared", "link"])
files = st.sampled_from(
    [
        f"images/{n}/{f}"
        for n in NAMES
        for f in ("Dockerfile", "a", ".dockerignore", ".build-spec.ncl", "Dockerfile.dockerignore")
    ]
    + ["shared/x", "shared/Dockerfile", "unrelated"]
)
CONTENTS = {
    "Dockerfile": [b"FROM scratch\nCOPY . /\n", b"FROM scratch\nCOPY a /\n", b"FROM dep\nCOPY . /\n"],
    "a": [b"1", b"2"],
    ".dockerignore": [b"a\n", b"*.md\n"],
    "Dockerfile.dockerignore": [b"a\n", b"\n"],
    ".build-spec.ncl": [b"{ cpu = 2 }", b"{ cpu = 3 }", b'{ language = (import "../../lib/names.ncl").tag }'],
    "x": [b"1", b"2"],
    "names.ncl": [b'{ tag = "one" }', b'{ tag = "two" }'],
    "unrelated": [b"1", b"2"],
}


@st.composite
def edits(draw: st.DrawFn) -> dict[str, Content | None]:
    found: dict[str, Content | None] = {}
    often = draw(st.sampled_from([[], ["lib/names.ncl"]]))  # what may be drawn in from anywhere
    for path in [*often, *draw(st.lists(files, max_size=3, unique=True))]:
        found[path] = draw(st.none() | st.sampled_from(CONTENTS[path.rpartition("/")[2]]))
    for path in draw(st.lists(st.sampled_from(DIRECTIVES), max_size=2, unique=True)):
        found[path] = draw(st.sampled_from([None, "{ workspace = ", (SYMLINK, b"w0.ncl")]))
    if draw(st.booleans()):
        name = draw(st.sampled_from(NAMES))
        found[f"images/{name}/Dockerfile"] = (SYMLINK, b"../../shared/Dockerfile")
    return found


@st.composite
def fleets(draw: st.DrawFn) -> dict[str, Content]:
    """A file for each two artifacts; some stand on others, some are built from a folder of many, or from a link."""
    repo: dict[str, Content] = {
        "lib/names.ncl": '{ tag = "one" }',
        "shared/x": b"1",
        "shared/Dockerfile": CONTENTS["Dockerfile"][0],
    }
    repo["link"] = (SYMLINK, b"shared")
    for name in NAMES:
        repo |= {f"images/{name}/Dockerfile": CONTENTS["Dockerfile"][0], f"images/{name}/a": b"1"}
        if draw(st.booleans()):
            repo[f"images/{name}/.build-spec.ncl"] = CONTENTS[".build-spec.ncl"][-1]
    for folder in draw(st.sets(st.sampled_from(["images", "shared"]))):
        repo[f"{folder}/.build-spec.ncl"] = b'{ language = (import "../lib/names.ncl").tag }'
    for index in range(0, len(NAMES), 2):
        lines = []
        for at in (index, index + 1):
            name = NAMES[at]
            context = draw(paths)
            dockerfile = f', dockerfile = "{name}/Dockerfile"' if context == "images" else ""
            if context in {"link", "shared"}:
                dockerfile = f', dockerfile = "../images/{name}/Dockerfile"' if draw(st.booleans()) else ""
            parent = draw(st.sampled_from(NAMES[:at])) if at and draw(st.booleans()) else None
            named = f', contexts.dep = {{ artifact = "w{NAMES.index(parent) // 2}/{parent}" }}' if parent else ""
            tags = ', tags = [(import "../lib/names.ncl").tag]' if draw(st.booleans()) else ""
            lines.append(
                f'{name} = lian.make_artifact {{ image = "shop/{name}", '
                f'context.path = "{context}"{dockerfile}{named}{tags} }}'
            )
        repo[f"directives/w{index // 2}.ncl"] = directives(f"w{index // 2}", *lines)
    return repo


def asked(wanted: Wanted) -> Wanted:
    return replace(wanted, artifact=replace(wanted.artifact, place=Place("")))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(fleets(), fleets() | st.none(), edits())
def test_the_narrow_reading_tells_what_the_whole_one_does(
    sides: Sides, base: dict[str, Content], other: dict[str, Content] | None, edit: dict[str, Content | None]
) -> None:
    head: dict[str, Content] = dict(other or base)
    for path, content in edit.items():
        if content is None:
            head.pop(path, None)
        else:
            head[path] = content
    sides.commit(base, head)
    before, after = map(checked, sides.merged())
    whole_before, whole_after = (checked(sides.whole(rev)) for rev in ("main", "topic"))
    expected = touched(whole_before, whole_after)
    assert touched(before, after) == expected
    assert after.unclear == whole_after.unclear
    assert dropped(before, after) == dropped(whole_before, whole_after)
    held, whole_held = with_unclear(before, after).wanted, with_unclear(whole_before, whole_after).wanted
    assert {n: held[n] for n in held.keys() - after.wanted.keys()} == {
        n: whole_held[n] for n in whole_held.keys() - whole_after.wanted.keys()
    }
    assert {n: asked(after.wanted[n]) for n in expected} == {n: asked(whole_after.wanted[n]) for n in expected}
