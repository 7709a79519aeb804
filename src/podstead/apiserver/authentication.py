"""Who a request is from: the client certificate's CN is the user, each O a group (Kubernetes: Authenticating)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podstead.objects.errors import StatusError
from podstead.objects.user import SYSTEM_AUTHENTICATED, SYSTEM_UNAUTHENTICATED, UserInfo

ANONYMOUS = UserInfo("system:anonymous", (SYSTEM_UNAUTHENTICATED,))


def refuse_impersonation(headers: Mapping[str, str]) -> None:
    """Raise StatusError 403 where a request asks to act as someone else: to do it as oneself would be worse."""
    asked = next((name for name in headers if name.lower().startswith("impersonate-")), None)
    if asked is not None:
        raise StatusError(403, "Forbidden", f"the header {asked} is not implemented by podstead yet", {})


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
