"""emptyDir as a user of a pod sees it: one for the pod, apart from all others, gone with the pod and nothing more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.instance import TestInstance, pod


@pytest.fixture(autouse=True)
def nothing_left(instance: TestInstance) -> Iterator[None]:
    """With the pods go their volumes, mounts included."""
    yield
    instance.kubectl("delete", "pods", "--all", "--force", "--grace-period=0")
    # A pod without grace is gone from the API before it is from the node.
    instance.until(lambda: not list((instance.data / "pods").iterdir()))
    assert f"{instance.data}/pods/" not in Path("/proc/mounts").read_text()


def sharing(name: str, *containers: dict[str, Any], source: dict[str, Any] | None = None) -> dict[str, Any]:
    """A pod of containers that mount the volume `v` at /v, if they do not say otherwise."""
    mounts = [{"name": "v", "mountPath": "/v"}]
    filled = [{"volumeMounts": mounts, **container} for container in containers or ({},)]
    return pod(name, *filled, volumes=[{"name": "v", "emptyDir": source or {}}])


def start(instance: TestInstance, manifest: dict[str, Any]) -> str:
    instance.create(manifest)
    name: str = manifest["metadata"]["name"]
    instance.wait(name)
    return name


def sh(instance: TestInstance, name: str, script: str, container: str = "c1") -> str:
    """Run a script in a container; returns its output, fails where it fails."""
    return instance.kubectl("exec", name, "-c", container, "--", "sh", "-c", script, check=True).stdout


def volume(instance: TestInstance, name: str) -> Path:
    uid = instance.get("pod", name)["metadata"]["uid"]
    return instance.data / "pods" / uid / "volumes" / "kubernetes.io~empty-dir" / "v"


def kill_first_process(instance: TestInstance, name: str) -> None:
    """End container c1 from outside: its own first process is out of reach of what runs in it."""
    status = instance.get("pod", name)["status"]["containerStatuses"][0]
    identity = status["containerID"].rpartition("/")[2]
    procs = next(Path("/sys/fs/cgroup").glob(f"**/{identity}/cgroup.procs"))
    os.kill(int(procs.read_text().split()[0]), 9)
    instance.wait(name, "jsonpath={.status.containerStatuses[0].restartCount}=1")
    instance.wait(name)


def test_all_containers_share_it_under_paths_of_their_own(instance: TestInstance) -> None:
    paths = ("/tmp/a", "/b", "/deep/er/c")
    containers = [{"volumeMounts": [{"name": "v", "mountPath": path}]} for path in paths]
    name = start(instance, sharing("shared", *containers))
    for number, path in enumerate(paths, start=1):
        sh(instance, name, f"echo {number} >> {path}/file; cat {path}/file", f"c{number}")
        assert sh(instance, name, f"mount | grep -c ' on {path} type '", f"c{number}") == "1\n"
    assert sh(instance, name, "cat /tmp/a/file") == "1\n2\n3\n"
    assert "/tmp/a" not in sh(instance, name, "mount", "c2")


def test_anybody_may_write(instance: TestInstance) -> None:
    user = {"securityContext": {"runAsUser": 1000, "runAsGroup": 1000}}
    name = start(instance, sharing("anybody", user, {"securityContext": {"runAsUser": 2000}}))
    assert sh(instance, name, "stat -c %a /v; echo mine > /v/one; stat -c %u:%g /v/one") == "777\n1000:1000\n"
    assert sh(instance, name, "cat /v/one; touch /v/two", "c2") == "mine\n"


def test_it_outlives_a_containers_end(instance: TestInstance) -> None:
    name = start(instance, sharing("outlives", source={}))
    sh(instance, name, "echo kept > /v/file; echo lost > /file")
    kill_first_process(instance, name)
    assert sh(instance, name, "cat /v/file; test ! -e /file") == "kept\n"


def test_pods_do_not_see_each_others(instance: TestInstance) -> None:
    one, two = start(instance, sharing("one")), start(instance, sharing("two"))
    sh(instance, one, "echo secret > /v/file")
    assert sh(instance, two, "ls -A /v") == ""
    again = volume(instance, one)
    instance.kubectl("delete", "pod", one, check=True)
    instance.until(lambda: not again.exists())
    start(instance, sharing("one"))
    assert sh(instance, one, "ls -A /v") == ""


def test_two_volumes_of_one_pod_are_apart(instance: TestInstance) -> None:
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("x", "y")]
    volumes = [{"name": name, "emptyDir": {}} for name in ("x", "y")]
    name = start(instance, pod("apart", {"volumeMounts": mounts}, volumes=volumes))
    assert sh(instance, name, "touch /x/f; ls -A /y") == ""


def test_memory_is_one_tmpfs_for_the_pod(instance: TestInstance) -> None:
    name = start(instance, sharing("memory", {}, {}, source={"medium": "Memory"}))
    sh(instance, name, "echo kept > /v/file")
    for container in ("c1", "c2"):
        assert "tmpfs" in sh(instance, name, "mount | grep ' on /v type '", container)
        assert sh(instance, name, "df -T /v | tail -n 1", container).split()[1] == "tmpfs"
        assert sh(instance, name, "cat /v/file; stat -c %a /v", container) == "kept\n777\n"
    kill_first_process(instance, name)
    assert sh(instance, name, "cat /v/file") == "kept\n"


def test_memory_ends_at_its_limit(instance: TestInstance) -> None:
    name = start(instance, sharing("limited", source={"medium": "Memory", "sizeLimit": "1Mi"}))
    assert sh(instance, name, "df -k /v | tail -n 1").split()[1] == "1024"
    full = instance.kubectl("exec", name, "--", "dd", "if=/dev/zero", "of=/v/file", "bs=64k", "count=32")
    assert full.returncode == 1
    assert "No space left on device" in full.stderr
    assert sh(instance, name, "stat -c %s /v/file") == f"{1 << 20}\n"


@pytest.mark.parametrize("source", [{}, {"medium": "Memory"}])
def test_a_read_only_mount_of_it(instance: TestInstance, source: dict[str, Any]) -> None:
    reader = {"volumeMounts": [{"name": "v", "mountPath": "/r", "readOnly": True}]}
    name = start(instance, sharing("reader", {}, reader, source=source))
    sh(instance, name, "echo text > /v/file")
    done = instance.kubectl("exec", name, "-c", "c2", "--", "sh", "-c", "cat /r/file; echo x > /r/file")
    assert done.stdout == "text\n"
    assert "Read-only file system" in done.stderr


def deeper(directory: Path, levels: int) -> None:
    """Make a tree so deep that its path is longer than any system call takes."""
    name = "a-name-of-some-length"
    here = os.open(directory, os.O_DIRECTORY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def test_removal_takes_whatever_is_in_it_and_nothing_else(instance: TestInstance, tmp_path: Path) -> None:
    """Names that are no text, links out of it, a tree deeper than any path, files nobody may touch."""
    (tmp_path / "precious").write_text("mine")
    name = start(instance, sharing("nasty"))
    script = f"""
        set -e; cd /v
        ln -s / root; ln -s {tmp_path} outside; ln -s nowhere dangling; ln -s loop loop; ln -s ../../.. up
        touch -- -rf ' ' '*' "$(printf 'a\\nb')" "$(printf '\\377\\376')" ...
        mkdir locked; touch locked/file; chmod 000 locked
        mkfifo pipe; mkdir .hidden; touch .hidden/file
    """
    sh(instance, name, script)
    removed = volume(instance, name)
    (removed / "flagged").touch()
    instance.run("chattr", "+i", str(removed / "flagged"))  # where the file system has that flag
    deeper(removed, 500)
    instance.kubectl("delete", "pod", name, check=True)
    instance.until(lambda: not removed.exists())
    assert (tmp_path / "precious").read_text() == "mine"


def test_what_containers_bind_over_it_does_not_stay(instance: TestInstance) -> None:
    """The same volume twice in one container, one mount inside of the other."""
    mounts = [{"name": "v", "mountPath": "/v"}, {"name": "w", "mountPath": "/v/inner"}]
    volumes = [{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": {"medium": "Memory"}}]
    name = start(instance, pod("nested", {"volumeMounts": mounts}, volumes=volumes))
    assert sh(instance, name, "touch /v/inner/f; ls /v").split() == ["inner"]


def test_a_pod_that_never_ran_leaves_no_volume(instance: TestInstance) -> None:
    manifest = sharing("imageless", {"image": "absent:1", "imagePullPolicy": "Never"})
    instance.create(manifest)
    instance.wait("imageless", "jsonpath={.status.containerStatuses[0].state.waiting.reason}=ErrImageNeverPull")
    instance.kubectl("delete", "pod", "imageless", check=True)
