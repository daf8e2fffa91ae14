"""Bad input: one clear error with a code and a place, nothing changed, every other artifact working."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.e2e.bench import Bench, directive
from tests.servers.registry import run_registry

GOOD = 'image = "g/good", context.path = "good"'


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """One good artifact; the tests add what is bad."""
    made = Bench.new(tmp_path, f"oci-layout:{tmp_path / 'registry'}")
    made.commit(
        {
            "directives/good.ncl": directive("g", {"good": GOOD}),
            "good/Dockerfile": "FROM scratch\nCOPY a /\n",
            "good/a": "a",
        }
    )
    return made


def bad(text: str) -> str:
    """A directive with one artifact of this text."""
    return directive("b", {"bad": text})


BAD_FILES = {
    "syntax": ("let x = in", "nickel-syntax"),
    "contract": (bad('image = "b/bad", tags = [1]'), "nickel-contract"),
    "typo": (bad('image = "b/bad", dokerfile = "x"'), "nickel-contract"),
    "loop": ("let rec f = fun x => f (x + 1) in f 0", "nickel-limit"),
    "memory": ("let rec f = fun x => [x] @ f x in f 1", "nickel-limit"),
    "nesting": ("[" * 100_000 + "]" * 100_000, "nickel-limit"),
    "number": ("{ a = 1e999999999 }", "nickel-limit"),
    "outside": ('import "../../outside.ncl"', "nickel-import"),
    "absolute": ('import "/etc/passwd" as \'Text', "nickel-import"),
    "image": (bad('image = "B/Bad"'), "nickel-contract"),
    "missing context": (bad('image = "b/bad", context.path = "nowhere"'), "context-missing"),
    "missing Dockerfile": (bad('image = "b/bad", context.path = "good", dockerfile = "Nope"'), "dockerfile-missing"),
    "same tag": (bad('image = "g/good", context.path = "good"'), "tag-conflict"),
    "unknown parent": (
        bad('image = "b/bad", context.path = "good", contexts = { x = { artifact = "g/god" } }'),
        "parent-unknown",
    ),
}


@pytest.mark.parametrize(("text", "code"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_directive_costs_itself_alone(bench: Bench, text: str, code: str) -> None:
    """`validate` names it with its place; `diff` shows the good one; both exit with 1."""
    bench.commit({"directives/bad.ncl": text})
    found = bench.lian("validate", "--json", code=1).json["problems"]
    assert found
    problem = next(p for p in found if p["code"] == code)
    assert problem["file"] == "directives/bad.ncl" or code == "tag-conflict"
    assert code == "nickel-limit" or problem["line"]
    assert problem["hint"] or problem["cause"] or "expected" in problem["message"]
    assert code == "tag-conflict" or bench.plan(1)["g/good"]["action"] == "build"
    human = bench.lian("validate", code=1).err
    assert f"error[{code}]" in human
    assert str(bench.cache) not in human


def test_a_typo_is_told_with_the_nearest_name(bench: Bench) -> None:
    """The hint is what one meant."""
    bench.commit({"directives/bad.ncl": bad('image = "b/bad", dokerfile = "x"')})
    assert "dockerfile" in bench.lian("validate", code=1).err.replace("dokerfile", "")


def test_a_cycle_is_printed(bench: Bench) -> None:
    """Every artifact on it is named, and the good one stands."""
    text = {
        name: f'image = "b/{name}", context.path = "good", contexts = {{ x = {{ artifact = "{other}" }} }}'
        for name, other in (("one", "two"), ("two", "three"), ("three", "one"))
    }
    bench.commit({"directives/bad.ncl": directive("b", text)})
    assert "b/one → b/two → b/three → b/one" in bench.lian("validate", code=1).err
    assert bench.plan(1)["g/good"]["action"] == "build"


def test_all_errors_of_all_files_come_together(bench: Bench) -> None:
    """Three bad files, three errors, one run."""
    bench.commit(
        {
            "directives/a.ncl": "let x = in",
            "directives/b.ncl": bad('image = "b/bad", tags = [1], dockerfile = 3'),
            "directives/c.ncl": directive("c", {"c": 'image = "c/c", context.path = "nowhere"'}),
        }
    )
    err = bench.lian("validate", code=1).err
    places = set(re.findall(r"directives/([abc])\.ncl:\d+:\d+", err))
    assert places == {"a", "b", "c"}


def test_the_repo_itself(tmp_path: Path) -> None:
    """Not a repo, an empty one, an unknown revision, no directives: each has its own code, and 1."""
    plain = Bench(tmp_path / "plain", tmp_path / "cache", f"oci-layout:{tmp_path / 'registry'}")
    plain.repo.mkdir()
    assert "error[not-a-repo]" in plain.lian("diff", code=1).err
    bench = Bench.new(tmp_path, plain.registry)
    assert "error[repo-empty]" in bench.lian("diff", code=1).err
    bench.commit({"README": "nothing"})
    assert "error[no-directives]" in bench.lian("diff", code=1).err
    assert "error[revision-unknown]" in bench.lian("diff", "--rev", "nope", code=1).err
    assert not (tmp_path / "registry").exists()


def test_uncommitted_changes_are_no_part_of_a_pass(bench: Bench) -> None:
    """The working tree is never read, and that is said."""
    before = bench.plan(2)["g/good"]["key"]
    bench.write({"good/a": "changed", "new": "x"})
    ran = bench.lian("diff", "--json", code=2)
    assert "2 uncommitted changes are not part of this pass" in ran.err
    assert ran.json["changes"][0]["key"] == before


@pytest.mark.parametrize("words", [["diff", "--nope"], ["dif"], [], ["diff", "--registry", "ftp://x"]])
def test_a_mistake_in_use_is_1_not_drift(bench: Bench, words: list[str]) -> None:
    """2 means drift; argparse's own 2 would say so to a pipeline."""
    ran = bench.lian(*words, code=1)
    assert "usage:" in ran.err


def test_a_registry_that_is_down_is_unknown_never_absent(bench: Bench, tmp_path: Path) -> None:
    """Everything is held, nothing is built, and the reason is told once an artifact."""
    with run_registry(tmp_path / "server") as server:
        url = server.url
    down = Bench(bench.repo, bench.cache, url)
    change = down.plan(4)["g/good"]
    assert change["action"] == "hold"
    assert change["holds"][0]["code"] == "registry-unreachable"
    results = down.reconcile(code=4)
    assert results["g/good"]["status"] == "held"
    assert "registry-unreachable" in down.lian("why", "g/good", code=4).out


def test_a_registry_that_refuses_credentials(bench: Bench, tmp_path: Path) -> None:
    """401 is unknown too."""
    with run_registry(tmp_path / "server", password=True) as server:
        refused = Bench(bench.repo, bench.cache, server.url, {"DOCKER_CONFIG": str(tmp_path)})
        assert refused.plan(4)["g/good"]["holds"][0]["code"] == "registry-denied"


@pytest.mark.buildkit
def test_no_buildkitd(bench: Bench, tmp_path: Path) -> None:
    """`diff` works all the same; `reconcile` says what is missing."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("git", "sh"):
        (programs / name).symlink_to(Path(str(shutil.which(name))))
    poor = Bench(
        bench.repo, bench.cache, bench.registry, {"PATH": str(programs), "XDG_CACHE_HOME": str(tmp_path / "none")}
    )
    assert poor.plan(2)["g/good"]["action"] == "build"
    result = poor.reconcile(code=3)["g/good"]
    assert result["problem"]["code"] == "compute-unavailable"
    assert "buildkitd" in result["problem"]["message"] + str(result["problem"]["cause"])


@pytest.mark.buildkit
def test_a_build_that_runs_out_of_memory(tmp_path: Path) -> None:
    """The step dies inside its own limit; the problem says memory, not just an exit code."""
    from tests.e2e.bench import BASE

    bench = Bench.new(tmp_path, f"oci-layout:{tmp_path / 'registry'}")
    bench.busybox("m")
    text = 'image = "m/m", context.path = "m", runner = { memory_gb = 0.0625 }'
    eat = 'RUN ["/bin/busybox", "tail", "/dev/zero"]\n'
    bench.commit({"directives/m.ncl": directive("m", {"m": text}), "m/Dockerfile": BASE + eat})
    assert bench.reconcile(code=3)["m/m"]["problem"]["code"] == "build-out-of-memory"
