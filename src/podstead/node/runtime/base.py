"""The runtime protocol: CRI's verbs (kubernetes/cri-api, runtime/v1) as Python, for runtimes in and out of process.

Every method is idempotent where CRI's is: stopping what is stopped and removing what is gone succeed. A method that
is cancelled leaves something that `list_*` shows and `remove_*` removes. Times are aware datetimes in UTC.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class RuntimeFailure(Exception):
    """The runtime could not do what was asked. `reason` is the CamelCase reason for a container's state or an event.

    RuntimeFailure
    +-- NotFound       no such sandbox or container
    +-- CreateFailed   create or start failed: RunContainerError, CreateContainerError, StartError ...
    """

    def __init__(self, message: str, reason: str = "RunContainerError") -> None:
        super().__init__(message)
        self.reason = reason


class NotFound(RuntimeFailure):
    """No sandbox or container of that id."""


class CreateFailed(RuntimeFailure):
    """A container could not be created or started. `exit_code` is what Kubernetes would show (127, 126, 128)."""

    def __init__(self, message: str, reason: str = "RunContainerError", exit_code: int = 128) -> None:
        super().__init__(message, reason)
        self.exit_code = exit_code


class ContainerState(StrEnum):
    """CRI's container states."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Mount:
    """A bind mount into the container. `host_path` exists before create. `propagation`: rprivate, rslave or rshared."""

    container_path: str
    host_path: Path
    readonly: bool = False
    propagation: str = "rprivate"
    recursive_readonly: bool = False
    """With `readonly`: what is mounted below is read-only too."""
    options: tuple[str, ...] = ()
    """noexec, nosuid, nodev."""


@dataclass(frozen=True, slots=True)
class Resources:
    """Limits in the cgroup's terms; 0 or None: not set. Memory in bytes, quota and period in microseconds."""

    cpu_shares: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    memory_limit: int = 0
    oom_score_adj: int | None = None
    pids_limit: int = 0
    """Processes and threads; of a pod as a whole."""


@dataclass(frozen=True, slots=True)
class Security:
    """What the process may do. `capabilities_add`/`drop` are names without CAP_, upper case, or ALL."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    groups_of_image: bool = True
    """The user's groups in the image's /etc/group are added (supplementalGroupsPolicy Merge; KEP-3619)."""
    privileged: bool = False
    readonly_rootfs: bool = False
    allow_privilege_escalation: bool = True
    capabilities_add: tuple[str, ...] = ()
    capabilities_drop: tuple[str, ...] = ()
    seccomp: str = "Unconfined"
    """`Unconfined`, `RuntimeDefault` or `localhost/` and the absolute path of a profile."""


@dataclass(frozen=True, slots=True)
class PortMapping:
    """A port of the host that leads to one of the pod; `protocol` TCP, UDP or SCTP, `host_ip` empty: every address."""

    protocol: str
    host_port: int
    container_port: int
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """A pod's sandbox: pinned UTS, IPC and network namespaces, an address, and the files all its containers share."""

    namespace: str
    name: str
    uid: str
    hostname: str
    hosts_file: Path
    """Bound to /etc/hosts of every container; written by the caller once the address is known."""
    resolv_conf: Path
    log_directory: Path
    labels: Mapping[str, str] = field(default_factory=dict)
    shared_pid: bool = False
    """All its containers are in one PID namespace (CRI: NamespaceMode POD); it ends with the first process there."""
    cgroup_tier: str = ""
    """burstable, besteffort, or empty (guaranteed): which group the pod's is in."""
    resources: Resources = Resources()
    """Limits of the pod's group, around its containers' own."""
    host_address: str = ""
    """Set for a pod on the host's network (and under its name): the address that it has there."""
    host_ipc: bool = False
    host_pid: bool = False
    sysctls: Mapping[str, str] = field(default_factory=dict)
    """Parameters of the sandbox's own namespaces, with dots."""
    ports: Sequence[PortMapping] = ()
    handler: str = ""
    """Which OCI runtime makes the containers (CRI's runtime handler); empty: the node's choice."""


@dataclass(frozen=True, slots=True)
class SandboxStatus:
    """`ready` is false once the sandbox has been stopped or its namespaces are gone (a reboot)."""

    id: str
    namespace: str
    name: str
    uid: str
    ip: str
    ready: bool
    created_at: datetime
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """A container to create. `args` is the whole argv; `env` ordered; `log_path` absolute, CRI format."""

    name: str
    attempt: int
    image: str
    """The image as the pod names it; reported back."""
    image_id: str
    """The id that the image service resolved (64 hex digits, without sha256:)."""
    args: Sequence[str]
    env: Sequence[tuple[str, str]]
    working_dir: str
    log_path: Path
    mounts: Sequence[Mount] = ()
    resources: Resources = Resources()
    security: Security = Security()
    user: str = ""
    """The image's USER (name or uid, optionally :group); resolved in the root file system unless run_as_user is set."""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    target_id: str = ""
    """A running container whose PID namespace this one joins (CRI: NamespaceMode TARGET); empty: one of its own."""
    stop_signal: str = ""
    """By name or number; empty: the image's, else SIGTERM."""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """A container as it is. For EXITED `exit_code` is 128 + N after signal N, and `reason` is Completed, Error or
    OOMKilled (or the reason of a failed create or start, with `message`)."""

    id: str
    sandbox_id: str
    pod_uid: str
    name: str
    attempt: int
    state: ContainerState
    image: str
    image_id: str
    log_path: Path
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    pid: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)

    def with_message(self, message: str) -> ContainerStatus:
        """Return a copy with that message."""
        return replace(self, message=message)


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """A container ended (the only event that nobody asked for). `started` ones are answers, not events."""

    container_id: str
    pod_uid: str


@dataclass(frozen=True, slots=True)
class ExecConfig:
    """A command to run in a running container. Without `tty` the three descriptors are pipes or files of the
    caller (-1: none); with it `stdin` is the slave end of the caller's pty and serves all three."""

    argv: Sequence[str]
    tty: bool = False
    stdin: int = -1
    stdout: int = -1
    stderr: int = -1


class ExecProcess(Protocol):
    """A command that runs in a container."""

    async def wait(self) -> int:
        """The exit code: the command's own, 128 + N for signal N, 126 or 127 where it could not be started.

        Raises CreateFailed with the runtime's message where the command could not be started.
        """
        ...

    def resized(self) -> None:
        """The caller has set the pty's size: tell the command."""
        ...

    def kill(self) -> None:
        """End it (SIGKILL to what runs in the container); a command that has ended is not an error."""
        ...


class AttachStream(Protocol):
    """A connection to a container's main process. Always drained by the implementation into a bounded buffer."""

    def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield (1 stdout | 2 stderr, bytes) until the container ends or `close`."""
        ...

    async def write(self, data: bytes) -> None: ...

    async def close_stdin(self) -> None: ...

    async def resize(self, width: int, height: int) -> None: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image says of its containers (OCI image-spec, config)."""

    user: str = ""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    working_dir: str = ""
    stop_signal: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """An image on this node. `id` is 64 hex digits; `size` bytes; `layers` diff directories, uppermost first."""

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    size: int
    config: ImageConfig
    layers: tuple[Path, ...]


class PullFailed(RuntimeFailure):
    """A pull failed. `reason`: ErrImagePull, InvalidImageName, RegistryUnavailable ...; the message has one line."""


@dataclass(frozen=True, slots=True)
class RegistryAuth:
    """A name and password for what `registry` stands for (a host with globs, maybe a port and a path); `origin` says
    to the user where they are from: `secret default/login`."""

    registry: str
    username: str
    password: str = field(repr=False)
    origin: str


Progress = Callable[[int, int], None]
"""Told how many bytes have arrived and how many are known to come in all; both may grow."""


class ImageService(Protocol):
    """CRI's image service: what the node has, and getting more of it."""

    async def image_status(self, reference: str) -> Image | None:
        """Return the image that `reference` (a normalized or short name, a digest, or an id) names here, or None."""
        ...

    async def list_images(self) -> list[Image]: ...

    async def pull_image(
        self, reference: str, auths: Sequence[RegistryAuth] = (), progress: Progress | None = None
    ) -> Image:
        """Pull; one transfer serves all who ask. Raises PullFailed. A cancelled caller stops only its own wait,
        unless it was the last. Those of `auths` that fit are tried in turn, the node's own only if none of them fits
        (or there are some of its own). `progress` is called on the loop.
        """
        ...


class RootFilesystems(Protocol):
    """What a runtime needs of the images: their configuration, and root file systems made of them."""

    async def image_status(self, reference: str) -> Image | None:
        """As ImageService.image_status."""
        ...

    async def mount_rootfs(self, image: Image, container_dir: Path, target: Path) -> None:
        """Mount a writable root file system of `image` at `target`; what it keeps (upper, work) lies in
        `container_dir`. Makes both directories. Raises CreateFailed; then nothing is mounted."""
        ...

    async def unmount_rootfs(self, target: Path, container_dir: Path) -> None:
        """Unmount `target` and remove what `container_dir` holds; what is not there is not an error. Raises OSError
        if something is still mounted there."""
        ...


class PodNetwork(Protocol):
    """The network of this node's pods; injected into the runtime."""

    def allocate(self, sandbox_id: str) -> str:
        """Give out an address (the same one if asked again) and record it durably; RuntimeFailure if none is left."""
        ...

    async def attach(self, sandbox_id: str, netns: Path) -> None:
        """Plumb the namespace pinned at `netns` with the allocated address. Idempotent."""
        ...

    async def publish(self, sandbox_id: str, ports: Sequence[PortMapping]) -> None:
        """Have the host's ports lead to the sandbox's until `detach`. Idempotent; raises RuntimeFailure."""
        ...

    async def detach(self, sandbox_id: str) -> None:
        """Take ports and links away and give the address back; unknown ids are not an error."""
        ...


class Runtime(Protocol):
    """What the node agent asks of a runtime. See the module's docstring for what holds for all methods."""

    @property
    def name(self) -> str:
        """`runc`, `crun`, `containerd` ..."""
        ...

    @property
    def version(self) -> str: ...

    async def start(self) -> None:
        """Take over what an earlier server left: adopt what lives under its monitor, settle the rest (DESIGN,
        adoption). After it `list_sandboxes` and `list_containers` tell the truth."""
        ...

    async def close(self) -> None:
        """Stop watching; containers go on running."""
        ...

    async def run_pod_sandbox(self, config: SandboxConfig) -> SandboxStatus:
        """Make a sandbox; returns once its namespaces are pinned and its address is given out.

        The links are plumbed meanwhile: create_container does not wait for them, start_container does, and raises
        CreateFailed where the plumbing failed.
        """
        ...

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        """Kill what still runs in it, release namespaces and address."""
        ...

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        """Stop, then remove its containers and records."""
        ...

    async def update_pod_sandbox_resources(self, sandbox_id: str, resources: Resources) -> None:
        """Give the pod's group other limits (CRI: UpdatePodSandboxResources). Raises NotFound, RuntimeFailure."""
        ...

    async def list_sandboxes(self) -> list[SandboxStatus]: ...

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        """Mount the root file system and create; returns the id. Raises CreateFailed (then a container in EXITED
        with the reason is left to be listed only if the id was given out)."""
        ...

    async def start_container(self, container_id: str) -> None:
        """Start what was created. Raises CreateFailed; the container is then EXITED with that reason and message."""
        ...

    async def update_container_resources(self, container_id: str, resources: Resources) -> None:
        """Give a running container other limits (CRI: UpdateContainerResources); what is 0 stays as it is, memory
        never goes below what is in use. Raises NotFound, RuntimeFailure."""
        ...

    async def stop_container(self, container_id: str, grace: float) -> None:
        """Send the stop signal, SIGKILL after `grace` seconds (0: at once), return when it has ended."""
        ...

    async def remove_container(self, container_id: str) -> None:
        """Remove one that is not running, its root file system and records; its log stays."""
        ...

    async def list_containers(self) -> list[ContainerStatus]: ...

    async def container_status(self, container_id: str) -> ContainerStatus:
        """Raises NotFound."""
        ...

    async def exec(self, container_id: str, config: ExecConfig) -> ExecProcess:
        """Start a command in a running container. Raises NotFound, CreateFailed."""
        ...

    async def attach(self, container_id: str) -> AttachStream:
        """Connect to the main process of a created or running container. Raises NotFound, RuntimeFailure."""
        ...

    async def port_forward(self, sandbox_id: str, port: int) -> socket.socket:
        """Return a non-blocking socket that is connected to localhost:`port` in the sandbox's network.

        Raises NotFound; RuntimeFailure where nothing listens there.
        """
        ...

    def events(self) -> AsyncIterator[ContainerEvent]:
        """Yield each end of a container, in order, from `start` on; one consumer."""
        ...
