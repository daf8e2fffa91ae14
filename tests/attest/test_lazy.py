"""Who signs nothing pays nothing: cryptography is loaded by the signer's adapters alone."""

from __future__ import annotations

import subprocess
import sys

_ALL_BUT_SIGNERS = """
import importlib, pkgutil, sys
import reconciler
for module in pkgutil.walk_packages(reconciler.__path__, "reconciler."):
    if not module.name.startswith(("reconciler.providers.signer.", "reconciler.__main__")):
        importlib.import_module(module.name)
print(sorted({"cryptography", "nacl"} & set(sys.modules)))
import reconciler.providers.signer.by_key
print(sorted({"cryptography", "nacl"} & set(sys.modules)))
"""


def test_no_other_module_loads_cryptography_and_only_locked_keys_of_cosign_load_nacl() -> None:
    run = subprocess.run([sys.executable, "-I", "-c", _ALL_BUT_SIGNERS], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["[]", "['cryptography']"]
