"""Bundles of certificates to trust, checked in the API server's words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from podstead.objects.validation.kinds import clustertrustbundle


def pem(*, ca: bool) -> str:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    built = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    built = built.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


CA, LEAF = pem(ca=True), pem(ca=False)
BUNDLE = 'spec.trustBundle: Invalid value: "<value omitted>": '


def bundle(name: str = "x", text: str = CA, signer: str = "") -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"trustBundle": text, "signerName": signer}}


@pytest.mark.parametrize(
    ("made", "errors"),
    [
        (bundle(), []),
        (bundle(text=f"# a comment\n{CA}\nafter it\n{pem(ca=True)}"), []),
        (bundle("k8s.io:foo:bar", signer="k8s.io/foo"), []),
        (
            bundle("bar", signer="k8s.io/foo"),
            ['metadata.name: Invalid value: "bar": ClusterTrustBundle for signerName k8s.io/foo must be named with '
             "prefix k8s.io:foo:"],
        ),
        (
            bundle("a:b"),
            [
                'metadata.name: Invalid value: "a:b": '
                'ClusterTrustBundle without signer name must not have ":" in its name'
            ],
        ),
        (bundle(text=LEAF), [f"{BUNDLE}entry 0 does not have the CA bit set"]),
        (bundle(text=CA + CA), [f"{BUNDLE}duplicate trust anchor (indices [0 1])"]),
        (bundle(text="nothing"), [f"{BUNDLE}at least one trust anchor must be provided"]),
        (bundle(text=CA.replace("CERTIFICATE", "KEY")), [f"{BUNDLE}entry 0 has bad block type: KEY"]),
        (bundle(text=CA.replace("-----\nMII", "-----\na: b\n\nMII")), [f"{BUNDLE}entry 0 has PEM block headers"]),
        (bundle(text=CA.replace("MII", "AAA")), [f"{BUNDLE}entry 0 does not parse as X.509"]),
    ],
)  # fmt: skip
def test_a_bundle(made: dict[str, Any], errors: list[str]) -> None:
    assert [str(error) for error in clustertrustbundle.validate(made)] == errors


def test_its_signer_stays() -> None:
    new = bundle("k8s.io:foo:x", signer="k8s.io/foo")
    errors = clustertrustbundle.validate_update(new, bundle("k8s.io:foo:x"))
    assert [str(error) for error in errors] == ['spec.signerName: Invalid value: "k8s.io/foo": field is immutable']
