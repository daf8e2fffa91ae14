"""The variables of a stage, as far as anyone can tell before its base image is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.desired.dockerfile.expand import Quoting, expand
from reconciler.desired.dockerfile.fault import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.desired.dockerfile.instructions import Step

_NOT_ENV = frozenset({"BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"})


class StageEnvironment:
    """What the steps of one stage see, one after the other.

    `begin` is what the stage begins with; `complete` is False if a base image may set more. `global_env` are the
    variables above the first FROM, `args` the build arguments.
    """

    def __init__(
        self,
        begin: Mapping[str, str],
        complete: bool,
        global_env: Mapping[str, str],
        args: Mapping[str, str],
        quoting: Quoting,
    ) -> None:
        self._env = dict(begin)
        self._complete = complete
        self._global_env, self._args, self._quoting = global_env, args, quoting

    @property
    def end(self) -> dict[str, str] | None:
        """What a stage on top of this one begins with; None where a base image has a say in it."""
        return self._env if self._complete else None

    def take(self, step: Step) -> None:
        """Set what an ARG or ENV sets."""
        if step.keyword == "arg":
            self._declare(step)
        elif step.keyword == "env":
            self._set(step)

    def known(self, text: str) -> str | None:
        """The text with its variables put in, or None if one may be set by a base image. Raises nothing."""
        return self._known(text, self._env)

    def _declare(self, step: Step) -> None:
        for name, default in step.sets:
            value = self._args.get(name)
            if value is None:
                value = self._global_env.get(name) if default is None else self._known(default, self._env)
            if value is not None and name not in _NOT_ENV:
                self._env[name] = value
            elif value is None and default is not None:
                self._env.pop(name, None)
                self._complete = False

    def _set(self, step: Step) -> None:
        before = dict(self._env)
        for name, value in step.sets:
            key, text = (self._known(part, before) for part in (name, value or ""))
            if key is None or text is None:
                self._complete = False
                self._env.pop(key or name, None)
            else:
                self._env[key] = text

    def _known(self, text: str, env: Mapping[str, str]) -> str | None:
        try:
            found = expand(text, env, self._quoting)
        except Fault:
            return None
        return found.text if self._complete or not found.unset else None
