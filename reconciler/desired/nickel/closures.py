"""What files are evaluated from, without evaluating them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.desired import packaged as shipped
from reconciler.desired.nickel.cache import Cache
from reconciler.desired.nickel.imports import Imports
from reconciler.desired.nickel.verdicts import Verdicts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.desired.nickel.imports import Closure
    from reconciler.desired.nickel.settings import EvaluatorSettings, SourceFile, Tree


def closures(tree: Tree, files: Sequence[SourceFile], settings: EvaluatorSettings) -> Mapping[str, Closure]:
    """Each file's path -> its closure: where those of two trees are equal, so is what the file says in them. It blocks.
    Raises LianError where packaged files are broken, and as `tree` does."""
    with Cache(settings.cache) as cache:
        verdicts = Verdicts(tree, cache)
        verdicts.foresee(files)
        imports = Imports(tree, settings.packaged or shipped.find(), verdicts.of)
        found = {file.path: imports.closure(file) for file in files}
        verdicts.keep()
    return found
