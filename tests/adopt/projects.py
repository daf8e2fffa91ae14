"""Projects as values: what they build, and the same as a compose file and as a bake file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml
from hypothesis import strategies as st

from tests.adopt.folders import PLAIN

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True)
_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12) | st.sampled_from(
    ["1.10", "yes", "true", "null", "${x}", "%{y}", "$$", "a=b", " ", "# no comment", "'", '"', "*a", "017", "~"]
)
_TEXTS = _TEXTS.filter(lambda text: "$${" not in text and "%%{" not in text)  # HCL has no way to write these plainly
_ARGS = st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9]{0,5}", fullmatch=True), _TEXTS, max_size=3)
_LABELS = st.dictionaries(st.from_regex(r"[a-z][a-z.]{0,8}[a-z]", fullmatch=True), _TEXTS, max_size=3)
_TAGS = st.lists(st.from_regex(r"[0-9]\.[0-9]{1,2}", fullmatch=True), max_size=2, unique=True)
_PLATFORMS = st.lists(st.sampled_from(["linux/amd64", "linux/arm64", "linux/arm/v7"]), max_size=2, unique=True)


@dataclass(frozen=True)
class One:
    """A build; `parents` are builds, `base_of` those that its Dockerfile names in FROM by their pushed names."""

    name: str
    folder: str
    dockerfile: str | None
    target: str | None
    tags: tuple[str, ...]
    platforms: tuple[str, ...]
    args: Mapping[str, str]
    labels: Mapping[str, str]
    parents: tuple[str, ...] = field(default=())
    secret: str | None = None

    @property
    def images(self) -> list[str]:
        """What it is pushed as."""
        return [f"acme/{self.name}:{tag}" for tag in self.tags or ("latest",)]


@st.composite
def projects(draw: st.DrawFn) -> list[One]:
    """Builds with different names, each standing on some before it."""
    names = draw(st.lists(_NAMES, min_size=1, max_size=4, unique=True))
    made: list[One] = []
    for name in names:
        parents = draw(st.lists(st.sampled_from([one.name for one in made]), max_size=2, unique=True)) if made else []
        made.append(
            One(
                name,
                draw(st.sampled_from([".", "a", "b c", "deep/er"])),
                draw(st.none() | st.sampled_from(["Dockerfile.x", "docker/Dockerfile"])),
                draw(st.none() | st.just("runtime")),
                tuple(draw(_TAGS)),
                tuple(draw(_PLATFORMS)),
                draw(_ARGS),
                draw(_LABELS),
                tuple(parents),
                draw(st.none() | st.sampled_from(["npm", "KEY_1"])),
            )
        )
    return made


def files_of(project: list[One]) -> dict[str, str]:
    """The contexts."""
    text = f"{PLAIN.replace('scratch', 'scratch AS runtime')}"
    return {f"{one.folder}/{one.dockerfile or 'Dockerfile'}".removeprefix("./"): text for one in project}


def compose_of(project: list[One], *, short: bool = False) -> str:
    """A compose file; a dollar is written twice in it."""
    services: dict[str, Any] = {}
    for one in project:
        build: dict[str, Any] = {"context": one.folder}
        build |= {"dockerfile": one.dockerfile} if one.dockerfile else {}
        build |= {"target": one.target} if one.target else {}
        build |= {"platforms": list(one.platforms)} if one.platforms else {}
        args = {key: value.replace("$", "$$") for key, value in one.args.items()}
        build |= {"args": [f"{key}={value}" for key, value in args.items()] if short else args}
        build |= {"labels": {key: value.replace("$", "$$") for key, value in one.labels.items()}}
        build |= {"additional_contexts": {f"from-{parent}": f"service:{parent}" for parent in one.parents}}
        build |= {"secrets": [one.secret]} if one.secret else {}
        first, *more = one.images
        services[one.name] = {"image": first, "build": build | ({"tags": more} if more else {})}
    secrets = {one.secret: {"environment": "A_VARIABLE"} for one in project if one.secret}
    return yaml.safe_dump(
        {"name": "acme", "services": services, "secrets": secrets}, allow_unicode=True, sort_keys=False
    )


def bake_of(project: list[One]) -> str:
    """A bake file as JSON, with what all share in a target that they inherit."""

    def meant(text: str) -> str:
        return text.replace("${", "$${").replace("%{", "%%{")

    targets: dict[str, Any] = {"_common": {"labels": {"shared": "yes"}}}
    for one in project:
        target: dict[str, Any] = {"inherits": ["_common"], "context": one.folder, "tags": one.images}
        target |= {"dockerfile": one.dockerfile} if one.dockerfile else {}
        target |= {"target": one.target} if one.target else {}
        target |= {"platforms": list(one.platforms)} if one.platforms else {}
        target |= {
            key: {k: meant(v) for k, v in value.items()} for key, value in (("args", one.args), ("labels", one.labels))
        }
        target |= {"contexts": {f"from-{parent}": f"target:{parent}" for parent in one.parents}}
        target |= {"secret": [{"type": "env", "id": one.secret, "env": "A_VARIABLE"}]} if one.secret else {}
        targets[one.name] = target
    return json.dumps({"group": {"default": {"targets": [one.name for one in project]}}, "target": targets}, indent=1)


def wanted(project: list[One], shared: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The artifacts that directives for it come to, defaults filled in."""
    platforms = {one.name: one.platforms or ("linux/amd64",) for one in project}
    for one in reversed(project):  # children come behind their parents
        for parent in sorted(one.parents):
            more = [each for each in platforms[one.name] if each not in platforms[parent]]
            platforms[parent] = (*platforms[parent], *more)
    return {
        one.name: {
            "image": f"acme/{one.name}",
            "tags": list(one.tags) or ["latest"],
            "context": {"path": one.folder},
            "dockerfile": one.dockerfile or "Dockerfile",
            "platforms": sorted(platforms[one.name]),
            "args": dict(one.args),
            "labels": {**(shared or {}), **one.labels},
            "contexts": {f"from-{parent}": {"artifact": parent} for parent in one.parents},
            "secrets": {one.secret: {"name": one.secret.lower().replace("_", "-")}} if one.secret else {},
            "checks": [],
            "rebuild_on_rotate": False,
        }
        | ({"target": one.target} if one.target else {})
        for one in project
    }
