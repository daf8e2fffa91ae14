"""Which registries are told, and how: each kind renders the rule and reads back what it was told."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from reconciler.cache.policy import harbor, tokens, zot
from reconciler.cache.policy.compare import compare
from reconciler.cache.policy.findings import Check
from reconciler.cache.policy.rule import notes_of, rule_of
from reconciler.model.fleet import RegistryProvider

if TYPE_CHECKING:
    from reconciler.cache.policy.compare import Deployed
    from reconciler.model.desired import Desired

_MEMBERS = "members of projects are not looked at: give them as `members` (docs/cache-access.md)"


class Enforcer(StrEnum):
    """What keeps accounts from what they may not do."""

    ZOT = "zot"
    HARBOR = "harbor"
    DISTRIBUTION_TOKEN = "distribution-token"

    @property
    def projects(self) -> bool:
        """Whether it gives rights to projects alone, so that each namespace is one."""
        return self is Enforcer.HARBOR


def rendered(enforcer: Enforcer, desired: Desired) -> dict[str, Any]:
    """What to deploy. Raises LianError for what it could not enforce."""
    rule = rule_of(desired, projects=enforcer.projects)
    match enforcer:
        case Enforcer.ZOT:
            return zot.render(rule)
        case Enforcer.HARBOR:
            return harbor.render(rule)
        case Enforcer.DISTRIBUTION_TOKEN:
            return tokens.render(rule)


def checked(enforcer: Enforcer, desired: Desired, document: Any) -> Check:
    """How what is deployed differs from the rule. Raises LianError for what cannot be understood."""
    rule, notes = rule_of(desired, projects=enforcer.projects), notes_on(enforcer, desired)
    deployed: Deployed
    match enforcer:
        case Enforcer.ZOT:
            deployed = zot.read(document)
        case Enforcer.HARBOR:
            rule, deployed = harbor.named(rule), (told := harbor.read(document))
            notes += () if told.members_told else (_MEMBERS,)
        case Enforcer.DISTRIBUTION_TOKEN:
            deployed = tokens.read(document)
    return Check(enforcer.value, desired.revision, compare(rule, deployed), notes)


def notes_on(enforcer: Enforcer, desired: Desired) -> tuple[str, ...]:
    """What may not be what was meant: in the settings, and where lian itself puts caches elsewhere."""
    provider = desired.fleet.registry.provider
    notes = notes_of(desired)
    if enforcer.projects != (provider is RegistryProvider.HARBOR):
        where = "projects" if provider is RegistryProvider.HARBOR else "folders"
        notes += (f"registry.provider in lian.ncl is '{provider}: lian keeps caches in {where}, this policy does not",)
    return notes
