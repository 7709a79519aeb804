"""Who may do what: the Authorizer protocol, and the one that lets administrators do everything."""

from __future__ import annotations

from typing import Protocol

from podstead.apiserver.authentication import ANONYMOUS
from podstead.apiserver.request import RequestInfo
from podstead.objects.errors import StatusError, forbidden, unauthorized
from podstead.objects.user import SYSTEM_MASTERS, UserInfo

PUBLIC_PATHS = ("/healthz", "/livez", "/readyz", "/version")


class Authorizer(Protocol):
    """Decides on one request; it must not block."""

    def authorize(self, user: UserInfo, info: RequestInfo) -> str | None:
        """Return None where `user` may do it, else why not ("" where there is nothing to add)."""
        ...


class MastersAuthorizer:
    """Members of system:masters may do everything, everyone else nothing."""

    def authorize(self, user: UserInfo, info: RequestInfo) -> str | None:
        return None if SYSTEM_MASTERS in user.groups else ""


def check(authorizer: Authorizer, user: UserInfo, info: RequestInfo) -> None:
    """Raise 401 for a request without credentials to anything that is not public, 403 where `authorizer` denies."""
    if info.method in ("GET", "HEAD") and not info.is_resource and _public(info.path):
        return
    if user is ANONYMOUS:
        raise unauthorized()
    why = authorizer.authorize(user, info)
    if why is not None:
        raise _denied(user, info, why)


def _public(path: str) -> bool:
    return path in PUBLIC_PATHS or path.startswith(("/livez/", "/readyz/", "/healthz/"))


def _denied(user: UserInfo, info: RequestInfo, why: str) -> StatusError:
    added = f": {why}" if why else ""
    if not info.is_resource:
        message = f'forbidden: User "{user.name}" cannot {info.verb} path "{info.path}"{added}'
        return StatusError(403, "Forbidden", message, {})
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    scope = f'in the namespace "{info.namespace}"' if info.namespace else "at the cluster scope"
    sentence = f'User "{user.name}" cannot {info.verb} resource "{resource}" in API group "{info.group}" {scope}{added}'
    return forbidden(info.resource, info.name, sentence, info.group)
