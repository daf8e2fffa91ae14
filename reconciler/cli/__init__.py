"""Talk to a person: arguments → call → view, one module for each verb. Never here: a decision, a provider's type."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code of design section 9. Never raises, but for --debug. Without `argv` the command is
    the process's own, which ends with it."""
    from reconciler.cli.arguments import parse

    arguments = parse(sys.argv[1:] if argv is None else argv)
    from reconciler.collector import leave_the_rest, searching_rarely

    if argv is None:
        leave_the_rest()
    with searching_rarely():
        from reconciler.cli.run import run  # after parsing: `--help` ends before anything heavy is imported

        return run(arguments)
