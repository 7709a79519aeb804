"""kubectl debug: ephemeral containers, which look into a pod that runs."""

from __future__ import annotations

import json

from support.instance import IMAGE, TestInstance, pod

EPHEMERAL = "/api/v1/namespaces/default/pods/{}/ephemeralcontainers"


def debug(instance: TestInstance, name: str, *options: str, command: str = "true") -> str:
    done = instance.kubectl(
        "debug",
        name,
        f"--image={IMAGE}",
        "--profile=general",
        "-c",
        "look",
        *options,
        "--",
        "sh",
        "-c",
        command,
        check=True,
    )
    return done.stdout


def test_debug_looks_into_a_running_pod(instance: TestInstance) -> None:
    instance.create(pod("patient"))
    instance.wait("patient")
    before = instance.get("pod", "patient")
    debug(instance, "patient", "--target=c1", command="ps; hostname; exit 3")
    instance.wait("patient", "jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}=3")
    seen = instance.kubectl("logs", "patient", "-c", "look", check=True).stdout
    assert "sleep 10000" in seen
    assert "patient" in seen
    after = instance.get("pod", "patient")
    assert after["status"]["containerStatuses"] == before["status"]["containerStatuses"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
    assert after["status"]["ephemeralContainerStatuses"][0]["ready"] is False
    instance.kubectl("delete", "pod", "patient", check=True)


def test_without_a_target_it_has_processes_of_its_own(instance: TestInstance) -> None:
    instance.create(pod("alone"))
    instance.wait("alone")
    debug(instance, "alone", command="ps")
    instance.wait("alone", "jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}=0")
    assert "sleep 10000" not in instance.kubectl("logs", "alone", "-c", "look", check=True).stdout
    instance.kubectl("delete", "pod", "alone", check=True)


def test_exec_into_one_that_runs_and_its_end_with_the_pod(instance: TestInstance) -> None:
    instance.create(pod("long"))
    instance.wait("long")
    debug(instance, "long", "--target=c1", command="sleep 1000")
    instance.wait("long", "jsonpath={.status.ephemeralContainerStatuses[0].state.running.startedAt}")
    assert instance.kubectl("exec", "long", "-c", "look", "--", "echo", "here", check=True).stdout == "here\n"
    instance.kubectl("delete", "pod", "long", timeout=20, check=True)


def test_what_is_there_stays_as_it_is(instance: TestInstance) -> None:
    instance.create(pod("fixed"))
    instance.wait("fixed")
    debug(instance, "fixed")
    changed = [{"op": "replace", "path": "/spec/ephemeralContainers/0/image", "value": "other:1"}]
    patch = ("patch", "pod", "fixed", "--subresource=ephemeralcontainers", "--type=json", "-p")
    refused = instance.kubectl(*patch, json.dumps(changed))
    assert 'existing ephemeral containers "look" may not be changed' in refused.stderr
    removed = [{"op": "remove", "path": "/spec/ephemeralContainers"}]
    refused = instance.kubectl(*patch, json.dumps(removed))
    assert 'existing ephemeral containers "look" may not be removed' in refused.stderr
    instance.kubectl("delete", "pod", "fixed", check=True)


def test_a_pod_is_not_created_with_them_and_a_target_must_exist(instance: TestInstance) -> None:
    manifest = pod("born", ephemeralContainers=[{"name": "look", "image": IMAGE}])
    assert "spec.ephemeralContainers: Forbidden: cannot be set on create" in instance.create(manifest).stderr
    instance.create(pod("target"))
    refused = instance.kubectl(
        "debug", "target", f"--image={IMAGE}", "--target=nobody", "--profile=general", "--", "true"
    )
    assert 'spec.ephemeralContainers[0].targetContainerName: Not found: "nobody"' in refused.stderr
    instance.kubectl("delete", "pod", "target", check=True)
