"""The variables of a stage, as far as anyone can tell before its base image is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from posixpath import join
from typing import TYPE_CHECKING

from reconciler.desired.dockerfile.expand import PatternFault, Quoting, UnsetFault, expand
from reconciler.desired.dockerfile.fault import Fault
from reconciler.desired.dockerfile.refusals import AS_IT_IS
from reconciler.desired.dockerfile.variables import EPOCH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.desired.dockerfile.expand import Expanded
    from reconciler.desired.dockerfile.instructions import Step

_NOT_ENV = frozenset({"BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"})
_OF_BUILD = frozenset({EPOCH, "BUILDKIT_CACHE_MOUNT_NS"})
"""Build arguments that a builder adds to those of the directive."""
_IN_HEREDOC = Quoting(plain_quotes=True)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class StageBegin:
    """What the steps of a stage for an operating system begin with. `complete` is False if a base image may set more
    variables; `folder` is where they run, None where nobody knows it."""

    system: str
    env: Mapping[str, str] = field(default_factory=dict)
    complete: bool = False
    folder: str | None = None

    @classmethod
    def of_scratch(cls, system: str) -> StageBegin:
        """Of a stage without a base."""
        return cls(system, {} if system == "windows" else {"PATH": _PATH}, True, "/")


class StageEnvironment:
    """What the steps of one stage see, one after the other. `global_env` are the variables above the first FROM,
    `args` the build arguments."""

    def __init__(
        self, begin: StageBegin, global_env: Mapping[str, str], args: Mapping[str, str], quoting: Quoting
    ) -> None:
        self._env = dict(begin.env)
        self._complete = begin.complete
        self.system = begin.system
        self.folder = begin.folder
        """Where the next step runs, None where nobody knows."""
        self._global_env, self._args, self._quoting = global_env, args, quoting

    @property
    def end(self) -> StageBegin:
        """What a stage on top of this one begins with."""
        return StageBegin(self.system, self._env, self._complete, self.folder)

    def take(self, step: Step) -> None:
        """Set what an ARG, ENV or WORKDIR sets. Raises Fault for what BuildKit refuses in it."""
        if step.keyword == "arg":
            self._declare(step)
        elif step.keyword == "env":
            self._set(step)
        elif step.keyword == "workdir":
            self._enter(self.word(step.folder))

    def known(self, text: str) -> str | None:
        """The text with its variables put in, or None if one may be set by a base image. Raises nothing."""
        try:
            return self.word(text)
        except Fault:
            return None

    def word(self, text: str) -> str | None:
        """As `known`. Raises Fault for what BuildKit refuses whatever a base image sets."""
        return text if AS_IT_IS.fullmatch(text) else self._word(text, self._env)

    def words(self, text: str) -> tuple[str, ...] | None:
        """The words that a text becomes, or None if a base image may have a say in it. Raises Fault, as `word`."""
        if AS_IT_IS.fullmatch(text) and " " not in text:
            return (text,)
        found = self._expanded(text, self._env, self._quoting)
        return None if found is None else found.words

    def heredoc(self, text: str) -> None:
        """Raises Fault if the text of a heredoc cannot be read."""
        self._expanded(text, self._env, _IN_HEREDOC)

    def _enter(self, folder: str | None) -> None:
        if folder is not None and (self.folder is not None or folder.startswith("/")):
            self.folder = join(self.folder or "/", folder)
        else:
            self.folder = None

    def _declare(self, step: Step) -> None:
        for name, default in step.sets:
            value = self._args.get(name)
            if value is None and name not in _OF_BUILD:
                value = self._global_env.get(name) if default is None else self._word(default, self._env)
            if value is not None and name not in _NOT_ENV:
                self._env[name] = value
            elif value is None and (default is not None or name in _OF_BUILD):
                self._env.pop(name, None)
                self._complete = False

    def _set(self, step: Step) -> None:
        before = dict(self._env)
        for name, value in step.sets:
            key, text = (self._word(part, before) for part in (name, value or ""))
            if key is None:
                self._env.clear()  # it may be any
                self._complete = False
            elif text is None:
                self._env.pop(key, None)
                self._complete = False
            else:
                self._env[key] = text

    def _word(self, text: str, env: Mapping[str, str]) -> str | None:
        found = self._expanded(text, env, self._quoting)
        return None if found is None else found.text

    def _expanded(self, text: str, env: Mapping[str, str], quoting: Quoting) -> Expanded | None:
        try:
            found = expand(text, env, quoting)
        except PatternFault:
            return None
        except UnsetFault:
            if self._complete:
                raise
            return None
        return found if self._complete or not found.unset else None
