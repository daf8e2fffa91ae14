"""Compose files: what is carried over, what is told, what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.adopt.folders import PLAIN, begun, codes, directives, refused, settings
from tests.plan.test_secret_looks import SECRET_VALUES

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = """\
name: shop
x-common: &common
  labels:
    org.opencontainers.image.vendor: Acme
services:
  db: {image: "postgres:16"}
  base:
    image: registry.example.org/shop/base:1.4
    build: ./base
  api:
    image: registry.example.org/shop/api:${VERSION:-1.4}
    build:
      <<: *common
      context: api
      dockerfile: Dockerfile.prod
      target: runtime
      args: [VERSION, "GO=1.20", OPEN]
      platforms: [linux/amd64, linux/arm64/v8]
      secrets: [npm, {source: key, target: signing}]
      tags: ["registry.example.org/shop/api:stable"]
      additional_contexts:
        assets: ./assets
        tool: docker-image://alpine:3.20
        proto: https://example.org/proto.git#v3:shop
      cache_from: ["type=gha"]
      pull: true
      shm_size: 1gb
      privileged: false
  web:
    extends: {file: common/web.yaml, service: web}
    platform: linux/arm64
secrets:
  npm: {environment: NPM_TOKEN}
  key: {file: ./key}
"""
FILES = {
    "compose.yaml": WHOLE,
    "common/web.yaml": "services:\n  web:\n    image: registry.example.org/shop/web\n    build: {context: ../web}\n",
    ".env": "VERSION=1.5\n",
    "base/Dockerfile": PLAIN,
    "api/Dockerfile.prod": "FROM registry.example.org/shop/base:1.4 AS runtime\n",
    "web/Dockerfile": PLAIN,
    "assets/a": "",
}


def test_a_whole_project(tmp_path: Path) -> None:
    told = begun(tmp_path / "any", FILES)
    made = directives(told)
    assert list(made) == ["api", "base", "web"]
    api = made["api"]
    assert (api["image"], api["tags"]) == ("shop/api", ["1.5", "stable"])
    assert (api["context"], api["dockerfile"], api["target"]) == ({"path": "api"}, "Dockerfile.prod", "runtime")
    assert api["args"] == {"VERSION": "1.5", "GO": "1.20"}
    assert api["labels"] == {"org.opencontainers.image.vendor": "Acme"}
    assert api["platforms"] == ["linux/amd64", "linux/arm64"]
    assert api["secrets"] == {"npm": {"name": "npm"}, "signing": {"name": "key"}}
    assert api["contexts"] == {
        "assets": {"path": "assets"},
        "tool": {"image": "alpine:3.20"},
        "proto": {"git": "https://example.org/proto.git", "rev": "v3", "path": "shop"},
        "registry.example.org/shop/base:1.4": {"artifact": "base"},
    }
    assert made["base"]["platforms"] == ["linux/amd64", "linux/arm64"]
    assert (made["web"]["context"], made["web"]["platforms"]) == ({"path": "web"}, ["linux/arm64"])
    fleet = settings(told)
    assert fleet["registry"]["url"] == "https://registry.example.org"
    assert fleet["secrets"] == {"shop": {"npm": {"source": "Env", "name": "NPM_TOKEN"}}}
    assert codes(told, "left-out") == set()
    assert codes(told, "dropped") == {
        ("cache-from-dropped", "api"),
        ("pull-dropped", "api"),
        ("shm-size-dropped", "api"),
    }
    assert codes(told, "settled") == {
        ("arg-open", "api"), ("parent-linked", "api"), ("platform-added", "base"), ("platform-settled", None),
        ("secret-bound", None), ("variable-settled", "api"),
    }  # fmt: skip
    assert codes(told, "note") == {("registry-named", None), ("secret-unbound", None)}


def test_a_remark_says_where_it_is_about(tmp_path: Path) -> None:
    told = begun(tmp_path / "any", FILES)
    (cache,) = [remark for remark in told.remarks if remark.code == "cache-from-dropped"]
    line = WHOLE.splitlines().index('      cache_from: ["type=gha"]') + 1
    assert (cache.place.file, cache.place.line, cache.place.column) == ("compose.yaml", line, 7)
    assert cache.field == "services.api.build.cache_from"


BUILD = "services:\n  a:\n    build:\n      context: a\n{}\n"


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("      dockerfile_inline: FROM scratch", "dockerfile-inline-unsupported"),
        ("      ssh: [default]", "ssh-unsupported"),
        ("      network: host", "network-unsupported"),
        ("      privileged: true", "privileged-unsupported"),
        ("      entitlements: [security.insecure]", "entitlements-unsupported"),
        ("      extra_hosts: {a: 10.0.0.1}", "extra-hosts-unsupported"),
        ("      dockerfile: ../Dockerfile", "dockerfile-outside"),
        ("      dockerfile: Nofile", "dockerfile-missing"),
        ("      additional_contexts: {x: ../other}", "context-unsupported"),
        ("      additional_contexts: {x: nowhere}", "context-missing"),
        ("      additional_contexts: {x: 'oci-layout://x'}", "context-unsupported"),
        ("      additional_contexts: {x: 'https://example.org/x.tgz'}", "context-unsupported"),
        ("      additional_contexts: {x: 'https://u:p@example.org/x.git'}", "context-unsupported"),
        ("      additional_contexts: {x: 'service:nobody'}", "parent-unknown"),
        ("      additional_contexts: {x: 'service:a'}", "parent-cycle"),
        ("      args: {X: '${NO:?}'}", "variable-unset"),
        ("      args: {X: '${API_TOKEN}'}", "secret-in-variable"),
        ("      args: [API_TOKEN]", "secret-in-variable"),
        ("      args: {'a b': x}", "value-unsupported"),
        ("      platforms: [linux]", "platform-unsupported"),
        ("    image: example.org/A:1", "image-invalid"),
        ("    image: 'a@sha256:" + "0" * 64 + "'", "image-invalid"),
        ("      target: 'a b'", "value-unsupported"),
    ],
)
def test_what_would_be_another_image_is_left_out(tmp_path: Path, lines: str, code: str) -> None:
    good = "  good: {build: good}\n"
    files = {"compose.yaml": BUILD.format(lines) + good, "a/Dockerfile": PLAIN, "good/Dockerfile": PLAIN}
    told = begun(tmp_path / "any", {**files, ".env": "API_TOKEN=abcdef\n"})
    assert (code, "a") in codes(told, "left-out")
    assert list(directives(told)) == ["good"]
    assert all(remark.hint for remark in told.remarks if remark.weight.value == "left-out")
    assert "abcdef" not in f"{told.to_json(written=True)}"
    problems = refused(
        tmp_path / "alone", {"compose.yaml": BUILD.format(lines), "a/Dockerfile": PLAIN, ".env": "API_TOKEN=x"}
    )
    assert code in {problem.code for problem in problems}


@pytest.mark.parametrize("what", SECRET_VALUES)
@pytest.mark.parametrize(
    "line", ["args: {DB: '${DB}'}", "args: [DB]", "labels: {db: 'at ${DB}'}", "args: {DB: '${DB?}'}"]
)
def test_what_looks_like_a_secret_is_not_taken_from_dotenv(tmp_path: Path, what: str, line: str) -> None:
    value = SECRET_VALUES[what]
    files = {"compose.yaml": BUILD.format(f"      {line}") + "  good: {build: good}\n", "a/Dockerfile": PLAIN}
    told = begun(tmp_path / "any", {**files, "good/Dockerfile": PLAIN, ".env": f'DB="{value}"\n'})
    assert ("secret-in-variable", "a") in codes(told, "left-out")
    assert value not in json.dumps(told.to_json(written=True))
    assert value not in str(told.remarks)


def test_a_password_put_into_a_url_is_not_taken_from_dotenv(tmp_path: Path) -> None:
    files = {"compose.yaml": BUILD.format("      args: {DB: 'postgres://${U}:${P}@db/x'}"), "a/Dockerfile": PLAIN}
    problems = refused(tmp_path / "any", {**files, ".env": "U=shop\nP=hunter2\n"})
    assert [(each.code, each.line) for each in problems] == [("secret-in-variable", 5)]
    assert "what U and P of .env gives looks like a secret" in problems[0].message
    assert "hunter2" not in str(problems)


@pytest.mark.parametrize("what", SECRET_VALUES)
@pytest.mark.parametrize("said", ["{}", "${{NONE:-{}}}"])
def test_a_secret_in_the_file_itself_is_told_and_not_repeated(tmp_path: Path, what: str, said: str) -> None:
    value = SECRET_VALUES[what]
    line = "      args: {DB: " + json.dumps(said.format(value)) + "}"
    told = begun(tmp_path / "any", {"compose.yaml": BUILD.format(line), "a/Dockerfile": PLAIN})
    assert ("secret-in-arg", "a") in codes(told, "note")
    assert value not in str(told.remarks)


def test_what_stands_on_something_left_out_is_left_out_too(tmp_path: Path) -> None:
    text = "services:\n" + "".join(
        f"  s{i}: {{build: {{context: a, additional_contexts: {{x: 'service:s{i + 1}'}}}}}}\n" for i in range(50)
    )
    text += "  s50: {build: {context: a, ssh: [default]}}\n  free: {build: a}\n"
    told = begun(tmp_path / "any", {"compose.yaml": text, "a/Dockerfile": PLAIN})
    assert list(directives(told)) == ["free"]
    assert codes(told, "left-out") == {("parent-left-out", f"s{i}") for i in range(50)} | {("ssh-unsupported", "s50")}


@pytest.mark.parametrize(
    ("text", "code", "line", "told"),
    [
        ("services:\n  a: {build: .\n", "yaml-syntax", 3, "not YAML"),
        ("services: [a]\n", "compose-invalid", 1, "not a mapping"),
        ("services:\n  a: b\n", "compose-invalid", 2, "not a mapping"),
        ("- a\n", "compose-invalid", None, "holds no services"),
        ("services:\n  a:\n    build: {contxt: .}\n", "compose-invalid", 3, "contxt"),
        ("services:\n  a:\n    build: [a]\n", "compose-invalid", 3, "neither a folder nor"),
        ("services:\n  a:\n    build:\n      context: [a]\n", "compose-invalid", 4, "a list or a mapping"),
        ("services:\n  a:\n    build:\n      args: 3\n", "compose-invalid", 4, "neither a mapping nor"),
        ("services:\n  a:\n    build:\n      tags: x\n", "compose-invalid", 4, "not a list"),
        ("services:\n  a:\n    build:\n      secrets: [x]\n", "compose-invalid", 4, "declares no secret x"),
        ("services:\n  a:\n    extends: b\n", "compose-extends", 3, "no service b"),
        ("services:\n  a:\n    extends: a\n", "compose-extends", 2, "extends itself"),
        ("services:\n  a: {extends: b}\n  b: {extends: a}\n", "compose-extends", None, "extends itself"),
        ("services:\n  a:\n    extends: {service: b, file: no.yaml}\n", "compose-extends", 3, "no file no.yaml"),
        ("services:\n  a:\n    extends: {service: b, file: ../no.yaml}\n", "compose-extends", 3, "cannot be extended"),
        ("name: ${A:?}\nservices: {}\n", "compose-variable", 1, "needs the variable A"),
        ("services: {}\n", "nothing-built", None, "builds no image"),
        ("services:\n  a: {image: b}\n", "nothing-built", None, "builds no image"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(
    tmp_path: Path, text: str, code: str, line: int | None, told: str
) -> None:
    (problem, *_) = refused(tmp_path, {"compose.yaml": text, "Dockerfile": PLAIN})
    assert (problem.code, problem.file) == (code, "compose.yaml")
    assert line is None or problem.line == line
    assert told in problem.message
    assert problem.hint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Dockerfile", "compose.yaml"]


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = "services:\n  a: {build: {x: 1}}\n  b: {build: {y: 1}}\n"
    assert [problem.line for problem in refused(tmp_path, {"compose.yaml": text})] == [2, 3]


def test_profiles_are_told(tmp_path: Path) -> None:
    text = "services:\n  a: {build: ., profiles: [debug]}\n  b: {extends: a}\n  c: {build: ., profiles: []}\n"
    told = begun(tmp_path, {"compose.yaml": text, "Dockerfile": PLAIN})
    found = [(remark.build, remark.place.line) for remark in told.remarks if remark.code == "profiles-unheeded"]
    assert found == [("a", 2), ("b", 2)]


@pytest.mark.parametrize(
    ("args", "dotenv", "said"),
    [
        ("{A: '${TOKEN:-}'}", "", "${TOKEN} is written as its default, which is empty"),
        ("{A: '${V:-1}'}", "", "${V} is written as its default: 1"),
        ("{A: '${V}'}", "V=\n", "${V} is written as .env has it, which is empty"),
        ("[TOKEN]", "TOKEN=\n", "the arg is written as .env has it, which is empty"),
    ],
)
def test_a_value_that_is_empty_is_told_as_that(tmp_path: Path, args: str, dotenv: str, said: str) -> None:
    text = f"services: {{a: {{build: {{context: ., args: {args}}}}}}}\n"
    told = begun(tmp_path, {"compose.yaml": text, ".env": dotenv, "Dockerfile": PLAIN})
    assert said in [remark.message for remark in told.remarks]
    assert "secret-in-arg" not in {remark.code for remark in told.remarks}


def test_services_may_be_chosen(tmp_path: Path) -> None:
    files = {
        "compose.yaml": "services:\n  a: {build: a}\n  b: {build: b}\n",
        "a/Dockerfile": PLAIN,
        "b/Dockerfile": PLAIN,
    }
    assert list(directives(begun(tmp_path, files, only=("b",)))) == ["b"]
    (problem,) = refused(tmp_path, files, only=("c",))
    assert (problem.code, problem.hint) == ("only-unknown", "name what the file builds")


@pytest.mark.parametrize(
    ("images", "written", "registry"),
    [
        (["a:1", "b"], ["a", "b"], "OciLayout"),
        (["h.example:5000/x/a:1", "h.example:5000/b"], ["x/a", "b"], "https://h.example:5000"),
        (["ghcr.io/x/a", "ghcr.io/x/b"], ["x/a", "x/b"], "https://ghcr.io"),
        (["docker.io/x/a", "index.docker.io/x/b"], ["x/a", "x/b"], "https://registry-1.docker.io"),
        (["h.example/a", "g.example/b"], ["h.example/a", "g.example/b"], "OciLayout"),
        (["h.example/a", "b"], ["h.example/a", "b"], "OciLayout"),
    ],
)
def test_one_registry_is_a_setting_and_several_are_names(
    tmp_path: Path, images: list[str], written: list[str], registry: str
) -> None:
    text = "services:\n" + "".join(f"  s{i}: {{image: '{image}', build: a}}\n" for i, image in enumerate(images))
    told = begun(tmp_path, {"compose.yaml": text, "a/Dockerfile": PLAIN})
    assert [each["image"] for each in directives(told).values()] == written
    found = settings(told)["registry"]
    assert found.get("url", found["provider"]) == registry


def test_a_project_is_named_by_its_env_its_name_or_its_folder(tmp_path: Path) -> None:
    files = {"compose.yaml": "services:\n  a: {build: a}\n", "a/Dockerfile": PLAIN}
    assert begun(tmp_path / "Some Folder", files).workspace == "some-folder"
    named = {**files, "compose.yaml": f"name: ${{N:-called}}\n{files['compose.yaml']}"}
    assert begun(tmp_path / "x", named).workspace == "called"
    assert begun(tmp_path / "y", {**named, ".env": "COMPOSE_PROJECT_NAME=other\n"}).workspace == "other"
    assert begun(tmp_path / "z", named, workspace="Mine").workspace == "mine"


def test_a_from_of_another_service_is_its_artifact_however_it_is_called(tmp_path: Path) -> None:
    text = """\
services:
  base: {build: base}
  tool: {image: "docker.io/acme/tool:2", build: base}
  api: {build: {context: api, args: {BASE: shop-base}}}
"""
    dockerfile = "ARG BASE\nFROM acme/tool:2 AS tools\nFROM ${BASE} AS own\nFROM alpine\nCOPY --from=tools a b\n"
    dockerfile += "COPY --from=own a b\n"
    told = begun(tmp_path / "shop", {"compose.yaml": text, "base/Dockerfile": PLAIN, "api/Dockerfile": dockerfile})
    assert directives(told)["api"]["contexts"] == {
        "acme/tool:2": {"artifact": "tool"},
        "shop-base": {"artifact": "base"},
    }
