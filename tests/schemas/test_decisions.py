"""The ontology and the ADRs satisfy their schemas, and what they point at exists."""

from __future__ import annotations

from typing import Any

import pytest

from tests.schemas.evaluation import ROOT, evaluate, refusal

ADRS = sorted(path.name for path in (ROOT / "adrs").glob("adr-*.ncl"))
AXIOMS = {"ephemeral-builds", "provider-pluggability", "cache-content-addressed", "caller-supplies-directives"}


def _nodes() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = evaluate('import ".ontology/core.ncl"')["nodes"]
    return nodes


def test_the_axioms_are_the_invariants_of_the_ontology() -> None:
    assert {node["id"] for node in _nodes() if node["invariant"]} == AXIOMS


def test_what_the_ontology_points_at_exists() -> None:
    missing = [path for node in _nodes() for path in node["artifact_paths"] if not (ROOT / path).exists()]
    assert missing == []


def test_an_ontology_refuses_a_word_that_comes_twice() -> None:
    node = '{ id = "a", description = "x", artifact_paths = ["a"] }'
    told = refusal(f'{{ nodes = [{node}, {node}, {node}, {node}] }} | (import ".ontology/schema.ncl").Ontology')
    assert told is not None
    assert "ids all differ" in told


@pytest.mark.parametrize("name", ADRS)
def test_an_adr_is_complete_and_named_by_its_number(name: str) -> None:
    adr = evaluate(f'(import "adrs/{name}") | (import "adrs/schema.ncl").Adr')
    assert name.startswith(adr["id"] + "-")
    for constraint in adr.get("constraints", []):
        assert all((ROOT / path).exists() for path in constraint["paths"])


def test_the_numbers_of_adrs_differ() -> None:
    numbers = [name[:7] for name in ADRS]
    assert len(set(numbers)) == len(numbers)


def test_the_founding_decisions_are_there() -> None:
    assert {
        "adr-001-lian-build-as-standalone.ncl",
        "adr-002-cli-subcommand-discipline.ncl",
        "adr-003-nickel-via-subprocess.ncl",
    } <= set(ADRS)


def test_an_adr_without_an_alternative_is_refused() -> None:
    source = (
        '{ id = "adr-999", title = "x", date = "2026-11-20", context = "x", decision = "x", alternatives = [], '
        'consequences = ["x"] } | (import "adrs/schema.ncl").Adr'
    )
    told = refusal(source)
    assert told is not None
    assert "1 to 20 alternatives" in told
