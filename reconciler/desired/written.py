"""Where a commit says something of an artifact: in which line of a directive, of a `.build-spec.ncl`, of a Dockerfile.

It is looked up only for what is told to a person: each text is read by its tokens once, however much is asked of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.desired.needs import image_places
from reconciler.model.artifact import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from reconciler.desired.places import DirectiveText
    from reconciler.model.artifact import Artifact
    from reconciler.model.name import ArtifactName
    from reconciler.model.rule import Written


class WrittenPlaces:
    """Of one commit: its `artifacts`, `text` for the fields of a file, `content` for the bytes of an artifact's
    Dockerfile, which may lie in another repository, and `shown` for how that file is called then. Those raise LianError
    for what the commit does not hold."""

    def __init__(
        self,
        artifacts: Mapping[ArtifactName, Artifact],
        text: Callable[[str], DirectiveText],
        content: Callable[[ArtifactName, str], bytes],
        shown: Callable[[ArtifactName, str], str],
    ) -> None:
        self._artifacts, self._text, self._content, self._shown = artifacts, text, content, shown

    def of(self, written: Collection[Written]) -> dict[Written, Place]:
        """A place for each, by line and column as far as they can be seen. Raises LianError for a broken repository."""
        texts: dict[str, DirectiveText] = {}
        images: dict[tuple[ArtifactName, str], Mapping[str, Place]] = {}
        found: dict[Written, Place] = {}
        for one in written:
            if one.line is not None:
                found[one] = Place(self._shown(one.artifact, one.file), one.line)
                continue
            if one.image is None:
                if one.file not in texts:
                    texts[one.file] = self._text(one.file)
                found[one] = texts[one.file].first_field(one.fields)
                continue
            key = (one.artifact, one.file)
            if key not in images:
                images[key] = image_places(self._content(*key), one.file, self._artifacts[one.artifact])
            place = images[key].get(one.image, Place(one.file))
            found[one] = replace(place, file=self._shown(*key))
        return found
