"""Whether the secrets that artifacts ask for are bound to a source. Pure: no source is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.credential import EVERY_WORKSPACE, SourceKind
from reconciler.model.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from reconciler.model.artifact import Artifact, Place
    from reconciler.model.credential import Bindings


def unusable(
    artifact: Artifact, bindings: Bindings, place: Callable[[Artifact, tuple[str, ...]], Place]
) -> Iterator[Problem]:
    """Why the artifact is held for its secrets, one problem for each; `place` says where in its directive a field is
    written."""
    for identity, name in sorted(artifact.secrets.items()):
        problem = _problem(artifact, name, bindings)
        if problem is not None:
            yield problem.at(place(artifact, ("secrets", identity)))


def unused(artifacts: Iterable[Artifact], bindings: Bindings) -> Iterator[str]:
    """The bindings that no artifact asks for, each as its field in lian.ncl is called."""
    wanted = {(artifact.name.workspace, name) for artifact in artifacts for name in artifact.secrets.values()}
    for group, sources in sorted(bindings.sources.items()):
        for name in sorted(sources):
            if group == EVERY_WORKSPACE:
                asked = any(one == name and name not in bindings.sources.get(ws, {}) for ws, one in wanted)
            else:
                asked = (group, name) in wanted
            if not asked:
                yield f"{_field(group)}.{_field(name)}"


def _problem(artifact: Artifact, name: str, bindings: Bindings) -> Problem | None:
    workspace = artifact.name.workspace
    source = bindings.of(workspace, name)
    if source is None:
        message = f"{artifact.name} asks for the secret {name!r}, which lian.ncl binds to no source"
        from difflib import get_close_matches  # for mistakes alone

        near = get_close_matches(name, bindings.names(workspace), n=1)
        hint = f"add to the record in lian.ncl: {_line(workspace, name)} or with 'File or 'Command (docs/secrets.md)"
        hint = f"it binds {near[0]!r}: is that the one? Else {hint}" if near else hint
        return Problem("secret-unbound", message, artifact=str(artifact.name), hint=hint)
    if source.kind is SourceKind.VAULT:
        message = f"{artifact.name} asks for the secret {name!r}, which lies in a vault, and no vault can be read yet"
        hint = "bind it to source 'Env, 'File or 'Command in lian.ncl; a vault's own command line makes a 'Command"
        return Problem("secret-unsupported", message, artifact=str(artifact.name), hint=hint)
    return None


def _line(workspace: str, name: str) -> str:
    """A line of lian.ncl as it may stand beside others like it."""
    variable = "".join(sign if sign.isalnum() else "_" for sign in name).upper()
    variable = variable if variable[0].isalpha() else f"SECRET_{variable}"
    return f'secrets.{_field(workspace)}.{_field(name)} = {{ source = \'Env, name = "{variable}" }},'


def _field(name: str) -> str:
    """In quotes any name is a field."""
    return f'"{name}"'
