"""The build record: why this image is what it is. Attached to the image as an OCI referrer (design section 5).

Commit, revision and key live only here, never in the image: there they would make equal content differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.model.attempt import FailedTry
from reconciler.model.cache_use import CacheUse
from reconciler.model.canonical import canonical
from reconciler.model.desired import Origin
from reconciler.model.digest import Digest
from reconciler.model.manifest import texts
from reconciler.model.platform import Platform
from reconciler.model.run import Run, runs_from_json
from reconciler.model.tree import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ARTIFACT_TYPE = "application/vnd.lian.build-record.v1"
RECORD_LAYER = "application/vnd.lian.build-record.v1+json"
LOG_LAYER = "application/vnd.lian.build-log.v1"
LISTING_LAYER = "application/vnd.lian.context-listing.v1+json"
KEY_ANNOTATION = "dev.lian.key"
TIME_ANNOTATION = "org.opencontainers.image.created"
VERSION = 1
FOLDER = "folder"
MAX_NUMBER = 1 << 53
"""Integers beyond this are not exact in every JSON reader."""


@dataclass(frozen=True, slots=True)
class PlatformBuild:
    """One platform's part: the key, the document it is the hash of, and the manifest that came out."""

    key: str
    inputs: Mapping[str, Any]
    digest: Digest


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """Facts of one build. Times: `started` RFC 3339 in UTC, `seconds` of wall time, memory in bytes."""

    artifact: str
    revision: str
    """The commit; empty for a folder that lay in no repository, which the document calls its `origin`."""
    key: str
    digest: Digest
    platforms: Mapping[Platform, PlatformBuild]
    started: str
    seconds: float
    builder: Mapping[str, str] = field(default_factory=dict)
    tier: Mapping[str, float] = field(default_factory=dict)
    steps: Mapping[str, int] = field(default_factory=dict)
    peak_memory: int | None = None
    listings: Mapping[str, Digest] = field(default_factory=dict)
    """Merkle root of a folder that was sent -> the record's layer that lists its files."""
    fleet: str = ""
    """Whose image it is: what prunes and applied documents go by."""
    log: Digest | None = None
    """The record's layer with the build's log, credentials in URLs and headers taken out."""
    caches: Mapping[Platform, CacheUse] = field(default_factory=dict)
    """What the cache did for each platform that was built."""
    runs: tuple[Run, ...] = ()
    """This build and those of the artifact before it, newest first: what sizes are chosen by."""
    tries: tuple[FailedTry, ...] = ()
    """What failed before it went well, in order."""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """Name of a context from another repository (the main one's is empty) -> the commit it was read at."""

    def to_json(self) -> dict[str, Any]:
        """The record layer's document."""
        return {
            "kind": "build-record",
            "version": VERSION,
            "artifact": self.artifact,
            **origin(self.revision),
            "key": self.key,
            "digest": str(self.digest),
            "platforms": {
                str(p): {"key": b.key, "inputs": dict(b.inputs), "digest": str(b.digest)}
                for p, b in self.platforms.items()
            },
            "started": self.started,
            "seconds": round(self.seconds, 3),
            "builder": dict(self.builder),
            "tier": dict(self.tier),
            "steps": dict(self.steps),
            "peak_memory": self.peak_memory,
            "listings": {root: str(digest) for root, digest in self.listings.items()},
            "fleet": self.fleet,
            "log": str(self.log) if self.log else None,
            "caches": {str(p): use.to_json() for p, use in self.caches.items()},
            "runs": [run.to_json() for run in self.runs],
            "tries": [failed.to_json() for failed in self.tries],
            **({"contexts": _told(self.origins)} if self.origins else {}),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> BuildRecord:
        """Raises ValueError for anything that is not a record of a version known here."""
        try:
            if document["kind"] != "build-record" or document["version"] != VERSION:
                raise ValueError(f"not a build record of version {VERSION}")
            return cls(
                artifact=str(document["artifact"]),
                revision="" if document["revision"] is None else str(document["revision"]),
                key=str(document["key"]),
                digest=Digest.parse(document["digest"]),
                platforms={
                    Platform.parse(p): PlatformBuild(str(b["key"]), _inputs(b["inputs"]), Digest.parse(b["digest"]))
                    for p, b in document["platforms"].items()
                },
                started=str(document["started"]),
                seconds=_number(document["seconds"]),
                builder=_texts(document["builder"]),
                tier={name: _number(value) for name, value in document["tier"].items()},
                steps={name: int(_number(value)) for name, value in document["steps"].items()},
                peak_memory=None if document["peak_memory"] is None else int(_number(document["peak_memory"])),
                listings={root: Digest.parse(d) for root, d in document["listings"].items()},
                fleet=str(document.get("fleet") or ""),
                log=Digest.parse(document["log"]) if document.get("log") else None,
                caches=_caches(document.get("caches")),
                runs=runs_from_json(document.get("runs")),
                tries=_tries(document.get("tries")),
                origins=_origins(document.get("contexts")),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a build record: {error}") from error


def nearest(records: Sequence[BuildRecord], artifact: str, fleet: str) -> tuple[BuildRecord, ...]:
    """Those that tell of this artifact, in their order: its own. Where there are none, those of its name in another
    fleet, as before the fleet was given one (ADR 049); else all: it was called otherwise then."""
    named = tuple(record for record in records if record.artifact == artifact)
    return tuple(record for record in named if record.fleet == fleet) or named or tuple(records)


def origin(revision: str) -> dict[str, str | None]:
    """What was built from, as documents say it: a commit, or a folder, which has none."""
    return {"revision": revision} if revision else {"revision": None, "origin": FOLDER}


def _caches(value: object) -> dict[Platform, CacheUse]:
    """Told for people: of what another release wrote otherwise nothing is known, and the record counts all the same."""
    try:
        return {Platform.parse(p): CacheUse.from_json(use) for p, use in dict(value or {}).items()}  # type: ignore[call-overload]
    except (KeyError, TypeError, AttributeError, ValueError):
        return {}


def _told(origins: Mapping[str, Origin]) -> dict[str, dict[str, str]]:
    return {name: origin.to_json() for name, origin in sorted(origins.items())}


def _origins(value: object) -> dict[str, Origin]:
    """Told for people too."""
    try:
        return {str(name): Origin.from_json(origin) for name, origin in dict(value or {}).items()}  # type: ignore[call-overload]
    except (KeyError, TypeError, AttributeError, ValueError):
        return {}


def _tries(value: object) -> tuple[FailedTry, ...]:
    """Told for people too."""
    try:
        return tuple(FailedTry.from_json(failed) for failed in list(value or ()))  # type: ignore[call-overload]
    except (KeyError, TypeError, AttributeError, ValueError):
        return ()


def _number(value: object) -> float:
    """A count or a size: finite and not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_NUMBER:
        raise ValueError("not a build record: a number is out of bounds")
    return value


def _texts(value: object) -> dict[str, str]:
    if not texts(value):
        raise ValueError("not a build record: expected an object of texts")
    return dict(value)  # type: ignore[call-overload, no-any-return]


def _inputs(value: object) -> dict[str, Any]:
    """An input document in the form that comparing relies on; leaves of other names are taken as they are."""
    if not isinstance(value, dict):
        raise ValueError("not a build record: inputs are an object")
    for leaf in ("args", "labels", "bases", "fetched", "secrets"):
        _texts(value.get(leaf, {}))
    contexts = value.get("contexts", {})
    if not isinstance(contexts, dict):
        raise ValueError("not a build record: contexts are an object")
    for context in contexts.values():
        _texts(context)
    canonical(value)  # refuses what has no canonical form, such as NaN
    return value


def listing_to_json(entries: Iterable[Entry]) -> list[list[str]]:
    """A context's listing as it stands in its layer: [path, mode, blob id], sorted."""
    return sorted([e.path, e.mode, e.id] for e in entries)


def listing_from_json(document: object) -> tuple[Entry, ...]:
    """The inverse of listing_to_json. Raises ValueError."""
    if not isinstance(document, list):
        raise ValueError("not a context listing: it is an array")
    return tuple(Entry(*_three(line)) for line in document)


def _three(line: object) -> tuple[str, str, str]:
    match line:
        case [str(path), str(mode), str(blob)]:
            return path, mode, blob
    raise ValueError("not a context listing: a line is [path, mode, blob id]")
