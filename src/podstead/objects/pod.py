"""Typed, read-only views of a pod for what acts on pods: the node agent and the scheduler.

`from_object` makes them from a decoded (and checked) object and ignores fields it does not know; `to_object` turns a
struct, a status above all, back into plain JSON values. Timestamps stay RFC 3339 text; quantities are parsed on use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import field

from podstead.objects.environ import ContainerPort, EnvFromSource, EnvVar, Sysctl
from podstead.objects.lifecycle import Lifecycle, RestartRule
from podstead.objects.probe import PodReadinessGate, Probe
from podstead.objects.quantity import ZERO, Quantity, QuantityText
from podstead.objects.struct import Struct as _Struct
from podstead.objects.volumes import Volume

QosClass = Literal["Guaranteed", "Burstable", "BestEffort"]


class OwnerReference(_Struct, frozen=True, kw_only=True):
    """metav1.OwnerReference."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False
    block_owner_deletion: bool = False


class ObjectMeta(_Struct, frozen=True, kw_only=True):
    """metav1.ObjectMeta, without managedFields."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str = ""
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it
    annotations: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()


class SeccompProfile(_Struct, frozen=True, kw_only=True):
    """`type`: RuntimeDefault, Unconfined or Localhost."""

    type: str = ""
    localhost_profile: str = ""
    """A path below the node's folder of profiles."""


class Capabilities(_Struct, frozen=True, kw_only=True):
    """Names without CAP_, or ALL, as the user wrote them."""

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class SecurityContext(_Struct, frozen=True, kw_only=True):
    """A container's own; None means that the pod's or the default applies."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    privileged: bool = False
    read_only_root_filesystem: bool = False
    allow_privilege_escalation: bool | None = None
    capabilities: Capabilities = Capabilities()
    proc_mount: str = "Default"
    seccomp_profile: SeccompProfile | None = None


class PodSecurityContext(_Struct, frozen=True, kw_only=True):
    """What holds for all containers that do not say otherwise."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    supplemental_groups: tuple[int, ...] = ()
    supplemental_groups_policy: str = "Merge"
    """Strict: the image's /etc/group adds none."""
    fs_group: int | None = None
    """Owns the pod's volumes, and every container is a member."""
    fs_group_change_policy: str = "Always"
    sysctls: tuple[Sysctl, ...] = ()
    seccomp_profile: SeccompProfile | None = None


class ResourceRequirements(_Struct, frozen=True, kw_only=True):
    """Quantities by resource name, as text."""

    limits: dict[str, QuantityText] = {}  # noqa: RUF012 - msgspec copies it
    requests: dict[str, QuantityText] = {}  # noqa: RUF012 - msgspec copies it

    def limit(self, resource: str) -> Quantity | None:
        """The limit of `cpu`, `memory` ..., None where there is none."""
        text = self.limits.get(resource)
        return None if text is None else Quantity.parse(text)

    def request(self, resource: str) -> Quantity | None:
        """The request, else the limit (which is the default of a request), else None."""
        text = self.requests.get(resource)
        return self.limit(resource) if text is None else Quantity.parse(text)


class ContainerResizePolicy(_Struct, frozen=True, kw_only=True):
    """`restart_policy`: NotRequired, or RestartContainer where a new amount of the resource takes a restart."""

    resource_name: str = ""
    restart_policy: str = "NotRequired"


class VolumeMount(_Struct, frozen=True, kw_only=True):
    """Where a volume of the pod appears in a container."""

    name: str = ""
    mount_path: str = ""
    read_only: bool = False
    recursive_read_only: str = ""
    """Enabled, IfPossible or Disabled; empty counts as Disabled (KEP-3857)."""
    mount_propagation: str = ""
    """None, HostToContainer or Bidirectional; empty counts as None."""
    sub_path: str = ""
    sub_path_expr: str = ""
    """As `sub_path`, with $(NAME) for the container's variables."""
    bind_mount_options: tuple[str, ...] = ()
    """noexec, nosuid, nodev."""


class Container(_Struct, frozen=True, kw_only=True):
    """core/v1 Container, the fields that podstead implements."""

    name: str = ""
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    resize_policy: tuple[ContainerResizePolicy, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()
    image_pull_policy: str = "IfNotPresent"
    termination_message_path: str = "/dev/termination-log"
    termination_message_policy: str = "File"
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    security_context: SecurityContext = SecurityContext()
    startup_probe: Probe | None = None
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    lifecycle: Lifecycle = Lifecycle()
    restart_policy: str = ""
    """The container's own; empty: the pod's. Of an init container, Always makes it a sidecar."""
    restart_policy_rules: tuple[RestartRule, ...] = ()


class EphemeralContainer(Container, frozen=True, kw_only=True):
    """Added to a pod that runs, to look into it; never restarted (KEP-277)."""

    target_container_name: str = ""
    """The container whose processes it sees."""


class Toleration(_Struct, frozen=True, kw_only=True):
    """core/v1 Toleration. An empty key with Exists tolerates every taint, an empty effect every effect."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class HostAlias(_Struct, frozen=True, kw_only=True):
    """Lines for /etc/hosts."""

    ip: str = ""
    hostnames: tuple[str, ...] = ()


class DNSOption(_Struct, frozen=True, kw_only=True):
    """An option of resolv.conf."""

    name: str = ""
    value: str | None = None


class DNSConfig(_Struct, frozen=True, kw_only=True):
    """What the pod adds to its resolv.conf, or all of it under dnsPolicy None."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[DNSOption, ...] = ()


class LocalObjectReference(_Struct, frozen=True, kw_only=True):
    """An object in the pod's own namespace."""

    name: str = ""


class PodSpec(_Struct, frozen=True, kw_only=True):
    """core/v1 PodSpec, the fields that podstead implements."""

    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    ephemeral_containers: tuple[EphemeralContainer, ...] = ()
    volumes: tuple[Volume, ...] = ()
    restart_policy: str = "Always"
    termination_grace_period_seconds: int = 30
    active_deadline_seconds: int | None = None
    node_name: str = ""
    node_selector: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it
    hostname: str = ""
    subdomain: str = ""
    set_hostname_as_fqdn: bool = field(default=False, name="setHostnameAsFQDN")
    hostname_override: str | None = None
    enable_service_links: bool = True
    host_network: bool = False
    host_pid: bool = field(default=False, name="hostPID")
    host_ipc: bool = field(default=False, name="hostIPC")
    host_users: bool = True
    runtime_class_name: str | None = None
    overhead: dict[str, QuantityText] = {}  # noqa: RUF012 - msgspec copies it
    host_aliases: tuple[HostAlias, ...] = ()
    readiness_gates: tuple[PodReadinessGate, ...] = ()
    dns_policy: str = "ClusterFirst"
    dns_config: DNSConfig = DNSConfig()
    tolerations: tuple[Toleration, ...] = ()
    service_account_name: str = ""
    automount_service_account_token: bool | None = None
    scheduler_name: str = "default-scheduler"
    priority: int = 0
    security_context: PodSecurityContext = PodSecurityContext()
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    share_process_namespace: bool = False
    resources: ResourceRequirements = ResourceRequirements()
    """Of the pod as a whole (KEP-2837)."""
    affinity: dict[str, Any] = {}  # noqa: RUF012 - msgspec copies it
    topology_spread_constraints: tuple[dict[str, Any], ...] = ()
    """Both as they are in the API."""

    @property
    def sidecars(self) -> tuple[Container, ...]:
        """The init containers that run as long as the pod does, in the order of their start (KEP-753)."""
        return tuple(container for container in self.init_containers if container.restart_policy == "Always")

    def container(self, name: str) -> Container | None:
        """The container of that name, of whichever kind."""
        declared = (*self.containers, *self.init_containers, *self.ephemeral_containers)
        return next((container for container in declared if container.name == name), None)


class PodCondition(_Struct, frozen=True, kw_only=True):
    """`status`: True, False or Unknown."""

    type: str = field(default_factory=str)
    status: str = field(default_factory=str)
    reason: str = ""
    message: str = ""
    last_probe_time: str | None = None
    last_transition_time: str | None = None
    observed_generation: int = 0


class ContainerStateWaiting(_Struct, frozen=True, kw_only=True):
    """Not running yet, or between two runs."""

    reason: str = ""
    message: str = ""


class ContainerStateRunning(_Struct, frozen=True, kw_only=True):
    started_at: str | None = None


class ContainerStateTerminated(_Struct, frozen=True, kw_only=True):
    """It ended. `signal` only where the process was killed by one and the runtime said so."""

    exit_code: int = field(default_factory=int)
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    container_id: str = field(default="", name="containerID")


class ContainerState(_Struct, frozen=True, kw_only=True):
    """At most one is set; none means waiting."""

    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


class ContainerStatus(_Struct, frozen=True, kw_only=True):
    """core/v1 ContainerStatus. `container_id` is `RUNTIME://ID`."""

    name: str = field(default_factory=str)
    ready: bool = field(default_factory=bool)
    restart_count: int = field(default_factory=int)
    image: str = field(default_factory=str)
    image_id: str = field(default_factory=str, name="imageID")
    state: ContainerState = field(default_factory=ContainerState)
    last_state: ContainerState = field(default_factory=ContainerState)
    container_id: str = field(default="", name="containerID")
    started: bool | None = None


class PodIP(_Struct, frozen=True, kw_only=True):
    ip: str = ""


class PodStatus(_Struct, frozen=True, kw_only=True):
    """core/v1 PodStatus."""

    phase: str = ""
    conditions: tuple[PodCondition, ...] = ()
    message: str = ""
    reason: str = ""
    host_ip: str = field(default="", name="hostIP")
    host_ips: tuple[PodIP, ...] = field(default=(), name="hostIPs")
    pod_ip: str = field(default="", name="podIP")
    pod_ips: tuple[PodIP, ...] = field(default=(), name="podIPs")
    start_time: str | None = None
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    ephemeral_container_statuses: tuple[ContainerStatus, ...] = ()
    qos_class: str = ""
    observed_generation: int = 0

    def container(self, name: str) -> ContainerStatus | None:
        return next((status for status in self.container_statuses if status.name == name), None)

    def condition(self, kind: str) -> PodCondition | None:
        return next((condition for condition in self.conditions if condition.type == kind), None)


class Pod(_Struct, frozen=True, kw_only=True):
    """core/v1 Pod."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def full_name(self) -> str:
        """`NAMESPACE/NAME`, for messages."""
        return f"{self.metadata.namespace}/{self.metadata.name}"


def from_object(obj: Mapping[str, Any]) -> Pod:
    """Return the pod in a decoded object; shares nothing that can change.

    Fields that are null count as absent. Raises ValueError for an object that the API would not have accepted.
    """
    try:
        return msgspec.convert(obj, Pod)
    except msgspec.ValidationError:
        try:
            return msgspec.convert(_without_nulls(obj), Pod)
        except msgspec.ValidationError as error:
            raise ValueError(f"not a pod: {error}") from error


def to_object(struct: msgspec.Struct) -> dict[str, Any]:
    """Return plain JSON values (dict, list, str, int, bool), empty fields left out."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(struct))
    return plain


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def effective_security_context(pod: Pod, container: Container) -> SecurityContext:
    """The container's security context with the pod's where the container's is silent."""
    own, shared = container.security_context, pod.spec.security_context
    return msgspec.structs.replace(
        own,
        run_as_user=shared.run_as_user if own.run_as_user is None else own.run_as_user,
        run_as_group=shared.run_as_group if own.run_as_group is None else own.run_as_group,
        run_as_non_root=shared.run_as_non_root if own.run_as_non_root is None else own.run_as_non_root,
        seccomp_profile=own.seccomp_profile or shared.seccomp_profile,
    )


def running_containers(pod: Pod) -> tuple[Container, ...]:
    """The containers that run as long as the pod does: its own and the sidecars among its init containers."""
    return (*pod.spec.containers, *pod.spec.sidecars)


def pod_requests(pod: Pod) -> dict[str, Quantity]:
    """What the pod asks of a node, by resource name: what runs at once, at the moment that asks for most (KEP-753), or
    what it asks for as a whole (KEP-2837), and the overhead of its runtime class (KEP-688)."""
    total = _together(pod, _requests) | _requests(pod.spec.resources)
    _add(total, {name: Quantity.parse(amount) for name, amount in pod.spec.overhead.items()})
    return total


def pod_limits(pod: Pod) -> dict[str, Quantity]:
    """What the pod's containers may use together of the resources that all of them limit, or that the pod limits as a
    whole; with the overhead of its runtime class."""
    containers = [*pod.spec.containers, *pod.spec.init_containers]
    together = _together(pod, _limits)
    total = {name: amount for name, amount in together.items() if all(one.resources.limit(name) for one in containers)}
    total |= _limits(pod.spec.resources)
    overhead = {name: Quantity.parse(amount) for name, amount in pod.spec.overhead.items() if name in total}
    _add(total, overhead)
    return total


def summed_limits(pod: Pod) -> dict[str, Quantity]:
    """The limits of the pod's containers together, whether all of them have one or not, or the pod's as a whole; with
    the overhead of its runtime class."""
    total = _together(pod, _limits) | _limits(pod.spec.resources)
    _add(total, {name: Quantity.parse(amount) for name, amount in pod.spec.overhead.items() if name in total})
    return total


def _together(pod: Pod, amounts: Callable[[ResourceRequirements], dict[str, Quantity]]) -> dict[str, Quantity]:
    total: dict[str, Quantity] = {}
    for container in pod.spec.containers:
        _add(total, amounts(container.resources))
    beside: dict[str, Quantity] = {}
    peak: dict[str, Quantity] = {}
    for container in pod.spec.init_containers:
        moment = amounts(container.resources)
        if container.restart_policy == "Always":
            _add(total, moment)
            _add(beside, moment)
            moment = dict(beside)
        else:
            _add(moment, beside)
        _raise_to(peak, moment)
    _raise_to(total, peak)
    return total


def _requests(resources: ResourceRequirements) -> dict[str, Quantity]:
    names = {*resources.requests, *resources.limits}
    return {name: asked for name in names if (asked := resources.request(name)) is not None}


def _limits(resources: ResourceRequirements) -> dict[str, Quantity]:
    return {name: Quantity.parse(amount) for name, amount in resources.limits.items()}


def _add(total: dict[str, Quantity], more: dict[str, Quantity]) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, ZERO) + amount


def _raise_to(total: dict[str, Quantity], other: dict[str, Quantity]) -> None:
    for name, amount in other.items():
        total[name] = max(total.get(name, ZERO), amount)


def qos_class(pod: Pod) -> QosClass:
    """The pod's quality-of-service class (kubernetes.io, tasks, quality-service-pod).

    Guaranteed: every container, init containers too, limits both cpu and memory and requests as much; BestEffort: no
    container limits or requests either; Burstable: the rest. Amounts of zero count as absent. Where the pod says what
    it needs as a whole, only that counts (KEP-2837).
    """
    containers = (*pod.spec.containers, *pod.spec.init_containers)
    as_a_whole = _cpu_and_memory(pod.spec.resources)
    own = [_cpu_and_memory(container.resources) for container in containers]
    per_container = [as_a_whole] if any(amount for pair in as_a_whole for amount in pair) else own
    if not any(amount for amounts in per_container for pair in amounts for amount in pair):
        return "BestEffort"
    if all(limit and request == limit for amounts in per_container for request, limit in amounts):
        return "Guaranteed"
    return "Burstable"


def _cpu_and_memory(resources: ResourceRequirements) -> Iterable[tuple[Quantity, Quantity]]:
    return [(resources.request(name) or ZERO, resources.limit(name) or ZERO) for name in ("cpu", "memory")]
