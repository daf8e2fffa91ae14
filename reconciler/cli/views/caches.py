"""What is in the caches, how much they take, and what an upkeep would take away and did."""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby
from typing import IO, TYPE_CHECKING

from reconciler.cache.holding import CacheStatus, Fate, freed, size_of
from reconciler.cli.views.problems import blocks
from reconciler.cli.views.text import Writer, lasting, size
from reconciler.model.fleet import RegistryProvider
from reconciler.model.wording import count, short, some

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from reconciler.cache.holding import CacheEnd, CacheList, CachePlan, Caches, Verdict
    from reconciler.cache.usage import CacheUsage, Usage

SHOWN = 5
"""Caches of one namespace that go, and repositories that nobody knows."""
_STYLES = {
    Fate.UNWANTED: "yellow",
    Fate.KEPT_STRANGE: "yellow",
    Fate.KEPT_UNKNOWN: "red",
    Fate.KEPT_FOREIGN: "dim",
}
_STAYS = {
    Fate.KEPT_WANTED: "wanted",
    Fate.KEPT_SESSION: "of sessions",
    Fate.KEPT_YOUNG: "young",
    Fate.KEPT_UNDATED: "undated",
    Fate.KEPT_STRANGE: "no caches",
    Fate.KEPT_FOREIGN: "not this fleet's",
}
_FREES = {
    RegistryProvider.OCI_LAYOUT: "the space is free now",
    RegistryProvider.ZOT: "zot frees the space by itself, at its next garbage collection",
    RegistryProvider.HARBOR: "Harbor frees the space at its next garbage collection",
    RegistryProvider.GHCR: "ghcr frees the space by itself",
    RegistryProvider.DISTRIBUTION: "the registry frees the space when its garbage is collected (distribution: "
    "`registry garbage-collect CONFIG`, while nobody pushes)",
}


# -- ls


def show(told: CacheList, stream: IO[str]) -> None:
    """Namespace by namespace, with headings; then what could not be read, then a line of counts."""
    writer = Writer(stream)
    platforms = [_platform(verdict) for verdict in told.verdicts]
    artifacts = [len(verdict.cache.artifact) for verdict in told.verdicts]
    widths = _Widths(max(artifacts, default=0), max(map(len, platforms), default=0), writer.width)
    if told.verdicts:
        widths.heading(writer)
    for namespace, those in _by_namespace(told.verdicts, writer):
        writer.line((namespace, "bold"))
        artifact = ""
        for verdict in those:
            widths.row(verdict, "" if verdict.cache.artifact == artifact else verdict.cache.artifact, writer)
            artifact = verdict.cache.artifact
    _unrecognised(told.caches, writer)
    blocks((*told.problems, *told.caches.unread), writer, word="unknown", style="yellow")
    counted = _counted(told.verdicts, unread=bool(told.caches.unread))
    writer.line((f"revision {short(told.revision)}", "dim"), ": ", (counted, "bold"))


def _by_namespace(verdicts: Iterable[Verdict], writer: Writer) -> Iterator[tuple[str, list[Verdict]]]:
    """Each namespace with its caches; the registry is written down where it changes."""
    for host, there in groupby(verdicts, lambda verdict: verdict.cache.repository.host):
        writer.line((host, "dim"))
        for namespace, those in groupby(there, lambda verdict: str(verdict.cache.namespace)):
            yield namespace, list(those)


def _counted(verdicts: Sequence[Verdict], *, unread: bool) -> str:
    if not verdicts:
        return "nothing could be read" if unread else "no caches"
    return f"{count(len(verdicts), 'cache')}, {size(size_of(verdict.cache for verdict in verdicts))}"


_GENERATION = 12
"""Columns of a generation, with what stands between it and the platform."""


class _Widths:
    """Columns that fit a terminal: a long artifact has a line of its own."""

    def __init__(self, artifact: int, platform: int, width: int) -> None:
        self._platform = min(max(platform, len("platform")), 16)
        self._artifact = max(min(artifact, width - self._platform - 45), len("artifact"))

    def heading(self, writer: Writer) -> None:
        line = self._line("artifact", self._place("platform", "generation"), "size", "age", "state")
        writer.line((line.rstrip(), "dim"))

    def row(self, verdict: Verdict, artifact: str, writer: Writer) -> None:
        slot = verdict.cache.slot
        if len(artifact) > self._artifact:
            writer.line(f"  {artifact}")
            artifact = ""
        platform = _platform(verdict)
        if len(platform) > self._platform + (0 if slot else _GENERATION):  # a tag may take both columns
            if artifact:
                writer.line(f"  {artifact}")
            writer.line(f"    {platform}")
            artifact = ""
            platform = ""
        place = self._place(platform, slot.generation.called if slot else "")
        cells = self._line(artifact, place, size(verdict.cache.content.size), _age(verdict), "")
        state = verdict.fate.removeprefix("kept-")
        writer.line(cells, (state, _STYLES.get(verdict.fate)))

    def _place(self, platform: str, which: str) -> str:
        return f"{platform:<{self._platform}}  {which:<10}".rstrip().ljust(self._platform + _GENERATION)

    def _line(self, artifact: str, place: str, much: str, age: str, state: str) -> str:
        return f"  {artifact:<{self._artifact}}  {place}  {much:>8}  {age:>7}  {state}"


def _platform(verdict: Verdict) -> str:
    """The tag of what is no cache."""
    slot = verdict.cache.slot
    return str(slot.platform) if slot else verdict.cache.tag


def _age(verdict: Verdict) -> str:
    if verdict.age is not None:
        return lasting(verdict.age)
    return "?" if verdict.at_most is None else f"<{lasting(verdict.at_most)}"


def _unrecognised(caches: Caches, writer: Writer) -> None:
    if not caches.unrecognised:
        return
    names = [repository.path for repository in caches.unrecognised]
    text = f"where caches lie and by their names none: {some(names, SHOWN)}"
    writer.wrapped((), text, "yellow", indent=2)


# -- du


def show_usage(told: CacheUsage, stream: IO[str]) -> None:
    """Registry by registry, namespace by namespace, artifact by artifact."""
    writer = Writer(stream)
    artifacts: dict[tuple[str, str], list[tuple[str, Usage]]] = defaultdict(list)
    for (host, namespace, artifact), used in told.artifacts.items():
        artifacts[host, namespace].append((artifact, used))
    for cupboard in told.caches.cupboards:
        writer.line((cupboard.host, "bold"))
        whole = told.registries[cupboard.host]
        if whole.caches:
            writer.line((f"    {'':<{writer.width - 40}}{'caches':>8}  {'size':>8}  {'shared':>8}", "dim"))
        for (host, namespace), used in told.namespaces.items():
            if host == cupboard.host:
                _used(f"  {namespace}", used, writer)
                for artifact, part in artifacts[host, namespace]:
                    _used(f"    {artifact.partition('/')[2]}", part, writer, plain=True)
        _used("  all", whole, writer)
    blocks(told.problems, writer, word="unknown", style="yellow")
    text = "shared: of the size, what other artifacts' caches have too; counted once for all"
    writer.wrapped((), text, "dim", indent=0)


def _used(name: str, used: Usage, writer: Writer, *, plain: bool = False) -> None:
    style = None if plain else "bold"
    if len(name) > writer.width - 37:
        writer.line((name, style))
        name = ""
    numbers = f"{used.caches:>8,}  {size(used.size):>8}  {size(used.shared):>8}"
    writer.line((f"{name:<{writer.width - 36}}", style), numbers)


# -- prune


def show_plan(plan: CachePlan, stream: IO[str], *, detailed: bool = False) -> None:
    """Each namespace that something goes from, then what holds, then one line of counts."""
    writer = Writer(stream)
    going = plan.going
    for namespace, those in _by_namespace(going, writer):
        told = f"  {count(len(those), 'cache')}, {size(size_of(v.cache for v in those))}"
        writer.line(("- ", "red"), (namespace, "bold"), (told, "dim"))
        for verdict in those if detailed else those[:SHOWN]:
            _goes(verdict, writer)
        if not detailed and len(those) > SHOWN:
            writer.line(f"    and {len(those) - SHOWN:,} more")
    _unrecognised(plan.caches, writer)
    held = (*plan.problems, *plan.caches.unread)
    blocks(held, writer, word="held", style="yellow")
    if going or held:
        writer.line()
    writer.line((f"revision {short(plan.revision)}", "dim"), ": ", (_summary(plan), "bold"))
    if stays := _kept(plan.kept):
        writer.wrapped((), f"stays: {stays}", "dim", indent=2)


def _goes(verdict: Verdict, writer: Writer) -> None:
    slot = verdict.cache.slot
    which = f"  {slot.generation.called}" if slot else ""
    facts = f"{verdict.fate}  {size(verdict.cache.content.size)}  {_old(verdict)}"
    name, rest = f"    {verdict.cache.artifact}", f"{_platform(verdict)}{which}  {facts}"
    if not writer.fits(name, "  ", rest):
        writer.line(name)
        name = "    "
    writer.line(f"{name}  {rest}")


def _old(verdict: Verdict) -> str:
    age = _age(verdict)
    return "of unknown age" if age == "?" else f"{age} old"


def _summary(plan: CachePlan) -> str:
    if not plan.going:
        return "nothing could be read" if plan.caches.unread and not plan.verdicts else "nothing to remove"
    alone = freed(plan.verdicts)
    return f"{count(len(plan.going), 'cache')} to remove, {size(alone)} that no other cache needs"


def _kept(kept: Mapping[Fate, int]) -> str:
    return ", ".join(f"{kept[fate]:,} {words}" for fate, words in _STAYS.items() if kept.get(fate))


def progress(end: CacheEnd) -> tuple[str | tuple[str, str | None], ...]:
    """A line for a repository from which something was to go."""
    parts = [f"{count(len(end.removed), 'cache')} removed"] if end.removed else []
    parts += [f"{len(end.spared):,} spared"] if end.spared else []
    parts += [end.status.value] if end.status is not CacheStatus.DONE else []
    return ((end.repository.path, "bold"), f"  {', '.join(parts)}")


def ended(plan: CachePlan, ends: Sequence[CacheEnd], stream: IO[str]) -> None:
    """The problems in full, then what was done, in one line, then when the space is free."""
    writer = Writer(stream)
    held = (problem for end in ends if end.status is CacheStatus.HELD for problem in end.problems)
    blocks(held, writer, word="held", style="yellow")
    blocks((problem for end in ends if end.status is CacheStatus.FAILED for problem in end.problems), writer)
    removed, spared = sum(len(end.removed) for end in ends), sum(len(end.spared) for end in ends)
    parts = [f"{count(removed, 'cache')} removed"]
    parts += [f"{spared:,} spared, because they were written meanwhile"] if spared else []
    for status in (CacheStatus.FAILED, CacheStatus.HELD):
        number = sum(end.status is status for end in ends)
        parts += [f"{count(number, 'repository', 'repositories')} {status}"] if number else []
    writer.line((", ".join(parts), "bold"))
    hosts = {end.repository.host for end in ends if end.removed}
    for line in _frees(plan, hosts):
        writer.wrapped((), line, "dim", indent=2)


def _frees(plan: CachePlan, hosts: Iterable[str]) -> Iterable[str]:
    wanted = set(hosts)
    for cupboard in plan.caches.cupboards:
        if cupboard.host in wanted:
            yield f"{cupboard.host}: {_FREES[cupboard.provider or RegistryProvider.DISTRIBUTION]}"
