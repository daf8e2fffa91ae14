"""What of a repository is reached by what is wanted, and what is not: the rules of `lian prune` (docs/prune.md).

Nothing goes that this fleet's records, applied documents or interrupted prunes do not name as its own. What goes is
judged by image; a tag goes with its image, or alone where its artifact is gone and the image is wanted for another.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from reconciler.identity.keys import content_tag
from reconciler.identity.resolve import Keyed
from reconciler.model.artifact import BaseImage
from reconciler.model.pruning import CLAIM_PREFIX, PRUNING_TAG
from reconciler.model.removal import Doomed, Gone, Kept, Removal, Untagged
from reconciler.model.stock import CONTENT_TAG, AttachedTag, names_image

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from reconciler.identity.resolve import Identity
    from reconciler.model.desired import Desired, Wanted
    from reconciler.model.digest import Digest
    from reconciler.model.name import ArtifactName
    from reconciler.model.policy import PrunePolicy
    from reconciler.model.record import BuildRecord
    from reconciler.model.reference import Reference, Repository
    from reconciler.model.stock import Stock

UNTAGGED_SECONDS = 86_400.0
"""An image without a tag may be a build under way: a build has a day at most (schemas/build_spec.ncl), then tags come.
"""


_BY_TAG = {Kept.WANTED, Kept.KEEP_TAG, Kept.VERSION_TAG}


@dataclass(slots=True)
class Wants:
    """What kept revisions ask of one repository."""

    tags: set[str] = field(default_factory=set)
    """Of directives, and those that Dockerfiles name."""
    content: set[str] = field(default_factory=set)
    """Content tags of all inputs that could be worked out."""
    digests: set[Digest] = field(default_factory=set)
    """Images that are named by their digest."""
    artifacts: set[str] = field(default_factory=set)

    def add(self, reference: Reference) -> None:
        """What stands in a Dockerfile or a named context."""
        if reference.digest:
            self.digests.add(reference.digest)
        else:
            self.tags.add(reference.name)


@dataclass(frozen=True, slots=True)
class Rules:
    """By what a prune goes. `now` in Unix seconds; `in_use` are digests that `--keep-from` named."""

    fleet: str
    policy: PrunePolicy
    now: float
    in_use: frozenset[Digest] = frozenset()


def collect(wants: dict[Repository, Wants], desired: Desired, identities: Mapping[ArtifactName, Identity]) -> None:
    """Add what one revision asks for; `identities` as its resolution ended."""
    for name, wanted in desired.wanted.items():
        here = wants.setdefault(wanted.artifact.image, Wants())
        here.artifacts.add(str(name))
        here.tags.update(wanted.artifact.tags)
        identity = identities.get(name)
        if isinstance(identity, Keyed):
            here.content.update(content_tag(key) for key in (identity.key, *identity.keys.values()))
        for reference in _named(wanted):
            wants.setdefault(reference.repository, Wants()).add(reference)


def _named(wanted: Wanted) -> Iterator[Reference]:
    """Images that an artifact's Dockerfile and contexts name."""
    materials = wanted.materials
    yield from (c.reference for c in wanted.artifact.contexts.values() if isinstance(c, BaseImage))
    if materials is not None:
        for needs in (*materials.needs.values(), *materials.check_needs.values()):
            yield from needs.taken_in.values()


def staying(stock: Stock, wants: Wants, rules: Rules) -> frozenset[Digest]:
    """What stays for its tags alone, whoever made it."""
    return frozenset(digest for tag, digest in stock.tags.items() if _kept_by_tag(stock, wants, rules, tag))


def ages_matter(stock: Stock, wants: Wants, rules: Rules) -> bool:
    """Whether it has to be known when all images were built, since some of the newest stay although nothing asks for
    them. False where images that something asks for are all that a wanted artifact has."""
    records = (record for records in stock.records.values() for record in records)
    return rules.policy.keep_last > 0 and any(r.fleet == rules.fleet and r.artifact in wants.artifacts for r in records)


def in_question(stock: Stock, wants: Wants, rules: Rules) -> bool:
    """False if tags and applied document alone tell that nothing can go from this repository."""
    if stock.left is not None or _forgotten(stock, wants) or any(tag.startswith(CLAIM_PREFIX) for tag in stock.tags):
        return True
    named = {digest for tag, digest in stock.tags.items() if names_image(tag)}
    if named - staying(stock, wants, rules) - wants.digests or _orphaned(stock, wants, rules):
        return True
    lists = (AttachedTag.parse(tag) for tag in stock.tags)
    return any(found.subject not in named for found in lists if found)


def untouched(stock: Stock, wants: Wants, rules: Rules) -> Removal:
    """That nothing goes from a repository of which nothing is in question. What has no tag but content tags is not
    counted: it may be a part of what is."""
    why: dict[Digest, Kept] = {}
    for tag, digest in stock.tags.items():
        reason = _kept_by_tag(stock, wants, rules, tag)
        if reason and not CONTENT_TAG.fullmatch(tag):
            why[digest] = min(reason, why.get(digest, reason), key=list(Kept).index)
    return Removal(stock.repository, kept=Counter(why.values()), seen=stock.tags)


def judge(stock: Stock, wants: Wants, rules: Rules) -> Removal:
    """What goes from a repository that was looked at in full; what is attached to it comes later (see `attached`)."""
    return _Judgement(stock, wants, rules).removal()


def attached(removal: Removal, stock: Stock) -> Removal:
    """The same, with what refers to the images that go, now that `stock.referrers` tells of all of it."""
    taken = {digest for tag, digest in stock.tags.items() if names_image(tag)} | removal.strays.keys()
    taken |= {digest for image in removal.images for digest in (image.digest, *image.parts)}
    by_subject = stock.attached_tags()
    named: Counter[Digest] = Counter(stock.tags.values())
    found = []
    for image in removal.images:
        subjects = (image.digest, *image.parts)
        mine = {one: about for one, about in _referring(stock, subjects).items() if one not in taken}
        lists = {tag: one for digest in (*subjects, *mine) for tag, one in by_subject.get(digest, {}).items()}
        # What only cosign's tag names goes by its digest, and the tag with it. A list goes with its last entry.
        alone = {d: one.subject for tag, one in lists.items() if not one.is_list and named[d := stock.tags[tag]] == 1}
        mine |= {digest: about for digest, about in alone.items() if digest not in taken}
        taken.update(mine)
        found.append(replace(image, attached=mine, lists=tuple(lists)))
    return replace(removal, images=tuple(found))


def _referring(stock: Stock, subjects: Iterable[Digest]) -> dict[Digest, Digest]:
    """What refers to these, and to that in turn (a signature of a list of parts, say) -> to which."""
    waiting = list(subjects)
    found: dict[Digest, Digest] = {}
    for subject in waiting:
        for referrer in stock.referrers.get(subject, ()):
            if referrer not in found and referrer not in waiting:
                found[referrer] = subject
                waiting.append(referrer)
    return found


def _kept_by_tag(stock: Stock, wants: Wants, rules: Rules, tag: str) -> Kept | None:
    """Why a tag stays with what it points at, whoever made that."""
    if not names_image(tag):
        return None
    if tag in wants.tags or tag in wants.content:
        return Kept.WANTED
    if rules.policy.keeps(tag):
        return Kept.KEEP_TAG
    entry = stock.applied.tags.get(tag) if stock.applied else None
    return Kept.VERSION_TAG if entry and entry.artifact in wants.artifacts else None


def _orphaned(stock: Stock, wants: Wants, rules: Rules) -> list[Untagged]:
    """Tags that lian gave, where they still are, for artifacts that nobody wants here any more."""
    entries = stock.applied.tags if stock.applied else {}
    return [
        Untagged(tag, digest, entry.artifact)
        for tag, entry in sorted(entries.items())
        if (digest := stock.tags.get(tag)) and entry.gave(digest) and not _kept_by_tag(stock, wants, rules, tag)
    ]


def _forgotten(stock: Stock, wants: Wants) -> tuple[str, ...]:
    """What the applied document names in vain."""
    entries = stock.applied.tags if stock.applied else {}
    unwanted = (tag for tag, entry in entries.items() if entry.artifact not in wants.artifacts)
    return tuple(sorted(tag for tag in unwanted if tag not in stock.tags and tag not in wants.tags))


def started(record: BuildRecord) -> float | None:
    """When the build began, in Unix seconds; None if the record does not tell."""
    try:
        moment = datetime.fromisoformat(record.started)
        return moment.timestamp() if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


@dataclass(slots=True)
class _Judgement:
    """One repository. Manifests are told apart by who made them, and kept for the first reason that applies."""

    stock: Stock
    wants: Wants
    rules: Rules
    records: dict[Digest, tuple[BuildRecord, ...]] = field(init=False)
    """Image -> this fleet's records of it, newest first."""
    parts: dict[Digest, Digest] = field(init=False)
    """What records name as a platform of an image -> that image."""
    tags: dict[Digest, list[str]] = field(init=False)
    """Image -> the tags that point at it."""
    left: frozenset[Digest] = field(init=False)
    """What an interrupted prune announced, but for what is attached to something that is still there."""

    def __post_init__(self) -> None:
        stock, fleet = self.stock, self.rules.fleet
        named = {
            subject: tuple(r for r in records if r.fleet == fleet and r.digest == subject)
            for subject, records in stock.records.items()
        }
        self.records = {subject: records for subject, records in named.items() if records}
        self.parts = {
            build.digest: subject
            for subject, records in self.records.items()
            for record in records
            for build in record.platforms.values()
            if build.digest != subject
        }
        self.tags = {}
        for tag, digest in stock.tags.items():
            if names_image(tag):
                self.tags.setdefault(digest, []).append(tag)
        announced = stock.left.digests if stock.left else frozenset()
        self.left = frozenset(digest for digest in announced if not self._attached_to_what_is_there(digest))

    def removal(self) -> Removal:
        stock = self.stock
        kept = self._kept()
        parts = {child for digest in kept for child in stock.reach([digest])[1:]}
        reached = parts - kept.keys()
        kept |= {digest: Kept.PART for digest in parts if digest in self.tags}  # counted with the whole
        going = [digest for digest in self._fleets() if digest not in kept and digest not in reached]
        strays = self._strays({*kept, *reached})
        images = self._doomed(self._tops([d for d in going if d not in strays]), {*kept, *reached})
        gone = {digest for image in images for digest in (image.digest, *image.parts)}
        counts = Counter(kept.values())
        return Removal(
            stock.repository,
            images,
            tuple(tag for tag in _orphaned(stock, self.wants, self.rules) if self._leaves(tag, kept, gone)),
            {why: counts[why] for why in Kept if counts[why]},
            dict(stock.tags),
            _forgotten(stock, self.wants),
            stock.tags.get(PRUNING_TAG) if stock.left else None,
            {tag: digest for tag, digest in stock.tags.items() if tag.startswith(CLAIM_PREFIX)},
            strays,
            self._lists({*strays.values(), *self.left}),
        )

    def _leaves(self, tag: Untagged, kept: Mapping[Digest, Kept], gone: Collection[Digest]) -> bool:
        """True for an orphaned tag of an image that stays because others want it. One that stays for its age alone
        keeps its tags until it goes."""
        return tag.digest not in gone and kept.get(tag.digest) in _BY_TAG

    # -- whose ------------------------------------------------------------------------------------------------------

    def _fleets(self) -> dict[Digest, None]:
        """The manifests that are there and this fleet's own, tagged ones first."""
        there = dict.fromkeys(digest for digest in (*self.tags, *self.records, *self.left) if self._is_there(digest))
        return {digest: None for digest in there if self._is_ours(digest)}

    def _is_there(self, digest: Digest) -> bool:
        return digest in self.stock.contents

    def _attached_to_what_is_there(self, digest: Digest) -> bool:
        content = self.stock.contents.get(digest)
        return content is not None and content.subject is not None and content.subject in self.stock.contents

    def _is_ours(self, digest: Digest) -> bool:
        return (
            digest in self.records
            or digest in self.parts
            or digest in self.left
            or any(self._applied_to(tag, digest) for tag in self.tags.get(digest, ()))
        )

    def _applied_to(self, tag: str, digest: Digest) -> bool:
        applied = self.stock.applied
        entry = applied.tags.get(tag) if applied else None
        return entry is not None and entry.gave(digest)

    def _given_by_lian(self, tag: str, digest: Digest) -> bool:
        """A tag that the applied document says lian pointed there, or a content tag of our own content."""
        return self._applied_to(tag, digest) or CONTENT_TAG.fullmatch(tag) is not None

    # -- what stays -------------------------------------------------------------------------------------------------

    def _kept(self) -> dict[Digest, Kept]:
        """What stays on its own account, and why."""
        ours = self._fleets()
        newest = self._newest(ours)
        kept = {}
        for digest in dict.fromkeys((*self.tags, *ours)):
            why = self._by_tags(digest) or (Kept.FOREIGN if digest not in ours else self._by_rule(digest, newest))
            if why:
                kept[digest] = why
        return kept

    def _by_tags(self, digest: Digest) -> Kept | None:
        if digest in self.wants.digests:
            return Kept.WANTED
        why = {_kept_by_tag(self.stock, self.wants, self.rules, tag) for tag in self.tags.get(digest, ())}
        return next((reason for reason in Kept if reason in why), None)

    def _by_rule(self, digest: Digest, newest: Collection[Digest]) -> Kept | None:
        if any(not self._given_by_lian(tag, digest) for tag in self.tags.get(digest, ())):
            return Kept.TAGGED_BY_OTHERS
        if self._in_use(digest):
            return Kept.IN_USE
        if digest in newest:
            return Kept.NEWEST
        return Kept.YOUNG if self._is_young(digest) else None

    def _in_use(self, digest: Digest) -> bool:
        """Clusters name an image by its own digest, by that of its platform, or by that of its configuration."""
        reach = self.stock.reach([digest])
        configs = {content.config for part in reach if (content := self.stock.contents.get(part))}
        return not self.rules.in_use.isdisjoint({*reach, *configs})

    def _newest(self, ours: Iterable[Digest]) -> set[Digest]:
        """Of each artifact that is still wanted here, its newest images."""
        by_artifact: dict[str, list[tuple[float, Digest]]] = {}
        for digest in ours:
            built = self._built(digest)
            for artifact in self._artifacts(digest) if self._whole(digest) == digest else ():
                if artifact in self.wants.artifacts:
                    by_artifact.setdefault(artifact, []).append((float("inf") if built is None else built, digest))
        last = self.rules.policy.keep_last
        return {digest for found in by_artifact.values() for _, digest in sorted(found, reverse=True)[:last]}

    def _is_young(self, digest: Digest) -> bool:
        """What nothing tells the age of is taken to be young; but for what an interrupted prune has judged before."""
        built = self._built(digest)
        if built is None:
            return digest not in self.left
        least = self.rules.policy.min_age
        if not self.tags.get(digest) and digest not in self.parts:
            least = max(least, int(UNTAGGED_SECONDS)) if digest not in self.left else least
        return built > self.rules.now - least

    def _whole(self, digest: Digest) -> Digest:
        """The image that a platform's manifest was built for; any other is one itself."""
        return digest if digest in self.records else self.parts.get(digest, digest)

    def _built(self, digest: Digest) -> float | None:
        """When it was built last: as its records tell, else as old as the commit that it was tagged for."""
        records = self.records.get(self._whole(digest), ())
        moments = [started(record) for record in records]
        if moments:
            return None if None in moments else max(moment for moment in moments if moment is not None)
        entries = self.stock.applied.tags if self.stock.applied else {}
        times = [float(entries[tag].time) for tag in self.tags.get(digest, ()) if self._applied_to(tag, digest)]
        return max(times, default=None)

    def _artifacts(self, digest: Digest) -> tuple[str, ...]:
        """Whose image it is."""
        named = {record.artifact for record in self.records.get(self._whole(digest), ())}
        entries = self.stock.applied.tags if self.stock.applied else {}
        named |= {entries[tag].artifact for tag in self.tags.get(digest, ()) if self._applied_to(tag, digest)}
        return tuple(sorted(named))

    # -- what goes --------------------------------------------------------------------------------------------------

    def _strays(self, staying: Collection[Digest]) -> dict[Digest, Digest]:
        """What refers to an image of this fleet that is not there any more -> to which."""
        stock = self.stock
        gone = [subject for subject in self.records if subject not in stock.contents]
        found = _referring(stock, gone)
        for digest in self.left:
            content = stock.contents.get(digest)
            if content and content.subject:
                found[digest] = content.subject
        held = {*self.tags, *staying}
        return {digest: subject for digest, subject in found.items() if digest not in held}

    def _lists(self, subjects: Collection[Digest]) -> tuple[str, ...]:
        """Tags made of the digests of these that are not there any more: an interrupted prune had come so far."""
        attached = self.stock.attached_tags().items()
        gone = (tags for subject, tags in attached if subject in subjects and subject not in self.stock.contents)
        return tuple(tag for tags in gone for tag in tags)

    def _tops(self, going: Collection[Digest]) -> list[Digest]:
        """Of what goes, that which nothing else of it names; each with what it names is one image."""
        named = {child for digest in going for child in self.stock.reach([digest])[1:]}
        return [digest for digest in going if digest not in named]

    def _doomed(self, tops: Iterable[Digest], staying: Collection[Digest]) -> tuple[Doomed, ...]:
        """The images that go. A part of several goes with the last of them: not before the others."""
        tops = list(tops)
        owner: dict[Digest, Digest] = {}
        for top in tops:
            owner.update(dict.fromkeys(self.stock.reach([top])[1:], top))
        return tuple(self._image(top, owner, staying) for top in tops)

    def _image(self, digest: Digest, owner: Mapping[Digest, Digest], staying: Collection[Digest]) -> Doomed:
        stock = self.stock
        reach = stock.reach([digest])
        parts = tuple(
            part for part in reach[1:] if owner[part] == digest and part not in staying and part in stock.contents
        )
        artifacts = self._artifacts(digest)
        left = not self.tags.get(digest) or not artifacts
        wanted = any(artifact in self.wants.artifacts for artifact in artifacts)
        return Doomed(
            digest,
            Gone.LEFT_OVER if left else Gone.OUTDATED if wanted else Gone.ORPHANED,
            artifacts,
            tuple(sorted(tag for part in (digest, *parts) for tag in self.tags.get(part, ()))),
            self._built(digest),
            sum(stock.contents[part].size for part in (digest, *parts)),
            parts,
            reach=frozenset(reach),
        )
