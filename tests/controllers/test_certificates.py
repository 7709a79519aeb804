"""An approved request becomes a certificate that the API server takes; one that asks for too much does not."""

from __future__ import annotations

import asyncio
import base64
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from podstead.controllers.certificates import REQUESTS, SIGNER, ClientCertificateSigner
from podstead.objects.errors import StatusError
from podstead.pki import Pki
from podstead.registry.client import RegistryClient
from podstead.signing import sign_client
from support.fakenode import until
from support.registry import ADMIN, open_registry


@asynccontextmanager
async def _signing(tmp_path: Path) -> AsyncIterator[tuple[RegistryClient, Pki]]:
    pki = Pki(tmp_path / "pki")
    pki.ensure()
    async with open_registry(tmp_path / "state.db") as registry:
        client = registry.client(ADMIN)
        task = asyncio.create_task(ClientCertificateSigner(client, functools.partial(sign_client, pki.authority)).run())
        try:
            yield client, pki
        finally:
            task.cancel()
            await asyncio.wait([task])


def _asked(*groups: str, usages: tuple[str, ...] = ("client auth",), **spec: Any) -> dict[str, Any]:
    names = [x509.NameAttribute(NameOID.COMMON_NAME, "jane")]
    names += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    built = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
    pem = built.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    spec = {"request": base64.b64encode(pem).decode(), "usages": list(usages), "signerName": SIGNER, **spec}
    return {"metadata": {"name": "jane"}, "spec": spec}


async def _decide(client: RegistryClient, decision: str = "Approved") -> None:
    request = await client.get(REQUESTS, "jane")
    condition = {"type": decision, "status": "True", "reason": "Test"}
    status = {**(request.get("status") or {}), "conditions": [condition]}
    await client.update(REQUESTS, {**request, "status": status}, subresource="approval")


async def test_an_approved_request_is_signed(tmp_path: Path) -> None:
    async with _signing(tmp_path) as (client, pki):
        made = await client.create(REQUESTS, _asked("team", expirationSeconds=3600))
        assert (made["spec"]["username"], made["spec"]["groups"]) == ("admin", ["system:masters"])
        await _decide(client)
        signed = await until(client, REQUESTS, "jane", lambda one: one.get("status", {}).get("certificate"))
    certificate = x509.load_pem_x509_certificate(base64.b64decode(signed["status"]["certificate"]))
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(pki.ca_certificate.read_bytes()))
    assert certificate.subject.rfc4514_string() == "O=team,CN=jane"
    purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert 3600 <= lifetime.total_seconds() <= 3600 + 301
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


async def test_usages_that_no_client_has_fail(tmp_path: Path) -> None:
    async with _signing(tmp_path) as (client, _):
        await client.create(REQUESTS, _asked(usages=("client auth", "server auth")))
        await _decide(client)

        def failed(one: dict[str, Any]) -> Any:
            return next((each for each in one["status"]["conditions"] if each["type"] == "Failed"), None)

        request = await until(client, REQUESTS, "jane", lambda one: one.get("status") and failed(one))
    condition = failed(request)
    assert condition["reason"] == "SignerValidationFailure"
    assert condition["message"] == "usages did not match [client auth server auth]"
    assert "certificate" not in request["status"]


async def test_nobody_becomes_a_master_by_a_request(tmp_path: Path) -> None:
    async with open_registry(tmp_path / "state.db") as registry:
        client = registry.client(ADMIN)
        why = "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"
        with pytest.raises(StatusError, match=why) as error:
            await client.create(REQUESTS, _asked("system:masters"))
        assert error.value.code == 403
        with pytest.raises(StatusError) as error:
            await client.create(REQUESTS, _asked(request=base64.b64encode(b"none").decode()))
        assert error.value.code in (403, 422)
