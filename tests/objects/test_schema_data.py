"""The generated file is what the generator writes, and the reviewed file speaks of fields that exist."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from podstead.objects import definitions, kinds

ROOT = Path(__file__).resolve().parents[2]


def test_generated_file_is_up_to_date() -> None:
    pytest.importorskip("kubernetes_validate")
    pytest.importorskip("kubernetes")
    generator = [sys.executable, str(ROOT / "script" / "generate-schema"), "-"]
    made = subprocess.run(generator, capture_output=True, text=True, timeout=60, check=True).stdout
    assert made == (definitions.DATA / "schema.tsv").read_text(), "run script/generate-schema"


def test_every_definition_decodes_and_refers_to_what_exists() -> None:
    names = set(definitions.definition_names())
    for name in names:
        for field in definitions.definition(name).fields.values():
            assert field.reference is None or field.reference in names


def test_every_resource_has_a_kind_with_a_definition() -> None:
    for group, version, plural in definitions.resource_entries():
        entry = definitions.resource_entry(group, version, plural)
        assert definitions.definition_of(group, version, entry["kind"]).kinds, plural


@pytest.mark.parametrize("section", ["defaults", "enums"])
def test_every_reviewed_path_is_a_field(section: str) -> None:
    for entry in definitions.reviewed()[section]:
        name, field = definitions.split_path(entry["path"])
        assert field in definitions.definition(name).fields, entry["path"]


def test_reviewed_paths_are_unique() -> None:
    for section in ("defaults", "enums"):
        paths = [entry["path"] for entry in definitions.reviewed()[section]]
        assert len(paths) == len(set(paths))


def test_every_reviewed_entry_names_a_source_and_every_source_is_used() -> None:
    reviewed = definitions.reviewed()
    entries: list[dict[str, Any]] = [*reviewed["defaults"], *reviewed["enums"], *reviewed["resources"].values()]
    used: set[str] = set()
    for entry in entries:
        source = entry["source"]
        used.update([source] if isinstance(source, str) else source)
    assert used == set(reviewed["sources"])


def test_reviewed_resources_exist() -> None:
    known = {"/".join(key) for key in definitions.resource_entries()}
    assert set(definitions.reviewed()["resources"]) <= known


def test_defaults_of_enums_are_allowed_values() -> None:
    for entry in definitions.reviewed()["defaults"]:
        allowed = definitions.enum(*definitions.split_path(entry["path"]))
        assert not allowed or entry["value"] in allowed, entry["path"]


def test_merge_keys_of_containers_are_known() -> None:
    containers = definitions.definition("io.k8s.api.core.v1.PodSpec").fields["containers"]
    assert containers.type == "[]#io.k8s.api.core.v1.Container"
    assert containers.required
    assert containers.list_type == "map"
    assert containers.list_map_keys == ("name",)
    assert containers.patch_merge_key == "name"
    volumes = definitions.definition("io.k8s.api.core.v1.PodSpec").fields["volumes"]
    assert volumes.patch_strategy == ("merge", "retainKeys")


def test_pods_as_discovery_tells_of_them() -> None:
    pods = kinds.by_resource("pods")
    assert (pods.kind, pods.list_kind, pods.singular, pods.short_names) == ("Pod", "PodList", "pod", ("po",))
    assert pods.namespaced
    assert pods.categories == ("all",)
    assert pods.verbs == ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
    served = {each.name: (each.api_version, each.kind, each.verbs) for each in pods.subresources}
    assert served["eviction"] == ("policy/v1", "Eviction", ("create",))
    assert served["exec"] == ("v1", "PodExecOptions", ("create", "get"))
    assert served["status"] == ("v1", "Pod", ("get", "patch", "update"))


def test_namespaces_are_not_deleted_as_a_collection() -> None:
    assert "deletecollection" not in kinds.by_resource("namespaces").verbs


def test_resources_are_found_by_path_and_kind() -> None:
    assert kinds.by_path("", "v1", "configmaps") is kinds.by_kind("v1", "ConfigMap") is kinds.by_resource("configmaps")
    assert kinds.by_path("apps", "v1beta1", "deployments") is None
    with pytest.raises(KeyError):
        kinds.by_resource("widgets")
