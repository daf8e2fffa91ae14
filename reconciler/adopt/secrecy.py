"""Whether a variable's name, or its value, says that the value is nobody's business."""

from __future__ import annotations

import re

from reconciler.model.secret import HIDDEN
from reconciler.plan.secret_looks import secret_form

_WORDS = re.compile(
    r"(?:^|[_.-])(?:pass|passwd|password|passphrase|secret|secrets|token|tokens|credential|credentials|apikey|pat"
    r"|(?:api|access|auth|private|secret|signing|encryption|deploy|ssh|license)[_.-]?key)(?:$|[_.-])",
    re.IGNORECASE,
)


def names_secret(name: str) -> bool:
    """`NPM_TOKEN` and `api-key` do, `MONKEY` and `TOKENIZER` do not."""
    return _WORDS.search(name) is not None


def looks_secret(name: str, value: str) -> bool:
    """By its name, or by the form of the value: a URL with a password, a token."""
    return names_secret(name) or secret_form(value) is not None


def masked(name: str, value: str) -> str:
    """The value as it may be told."""
    return HIDDEN if looks_secret(name, value) else value
