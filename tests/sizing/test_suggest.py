"""What a build spec should say: which artifacts count, when nothing is said, and that only numbers change in a file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.tier import BuildSpec, RunnerOverride, Tier
from reconciler.sizing.choose import size
from reconciler.sizing.evidence import Evidence
from reconciler.sizing.suggest import Asked, Wish, changed_text, new_text, wish_of
from tests.commits import SIZES, artifact
from tests.schemas.evaluation import evaluate
from tests.sizing.test_evidence import run

if TYPE_CHECKING:
    from typing import Any


def asked(
    *memory: float, name: str = "shop/api", cpu: float | None = 1.0, spec: BuildSpec | None = None, **more: Any
) -> Asked:
    """An artifact whose runs needed so much memory."""
    runs = [run(gib, cpu, number=number) for number, gib in enumerate(memory)]
    return Asked(artifact(name, **more), spec, Evidence.of(runs, [name]))


def wish(*those: Asked) -> Wish | None:
    return wish_of(those, SIZES)[0]


def test_runs_that_need_more_than_the_language_gets() -> None:
    found = wish(asked(6.0, 5.0))
    assert found == Wish(("shop/api",), 4, 8, Tier(2, 4, 30, "small"), Tier(4, 8, 30, "medium"), 2)


def test_runs_that_need_less_than_the_language_gets() -> None:
    found = wish(asked(1.0, language="rust"))
    assert found is not None
    assert (found.cpu, found.memory_gb, found.now.name) == (2, 4, "medium")


def test_what_is_right_is_left_alone() -> None:
    assert wish(asked(1.0)) is None
    assert wish(asked(6.0, spec=BuildSpec("x", 4, 8))) is None
    assert wish(asked(6.0, language="rust")) is None


def test_without_runs_nothing_is_said() -> None:
    assert wish(asked(spec=BuildSpec("x", 16, 16))) is None


def test_what_runs_do_not_tell_is_not_written_down() -> None:
    found = wish(asked(6.0, cpu=None))
    assert found is not None
    assert (found.cpu, found.memory_gb) == (None, 8)


def test_a_file_counts_for_every_artifact_of_its_context() -> None:
    found = wish(asked(1.0), asked(12.0, name="shop/web"), asked(name="shop/new"))
    assert found is not None
    assert (found.memory_gb, found.artifacts) == (16, ("shop/api", "shop/web", "shop/new"))
    small, rust = (
        asked(1.0, spec=BuildSpec("x", 8, 16)),
        asked(name="shop/new", language="rust", spec=BuildSpec("x", 8, 16)),
    )
    kept = wish(small, rust)
    assert kept is not None
    assert (kept.cpu, kept.memory_gb) == (4, 8), "of what has no runs the language's default still has to fit"


def test_what_a_directive_says_is_advised_and_not_written() -> None:
    override = asked(6.0, runner=RunnerOverride(memory_gb=64))
    found, advice = wish_of([override], SIZES)
    assert found is None
    assert [(one.artifact, one.now.memory_gb, one.then.memory_gb) for one in advice] == [("shop/api", 64, 8)]
    minutes = asked(6.0, runner=RunnerOverride(time_budget=5))
    assert wish_of([minutes], SIZES)[1] == () and wish(minutes) is not None


@given(st.lists(st.floats(0.1, 60), min_size=1, max_size=12), st.sampled_from([None, "rust", "go"]))
def test_once_it_is_written_down_nothing_more_is_suggested(memory: list[float], language: str | None) -> None:
    one = asked(*memory, language=language)
    found = wish(one)
    if found is not None:
        spec = BuildSpec("x", found.cpu, found.memory_gb)
        assert wish(replace(one, spec=spec)) is None
        assert size(one.artifact, spec, one.evidence, SIZES).tier.memory_gb == found.memory_gb


WISH = Wish(("shop/api",), 4, 8.0, Tier(2, 4, 30), Tier(4, 8, 30), 14)


def value(text: str) -> Any:
    """What the file says, by real Nickel, under its contract."""
    return evaluate(f'({text}\n) | (import "schemas/build_spec.ncl").BuildSpec')


def test_a_new_file_says_it() -> None:
    assert value(new_text(WISH)) == {"cpu": 4, "memory_gb": 8}
    assert new_text(WISH).startswith("# What 14 runs of shop/api needed.\n{\n")
    assert value(new_text(replace(WISH, memory_gb=0.5, cpu=None))) == {"memory_gb": 0.5}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{ cpu = 1 }", "{ memory_gb = 8, cpu = 4 }"),
        ("{}", "{ cpu = 4, memory_gb = 8,}"),
        ("{ }\n", "{ cpu = 4, memory_gb = 8, }\n"),
        ("{ cpu = 1, memory_gb = 2.5 }", "{ cpu = 4, memory_gb = 8 }"),
        (
            '# cpu = 9\n{\n  cpu = 1, # not { memory_gb = 3\n  language = "c#",\n}\n',
            '# cpu = 9\n{\n  memory_gb = 8,\n  cpu = 4, # not { memory_gb = 3\n  language = "c#",\n}\n',
        ),
        ("{\r\n  cpu = 1,\r\n}\r\n", None),
    ],
)
def test_only_the_numbers_change(text: str, expected: str | None) -> None:
    changed = changed_text(text, WISH)
    assert changed is not None
    assert expected is None or changed == expected
    assert value(changed) == value(text) | {"cpu": 4, "memory_gb": 8}


@pytest.mark.parametrize(
    "text",
    [
        "let n = 2 in { cpu = n }",
        "{ cpu = 1 + 1 }",
        '(import "base.ncl") & { cpu = 1 }',
        '{ language = "%{x}" }',
        "{ cpu | default = 1 }",
        "{ cpu = 1 } | B.BuildSpec",
        "",
        "{ cpu = 1",
        "{ cpu = 1 } # \x1b[2J",
        "# \u202e\n{ cpu = 1 }",
    ],
)
def test_more_than_a_plain_record_is_left_to_its_author(text: str) -> None:
    assert changed_text(text, WISH) is None


_BLANK = st.sampled_from(["", " ", "\n  ", " # a remark, cpu = 7 {\n"])
_FIELDS = st.lists(
    st.sampled_from([("cpu", "3"), ("memory_gb", "1.5"), ("time_budget", "9"), ("language", '"c#"')]),
    unique_by=lambda field: field[0],
)


@st.composite
def plain_records(draw: st.DrawFn) -> str:
    """Records of literals, laid out in all kinds of ways."""
    fields = [f"{draw(_BLANK)}{name}{draw(st.sampled_from([' = ', '=']))}{text}" for name, text in draw(_FIELDS)]
    end = draw(st.sampled_from(["", ","])) if fields else ""
    return f"{draw(_BLANK)}{{{f'{draw(_BLANK)},'.join(fields)}{draw(_BLANK)}{end}{draw(_BLANK)}}}{draw(_BLANK)}"


@settings(max_examples=60)
@given(plain_records())
def test_any_plain_record_keeps_what_it_said_beside(text: str) -> None:
    changed = changed_text(text, WISH)
    assert changed is not None, text
    assert value(changed) == value(text) | {"cpu": 4, "memory_gb": 8}
    assert changed_text(changed, WISH) == changed
