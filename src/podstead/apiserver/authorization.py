"""Who may do what: the Authorizer protocol, and the one that serves until there are roles.

An authorizer is asked with a RequestInfo, whether a request is on its way or a review only asks what would be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from podstead.apiserver.authentication import ANONYMOUS
from podstead.apiserver.request import RequestInfo
from podstead.objects.errors import StatusError, forbidden, unauthorized
from podstead.objects.user import SYSTEM_AUTHENTICATED, SYSTEM_MASTERS, UserInfo
from podstead.registry.tokens import SERVICE_ACCOUNTS

PUBLIC_PATHS = ("/healthz", "/livez", "/readyz", "/version")
POD_NAME = "authentication.kubernetes.io/pod-name"


@dataclass(frozen=True, slots=True)
class Rule:
    """What somebody may: verbs on resources (`names` empty: all of them), or on `paths` that are no resources."""

    verbs: tuple[str, ...]
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    def allows(self, info: RequestInfo) -> bool:
        if "*" not in self.verbs and info.verb not in self.verbs:
            return False
        if not info.is_resource:
            return any(_path_matches(path, info.path) for path in self.paths)
        resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
        return (
            ("*" in self.groups or info.group in self.groups)
            and ("*" in self.resources or resource in self.resources)
            and (not self.names or info.name in self.names)
        )


class Authorizer(Protocol):
    """Decides on one request; it must not block."""

    def authorize(self, user: UserInfo, info: RequestInfo) -> str | None:
        """Return None where `user` may do it, else why not ("" where there is nothing to add)."""
        ...

    def rules(self, user: UserInfo, namespace: str) -> Sequence[Rule]:
        """Return all that `user` may in `namespace`."""
        ...


_ALL = (Rule(("*",), ("*",), ("*",)), Rule(("*",), paths=("*",)))
# Kubernetes' own roles for everybody who is somebody: system:basic-user, system:discovery, system:public-info-viewer.
_EVERYBODY = (
    Rule(("create",), ("authentication.k8s.io",), ("selfsubjectreviews",)),
    Rule(("create",), ("authorization.k8s.io",), ("selfsubjectaccessreviews", "selfsubjectrulesreviews")),
    Rule(
        ("get",),
        paths=(
            *("/", "/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", "/version", "/version/"),
            *(path + end for path in ("/healthz", "/livez", "/readyz") for end in ("", "/*")),
        ),
    ),
)
# And system:service-account-issuer-discovery.
_ACCOUNTS = (Rule(("get",), paths=("/.well-known/openid-configuration", "/openid/v1/jwks")),)


class DefaultAuthorizer:
    """Members of system:masters may do everything; others discover the API and ask about themselves.

    A pod's token may get that pod, and nothing else.
    """

    def authorize(self, user: UserInfo, info: RequestInfo) -> str | None:
        return None if any(rule.allows(info) for rule in self.rules(user, info.namespace)) else ""

    def rules(self, user: UserInfo, namespace: str) -> Sequence[Rule]:
        if SYSTEM_MASTERS in user.groups:
            return _ALL
        if SYSTEM_AUTHENTICATED not in user.groups:
            return ()
        rules: tuple[Rule, ...] = _EVERYBODY
        if SERVICE_ACCOUNTS in user.groups:
            rules += _ACCOUNTS
            # Whoever has a token of the account can say its pod's name: extra comes from the token alone.
            pods = user.extra.get(POD_NAME, ())
            if pods and namespace and f"{SERVICE_ACCOUNTS}:{namespace}" in user.groups:
                rules += (Rule(("get",), ("",), ("pods",), tuple(pods)),)
        return rules


def check(authorizer: Authorizer, user: UserInfo, info: RequestInfo) -> None:
    """Raise 401 for a request without credentials to anything that is not public, 403 where `authorizer` denies."""
    if info.method in ("GET", "HEAD") and not info.is_resource and _public(info.path):
        return
    if user is ANONYMOUS:
        raise unauthorized()
    authorize(authorizer, user, info)


def authorize(authorizer: Authorizer, user: UserInfo, info: RequestInfo) -> None:
    """Raise 403 where `authorizer` denies."""
    why = authorizer.authorize(user, info)
    if why is not None:
        raise _denied(user, info, why)


def _public(path: str) -> bool:
    return path in PUBLIC_PATHS or path.startswith(("/livez/", "/readyz/", "/healthz/"))


def _path_matches(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def _denied(user: UserInfo, info: RequestInfo, why: str) -> StatusError:
    added = f": {why}" if why else ""
    if not info.is_resource:
        message = f'forbidden: User "{user.name}" cannot {info.verb} path "{info.path}"{added}'
        return StatusError(403, "Forbidden", message, {})
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    scope = f'in the namespace "{info.namespace}"' if info.namespace else "at the cluster scope"
    sentence = f'User "{user.name}" cannot {info.verb} resource "{resource}" in API group "{info.group}" {scope}{added}'
    return forbidden(info.resource, info.name, sentence, info.group)
