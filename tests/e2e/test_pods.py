"""Pods as users see them: running, restarting, failing, ending."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.instance import TestInstance, pod


@pytest.fixture(autouse=True)
def no_pods_left(instance: TestInstance) -> Iterator[None]:
    yield
    instance.kubectl("delete", "pods", "--all", "--force", "--grace-period=0")


def container_state(instance: TestInstance, name: str, index: int = 0) -> dict[str, dict[str, object]]:
    statuses = instance.get("pod", name).get("status", {}).get("containerStatuses") or [{}]
    state: dict[str, dict[str, object]] = statuses[index].get("state", {})
    return state


def test_a_running_pod_tells_its_status_as_kubernetes_does(instance: TestInstance) -> None:
    instance.create(pod("plain"))
    instance.wait("plain")
    status = instance.get("pod", "plain")["status"]
    assert status["phase"] == "Running"
    assert status["qosClass"] == "BestEffort"
    assert status["podIP"] == status["podIPs"][0]["ip"]
    conditions = {one["type"]: one["status"] for one in status["conditions"]}
    wanted = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    assert conditions == dict.fromkeys(wanted, "True")
    container = status["containerStatuses"][0]
    assert container["ready"]
    assert container["started"]
    assert container["restartCount"] == 0
    assert container["image"] == "docker.io/library/centos:7"
    line = instance.kubectl("get", "pod", "plain", "--no-headers").stdout.split()
    assert line[:4] == ["plain", "1/1", "Running", "0"]


def test_describe_shows_the_events_of_a_start(instance: TestInstance) -> None:
    instance.create(pod("told"))
    instance.wait("told")

    def described() -> str:
        text = instance.kubectl("describe", "pod", "told").stdout
        return text if "Started container c1" in text else ""

    text = instance.until(described)
    for words in (
        "Successfully assigned default/told to",
        'Container image "centos:7" already present on machine',
        "Created container: c1",
        "Node-Selectors:",
        "QoS Class:",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("code", "policy", "phase"), [(0, "Never", "Succeeded"), (3, "Never", "Failed"), (0, "OnFailure", "Succeeded")]
)
def test_a_pod_that_ends_has_the_phase_of_its_exit_code(
    instance: TestInstance, code: int, policy: str, phase: str
) -> None:
    name = f"ends-{code}-{policy.lower()}"
    instance.create(pod(name, {"command": ["sh", "-c", f"echo bye; exit {code}"]}, restartPolicy=policy))
    instance.wait(name, f"jsonpath={{.status.phase}}={phase}")
    terminated = container_state(instance, name)["terminated"]
    assert terminated["exitCode"] == code
    assert terminated["reason"] == ("Completed" if code == 0 else "Error")
    assert instance.kubectl("logs", name).stdout == "bye\n"


def test_a_container_that_fails_is_restarted_at_once_then_with_back_off(instance: TestInstance) -> None:
    instance.create(pod("crash", {"command": ["sh", "-c", "echo run; exit 1"]}))
    instance.wait("crash", "jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff")
    status = instance.get("pod", "crash")["status"]["containerStatuses"][0]
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert status["state"]["waiting"]["message"].startswith(
        "back-off 10s restarting failed container=c1 pod=crash_default("
    )
    assert instance.kubectl("logs", "crash", "-p").stdout == "run\n"
    assert "CrashLoopBackOff" in instance.kubectl("get", "pod", "crash", "--no-headers").stdout


def test_a_command_that_does_not_exist_is_told_with_reason_and_message(instance: TestInstance) -> None:
    instance.create(pod("nocommand", {"command": ["/no/such/thing"]}, restartPolicy="Never"))
    instance.wait("nocommand", "jsonpath={.status.phase}=Failed")
    terminated = container_state(instance, "nocommand")["terminated"]
    assert terminated["reason"] == "StartError"
    assert terminated["exitCode"] == 128
    assert "/no/such/thing" in str(terminated["message"])


def test_a_missing_image_waits_with_its_reason_and_the_pod_can_be_deleted(instance: TestInstance) -> None:
    instance.create(pod("noimage", {"image": "127.0.0.1:1/nobody/nothing:1"}))
    instance.wait("noimage", "jsonpath={.status.containerStatuses[0].state.waiting.reason}=ImagePullBackOff")
    waiting = container_state(instance, "noimage")["waiting"]
    assert "127.0.0.1:1/nobody/nothing:1" in str(waiting["message"])
    assert "is waiting to start" in instance.kubectl("logs", "noimage").stderr
    instance.kubectl("delete", "pod", "noimage", check=True)


def test_an_image_that_may_not_be_pulled(instance: TestInstance) -> None:
    instance.create(pod("never", {"image": "absent:1", "imagePullPolicy": "Never"}))
    instance.wait("never", "jsonpath={.status.containerStatuses[0].state.waiting.reason}=ErrImageNeverPull")


def test_both_containers_start_although_one_image_is_missing(instance: TestInstance) -> None:
    instance.create(pod("half", {"image": "absent:1", "imagePullPolicy": "Never"}, {}))
    instance.wait("half", "jsonpath={.status.containerStatuses[1].ready}=true")
    assert instance.get("pod", "half")["status"]["phase"] == "Pending"


def test_a_pod_gets_its_limits_environment_and_user(instance: TestInstance) -> None:
    container = {
        "command": ["sh", "-c", "echo $GREETING; id -u; pwd; cat /proc/self/cgroup; sleep 1000"],
        "env": [{"name": "WHO", "value": "world"}, {"name": "GREETING", "value": "hello $(WHO) $$(WHO)"}],
        "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}},
        "securityContext": {"runAsUser": 1000},
        "workingDir": "/tmp",
    }
    instance.create(pod("limited", container))
    instance.wait("limited")
    lines = instance.until(lambda: instance.kubectl("logs", "limited").stdout).splitlines()
    assert lines[:3] == ["hello world $(WHO)", "1000", "/tmp"]
    seen = instance.get("pod", "limited")
    assert seen["status"]["qosClass"] == "Guaranteed"
    identity = seen["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    from pathlib import Path

    limits = [
        *Path("/sys/fs/cgroup").glob(f"**/podstead-{instance.name}/**/{identity}/memory.limit_in_bytes"),
        *Path("/sys/fs/cgroup").glob(f"**/podstead-{instance.name}/**/{identity}/memory.max"),
    ]
    assert limits[0].read_text().strip() == str(64 << 20)


def test_a_termination_message_is_read_from_its_file_or_the_log(instance: TestInstance) -> None:
    instance.create(
        pod(
            "messages",
            {"command": ["sh", "-c", "printf from-file > /dev/termination-log; exit 2"]},
            {
                "command": ["sh", "-c", "echo from-log; exit 2"],
                "terminationMessagePolicy": "FallbackToLogsOnError",
            },
            restartPolicy="Never",
        )
    )
    instance.wait("messages", "jsonpath={.status.phase}=Failed")
    assert container_state(instance, "messages", 0)["terminated"]["message"] == "from-file"
    assert container_state(instance, "messages", 1)["terminated"]["message"] == "from-log\n"


def test_a_pod_past_its_deadline_fails(instance: TestInstance) -> None:
    instance.create(pod("late", activeDeadlineSeconds=1))
    instance.wait("late", "jsonpath={.status.phase}=Failed")
    assert instance.get("pod", "late")["status"]["reason"] == "DeadlineExceeded"


def test_delete_waits_for_the_containers_own_end_within_the_grace(instance: TestInstance) -> None:
    container = {"command": ["sh", "-c", "trap 'echo ended; exit 0' TERM; echo armed; while :; do sleep 0.05; done"]}
    instance.create(pod("graceful", container, terminationGracePeriodSeconds=30))
    instance.wait("graceful")
    instance.until(lambda: "armed" in instance.kubectl("logs", "graceful").stdout)
    instance.kubectl("delete", "pod", "graceful", timeout=20, check=True)
    assert (
        instance.kubectl("get", "pod", "graceful").stderr == 'Error from server (NotFound): pods "graceful" not found\n'
    )


def test_a_second_delete_shortens_the_grace(instance: TestInstance) -> None:
    instance.create(pod("stubborn", terminationGracePeriodSeconds=600))
    instance.wait("stubborn")
    instance.kubectl("delete", "pod", "stubborn", "--wait=false", check=True)
    assert "Terminating" in instance.kubectl("get", "pod", "stubborn").stdout
    instance.kubectl("delete", "pod", "stubborn", "--grace-period=1", timeout=20, check=True)


def test_an_unschedulable_pod_says_why_and_runs_when_it_can(instance: TestInstance) -> None:
    node = instance.get("nodes")["items"][0]["metadata"]["name"]
    patch = '[{"op": "add", "path": "/spec/unschedulable", "value": true}]'
    instance.kubectl("patch", "node", node, "--type=json", "-p", patch, check=True)
    try:
        instance.create(pod("homeless"))
        instance.wait("homeless", "condition=PodScheduled=false")
        condition = instance.get("pod", "homeless")["status"]["conditions"][0]
        assert condition["reason"] == "Unschedulable"
        assert condition["message"] == "0/1 nodes are available: 1 node(s) were unschedulable."
    finally:
        patch = '[{"op": "remove", "path": "/spec/unschedulable"}]'
        instance.kubectl("patch", "node", node, "--type=json", "-p", patch, check=True)
    instance.wait("homeless")
