"""BuildKit's own packages (patternmatcher, ignorefile, fsutil's filter) as the oracle for ignore rules."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings

from reconciler.desired.ignore import IgnoreRules
from reconciler.model.problem import LianError
from tests.desired.ignore_trees import ignore_files, sent, tree, trees
from tests.oracles.program import oracle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.desired.ignore_trees import Folder

Ask = "Callable[[dict[str, Any]], dict[str, Any]]"
LAZY = "syntax error in pattern"


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[dict[str, Any]], dict[str, Any]]]:
    with oracle("ignore", tmp_path_factory.mktemp("oracle")) as asking:
        yield asking


def _b64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()


def _paths(root: Folder, prefix: str = "") -> Iterator[str]:
    for name, below in root.items():
        if below is None:
            yield prefix + name
        else:
            yield f"{prefix}{name}/"
            yield from _paths(below, f"{prefix}{name}/")


def _theirs(ask: Callable[[dict[str, Any]], dict[str, Any]], ignore: str, root: Folder) -> list[str] | str:
    answer = ask({"ignore": _b64(ignore), "paths": [_b64(path) for path in _paths(root)]})
    if "error" in answer:
        return str(answer["error"])
    return [base64.b64decode(path).decode("utf-8", "surrogateescape") for path in answer["sent"]]


def _ours(ignore: str, root: Folder) -> list[str] | list[str | None]:
    try:
        rules = IgnoreRules.parse(ignore.encode("utf-8", "surrogateescape"), "x.dockerignore")
    except LianError as error:
        return [problem.code for problem in error.problems]
    return sent(root, rules)


@settings(max_examples=1000, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(ignore=ignore_files, root=trees)
@example(ignore="foo\n!foo/a\n", root=tree(["foo/a", "foo/b"]))
@example(ignore="\udcff/?\n", root=tree(["\udcff/a", "\ufffd/a"]))
@example(ignore="a|b*\n", root=tree(["a", "xb", "xby", "abc"]))
def test_same_as_buildkit(ask: Callable[[dict[str, Any]], dict[str, Any]], ignore: str, root: Folder) -> None:
    theirs, ours = _theirs(ask, ignore, root), _ours(ignore, root)
    if ours and set(ours) == {"ignore-syntax"}:
        if isinstance(theirs, str):
            return
        # patternmatcher compiles a pattern when a path first needs it: a path that needs each line finds the fault.
        lines = [line.strip().lstrip("!") for line in ignore.removeprefix("\ufeff").splitlines()]
        assert any(isinstance(_theirs(ask, line + "\n", tree(["zz"])), str) for line in lines), (ours, theirs)
        return
    assert ours == theirs
