"""Files to values and problems, with each evaluator that this machine has."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from typing import TYPE_CHECKING, ClassVar

import pytest

from reconciler.desired.nickel.evaluate import evaluate
from reconciler.desired.nickel.settings import BUILD_DIRECTIVES, BUILD_SPEC, Contract, EvaluatorSettings, Kind
from reconciler.model.problem import LianError, Problem
from tests.desired.nickel.commits import ANYTHING, KINDS, QUICK, THING, Commit, evaluated, schemas, settings

if TYPE_CHECKING:
    from pathlib import Path

MADE = 'let lian = import "defaults/thing.ncl" in lian.make_thing { name = "%s" }'

DIRECTIVE = """let lian = import "defaults/build_directives.ncl" in
lian.make_build_directives {
  workspace = "shop",
  artifacts = {
    api = lian.make_artifact {
      image = "shop/api",
      dockerfle = "x",
      tags = ["ok", "-bad", 3],
      platforms = [],
      context = { path = "..", include = ["a"] },
    },
    web = lian.make_artifact { tags = ["1"] },
  },
}
"""


def problems(commit: Commit, how: EvaluatorSettings, contract: Contract = THING) -> list[Problem]:
    """Every problem of every file, in order."""
    return [problem for result in evaluated(commit, how, contract).values() for problem in result.problems]


def places(found: list[Problem]) -> list[tuple[str, str]]:
    return [(problem.code, problem.place) for problem in found]


@pytest.mark.parametrize("kind", KINDS)
def test_values_come_with_their_defaults_filled_in(kind: Kind, tmp_path: Path) -> None:
    commit = Commit({
        "plain.ncl": '{ name = "a", tags = ["x"] }',
        "deep/down/made.ncl": MADE % "b",
        "lib/base.ncl": '{ prefix = "p", data = import "data.json", more = import "more.toml" }',
        "lib/data.json": '{"n": 3}',
        "lib/more.toml": "m = 4",
        "lib/words.txt": "w",
        "uses.ncl": """let base = import "lib/base.ncl" in
            { name = base.prefix ++ (import "lib/words.txt"), size = base.data.n + base.more.m }""",
    })  # fmt: skip
    results = evaluated(commit, settings(tmp_path, kind=kind), paths=["plain.ncl", "deep/down/made.ncl", "uses.ncl"])
    assert {path: result.value for path, result in results.items()} == {
        "plain.ncl": {"name": "a", "size": 1, "tags": ["x"]},
        "deep/down/made.ncl": {"name": "b", "size": 1},
        "uses.ncl": {"name": "pw", "size": 7},
    }


@pytest.mark.parametrize("kind", KINDS)
def test_unusual_names_of_files(kind: Kind, tmp_path: Path) -> None:
    names = ["C", "a b.ncl", 'q"uote.ncl', "per%{cent}.ncl", "été/日本.ncl", "-dash.ncl", "std", "#hash.ncl"]
    results = evaluated(Commit(dict.fromkeys(names, '{ name = "x" }')), settings(tmp_path, kind=kind))
    assert list(results) == names
    assert all(result.value == {"name": "x", "size": 1} for result in results.values())
    (problem,) = problems(Commit({"a\nb.ncl": "{}"}), settings(tmp_path, kind=kind))
    assert problem.code == "nickel-limit"


@pytest.mark.parametrize("kind", KINDS)
def test_all_violations_of_all_files_come_together_each_at_its_place(kind: Kind, tmp_path: Path) -> None:
    files = {"directives/shop.ncl": DIRECTIVE, "directives/other.ncl": '{ workspace = "a b" }'}
    found = problems(Commit(files), EvaluatorSettings(kind=kind, workers=1), BUILD_DIRECTIVES)
    assert {problem.code for problem in found} == {"nickel-contract"}
    assert {problem.place for problem in found} == {
        "directives/shop.ncl:7:7", "directives/shop.ncl:8:21", "directives/shop.ncl:8:29", "directives/shop.ncl:9:7",
        "directives/shop.ncl:10:19", "directives/shop.ncl:12:5", "directives/other.ncl:1:3",
    }  # fmt: skip
    typo = next(problem for problem in found if problem.line == 7)
    assert (typo.message, typo.hint) == ("`artifacts.api` has no field `dockerfle`", "did you mean `dockerfile`?")


@pytest.mark.parametrize("kind", KINDS)
def test_all_syntax_errors_of_all_files(kind: Kind, tmp_path: Path) -> None:
    commit = Commit({"a.ncl": "{\n  a = ,\n  b = 1,\n  c = ] }", "b.ncl": "{ a = }", "good.ncl": '{ name = "x" }'})
    assert places(problems(commit, settings(tmp_path, kind=kind))) == [
        ("nickel-syntax", "a.ncl:2:7"), ("nickel-syntax", "a.ncl:4:7"), ("nickel-syntax", "b.ncl:1:7"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code", "place", "word"),
    [
        ("{ name = nothing }", "nickel-eval", "f.ncl:1:10", "nothing"),
        ("{ name = std.fail_with \"no\" }", "nickel-contract", "f.ncl:1:24", "no"),
        ("let x : Number = \"a\" in { name = x }", "nickel-eval", "f.ncl:1:18", "types"),
        ('"text"', "nickel-contract", "f.ncl:1:1", "record"),
        ("{ name = \"x\" | std.contract.from_validator (fun _ => 'Error { message = \"never\" }) }",
         "nickel-contract", "f.ncl:1:10", "never"),
        ("{ name = fun x => x }", "nickel-contract", "f.ncl:1:10", "name"),
        ("{ name = \"a\", size = 1 / 0 }", "nickel-eval", "f.ncl:1:22", "zero"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", KINDS)
def test_other_errors(kind: Kind, text: str, code: str, place: str, word: str, tmp_path: Path) -> None:
    (problem,) = problems(Commit({"f.ncl": text}), settings(tmp_path, kind=kind))
    assert (problem.code, problem.place) == (code, place)
    assert word in problem.message
    assert "\x1b" not in str(problem)
    assert "lian-nickel-" not in str(problem)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_in_an_imported_file_is_placed_there(kind: Kind, tmp_path: Path) -> None:
    users = {f"d/{i}.ncl": f'{{ name = (import "../lib/b.ncl").name, size = {i} }}' for i in range(30)}
    commit = Commit({**users, "lib/b.ncl": "{\n  name = ]\n}"})
    results = evaluated(commit, settings(tmp_path, kind=kind), paths=users)
    assert [[p.place for p in result.problems] for result in results.values()] == [["lib/b.ncl:2:10"]] * 30


def test_a_value_that_only_the_contract_accepts_is_a_mismatch(tmp_path: Path) -> None:
    how = settings(tmp_path)
    loose = Contract("schemas/thing.ncl", "Anything", "schemas/json/thing.json")
    (problem,) = problems(Commit({"f.ncl": '{ name = "x", more = 1 }'}), how, loose)
    assert (problem.code, problem.message) == ("schema-mismatch", "the file has no field `more`")


def test_a_build_spec_evaluates() -> None:
    commit = Commit({".build-spec.ncl": "{ cpu = 4 }", "bad.ncl": "{ cpu = 1000 }"})
    results = evaluated(commit, EvaluatorSettings(kind=Kind.WHEEL), BUILD_SPEC)
    assert (results[".build-spec.ncl"].value or {})["cpu"] == 4
    assert [problem.code for problem in results["bad.ncl"].problems] == ["nickel-contract"]


def test_no_files_need_no_evaluator(tmp_path: Path) -> None:
    assert evaluated(Commit({}), settings(tmp_path)) == {}


def test_broken_packaged_files_blame_no_directive(tmp_path: Path) -> None:
    broken = schemas(tmp_path / "broken", {"schemas/thing.ncl": "{ Thing = nothing }"})
    with pytest.raises(LianError) as raised:
        evaluated(Commit({"f.ncl": '{ name = "a" }'}), EvaluatorSettings(kind=Kind.WHEEL, packaged=broken, workers=1))
    assert [problem.code for problem in raised.value.problems] == ["installation-broken"]


def test_a_scratch_folder_that_cannot_be_made_is_one_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(LianError) as raised:
        evaluated(Commit({"f.ncl": '{ name = "a" }'}), settings(tmp_path))
    assert [problem.code for problem in raised.value.problems] == ["scratch-unwritable"]


def test_a_missing_command_is_one_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LianError) as raised:
        evaluated(Commit({"f.ncl": "{}"}), settings(tmp_path, kind=Kind.CLI))
    assert [problem.code for problem in raised.value.problems] == ["nickel-missing"]


def test_a_python_that_cannot_be_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(LianError) as raised:
        evaluated(Commit({"f.ncl": "{}"}), settings(tmp_path, kind=Kind.WHEEL))
    (problem,) = raised.value.problems
    assert problem.code == "nickel-missing"
    assert str(tmp_path / "python") in str(problem.cause)


@pytest.mark.parametrize("says", ["nickel-lang-cli nickel 1.9.0 (rev x)", "something else", ""])
def test_a_command_that_cannot_be_used_gives_way_to_the_wheel(
    says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "bin" / "nickel"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\necho '{says}'\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")
    results = evaluated(Commit({"f.ncl": '{ name = "a" }'}), settings(tmp_path, kind=Kind.AUTO))
    assert results["f.ncl"].value == {"name": "a", "size": 1}


def test_a_command_that_fails_inside_the_sandbox_gives_way_to_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "bin" / "nickel"
    command.parent.mkdir()
    command.write_text('#!/bin/sh\n[ "$1" = --version ] && echo nickel 1.18.0 && exit 0\nexit 3\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")
    results = evaluated(Commit({"f.ncl": '{ name = "a" }'}), settings(tmp_path, kind=Kind.AUTO))
    assert results["f.ncl"].value == {"name": "a", "size": 1}


class TestCache:
    """What stands in the cache is neither read from the commit nor evaluated again."""

    FILES: ClassVar = {"f.ncl": 'import "lib.ncl"', "lib.ncl": '{ name = "one" }', "bad.ncl": "{ name = 1 }"}

    def test_a_hit_reads_nothing_and_says_the_same(self, tmp_path: Path) -> None:
        how = settings(tmp_path, cache=True)
        first = evaluated(Commit(self.FILES), how, paths=["f.ncl", "bad.ncl"])
        again = Commit(self.FILES)
        assert evaluated(again, how, paths=["f.ncl", "bad.ncl"]) == first
        assert again.reads == 0

    def test_a_changed_import_is_a_miss(self, tmp_path: Path) -> None:
        how = settings(tmp_path, cache=True)
        evaluated(Commit(self.FILES), how, paths=["f.ncl"])
        changed = evaluated(Commit({**self.FILES, "lib.ncl": '{ name = "two" }'}), how, paths=["f.ncl"])
        assert changed["f.ncl"].value == {"name": "two", "size": 1}

    def test_the_same_file_on_another_path_is_a_miss(self, tmp_path: Path) -> None:
        how = settings(tmp_path, cache=True)
        assert problems(Commit({"a.ncl": "{ name = 1 }"}), how)[0].file == "a.ncl"
        assert problems(Commit({"b.ncl": "{ name = 1 }"}), how)[0].file == "b.ncl"

    def test_changed_schemas_are_a_miss(self, tmp_path: Path) -> None:
        how = settings(tmp_path, cache=True)
        evaluated(Commit(self.FILES), how, paths=["f.ncl"])
        text = (
            "{ Thing | not_exported = { name | String, size | Number | default = 2 }, Anything | not_exported = Dyn }"
        )
        other = EvaluatorSettings(
            how.cache, 1, QUICK, Kind.WHEEL, schemas(tmp_path / "new", {"schemas/thing.ncl": text})
        )
        assert evaluated(Commit(self.FILES), other, paths=["f.ncl"])["f.ncl"].value == {"name": "one", "size": 2}

    def test_another_contract_is_a_miss(self, tmp_path: Path) -> None:
        how = settings(tmp_path, cache=True)
        commit = Commit({"bad.ncl": "{ name = 1 }"})
        assert evaluated(commit, how)["bad.ncl"].problems
        assert evaluated(commit, how, ANYTHING)["bad.ncl"].value == {"name": 1}

    def test_a_file_that_appears_and_would_hide_a_packaged_one_is_noticed(self, tmp_path: Path) -> None:
        how = settings(tmp_path, cache=True)
        files = {"d/f.ncl": MADE % "x"}
        assert evaluated(Commit(files), how)["d/f.ncl"].value
        (problem,) = evaluated(Commit({**files, "d/defaults/thing.ncl": "{}"}), how, paths=["d/f.ncl"])[
            "d/f.ncl"
        ].problems
        assert (problem.code, problem.place) == ("nickel-import", "d/f.ncl:1:12")

    @pytest.mark.parametrize("damage", [b"this is no database", b"", b"SQLite format 3\0" + b"\xff" * 5000])
    def test_a_damaged_file_is_made_anew(self, damage: bytes, tmp_path: Path) -> None:
        how = settings(tmp_path, cache=True)
        assert how.cache
        how.cache.parent.mkdir()
        how.cache.write_bytes(damage)
        assert evaluated(Commit(self.FILES), how, paths=["f.ncl"])["f.ncl"].value
        again = Commit(self.FILES)
        assert evaluated(again, how, paths=["f.ncl"])["f.ncl"].value
        assert again.reads == 0

    def test_pages_overwritten_in_the_middle(self, tmp_path: Path) -> None:
        how = settings(tmp_path, cache=True)
        assert how.cache
        evaluated(Commit(self.FILES), how, paths=["f.ncl", "bad.ncl"])
        data = bytearray(how.cache.read_bytes())
        data[4096:] = b"\xa5" * (len(data) - 4096)
        how.cache.write_bytes(data)
        assert evaluated(Commit(self.FILES), how, paths=["f.ncl"])["f.ncl"].value == {"name": "one", "size": 1}

    def test_a_place_that_cannot_be_written_is_done_without(self, tmp_path: Path) -> None:
        (tmp_path / "cache").write_text("a file where a folder should be")
        assert evaluated(Commit(self.FILES), settings(tmp_path, cache=True), paths=["f.ncl"])["f.ncl"].value

    def test_a_place_that_cannot_be_written_is_told_once(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "cache").write_text("a file where a folder should be")
        for _ in range(2):  # settings, then directives
            evaluated(Commit(self.FILES), settings(tmp_path, cache=True), paths=["f.ncl"])
        said = [record for record in caplog.records if "evaluation cache is not used" in record.getMessage()]
        assert len(said) == 1

    def test_many_at_a_time_share_one_file(self, tmp_path: Path) -> None:
        how = settings(tmp_path, cache=True)

        async def all_at_once() -> None:
            commits = [Commit({f"{n}/{i}.ncl": f'{{ name = "{n}-{i}" }}' for i in range(40)}) for n in range(5)]
            results = await asyncio.gather(*(evaluate(c, c.sources(), THING, how) for c in commits))
            for n, result in enumerate(results):
                assert {(r.value or {})["name"] for r in result.values()} == {f"{n}-{i}" for i in range(40)}

        asyncio.run(all_at_once())
        assert how.cache
        with sqlite3.connect(how.cache) as base:
            assert base.execute("SELECT count(*) FROM result").fetchone() == (200,)
        base.close()

    def test_time_outs_are_quarantined_for_a_while_only(self, tmp_path: Path) -> None:
        how = settings(tmp_path, cache=True)
        commit = Commit({"loop.ncl": "{ name = std.string.from_number (std.number.pow 10 100000000) }"})
        (problem,) = problems(commit, how)
        assert problem.code == "nickel-limit"
        start = time.monotonic()
        (again,) = problems(commit, how)
        assert (again.code, again.message) == (problem.code, problem.message)
        assert "tried again" in (again.hint or "")
        assert time.monotonic() - start < QUICK.seconds
        assert how.cache
        with sqlite3.connect(how.cache) as base:
            base.execute("UPDATE quarantine SET until = 0")
        base.close()
        (third,) = problems(commit, how)
        assert third == problem
        with sqlite3.connect(how.cache) as base:
            assert base.execute("SELECT tries FROM quarantine").fetchone() == (2,)
        base.close()
