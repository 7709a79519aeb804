"""Validation of a pod's containers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.resources import validate_requirements
from podstead.objects.validation.security import validate_security_context
from podstead.objects.validation.volumes import validate_mounts

Object = Mapping[str, Any]

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
PROTOCOLS = ("SCTP", "TCP", "UDP")
MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
_ENV_NAME = re.compile(r"[ -<>-~]+\Z")
_PORT_NAME = re.compile(r"[-a-z0-9]+\Z")
_PORT_NAME_LENGTH = 15


def validate_containers(containers: Sequence[Object], volumes: set[str], path: str) -> Iterator[FieldError]:
    """All containers of the list at `path`; `volumes` are the names that they may mount."""
    if not containers:
        yield meta.required(path)
    names: set[str] = set()
    for index, container in enumerate(containers):
        at = f"{path}[{index}]"
        yield from validate_name(container, names, at)
        yield from validate_image(container.get("image") or "", f"{at}.image")
        yield from validate_container(container, volumes, at)


def validate_name(container: Object, names: set[str], path: str) -> Iterator[FieldError]:
    """The name of the container at `path`, a DNS label that is not in `names`; it is added to them."""
    name = container.get("name") or ""
    if not name:
        yield meta.required(f"{path}.name")
    else:
        yield from (meta.invalid(f"{path}.name", name, problem) for problem in meta.dns_label_problems(name))
        if name in names:
            yield meta.duplicate(f"{path}.name", name)
    names.add(name)


def validate_image(image: str, path: str) -> Iterator[FieldError]:
    if not image:
        yield meta.required(path)
    elif image != image.strip():
        yield meta.invalid(path, image, "must not have leading or trailing whitespace")


def validate_container(container: Object, volumes: set[str], path: str) -> Iterator[FieldError]:
    """What holds for a container of any kind; `volumes` are the names that it may mount."""
    policy = container.get("terminationMessagePolicy") or ""
    if policy not in MESSAGE_POLICIES:
        where, detail = f"{path}.terminationMessagePolicy", "must be 'File' or 'FallbackToLogsOnError'"
        yield meta.invalid(where, policy, detail) if policy else meta.required(where, detail)
    yield from _ports(container.get("ports") or (), f"{path}.ports")
    yield from _env(container.get("env") or (), f"{path}.env")
    yield from validate_mounts(container.get("volumeMounts") or (), volumes, f"{path}.volumeMounts")
    yield from one_of(container.get("imagePullPolicy"), PULL_POLICIES, f"{path}.imagePullPolicy")
    yield from validate_requirements(container.get("resources") or {}, f"{path}.resources")
    yield from validate_security_context(container.get("securityContext") or {}, f"{path}.securityContext")


def one_of(value: str | None, choices: Sequence[str], path: str) -> Iterator[FieldError]:
    """A field that has to be set (defaulting does) to one of `choices`."""
    if not value:
        yield meta.required(path)
    elif value not in choices:
        yield meta.unsupported(path, value, choices)


def _env(variables: Sequence[Object], path: str) -> Iterator[FieldError]:
    for index, variable in enumerate(variables):
        at, name = f"{path}[{index}].name", variable.get("name") or ""
        if not name:
            yield meta.required(at)
        elif not _ENV_NAME.match(name):
            detail = "a valid environment variable name must consist only of printable ASCII characters other than '='"
            yield meta.invalid(at, name, detail)
        if variable.get("value") and variable.get("valueFrom") is not None:
            yield meta.invalid(f"{path}[{index}].valueFrom", "", "may not be specified when `value` is not empty")


def _ports(ports: Sequence[Object], path: str) -> Iterator[FieldError]:
    names: set[str] = set()
    for index, port in enumerate(ports):
        at, name = f"{path}[{index}]", port.get("name") or ""
        problems = port_name_problems(name) if name else []
        yield from (meta.invalid(f"{at}.name", name, problem) for problem in problems)
        if name and not problems and name in names:
            yield meta.duplicate(f"{at}.name", name)
        names.add(name)
        number = port.get("containerPort") or 0
        if not number:
            yield meta.required(f"{at}.containerPort")
        yield from _port_number(number, f"{at}.containerPort")
        yield from _port_number(port.get("hostPort") or 0, f"{at}.hostPort")
        yield from one_of(port.get("protocol"), PROTOCOLS, f"{at}.protocol")


def _port_number(number: int, path: str) -> Iterator[FieldError]:
    if number and not 1 <= number <= 65535:
        yield meta.invalid(path, number, meta.in_range(1, 65535))


def port_name_problems(name: str) -> list[str]:
    """A service name of RFC 6335, in lower case."""
    problems = [meta.too_long(_PORT_NAME_LENGTH)] if len(name) > _PORT_NAME_LENGTH else []
    if not _PORT_NAME.match(name):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", name):
        problems.append("must contain at least one letter (a-z)")
    if "--" in name:
        problems.append("must not contain consecutive hyphens")
    if name.startswith("-") or name.endswith("-"):
        problems.append("must not begin or end with a hyphen")
    return problems
