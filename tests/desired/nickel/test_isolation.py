"""One bad file costs that file and nobody else; bombs are contained."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from reconciler.desired.nickel.settings import Kind, Limits
from tests.desired.nickel.commits import ANYTHING, KINDS, QUICK, THING, Commit, evaluated, settings

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.desired.nickel.settings import Contract

SLACK = 20.0
"""Seconds beyond the limit that a loaded machine may take; the benchmark measures what an idle one takes."""

BOMBS = {
    "time": ("{ name = std.string.from_number (std.number.pow 10 100000000) }", {"nickel-limit"}),
    "loop": ("let rec f = fun x => f (x + 1) in { name = f 0 }", {"nickel-limit"}),
    "memory": ("let rec f = fun x => [x] @ f x in { name = f 1 }", {"nickel-limit"}),
    "record": ("{ name = { a = { b = a } } }", {"nickel-limit", "nickel-contract"}),
    "bracket": ("[" * 100_000 + "]" * 100_000, {"nickel-limit"}),
    "number": ("{ name = 1e999999999 }", {"nickel-limit"}),
    "flood": ('let a = std.string.join "" (std.array.replicate 3000000 "x") in { name = a }', {"nickel-limit"}),
    "deep": ("let rec f = fun n => if n == 0 then 1 else { a = f (n - 1) } in { name = \"x\", deep = f 3000 }",
             {"nickel-limit", "nickel-contract"}),
}  # fmt: skip


def good(count: int) -> dict[str, str]:
    return {f"good/{i}.ncl": f'{{ name = "n{i}" }}' for i in range(count)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_alone_is_contained(bomb: str, kind: Kind, tmp_path: Path) -> None:
    text, codes = BOMBS[bomb]
    start = time.monotonic()
    (problem,) = evaluated(Commit({"bomb.ncl": text}), settings(tmp_path, kind=kind))["bomb.ncl"].problems
    assert time.monotonic() - start < 2 * QUICK.seconds + SLACK  # the file, and the report on it
    assert (problem.code in codes, problem.file) == (True, "bomb.ncl"), problem


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [100, 1000, 10_000, 30_000])
def test_deep_values_end_in_a_verdict(size: int, kind: Kind, tmp_path: Path) -> None:
    """Computed depth is not the guard's: it ends in a value, a limit or a crash of the worker, never of lian."""
    deep = f"let rec f = fun n => if n == 0 then 1 else [f (n - 1)] in f {size}"
    results = evaluated(Commit({"deep.ncl": deep, **good(3)}), settings(tmp_path, kind=kind), ANYTHING)
    assert all(results[path].value for path in good(3))
    if results["deep.ncl"].problems:
        assert results["deep.ncl"].problems[0].code in {"nickel-limit", "nickel-crash"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_bad_file_among_many_good_ones(kind: Kind, tmp_path: Path) -> None:
    bad = {
        "bad/syntax.ncl": ("{ a = ] }", {"nickel-syntax"}),
        "bad/contract.ncl": ("{ name = 1 }", {"nickel-contract"}),
        "bad/typo.ncl": ('{ name = "a", szie = 1 }', {"nickel-contract"}),
        "bad/eval.ncl": ("{ name = nothing }", {"nickel-eval"}),
        "bad/import.ncl": ('import "/etc/passwd" as \'Text', {"nickel-import"}),
        **{f"bad/{name}.ncl": bomb for name, bomb in BOMBS.items()},
    }
    commit = Commit({**good(450), **{path: text for path, (text, _) in bad.items()}})
    results = evaluated(commit, settings(tmp_path, kind=kind, workers=2))
    assert all(results[path].value == {"name": f"n{i}", "size": 1} for i, path in enumerate(good(450)))
    for path, (_, codes) in bad.items():
        assert {problem.code for problem in results[path].problems} <= codes, path
        assert results[path].problems
    (typo,) = results["bad/typo.ncl"].problems
    assert (typo.place, typo.hint) == ("bad/typo.ncl:1:15", "did you mean `size`?")


@pytest.mark.parametrize("count", [1, 9, 60])
def test_many_bad_files_in_one_chunk(count: int, tmp_path: Path) -> None:
    bad = {f"bad/{i}.ncl": f"{{ name = {i} }}" for i in range(count)}
    results = evaluated(Commit({**good(60), **bad}), settings(tmp_path))
    assert [path for path, result in results.items() if result.problems] == list(bad)


def test_text_that_names_another_file_condemns_nobody(tmp_path: Path) -> None:
    forged = "\\n  ┌─ good/1.ncl:1:1\\n  missing definition for `good/2.ncl`"
    commit = Commit({
        **good(5),
        "bad.ncl": f"{{ name = \"x\" | std.contract.from_validator (fun _ => 'Error {{ message = \"{forged}\" }}) }}",
    })  # fmt: skip
    results = evaluated(commit, settings(tmp_path))
    assert [path for path, result in results.items() if result.problems] == ["bad.ncl"]


def test_a_worker_is_replaced_after_many_requests(tmp_path: Path) -> None:
    bad = {f"bad/{i}.ncl": f"{{ name = {i} }}" for i in range(200)}
    results = evaluated(Commit(bad), settings(tmp_path))
    assert {problem.place for result in results.values() for problem in result.problems} == {f"{p}:1:3" for p in bad}


@pytest.mark.parametrize(
    ("limits", "contract"), [(Limits(seconds=2, output=1000), ANYTHING), (Limits(seconds=2, reply=4000), THING)]
)
def test_a_large_value_costs_only_its_file(limits: Limits, contract: Contract, tmp_path: Path) -> None:
    large = '{ name = std.string.join "" (std.array.replicate 5000 "x") }'
    results = evaluated(Commit({**good(10), "large.ncl": large}), settings(tmp_path, limits=limits), contract)
    assert [path for path, result in results.items() if result.problems] == ["large.ncl"]
    assert results["large.ncl"].problems[0].code == "nickel-limit"
