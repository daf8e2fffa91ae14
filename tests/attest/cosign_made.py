"""What cosign v3.1.2 wrote: `cosign generate-key-pair`, and `cosign sign --key` of SUBJECT. The key is of no worth."""

from __future__ import annotations

import base64

from reconciler.model.digest import Digest

SUBJECT = Digest.parse("sha256:54b9a712b6ea67cd99e2db8694390c84ad3eea975fd4b6ba34a424d9071f008b")
PASSWORD = b"pw"
PUBLIC_KEY = b"""-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEumCx4DHqRnMrHk8caQXflDbdhAXA
5dJUhjDV4dx9HtLL4SiPYUplnRkW/wi0jyfSBb2HW6m1FLz/YewGewhuJw==
-----END PUBLIC KEY-----
"""
LOCKED = (
    '{"kdf":{"name":"scrypt","params":{"N":65536,"r":8,"p":1},"salt":"Yr62wOjPxJF87HfdEuqM3cr/3UnvLOK7nOtK6NX'
    'cpM8="},"cipher":{"name":"nacl/secretbox","nonce":"Fhl2PjAWiIhyQbRJ+gQOV2vG3ZJeI3JM"},"ciphertext":"wgOt'
    "AjOE9EvMPuGJmf5wxHEf/1RFeklVW/RK/Tn28FMsHy53GG+6QYwsxVPSUB+UFhOOMciI2lnf9vqLpk1kDjHFW36tNIbzglyPq2AEpkqy"
    '72xpRqSpEzEjeILepnPms9srZLL8cfMBXFEYpYd8AUUcoBg4uSMovgUucUz0zW3zb9OKWUeiSTPZ2wRJKI5AaSFtjX6znD7mpw=="}'
)
"""The private key's file without its armour."""
BUNDLE = (
    b'{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial":{"publicKey":{"hint'
    b'":"mq7JIphdlFi8ALKYpKlQHBV7Rbe1KuqB7iiXtvrAFFE="}}, "dsseEnvelope":{"payload":"eyJfdHlwZSI6Imh0dHBzOi8va'
    b"W4tdG90by5pby9TdGF0ZW1lbnQvdjEiLCAic3ViamVjdCI6W3siZGlnZXN0Ijp7InNoYTI1NiI6IjU0YjlhNzEyYjZlYTY3Y2Q5OWUyZ"
    b"GI4Njk0MzkwYzg0YWQzZWVhOTc1ZmQ0YjZiYTM0YTQyNGQ5MDcxZjAwOGIifSwgImFubm90YXRpb25zIjp7fX1dLCAicHJlZGljYXRlV"
    b'HlwZSI6Imh0dHBzOi8vc2lnc3RvcmUuZGV2L2Nvc2lnbi9zaWduL3YxIiwgInByZWRpY2F0ZSI6e319", "payloadType":"applica'
    b'tion/vnd.in-toto+json", "signatures":[{"sig":"MEQCIHNF8C78L03ql9vAa9HToy29KMi1fO92Ntkf1uZtacNcAiB7QPKOxW'
    b'Bk8KqB+XKcdp8P6XPexJ7ZrJmGl6vT+gwA3w=="}]}}'
)


def private_key(document: str = LOCKED, maker: str = "SIGSTORE") -> bytes:
    """A key file in cosign's own form."""
    label = f"ENCRYPTED {maker} PRIVATE KEY"
    body = base64.encodebytes(document.encode()).decode()
    return f"-----BEGIN {label}-----\n{body}-----END {label}-----\n".encode()
