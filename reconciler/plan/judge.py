"""One rule against one artifact after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from reconciler.model import duration
from reconciler.model.globs import matcher
from reconciler.model.problem import Problem
from reconciler.model.rule import Choice, Most, Written
from reconciler.model.tier import RunnerOverride
from reconciler.plan.patterns import (
    first_image,
    first_match,
    first_name,
    first_repository,
    first_source,
    named_by_patterns,
    takes_value,
)
from reconciler.plan.secret_looks import looks_secret, masked
from reconciler.plan.source_places import place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from reconciler.model.artifact import Place
    from reconciler.model.lock import Lock
    from reconciler.model.name import ArtifactName
    from reconciler.model.reference import Reference
    from reconciler.model.rule import FieldPath, Rule
    from reconciler.model.tier import Ladder
    from reconciler.plan.case import Case, Source

_SHOWN = 3
_OF_MANY: Mapping[FieldPath, str] = dict.fromkeys(
    (("image", "deny"), ("image", "allow")), "does not let these images be pushed to where they go"
)
"""Part of a rule -> what is said of many artifacts, where the message names what is one's alone."""
_LIMITS = (("cpu", "cpu"), ("memory_gb", "GB of memory"), ("time_budget", "minutes"))


@dataclass(frozen=True, slots=True)
class Violation:
    """What of an artifact breaks which part of which rule."""

    artifact: ArtifactName
    written: Written
    rule: Rule
    part: FieldPath
    message: str
    hint: str
    shared: str
    """The message without what is this artifact's alone."""

    def problem(self, place: Place) -> Problem:
        """As it is told; `place` is that of what is written."""
        cause, who = told_of(self.rule, self.part), str(self.artifact)
        told = Problem("policy-violation", self.message, artifact=who, cause=cause, hint=self.hint, shared=self.shared)
        return told.at(place)


def told_of(rule: Rule, part: FieldPath) -> str:
    """Where a part of a rule is written, and why there is such a rule: `policy/bases.ncl:4:7 (bases.allow): …`."""
    where = rule.place_of(*part)
    place = ":".join(str(each) for each in (where.file, where.line, where.column) if each)
    return f"{place} ({'.'.join(part)})" + (f": {rule.because}" if rule.because else "")


_Said: TypeAlias = "tuple[FieldPath, str, str]"
"""Which part of a rule, what it has to say, what to try."""
_Check: TypeAlias = "Callable[[Case], Iterator[tuple[Written, _Said]]]"


class Judge:
    """One rule, ready for many artifacts."""

    def __init__(self, rule: Rule, ladder: Ladder | None, lock: Lock | None) -> None:
        """`ladder` holds the sizes of tiers, `lock` what is pinned."""
        self.rule = rule
        self._ladder, self._lock = ladder, lock
        self._about, self._not_about = matcher(rule.artifacts), matcher(rule.excepted)
        self._on_image: dict[Reference, tuple[_Said, ...]] = {}
        """What it says of images; thousands of artifacts stand on few."""
        asked: tuple[tuple[object, _Check], ...] = (
            (rule.bases != Choice() or rule.pinned, self._bases),
            (rule.sources != Choice() or rule.sources_pinned, self._sources),
            (rule.image != Choice(), self._image),
            (rule.tags != Choice(), self._tags),
            (rule.platforms is not None or rule.required_platforms, self._platforms),
            (rule.labels, self._labels),
            (rule.args.deny or rule.args.no_secrets, self._args),
            (rule.most != Most(), self._size),
            (rule.tiers is not None, self._tier),
            (rule.secrets != Choice(), self._secrets),
            (rule.max_age, self._age),
        )
        self._checks = tuple(check for wanted, check in asked if wanted)

    def is_about(self, name: str) -> bool:
        """As the rule's own, for thousands of names."""
        return self._about(name) and not self._not_about(name)

    def judged(self, case: Case) -> Iterator[Violation]:
        """What it says against an artifact that it is about."""
        for check in self._checks:
            for written, (part, message, hint) in check(case):
                said = f"the rule {self.rule.name} {message}"
                shared = f"the rule {self.rule.name} {_OF_MANY.get(part, message)}"
                yield Violation(case.artifact.name, written, self.rule, part, said, hint, shared)

    def _bases(self, case: Case) -> Iterator[tuple[Written, _Said]]:
        for image, name, in_context in case.images:
            if image not in self._on_image:
                self._on_image[image] = tuple(self._against(image))
            for said in self._on_image[image]:
                yield case.name_of(name, in_context), said

    def _against(self, image: Reference) -> Iterator[_Said]:
        allow, deny = self.rule.bases.allow, self.rule.bases.deny
        if pattern := first_image(deny, image):
            yield ("bases", "deny"), f"denies the base {image}", f"name an image other than {pattern}"
        if allow is not None and not first_image(allow, image):
            hint = _one_of("stand on", allow) or "stand on artifacts of this repo, or on scratch"
            yield ("bases", "allow"), f"does not allow the base {image}", hint
        if self.rule.pinned and image.digest is None:
            hint = f"pin it: `lian lock`, or write {image}@sha256:… with the digest that it has now"
            yield ("bases", "pinned"), f"wants bases by digest, and {image} is named without", hint

    def _sources(self, case: Case) -> Iterator[tuple[Written, _Said]]:
        allow, deny = self.rule.sources.allow, self.rule.sources.deny
        for source in case.sources(self._lock):
            place = place_of(source.location) if source.location else None
            if pattern := first_source(deny, place):
                hint = f"fetch from another place than {pattern}"
                yield source.written, (("sources", "deny"), f"denies the source {source.text}", hint)
            elif place is None and deny:
                yield source.written, (("sources", "deny"), *_unsure(source))
            if allow is not None and not first_source(allow, place):
                hint = _one_of("fetch from", allow) or "take it from this repo, or from an artifact of it"
                said = (f"does not allow the source {source.text}", hint) if place else _unsure(source)
                yield source.written, (("sources", "allow"), *said)
            if self.rule.sources_pinned and not source.pinned:
                message = f"wants sources to be fixed, and {source.text} may change"
                yield source.written, (("sources", "pinned"), message, f"pin it: `lian lock`, or {source.remedy}")

    def _image(self, case: Case) -> Iterator[tuple[Written, _Said]]:
        image, allow = case.artifact.image, self.rule.image.allow
        message = f"does not let images be pushed to {named_by_patterns(image)}"
        if pattern := first_repository(self.rule.image.deny, image):
            hint = f"name a repository other than {pattern}"
            yield case.field("image"), (("image", "deny"), message, hint)
        if allow is not None and not first_repository(allow, image):
            yield case.field("image"), (("image", "allow"), message, _one_of("push to", allow) or "")

    def _tags(self, case: Case) -> Iterator[tuple[Written, _Said]]:
        for tag in case.artifact.tags:
            for said in _chosen("tag", tag, self.rule.tags):
                yield case.field("tags"), said

    def _secrets(self, case: Case) -> Iterator[tuple[Written, _Said]]:
        for identity, name in sorted(case.artifact.secrets.items()):
            for said in _chosen("secret", name, self.rule.secrets):
                yield case.field("secrets", identity), said

    def _platforms(self, case: Case) -> Iterator[tuple[Written, _Said]]:
        built, allowed = set(case.artifact.platforms), self.rule.platforms
        for platform in sorted(built - allowed) if allowed is not None else ():
            hint = _one_of("use", sorted(map(str, allowed or ()))) or ""
            yield case.field("platforms"), (("platforms", "allow"), f"does not allow the platform {platform}", hint)
        for platform in sorted(self.rule.required_platforms - built):
            hint = f"add {platform} to `platforms`"
            yield case.field("platforms"), (("platforms", "require"), f"requires the platform {platform}", hint)

    def _labels(self, case: Case) -> Iterator[tuple[Written, _Said]]:
        for name, pattern in sorted(self.rule.labels.items()):
            value, part = case.artifact.labels.get(name, ""), ("labels", "require", name)
            if not value:
                hint = f'add to `labels`: "{name}" = "…" (labels in the Dockerfile do not count)'
                yield case.field("labels"), (part, f"requires the label {name}", hint)
            elif not takes_value(pattern, value):
                message = f"wants the label {name} to match {pattern}, and it is {masked(name, value)}"
                yield case.field("labels", name), (part, message, f"give it a value that {pattern} matches")

    def _args(self, case: Case) -> Iterator[tuple[Written, _Said]]:
        args = self.rule.args
        for name, value in sorted(case.artifact.args.items()):
            if first_name(args.excepted, name):
                continue
            if pattern := first_name(args.deny, name):
                hint = f"use a name other than {pattern}, or `secrets` (docs/secrets.md)"
                yield case.field("args", name), (("args", "deny"), f"denies the argument {name}", hint)
            if args.no_secrets and (why := looks_secret(name, value)):
                message = f"wants no secret in an argument, and {name} {why}"
                hint = "let the step mount it: `secrets` in the directive (docs/secrets.md)"
                yield case.field("args", name), (("args", "no_secrets"), message, hint)

    def _size(self, case: Case) -> Iterator[tuple[Written, _Said]]:
        for limit, unit in _LIMITS:
            most, (where, asked) = getattr(self.rule.most, limit), self._asked(case, limit)
            if most is None or where is None or (asked is not None and asked <= most):
                continue
            found = "the size of its tier is not known" if asked is None else f"{asked:g} are asked for"
            message = f"allows at most {most:g} {unit}, and {found}"
            yield where, (("runner", "max", limit), message, f"ask for at most {most:g} {unit}")

    def _asked(self, case: Case, limit: str) -> tuple[Written | None, float | None]:
        """How much of this limit is asked for, and where. What decides is what decides of the size itself
        (sizing.choose): the directive's number, its tier, the context's file. Nothing where runs or languages do."""
        said = case.artifact.runner or RunnerOverride()
        if (own := getattr(said, limit)) is not None:
            return case.of_runner(limit), own
        tier = self._ladder.named(said.tier) if said.tier and self._ladder else None
        if said.tier and (tier is None or getattr(tier, limit) is not None):
            return case.of_runner("tier"), getattr(tier, limit, None)
        if case.spec is not None and (own := getattr(case.spec, limit)) is not None:
            return Written(case.artifact.name, case.spec.file, ((limit,),)), own
        return None, None

    def _tier(self, case: Case) -> Iterator[tuple[Written, _Said]]:
        tier, allowed = case.artifact.runner and case.artifact.runner.tier, self.rule.tiers or ()
        if tier and tier not in allowed:
            hint = _one_of("use", allowed) or "leave it out"
            yield case.of_runner("tier"), (("runner", "tiers"), f"does not allow the tier {tier}", hint)

    def _age(self, case: Case) -> Iterator[tuple[Written, _Said]]:
        most, age = self.rule.max_age or "", case.artifact.max_age
        if age is None or age > duration.seconds(most):
            message, hint = f"requires a `max_age` of at most {most}", f'set max_age = "{most}"'
            yield case.field("max_age"), (("max_age",), message, hint)


def _unsure(source: Source) -> tuple[str, str]:
    """Of what is fetched from a place that nobody can be sure of: that is no permission."""
    why = "only the build will know what that is" if source.location is None else "a server may read that otherwise"
    return f"cannot tell where {source.text} leads: {why}", "write the URL out, without variables and without dots"


def _chosen(what: str, text: str, choice: Choice) -> Iterator[_Said]:
    if pattern := first_match(choice.deny, text):
        yield (f"{what}s", "deny"), f"denies the {what} {text}", f"name a {what} other than {pattern}"
    if choice.allow is not None and not first_match(choice.allow, text):
        hint = _one_of("use", choice.allow) or "leave it out"
        yield (f"{what}s", "allow"), f"does not allow the {what} {text}", hint


def _one_of(verb: str, patterns: Sequence[str]) -> str:
    if not patterns:
        return ""
    more = len(patterns) - _SHOWN
    return f"{verb} {', '.join(patterns[:_SHOWN])}" + (f" or one of {more} more" if more > 0 else "")
