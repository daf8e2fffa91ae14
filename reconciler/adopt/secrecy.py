"""Whether a variable's name says that its value is nobody's business."""

from __future__ import annotations

import re

_WORDS = re.compile(
    r"(?:^|[_.-])(?:pass|passwd|password|passphrase|secret|secrets|token|tokens|credential|credentials|apikey|pat"
    r"|(?:api|access|auth|private|secret|signing|encryption|deploy|ssh|license)[_.-]?key)(?:$|[_.-])",
    re.IGNORECASE,
)


def names_secret(name: str) -> bool:
    """`NPM_TOKEN` and `api-key` do, `MONKEY` and `TOKENIZER` do not."""
    return _WORDS.search(name) is not None
