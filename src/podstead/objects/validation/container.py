"""Validation of a pod's containers and init containers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import each, one_of, port_name_problems, port_number, required_name
from podstead.objects.validation.env import validate_env, validate_env_from
from podstead.objects.validation.mounts import Volumes, validate_devices, validate_mounts
from podstead.objects.validation.probes import PROBES, validate_lifecycle, validate_probe
from podstead.objects.validation.resources import validate_requirements
from podstead.objects.validation.security import validate_security_context
from podstead.objects.validation.sources import PULL_POLICIES

Object = Mapping[str, Any]

PROTOCOLS = ("SCTP", "TCP", "UDP")
MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
RESTART_POLICIES = ("Always", "Never", "OnFailure")
RULE_ACTIONS = ("Restart", "RestartAllContainers")
_RULE_OPERATORS = ("In", "NotIn")
_MAX_RULES = 20
_MAX_EXIT_CODES = 255
_RESIZABLE = ("cpu", "memory")
_RESIZE_POLICIES = ("NotRequired", "RestartContainer")
_NOT_FOR_INIT = "may not be set for init containers without restartPolicy=Always"


@dataclass(frozen=True, slots=True)
class Within:
    """What of the pod's spec its containers are held against."""

    volumes: Volumes = field(default_factory=dict)
    claims: Collection[str] = ()
    restart_policy: str = "Always"
    grace: int | None = None
    """Seconds that the pod has to end in."""
    host_users: bool = True
    os: Object | None = None


def validate_containers(containers: Sequence[Object], pod: Within, path: str) -> Iterator[FieldError]:
    if not containers:
        yield meta.required(path)
    names: set[str] = set()
    for index, container in enumerate(containers):
        at, name = f"{path}[{index}]", container.get("name") or ""
        yield from validate_container(container, pod, at)
        if name in names:
            yield meta.duplicate(f"{at}.name", name)
        names.add(name)
        yield from _hooks_and_probes(container, pod, at)
        yield from _restart(container, at)
    # Containers of a pod share the host's ports: they are looked at together, after all else.
    yield from _host_ports(containers, path)


def validate_init_containers(
    containers: Sequence[Object], others: Sequence[Object], pod: Within, path: str
) -> Iterator[FieldError]:
    """`others` are the pod's containers, whose names are taken."""
    names = {container.get("name") or "" for container in others}
    for index, container in enumerate(containers):
        at, name = f"{path}[{index}]", container.get("name") or ""
        yield from validate_container(container, pod, at)
        yield from _restart(container, at)
        if name in names:
            yield meta.duplicate(f"{at}.name", name)
        elif name:
            names.add(name)
        # They run one by one. The API server names the first of them, whichever it is.
        yield from _host_ports([container], path)
        if container.get("restartPolicy") == "Always":
            yield from _hooks_and_probes(container, pod, at)
        else:
            not_here = [name for name in ("lifecycle", *PROBES) if container.get(name) is not None]
            yield from (meta.forbidden(f"{at}.{name}", _NOT_FOR_INIT) for name in not_here)


def validate_container(container: Object, pod: Within, path: str) -> Iterator[FieldError]:
    """What holds for a container of any kind."""
    yield from required_name(container.get("name") or "", f"{path}.name")
    if not container.get("image"):
        yield meta.required(f"{path}.image")
    yield from one_of(container.get("terminationMessagePolicy"), MESSAGE_POLICIES, f"{path}.terminationMessagePolicy")
    if container.get("ports"):
        yield from _ports(container["ports"], f"{path}.ports")
    if container.get("env"):
        yield from validate_env(container["env"], f"{path}.env")
    if container.get("envFrom"):
        yield from validate_env_from(container["envFrom"], f"{path}.envFrom")
    if container.get("volumeMounts"):
        yield from validate_mounts(container, pod.volumes, f"{path}.volumeMounts")
    if container.get("volumeDevices"):
        yield from validate_devices(container, pod.volumes, f"{path}.volumeDevices")
    yield from one_of(container.get("imagePullPolicy"), PULL_POLICIES, f"{path}.imagePullPolicy")
    yield from validate_requirements(container.get("resources") or {}, pod.claims, f"{path}.resources")
    if container.get("resizePolicy"):
        yield from _resize_policy(container["resizePolicy"], pod.restart_policy, f"{path}.resizePolicy")
    if container.get("securityContext"):
        yield from validate_security_context(container["securityContext"], pod.host_users, f"{path}.securityContext")


def padded_images(containers: Sequence[Object], path: str) -> Iterator[FieldError]:
    """Of a pod only: a template may have a placeholder for the image."""
    for index, container in enumerate(containers):
        image = container.get("image") or ""
        if image != image.strip():
            detail = "must not have leading or trailing whitespace"
            yield meta.invalid(f"{path}[{index}].image", image, detail)


def _hooks_and_probes(container: Object, pod: Within, path: str) -> Iterator[FieldError]:
    if container.get("lifecycle") is not None:
        yield from validate_lifecycle(container["lifecycle"], pod.grace, pod.os, f"{path}.lifecycle")
    for kind in PROBES:
        if container.get(kind) is not None:
            yield from validate_probe(kind, container[kind], pod.grace, f"{path}.{kind}")


def _restart(container: Object, path: str) -> Iterator[FieldError]:
    """A container's own restart policy, and the rules that come before it (KEP-5307)."""
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or ()
    if policy is None:
        if rules:
            yield meta.required(f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used")
    elif policy not in RESTART_POLICIES:
        yield meta.unsupported(f"{path}.restartPolicy", policy, RESTART_POLICIES)
    if len(rules) > _MAX_RULES:
        yield too_many(f"{path}.restartPolicyRules", len(rules), _MAX_RULES)
    for index, rule in enumerate(rules):
        at, codes = f"{path}.restartPolicyRules[{index}]", rule.get("exitCodes")
        if rule.get("action") not in RULE_ACTIONS:
            yield meta.unsupported(f"{at}.action", rule.get("action") or "", RULE_ACTIONS)
        if codes is None:
            yield meta.required(f"{at}.exitCodes", "must be specified")
            continue
        if codes.get("operator") not in _RULE_OPERATORS:
            yield meta.unsupported(f"{at}.exitCodes.operator", codes.get("operator") or "", _RULE_OPERATORS)
        if len(codes.get("values") or ()) > _MAX_EXIT_CODES:
            yield too_many(f"{at}.exitCodes.values", len(codes["values"]), _MAX_EXIT_CODES)


def too_many(path: str, count: int, limit: int) -> FieldError:
    return FieldError(path, "FieldValueTooMany", f"Too many: {count}: must have at most {limit} items")


def _resize_policy(policies: Sequence[Object], restart_policy: str, path: str) -> Iterator[FieldError]:
    """What a change of resources does to the container (KEP-1287)."""
    names: set[str] = set()
    for index, entry in enumerate(policies):
        name, policy = entry.get("resourceName") or "", entry.get("restartPolicy") or ""
        if name in names:
            yield meta.duplicate(f"{path}[{index}]", name)
        names.add(name)
        yield from one_of(name, _RESIZABLE, path)
        yield from one_of(policy, _RESIZE_POLICIES, path)
        if restart_policy == "Never" and policy != "NotRequired":
            yield meta.invalid(path, policy, "must be 'NotRequired' when `restartPolicy` is 'Never'")


def _ports(ports: Sequence[Object], path: str) -> Iterator[FieldError]:
    names: set[str] = set()
    for index, port in enumerate(ports):
        at, name = f"{path}[{index}]", port.get("name") or ""
        problems = port_name_problems(name) if name else []
        yield from each(f"{at}.name", name, problems)
        if name and not problems:
            if name in names:
                yield meta.duplicate(f"{at}.name", name)
            names.add(name)
        if port.get("containerPort"):
            yield from port_number(port["containerPort"], f"{at}.containerPort")
        else:
            yield meta.required(f"{at}.containerPort")
        if port.get("hostPort"):
            yield from port_number(port["hostPort"], f"{at}.hostPort")
        yield from one_of(port.get("protocol"), PROTOCOLS, f"{at}.protocol")


def _host_ports(containers: Sequence[Object], path: str) -> Iterator[FieldError]:
    taken: set[str] = set()
    for index, container in enumerate(containers):
        for position, port in enumerate(container.get("ports") or ()):
            if not port.get("hostPort"):
                continue
            used = f"{port.get('protocol') or ''}/{port.get('hostIP') or ''}/{port['hostPort']}"
            if used in taken:
                yield meta.duplicate(f"{path}[{index}].ports[{position}].hostPort", used)
            taken.add(used)
