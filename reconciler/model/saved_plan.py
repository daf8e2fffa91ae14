"""A plan that was written down to be carried out later: what was shown, and what each change is bound to (ADR 068)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.model.canonical import fingerprint
from reconciler.model.digest import Digest
from reconciler.model.name import ArtifactName
from reconciler.model.plan import Action, ReasonCode
from reconciler.model.platform import Platform
from reconciler.model.reference import Repository

if TYPE_CHECKING:
    from collections.abc import Mapping

KIND = "saved-plan"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Bound:
    """What one change was decided on, and what it comes to: it is carried out only where both still stand."""

    action: Action
    image: Repository
    tags: tuple[str, ...]
    platforms: tuple[Platform, ...]
    key: str | None
    """None where it was not known yet, because something is built first."""
    inputs: str | None
    """sha256 (64 hex) of the inputs of all platforms but the parents' images; None where nothing could be decided."""
    digest: Digest | None
    starts: Mapping[str, Digest | None]
    """Tag -> what it pointed at; None for one that was not there."""
    forced: bool = False
    held: str | None = None
    """The code of the problem that held it."""
    built: str | None = None
    """Of what is forced, when the newest build of what was there had started (RFC 3339, in UTC); empty where none was
    there, None where that is not known."""
    made_of: Mapping[Platform, Mapping[str, Any]] | None = None
    """Of what is built or retagged, the inputs themselves as far as they were known: they decide nothing, and tell what
    has moved since."""
    left: tuple[str, ...] = ()
    """Of its tags, those that stay where they are."""

    def to_json(self) -> dict[str, Any]:
        """What the plan's own document does not say."""
        starts = {tag: str(digest) if digest else None for tag, digest in sorted(self.starts.items())}
        built = {} if self.built is None else {"built": self.built}
        made_of = {str(platform): inputs for platform, inputs in (self.made_of or {}).items()}
        told = {} if self.made_of is None else {"made_of": made_of}
        return {"host": self.image.host, "inputs": self.inputs, "starts": starts, **built, **told}


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """`plan` is the document that `lian diff --json` prints; `bound` is by artifact, of what is wanted."""

    fleet: str
    plan: Mapping[str, Any]
    bound: Mapping[ArtifactName, Bound]
    orphans: Mapping[tuple[ArtifactName, Repository], Bound] = field(default_factory=dict)
    """Of what nobody wants any more: an artifact may be wanted under another image and left over under this one."""

    @property
    def forced(self) -> frozenset[ArtifactName]:
        """What is built anew though it is in sync."""
        return frozenset(name for name, bound in self.bound.items() if bound.forced)

    @property
    def takes_away(self) -> bool:
        """True if anything goes that nobody wants any more."""
        return any(bound.action is Action.PRUNE for bound in self.orphans.values())

    def to_json(self) -> dict[str, Any]:
        """The file's document, with a seal over all of it: a file that was cut off or edited is noticed. Whoever edits
        on purpose can seal again, and gains nothing: a plan only narrows what a pass finds by itself."""
        document = {
            "kind": KIND,
            "version": VERSION,
            "fleet": self.fleet,
            "plan": self.plan,
            "bound": {str(name): bound.to_json() for name, bound in sorted(self.bound.items())},
            "orphans": _by_image(self.orphans),
        }
        return {**document, "seal": fingerprint(document)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> SavedPlan:
        """From a document that schemas/json/saved_plan.json and plan.json describe. Raises ValueError for one whose
        seal is broken, or whose parts do not belong together."""
        if fingerprint({key: value for key, value in document.items() if key != "seal"}) != document["seal"]:
            raise ValueError("its seal is broken: it was changed after it was written")
        bound: dict[ArtifactName, Bound] = {}
        orphans: dict[tuple[ArtifactName, Repository], Bound] = {}
        for change in document["plan"]["changes"]:
            name, is_orphan = ArtifactName.parse(change["artifact"]), _is_orphan(change)
            among = document["orphans"].get(change["image"], {}) if is_orphan else document["bound"]
            if (told := among.get(change["artifact"])) is None:
                raise ValueError(f"{name} is bound to nothing")
            one = _bound(change, told)
            if (name, one.image) in orphans if is_orphan else name in bound:
                raise ValueError(f"{name} has more than one change")
            if is_orphan:
                orphans[name, one.image] = one
            else:
                bound[name] = one
        if len(bound) != len(document["bound"]) or len(orphans) != sum(map(len, document["orphans"].values())):
            raise ValueError("it binds what it has no change of")
        return cls(document["fleet"], document["plan"], bound, orphans)


def _is_orphan(change: Mapping[str, Any]) -> bool:
    return any(reason["code"] == ReasonCode.ORPHANED for reason in change["reasons"])


def _by_image(orphans: Mapping[tuple[ArtifactName, Repository], Bound]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for (name, image), bound in sorted(orphans.items(), key=lambda item: item[0]):
        found.setdefault(str(image), {})[str(name)] = bound.to_json()
    return found


def _bound(change: Mapping[str, Any], told: Mapping[str, Any]) -> Bound:
    return Bound(
        action=Action(change["action"]),
        image=_repository(change["image"], told["host"]),
        tags=tuple(change["tags"]),
        platforms=tuple(map(Platform.parse, change["platforms"])),
        key=change["key"],
        inputs=told["inputs"],
        digest=Digest.parse(change["digest"]) if change["digest"] else None,
        starts={tag: Digest.parse(digest) if digest else None for tag, digest in told["starts"].items()},
        left=tuple(change["left"]),
        forced=any(reason["code"] == ReasonCode.FORCED for reason in change["reasons"]),
        held=next((problem["code"] for problem in change["holds"]), None),
        built=told.get("built"),
        made_of=_made_of(told["made_of"]) if "made_of" in told else None,
    )


def _made_of(told: Mapping[str, Mapping[str, Any]]) -> Mapping[Platform, Mapping[str, Any]]:
    return {Platform.parse(platform): inputs for platform, inputs in told.items()}


def _repository(image: str, host: str) -> Repository:
    """From both, because the path of a registry on disk has slashes too."""
    path = image.removeprefix(f"{host}/")
    if path == image:
        raise ValueError(f"{image} is not on {host}")
    return Repository(host, path)
