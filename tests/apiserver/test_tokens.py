"""Service-account tokens: asked for, taken, and refused once what they are bound to is gone."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from apiserver_harness import POD, Instance, an_admin

from podstead import clock
from podstead.pki import Pki
from podstead.registry import tokens
from podstead.registry.registry import Registry
from podstead.tokens import TokenKeys

ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"
ME = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


async def ask(instance: Instance, expect: int = 201, **spec: Any) -> Any:
    answer = await instance.ask("POST", f"{ACCOUNT}/token", json={"spec": spec})
    assert answer.status == expect, answer.body
    return answer.json


async def a_token(instance: Instance, **spec: Any) -> str:
    token: str = (await ask(instance, **spec))["status"]["token"]
    return token


def claims_of(token: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))


async def status_with(instance: Instance, token: str) -> int:
    async with instance.session(token=token) as someone, someone.post(ME, json={}) as response:
        body = await response.json()
        if response.status == 401:
            assert body["reason"] == "Unauthorized" and body["message"] == "Unauthorized"
        return response.status


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = clock.now() + timedelta(seconds=seconds)
    monkeypatch.setattr(clock, "now", lambda: now)


async def test_a_token_says_what_kubernetes_says(instance: Instance) -> None:
    answered = await ask(instance, expirationSeconds=3600)
    token = answered["status"]["token"]
    header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    claims = claims_of(token)
    account = await instance.get(ACCOUNT)
    assert header["alg"] == "ES256" and header["kid"]
    assert claims["sub"] == "system:serviceaccount:default:default"
    assert claims["iss"] == "https://kubernetes.default.svc.cluster.local"
    assert claims["aud"] == answered["spec"]["audiences"] == list(tokens.API_AUDIENCES)
    assert claims["exp"] - claims["iat"] == 3600 and claims["nbf"] == claims["iat"] and len(claims["jti"]) == 36
    uid = account["metadata"]["uid"]
    assert claims["kubernetes.io"] == {
        "namespace": "default",
        "serviceaccount": {"name": "default", "uid": uid},
    }
    assert clock.parse(answered["status"]["expirationTimestamp"]).timestamp() == claims["exp"]
    assert answered["metadata"]["name"] == "default" and answered["kind"] == "TokenRequest"


async def test_a_pods_token_names_pod_and_node_and_lasts_longer_than_it_says(instance: Instance) -> None:
    await instance.create_pod()
    pod = (await instance.get("/api/v1/namespaces/default/pods/box"))["metadata"]
    ref = {"kind": "Pod", "apiVersion": "v1", "name": "box", "uid": pod["uid"]}
    answered = await ask(instance, expirationSeconds=3607, boundObjectRef=ref)
    claims = claims_of(answered["status"]["token"])
    assert claims["kubernetes.io"]["pod"] == {"name": "box", "uid": pod["uid"]}
    assert claims["kubernetes.io"]["node"] == {"name": "fake"}
    assert claims["kubernetes.io"]["warnafter"] == claims["iat"] + 3607
    assert claims["exp"] - claims["iat"] == 365 * 24 * 3600
    assert clock.parse(answered["status"]["expirationTimestamp"]).timestamp() == claims["iat"] + 3607


@pytest.mark.parametrize(
    ("spec", "code", "message"),
    [
        (
            {"expirationSeconds": 599},
            422,
            'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: may not '
            "specify a duration less than 10 minutes",
        ),
        (
            {"expirationSeconds": (1 << 32) + 1},
            422,
            'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 4294967297: may '
            "not specify a duration larger than 2^32 seconds",
        ),
        ({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "no"}}, 404, 'pods "no" not found'),
        (
            {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "box", "uid": "other"}},
            409,
            'Operation cannot be fulfilled on Pod "box": the UID in the bound object reference (other) does not match '
            "the UID in record. The object might have been deleted and then recreated",
        ),
        (
            {"boundObjectRef": {"kind": "ConfigMap", "apiVersion": "v1", "name": "box"}},
            400,
            "cannot bind token to object of type /v1, Kind=ConfigMap",
        ),
    ],
)
async def test_a_wrong_request_is_refused(instance: Instance, spec: Any, code: int, message: str) -> None:
    await instance.create_pod()
    assert (await ask(instance, code, **spec))["message"] == message


async def test_a_token_is_bound_to_a_pod_of_its_own_account_only(instance: Instance) -> None:
    client = instance.registry.client(an_admin())
    await client.create("serviceaccounts", {"metadata": {"name": "robot"}}, "default")
    await instance.create_pod()
    ref = {"kind": "Pod", "apiVersion": "v1", "name": "box"}
    path = "/api/v1/namespaces/default/serviceaccounts/robot/token"
    answer = await instance.ask("POST", path, json={"spec": {"boundObjectRef": ref}})
    assert answer.status == 400
    assert answer.json["message"] == (
        'cannot bind token for serviceaccount "robot" to pod running with different serviceaccount name.'
    )


async def test_who_has_a_token_is_the_account(instance: Instance) -> None:
    await instance.create_pod()
    pod = (await instance.get("/api/v1/namespaces/default/pods/box"))["metadata"]
    token = await a_token(instance, boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "box"})
    async with instance.session(token=token) as robot, robot.post(ME, json={}) as response:
        assert response.status == 201
        user = (await response.json())["status"]["userInfo"]
    assert user["username"] == "system:serviceaccount:default:default"
    assert user["uid"] == (await instance.get(ACCOUNT))["metadata"]["uid"]
    assert user["groups"] == ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]
    assert user["extra"] == {
        "authentication.kubernetes.io/credential-id": [f"JTI={claims_of(token)['jti']}"],
        "authentication.kubernetes.io/node-name": ["fake"],
        "authentication.kubernetes.io/pod-name": ["box"],
        "authentication.kubernetes.io/pod-uid": [pod["uid"]],
    }


async def test_a_pods_token_gets_its_own_pod_and_no_other(instance: Instance) -> None:
    await instance.create_pod()
    await instance.create_pod(metadata={"name": "other"})
    token = await a_token(instance, boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "box"})
    async with instance.session(token=token) as robot:
        async with robot.get("/api/v1/namespaces/default/pods/box") as response:
            assert response.status == 200
        async with robot.get("/openid/v1/jwks") as response:
            assert response.status == 200
        for path, message in (
            (
                "pods/other",
                'pods "other" is forbidden: User "system:serviceaccount:default:default" cannot get resource',
            ),
            (
                "pods",
                'pods is forbidden: User "system:serviceaccount:default:default" cannot list resource "pods" in API '
                'group "" in the namespace "default"',
            ),
        ):
            async with robot.get(f"/api/v1/namespaces/default/{path}") as response:
                assert response.status == 403
                assert (await response.json())["message"].startswith(message)
        async with robot.get("/api/v1/namespaces/other/pods/box") as response:
            assert response.status == 403


async def test_a_token_ends_with_its_time(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    token = await a_token(instance, expirationSeconds=600)
    assert await status_with(instance, token) == 201
    later(monkeypatch, 601)
    assert await status_with(instance, token) == 401


async def test_a_token_ends_with_its_pod(instance: Instance) -> None:
    await instance.create_pod(bound=False)
    token = await a_token(instance, boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "box"})
    assert await status_with(instance, token) == 201
    client = instance.registry.client(an_admin())
    await client.delete("pods", "box", "default", grace_period_seconds=0)
    assert await status_with(instance, token) == 401
    await client.create("pods", POD, "default")
    assert await status_with(instance, token) == 401, "another pod of that name"


async def test_a_token_ends_with_its_account(instance: Instance) -> None:
    token = await a_token(instance)
    client = instance.registry.client(an_admin())
    await client.delete("serviceaccounts", "default", "default")
    assert await status_with(instance, token) == 401
    await client.create("serviceaccounts", {"metadata": {"name": "default"}}, "default")
    assert await status_with(instance, token) == 401, "another account of that name"


async def test_a_token_for_others_is_not_for_the_api(instance: Instance) -> None:
    assert await status_with(instance, await a_token(instance, audiences=["vault"])) == 401


async def test_a_forged_token_is_refused(instance: Instance, tmp_path: Path) -> None:
    token = await a_token(instance)
    head, said, signature = token.split(".")
    other = Pki(tmp_path / "other")
    other.ensure()
    claims = claims_of(token)
    foreign = TokenKeys(other.service_account_key, other.retired_service_account_keys).sign(claims)
    nothing = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    changed = base64.urlsafe_b64encode(json.dumps(claims | {"exp": claims["exp"] + 9}).encode()).decode().rstrip("=")
    hmac = base64.urlsafe_b64encode(
        json.dumps({**json.loads(base64.urlsafe_b64decode(head + "==")), "alg": "HS256"}).encode()
    ).decode()
    for forged in (
        foreign,
        f"{nothing}.{said}.",
        f"{hmac.rstrip('=')}.{said}.{signature}",
        f"{head}.{changed}.{signature}",
        f"{head}.{said}.{signature[:-4]}",
        f"{head}.{said}",
        "x",
        "é",
    ):
        assert await status_with(instance, forged) == 401, forged


async def test_a_new_key_signs_and_the_old_one_verifies_until_it_is_removed(instance: Instance) -> None:
    old = await a_token(instance)
    kept = instance.pki.rotate_service_account_key()
    new = await a_token(instance)
    assert new.split(".")[0] != old.split(".")[0]
    assert [await status_with(instance, token) for token in (old, new)] == [201, 201]
    keys = (await instance.get("/openid/v1/jwks"))["keys"]
    assert len(keys) == 2 and keys[0]["kid"] != keys[1]["kid"]
    assert b"PRIVATE" not in kept.read_bytes()
    kept.unlink()
    assert [await status_with(instance, token) for token in (old, new)] == [401, 201]


async def test_rsa_keys_work_too(instance: Instance) -> None:
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    instance.pki.service_account_key.write_bytes(pem)
    token = await a_token(instance)
    assert json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["alg"] == "RS256"
    assert await status_with(instance, token) == 201
    instance.pki.ensure()


async def test_others_can_check_tokens(instance: Instance) -> None:
    answer = await instance.ask("GET", "/.well-known/openid-configuration")
    assert answer.json == {
        "issuer": "https://kubernetes.default.svc.cluster.local",
        "jwks_uri": f"{instance.url}/openid/v1/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }
    answer = await instance.ask("GET", "/openid/v1/jwks")
    assert answer.headers["Content-Type"] == "application/jwk-set+json"
    [key] = answer.json["keys"]
    assert (key["kty"], key["crv"], key["use"], key["alg"]) == ("EC", "P-256", "sig", "ES256")


async def test_a_registry_without_keys_gives_no_tokens(tmp_path: Path, instance: Instance) -> None:
    assert Registry(instance.registry.store).tokens is None


async def test_kubectl_creates_tokens_and_works_with_them(instance: Instance) -> None:
    token = (await instance.kubectl("create", "token", "default", "--duration=10m", "--audience", "vault")).strip()
    assert claims_of(token)["aud"] == ["vault"] and claims_of(token)["exp"] - claims_of(token)["iat"] == 600
    token = (await instance.kubectl("create", "token", "default")).strip()
    (instance.kubeconfig.parent / "token").write_text(token)
    await instance.kubectl("config", "set-credentials", "robot", f"--token={token}")
    output = await instance.kubectl("get", "pods", "--user=robot", check=False)
    assert (
        'Error from server (Forbidden): pods is forbidden: User "system:serviceaccount:default:default" cannot list '
        'resource "pods" in API group "" in the namespace "default"'
    ) in output
    await instance.kubectl("delete", "serviceaccount", "default")
    output = await instance.kubectl("get", "pods", "--user=robot", check=False)
    assert "You must be logged in to the server (Unauthorized)" in output
