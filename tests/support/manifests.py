"""Pods made of fragments, completed as the server does, and what validation says of them."""

from __future__ import annotations

from typing import Any

from podstead.objects import schema
from podstead.objects.kinds import by_resource
from podstead.objects.validation import validate_create
from podstead.objects.validation.unsupported import NOT_YET

PODS = by_resource("pods")
REASONS = {
    "Required value": "FieldValueRequired",
    "Invalid value": "FieldValueInvalid",
    "Unsupported value": "FieldValueNotSupported",
    "Duplicate value": "FieldValueDuplicate",
    "Forbidden": "FieldValueForbidden",
    "Not found": "FieldValueNotFound",
    "Too long": "FieldValueTooLong",
    "Too many": "FieldValueTooMany",
}


def completed(pod: dict[str, Any]) -> dict[str, Any]:
    """A pod as it comes to validation: checked against the schema, defaults filled in."""
    checked, unknown = schema.prune(PODS, pod)
    assert not unknown, unknown
    return schema.default(PODS, checked)


def pod(*containers: dict[str, Any], metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A pod with a container for each fragment, one in any case."""
    named = [{"name": f"c{index}", "image": "a:1", **each} for index, each in enumerate(containers or ({},))]
    return completed(
        {
            "metadata": {"name": "web", "namespace": "default", **(metadata or {})},
            "spec": {"containers": named, **spec},
        }
    )


def causes(obj: dict[str, Any]) -> list[str]:
    """What Kubernetes says: without what podstead refuses because it does not implement it."""
    found = []
    for error in validate_create(PODS, obj):
        if not error.text.endswith(NOT_YET) and NOT_YET not in error.text:
            assert error.kind == REASONS[error.text.partition(":")[0]]
            found.append(str(error))
    return found
