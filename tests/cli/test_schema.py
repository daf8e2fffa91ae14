"""`lian schema`: every field of every contract is told, as the contracts have it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.cli.arguments import parse
from reconciler.cli.schema import run
from reconciler.desired.contract_docs import read_docs
from reconciler.desired.contracts import contracts
from reconciler.model.contract import SHORT
from reconciler.model.problem import LianError
from tests.cli.test_documents import checked
from tests.schemas.evaluation import ROOT, evaluate
from tests.schemas.test_shipped import SURFACE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.model.contract import ContractField

ALL = contracts().all
VALUES = {"BuildMode", "SessionActor", "SessionCacheDisposition", "bounded_cpu_", "bounded_time_budget_"}


def lian(*words: str) -> int:
    return run(parse(["schema", *words], {}))


def whole(fields: tuple[ContractField, ...]) -> Iterator[ContractField]:
    for field in fields:
        yield field
        yield from whole(field.fields)


def test_every_published_contract_is_there() -> None:
    published = {name for path, names in SURFACE.items() if path.startswith("schemas/") for name in names}
    assert published - VALUES <= {contract.name for contract in ALL}
    assert all(contract.doc for contract in ALL)
    assert set(SHORT.values()) <= {contract.name for contract in ALL}


@pytest.mark.parametrize("contract", ALL, ids=lambda contract: contract.name)
def test_every_field_has_its_own_doc_string(contract: Any) -> None:
    """From the contract's source, word for word."""
    source = "".join((ROOT / contract.file).read_text("utf-8").split())
    for field in whole(contract.fields):
        assert field.doc and field.takes
        written = field.doc.replace('"', '\\"')
        assert any("".join(text.split()) in source for text in (field.doc, written)), field


@pytest.mark.parametrize(
    "name", ["BuildArtifact", "FleetSettings", "CachePolicy", "FleetPolicy", "DriftPolicy", "PrunePolicy"]
)
def test_defaults_are_those_that_nickel_fills_in(name: str) -> None:
    contract = contracts().named(name)
    required = {"BuildArtifact": '{ image = "a" }'}.get(name, "{}")
    path = {"DriftPolicy": ".drift", "PrunePolicy": ".prune"}.get(name, "")
    checked_by = "FleetPolicy" if path else name
    filled = evaluate(f'({required} | (import "{contract.file}").{checked_by}){path}')
    for field in contract.fields:
        assert (field.name in filled) == (field.default is not None or field.required)
        if field.default is not None:
            assert evaluate(field.default.nickel) == field.default.value
            for key, value in field.default.value.items() if isinstance(field.default.value, dict) else ():
                assert filled[field.name][key] == value
            if not isinstance(field.default.value, dict):
                assert filled[field.name] == field.default.value


def test_the_docs_of_a_source() -> None:
    source = """
      let inner = { a | String | doc "An a.", "b c" | Number | doc m%"
        More
        of it.
      "% | default = 1 } in
      let Outer = G.Closed { what = "x", fields = { one | inner | doc "The %{"x"} one." | optional } } in
      { Named | doc "Named." = let T = Outer in G.Closed { fields = {
          two | G.MapOf { of = G.Closed { fields = { key | T | doc "A key \\"k\\"." } } } | doc "Twos." = {},
          three | T | doc "Three.",
        } } }
    """
    assert read_docs(source) == {
        "inner.a": "An a.",
        "inner.b c": "More\nof it.",
        "Named": "Named.",
        "Named.two.key": 'A key "k".',
        "Named.two": "Twos.",
        "Named.three": "Three.",
    }


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], ["BuildDirectives", "FleetSettings", "lian schema NAME"]),
        (["artifact"], ["BuildArtifact", 'default ["latest"]', "image  required", "takes a list of 1 to 100"]),
        (["fleet", "policy", "prune"], ["PrunePolicy", "keep_last  default 5", "from 0 to 1000"]),
        (["fleet.policy.prune.min_age"], ["min_age", 'default "7d"']),
        (["lian.ncl", "registry", "provider"], ["'OciLayout, 'Distribution", "required"]),
        (["directives", "artifacts", "api", "tags"], ["The tags that shall point at it."]),
        (["artifact", "secrets", "name"], ["A logical name"]),
        (["artifact", "contexts"], ["NamedContext", "artifact", "An image from elsewhere"]),
        (["buildspec"], ["BuildSpec", "a whole number from 1 to 256"]),
    ],
)
def test_what_is_shown(words: list[str], told: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert lian(*words) == 0
    shown = capsys.readouterr().out
    assert [text for text in told if text not in shown] == []
    assert max(map(len, shown.splitlines())) <= 90


def test_of_two_policies_the_other_one_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert lian("policy") == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    assert (first.split()[0], last) == ("FleetPolicy", "rules below policy/: lian schema rules")
    assert lian("rules") == 0
    assert capsys.readouterr().out.startswith("BuildPolicy ")


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (["artifcat"], "contract-unknown", "did you mean artifact?"),
        (["zzzzz"], "contract-unknown", "`lian schema` lists all contracts"),
        (["artifact", "tgas"], "field-unknown", "did you mean tags?"),
        (["fleet", "policy", "zzzz"], "field-unknown", "it has drift, trust, prune, sign, verify, access"),
        (["fleet", "jobs", "x"], "field-unknown", "nothing lies below it"),
    ],
)
def test_what_was_meant_is_told(words: list[str], code: str, hint: str) -> None:
    with pytest.raises(LianError) as error:
        lian(*words)
    (problem,) = error.value.problems
    assert (problem.code, problem.hint) == (code, hint)


def test_documents(capsys: pytest.CaptureFixture[str]) -> None:
    assert lian("--json") == 0
    document = checked("schema", capsys.readouterr().out)
    assert len(document["contracts"]) == len(ALL)
    assert lian("fleet", "policy", "--json") == 0
    document = checked("schema", capsys.readouterr().out)
    assert (document["field"], [each["name"] for each in document["contracts"]]) == (
        "policy", ["FleetSettings", "FleetPolicy"],
    )  # fmt: skip


def test_the_path_is_one_that_nickel_imports_from(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    import nickel

    assert lian("--path") == 0
    folder = capsys.readouterr().out.strip()
    source = '(import "defaults/build_directives.ncl").make_artifact { image = "a" }'
    assert json.loads(nickel.run(source, [folder]))["tags"] == ["latest"]
