"""Makes Dockerfiles that are awkward but often right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence

DIGEST = "@sha256:" + "b" * 64
NAMES = ["base", "build", "final", "a", "Base", "context", "alpine", "x.y", "a--b", "s1"]
VARIABLES = ["V", "W", "IMG", "UNSET", "TARGETARCH", "TARGETPLATFORM", "BUILDPLATFORM", "TARGETSTAGE", "TARGETVARIANT"]
IMAGES = [
    *["alpine", "alpine:3", "golang:1.22", "reg.io/x/y:z", "localhost:5000/i", "docker.io/library/alpine:latest"],
    *[
        "index.docker.io/foo",
        "scratch",
        "Reg.io/Foo",
        "a/b",
        f"x{DIGEST}",
        f"a:b{DIGEST}",
        '"alpine"',
        "a__b",
        "UPPER/x",
    ],
    *["${IMG:-alpine}", "$IMG", "golang:${V:-1}", "a/${W-x}b", '${UNSET:+x}${UNSET-al"p"ine}', "${IMG#docker.io/}"],
    *["${IMG%:*}", "${IMG%%:*}", "${IMG/a/b}", "${IMG//a/b}x", "${IMG##*/}", "final-${TARGETARCH}"],
]
WRONG_IMAGES = ["_a", "f" * 64, "UPPER/x", "a//b", "a:", "a@b"]
PLATFORMS = [
    *[
        "linux/amd64",
        "linux/arm64",
        "$BUILDPLATFORM",
        "$TARGETPLATFORM",
        "linux/arm/v7",
        "linux/386",
        "arm64",
        "aarch64",
    ],
    *[
        "linux/arm64/v8",
        "${UNSET:-linux/386}",
        "linux/$TARGETARCH",
        "Darwin/AMD64",
        "windows(10.0.1)/amd64",
        "x",
        "$UNSET",
    ],
]
PIECES = [
    *['"', "'", "\\", "<", "<<", "`", "é", '\\"', "\\$", "*", "?", "\\*", "\\}", "\\/", "$", "{", "}", "/", " "],
    *["alpine", "a", "b", "reg.io/x", "1.2", ":3", ":", "-", "linux", "amd64", DIGEST],
]
MODIFIERS = [":-", "-", ":+", "+", ":?", "?", "#", "##", "%", "%%", "/", "//", ":", ":#"]
FIRST = [
    *["# escape=`", "# escape=\\", "#escape = `", "# check=skip=all", "# foo=bar", "# escape=x", "  # escape=`"],
    *["# syntax=docker/dockerfile:1\n# escape=`", "# check=a\n# check=b", "#!/bin/x", "\ufeff# escape=`", ""],
]
PLAIN = [
    *[
        "WORKDIR /x",
        "USER u",
        "LABEL a=b",
        "EXPOSE 80",
        'CMD ["a"]',
        "ENTRYPOINT []",
        "VOLUME /x",
        'SHELL ["a"]',
        "CMD",
    ],
    *["HEALTHCHECK NONE", "HEALTHCHECK --interval=1s CMD x", "RUN [a", "ADD https://e.com/f /d", "ADD git@h:a/b /d"],
    *[
        "RUN echo \\\n  FROM x",
        "RUN echo \\\n# c\n && y",
        "RUN echo \\\n\n z",
        "RUN a\\ \n b",
        "RUN a\\\\\nRUN b",
        "RUN `\n c",
    ],
]
WRONG = [
    *[
        "FORM x",
        "HEALTHCHECK x",
        'RUN ["a", 1]',
        "USER",
        "COPY a",
        "ENV a",
        "ENV =b",
        "LABEL x",
        "ARG",
        "SHELL a",
        "EXPOSE",
    ],
    *["ONBUILD ONBUILD RUN x", "RUN --netwrk=x y", "COPY --link --link a b", "COPY --link=maybe a b", "VOLUME []"],
    *[
        "RUN --network=foo x",
        "ADD --from=x a b",
        "RUN --mount=type=x y",
        'VOLUME ["a",""]',
        "HEALTHCHECK --retries=-1 CMD x",
    ],
    *["HEALTHCHECK --interval=1us CMD x", "ONBUILD FROM x", "COPY --from=$V a b", "RUN --mount=from=$V,target=/x y"],
]
HEREDOCS = [
    *[(" <<EOF /x", "EOF"), (" <<-EOF /x", "\tEOF"), (' <<"EOF" /x', "EOF"), (" <<A <<B /x", "A\nFROM b\nB")],
    *[(" 3<<EOF /x", "EOF"), ("<<EOF /x", "EOF"), (" <<E$V /x", "E$V"), (" <<'E F' /x", "E F"), (' <<E"O"F /x', "EOF")],
]
CONTEXTS = [
    *[*NAMES, "alpine::linux/amd64", "golang:1.22", "base::linux/arm/v7", "alpine:3", "a::linux/arm64"],
    *["reg.io/x/y:z", "localhost:5000/i", "docker.io/library/alpine"],
]


@dataclass(frozen=True, slots=True)
class Case:
    """One question: what does this target of this Dockerfile bring in?"""

    content: bytes
    target: str | None
    args: dict[str, str]
    platform: str
    builder: str
    contexts: tuple[str, ...]


class _Writer:
    """Draws the parts of one Dockerfile."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw

    def one(self, choices: Sequence[str]) -> str:
        return self.draw(st.sampled_from(choices))

    def chance(self, percent: int) -> bool:
        return self.draw(st.integers(0, 99)) < percent

    def count(self, low: int, high: int) -> range:
        return range(self.draw(st.integers(low, high)))

    def variable(self, depth: int) -> str:
        name = self.one(VARIABLES)
        if self.chance(50):
            return self.one([f"${name}", f"${{{name}}}"])
        modifier = self.one(MODIFIERS)
        second = f"/{self.word(depth + 1)}" if modifier.startswith("/") else ""
        return f"${{{name}{modifier}{self.word(depth + 1)}{second}}}"

    def word(self, depth: int = 0) -> str:
        parts = (
            self.variable(depth) if depth < 3 and self.chance(30) else self.one(PIECES)
            for _ in self.count(0 if depth else 1, 3)
        )
        return "".join(parts)

    def image(self) -> str:
        if self.chance(5):
            return self.word()
        return self.one(NAMES if self.chance(50) else IMAGES if self.chance(96) else WRONG_IMAGES)

    def stage(self) -> str:
        platform = (
            f" --platform={self.one(PLATFORMS if self.chance(95) else ['x', '$UNSET', 'a/b/c/d'])}"
            if self.chance(25)
            else ""
        )
        name = f" {self.one(['AS', 'as', 'aS'])} {self.one(NAMES)}" if self.chance(60) else ""
        return f"{self.one(['FROM', 'from'])}{platform} {self.image()}{name}"

    def source(self) -> str:
        if self.chance(4):
            return self.image()
        return self.one(["0", "1", "2", *NAMES] if self.chance(60) else [name for name in IMAGES if "$" not in name])

    def heredoc(self) -> str:
        begin, end = self.draw(st.sampled_from(HEREDOCS))
        if self.chance(5):
            end = self.one(["\tEOF", "EOF \nEOF", "E$V", "A"])
        return f"{self.one(['RUN', 'COPY', 'ADD', 'run'])}{begin}{self.one([' /x', '', ' && b'])}\nFROM nope\n{end}"

    def step(self, trigger: bool = True) -> str:
        kind = self.draw(st.integers(0, 99))
        if kind < 35:
            return f"COPY --from={self.source()} a b"
        if kind < 55:
            mounts = (
                f" --mount={self.one(['', 'type=bind,'])}from={self.source()},target=/x" for _ in self.count(1, 2)
            )
            return f"RUN{''.join(mounts)} echo"
        if kind < 65:
            return f"ARG {self.one(VARIABLES)}{self.one(['', '=x', '=$V'])}"
        if kind < 73:
            return self.heredoc()
        if kind < 80 and trigger:
            return f"ONBUILD {self.step(trigger=False)}"
        return self.one(WRONG) if kind >= 98 else self.one(PLAIN)

    def lines(self) -> list[str]:
        lines = [self.one(FIRST)] if self.chance(15) else []
        if self.chance(70):
            lines.append("ARG IMG=docker.io/team/app:1")
        for _ in self.count(0, 3):
            value = self.one(["", f"={self.one(IMAGES)}", f"={self.one(NAMES)}", "=1", '="x y"'])
            lines.append(f"ARG {self.one(VARIABLES)}{value}" if self.chance(90) else f"ARG V={self.word()}")
        for _ in self.count(1, 4):
            lines += [self.stage(), *(self.step() for _ in self.count(0, 3))]
        return lines


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A Dockerfile with the arguments of a build."""
    writer = _Writer(draw)
    text = writer.one(["\n", "\n", "\r\n"]).join(writer.lines()) + writer.one(["\n", ""])
    return Case(
        text.encode(),
        writer.one(NAMES) if writer.chance(8) else None,
        {name: writer.one([*IMAGES, *NAMES, ""]) for name in VARIABLES if writer.chance(5)},
        writer.one(["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm", "linux/arm64/v8"]),
        writer.one(["linux/amd64", "linux/arm64", "linux/arm/v6"]),
        tuple(dict.fromkeys(writer.one(CONTEXTS) for _ in writer.count(0, 3))),
    )
