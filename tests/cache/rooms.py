"""The room under test as a value: the real one, and what the properties are told of to be tried on a faulty one too.

A property is a function of a room and of what hypothesis draws. `holds` makes a test of it, which tries it on the real
room, and keeps it in PROPERTIES, so that `test_faults` can show that it fails in a room with a fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.cache import namespace, rights, rules
from reconciler.cache.namespace import Layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.cache.namespace import Namespace
    from reconciler.cache.rules import Slot


def _taken(layout: Layout, owned: Namespace, path: str) -> bool:
    found = layout.parse(path)
    return found is not None and found[0] == owned


def _lies_in(path: str, territory: rights.Territory) -> bool:
    return path == territory.folder if territory.exact else path.startswith(f"{territory.folder}/")


@dataclass(frozen=True)
class Room:
    """The functions of `reconciler.cache` that decide who reads and writes what, and three that use them."""

    name: str = "the real room"
    join: Callable[[str, str], str] = namespace.join
    split: Callable[[str], tuple[str, str] | None] = namespace.split
    folder: Callable[..., str] = Layout.folder
    repository: Callable[..., str] = Layout.repository
    parse: Callable[..., tuple[Namespace, str] | None] = Layout.parse
    reserves: Callable[..., bool] = Layout.reserves
    tag: Callable[[Slot], str] = lambda slot: slot.tag
    imports: Callable[..., tuple[Slot, ...]] = rules.imports
    export: Callable[..., Slot] = rules.export
    previous: Callable[[Slot], Slot] = rules.previous
    mounts_read: Callable[..., tuple[Slot, ...]] = rules.mounts_read
    mounts_written: Callable[..., Slot] = rules.mounts_written
    may_read: Callable[..., bool] = rules.may_read
    may_write: Callable[..., bool] = rules.may_write
    admit_import: Callable[..., Any] = rules.admit_import
    admit_export: Callable[..., Any] = rules.admit_export
    territories: Callable[..., tuple[rights.Territory, ...]] = rights.territories
    taken: Callable[[Layout, Namespace, str], bool] = _taken
    """Whether deleting a namespace takes a repository with it."""
    lies_in: Callable[[str, rights.Territory], bool] = _lies_in
    """Whether a registry counts a repository to a territory."""
    promoted_from: Callable[[Slot], Slot | None] = lambda _: None
    """What is copied when a session's work is promoted; None: nothing, CI builds it."""

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        """How hypothesis tells of it."""
        printer.text(f"<{self.name}>")


REAL = Room()
PROPERTIES: dict[str, Callable[..., None]] = {}
"""By name; each is called with a room and settings of hypothesis."""


def holds(*strategies: st.SearchStrategy[Any], **usual: Any) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """A property of rooms, for what the strategies draw."""

    def decorate(body: Callable[..., None]) -> Callable[[], None]:
        def against(room: Room, **chosen: Any) -> None:
            settings(**{**usual, **chosen})(given(st.just(room), *strategies)(body))()

        def test() -> None:
            against(REAL)

        PROPERTIES[body.__name__.removeprefix("test_")] = against
        against.__module__ = body.__module__
        test.__name__, test.__qualname__, test.__doc__ = body.__name__, body.__qualname__, body.__doc__
        test.__module__ = body.__module__
        return test

    return decorate
