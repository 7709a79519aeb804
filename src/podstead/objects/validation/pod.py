"""Validation of a pod to create, and of what a pod template holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation import objectmeta
from podstead.objects.validation.affinity import validate_affinity, validate_tolerations, validate_topology_spread
from podstead.objects.validation.annotations import profiles_match, validate_annotations
from podstead.objects.validation.common import MAX_INT32, each, ip_errors, label_key, one_of
from podstead.objects.validation.container import (
    Within,
    padded_images,
    too_many,
    validate_containers,
    validate_init_containers,
)
from podstead.objects.validation.ephemeral import validate_ephemeral_containers
from podstead.objects.validation.resources import validate_overhead, validate_pod_resources
from podstead.objects.validation.security import validate_pod_security_context
from podstead.objects.validation.volumes import validate_volumes
from podstead.objects.validation.windows import validate_host_process, validate_os

Object = Mapping[str, Any]

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
PREEMPTION_POLICIES = ("PreemptLowerPriority", "Never")

# resolv.conf(5) and glibc: more name servers are not read; Kubernetes' own bounds for the search list.
MAX_NAMESERVERS = 3
MAX_SEARCHES = 32
MAX_SEARCH_CHARACTERS = 2048
_HOSTNAME_LENGTH = 64
_MAX_RESPONDERS = 10

_SEARCH_LABEL = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SEARCH = rf"{_SEARCH_LABEL}(\.{_SEARCH_LABEL})*"
_search_re = re.compile(rf"(?:{_SEARCH})\Z")
_SEARCH_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must "
    f"start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SEARCH}')"
)


def validate(pod: Object) -> list[FieldError]:
    """A pod to create."""
    spec = pod.get("spec") or {}
    errors = validate_whole(pod)
    if spec.get("ephemeralContainers"):
        errors.append(meta.forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        detail = "cannot be set until all schedulingGates have been cleared"
        errors.append(meta.forbidden("spec.nodeName", detail))
    return [*errors, *profiles_match((pod.get("metadata") or {}).get("annotations") or {}, spec, "spec")]


def validate_whole(pod: Object) -> list[FieldError]:
    """Metadata and spec, as they have to be at a create and after every update."""
    metadata, spec = pod.get("metadata") or {}, pod.get("spec") or {}
    return [
        *objectmeta.validate(pod, namespaced=True),
        *validate_annotations(metadata.get("annotations") or {}, spec, "metadata.annotations"),
        *validate_spec(spec, "spec", metadata.get("name") or ""),
        *_token_account(spec, "spec"),
        *padded_images(spec.get("containers") or (), "spec.containers"),
        *padded_images(spec.get("initContainers") or (), "spec.initContainers"),
    ]


def validate_pod_template(obj: Object) -> list[FieldError]:
    """The kind PodTemplate."""
    return [*objectmeta.validate(obj, namespaced=True), *validate_template(obj.get("template") or {}, "template")]


def validate_pod_template_update(new: Object, old: Object) -> list[FieldError]:
    return [*objectmeta.validate_update(new, old), *validate_template(new.get("template") or {}, "template")]


def validate_template(template: Object, path: str) -> list[FieldError]:
    """A PodTemplateSpec, in whatever kind it is."""
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    annotations = metadata.get("annotations") or {}
    errors = [
        *meta.validate_labels(metadata.get("labels") or {}, f"{path}.labels"),
        *meta.validate_annotations(annotations, f"{path}.annotations"),
        *validate_annotations(annotations, spec, f"{path}.annotations"),
        *validate_spec(spec, f"{path}.spec", "", is_template=True),
        *profiles_match(annotations, spec, f"{path}.spec"),
    ]
    if spec.get("ephemeralContainers"):
        detail = "ephemeral containers not allowed in pod template"
        errors.append(meta.forbidden(f"{path}.spec.ephemeralContainers", detail))
    return errors


def validate_spec(spec: Object, path: str, name: str, is_template: bool = False) -> Iterator[FieldError]:
    """A pod's spec, defaults filled in. `name` is the pod's, empty where there is none yet."""
    if spec.get("terminationGracePeriodSeconds") is None:
        yield meta.required(f"{path}.terminationGracePeriodSeconds")
    volumes, errors = validate_volumes(spec.get("volumes") or (), name, f"{path}.volumes")
    yield from errors
    claims = {claim["name"] for claim in spec.get("resourceClaims") or () if claim.get("name")}
    yield from _resource_claims(spec.get("resourceClaims") or (), f"{path}.resourceClaims")
    within = Within(
        volumes,
        claims,
        spec.get("restartPolicy") or "",
        spec.get("terminationGracePeriodSeconds"),
        spec.get("hostUsers") is not False,
        spec.get("os"),
    )
    containers = spec.get("containers") or ()
    yield from validate_containers(containers, within, f"{path}.containers")
    if spec.get("initContainers"):
        yield from validate_init_containers(spec["initContainers"], containers, within, f"{path}.initContainers")
    if spec.get("ephemeralContainers"):
        yield from validate_ephemeral_containers(spec, within, f"{path}.ephemeralContainers")
    yield from validate_pod_resources(spec, f"{path}.resources")
    if spec.get("hostNetwork"):
        yield from _host_network_ports(containers, f"{path}.containers", is_template)
    yield from one_of(spec.get("restartPolicy"), RESTART_POLICIES, f"{path}.restartPolicy")
    yield from one_of(spec.get("dnsPolicy"), DNS_POLICIES, f"{path}.dnsPolicy")
    yield from meta.validate_labels(spec.get("nodeSelector") or {}, f"{path}.nodeSelector")
    yield from validate_pod_security_context(spec.get("securityContext") or {}, spec, f"{path}.securityContext")
    yield from _placement(spec, path)
    yield from _names_and_limits(spec, path)
    yield from validate_os(spec, path)


def _placement(spec: Object, path: str) -> Iterator[FieldError]:
    """Where it may run, and what has to hold before it does."""
    if spec.get("affinity"):
        yield from validate_affinity(spec["affinity"], f"{path}.affinity")
    yield from _dns_config(spec, f"{path}.dnsConfig")
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        yield from label_key(gate.get("conditionType") or "", f"{path}.readinessGates[{index}].conditionType")
    yield from _scheduling_gates(spec.get("schedulingGates") or (), f"{path}.schedulingGates")
    yield from validate_topology_spread(
        spec.get("topologySpreadConstraints") or (), f"{path}.topologySpreadConstraints"
    )
    yield from validate_host_process(spec, path)
    if spec.get("hostUsers") is False:
        # Two of the fields are named as they are in Go: so does the API server.
        for field, called in (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")):
            if spec.get(field):
                yield meta.forbidden(f"{path}.{called}", "when `pod.Spec.HostUsers` is false")


def _names_and_limits(spec: Object, path: str) -> Iterator[FieldError]:
    for field in ("serviceAccountName", "nodeName"):
        yield from _subdomain(spec, field, path)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= MAX_INT32:
        yield meta.invalid(f"{path}.activeDeadlineSeconds", deadline, meta.in_range(1, MAX_INT32))
    for field in ("hostname", "subdomain"):
        value = spec.get(field) or ""
        if value:
            yield from each(f"{path}.{field}", value, meta.dns_label_problems(value))
    yield from _hostname_override(spec, f"{path}.hostnameOverride")
    yield from validate_tolerations(spec.get("tolerations") or (), f"{path}.tolerations")
    yield from _host_aliases(spec.get("hostAliases") or (), f"{path}.hostAliases")
    yield from _subdomain(spec, "priorityClassName", path)
    if spec.get("runtimeClassName") is not None:
        name = spec["runtimeClassName"]
        yield from each(f"{path}.runtimeClassName", name, meta.dns_subdomain_problems(name))
    if spec.get("preemptionPolicy") is not None:
        yield from one_of(spec["preemptionPolicy"], PREEMPTION_POLICIES, f"{path}.preemptionPolicy")
    if spec.get("overhead"):
        yield from validate_overhead(spec["overhead"], f"{path}.overhead")
    yield from _subdomain(spec.get("schedulingGroup") or {}, "podGroupName", f"{path}.schedulingGroup")
    yield from _eviction_responders(spec.get("evictionResponders") or (), f"{path}.evictionResponders")


def _subdomain(holder: Object, field: str, path: str) -> Iterator[FieldError]:
    value = holder.get(field) or ""
    if value:
        yield from each(f"{path}.{field}", value, meta.dns_subdomain_problems(value))


def _resource_claims(claims: Sequence[Object], path: str) -> Iterator[FieldError]:
    names: set[str] = set()
    for index, claim in enumerate(claims):
        at, name = f"{path}[{index}]", claim.get("name") or ""
        if not name:
            yield meta.required(f"{at}.name")
        elif name in names:
            yield meta.duplicate(f"{at}.name", name)
        else:
            yield from each(f"{at}.name", name, meta.dns_label_problems(name))
        names.add(name)
        given = [field for field in ("resourceClaimName", "resourceClaimTemplateName") if claim.get(field) is not None]
        if len(given) > 1:
            detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            yield meta.invalid(at, dict(claim), detail)
        if not given:
            detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            yield meta.invalid(at, dict(claim), detail)
        for field in given:
            yield from each(f"{at}.{field}", claim[field], meta.dns_subdomain_problems(claim[field]))


def _host_network_ports(containers: Sequence[Object], path: str, is_template: bool) -> Iterator[FieldError]:
    for index, container in enumerate(containers):
        for position, port in enumerate(container.get("ports") or ()):
            on_host, inside = port.get("hostPort") or 0, port.get("containerPort") or 0
            if on_host != inside and (on_host or not is_template):
                detail = "must match `containerPort` when `hostNetwork` is true"
                yield meta.invalid(f"{path}[{index}].ports[{position}].hostPort", on_host, detail)


def _token_account(spec: Object, path: str) -> Iterator[FieldError]:
    if spec.get("serviceAccountName"):
        return
    for index, volume in enumerate(spec.get("volumes") or ()):
        for position, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
            if source.get("serviceAccountToken") is not None:
                at = f"{path}.volumes[{index}].projected.sources[{position}].serviceAccountToken"
                yield meta.forbidden(at, "must not be specified when serviceAccountName is not set")


def _dns_config(spec: Object, path: str) -> Iterator[FieldError]:
    config = spec.get("dnsConfig")
    servers: Sequence[str] = (config or {}).get("nameservers") or ()
    if spec.get("dnsPolicy") == "None":
        if config is None:
            yield meta.required(path, "must provide `dnsConfig` when `dnsPolicy` is None")
            return
        if not servers:
            detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            yield meta.required(f"{path}.nameservers", detail)
            return
    if config is None:
        return
    if len(servers) > MAX_NAMESERVERS:
        detail = f"must not have more than {MAX_NAMESERVERS} nameservers"
        yield meta.invalid(f"{path}.nameservers", list(servers), detail)
    for index, server in enumerate(servers):
        yield from ip_errors(f"{path}.nameservers[{index}]", server)
    yield from _searches(config.get("searches") or (), f"{path}.searches")
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            yield meta.required(f"{path}.options[{index}]", "must not be empty")


def _searches(searches: Sequence[str], path: str) -> Iterator[FieldError]:
    if len(searches) > MAX_SEARCHES:
        yield meta.invalid(path, list(searches), f"must not have more than {MAX_SEARCHES} search paths")
    if len(" ".join(searches).encode()) > MAX_SEARCH_CHARACTERS:
        detail = f"must not have more than {MAX_SEARCH_CHARACTERS} characters (including spaces) in the search list"
        yield meta.invalid(path, list(searches), detail)
    for index, search in enumerate(searches):
        if search == ".":
            continue
        name = search.removesuffix(".")
        if len(name.encode()) > meta.SUBDOMAIN_LENGTH:
            yield meta.invalid(f"{path}[{index}]", name, meta.too_long(meta.SUBDOMAIN_LENGTH))
        if not _search_re.match(name):
            yield meta.invalid(f"{path}[{index}]", name, _SEARCH_TEXT)


def _scheduling_gates(gates: Sequence[Object], path: str) -> Iterator[FieldError]:
    names: set[str] = set()
    for index, gate in enumerate(gates):
        name = gate.get("name") or ""
        yield from label_key(name, f"{path}[{index}]")
        if name in names:
            yield meta.duplicate(f"{path}[{index}]", name)
        names.add(name)


def _hostname_override(spec: Object, path: str) -> Iterator[FieldError]:
    """A whole name for the pod's kernel, whatever the cluster's domain (KEP-4762)."""
    name = spec.get("hostnameOverride")
    if name is None:
        return
    yield from each(path, name, meta.dns_subdomain_problems(name))
    if len(name.encode()) > _HOSTNAME_LENGTH:
        yield meta.longer_than(path, _HOSTNAME_LENGTH)
    for field in ("setHostnameAsFQDN", "hostNetwork"):
        if spec.get(field):
            yield meta.forbidden(path, f"may not be specified when `{field}` is true")


def _host_aliases(aliases: Sequence[Object], path: str) -> Iterator[FieldError]:
    for index, alias in enumerate(aliases):
        yield from ip_errors(f"{path}[{index}].ip", alias.get("ip") or "")
        for position, hostname in enumerate(alias.get("hostnames") or ()):
            yield from each(f"{path}[{index}].hostnames[{position}]", hostname, meta.dns_subdomain_problems(hostname))


def _eviction_responders(responders: Sequence[Object], path: str) -> Iterator[FieldError]:
    if len(responders) > _MAX_RESPONDERS:
        yield too_many(path, len(responders), _MAX_RESPONDERS)
    names: set[str] = set()
    for index, responder in enumerate(responders):
        name = responder.get("name") or ""
        if not name:
            yield meta.required(f"{path}[{index}].name")
        else:
            yield from label_key(name, f"{path}[{index}].name")
            if name in names:
                yield meta.duplicate(f"{path}[{index}]", name)
        names.add(name)
