"""What a `.build-spec.ncl` should say, where the runs of a context's artifacts ask for another size than is written
down or, where nothing is, than their language gets. Pure: texts in, texts out."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.model.tier import BuildSpec, Tier
from reconciler.model.wording import count
from reconciler.sizing.choose import Rule, size
from reconciler.sizing.evidence import Evidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.model.artifact import Artifact
    from reconciler.model.tier import Sizes
    from reconciler.sizing.choose import Sizing

_PARTS = ("cpu", "memory")
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_FIELD = rf"(?:cpu|memory_gb|time_budget|language)\s*=\s*(?:{_NUMBER}|\"[^\"%\\\n]*\")"
_GAP = r"(?:\s|#[^\n]*(?:\n|$))*"
_PLAIN = re.compile(rf"{_GAP}\{{{_GAP}(?:{_FIELD}{_GAP}(?:,{_GAP}{_FIELD}{_GAP})*(?:,{_GAP})?)?\}}{_GAP}")
_ODD = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What would steer the terminal that a patch is read on."""
_TOKEN = re.compile(rf"#[^\n]*|\"[^\"\n]*\"|(?P<name>cpu|memory_gb)(?P<is>\s*=\s*)(?P<value>{_NUMBER})|(?P<open>\{{)")


@dataclass(frozen=True, slots=True)
class Asked:
    """One artifact, what its context's file says, and what its runs say."""

    artifact: Artifact
    spec: BuildSpec | None
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Wish:
    """What one context's file should say: None for what runs tell nothing of. `now` and `then` are the tiers with and
    without it, of the artifact that needs most."""

    artifacts: tuple[str, ...]
    cpu: int | None
    memory_gb: float | None
    now: Tier
    then: Tier
    runs: int


@dataclass(frozen=True, slots=True)
class Advice:
    """A size that no file of the context can change: the directive itself says it."""

    artifact: str
    now: Tier
    then: Tier


def wish_of(asked: Sequence[Asked], sizes: Sizes) -> tuple[Wish | None, tuple[Advice, ...]]:
    """For the artifacts of one context, all of which its file counts for: what it should say, None if it need not
    change, and what stands in directives."""
    free = [one for one in asked if not _says_a_size(one.artifact)]
    advice = tuple(advised for one in asked if _says_a_size(one.artifact) and (advised := _advice(one, sizes)))
    pairs = [(_written(one, sizes), _by_runs(one, sizes)) for one in free]
    if not any(_told(by_runs) for _, by_runs in pairs):
        return None, advice
    cpu = max(by_runs.tier.cpu for _, by_runs in pairs)
    memory = max(by_runs.tier.memory_gb for _, by_runs in pairs)
    now, then = max(((w.tier, r.tier) for w, r in pairs), key=lambda pair: (pair[1].memory_gb, pair[1].cpu))
    if all((w.tier.cpu, w.tier.memory_gb) == (cpu, memory) for w, _ in pairs):
        return None, advice
    known_cpu, known_memory = (any(getattr(r, part).rule is Rule.EARLIER_RUNS for _, r in pairs) for part in _PARTS)
    names = tuple(str(one.artifact.name) for one in free)
    runs = sum(len(one.evidence.runs) for one in free)
    then = replace(then, cpu=cpu, memory_gb=memory)
    return Wish(names, cpu if known_cpu else None, memory if known_memory else None, now, then, runs), advice


def _says_a_size(artifact: Artifact) -> bool:
    said = artifact.runner
    return said is not None and any(one is not None for one in (said.cpu, said.memory_gb, said.tier))


def _written(one: Asked, sizes: Sizes) -> Sizing:
    """What is configured: as if nothing had ever been built."""
    return size(one.artifact, one.spec, Evidence(), sizes)


def _by_runs(one: Asked, sizes: Sizes) -> Sizing:
    """What runs ask for, and the language where they tell nothing."""
    language = BuildSpec("", language=one.spec.language) if one.spec else None
    return size(replace(one.artifact, runner=None), language, one.evidence, sizes)


def _told(sizing: Sizing) -> bool:
    return Rule.EARLIER_RUNS in {sizing.cpu.rule, sizing.memory.rule}


def _advice(one: Asked, sizes: Sizes) -> Advice | None:
    now, then = _written(one, sizes), _by_runs(one, sizes)
    same = (now.tier.cpu, now.tier.memory_gb) == (then.tier.cpu, then.tier.memory_gb)
    return None if same or not _told(then) else Advice(str(one.artifact.name), now.tier, then.tier)


def new_text(wish: Wish) -> str:
    """A file that says it."""
    said = "".join(f"  {name} = {value:g},\n" for name, value in _fields(wish))
    return f"# {_source(wish)}\n{{\n{said}}}\n"


def changed_text(text: str, wish: Wish) -> str | None:
    """The file with these numbers in it, and everything else as it was; None if it is more than a plain record, which
    nobody but its author should change."""
    if not _PLAIN.fullmatch(text) or _ODD.search(text):
        return None
    left = dict(_fields(wish))
    opened = -1
    parts, done = list[str](), 0
    for token in _TOKEN.finditer(text):
        if token["open"] and opened < 0:
            opened = len(parts)
            parts += [text[done : token.end()], ""]
        elif token["name"] in left:
            value = left.pop(token["name"])
            parts.append(text[done : token.start("value")] + f"{value:g}")
        else:
            continue
        done = token.end()
    parts.append(text[done:])
    lines = "\n" in text[text.index("{") :].rstrip()
    added = ((f"\n  {name} = {value:g}," if lines else f" {name} = {value:g},") for name, value in left.items())
    parts[opened + 1] = "".join(added)
    return "".join(parts)


def _fields(wish: Wish) -> Iterable[tuple[str, float]]:
    found = (("cpu", wish.cpu), ("memory_gb", wish.memory_gb))
    return [(name, value) for name, value in found if value is not None]


def _source(wish: Wish) -> str:
    several = wish.artifacts[0] if len(wish.artifacts) == 1 else f"{wish.artifacts[0]} and what shares its context"
    return f"What {count(wish.runs, 'run')} of {several} needed."
