"""One rule against one artifact after another.

Judged is what the commit asks for: what directives and `.build-spec.ncl` files say, and the images that a build really
takes in, on each platform. What cannot be known (an artifact whose materials could not be read) is held anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from reconciler.model import duration
from reconciler.model.artifact import BaseImage
from reconciler.model.problem import Problem
from reconciler.model.rule import Choice, Most, Written
from reconciler.model.tier import RunnerOverride
from reconciler.plan.patterns import first_image, first_match, first_name, first_repository, takes_value
from reconciler.plan.secret_looks import looks_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from reconciler.model.artifact import Artifact, Place
    from reconciler.model.desired import Wanted
    from reconciler.model.name import ArtifactName
    from reconciler.model.reference import Reference
    from reconciler.model.rule import Rule
    from reconciler.model.tier import Ladder

_SHOWN = 3
_LIMITS = (("cpu", "cpu"), ("memory_gb", "GB of memory"), ("time_budget", "minutes"))


@dataclass(frozen=True, slots=True)
class Violation:
    """What of an artifact breaks which part of which rule."""

    artifact: ArtifactName
    written: Written
    rule: Rule
    part: tuple[str, ...]
    message: str
    hint: str | None = None

    def problem(self, place: Place) -> Problem:
        """As it is told; `place` is that of what is written."""
        cause, who = told_of(self.rule, self.part), str(self.artifact)
        return Problem("policy-violation", self.message, artifact=who, cause=cause, hint=self.hint).at(place)


def told_of(rule: Rule, part: tuple[str, ...]) -> str:
    """Where a part of a rule is written, and why there is such a rule: `policy/bases.ncl:4:7 (bases.allow): …`."""
    where = rule.place_of(*part)
    place = ":".join(str(each) for each in (where.file, where.line, where.column) if each)
    return f"{place} ({'.'.join(part)})" + (f": {rule.because}" if rule.because else "")


_Check: TypeAlias = "Callable[[Wanted], Iterator[Violation]]"


class Judge:
    """One rule, ready for many artifacts."""

    def __init__(self, rule: Rule, ladder: Ladder | None) -> None:
        self.rule = rule
        self._ladder = ladder
        self._bases: dict[Reference, tuple[tuple[tuple[str, ...], str, str | None], ...]] = {}
        """What is wrong with an image; thousands of artifacts stand on few."""
        asked = (
            (rule.bases != Choice() or rule.pinned, self._on_bases),
            (rule.image != Choice(), self._on_image),
            (rule.tags != Choice(), self._on_tags),
            (rule.platforms is not None or rule.required_platforms, self._on_platforms),
            (rule.labels, self._on_labels),
            (rule.args.deny or rule.args.no_secrets, self._on_args),
            (rule.most != Most(), self._on_size),
            (rule.tiers is not None, self._on_tier),
            (rule.secrets != Choice(), self._on_secrets),
            (rule.max_age, self._on_age),
        )
        self._checks: tuple[_Check, ...] = tuple(check for wanted, check in asked if wanted)

    def judged(self, wanted: Wanted) -> Iterator[Violation]:
        """What it says against the artifact."""
        for check in self._checks:
            yield from check(wanted)

    def _on_bases(self, wanted: Wanted) -> Iterator[Violation]:
        for written, image in _taken_in(wanted):
            if image not in self._bases:
                self._bases[image] = tuple(self._against(image))
            for part, message, hint in self._bases[image]:
                yield Violation(wanted.artifact.name, written, self.rule, part, message, hint)

    def _against(self, image: Reference) -> Iterator[tuple[tuple[str, ...], str, str | None]]:
        rule = self.rule
        if pattern := first_image(rule.bases.deny, image):
            yield (
                ("bases", "deny"),
                f"the rule {rule.name} denies the base {image}",
                f"name an image that {pattern} does not match",
            )
        if rule.bases.allow is not None and not first_image(rule.bases.allow, image):
            hint = _instead("stand on", rule.bases.allow) or "stand on artifacts of this repo, or on scratch"
            yield ("bases", "allow"), f"the rule {rule.name} does not allow the base {image}", hint
        if rule.pinned and image.digest is None:
            message = f"the rule {rule.name} wants bases by digest, and {image} is named without"
            yield ("bases", "pinned"), message, f"write {image}@sha256:…, with the digest that it has now"

    def _on_image(self, wanted: Wanted) -> Iterator[Violation]:
        rule, image = self.rule, wanted.artifact.image
        where = f"the rule {rule.name} does not let images be pushed to {image}"
        if pattern := first_repository(rule.image.deny, image):
            yield self._said(
                wanted.artifact, "image", ("image", "deny"), where, f"name a place that {pattern} does not match"
            )
        if rule.image.allow is not None and not first_repository(rule.image.allow, image):
            hint = _instead("push to", rule.image.allow)
            yield self._said(wanted.artifact, "image", ("image", "allow"), where, hint)

    def _on_tags(self, wanted: Wanted) -> Iterator[Violation]:
        yield from self._chosen(wanted, "tag", ((("tags",), tag) for tag in wanted.artifact.tags), self.rule.tags)

    def _on_secrets(self, wanted: Wanted) -> Iterator[Violation]:
        asked = ((("secrets", key), name) for key, name in sorted(wanted.artifact.secrets.items()))
        yield from self._chosen(wanted, "secret", asked, self.rule.secrets)

    def _chosen(
        self, wanted: Wanted, what: str, asked: Iterable[tuple[tuple[str, ...], str]], choice: Choice
    ) -> Iterator[Violation]:
        """`asked`: where each is written, and what it says."""
        rule, part = self.rule, f"{what}s"
        for where, text in asked:
            if pattern := first_match(choice.deny, text):
                message = f"the rule {rule.name} denies the {what} {text}"
                yield self._said(
                    wanted.artifact, where, (part, "deny"), message, f"name one that {pattern} does not match"
                )
            if choice.allow is not None and not first_match(choice.allow, text):
                message = f"the rule {rule.name} does not allow the {what} {text}"
                yield self._said(wanted.artifact, where, (part, "allow"), message, _instead("use", choice.allow))

    def _on_platforms(self, wanted: Wanted) -> Iterator[Violation]:
        rule, built = self.rule, set(wanted.artifact.platforms)
        if rule.platforms is not None:
            for platform in sorted(built - rule.platforms):
                hint = _instead("use", sorted(map(str, rule.platforms)))
                message = f"the rule {rule.name} does not allow the platform {platform}"
                yield self._said(wanted.artifact, "platforms", ("platforms", "allow"), message, hint)
        for platform in sorted(rule.required_platforms - built):
            message = f"the rule {rule.name} requires the platform {platform}"
            hint = f"add {platform} to `platforms`"
            yield self._said(wanted.artifact, "platforms", ("platforms", "require"), message, hint)

    def _on_labels(self, wanted: Wanted) -> Iterator[Violation]:
        labels, part = wanted.artifact.labels, ("labels", "require")
        for name, pattern in sorted(self.rule.labels.items()):
            value = labels.get(name, "")
            if not value:
                message = f"the rule {self.rule.name} requires the label {name}"
                hint = f'add to `labels`: "{name}" = "…"; labels of the Dockerfile do not count'
                yield self._said(wanted.artifact, "labels", (*part, name), message, hint)
            elif not takes_value(pattern, value):
                message = f"the rule {self.rule.name} wants the label {name} to match {pattern}, and it is {value}"
                hint = f"give it a value that {pattern} matches"
                yield self._said(wanted.artifact, ("labels", name), (*part, name), message, hint)

    def _on_args(self, wanted: Wanted) -> Iterator[Violation]:
        rule, args = self.rule, self.rule.args
        hint = "let the step mount it as a secret: `secrets` in the directive (docs/secrets.md)"
        for name, value in sorted(wanted.artifact.args.items()):
            if first_name(args.excepted, name):
                continue
            if pattern := first_name(args.deny, name):
                message = f"the rule {rule.name} denies the argument {name}"
                yield self._said(
                    wanted.artifact,
                    ("args", name),
                    ("args", "deny"),
                    message,
                    f"use a name that {pattern} does not match, or a secret",
                )
            if args.no_secrets and (why := looks_secret(name, value)):
                message = f"the rule {rule.name} wants no secret in an argument, and {name} {why}"
                yield self._said(wanted.artifact, ("args", name), ("args", "no_secrets"), message, hint)

    def _on_size(self, wanted: Wanted) -> Iterator[Violation]:
        for limit, unit in _LIMITS:
            most, (where, asked) = getattr(self.rule.most, limit), self._asked(wanted, limit)
            if most is None or where is None or (asked is not None and asked <= most):
                continue
            found = "the size of its tier is not known" if asked is None else f"{asked:g} are asked for"
            message = f"the rule {self.rule.name} allows at most {most:g} {unit}, and {found}"
            part, hint = ("runner", "max", limit), f"ask for at most {most:g} {unit}"
            yield Violation(wanted.artifact.name, where, self.rule, part, message, hint)

    def _asked(self, wanted: Wanted, limit: str) -> tuple[Written | None, float | None]:
        """How much of this limit is asked for, and where. What decides is what decides of the size itself
        (sizing.choose): the directive's number, its tier, the context's file. Nothing where runs or languages do."""
        said, spec = wanted.artifact.runner or RunnerOverride(), wanted.spec
        if (own := getattr(said, limit)) is not None:
            return _of_runner(wanted.artifact, limit), own
        tier = self._ladder.named(said.tier) if said.tier and self._ladder else None
        if said.tier and (tier is None or getattr(tier, limit) is not None):
            return _of_runner(wanted.artifact, "tier"), getattr(tier, limit, None)
        if spec is not None and (own := getattr(spec, limit)) is not None:
            return Written(wanted.artifact.name, spec.file, ((limit,),)), own
        return None, None

    def _on_tier(self, wanted: Wanted) -> Iterator[Violation]:
        tier, allowed = wanted.artifact.runner and wanted.artifact.runner.tier, self.rule.tiers or ()
        if tier and tier not in allowed:
            message = f"the rule {self.rule.name} does not allow the tier {tier}"
            hint = _instead("use", allowed) or "leave it out"
            where = _of_runner(wanted.artifact, "tier")
            yield Violation(wanted.artifact.name, where, self.rule, ("runner", "tiers"), message, hint)

    def _on_age(self, wanted: Wanted) -> Iterator[Violation]:
        most, age = self.rule.max_age or "", wanted.artifact.max_age
        if age is None or age > duration.seconds(most):
            message = f"the rule {self.rule.name} requires a `max_age` of at most {most}"
            hint = f'set max_age = "{most}"'
            yield self._said(wanted.artifact, "max_age", ("max_age",), message, hint)

    def _said(
        self,
        artifact: Artifact,
        where: str | tuple[str, ...],
        part: tuple[str, ...],
        message: str,
        hint: str | None = None,
    ) -> Violation:
        """`where` is the field below the artifact."""
        path = (where,) if isinstance(where, str) else where
        written = _of_directive(artifact, path)
        return Violation(artifact.name, written, self.rule, part, message, hint)


def _taken_in(wanted: Wanted) -> Iterator[tuple[Written, Reference]]:
    """Every image from outside that the builds and the checks of the artifact use, with where it is named."""
    artifact, materials = wanted.artifact, wanted.materials
    if materials is None:
        return
    seen: set[tuple[str, Reference]] = set()
    for needs in (*materials.needs.values(), *materials.check_needs.values()):
        for name, image in needs.images.items():
            if (name, image) not in seen:
                seen.add((name, image))
                yield Written(artifact.name, materials.dockerfile_path, image=name), image
        for name in needs.contexts:
            context = artifact.contexts[name]
            if isinstance(context, BaseImage) and (name, context.reference) not in seen:
                seen.add((name, context.reference))
                yield _of_directive(artifact, ("contexts", name)), context.reference


def _of_directive(artifact: Artifact, path: tuple[str, ...]) -> Written:
    return Written(artifact.name, artifact.place.file, (("artifacts", artifact.name.artifact, *path),))


def _of_runner(artifact: Artifact, name: str) -> Written:
    """A directive file may say it for all of its artifacts."""
    own = ("artifacts", artifact.name.artifact, "runner", name)
    return Written(artifact.name, artifact.place.file, (own, ("runner", name)))


def _instead(verb: str, patterns: Sequence[str]) -> str | None:
    if not patterns:
        return None
    more = len(patterns) - _SHOWN
    return f"{verb} {', '.join(patterns[:_SHOWN])}" + (f" and {more} more that it allows" if more > 0 else "")
