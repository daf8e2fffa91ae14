"""A lease comes back from what it is written as, and nothing else becomes one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.lease import Lease
from tests.strategies import leases

TEXT = st.text(max_size=30)


@given(leases)
def test_it_comes_back_from_files(lease: Lease) -> None:
    assert Lease.from_json(lease.to_json()) == lease


@given(leases, st.dictionaries(TEXT, TEXT))
def test_it_comes_back_from_labels_and_never_ends_earlier(lease: Lease, others: dict[str, str]) -> None:
    """Whatever else stands on the machine."""
    foreign = {name: text for name, text in others.items() if not name.startswith("dev.lian.")}
    back = Lease.from_labels({**foreign, **lease.to_labels()})
    told = (back.name, back.fleet, back.pass_id, back.purpose, back.tier)
    assert told == (lease.name, lease.fleet, lease.pass_id, lease.purpose, lease.tier)
    assert lease.deadline <= back.deadline < lease.deadline + 1.001
    assert lease.created - 1.001 < back.created <= lease.created


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dev.lian.lease", "../x"),
        ("dev.lian.deadline", "soon"),
        ("dev.lian.deadline", "nan"),
        ("dev.lian.deadline", "inf"),
        ("dev.lian.created", "-1"),
    ],
)
def test_labels_that_lian_did_not_write_are_none(name: str, text: str) -> None:
    labels = Lease("lease-1", "fleet", "pass", 1.0, 2.0).to_labels()
    with pytest.raises(ValueError, match=r"not a|float"):
        Lease.from_labels(labels | {name: text})


@pytest.mark.parametrize("missing", ["lease", "fleet", "pass", "created", "deadline"])
def test_labels_without_an_owner_or_an_end_are_none(missing: str) -> None:
    labels = Lease("lease-1", "fleet", "pass", 1.0, 2.0).to_labels()
    with pytest.raises(ValueError, match="not a lease"):
        Lease.from_labels({name: text for name, text in labels.items() if name != f"dev.lian.{missing}"})
