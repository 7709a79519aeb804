"""Service-account tokens over the registry: what they say, and whether what they say still holds.

A token is bound to its account and, where it says so, to a pod, a secret or a node: it ends with them. That is looked
up in the watch cache each time; the signature is checked once a token (KEP-1205, KEP-2799, KEP-4193).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from podstead import clock
from podstead.objects import errors, meta
from podstead.objects.errors import FieldError
from podstead.objects.user import SYSTEM_AUTHENTICATED, UserInfo
from podstead.registry.admission import Lookup
from podstead.tokens import NotOursError, TokenError, TokenKeys

Object = dict[str, Any]

ISSUER = "https://kubernetes.default.svc.cluster.local"
API_AUDIENCES = (ISSUER, "https://kubernetes.default.svc")
"""Whom a token for the API server is meant for; what a request for a token gets that names no audience."""
MIN_SECONDS, MAX_SECONDS = 600, 1 << 32
INJECTED_SECONDS, EXTENDED_SECONDS = 3607, 365 * 24 * 3600
"""A pod's own token, known by these odd seconds, is taken for a year, as Kubernetes does for clients that never read
their file again; what it says of its end, and what the node goes by, stays 3,607 s (KEP-1205)."""
LEEWAY = timedelta(seconds=60)
"""How long the token of what is being deleted is taken after the time that was set for its end."""
_CACHED = 4096

SERVICE_ACCOUNTS = "system:serviceaccounts"


class _Ref(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str = ""
    uid: str = ""


class _Private(msgspec.Struct, frozen=True, omit_defaults=True):
    namespace: str = ""
    node: _Ref | None = None
    pod: _Ref | None = None
    secret: _Ref | None = None
    serviceaccount: _Ref = _Ref()
    warnafter: int = 0


class _Claims(msgspec.Struct, frozen=True, omit_defaults=True):
    aud: tuple[str, ...] | str = ()
    exp: int = 0
    iat: int = 0
    iss: str = ""
    jti: str = ""
    private: _Private = msgspec.field(default=_Private(), name="kubernetes.io")
    nbf: int = 0
    sub: str = ""

    @property
    def audiences(self) -> tuple[str, ...]:
        return (self.aud,) if isinstance(self.aud, str) else self.aud


@dataclass(frozen=True, slots=True)
class Authenticated:
    """`audiences`: those of the wanted ones that the token is for."""

    user: UserInfo
    audiences: tuple[str, ...]


class ServiceAccountTokens:
    """Issues and checks tokens; objects are found through `lookup`, the registry."""

    def __init__(self, keys: TokenKeys, lookup: Lookup) -> None:
        self.keys = keys
        self._lookup = lookup
        self._verified: OrderedDict[bytes, tuple[_Claims, UserInfo]] = OrderedDict()
        """By the SHA-256 of the token: what it says; those used last come last."""
        self._generation = 0

    # -- issuing

    def request(self, account: Object, sent: Object) -> Object:
        """Answer a TokenRequest for `account`; `sent` is checked against the schema.

        Raises StatusError 400, 404, 409, 422. Source: authentication.k8s.io/v1 TokenRequest.
        """
        of = account["metadata"]
        metadata, spec = dict(sent.get("metadata") or {}), dict(sent.get("spec") or {})
        if metadata.setdefault("uid", of["uid"]) != of["uid"]:
            why = (
                f"the UID in the token request ({metadata['uid']}) does not match the UID of the service account "
                f"({of['uid']})"
            )
            raise errors.conflict("TokenRequest", of["name"], why, "authentication.k8s.io")
        now = clock.now()
        metadata |= {"name": of["name"], "namespace": of["namespace"], "creationTimestamp": clock.rfc3339(now)}
        spec["audiences"] = list(spec.get("audiences") or API_AUDIENCES)
        seconds = int(spec.setdefault("expirationSeconds", 3600))
        if causes := _wrong(spec):
            raise errors.invalid("TokenRequest", "", causes, "authentication.k8s.io")
        bound = self._bound(of["namespace"], of["name"], spec.get("boundObjectRef"))
        private = _Private(
            namespace=of["namespace"],
            node=bound.get("node"),
            pod=bound.get("pod"),
            secret=bound.get("secret"),
            serviceaccount=_Ref(of["name"], of["uid"]),
        )
        taken = seconds
        if "pod" in bound and seconds == INJECTED_SECONDS and set(spec["audiences"]) <= set(API_AUDIENCES):
            taken = EXTENDED_SECONDS
            private = msgspec.structs.replace(private, warnafter=int(now.timestamp()) + seconds)
        token = self._sign(private, spec["audiences"], now, taken)
        ends = clock.rfc3339(now + timedelta(seconds=seconds))
        status = {"token": token, "expirationTimestamp": ends}
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": metadata,
            "spec": spec,
            "status": status,
        }

    def _sign(self, private: _Private, audiences: Sequence[str], now: datetime, seconds: int) -> str:
        issued = int(now.timestamp())
        claims = _Claims(
            aud=tuple(audiences),
            exp=issued + seconds,
            iat=issued,
            iss=ISSUER,
            jti=meta.new_uid(),
            private=private,
            nbf=issued,
            sub=_username(private),
        )
        return self.keys.sign(msgspec.to_builtins(claims))

    def _bound(self, namespace: str, account: str, ref: Object | None) -> dict[str, _Ref]:
        """Return what the token is bound to, by claim."""
        if ref is None:
            return {}
        group, _, version = (ref.get("apiVersion") or "").rpartition("/")
        kind, name = ref.get("kind") or "", ref.get("name") or ""
        resource = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}.get(kind) if not group else None
        if resource is None:
            prefix = f"{group}/" if group else "/"
            raise errors.bad_request(f"cannot bind token to object of type {prefix}{version}, Kind={kind}")
        found = self._lookup.find(resource, name, "" if kind == "Node" else namespace)
        if found is None:
            raise errors.not_found(resource, name)
        claims = {kind.lower(): _Ref(name, found["metadata"]["uid"])}
        if kind == "Pod":
            spec = found.get("spec") or {}
            if spec.get("serviceAccountName") != account:
                raise errors.bad_request(
                    f'cannot bind token for serviceaccount "{account}" to pod running with different serviceaccount '
                    "name."
                )
            if on := spec.get("nodeName"):
                node = self._lookup.find("nodes", on)
                claims["node"] = _Ref(on, node["metadata"]["uid"] if node is not None else "")
        if ref.get("uid") and ref["uid"] != found["metadata"]["uid"]:
            why = (
                f"the UID in the bound object reference ({ref['uid']}) does not match the UID in record. The object "
                "might have been deleted and then recreated"
            )
            raise errors.conflict(kind, name, why)
        return claims

    # -- checking

    def authenticate(self, token: str, wanted: Collection[str] = API_AUDIENCES) -> Authenticated:
        """Return whose token it is, if it is for one of the audiences `wanted`. Raises TokenError."""
        claims, user = self._claims(token)
        now = clock.now()
        if now.timestamp() >= claims.exp:
            raise TokenError("service account token has expired")
        if now.timestamp() < claims.nbf:
            raise TokenError("service account token is not valid yet")
        audiences = tuple(one for one in wanted if one in claims.audiences)
        if not audiences:
            raise TokenError(
                f"token audiences {_listed(claims.audiences)} is invalid for the target audiences {_listed(wanted)}"
            )
        self._check_alive(claims.private, now)
        return Authenticated(user, audiences)

    def _claims(self, token: str) -> tuple[_Claims, UserInfo]:
        generation = self.keys.refresh()
        if generation != self._generation:
            self._verified.clear()
            self._generation = generation
        digest = hashlib.sha256(token.encode(errors="surrogateescape")).digest()
        known = self._verified.get(digest)
        if known is None:
            known = self._read(token)
            self._verified[digest] = known
            if len(self._verified) > _CACHED:
                self._verified.popitem(last=False)
        else:
            self._verified.move_to_end(digest)
        return known

    def _read(self, token: str) -> tuple[_Claims, UserInfo]:
        try:
            claims = msgspec.json.decode(self.keys.verify(token), type=_Claims)
        except msgspec.DecodeError as error:
            raise TokenError("service account token claims could not be validated due to unexpected claims") from error
        private = claims.private
        if claims.iss != ISSUER:
            raise NotOursError("from another issuer")
        if not private.namespace or not private.serviceaccount.name or claims.sub != _username(private):
            raise TokenError("service account token claims could not be validated due to unexpected private claim")
        return claims, _user(claims)

    def _check_alive(self, private: _Private, now: datetime) -> None:
        """Raise TokenError where what the token is bound to is gone, or another one of that name."""
        account, namespace = private.serviceaccount, private.namespace
        self._check("serviceaccounts", "service account", namespace, account, now)
        if private.secret is not None:
            self._check("secrets", "service account token secret", namespace, private.secret, now)
        if private.pod is not None:
            self._check("pods", "pod", namespace, private.pod, now)
        elif private.node is not None:
            self._check("nodes", "node", "", private.node, now)

    def _check(self, resource: str, words: str, namespace: str, ref: _Ref, now: datetime) -> None:
        found = self._lookup.find(resource, ref.name, namespace)
        if found is None:
            raise TokenError("service account token has been invalidated")
        metadata = found["metadata"]
        if metadata["uid"] != ref.uid:
            raise TokenError(f"{words} UID ({metadata['uid']}) does not match claim ({ref.uid})")
        ended = metadata.get("deletionTimestamp")
        if ended and now > clock.parse(ended) + LEEWAY:
            raise TokenError("service account token has been invalidated")


def _wrong(spec: Object) -> list[FieldError]:
    seconds, path = spec["expirationSeconds"], "spec.expirationSeconds"
    causes = []
    if seconds < MIN_SECONDS:
        causes.append(meta.invalid(path, seconds, "may not specify a duration less than 10 minutes"))
    if seconds > MAX_SECONDS:
        causes.append(meta.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds"))
    if spec.get("attestations"):
        causes.append(meta.forbidden("spec.attestations", "not implemented by podstead yet"))
    return causes


def _username(private: _Private) -> str:
    return f"system:serviceaccount:{private.namespace}:{private.serviceaccount.name}"


def account_groups(namespace: str) -> tuple[str, ...]:
    """The groups of every service account of `namespace`."""
    return SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}"


def _user(claims: _Claims) -> UserInfo:
    private = claims.private
    extra = {"credential-id": (f"JTI={claims.jti}",)} if claims.jti else {}
    for kind in ("node", "pod"):
        ref: _Ref | None = getattr(private, kind)
        if ref is not None:
            extra[f"{kind}-name"] = (ref.name,)
            if ref.uid:
                extra[f"{kind}-uid"] = (ref.uid,)
    return UserInfo(
        claims.sub,
        (*account_groups(private.namespace), SYSTEM_AUTHENTICATED),
        private.serviceaccount.uid,
        {f"authentication.kubernetes.io/{name}": values for name, values in sorted(extra.items())},
    )


def _listed(texts: Collection[str]) -> str:
    return "[" + " ".join(meta.quoted(text) for text in texts) + "]"
