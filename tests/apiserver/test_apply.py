"""PATCH application/apply-patch+yaml over HTTP: codes, options, and who is the manager."""

from __future__ import annotations

from typing import Any

import pytest
from apiserver_harness import Instance

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
APPLY = {"Content-Type": "application/apply-patch+yaml"}
CONFIG = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\ndata: {a: '1'}\n"


async def test_an_apply_creates_then_changes(instance: Instance) -> None:
    path = f"{CONFIGMAPS}/cm?fieldManager=me"
    assert (await instance.ask("PATCH", path, data=CONFIG, headers=APPLY)).status == 201
    again = await instance.ask("PATCH", path, data=CONFIG, headers=APPLY)
    assert again.status == 200
    [entry] = again.json["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"], entry["fieldsV1"]) == ("me", "Apply", {"f:data": {"f:a": {}}})
    taken = await instance.ask(
        "PATCH", f"{CONFIGMAPS}/cm?fieldManager=two", data=CONFIG.replace(b"1'", b"2'"), headers=APPLY
    )
    assert (taken.status, taken.json["reason"]) == (409, "Conflict")
    assert taken.json["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "me"', "field": ".data.a"}
    ]


async def test_the_manager_is_the_clients_name_unless_it_says_another(instance: Instance) -> None:
    body: dict[str, Any] = {"metadata": {"name": "cm"}, "data": {"a": "b"}}
    sent = {"Content-Type": "application/json", "User-Agent": "my-tool/1.0 (linux)"}
    made = await instance.ask("POST", CONFIGMAPS, json=body, headers=sent)
    [entry] = made.json["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"], entry["apiVersion"]) == ("my-tool", "Update", "v1")


@pytest.mark.parametrize(
    ("query", "content_type", "data", "code", "words"),
    [
        ("", "application/apply-patch+yaml", CONFIG, 422, "fieldManager: Required value: is required for apply patch"),
        (
            "?force=1",
            "application/merge-patch+json",
            b"{}",
            422,
            "force: Forbidden: may not be specified for non-apply",
        ),
        ("?fieldManager=me", "application/apply-patch+yaml", b"a: [", 400, "error decoding YAML"),
        ("?fieldManager=me", "application/apply-patch+yaml", b"\xff", 400, "error decoding YAML"),
        ("?fieldManager=me", "application/apply-patch+yaml", b"[1]", 400, "error decoding YAML"),
        ("?fieldManager=me", "application/apply-patch+yaml", b"{" * 100_000, 400, ""),
        ("?fieldManager=me", "application/apply-patch+yaml", CONFIG.replace(b"cm", b"x"), 400, "on the URL (cm)"),
        ("?fieldManager=me", "application/apply-patch+yaml", CONFIG.replace(b"v1", b"v2"), 400, "expected: v1"),
        ("?fieldManager=me", "application/apply-patch+yaml", CONFIG.replace(b"Map", b"Mop"), 400, "Kind=ConfigMop"),
        (
            "?fieldManager=me&fieldValidation=Strict",
            "application/apply-patch+yaml",
            CONFIG + b"data: {}",
            400,
            "strict",
        ),
    ],
)
async def test_what_is_refused(
    instance: Instance, query: str, content_type: str, data: bytes, code: int, words: str
) -> None:
    headers = {"Content-Type": content_type}
    answer = await instance.ask("PATCH", f"{CONFIGMAPS}/cm{query}", data=data, headers=headers)
    assert (answer.status, answer.json["kind"]) == (code, "Status"), answer.body
    assert words in answer.json["message"], answer.json["message"]
