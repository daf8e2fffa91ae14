"""What of the environment is handed on to the programs that lian starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from reconciler.programs import OUTWARD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


_NEEDED = frozenset(
    {
        "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TZ", "LANG", "LANGUAGE", "PWD", "TMPDIR", "TMP", "TEMP",
        "LD_LIBRARY_PATH", "DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_HOST", "SSH_AUTH_SOCK", "GNUPGHOME",
        "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY", *OUTWARD,
    }
)  # fmt: skip
"""Variables that programs, credential helpers among them, cannot do without; none is the place of a credential."""
_NEEDED_KINDS = ("LC_", "XDG_")


class HandedOn(Mapping[str, str]):
    """`environ`, at any time, without the variables that hold a credential: those `withheld` from the start, and those
    that settings name once they are read. What was named once stays away, whatever a later commit says. Who may write a
    directive cannot take away what programs need, though."""

    def __init__(self, environ: Mapping[str, str], withheld: Iterable[str] = ()) -> None:
        self._environ, self._withheld = environ, set(withheld)

    def withhold(self, names: Iterable[str]) -> None:
        """These hold a credential too, says a commit; those that programs need are handed on all the same."""
        self._withheld.update(name for name in names if name not in _NEEDED and not name.startswith(_NEEDED_KINDS))

    def __getitem__(self, name: str) -> str:
        if name in self._withheld:
            raise KeyError(name)
        return self._environ[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._environ if name not in self._withheld)

    def __len__(self) -> int:
        return sum(1 for _ in self)
