"""The story of one artifact."""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

from reconciler.cli.views import cache_use, forecast, tries
from reconciler.cli.views.plan import SIGNS, summary_word
from reconciler.cli.views.problems import block
from reconciler.cli.views.reasons import sentence, sentences
from reconciler.cli.views.sizing import SHOWN_RUNS, runs_of
from reconciler.cli.views.text import Writer
from reconciler.model.plan import Action
from reconciler.model.wording import built_from, count

if TYPE_CHECKING:
    from reconciler.model.record import BuildRecord
    from reconciler.plan.story import Story


def show(story: Story, stream: IO[str]) -> None:
    """What it is, what is due and why, what the registry holds, what decides, and how it was last built."""
    writer = Writer(stream)
    _state(story, writer)
    writer.wrapped([("registry", "bold"), "  "], str(story.change.image), indent=2)
    for tag, named in story.tags.items():
        text, style = (str(named), None) if named else ("absent", "yellow")
        _tag(tag, text, style, story, writer)
    for tag, why in story.unread.items():
        _tag(tag, f"unknown: {why}", "yellow", story, writer)
    for platform, inputs in story.inputs.items():
        writer.line(("inputs", "bold"), f"  {platform}")
        for leaf, value in inputs.items():
            if leaf != "platform":
                _leaf(leaf, value, writer, 2)
    for parent in story.parents:
        writer.line(("parent", "bold"), f"  {parent.artifact}: {summary_word(parent.action)}")
    if story.record:
        _record(story.record, writer)
    elif story.record_unread or story.unread:
        why = story.record_unread or "the registry could not be read"
        writer.wrapped([("record", "bold"), "  unknown: "], why, indent=4)
    elif any(named is not None for named in story.tags.values()):
        writer.line(("record", "bold"), "  none: this image was not built by lian, or its record is gone")


def _tag(tag: str, text: str, style: str | None, story: Story, writer: Writer) -> None:
    lead = f"{tag} (content tag): " if tag == story.content_tag else f"{tag}: "
    if writer.fits("  ", lead):
        writer.wrapped(["  ", lead], text, style, indent=4)
    else:
        writer.wrapped(["  "], lead + text, style, indent=4)


def _leaf(name: str, value: Any, writer: Writer, indent: int) -> None:
    """One input; of many values each has a line."""
    if isinstance(value, dict) and value:
        writer.line(" " * indent, (f"{name}:", "dim"))
        for inner, one in value.items():
            _leaf(inner, one, writer, indent + 2)
    else:
        text = value if isinstance(value, str) else json.dumps(value)
        writer.wrapped([" " * indent, (f"{name}: ", "dim")], text, indent=indent + 2)


def _state(story: Story, writer: Writer) -> None:
    change, currency = story.change, story.currency
    sign, style = SIGNS[change.action]
    writer.line((f"{sign} {change.artifact}", "bold"), "  ", (summary_word(change.action), style))
    for problem in dict.fromkeys(change.holds):
        block(problem, writer, word="held", style="yellow", wrapped=True)
    for told in () if change.holds or change.action is Action.NONE else sentences(change, detailed=True):
        writer.wrapped(["  "], told, indent=4)
    for name, reason in () if change.holds else story.behind:
        writer.wrapped(["  ", (f"{name}: ", "dim")], sentence(reason, conditional=False), indent=4)
    if change.forecast:
        told = forecast.of_build(change.forecast, currency, conditional=change.conditional)
        writer.wrapped(["  ", ("forecast ", "dim")], told, indent=4)
    if change.key:
        writer.line("  ", ("key ", "dim"), change.key)


def _record(record: BuildRecord, writer: Writer) -> None:
    builder = ", ".join(record.builder.values())
    built = f"built {record.started} from {built_from(record.revision)}"
    writer.wrapped([("record", "bold"), "  "], built, indent=4)
    writer.wrapped([f"  {record.seconds:.1f} s, {count(record.steps.get('total', 0), 'step')}, "], builder, indent=4)
    for name, origin in record.origins.items():
        what = f"context {name}: " if name else "context: "
        writer.wrapped(["  ", (what, "dim")], f"{origin.url} {origin.rev} at {origin.commit}", indent=4)
    if record.peak_memory:
        writer.line(f"  peak memory of its runner {record.peak_memory / (1 << 20):.0f} MiB")
    for failed in record.tries:
        writer.wrapped(["  ", ("tried ", "yellow")], tries.sentence(failed), indent=4)
    for platform, use in record.caches.items():
        cache_use.story(str(platform), use, writer)
    runs_of(record.runs, writer, "runs", SHOWN_RUNS)
