"""Imports stay inside the commit and the packaged files, however they are spelt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.desired.nickel.commits import ANYTHING, KINDS, Commit, evaluated, settings

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.desired.nickel.settings import Kind

CANARY = "canary-4f1c7e"

OUTSIDE = [
    'import "{secret}"',
    "import \"{secret}\" as 'Text",
    "import \"/etc/passwd\" as 'Text",
    "import \"/proc/self/environ\" as 'Text",
    "import \"//{secret}\" as 'Text",
    "import \"../../../../../../..{secret}\" as 'Text",
    "import \"d/../../../../../../../..{secret}\" as 'Text",
    "import \"./../..{secret}\" as 'Text",
    'import "../outside.txt"',
    'import "link.txt"',
    'import "linked/secret.txt"',
    "import \"schemas/../../../../../../..{secret}\" as 'Text",
    "import \"\\x2fetc\\x2fpasswd\" as 'Text",
    "import \"\\u{{2f}}etc/passwd\" as 'Text",
    "import \"..\\\\..\\\\secret.txt\" as 'Text",
    'import "%{{"/etc/passwd"}}" as \'Text',
    'import m%"{secret}"% as \'Text',
    "import \"file://{secret}\" as 'Text",
    "import \"~/secret.txt\" as 'Text",
    "import \"$HOME/secret.txt\" as 'Text",
    "import secret",
    'import "submodule/secret.txt"',
    'import ""',
    'import "."',
    'import ".."',
    "{{ unused = import \"{secret}\" as 'Text, name = \"a\" }}",
    'let f = fun _ => import "{secret}" in {{ name = "a" }}',
    '"%{{import "{secret}"}}"',
    "import # why\n \"{secret}\" # not\n as 'Text",
    "import \"a.yaml\"",
    "import \"a.yaml\" as 'Yaml",
    "import \"data\"",
]  # fmt: skip


@pytest.mark.parametrize("text", OUTSIDE)
def test_nothing_outside_is_reached(text: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text(CANARY)
    text = text.format(secret=secret)
    links = {"d/link.txt": "120000", "d/linked": "120000", "d/submodule": "160000"}
    files = {
        "d/f.ncl": text, "d/good.ncl": "{}", "d/link.txt": str(secret), "d/linked": str(tmp_path), "d/submodule": "",
        "d/a.yaml": "a: 1", "d/data": "{}",
    }  # fmt: skip
    commit = Commit(files, links)
    results = evaluated(commit, settings(tmp_path / "s"), ANYTHING, ["d/f.ncl", "d/good.ncl"])
    assert results["d/good.ncl"].value == {}
    problems = results["d/f.ncl"].problems
    assert problems
    assert {problem.code for problem in problems} == {"nickel-import"}
    assert all(problem.file == "d/f.ncl" and problem.line for problem in problems)
    said = json.dumps([problem.to_json() for problem in problems])
    assert CANARY not in said
    assert "root:" not in said


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_repo_holds_can_be_imported(kind: Kind, tmp_path: Path) -> None:
    files = {
        "a/f.ncl": """{ up = import "../top.ncl", here = import "./b/../b/x.json", run = import "tool" as 'Text,
            deep = import "b/n.ncl", self = import "f.txt", yaml = import "y.yaml" as 'Text }""",
        "top.ncl": "1", "a/b/x.json": "2", "a/tool": "#!x", "a/b/n.ncl": 'import "../../top.ncl"', "a/f.txt": "t",
        "a/y.yaml": "y: &a 1",
    }  # fmt: skip
    commit = Commit(files, {"a/tool": "100755"})
    value = evaluated(commit, settings(tmp_path, kind=kind), ANYTHING, ["a/f.ncl"])["a/f.ncl"].value
    assert value == {"up": 1, "here": 2, "run": "#!x", "deep": 1, "self": "t", "yaml": "y: &a 1"}


def test_circles_are_named(tmp_path: Path) -> None:
    files = {
        "a.ncl": 'import "b.ncl"',
        "b.ncl": 'import "c.ncl"',
        "c.ncl": '{ x = import "a.ncl" }',
        "s.ncl": 'import "s.ncl"',
    }
    results = evaluated(Commit(files), settings(tmp_path), ANYTHING)
    for result in results.values():
        (problem,) = result.problems
        assert problem.code == "nickel-import"
        assert "circle" in problem.message
        assert problem.line == 1
    assert results["a.ncl"].problems[0].place == "c.ncl:1:7"
    (problem,) = results["s.ncl"].problems
    assert "s.ncl → s.ncl" in problem.message


@pytest.mark.parametrize("path", ["../../../etc/passwd", "../../a.yaml"])
def test_an_import_that_leaves_the_repo_is_told_so_whatever_its_suffix(path: str, tmp_path: Path) -> None:
    commit = Commit({"d/f.ncl": f'import "{path}"'})
    (problem,) = evaluated(commit, settings(tmp_path), ANYTHING)["d/f.ncl"].problems
    assert problem.message == f"the import of {path} leaves the repository"


@pytest.mark.parametrize("name", ["d/a\nb.ncl", "d/\x1b[31m.ncl", "d/" + "a" * 252 + ".ncl"])
def test_a_name_that_nickel_cannot_be_given_has_a_remedy(name: str, tmp_path: Path) -> None:
    (problem,) = evaluated(Commit({name: "1"}), settings(tmp_path), ANYTHING)[name].problems
    assert (problem.code, problem.hint) == ("nickel-limit", "rename the file")


def test_long_chains_and_wide_imports_are_bounded_and_judged_alike_from_any_start(tmp_path: Path) -> None:
    chain = {f"{i:03}.ncl": f'import "{i + 1:03}.ncl"' for i in range(120)} | {"120.ncl": "1"}
    forward = evaluated(Commit(chain), settings(tmp_path), ANYTHING)
    backward = evaluated(Commit(chain), settings(tmp_path), ANYTHING, reversed(chain))
    assert {path: bool(result.problems) for path, result in forward.items()} == {
        path: bool(result.problems) for path, result in backward.items()
    }
    assert [path for path, result in forward.items() if result.value == 1] == [f"{i:03}.ncl" for i in range(71, 121)]
    wide = {f"{i}.txt": "" for i in range(1100)} | {
        "w.ncl": "".join(f'let _ = import "{i}.txt" in ' for i in range(1100))
    }
    (problem,) = evaluated(Commit(wide), settings(tmp_path), ANYTHING, ["w.ncl"])["w.ncl"].problems
    assert problem.code == "nickel-limit"


def test_a_diamond_of_imports_takes_no_exponential_time(tmp_path: Path) -> None:
    files = {f"{i}.ncl": f'[import "{i + 1}.ncl", import "{i + 1}b.ncl"]' for i in range(40)}
    files |= {f"{i}b.ncl": text for (name, text) in list(files.items()) if (i := name.removesuffix(".ncl"))}
    files |= {"40.ncl": "1", "40b.ncl": '{ circle = import "0.ncl" }'}
    (problem,) = evaluated(Commit(files), settings(tmp_path), ANYTHING, ["0.ncl"])["0.ncl"].problems[:1]
    assert "circle" in problem.message


def test_a_near_name_of_a_packaged_file_is_suggested(tmp_path: Path) -> None:
    commit = Commit({"f.ncl": '\nimport "schemas/thng.ncl"'})
    (problem,) = evaluated(commit, settings(tmp_path), ANYTHING)["f.ncl"].problems
    assert (problem.place, problem.hint) == ("f.ncl:2:1", "did you mean schemas/thing.ncl?")


def test_a_fault_in_imported_data_is_placed_there(tmp_path: Path) -> None:
    commit = Commit({"f.ncl": '{ d = import "d.json" }', "d.json": '{\n "a": }'})
    (problem,) = evaluated(commit, settings(tmp_path), ANYTHING, ["f.ncl"])["f.ncl"].problems
    assert (problem.code, problem.place) == ("nickel-syntax", "d.json:2:7")
