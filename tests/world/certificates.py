"""A private authority, and what it certifies: good, expired, not yet valid, for another name."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Certificate = Literal["good", "unknown", "expired", "not yet valid", "another name"]
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """Where the authority and the server's own certificate lie."""

    authority: Path
    chain: Path  # of the server, its key included


def write_certificates(folder: Path, names: tuple[str, ...], which: Certificate) -> Certificates:
    """Make an authority and a certificate for the names, and write both as PEM."""
    now = datetime.now(UTC)
    key, authority = _authority(now)
    own_key = ec.generate_private_key(ec.SECP256R1())
    begin, end = {
        "expired": (now - 30 * _DAY, now - _DAY),
        # What a clock that is behind makes of a good one.
        "not yet valid": (now + _DAY, now + 30 * _DAY),
    }.get(which, (now - _DAY, now + 30 * _DAY))
    named = ("elsewhere.example",) if which == "another name" else names
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(named[0]))
        .issuer_name(authority.subject)
        .public_key(own_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in named]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_of(authority), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    folder.mkdir(parents=True, exist_ok=True)
    paths = Certificates(authority=folder / "authority.pem", chain=folder / "server.pem")
    paths.authority.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    paths.chain.write_bytes(
        own_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return paths


def _authority(now: datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("m43 world test authority")
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 60 * _DAY)
        .not_valid_after(now + 60 * _DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )
    return key, builder.sign(key, hashes.SHA256())


def _of(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
