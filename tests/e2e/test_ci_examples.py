"""The pipelines in examples/ci do what they say: their own commands run here, on a clone as the forge makes it, and
what they would tell the forge is caught by a server of ours."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from tests.e2e.bench import Bench, directive
from tests.schemas.evaluation import ROOT
from tests.servers.registry import run_registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = pytest.mark.buildkit

EXPRESSION = re.compile(r"\$\{\{ *(.*?) *\}\}")
STUB = '#!/bin/sh\necho "$0 $*" >>"$STUBS"\n'
GH = r"""#!/bin/sh
echo "$0 $*" >>"$STUBS"
[ "$GH_TOKEN" = a-token ] || exit 1
while [ $# -gt 0 ]; do
  case $1 in
    api | --paginate | --silent) ;;
    --jq) shift; filter=$1 ;;
    -X) shift; method=$1 ;;
    -F) shift; file=${1#body=@} ;;
    *) path=$1 ;;
  esac
  shift
done
if [ -n "$filter" ]; then
  for page in 1 2; do curl -fsS "$FORGE/$path?per_page=100&page=$page" | jq -r "$filter"; done
else
  jq -Rs '{body: .}' "$file" | curl -fsS -X "$method" -d @- "$FORGE/$path" >/dev/null
fi
"""
"""As gh's `api` works: pages one after another, each through the filter; a body read from a file."""
VENV = """#!/bin/sh
[ "$1 $2" = "-m venv" ] || exec {python} "$@"
mkdir -p "$3/bin" && cp {tools}/pip "$3/bin/" && cp {tools}/python3 "$3/bin/python"
printf '#!{python}\\nimport runpy\\nrunpy.run_module("reconciler", run_name="__main__")\\n' >"$3/bin/lian"
chmod +x "$3/bin/lian"
"""
PIPELINES = ("forgejo.yml", "github.yml", "gitlab.yml", "woodpecker.yml")
SOURCE = f"git+https://git.example.org/tools/lian@{'0123456789' * 4}"
INSTALL = 'pip install "lian @ $LIAN_SOURCE"'
PASSWORD = "LIAN_REGISTRY_PASSWORD"


MARK = "<!-- lian diff -->"
OTHERS = [
    {"login": "mallory", "body": f"{MARK}\n\nmine"},
    *({"login": "{bot}", "body": f"another workflow's {n}, not {MARK}"} for n in range(101)),
]
"""What stands below a pull request already: a stranger's comment with the mark, and a page full of the bot's own."""


@dataclass
class Forge:
    """A thread of comments, as GitHub, Forgejo and GitLab have them; `bot` is whose token is used."""

    url: str
    bot: str = ""
    comments: list[dict[str, Any]] = field(default_factory=list)
    heard: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)
    """Method, path and headers of what was written."""

    def opened(self, bot: str) -> None:
        """A thread with what others wrote."""
        self.bot = bot
        for other in OTHERS:
            self.written(other["login"].format(bot=bot), other["body"])

    def written(self, login: str, body: str) -> dict[str, Any]:
        """A new comment."""
        whose = {"login": login, "id": len(login)}
        comment = {"id": 100 + len(self.comments), "body": body, "user": whose, "author": whose}
        self.comments.append(comment)
        return comment

    @property
    def ours(self) -> list[str]:
        """The texts of all comments that were not there before."""
        return [comment["body"] for comment in self.comments[len(OTHERS) :]]

    def told(self, target: str) -> Any:
        """What a GET is answered with: who asks, or a page of the thread; of all of it where none is asked for."""
        path, asked = urlsplit(target).path, parse_qs(urlsplit(target).query)
        if path.endswith("/user"):
            return {"id": len(self.bot)}
        if "page" not in asked:
            return self.comments
        end = int(asked["page"][0]) * int(asked["per_page"][0])
        return self.comments[end - int(asked["per_page"][0]) : end]

    def hear(self, method: str, path: str, headers: Mapping[str, str], body: str) -> dict[str, Any]:
        """A comment is made, or another text put into one."""
        self.heard.append((method, path, headers))
        if method == "POST":
            return self.written(self.bot, body)
        comment = self.comments[int(path.rpartition("/")[2]) - 100]
        comment["body"] = body
        return comment


@pytest.fixture
def forge() -> Iterator[Forge]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(found.told(self.path))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self.answer(found.hear(self.command, self.path, dict(self.headers), body["body"]))

        do_PATCH = do_PUT = do_POST

        def answer(self, document: Any) -> None:
            data = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Forge(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found
        server.shutdown()
        thread.join()


@dataclass
class Runner:
    """Runs a job as a forge's runner does: in a clone at the commit, with lian on PATH."""

    upstream: Bench
    folder: Path
    forge: Forge

    def clone(self, commit: str) -> Path:
        where = self.folder / f"job-{len(list(self.folder.iterdir()))}"
        self.upstream.git("clone", "-q", "--no-checkout", str(self.upstream.repo), str(where))
        subprocess.run(["git", "-C", where, "checkout", "-q", commit], check=True)
        return where

    def run(self, where: Path, script: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        tools = self.folder / "tools"
        tools.mkdir(exist_ok=True)
        for name, text in (
            ("pip", STUB),
            ("gh", GH),
            ("lian", f'#!/bin/sh\nexec {sys.executable} -P -m reconciler "$@"\n'),
            ("python3", VENV.format(python=sys.executable, tools=tools)),
        ):
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        path = f"{tools}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": path, "STUBS": str(self.folder / "stubs.log"), "LIAN_SOURCE": SOURCE, "FORGE": self.forge.url}
        own["TMPDIR"] = str(self.folder)
        return subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=where,
            env={**self.upstream.environment, **own, **env},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def stubs(self) -> str:
        return (self.folder / "stubs.log").read_text()


@pytest.fixture
def runner(tmp_path: Path, forge: Forge) -> Iterator[Runner]:
    """A converged repository with a branch `topic` that changes one image, and with what a pull request may try: files
    that python would run, a link where the plan may be written, a tag called as the base's branch."""
    with run_registry(tmp_path / "registry") as server:
        bench = Bench.new(tmp_path)
        settings = f'{{ fleet = "acme", registry = {{ provider = \'Distribution, url = "{server.url}" }} }}\n'
        one = {"api": 'image = "shop/api", context.path = "api"'}
        files = {"api/Dockerfile": "FROM scratch\nCOPY a /\n", "api/a": "1\n", "lian.ncl": settings}
        bench.commit({**files, "directives/shop.ncl": directive("shop", one)})
        bench.lian("reconcile", "--once")
        bench.git("checkout", "-qb", "topic")
        (tmp_path / "secret").write_text("a secret\n")
        (bench.repo / "plan.md").symlink_to(tmp_path / "secret")
        trap = f"open({str(tmp_path / 'trapped')!r}, 'w')\n"
        bench.commit({"api/a": "2\n", **{f"{name}.py": trap for name in ("json", "os", "urllib", "runpy", "venv")}})
        bench.git("tag", "origin/main")
        bench.git("checkout", "-q", "main")
        (tmp_path / "jobs").mkdir()
        yield Runner(bench, tmp_path / "jobs", forge)
        assert (tmp_path / "secret").read_text() == "a secret\n"
        assert not (tmp_path / "trapped").exists()


def pipeline(name: str) -> dict[str, Any]:
    document = yaml.safe_load((ROOT / "examples" / "ci" / name).read_text())
    assert isinstance(document, dict)
    return document


def filled(text: str, known: Mapping[str, str]) -> str:
    """With the expressions of GitHub's and Forgejo's workflows filled in; one that is not known fails."""
    return EXPRESSION.sub(lambda found: known[found[1]], text)


BOTS = {"github.yml": "github-actions[bot]", "forgejo.yml": "forgejo-actions"}


def expressions(runner: Runner, head: str) -> dict[str, str]:
    """What GitHub's and Forgejo's expressions come to."""
    return {
        "github.base_ref": "main",
        "github.event.pull_request.head.sha": head,
        "github.event.number": "7",
        "github.token": "a-token",
        "github.api_url": f"{runner.forge.url}/api/v1",
        "github.repository": "acme/images",
        "vars.REGISTRY_USER": "",
        "secrets.REGISTRY_PASSWORD": "",
    }


@pytest.mark.parametrize("name", BOTS)
def test_workflows(name: str, runner: Runner) -> None:
    head = runner.upstream.git("rev-parse", "topic")
    known, forge, jobs = expressions(runner, head), runner.forge, pipeline(name)["jobs"]
    forge.opened(BOTS[name])
    job = Steps(runner, jobs["preview"], known)
    assert [step.returncode for step in job.done] == [0, 0, 0], job.done
    (plan,) = forge.ours
    assert plan.startswith(f"{MARK}\n")
    assert "### lian: 1 to build" in plan
    assert "context changed: api/a" in plan
    if name == "github.yml":
        assert job.summary.read_text() == plan
    else:
        assert forge.heard[0][2]["Authorization"] == "token a-token"
    runner.upstream.git("checkout", "-q", "topic")
    again = expressions(runner, runner.upstream.commit({"api/b": "\n"}))
    runner.upstream.git("checkout", "-q", "main")
    assert [step.returncode for step in Steps(runner, jobs["preview"], again).done] == [0, 0, 0]
    (plan,) = forge.ours  # the same comment
    assert "api/b, in" in plan
    prefix = "" if name == "github.yml" else "/api/v1"
    assert [(method, path) for method, path, _ in forge.heard] == [
        ("POST", f"{prefix}/repos/acme/images/issues/7/comments"),
        ("PATCH", f"{prefix}/repos/acme/images/issues/comments/{100 + len(OTHERS)}"),
    ]
    runner.upstream.git("merge", "-q", "topic")
    assert "1 built" in Steps(runner, jobs["reconcile"], known).done[-1].stdout
    assert f"pip install lian @ {SOURCE}" in runner.stubs


class Steps:
    """What came of a job's steps with a script, each with the variables that those before it have set."""

    def __init__(self, runner: Runner, job: Mapping[str, Any], known: Mapping[str, str]) -> None:
        where = runner.clone(known["github.event.pull_request.head.sha"])
        self.temp = where.with_name(f"{where.name}-temp")
        self.temp.mkdir()
        self.summary, self.later = self.temp / "summary", self.temp / "env"
        self.later.touch()
        self.done = []
        own = {"GITHUB_STEP_SUMMARY": self.summary, "GITHUB_ENV": self.later, "RUNNER_TEMP": self.temp}
        for step in job["steps"]:
            if "run" in step:
                env = {**job.get("env", {}), **step.get("env", {}), **{key: str(path) for key, path in own.items()}}
                given = {key: filled(value, known) for key, value in env.items()} | self.set
                self.done.append(runner.run(where, filled(step["run"], known), {k: v for k, v in given.items() if v}))

    @property
    def set(self) -> dict[str, str]:
        """The variables that steps have set for later ones."""
        return dict(line.split("=", 1) for line in self.later.read_text().splitlines())

    @property
    def plan(self) -> str:
        """The plan, wherever it was written."""
        return Path(self.set.get("PLAN", self.temp / "plan.md")).read_text()


GITLAB = {"CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main", "CI_PROJECT_ID": "3", "CI_MERGE_REQUEST_IID": "7"}


def test_gitlab(runner: Runner) -> None:
    head = runner.upstream.git("rev-parse", "topic")
    jobs = pipeline("gitlab.yml")
    assert jobs["variables"]["GIT_DEPTH"] == "0"
    env = GITLAB | {"CI_COMMIT_SHA": head, "CI_API_V4_URL": f"{runner.forge.url}/api/v4", "COMMENT_TOKEN": "a-token"}
    where, job = runner.clone(head), jobs["preview"]
    done = runner.run(where, "\n".join([*job["before_script"], *job["script"]]), env)
    assert done.returncode == 0, done.stderr
    assert jobs["comment"]["needs"] == ["preview"]  # and is given its plan.md
    assert job["artifacts"]["paths"] == ["plan.md"]
    runner.forge.opened("project_3_bot")
    for _ in range(2):
        done = runner.run(where, "\n".join(jobs["comment"]["script"]), env)
        assert done.returncode == 0, done.stderr
    assert runner.forge.ours == [(where / "plan.md").read_text()]
    notes = "/api/v4/projects/3/merge_requests/7/notes"
    heard = [(method, path) for method, path, _ in runner.forge.heard]
    assert heard == [("POST", notes), ("PUT", f"{notes}/{100 + len(OTHERS)}")]
    assert runner.forge.heard[0][2]["Private-Token"] == "a-token"
    runner.upstream.git("merge", "-q", "topic")
    assert jobs["reconcile"]["needs"] == ["install"]
    assert jobs["install"]["artifacts"]["paths"] == [".lian/venv"]
    where, other = runner.clone(head), runner.clone(head)
    done = runner.run(where, "\n".join(jobs["install"]["script"]), {})
    assert done.returncode == 0, done.stderr
    (where / ".lian").rename(other / ".lian")  # as an artifact, in the folder of another job
    assert "1 built" in runner.run(other, "\n".join(jobs["reconcile"]["script"]), {}).stdout


def test_gitlab_does_not_tell_what_a_link_leads_to(runner: Runner) -> None:
    """Should a checkout's own plan.md come that far: no job of it ran, say."""
    script = "\n".join(pipeline("gitlab.yml")["comment"]["script"])
    env = GITLAB | {"CI_API_V4_URL": f"{runner.forge.url}/api/v4", "COMMENT_TOKEN": "a-token"}
    assert runner.run(runner.clone(runner.upstream.git("rev-parse", "topic")), script, env).returncode == 1
    assert not runner.forge.heard


def test_woodpecker(runner: Runner) -> None:
    head = runner.upstream.git("rev-parse", "topic")
    document = pipeline("woodpecker.yml")
    assert document["clone"][0]["settings"] == {"partial": False, "depth": 0}
    preview, install, reconcile = document["steps"]
    env = {"CI_COMMIT_TARGET_BRANCH": "main", "CI_COMMIT_SHA": head}
    done = runner.run(runner.clone(head), "\n".join(preview["commands"]), env)
    assert done.returncode == 0, done.stderr
    assert "+ build shop/api" in done.stdout
    runner.upstream.git("merge", "-q", "topic")
    where = runner.clone(head)  # one folder for all steps
    assert runner.run(where, "\n".join(install["commands"]), {}).returncode == 0
    assert "1 built" in runner.run(where, "\n".join(reconcile["commands"]), {}).stdout


@pytest.mark.parametrize("name", BOTS)
def test_a_preview_without_a_plan_fails_and_says_why(name: str, runner: Runner) -> None:
    runner.upstream.git("checkout", "-q", "topic")
    known = expressions(runner, runner.upstream.commit({"directives/shop.ncl": "{ workspace = 1 }"}))
    runner.upstream.git("checkout", "-q", "main")
    job = pipeline(name)["jobs"]["preview"]
    preview = [step for step in job["steps"] if step.get("name") == "preview"]
    steps = Steps(runner, {**job, "steps": preview}, known)
    assert [step.returncode for step in steps.done] == [1]
    assert "directives/shop.ncl:1" in steps.plan


def scripts(name: str) -> Iterator[tuple[str, str, str]]:
    """Of each step: its name, its script, and all that its environment is made of: its own, its job's, the pipeline's.
    What GitLab gives to a job depends on the `environment` that the job names."""
    document = pipeline(name)
    if name == "gitlab.yml":
        for key, job in document.items():
            if isinstance(job, dict) and "script" in job:
                around = [document["variables"], job.get("variables"), job.get("environment")]
                yield key, "\n".join([*job.get("before_script", ()), *job["script"]]), json.dumps(around)
    elif name == "woodpecker.yml":
        for step in document["steps"]:
            yield step["name"], "\n".join(step["commands"]), json.dumps(step.get("environment"))
    else:
        for job in document["jobs"].values():
            for step in (each for each in job["steps"] if "run" in each):
                yield step["name"], step["run"], json.dumps([document["env"], job.get("env"), step.get("env")])


@pytest.mark.parametrize("name", PIPELINES)
def test_what_installs_names_a_source_and_is_given_no_credential(name: str) -> None:
    found = [(script, environment) for _, script, environment in scripts(name) if "pip" in script]
    assert len(found) == 2
    for script, environment in found:
        (line,) = (line for line in script.splitlines() if "pip" in line)
        assert line.endswith(INSTALL)
        assert not re.search(r'PASSWORD|TOKEN|secret|"registry"|"comments"', environment)


@pytest.mark.parametrize("name", PIPELINES)
def test_the_source_is_said_once_and_has_to_be_set(name: str) -> None:
    document = pipeline(name)
    said = document["variables"] if name in {"gitlab.yml", "woodpecker.yml"} else document["env"]
    assert (said[0] if name == "woodpecker.yml" else said["LIAN_SOURCE"]) == ""


@pytest.mark.parametrize("source", ["", "lian"])
def test_pip_installs_nothing_without_a_source(source: str) -> None:
    command = INSTALL.replace("pip", f"{sys.executable} -m pip --no-input --disable-pip-version-check")
    done = subprocess.run(
        ["bash", "-c", command], env={**os.environ, "LIAN_SOURCE": source}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Invalid requirement: 'lian @" in done.stderr


@pytest.mark.parametrize("name", PIPELINES)
def test_the_password_is_given_to_the_pass_alone(name: str) -> None:
    mark = '"registry"' if name == "gitlab.yml" else PASSWORD  # there, what the variables have as their scope
    assert [step for step, _, environment in scripts(name) if mark in environment] == ["reconcile"]
