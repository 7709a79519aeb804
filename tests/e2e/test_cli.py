"""The commands: what they say, what they leave, and how they refuse."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support.instance import BIN, TIMEOUT, TestInstance, pod


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[TestInstance]:
    """An instance that has never been up."""
    made = TestInstance(f"f{os.getpid()}", tmp_path)
    try:
        yield made
    finally:
        made.down("--purge", check=False)


def test_up_status_down_say_what_they_did(fresh: TestInstance) -> None:
    assert fresh.podstead("status").returncode == 3
    assert fresh.down().stdout == f"podstead '{fresh.name}': nothing to do, there is no such instance\n"
    first = fresh.up().stdout
    assert first.startswith(f"podstead '{fresh.name}' is ready at https://127.0.0.1:")
    assert "is running already" in fresh.up().stdout
    status = fresh.podstead("status", check=True).stdout
    assert re.search(r": Ready, (crun|runc)://", status)
    assert "is down" in fresh.down().stdout
    assert fresh.podstead("status").returncode == 3
    assert "is down already" in fresh.down().stdout.replace("was", "is")
    assert fresh.leftovers() == []
    fresh.down("--purge")
    assert not fresh.data.exists()


def test_down_purge_leaves_no_context_and_keeps_the_users_own(fresh: TestInstance) -> None:
    own = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [],
        "contexts": [{"name": "mine", "context": {}}],
        "users": [],
    }
    fresh.kubeconfig.write_text(yaml.safe_dump({**own, "current-context": "mine"}))
    fresh.up()
    merged = yaml.safe_load(fresh.kubeconfig.read_text())
    assert [one["name"] for one in merged["contexts"]] == ["mine", f"podstead-{fresh.name}"]
    assert merged["current-context"] == f"podstead-{fresh.name}"
    assert fresh.kubeconfig.stat().st_mode & 0o077 == 0
    fresh.down("--purge")
    left = yaml.safe_load(fresh.kubeconfig.read_text())
    assert [one["name"] for one in left["contexts"]] == ["mine"]


def test_kubeconfig_option_writes_there_and_nowhere_else(fresh: TestInstance, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "config"
    fresh.up("--kubeconfig", str(other))
    assert not fresh.kubeconfig.exists()
    done = fresh.run("kubectl", "--kubeconfig", str(other), "get", "nodes", "--no-headers", check=True)
    assert " Ready " in done.stdout


def test_podstead_kubectl_needs_no_kubeconfig(fresh: TestInstance) -> None:
    fresh.up()
    fresh.env["KUBECONFIG"] = "/dev/null"
    assert " Ready " in fresh.podstead("kubectl", "get", "nodes", "--no-headers", check=True).stdout


def test_a_second_server_on_the_same_data_is_refused(fresh: TestInstance) -> None:
    fresh.up()
    other = TestInstance(f"g{os.getpid()}", fresh.directory)
    refused = other.up(check=False)
    assert refused.returncode == 1
    told = f"the data directory {fresh.data} belongs to the instance '{fresh.name}': give another with --data-dir"
    assert refused.stderr == f"Error: {told}\n"


def test_a_port_in_use_is_refused(fresh: TestInstance) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = fresh.up("--port", str(port), check=False)
    assert refused.returncode == 1
    assert refused.stderr == f"Error: port {port} is in use: choose another with --port\n"


def test_a_missing_program_is_named_with_its_package(fresh: TestInstance, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for program in ("conmon", "skopeo", "nft"):
        (tools / program).symlink_to("/bin/true")
    script = (
        "import podstead.cli.requirements as r; r._SYSTEM_DIRECTORIES = ''\n"
        "from podstead.cli import main; import sys; sys.argv[1:] = ['up']; main()"
    )
    done = fresh.run(str(BIN / "python"), "-c", f"import os; os.environ['PATH'] = {str(tools)!r}\n{script}")
    assert done.returncode == 1
    assert done.stderr == "Error: runc not found: apt-get install runc (or your system's equivalent)\n"


def test_root_is_asked_for() -> None:
    # All is imported first: nobody may not read an interpreter in root's home.
    script = (
        "import os, sys, click._termui_impl, podstead.cli.main, podstead.cli.requirements\n"
        "os.setuid(65534); sys.argv[1:] = ['up']; podstead.cli.main()"
    )
    done = subprocess.run([str(BIN / "python"), "-c", script], text=True, capture_output=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: podstead must run as root")


@pytest.mark.parametrize("name", ["../x", "Upper", "", "a" * 33])
def test_a_bad_name_is_refused(fresh: TestInstance, name: str) -> None:
    done = fresh.run("podstead", "up", "--name", name)
    assert done.returncode == 1
    assert "is no name for an instance" in done.stderr


def test_two_instances_run_side_by_side(instance: TestInstance, fresh: TestInstance) -> None:
    fresh.up()
    fresh.import_image()
    for one in (instance, fresh):
        one.create(pod("twin"))
        one.wait("twin")
    addresses = [one.get("pod", "twin")["status"]["podIP"] for one in (instance, fresh)]
    assert addresses[0].rpartition(".")[0] != addresses[1].rpartition(".")[0]
    fresh.down()
    assert fresh.leftovers() == []
    assert instance.get("pod", "twin")["status"]["phase"] == "Running"
    instance.kubectl("delete", "pod", "twin", check=True)


def test_down_ends_pods_after_the_server_was_killed(fresh: TestInstance) -> None:
    fresh.up()
    fresh.import_image()
    fresh.create(
        pod(
            "left",
            {"volumeMounts": [{"name": "m", "mountPath": "/m"}]},
            volumes=[{"name": "m", "emptyDir": {"medium": "Memory"}}],
        )
    )
    fresh.wait("left")
    os.kill(fresh.server()["pid"], 9)
    assert "ended 1 pod" in fresh.down().stdout
    assert fresh.leftovers() == []


def test_what_nothing_acts_on_is_named(instance: TestInstance) -> None:
    made = instance.kubectl("create", "deployment", "inert", "--image", "nginx", check=True)
    assert "Warning: podstead keeps this Deployment, but nothing acts on it yet" in made.stderr
    try:
        found = json.loads(instance.podstead("status", "-o", "json", check=True).stdout)
        assert found["inert"]["deployments.apps"] == 1
        assert "1 deployments.apps" in instance.podstead("status", check=True).stdout
    finally:
        instance.kubectl("delete", "deployment", "inert", check=True)


def test_facts_for_programs(instance: TestInstance) -> None:
    instance.kubectl("delete", "pods", "--all", "-A", "--force", "--grace-period=0", check=True)
    instance.create(pod("counted"))
    instance.wait("counted")
    found = json.loads(instance.podstead("status", "-o", "json", check=True).stdout)
    server = instance.server()
    assert found["name"] == instance.name
    assert (found["state"], found["pid"], found["pods"]["Running"]) == ("running", server["pid"], 1)
    assert found["nodes"][0]["ready"] is True
    assert found["uptimeSeconds"] >= 0 < found["memoryBytes"]
    listed = yaml.safe_load(instance.run("podstead", "ls", "-o", "yaml", check=True).stdout)
    (own,) = [one for one in listed if one["name"] == instance.name]
    assert own == {key: found[key] for key in own} | {"pods": 1}
    table = instance.run("podstead", "ls", check=True).stdout
    assert re.search(rf"^{instance.name} +running +{found['url']} +{instance.data} +1$", table, re.M)
    instance.kubectl("delete", "pod", "counted", check=True)


def test_an_up_that_is_interrupted_leaves_no_server(fresh: TestInstance) -> None:
    words = ["podstead", "up", "--name", fresh.name, "--data-dir", str(fresh.data)]
    started = subprocess.Popen(words, env=fresh.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    fresh.until((fresh.data / "server.log").exists)
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=TIMEOUT)
    if started.returncode == 0:
        pytest.skip("it was ready before the signal came")
    assert (started.returncode, out, err.strip()) == (130, "", "Interrupted")
    assert fresh.podstead("status").returncode == 3
    fresh.down()
    assert fresh.leftovers() == []


def test_a_damaged_database_is_told_with_a_way_out(fresh: TestInstance) -> None:
    fresh.data.mkdir()
    (fresh.data / "state.db").write_bytes(b"not a database" * 1000)
    refused = fresh.up(check=False)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert refused.stderr.startswith(f"Error: cannot open {fresh.data}/state.db: ")
    assert refused.stderr.endswith("; put a copy of it back, or begin anew: podstead down --purge\n")


def test_the_server_may_open_many_files(fresh: TestInstance) -> None:
    limited = "import os, resource, sys; hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]"
    limited += "; resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard)); os.execvp(sys.argv[1], sys.argv[1:])"
    up = ("podstead", "up", "--name", fresh.name, "--data-dir", str(fresh.data))
    fresh.run(str(BIN / "python"), "-c", limited, *up, check=True)
    limits = Path(f"/proc/{fresh.server()['pid']}/limits").read_text()
    soft = next(line for line in limits.splitlines() if line.startswith("Max open files")).split()[3]
    assert int(soft) > 1024
