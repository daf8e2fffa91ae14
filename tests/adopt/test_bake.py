"""Bake files: JSON by lian itself, HCL by buildx, and what becomes of their targets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.adopt.bake import Places
from reconciler.adopt.bake_json import NeedsBuildx, print_bake
from reconciler.model.problem import LianError
from tests.adopt.folders import PLAIN, begun, codes, directives, refused, settings
from tests.plan.test_secret_looks import SECRET_VALUES

if TYPE_CHECKING:
    from pathlib import Path

BAKE: dict[str, Any] = {
    "variable": {"TAG": {"default": "1.4"}, "NAME": {"default": "ghcr.io/acme/${SUB}"}, "SUB": {"default": "api"}},
    "group": {"default": {"targets": ["images"]}, "images": {"targets": ["api", "web"]}},
    "target": {
        "_common": {"platforms": ["linux/amd64", "linux/arm64"], "args": {"A": "1", "B": "2"}, "labels": {"x": "y"}},
        "base": {"context": "base"},
        "api": {
            "inherits": ["_common"],
            "context": "api",
            "contexts": {"base": "target:base", "src": "cwd://base"},
            "tags": ["${NAME}:${TAG}", "${NAME}:latest"],
            "args": {"B": "$${raw}", "C": True, "N": None, "I": 3},
            "secret": ["id=npm,env=NPM_TOKEN", {"id": "file", "src": "./x"}],
            "cache-from": ["type=gha"],
            "output": ["type=registry"],
            "description": "an API",
        },
        "web": {
            "inherits": ["api"], "dockerfile": "Dockerfile.web", "tags": ["ghcr.io/acme/web"],
            "platforms": ["linux/amd64"],
        },
        "other": {"context": "other"},
    },
}  # fmt: skip
SECRETS = {
    "target": {
        "a": {"context": "base", "secret": ["id=A_B,env=ONE", "id=a-b,env=TWO"]},
        "b": {"context": "base", "secret": ["id=A_B,env=ONE", "id=x,env=ONE"]},
        "c": {"context": "base", "secret": ["id=x,env=THREE"]},
    }
}
FILES = {
    "docker-bake.json": json.dumps(BAKE, indent=2),
    "base/Dockerfile": PLAIN,
    "api/Dockerfile": "FROM base\n",
    "api/Dockerfile.web": "FROM base\n",
}


def test_secrets_whose_names_come_to_the_same_are_kept_apart(tmp_path: Path) -> None:
    document = json.dumps(SECRETS)
    told = begun(tmp_path / "acme", {"docker-bake.json": document, "base/Dockerfile": PLAIN}, only=("a", "b", "c"))
    made = {name: {key: each["name"] for key, each in one["secrets"].items()} for name, one in directives(told).items()}
    assert made == {"a": {"A_B": "a-b", "a-b": "a-b-2"}, "b": {"A_B": "a-b", "x": "x"}, "c": {"x": "x-2"}}
    bound = {name: each["name"] for name, each in settings(told)["secrets"]["acme"].items()}
    assert bound == {"a-b": "ONE", "a-b-2": "TWO", "x": "ONE", "x-2": "THREE"}
    renamed = [remark.message for remark in told.remarks if remark.code == "secret-renamed"]
    assert renamed == [
        "the secret a-b is called a-b-2: another one is called a-b already",
        "the secret x is called x-2: another one is called x already",
    ]


def test_a_whole_file(tmp_path: Path) -> None:
    told = begun(tmp_path / "acme", FILES)
    made = directives(told)
    assert sorted(made) == ["api", "base", "web"]
    api = made["api"]
    assert (api["image"], api["tags"]) == ("acme/api", ["1.4", "latest"])
    assert api["platforms"] == ["linux/amd64", "linux/arm64"]
    assert api["args"] == {"A": "1", "B": "${raw}", "C": "true", "I": "3"}
    assert api["contexts"] == {"base": {"artifact": "base"}, "src": {"path": "base"}}
    assert api["secrets"] == {"npm": {"name": "npm"}, "file": {"name": "file"}}
    assert made["base"]["platforms"] == ["linux/amd64", "linux/arm64"]
    assert made["base"]["image"] == "acme/base"
    assert (made["web"]["dockerfile"], made["web"]["args"]) == ("Dockerfile.web", api["args"])
    assert settings(told)["registry"] == {"provider": "Ghcr", "url": "https://ghcr.io", "insecure": False}
    assert ("cache-from-dropped", "api") in codes(told, "dropped")
    assert ("variable-settled", None) in codes(told, "settled")
    (tag, *_) = [remark for remark in told.remarks if remark.field == "variable.TAG"]
    assert (tag.message, tag.place.line) == ("the variable TAG is written as its default: 1.4", 3)


@pytest.mark.parametrize("what", SECRET_VALUES)
def test_a_secret_is_told_by_its_form_and_not_repeated(tmp_path: Path, what: str) -> None:
    value = SECRET_VALUES[what]
    bake = {"variable": {"DB": {"default": value}}, "target": {"default": {"args": {"A": "${DB}"}}}}
    told = begun(tmp_path, {"docker-bake.json": json.dumps(bake), "Dockerfile": PLAIN})
    assert ("secret-in-arg", "default") in codes(told, "note")
    assert value not in str(told.remarks)


def test_targets_and_groups_may_be_chosen(tmp_path: Path) -> None:
    assert sorted(directives(begun(tmp_path, {**FILES, "other/Dockerfile": PLAIN}, only=("other",)))) == ["other"]
    (problem,) = refused(tmp_path, FILES, only=("othre",))
    assert (problem.code, problem.hint) == ("bake-target-unknown", "did you mean other?")


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ({"dockerfile-inline": "FROM scratch"}, "dockerfile-inline-unsupported"),
        ({"ssh": ["default"]}, "ssh-unsupported"),
        ({"network": "none"}, "network-unsupported"),
        ({"entitlements": ["network.host"]}, "entitlements-unsupported"),
        ({"call": "check"}, "call-unsupported"),
        ({"output": ["type=local,dest=out"]}, "output-unsupported"),
        ({"output": ["out"]}, "output-unsupported"),
        ({"output": [{"type": "cacheonly"}]}, "output-unsupported"),
        ({"context": "target:x"}, "context-unsupported"),
        ({"context": "https://example.org/a.tgz"}, "context-unsupported"),
        ({"contexts": {"a": "target:a"}}, "parent-cycle"),
        ({"new-field": "x"}, "field-unknown"),
        ({"platforms": ["local"]}, "platform-unsupported"),
    ],
)
def test_what_would_be_another_image_is_left_out(tmp_path: Path, target: dict[str, Any], code: str) -> None:
    bake = {"target": {"a": {"context": "a", **target}, "x": {"context": "a"}}}
    told = begun(tmp_path, {"docker-bake.json": json.dumps(bake), "a/Dockerfile": PLAIN})
    assert (code, "a") in codes(told, "left-out")
    assert list(directives(told)) == ["x"]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"function": {"f": {}}}, "functions"),
        ({"target": {"a": {"matrix": {}}}}, "matrix"),
        ({"target": {"a": {"tags": ["${upper(X)}"]}}}, "expressions"),
        ({"target": {"a": {"tags": ["%{if true}a%{endif}"]}}}, "expressions"),
        ({"target": {"a": {"tags": ["${X}"]}}}, "no variable"),
        ({"variable": {"X": {"default": ["a"]}}, "target": {"a": {"tags": ["${X}"]}}}, "more than a text"),
        ({"variable": {"X": {"validation": [], "default": "a"}}, "target": {"a": {"tags": ["${X}"]}}}, "more than"),
        ({"target": [{"a": {}}]}, "a list"),
        ({"TAG": "1", "target": {"a": {}}}, "at the top"),
    ],
)
def test_what_only_buildx_can_tell_is_not_guessed(document: dict[str, Any], told: str) -> None:
    with pytest.raises(NeedsBuildx, match=told):
        print_bake(json.dumps(document).encode(), "docker-bake.json")


@pytest.mark.parametrize(
    ("text", "code", "line", "told"),
    [
        ('{"target": {\n', "bake-invalid", 2, "not JSON"),
        ("[]", "bake-invalid", None, "not a JSON object"),
        ('{"target": {"a": 1}}', "bake-invalid", None, "target a is not an object"),
        ('{"target": {"a": {"inherits": ["b"]}}}', "bake-target-unknown", None, "no target b"),
        ('{"group": {"default": {"targets": ["b"]}}}', "bake-target-unknown", None, "no target b"),
        (
            '{"variable": {"A": {"default": "${A}"}}, "target": {"a": {"tags": ["${A}"]}}}',
            "bake-invalid", None, "own value",
        ),
        ('{"target": {"a": {"tags": "x"}}}', "bake-invalid", None, "tags"),
        ('{"target": {"a": {"args": ["x"]}}}', "bake-invalid", None, "args"),
        ('{"target": {"a": {"context": 1}}}', "bake-invalid", None, "context"),
        ('{"target": {"a": {"inherits": 1}}}', "bake-invalid", None, "inherits"),
        ('{"group": {"default": {"targets": 1}}}', "bake-invalid", None, "targets"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_and_nothing_is_written(
    tmp_path: Path, text: str, code: str, line: int | None, told: str
) -> None:
    (problem,) = refused(tmp_path, {"docker-bake.json": text})
    assert (problem.code, problem.file, problem.line) == (code, "docker-bake.json", line or problem.line)
    assert told in problem.message
    assert problem.hint


def test_a_bomb_of_variables_is_stopped() -> None:
    variables: dict[str, Any] = {"V0": {"default": "x" * 100}}
    variables |= {f"V{i}": {"default": f"${{V{i - 1}}}" * 20} for i in range(1, 30)}
    bomb = {"variable": variables, "target": {"a": {"tags": ["${V29}"]}}}
    with pytest.raises(LianError) as error:
        print_bake(json.dumps(bomb).encode(), "docker-bake.json")
    assert "too long" in error.value.problems[0].message


def test_without_buildx_hcl_is_told_to_need_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    (problem,) = refused(tmp_path / "any", {"docker-bake.hcl": 'target "a" {}\n'})
    assert (problem.code, problem.file) == ("buildx-missing", "docker-bake.hcl")
    assert "it is HCL" in problem.message


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ('group "a" {}\n  target "a" {\n', 2, 3),
        ('target a {\n', 1, 1),
        ('{"target":\n {"a": {}}}', 2, 3),
        ('target "b" {}', 0, 0),
    ],
)  # fmt: skip
def test_a_target_is_found_in_its_file(text: str, line: int, column: int) -> None:
    place = Places("f", text).of("target", "a")
    assert (place.line, place.column) == (line, column)
