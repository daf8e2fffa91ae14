"""Commits made of values: artifacts and files, and the `Desired` that a source would read from them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from reconciler.model.applied import APPLIED_PREFIX, History
from reconciler.model.artifact import Artifact, BaseImage, Folder, GitFolder, ParentImage, Place
from reconciler.model.credential import Bindings
from reconciler.model.desired import Desired, Fetched, Materials, Needs, SentFolder, Unclear, Wanted
from reconciler.model.fleet import (
    CACHE_PREFIX,
    ComputeProvider,
    ComputeSettings,
    Fleet,
    RegistryProvider,
    RegistrySettings,
)
from reconciler.model.moving import Part, PartKind
from reconciler.model.name import ArtifactName
from reconciler.model.platform import Platform
from reconciler.model.policy import Policy
from reconciler.model.reference import Reference, Repository
from reconciler.model.rule import Rulebook
from reconciler.model.tier import Ladder, NamedTier, Sizes, Tier
from reconciler.model.tree import FILE, Entry, root

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.model.artifact import NamedContext
    from reconciler.model.problem import Problem
    from reconciler.model.rule import Rule
    from reconciler.model.tier import BuildSpec

HOST = "registry.example:5000"
FLEET = "acme"
APPLIED_TAG = APPLIED_PREFIX + FLEET
LADDER = Ladder((NamedTier("small", 2, 4), NamedTier("medium", 4, 8), NamedTier("large", 8, 16)))
SIZES = Sizes(LADDER, Tier(2, 4, 30), {"rust": Tier(4, 8, 60), "go": Tier(2, 4, 30), "java": Tier(4, 8, 45)})
AMD64, ARM64 = Platform.parse("linux/amd64"), Platform.parse("linux/arm64")


def artifact(
    name: str, *, image: str | None = None, contexts: Mapping[str, str] | None = None, **more: Any
) -> Artifact:
    """An artifact; a context is `artifact:NAME`, `image:REFERENCE`, `git:URL@REV` or a folder's path."""
    parsed = ArtifactName.parse(name)
    usual: dict[str, Any] = {
        "tags": ("latest",),
        "platforms": (AMD64,),
        "place": Place(f"directives/{parsed.workspace}.ncl", 3, 5),
    }
    return Artifact(
        name=parsed,
        image=Repository.parse(image or name, HOST),
        contexts={key: _context(text) for key, text in (contexts or {}).items()},
        **{**usual, "context": Folder(name), **more},
    )


def _context(text: str) -> NamedContext:
    kind, _, rest = text.partition(":")
    if kind == "artifact":
        return ParentImage(ArtifactName.parse(rest))
    if kind == "git":
        url, _, rev = rest.rpartition("@")
        return GitFolder(url, rev)
    return BaseImage(Reference.parse(rest)) if kind == "image" else Folder(text)


@dataclass(frozen=True)
class Commit:
    """`files` by path. A Dockerfile's `FROM x` and `COPY --from=x` name a context of the artifact, or an image; behind
    `CHECK` they do so for its checks alone."""

    artifacts: tuple[Artifact, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)
    revision: str = "0" * 40
    builder: str | None = None
    jobs: int | None = None
    holds: Mapping[str, Problem] = field(default_factory=dict)
    """Artifact -> why its materials could not be read."""
    policy: Policy = field(default_factory=Policy)
    before: tuple[str, ...] = ()
    """Its ancestors, oldest first."""
    problems: tuple[Problem, ...] = ()
    """What is invalid in it."""
    unclear: Unclear = field(default_factory=Unclear)
    """What of it cannot be read."""
    fleet: str = FLEET
    cache_prefix: str = CACHE_PREFIX
    secrets: Bindings = field(default_factory=Bindings)
    specs: Mapping[str, BuildSpec] = field(default_factory=dict)
    """Artifact -> what its context says of its builds."""
    sizes: Sizes = SIZES
    compute: ComputeProvider = ComputeProvider.LOCAL
    rules: tuple[Rule, ...] = ()
    pins: Mapping[str, str] = field(default_factory=dict)
    """What each Dockerfile fetches, and the digest it is pinned to."""
    frontend: str | None = None
    """What reads each Dockerfile in place of BuildKit's own."""

    @property
    def desired(self) -> Desired:
        """As a source hands it over."""
        registry = RegistrySettings(RegistryProvider.DISTRIBUTION, url=f"http://{HOST}")
        return Desired(
            self.revision,
            Fleet(
                self.fleet,
                registry,
                ComputeSettings(self.compute),
                jobs=self.jobs,
                builder=self.builder,
                policy=self.policy,
                cache_prefix=self.cache_prefix,
                secrets=self.secrets,
            ),
            {a.name: self._wanted(a) for a in self.artifacts},
            {HOST: registry},
            self.problems,
            history=self.history,
            rules=Rulebook(self.rules),
            ladder=self.sizes.ladder,
            unclear=self.unclear,
        )

    @property
    def history(self) -> History:
        """All commits before it, and when it was made: one a minute."""
        return History.of(self.revision, 60 * len(self.before), tuple(reversed(self.before)), complete=True)

    def listing(self, folder: SentFolder) -> tuple[Entry, ...]:
        """What is sent of a folder: all of it."""
        prefix = "" if folder.path == "." else folder.path + "/"
        inside = {path.removeprefix(prefix): data for path, data in self.files.items() if path.startswith(prefix)}
        return tuple(Entry(path, FILE, hashlib.sha1(data).hexdigest()) for path, data in sorted(inside.items()))

    def content(self, folder: SentFolder) -> dict[str, bytes]:
        """The same files with their bytes."""
        prefix = "" if folder.path == "." else folder.path + "/"
        return {e.path: self.files[prefix + e.path] for e in self.listing(folder)}

    def changed(self, files: Mapping[str, bytes] | None = None, **more: Any) -> Commit:
        """The next commit, with other files or artifacts."""
        before = (*self.before, self.revision)
        merged = {**self.files, **(files or {})}
        return replace(self, files=merged, revision=_next(self.revision), before=before, **more)

    def _sent(self, path: str) -> SentFolder:
        return SentFolder(root(self.listing(SentFolder("", path))), path)

    def _wanted(self, a: Artifact) -> Wanted:
        if problem := self.holds.get(str(a.name)):
            return Wanted(a, None).held(problem)
        spec = self.specs.get(str(a.name))
        assert isinstance(a.context, Folder)
        path = f"{a.context.path}/{a.dockerfile}"
        dockerfile = self.files.get(path, b"FROM scratch\n")
        needs = _needs(a, dockerfile.decode(), self.pins)
        if self.frontend:
            needs = replace(needs, frontend=Reference.parse(self.frontend))
        return Wanted(
            a,
            Materials(
                context=self._sent(a.context.path),
                dockerfile_path=path,
                dockerfile=hashlib.sha256(dockerfile).hexdigest(),
                folders={n: self._sent(c.path) for n, c in a.contexts.items() if isinstance(c, Folder)},
                needs=dict.fromkeys(a.platforms, needs),
                check_needs=dict.fromkeys(a.platforms, _checked(a, dockerfile.decode(), needs)) if a.checks else {},
            ),
            spec=spec,
        )


def _checked(a: Artifact, dockerfile: str, needs: Needs) -> Needs:
    """What its checks take in: what the build does, and what lines say that begin with `CHECK`."""
    more = "\n".join(line.removeprefix("CHECK ") for line in dockerfile.splitlines() if line.startswith("CHECK "))
    found = _needs(a, more, {})
    contexts = tuple(sorted({*needs.contexts, *found.contexts}))
    return replace(needs, images={**needs.images, **found.images}, contexts=contexts)


def _needs(a: Artifact, dockerfile: str, pins: Mapping[str, str]) -> Needs:
    words = [w for line in dockerfile.splitlines() for w in _sources(line)]
    images = {w: Reference.parse(w) for w in words if w not in a.contexts and w != "scratch"}
    fetched = tuple(Fetched(url, Part(PartKind.URL, url), 2, pin) for url, pin in sorted(pins.items()))
    stages = tuple(line.rpartition(" AS ")[2] for line in dockerfile.splitlines() if " AS " in line)
    return Needs(images, tuple(sorted({w for w in words if w in a.contexts})), fetched=fetched, stages=stages)


def _sources(line: str) -> Iterable[str]:
    first, _, rest = line.partition(" ")
    if first == "FROM":
        yield rest.split()[0]
    if first == "COPY" and rest.startswith("--from="):
        yield rest.removeprefix("--from=").split()[0]


def _next(revision: str) -> str:
    return hashlib.sha1(revision.encode()).hexdigest()


def chain(*names: str) -> Commit:
    """Artifacts, each standing on the one before."""
    artifacts, files = [], {}
    for parent, name in zip((None, *names), names, strict=False):
        artifacts.append(artifact(name, contexts={"base": f"artifact:{parent}"} if parent else {}))
        files[f"{name}/Dockerfile"] = b"FROM base\n" if parent else b"FROM scratch\n"
        files[f"{name}/app"] = name.encode()
    return Commit(tuple(artifacts), files)
