"""Parser directives (`# syntax=`, `# escape=`, `# check=`) and the frontend they choose (parser/directives.go)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from reconciler.desired.dockerfile.fault import Fault
from reconciler.desired.dockerfile.names import NameFault, parse_reference
from reconciler.desired.go_text import GO_SPACE, MAX_LINE

_FORM = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*(.+?)[\t\n\f\r ]*\Z")
_KNOWN = frozenset({"syntax", "escape", "check"})
_DOCKERFILE = re.compile(r"[^/]+/(?:[^/]+/)*docker/dockerfile(-upstream)?")
_STABLE = re.compile(r"latest|1(\.[0-9]+){0,2}")
SYNTAX_ARG = "BUILDKIT_SYNTAX"
"""The build argument that chooses a frontend, whatever the file says."""
BOM = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Directives:
    """The directives at a file's beginning; the first line that is none ends them."""

    sign: str = "#"
    found: dict[str, str] = field(default_factory=dict)
    ended: bool = False

    def read(self, line: str) -> str | None:
        """The name of the directive on this line, or None. Raises Fault for a second one of the same name."""
        if self.ended:
            return None
        match = _FORM.match(line.removeprefix(self.sign).lstrip(GO_SPACE)) if line.startswith(self.sign) else None
        name = match[1].lower() if match else ""
        if match is None or name not in _KNOWN:
            self.ended = True
            return None
        if name in self.found:
            raise Fault("syntax", f"the directive {name} stands here a second time")
        self.found[name] = match[2]
        return name


def detect_frontend(content: bytes) -> str | None:
    """The image that a `syntax` directive names: `# syntax=`, `// syntax=`, or a JSON document's field; else None."""
    content = content.removeprefix(BOM)
    if content.startswith(b"#!"):
        content = content.partition(b"\n")[2]
    for sign in ("#", "//"):
        value = _first_lines(content, sign).get("syntax")
        if value is not None:
            return value.partition(" ")[0]
    return _json_syntax(content)


def _first_lines(content: bytes, sign: str) -> dict[str, str]:
    directives = Directives(sign)
    for line in content.split(b"\n"):
        if len(line) > MAX_LINE:
            break
        try:
            directives.read(line.removesuffix(b"\r").decode("utf-8", "surrogateescape"))
        except Fault:
            break
        if directives.ended:
            break
    return directives.found


def _json_syntax(content: bytes) -> str | None:
    if content.lstrip(b" \t\r\n")[:1] != b"{":
        return None
    try:
        document = json.loads(content.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    value = document.get("syntax")
    return value if isinstance(value, str) else None


def is_built_in(frontend: str) -> bool:
    """True for the stable channel of docker/dockerfile, which is what the frontend inside BuildKit is built from."""
    try:
        reference = parse_reference(frontend)
    except NameFault:
        return False
    return reference.name == "docker.io/docker/dockerfile" and _STABLE.fullmatch(reference.with_tag.tag) is not None


def reads_dockerfiles(frontend: str) -> str | None:
    """The whole reference of a frontend image that reads Dockerfiles as this reader does: another channel or release of
    docker/dockerfile, there or copied to another registry; None for one that may read anything."""
    try:
        reference = parse_reference(frontend)
    except NameFault:
        return None
    return str(reference.with_tag) if _DOCKERFILE.fullmatch(reference.name) else None
