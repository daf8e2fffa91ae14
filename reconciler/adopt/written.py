"""The files of a desired repo: settings, directives, and what git is to leave alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.nickel_text import Call, Tag, name, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from reconciler.adopt.artifacts import Adopted
    from reconciler.adopt.build import Found, SecretFrom

SETTINGS, DIRECTIVES, IGNORED = "lian.ncl", "directives/", ".gitignore"
OWN = ".lian/"
"""Where the registry on disk lies: nothing to be committed."""
_IGNORES = frozenset({".lian", "/.lian", ".lian/", "/.lian/", ".lian/*", "/.lian/*", ".lian/**"})
_IMPORT = 'let lian = import "defaults/build_directives.ncl" in\n'
_GHCR = "ghcr.io"
_HUB, _HUB_URL = "docker.io", "https://registry-1.docker.io"
HELLO = "hello"


def directives_path(workspace: str) -> str:
    """Where a workspace's directives are written."""
    return f"{DIRECTIVES}{workspace}.ncl"


def starter(workspace: str) -> dict[str, str]:
    """A repo that works, for a folder with nothing to adopt: one image that needs nothing from outside."""
    artifact = Call("lian.make_artifact", {"image": f"{workspace}/{HELLO}", "context": {"path": f"images/{HELLO}"}})
    said = "# What this repo makes. Only commits count: `lian diff` shows what the last one would change.\n"
    hello = "# One file, and nothing below it: nothing is pulled.\nFROM scratch\nCOPY hello.txt /\n"
    return {
        SETTINGS: settings(workspace, None, {}),
        directives_path(workspace): said + _directives(workspace, {HELLO: artifact}),
        f"images/{HELLO}/Dockerfile": hello,
        f"images/{HELLO}/hello.txt": "hello\n",
    }


def adopted_files(adopted: Adopted, found: Found) -> dict[str, str]:
    """The settings and the directives of what was carried over."""
    artifacts = {one.name: Call("lian.make_artifact", one.document) for one in adopted.carried}
    source = found.file or "the Dockerfiles of this repo"
    said = f"# From {source}, by `lian init`. From now on this file says what is built.\n"
    return {
        SETTINGS: settings(adopted.workspace, adopted.host, bound(adopted.secrets)),
        directives_path(adopted.workspace): said + _directives(adopted.workspace, artifacts),
    }


def bound(secrets: Mapping[str, SecretFrom]) -> dict[str, str]:
    """Logical name -> the variable that holds it, of secrets whose source every machine can have."""
    return {key: each.variable for key, each in secrets.items() if each.variable}


def settings(fleet: str, host: str | None, secrets: Mapping[str, str]) -> str:
    """`lian.ncl`, with the registry on disk where no other is named."""
    registry: dict[str, Any]
    if host is None:
        registry = {"provider": Tag("OciLayout"), "path": ".lian/registry"}
        said = (
            "  # A folder of this machine, to begin with. A registry that runs:\n"
            '  #   registry = { provider = \'Distribution, url = "https://registry.example.org" },\n'
        )
    else:
        url = _HUB_URL if host == _HUB else f"https://{host}"
        registry = {"provider": Tag("Ghcr" if host == _GHCR else "Distribution"), "url": url}
        said = "  # Where the images went so far. To try without it: lian diff --registry oci-layout:.lian/registry\n"
    bindings = {key: {"source": Tag("Env"), "name": variable} for key, variable in secrets.items()}
    bound_to = ("", bindings) if len(bindings) > 1 else next(((f".{name(k)}", v) for k, v in bindings.items()), None)
    secret = f"  secrets.{name(fleet)}{bound_to[0]} = {text_of(bound_to[1], 2, 20)},\n" if bound_to else ""
    return (
        "# What counts for the fleet as a whole. Every field may be left out; `lian schema fleet` tells of all.\n"
        f"{_IMPORT}lian.make_fleet_settings {{\n"
        f"  fleet = {text_of(fleet)},\n"
        f"{said}"
        f"  registry = {text_of(registry)},\n"
        "  # Builds run here, each on a builder that is gone afterwards.\n"
        f"  compute = {text_of({'provider': Tag('Local')})},\n"
        f"{secret}}}\n"
    )


def _directives(workspace: str, artifacts: Mapping[str, Call]) -> str:
    value = Call("lian.make_build_directives", {"workspace": workspace, "artifacts": dict(artifacts)})
    return f"{_IMPORT}{text_of(value)}\n"


def ignores_own(gitignore: str) -> bool:
    """Whether a .gitignore leaves lian's own folder alone."""
    return any(line.strip() in _IGNORES for line in gitignore.splitlines())
