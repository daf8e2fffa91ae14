"""A folder of a test's own, begun with lian's real parts: its files, its Dockerfiles, its contracts."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from reconciler.adopt.init import Asked, Initiation, Tools, prepare
from reconciler.desired.project import ContractGrammar, FolderProject, ReadDockerfiles
from reconciler.model.problem import LianError
from reconciler.providers.builder.bake import Buildx
from tests.schemas.evaluation import ROOT, evaluate, validator

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.model.problem import Problem

PLAIN = "FROM scratch\nCOPY . /\n"
_GRAMMAR = ContractGrammar()


def fill(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write the files; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def tools(folder: Path) -> Tools:
    """The real ones."""
    project = FolderProject.at(str(folder))
    return Tools(project, ReadDockerfiles(), _GRAMMAR, Buildx(project.root))


def begun(folder: Path, files: Mapping[str, str | bytes] | None = None, **asked: Any) -> Initiation:
    """What `lian init` makes of a folder with these files; the document that it prints is checked, too."""
    told = prepare(tools(fill(folder, files or {})), Asked(**asked))
    validator("init").validate(told.to_json(written=False))
    return told


def refused(folder: Path, files: Mapping[str, str | bytes], **asked: Any) -> tuple[Problem, ...]:
    """Why nothing is written for these files."""
    try:
        begun(folder, files, **asked)
    except LianError as error:
        return error.problems
    raise AssertionError("it was taken")


def directives(told: Initiation) -> dict[str, Any]:
    """The artifacts of the directive file by name, as Nickel evaluates them, defaults filled in."""
    path = f"directives/{told.workspace}.ncl"
    value = evaluate(told.files[path])
    validator("build_directives").validate(value)
    assert value["workspace"] == told.workspace
    artifacts: dict[str, Any] = value["artifacts"]
    return artifacts


def settings(told: Initiation) -> dict[str, Any]:
    """The settings, as Nickel evaluates them."""
    return _evaluated(told.files["lian.ncl"])


@cache
def _evaluated(text: str) -> dict[str, Any]:
    """Once for each text: many projects come to the same settings."""
    value: dict[str, Any] = evaluate(text)
    validator("fleet").validate(value)
    return value


def codes(told: Initiation, weight: str) -> set[tuple[str, str | None]]:
    """(code, build) of each remark of a weight."""
    return {(remark.code, remark.build) for remark in told.remarks if remark.weight.value == weight}


__all__ = ["PLAIN", "ROOT", "begun", "codes", "directives", "fill", "refused", "settings", "tools"]
