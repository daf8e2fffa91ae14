"""One build's source: flags are the directive they stand for, and a folder is what its commit would be."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.desired.build_source import BuildSource
from reconciler.desired.flags import PATH, FlagsDirective
from reconciler.desired.nickel.settings import EvaluatorSettings
from reconciler.desired.source import GitSource
from reconciler.model.artifact import Place
from reconciler.model.digest import Digest
from reconciler.model.lock import Lock
from reconciler.model.one_build import ByFile, ByFlags
from reconciler.model.problem import LianError, Problem
from reconciler.model.reference import Reference
from reconciler.single.flags import Flags
from tests.desired.repos import SYMLINK, Content, Repo

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.desired import Desired, Wanted

SCRATCH = b"FROM scratch\nCOPY . /\n"
FILES: dict[str, Content] = {"images/api/Dockerfile": SCRATCH, "images/api/a": b"1", "README": b""}
LOCK_COUNTS = "its lian.lock counts: what it pins is what is built on"
IMAGE = "registry.example/team/api:1.4"


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> EvaluatorSettings:
    return EvaluatorSettings(cache=tmp_path_factory.mktemp("evaluations") / "cache.sqlite", workers=1)


class Bench:
    """A repository with a working tree, and builds asked of it."""

    def __init__(self, folder: Path, evaluator: EvaluatorSettings) -> None:
        self.folder, self.evaluator = folder, evaluator
        self.repo = Repo(folder / "repo")

    def commit(self, files: dict[str, Content]) -> str:
        made = self.repo.commit(files)
        subprocess.run(["git", "-C", self.repo.path, "reset", "-q", "--hard"], check=True, capture_output=True)
        return made

    def load(self, asked: ByFlags | ByFile, rev: str = "HEAD", **more: Any) -> Desired:
        more = {"fallback": "https://registry.example", **more}
        return asyncio.run(
            BuildSource(asked, rev, cache=self.folder / "cache", evaluator=self.evaluator, **more).load()
        )

    def asked(self, context: str | Path | None = None, **more: str) -> ByFlags:
        flags = {"workspace": "shop", "image": IMAGE, "context": str(context or self.repo.path / "images/api"), **more}
        found = Flags({f"--{name}": value for name, value in flags.items()}, {}).asked()
        assert isinstance(found, ByFlags)
        return found


@pytest.fixture
def bench(tmp_path: Path, evaluator: EvaluatorSettings) -> Bench:
    return Bench(tmp_path, evaluator)


def only(desired: Desired) -> Wanted:
    (wanted,) = desired.wanted.values()
    return wanted


def test_flags_are_the_directive_they_stand_for(bench: Bench) -> None:
    directive = (
        'let lian = import "defaults/build_directives.ncl" in\nlian.make_build_directives { workspace = "shop",\n'
        'artifacts.api = lian.make_artifact { image = "registry.example/team/api", tags = ["1.4"],\n'
        'context.path = "images/api", language = "go" } }\n'
    )
    commit = bench.commit({**FILES, "directives/shop.ncl": directive})
    source = GitSource(
        str(bench.repo.path),
        cache=bench.folder / "cache",
        evaluator=bench.evaluator,
        registry_override="https://registry.example",
    )
    declared, flagged = asyncio.run(source.load()), bench.load(bench.asked(language="go"))
    assert (flagged.problems, flagged.notes, flagged.revision) == ((), (), commit)
    assert only(flagged).materials == only(declared).materials
    there, here = only(declared).artifact, only(flagged).artifact
    assert here.place == Place("--image")
    assert replace(here, place=there.place) == there
    assert flagged.registries == declared.registries
    assert flagged.history == declared.history


def test_what_is_not_committed_of_the_context_is_told(bench: Bench) -> None:
    bench.commit(FILES)
    before = only(bench.load(bench.asked()))
    (bench.repo.path / "images/api/a").write_text("2")
    (bench.repo.path / "images/api/new").write_text("2")
    (bench.repo.path / "README").write_text("2")
    after = bench.load(bench.asked())
    assert only(after) == before
    (note,) = after.notes
    assert "images/api/a, images/api/new (commit it first)" in note
    assert "README" not in note
    assert "README" in bench.load(bench.asked(bench.repo.path, dockerfile="images/api/Dockerfile")).notes[0]


@pytest.mark.parametrize("path", ["lian.ncl", "lian.lock", "policy/rules.ncl"])
def test_what_is_not_committed_of_what_decides_is_told(bench: Bench, path: str) -> None:
    bench.commit(FILES)
    (bench.repo.path / path).parent.mkdir(exist_ok=True)
    (bench.repo.path / path).write_text("{}")
    (note,) = bench.load(bench.asked()).notes
    assert path.partition("/")[0] in note
    assert "commit it first" in note


def test_the_lock_of_a_folder_counts_and_that_is_told(bench: Bench) -> None:
    """It pins what is built on, and can do nothing else; settings and rules are another matter."""
    plain = bench.folder / "plain"
    plain.mkdir()
    (plain / "Dockerfile").write_text("FROM alpine:3\n")
    (plain / "policy").mkdir()
    alpine, pin = Reference.parse("alpine:3"), Digest("sha256", "a" * 64)
    (plain / "lian.lock").write_text(str(Lock({alpine: pin})))
    desired = bench.load(bench.asked(plain))
    materials = only(desired).materials
    assert materials is not None
    (needs,) = materials.needs.values()
    assert needs.images["alpine:3"].digest == pin
    assert desired.notes[1:] == ("its policy/ has no effect: rules are read from a commit", LOCK_COUNTS)


def test_any_commit_can_be_read(bench: Bench) -> None:
    first = bench.commit(FILES)
    bench.commit({**FILES, "images/api/a": b"2"})
    assert bench.load(bench.asked(), first[:12]).revision == first
    assert only(bench.load(bench.asked(), first)) != only(bench.load(bench.asked()))


def test_a_folder_is_what_its_commit_would_be(bench: Bench) -> None:
    bench.commit(FILES)
    plain = bench.folder / "plain"
    shutil.copytree(bench.repo.path / "images/api", plain)
    committed, folder = bench.load(bench.asked()), bench.load(bench.asked(plain))
    assert folder.revision == folder.history.revision == ""
    assert folder.source is None
    assert "lies in no git repository" in folder.notes[0]
    one, other = only(committed).materials, only(folder).materials
    assert one and other
    assert (one.context.root, one.dockerfile, one.needs) == (other.context.root, other.dockerfile, other.needs)


def test_settings_are_those_of_the_repository(bench: Bench) -> None:
    settings = """{ fleet = "acme", registry = { provider = 'Zot, url = "http://127.0.0.1:5000" } }"""
    commit = bench.commit({**FILES, "lian.ncl": settings})
    desired = bench.load(bench.asked())
    assert desired.notes == (f"settings: lian.ncl of {bench.repo.path.resolve()} at {commit[:12]}",)
    assert (desired.fleet.name, list(desired.registries)) == ("acme", ["127.0.0.1:5000"])
    assert only(desired).artifact.image.host == "registry.example"
    assert only(desired).artifact.cache_host == "127.0.0.1:5000"
    plain = bench.folder / "plain"
    shutil.copytree(bench.repo.path / "images/api", plain)
    assert bench.load(bench.asked(plain)).fleet.registry.host == "registry.example"
    (plain / "lian.ncl").write_text(settings)
    desired = bench.load(bench.asked(plain))
    assert (desired.fleet.name, desired.fleet.registry.host) == ("default", "registry.example")
    assert "its lian.ncl has no effect" in desired.notes[1]
    assert not any("settings:" in note for note in desired.notes)
    override = bench.load(bench.asked(), registry_override="https://other.example")
    assert override.fleet.registry.host == "other.example"


@pytest.mark.parametrize(
    ("more", "code", "flag"),
    [
        ({"dockerfile": "Nope"}, "dockerfile-missing", "--dockerfile"),
        ({"language": "Go Lang"}, "nickel-contract", "--language"),
        ({"dockerfile": "a b\u00e9/%{x}"}, "dockerfile-missing", "--dockerfile"),
    ],
)
def test_what_is_wrong_is_told_of_the_flag(bench: Bench, more: dict[str, str], code: str, flag: str) -> None:
    bench.commit(FILES)
    try:
        problems = bench.load(bench.asked(**more)).problems
    except LianError as error:
        problems = error.problems
    assert [(problem.code, problem.file, problem.line) for problem in problems] == [(code, flag, None)]


def refused(bench: Bench, asked: ByFlags | ByFile, rev: str = "HEAD") -> Problem:
    with pytest.raises(LianError) as raised:
        bench.load(asked, rev)
    (problem,) = raised.value.problems
    return problem


def test_a_context_that_is_not_there(bench: Bench) -> None:
    bench.commit(FILES)
    assert refused(bench, bench.asked("nowhere")).code == "context-missing"
    assert "is a file" in refused(bench, bench.asked(bench.repo.path / "README")).message
    (bench.repo.path / "new").mkdir()
    (bench.repo.path / "new/Dockerfile").write_text("FROM scratch\n")
    desired = bench.load(bench.asked(bench.repo.path / "new"))
    (problem,) = desired.problems
    assert (problem.code, problem.file) == ("context-missing", "--context")
    assert "commit it" in (problem.hint or "")
    assert "new/" in desired.notes[0]


def test_an_empty_folder_and_a_revision_of_a_folder(bench: Bench) -> None:
    plain = bench.folder / "plain"
    plain.mkdir()
    (problem,) = bench.load(bench.asked(plain)).problems
    assert (problem.code, problem.file) == ("dockerfile-missing", "--dockerfile")
    assert "the folder holds no Dockerfile" in problem.message
    assert refused(bench, bench.asked(plain), "v1").code == "rev-without-repo"


def test_runners_start_from_an_image_where_the_compute_has_images(bench: Bench) -> None:
    bench.commit(FILES)
    with pytest.raises(LianError, match="runner-image-unsupported: compute Local starts no runner from an image"):
        bench.load(bench.asked(), runner_image="moby/buildkit:v0.33.1")
    settings = '{ compute = { provider = \'DockerLocal, image = "registry.example/other" } }'
    bench.commit({**FILES, "lian.ncl": settings})
    assert bench.load(bench.asked()).fleet.compute.image == "registry.example/other"
    desired = bench.load(bench.asked(), runner_image="moby/buildkit:v0.33.1")
    assert (desired.fleet.compute.image, desired.problems) == ("moby/buildkit:v0.33.1", ())


DIRECTIVE = (
    'let lian = import "defaults/build_directives.ncl" in\nlian.make_build_directives { workspace = "shop",\n'
    'artifacts = { base = lian.make_artifact { image = "shop/base", context.path = "images/api" },\n'
    'api = lian.make_artifact { image = "shop/api", context.path = "images/api" } } }\n'
)


def test_a_directive_file_of_a_commit(bench: Bench) -> None:
    files: dict[str, Content] = {**FILES, "odd/place.ncl": DIRECTIVE, "directives/bad.ncl": "{", "here": b""}
    commit = bench.commit({**files, "linked.ncl": (SYMLINK, b"odd/place.ncl")})
    file = bench.repo.path / "odd/place.ncl"
    file.write_text("broken")
    desired = bench.load(ByFile(str(file)), fallback=None)
    assert [str(name) for name in desired.wanted] == ["shop/api", "shop/base"]
    assert (desired.problems, desired.revision) == ((), commit)
    assert "odd/place.ncl" in desired.notes[0]
    assert refused(bench, ByFile(str(bench.repo.path / "directives/bad.ncl"))).file == "directives/bad.ncl"
    assert refused(bench, ByFile(str(bench.repo.path / "gone.ncl"))).code == "directives-missing"
    assert refused(bench, ByFile(str(bench.repo.path / "nowhere/a.ncl"))).code == "directives-missing"
    assert refused(bench, ByFile(str(bench.repo.path / "odd"))).code == "directives-missing"
    assert refused(bench, ByFile(str(bench.repo.path / "linked.ncl"))).code == "directive-is-link"


def test_a_directive_file_of_a_folder(bench: Bench) -> None:
    bench.commit({**FILES, "empty.ncl": 'import "defaults/build_directives.ncl"'})
    plain = bench.folder / "plain"
    shutil.copytree(bench.repo.path / "images", plain / "images")
    (plain / "place.ncl").write_text(DIRECTIVE)
    desired = bench.load(ByFile(str(plain / "place.ncl")), fallback=None)
    assert (len(desired.wanted), desired.problems, desired.revision) == (2, (), "")
    assert desired.fleet.registry.host == f"oci-layout:{plain}/.lian/registry"
    (plain / "none.ncl").write_text('{ workspace = "shop" }')
    assert refused(bench, ByFile(str(plain / "none.ncl"))).code == "artifacts-none"
    gone = refused(bench, ByFile(str(plain / "plaice.ncl")))
    assert (gone.message, gone.hint) == ("there is no file plaice.ncl", "did you mean place.ncl?")
    (plain / "lost.ncl").write_text('import "the commit.ncl"')
    assert (
        "the imported file the commit.ncl is not in the folder"
        in refused(bench, ByFile(str(plain / "lost.ncl"))).message
    )
    (plain / "away.ncl").write_text(DIRECTIVE.replace("images/api", "the commit"))
    contexts = bench.load(ByFile(str(plain / "away.ncl")), fallback=None).problems
    assert {problem.message.partition(": ")[2] for problem in contexts} == {
        "the context the commit does not exist in the folder"
    }


def test_every_line_of_the_text_has_its_flag() -> None:
    asked = Flags(
        {
            "--workspace": "w",
            "--context": ".",
            "--image": "h.example/api:1",
            "--dockerfile": 'a"%{b',
            "--language": "go",
        },
        {},
    ).asked()
    assert isinstance(asked, ByFlags)
    flags = FlagsDirective.of(asked, "x/y")
    assert len(flags.flags) == flags.text.count("\n")
    assert 'dockerfile = "a\\"\\%{b",' in flags.text
    told = [flags.told(Problem("a", "b", PATH, line, 3)).file for line in range(len(flags.flags) + 2)]
    assert told == ["--image", *flags.flags, "--image"]
    assert flags.told(Problem("a", "b", "other", 1)) == Problem("a", "b", "other", 1)
