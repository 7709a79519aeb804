"""Acting as someone else: the Impersonate- headers, for whoever may (Kubernetes: "User impersonation")."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

from multidict import CIMultiDictProxy

from podstead.apiserver import authorization
from podstead.apiserver.authentication import ANONYMOUS
from podstead.apiserver.authorization import Authorizer
from podstead.apiserver.request import RequestInfo
from podstead.objects.errors import bad_request, unauthorized
from podstead.objects.user import SYSTEM_AUTHENTICATED, SYSTEM_UNAUTHENTICATED, UserInfo
from podstead.registry.tokens import account_groups

_USER, _GROUP, _UID, _EXTRA = "Impersonate-User", "Impersonate-Group", "Impersonate-Uid", "impersonate-extra-"
_PREFIX = "impersonate-"
_ACCOUNT = "system:serviceaccount:"
_AUTHENTICATION = "authentication.k8s.io"


def acting_as(user: UserInfo, headers: CIMultiDictProxy[str], authorizer: Authorizer) -> UserInfo:
    """Return as whom the request acts: `user`, or who its headers name.

    Raises StatusError 401 where `user` is nobody, 403 where `user` may not act as one of those, 400 for headers that
    name no user.
    """
    if not any(name.lower().startswith(_PREFIX) for name in headers):
        return user
    if user is ANONYMOUS:
        raise unauthorized()
    wanted = headers.get(_USER, "")
    groups = tuple(headers.getall(_GROUP, []))
    uid = headers.get(_UID, "")
    extra = _extra(headers)
    if not wanted:
        raise bad_request("requested to impersonate groups, a uid or extra without impersonating a user")
    for info in _asked(wanted, groups, uid, extra):
        authorization.authorize(authorizer, user, info)
    return UserInfo(wanted, _groups(wanted, groups), uid, extra)


def _extra(headers: CIMultiDictProxy[str]) -> Mapping[str, tuple[str, ...]]:
    extra: dict[str, tuple[str, ...]] = {}
    for name, value in headers.items():
        if name.lower().startswith(_EXTRA):
            key = unquote(name[len(_EXTRA) :].lower()).lower()
            extra[key] = (*extra.get(key, ()), value)
    return extra


def _asked(user: str, groups: tuple[str, ...], uid: str, extra: Mapping[str, tuple[str, ...]]) -> list[RequestInfo]:
    """Return what must be allowed: the verb impersonate on the user, and on each of the rest."""
    namespace, colon, account = user.removeprefix(_ACCOUNT).partition(":")
    if user.startswith(_ACCOUNT) and colon and namespace and account:
        asked = [_impersonate("serviceaccounts", account, namespace=namespace)]
    else:
        asked = [_impersonate("users", user)]
    asked += [_impersonate("groups", group) for group in groups]
    if uid:
        asked.append(_impersonate("uids", uid, group=_AUTHENTICATION))
    for key, values in extra.items():
        asked += [_impersonate("userextras", value, group=_AUTHENTICATION, subresource=key) for value in values]
    return asked


def _impersonate(
    resource: str, name: str, *, namespace: str = "", group: str = "", subresource: str = ""
) -> RequestInfo:
    return RequestInfo("", "", {}, "impersonate", True, group, "v1", namespace, resource, name, subresource)


def _groups(user: str, groups: tuple[str, ...]) -> tuple[str, ...]:
    """Return the groups, those of a service account where none are named, and whether the user is known at all."""
    namespace, colon, account = user.removeprefix(_ACCOUNT).partition(":")
    if not groups and user.startswith(_ACCOUNT) and colon and account:
        groups = account_groups(namespace)
    if user == ANONYMOUS.name:
        return groups if SYSTEM_UNAUTHENTICATED in groups else (*groups, SYSTEM_UNAUTHENTICATED)
    if SYSTEM_AUTHENTICATED in groups or SYSTEM_UNAUTHENTICATED in groups:
        return groups
    return (*groups, SYSTEM_AUTHENTICATED)
