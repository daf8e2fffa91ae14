"""How an image was made, as SLSA provenance v1, from its build record (slsa.dev/spec/v1.0/provenance).

The same record gives the same statement, byte for byte: whoever has a record can check that a signature vouches for it.

The build type `urn:lian:build-type:buildkit:1`: BuildKit builds a Dockerfile from one commit of a desired repo.
External parameters: `artifact` and `revision` select the directive (a folder that lay in no repository has no revision,
and `origin` says so); `inputs` holds, for each platform, every leaf that
decides what the image is, as the build record keeps it. Internal: the `key` that these inputs hash to, and the runner's
`tier`. Dependencies: the commit, those of other repositories that contexts were read at, and every image the build
stood on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from reconciler.model.attestation import Statement
from reconciler.model.canonical import canonical
from reconciler.model.digest import Digest
from reconciler.model.git_url import as_commit
from reconciler.model.record import origin
from reconciler.model.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.model.desired import Origin
    from reconciler.model.record import BuildRecord

PROVENANCE_PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:lian:build-type:buildkit:1"
"""A name, not an address: lian has no domain to serve a page from. The module's docstring is its specification."""

_SCP = re.compile(r"(?:(?P<user>[^@/:]+)@)?(?P<host>[^@/:]+):(?P<path>(?!/).+)")
_SCHEMES = {"https", "http", "ssh", "git"}


@dataclass(frozen=True, slots=True)
class Dependency:
    """Something the build stood on: `algorithm` and `value` of its digest, with a name or an address where known."""

    algorithm: str
    value: str
    uri: str | None = None
    name: str | None = None

    def to_json(self) -> dict[str, Any]:
        """An in-toto ResourceDescriptor."""
        known = {"uri": self.uri, "name": self.name}
        return {k: v for k, v in known.items() if v is not None} | {"digest": {self.algorithm: self.value}}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Dependency:
        """Raises ValueError; of several digests the first counts."""
        try:
            algorithm, value = next(iter(document["digest"].items()))
        except (KeyError, TypeError, AttributeError, StopIteration) as error:
            raise ValueError(f"not a dependency with a digest: {error}") from error
        return cls(_text(algorithm), _text(value), _maybe(document.get("uri")), _maybe(document.get("name")))


@dataclass(frozen=True, slots=True)
class Provenance:
    """The predicate. Times are RFC 3339 in UTC; `invocation` is opaque."""

    builder: str
    """URI of the fleet that built, and is trusted to have done so."""
    external: Mapping[str, Any]
    internal: Mapping[str, Any]
    dependencies: tuple[Dependency, ...]
    invocation: str
    started: str
    finished: str
    versions: Mapping[str, str] = field(default_factory=dict)
    build_type: str = BUILD_TYPE

    def to_json(self) -> dict[str, Any]:
        """As the specification writes it."""
        return {
            "buildDefinition": {
                "buildType": self.build_type,
                "externalParameters": dict(self.external),
                "internalParameters": dict(self.internal),
                "resolvedDependencies": [dependency.to_json() for dependency in self.dependencies],
            },
            "runDetails": {
                "builder": {"id": self.builder, "version": dict(self.versions)},
                "metadata": {
                    "invocationId": self.invocation,
                    "startedOn": self.started,
                    "finishedOn": self.finished,
                },
            },
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Provenance:
        """Anybody's provenance of version 1; fields that are not known here are passed over. Raises ValueError."""
        try:
            definition, run = document["buildDefinition"], document["runDetails"]
            metadata, builder = run.get("metadata") or {}, run["builder"]
            return cls(
                builder=_text(builder["id"]),
                external=_object(definition["externalParameters"]),
                internal=_object(definition.get("internalParameters") or {}),
                dependencies=tuple(Dependency.from_json(d) for d in definition.get("resolvedDependencies") or ()),
                invocation=_text(metadata.get("invocationId", "")),
                started=_text(metadata.get("startedOn", "")),
                finished=_text(metadata.get("finishedOn", "")),
                versions={_text(k): _text(v) for k, v in (builder.get("version") or {}).items()},
                build_type=_text(definition["buildType"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not SLSA provenance v1: {error}") from error


def provenance_of(record: BuildRecord, fleet: str, source: str | None = None) -> Provenance:
    """The record as a predicate. `source` is the URL of the desired repo, None where it has none.

    The invocation is the digest of the record's own document, so that the one leads to the other.
    Raises ValueError for a record whose `started` is no time, or that names an image by something else than a digest;
    lian writes none, but a registry may hold one.
    """
    return Provenance(
        builder=f"urn:lian:fleet:{quote(fleet, safe='')}",
        external={
            "artifact": record.artifact,
            **origin(record.revision),
            "inputs": {str(platform): dict(build.inputs) for platform, build in record.platforms.items()},
        },
        internal={"key": record.key, "tier": dict(record.tier)},
        dependencies=tuple(_dependencies(record, source)),
        invocation=str(Digest.of(canonical(record.to_json()))),
        started=record.started,
        finished=_later(record.started, record.seconds),
        versions=record.builder,
    )


def provenance_statement(record: BuildRecord, fleet: str, source: str | None = None) -> Statement:
    """The statement to sign: of the image as a whole, and of each platform's manifest where there are several."""
    manifests = sorted({build.digest for build in record.platforms.values()} - {record.digest})
    predicate = provenance_of(record, fleet, source).to_json()
    return Statement((record.digest, *manifests), PROVENANCE_PREDICATE, predicate)


def repository_uri(url: str) -> str | None:
    """A git URL as an SPDX download location without its credentials; None for a path of this machine."""
    if (scp := _SCP.fullmatch(url)) and "://" not in url:
        user = f"{scp['user']}@" if scp["user"] else ""
        return f"git+ssh://{user}{scp['host']}/{quote(scp['path'], safe='/%')}"
    try:
        parts = urlsplit(url)
    except ValueError:  # such as half an IPv6 address
        return None
    if parts.scheme not in _SCHEMES or not parts.hostname:
        return None
    user = f"{parts.username}@" if parts.scheme == "ssh" and parts.username else ""
    host = parts.netloc.rpartition("@")[2]
    scheme = parts.scheme if parts.scheme == "git" else f"git+{parts.scheme}"
    return f"{scheme}://{user}{host}{quote(parts.path, safe='/%')}"


def _dependencies(record: BuildRecord, source: str | None) -> Iterator[Dependency]:
    if as_commit(record.revision):
        repository = repository_uri(source) if source else None
        uri = f"{repository}@{record.revision}" if repository else None
        yield Dependency("gitCommit", record.revision, uri, None if uri else "desired")
    repositories = {dependency for origin in record.origins.values() for dependency in _repository(origin)}
    yield from sorted(repositories, key=lambda d: (d.uri or "", d.value))
    images = {image for build in record.platforms.values() for image in _images(build.inputs)}
    yield from sorted(images, key=lambda d: (d.uri or "", d.name or "", d.algorithm, d.value))


def _repository(origin: Origin) -> Iterator[Dependency]:
    """The commit of another repository that a context was read at."""
    if as_commit(origin.commit):
        repository = repository_uri(origin.url)
        yield Dependency("gitCommit", origin.commit, f"{repository}@{origin.commit}" if repository else None)


def _images(inputs: Mapping[str, Any]) -> Iterator[Dependency]:
    """Base images as the Dockerfile names them; of parents and image contexts the record knows but the digest."""
    for written, text in inputs.get("bases", {}).items():
        digest = Digest.parse(text)
        yield Dependency(digest.algorithm, digest.hex, _image_uri(written, digest), written)
    for name, context in inputs.get("contexts", {}).items():
        if "image" in context:
            digest = Digest.parse(context["image"])
            yield Dependency(digest.algorithm, digest.hex, None, f"context {name}")


def _image_uri(written: str, digest: Digest) -> str | None:
    """A package URL of type `oci` (purl-spec, oci-definition)."""
    try:
        reference = Reference.parse(written)
    except ValueError:
        return None
    repository = str(reference.repository)
    qualifiers = f"repository_url={quote(repository, safe='/')}"
    if reference.tag:
        qualifiers += f"&tag={quote(reference.tag, safe='')}"
    return f"pkg:oci/{repository.rpartition('/')[2]}@{quote(str(digest), safe='')}?{qualifiers}"


def _later(started: str, seconds: float) -> str:
    moment = datetime.fromisoformat(started)
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    try:
        finished = moment.astimezone(UTC) + timedelta(seconds=seconds)
    except OverflowError as error:
        raise ValueError(f"not a time: {error}") from error
    return finished.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not SLSA provenance v1: expected a text")
    return value


def _maybe(value: object) -> str | None:
    return None if value is None else _text(value)


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("not SLSA provenance v1: expected an object")
    return value
