"""Who signs nothing and reaches no machine by SSH pays nothing: cryptography is loaded by those adapters alone."""

from __future__ import annotations

import subprocess
import sys

_ALL_BUT_SIGNERS = """
import importlib, pathlib, sys
import reconciler
OWN = ("reconciler.providers.signer.", "reconciler.providers.compute.ssh", "reconciler.__main__")
root = pathlib.Path(reconciler.__path__[0]).parent
for path in sorted(root.rglob("reconciler/**/*.py")):
    name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    if not name.startswith(OWN):
        importlib.import_module(name)
print(sorted({"cryptography", "nacl"} & set(sys.modules)))
import reconciler.providers.signer.by_key
print(sorted({"cryptography", "nacl"} & set(sys.modules)))
"""


def test_no_other_module_loads_cryptography_and_only_locked_keys_of_cosign_load_nacl() -> None:
    run = subprocess.run([sys.executable, "-I", "-c", _ALL_BUT_SIGNERS], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["[]", "['cryptography']"]
