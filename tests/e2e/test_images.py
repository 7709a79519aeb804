"""Images as users meet them: a private registry, wrong passwords, and removal while containers use one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_parts import Registry, write_layout

from support.instance import TestInstance, pod


@pytest.fixture
def private(tmp_path: Path, instance: TestInstance) -> Iterator[Registry]:
    """A registry that asks for name and password and has app:1."""
    registry = Registry(tmp_path, guarded=True)
    rootfs = (instance.directory / "standin.tar").read_bytes()
    layout = write_layout(tmp_path / "layout", [rootfs], {"Cmd": ["sleep", "10000"]})
    registry.push(layout, "team/app:1", "--dest-creds", f"{registry.USER}:{registry.PASSWORD}")
    yield registry
    instance.kubectl("delete", "pods,secrets", "--all", "--force", "--grace-period=0")
    registry.stop()


def test_a_private_image_needs_the_right_secret_and_stays_while_it_is_used(
    instance: TestInstance, private: Registry
) -> None:
    image = f"{private.address}/team/app:1"
    for name, password in (("wrong", "nonsense"), ("right", private.PASSWORD)):
        instance.kubectl(
            *("create", "secret", "docker-registry", name, f"--docker-server={private.address}"),
            *(f"--docker-username={private.USER}", f"--docker-password={password}"),
            check=True,
        )
    instance.create(pod("no", {"image": image}, imagePullSecrets=[{"name": "wrong"}]))
    instance.wait("no", "jsonpath={.status.containerStatuses[0].state.waiting.reason}=ErrImagePull")
    waiting = instance.get("pod", "no")["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    assert f"{image}: access denied" in waiting
    assert "unauthorized" in waiting
    assert "secret default/wrong" in waiting
    assert "nonsense" not in json.dumps(instance.get("events"))

    instance.create(pod("yes", {"image": image, "command": None}, imagePullSecrets=[{"name": "right"}]))
    instance.wait("yes")
    options = ("--data-dir", str(instance.data))
    refused = instance.podstead("image", "rm", *options, image)
    assert refused.returncode == 1
    assert f"image {image} is used by container c1 of pod" in refused.stderr
    instance.kubectl("delete", "pod", "yes", "--force", "--grace-period=0", check=True)

    def removed() -> bool:
        return instance.podstead("image", "rm", *options, image).returncode == 0

    instance.until(removed)
    listed = json.loads(instance.podstead("image", "ls", *options, "-o", "json", check=True).stdout)
    assert [one["names"] for one in listed] == [["docker.io/library/centos:7"]]
