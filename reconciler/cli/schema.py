"""`lian schema`: what directives and settings may say, field by field."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.views import schema as view
from reconciler.cli.views.text import as_json
from reconciler.model.contract import SHORT

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from reconciler.model.contract import Contract

_ALSO = {"policy": "rules below policy/: lian schema rules"}
"""What else somebody may have meant who asks for it by that name."""


def run(arguments: argparse.Namespace) -> int:
    """0; 1 for a contract or field that there is not."""
    if arguments.path:
        print(wiring.contracts_folder())
        return exits.DONE
    known = wiring.contracts()
    words = _words(arguments.name)
    if not words:
        if arguments.json:
            _document(known.all)
        else:
            view.show_list(known.all, sys.stdout)
        return exits.DONE
    contract, field = known.at(known.named(words[0]), words[1:])
    if arguments.json:
        below = [known.named(field.contract)] if field and field.contract else []
        _document([contract, *below], field.name if field else None)
    elif field is None:
        view.show_contract(contract, sys.stdout)
        if words[0].lower() in _ALSO:
            view.show_hint(_ALSO[words[0].lower()], sys.stdout)
    else:
        view.show_field(contract, field, known.named(field.contract) if field.contract else None, sys.stdout)
    return exits.DONE


def _words(given: Sequence[str]) -> list[str]:
    """`fleet policy.prune` is `fleet policy prune`; `lian.ncl` is one word."""
    return [part for word in given for part in ([word] if word.lower() in SHORT else word.split(".")) if part]


def _document(contracts: Sequence[Contract], field: str | None = None) -> None:
    document = {"kind": "schema", "version": 1, "field": field, "contracts": [each.to_json() for each in contracts]}
    sys.stdout.write(as_json(document))
