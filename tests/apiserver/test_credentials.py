"""Credentials that are none: forged tokens, and rights that somebody takes by naming others."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
from typing import Any

from apiserver_harness import Instance
from cryptography.hazmat.primitives import serialization as forms

ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"
PODS = "/api/v1/namespaces/default/pods"


async def a_token(instance: Instance) -> str:
    answer = await instance.ask("POST", f"{ACCOUNT}/token", json={"spec": {}})
    assert answer.status == 201, answer.body
    return str(answer.json["status"]["token"])


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def decoded(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=="))


async def ask(instance: Instance, token: str, **headers: str) -> tuple[int, str]:
    async with instance.session(token=token) as session, session.get(PODS, headers=headers) as response:
        return response.status, (await response.json())["message"]


async def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(instance: Instance) -> None:
    """The old trick: who takes the algorithm from the token checks an HMAC with a key that everybody knows."""
    head, claims, _ = (await a_token(instance)).split(".")
    private = forms.load_pem_private_key(instance.pki.service_account_key.read_bytes(), None)
    public = private.public_key()
    for encoding, form in (
        (forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo),
        (forms.Encoding.DER, forms.PublicFormat.SubjectPublicKeyInfo),
    ):
        signed = f"{encoded({**decoded(head), 'alg': 'HS256'})}.{claims}"
        digest = hmac.digest(public.public_bytes(encoding, form), signed.encode(), hashlib.sha256)
        token = f"{signed}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
        assert await ask(instance, token) == (401, "Unauthorized")


HEADS: list[dict[str, Any]] = [
    {"kid": "nosuch"},
    {"kid": "../../../etc/passwd"},
    {"kid": 7},
    {"kid": None},
    {"alg": "none"},
    {"alg": "None"},
    {"alg": "RS256"},
    {"alg": ["ES256"]},
    {"crit": ["exp"]},
    {"jwk": {"kty": "EC"}},
]


async def test_a_token_with_another_head_is_refused(instance: Instance) -> None:
    head, claims, signature = (await a_token(instance)).split(".")
    for change, end in itertools.product(HEADS, (signature, "")):
        changed = encoded({**decoded(head), **change})
        assert await ask(instance, f"{changed}.{claims}.{end}") == (401, "Unauthorized")


async def test_what_is_no_token_is_refused(instance: Instance) -> None:
    for token in ["a.b.c", "..", "." * 1000, "a" * 500_000, "W10.W10.W10", "e30.e30.", "\udcff\udcfe"]:
        assert await ask(instance, token) == (401, "Unauthorized")


OTHERS = [
    {"Impersonate-User": "kubernetes-admin"},
    {"Impersonate-User": "nobody", "Impersonate-Group": "system:masters"},
    {"Impersonate-User": "system:serviceaccount:kube-system:default"},
    {"Impersonate-User": "system:serviceaccount:default:default", "Impersonate-Group": "system:masters"},
]


async def test_a_token_gives_no_right_to_be_another(instance: Instance) -> None:
    token = await a_token(instance)
    for headers in OTHERS:
        code, message = await ask(instance, token, **headers)
        assert code == 403 and "cannot impersonate resource" in message


async def test_headers_that_name_nobody(instance: Instance) -> None:
    for headers in ({"Impersonate-Group": "system:masters"}, {"Impersonate-Extra-a": "b"}, {"Impersonate-User": ""}):
        answer = await instance.ask("GET", PODS, headers=headers)
        assert (answer.status, answer.json["reason"]) == (400, "BadRequest")
