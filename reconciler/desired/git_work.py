"""The program that talks with one git server, in a process of its own, until it has what it was sent for.

Started by `git_apart` as `python -I -X utf8 -c … <json settings>`. Everything else goes by lines of JSON. On stdin the
job (`Job`), and a login for each line that asks for one (`{"secret", "user", "is_key"}` or null). On stdout
`{"asks": "login"}`; `{"at": "listing"}` when the server is asked what its refs are, `{"at": "work"}` when it has told
them; and at the end one of `{"done": …}`, `{"failed": [why, cause]}` and `{"problems": […]}`.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict

import pygit2
from pygit2.enums import ConfigLevel

from reconciler.desired.bare import BareFolder
from reconciler.desired.clone_work import CloneWork
from reconciler.desired.git_remote import Failed, Login, Server
from reconciler.desired.mirror_work import MirrorWork
from reconciler.desired.nickel.sandbox import die_with
from reconciler.model.problem import LianError
from reconciler.model.secret import Secret


class Job(TypedDict):
    """`folder` is the bare repository's name in the cache, `most` how many bytes a fetch may have. `revs` are what is
    wanted of a clone: rev -> the commit to which it is pinned, if it is."""

    kind: str
    url: str
    user: str | None
    folder: str
    most: int
    revs: dict[str, str | None]


def main() -> None:
    """Settings in argv[1]: `parent`, `seconds`, `memory`."""
    settings = json.loads(sys.argv[1])
    die_with(settings["parent"])
    signal.alarm(settings["seconds"])  # ends this inside libgit2 too, if nobody is left to kill it
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (settings["memory"], settings["memory"]))
    job: Job = json.loads(sys.stdin.readline())
    if not job["url"].startswith("file://"):  # that server is this machine, and `safe.directory` the user's word on it
        _without_configuration()
    try:
        _say({"done": _done(job)})
    except Failed as error:
        _say({"failed": [error.why, error.cause]})
    except LianError as error:
        _say({"problems": [asdict(problem) for problem in error.problems]})


def _without_configuration() -> None:
    """Of git's configuration only the repository's own is read: the user's may lead a URL elsewhere, and name a login
    there (`url.….insteadOf`). Proxies come from variables alone."""
    for level in (ConfigLevel.PROGRAMDATA, ConfigLevel.SYSTEM, ConfigLevel.XDG, ConfigLevel.GLOBAL):
        pygit2.settings.search_path[level] = ""


def _done(job: Job) -> dict[str, Any]:
    """Raises Failed, LianError."""
    server = Server(job["url"], job["user"], _asked_for, job["most"], lambda at: _say({"at": at}))
    bare = BareFolder(Path(job["folder"]))
    match job["kind"]:
        case "refs":
            return {"refs": dict(CloneWork(server, bare).refs().commits)}
        case "read":
            folder, found = CloneWork(server, bare).read(job["revs"])
        case "again":
            folder, found = CloneWork(server, bare).again(job["revs"])
        case "mirror":
            folder, found = MirrorWork(server, bare).fetch(), {}
        case _:
            folder, found = MirrorWork(server, bare).rebuild(), {}
    return {"folder": str(folder), "found": {rev: asdict(each) for rev, each in found.items()}}


def _asked_for() -> Login | None:
    _say({"asks": "login"})
    login = json.loads(sys.stdin.readline())
    return login and Login(Secret(login["secret"]), login["user"], login["is_key"])


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()
