"""The desired repo as a whole: real git, real Nickel."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.desired.nickel.settings import EvaluatorSettings
from reconciler.desired.source import GitSource
from reconciler.model.credential import SourceKind, SourceRef
from reconciler.model.desired import SentFolder
from reconciler.model.fleet import Author
from reconciler.model.name import ArtifactName
from reconciler.model.policy import DriftPolicy, Policy, PrunePolicy, Response
from reconciler.model.problem import LianError
from tests.desired.repos import SYMLINK, Content, Repo

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.desired import Desired

SCRATCH = b"FROM scratch\nCOPY . /\n"


def directives(workspace: str, *artifacts: str, more: str = "") -> str:
    """A directive file with these artifacts, each `name = …` or only a name whose folder is `images/<name>`."""
    plain = 'lian.make_artifact {{ image = "{0}/{1}", context.path = "images/{1}" }}'
    each = (a if "=" in a else f"{a} = {plain.format(workspace, a)}" for a in artifacts)
    body = "".join(f"    {line},\n" for line in each)
    return (
        'let lian = import "defaults/build_directives.ncl" in\nlian.make_build_directives {\n'
        f'  workspace = "{workspace}",\n  artifacts = {{\n{body}  }},\n{more}}}\n'
    )


def images(*names: str) -> dict[str, Content]:
    return {f"images/{name}/{file}": data for name in names for file, data in (("Dockerfile", SCRATCH), ("a", b"1"))}


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> EvaluatorSettings:
    return EvaluatorSettings(cache=tmp_path_factory.mktemp("evaluations") / "cache.sqlite", workers=1)


class Bench:
    """A repository and ways to load it."""

    def __init__(self, folder: Path, evaluator: EvaluatorSettings) -> None:
        self.folder = folder
        self.repo = Repo(folder / "repo")
        self.evaluator = evaluator

    def source(self, location: str | None = None, rev: str = "HEAD", **more: Any) -> GitSource:
        where = location or str(self.repo.path)
        return GitSource(where, rev, cache=self.folder / "cache", evaluator=self.evaluator, **more)

    def load(self, files: dict[str, Content] | None = None, **more: Any) -> Desired:
        if files is not None:
            self.repo.commit(files)
            subprocess.run(["git", "-C", self.repo.path, "reset", "-q", "--hard"], check=True, capture_output=True)
        return asyncio.run(self.source(**more).load())


@pytest.fixture
def bench(tmp_path: Path, evaluations: EvaluatorSettings) -> Bench:
    return Bench(tmp_path, evaluations)


def codes(desired: Desired) -> list[tuple[str, str | None]]:
    return [(problem.code, problem.file) for problem in desired.problems]


def test_a_commit_becomes_desired(bench: Bench) -> None:
    desired = bench.load({"directives/shop.ncl": directives("shop", "base", "api"), **images("base", "api")})
    assert (desired.problems, desired.notes) == ((), ())
    assert [str(name) for name in desired.wanted] == ["shop/api", "shop/base"]
    wanted = next(iter(desired.wanted.values()))
    assert (wanted.artifact.place.line, wanted.artifact.place.column) == (6, 5)
    assert wanted.materials is not None
    host = f"oci-layout:{bench.repo.path}/.lian/registry"
    assert wanted.artifact.image.host == host
    assert list(desired.registries) == [host]
    assert (desired.fleet.name, desired.revision) == ("default", str(bench.repo.git.head.target))


def test_the_working_tree_is_never_read(bench: Bench) -> None:
    files = {"directives/shop.ncl": directives("shop", "base"), **images("base")}
    before = bench.load(files)
    (bench.repo.path / "images/base/Dockerfile").write_text("broken")
    (bench.repo.path / "directives/new.ncl").write_text("broken")
    (bench.repo.path / "lian.ncl").write_text("broken")
    after = bench.load()
    assert after.wanted == before.wanted
    assert after.notes == ("3 uncommitted changes are not part of this pass",)
    (bench.repo.path / "directives/new.ncl").unlink()
    (bench.repo.path / "lian.ncl").unlink()
    assert bench.load().notes == ("1 uncommitted change is not part of this pass",)


def test_settings_apply(bench: Bench) -> None:
    lian = """{ fleet = "acme", directives = ["services/*/*.ncl"], source_date_epoch = 7,
      registry = { provider = 'Zot, url = "http://127.0.0.1:5000", images_prefix = "team" } }"""
    files = {
        "lian.ncl": lian,
        "services/api/image.ncl": directives("shop", "base"),
        "services/api/.build-spec.ncl": "{ cpu = 2 }",
        "directives/ignored.ncl": "broken",
        **images("base"),
    }
    desired = bench.load(files)
    assert codes(desired) == []
    (wanted,) = desired.wanted.values()
    assert str(wanted.artifact.image) == "127.0.0.1:5000/team/shop/base"
    assert (desired.fleet.name, wanted.artifact.source_date_epoch) == ("acme", 7)
    other = bench.load(registry_override="http://127.0.0.1:6000")
    assert {str(w.artifact.image) for w in other.wanted.values()} == {"127.0.0.1:6000/shop/base"}
    assert list(other.registries) == ["127.0.0.1:6000"]


def test_a_directives_own_registry_beats_the_settings(bench: Bench) -> None:
    own = '  registry = { provider = \'Zot, url = "http://127.0.0.1:7000" },\n'
    files = {
        "directives/a.ncl": directives("shop", "base", more=own),
        "directives/b.ncl": directives("shop", "api"),
        **images("base", "api"),
    }
    desired = bench.load(files)
    hosts = {str(name): wanted.artifact.image.host for name, wanted in desired.wanted.items()}
    assert hosts["shop/base"] == "127.0.0.1:7000"
    assert hosts["shop/api"].startswith("oci-layout:")
    assert set(desired.registries) == set(hosts.values())


LOGIN = 'credentials = { source = \'Env, name = "PASSWORD" }'
OTHER_LOGIN = 'credentials = { source = \'Env, name = "OTHER" }'
OTHER_CA = 'ca = "other.pem"'
VAULT = 'credentials = { source = \'Vault, name = "secret/data/x" }'
COMMAND = 'credentials = { source = \'Command, name = "pass show x" }'
KEY_COMMAND = 'client_cert = "x.pem", client_key = { source = \'Command, name = "pass show x" }'


def holds(desired: Desired) -> dict[str, list[str]]:
    return {str(name): [hold.code for hold in wanted.holds] for name, wanted in desired.wanted.items()}


def zot(host: str, *more: str) -> str:
    fields = ("provider = 'Zot", f'url = "https://{host}"', *more)
    return f"registry = {{ {', '.join(fields)} }}"


def test_a_login_that_cannot_be_read_holds_every_artifact_on_its_registry(bench: Bench) -> None:
    elsewhere = directives(
        "site", 'y = lian.make_artifact { image = "reg.example.org/y", context.path = "images/base" }'
    )
    files = {
        "lian.ncl": f"{{\n  {zot('reg.example.org', VAULT)},\n}}",
        "directives/a.ncl": directives("shop", "base"),
        "directives/b.ncl": directives("team", "base", more=f"  {zot('b.example.org', VAULT)},\n"),
        "directives/c.ncl": directives("free", "base", more=f"  {zot('c.example.org', LOGIN)},\n"),
        "directives/d.ncl": elsewhere,
        **images("base"),
    }
    desired = bench.load(files)
    held = ["credentials-unsupported"]
    assert holds(desired) == {"shop/base": held, "team/base": held, "free/base": [], "site/y": held}
    assert codes(desired) == []
    told = {str(name): wanted.holds[0] for name, wanted in desired.wanted.items() if wanted.holds}
    assert told["shop/base"].place.startswith("lian.ncl:2:")
    assert told["team/base"].place.startswith("directives/b.ncl:")
    assert told["site/y"].artifact == "site/y"
    over = bench.load(registry_override="http://127.0.0.1:6000")
    assert not any(holds(over).values())


@pytest.mark.parametrize("login", [COMMAND, KEY_COMMAND])
def test_the_owner_may_name_a_command_and_a_directive_may_not(bench: Bench, login: str) -> None:
    files = {
        "lian.ncl": f"{{ {zot('reg.example.org', login)} }}",
        "directives/a.ncl": directives("shop", "base"),
        "directives/b.ncl": directives("team", "base", more=f"  {zot('b.example.org', login)},\n"),
        **images("base"),
    }
    desired = bench.load(files)
    assert holds(desired) == {"shop/base": [], "team/base": ["credentials-forbidden"]}
    (hold,) = desired.wanted[ArtifactName("team", "base")].holds
    assert hold.place.startswith("directives/b.ncl:")


def test_what_a_directive_says_of_the_owners_registry_changes_nothing_for_others(bench: Bench) -> None:
    """It may leave out what the owner said; a login, a key or an authority of its own holds its own artifacts only."""
    files = {
        "lian.ncl": f"{{ {zot('reg.example.org', LOGIN)} }}",
        "directives/a.ncl": directives("same", "base", more=f"  {zot('reg.example.org')},\n"),
        "directives/b.ncl": directives("equal", "base", more=f"  {zot('reg.example.org', LOGIN)},\n"),
        "directives/c.ncl": directives("other", "base", more=f"  {zot('reg.example.org', OTHER_LOGIN)},\n"),
        "directives/d.ncl": directives("vault", "base", more=f"  {zot('reg.example.org', VAULT)},\n"),
        "directives/e.ncl": directives("ca", "base", more=f"  {zot('reg.example.org', LOGIN, OTHER_CA)},\n"),
        "directives/f.ncl": directives("shop", "base"),
        **images("base"),
    }
    desired = bench.load(files)
    assert holds(desired) == {
        "same/base": [],
        "equal/base": [],
        "other/base": ["registry-ambiguous"],
        "vault/base": ["credentials-unsupported", "registry-ambiguous"],
        "ca/base": ["registry-ambiguous"],
        "shop/base": [],
    }
    (settings,) = desired.registries.values()
    assert settings.credentials == SourceRef(SourceKind.ENV, "PASSWORD")
    assert settings.by is Author.OWNER


def test_a_directive_does_not_say_where_base_images_are_read(bench: Bench) -> None:
    mirrored = 'mirrors."docker.io" = ["https://mirror.example.org"]'
    files = {
        "lian.ncl": f"{{ {zot('reg.example.org', mirrored)} }}",
        "directives/a.ncl": directives("shop", "base"),
        "directives/b.ncl": directives("team", "base", more=f"  {zot('b.example.org', mirrored)},\n"),
        **images("base"),
    }
    desired = bench.load(files)
    assert holds(desired) == {"shop/base": [], "team/base": ["mirrors-misplaced"]}
    assert desired.fleet.registry.mirrors == (("docker.io", ("https://mirror.example.org",)),)
    over = bench.load(registry_override="http://127.0.0.1:6000")
    assert over.fleet.registry.mirrors == (), "whoever names the registry may look at what nobody has reviewed"


def test_a_fleet_with_compute_that_is_not_there_is_held(bench: Bench) -> None:
    files = {
        "lian.ncl": "{\n  compute = { provider = 'Proxmox },\n}",
        "directives/a.ncl": directives("shop", "base"),
        "directives/b.ncl": directives("team", "base", more="  compute = { provider = 'Hcloud },\n"),
        **images("base"),
    }
    desired = bench.load(files)
    assert set(map(tuple, holds(desired).values())) == {("compute-unsupported",)}
    assert sorted(wanted.holds[0].file or "" for wanted in desired.wanted.values()) == ["directives/b.ncl", "lian.ncl"]


def test_what_has_no_effect_yet_is_noted(bench: Bench) -> None:
    lian = """{ events = { url = "nats://h" }, cache = {}, tiers.small = { cpu = 1, memory_gb = 1 },
      policy.drift.foreign = 'Heal, immutable_tags = ["v*"] }"""
    own = '  runner = { cpu = 2, tier = "small", labels.a = "b" },\n'
    files = {
        "lian.ncl": lian,
        "directives/a.ncl": directives("shop", "base", more=own),
        "directives/b.ncl": directives("team", "base"),
        **images("base"),
    }
    assert bench.load(files).notes == (
        "lian.ncl: events has no effect yet",
        "directives/a.ncl: runner.labels has no effect yet",
    )
    fields = 'image = "x", context.path = "images/base", rebuild_on_rotate = true, runner.labels.a = "b"'
    rotates = f"x = lian.make_artifact {{ {fields} }}"
    many = {f"directives/{n}.ncl": directives(f"w{n}", rotates) for n in range(5)}
    assert bench.load({**many, "directives/0.ncl": directives("w0", "base", more=own), **images("base")}).notes == (
        "directives/1.ncl and 3 more: rebuild_on_rotate has no effect yet",
        "directives/0.ncl and 4 more: runner.labels has no effect yet",
    )


def test_secrets_are_bound_by_lian_ncl_and_looked_at_by_nobody(bench: Bench) -> None:
    asking = 'x = lian.make_artifact { image = "x", context.path = "images/base", secrets.npm.name = "npm-token" }'
    settings = """{ secrets = {
      shop.npm-token = { source = 'Env, name = "NO_SUCH_VARIABLE" },
      "*" = { idle = { source = 'Command, name = "no-such-program" } },
    } }"""
    files = {"lian.ncl": settings.encode(), "directives/a.ncl": directives("shop", asking), **images("base")}
    named: list[str] = []
    desired = bench.load(files, secret=named.extend)
    assert holds(desired) == {"shop/x": []}
    assert desired.notes == ('lian.ncl binds a secret that no artifact asks for: "*"."idle"',)
    assert named == ["NO_SUCH_VARIABLE"]
    assert desired.fleet.secrets.of("shop", "npm-token") == SourceRef(SourceKind.ENV, "NO_SUCH_VARIABLE")


def test_what_is_bound_to_nothing_is_held_where_the_directive_asks(bench: Bench) -> None:
    """Nor is anything said of idle bindings while a directive is wrong: it may be the one that asks."""
    asking = (
        'x = lian.make_artifact { image = "x", context.path = "images/base",\n      secrets.npm.name = "npm-token" }'
    )
    settings = """{ secrets."*".idle = { source = 'Env, name = "A" } }"""
    files = {"lian.ncl": settings.encode(), "directives/a.ncl": directives("shop", asking), **images("base")}
    desired = bench.load(files)
    assert holds(desired) == {"shop/x": ["secret-unbound"]}
    assert desired.wanted[ArtifactName("shop", "x")].holds[0].place == "directives/a.ncl:6:15"
    assert len(desired.notes) == 1
    assert bench.load({**files, "directives/b.ncl": b"{"}).notes == ()


POLICY = """{
  immutable_tags = ["v*"],
  policy = {
    drift = { foreign = 'Report },
    trust = [["shop", "store"]],
    prune.keep_last = 2,
  },
}
"""


def test_a_policy_comes_with_the_fleet_and_changes_nothing_else(bench: Bench) -> None:
    files = {"directives/shop.ncl": directives("shop", "base"), **images("base")}
    without, ruled = bench.load(files), bench.load({"lian.ncl": POLICY, **files})
    assert without.fleet.policy == Policy()
    assert ruled.fleet.policy == Policy(
        drift=DriftPolicy(foreign=Response.REPORT),
        immutable_tags=("v*",),
        trust=(frozenset({"shop", "store"}),),
        prune=PrunePolicy(keep_last=2),
    )
    assert (ruled.wanted, ruled.problems, ruled.notes) == (without.wanted, (), ())


def test_every_wrong_rule_is_told_at_its_place(bench: Bench) -> None:
    lian = """{
  policy = {
    drfit = {},
    drift = {
      retaged = 'Heal,
      foreign = 'Delete,
    },
    prune = { keep_last = -1, min_age = 7, revisions = ["refs/heads/*", "main"] },
    sign.key = { source = 'File, name = "keys/sign.key" },
    trust = [["shop"]],
    verify.keys = ["/etc/fleet.pub"],
  },
}
"""
    with pytest.raises(LianError) as caught:
        bench.load({"lian.ncl": lian, "directives/shop.ncl": directives("shop", "base"), **images("base")})
    told = {(problem.line, problem.column): problem for problem in caught.value.problems}
    assert {(problem.code, problem.file) for problem in told.values()} == {("nickel-contract", "lian.ncl")}
    assert {place: (problem.message, problem.hint) for place, problem in told.items()} == {
        (3, 5): ("`policy` has no field `drfit`", "did you mean `drift`?"),
        (5, 7): ("`policy.drift` has no field `retaged`", "did you mean `retagged`?"),
        (6, 7): ("`policy.drift.foreign` is not valid: expected one of 'Heal, 'Hold, 'Report, got \"Delete\"", None),
        (8, 15): ("`policy.prune.keep_last` is not valid: expected a number of at least 0, got -1", None),
        (8, 31): (
            "`policy.prune.min_age` is not valid: "
            "expected a string (a whole number of at least 1 and m, h, d or w), got 7",
            None,
        ),
        (8, 73): (
            "`policy.prune.revisions[1]` is not valid: "
            'expected a glob over full names of git refs, such as refs/heads/*, got "main"',
            None,
        ),
        (9, 34): (
            "`policy.sign.key.name` is not valid: expected an absolute path, "
            'since a private key never lies in the desired repository, got "keys/sign.key"',
            None,
        ),
        (10, 14): ("`policy.trust[0]` is not valid: expected at least 2 elements, got an array of 1", None),
        (11, 20): (
            "`policy.verify.keys[0]` is not valid: "
            'expected a path inside the repository; `.` is its root, got "/etc/fleet.pub"',
            None,
        ),
    }


def test_two_files_must_not_describe_one_registry_differently(bench: Bench) -> None:
    own = '  registry = {{ provider = \'{}, url = "https://reg.example.org" }},\n'
    files = {
        "directives/a.ncl": directives("shop", "base", more=own.format("Zot")),
        "directives/b.ncl": directives("shop", "api", more=own.format("Harbor")),
        **images("base", "api"),
    }
    desired = bench.load(files)
    assert codes(desired) == [("registry-ambiguous", "directives/b.ncl")]
    assert {str(n) for n, w in desired.wanted.items() if w.holds} == {"shop/api"}


def test_one_bad_file_costs_nobody_else(bench: Bench) -> None:
    files = {
        "directives/good.ncl": directives("shop", "base"),
        "directives/syntax.ncl": "{ workspace = ",
        "directives/typo.ncl": directives("shop", 'x = lian.make_artifact { imgae = "shop/x" }'),
        "directives/link.ncl": (SYMLINK, b"good.ncl"),
        "directives/context.ncl": directives(
            "shop", 'y = lian.make_artifact { image = "shop/y", context.path = "gone" }'
        ),
        **images("base"),
    }
    desired = bench.load(files)
    assert {file for _, file in codes(desired)} == {
        "directives/syntax.ncl",
        "directives/typo.ncl",
        "directives/link.ncl",
        "directives/context.ncl",
    }
    assert {str(name): wanted.materials is not None for name, wanted in desired.wanted.items()} == {
        "shop/base": True,
        "shop/y": False,
    }
    (context,) = [problem for problem in desired.problems if problem.code == "context-missing"]
    assert (context.file, context.line, context.artifact) == ("directives/context.ncl", 5, "shop/y")
    assert desired.wanted[next(n for n in desired.wanted if n.artifact == "y")].holds == (context,)


def test_a_name_that_is_declared_twice_is_held(bench: Bench) -> None:
    files = {
        "directives/a.ncl": directives("shop", "base"),
        "directives/b.ncl": directives("shop", "base", "api"),
        **images("base", "api"),
    }
    desired = bench.load(files)
    assert codes(desired) == [("artifact-twice", "directives/b.ncl")]
    assert {str(n): bool(w.holds) for n, w in desired.wanted.items()} == {"shop/base": True, "shop/api": False}


def test_no_directives_is_a_problem_that_names_where_was_looked(bench: Bench) -> None:
    desired = bench.load({"README.md": "hello"})
    assert codes(desired) == [("no-directives", None)]
    assert "directives/**/*.ncl" in desired.problems[0].message
    assert desired.wanted == {}


def test_wrong_settings_stop_all_and_every_problem_is_told(bench: Bench) -> None:
    with pytest.raises(LianError) as caught:
        bench.load({"lian.ncl": "{ fleeet = 1 }", "directives/bad.ncl": "{ workspace = "})
    assert {problem.file for problem in caught.value.problems} == {"lian.ncl", "directives/bad.ncl"}


def test_settings_behind_a_link_are_refused(bench: Bench) -> None:
    with pytest.raises(LianError, match="directive-is-link"):
        bench.load({"lian.ncl": (SYMLINK, b"other.ncl"), "other.ncl": "{}"})


@pytest.mark.parametrize(("rev", "code"), [("nope", "revision-unknown")])
def test_no_commit_is_an_error(bench: Bench, rev: str, code: str) -> None:
    with pytest.raises(LianError, match="repo-empty"):
        bench.load()
    with pytest.raises(LianError, match=code):
        bench.load({"a": "1"}, rev=rev)


def test_the_order_of_files_and_of_artifacts_carries_no_meaning(bench: Bench) -> None:
    names = ["a", "b", "c"]
    seen = []
    for order in itertools.permutations(names):
        one = {"directives/one.ncl": directives("shop", *order)}
        split = {f"directives/{n}{i}.ncl": directives("shop", n) for i, n in enumerate(order)}
        for files in (one, split):
            desired = bench.load({**files, **images(*names)})
            seen.append({str(n): (w.artifact.image, w.materials, w.holds) for n, w in desired.wanted.items()})
            assert list(map(str, desired.wanted)) == ["shop/a", "shop/b", "shop/c"]
    assert all(each == seen[0] for each in seen)


def test_paths_urls_and_bare_clones_give_the_same(bench: Bench, tmp_path: Path) -> None:
    here = bench.load({"directives/shop.ncl": directives("shop", "base"), **images("base")})
    subprocess.run(["git", "clone", "-q", "--bare", bench.repo.path, tmp_path / "bare.git"], check=True)
    for location in (f"file://{bench.repo.path}", str(tmp_path / "bare.git"), str(bench.repo.path / "images")):
        for rev in ("HEAD", "main", here.revision, here.revision[:9]):
            there = bench.load(location=location, rev=rev, registry_override="http://127.0.0.1:5000")
            assert there.revision == here.revision
            assert [w.materials for w in there.wanted.values()] == [w.materials for w in here.wanted.values()]


def test_a_mirror_with_a_lost_object_heals_within_the_pass(bench: Bench) -> None:
    url = f"file://{bench.repo.path}"
    before = bench.load({"directives/shop.ncl": directives("shop", "base"), **images("base")}, location=url)
    (mirror,) = [path for path in (bench.folder / "cache/mirrors").iterdir() if path.is_symlink()]
    (pack,) = (mirror / "objects/pack").glob("*.pack")
    data = pack.read_bytes()
    for path in (mirror / "objects/pack").iterdir():
        path.unlink()
    subprocess.run(["git", f"--git-dir={mirror}", "unpack-objects", "-q"], input=data, check=True)
    lost = str(bench.repo.git.revparse_single("HEAD:images/base").id)
    (mirror / "objects" / lost[:2] / lost[2:]).unlink()
    (bench.folder / "cache/materials.sqlite").unlink()
    assert bench.load(location=url).wanted.keys() == before.wanted.keys()


def test_what_was_loaded_can_be_listed_and_exported(bench: Bench, tmp_path: Path) -> None:
    files = {"directives/shop.ncl": directives("shop", "base"), **images("base"), "images/base/.dockerignore": "a\n"}

    async def work() -> None:
        source = bench.source()
        desired = await source.load()
        (wanted,) = desired.wanted.values()
        assert wanted.materials is not None
        listing = await source.listing(wanted.materials.context)
        assert [entry.path for entry in listing] == [".dockerignore", "Dockerfile"]
        await source.export(wanted.materials.context, tmp_path / "context")
        assert sorted(path.name for path in (tmp_path / "context").iterdir()) == [".dockerignore", "Dockerfile"]
        await source.export_dockerfile(wanted.materials, tmp_path / "dockerfile")
        assert (tmp_path / "dockerfile/Dockerfile").read_bytes() == SCRATCH
        ignore = (tmp_path / "dockerfile/Dockerfile.dockerignore").read_text()
        assert ignore and all(line.startswith("#") for line in ignore.splitlines())
        assert await source.blob("images/base/a") == b"1"
        with pytest.raises(LianError, match="path-missing"):
            await source.blob("images/base")

    bench.repo.commit(files)
    asyncio.run(work())


def test_a_cancelled_export_leaves_nothing(bench: Bench, tmp_path: Path) -> None:
    many = {f"images/base/{i // 100}/{i}": b"%d" % i for i in range(3000)}
    bench.repo.commit({"directives/shop.ncl": directives("shop", "base"), **images("base"), **many})

    async def work() -> None:
        source = bench.source()
        (wanted,) = (await source.load()).wanted.values()
        assert wanted.materials is not None
        task = asyncio.create_task(source.export(wanted.materials.context, tmp_path / "out"))
        while not (tmp_path / "out").exists():  # noqa: ASYNC110  # a folder tells nobody that it is there
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not (tmp_path / "out").exists()

    asyncio.run(work())


def test_an_export_of_something_else_is_a_bug_that_shows(bench: Bench, tmp_path: Path) -> None:
    bench.repo.commit({"directives/shop.ncl": directives("shop", "base"), **images("base")})

    async def work() -> None:
        source = bench.source()
        await source.load()
        with pytest.raises(LianError, match="export-differs"):
            await source.export(SentFolder("0" * 64, "images/base"), tmp_path / "out")
        assert not (tmp_path / "out").exists()

    asyncio.run(work())


def test_loads_at_the_same_time_do_not_disturb_one_another(bench: Bench) -> None:
    bench.repo.commit({"directives/shop.ncl": directives("shop", "base", "api"), **images("base", "api")})

    async def work() -> list[Desired]:
        sources = [bench.source(location=f"file://{bench.repo.path}") for _ in range(4)]
        return list(await asyncio.gather(*(source.load() for source in sources)))

    first, *others = asyncio.run(work())
    assert len(first.wanted) == 2
    assert all(other.wanted == first.wanted for other in others)


def test_other_commits_are_read_without_fetching_again(bench: Bench) -> None:
    """From a URL, once; by then it may be out of reach. What they say is of no other moment than the refs."""
    first = bench.repo.commit({"directives/shop.ncl": directives("shop", "api"), **images("api")})
    second = bench.repo.commit({"directives/shop.ncl": directives("shop", "web"), **images("web")}, branch="other")
    source = bench.source(bench.repo.path.as_uri())

    async def read() -> list[Desired]:
        refs = await source.matching(("refs/heads/*",))
        assert dict(refs) == {"refs/heads/main": first, "refs/heads/other": second}
        await source.load()
        bench.repo.path.rename(bench.folder / "away")
        return [await source.at(refs[name]).load() for name in sorted(refs)]

    loaded = asyncio.run(read())
    assert [(one.revision, [str(name) for name in one.wanted]) for one in loaded] == [
        (first, ["shop/api"]),
        (second, ["shop/web"]),
    ]
    with pytest.raises(LianError):
        asyncio.run(source.matching(("refs/heads/*",)))


def test_another_commit_of_a_folder_says_nothing_of_uncommitted_changes(bench: Bench) -> None:
    bench.load({"directives/shop.ncl": directives("shop", "api"), **images("api")})
    (bench.repo.path / "new").write_text("x")
    source = bench.source()
    assert asyncio.run(source.load()).notes
    assert asyncio.run(source.at("HEAD").load()).notes == ()
