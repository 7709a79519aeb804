"""Making certificates: the cluster's authority, what it signs, and the parts that all of them share.

`cryptography` is imported where it is used: a server whose credentials are in order never needs it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from podstead import clock

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

CA_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=365)
_BACKDATED = timedelta(minutes=5)  # a client whose clock is a little slow must not refuse a new certificate
_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


def new_key() -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization as forms

    return key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())


def pem_of(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def builder(
    subject: x509.Name, issuer: x509.Name, key: CertificatePublicKeyTypes, until: datetime
) -> x509.CertificateBuilder:
    """Return a certificate's beginning: whom it is for and from, which key, good from a little before now."""
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(clock.now() - _BACKDATED)
        .not_valid_after(until)
    )


def key_usage(allowed: Iterable[str]) -> x509.KeyUsage:
    """Return the extension that allows these usages, by `cryptography`'s names, and no other."""
    from cryptography import x509

    return x509.KeyUsage(**{usage: usage in allowed for usage in _USAGES})


def issued_by(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    """Return the extension that names the authority's key."""
    from cryptography import x509

    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def new_authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "podstead-ca")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        builder(name, name, key.public_key(), clock.now() + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(("digital_signature", "key_cert_sign", "crl_sign")), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(issued_by(key), critical=False)
        .sign(key, hashes.SHA256())
    )


def new_leaf(
    key: ec.EllipticCurvePrivateKey,
    authority: tuple[ec.EllipticCurvePrivateKey, x509.Certificate],
    user: str,
    groups: Sequence[str],
    names: Sequence[str],
) -> x509.Certificate:
    """Return a serving certificate where `names` are given, else a client certificate. Raises ValueError for a name
    that is none.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    authority_key, authority_certificate = authority
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject.append(x509.NameAttribute(NameOID.COMMON_NAME, user))
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
    certificate = (
        builder(x509.Name(subject), authority_certificate.subject, key.public_key(), clock.now() + LEAF_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(("digital_signature",)), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(issued_by(authority_key), critical=False)
    )
    if names:
        alternatives = [_general_name(name) for name in dict.fromkeys(map(canonical, names))]
        certificate = certificate.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return certificate.sign(authority_key, hashes.SHA256())


def canonical(name: str) -> str:
    """Return an address in its one spelling, a host name as it is."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError as error:
        raise ValueError(f"{name!r} is neither an address nor a host name") from error
