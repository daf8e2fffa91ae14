"""Whether a build argument, a label or a variable looks like a secret. The first two stay in the image, where everyone
reads them; of the last, what is adopted stays in the repo. One notion for all: rules, plans and `lian init`.

Only what hardly ever is anything else: a false alarm stops a build. Digests, commits and versions have as much entropy
as keys, so that is not asked.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from reconciler.model.problem import redact
from reconciler.model.secret import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_LAST_WORDS = {
    ("TOKEN",), ("TOKENS",), ("PASS",), ("PASSWORD",), ("PASSWD",), ("PASSPHRASE",), ("SECRET",), ("SECRETS",),
    ("CREDENTIAL",), ("CREDENTIALS",), ("PAT",), ("APIKEY",), ("API", "KEY"), ("ACCESS", "KEY"), ("AUTH", "KEY"),
    ("DEPLOY", "KEY"), ("ENCRYPTION", "KEY"), ("LICENSE", "KEY"), ("PRIVATE", "KEY"), ("SECRET", "KEY"),
}  # fmt: skip
"""What a name ends with; `TOKENIZER_VERSION` and `PASSWORD_MIN_LENGTH` end otherwise, and the key of `APT_SIGNING_KEY`
or `SSH_KEY` may be the public one."""
_OF_WHICH = frozenset({"PROD", "PRODUCTION", "STAGING", "DEV", "TEST", "CI"})
"""What may follow that, as numbers may: which of several it is."""
_PLAIN = re.compile(r"(?i:|0|1|true|false|yes|no|on|off|none)|/[\w./-]*")
"""Values that are none whatever the name: switches, and paths such as that of a mounted secret."""
_FORMS = {
    "a private key": r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----",
    "a URL with a password": r"://[^/\s:@]*:[^/\s@]+@",
    "a GitHub token": r"\bgh[pousr]_[A-Za-z0-9]{36}|\bgithub_pat_[A-Za-z0-9_]{22}",
    "a GitLab token": r"\bgl(?:pat|dt|rt|cbt)-[A-Za-z0-9_-]{20}",
    "an AWS key": r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b",
    "a Google API key": r"\bAIza[A-Za-z0-9_-]{35}",
    "a Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10}",
    "a Stripe key": r"\b[rs]k_live_[A-Za-z0-9]{20}",
    "an npm token": r"\bnpm_[A-Za-z0-9]{36}",
    "a PyPI token": r"\bpypi-AgE[A-Za-z0-9_-]{50}",
    "a Docker Hub token": r"\bdckr_(?:pat|oat)_[A-Za-z0-9_-]{20}",
    "a vault token": r"\bhv[sbr]\.[A-Za-z0-9_-]{24}",
    "an NKey seed": r"\bS[ACNOUX][A-Z2-7]{56}\b",
    "a JSON web token": r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
}
"""Published forms of credentials."""


@cache
def _any_form() -> re.Pattern[str]:
    """Compiled where a rule asks for it."""
    return re.compile("|".join(f"(?:{form})" for form in _FORMS.values()))


def looks_secret(name: str, value: str) -> str | None:
    """Why it does, as the rest of a sentence about the argument, without the value; None if it does not."""
    if what := secret_form(value):
        return f"has the form of {what}"
    if _PLAIN.fullmatch(value):
        return None
    words = tuple(word.upper() for word in _WORD.findall(name))
    end = len(words)
    while end and (words[end - 1].isdigit() or words[end - 1] in _OF_WHICH):
        end -= 1
    start = next((end - length for length in (1, 2) if words[max(0, end - length) : end] in _LAST_WORDS), None)
    return None if start is None else f"is named like one (it ends in {'_'.join(words[start:])})"


def secret_form(value: str) -> str | None:
    """What published form of a credential is in it, as `an npm token`; None if it has none."""
    if not _any_form().search(value):
        return None
    return next(what for what, form in _FORMS.items() if re.search(form, value))


def masked(name: str, value: str) -> str:
    """The value as it may be told to people: hidden where it looks like a secret."""
    return HIDDEN if looks_secret(name, value) else value


def masked_place(url: str, args: Mapping[str, str]) -> str:
    """Where something is fetched from, as it may be told to people: without userinfo and query, without the values of
    build arguments that look like secrets, which may have been put in anywhere, and without what is one by its form."""
    for name, value in sorted(args.items(), key=lambda arg: -len(arg[1])):
        if value != HIDDEN and looks_secret(name, value):
            url = url.replace(value, HIDDEN)
    return _any_form().sub(HIDDEN, redact(url))
