"""From parsed arguments to an exit code: the verb's module, signals, and how errors end."""

from __future__ import annotations

import asyncio
import importlib
import signal
import sys
from typing import TYPE_CHECKING, Any

from reconciler.cli import exits
from reconciler.cli.streams import tolerant
from reconciler.model.problem import LianError, Next, Problem

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Coroutine
    from types import ModuleType


def run(arguments: argparse.Namespace) -> int:
    """Call the verb. LianError is shown as problems, anything else as a bug; --debug adds the traceback."""
    with tolerant():
        return _run(arguments)


def _verb(arguments: argparse.Namespace) -> ModuleType:
    """The module of the verb; of a group that is a package, that of the subcommand."""
    verb = importlib.import_module(f"reconciler.cli.{arguments.command}")
    return importlib.import_module(f"{verb.__name__}.{arguments.subcommand}") if hasattr(verb, "__path__") else verb


def _run(arguments: argparse.Namespace) -> int:
    arguments.waits = _waiting
    try:
        code: int = _verb(arguments).run(arguments)
        sys.stdout.flush()
    except (KeyboardInterrupt, asyncio.CancelledError):
        print(f"lian: interrupted{_left(arguments)}", file=sys.stderr)
        return exits.INTERRUPTED
    except CutShortError as error:
        _show(error.problems, arguments)
        print("lian: interrupted; what is finished stays", file=sys.stderr)
        return exits.INTERRUPTED
    except LianError as error:
        _show(error.problems, arguments)
        return exits.ERROR
    except Exception as error:
        if arguments.debug:
            raise
        _show((bug(error),), arguments)
        return exits.ERROR
    return code


def _left(arguments: argparse.Namespace) -> str:
    """How an interrupted command leaves what it was about. The others only look, or write it all at their end."""
    if arguments.command in {"reconcile", "watch", "build"}:
        return "; what is finished stays, what was rented is returned"
    return "; what is finished stays" if arguments.command in {"cache", "prune", "runners", "sign"} else ""


def _waiting(host: str) -> None:
    """A sign of life, where nothing else is told; also above a live display, which takes what stderr is given."""
    from reconciler.cli.views.text import notes

    notes([f"waiting for {host} …"], sys.stderr)


class CutShortError(LianError):
    """A signal cut the command short, and tearing down met these problems: 130 comes before 1 (design section 9)."""


def complete(work: Coroutine[Any, Any, int]) -> int:
    """Run a command's coroutine; SIGINT, SIGTERM and SIGHUP cancel it, so that everything rented is returned.

    Raises asyncio.CancelledError or KeyboardInterrupt when it was cut short by a signal, CutShortError if something
    could not be returned then.
    """
    stopped = asyncio.Event()

    async def guarded() -> int:
        task = asyncio.current_task()

        def stop() -> None:
            stopped.set()
            if task is not None:
                task.cancel()

        on_stop(stop)
        try:
            return await work
        except LianError as error:
            if stopped.is_set():
                raise CutShortError(error.problems) from error
            raise

    return asyncio.run(guarded())


def on_stop(react: Callable[[], object]) -> None:
    """Have the running loop react to SIGINT, SIGTERM and SIGHUP; one that whoever started lian ignores stays so."""
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(sign) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(sign, react)


def _show(problems: tuple[Problem, ...], arguments: argparse.Namespace) -> None:
    from reconciler.cli.views import problems as view

    if getattr(arguments, "json", False):
        sys.stdout.write(view.document(problems))
    view.show(problems, sys.stderr)


def bug(error: Exception) -> Problem:
    """What is said of an error that nobody foresaw."""
    return Problem(
        "internal-error",
        f"lian itself failed: {type(error).__name__}: {error}",
        hint="run again with --debug and report what it prints",
        next=Next.BUG,
    )
