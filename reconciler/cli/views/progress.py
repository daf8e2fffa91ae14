"""What a running pass shows on stderr: plain lines, or a live display on a terminal."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import IO, TYPE_CHECKING

from reconciler.cli.views.forecast import in_short
from reconciler.cli.views.outcome import words
from reconciler.cli.views.plan import summary
from reconciler.cli.views.text import Writer, printable
from reconciler.cli.views.tries import sentence
from reconciler.model.event import Ended, Event, Finished, Noted, Planned, Retrying, Started, Step, Waiting
from reconciler.model.outcome import Status
from reconciler.model.plan import Action

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live

    from reconciler.model.name import ArtifactName

MAX_ROWS = 20


class PlainProgress:
    """A recorder that writes a line for each start, each step when it begins, and each end."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._writer = Writer(stream)
        self._told: defaultdict[ArtifactName, set[str]] = defaultdict(set)

    def record(self, event: Event) -> None:
        """One event, at most one line."""
        match event:
            case Noted(text):
                self._writer.line((text, "dim"))
            case Planned(plan):
                self._writer.line((f"plan: {summary(plan)}{in_short(plan)}", "bold"))
            case Started(artifact):
                self._told[artifact].clear()  # each try tells its own steps
                self._writer.line((str(artifact), "bold"), "  started")
            case Step(artifact, name, _, cached) if _is_own(name) and name not in self._told[artifact]:
                self._told[artifact].add(name)
                self._writer.line((str(artifact), "bold"), f"  {name}", (" cached" if cached else "", "dim"))
            case Finished(result):
                seconds = f" in {result.seconds:.1f} s" if result.seconds else ""
                self._told.pop(result.artifact, None)
                self._writer.line((str(result.artifact), "bold"), f"  {words(result)}{seconds}")
            case Retrying(artifact, failed, tier):
                self._writer.line((str(artifact), "bold"), "  ", (sentence(failed, tier), "yellow"))
            case Waiting() | Step() | Ended():
                return
        self._stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.flush()


class LiveProgress:
    """A recorder with one moving line for each artifact at work: step, elapsed time, what it waits for."""

    def __init__(self, stream: IO[str]) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=stream, highlight=False, markup=False, emoji=False)
        self._rows: dict[ArtifactName, _Row] = {}
        self._left = 0
        self._done = 0
        self._live: Live = Live(self, console=self._console, refresh_per_second=8, transient=True)

    def record(self, event: Event) -> None:
        """One event: a row moves, or a line is written above the rows."""
        match event:
            case Noted(text):
                self._console.print(printable(text), style="dim")
            case Planned(plan):
                self._console.print(f"plan: {summary(plan)}{in_short(plan)}", style="bold")
                self._left = sum(c.action in {Action.BUILD, Action.RETAG, Action.PRUNE} for c in plan.whole)
            case Waiting(artifact, what):
                self._rows[artifact] = _Row(f"waits for {what}", waiting=True)
            case Started(artifact):
                self._rows[artifact] = _Row("started")
            case Step(artifact, name, done, cached):
                name = printable(name)
                row = self._rows.setdefault(artifact, _Row(name))
                row.text = name + (" (cached)" if cached else "") if not done or cached else row.text
            case Retrying(artifact, failed, tier):
                self._console.print(printable(f"{artifact}  {sentence(failed, tier)}"), style="yellow")
                self._rows[artifact] = _Row("is done again", waiting=True)
            case Finished(result):
                self._rows.pop(result.artifact, None)
                self._done += result.status is not Status.HELD
            case Ended():
                self._rows.clear()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The rows, those at work first, cut to the height of the terminal."""
        from rich.text import Text

        rows = sorted(self._rows.items(), key=lambda item: (item[1].waiting, item[1].since))
        limit = max(1, min(MAX_ROWS, (options.max_height or MAX_ROWS) - 3))
        for artifact, row in rows[:limit]:
            elapsed = f"{time.monotonic() - row.since:5.1f}s " if not row.waiting else "       "
            text = Text.assemble(
                (elapsed, "cyan"), (str(artifact), "bold"), ("  " + row.text, "dim" if row.waiting else "")
            )
            text.truncate(options.max_width, overflow="ellipsis")
            yield text
        if len(rows) > limit:
            yield Text(f"       and {len(rows) - limit} more", style="dim")
        if self._left:
            yield Text(f"       {self._done} of {self._left} done", style="dim")

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)


def _is_own(step: str) -> bool:
    """True for a step of the Dockerfile (`[2/3] RUN …`), not for BuildKit's own housekeeping."""
    return step.startswith("[") and not step.startswith(("[internal]", "[auth]", "[context "))


class _Row:
    """One artifact at work, since when (monotonic seconds), and what it is doing."""

    def __init__(self, text: str, *, waiting: bool = False) -> None:
        self.text = text
        self.waiting = waiting
        self.since = time.monotonic()


def progress(stream: IO[str]) -> PlainProgress | LiveProgress:
    """The display that suits the stream."""
    from os import environ

    return LiveProgress(stream) if stream.isatty() and environ.get("TERM") != "dumb" else PlainProgress(stream)
