"""Reviews: questions about who somebody is and what they may do. A create is answered, nothing is kept.

Sources: authentication.k8s.io/v1 (TokenReview, SelfSubjectReview), authorization.k8s.io/v1 (the others).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from podstead import clock
from podstead.apiserver import body, query
from podstead.apiserver.answers import Answer, of_object
from podstead.apiserver.authorization import Authorizer
from podstead.apiserver.call import Call
from podstead.apiserver.negotiation import negotiate
from podstead.apiserver.request import RequestInfo, method_not_allowed
from podstead.objects import errors, meta, schema
from podstead.objects.errors import FieldError
from podstead.objects.kinds import ResourceInfo
from podstead.objects.user import UserInfo
from podstead.registry.tokens import API_AUDIENCES, ServiceAccountTokens
from podstead.tokens import NotOursError, TokenError

Object = dict[str, Any]


class Reviews:
    """Answers from `authorizer`, and from `tokens` (None: no token is known)."""

    def __init__(self, authorizer: Authorizer, tokens: ServiceAccountTokens | None) -> None:
        self._authorizer = authorizer
        self._tokens = tokens
        self._kinds: dict[str, Callable[[Call, Object], Object]] = {
            "LocalSubjectAccessReview": self._local,
            "SelfSubjectAccessReview": self._self_access,
            "SelfSubjectReview": self._self,
            "SelfSubjectRulesReview": self._rules,
            "SubjectAccessReview": self._access,
            "TokenReview": self._token,
        }

    async def answer(self, call: Call, info: ResourceInfo) -> Answer:
        """Raises StatusError 400, 404, 405, 406, 413, 415, 422."""
        asked = call.info
        if info.namespaced != bool(asked.namespace):
            raise errors.path_not_found()
        if asked.name or asked.subresource:
            raise errors.path_not_found()
        if asked.verb != "create":
            if asked.method == "POST":
                raise method_not_allowed()
            raise errors.method_not_supported(info.plural, asked.verb, info.group)
        negotiate(call.accept)
        options = query.write_options(asked.query, "CreateOptions")
        obj, duplicates = await body.read_object(call.request, info, duplicates=options.field_validation != "Ignore")
        options = replace(options, duplicates=tuple(duplicates))
        schema.check_kind(info, obj)
        review, warnings = schema.check(info, obj, validation=options.field_validation, duplicates=options.duplicates)
        call.context.warnings.extend(warnings)
        status = self._kinds[info.kind](call, review)
        answer = {"kind": info.kind, "apiVersion": info.api_version, "metadata": review.get("metadata") or {}}
        if "spec" in review:
            answer["spec"] = review["spec"]
        return of_object(answer | {"status": status}, 201)

    # -- authentication.k8s.io

    def _self(self, call: Call, review: Object) -> Object:
        review["metadata"] = {"creationTimestamp": clock.rfc3339()}
        return {"userInfo": _user_info(call.user)}

    def _token(self, call: Call, review: Object) -> Object:
        spec = review.get("spec") or {}
        token = spec.get("token")
        if not token:
            raise errors.bad_request("token is required for TokenReview in authentication")
        if self._tokens is None:
            return {"user": {}, "error": "invalid bearer token"}
        try:
            found = self._tokens.authenticate(token, spec.get("audiences") or API_AUDIENCES)
        except NotOursError:
            return {"user": {}, "error": "invalid bearer token"}
        except TokenError as error:
            return {"user": {}, "error": f"[invalid bearer token, {error}]"}
        return {"authenticated": True, "user": _user_info(found.user), "audiences": list(found.audiences)}

    # -- authorization.k8s.io

    def _self_access(self, call: Call, review: Object) -> Object:
        spec = review.get("spec") or {}
        self._refuse("SelfSubjectAccessReview", [*_metadata(review), *_attributes(spec)])
        return self._allowed(call.user, spec)

    def _access(self, call: Call, review: Object) -> Object:
        spec = review.get("spec") or {}
        self._refuse("SubjectAccessReview", [*_metadata(review), *_attributes(spec), *_subject(spec)])
        return self._allowed(_user_of(spec), spec)

    def _local(self, call: Call, review: Object) -> Object:
        metadata, spec = review.setdefault("metadata", {}), review.get("spec") or {}
        namespace = call.info.namespace
        if metadata.setdefault("namespace", namespace) != namespace:
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        causes = [*_metadata(review, "namespace"), *_attributes(spec), *_subject(spec)]
        resource = spec.get("resourceAttributes")
        if resource is not None and (resource.get("namespace") or "") != namespace:
            path = "spec.resourceAttributes.namespace"
            causes.append(meta.invalid(path, resource.get("namespace") or "", "must match metadata.namespace"))
        if spec.get("nonResourceAttributes") is not None:
            path = "spec.nonResourceAttributes"
            causes.append(meta.invalid(path, spec["nonResourceAttributes"], "disallowed on this kind of request"))
        self._refuse("LocalSubjectAccessReview", causes)
        return self._allowed(_user_of(spec), spec)

    def _rules(self, call: Call, review: Object) -> Object:
        namespace = (review.get("spec") or {}).get("namespace") or ""
        if not namespace:
            raise errors.bad_request("no namespace on request")
        resources, others = [], []
        for rule in self._authorizer.rules(call.user, namespace):
            if rule.paths:
                others.append({"verbs": list(rule.verbs), "nonResourceURLs": list(rule.paths)})
                continue
            said = {"verbs": list(rule.verbs), "apiGroups": list(rule.groups), "resources": list(rule.resources)}
            resources.append(said | ({"resourceNames": list(rule.names)} if rule.names else {}))
        return {"resourceRules": resources, "nonResourceRules": others, "incomplete": False}

    def _allowed(self, user: UserInfo, spec: Object) -> Object:
        why = self._authorizer.authorize(user, _request(spec))
        if why is None:
            return {"allowed": True}
        return {"allowed": False} | ({"reason": why} if why else {})

    def _refuse(self, kind: str, causes: list[FieldError]) -> None:
        if causes:
            raise errors.invalid(kind, "", causes, "authorization.k8s.io")


def _request(spec: Object) -> RequestInfo:
    """Return what a review asks about, as if it were on its way."""
    other = spec.get("nonResourceAttributes")
    if other is not None:
        return RequestInfo("", other.get("path") or "", {}, other.get("verb") or "")
    of = spec.get("resourceAttributes") or {}
    fields = (of.get(name) or "" for name in ("group", "version", "namespace", "resource", "name", "subresource"))
    return RequestInfo("", "", {}, of.get("verb") or "", True, *fields)


def _metadata(review: Object, *allowed: str) -> list[FieldError]:
    found = {name: value for name, value in (review.get("metadata") or {}).items() if name not in allowed}
    found.pop("managedFields", None)
    return [meta.invalid("metadata", found, "must be empty")] if any(found.values()) else []


def _attributes(spec: Object) -> list[FieldError]:
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and other is not None:
        detail = "cannot be specified in combination with resourceAttributes"
        return [meta.invalid("spec.nonResourceAttributes", other, detail)]
    if resource is None and other is None:
        detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        return [meta.invalid("spec.resourceAttributes", None, detail)]
    return []


def _subject(spec: Object) -> list[FieldError]:
    if spec.get("user") or spec.get("groups"):
        return []
    return [meta.invalid("spec.user", "", "at least one of user or group must be specified")]


def _user_of(spec: Object) -> UserInfo:
    extra = {key.lower(): tuple(values) for key, values in (spec.get("extra") or {}).items()}
    return UserInfo(spec.get("user") or "", tuple(spec.get("groups") or ()), spec.get("uid") or "", extra)


def _user_info(user: UserInfo) -> Object:
    """authentication.k8s.io/v1 UserInfo."""
    told: Object = {"username": user.name}
    if user.uid:
        told["uid"] = user.uid
    if user.groups:
        told["groups"] = list(user.groups)
    if user.extra:
        told["extra"] = {key: list(values) for key, values in user.extra.items()}
    return told
