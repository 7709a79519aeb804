"""The one place that knows where an instance keeps its files.

`data` outlives a reboot (/var/lib/podstead/NAME); `run` holds sockets, mounts and pid files (/run/podstead/NAME)
and may or may not outlive one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DATA_ROOT = Path("/var/lib/podstead")
RUN_ROOT = Path("/run/podstead")
INSTANCES = DATA_ROOT / ".instances"


@dataclass(frozen=True, slots=True)
class Paths:
    """Every path of one instance. `name` is a DNS label; `data` and `run` are absolute."""

    name: str
    data: Path
    run: Path

    @classmethod
    def of(cls, name: str, data: Path | None = None) -> Paths:
        return cls(name=name, data=data or DATA_ROOT / name, run=RUN_ROOT / name)

    @property
    def short_id(self) -> str:
        """Eight hex digits for names that the kernel keeps short (links, 15 bytes)."""
        import hashlib  # 3 ms that the command line's start can do without

        return hashlib.sha256(self.name.encode()).hexdigest()[:8]

    # -- cluster state
    @property
    def instance_file(self) -> Path:
        """JSON: port, subnet and data directory chosen at the first `up`; in one place for all instances."""
        return INSTANCES / f"{self.name}.json"

    @property
    def database(self) -> Path:
        return self.data / "state.db"

    @property
    def pki(self) -> Path:
        return self.data / "pki"

    @property
    def admin_kubeconfig(self) -> Path:
        return self.data / "admin.kubeconfig"

    # -- the server process
    @property
    def lock_file(self) -> Path:
        """Held (F_OFD_SETLK) by the server as long as it lives; in `data`, so that it guards the data directory."""
        return self.data / "lock"

    @property
    def server_pid_file(self) -> Path:
        return self.run / "server.json"

    @property
    def server_log(self) -> Path:
        return self.data / "server.log"

    # -- images
    @property
    def image_graph(self) -> Path:
        """containers/storage's graphroot."""
        return self.data / "images"

    @property
    def image_run(self) -> Path:
        """containers/storage's runroot."""
        return self.run / "images"

    # -- pods on the node: volumes, logs, container records
    @property
    def pods(self) -> Path:
        return self.data / "pods"

    @property
    def seccomp_profiles(self) -> Path:
        """Where an administrator puts the profiles that pods name as Localhost."""
        return self.data / "seccomp"

    def pod(self, uid: str) -> Path:
        return self.pods / uid

    def volume(self, uid: str, plugin: str, name: str) -> Path:
        """The kubelet's own layout: pods/UID/volumes/kubernetes.io~empty-dir/NAME (`plugin` is `empty-dir`)."""
        return self.pods / uid / "volumes" / f"kubernetes.io~{plugin}" / name

    @property
    def pod_logs(self) -> Path:
        return self.data / "logs"

    def pod_log_dir(self, namespace: str, name: str, uid: str) -> Path:
        """/var/log/pods' own layout: NAMESPACE_NAME_UID/CONTAINER/ATTEMPT.log."""
        return self.pod_logs / f"{namespace}_{name}_{uid}"

    @property
    def runtime_state(self) -> Path:
        """The runtime's records of sandboxes and containers; survives a reboot, so that remains can be cleaned."""
        return self.data / "runtime"

    @property
    def runtime_choice(self) -> Path:
        """JSON: which OCI runtime was chosen and why, and what was found out about each; for people `description`."""
        return self.runtime_state / "choice.json"

    @property
    def network_state(self) -> Path:
        """One file an address given out, its content the sandbox's id."""
        return self.data / "network"

    @property
    def host_ports(self) -> Path:
        """One file a sandbox to which ports of the host lead."""
        return self.data / "hostports"

    # -- mounts, sockets
    @property
    def sandboxes(self) -> Path:
        """RUN/s/SANDBOX/{net,ipc,uts}: pinned namespaces."""
        return self.run / "s"

    @property
    def containers(self) -> Path:
        """RUN/c/CONTAINER/: bundle, rootfs mount, attach socket. Short, for sun_path holds 107 bytes."""
        return self.run / "c"

    def sub_paths(self, uid: str) -> Path:
        """RUN/v/UID/VOLUME/CONTAINER/INDEX: bind mounts of what containers see of volumes by subPath."""
        return self.run / "v" / uid

    @property
    def runtime_root(self) -> Path:
        """RUN/oci/NAME is the --root of the OCI runtime of that name (runc, crun)."""
        return self.run / "oci"

    @property
    def exits(self) -> Path:
        """conmon's --exit-dir."""
        return self.run / "exits"

    # -- names in the kernel
    @property
    def bridge(self) -> str:
        return f"pst{self.short_id}"

    @property
    def nft_table(self) -> str:
        return f"podstead-{self.name}"

    @property
    def cgroup(self) -> str:
        """The cgroup below which all of this instance's are, in every hierarchy; no leading slash."""
        return f"podstead-{self.name}"
