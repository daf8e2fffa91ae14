"""Arguments that look like secrets: what is caught, and what must not be. The tokens are made up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.plan.secret_looks import looks_secret

_A = "A1b2" * 12
SECRET_VALUES = {
    "a private key": "-----BEGIN " + "RSA PRIVATE KEY-----\nMIIE",
    "a GitHub token": "ghp" + "_" + _A[:36],
    "a GitLab token": "glpat" + "-" + _A[:20],
    "an AWS key": "AKIA" + "ABCDEFGHIJKLMNOP",
    "a Google API key": "AIza" + _A[:35],
    "a Slack token": "xoxb" + "-123456789012-abc",
    "a Stripe key": "sk_" + "live_" + _A[:24],
    "an npm token": "npm" + "_" + _A[:36],
    "a Docker Hub token": "dckr_" + "pat_" + _A[:27],
    "a vault token": "hvs" + "." + _A[:24],
    "an NKey seed": "SU" + "A" * 56,
    "a JSON web token": "eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiJ0ZXN0In0.c2lnbmF0dXJl",
    "a URL with a password": "https://ci:hunter2@pypi.example.org/simple",
}


@pytest.mark.parametrize("what", SECRET_VALUES)
def test_a_value_of_a_known_form(what: str) -> None:
    value = SECRET_VALUES[what]
    for around in (value, f"x={value} more"):
        why = looks_secret("VERSION", around)
        assert why == f"has the form of {what}"
        assert value not in why


@pytest.mark.parametrize(
    "name",
    ["NPM_TOKEN", "token", "DB_PASSWORD", "dbPassword", "AWS_SECRET_ACCESS_KEY", "MY_SECRET", "API_KEY", "apikey",
     "GITHUB_PAT", "SSH_PRIVATE_KEY", "GIT_CREDENTIALS", "PASSPHRASE", "DB_PASS", "API_TOKENS", "APP_SECRETS",
     "AUTH_KEY", "DEPLOY_KEY", "LICENSE_KEY", "api-key", "DB_PASSWORD_PROD", "NPM_TOKEN_2", "API_KEY_DEV_1"],
)  # fmt: skip
def test_a_name_that_ends_like_one(name: str) -> None:
    assert looks_secret(name, "hunter2") is not None
    for harmless in ("", "true", "0", "no", "/run/secrets/npm"):
        assert looks_secret(name, harmless) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VERSION", "1.4"),
        ("TOKENIZER_VERSION", "0.15.2"),
        ("PASSWORD_MIN_LENGTH", "12"),
        ("KEYCLOAK_VERSION", "26"),
        ("SECRETS_STORE_VERSION", "1"),
        ("TOKEN_URL", "https://auth.example.org/token"),
        ("APT_SIGNING_KEY", "0xB00A0BD1E2C63C11"),
        ("SSH_KEY", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHLg"),
        ("CACHE_KEY", "v3"),
        ("PATH", "/usr/bin"),
        ("COMPAT", "yes please"),
        ("COMPASS", "north"),
        ("PROD", "eu-1"),
        ("VERSION_2", "1.4"),
        ("MONKEY", "ape"),
        ("KEYBOARD", "de"),
        ("BASE", "docker.io/library/python@sha256:" + "0f" * 32),
        ("COMMIT", "3f2c1a9e" * 5),
        ("CHECKSUM", "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg=="),
        ("REPO", "git@git.example.org:shop/api.git"),
        ("PROXY", "http://proxy.example.org:3128"),
        ("PROXY6", "http://[::1]:3128/a@b"),
        ("UUID", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
        ("CERT", "-----BEGIN CERTIFICATE-----"),
        ("PUB", "-----BEGIN PUBLIC KEY-----"),
    ],
)
def test_no_false_alarm(name: str, value: str) -> None:
    assert looks_secret(name, value) is None


@given(st.sampled_from(["VERSION", "URL", "IMAGE"]), st.text(alphabet="0123456789abcdef", max_size=128))
def test_no_digest_is_a_secret(name: str, value: str) -> None:
    assert looks_secret(name, value) is None


def test_the_end_of_the_name_is_told() -> None:
    assert looks_secret("DB_PASSWORD_PROD", "hunter2") == "is named like one (it ends in PASSWORD_PROD)"
    assert looks_secret("awsAccessKey", "hunter2") == "is named like one (it ends in ACCESS_KEY)"
