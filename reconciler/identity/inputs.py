"""The input document of one platform of one artifact: every leaf that decides what the image will be."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from reconciler.model.artifact import BaseImage, ParentImage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Materials
    from reconciler.model.digest import Digest
    from reconciler.model.name import ArtifactName
    from reconciler.model.platform import Platform
    from reconciler.model.reference import Reference

Inputs = dict[str, Any]
"""Leaf name -> value. Leaves at their default are left out, so that a new leaf changes no key."""


def freshness(artifact: ArtifactName, max_age: int, moment: float) -> int:
    """The number of the `max_age` window (seconds) that `moment` (Unix seconds) falls in.

    Windows are shifted by a hash of the name, so that a fleet does not expire all at once (design section 5).
    """
    shift = int.from_bytes(hashlib.sha256(str(artifact).encode()).digest()[:8], "big") % max_age
    return int((moment + shift) // max_age)


def freshness_leaves(artifact: Artifact, *, builder: str | None, moment: float) -> Inputs:
    """The leaves by which an artifact asks to be made anew although nothing else changed. What was made under others
    must not come back out of a cache: its packages would be the old ones (ADR 054)."""
    leaves: Inputs = {
        "fresh": freshness(artifact.name, artifact.max_age, moment) if artifact.max_age else None,
        "os_epoch": artifact.os_epoch,
        "builder": builder,
    }
    return {name: leaf for name, leaf in leaves.items() if leaf is not None}


def platform_inputs(
    artifact: Artifact,
    materials: Materials,
    platform: Platform,
    images: Mapping[Reference, Digest],
    parents: Mapping[ArtifactName, Digest],
    *,
    builder: str | None,
    moment: float,
) -> Inputs:
    """The document whose hash is the platform's key.

    `images` gives base images' digests, `parents` the digests of parents' manifests for this platform; a parent
    that is not there yet is simply left out, which is how a plan compares all the other leaves.
    Not inputs (design section 5): tags, checks, sizing, cache, names, secret values, the installed BuildKit.
    """
    needs = materials.needs[platform]
    contexts: dict[str, dict[str, str]] = {}
    for name in needs.contexts:
        context = artifact.contexts[name]
        if name in materials.folders:
            contexts[name] = {"folder": materials.folders[name].root}
        elif isinstance(context, BaseImage):
            contexts[name] = {"image": str(context.reference.digest or images[context.reference])}
        elif isinstance(context, ParentImage):
            if context.artifact in parents:
                contexts[name] = {"image": str(parents[context.artifact])}
        else:
            raise ValueError(f"{artifact.name}: nothing is known of the named context {name}")
    leaves: Inputs = {
        "target": artifact.target,
        "args": dict(artifact.args),
        "labels": dict(artifact.labels),
        "contexts": contexts,
        "bases": {written: str(ref.digest or images[ref]) for written, ref in needs.images.items()},
        "frontend": str(needs.frontend.digest or images[needs.frontend]) if needs.frontend else None,
        "fetched": {source.location: source.pin for source in needs.fetched if source.pin},
        "secrets": dict(artifact.secrets),
        **freshness_leaves(artifact, builder=builder, moment=moment),
        "source_date_epoch": artifact.source_date_epoch or None,
    }
    return {
        "platform": str(platform),
        "context": materials.context.root,
        "dockerfile": materials.dockerfile,
        **{name: leaf for name, leaf in leaves.items() if leaf not in (None, {})},
    }
