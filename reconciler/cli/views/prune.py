"""What a prune would take away, and what it did."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from reconciler.cli.views.problems import blocks
from reconciler.cli.views.status import age
from reconciler.cli.views.text import Writer, size
from reconciler.model.removal import Gone, Kept, PruneStatus
from reconciler.model.wording import count, short

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.reference import Repository
    from reconciler.model.removal import Doomed, Pruned, PrunePlan, Removal

SHOWN = 5
"""Images of one repository."""
TAGS_SHOWN = 3
_WHY = {Gone.ORPHANED: "orphaned", Gone.OUTDATED: "outdated", Gone.LEFT_OVER: "left over"}
_STAYS = {
    Kept.WANTED: "wanted",
    Kept.KEEP_TAG: "by keep_tags",
    Kept.VERSION_TAG: "older versions",
    Kept.TAGGED_BY_OTHERS: "tagged by others",
    Kept.IN_USE: "in use",
    Kept.NEWEST: "among the newest",
    Kept.YOUNG: "young",
    Kept.PART: "parts of others",
    Kept.FOREIGN: "not this fleet's",
}
_STYLE = {PruneStatus.DONE: "green", PruneStatus.HELD: "yellow", PruneStatus.FAILED: "red", PruneStatus.NONE: "dim"}


def show(plan: PrunePlan, stream: IO[str], moment: float, *, detailed: bool = False) -> None:
    """Each repository that something goes from, then what holds, then one line of counts. `moment` is now, in Unix
    seconds; `detailed` shows every image and whole digests, and repositories that nothing goes from."""
    writer = Writer(stream)
    for removal in plan.removals:
        if removal.any or (detailed and not removal.problems):
            _removal(removal, writer, moment, detailed)
    problems = [*plan.problems, *(problem for removal in plan.removals for problem in removal.problems)]
    blocks(problems, writer, word="held", style="yellow")
    if problems or any(removal.any for removal in plan.removals) or (detailed and plan.removals):
        writer.line()
    writer.line((f"revision {short(plan.revision)}", "dim"), ": ", (_summary(plan), "bold"))
    if kept := _kept(plan.kept):
        writer.line((f"stays: {kept}", "dim"))


def _summary(plan: PrunePlan) -> str:
    going = [removal for removal in plan.removals if removal.any]
    if not going:
        return "nothing to prune"
    what = [count(plan.images, "image")] if plan.images else []
    what += [f"{count(plan.tags, 'tag')} of images that stay"] if plan.tags else []
    where = count(len(going), "repository", "repositories")
    return f"{' and '.join(what)} to prune in {where}, up to {size(plan.size)}"


def _kept(kept: Mapping[Kept, int]) -> str:
    return ", ".join(f"{kept[why]:,} {words}" for why, words in _STAYS.items() if kept.get(why))


def _removal(removal: Removal, writer: Writer, moment: float, detailed: bool) -> None:
    images = removal.images
    told = f"  {count(len(images), 'image')}, {size(removal.size)}" if images else ""
    sign = ("- ", "red") if removal.any else ("= ", "dim")
    writer.line(sign, (_name(removal.repository), "bold"), (told, "dim"))
    for image in images if detailed else images[:SHOWN]:
        _image(image, writer, moment, detailed)
    if not detailed and len(images) > SHOWN:
        writer.line(f"    and {len(images) - SHOWN:,} more")
    for tag in removal.tags:
        writer.line("    ", f"tag {tag.tag} of {tag.artifact} goes, {_short(str(tag.digest), detailed)} stays")
    if detailed and (kept := _kept(removal.kept)):
        writer.line("    ", (f"stays: {kept}", "dim"))


def _image(image: Doomed, writer: Writer, moment: float, detailed: bool) -> None:
    built = None if image.built is None else age(_rfc3339(image.built), moment)
    some = image.tags if detailed else [tag for tag in image.tags if not tag.startswith("lian-")][:TAGS_SHOWN]
    parts = [
        f"{_WHY[image.why]:<9}",
        ", ".join(image.artifacts) or "of no known artifact",
        f"built {built} ago" if built else "of unknown age",
        size(image.size),
        ",".join(some),
    ]
    writer.line("    ", (_short(str(image.digest), detailed), "dim"), "  ", "  ".join(part for part in parts if part))
    if detailed and (image.parts or image.attached):
        more = [count(len(image.parts), "manifest")] if image.parts else []
        more += [f"{len(image.attached):,} attached"] if image.attached else []
        writer.line("      ", (f"with {' and '.join(more)}", "dim"))


def progress(end: Pruned) -> tuple[str | tuple[str, str | None], ...] | None:
    """A line for a repository whose prune has ended; None where nothing happened."""
    if end.status is PruneStatus.NONE or not (end.images or end.tags or end.problems):
        return None
    return ((_name(end.repository), "bold"), f"  {_did(end)}")


def ended(ends: Sequence[Pruned], stream: IO[str]) -> None:
    """The problems in full, then what was done, in one line."""
    writer = Writer(stream)
    held = (problem for end in ends if end.status is PruneStatus.HELD for problem in end.problems)
    blocks(held, writer, word="held", style="yellow")
    blocks((problem for end in ends if end.status is not PruneStatus.HELD for problem in end.problems), writer)
    images, tags = sum(len(end.images) for end in ends), sum(len(end.tags) for end in ends)
    spared = sum(len(end.spared) for end in ends)
    parts = [f"{count(images, 'image')} removed"]
    parts += [f"{count(tags, 'tag')} removed"] if tags else []
    parts += [f"{spared:,} spared, because they are wanted again"] if spared else []
    for status, word in ((PruneStatus.FAILED, "failed"), (PruneStatus.HELD, "held")):
        number = sum(end.status is status for end in ends)
        parts += [f"{count(number, 'repository', 'repositories')} {word}"] if number else []
    writer.line((", ".join(parts), "bold"))


def _did(end: Pruned) -> str:
    parts = [f"{count(len(end.images), 'image')} removed"] if end.images else []
    parts += [f"{count(len(end.tags), 'tag')} removed"] if end.tags else []
    parts += [f"{len(end.spared):,} spared"] if end.spared else []
    parts += [end.status.value] if end.status is not PruneStatus.DONE else []
    return ", ".join(parts)


def _name(repository: Repository) -> str:
    return repository.path if repository.layout else str(repository)


def _short(digest: str, detailed: bool) -> str:
    return digest if detailed else short(digest)


def _rfc3339(moment: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(moment, UTC).isoformat()
