"""configMap, secret, downwardAPI and projected volumes as a user of kubectl meets them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from support.instance import REPOSITORY, TestInstance, pod

EXAMPLES = {
    "configmap": ["==> /etc/settings/color <==\nblue", "==> /etc/one/conf.d/server.conf <==\nlisten 80"],
    "secret": [
        "==> password <==\ncorrect horse\n==> username <==\nreader",
        "tmpfs on /etc/credentials type tmpfs (ro,",
    ],
    "downwardapi": [
        '==> /etc/podinfo/annotations <==\nnote="two words, \\"quoted\\""',
        "==> /etc/podinfo/cpu-millicores <==\n500",
        '==> /etc/podinfo/labels <==\napp="example"\ntier="front"',
        "==> /etc/podinfo/memory-mebibytes <==\n64",
        "==> /etc/podinfo/name <==\ndownwardapi",
    ],
    "projected": [
        "==> key <==\nopen sesame",
        "==> address <==\nvault.example",
        "==> pod/name <==\nprojected",
        "\ney\n",
    ],
}


@pytest.fixture(scope="module", autouse=True)
def nothing_left(instance: TestInstance) -> Iterator[None]:
    yield
    instance.kubectl("delete", "pods", "--all", "--force", "--grace-period=0")
    instance.kubectl("delete", "configmap", "settings", "where", "late")
    instance.kubectl("delete", "secret", "credentials", "key")
    instance.until(lambda: not list((instance.data / "pods").iterdir()))


def read(instance: TestInstance, name: str, path: str) -> str:
    return instance.kubectl("exec", name, "--", "cat", path).stdout


def test_every_example_shows_what_it_says(instance: TestInstance) -> None:
    files = [option for name in EXAMPLES for option in ("-f", str(REPOSITORY / "examples" / f"{name}.yaml"))]
    instance.kubectl("create", *files, check=True)
    for name, lines in EXAMPLES.items():
        instance.wait(name)
        instance.until(partial(_all_in, instance, name, lines), 10)


def _all_in(instance: TestInstance, name: str, lines: list[str]) -> bool:
    log = instance.kubectl("logs", name).stdout
    return all(line in log for line in lines)


def test_what_changes_reaches_the_running_container(instance: TestInstance) -> None:
    assert read(instance, "configmap", "/etc/settings/color") == "blue"
    instance.kubectl("patch", "configmap", "settings", "-p", '{"data":{"color":"green"}}', check=True)
    instance.until(lambda: read(instance, "configmap", "/etc/settings/color") == "green")
    instance.kubectl("label", "pod", "downwardapi", "tier=back", "--overwrite", check=True)
    instance.until(lambda: read(instance, "downwardapi", "/etc/podinfo/labels") == 'app="example"\ntier="back"')
    script = "stat -L -c %a /etc/one/conf.d/server.conf; touch /etc/settings/x"
    done = instance.kubectl("exec", "configmap", "--", "sh", "-c", script)
    assert done.stdout == "440\n" and "Read-only file system" in done.stderr


def test_a_pod_waits_for_its_config_map_and_goes_on(instance: TestInstance) -> None:
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    instance.create(pod("waiting", mounts, volumes=[{"name": "v", "configMap": {"name": "late"}}]))
    text = 'MountVolume.SetUp failed for volume "v" : configmap "late" not found'
    instance.until(lambda: text in instance.kubectl("describe", "pod", "waiting").stdout)
    [status] = instance.get("pod", "waiting")["status"]["containerStatuses"]
    assert status["state"]["waiting"]["reason"] == "ContainerCreating"
    instance.kubectl("create", "configmap", "late", "--from-literal=a=1", check=True)
    instance.wait("waiting")
    assert read(instance, "waiting", "/v/a") == "1"
    told = failed_mounts(instance, "waiting")
    instance.kubectl("delete", "configmap", "late", check=True)
    instance.until(lambda: failed_mounts(instance, "waiting") > told)
    assert read(instance, "waiting", "/v/a") == "1", "what is deleted while it is mounted stays"


def failed_mounts(instance: TestInstance, name: str) -> int:
    events = instance.get("events", "--field-selector", f"reason=FailedMount,involvedObject.name={name}")["items"]
    return sum(event.get("count") or 1 for event in events)
