"""Secrets that artifacts ask for, and what lian.ncl binds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from reconciler.desired.bindings import unusable, unused
from reconciler.model.artifact import Artifact, Place
from reconciler.model.credential import EVERY_WORKSPACE, Bindings, SourceKind, SourceRef
from tests.commits import artifact

if TYPE_CHECKING:
    from reconciler.model.problem import Problem

TOKEN = SourceRef(SourceKind.ENV, "TOKEN")
OTHER = SourceRef(SourceKind.FILE, "/run/secrets/other")


def asking(name: str = "shop/api", **secrets: str) -> Artifact:
    return replace(artifact(name), secrets=secrets)


def problems(asked: Artifact, bindings: Bindings) -> list[Problem]:
    return list(unusable(asked, bindings, lambda _, where: Place(f"shop.ncl/{'.'.join(where)}")))


def test_a_workspace_has_its_own_secrets_and_those_of_all() -> None:
    bindings = Bindings({"shop": {"a": TOKEN}, EVERY_WORKSPACE: {"a": OTHER, "b": OTHER}})
    assert [bindings.of("shop", name) for name in "abc"] == [TOKEN, OTHER, None]
    assert [bindings.of("team", name) for name in "abc"] == [OTHER, OTHER, None]
    assert bindings.of(EVERY_WORKSPACE, "c") is None
    assert bindings.names("shop") == {"a", "b"}


def test_what_is_bound_holds_nothing() -> None:
    assert problems(asking(), Bindings()) == []
    assert problems(asking(x="a", y="a"), Bindings({"shop": {"a": TOKEN}})) == []


def test_a_name_that_is_bound_for_another_workspace_is_not_bound() -> None:
    (problem,) = problems(asking(npm="npm-token"), Bindings({"team": {"npm-token": TOKEN}}))
    assert (problem.code, problem.artifact, problem.place) == ("secret-unbound", "shop/api", "shop.ncl/secrets.npm")
    assert problem.message == "shop/api asks for the secret 'npm-token', which lian.ncl binds to no source"
    assert 'secrets."shop"."npm-token" = { source = \'Env, name = "NPM_TOKEN" },' in (problem.hint or "")


def test_each_name_that_is_not_bound_is_told() -> None:
    found = problems(asking(one="a", two="b", three="a"), Bindings())
    assert [problem.place for problem in found] == [
        f"shop.ncl/secrets.{identity}" for identity in ("one", "three", "two")
    ]


def test_a_slip_of_the_pen_is_recognised() -> None:
    (problem,) = problems(asking(npm="npm-tokn"), Bindings({EVERY_WORKSPACE: {"npm-token": TOKEN}}))
    assert (problem.hint or "").startswith("it binds 'npm-token': is that the one?")


def test_a_name_that_is_no_variable_still_makes_a_hint() -> None:
    (problem,) = problems(asking(x="9.a_b"), Bindings())
    assert 'name = "SECRET_9_A_B"' in (problem.hint or "")


def test_a_vault_is_not_there_yet() -> None:
    vault = SourceRef(SourceKind.VAULT, "kv/npm")
    (problem,) = problems(asking(npm="npm-token"), Bindings({"shop": {"npm-token": vault}}))
    assert (problem.code, problem.place) == ("secret-unsupported", "shop.ncl/secrets.npm")


def test_a_binding_that_nobody_asks_for_is_found() -> None:
    bindings = Bindings({"shop": {"a": TOKEN, "b": TOKEN}, EVERY_WORKSPACE: {"a": OTHER, "c": OTHER}})
    assert list(unused([asking(x="a")], bindings)) == ['"*"."a"', '"*"."c"', '"shop"."b"']
    assert list(unused([asking(x="a", y="b"), asking("team/x", x="a", y="c")], bindings)) == []


_names = st.sampled_from(["a", "b", "c"])
_groups = st.sampled_from(["shop", "team", EVERY_WORKSPACE])


@given(
    st.dictionaries(_groups, st.dictionaries(_names, st.sampled_from([TOKEN, OTHER]))),
    st.lists(st.tuples(st.sampled_from(["shop", "team"]), st.dictionaries(_names, _names)), max_size=4),
)
def test_a_binding_is_used_if_taking_it_away_would_be_felt(
    sources: dict[str, dict[str, SourceRef]], asked: list[tuple[str, dict[str, str]]]
) -> None:
    artifacts = [asking(f"{workspace}/a{n}", **secrets) for n, (workspace, secrets) in enumerate(asked)]
    idle = set(unused(artifacts, Bindings(sources)))

    def had(bindings: Bindings) -> list[SourceRef | None]:
        return [bindings.of(a.name.workspace, name) for a in artifacts for name in a.secrets.values()]

    marked = {
        group: {name: SourceRef(SourceKind.ENV, f"{group} {name}") for name in bound}
        for group, bound in sources.items()
    }
    for group, bound in marked.items():
        for name in bound:
            without = {**marked, group: {key: value for key, value in bound.items() if key != name}}
            felt = had(Bindings(without)) != had(Bindings(marked))
            assert felt == (f'"{group}"."{name}"' not in idle)
