"""An instance of the embedded runtime for tests: own names, a busybox root file system, and complete cleanup."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from podstead.linux import mounts
from podstead.node.runtime.base import (
    ContainerConfig,
    ContainerStatus,
    CreateFailed,
    Image,
    ImageConfig,
    SandboxConfig,
    SandboxStatus,
)
from podstead.node.runtime.cgroups import Cgroups
from podstead.node.runtime.oci import OCIRuntime
from podstead.paths import Paths
from support.instance import SLOWNESS

IMAGE = "a" * 64
DEADLINE = 10.0 * SLOWNESS
_APPLETS = "sh sleep cat echo true false ls id mount stty kill head yes env hostname dd touch wc tr"
APPLETS = tuple(_APPLETS.split())


def make_rootfs(directory: Path) -> Path:
    """A root file system of Debian's static busybox and bash."""
    for name in ("bin", "etc", "tmp", "proc", "dev", "sys", "root", "var"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    shutil.copy("/bin/busybox", directory / "bin/busybox")
    shutil.copy("/bin/bash-static", directory / "bin/bash")
    for applet in APPLETS:
        (directory / "bin" / applet).symlink_to("busybox")
    (directory / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001:web:/home/web:/bin/sh\n")
    (directory / "etc/group").write_text("root:x:0:\nweb:x:1001:\nlogs:x:2000:web,other\n")
    return directory


class OverlayImages:
    """RootFilesystems: one image, mounted as an overlay."""

    def __init__(self, layer: Path) -> None:
        self.image = Image(IMAGE, ("busybox:1",), (), 1, ImageConfig(), (layer,))

    async def image_status(self, reference: str) -> Image | None:
        return self.image if reference == IMAGE else None

    async def mount_rootfs(self, image: Image, container_dir: Path, target: Path) -> None:
        upper, work = container_dir / "upper", container_dir / "work"
        for directory in (upper, work, target):
            directory.mkdir(parents=True, exist_ok=True)
        options = f"lowerdir={image.layers[0]},upperdir={upper},workdir={work}"
        try:
            mounts.mount("overlay", target, "overlay", data=options)
        except OSError as error:
            raise CreateFailed(str(error)) from error

    async def unmount_rootfs(self, target: Path, container_dir: Path) -> None:
        while mounts.umount(target, lazy=True):
            pass
        for directory in (container_dir / "upper", container_dir / "work"):
            if directory.exists():
                shutil.rmtree(directory)


class FileNetwork:
    """PodNetwork without links: addresses as files, and a gate that `attach` waits for."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None

    def allocate(self, sandbox_id: str) -> str:
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / sandbox_id).touch()
        return "10.99.0.2"

    async def attach(self, sandbox_id: str, netns: Path) -> None:
        await self.open.wait()
        if self.error is not None:
            raise self.error

    async def detach(self, sandbox_id: str) -> None:
        (self.directory / sandbox_id).unlink(missing_ok=True)


class Instance:
    """Paths, parts and a runtime; `make_runtime` again is what a server's restart does."""

    def __init__(self, paths: Paths, layer: Path, wanted: str = "auto") -> None:
        self.paths = paths
        self.images = OverlayImages(layer)
        self.network = FileNetwork(paths.network_state)
        self.wanted = wanted
        self.uid = "u1"

    @classmethod
    def fresh(cls, directory: Path, layer: Path, wanted: str = "auto", suffix: str = "") -> Instance:
        name = f"pstest-{secrets.token_hex(4)}{suffix}"
        return cls(Paths(name, directory / name, Path("/run") / name), layer, wanted)

    def make_runtime(self) -> OCIRuntime:
        return OCIRuntime(self.paths, self.images, self.network, wanted=self.wanted)

    def sandbox(self, **changes: Any) -> SandboxConfig:
        directory = self.paths.pod(self.uid)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "hosts").write_text("127.0.0.1 localhost\n")
        (directory / "resolv.conf").write_text("nameserver 192.0.2.1\n")
        values: dict[str, Any] = {
            "namespace": "default",
            "name": "pod",
            "uid": self.uid,
            "hostname": "pod",
            "hosts_file": directory / "hosts",
            "resolv_conf": directory / "resolv.conf",
            "log_directory": self.paths.pod_log_dir("default", "pod", self.uid),
        }
        return SandboxConfig(**values | changes)

    def container(self, *args: str, **changes: Any) -> ContainerConfig:
        name = changes.get("name", "c1")
        values: dict[str, Any] = {
            "name": name,
            "attempt": 0,
            "image": "busybox:1",
            "image_id": IMAGE,
            "args": args,
            "env": (),
            "working_dir": "",
            "log_path": self.paths.pod_log_dir("default", "pod", self.uid) / name / "0.log",
        }
        return ContainerConfig(**values | changes)

    def log(self, name: str = "c1") -> str:
        """What the container wrote to both streams."""
        path = self.paths.pod_log_dir("default", "pod", self.uid) / name / "0.log"
        return "\n".join(line.split(" ", 3)[3] for line in path.read_text().splitlines())

    # -- cleanup

    def processes(self) -> list[int]:
        """Monitors and OCI runtimes of this instance: its name is in their command lines."""
        found = []
        for directory in Path("/proc").iterdir():
            if directory.name.isdigit() and int(directory.name) != os.getpid():
                try:
                    words = (directory / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                program = words[0].rpartition(b"/")[2]
                if program in (b"conmon", b"runc", b"crun") and any(self.paths.name.encode() in word for word in words):
                    found.append(int(directory.name))
        return found

    def mounts(self) -> list[Path]:
        return [path for path in mounts.mounts_below(self.paths.run) if path != self.paths.run]

    def remains(self) -> Mapping[str, Sequence[object]]:
        """What is left of sandboxes and containers; all empty after their removal."""
        paths, state = self.paths, self.paths.runtime_state
        folders = (paths.sandboxes, paths.containers, paths.exits, self.network.directory)
        records = (state / "sandboxes", state / "containers", state / "rootfs")
        folders += tuple(paths.runtime_root.glob("*"))
        cgroups = Path("/sys/fs/cgroup")
        return {
            "processes": self.processes(),
            "mounts": self.mounts(),
            "files": [entry for folder in (*folders, *records) if folder.is_dir() for entry in folder.iterdir()],
            "cgroups": [found for place in ("", "*/") for found in cgroups.glob(f"{place}{paths.cgroup}/pod*")],
        }

    def destroy(self) -> None:
        """Remove everything by force, whatever the test left."""
        cgroups = Cgroups(self.paths.cgroup)
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        cgroups.kill(self.paths.cgroup)
        for path in mounts.mounts_below(self.paths.run):
            mounts.umount(path, lazy=True)
        for _ in range(200):
            try:
                cgroups.remove_all()
                break
            except OSError:
                os.sched_yield()
                cgroups.kill(self.paths.cgroup)
        shutil.rmtree(self.paths.run, ignore_errors=True)
        shutil.rmtree(self.paths.data, ignore_errors=True)


class Pod:
    """A sandbox in a started runtime, with shorthands."""

    def __init__(self, instance: Instance, runtime: OCIRuntime, sandbox: SandboxStatus) -> None:
        self.instance = instance
        self.runtime = runtime
        self.sandbox = sandbox

    async def create(self, *args: str, **changes: Any) -> str:
        return await self.runtime.create_container(self.sandbox.id, self.instance.container(*args, **changes))

    async def run(self, *args: str, **changes: Any) -> str:
        """Create and start."""
        container_id = await self.create(*args, **changes)
        await self.runtime.start_container(container_id)
        return container_id

    async def run_until(self, line: str, *args: str, **changes: Any) -> str:
        """Create and start; returns the id once the container has written `line`."""
        container_id = await self.create(*args, **changes)
        stream = await self.runtime.attach(container_id)
        await self.runtime.start_container(container_id)
        text = b""
        try:
            async with asyncio.timeout(DEADLINE):
                async for _, data in stream.output():
                    text += data
                    if line in text.decode().splitlines():
                        return container_id
        finally:
            await stream.close()
        raise AssertionError(f"{line!r} not in {text!r}")

    async def end(self, container_id: str) -> ContainerStatus:
        """Wait for the container's end."""
        async with asyncio.timeout(DEADLINE):
            async for event in self.runtime.events():
                if event.container_id == container_id:
                    break
        return await self.runtime.container_status(container_id)

    async def output(self, *args: str, **changes: Any) -> str:
        """Run to the end and return what was written."""
        status = await self.end(await self.run(*args, **changes))
        text = self.instance.log(changes.get("name", "c1"))
        assert status.exit_code == 0, text
        return text
