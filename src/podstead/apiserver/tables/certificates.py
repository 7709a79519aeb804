"""The tables of certificates.k8s.io."""

from __future__ import annotations

from datetime import datetime

from podstead.apiserver.tables.base import AGE, NAME, Cell, Column, Object, TableFormat, age, name_of
from podstead.apiserver.tables.cells import NONE, spec_of, status_of, text
from podstead.apiserver.tables.duration import human_duration


def _condition_types(obj: Object) -> list[str]:
    return [text(each, "type") for each in status_of(obj).get("conditions") or ()]


def _signing_request(obj: Object, now: datetime) -> list[Cell]:
    spec, types = spec_of(obj), _condition_types(obj)
    state = "Denied" if "Denied" in types else "Approved" if "Approved" in types else "Pending"
    state += ",Failed" if "Failed" in types else ""
    state += ",Issued" if status_of(obj).get("certificate") else ""
    seconds = spec.get("expirationSeconds")
    return [
        name_of(obj),
        age(obj, now),
        spec.get("signerName") or NONE,
        text(spec, "username"),
        NONE if seconds is None else human_duration(seconds),
        state,
    ]


def _trust_bundle(obj: Object, now: datetime) -> list[Cell]:
    return [name_of(obj), spec_of(obj).get("signerName") or NONE]


def _pod_request(obj: Object, now: datetime) -> list[Cell]:
    spec = spec_of(obj)
    states = [each for each in _condition_types(obj) if each in ("Issued", "Denied", "Failed")]
    named = [text(spec, field) for field in ("podName", "serviceAccountName", "nodeName", "signerName")]
    return [name_of(obj), *named, states[-1] if states else "Pending"]


_SIGNER = Column("SignerName", "Who signs.")

TABLES = {
    "certificatesigningrequests": TableFormat(
        (
            NAME,
            AGE,
            _SIGNER,
            Column("Requestor", "Who asks for the certificate."),
            Column("RequestedDuration", "For how long it should be valid."),
            Column("Condition", "Whether it is approved, denied, failed, issued."),
        ),
        _signing_request,
    ),
    "clustertrustbundles": TableFormat((NAME, _SIGNER), _trust_bundle),
    "podcertificaterequests": TableFormat(
        (
            NAME,
            Column("PodName", "The pod that the certificate is for."),
            Column("ServiceAccountName", "The pod's service account."),
            Column("NodeName", "The pod's node."),
            _SIGNER,
            Column("State", "Whether it is pending, issued, denied or failed."),
        ),
        _pod_request,
    ),
}
