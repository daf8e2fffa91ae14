"""What registries hold."""

from __future__ import annotations

from datetime import datetime
from typing import IO, TYPE_CHECKING

from reconciler.audit.holdings import Owner, TagKind, drift_of
from reconciler.cli.views import problems
from reconciler.cli.views.plan import summary_word
from reconciler.cli.views.reasons import sentences
from reconciler.cli.views.text import Writer, cells, lasting, notes, size
from reconciler.model.plan import Action
from reconciler.model.wording import count, short

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reconciler.audit.holdings import Holding, RegistryStatus, Shelf
    from reconciler.model.plan import Change

_STYLES = {"in-sync": "green", "drift": "yellow", "held": "red"}


def show_notes(told: RegistryStatus, stream: IO[str]) -> None:
    """Notes, and problems of the commit."""
    notes(told.notes, stream)
    problems.show(told.problems, stream)


def show(told: RegistryStatus, stream: IO[str]) -> None:
    """Registry by registry, repository by repository; then what could not be read, then a line of counts."""
    writer = Writer(stream)
    for shelf in told.shelves:
        _shelf(shelf, told.moment, writer)
    problems.blocks(told.unread, writer, word="unknown", style="yellow")
    counts = ", ".join(f"{number:,} {state.replace('-', ' ')}" for state, number in told.summary.items() if number)
    writer.line((f"revision {short(told.revision)}", "dim"), ": ", (counts or "no artifacts", "bold"))


def age(started: str | None, moment: float) -> str | None:
    """How long ago, in the largest unit that fits; None for what is no time."""
    try:
        seconds = max(0.0, moment - datetime.fromisoformat(started or "").timestamp())
    except (ValueError, OverflowError):
        return None
    return lasting(seconds)


def _shelf(shelf: Shelf, moment: float, writer: Writer) -> None:
    writer.line((shelf.host, "bold"), (f"  {shelf.provider}" if shelf.provider else "", "dim"))
    able = (
        ("catalogue", shelf.catalog, "unknown"),
        ("referrers API", shelf.able.referrers, "unknown"),
        ("bulk search", shelf.able.search, "unknown"),
        ("deletes", shelf.able.deletes, "not asked"),  # only a deletion would tell, and a report sends none
    )
    words = [f"{name}: {unknown if answer is None else 'yes' if answer else 'no'}" for name, answer, unknown in able]
    for line in _wrapped(words, ", ", writer.width):
        writer.line((line, "dim"))
    for holding in shelf.holdings:
        _holding(holding, moment, writer)
    if shelf.caches:
        kept = count(shelf.caches, "repository", "repositories")
        writer.line("  ", (f"{kept} of build caches: see `lian cache ls`", "dim"))
    total = count(len(shelf.holdings), "repository", "repositories")
    images = sum(sum(holding.images.values()) for holding in shelf.holdings)
    seen = count(images, "image") if shelf.size is not None else f"at least {count(images, 'image')}"
    seen = seen if images or shelf.size is not None else "images unknown"
    writer.line("  ", (f"{total}, {seen}, {_size(shelf.size)}", "bold"))


def _holding(holding: Holding, moment: float, writer: Writer) -> None:
    writer.line("  ", (holding.repository.path, "bold"))
    for change in holding.changes:
        for number, line in enumerate(_wrapped(f"{change.artifact} {_state(change)}".split(), " ", writer.width)):
            writer.line((line, _STYLES[drift_of(change)] if number == 0 else None))
    if not holding.changes:
        writer.line("    ", ("no artifact of this commit", "dim"))
    for line in _wrapped(list(_facts(holding, moment)), ", ", writer.width):
        writer.line(line)


def _state(change: Change) -> str:
    if drift_of(change) == "in-sync":
        return "in sync"
    told = "; ".join(sentences(change))
    return told if change.action in {Action.HOLD, Action.NONE} else f"{summary_word(change.action)}: {told}"


def _facts(holding: Holding, moment: float) -> Iterator[str]:
    if not holding.tags and not holding.read:
        yield "could not be read"
        return
    kinds = [_tags(kind, number) for kind in TagKind if (number := holding.tags.get(kind, 0))]
    tags = sum(holding.tags.values())
    yield count(tags, "tag") + (f" ({', '.join(kinds)})" if kinds else "")
    yield count(holding.images.get(Owner.OURS, 0), "image")
    for owner in (Owner.FOREIGN, Owner.UNKNOWN):
        if number := holding.images.get(owner, 0):
            yield f"{number:,} {owner}"
    yield _size(holding.size)
    newest, oldest = age(holding.newest, moment), age(holding.oldest, moment)
    if newest and oldest:
        yield f"{newest} old" if newest == oldest else f"{newest} to {oldest} old"


def _tags(kind: TagKind, number: int) -> str:
    return count(number, kind.value) if kind is TagKind.DOCUMENT else f"{number:,} {kind}"


def _size(number: int | None) -> str:
    return "size unknown" if number is None else size(number)


def _wrapped(parts: Sequence[str], sign: str, width: int) -> list[str]:
    """The parts with `sign` between them, on lines of that width; no part is cut in two."""
    lines = ["   "]
    for number, part in enumerate(parts):
        text = part + (sign.rstrip() if number < len(parts) - 1 else "")
        if cells(lines[-1]) + 1 + cells(text) > width and lines[-1].strip():
            lines.append("     ")
        lines[-1] += f" {text}"
    return lines
