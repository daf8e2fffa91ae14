"""buildx is the oracle: what lian reads of bake and compose files is what `buildx bake --print` makes of them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reconciler.adopt.bake_json import NeedsBuildx, print_bake
from reconciler.adopt.build import FromBuild, FromImage
from reconciler.adopt.compose import read_compose
from reconciler.model.artifact import Folder, GitFolder
from reconciler.model.problem import LianError
from reconciler.providers.builder.bake import _unescaped
from tests.adopt.buildx import on_path, printed, program
from tests.adopt.folders import PLAIN, begun, codes, directives, fill, refused
from tests.adopt.projects import One, compose_of, files_of, projects

if TYPE_CHECKING:
    from reconciler.adopt.build import Build, Source


@pytest.fixture(autouse=True)
def _there() -> None:
    program()


# -- bake files as JSON

_TEXTS = st.sampled_from(
    ["a", "", "${V}", "x${V}-${W}", "$${V}", "%%{x}", "$", "%", "$$", "${ V }", "a\\nb", "é", "$$${V}"]
)
_PAIRS = st.dictionaries(
    st.sampled_from(["A", "B", "C"]), _TEXTS | st.booleans() | st.integers(0, 99) | st.none(), max_size=3
)
_NAMES = ["a", "b", "c", "_d"]
_TARGETS = st.fixed_dictionaries(
    {},
    optional={
        "inherits": st.lists(st.sampled_from(_NAMES), max_size=2),
        "context": st.sampled_from([".", "x", "x/y"]),
        "contexts": st.dictionaries(
            st.sampled_from(["m", "n"]), st.sampled_from(["target:b", "docker-image://alpine"]), max_size=2
        ),
        "dockerfile": st.sampled_from(["Dockerfile", "D.x"]),
        "args": _PAIRS,
        "labels": st.dictionaries(st.sampled_from(["l", "m"]), _TEXTS | st.none(), max_size=2),
        "tags": st.lists(st.sampled_from(["a:1", "b:${V}", "c"]), max_size=2),
        "platforms": st.lists(st.sampled_from(["linux/amd64", "linux/arm64"]), max_size=2, unique=True),
        "target": _TEXTS,
    },
)
_BAKES = st.fixed_dictionaries(
    {
        "variable": st.just({"V": {"default": "1"}, "W": {"default": "${V}2"}}),
        "target": st.fixed_dictionaries(dict.fromkeys(_NAMES, _TARGETS)),
    },
    optional={
        "group": st.fixed_dictionaries(
            {
                "default": st.fixed_dictionaries(
                    {"targets": st.lists(st.sampled_from([*_NAMES[:3], "more"]), min_size=1, max_size=3)}
                ),
                "more": st.just({"targets": ["c"]}),
            }
        )
    },
)
READ = ("context", "dockerfile", "args", "labels", "tags", "platforms", "target", "contexts")


def as_printed(target: dict[str, Any]) -> dict[str, Any]:
    """A target's fields in one form: numbers and booleans as texts, nothing that says nothing."""
    target = _unescaped(target)
    found = {}
    for key in READ:
        value = target.get(key)
        if isinstance(value, dict):
            value = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in value.items() if v is not None}
        if isinstance(value, list):
            value = list(dict.fromkeys(value))  # bake names a tag once
        if value:
            found[key] = value
    return found


@settings(max_examples=20)
@given(_BAKES)
def test_bake_as_json(bake: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        names = [] if "group" in bake else ["a", "b", "c"]
        theirs = printed(fill(Path(folder), {"docker-bake.json": json.dumps(bake)}), "docker-bake.json", names)
    try:
        ours, _ = print_bake(json.dumps(bake).encode(), "docker-bake.json", names)
    except LianError:
        assert isinstance(theirs, str)
        return
    except NeedsBuildx:
        return
    if isinstance(theirs, str):  # bake goes on to look for what directives are checked for anyway
        assert any(
            word in theirs for word in ("infinite loop", "tag", "reference", "label", "failed to parse", "link")
        ), theirs
        return
    assert {name: as_printed(_escaped(target)) for name, target in ours["target"].items()} == {
        name: as_printed(target) for name, target in theirs.items()
    }


def _escaped(value: Any) -> Any:
    """As buildx prints texts."""
    if isinstance(value, str):
        return value.replace("${", "$${").replace("%{", "%%{")
    if isinstance(value, list):
        return [_escaped(each) for each in value]
    if isinstance(value, dict):
        return {key: _escaped(each) for key, each in value.items()}
    return value


# -- compose files

_SCALARS = (
    st.sampled_from(
        ["1.10", "017", "0x1F", "yes", "TRUE", "null", "~", "1e3", "2024-01-01", "1_000", "a b", "'1.10'", '""']
    )
    | st.floats(0, 1e9).map(repr)
    | st.integers(-(10**20), 10**20).map(str)
    | st.from_regex(r"[-+]?[0-9]{1,4}(\.[0-9]{0,3})?", fullmatch=True)
    | st.sampled_from(
        ["${A}", "${A:-x}", "${NO:-y}", "${NO-${A}}", "$$A", "${EMPTY:-z}", "${EMPTY-z}", "${A:+w}", "x$A"]
    )
)


@settings(max_examples=20)
@given(st.lists(_SCALARS, min_size=5, max_size=25))
def test_scalars_and_variables_of_compose(scalars: list[str]) -> None:
    args = "".join(f"        A{number}: {scalar}\n" for number, scalar in enumerate(scalars))
    text = f"services:\n  a:\n    build:\n      context: .\n      args:\n{args}"
    dotenv = "A=a a\nEMPTY=\n"
    with tempfile.TemporaryDirectory() as folder:
        theirs = printed(fill(Path(folder), {"compose.yaml": text, ".env": dotenv}), "compose.yaml")
    assert isinstance(theirs, dict), theirs
    files = {".env": dotenv.encode()}
    (build,) = read_compose(text.encode(), "compose.yaml", files.get, "x").builds
    assert dict(build.args) == _unescaped(theirs["a"].get("args", {}))


def source(found: Source) -> str:
    match found:
        case Folder(path):
            return path
        case GitFolder(url, rev, path):
            return f"{url}#{rev}:{path}"
        case FromBuild(name):
            return f"target:{name}"
        case FromImage(reference):
            return f"docker-image://{reference}"


def as_target(build: Build) -> dict[str, Any]:
    found: dict[str, Any] = {
        "context": source(build.context),
        "dockerfile": build.dockerfile,
        "args": dict(build.args),
        "labels": dict(build.labels),
        "contexts": {name: source(each) for name, each in build.contexts.items()},
        "platforms": list(build.platforms),
        "target": build.target,
    }
    return {key: value for key, value in found.items() if value}


@settings(max_examples=15)
@given(projects(), st.booleans())
def test_compose_files(project: list[One], short: bool) -> None:
    text = compose_of(project, short=short)
    with tempfile.TemporaryDirectory() as folder:
        theirs = printed(fill(Path(folder), {"compose.yaml": text, **files_of(project)}), "compose.yaml")
    assume(not (isinstance(theirs, str) and "not a subset" in theirs))  # lian builds the parent for more platforms
    assert isinstance(theirs, dict), theirs
    found = read_compose(text.encode(), "compose.yaml", lambda _: None, "x")
    for target in theirs.values():
        target.pop("tags", None)
    assert {build.name: as_target(build) for build in found.builds} == {n: as_printed(t) for n, t in theirs.items()}


EXTENDS = {
    "compose.yaml": """\
x-args: &args {A: 1, B: 2}
services:
  base:
    build:
      context: base
      args: {<<: *args, C: 3}
      labels: [x=1, y=2]
      platforms: [linux/amd64]
      additional_contexts: {one: ./one}
  short: {build: base}
  a:
    extends: {service: base}
    build:
      args: [B=4, D=5]
      labels: {y: 3}
      platforms: [linux/arm64, linux/amd64]
      additional_contexts: [two=./two]
  b:
    extends: {service: far, file: sub/other.yaml}
    build: {target: final}
  c:
    extends: {service: short}
    build: {dockerfile: D}
  d: {extends: {service: c}}
""",
    "sub/other.yaml": """\
services:
  near: {build: {context: ./ctx, args: {N: near, F: near}, dockerfile: D}}
  far: {extends: {service: near}, build: {args: {F: far}, additional_contexts: {up: ../one}}}
""",
}


def test_extends_and_merges(tmp_path: Path) -> None:
    theirs = printed(fill(tmp_path, EXTENDS), "compose.yaml")
    assert isinstance(theirs, dict), theirs
    contents = {name: text.encode() for name, text in EXTENDS.items()}
    found = read_compose(contents["compose.yaml"], "compose.yaml", contents.get, "x")
    ours = {build.name: as_target(build) for build in found.builds}
    assert ours == {name: as_printed(target) for name, target in theirs.items()}


# -- HCL

HCL = """\
variable "TAG" { default = "1.4" }
variable "PUSH" { default = false }
function "tag" {
  params = [name]
  result = ["ghcr.io/acme/${name}:${TAG}"]
}
group "default" { targets = ["api", "worker", "out"] }
target "_common" {
  platforms = ["linux/amd64", "linux/arm64"]
  args = { RAW = "$${x}%%{y}", PUSH = PUSH, N = 1 + 1 }
}
target "base" { context = "base" }
target "api" {
  inherits = ["_common"]
  context  = "api"
  contexts = { base = "target:base" }
  tags     = tag("api")
  secret   = ["id=npm,env=NPM_TOKEN"]
}
target "worker" {
  name     = "worker-${replace(v, ".", "-")}"
  matrix   = { v = ["1.0", "2.0"] }
  inherits = ["api"]
  args     = { V = v }
  tags     = ["ghcr.io/acme/worker:${v}"]
}
target "out" {
  context = "base"
  output  = ["type=local,dest=out"]
}
"""
FOLDERS = {"base/Dockerfile": PLAIN, "api/Dockerfile": "FROM base\n"}


def test_hcl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions, matrices, expressions; the environment has no part in it."""
    monkeypatch.setenv("PATH", on_path(tmp_path / "bin"))
    monkeypatch.setenv("TAG", "from-the-environment")
    told = begun(tmp_path / "acme", {"docker-bake.hcl": HCL, **FOLDERS})
    made = directives(told)
    assert sorted(made) == ["api", "base", "worker-1-0", "worker-2-0"]
    assert (made["api"]["image"], made["api"]["tags"]) == ("acme/api", ["1.4"])
    assert made["worker-2-0"]["args"] == {"RAW": "${x}%{y}", "PUSH": "false", "N": "2", "V": "2.0"}
    assert made["worker-1-0"]["contexts"] == {"base": {"artifact": "base"}}
    assert made["base"]["platforms"] == ["linux/amd64", "linux/arm64"]
    assert codes(told, "left-out") == {("output-unsupported", "out")}
    (base,) = [one for one in (told.adopted.carried if told.adopted else ()) if one.name == "base"]
    assert base.build.place.line == HCL.splitlines().index('target "base" { context = "base" }') + 1


def test_hcl_without_a_default_is_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", on_path(tmp_path / "bin"))
    text = 'target "a" { context = "base" }\ntarget "b" { context = "base" }\n'
    assert sorted(directives(begun(tmp_path / "acme", {"docker-bake.hcl": text, **FOLDERS}))) == ["a", "b"]


def test_json_that_only_buildx_can_tell_is_given_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", on_path(tmp_path / "bin"))
    bake = {"target": {"a": {"context": "base", "tags": ['${upper("x")}/a:1'.replace("upper", "lower")]}}}
    told = begun(tmp_path / "acme", {"docker-bake.json": json.dumps(bake), **FOLDERS})
    assert directives(told)["a"]["image"] == "x/a"


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ('target "a" {\n  tags = foo(\n}\n', 3, 1, "expression"),
        ('target "a" {\n  tags = [nothing]\n}\n', 2, 11, "nothing"),
        ('target "a" {\n  inherits = ["b"]\n}\n', None, None, "target b"),
    ],
)
def test_what_is_wrong_in_hcl_is_told_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, line: int | None, column: int | None, said: str
) -> None:
    monkeypatch.setenv("PATH", on_path(tmp_path / "bin"))
    (problem,) = refused(tmp_path / "acme", {"docker-bake.hcl": text})
    assert (problem.code, problem.file, problem.line, problem.column) == (
        "bake-invalid",
        "docker-bake.hcl",
        line,
        column,
    )
    assert said in (problem.cause or "")
