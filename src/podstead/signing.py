"""Client certificates for signing requests: what the cluster's authority makes of a PKCS #10 request.

https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from podstead import certificates, clock

if TYPE_CHECKING:
    from cryptography import x509

USAGES = {"client auth": "", "digital signature": "digital_signature", "key encipherment": "key_encipherment"}
"""The usages that a client certificate may have, and the bit of keyUsage that says so."""
_LONGEST, _SHORTEST = timedelta(days=365), timedelta(minutes=10)


class RequestError(ValueError):
    """The request cannot be signed; the message says why, for its status."""


def organizations(request: bytes) -> list[str]:
    """Return the groups that a request in PEM asks for. Raises RequestError."""
    from cryptography.x509.oid import NameOID

    return [str(one.value) for one in _parse(request).subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]


def sign_client(authority: Path, request: bytes, usages: Sequence[str], seconds: int | None = None) -> bytes:
    """Return a certificate in PEM for `request` (PEM), signed by the key and certificate in the file `authority`.

    It is good for `seconds` (ten minutes to a year, a year where not given), and never longer than the authority.
    Raises RequestError, OSError.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    asked = _parse(request)
    if "client auth" not in usages or set(usages) - set(USAGES):
        raise RequestError(f"usages did not match [{' '.join(usages)}]")
    pem = authority.read_bytes()
    key, issuer = serialization.load_pem_private_key(pem, None), x509.load_pem_x509_certificate(pem)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    wanted = _LONGEST if seconds is None else timedelta(seconds=seconds)
    now = clock.now()
    end = min(now + min(max(wanted, _SHORTEST), _LONGEST), issuer.not_valid_after_utc)
    bits = {USAGES[usage] for usage in usages}
    certificate = (
        certificates.builder(asked.subject, issuer.subject, asked.public_key(), end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(certificates.key_usage(bits), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(certificates.issued_by(key), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificates.pem_of(certificate)


def _parse(request: bytes) -> x509.CertificateSigningRequest:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        asked = x509.load_pem_x509_csr(request)
        valid = asked.is_signature_valid
    except (ValueError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise RequestError(f"unable to parse csr: {error}") from error
    if not valid:
        raise RequestError("unable to verify the signature of the request")
    return asked
