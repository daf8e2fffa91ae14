"""The flags of `lian build` and the variables behind them: what they ask for. All that is wrong is told at once."""

from __future__ import annotations

import binascii
import posixpath
import re
from base64 import b32decode
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.model.name import MAX_NAME, ArtifactName, is_name
from reconciler.model.one_build import DOCKERFILE, ByFile, ByFlags
from reconciler.model.problem import LianError, Problem, redact
from reconciler.model.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.model.one_build import Asked
    from reconciler.model.reference import Repository
    from reconciler.model.secret import Secret

REQUIRED = ("--workspace", "--context", "--image")
VARIABLES: Mapping[str, str] = {
    "--workspace": "BUILDKIT_WORKSPACE",
    "--runner-image": "BUILDKIT_RUNNER_IMAGE",
    "--orchestrator-url": "ORCHESTRATOR_URL",
    "--nats-url": "NATS_URL",
    "--nats-subject-prefix": "NATS_SUBJECT_PREFIX",
}
"""Flags with a variable behind them, beside the seed's and the SSH key's."""
SEED_VARIABLE = "NATS_NKEY_SEED"

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_JOINTS = re.compile(r"[._]+")
_PLACE = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
_NATS_URL = re.compile(rf"(?:nats|tls)://{_PLACE}")
_HTTP_URL = re.compile(rf"https?://{_PLACE}/?")
_SUBJECT = re.compile(r"[a-zA-Z0-9_-]+(?:\.[a-zA-Z0-9_-]+)*")
_SEED = re.compile(r"S[ACNOUX][A-Z2-7]{56}")
_RESERVED = "lian-"


@dataclass(frozen=True, slots=True)
class Flags:
    """What is said of one build: `given` on the command line, `behind` it by variables; flag -> value, without those of
    no value. `seed` is the NKEY seed, wherever it came from."""

    given: Mapping[str, str]
    behind: Mapping[str, str]
    seed: Secret | None = None

    def get(self, flag: str) -> str | None:
        """What holds: the command line comes first."""
        return self.given.get(flag, self.behind.get(flag))

    def asked(self) -> Asked:
        """What is to be built. With `--directives` nothing else counts. Raises LianError with all that is wrong."""
        if (file := self.get("--directives")) is not None:
            return ByFile(file)
        missing = [flag for flag in REQUIRED if not self.get(flag)]
        problems = [*([_missing(missing)] if missing else []), *self._invalid(), *self._unsupported()]
        found: ByFlags | None = None
        if not missing:
            try:
                found = self._by_flags()
            except LianError as error:
                problems = [*error.problems, *problems]
        if problems or found is None:
            raise LianError(problems)
        return found

    def unheeded(self) -> str | None:
        """A sentence about what was given in vain, if anything was."""
        vain = sorted(flag for flag in self.given if flag != "--directives")
        if "--directives" not in self.given or not vain:
            return None
        return f"--directives says what is built: {', '.join(vain)} {'has' if len(vain) == 1 else 'have'} no effect"

    def _by_flags(self) -> ByFlags:
        problems: list[Problem] = []
        workspace, image = self.get("--workspace") or "", self.get("--image") or ""
        if not is_name(workspace):
            hint = f"lower-case letters, digits and inner dashes, at most {MAX_NAME}, such as shop"
            problems.append(
                Problem("workspace-name", f"{workspace[:140]!r} is no workspace's name", "--workspace", hint=hint)
            )
        reference: Reference | None = None
        try:
            reference = _image(image)
        except _Wrong as wrong:
            problems.append(Problem(wrong.code, f"--image {image[:300]!r} {wrong}", "--image", hint=wrong.hint))
        context, dockerfile = self.get("--context") or "", self.get("--dockerfile") or DOCKERFILE
        problems += _bad_context(context)
        problems += _bad_dockerfile(dockerfile)
        if problems or reference is None:
            raise LianError(problems)
        name = ArtifactName(workspace, _artifact(reference.repository))
        path = posixpath.normpath(dockerfile)
        return ByFlags(name, reference.repository, reference.tag or "", context, path, self.get("--language"))

    def _invalid(self) -> Iterator[Problem]:
        """Values that mean nothing, wherever they came from."""
        for flag, (pattern, code, wanted) in _FORMS.items():
            if (value := self.get(flag)) is not None and not pattern.fullmatch(value):
                yield Problem(code, f"{self._named(flag)} {redact(value)[:300]!r} is not valid", flag, hint=wanted)
        if (image := self.get("--runner-image")) is not None:
            try:
                Reference.parse(image)
            except ValueError as error:
                message = f"{self._named('--runner-image')} {image[:300]!r} is no image"
                yield Problem("runner-image-invalid", message, "--runner-image", cause=str(error))
        if self.seed and not is_seed(self.seed.reveal()):
            message = "the NKEY seed is not valid; it is not shown here"
            hint = f"58 characters that begin with SU, as `nk -gen user` prints them, in {SEED_VARIABLE}"
            yield Problem("nats-seed-invalid", message, "--nats-nkey-seed", hint=hint)

    def _unsupported(self) -> Iterator[Problem]:
        """What a later release will do: refused, because whoever asks for it would wait for it in vain."""
        for flag, (code, what, hint) in _NOT_YET.items():
            if (value := self.get(flag)) is not None:
                said = f"{self._named(flag)} {redact(value)[:300]}"
                yield Problem(code, f"{said}: {what}", flag, hint=f"leave it out; {hint}")

    def _named(self, flag: str) -> str:
        """The flag, or the variable that stands for it: what a person has to take away."""
        return flag if flag in self.given else VARIABLES.get(flag, flag)


_FORMS = {
    "--orchestrator-url": (_HTTP_URL, "orchestrator-url-invalid", "write http(s)://HOST[:PORT]"),
    "--nats-url": (_NATS_URL, "nats-url-invalid", "write nats://HOST[:PORT] or tls://HOST[:PORT], without a user"),
    "--nats-subject-prefix": (_SUBJECT, "nats-prefix-invalid", "letters, digits, _ and -, joined by dots"),
}
_NOT_YET = {
    "--orchestrator-url": (
        "orchestrator-unsupported",
        "builds by an orchestrator are not there yet",
        "`compute` in lian.ncl says where builds run",
    ),
    "--nats-url": ("events-unsupported", "events are not there yet", "the result is printed on stdout"),
}


class _Wrong(ValueError):
    """Why an image cannot be meant, with what to write instead."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code, self.hint = code, hint


def _image(text: str) -> Reference:
    """`HOST[:PORT]/PATH[:TAG]`; no tag is `latest`. Raises _Wrong."""
    hint = "write HOST/PATH:TAG, such as registry.example/shop/api:1.4"
    if "://" in text:
        raise _Wrong("image-invalid", "is a URL", hint)
    try:
        reference = Reference.parse(text)
    except ValueError as error:
        raise _Wrong("image-invalid", f"is not valid: {error}", hint) from error
    if reference.digest is not None:
        raise _Wrong("image-invalid", "names a digest, and what comes out has one of its own", hint)
    first = text.partition("/")[0]
    if "/" not in text or not (any(sign in first for sign in ".:[") or first == "localhost"):
        example = f"write the registry's host in front, such as registry.example/{text[:140]}"
        raise _Wrong("image-not-qualified", "names no registry", example)
    if (reference.tag or "").startswith(_RESERVED):
        raise _Wrong("image-invalid", f"has a tag that begins with {_RESERVED}, and those are lian's own", hint)
    if not is_name(_artifact(reference.repository)):
        raise _Wrong("image-invalid", f"has a last part of more than {MAX_NAME} characters", "give it a shorter name")
    return reference


def _artifact(image: Repository) -> str:
    """What the artifact is called: the last part of the image's path, as far as names go."""
    return _JOINTS.sub("-", image.path.rpartition("/")[2])


def _bad_context(path: str) -> Iterator[Problem]:
    if "://" in path:
        message = f"--context {redact(path)} is a URL, and contexts are folders"
        hint = "clone the repository, and give --context a folder of the clone; --rev says which commit"
        yield Problem("context-url", message, "--context", hint=hint)
    elif _CONTROL.search(path):
        hint = "rename the folder: control characters and bytes that are not UTF-8 cannot be told of it"
        yield Problem("context-missing", f"--context {path[:300]!r} holds what no name should", "--context", hint=hint)


def _bad_dockerfile(path: str) -> Iterator[Problem]:
    normal = posixpath.normpath(path)
    if path.startswith("/") or normal == ".." or normal.startswith("../"):
        message = f"--dockerfile {path[:300]!r} does not lie in the context"
        hint = f"it starts from the context's folder, such as docker/{DOCKERFILE}; or widen --context"
        yield Problem("dockerfile-outside", message, "--dockerfile", hint=hint)
    elif _CONTROL.search(path) or normal == ".":
        message = f"--dockerfile {path[:300]!r} is no file's path"
        yield Problem("dockerfile-missing", message, "--dockerfile", hint=f"such as docker/{DOCKERFILE}")


def _missing(flags: list[str]) -> Problem:
    named = [f"{flag} (or {VARIABLES[flag]})" if flag in VARIABLES else flag for flag in flags]
    listed = ", ".join(named[:-1]) + (" and " if named[:-1] else "") + named[-1]
    message = f"{listed} {'is' if len(flags) == 1 else 'are'} missing"
    hint = "lian build --workspace shop --context . --image registry.example/shop/api:1.4, or --directives FILE"
    return Problem("flags-missing", message, hint=hint)


def is_seed(text: str) -> bool:
    """Whether a text is the seed of an NKEY, checksum and all (nats-io/nkeys: base32, CRC-16 behind the key)."""
    if not _SEED.fullmatch(text):
        return False
    data = b32decode(f"{text}======")
    return binascii.crc_hqx(data[:-2], 0) == int.from_bytes(data[-2:], "little")
