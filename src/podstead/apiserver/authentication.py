"""Who a request is from: a client certificate (CN the user, each O a group) or a service account's token.

Source: Kubernetes, "Authenticating"; its order too: a certificate is looked at first, then a token.
"""

from __future__ import annotations

import hashlib
import ssl
from typing import Protocol
from weakref import WeakKeyDictionary

from aiohttp import web

from podstead.objects.errors import unauthorized
from podstead.objects.user import SYSTEM_AUTHENTICATED, SYSTEM_UNAUTHENTICATED, UserInfo
from podstead.registry.tokens import Authenticated
from podstead.tokens import TokenError

ANONYMOUS = UserInfo("system:anonymous", (SYSTEM_UNAUTHENTICATED,))
_CACHED = 1024


class TokenAuthenticator(Protocol):
    """What `registry.tokens.ServiceAccountTokens` does."""

    def authenticate(self, token: str) -> Authenticated:
        """Return whose token it is. Raises TokenError."""
        ...


class Authenticator:
    """Finds the user of each request; certificates that were seen before are not read again."""

    def __init__(self, tokens: TokenAuthenticator | None) -> None:
        self._tokens = tokens
        self._certificates: dict[bytes, UserInfo | None] = {}
        self._connections: WeakKeyDictionary[ssl.SSLObject, UserInfo | None] = WeakKeyDictionary()
        """A connection's certificate cannot change (no post-handshake authentication)."""

    def user(self, request: web.BaseRequest) -> UserInfo:
        """Return who asks, ANONYMOUS where the request says nothing of it. Raises StatusError 401."""
        tls = request.transport.get_extra_info("ssl_object") if request.transport is not None else None
        user = self._of_certificate(tls) if tls is not None else None
        if user is not None:
            return user
        token = bearer(request.headers.get("Authorization", ""))
        if not token:
            return ANONYMOUS
        if self._tokens is None:
            raise unauthorized()
        try:
            return self._tokens.authenticate(token).user
        except TokenError as error:
            raise unauthorized() from error

    def _of_certificate(self, tls: ssl.SSLObject) -> UserInfo | None:
        try:
            return self._connections[tls]
        except KeyError:
            pass
        certificate, user = tls.getpeercert(binary_form=True), None
        if certificate is not None:
            if certificate not in self._certificates:
                if len(self._certificates) >= _CACHED:
                    self._certificates.clear()
                self._certificates[certificate] = _from_certificate(tls, certificate)
            user = self._certificates[certificate]
        self._connections[tls] = user
        return user


def bearer(header: str) -> str:
    """Return the token of an Authorization header, empty where it has none (RFC 6750)."""
    scheme, _, token = header.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _from_certificate(tls: ssl.SSLObject, encoded: bytes) -> UserInfo | None:
    """Return the user of a certificate that TLS has verified; None where it names no user."""
    certificate = tls.getpeercert() or {}
    parts: tuple[tuple[tuple[str, str], ...], ...] = certificate.get("subject", ())  # type: ignore[assignment]
    subject = [pair for part in parts for pair in part]
    name = next((value for key, value in subject if key == "commonName"), "")
    if not name:
        return None
    groups = tuple(value for key, value in subject if key == "organizationName")
    extra = {"authentication.kubernetes.io/credential-id": (f"X509SHA256={hashlib.sha256(encoded).hexdigest()}",)}
    return UserInfo(name, (*groups, SYSTEM_AUTHENTICATED), extra=extra)
