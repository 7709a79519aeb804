"""Statuses: what everybody reads them by cannot be left out."""

from __future__ import annotations

from typing import Any

import pytest

from podstead.objects.kinds import by_resource
from podstead.objects.validation import validate_create, validate_update


@pytest.mark.parametrize(
    ("status", "paths"),
    [
        ({"containerStatuses": [{"name": "c"}, {"image": "x"}]}, ["status.containerStatuses[1].name"]),
        ({"ephemeralContainerStatuses": [{}]}, ["status.ephemeralContainerStatuses[0].name"]),
        (
            {"conditions": [{}]},
            [*["metadata.conditions[0].Type"] * 2, "status.conditions[0].type", "status.conditions[0].status"],
        ),
        ({"conditions": [{"type": "Ready", "status": "True"}]}, []),
        ({}, []),
    ],
)
def test_entries_of_a_pods_status_have_a_key(status: dict[str, Any], paths: list[str]) -> None:
    old: dict[str, Any] = {"metadata": {"name": "p", "resourceVersion": "1"}, "spec": {}, "status": {}}
    errors = validate_update(by_resource("pods"), {**old, "status": status}, old, "status")
    assert [error.path for error in errors] == paths


def test_a_node_is_not_created_with_a_condition_of_no_type() -> None:
    node = {"metadata": {"name": "n"}, "status": {"conditions": [{"status": "True"}], "addresses": [{}]}}
    paths = [error.path for error in validate_create(by_resource("nodes"), node)]
    assert paths == ["status.conditions[0].type", "status.addresses[0].type", "status.addresses[0].address"]
