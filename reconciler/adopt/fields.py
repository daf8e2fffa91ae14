"""Fields of compose and bake files that no directive has: what each means for the image, and what to do instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.adopt.remark import Remark, Weight

if TYPE_CHECKING:
    from reconciler.model.artifact import Place


@dataclass(frozen=True, slots=True)
class _Uncarried:
    weight: Weight
    message: str
    hint: str | None = None


def _needed(message: str, hint: str) -> _Uncarried:
    return _Uncarried(Weight.LEFT_OUT, message, hint)


def _spared(message: str, hint: str | None = None) -> _Uncarried:
    return _Uncarried(Weight.DROPPED, message, hint)


_CACHE = _spared("lian keeps the build cache of each workspace by itself", "see docs/cache.md")
_RESOURCES = _spared(
    "limits of build steps are the runner's", "a size is given by `runner` or .build-spec.ncl; see docs/sizing.md"
)
_ATTESTED = _spared("attestations are attached by the fleet's policy", "set `policy.sign` in lian.ncl")
_FRESH = _spared(
    "nothing is pulled or built anew for its own sake: base images are looked up by digest in each pass",
    "for a regular rebuild set `max_age`",
)

UNCARRIED = {
    "dockerfile_inline": _needed(
        "the Dockerfile stands in the file itself, and a directive names a file",
        "write it into a file of the context, and name that by `dockerfile`",
    ),
    "ssh": _needed(
        "builds have no SSH agent", "give the key as a secret, and mount that: `RUN --mount=type=secret,id=…`"
    ),
    "entitlements": _needed("builds have no privileges", "take out what needs them"),
    "privileged": _needed("builds have no privileges", "take out what needs them"),
    "extra_hosts": _needed("builds have no host names of their own", "use names that the network's DNS knows"),
    "network": _needed("builds have the network of their runner and no other", "take `network` out"),
    "call": _needed("this target checks and makes no image", "name stages that must build by `checks`"),
    "cache_from": _CACHE,
    "cache_to": _CACHE,
    "no_cache": _FRESH,
    "no_cache_filter": _FRESH,
    "pull": _FRESH,
    "provenance": _ATTESTED,
    "sbom": _ATTESTED,
    "attest": _ATTESTED,
    "shm_size": _RESOURCES,
    "ulimits": _RESOURCES,
    "resources": _RESOURCES,
    "isolation": _RESOURCES,
    "annotations": _spared(
        "lian writes no annotations: the image has the same layers and settings, under another digest",
        "use `labels` for what shall be read from the image",
    ),
    "policy": _spared("rules for sources are not carried over", "name bases by digest where that matters"),
}
"""By name, with `_` for the `-` of bake files."""
_MEANS_NOTHING = {"network": {"", "default"}, "call": {"", "build"}, "isolation": {"", "default"}}


def uncarried(name: str, said: str | None, place: Place, field: str, build: str) -> Remark | None:
    """What is to be said of a field that no directive has. `said` is its value where that is a scalar; None if the
    value is as if the field were not there."""
    rule = UNCARRIED[name.replace("-", "_")]
    if said in {"false", "0"} or said in _MEANS_NOTHING.get(name, ()):
        return None
    code = f"{name.replace('_', '-')}-{'unsupported' if rule.weight is Weight.LEFT_OUT else 'dropped'}"
    return Remark(rule.weight, code, rule.message, place, field, build, rule.hint)
