"""Reviews: who one is, what one may, and acting as someone else."""

from __future__ import annotations

from typing import Any

import pytest
from apiserver_harness import Instance

AUTHENTICATION, AUTHORIZATION = "/apis/authentication.k8s.io/v1", "/apis/authorization.k8s.io/v1"
GET_PODS = {"namespace": "default", "verb": "get", "resource": "pods"}


async def review(instance: Instance, kind: str, spec: Any, expect: int = 201, namespace: str = "") -> Any:
    scope = f"/namespaces/{namespace}" if namespace else ""
    root = AUTHENTICATION if kind == "TokenReview" else AUTHORIZATION
    answer = await instance.ask("POST", f"{root}{scope}/{kind.lower()}s", json={"spec": spec})
    assert answer.status == expect, answer.body
    return answer.json["status"] if expect == 201 else answer.json["message"]


async def token_of(instance: Instance, **spec: Any) -> str:
    path = "/api/v1/namespaces/default/serviceaccounts/default/token"
    token: str = (await instance.ask("POST", path, json={"spec": spec})).json["status"]["token"]
    return token


async def test_a_token_review_tells_whose_token_it_is(instance: Instance) -> None:
    told = await review(instance, "TokenReview", {"token": await token_of(instance)})
    assert told["authenticated"] is True and told["user"]["username"] == "system:serviceaccount:default:default"
    assert "https://kubernetes.default.svc.cluster.local" in told["audiences"]
    token = await token_of(instance, audiences=["vault", "other"])
    told = await review(instance, "TokenReview", {"token": token, "audiences": ["vault", "third"]})
    assert told["authenticated"] is True and told["audiences"] == ["vault"]


async def test_a_token_review_tells_why_not(instance: Instance) -> None:
    told = await review(instance, "TokenReview", {"token": await token_of(instance, audiences=["vault"])})
    assert told == {
        "user": {},
        "error": '[invalid bearer token, token audiences ["vault"] is invalid for the target audiences '
        '["https://kubernetes.default.svc.cluster.local" "https://kubernetes.default.svc"]]',
    }
    told = await review(instance, "TokenReview", {"token": "x"})
    assert told == {"user": {}, "error": "invalid bearer token"}
    message = await review(instance, "TokenReview", {"token": ""}, 400)
    assert message == "token is required for TokenReview in authentication"
    assert (await instance.ask("GET", f"{AUTHENTICATION}/tokenreviews")).status == 405


async def test_access_is_reviewed_for_oneself_and_others(instance: Instance) -> None:
    assert await review(instance, "SelfSubjectAccessReview", {"resourceAttributes": GET_PODS}) == {"allowed": True}
    asked = {"user": "jane", "resourceAttributes": GET_PODS}
    assert await review(instance, "SubjectAccessReview", asked) == {"allowed": False}
    assert await review(instance, "LocalSubjectAccessReview", asked, namespace="default") == {"allowed": False}
    asked |= {"groups": ["system:masters"]}
    assert await review(instance, "SubjectAccessReview", asked) == {"allowed": True}
    path = {
        "user": "jane",
        "groups": ["system:authenticated"],
        "nonResourceAttributes": {"path": "/apis", "verb": "get"},
    }
    assert await review(instance, "SubjectAccessReview", path) == {"allowed": True}


@pytest.mark.parametrize(
    ("kind", "spec", "namespace", "message"),
    [
        (
            "SelfSubjectAccessReview",
            {},
            "",
            "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes "
            "must be specified",
        ),
        (
            "SubjectAccessReview",
            {"resourceAttributes": GET_PODS},
            "",
            'spec.user: Invalid value: "": at least one of user or group must be specified',
        ),
        (
            "LocalSubjectAccessReview",
            {"user": "jane", "resourceAttributes": GET_PODS},
            "other",
            'spec.resourceAttributes.namespace: Invalid value: "default": must match metadata.namespace',
        ),
    ],
)
async def test_a_review_that_asks_nothing_is_refused(
    instance: Instance, kind: str, spec: Any, namespace: str, message: str
) -> None:
    answered = await review(instance, kind, spec, 422, namespace)
    assert answered == f'{kind}.authorization.k8s.io "" is invalid: {message}'


async def test_rules_need_a_namespace(instance: Instance) -> None:
    assert await review(instance, "SelfSubjectRulesReview", {}, 400) == "no namespace on request"
    told = await review(instance, "SelfSubjectRulesReview", {"namespace": "default"})
    assert told == {
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        "incomplete": False,
    }


async def test_kubectl_tells_who_one_is(instance: Instance) -> None:
    output = await instance.kubectl("auth", "whoami")
    assert "Username" in output and "kubernetes-admin" in output
    assert "[system:masters system:authenticated]" in output
    assert "authentication.kubernetes.io/credential-id   [X509SHA256=" in output
    output = await instance.kubectl("auth", "whoami", "--as", "jane", "--as-group", "staff", "--as-uid", "7")
    lines = {line.split()[0]: line for line in output.splitlines()}
    assert lines["Username"].endswith(" jane") and lines["UID"].endswith(" 7")
    assert lines["Groups"].endswith("[staff system:authenticated]")


async def test_kubectl_tells_what_one_may(instance: Instance) -> None:
    assert (await instance.kubectl("auth", "can-i", "delete", "pods/log")).endswith("yes\n")
    assert (await instance.kubectl("auth", "can-i", "*", "*")).endswith("yes\n")
    robot = "--as=system:serviceaccount:default:default"
    assert (await instance.kubectl("auth", "can-i", "list", "pods", robot, check=False)).endswith("no\n")
    assert (await instance.kubectl("auth", "can-i", "get", "/openid/v1/jwks", robot)).endswith("yes\n")
    listed = await instance.kubectl("auth", "can-i", "--list", robot)
    assert "selfsubjectreviews.authentication.k8s.io" in listed and "[/openid/v1/jwks]" in listed


async def test_acting_as_someone_else_is_for_who_may(instance: Instance) -> None:
    output = await instance.kubectl("get", "pods", "--as", "system:serviceaccount:default:robot", check=False)
    assert 'pods is forbidden: User "system:serviceaccount:default:robot" cannot list resource "pods"' in output
    headers = {"Impersonate-User": "kubernetes-admin", "Impersonate-Group": "system:masters"}
    async with instance.session("jane") as jane, jane.get("/api/v1/pods", headers=headers) as response:
        assert response.status == 403
        message = (await response.json())["message"]
    assert message == (
        'users "kubernetes-admin" is forbidden: User "jane" cannot impersonate resource "users" in API group "" at the '
        "cluster scope"
    )
    async with instance.session() as nobody, nobody.get("/version", headers=headers) as response:
        assert response.status == 401
    answer = await instance.ask("GET", "/api/v1/pods", headers={"Impersonate-Group": "staff"})
    assert answer.status == 400
