"""Validation of a pod to create."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.container import one_of, validate_containers
from podstead.objects.validation.node import TAINT_EFFECTS
from podstead.objects.validation.resources import NON_NEGATIVE
from podstead.objects.validation.security import validate_pod_security_context
from podstead.objects.validation.volumes import validate_volumes

Object = Mapping[str, Any]

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
PREEMPTION_POLICIES = ("PreemptLowerPriority", "Never")
MAX_INT32 = 2**31 - 1

# resolv.conf(5) and glibc: more name servers are not read; Kubernetes' own bounds for the search list.
MAX_NAMESERVERS = 3
MAX_SEARCHES = 32
MAX_SEARCH_CHARACTERS = 2048

_SEARCH_LABEL = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SEARCH = rf"{_SEARCH_LABEL}(\.{_SEARCH_LABEL})*"
_search_re = re.compile(rf"(?:{_SEARCH})\Z")
_SEARCH_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must "
    f"start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SEARCH}')"
)


def validate(pod: Object) -> list[FieldError]:
    spec = pod.get("spec") or {}
    errors = [
        *meta.validate_object_meta(pod.get("metadata") or {}, namespaced=True),
        *validate_spec(spec, "spec"),
    ]
    if spec.get("ephemeralContainers"):
        errors.append(meta.forbidden("spec.ephemeralContainers", "cannot be set on create"))
    return errors


def validate_spec(spec: Object, path: str) -> Iterator[FieldError]:
    """A pod's spec, defaults filled in."""
    volumes, errors = validate_volumes(spec.get("volumes") or (), f"{path}.volumes")
    yield from errors
    yield from validate_containers(spec.get("containers") or (), volumes, f"{path}.containers")
    yield from one_of(spec.get("restartPolicy"), RESTART_POLICIES, f"{path}.restartPolicy")
    yield from one_of(spec.get("dnsPolicy"), DNS_POLICIES, f"{path}.dnsPolicy")
    yield from _dns_config(spec, f"{path}.dnsConfig")
    yield from meta.validate_labels(spec.get("nodeSelector") or {}, f"{path}.nodeSelector")
    yield from validate_pod_security_context(spec.get("securityContext") or {}, f"{path}.securityContext")
    yield from _names(spec, path)
    yield from _seconds(spec, path)
    yield from validate_tolerations(spec.get("tolerations") or (), f"{path}.tolerations")
    yield from _host_aliases(spec.get("hostAliases") or (), f"{path}.hostAliases")
    yield from _os(spec.get("os"), f"{path}.os")
    if spec.get("preemptionPolicy"):
        yield from one_of(spec["preemptionPolicy"], PREEMPTION_POLICIES, f"{path}.preemptionPolicy")


def _names(spec: Object, path: str) -> Iterator[FieldError]:
    for name in ("serviceAccountName", "nodeName", "priorityClassName"):
        value = spec.get(name) or ""
        yield from (
            meta.invalid(f"{path}.{name}", value, text) for text in value and meta.dns_subdomain_problems(value)
        )
    for name in ("hostname", "subdomain"):
        value = spec.get(name) or ""
        yield from (meta.invalid(f"{path}.{name}", value, text) for text in value and meta.dns_label_problems(value))


def _seconds(spec: Object, path: str) -> Iterator[FieldError]:
    deadline, grace = spec.get("activeDeadlineSeconds"), spec.get("terminationGracePeriodSeconds")
    if deadline is not None and not 1 <= deadline <= MAX_INT32:
        yield meta.invalid(f"{path}.activeDeadlineSeconds", deadline, meta.in_range(1, MAX_INT32))
    if grace is not None and grace < 0:
        yield meta.invalid(f"{path}.terminationGracePeriodSeconds", grace, NON_NEGATIVE)


def ip_errors(path: str, value: str) -> Iterator[FieldError]:
    """An IPv4 or IPv6 address."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        address = None
    if address is None or "%" in value:
        yield meta.invalid(path, value, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")


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
    if len(" ".join(searches)) > MAX_SEARCH_CHARACTERS:
        detail = f"must not have more than {MAX_SEARCH_CHARACTERS} characters (including spaces) in the search list"
        yield meta.invalid(path, list(searches), detail)
    for index, search in enumerate(searches):
        name = search if search == "." else search.removesuffix(".")
        if len(name) > meta.SUBDOMAIN_LENGTH:
            yield meta.invalid(f"{path}[{index}]", search, meta.too_long(meta.SUBDOMAIN_LENGTH))
        if name != "." and not _search_re.match(name):
            yield meta.invalid(f"{path}[{index}]", search, _SEARCH_TEXT)


def _host_aliases(aliases: Sequence[Object], path: str) -> Iterator[FieldError]:
    for index, alias in enumerate(aliases):
        yield from ip_errors(f"{path}[{index}].ip", alias.get("ip") or "")
        for position, hostname in enumerate(alias.get("hostnames") or ()):
            at = f"{path}[{index}].hostnames[{position}]"
            yield from (meta.invalid(at, hostname, problem) for problem in meta.dns_subdomain_problems(hostname))


def validate_tolerations(tolerations: Sequence[Object], path: str) -> Iterator[FieldError]:
    for index, toleration in enumerate(tolerations):
        at = f"{path}[{index}]"
        key, operator, value, effect = (toleration.get(name) or "" for name in ("key", "operator", "value", "effect"))
        yield from (meta.invalid(f"{at}.key", key, problem) for problem in key and meta.label_key_problems(key))
        if not key and operator != "Exists":
            detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            yield meta.invalid(f"{at}.operator", operator, detail)
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            yield meta.invalid(f"{at}.effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
        if operator in ("", "Equal"):
            problems = meta.label_value_problems(value)
            if problems:
                yield meta.invalid(f"{at}.operator", value, ";".join(problems))
        elif operator != "Exists":
            yield meta.unsupported(f"{at}.operator", operator, ("Equal", "Exists"))
        elif value:
            detail = "value must be empty when `operator` is 'Exists'"
            yield meta.invalid(f"{at}.operator", dict(toleration), detail)
        if effect and effect not in TAINT_EFFECTS:
            yield meta.unsupported(f"{at}.effect", effect, TAINT_EFFECTS)


def _os(os: Object | None, path: str) -> Iterator[FieldError]:
    if os is not None:
        yield from one_of(os.get("name"), ("linux", "windows"), f"{path}.name")
