"""Validation of mutating and validating webhook configurations.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import choice, each, label_key
from podstead.objects.validation.container import too_many
from podstead.objects.validation.selectors import label_selector

Object = Mapping[str, Any]
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_VERSIONS = ("v1", "v1beta1")
_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_MAX_SECONDS = 30
_MAX_CONDITIONS = 64


def validate(configuration: Object) -> Iterator[FieldError]:
    names: set[str] = set()
    for index, webhook in enumerate(configuration.get("webhooks") or ()):
        path, name = f"webhooks[{index}]", webhook.get("name") or ""
        yield from _webhook(webhook, path)
        if name and name in names:
            yield meta.duplicate(f"{path}.name", name)
        names.add(name)


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    return validate(new)


def _webhook(webhook: Object, path: str) -> Iterator[FieldError]:
    name = webhook.get("name") or ""
    if not name:
        yield meta.required(f"{path}.name")
    else:
        yield from each(f"{path}.name", name, meta.dns_subdomain_problems(name))
        if len(name.split(".")) < 3:
            yield meta.invalid(
                f"{path}.name", name, "should be a domain with at least three segments separated by dots"
            )
    for index, one in enumerate(webhook.get("rules") or ()):
        yield from rule(one, f"{path}.rules[{index}]")
    for field in ("namespaceSelector", "objectSelector"):
        if webhook.get(field) is not None:
            yield from label_selector(webhook[field], f"{path}.{field}")
    yield from match_conditions(webhook.get("matchConditions") or (), f"{path}.matchConditions")
    yield from choice(webhook, "failurePolicy", ("Fail", "Ignore"), path)
    yield from choice(webhook, "matchPolicy", ("Equivalent", "Exact"), path)
    yield from choice(webhook, "reinvocationPolicy", ("IfNeeded", "Never"), path)
    if webhook.get("sideEffects") is None:
        yield meta.required(f"{path}.sideEffects", "must specify one of None, NoneOnDryRun")
    else:
        yield from choice(webhook, "sideEffects", _SIDE_EFFECTS, path)
    seconds = webhook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= _MAX_SECONDS:
        text = f"the timeout value must be between 1 and {_MAX_SECONDS} seconds"
        yield meta.invalid(f"{path}.timeoutSeconds", seconds, text)
    yield from _client(webhook.get("clientConfig") or {}, f"{path}.clientConfig")
    yield from _versions(webhook.get("admissionReviewVersions") or (), f"{path}.admissionReviewVersions")


def rule(said: Object, path: str) -> Iterator[FieldError]:
    """A RuleWithOperations: which requests a webhook or a policy is asked about."""
    operations = said.get("operations") or ()
    if not operations:
        yield meta.required(f"{path}.operations")
    if len(operations) > 1 and "*" in operations:
        text = "if '*' is present, must not specify other operations"
        yield meta.invalid(f"{path}.operations", list(operations), text)
    for index, operation in enumerate(operations):
        if operation not in _OPERATIONS:
            yield meta.unsupported(f"{path}.operations[{index}]", operation, _OPERATIONS)
    for field, what in (("apiGroups", "groups"), ("apiVersions", "versions"), ("resources", "resources")):
        values = said.get(field) or ()
        if not values:
            yield meta.required(f"{path}.{field}")
        if len(values) > 1 and "*" in values and field != "resources":
            text = f"if '*' is present, must not specify other API {what}"
            yield meta.invalid(f"{path}.{field}", list(values), text)
    yield from choice(said, "scope", ("*", "Cluster", "Namespaced"), path)


def match_conditions(conditions: Sequence[Object], path: str) -> Iterator[FieldError]:
    """CEL expressions that all have to hold before a webhook or a policy is asked."""
    if len(conditions) > _MAX_CONDITIONS:
        yield too_many(path, len(conditions), _MAX_CONDITIONS)
    known: set[str] = set()
    for index, condition in enumerate(conditions):
        at, name = f"{path}[{index}]", condition.get("name") or ""
        yield from expression(condition, "expression", at)
        if name:
            yield from label_key(name, f"{at}.name")
        else:
            yield meta.required(f"{at}.name")
        if name in known:
            yield meta.duplicate(f"{at}.name", name)
        known |= {name} - {""}


def expression(holder: Object, field: str, path: str, detail: str = "") -> Iterator[FieldError]:
    """A CEL expression that has to be there."""
    if not (holder.get(field) or "").strip():
        yield meta.required(f"{path}.{field}", detail)


def _client(client: Object, path: str) -> Iterator[FieldError]:
    url, service = client.get("url"), client.get("service")
    if (url is None) is (service is None):
        yield meta.required(path, "exactly one of url or service is required")
    elif url is not None:
        yield from _url(url, f"{path}.url")
    elif service is not None:
        yield from (
            meta.required(f"{path}.service.{field}") for field in ("name", "namespace") if not service.get(field)
        )
        port = service.get("port")
        if port is not None and not 1 <= port <= 65535:
            yield meta.invalid(f"{path}.service.port", port, f"port is not valid: {meta.in_range(1, 65535)}")


def _url(url: str, path: str) -> Iterator[FieldError]:
    form = "; desired format: https://host[/path]"
    try:
        parts = urlsplit(url)
    except ValueError as error:
        yield meta.required(path, f"url must be a valid URL: {error}{form}")
        return
    if parts.scheme != "https":
        yield meta.invalid(path, parts.scheme, f"'https' is the only allowed URL scheme{form}")
    if not parts.netloc:
        yield meta.invalid(path, "", f"host must be specified{form}")
    if parts.username is not None:
        yield meta.invalid(path, parts.username, "user information is not permitted in the URL")
    if parts.fragment:
        yield meta.invalid(path, parts.fragment, "fragments are not permitted in the URL")
    if parts.query:
        yield meta.invalid(path, parts.query, "query parameters are not permitted in the URL")


def _versions(versions: tuple[str, ...], path: str) -> Iterator[FieldError]:
    if not versions:
        yield meta.required(path, f"must specify one of {', '.join(_VERSIONS)}")
        return
    for index, version in enumerate(versions):
        if version in versions[:index]:
            yield meta.invalid(f"{path}[{index}]", version, "duplicate version")
        yield from each(f"{path}[{index}]", version, meta.dns_1035_label_problems(version))
    if not set(versions) & set(_VERSIONS):
        yield meta.invalid(path, list(versions), f"must include at least one of {', '.join(_VERSIONS)}")
