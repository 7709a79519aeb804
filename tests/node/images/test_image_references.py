from __future__ import annotations

from pathlib import Path

import pytest

from podstead.node.images.references import InvalidReference, image_id, is_loopback, parse
from podstead.node.images.registries import candidates, local_candidates
from podstead.node.runtime.base import PullFailed

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("centos:7", "docker.io/library/centos:7"),
        ("centos", "docker.io/library/centos:latest"),
        ("me/app", "docker.io/me/app:latest"),
        ("docker.io/centos", "docker.io/library/centos:latest"),
        ("index.docker.io/me/app:1", "docker.io/me/app:1"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app:1.2", "localhost:5000/app:1.2"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        ("quay.io/a/b/c__d--e.f:v1_2.3-4", "quay.io/a/b/c__d--e.f:v1_2.3-4"),
        (f"centos@{DIGEST}", f"docker.io/library/centos@{DIGEST}"),
        (f"centos:7@{DIGEST}", f"docker.io/library/centos@{DIGEST}"),
        ("Registry/app", "Registry/app:latest"),
    ],
)
def test_names_mean_what_docker_means(written: str, meant: str) -> None:
    assert str(parse(written)) == meant


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("", "invalid reference format"),
        ("centos:", "invalid reference format"),
        ("centos:-x", "invalid reference format"),
        ("centos 7", "invalid reference format"),
        ("centos:7\n", "invalid reference format"),
        ("-a/b", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("a___b", "invalid reference format"),
        ("CentOS", "repository name (library/CentOS) must be lowercase"),
        ("quay.io/A", "repository name (A) must be lowercase"),
        ("centos:" + "x" * 129, "invalid reference format"),
        ("a/" * 130 + "a", "must not be more than 255 characters"),
        ("centos@sha256:" + "0" * 63, "invalid checksum digest length"),
        ("centos@md5:" + "0" * 32, "unsupported digest algorithm"),
        ("0" * 64, "cannot specify 64-byte hexadecimal strings"),
    ],
)
def test_bad_names_are_refused(written: str, complaint: str) -> None:
    with pytest.raises(InvalidReference, match=complaint.replace("(", r"\(").replace(")", r"\)")):
        parse(written)


def test_ids() -> None:
    assert image_id(DIGEST) == image_id(DIGEST[7:]) == DIGEST[7:]
    assert image_id("centos") == image_id("sha256:abc") == ""


def test_loopback_registries_are_this_machines_own() -> None:
    assert all(map(is_loopback, ("127.0.0.1:5000", "127.9.9.9", "[::1]:5000", "localhost", "localhost:80")))
    assert not any(map(is_loopback, ("docker.io", "10.0.0.1:5000", "localhost.example", "127.0.0.1.example")))


def test_short_names_go_where_the_users_registries_conf_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = tmp_path / "registries.conf"
    conf.write_text(
        'unqualified-search-registries = ["a.example", "docker.io"]\n[aliases]\n"app" = "b.example/x/app"\n'
    )
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(conf))
    meant = {
        name: [str(found) for found in candidates(parse(name), name)] for name in ("centos:7", "app:2", "c.io/d:1")
    }
    assert meant == {
        "centos:7": ["a.example/centos:7", "docker.io/library/centos:7"],
        "app:2": ["b.example/x/app:2"],
        "c.io/d:1": ["c.io/d:1"],
    }
    conf.write_text("not toml")
    with pytest.raises(PullFailed, match=r"is not a registries\.conf"):
        candidates(parse("centos"), "centos")


def test_a_local_image_is_found_as_podman_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONTAINERS_REGISTRIES_CONF", raising=False)
    assert [str(found) for found in local_candidates(parse("app:1"), "app:1")][-1] == "localhost/app:1"
    assert [str(found) for found in local_candidates(parse("q.io/a"), "q.io/a")] == ["q.io/a:latest"]
