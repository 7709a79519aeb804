"""The tables of the core group's kinds that have no module of their own."""

from __future__ import annotations

from datetime import datetime

from podstead.apiserver.tables.base import AGE, NAME, Cell, Column, Object, TableFormat, age, name_of
from podstead.apiserver.tables.cells import CONTAINERS, IMAGES, condition, containers, labels, quantity, status_of, text


def _configmap(obj: Object, now: datetime) -> list[Cell]:
    return [name_of(obj), len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), age(obj, now)]


def _secret(obj: Object, now: datetime) -> list[Cell]:
    return [name_of(obj), text(obj, "type"), len(obj.get("data") or ()), age(obj, now)]


def _service_account(obj: Object, now: datetime) -> list[Cell]:
    return [name_of(obj), len(obj.get("secrets") or ()), age(obj, now)]


def _namespace(obj: Object, now: datetime) -> list[Cell]:
    return [name_of(obj), text(status_of(obj), "phase"), age(obj, now)]


def _pod_template(obj: Object, now: datetime) -> list[Cell]:
    template = obj.get("template") or {}
    return [name_of(obj), *containers(template), labels((template.get("metadata") or {}).get("labels"))]


def _component_status(obj: Object, now: datetime) -> list[Cell]:
    healthy = condition(obj, "Healthy")
    status = "Unknown" if not healthy else "Healthy" if healthy.get("status") == "True" else "Unhealthy"
    return [name_of(obj), status, text(healthy, "message"), text(healthy, "error")]


def _resource_quota(obj: Object, now: datetime) -> list[Cell]:
    status = status_of(obj)
    used = status.get("used") or {}
    requests: list[str] = []
    limits: list[str] = []
    for resource, hard in sorted((status.get("hard") or {}).items()):
        column = limits if resource.startswith("limits.") else requests
        column.append(f"{resource}: {quantity(used.get(resource))}/{quantity(hard)}")
    return [name_of(obj), ", ".join(requests), ", ".join(limits), age(obj, now)]


TABLES = {
    "componentstatuses": TableFormat(
        (
            NAME,
            Column("Status", "Whether the component is healthy."),
            Column("Message", "What the component says of its health."),
            Column("Error", "What was wrong when the component was asked."),
        ),
        _component_status,
    ),
    "configmaps": TableFormat((NAME, Column("Data", "How many keys it has, text and binary."), AGE), _configmap),
    "namespaces": TableFormat((NAME, Column("Status", "Whether the namespace is in use or ends."), AGE), _namespace),
    "podtemplates": TableFormat(
        (
            NAME,
            Column(CONTAINERS.name, CONTAINERS.description),
            Column(IMAGES.name, IMAGES.description),
            Column("Pod Labels", "The labels that the template's pods get."),
        ),
        _pod_template,
    ),
    "resourcequotas": TableFormat(
        (
            NAME,
            Column("Request", "What is used of what is allowed, for requests and counts of objects."),
            Column("Limit", "What is used of what is allowed, for limits."),
            AGE,
        ),
        _resource_quota,
    ),
    "secrets": TableFormat(
        (NAME, Column("Type", "What the secret is for."), Column("Data", "How many keys it has."), AGE), _secret
    ),
    "serviceaccounts": TableFormat(
        (NAME, Column("Secrets", "How many secrets its pods may use."), AGE), _service_account
    ),
}
