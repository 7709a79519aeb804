"""CertificateSubjectRestriction: nobody asks for a client certificate of a member of system:masters."""

from __future__ import annotations

import base64
import binascii

from podstead import signing
from podstead.objects import errors
from podstead.objects.user import SYSTEM_MASTERS
from podstead.registry.admission.base import Attributes, Base, Operation

SIGNER = "kubernetes.io/kube-apiserver-client"


class CertificateSubjectRestriction(Base):
    """403 for such a signing request. https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/"""

    async def validate(self, attributes: Attributes) -> None:
        request, info = attributes.object, attributes.info
        if info.kind != "CertificateSigningRequest" or attributes.operation is not Operation.CREATE or request is None:
            return
        if attributes.subresource or request["spec"].get("signerName") != SIGNER:
            return
        try:
            groups = signing.organizations(base64.b64decode(request["spec"].get("request", "")))
        except (signing.RequestError, binascii.Error) as error:
            raise errors.forbidden(info.plural, attributes.name, f"failed to parse CSR: {error}", info.group) from error
        if SYSTEM_MASTERS in groups:
            why = f"use of {SIGNER} signer with {SYSTEM_MASTERS} group is not allowed"
            raise errors.forbidden(info.plural, attributes.name, why, info.group)
