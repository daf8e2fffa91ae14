"""The properties are worth something: each finds the faults that are for it, and holds in the real room."""

from __future__ import annotations

import pytest

from tests.cache import test_model_registry, test_namespace, test_rights, test_rules
from tests.cache.faults import FAULTS, MACHINE, Fault, fails
from tests.cache.rooms import PROPERTIES, REAL

MODULES = (test_namespace, test_rules, test_rights, test_model_registry)
BY_STEPS = (
    "joined by a lone dash", "deletes by the beginning of the path", "a session exports to ci", "CI imports dev",
    "a session imports another actor's", "imports of another workspace", "what was found goes to ci",
    "mounts of a session go to ci", "an export to any workspace is admitted", "a cache of any host is admitted",
    "CI's accounts pull dev", "actors' accounts push ci", "an actor's workspaces are not asked for",
    "nobody may delete", "rights begin in the middle of a name",
)  # fmt: skip
"""What the sequences of steps find too: they would, if nobody had thought of the property."""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.room.name)
def test_a_fault_is_found_by_the_property_that_is_for_it(fault: Fault) -> None:
    """What hypothesis draws depends on which modules are loaded; so many examples are enough whatever they are."""
    assert fails(fault.room, fault.found_by, max_examples=2000)


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.room.name in BY_STEPS], ids=lambda fault: fault.room.name)
def test_sequences_of_steps_find_it_too(fault: Fault) -> None:
    assert fails(fault.room, MACHINE)


@pytest.mark.parametrize("name", sorted({fault.found_by for fault in FAULTS} - {MACHINE}))
def test_the_property_holds_in_the_real_room(name: str) -> None:
    """Asked in the same way, so that it is the fault that was found."""
    assert not fails(REAL, name)


def test_every_fault_is_one_of_its_own() -> None:
    assert len({fault.room.name for fault in FAULTS}) == len(FAULTS) >= 15
    assert {fault.room.name for fault in FAULTS} >= set(BY_STEPS)
    assert {fault.found_by for fault in FAULTS} <= set(PROPERTIES)


def test_the_properties_are_those_of_these_modules() -> None:
    """Loading one is what keeps its properties."""
    assert {against.__module__ for against in PROPERTIES.values()} == {module.__name__ for module in MODULES}
