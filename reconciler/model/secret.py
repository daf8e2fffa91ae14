"""Values that must not be seen: they are compared, kept and handed on, and read at one place only."""

from __future__ import annotations

from typing import Generic, NoReturn, Self, TypeVar

HIDDEN = "***"
T = TypeVar("T", str, bytes)


class _Hidden(Generic[T]):
    """What cannot be printed, formatted, logged, pickled or made JSON of; `reveal()` is where it is read."""

    __slots__ = ("_content",)
    _content: T

    def __init__(self, content: T) -> None:
        self._content = content

    def reveal(self) -> T:
        """The content, for the one who sends it where it belongs."""
        return self._content

    def __repr__(self) -> str:
        return f"{type(self).__name__}({HIDDEN})"

    def __str__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and bool(self._content == other.reveal())

    def __hash__(self) -> int:
        return hash((type(self), self._content))

    def __bool__(self) -> bool:
        return bool(self._content)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Itself: so what holds it can be copied (dataclasses.asdict), and it stays hidden there."""
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


class Secret(_Hidden[str]):
    """Text: a password, a token, the content of a configuration file."""

    __slots__ = ()


class SecretBytes(_Hidden[bytes]):
    """Bytes as they are: what a build is handed. Nothing of them is stripped, nor need they be text."""

    __slots__ = ()
