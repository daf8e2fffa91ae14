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
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
import yaml

from tests.e2e.bench import Bench, directive
from tests.schemas.evaluation import ROOT
from tests.servers.registry import run_registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.buildkit

EXPRESSION = re.compile(r"\$\{\{ *(.*?) *\}\}")
STUB = '#!/bin/sh\necho "$0 $*" >>"$STUBS"\n'
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


@dataclass
class Forge:
    """Hears what pipelines tell it: path, headers and body of each request."""

    url: str
    heard: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def forge() -> Iterator[Forge]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.heard.append((self.path, dict(self.headers), body))
            self.send_response(201)
            self.end_headers()

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
            ("gh", STUB),
            ("lian", f'#!/bin/sh\nexec {sys.executable} -m reconciler "$@"\n'),
            ("python3", VENV.format(python=sys.executable, tools=tools)),
        ):
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        path = f"{tools}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": path, "STUBS": str(self.folder / "stubs.log"), "LIAN_SOURCE": SOURCE}
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
    """A converged repository with a branch `topic` that changes one image."""
    with run_registry(tmp_path / "registry") as server:
        bench = Bench.new(tmp_path)
        settings = f'{{ fleet = "acme", registry = {{ provider = \'Distribution, url = "{server.url}" }} }}\n'
        one = {"api": 'image = "shop/api", context.path = "api"'}
        files = {"api/Dockerfile": "FROM scratch\nCOPY a /\n", "api/a": "1\n", "lian.ncl": settings}
        bench.commit({**files, "directives/shop.ncl": directive("shop", one)})
        bench.lian("reconcile", "--once")
        bench.git("checkout", "-qb", "topic")
        bench.commit({"api/a": "2\n"})
        bench.git("checkout", "-q", "main")
        (tmp_path / "jobs").mkdir()
        yield Runner(bench, tmp_path / "jobs", forge)


def pipeline(name: str) -> dict[str, Any]:
    document = yaml.safe_load((ROOT / "examples" / "ci" / name).read_text())
    assert isinstance(document, dict)
    return document


def filled(text: str, known: Mapping[str, str]) -> str:
    """With the expressions of GitHub's and Forgejo's workflows filled in; one that is not known fails."""
    return EXPRESSION.sub(lambda found: known[found[1]], text)


@pytest.mark.parametrize("name", ["github.yml", "forgejo.yml"])
def test_workflows(name: str, runner: Runner) -> None:
    head = runner.upstream.git("rev-parse", "topic")
    known = {
        "github.base_ref": "main",
        "github.event.pull_request.head.sha": head,
        "github.event.number": "7",
        "github.token": "a-token",
        "github.api_url": f"{runner.forge.url}/api/v1",
        "github.repository": "acme/images",
        "vars.REGISTRY_USER": "",
        "secrets.REGISTRY_PASSWORD": "",
    }
    jobs = pipeline(name)["jobs"]
    where = runner.clone(head)
    done = steps(runner, where, jobs["preview"], known)
    assert [step.returncode for step in done] == [0, 0, 0], done
    plan = (where / "plan.md").read_text()
    assert "### lian: 1 to build" in plan
    assert "context changed: api/a" in plan
    if name == "github.yml":
        assert (where / "summary").read_text() == plan
        assert "gh pr comment 7 --body-file plan.md --edit-last --create-if-none" in runner.stubs
    else:
        ((path, headers, body),) = runner.forge.heard
        assert path == "/api/v1/repos/acme/images/issues/7/comments"
        assert headers["Authorization"] == "token a-token"
        assert json.loads(body) == {"body": plan}
    runner.upstream.git("merge", "-q", "topic")
    done = steps(runner, runner.clone(head), jobs["reconcile"], known)
    assert "1 built" in done[-1].stdout
    assert f"pip install lian @ {SOURCE}" in runner.stubs


def steps(
    runner: Runner, where: Path, job: Mapping[str, Any], known: Mapping[str, str]
) -> list[subprocess.CompletedProcess[str]]:
    """What came of the steps with a script."""
    done = []
    for step in job["steps"]:
        if "run" in step:
            env = {**job.get("env", {}), **step.get("env", {}), "GITHUB_STEP_SUMMARY": str(where / "summary")}
            given = {key: filled(value, known) for key, value in env.items()}
            done.append(runner.run(where, filled(step["run"], known), {k: v for k, v in given.items() if v}))
    return done


def test_gitlab(runner: Runner) -> None:
    head = runner.upstream.git("rev-parse", "topic")
    jobs = pipeline("gitlab.yml")
    assert jobs["variables"]["GIT_DEPTH"] == "0"
    env = {
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
        "CI_COMMIT_SHA": head,
        "CI_API_V4_URL": f"{runner.forge.url}/api/v4",
        "CI_PROJECT_ID": "3",
        "CI_MERGE_REQUEST_IID": "7",
    }
    where, job = runner.clone(head), jobs["preview"]
    done = runner.run(where, "\n".join([*job["before_script"], *job["script"]]), env)
    assert done.returncode == 0, done.stderr
    assert jobs["comment"]["needs"] == ["preview"]  # and is given its plan.md
    assert job["artifacts"]["paths"] == ["plan.md"]
    done = runner.run(where, "\n".join(jobs["comment"]["script"]), env | {"COMMENT_TOKEN": "a-token"})
    assert done.returncode == 0, done.stderr
    ((path, headers, body),) = runner.forge.heard
    assert path == "/api/v4/projects/3/merge_requests/7/notes"
    assert headers["PRIVATE-TOKEN"] == "a-token"
    assert parse_qs(body.decode())["body"] == [(where / "plan.md").read_text()]
    runner.upstream.git("merge", "-q", "topic")
    assert jobs["reconcile"]["needs"] == ["install"]
    assert jobs["install"]["artifacts"]["paths"] == [".lian/venv"]
    where, other = runner.clone(head), runner.clone(head)
    done = runner.run(where, "\n".join(jobs["install"]["script"]), {})
    assert done.returncode == 0, done.stderr
    (where / ".lian").rename(other / ".lian")  # as an artifact, in the folder of another job
    assert "1 built" in runner.run(other, "\n".join(jobs["reconcile"]["script"]), {}).stdout


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


@pytest.mark.parametrize("name", ["github.yml", "forgejo.yml"])
def test_a_preview_without_a_plan_fails_and_says_why(name: str, runner: Runner) -> None:
    runner.upstream.git("checkout", "-q", "topic")
    head = runner.upstream.commit({"directives/shop.ncl": "{ workspace = 1 }"})
    runner.upstream.git("checkout", "-q", "main")
    known = {"github.base_ref": "main", "github.event.pull_request.head.sha": head}
    known |= {"github.api_url": "", "github.repository": "", "github.event.number": "7", "github.token": ""}
    where, job = runner.clone(head), pipeline(name)["jobs"]["preview"]
    preview = [step for step in job["steps"] if step.get("name") == "preview"]
    (done,) = steps(runner, where, {**job, "steps": preview}, known)
    assert done.returncode == 1
    assert "directives/shop.ncl:1" in (where / "plan.md").read_text()


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
