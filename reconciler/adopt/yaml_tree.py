"""YAML as a tree that knows where each value stands: bounded, without tags of its own, without a value constructed.

Scalars stay texts, as the tools that read compose files print them: nothing that lian carries over is a number.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from reconciler.adopt.yaml_scalar import Scalar, read_scalar
from reconciler.model.artifact import Place
from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_BYTES = 4 << 20
MAX_NODES = 500_000
"""Values with every alias written out: a few lines of aliases of aliases would be more than a machine holds."""
MAX_DEPTH = 100
_STANDARD = "tag:yaml.org,2002:"
_MERGE = "<<"
_MEND = "mend it there, or give another file by --from"
_KNOWN_TAGS = frozenset(_STANDARD + name for name in ("str", "int", "float", "bool", "null", "map", "seq"))


@dataclass(frozen=True, slots=True)
class Node:
    """A value: `fields` of a mapping, `items` of a list, else a scalar. Its place is that of its key, if it has one."""

    place: Place
    scalar: Scalar | None = None
    items: tuple[Node, ...] | None = None
    fields: Mapping[str, Node] | None = None
    size: int = 1
    """Values in it, itself counted."""

    @property
    def text(self) -> str | None:
        """What it says, None for null, a list and a mapping."""
        return self.scalar.text if self.scalar is not None else None

    @property
    def is_null(self) -> bool:
        """Whether nothing is said."""
        return self.scalar is not None and self.scalar.text is None

    def get(self, key: str) -> Node | None:
        """A field of a mapping that is there and not null."""
        found = (self.fields or {}).get(key)
        return None if found is None or found.is_null else found


@dataclass(slots=True)
class _Open:
    """A list or mapping that is being read."""

    place: Place
    anchor: str | None
    is_mapping: bool
    items: list[Node] = field(default_factory=list)
    fields: dict[str, Node] = field(default_factory=dict)
    merged: dict[str, Node] = field(default_factory=dict)
    key: Node | None = None
    size: int = 1


def read_yaml(content: bytes, file: str) -> Node | None:
    """The one document of a file; None for an empty one.

    Raises LianError with its place: `yaml-syntax` (also for a key that comes twice, a tag, two documents),
    `yaml-too-large` (bytes, depth, or what its aliases come to).
    """
    import yaml

    if len(content) > MAX_BYTES:
        raise LianError(_too_large(f"it is larger than {MAX_BYTES >> 20} MiB", Place(file)))
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Reader(file).read(yaml.parse(content.decode("utf-8"), Loader=loader))
    except UnicodeDecodeError as error:
        raise LianError(
            Problem("yaml-syntax", "a file is not UTF-8", file, cause=str(error.reason), hint=_MEND)
        ) from error
    except yaml.YAMLError as error:
        raise LianError(_unreadable(error, file)) from error


class _Reader:
    """Events -> one tree. No recursion, so that depth is a number and not the end of the stack."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._anchors: dict[str, Node] = {}
        self._open: list[_Open] = []
        self._root: Node | None = None

    def read(self, events: Iterator[Any]) -> Node | None:
        documents = 0
        for event in events:
            match type(event).__name__:
                case "DocumentStartEvent":
                    documents += 1
                    if documents > 1:
                        raise LianError(_wrong("the file holds more than one YAML document", self._place(event)))
                case "ScalarEvent":
                    self._put(self._scalar(event), event.anchor)
                case "AliasEvent":
                    self._put(self._alias(event), None)
                case "MappingStartEvent" | "SequenceStartEvent":
                    self._start(event)
                case "MappingEndEvent" | "SequenceEndEvent":
                    self._end()
        return self._root

    def _place(self, event: Any) -> Place:
        return Place(self._file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _scalar(self, event: Any) -> Node:
        place = self._place(event)
        self._check_tag(event, place)
        is_text = event.tag == _STANDARD + "str" or (event.style or "").strip() != ""  # plain: None, or "" of libyaml's
        return Node(place, Scalar(event.value) if is_text else read_scalar(event.value))

    def _check_tag(self, event: Any, place: Place) -> None:
        if event.tag not in {None, "!"} | _KNOWN_TAGS:
            hint = "write the value without a tag"
            raise LianError(_wrong(f"the tag {event.tag} cannot be read", place, hint))

    def _alias(self, event: Any) -> Node:
        found = self._anchors.get(event.anchor)
        if found is None:
            within = any(one.anchor == event.anchor for one in self._open)
            said = "stands within what it names" if within else "names nothing that stands before it"
            raise LianError(_wrong(f"the alias *{event.anchor} {said}", self._place(event)))
        return replace(found, place=self._place(event))

    def _start(self, event: Any) -> None:
        place = self._place(event)
        self._check_tag(event, place)
        if len(self._open) >= MAX_DEPTH:
            raise LianError(_too_large(f"its values lie more than {MAX_DEPTH} deep", place))
        self._open.append(_Open(place, event.anchor, type(event).__name__.startswith("Mapping")))

    def _end(self) -> None:
        done = self._open.pop()
        if done.is_mapping:
            fields = {**{k: v for k, v in done.merged.items() if k not in done.fields}, **done.fields}
            node = Node(done.place, fields=fields, size=done.size)
        else:
            node = Node(done.place, items=tuple(done.items), size=done.size)
        self._put(node, done.anchor)

    def _put(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._open:
            self._root = node
            return
        into = self._open[-1]
        into.size += node.size
        if into.size > MAX_NODES:
            said = f"with its aliases written out it has more than {MAX_NODES:,} values"
            raise LianError(_too_large(said, node.place))
        if not into.is_mapping:
            into.items.append(node)
        elif into.key is None:
            if node.text is None:
                raise LianError(_wrong("a key is a list, a mapping or null", node.place, "give it a name"))
            into.key = node
        else:
            self._field(into, into.key, node)
            into.key = None

    def _field(self, into: _Open, key: Node, value: Node) -> None:
        name = key.text or ""
        if name == _MERGE and not (key.scalar and key.scalar.is_quoted):
            self._merge(into, value, key.place)
        elif name in into.fields:
            raise LianError(_wrong(f"{name} comes twice in one mapping", key.place, "keep one of them"))
        else:
            into.fields[name] = replace(value, place=key.place)

    def _merge(self, into: _Open, value: Node, place: Place) -> None:
        """`<<`: what is written in the mapping itself goes first, then the first of several that are merged."""
        for each in (value,) if value.items is None else value.items:
            if each.fields is None:
                raise LianError(_wrong("<< merges mappings, and this is none", place))
            for name, found in each.fields.items():
                into.merged.setdefault(name, found)


def _wrong(message: str, place: Place, hint: str | None = None) -> Problem:
    return Problem("yaml-syntax", message, place.file, place.line or None, place.column or None, hint=hint or _MEND)


def _too_large(cause: str, place: Place) -> Problem:
    message = "a YAML file is too large to be read"
    hint = "give a smaller file by --from, or . for Dockerfiles alone"
    return Problem(
        "yaml-too-large", message, place.file, place.line or None, place.column or None, cause=cause, hint=hint
    )


def _unreadable(error: Any, file: str) -> Problem:
    mark = getattr(error, "problem_mark", None)
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (None, None)
    said = " ".join(filter(None, (getattr(error, "context", None), getattr(error, "problem", None)))) or str(error)
    return Problem("yaml-syntax", "a file is not YAML", file, line, column, cause=said, hint=_MEND)
