"""Where volumes come from (the node, images) and how containers see them, as a user of a pod sees it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from podstead.linux.remove import remove_tree
from support.instance import IMAGE, REPOSITORY, TestInstance, pod


@pytest.fixture(autouse=True)
def nothing_left(instance: TestInstance) -> Iterator[None]:
    """With the pods go their volumes, mounts included."""
    yield
    instance.kubectl("delete", "pods", "--all", "--force", "--grace-period=0")
    gone(instance)


def gone(instance: TestInstance) -> None:
    """Return once there is nothing of any pod."""
    instance.until(lambda: not list((instance.data / "pods").glob("*")))
    table = Path("/proc/mounts").read_text()
    assert f"{instance.data}/pods/" not in table
    assert f"/run/podstead/{instance.name}/v/" not in table


def sh(instance: TestInstance, name: str, script: str, container: str = "c1") -> str:
    """Run a script in a container; returns its output, fails where it fails."""
    return instance.kubectl("exec", name, "-c", container, "--", "sh", "-c", script, check=True).stdout


def start(instance: TestInstance, manifest: dict[str, Any]) -> str:
    done = instance.create(manifest)
    assert done.returncode == 0, done.stderr
    name: str = manifest["metadata"]["name"]
    instance.wait(name)
    return name


def mounting(volume: dict[str, Any], *mounts: dict[str, Any], **container: Any) -> dict[str, Any]:
    """A container for each mount of the volume `v`, at /v."""
    return {
        "volumes": [{"name": "v", **volume}],
        "containers": [{"volumeMounts": [{"name": "v", "mountPath": "/v", **mount}], **container} for mount in mounts],
    }


def make(name: str, parts: dict[str, Any]) -> dict[str, Any]:
    return pod(name, *parts["containers"], volumes=parts["volumes"])


def event(instance: TestInstance, name: str, reason: str) -> str:
    """Return the message of the pod's event, once there is one."""

    def look() -> str:
        fields = f"involvedObject.name={name},reason={reason}"
        found = instance.get("events", "--field-selector", fields)["items"]
        return found[0]["message"] if found else ""

    message: str = instance.until(look)
    return message


def waiting(instance: TestInstance, name: str, reason: str) -> str:
    """Return why container c1 waits, once it is for `reason`."""
    path = "{.status.containerStatuses[0].state.waiting.reason}"
    instance.wait(name, f"jsonpath={path}={reason}")
    status = instance.get("pod", name)["status"]["containerStatuses"][0]
    return str(status["state"]["waiting"].get("message", ""))


def test_a_directory_of_the_node_outlives_the_pod(instance: TestInstance, tmp_path: Path) -> None:
    parts = mounting({"hostPath": {"path": str(tmp_path / "a/b"), "type": "DirectoryOrCreate"}}, {})
    name = start(instance, make("host", parts))
    sh(instance, name, "echo text > /v/file")
    instance.kubectl("delete", "pod", name, check=True)
    assert (tmp_path / "a/b/file").read_text() == "text\n"
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o755


def test_what_is_not_of_the_type_is_told(instance: TestInstance, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    parts = mounting({"hostPath": {"path": str(tmp_path / "file"), "type": "Directory"}}, {})
    instance.create(make("mistyped", parts))
    wanted = f'MountVolume.SetUp failed for volume "v" : hostPath type check failed: {tmp_path}/file is not a directory'
    assert event(instance, "mistyped", "FailedMount") == wanted


def test_podsteads_own_data_is_refused(instance: TestInstance) -> None:
    instance.create(make("greedy", mounting({"hostPath": {"path": str(instance.data / "pki")}}, {})))
    assert "podstead keeps its own data there" in event(instance, "greedy", "FailedMount")


def test_sub_paths_are_made_and_kept_over_a_restart(instance: TestInstance) -> None:
    container = {
        "env": [{"name": "WHO", "value": "me"}],
        "volumeMounts": [
            {"name": "v", "mountPath": "/all"},
            {"name": "v", "mountPath": "/one", "subPath": "deep/er"},
            {"name": "v", "mountPath": "/mine", "subPathExpr": "logs/$(WHO)"},
        ],
    }
    name = start(instance, pod("subpaths", container, volumes=[{"name": "v", "emptyDir": {}}]))
    sh(instance, name, "echo 1 > /one/file; echo 2 > /mine/file")
    assert sh(instance, name, "cat /all/deep/er/file /all/logs/me/file; stat -c %a /all/deep") == "1\n2\n777\n"
    status = instance.get("pod", name)["status"]["containerStatuses"][0]
    identity = status["containerID"].rpartition("/")[2]
    procs = next(Path("/sys/fs/cgroup").glob(f"**/{identity}/cgroup.procs"))
    os.kill(int(procs.read_text().split()[0]), 9)
    instance.wait(name, "jsonpath={.status.containerStatuses[0].restartCount}=1")
    instance.wait(name)
    assert sh(instance, name, "cat /one/file /mine/file") == "1\n2\n"


def test_a_sub_path_does_not_leave_the_volume(instance: TestInstance, tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume/out").symlink_to("/etc")
    parts = mounting({"hostPath": {"path": str(tmp_path / "volume")}}, {"subPath": "out"})
    instance.create(make("escaping", parts))
    message = waiting(instance, "escaping", "CreateContainerConfigError")
    assert message == 'failed to prepare subPath for volumeMount "v" of container "c1"'


def test_a_missing_variable_in_a_sub_path_is_told(instance: TestInstance) -> None:
    instance.create(make("nameless", mounting({"emptyDir": {}}, {"subPathExpr": "$(NOBODY)"})))
    assert waiting(instance, "nameless", "CreateContainerConfigError") == "missing value for NOBODY"


def test_read_only_holds_below_only_if_it_is_recursive(instance: TestInstance, tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(below)], check=True)
    try:
        modes = ("Disabled", "Enabled", "IfPossible")
        mounts = [{"readOnly": True, "recursiveReadOnly": mode} for mode in modes]
        name = start(instance, make("recursive", mounting({"hostPath": {"path": str(tmp_path)}}, *mounts)))
        answers = [
            instance.kubectl("exec", name, "-c", one, "--", "sh", "-c", "! touch /v/f; touch /v/below/f").stderr
            for one in ("c1", "c2", "c3")
        ]
        statuses = instance.get("pod", name)["status"]["containerStatuses"]
        told = [one["recursiveReadOnly"] for status in statuses for one in status["volumeMounts"] if one["name"] == "v"]
        instance.kubectl("delete", "pod", name, check=True)
    finally:
        subprocess.run(["umount", str(below)], check=True)
    assert told == ["Disabled", "Enabled", "Enabled"]
    assert [answer.count("Read-only file system") for answer in answers] == [1, 2, 2]


def test_mounts_propagate_as_asked_and_go_with_the_pod(instance: TestInstance) -> None:
    modes = ("Bidirectional", "HostToContainer", "None")
    parts = mounting({"emptyDir": {}}, *({"mountPropagation": mode} for mode in modes))
    parts["containers"][0]["securityContext"] = {"privileged": True}
    name = start(instance, make("propagating", parts))
    sh(instance, name, "mkdir /v/m && mount -t tmpfs none /v/m && echo seen > /v/m/file")
    assert sh(instance, name, "cat /v/m/file", "c2") == "seen\n"
    assert sh(instance, name, "ls /v/m", "c3") == ""
    uid = instance.get("pod", name)["metadata"]["uid"]
    assert f"{uid}/volumes/kubernetes.io~empty-dir/v/m tmpfs" in Path("/proc/mounts").read_text()


def test_what_is_mounted_privately_cannot_propagate(instance: TestInstance, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "none", str(tmp_path)], check=True)
    try:
        subprocess.run(["mount", "--make-private", str(tmp_path)], check=True)
        parts = mounting({"hostPath": {"path": str(tmp_path)}}, {"mountPropagation": "HostToContainer"})
        instance.create(make("private", parts))
        message = waiting(instance, "private", "CreateContainerError")
        instance.kubectl("delete", "pod", "private", "--force", "--grace-period=0")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert message == f'path "{tmp_path}" is mounted on "{tmp_path}" but it is not a shared or slave mount'


def test_bind_mount_options_hold(instance: TestInstance) -> None:
    options = {"bindMountOptions": ["noexec", "nosuid", "nodev"]}
    name = start(instance, make("options", mounting({"emptyDir": {}}, options, {})))
    script = "cp /bin/busybox /v/true; chmod +x /v/true; /v/true"
    refused = instance.kubectl("exec", name, "-c", "c1", "--", "sh", "-c", script)
    assert "Permission denied" in refused.stderr
    sh(instance, name, "/v/true", "c2")
    shown = sh(instance, name, "grep ' /v ' /proc/mounts").split()[3]
    assert {"noexec", "nosuid", "nodev"} <= set(shown.split(","))


def test_an_image_is_a_read_only_volume(instance: TestInstance) -> None:
    parts = mounting({"image": {"reference": IMAGE}}, {}, {"subPath": "etc"})
    name = start(instance, make("imaged", parts))
    done = instance.kubectl(
        "exec", name, "-c", "c1", "--", "sh", "-c", "ls /v/etc/passwd; touch /v/f; /v/bin/sh -c true"
    )
    assert done.stdout == "/v/etc/passwd\n"
    assert "Read-only file system" in done.stderr
    assert "Permission denied" in done.stderr
    assert sh(instance, name, "ls /v/passwd", "c2") == "/v/passwd\n"
    statuses = instance.get("pod", name)["status"]["containerStatuses"]
    mount = next(one for one in statuses[0]["volumeMounts"] if one["name"] == "v")
    assert "sha256:" in mount["volumeStatus"]["image"]["imageRef"]


def test_an_image_that_is_not_there_holds_back_who_mounts_it(instance: TestInstance) -> None:
    parts = mounting({"image": {"reference": "absent:1", "pullPolicy": "Never"}}, {})
    parts["containers"].append({"volumeMounts": []})
    instance.create(make("absent", parts))
    message = waiting(instance, "absent", "ErrImageNeverPull")
    assert message == 'Container image "absent:1" is not present with pull policy of Never'
    instance.wait("absent", "jsonpath={.status.containerStatuses[1].ready}=true")


def test_an_empty_dir_has_its_mode(instance: TestInstance) -> None:
    volumes = [
        {"name": "v", "emptyDir": {"mode": 0o1770}},
        {"name": "w", "emptyDir": {"mode": 0o700, "medium": "Memory"}},
    ]
    mounts = [{"name": "v", "mountPath": "/v"}, {"name": "w", "mountPath": "/w"}]
    name = start(instance, pod("modes", {"volumeMounts": mounts}, volumes=volumes))
    assert sh(instance, name, "stat -c %a /v /w") == "1770\n700\n"


def test_nfs_is_refused_by_name_where_it_is_not_possible(instance: TestInstance) -> None:
    if Path("/sbin/mount.nfs").exists():
        pytest.skip("this node may mount NFS")
    instance.create(make("networked", mounting({"nfs": {"server": "127.0.0.1", "path": "/x"}}, {})))
    assert "nfs is not possible on this node" in event(instance, "networked", "FailedMount")


def test_the_examples_do_as_they_say(instance: TestInstance) -> None:
    names = ("hostpath", "image", "subpath")
    files = [word for name in names for word in ("-f", str(REPOSITORY / "examples" / f"{name}.yaml"))]
    try:
        instance.kubectl("create", *files, check=True)
        for name in names:
            instance.wait(name)
        sh(instance, "hostpath", "echo 'some data' > /data/file", "main")
        assert sh(instance, "image", "ls /other/passwd", "main") == "/other/passwd\n"
        assert sh(instance, "subpath", "cat /logs/web/file /logs/pods/other/file", "all") == "from web\nfrom other\n"
        instance.kubectl("delete", "pod", "hostpath", "--grace-period=0", "--force", check=True)
        assert Path("/tmp/podstead-example/file").read_text() == "some data\n"
    finally:
        remove_tree(Path("/tmp/podstead-example"))


def test_memory_volumes_count_against_the_pod_whatever_container_wrote(instance: TestInstance) -> None:
    """An init container fills it and ends: it is there for the next, and still the pod's memory."""
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    fill = {"name": "i", "image": IMAGE, "command": ["dd", "if=/dev/zero", "of=/v/file", "bs=1M", "count=32"], **mount}
    volumes = [{"name": "v", "emptyDir": {"medium": "Memory"}}]
    name = start(instance, pod("charged", mount, initContainers=[fill], volumes=volumes))
    assert sh(instance, name, "stat -c %s /v/file") == f"{32 << 20}\n"
    uid = instance.get("pod", name)["metadata"]["uid"]
    files = ("memory.current", "memory.usage_in_bytes")
    found = [path for file in files for path in Path("/sys/fs/cgroup").glob(f"**/pod{uid}/{file}")]
    assert int(found[0].read_text()) >= 32 << 20


def test_a_server_that_was_killed_finds_all_of_it_again(own_instance: TestInstance) -> None:
    instance = own_instance
    mounts = [
        {"name": "v", "mountPath": "/v", "subPath": "deep/er"},
        {"name": "i", "mountPath": "/i", "subPath": "etc"},
        {"name": "v", "mountPath": "/all", "mountPropagation": "Bidirectional"},
    ]
    container = {"volumeMounts": mounts, "securityContext": {"privileged": True}}
    volumes = [{"name": "v", "emptyDir": {}}, {"name": "i", "image": {"reference": IMAGE, "pullPolicy": "Never"}}]
    name = start(instance, pod("adopted", container, volumes=volumes))
    sh(instance, name, "echo kept > /v/file; mkdir /all/m; mount -t tmpfs none /all/m")
    before = instance.get("pod", name)["status"]["containerStatuses"][0]
    os.kill(instance.server()["pid"], 9)
    instance.up()
    instance.wait(name)
    after = instance.get("pod", name)["status"]["containerStatuses"][0]
    assert [after[key] for key in ("containerID", "restartCount")] == [before["containerID"], 0]
    assert after["volumeMounts"] == before["volumeMounts"]
    procs = next(Path("/sys/fs/cgroup").glob(f"**/{after['containerID'].rpartition('/')[2]}/cgroup.procs"))
    os.kill(int(procs.read_text().split()[0]), 9)
    instance.wait(name, "jsonpath={.status.containerStatuses[0].restartCount}=1")
    instance.wait(name)
    assert sh(instance, name, "cat /v/file; ls /i/passwd; ls -d /all/m") == "kept\n/i/passwd\n/all/m\n"
    os.kill(instance.server()["pid"], 9)
    instance.up()
    instance.kubectl("delete", "pod", name, check=True)
    gone(instance)
