"""What a contract says, for people: its fields, what each takes, what it is for, what holds where it is left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.model.problem import LianError, Problem
from reconciler.model.wording import meant

if TYPE_CHECKING:
    from collections.abc import Sequence

SHORT = {
    "directives": "BuildDirectives",
    "artifact": "BuildArtifact",
    "artifacts": "BuildArtifact",
    "compute": "ComputeProviderRef",
    "registry": "RegistryProviderRef",
    "runner": "RunnerOverride",
    "events": "NatsEventConfig",
    "cache": "CachePolicy",
    "spec": "BuildSpec",
    ".build-spec.ncl": "BuildSpec",
    "fleet": "FleetSettings",
    "lian.ncl": "FleetSettings",
    "policy": "FleetPolicy",
    "rules": "BuildPolicy",
    "result": "BuildResult",
    "tiers": "TierDefaults",
}
"""What people call them."""


@dataclass(frozen=True, slots=True)
class Default:
    """What holds where a field is left out: as a JSON value, and as Nickel."""

    value: Any
    nickel: str


@dataclass(frozen=True, slots=True)
class ContractField:
    """`takes` says in words what may stand there; `contract` names the one that it is under, if any; `fields` are those
    of a record that has no contract of its own; `is_map` for a record of free names, each with one of these."""

    name: str
    takes: str
    doc: str
    required: bool = False
    default: Default | None = None
    contract: str | None = None
    fields: tuple[ContractField, ...] = ()
    is_map: bool = False

    def to_json(self) -> dict[str, Any]:
        """One entry of `fields` in schemas/json/schema.json; without a default there is no `default`."""
        document = {
            "name": self.name,
            "takes": self.takes,
            "doc": self.doc,
            "required": self.required,
            "contract": self.contract,
            "fields": [field.to_json() for field in self.fields],
        }
        return document | ({"default": self.default.value} if self.default else {})


@dataclass(frozen=True, slots=True)
class Contract:
    """`file` is where it is written, as a directive imports it; `example` a piece of Nickel that holds."""

    name: str
    file: str
    doc: str
    fields: tuple[ContractField, ...]
    example: str | None = None

    def to_json(self) -> dict[str, Any]:
        """One entry of `contracts` in schemas/json/schema.json."""
        return {
            "name": self.name,
            "file": self.file,
            "doc": self.doc,
            "example": self.example,
            "fields": [field.to_json() for field in self.fields],
        }


@dataclass(frozen=True, slots=True)
class Contracts:
    """All of them."""

    all: tuple[Contract, ...]

    def named(self, name: str) -> Contract:
        """By its name, in whatever case, or what people call it. Raises LianError `contract-unknown`."""
        wanted = SHORT.get(name.lower(), name).lower()
        found = next((each for each in self.all if each.name.lower() == wanted), None)
        if found is None:
            hint = meant(name, (*SHORT, *(each.name for each in self.all)), "`lian schema` lists all contracts")
            raise LianError(Problem("contract-unknown", f"there is no contract {name}", hint=hint))
        return found

    def at(self, contract: Contract, path: Sequence[str]) -> tuple[Contract, ContractField | None]:
        """What lies on a path of field names, and in which contract. Names that are free (of an artifact, of a label)
        may be left out or stand there. Raises LianError `field-unknown`."""
        here, fields, field = contract, contract.fields, None
        walked = contract.name
        for name in path:
            if field is not None:
                here, fields = self._below(here, field)
            found = next((each for each in fields if each.name == name), None)
            if found is None and field is not None and field.is_map and field.contract is not None:
                continue  # a free name, such as an artifact's
            if found is None:
                raise LianError(_unknown(walked, name, fields))
            field, walked = found, f"{walked}.{name}"
        return here, field

    def _below(self, here: Contract, field: ContractField) -> tuple[Contract, tuple[ContractField, ...]]:
        if field.contract is None:
            return here, field.fields
        below = self.named(field.contract)
        return below, below.fields


def _unknown(walked: str, name: str, fields: Sequence[ContractField]) -> Problem:
    known = [field.name for field in fields]
    otherwise = f"it has {', '.join(known)}" if known else "nothing lies below it"
    return Problem("field-unknown", f"{walked} has no field {name}", hint=meant(name, known, otherwise))
