"""What a hostile pod, image, client or machine may do: it harms itself at most, and goes away without a trace."""

from __future__ import annotations

import io
import json
import os
import signal
import tarfile
from pathlib import Path

import pytest

from podstead.linux import mounts
from support.instance import TestInstance, pod

MOUNT = {"name": "v", "mountPath": "/tmp/xchange"}
VOLUME = [{"name": "v", "emptyDir": {}}]


def test_a_status_that_somebody_patched_does_not_hold_up_the_node(instance: TestInstance) -> None:
    instance.create(pod("patched"))
    instance.wait("patched")
    path = ("patch", "pod", "patched", "--subresource=status", "--type=merge", "-p")
    refused = instance.kubectl(*path, json.dumps({"status": {"containerStatuses": [{}], "conditions": [{}]}}))
    assert "status.containerStatuses[0].name: Required value" in refused.stderr
    assert "status.conditions[0].type: Required value" in refused.stderr
    # What is no node's to say, but can be said: the node goes on from there.
    wrong = {"status": {"containerStatuses": [{"name": "x"}], "conditions": [{"type": "Ready", "status": "True"}]}}
    instance.kubectl(*path, json.dumps(wrong), check=True)
    instance.kubectl("delete", "pod", "patched", "--timeout=20s", check=True)


def test_links_of_an_image_lead_nowhere_on_the_host(own_instance: TestInstance, tmp_path: Path) -> None:
    instance, target = own_instance, tmp_path / "host"
    (target / "etc").mkdir(parents=True)
    up = "../" * 12 + str(target).lstrip("/")
    links = {"tmp/xchange": f"{up}/etc", "etc/hosts": f"{up}/hosts", "etc/passwd": f"{up}/passwd", "message": f"{up}/m"}
    (target / "passwd").write_text("root:x:4242:4242::/:/bin/sh\n")
    image = tmp_path / "evil.tar"
    with tarfile.open(image, "w") as archive:
        for name, link in links.items():
            made = tarfile.TarInfo(name)
            made.type, made.linkname = tarfile.SYMTYPE, link
            archive.addfile(made)
        shell = tarfile.TarInfo("bin/sh")
        shell.size, shell.mode = Path("/bin/busybox").stat().st_size, 0o755
        archive.addfile(shell, io.BytesIO(Path("/bin/busybox").read_bytes()))
    instance.podstead("image", "import", "--data-dir", str(instance.data), str(image), "evil:1", check=True)
    command = "echo out > /tmp/xchange/f; echo out >> /etc/hosts; echo bye > /message; id -u; sleep 1000"
    evil = {"image": "evil:1", "command": ["/bin/sh", "-c", command], "terminationMessagePath": "/message"}
    instance.create(pod("evil", {**evil, "volumeMounts": [MOUNT]}, volumes=VOLUME, restartPolicy="Never"))
    # Whether it runs with its mounts inside of its own root or does not start is the OCI runtime's choice.
    instance.until(lambda: instance.get("pod", "evil")["status"].get("phase") in ("Running", "Failed"))
    assert "4242" not in instance.kubectl("logs", "evil").stdout
    instance.kubectl("delete", "pod", "evil", "--timeout=20s", check=True)
    found = sorted(str(path.relative_to(target)) for path in target.rglob("*"))
    assert found == ["etc", "passwd"]


def test_a_container_that_made_a_maze_of_its_own_files_goes_away(instance: TestInstance, tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    maze = (
        f"for place in /v /root; do cd $place; ln -s {tmp_path} out; mkfifo pipe; "
        "for i in $(seq 12); do mkdir -p $(seq -s / 100); cd $(seq -s / 100); done; done; touch /done; exec sleep 1000"
    )
    mount = {"name": "v", "mountPath": "/v"}
    instance.create(pod("maze", {"command": ["bash", "-c", maze], "volumeMounts": [mount]}, volumes=VOLUME))
    instance.wait("maze")
    instance.until(lambda: instance.kubectl("exec", "maze", "--", "ls", "/done").returncode == 0)
    uid = instance.get("pod", "maze")["metadata"]["uid"]
    instance.kubectl("delete", "pod", "maze", "--timeout=20s", check=True)
    instance.until(lambda: not (instance.data / "pods" / uid).exists())
    instance.until(lambda: not any((instance.data / "runtime" / "rootfs").glob("*/upper/root/1")))
    assert (tmp_path / "precious").exists()


@pytest.fixture
def small_instance(tmp_path: Path) -> TestInstance:
    return TestInstance(f"f{os.getpid()}", tmp_path)


def test_a_full_disk_ends_nothing(small_instance: TestInstance) -> None:
    instance, filler = small_instance, small_instance.data / "filler"
    instance.data.mkdir()
    mounts.mount("tmpfs", instance.data, "tmpfs", data="size=40m")
    try:
        instance.up()
        instance.import_image()
        writing = ["bash", "-c", "while [ ! -e /v/stop ]; do echo line; sleep 0.05; done"]
        mount = {"name": "v", "mountPath": "/v"}
        instance.create(pod("steady", {"command": writing, "volumeMounts": [mount]}, volumes=VOLUME))
        instance.wait("steady")
        before = instance.get("pod", "steady")["status"]["containerStatuses"][0]["containerID"]
        _fill(filler)
        refused = instance.kubectl("create", "configmap", "big", f"--from-literal=a={'x' * 100_000}")
        assert "full" in refused.stderr
        assert instance.kubectl("exec", "steady", "--", "echo", "hi", check=True).stdout == "hi\n"
        os.kill(instance.server()["pid"], signal.SIGKILL)
        failed = instance.up(check=False)
        assert failed.returncode == 0 or ("free some space" in failed.stderr and "--purge" not in failed.stderr)
        filler.unlink()
        instance.up()
        status = instance.get("pod", "steady")["status"]["containerStatuses"][0]
        assert (status["containerID"], status["restartCount"]) == (before, 0)
        instance.kubectl("delete", "pod", "steady", "--timeout=20s", check=True)
        assert "Traceback" not in (instance.data / "server.log").read_text()
    finally:
        instance.down(check=False)
        mounts.umount(instance.data, lazy=True)
        instance.down("--purge", check=False)
    assert instance.leftovers() == []


def _fill(file: Path) -> None:
    """Leave no byte free on the file's disk."""
    with file.open("wb", buffering=0) as filler:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while filler.write(b"\0" * size):
                    pass
            except OSError:
                continue
