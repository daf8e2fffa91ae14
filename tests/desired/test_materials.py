"""What the commit holds for each artifact."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.desired.contexts import Contexts
from reconciler.desired.materials import Found, MaterialsReader
from reconciler.desired.memo import Memo
from reconciler.desired.needs import image_places
from reconciler.model.artifact import Artifact, BaseImage, Folder, GitFolder, ParentImage, Place
from reconciler.model.desired import Needs, SentFolder
from reconciler.model.moving import Part, PartKind
from reconciler.model.name import ArtifactName
from reconciler.model.platform import Platform
from reconciler.model.problem import Problem
from reconciler.model.reference import Reference, Repository
from tests.desired.repos import SUBMODULE, SYMLINK, Content, Repo

if TYPE_CHECKING:
    from pathlib import Path

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
SCRATCH = b"FROM scratch\nCOPY . /\n"
ELSEWHERE = GitFolder("https://example.org/r")
DOWN = Problem("git-unreachable", "https://example.org/r cannot be read")
PARENT = ParentImage(ArtifactName("shop", "base"))
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
PINNED = "docker.io/library/python@sha256:" + "a" * 64


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    return Repo(tmp_path_factory.mktemp("materials") / "repo", bare=True)


def artifact(name: str = "api", **changes: Any) -> Artifact:
    values: dict[str, Any] = {
        "name": ArtifactName("shop", name),
        "image": Repository("reg.example.org", f"shop/{name}"),
        "place": Place("directives/shop.ncl", 7, 3),
        "tags": ("latest",),
        "platforms": (AMD64,),
    }
    return Artifact(**(values | changes))


def read_all(repo: Repo, files: dict[str, Content], artifacts: list[Artifact], memo: Memo | None = None) -> list[Found]:
    tree = repo.tree(files)
    memo = memo or Memo(None)

    def place(_: Artifact, where: tuple[str, ...]) -> Place:
        return Place("directives/shop.ncl", len(where), 1)

    reader = MaterialsReader(tree, Contexts(tree, memo), memo, place, {(ELSEWHERE.url, ELSEWHERE.rev): DOWN})
    return [found for _, found in reader.read(artifacts)]


def read(repo: Repo, files: dict[str, Content], **changes: Any) -> Found:
    (found,) = read_all(repo, files, [artifact(**changes)])
    assert (found.materials is None) == bool(found.problems or found.holds)
    return found


def codes(found: Found) -> tuple[list[str], list[str]]:
    return [p.code for p in found.problems], [p.code for p in found.holds]


def sent(found: Found) -> SentFolder:
    assert found.materials is not None, (found.problems, found.holds)
    return found.materials.context


def needs(found: Found, platform: Platform = AMD64) -> Needs:
    assert found.materials is not None, (found.problems, found.holds)
    return found.materials.needs[platform]


def test_the_plain_case(repo: Repo) -> None:
    found = read(repo, {"app/Dockerfile": SCRATCH, "app/a": b"1", "else": b""}, context=Folder("app"))
    assert found.materials is not None
    assert (sent(found).path, sent(found).ignore, found.materials.dockerfile_path) == ("app", None, "app/Dockerfile")
    assert found.materials.dockerfile == hashlib.sha256(SCRATCH).hexdigest()
    assert found.materials.needs == {AMD64: Needs()}
    assert found.notes == ()


@pytest.mark.parametrize(
    ("files", "changes", "expected"),
    [
        ({"a": b""}, {}, "dockerfile-missing"),
        ({"Dockerfile": SCRATCH}, {"context": Folder("gone")}, "context-missing"),
        ({"Dockerfile": SCRATCH, "f": b""}, {"context": Folder("f")}, "context-missing"),
        ({"d/Dockerfile": SCRATCH}, {"context": Folder("d", ("src",))}, "include-missing"),
        ({"Dockerfile": (SYMLINK, b"../outside")}, {}, "dockerfile-missing"),
        ({"Dockerfile/x": b""}, {}, "dockerfile-missing"),
        ({"Docker[f]ile": SCRATCH}, {"dockerfile": "Docker[f]ile"}, "dockerfile-missing"),
        ({"Dockerfile": SCRATCH, "d/sub": (SUBMODULE, b"1" * 40)}, {}, "submodule-in-context"),
        ({"Dockerfile": SCRATCH, "sub": (SUBMODULE, b"1" * 40)}, {"context": Folder("sub")}, "submodule-in-context"),
        ({"Dockerfile": SCRATCH, "d/big": LFS}, {}, "lfs-pointer-in-context"),
        ({"Dockerfile": SCRATCH, ".dockerignore": b"[\n"}, {}, "ignore-syntax"),
        ({"Dockerfile": b""}, {}, "dockerfile-empty"),
        ({"Dockerfile": b"FORM scratch\n"}, {}, "dockerfile-syntax"),
        ({"Dockerfile": SCRATCH}, {"target": "gone"}, "dockerfile-target-unknown"),
        ({"Dockerfile": SCRATCH}, {"checks": ("gone",)}, "dockerfile-target-unknown"),
        ({"Dockerfile": b"FROM Not:A:Name\n"}, {}, "dockerfile-reference-invalid"),
        ({"Dockerfile": SCRATCH}, {"contexts": {"x": Folder("gone")}}, "context-missing"),
        ({"Dockerfile": SCRATCH, "x/y": b""}, {"contexts": {"x": Folder("x", ("z",))}}, "include-missing"),
        ({"Dockerfile": SCRATCH}, {"dockerfile": "../Dockerfile"}, "dockerfile-missing"),
    ],
)
def test_what_is_invalid_in_the_commit(
    repo: Repo, files: dict[str, Content], changes: dict[str, Any], expected: str
) -> None:
    found = read(repo, files, **changes)
    assert codes(found) == ([expected], [])
    assert found.problems[0].artifact == "shop/api"
    assert found.problems[0].file


@pytest.mark.parametrize(
    ("dockerfile", "changes", "expected"),
    [
        (b"# syntax=example.org/mine\nanything\n", {}, "dockerfile-frontend-custom"),
        (SCRATCH, {"args": {"BUILDKIT_SYNTAX": "example.org/mine"}}, "dockerfile-frontend-custom"),
        (b"ARG BASE\nFROM $BASE\n", {}, "dockerfile-arg-unresolved"),
        (b"FROM alpine AS alpine\n", {}, "dockerfile-base-unpinnable"),
        (b"ARG BUILDARCH\nFROM tools-$BUILDARCH\n", {}, "dockerfile-builder-platform"),
        (SCRATCH, {"context": ELSEWHERE}, "git-unreachable"),
        (SCRATCH, {"contexts": {"x": ELSEWHERE}}, "git-unreachable"),
    ],
)
def test_what_cannot_be_decided_is_only_held(
    repo: Repo, dockerfile: bytes, changes: dict[str, Any], expected: str
) -> None:
    assert codes(read(repo, {"Dockerfile": dockerfile}, **changes)) == ([], [expected])


@pytest.mark.parametrize(("field", "value"), [("target", "tset"), ("checks", ("test", "tset"))])
def test_an_unknown_stage_is_told_where_the_directive_names_it(repo: Repo, field: str, value: Any) -> None:
    tree, memo = repo.tree({"Dockerfile": b"FROM scratch AS test\nFROM test AS run\n"}), Memo(None)
    reader = MaterialsReader(tree, Contexts(tree, memo), memo, lambda _, where: Place(f"shop.ncl/{'.'.join(where)}"))
    ((_, found),) = reader.read([artifact(**{field: value})])
    (problem,) = found.problems
    assert (problem.place, problem.artifact) == (f"shop.ncl/{field}", "shop/api")
    assert (problem.message, problem.hint) == ("Dockerfile: there is no stage 'tset'", "did you mean test?")


def test_an_unknown_stage_that_resembles_none_is_answered_with_all(repo: Repo) -> None:
    found = read(repo, {"Dockerfile": b"FROM scratch AS test\nFROM test AS run\n"}, target="xyz")
    assert found.problems[0].hint == "use one of its stages: run, test"
    found = read(repo, {"Dockerfile": SCRATCH}, target="xyz")
    assert found.problems[0].hint == "leave it out: the Dockerfile's stages have no names"


def test_everything_that_is_wrong_is_told_at_once(repo: Repo) -> None:
    files: dict[str, Content] = {"Dockerfile": b"FORM x\n", "sub": (SUBMODULE, b"1" * 40)}
    gone, elsewhere = Folder("gone"), ELSEWHERE
    found = read(repo, files, contexts={"x": gone, "y": elsewhere})
    assert codes(found) == (["context-missing"], ["git-unreachable"])
    assert codes(read(repo, files)) == (["submodule-in-context", "dockerfile-syntax"], [])


def test_the_dockerfile_may_lie_outside_context_and_include(repo: Repo) -> None:
    files: dict[str, Content] = {"docker/api/Dockerfile": SCRATCH, "src/a": b"1", "b": b"2"}
    found = read(repo, files, context=Folder(".", ("src",)), dockerfile="docker/api/Dockerfile")
    assert found.materials is not None
    assert found.materials.dockerfile_path == "docker/api/Dockerfile"
    alone = read(repo, {"Dockerfile": SCRATCH, "c/src/a": b"1"}, context=Folder("c"), dockerfile="../Dockerfile")
    assert sent(alone).root == sent(found).root


def test_a_lower_case_dockerfile_is_taken_where_there_is_no_other(repo: Repo) -> None:
    assert read(repo, {"dockerfile": SCRATCH}).materials is not None
    other = read(repo, {"dockerfile": b"FORM x", "Dockerfile": SCRATCH})
    assert other.materials is not None and other.materials.dockerfile_path == "Dockerfile"


def test_links_inside_the_repo_are_followed(repo: Repo) -> None:
    files: dict[str, Content] = {
        "real/Dockerfile.base": SCRATCH,
        "real/a": b"1",
        "link": (SYMLINK, b"real"),
        "real/Dockerfile": (SYMLINK, b"Dockerfile.base"),
    }
    found = read(repo, files, context=Folder("link"))
    assert found.materials is not None
    assert (sent(found).path, found.materials.dockerfile_path) == ("real", "real/Dockerfile.base")


@pytest.mark.parametrize(
    ("extra", "dockerfile", "expected"),
    [
        ({}, "Dockerfile", None),
        ({"c/.dockerignore": b"a"}, "Dockerfile", "c/.dockerignore"),
        ({"c/.dockerignore": b"a", "c/Dockerfile.dockerignore": b""}, "Dockerfile", "c/Dockerfile.dockerignore"),
        ({"c/.dockerignore": b"a", "c/Other.dockerignore": b""}, "Dockerfile", "c/.dockerignore"),
        ({".dockerignore": b"a"}, "Dockerfile", None),
        ({"c/d/.dockerignore": b"a", "c/d/Dockerfile": SCRATCH}, "d/Dockerfile", None),
        (
            {"c/d/Dockerfile.dockerignore": b"a", "c/d/Dockerfile": SCRATCH},
            "d/Dockerfile",
            "c/d/Dockerfile.dockerignore",
        ),
        ({"c/.dockerignore": (SYMLINK, b"rules"), "c/rules": b"a"}, "Dockerfile", "c/rules"),
        ({"c/.dockerignore": (SYMLINK, b"../rules"), "rules": b"a"}, "Dockerfile", None),
        ({"c/.dockerignore/x": b"a"}, "Dockerfile", None),
    ],
)
def test_the_ignore_file_in_force(repo: Repo, extra: dict[str, Content], dockerfile: str, expected: str | None) -> None:
    files: dict[str, Content] = {"c/Dockerfile": SCRATCH, "c/a": b"1"}
    found = read(repo, files | extra, context=Folder("c"), dockerfile=dockerfile)
    assert sent(found).ignore == expected


def test_named_folders_have_their_own_ignore_file(repo: Repo) -> None:
    files: dict[str, Content] = {
        "Dockerfile": b"FROM scratch\nCOPY --from=assets . /\n",
        "Dockerfile.dockerignore": b"*\n",
        "assets/.dockerignore": b"*.psd\n",
        "assets/a.png": b"1",
        "assets/a.psd": b"2",
    }
    found = read(repo, files, contexts={"assets": Folder("assets")})
    assert found.materials is not None
    assert found.materials.folders["assets"].ignore == "assets/.dockerignore"
    assert needs(found).contexts == ("assets",)
    changed = read(repo, files | {"assets/a.psd": b"3"}, contexts={"assets": Folder("assets")})
    assert changed.materials == found.materials


def test_images_are_found_for_each_platform(repo: Repo) -> None:
    dockerfile = f"""
ARG TAG=3.12
FROM --platform=$BUILDPLATFORM golang:1.23 AS build
FROM base AS unused
FROM docker.io/library/python:$TAG AS run
COPY --from=build / /
COPY --from=busybox / /
COPY --from={PINNED} / /
FROM scratch AS last
COPY --from=run / /
FROM node AS never
""".encode()
    found = read(
        repo,
        {"Dockerfile": dockerfile},
        platforms=(AMD64, ARM64),
        target="last",
        args={"TAG": "3.13"},
        contexts={"base": PARENT},
    )
    assert {name: str(image) for name, image in needs(found).images.items()} == {
        "golang:1.23": "docker.io/library/golang:1.23",
        "python:3.13": "docker.io/library/python:3.13",
        "busybox": "docker.io/library/busybox:latest",
        PINNED.removeprefix("docker.io/library/"): PINNED,
    }
    assert needs(found) == needs(found, ARM64)
    assert found.notes == ("does not use the named context base",)


def test_named_contexts_take_the_place_of_images(repo: Repo) -> None:
    contexts = {"python:3.12": BaseImage(Reference.parse("mirror.example.org/python:3.12")), "base": PARENT}
    found = read(repo, {"Dockerfile": b"FROM python:3.12\nFROM base\nCOPY --from=0 / /\n"}, contexts=contexts)
    assert needs(found) == Needs({}, ("base", "python:3.12"))


def test_stages_are_named_where_an_image_may_be_one_of_them(repo: Repo) -> None:
    dockerfile = b"FROM scratch AS Builder\nFROM scratch\nCOPY --from=biulder / /\n"
    assert needs(read(repo, {"Dockerfile": dockerfile})).stages == ("builder",)
    assert needs(read(repo, {"Dockerfile": b"FROM scratch AS builder\n"})).stages == ()


@pytest.mark.parametrize(
    ("text", "args", "place"),
    [
        ("# escape=`\n#  SYNTAX = mirror.example/docker/dockerfile:1\nFROM scratch\n", {}, "Dockerfile:2:13"),
        ("FROM scratch\n", {"BUILDKIT_SYNTAX": "mirror.example/docker/dockerfile:1"}, None),
        ("# syntax=docker/dockerfile:1\nFROM scratch\n", {}, None),
    ],
)
def test_a_frontend_is_shown_where_the_file_names_it(text: str, args: dict[str, str], place: str | None) -> None:
    found = image_places(text.encode(), "Dockerfile", artifact(args=args))
    told = {name: Problem("c", "m").at(at).place for name, at in found.items()}
    assert told == ({"mirror.example/docker/dockerfile:1": place} if place else {})


def test_checks_have_needs_of_their_own(repo: Repo) -> None:
    dockerfile = b"FROM python:3.12 AS test\nFROM node:22 AS lint\nFROM scratch AS out\n"
    found = read(repo, {"Dockerfile": dockerfile}, checks=("test", "lint"))
    assert found.materials is not None
    assert needs(found) == Needs()
    assert set(found.materials.check_needs[AMD64].images) == {"python:3.12", "node:22"}


def fetched(repo: Repo, dockerfile: bytes, **more: Any) -> list[tuple[str, Part, int]]:
    return [(f.location, f.part, f.line) for f in needs(read(repo, {"Dockerfile": dockerfile}, **more)).fetched]


def test_what_nothing_pins_is_known_by_its_name_in_a_lock(repo: Repo) -> None:
    dockerfile = b"""ARG V=1
FROM scratch AS base
ARG V
ADD https://example.org/x-$V https://example.org/a /
FROM base
ADD git@git.example:team/r.git#v1:docs /
ADD https://git.example/r.git /
"""
    git = Part(PartKind.GIT, "git@git.example:team/r.git", "v1")
    assert fetched(repo, dockerfile) == [
        ("git@git.example:team/r.git#v1:docs", git, 6),
        ("https://example.org/a", Part(PartKind.URL, "https://example.org/a"), 4),
        ("https://example.org/x-1", Part(PartKind.URL, "https://example.org/x-1"), 4),
        ("https://git.example/r.git", Part(PartKind.GIT, "https://git.example/r.git", "HEAD"), 7),
    ]
    assert fetched(repo, dockerfile, target="base", args={"V": "2"})[1][0] == "https://example.org/x-2"


SUM = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    "add",
    [
        f"ADD --checksum={SUM} https://example.org/x /",
        f"ARG S={SUM}\nADD --checksum=$S https://example.org/x /",
        "ADD https://git.example/r.git#" + "a" * 40 + " /",
        "ADD https://git.example/r.git?commit=" + "a" * 40 + "&tag=v1 /",
        "ADD --checksum=" + "a" * 40 + " https://git.example/r.git#main /",
    ],
)
def test_what_the_dockerfile_pins_itself_does_not_move(repo: Repo, add: str) -> None:
    found = read(repo, {"Dockerfile": f"FROM scratch\n{add}\n".encode()})
    assert (needs(found).fetched, found.notes) == ((), ())


def test_a_checksum_of_nothing_pins_nothing(repo: Repo) -> None:
    assert fetched(repo, b"FROM scratch\nARG S\nADD --checksum=$S https://example.org/x /\n") != []


@pytest.mark.parametrize(
    "dockerfile",
    [
        "FROM alpine\nADD https://example.org/$FROM_BASE /\n",
        "FROM scratch\nADD https://git.example/r.git?tag=v1 /\n",
        "FROM scratch\nADD https://deploy@git.example/r.git#v1 /\n",
        "FROM scratch\nADD HTTPS://git.example/r.git /\n",
        "FROM scratch\nADD ssh://git.example/../r.git /\n",
        "ARG BUILDARCH\nFROM scratch\nARG BUILDARCH\nADD https://example.org/$BUILDARCH /\n",
    ],
)
def test_what_no_lock_can_name_is_noted(repo: Repo, dockerfile: str) -> None:
    found = read(repo, {"Dockerfile": dockerfile.encode()})
    assert needs(found).fetched == ()
    (note,) = found.notes
    assert "which nothing can pin but a checksum" in note


@pytest.mark.parametrize("url", ["https://deploy:pa55@git.example/r.git#v1", "git://git.example:0/r"])
def test_a_git_source_that_lian_would_not_read_hinders_no_lock(repo: Repo, url: str) -> None:
    found = read(repo, {"Dockerfile": f"FROM scratch\nADD {url} /src\nADD https://example.org/x /\n".encode()})
    assert [each.location for each in needs(found).fetched] == ["https://example.org/x"]
    (note,) = found.notes
    assert "lian asks no server" in note
    assert "pa55" not in note


VARIED: dict[str, Content] = {
    "Dockerfile": (
        b"ARG A=1\nFROM python:3.$A AS one\nADD https://example.org/x /\nFROM scratch\nCOPY --from=other / /\n"
    ),
    "other/x": b"1",
    "src/y": b"2",
}


def test_the_memo_answers_the_same(repo: Repo, tmp_path: Path) -> None:
    wanted = [
        artifact("a", contexts={"other": Folder("other")}, checks=("one",)),
        artifact("b", contexts={"other": Folder("other"), "idle": PARENT}, platforms=(AMD64, ARM64)),
        artifact("c", context=Folder(".", ("src",)), args={"A": "2"}, target="one"),
        artifact("d", target="gone"),
    ]
    first = read_all(repo, VARIED, wanted, memo := Memo(tmp_path / "memo.sqlite"))
    memo.close()
    memo = Memo(tmp_path / "memo.sqlite")
    assert read_all(repo, VARIED, wanted, memo) == first == read_all(repo, VARIED, wanted)
    memo.close()
    moved = {f"deep/{path}": content for path, content in VARIED.items()}
    there = [artifact("z", context=Folder("deep"), contexts={"other": Folder("deep/other")}, checks=("one",))]
    (found,) = read_all(repo, moved, there, memo := Memo(tmp_path / "memo.sqlite"))
    memo.close()
    assert found.materials is not None
    assert found.materials.dockerfile_path == "deep/Dockerfile"
    assert found.materials.needs == first[0].materials.needs  # type: ignore[union-attr]


_changes = st.fixed_dictionaries(
    {},
    optional={
        "target": st.sampled_from(["one", "gone"]),
        "args": st.sampled_from([{"A": "2"}, {"B": "1"}]),
        "platforms": st.sampled_from([(ARM64,), (AMD64, ARM64)]),
        "checks": st.just(("one",)),
        "context": st.sampled_from([Folder(".", ("src",)), Folder(".", ("other",)), Folder("src")]),
        "dockerfile": st.sampled_from(["Dockerfile", "src/Dockerfile"]),
        "contexts": st.sampled_from([{"other": Folder("other")}, {"other": PARENT}, {"other": Folder("src")}]),
    },
)
_edits = st.dictionaries(
    st.sampled_from(["src/y", "other/x", ".dockerignore", "src/Dockerfile"]),
    st.sampled_from([b"FROM scratch\n", b"src\n"]),
)


@given(st.lists(st.tuples(_edits, _changes), min_size=2, max_size=6))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_a_shared_memo_never_changes_an_answer(
    repo: Repo, steps: list[tuple[dict[str, Content], dict[str, Any]]]
) -> None:
    shared = Memo(None)
    for edits, changes in steps:
        wanted = [artifact(**changes)]
        assert read_all(repo, VARIED | edits, wanted, shared) == read_all(repo, VARIED | edits, wanted)
