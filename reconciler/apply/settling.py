"""Which image stands under an artifact's tags, and seeing to it that all of them name it (ADR 046)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.apply.held import HeldBack, contested
from reconciler.apply.outlasting import outlast, read_whole
from reconciler.apply.witness import is_not_moved
from reconciler.model.manifest import platforms_of
from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from reconciler.apply.attesting import Attester
    from reconciler.apply.outlasting import Whole
    from reconciler.apply.tagging import Tagger
    from reconciler.identity.resolve import Keyed
    from reconciler.model.artifact import Artifact
    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Manifest
    from reconciler.model.platform import Platform
    from reconciler.ports.bundle import Ports

ROUNDS = 4
"""How often an image's tags are looked at again after they were moved. Passes on one commit agree after two."""


@dataclass(frozen=True, slots=True)
class Settler:
    """Settles one artifact after another."""

    ports: Ports
    tagger: Tagger
    attester: Attester

    async def settle(
        self,
        artifact: Artifact,
        identity: Keyed,
        manifest: Manifest,
        left: Collection[str],
        *,
        replaces: bool = False,
    ) -> Manifest:
        """Point the content tags at the image, each platform's before the whole's, then the directive's tags, until one
        look finds all of them there: whoever moves last looks last, so passes on one commit end on one image. Which one
        that is; another pass's if that was first. Raises HeldBack, LianError."""
        tags = [tag for tag in artifact.tags if tag not in left]
        whole: Whole | None = None
        unmoved: LianError | None = None
        for number in range(ROUNDS):
            fresh = replaces and number == 0
            manifest = await self._counting(artifact, identity, manifest, replaces=fresh)
            if whole is None or whole.image != manifest:
                whole = await read_whole(self.ports, artifact.image, manifest)
            try:
                if await self._point(artifact, identity, whole, tags):
                    return manifest
            except HeldBack:
                if await self._counting(artifact, identity, manifest, replaces=replaces) == manifest:
                    raise
            except LianError as error:  # another pass moved a tag in the same moment, or the registry has lost it
                if not is_not_moved(error):
                    raise
                unmoved = error
        raise unmoved or HeldBack(contested(artifact))

    async def _point(self, artifact: Artifact, identity: Keyed, whole: Whole, tags: Sequence[str]) -> bool:
        """One round: True if afterwards one look finds all tags where they should be. Raises HeldBack, LianError."""
        image, digest = artifact.image, whole.image.digest
        platforms = platforms_in(identity, whole.image) if len(identity.keys) > 1 else {}
        content = {identity.tag(platform): one for platform, one in platforms.items()} | {identity.tag(): digest}
        await self.tagger.content(image, content)
        await self.tagger.tags(artifact, whole.image, tags)
        await outlast(self.ports, image, whole, (*content, *tags))
        return await self.tagger.stand(image, content | dict.fromkeys(tags, digest))

    async def _counting(self, artifact: Artifact, identity: Keyed, manifest: Manifest, *, replaces: bool) -> Manifest:
        """The image that is to stand under the tags (see Tagger.counting): another's only if it may be taken over.
        Raises LianError."""
        digest = await self.tagger.counting(artifact, identity.key, identity.tag(), manifest, replaces=replaces)
        if digest == manifest.digest or not await self.attester.vouches(artifact.image, digest):
            return manifest
        return await self.ports.registry.manifest(artifact.image, digest)


def content_tags(identity: Keyed) -> tuple[str, ...]:
    """The content tags of an image: each platform's where there are several, then the whole's."""
    platforms = identity.keys if len(identity.keys) > 1 else ()
    return (*(identity.tag(platform) for platform in platforms), identity.tag())


def platforms_in(identity: Keyed, manifest: Manifest) -> dict[Platform, Digest]:
    """Each platform's manifest of an image that exists. Raises LianError `index-broken`."""
    if len(identity.keys) == 1:
        return dict.fromkeys(identity.keys, manifest.digest)
    try:
        listed = platforms_of(manifest)
        return {platform: listed[platform] for platform in identity.keys}
    except (ValueError, KeyError) as error:
        raise LianError(_broken(manifest.digest, error)) from error


def _broken(digest: Digest, error: Exception) -> Problem:
    return Problem(
        "index-broken",
        f"the image {digest.short} under its content tag does not list the platforms it was built for",
        cause=f"{type(error).__name__}: {error}",
        hint="delete that content tag; the next pass builds the image again",
    )
