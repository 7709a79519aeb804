from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from podstead.node.images.credentials import BadPullSecret, auth_file, from_secret, matching
from podstead.node.images.references import parse
from podstead.node.runtime.base import RegistryAuth


def secret(content: Any, kind: str = "dockerconfigjson") -> dict[str, Any]:
    text = content if isinstance(content, str) else json.dumps(content)
    return {"type": f"kubernetes.io/{kind}", "data": {f".{kind}": base64.b64encode(text.encode()).decode()}}


def test_both_types_of_secrets_and_both_ways_to_write_a_login() -> None:
    entries = {
        "a.io": {"auth": base64.b64encode(b"me:pass:word").decode().rstrip("=")},
        "b.io": {"username": "you", "password": "p", "email": "x@y"},
    }
    expected = [RegistryAuth("a.io", "me", "pass:word", "secret n/s"), RegistryAuth("b.io", "you", "p", "secret n/s")]
    assert from_secret(secret({"auths": entries}), "secret n/s") == expected
    assert from_secret(secret(entries, "dockercfg"), "secret n/s") == expected
    assert from_secret({"type": "Opaque", "data": {}}, "secret n/s") == []
    assert "pass:word" not in repr(expected)


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        ({"type": "kubernetes.io/dockercfg", "data": {}}, r"no \.dockercfg"),
        (secret("{"), r"\.dockerconfigjson cannot be read"),
        (secret("[]"), "cannot be read"),
        (secret({"auths": {"a.io": "x"}}), "cannot be read"),
        (secret({"auths": {"a.io": {"auth": "bm9jb2xvbg=="}}}), r"auth of a\.io is not base64 of USER:PASSWORD"),
    ],
)
def test_a_broken_secret_says_what_is_wrong(broken: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadPullSecret, match=complaint):
        from_secret(broken, "secret n/s")


@pytest.mark.parametrize(
    ("registry", "image", "fits"),
    [
        ("a.io", "a.io/x/y:1", True),
        ("https://a.io/v1/", "a.io/x", True),
        ("a.io:5000", "a.io:5000/x", True),
        ("a.io", "a.io:5000/x", False),
        ("a.io:5000", "a.io/x", False),
        ("*.a.io", "sub.a.io/x", True),
        ("*.a.io", "a.io/x", False),
        ("*.a.io", "deep.sub.a.io/x", False),
        ("pre-*.a.io", "pre-1.a.io/x", True),
        ("a.io/team", "a.io/team/x", True),
        ("a.io/team/x", "a.io/team/x:2", True),
        ("a.io/team", "a.io/teams/x", False),
        ("a.io/team", "a.io/x", False),
        ("https://index.docker.io/v1/", "centos:7", True),
        ("docker.io", "me/app", True),
        ("index.docker.io/v1/", "quay.io/me/app", False),
        ("127.0.0.1:5000", "127.0.0.1:5000/x", True),
        ("[::1]:5000", "[::1]:5000/x", True),
    ],
)
def test_which_registry_is_meant(registry: str, image: str, fits: bool) -> None:
    assert bool(matching([RegistryAuth(registry, "u", "p", "")], parse(image))) is fits


def test_the_longest_path_is_tried_first_then_the_given_order() -> None:
    keys = ["a.io", "a.io/team", "*.io", "a.io/team/app", "a.io"]
    auths = [RegistryAuth(key, f"u{number}", "p", "") for number, key in enumerate(keys)]
    assert [auth.username for auth in matching(auths, parse("a.io/team/app:1"))] == ["u3", "u1", "u0", "u4", "u2"]
    twice = [RegistryAuth("a.io", "u", "p", "one"), RegistryAuth("a.io", "u", "p", "two")]
    assert [auth.origin for auth in matching(twice, parse("a.io/x"))] == ["one"]


def test_the_auth_file_is_what_skopeo_reads() -> None:
    content = json.loads(auth_file(RegistryAuth("*.io", "u", "p", ""), parse("a.io/x")))
    assert content == {"auths": {"a.io": {"auth": base64.b64encode(b"u:p").decode()}}}
