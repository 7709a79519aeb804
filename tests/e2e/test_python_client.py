"""The official Python client (PyPI's `kubernetes`) against podstead: what an operator's author uses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from support.instance import TestInstance, pod

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def core(instance: TestInstance) -> Iterator[Any]:
    from kubernetes import client, config

    configuration = client.Configuration()
    config.load_kube_config(str(instance.kubeconfig), client_configuration=configuration)
    with client.ApiClient(configuration) as connection:
        yield client.CoreV1Api(connection)


@pytest.fixture
def running(instance: TestInstance) -> Iterator[str]:
    """A running pod that says one line."""
    script = "echo ready; exec sleep 1000"
    instance.create(pod("python", {"command": ["sh", "-c", script], "env": [{"name": "WHO", "value": "me"}]}))
    instance.wait("python")
    yield "python"
    instance.kubectl("delete", "pod", "python", "--ignore-not-found", "--force", "--grace-period=0")


def test_objects_are_made_changed_listed_and_deleted(core: Any) -> None:
    from kubernetes.client.exceptions import ApiException

    made = core.create_namespaced_config_map(
        "default", {"metadata": {"name": "py", "labels": {"by": "python"}}, "data": {"a": "1"}}
    )
    assert made.metadata.uid
    try:
        core.api_client.set_default_header("Content-Type", "application/merge-patch+json")
        patched = core.patch_namespaced_config_map("py", "default", {"data": {"b": "2"}})
        core.api_client.default_headers.pop("Content-Type")
        assert patched.data == {"a": "1", "b": "2"}
        with pytest.raises(ApiException) as conflict:
            core.replace_namespaced_config_map("py", "default", made)
        assert (conflict.value.status, conflict.value.reason) == (409, "Conflict")
        assert [one.metadata.name for one in core.list_namespaced_config_map("default", label_selector="by").items] == [
            "py"
        ]
        page = core.list_config_map_for_all_namespaces(limit=1)
        seen = [page.items[0].metadata.namespace]
        while page.metadata._continue:
            page = core.list_config_map_for_all_namespaces(limit=1, _continue=page.metadata._continue)
            seen += [one.metadata.namespace for one in page.items]
        assert len(seen) == len(core.list_config_map_for_all_namespaces().items)
    finally:
        assert core.delete_namespaced_config_map("py", "default")["status"] == "Success"
    with pytest.raises(ApiException) as gone:
        core.read_namespaced_config_map("py", "default")
    assert gone.value.status == 404


def test_a_watch_goes_on_from_a_list(core: Any) -> None:
    from kubernetes import watch

    start = core.list_namespaced_config_map("default").metadata.resource_version
    core.create_namespaced_config_map("default", {"metadata": {"name": "seen"}})
    core.delete_namespaced_config_map("seen", "default")
    events = watch.Watch().stream(
        core.list_namespaced_config_map, "default", resource_version=start, timeout_seconds=10
    )
    told = [(event["type"], event["object"].metadata.name) for _, event in zip(range(2), events, strict=False)]
    assert told == [("ADDED", "seen"), ("DELETED", "seen")]


def test_a_watch_ends_when_its_time_is_over(core: Any) -> None:
    from kubernetes import watch

    events = [
        event["object"].metadata.name
        for event in watch.Watch().stream(
            core.list_namespace, timeout_seconds=1, field_selector="metadata.name=default"
        )
    ]
    assert events == ["default"]


def test_logs_and_exec(core: Any, running: str) -> None:
    from kubernetes.stream import stream

    assert core.read_namespaced_pod_log(running, "default") == "ready\n"
    told = stream(
        core.connect_get_namespaced_pod_exec,
        running,
        "default",
        command=["sh", "-c", "echo $WHO; echo err >&2"],
        stdout=True,
        stderr=True,
    )
    assert sorted(told.splitlines()) == ["err", "me"]


def test_a_session_with_input_and_an_exit_code(core: Any, running: str) -> None:
    from kubernetes.stream import stream

    session = stream(
        core.connect_get_namespaced_pod_exec,
        running,
        "default",
        command=["sh", "-c", "read line; echo got $line; exit 42"],
        stdin=True,
        stdout=True,
        stderr=True,
        _preload_content=False,
    )
    session.write_stdin("this\n")
    session.run_forever(timeout=20)
    assert session.read_stdout() == "got this\n"
    assert session.returncode == 42
    session.close()


@pytest.mark.parametrize("terminal", [False, True])
def test_a_command_that_is_not_there_is_told_as_an_error_alone(core: Any, running: str, terminal: bool) -> None:
    from kubernetes.stream import stream

    session = stream(
        core.connect_get_namespaced_pod_exec,
        running,
        "default",
        command=["nosuch"],
        stdout=True,
        stderr=not terminal,
        tty=terminal,
        _preload_content=False,
    )
    session.run_forever(timeout=20)
    assert session.read_stdout() + session.read_stderr() == ""
    assert 'exec: \\"nosuch\\": executable file not found in $PATH' in session.read_channel(3)


def test_a_followed_log_ends_with_its_container(core: Any, instance: TestInstance) -> None:
    from kubernetes import watch

    script = "trap 'echo bye; exit 0' TERM; echo hello; while :; do sleep 0.05; done"
    instance.create(pod("follow", {"command": ["sh", "-c", script]}, restartPolicy="Never"))
    instance.wait("follow")
    lines: list[str] = []
    begun = threading.Event()

    def follow() -> None:
        for line in watch.Watch().stream(core.read_namespaced_pod_log, "follow", "default"):
            lines.append(line)
            begun.set()

    follower = threading.Thread(target=follow)
    follower.start()
    assert begun.wait(20)
    core.delete_namespaced_pod("follow", "default", grace_period_seconds=5)
    follower.join(20)
    assert not follower.is_alive()
    assert lines == ["hello", "bye"]
