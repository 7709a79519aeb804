"""Who a request is from: the client certificate's CN is the user, each O a group (Kubernetes: Authenticating)."""

from __future__ import annotations

from typing import Any

from podstead.objects.user import SYSTEM_AUTHENTICATED, SYSTEM_UNAUTHENTICATED, UserInfo

ANONYMOUS = UserInfo("system:anonymous", (SYSTEM_UNAUTHENTICATED,))


def from_certificate(certificate: dict[str, Any] | None) -> UserInfo | None:
    """Return the user of a certificate that TLS has verified, as ssl.SSLSocket.getpeercert gives it.

    None where there is no certificate or it names no user.
    """
    if not certificate:
        return None
    subject = [pair for part in certificate.get("subject", ()) for pair in part]
    name = next((value for key, value in subject if key == "commonName"), "")
    if not name:
        return None
    groups = tuple(value for key, value in subject if key == "organizationName")
    return UserInfo(name, (*groups, SYSTEM_AUTHENTICATED))
