"""`lian init`: which file is read, what is written, and that nothing is ever changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pygit2
import pytest

from reconciler.adopt.init import Asked, prepare
from reconciler.cli.arguments import parse
from reconciler.cli.init import run
from reconciler.model.problem import LianError
from tests.adopt.folders import PLAIN, begun, codes, directives, fill, refused, settings, tools
from tests.cli.test_documents import checked

if TYPE_CHECKING:
    from pathlib import Path

COMPOSE = "services:\n  api: {build: api}\n"
BAKE = json.dumps({"target": {"job": {"context": "job"}}})


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_an_empty_folder_begins_with_one_image(tmp_path: Path) -> None:
    told = begun(tmp_path / "My Shop!")
    assert told.workspace == "my-shop"
    assert list(told.files) == [
        ".gitignore", "directives/my-shop.ncl", "images/hello/Dockerfile", "images/hello/hello.txt", "lian.ncl",
    ]  # fmt: skip
    assert told.files[".gitignore"].endswith(".lian/\n")
    hello = directives(told)["hello"]
    assert (hello["image"], hello["context"]) == ("my-shop/hello", {"path": "images/hello"})
    fleet = settings(told)
    assert (fleet["fleet"], fleet["registry"]["provider"], fleet["compute"]["provider"]) == (
        "my-shop",
        "OciLayout",
        "Local",
    )
    assert told.next == (
        "git init", "git add .gitignore directives images lian.ncl", "git commit -m 'Images by lian'", "lian diff",
        "lian reconcile --once",
    )  # fmt: skip


def test_what_builds_read_is_committed_too_where_nothing_is_yet(tmp_path: Path) -> None:
    files = {"services/my api/Dockerfile": PLAIN, "job/Dockerfile": PLAIN}
    assert "git add .gitignore directives job lian.ncl 'services/my api'" in begun(tmp_path / "new", files).next
    repository = pygit2.init_repository(str(tmp_path / "old"))
    assert "git add .gitignore directives job lian.ncl 'services/my api'" in begun(tmp_path / "old", files).next
    who = pygit2.Signature("test", "test@example.invalid")
    repository.create_commit("HEAD", who, who, "first", repository.index.write_tree(), [])
    assert "git add .gitignore directives lian.ncl" in begun(tmp_path / "old").next


@pytest.mark.parametrize(
    ("files", "kept_out"),
    [({}, False), ({".env": "A=b"}, True), ({".env": "A=b", ".gitignore": ".env\n.lian/\n"}, False)],
)
def test_all_of_a_folder_is_committed_without_its_variables(
    tmp_path: Path, files: dict[str, str], kept_out: bool
) -> None:
    commands = begun(tmp_path, {"Dockerfile": PLAIN, **files}).next
    assert "git add -A" in commands
    assert ("echo .env >> .gitignore" in commands) is kept_out


@pytest.mark.parametrize("secret", [".env", ".env.production", "tls/server.key", "id_ed25519", ".netrc"])
def test_a_folder_that_holds_secrets_is_not_committed(tmp_path: Path, secret: str) -> None:
    files = {"job/Dockerfile": PLAIN, "services/api/Dockerfile": PLAIN, f"services/api/{secret}": "A=b"}
    told = begun(tmp_path / "new", files)
    assert "git add .gitignore directives job lian.ncl" in told.next
    (remark,) = (remark for remark in told.remarks if remark.code == "secret-in-folder")
    assert remark.place.file == f"services/api/{secret}"
    assert "services/api is not among what is committed" in remark.message
    assert remark.hint is not None
    assert f"echo services/api/{secret} >> .gitignore" in remark.hint


@pytest.mark.parametrize(
    "files", [{".env.example": "A="}, {".env": "A=b", ".gitignore": ".env*\n"}, {"tls/server.pub": "x"}]
)
def test_a_folder_without_secrets_is(tmp_path: Path, files: dict[str, str]) -> None:
    for folder in ("new", "old"):
        if folder == "old":
            pygit2.init_repository(str(tmp_path / "old"))
        ignored = {name: text for name, text in files.items() if name == ".gitignore"}
        held = {f"api/{name}": text for name, text in files.items() if name not in ignored}
        told = begun(tmp_path / folder, {"api/Dockerfile": PLAIN, **held, **ignored})
        assert any(command.startswith("git add .gitignore api directives") for command in told.next)
        assert not [remark for remark in told.remarks if remark.code == "secret-in-folder"]


def test_all_of_a_folder_is_not_committed_with_a_key(tmp_path: Path) -> None:
    told = begun(tmp_path, {"Dockerfile": PLAIN, "tls/server.key": "x"})
    assert "git add .gitignore directives lian.ncl" in told.next
    (remark,) = (remark for remark in told.remarks if remark.code == "secret-in-folder")
    assert "the folder itself is not among what is committed" in remark.message
    below = begun(tmp_path / "below", {"Dockerfile": PLAIN, "api/.env": "A=b"}).next
    assert below.index("echo .env >> .gitignore") < below.index("git add -A")


def test_of_a_folder_with_secrets_only_what_is_written_is_committed(tmp_path: Path) -> None:
    told = begun(tmp_path, {"images/.env": "A=b"})
    paths = "directives images/hello/Dockerfile images/hello/hello.txt lian.ncl"
    assert f"git add .gitignore {paths}" in told.next


def test_a_repository_need_not_be_made(tmp_path: Path) -> None:
    pygit2.init_repository(str(tmp_path))
    assert "git init" not in begun(tmp_path).next


def test_a_bake_file_goes_before_a_compose_file_and_that_before_dockerfiles(tmp_path: Path) -> None:
    files = {"api/Dockerfile": PLAIN, "job/Dockerfile": PLAIN}
    assert list(directives(begun(tmp_path / "d", files))) == ["api", "job"]
    assert list(directives(begun(tmp_path / "c", {**files, "compose.yml": COMPOSE}))) == ["api"]
    told = begun(tmp_path / "b", {**files, "compose.yml": COMPOSE, "docker-bake.json": BAKE})
    assert list(directives(told)) == ["job"]
    assert ("source-unread", None) in codes(told, "note")
    both = {**files, "compose.yml": COMPOSE, "docker-bake.json": BAKE}
    assert list(directives(begun(tmp_path / "x", both, source="compose.yml"))) == ["api"]
    assert list(directives(begun(tmp_path / "y", both, source="."))) == ["api", "job"]


def test_files_that_change_another_are_named(tmp_path: Path) -> None:
    files = {"compose.yaml": COMPOSE, "compose.override.yaml": COMPOSE, "api/Dockerfile": PLAIN}
    (remark,) = [remark for remark in begun(tmp_path, files).remarks if remark.code == "override-unread"]
    assert remark.place.file == "compose.override.yaml"


DOCKERFILES = {
    "Dockerfile": PLAIN,
    "services/api/Dockerfile": PLAIN,
    "services/api/Dockerfile.dev": PLAIN,
    "jobs/api/Dockerfile": PLAIN,
    "web/web.Dockerfile": PLAIN,
    "node_modules/x/Dockerfile": PLAIN,
    "a/vendor/y/Dockerfile": PLAIN,
    ".venv/Dockerfile": PLAIN,
    ".devcontainer/Dockerfile": PLAIN,
    "ignored/Dockerfile": PLAIN,
    "sub/.git/HEAD": "",
    "sub/Dockerfile": PLAIN,
    ".gitignore": "ignored/\n.lian/\n",
    "docs/Dockerfile.md": "",
}


def test_dockerfiles_alone_are_called_after_their_folders(tmp_path: Path) -> None:
    pygit2.init_repository(str(tmp_path / "shop"))
    told = begun(tmp_path / "shop", DOCKERFILES)
    made = directives(told)
    assert {name: (each["context"]["path"], each["dockerfile"]) for name, each in made.items()} == {
        "shop": (".", "Dockerfile"),
        "jobs-api": ("jobs/api", "Dockerfile"),
        "services-api": ("services/api", "Dockerfile"),
        "api-dev": ("services/api", "Dockerfile.dev"),
        "web-web": ("web", "web.Dockerfile"),
    }
    assert {each["image"] for each in made.values()} == {f"shop/{name}" for name in made}
    assert ("context-whole", "shop") in codes(told, "note")
    assert ".gitignore" not in told.files
    assert not any("echo" in command for command in told.next)


@pytest.mark.parametrize("ignored", ["lian.ncl\ndirectives/\n", "*\n!src\n", "**/*.ncl\n"])
def test_a_context_that_leaves_directives_out_is_no_matter(tmp_path: Path, ignored: str) -> None:
    told = begun(tmp_path, {"Dockerfile": PLAIN, ".dockerignore": ignored})
    assert "context-whole" not in {code for code, _ in codes(told, "note")}


def test_a_gitignore_that_is_there_is_left_alone_and_a_line_for_it_told(tmp_path: Path) -> None:
    told = begun(tmp_path, {".gitignore": "*.o\n"})
    assert ".gitignore" not in told.files
    assert "echo .lian/ >> .gitignore" in told.next
    assert any(".gitignore" in command for command in told.next if command.startswith("git add"))


@pytest.mark.parametrize("there", ["lian.ncl", "directives/shop.ncl", "images/hello/hello.txt"])
def test_nothing_that_is_there_is_changed(tmp_path: Path, there: str) -> None:
    (problem,) = refused(tmp_path / "shop", {there: "mine"})
    assert (problem.code, problem.file) == ("project-taken", there)
    assert names(tmp_path / "shop") == [there]


@pytest.mark.parametrize("there", ["directives/w.ncl", "directives/deep/er/w.ncl"])
def test_directives_without_settings_are_a_desired_repo_already(tmp_path: Path, there: str) -> None:
    """Others of the same Dockerfiles would build each image twice."""
    problems = refused(tmp_path, {"api/Dockerfile": PLAIN, there: "{}"})
    assert [(problem.code, problem.file) for problem in problems] == [("project-taken", there)]
    assert there in problems[0].message
    assert begun(tmp_path / "other", {"api/Dockerfile": PLAIN, "directives/README.md": ""}).files


def test_two_names_of_one_dockerfile_are_told(tmp_path: Path) -> None:
    told = begun(tmp_path / "x", dict.fromkeys(("a/Dockerfile", "a/Containerfile", "b/Containerfile"), PLAIN))
    (remark,) = (remark for remark in told.remarks if remark.code == "dockerfiles-beside")
    assert remark.place.file == "a/Containerfile"
    variants = begun(tmp_path / "y", {"a/Dockerfile": PLAIN, "a/Dockerfile.dev": PLAIN})
    assert "dockerfiles-beside" not in {remark.code for remark in variants.remarks}


def test_all_that_is_there_is_named(tmp_path: Path) -> None:
    problems = refused(tmp_path / "shop", {"lian.ncl": "", "directives/shop.ncl": ""})
    assert [problem.file for problem in problems] == ["directives/shop.ncl", "lian.ncl"]


def test_links_and_files_in_the_way_are_not_followed(tmp_path: Path) -> None:
    outside = fill(tmp_path / "outside", {})
    shop = fill(tmp_path / "shop", {"images": "a file"})
    (shop / "directives").symlink_to(outside)
    (shop / "lian.ncl").symlink_to(outside / "nowhere")
    with pytest.raises(LianError) as error:
        prepare(tools(shop), Asked())
    assert {problem.code for problem in error.value.problems} == {"project-taken"}
    assert len(error.value.problems) == 4
    assert list(outside.iterdir()) == []


def test_files_outside_are_not_read(tmp_path: Path) -> None:
    fill(tmp_path, {"secret.yaml": COMPOSE})
    shop = fill(tmp_path / "shop", {})
    (shop / "compose.yaml").symlink_to(tmp_path / "secret.yaml")
    assert begun(shop).source == "nothing"


def test_writing_is_all_or_nothing(tmp_path: Path) -> None:
    project = tools(fill(tmp_path, {"b/there": "mine"})).project
    with pytest.raises(LianError) as error:
        project.write({"a/new": b"1", "b/there": b"2"})
    assert error.value.problems[0].code == "project-taken"
    assert names(tmp_path) == ["b/there"]
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "b/there").read_text() == "mine"


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(LianError) as error:
        tools(tmp_path).project.write({"a": b"", "b" * 300: b""})
    assert error.value.problems[0].code == "project-unwritable"
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("make", "code", "told"),
    [
        (lambda folder: None, "project-missing", "does not exist"),
        (lambda folder: folder.write_text(""), "project-missing", "is a file"),
        (lambda folder: pygit2.init_repository(str(folder), bare=True), "project-bare", "bare"),
    ],
)
def test_a_folder_that_will_not_do(tmp_path: Path, make: Any, code: str, told: str) -> None:
    make(tmp_path / "x")
    with pytest.raises(LianError) as error:
        tools(tmp_path / "x")
    assert (error.value.problems[0].code, told in error.value.problems[0].message) == (code, True)


def test_a_folder_within_a_repository_is_not_a_desired_repo(tmp_path: Path) -> None:
    pygit2.init_repository(str(tmp_path))
    with pytest.raises(LianError) as error:
        tools(fill(tmp_path / "sub", {}))
    (problem,) = error.value.problems
    assert problem.code == "project-within"
    assert str(tmp_path) in (problem.hint or "")


@pytest.mark.parametrize(
    ("source", "code"),
    [("compos.yaml", "source-missing"), ("Makefile", "source-unknown"), ("../x.yaml", "source-missing")],
)
def test_a_source_that_is_none(tmp_path: Path, source: str, code: str) -> None:
    (problem,) = refused(tmp_path, {"compose.yaml": COMPOSE, "Makefile": ""}, source=source)
    assert problem.code == code
    assert source != "compos.yaml" or problem.hint == "did you mean compose.yaml?"


# -- the command


def lian(*words: str) -> int:
    return run(parse(["init", *words], {}))


def test_a_dry_run_shows_all_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path, {"compose.yaml": COMPOSE, "api/Dockerfile": PLAIN})
    assert lian(str(tmp_path), "--dry-run", "--workspace", "shop") == 0
    shown = capsys.readouterr().out
    assert "would write directives/shop.ncl" in shown
    assert 'image = "shop/api"' in shown
    assert names(tmp_path) == ["api/Dockerfile", "compose.yaml"]


def test_what_is_written_is_what_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path, {"compose.yaml": COMPOSE, "api/Dockerfile": PLAIN})
    assert lian(str(tmp_path), "--json", "--workspace", "shop") == 0
    document = checked("init", capsys.readouterr().out)
    assert document["next"][0] == f"cd {tmp_path}"
    assert document["written"] is True
    for file in document["files"]:
        assert (tmp_path / file["path"]).read_text() == file["content"]
    assert [one["artifact"] for one in document["artifacts"]] == ["shop/api"]
    with pytest.raises(LianError):
        lian(str(tmp_path))


def test_something_left_out_is_told_by_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = COMPOSE + "  b: {build: {context: api, ssh: [default]}}\n"
    fill(tmp_path, {"compose.yaml": text, "api/Dockerfile": PLAIN})
    assert lian(str(tmp_path)) == 3
    shown = capsys.readouterr().out
    assert "left out[ssh-unsupported]: builds have no SSH agent" in shown
    assert "at compose.yaml:3:29 services.b.build.ssh" in shown
    assert "1 artifact in workspace" in shown
    assert "this folder is no git repository yet" in shown
    assert max(len(line) for line in shown.splitlines() if not line.startswith("  cd ")) <= 80


def test_many_places_are_not_all_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "services:\n" + "".join(f"  s{i}: {{build: {{context: a, pull: true}}}}\n" for i in range(20))
    fill(tmp_path, {"compose.yaml": text, "a/Dockerfile": PLAIN})
    assert lian(str(tmp_path)) == 0
    shown = capsys.readouterr().out
    assert shown.count("build.pull") == 3
    assert "17 more places" in shown


def test_names_of_others_steer_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = 'services:\n  "a\\e[31mb": {build: {context: a, pull: true}}\n'
    fill(tmp_path, {"compose.yaml": text, "a/Dockerfile": PLAIN})
    lian(str(tmp_path))
    assert "\x1b" not in capsys.readouterr().out
    assert all("\x1b" not in (tmp_path / name).read_text() for name in names(tmp_path) if name.endswith(".ncl"))
