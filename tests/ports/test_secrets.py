"""The port Secrets: what the sources of this machine and the fake of the tests both promise."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from reconciler.model.credential import SourceKind, SourceRef
from reconciler.model.problem import LianError
from reconciler.model.secret import SecretBytes
from reconciler.providers.secrets.sources import Sources
from tests.fakes import FakeSecrets, Points

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.ports.secrets import Secrets


@dataclass
class Stand:
    """A place for secrets."""

    secrets: Secrets
    put: Callable[[str, bytes], SourceRef]


def sources(folder: Path) -> Stand:
    def put(name: str, data: bytes) -> SourceRef:
        (folder / name).write_bytes(data)
        return SourceRef(SourceKind.FILE, str(folder / name))

    return Stand(Sources({}), put)


def fake(folder: Path) -> Stand:
    secrets = FakeSecrets(Points())

    def put(name: str, data: bytes) -> SourceRef:
        secrets.held[name] = data
        return SourceRef(SourceKind.ENV, name)

    return Stand(secrets, put)


@pytest.fixture(params=[sources, fake])
def stand(request: pytest.FixtureRequest, tmp_path: Path) -> Stand:
    made: Stand = request.param(tmp_path)
    return made


@pytest.mark.parametrize("data", [b"token", b"token\n", b"\x00\xff", b" "])
def test_every_byte_is_as_it_is_each_time(stand: Stand, data: bytes) -> None:
    source = stand.put("a", data)
    stand.put("b", b"other")
    for _ in range(2):
        assert asyncio.run(stand.secrets.resolve(source, "the secret a")) == SecretBytes(data)
    stand.put("a", b"rotated")
    assert asyncio.run(stand.secrets.resolve(source, "the secret a")) == SecretBytes(b"rotated")


@pytest.mark.parametrize("kind", [SourceKind.ENV, SourceKind.FILE])
def test_what_is_not_there_is_told_with_what_it_is_for(stand: Stand, kind: SourceKind) -> None:
    with pytest.raises(LianError) as error:
        asyncio.run(stand.secrets.resolve(SourceRef(kind, "/not/there"), "the secret a"))
    (problem,) = error.value.problems
    assert problem.code == "credential-missing"
    assert "the secret a" in problem.message
