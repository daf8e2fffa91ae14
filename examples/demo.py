"""`make demo`: a git repo of directives converges a registry, step by step, with the real parts.

Everything happens in one scratch folder: a desired repo made from the bundled `desired/`, and its registry on disk.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIAN = Path(sys.executable).parent / "lian"
FOLDER = Path(os.environ.get("LIAN_DEMO", ROOT / ".lian" / "demo"))
BUSYBOX = Path("/bin/busybox")
IDENTITY = ("-c", "user.name=demo", "-c", "user.email=demo@example.invalid")
COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def say(text: str) -> None:
    """A heading of the story."""
    print(f"\n\x1b[1;36m── {text}\x1b[0m" if COLOUR else f"\n── {text}", flush=True)


def lian(*words: str, code: int) -> None:
    """Run lian in the demo's repo, as it would be typed there; the demo ends here if it exits otherwise."""
    print(f"$ lian {' '.join(words)}", flush=True)
    done = subprocess.run([LIAN, *words], cwd=FOLDER, check=False)
    if done.returncode != code:
        raise SystemExit(f"demo: lian {' '.join(words)} exited with {done.returncode}, {code} was expected")


def git(*words: str) -> None:
    """Run git there."""
    shown = [word for word in words if word != "-q"]
    print(f"$ git {' '.join(shown)}", flush=True)
    subprocess.run(["git", *IDENTITY, *words], cwd=FOLDER, check=True, stdout=subprocess.DEVNULL)


def start() -> None:
    """A fresh repo with the bundled directives, and the one binary they need."""
    if (FOLDER / "lian.ncl").exists() or not FOLDER.exists():
        shutil.rmtree(FOLDER, ignore_errors=True)
    elif any(FOLDER.iterdir()):
        raise SystemExit(f"demo: {FOLDER} holds something else; name another folder in LIAN_DEMO")
    shutil.copytree(ROOT / "desired", FOLDER, dirs_exist_ok=True)
    binary = FOLDER / "images/base/rootfs/bin/busybox"
    binary.parent.mkdir(parents=True)
    shutil.copy(BUSYBOX, binary)
    git("init", "-q", "-b", "main")
    git("add", "-A")
    git("commit", "-q", "-m", "The first directives")


def edit(name: str, old: str, new: str) -> None:
    """Change a file of the repo, and show how."""
    file = FOLDER / name
    text = file.read_text()
    if old not in text:
        raise SystemExit(f"demo: {name} does not hold {old!r}")
    file.write_text(text.replace(old, new, 1))
    subprocess.run(["git", "--no-pager", "diff", "-U0", "--", name], cwd=FOLDER, check=True)


def show_registry() -> None:
    """Every tag of every repository in the registry on disk."""
    root = FOLDER / ".lian/registry"
    for index in sorted(root.rglob("index.json")):
        tags: dict[str, list[str]] = {}
        for manifest in json.loads(index.read_bytes())["manifests"]:
            tag = manifest.get("annotations", {}).get("org.opencontainers.image.ref.name")
            if tag and not tag.startswith("sha256-"):
                tags.setdefault(manifest["digest"], []).append(tag)
        for digest, names in tags.items():
            shown = ", ".join(n if not n.startswith("lian-") else n[:17] + "…" for n in sorted(names))
            print(f"  {index.parent.relative_to(root)!s:<10} {digest[:19]}  {shown}")


def main() -> None:
    """The whole story: build, in sync, an edit, a comment, a revert."""
    began = time.monotonic()
    say("A desired repo: Nickel directives beside their contexts")
    start()
    lian("validate", code=0)
    say("What would be built, and why? (exit code 2: there is drift)")
    lian("diff", code=2)
    say("Converge: real BuildKit, one ephemeral daemon for each workspace, gone afterwards")
    lian("reconcile", "--once", code=0)
    lian("diff", code=0)
    say("Edit one file, commit, and see exactly one image rebuilt")
    edit("images/api/www/index.html", "</h1>", ", now with tea</h1>")
    git("commit", "-q", "-am", "Announce tea")
    lian("diff", code=2)
    lian("reconcile", "--once", code=0)
    say("A comment in the base's Dockerfile: rebuilt, it comes out identical, and its children stay")
    edit("images/base/Dockerfile", "FROM scratch", "# From nothing at all.\nFROM scratch")
    git("commit", "-q", "-am", "Say where the base comes from")
    lian("diff", code=2)
    lian("reconcile", "--once", code=0)
    say("Revert the edit: these inputs were built before, so tags move and nothing is built")
    git("revert", "--no-edit", "HEAD~1")
    lian("diff", code=2)
    lian("reconcile", "--once", code=0)
    say("The whole story of one artifact")
    lian("why", "shop/api", code=0)
    say("What the registry holds")
    show_registry()
    say(f"Done in {time.monotonic() - began:.0f} s")
    here = Path(os.path.relpath(FOLDER))
    print(f"The desired repo is {here}, its registry {here}/.lian/registry.")
    print("Try next, in that folder:")
    print("  edit a file under images/, commit it, and run: lian diff; lian reconcile --once")
    print("  lian watch                 and commit from another terminal")
    print("  lian reconcile --once --registry http://127.0.0.1:5000    against any OCI registry")
    if not shutil.which("lian"):
        print(f"lian is {os.path.relpath(LIAN, FOLDER)} from there.")


if __name__ == "__main__":
    os.environ["GIT_CONFIG_GLOBAL"] = (
        os.devnull
    )  # the user's own git settings (signing, hooks) are no part of the story
    main()
