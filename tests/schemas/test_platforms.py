"""Platforms in directives and policies: what images are made for is taken, a mistyped one is refused and its nearest
named."""

from __future__ import annotations

import itertools
import json

import pytest

from reconciler.desired.nickel.twin import Twin
from reconciler.model.platform import Platform
from tests.schemas.evaluation import ROOT, evaluate, refusal, validator
from tests.strategies_documents import nickel

BUILT = [
    "linux/386", "linux/amd64", "linux/amd64/v3", "linux/arm", "linux/arm/v5", "linux/arm/v6", "linux/arm/v7",
    "linux/arm/v8", "linux/arm64", "linux/arm64/v8", "linux/loong64", "linux/mips", "linux/mipsle", "linux/mips64",
    "linux/mips64le", "linux/ppc64", "linux/ppc64le", "linux/riscv64", "linux/s390x", "linux/x86_64", "linux/aarch64",
    "windows/amd64", "windows/arm64", "darwin/amd64", "darwin/arm64", "freebsd/amd64", "openbsd/riscv64", "plan9/arm",
    "solaris/amd64", "aix/ppc64", "js/wasm", "wasip1/wasm", "wasi/wasm",
]  # fmt: skip
MISTYPED = {
    "linux/x99": None,
    "linux/amd46": "linux/amd64",
    "linux/amd64/v7": "linux/amd64",
    "Linux/amd64": "linux/amd64",
    "linux-arm64": "linux/arm64",
    "arm64": None,
    "linux/armv7": "linux/arm/v7",
    "linux/arm/v9": "linux/arm/v7",
    "linux/i386": "linux/386",
    "linus/s390x": "linux/s390x",
    "linux/wasm": None,
    "darwin/386": None,
    "wasm/linux": None,
    "": None,
    "linux/" + "a" * 100: None,
}


@pytest.mark.parametrize("schema", ["build_directives", "policy"])
def test_what_images_are_made_for_is_taken_and_nothing_else(schema: str) -> None:
    twin = validator(schema, "built_platform")
    assert [each for each in BUILT if not twin.is_valid(each)] == []
    assert [each for each in MISTYPED if twin.is_valid(each)] == []
    assert evaluate(f'let G = import "schemas/grammar.ncl" in {nickel(BUILT)} | Array G.Platform') == BUILT
    assert all(Platform.parse(each) for each in BUILT)


@pytest.mark.parametrize("typed", MISTYPED)
def test_the_nearest_is_named(typed: str) -> None:
    said = refusal(f'let G = import "schemas/grammar.ncl" in {nickel(typed)} | G.Platform')
    assert said is not None
    assert "expected a platform that images are made for" in said
    document = json.loads((ROOT / "schemas/json/build_directives.json").read_text())
    (finding,) = Twin({"$ref": "#/$defs/built_platform", "$defs": document["$defs"]}).findings(typed)[:1]
    near = MISTYPED[typed]
    assert finding.hint == (f"did you mean {near}?" if near else "such as linux/amd64, linux/arm64, linux/arm/v7")


@pytest.mark.parametrize("schema", ["build_directives", "policy"])
def test_the_examples_are_right(schema: str) -> None:
    twin = validator(schema, "built_platform")
    examples = json.loads((ROOT / f"schemas/json/{schema}.json").read_text())["$defs"]["built_platform"]["examples"]
    assert all(map(twin.is_valid, examples))


def test_contract_and_twin_agree_on_every_pair_of_words() -> None:
    systems = sorted({each.split("/")[0] for each in BUILT} | {"netbsd", "ios", "android", "linux64"})
    machines = sorted({each.split("/")[1] for each in BUILT} | {"x99", "riscv"})
    pairs = [f"{a}/{b}{v}" for a, b, v in itertools.product(systems, machines, ("", "/v0", "/v5", "/v9", "/v10", "/8"))]
    twin = validator("build_directives", "built_platform")
    said = evaluate(
        f"""
        let C = (import "schemas/grammar.ncl").Platform in
        let Verdicts = std.contract.custom (fun label values =>
          let accepts = fun value => std.contract.check C label value |> match {{ 'Ok _ => true, _ => false }} in
          'Ok (std.array.map accepts values)
        ) in
        {nickel(pairs)} | Verdicts
        """
    )
    assert said == [twin.is_valid(each) for each in pairs]
