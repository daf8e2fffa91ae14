"""Image references and platforms as BuildKit writes them (distribution/reference v0.6, containerd/platforms v1)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import unquote

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_REFERENCE = re.compile(
    rf"(?P<domain>{_DOMAIN})/(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>[A-Za-z0-9_+.:-]+))?"
)
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}")
_HEX64 = re.compile(r"[a-f0-9]{64}")
MAX_PATH = 255
SCRATCH = "scratch"


class NameFault(ValueError):
    """Not a reference, or not a platform; the message says why."""


@dataclass(frozen=True, slots=True)
class ImageName:
    """A normalised reference: `name` has its registry, `tag` and `digest` may be empty."""

    name: str
    tag: str
    digest: str

    @property
    def with_tag(self) -> ImageName:
        """The same with the tag `latest` if it has neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag="latest")

    @property
    def context(self) -> str:
        """The name under which a named context stands for it: the familiar form without `:latest`."""
        name = self.name.removeprefix("docker.io/")
        if name != self.name and name.startswith("library/") and name.count("/") == 1:
            name = name.removeprefix("library/")
        return str(ImageName(name, self.tag, self.digest)).removesuffix(":latest")

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str) -> ImageName:
    """The image that a written reference means. Raises NameFault."""
    if _HEX64.fullmatch(text):
        raise NameFault("64 hex digits are not an image's name")
    domain, rest = _split_domain(text)
    if (path := rest.partition(":")[0]) != path.lower():
        raise NameFault(f"the repository {path!r} must be lower-case")
    match = _REFERENCE.fullmatch(f"{domain}/{rest}")
    if match is None:
        raise NameFault("it is not of the form [HOST[:PORT]/]NAME[:TAG][@DIGEST]")
    if len(match["path"]) > MAX_PATH:
        raise NameFault(f"the repository has more than {MAX_PATH} characters")
    digest = match["digest"] or ""
    if digest and not _DIGEST.fullmatch(digest):
        raise NameFault(f"{digest[:80]!r} is not a digest")
    return ImageName(f"{match['domain']}/{match['path']}", match["tag"] or "", digest)


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if not slash:
        return "docker.io", f"library/{text}"
    if first == "index.docker.io":
        first = "docker.io"
    elif not (first == "localhost" or set(first) & set(".:") or first != first.lower()):
        first, rest = "docker.io", text
    if first == "docker.io" and "/" not in rest:
        rest = f"library/{rest}"
    return first, rest


_OS_PART = re.compile(r"([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?")
_PART = re.compile(r"[A-Za-z0-9_.-]+")
_SYSTEMS = re.compile(
    "aix|android|darwin|dragonfly|freebsd|hurd|illumos|ios|js|linux|nacl|netbsd|openbsd|plan9|solaris|windows|zos"
)
_MACHINES = re.compile(
    "386|amd64|amd64p32|arm|armbe|arm64|arm64be|ppc64|ppc64le|loong64|mips|mipsle|mips64|mips64le|mips64p32"
    "|mips64p32le|ppc|riscv|riscv64|s390|s390x|sparc|sparc64|wasm"
)


@dataclass(frozen=True, slots=True)
class PlatformName:
    """A platform in parts; `version` and `features` are Windows matters."""

    system: str
    machine: str
    variant: str = ""
    version: str = ""
    features: tuple[str, ...] = ()

    @property
    def normal(self) -> PlatformName:
        """The form in which BuildKit compares platforms."""
        machine, variant = _machine(self.machine, self.variant)
        return replace(self, machine=machine, variant=variant)

    @property
    def short(self) -> str:
        """`os/architecture[/variant]`."""
        return "/".join(filter(None, (self.system, self.machine, self.variant)))

    def __str__(self) -> str:
        options = _encoded(self.version) + "".join(f"+{_encoded(f)}" for f in sorted(set(self.features)))
        system = f"{self.system}({options})" if options else self.system
        return "/".join(filter(None, (system, self.machine, self.variant)))


def parse_platform(text: str, builder: PlatformName | None) -> PlatformName:
    """The platform that a text means; parts that are left out come from the builder. Raises NameFault."""
    parts = text.split("/", 3)
    match = _OS_PART.fullmatch(parts[0])
    if match is None or not all(_PART.fullmatch(part) for part in parts[1:]):
        raise NameFault(f"{text!r} is not of the form os/architecture[/variant]")
    features = tuple(unquote(feature) for feature in (match[3] or "").split("+")[1:])
    known = PlatformName(_system(match[1]), "", "", unquote(match[2] or ""), features)
    if len(parts) == 1:
        return _from_one_part(parts[0], known, builder)
    if len(parts) > 3:
        raise NameFault(f"{text!r} has too many parts")
    machine, variant = _machine(parts[1], parts[2] if len(parts) == 3 else "")
    if len(parts) == 2 and (machine, variant) == ("arm", "v7"):
        variant = ""
    if len(parts) == 3 and machine == "arm64" and not variant:
        variant = "v8"
    return replace(known, machine=machine, variant=variant)


def _from_one_part(text: str, known: PlatformName, builder: PlatformName | None) -> PlatformName:
    machine, variant = _machine(text, "")
    here = builder or PlatformName("linux", "amd64")
    if _SYSTEMS.fullmatch(known.system):
        return replace(known, machine=here.machine)
    if _MACHINES.fullmatch(machine):
        return replace(known, system=here.system, machine=machine, variant="" if variant == "v7" else variant)
    raise NameFault(f"{text!r} is neither an operating system nor an architecture")


def _system(text: str) -> str:
    return {"macos": "darwin"}.get(text.lower(), text.lower())


def _machine(machine: str, variant: str) -> tuple[str, str]:
    machine, variant = machine.lower(), variant.lower()
    machine = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    fixed = {"i386": ("386", ""), "armhf": ("arm", "v7"), "armel": ("arm", "v6")}
    variants = {
        "amd64": {"v1": ""},
        "arm64": dict.fromkeys(("8", "v8", "v8.0"), "") | dict.fromkeys(("9", "9.0", "v9.0"), "v9"),
        "arm": {"": "v7", "7": "v7", "5": "v5", "6": "v6", "8": "v8"},
    }
    return fixed.get(machine) or (machine, variants.get(machine, {}).get(variant, variant))


def _encoded(option: str) -> str:
    for sign, code in (("%", "%25"), ("+", "%2B"), ("(", "%28"), (")", "%29"), ("/", "%2F")):
        option = option.replace(sign, code)
    return option
