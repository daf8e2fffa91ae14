"""What of the environment is handed on to the programs that lian starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class HandedOn(Mapping[str, str]):
    """`environ`, at any time, without the variables that hold a credential: those `withheld` from the start, and those
    that settings name once they are read. What was named once stays away, whatever a later commit says."""

    def __init__(self, environ: Mapping[str, str], withheld: Iterable[str] = ()) -> None:
        self._environ, self._withheld = environ, set(withheld)

    def withhold(self, names: Iterable[str]) -> None:
        """These hold a credential too."""
        self._withheld.update(names)

    def __getitem__(self, name: str) -> str:
        if name in self._withheld:
            raise KeyError(name)
        return self._environ[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._environ if name not in self._withheld)

    def __len__(self) -> int:
        return sum(1 for _ in self)
