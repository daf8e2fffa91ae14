"""Certificates for tests: an authority of one's own, and what it signs."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

_LOOPBACK = (x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost"))


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Certified:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")

    @property
    def der(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def key_pem(self) -> str:
        """The key, without a password."""
        return self._key_pem(serialization.NoEncryption())

    def locked_key_pem(self, password: str) -> str:
        """The key, with one."""
        return self._key_pem(serialization.BestAvailableEncryption(password.encode()))

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """As files NAME.cert and NAME.key."""
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = folder / f"{name}.cert", folder / f"{name}.key"
        certificate.write_text(self.pem)
        key.write_text(self.key_pem)
        return certificate, key

    def server_context(self, folder: Path, clients: Authority | None = None) -> ssl.SSLContext:
        """For a server in this process; with `clients` it speaks only to those who show one of that authority's."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.write(folder, "own"))
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=clients.pem)
        return context

    def _key_pem(self, encryption: serialization.KeySerializationEncryption) -> str:
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, form, encryption).decode("ascii")


@dataclass(frozen=True)
class Authority:
    """Signs for two days, servers at 127.0.0.1 and localhost as well as clients."""

    name: str = "tests"
    own: Certified = field(init=False)

    def __post_init__(self) -> None:
        key = _key()
        object.__setattr__(self, "own", Certified(self._signed(self.name, key, key, authority=True), key))

    @property
    def pem(self) -> str:
        """Its certificate."""
        return self.own.pem

    def issue(self, name: str = "server") -> Certified:
        """A certificate of this authority."""
        key = _key()
        return Certified(self._signed(name, key, self.own.key, authority=False), key)

    def _signed(
        self, name: str, key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey, *, authority: bool
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
        )
        if not authority:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            builder = builder.add_extension(x509.SubjectAlternativeName(_LOOPBACK), critical=False)
        return builder.sign(by, hashes.SHA256())
