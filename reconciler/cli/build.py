"""`lian build`: one build, from flags or from one directive file."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.arguments.build import BUILD_FLAGS, MEANS_FLAGS
from reconciler.cli.run import complete
from reconciler.cli.views import outcome as view
from reconciler.cli.views import problems
from reconciler.cli.views.progress import progress
from reconciler.cli.views.text import Writer
from reconciler.model.secret import Secret
from reconciler.plan.compare import Overrides
from reconciler.single.flags import SEED_VARIABLE, VARIABLES, Flags
from reconciler.single.once import Means, build_once

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from reconciler.model.one_build import Asked


def run(arguments: argparse.Namespace) -> int:
    """0 built or there already, 1 what is asked for is wrong, 3 a build failed, 4 something is held, 130 interrupted.
    On stdout comes a BuildResult for each artifact."""
    flags = flags_of(arguments, os.environ)
    asked = flags.asked()
    if vain := flags.unheeded():
        Writer(sys.stderr).line(("warning: ", "yellow"), vain)
    by_file = "--directives" in flags.given
    image = None if by_file else flags.get("--runner-image")
    return complete(_build(arguments, asked, means_of(arguments, by_file=by_file), image))


async def _build(arguments: argparse.Namespace, asked: Asked, means: Means, runner_image: str | None) -> int:
    choice = replace(wiring.Choice.of(arguments), repo=asked.where)
    allowed = Overrides(older=arguments.allow_older, foreign=arguments.allow_foreign)
    async with wiring.building(choice, asked, runner_image) as bench:
        with progress(sys.stderr) as shown:
            built = await build_once(bench.ports(shown), means, allowed, os.cpu_count() or 1)
    problems.show(built.outcome.problems, sys.stderr)
    view.show(built.outcome, sys.stderr, None, built.plan, all_of_them=True)
    for result in built.results:
        sys.stdout.write(as_line(wiring.checked("build_result", result.to_json())))
    return exits.of_outcome(built.outcome)


def flags_of(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Flags:
    """What was given, and what variables say; an empty variable says nothing."""
    said = {flag: getattr(arguments, _name(flag)) for flag, _, _ in (*BUILD_FLAGS, *MEANS_FLAGS)}
    given = {flag: value for flag, value in said.items() if value is not None}
    given |= {"--cache-from": " ".join(arguments.cache_from)} if arguments.cache_from else {}
    given |= {"--nats-nkey-seed": "given"} if arguments.nats_nkey_seed is not None else {}
    behind = {flag: environ[name] for flag, name in VARIABLES.items() if environ.get(name)}
    return Flags(given, behind, arguments.nats_nkey_seed or Secret(environ.get(SEED_VARIABLE, "")) or None)


def means_of(arguments: argparse.Namespace, *, by_file: bool) -> Means:
    """Caches are a directive file's to say, where there is one."""
    agent = bool(os.environ.get("SSH_AUTH_SOCK"))
    if by_file:
        return Means(ssh_key=arguments.ssh_key, agent=agent)
    return Means(tuple(arguments.cache_from), arguments.cache_to, arguments.ssh_key, agent)


def as_line(document: dict[str, object]) -> str:
    """A document on one line, in ASCII: no terminal is steered by it."""
    return json.dumps(document, ensure_ascii=True, separators=(",", ":")) + "\n"


def _name(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")
