"""Where a context comes from, out of the texts that compose and bake files have for it."""

from __future__ import annotations

import posixpath
import re

from reconciler.adopt.build import FromImage
from reconciler.model.artifact import Folder, GitFolder

IMAGE = "docker-image://"
_HERE = "cwd://"
"""In bake files: from where bake runs."""
_SCHEME = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*)://")
_SCP = re.compile(r"[a-zA-Z0-9._-]+@[a-zA-Z0-9.-]+:(?!//)")
_GIT_SCHEMES = frozenset({"git", "ssh"})
_USERINFO = re.compile(r"^(https?)://[^/@]+@")


class Uncarried(ValueError):
    """A context that lian has none for: the text is a sentence, `hint` what to do instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def context_of(text: str, base: str) -> Folder | GitFolder:
    """What is sent to a build: a folder, from `base`, or a git repository. Raises Uncarried."""
    found = source_of(text, base)
    if isinstance(found, FromImage):
        raise Uncarried("an image cannot be a build's context", "name a folder, and the image in its Dockerfile")
    return found


def source_of(text: str, base: str) -> Folder | GitFolder | FromImage:
    """What stands for a named context. Raises Uncarried."""
    if text.startswith(IMAGE):
        return FromImage(text.removeprefix(IMAGE))
    if text.startswith(_HERE):
        return Folder(folder_of(text.removeprefix(_HERE), "."))
    if (git := _git(text)) is not None:
        return git
    if text == "-":
        raise Uncarried("the context is what comes on stdin", "name a folder of the repository")
    if scheme := _SCHEME.match(text):
        if scheme["scheme"] in {"http", "https"}:
            raise Uncarried("a context that is downloaded cannot be kept track of", "keep its files in the repository")
        raise Uncarried(f"a context of the form {scheme['scheme']}:// cannot be a directive's", _FORMS)
    return Folder(folder_of(text, base))


_FORMS = "give a folder, a git repository, an image or another artifact"


def folder_of(text: str, base: str) -> str:
    """A path from the repository's root. Raises Uncarried for one that leads out of it."""
    if text.startswith(("/", "~")):
        hint = "move what is needed into the repository, and give its path from there"
        raise Uncarried("an absolute path means another folder on each machine", hint)
    path = posixpath.normpath(posixpath.join(base, text or "."))
    if path == ".." or path.startswith("../"):
        hint = "run `lian init` in the repository that holds it, or move it into this one"
        raise Uncarried("the path leads out of the repository, and a commit holds nothing else", hint)
    return path


def dockerfile_of(text: str) -> str:
    """The Dockerfile's path from its context. Raises Uncarried for one outside of it."""
    path = posixpath.normpath(text)
    if text.startswith(("/", "~")) or path == ".." or path.startswith("../"):
        hint = "move it into the context's folder, or widen the context and narrow it with `include`"
        raise Uncarried("the Dockerfile lies outside of its context, and a directive names it within", hint)
    return path


def _git(text: str) -> GitFolder | None:
    """As BuildKit tells git repositories: by their scheme, by `.git`, by `git@host:`, or by github.com/."""
    address, _, fragment = text.partition("#")
    scheme = _SCHEME.match(address)
    path = address.partition("?")[0]
    if address.startswith("github.com/"):
        address = f"https://{address}"
    elif scheme and scheme["scheme"] in {"http", "https"} and path.endswith(".git"):
        pass
    elif not (scheme and scheme["scheme"] in _GIT_SCHEMES) and not (not scheme and _SCP.match(address)):
        return None
    if "?" in address:
        raise Uncarried("a git URL with ? in it cannot be a directive's", "write it as URL#REV:FOLDER")
    if _USERINFO.match(address):
        raise Uncarried("a login stands in the URL", "take it out: logins are never in a file of the repository")
    rev, _, folder = fragment.partition(":")
    return GitFolder(address, rev or "HEAD", folder_of(folder, ".") if folder else ".")
